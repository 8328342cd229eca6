//! The documents' scenarios of replication without Sentinel: what INFO and the replica's log show.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use super::{follow, setup, wait_until_equal};
use crate::support::{Kind, SOON, Server, eventually};

/// What `redis-cli info Replication` prints, as names and values in their order.
fn replication(server: &Server) -> Vec<(String, String)> {
    let text = server.cli(&["info", "Replication"]).replace('\r', "");
    let at = text.find("# Replication\n").unwrap_or_else(|| panic!("{text}"));
    let lines = text[at..].lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    &fields.iter().find(|(other, _)| other == name).unwrap_or_else(|| panic!("no {name} in {fields:?}")).1
}

/// Asserts that these names stand in this order; others may stand between them.
fn check_order(fields: &[(String, String)], names: &[&str]) {
    let places: Vec<_> =
        names.iter().map(|name| fields.iter().position(|(other, _)| other == name)).collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{places:?} of {names:?} in {fields:?}"
    );
}

const STREAM: [&str; 8] = [
    "master_replid",
    "master_replid2",
    "master_repl_offset",
    "second_repl_offset",
    "repl_backlog_active",
    "repl_backlog_size",
    "repl_backlog_first_byte_offset",
    "repl_backlog_histlen",
];
const NO_ID: &str = "0000000000000000000000000000000000000000";

/// The primary's side with its replicas online.
fn check_primary(fields: &[(String, String)], replicas: &[&Server]) {
    let mut names = vec!["role", "connected_slaves", "slave0"];
    names.extend(STREAM);
    check_order(fields, &names);
    assert_eq!(value(fields, "role"), "master");
    assert_eq!(value(fields, "connected_slaves"), replicas.len().to_string());
    assert_eq!(value(fields, "repl_backlog_active"), "1");
    assert_eq!(value(fields, "repl_backlog_size"), "1048576");
    let number = |name: &str| value(fields, name).parse::<u64>().unwrap();
    let end = number("repl_backlog_first_byte_offset") + number("repl_backlog_histlen");
    assert_eq!(end, number("master_repl_offset") + 1);
    let lines: Vec<&str> = (0..replicas.len()).map(|index| value(fields, &format!("slave{index}"))).collect();
    for replica in replicas {
        let start = format!("ip=127.0.0.1,port={},state=online,offset=", replica.port());
        let line = lines.iter().find_map(|line| line.strip_prefix(&start));
        let (offset, lag) =
            line.and_then(|line| line.split_once(",lag=")).unwrap_or_else(|| panic!("{lines:?}"));
        assert!(offset.parse::<u64>().unwrap() <= number("master_repl_offset"));
        assert!(lag.parse::<u32>().unwrap() <= 2, "{lag}");
    }
}

fn check_replica(fields: &[(String, String)], primary: &Server) {
    let mut names = vec![
        "role",
        "master_host",
        "master_port",
        "master_link_status",
        "master_last_io_seconds_ago",
        "master_sync_in_progress",
        "slave_repl_offset",
        "slave_priority",
        "slave_read_only",
        "connected_slaves",
    ];
    names.extend(STREAM);
    check_order(fields, &names);
    let port = primary.port().to_string();
    for (name, wanted) in [
        ("role", "slave"),
        ("master_host", "127.0.0.1"),
        ("master_port", port.as_str()),
        ("master_link_status", "up"),
        ("master_sync_in_progress", "0"),
        ("slave_priority", "100"),
        ("slave_read_only", "1"),
        ("connected_slaves", "0"),
        ("repl_backlog_active", "1"),
    ] {
        assert_eq!(value(fields, name), wanted, "{name}");
    }
    assert!(value(fields, "master_last_io_seconds_ago").parse::<u32>().unwrap() <= 2);
    assert_eq!(value(fields, "slave_repl_offset"), value(fields, "master_repl_offset"));
}

