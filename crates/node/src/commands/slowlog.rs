//! SLOWLOG and MONITOR.

use crate::call::{NodeBody, NodeCall};
use crate::slow_log::SlowCommand;
use shoal_protocol::number::parse_i64;
use shoal_protocol::{Arguments, CommandId, ErrorReply};
use shoal_store::Outcome;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::SlowlogGet, get),
    (CommandId::SlowlogLen, len),
    (CommandId::SlowlogReset, reset),
    (CommandId::SlowlogHelp, help),
    (CommandId::Monitor, monitor),
];

/// Entries that SLOWLOG GET shows if it is not told how many.
const ENTRIES_SHOWN: usize = 10;

fn get(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let count = match arguments.take_optional() {
        None => ENTRIES_SHOWN,
        Some(word) => match parse_i64(word) {
            Some(-1) => usize::MAX,
            Some(count @ 0..) => count as usize,
            _ => return Err(ErrorReply::new("ERR count should be greater than or equal to -1")),
        },
    };
    let entries: Vec<SlowCommand> = call.node.slow_log.iter().take(count).cloned().collect();
    let mut reply = call.reply();
    reply.array(entries.len());
    for entry in &entries {
        reply.array(6);
        reply.integer(entry.id.cast_signed());
        reply.integer(entry.at_s.cast_signed());
        reply.integer(entry.duration_us.cast_signed());
        reply.array(entry.words.len());
        entry.words.iter().for_each(|word| reply.bulk(word));
        reply.bulk(entry.address.as_bytes());
        reply.bulk(&entry.name);
    }
    Ok(())
}

fn len(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let count = call.node.slow_log.len();
    call.reply().integer(count as i64);
    Ok(())
}

fn reset(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.node.slow_log.clear();
    call.reply().ok();
    Ok(())
}

fn help(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply_help(&[
        "GET [<count>]",
        "    The newest entries (default: 10, -1 for all), each with number, time,",
        "    duration in microseconds, words, address and name of the client.",
        "LEN",
        "    How many entries there are.",
        "RESET",
        "    Forget all entries.",
    ]);
    Ok(())
}

fn monitor(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    // A replica gets the stream already.
    if call.session.kind == shoal_session::ClientKind::Replica {
        return Ok(());
    }
    call.session.is_monitor = true;
    if !call.node.monitors.contains(&call.handle) {
        call.node.monitors.push(call.handle);
    }
    call.reply().ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Fixture;

    #[test]
    fn slow_commands_are_kept() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("CLIENT SETNAME me", "+OK"),
            ("SLOWLOG LEN", ":0"),
            ("DEBUG SLEEP 0.02", "+OK"),
            (
                "SLOWLOG GET",
                "[[:0, :1700000000, :20000, [\"DEBUG\", \"SLEEP\", \"0.02\"], \"127.0.0.1:50000\", \"me\"]]",
            ),
            ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"),
            ("SLOWLOG GET 0", "[]"),
            ("SLOWLOG RESET", "+OK"),
            ("SLOWLOG LEN", ":0"),
            ("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 2", "+OK"),
            ("PING", "+PONG"),
            ("SLOWLOG LEN", ":2"),
        ]);
        fixture.run("SLOWLOG RESET");
        let long = "x".repeat(200);
        fixture.run(&format!("ECHO {long}"));
        let shown = fixture.run("SLOWLOG GET 1");
        assert!(shown.contains(&format!("{}... (72 more bytes)", "x".repeat(128))), "{shown}");
        let many = "c ".repeat(40);
        fixture.run(&format!("PUBSUB NUMSUB {many}"));
        let shown = fixture.run("SLOWLOG GET 1");
        assert!(shown.contains("\"... (11 more arguments)\""), "{shown}");
        fixture.run("CONFIG SET masterauth secret");
        let shown = fixture.run("SLOWLOG GET 1");
        assert!(shown.contains("\"masterauth\", \"(redacted)\""), "{shown}");
    }

    #[test]
    fn monitors_see_commands() {
        let mut fixture = Fixture::new();
        let watcher = fixture.connect();
        fixture.check_as(watcher, "MONITOR", "+OK");
        fixture.run("PING \"a b\"");
        fixture.run("CONFIG GET port");
        fixture.run("MULTI");
        fixture.run("GET k");
        fixture.run("EXEC");
        fixture.run("HELLO 2 AUTH default secret");
        assert_eq!(
            fixture.received(watcher),
            [
                "+1700000000.000000 [0 127.0.0.1:50000] \"PING\" \"a b\"",
                "+1700000000.000000 [0 127.0.0.1:50000] \"MULTI\"",
                "+1700000000.000000 [0 127.0.0.1:50000] \"GET\" \"k\"",
                "+1700000000.000000 [0 127.0.0.1:50000] \"EXEC\"",
                "+1700000000.000000 [0 127.0.0.1:50000] \"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\"",
            ]
        );
        fixture.check_as(watcher, "PING", "+PONG ; +1700000000.000000 [0 127.0.0.1:50001] \"PING\"");
        fixture.check_as(watcher, "RESET", "+RESET");
        fixture.run("PING");
        assert!(fixture.received(watcher).is_empty());
    }
}
