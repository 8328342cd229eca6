//! Full and partial synchronisation between all kinds of servers, and what hangs on it.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use super::{PAIRS, change, fill, follow, setup, wait_until_equal};
use crate::support::{Kind, LATER, SOON, Server, eventually};

fn count(server: &Server, name: &str) -> u64 {
    server.info("stats", name).unwrap().parse().unwrap()
}

#[test]
fn full_synchronisation_of_all_kinds() {
    for (first, second) in PAIRS {
        for (diskless, load) in [("yes", "disabled"), ("no", "disabled"), ("yes", "swapdb")] {
            let primary = setup(first).conf(&format!("repl-diskless-sync {diskless}")).start();
            let replica = setup(second).conf(&format!("repl-diskless-load {load}")).start();
            fill(&primary);
            assert_eq!(replica.call(&["SET", "mine", "vanishes"]), "OK");
            follow(&replica, &primary);
            wait_until_equal(&primary, &replica);
            assert_eq!(replica.call(&["EXISTS", "mine"]), "0");
            change(&primary);
            wait_until_equal(&primary, &replica);
            assert_eq!(count(&primary, "sync_full"), 1, "{first:?} {second:?} {diskless} {load}");
            assert!(replica.call(&["SET", "a", "b"]).starts_with("READONLY "), "{second:?}");
        }
    }
}

/// The link is cut from either side; the replica goes on where it was.
#[test]
fn partial_synchronisation_after_a_cut_link() {
    for (first, second) in PAIRS {
        let (primary, replica) = (setup(first).start(), setup(second).start());
        fill(&primary);
        follow(&replica, &primary);
        wait_until_equal(&primary, &replica);
        for (cutter, kind, round) in [(&primary, "REPLICA", 1), (&replica, "MASTER", 2)] {
            assert_eq!(cutter.call(&["CLIENT", "KILL", "TYPE", kind]), "1", "{first:?} {second:?}");
            change(&primary);
            eventually(SOON, "a partial resync", || count(&primary, "sync_partial_ok") == round);
            wait_until_equal(&primary, &replica);
        }
        assert_eq!(count(&primary, "sync_full"), 1, "{first:?} {second:?}");
    }
}

/// What is no longer in the backlog cannot be continued: everything comes again.
#[test]
fn a_small_backlog_forces_a_full_synchronisation() {
    for (first, second) in PAIRS {
        let primary = setup(first).conf("repl-backlog-size 16kb").start();
        let mut replica = setup(second).conf(&format!("replicaof 127.0.0.1 {}", primary.port())).start();
        wait_until_equal(&primary, &replica);
        replica.kill();
        for index in 0..50 {
            primary.call(&["SET", &format!("big{index}"), &"x".repeat(10_000)]);
        }
        replica.start();
        wait_until_equal(&primary, &replica);
        assert_eq!(count(&primary, "sync_full"), 2, "{first:?} {second:?}");
    }
}

/// A replica of a replica gets the same stream, whoever is in the middle.
#[test]
fn chains_of_replicas() {
    for kinds in [
        [Kind::Shoal, Kind::Shoal, Kind::Shoal],
        [Kind::Redis, Kind::Shoal, Kind::Redis],
        [Kind::Shoal, Kind::Redis, Kind::Shoal],
    ] {
        let [first, middle, last] = kinds.map(|kind| setup(kind).start());
        fill(&first);
        follow(&middle, &first);
        wait_until_equal(&first, &middle);
        follow(&last, &middle);
        wait_until_equal(&first, &last);
        change(&first);
        wait_until_equal(&first, &middle);
        wait_until_equal(&first, &last);
        // The middle loses its primary and goes on; the last one's link stays.
        assert_eq!(middle.call(&["CLIENT", "KILL", "TYPE", "MASTER"]), "1", "{kinds:?}");
        change(&first);
        wait_until_equal(&first, &middle);
        wait_until_equal(&first, &last);
        assert_eq!(count(&middle, "sync_full"), 1, "{kinds:?}");
    }
}

/// A replica is promoted; its sibling and the old primary continue with it, without a full synchronisation.
#[test]
fn a_promoted_replica_is_followed_without_a_full_synchronisation() {
    for kinds in [
        [Kind::Shoal, Kind::Shoal, Kind::Shoal],
        [Kind::Redis, Kind::Shoal, Kind::Redis],
        [Kind::Shoal, Kind::Redis, Kind::Shoal],
    ] {
        let quiet = |kind| setup(kind).conf("repl-ping-replica-period 3600").start();
        let [old, new, sibling] = kinds.map(quiet);
        fill(&old);
        follow(&new, &old);
        follow(&sibling, &old);
        wait_until_equal(&old, &new);
        wait_until_equal(&old, &sibling);
        assert_eq!(new.call(&["REPLICAOF", "NO", "ONE"]), "OK");
        follow(&sibling, &new);
        wait_until_equal(&new, &sibling);
        follow(&old, &new);
        wait_until_equal(&new, &old);
        change(&new);
        wait_until_equal(&new, &sibling);
        wait_until_equal(&new, &old);
        assert_eq!(count(&new, "sync_full"), 0, "{kinds:?}");
        assert_eq!(count(&new, "sync_partial_ok"), 2, "{kinds:?}");
    }
}