/// One primary, two replicas by configuration, with passwords (the document's `masteraut` means `masterauth`); then the
/// primary stops, a replica is promoted, the other one follows it, and the old primary returns as replica.
#[test]
fn info_replication() {
    let password = "123456";
    let mut first = setup(Kind::Shoal).password(password).start();
    let conf = format!("slaveof 127.0.0.1 {}", first.port());
    let second = setup(Kind::Shoal).password(password).conf(&conf).start();
    let third = setup(Kind::Shoal).password(password).conf(&conf).start();
    wait_until_equal(&first, &second);
    wait_until_equal(&first, &third);
    assert_eq!(first.call(&["SET", "before", "1"]), "OK");
    wait_until_equal(&first, &second);
    wait_until_equal(&first, &third);
    eventually(SOON, "both are online", || {
        ["slave0", "slave1"]
            .iter()
            .all(|name| first.info("replication", name).is_some_and(|line| line.contains("state=online")))
    });

    let before = replication(&first);
    check_primary(&before, &[&second, &third]);
    assert_eq!(value(&before, "repl_backlog_first_byte_offset"), "1");
    assert_eq!(value(&before, "master_replid2"), NO_ID);
    assert_eq!(value(&before, "second_repl_offset"), "-1");
    for replica in [&second, &third] {
        let fields = replication(replica);
        check_replica(&fields, &first);
        assert_eq!(value(&fields, "master_replid"), value(&before, "master_replid"));
    }

    first.stop();
    assert_eq!(second.call(&["REPLICAOF", "NO", "ONE"]), "OK");
    follow(&third, &second);
    wait_until_equal(&second, &third);
    assert_eq!(second.call(&["SET", "after", "1"]), "OK");
    wait_until_equal(&second, &third);
    let after = replication(&second);
    check_primary(&after, &[&third]);
    assert_ne!(value(&after, "master_replid"), value(&before, "master_replid"), "a new history begins");
    assert_eq!(value(&after, "master_replid2"), value(&before, "master_replid"), "and the old one is known");
    let second_offset: u64 = value(&after, "second_repl_offset").parse().unwrap();
    assert!(second_offset > 1 && second_offset <= value(&after, "master_repl_offset").parse().unwrap());
    assert_eq!(second.info("stats", "sync_full").as_deref(), Some("0"), "the sibling goes on where it was");

    first.start();
    follow(&first, &second);
    wait_until_equal(&second, &first);
    assert_eq!(second.call(&["SET", "again", "1"]), "OK");
    wait_until_equal(&second, &first);
    wait_until_equal(&second, &third);
    check_replica(&replication(&first), &second);
    check_primary(&replication(&second), &[&first, &third]);
}

/// The lines that tools and people look for in a replica's log: full resync, loss of the primary, retries.
#[test]
fn replica_log_lines() {
    for (diskless, receiving) in [
        ("no", "* MASTER <-> REPLICA sync: receiving "),
        ("yes", "* MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF"),
    ] {
        let mut primary = setup(Kind::Shoal).conf(&format!("repl-diskless-sync {diskless}")).start();
        assert_eq!(primary.call(&["SET", "a", "b"]), "OK");
        let replica = setup(Kind::Shoal).conf(&format!("replicaof 127.0.0.1 {}", primary.port())).start();
        wait_until_equal(&primary, &replica);
        let id = primary.info("replication", "master_replid").unwrap();
        let address = format!("127.0.0.1:{}", primary.port());
        let connecting = format!("* Connecting to MASTER {address}");
        let full = format!("* Full resync from master: {id}:");
        let lines = [
            connecting.as_str(),
            "* MASTER <-> REPLICA sync started",
            "* Non blocking connect for SYNC fired the event.",
            "* Master replied to PING, replication can continue...",
            "* Partial resynchronization not possible (no cached master)",
            full.as_str(),
            receiving,
            "* MASTER <-> REPLICA sync: Flushing old data",
            "* MASTER <-> REPLICA sync: Loading DB in memory",
            "* MASTER <-> REPLICA sync: Finished with success",
        ];
        let place = check_lines(&replica, 0, &lines);
        let role = format!("{}:S ", replica.pid());
        assert!(replica.log().contains(&role), "the replica's role in its log lines");

        // What the snapshot file of the synchronisation does not hold is lost with the primary.
        assert_eq!(primary.call(&["SET", "lost", "1"]), "OK");
        wait_until_equal(&primary, &replica);
        primary.kill();
        replica.wait_for_log("Error condition on socket for SYNC: Connection refused");
        let lines = [
            "Connection with master lost.",
            "* Caching the disconnected master state.",
            "# Error condition on socket for SYNC: Connection refused",
            connecting.as_str(),
            "* MASTER <-> REPLICA sync started",
            "# Error condition on socket for SYNC: Connection refused",
        ];
        // One attempt at once, the next one a second later.
        replica.wait_for_log_count("Connection refused", 2);
        let place = check_lines(&replica, place, &lines);

        // The primary is another one when it returns: the cached state is of no use.
        primary.start();
        wait_until_equal(&primary, &replica);
        let partial = format!("* Trying a partial resynchronization (request {id}:");
        let lines =
            [&partial, "* Full resync from master: ", "* MASTER <-> REPLICA sync: Finished with success"];
        check_lines(&replica, place, &lines);
        let log = primary.log();
        for text in [
            format!("* Replica 127.0.0.1:{} asks for synchronization", replica.port()),
            format!("* Full resync requested by replica 127.0.0.1:{}", replica.port()),
            format!("* Synchronization with replica 127.0.0.1:{} succeeded", replica.port()),
        ] {
            assert!(log.contains(&text), "{text}: {log}");
        }
    }
}

/// Asserts that the log has these texts in this order, from a place on; gives the place after them.
fn check_lines(server: &Server, from: usize, texts: &[&str]) -> usize {
    let log = server.log();
    let mut place = from;
    for text in texts {
        let found = log[place..].find(text);
        place += found.unwrap_or_else(|| panic!("no {text:?} in\n{}", &log[from..])) + text.len();
    }
    place
}
