//! LATENCY: delays beyond `latency-monitor-threshold`, and how long commands take.

use crate::call::{NodeBody, NodeCall};
use crate::latency::LatencyEvent;
use shoal_protocol::command::COMMANDS;
use shoal_protocol::{Arguments, Command, CommandId, ErrorReply, Reply};
use shoal_store::Outcome;
use std::fmt::Write as _;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::LatencyDoctor, doctor),
    (CommandId::LatencyGraph, graph),
    (CommandId::LatencyHelp, help),
    (CommandId::LatencyHistogram, histogram),
    (CommandId::LatencyHistory, history),
    (CommandId::LatencyLatest, latest),
    (CommandId::LatencyReset, reset),
];

fn latest(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let NodeCall { node, session, .. } = call;
    let mut reply = session.reply();
    reply.array(node.latency.iter().len());
    for (name, event) in node.latency.iter() {
        let (at_s, delay_ms) = event.samples.back().copied().unwrap_or_default();
        reply.array(4);
        reply.bulk(name.as_bytes());
        reply.integer(at_s.cast_signed());
        reply.integer(delay_ms.cast_signed());
        reply.integer(event.worst_ms.cast_signed());
    }
    Ok(())
}

fn history(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let NodeCall { node, session, .. } = call;
    let found = node.latency.event(arguments.take()?);
    let samples = found.map(|(_, event)| &event.samples);
    let mut reply = session.reply();
    reply.array(samples.map_or(0, std::collections::VecDeque::len));
    for &(at_s, delay_ms) in samples.into_iter().flatten() {
        reply.array(2);
        reply.integer(at_s.cast_signed());
        reply.integer(delay_ms.cast_signed());
    }
    Ok(())
}

fn reset(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    let monitor = &mut call.node.latency;
    let count = if arguments.is_empty() {
        monitor.clear()
    } else {
        arguments.rest().filter(|name| monitor.forget(name)).count()
    };
    call.reply().integer(count as i64);
    Ok(())
}

/// Lines of a graph.
const GRAPH_HEIGHT: usize = 4;

fn graph(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let name = arguments.take()?;
    let Some((name, event)) = call.node.latency.event(name) else {
        let name = String::from_utf8_lossy(name);
        return Err(ErrorReply::from(format!("ERR No samples available for event '{name}'")));
    };
    let text = draw(name, event, call.now.unix_s());
    call.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

/// A column per sample, as high as its delay is among the others; below it, how long ago it was.
fn draw(name: &str, event: &LatencyEvent, now_s: u64) -> String {
    let delays = || event.samples.iter().map(|&(_, delay_ms)| delay_ms);
    let (low, high) = (delays().min().unwrap_or(0), delays().max().unwrap_or(0));
    let mut text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        event.worst_ms,
        "-".repeat(80)
    );
    let steps = (GRAPH_HEIGHT * 2 - 1) as u64;
    let level = |delay_ms: u64| ((delay_ms - low) * steps).checked_div(high - low).unwrap_or(0) as usize;
    for row in (0..GRAPH_HEIGHT).rev() {
        for delay_ms in delays() {
            let level = level(delay_ms);
            text.push(match level / 2 {
                own if own == row => {
                    if level % 2 == 0 {
                        '_'
                    } else {
                        'o'
                    }
                }
                own if own > row => '|',
                _ => ' ',
            });
        }
        text.push('\n');
    }
    text.push('\n');
    let ages: Vec<String> = event.samples.iter().map(|&(at_s, _)| age(now_s.saturating_sub(at_s))).collect();
    for row in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        text.extend(ages.iter().map(|age| age.chars().nth(row).unwrap_or(' ')));
        text.push('\n');
    }
    text
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn doctor(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let node = &call.node;
    let mut text = String::new();
    if node.config.latency_monitor_threshold_ms == 0 {
        text.push_str(
            "The latency monitor is off. CONFIG SET latency-monitor-threshold <milliseconds> switches it on.\n",
        );
    } else if node.latency.iter().len() == 0 {
        text.push_str("No delay beyond the threshold was seen.\n");
    } else {
        text.push_str("Delays beyond the threshold were seen:\n\n");
        for (index, (name, event)) in node.latency.iter().enumerate() {
            let count = event.samples.len() as u64;
            let sum: u64 = event.samples.iter().map(|&(_, delay_ms)| delay_ms).sum();
            let _ = writeln!(
                text,
                "{}. {name}: {count} delays, {} ms on average, {} ms at the worst.",
                index + 1,
                sum / count.max(1),
                event.worst_ms
            );
        }
        text.push_str(
            "\nSLOWLOG GET shows the commands that took long. Commands over many elements, and deleting large values \
             without UNLINK, are the usual causes.\n",
        );
    }
    call.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

fn histogram(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    let NodeCall { node, session, .. } = call;
    let has_any = |command: &&Command| node.stats.commands[command.id as usize].latencies.total() > 0;
    let wanted: Vec<&'static Command> = if arguments.is_empty() {
        COMMANDS.iter().filter(has_any).collect()
    } else {
        let named = arguments.rest().filter_map(by_full_name);
        named
            .flat_map(|command| std::iter::once(command).chain(command.subcommands()))
            .filter(has_any)
            .collect()
    };
    let mut reply = session.reply();
    reply.map(wanted.len());
    for command in wanted {
        let latencies = &node.stats.commands[command.id as usize].latencies;
        reply.bulk(command.name.as_bytes());
        write_histogram(&mut reply, latencies.total(), &latencies.cumulative());
    }
    Ok(())
}

