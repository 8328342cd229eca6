//! SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE and SHUTDOWN.

use crate::action::ShutdownRequest;
use crate::aof::RewriteAnswer;
use crate::call::{NodeBody, NodeCall};
use crate::shutdown::{FAILED, ShutdownProgress};
use shoal_protocol::{Arguments, CommandId, ErrorReply, errors};
use shoal_session::Close;
use shoal_store::Outcome;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::Save, save),
    (CommandId::Bgsave, bgsave),
    (CommandId::Bgrewriteaof, bgrewriteaof),
    (CommandId::Lastsave, lastsave),
    (CommandId::Shutdown, shutdown),
];

const IN_PROGRESS: ErrorReply = ErrorReply::new("ERR Background save already in progress");
const OTHER_CHILD: ErrorReply = ErrorReply::new(
    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a \
     BGSAVE whenever possible.",
);
const REWRITE_IN_PROGRESS: ErrorReply =
    ErrorReply::new("ERR Background append only file rewriting already in progress");
const REWRITE_FAILED: ErrorReply = ErrorReply::new(
    "ERR Can't execute an AOF background rewriting. Please check the server logs for more information.",
);
/// The reason stands in the log.
const SEE_LOG: ErrorReply = ErrorReply::new("ERR");

fn save(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    if call.node.is_saving() {
        return Err(IN_PROGRESS);
    }
    call.node.save_now(call.now, call.host).map_err(|_| SEE_LOG)?;
    call.reply().ok();
    Ok(())
}

fn bgsave(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let may_wait = !arguments.is_empty();
    if may_wait {
        if !arguments.take_keyword("schedule") {
            return Err(errors::SYNTAX);
        }
        arguments.finish()?;
    }
    if call.node.snapshot.is_some() && !call.node.is_saving() {
        if !may_wait {
            return Err(OTHER_CHILD);
        }
        call.node.persistence.is_scheduled = true;
        call.reply().simple("Background saving scheduled");
        return Ok(());
    }
    if call.node.snapshot.is_some() {
        return Err(IN_PROGRESS);
    }
    // A transaction is not interrupted by a fork.
    if call.node.unit.is_open {
        call.node.persistence.is_scheduled = true;
        call.reply().simple("Background saving scheduled");
        return Ok(());
    }
    call.node.save_in_background(call.now, call.host).map_err(|_| SEE_LOG)?;
    call.reply().simple("Background saving started");
    Ok(())
}

fn bgrewriteaof(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let text = match call.node.ask_for_rewrite(call.now, call.host) {
        RewriteAnswer::Started => "Background append only file rewriting started",
        RewriteAnswer::Scheduled => "Background append only file rewriting scheduled",
        RewriteAnswer::InProgress => return Err(REWRITE_IN_PROGRESS),
        RewriteAnswer::Failed => return Err(REWRITE_FAILED),
    };
    call.reply().simple(text);
    Ok(())
}

fn lastsave(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let at = call.node.persistence.last_save_unix_s.cast_signed();
    call.reply().integer(at);
    Ok(())
}