#[test]
fn passwords_between_servers() {
    for (first, second) in PAIRS {
        let primary = setup(first).password("secret").start();
        let replica = setup(second).conf("masterauth wrong").start();
        fill(&primary);
        follow(&replica, &primary);
        replica.wait_for_log("Unable to AUTH to MASTER");
        assert_eq!(replica.info("replication", "master_link_status").as_deref(), Some("down"));
        assert_eq!(replica.call(&["CONFIG", "SET", "masterauth", "secret"]), "OK");
        wait_until_equal(&primary, &replica);
    }
}

#[test]
fn wait_counts_acknowledgements() {
    for (first, second) in PAIRS {
        let (primary, replica) = (setup(first).start(), setup(second).start());
        let mut client = primary.connect();
        assert_eq!(client.text(&["SET", "a", "0"]), "OK");
        assert_eq!(client.text(&["WAIT", "1", "100"]), "0", "nobody follows");
        follow(&replica, &primary);
        wait_until_equal(&primary, &replica);
        assert_eq!(client.text(&["SET", "a", "1"]), "OK");
        assert_eq!(client.text(&["WAIT", "1", "10000"]), "1", "{first:?} {second:?}");
        assert_eq!(replica.call(&["GET", "a"]), "1");
        replica.signal("STOP");
        assert_eq!(client.text(&["SET", "a", "2"]), "OK");
        assert_eq!(client.text(&["WAIT", "1", "300"]), "0");
        replica.signal("CONT");
        assert_eq!(client.text(&["WAIT", "1", "20000"]), "1");
        let refused = replica.call(&["WAIT", "1", "1"]);
        assert!(refused.starts_with("ERR WAIT cannot be used with replica instances"), "{refused}");
    }
}

/// An old replica asks with SYNC: it gets the snapshot with its length, and then the stream.
#[test]
fn old_replicas_use_sync() {
    let primary = setup(Kind::Shoal).conf("repl-diskless-sync no").start();
    fill(&primary);
    let mut replica = primary.connect();
    replica.send_raw(b"SYNC\r\n");
    let mut bytes = Vec::new();
    eventually(LATER, "the snapshot", || {
        bytes.extend(replica.read_raw(1));
        snapshot_end(&bytes).is_some_and(|end| bytes.len() >= end)
    });
    let end = snapshot_end(&bytes).unwrap();
    assert!(bytes[..end].windows(9).any(|window| window == b"REDIS0010"), "the snapshot");
    assert_eq!(bytes[end - 9], 0xff, "it ends where its length says: end mark and checksum");
    assert_eq!(primary.call(&["SET", "streamed", "yes"]), "OK");
    eventually(LATER, "the stream", || {
        bytes.extend(replica.read_raw(1));
        String::from_utf8_lossy(&bytes[end..]).contains("$8\r\nstreamed\r\n$3\r\nyes\r\n")
    });
}

/// Where a snapshot that begins with its length ends.
fn snapshot_end(bytes: &[u8]) -> Option<usize> {
    let start = bytes.iter().position(|byte| *byte == b'$')?;
    let line = bytes[start..].iter().position(|byte| *byte == b'\n')? + start;
    let length: usize = String::from_utf8_lossy(&bytes[start + 1..line]).trim().parse().ok()?;
    Some(line + 1 + length)
}

/// What is written while the snapshot is on its way arrives too, in order and once.
#[test]
fn writes_during_the_synchronisation_arrive() {
    for (first, second) in PAIRS {
        let (primary, replica) = (setup(first).start(), setup(second).start());
        assert_eq!(primary.call(&["DEBUG", "POPULATE", "20000", "key", "200"]), "OK");
        follow(&replica, &primary);
        let mut client = primary.connect();
        for index in 0..2000 {
            client.text(&["SET", &format!("key:{}", index * 7), &"new ".repeat(index % 50)]);
            client.text(&["INCR", "counter"]);
        }
        wait_until_equal(&primary, &replica);
        assert_eq!(replica.call(&["GET", "counter"]), "2000", "{first:?} {second:?}");
        assert_eq!(count(&primary, "sync_full"), 1, "{first:?} {second:?}");
    }
}

/// What a replica is told goes into its own append-only file, which begins anew with each full synchronisation.
#[test]
fn replicas_keep_an_append_only_file() {
    for (first, second) in PAIRS {
        let primary = setup(first).start();
        let mut replica = setup(second).conf("appendonly yes\nauto-aof-rewrite-percentage 0").start();
        assert_eq!(replica.call(&["SET", "mine", "vanishes"]), "OK");
        fill(&primary);
        follow(&replica, &primary);
        wait_until_equal(&primary, &replica);
        for name in ["aof_rewrite_in_progress", "aof_rewrite_scheduled"] {
            replica.wait_for_info("persistence", name, "0");
        }
        let size = |replica: &Server| -> u64 {
            replica.info("persistence", "aof_current_size").unwrap().parse().unwrap()
        };
        let before = size(&replica);
        change(&primary);
        wait_until_equal(&primary, &replica);
        assert!(size(&replica) > before, "{second:?} writes what {first:?} sends");
        let digest = primary.call(&["DEBUG", "DIGEST"]);
        replica.kill();
        replica.start();
        assert_eq!(replica.call(&["DEBUG", "DIGEST"]), digest, "{first:?} {second:?}");
    }
}