/// A command, or a subcommand by its name with the container's before it: `client|id`.
fn by_full_name(name: &[u8]) -> Option<&'static Command> {
    let mut parts = name.splitn(2, |&byte| byte == b'|');
    let command = Command::lookup(parts.next()?)?;
    match parts.next() {
        Some(subcommand) => command.subcommand(subcommand),
        None => Some(command),
    }
}

fn write_histogram(reply: &mut Reply<'_>, total: u64, steps: &[(u64, u64)]) {
    reply.map(2);
    reply.bulk(b"calls");
    reply.integer(total.cast_signed());
    reply.bulk(b"histogram_usec");
    reply.map(steps.len());
    for &(up_to_us, count) in steps {
        reply.integer(up_to_us.cast_signed());
        reply.integer(count.cast_signed());
    }
}

fn help(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply_help(&[
        "DOCTOR",
        "    What the delays that were seen mean.",
        "GRAPH <event>",
        "    A drawing of the delays of an event.",
        "HISTOGRAM [COMMAND ...]",
        "    How many runs of each command took up to so many microseconds.",
        "HISTORY <event>",
        "    The delays of an event, each with its time.",
        "LATEST",
        "    The latest delay of each event.",
        "RESET [<event> ...]",
        "    Forget the delays of these events, or of all.",
    ]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;

    #[test]
    fn delays_are_noted() {
        let mut fixture = Fixture::new();
        fixture.check("DEBUG SLEEP 0.5", "+OK");
        fixture.check("LATENCY LATEST", "[]");
        assert!(fixture.text("LATENCY DOCTOR").contains("is off"));
        fixture.check("CONFIG SET latency-monitor-threshold 10", "+OK");
        assert!(fixture.text("LATENCY DOCTOR").contains("No delay"));
        fixture.check_all(&[
            ("DEBUG SLEEP 0.6", "+OK"),
            ("DEBUG SLEEP 0.009", "+OK"),
            ("DEBUG SLEEP 1", "+OK"),
            ("LATENCY LATEST", "[[\"command\", :1700000002, :1000, :1000]]"),
            ("LATENCY HISTORY Command", "[[:1700000001, :600], [:1700000002, :1000]]"),
            ("LATENCY HISTORY other", "[]"),
            ("LATENCY GRAPH other", "-ERR No samples available for event 'other'"),
        ]);
        assert!(
            fixture.text("LATENCY DOCTOR").contains("1. command: 2 delays, 800 ms on average, 1000 ms at")
        );
        let graph = fixture.text("LATENCY GRAPH command");
        assert!(
            graph.starts_with("command - high 1000 ms, low 600 ms (all time high 1000 ms)\n---"),
            "{graph}"
        );
        assert!(graph.ends_with("-\n o\n |\n |\n_|\n\n10\nss\n"), "{graph}");
        fixture.check_all(&[("LATENCY RESET other command", ":1"), ("LATENCY LATEST", "[]")]);
    }

    #[test]
    fn histograms() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("DEBUG SLEEP 0.00004", "+OK"),
            (
                "LATENCY HISTOGRAM debug get nosuch",
                "[\"debug\", [\"calls\", :1, \"histogram_usec\", [:66, :1]]]",
            ),
            ("CLIENT ID", ":1"),
            ("LATENCY HISTOGRAM client", "[\"client|id\", [\"calls\", :1, \"histogram_usec\", [:1, :1]]]"),
            ("LATENCY HISTOGRAM client|id", "[\"client|id\", [\"calls\", :1, \"histogram_usec\", [:1, :1]]]"),
            ("LATENCY HISTOGRAM client|list", "[]"),
        ]);
        assert!(fixture.run("LATENCY HISTOGRAM").contains("\"latency|histogram\""));
    }

    #[test]
    fn ages() {
        for (seconds, expected) in [(0, "0s"), (60, "1m"), (7200, "2h"), (100_000, "1d")] {
            assert_eq!(age(seconds), expected);
        }
    }
}