fn shutdown(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let mut request = ShutdownRequest::default();
    let mut is_abort = false;
    let count = arguments.remaining();
    while let Some(option) = arguments.take_optional() {
        match option.to_ascii_lowercase().as_slice() {
            b"nosave" => request.no_save = true,
            b"save" => request.save = true,
            b"now" => request.now = true,
            b"force" => request.force = true,
            b"abort" => is_abort = true,
            _ => return Err(errors::SYNTAX),
        }
    }
    if is_abort && count > 1 || request.save && request.no_save {
        return Err(errors::SYNTAX);
    }
    if is_abort {
        if !call.node.abort_shutdown(call.host) {
            return Err(ErrorReply::new("ERR No shutdown in progress."));
        }
        call.reply().ok();
        return Ok(());
    }
    match call.node.start_shutdown(call.now, call.host, request, Some(call.handle)) {
        // No reply: the connection ends with the process.
        ShutdownProgress::Stopping => call.session.close = Close::AfterReply,
        ShutdownProgress::Waiting => call.session.is_blocked = true,
        ShutdownProgress::Failed => return Err(FAILED),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::action::{Action, ShutdownRequest};
    use crate::host::{SnapshotProgress, SnapshotReport, SnapshotTarget};
    use crate::testing::{Fixture, START_UNIX_US};

    #[test]
    fn saving_at_once() {
        let mut fixture = Fixture::new();
        fixture.run("SET k v");
        let start_s = START_UNIX_US / 1_000_000;
        fixture.check("LASTSAVE", &format!(":{start_s}"));
        fixture.advance_ms(2000);
        fixture.check("SAVE", "+OK");
        fixture.check("LASTSAVE", &format!(":{}", start_s + 2));
        assert_eq!(fixture.host.saves, [1]);
        assert!(fixture.host.has_logged("DB saved on disk"));
        assert!(fixture.text("INFO persistence").contains("rdb_changes_since_last_save:0\r\n"));
        fixture.host.save_error = Some("no space".to_owned());
        fixture.check("SAVE", "-ERR");
        assert!(fixture.host.has_logged("Failed saving the DB: no space"));
    }

    #[test]
    fn saving_in_the_background() {
        let mut fixture = Fixture::new();
        fixture.run("SET k v");
        fixture.check_all(&[
            ("BGSAVE", "+Background saving started"),
            ("BGSAVE", "-ERR Background save already in progress"),
            ("BGSAVE SCHEDULE", "-ERR Background save already in progress"),
            ("SAVE", "-ERR Background save already in progress"),
            ("BGSAVE what", "-ERR syntax error"),
        ]);
        assert_eq!(fixture.host.snapshots, [SnapshotTarget::File]);
        assert!(fixture.host.has_logged("Background saving started by pid "));
        fixture.advance_ms(3000);
        let text = fixture.text("INFO persistence");
        assert!(text.contains("rdb_bgsave_in_progress:1\r\n"), "{text}");
        assert!(text.contains("rdb_current_bgsave_time_sec:3\r\n"), "{text}");
        fixture.run("SET k w");
        fixture.end_snapshot(Ok(SnapshotReport { size_bytes: 100, copied_bytes: 4096 }));
        assert!(fixture.host.has_logged("Background saving terminated with success"));
        let text = fixture.text("INFO persistence");
        for line in [
            "rdb_changes_since_last_save:1",
            "rdb_bgsave_in_progress:0",
            "rdb_last_bgsave_status:ok",
            "rdb_last_bgsave_time_sec:3",
            "rdb_current_bgsave_time_sec:-1",
            "rdb_saves:1",
            "rdb_last_cow_size:4096",
        ] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line} in {text}");
        }
        fixture.check_all(&[
            ("MULTI", "+OK"),
            ("BGSAVE", "+QUEUED"),
            ("EXEC", "[+Background saving scheduled]"),
        ]);
        fixture.advance_ms(100);
        assert_eq!(fixture.host.snapshots.len(), 2);
    }

    #[test]
    fn a_snapshot_in_the_background_tells_how_far_it_is() {
        let mut fixture = Fixture::new();
        fixture.run("MSET a 1 b 2 c 3 d 4");
        let line = |fixture: &mut Fixture, name: &str| {
            let text = fixture.text("INFO persistence");
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().to_owned()
        };
        assert_eq!(line(&mut fixture, "current_save_keys_total"), "0");
        fixture.run("BGSAVE");
        fixture.run("SET e 5");
        fixture.host.progress = SnapshotProgress {
            keys: 3,
            copied_bytes: 5 << 20,
            peak_copied_bytes: 7 << 20,
            average_copied_bytes: 6 << 20,
            age_s: 1,
        };
        for (name, value) in [
            ("current_save_keys_processed", "3"),
            ("current_save_keys_total", "4"),
            ("current_fork_perc", "75.00"),
            ("current_cow_size", "5242880"),
            ("current_cow_peak", "7340032"),
            ("current_cow_size_age", "1"),
        ] {
            assert_eq!(line(&mut fixture, name), value, "{name}");
        }
        fixture.end_snapshot(Ok(SnapshotReport::default()));
        assert!(fixture.host.has_logged("Fork CoW for RDB: current 5 MB, peak 7 MB, average 6 MB"));
        assert_eq!(line(&mut fixture, "current_save_keys_processed"), "0");
    }

    #[test]
    fn a_file_for_replicas_only_is_removed_after_them() {
        for (words, removed) in [("yes", 1), ("no", 0)] {
            let mut fixture = Fixture::with_configuration(&[
                ("save", "\"\""),
                ("repl-diskless-sync", "no"),
                ("rdb-del-sync-files", words),
            ]);
            let replica = fixture.connect();
            fixture.send_as(replica, &["PSYNC", "?", "-1"]);
            assert_eq!(fixture.host.snapshots, [SnapshotTarget::File]);
            fixture.advance_ms(1000);
            fixture.end_snapshot(Ok(SnapshotReport::default()));
            fixture.advance_ms(1000);
            assert_eq!(fixture.host.removed_snapshots, 0, "it is on its way to the replica");
            fixture.node.file_sent(fixture.host.clock, &mut fixture.host, replica, Ok(()));
            fixture.advance_ms(1000);
            fixture.advance_ms(1000);
            assert_eq!(fixture.host.removed_snapshots, removed);
        }
    }

    #[test]
    fn flushall_empties_the_file_too() {
        let mut fixture = Fixture::with_configuration(&[("save", "60 2")]);
        fixture.run("SET a 1");
        fixture.run("BGSAVE");
        fixture.check("FLUSHALL", "+OK");
        assert_eq!(fixture.host.saves, [0]);
        assert_eq!(fixture.node.changes_since_save, 0);
        fixture.end_snapshot(Err("terminated by signal 10".to_owned()));
        fixture.check("SET c 1", "+OK");
        fixture.check("CONFIG SET save \"\"", "+OK");
        fixture.check("FLUSHALL", "+OK");
        assert_eq!(fixture.host.saves, [0], "nothing is saved without save points");
    }

    #[test]
    fn save_points_and_failures() {
        let mut fixture = Fixture::with_configuration(&[("save", "60 2")]);
        fixture.run("SET a 1");
        fixture.advance_ms(61_000);
        assert!(fixture.host.snapshots.is_empty());
        fixture.run("SET b 1");
        fixture.advance_ms(1);
        assert_eq!(fixture.host.snapshots.len(), 1);
        assert!(fixture.host.has_logged("2 changes in 60 seconds. Saving..."));
        fixture.end_snapshot(Err("no space".to_owned()));
        assert!(fixture.host.has_logged("Background saving error"));
        fixture.check_start("SET c 1", "-MISCONF Redis is configured to save RDB snapshots");
        fixture.check_start("PING", "-MISCONF");
        fixture.check("GET a", "\"1\"");
        fixture.advance_ms(4000);
        assert_eq!(fixture.host.snapshots.len(), 1);
        fixture.advance_ms(1100);
        assert_eq!(fixture.host.snapshots.len(), 2);
        fixture.end_snapshot(Ok(SnapshotReport::default()));
        fixture.check("SET c 1", "+OK");
        fixture.run("BGSAVE");
        fixture.end_snapshot(Err("no space".to_owned()));
        fixture.check("CONFIG SET stop-writes-on-bgsave-error no", "+OK");
        fixture.check("SET c 2", "+OK");
    }

    #[test]
    fn stopping() {
        let stop = |lines: &[(&str, &str)], save_error: bool| {
            let mut fixture = Fixture::with_configuration(&[("save", "60 2")]);
            fixture.host.save_error = save_error.then(|| "no space".to_owned());
            for (line, expected) in lines {
                fixture.check(line, expected);
            }
            (fixture.actions.clone(), fixture.host.saves.len())
        };
        let request = ShutdownRequest::default();
        assert_eq!(stop(&[("SHUTDOWN", "")], false), (vec![Action::Shutdown(request)], 1));
        let no_save = ShutdownRequest { no_save: true, ..request };
        assert_eq!(stop(&[("SHUTDOWN NOSAVE", "")], false), (vec![Action::Shutdown(no_save)], 0));
        let forced = ShutdownRequest { force: true, now: true, ..request };
        assert_eq!(stop(&[("SHUTDOWN NOW FORCE", "")], true), (vec![Action::Shutdown(forced)], 0));
        let refused = [
            ("SHUTDOWN", "-ERR Errors trying to SHUTDOWN. Check logs."),
            ("SHUTDOWN SAVE NOSAVE", "-ERR syntax error"),
            ("SHUTDOWN ABORT NOW", "-ERR syntax error"),
            ("SHUTDOWN what", "-ERR syntax error"),
            ("SHUTDOWN ABORT", "-ERR No shutdown in progress."),
            ("PING", "+PONG"),
        ];
        // The attempts to save failed, so the server goes on.
        assert_eq!(stop(&refused, true), (vec![Action::ShutdownAborted], 0));
    }

    /// A fixture with a replica that is online, and has acknowledged nothing yet.
    fn with_replica() -> (Fixture, crate::Handle) {
        let mut fixture = Fixture::with_configuration(&[("save", "\"\"")]);
        let replica = fixture.connect();
        fixture.send_as(replica, &["PSYNC", "?", "-1"]);
        fixture.end_snapshot(Ok(SnapshotReport::default()));
        fixture.node.file_sent(fixture.host.clock, &mut fixture.host, replica, Ok(()));
        fixture.run("SET k v");
        fixture.actions.clear();
        (fixture, replica)
    }

    #[test]
    fn stopping_waits_for_replicas() {
        let (mut fixture, replica) = with_replica();
        let other = fixture.connect();
        fixture.check("SHUTDOWN", "");
        assert!(fixture.host.has_logged("Waiting for replicas before shutting down."));
        assert!(fixture.text("INFO server").contains("shutdown_in_milliseconds:"));
        fixture.check_as(other, "SET k w", "");
        fixture.advance_ms(1000);
        assert_eq!(fixture.actions, []);
        let end = fixture.node.replication_offset().to_string();
        fixture.send_as(replica, &["REPLCONF", "ACK", &end]);
        fixture.advance_ms(100);
        assert_eq!(fixture.actions, [Action::Shutdown(ShutdownRequest::default())]);
        assert!(fixture.host.has_logged("1 of 1 replicas are in sync when shutting down."));
    }

    #[test]
    fn stopping_is_taken_back_or_loses_patience() {
        let (mut fixture, _) = with_replica();
        let other = fixture.connect();
        fixture.check("SHUTDOWN", "");
        fixture.check_as(other, "SET k w", "");
        let third = fixture.connect();
        fixture.check_as(third, "SHUTDOWN ABORT", "+OK");
        assert_eq!(fixture.received(fixture.first()), ["-ERR Errors trying to SHUTDOWN. Check logs."]);
        assert_eq!(fixture.received(other), ["+OK"]);
        fixture.check("SHUTDOWN", "");
        fixture.advance_ms(10_000);
        let expected = [Action::ShutdownAborted, Action::Shutdown(ShutdownRequest::default())];
        assert_eq!(fixture.actions, expected);
        assert!(fixture.host.has_logged("0 of 1 replicas are in sync when shutting down."));
    }
}
