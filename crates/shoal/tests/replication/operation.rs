//! Directives that decide what a primary or a replica answers.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use super::{PAIRS, QUIET, follow, setup, wait_until_equal};
use crate::support::{Kind, LATER, SOON, Server, Setup, always, eventually};

#[test]
fn writes_need_enough_replicas() {
    for (first, second) in PAIRS {
        let primary = setup(first).conf("min-replicas-to-write 1\nmin-replicas-max-lag 2").start();
        let refused = "NOREPLICAS Not enough good replicas to write.";
        assert_eq!(primary.call(&["SET", "a", "b"]), refused);
        assert_eq!(primary.call(&["GET", "a"]), "");
        let replica = setup(second).start();
        follow(&replica, &primary);
        eventually(SOON, "enough replicas", || primary.call(&["SET", "a", "b"]) == "OK");
        assert_eq!(primary.info("replication", "min_slaves_good_slaves").as_deref(), Some("1"));
        replica.signal("STOP");
        eventually(SOON, "lag", || primary.call(&["SET", "a", "c"]) == refused);
        // A longer lag counts at once.
        assert_eq!(primary.call(&["CONFIG", "SET", "min-replicas-max-lag", "100"]), "OK");
        assert_eq!(primary.call(&["SET", "a", "d"]), "OK", "{first:?}");
        replica.signal("CONT");
        wait_until_equal(&primary, &replica);
    }
}

#[test]
fn stale_data_is_served_or_refused() {
    let mut primary = setup(Kind::Shoal).start();
    let replica = setup(Kind::Shoal).start();
    assert_eq!(primary.call(&["SET", "a", "b"]), "OK");
    follow(&replica, &primary);
    wait_until_equal(&primary, &replica);
    primary.kill();
    replica.wait_for_info("replication", "master_link_status", "down");
    assert_eq!(replica.call(&["GET", "a"]), "b");
    assert_eq!(replica.call(&["CONFIG", "SET", "replica-serve-stale-data", "no"]), "OK");
    let refused = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    assert_eq!(replica.call(&["GET", "a"]), refused);
    assert_eq!(replica.cli(&["get", "a"]), refused);
    assert!(replica.call(&["INFO", "replication"]).contains("role:slave"));
    primary.start();
    replica.wait_for_info("replication", "master_link_status", "up");
}

/// A replica that may write keeps its own keys until the primary says otherwise, and expires them itself.
#[test]
fn writable_replicas() {
    let (primary, replica) = (setup(Kind::Shoal).start(), setup(Kind::Shoal).start());
    follow(&replica, &primary);
    wait_until_equal(&primary, &replica);
    let refused = replica.call(&["SET", "own", "1"]);
    assert_eq!(refused, "READONLY You can't write against a read only replica.");
    assert_eq!(replica.call(&["CONFIG", "SET", "replica-read-only", "no"]), "OK");
    assert_eq!(replica.call(&["SET", "own", "1", "PX", "200"]), "OK");
    assert_eq!(replica.call(&["SET", "kept", "1"]), "OK");
    eventually(LATER, "expiry of the replica's own key", || replica.call(&["DBSIZE"]) == "1");
    assert_eq!(primary.call(&["SET", "kept", "theirs"]), "OK");
    eventually(SOON, "the primary's word", || replica.call(&["GET", "kept"]) == "theirs");
    assert_eq!(primary.call(&["EXISTS", "own"]), "0");
}

/// Expired keys look gone on a replica, but only the primary deletes them.
#[test]
fn expiry_is_the_primarys() {
    for (first, second) in PAIRS {
        let (primary, replica) = (setup(first).start(), setup(second).start());
        follow(&replica, &primary);
        wait_until_equal(&primary, &replica);
        assert_eq!(primary.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]), "OK");
        assert_eq!(primary.call(&["SET", "a", "b", "PX", "50"]), "OK");
        eventually(SOON, "arrival", || replica.call(&["DBSIZE"]) == "1");
        eventually(SOON, "expiry", || replica.call(&["GET", "a"]).is_empty());
        always(QUIET, "the replica keeps it", || replica.call(&["DBSIZE"]) == "1");
        assert_eq!(primary.call(&["GET", "a"]), "");
        eventually(SOON, "deletion", || replica.call(&["DBSIZE"]) == "0");
    }
}

#[test]
fn role_on_both_sides() {
    for (first, second) in PAIRS {
        let (primary, replica) = (setup(first).start(), setup(second).start());
        follow(&replica, &primary);
        wait_until_equal(&primary, &replica);
        let shown =
            |server: &Server| server.cli(&["ROLE"]).lines().map(str::to_string).collect::<Vec<String>>();
        eventually(SOON, "the replica's offset", || {
            let lines = shown(&primary);
            lines[0] == "master" && lines.len() == 5 && lines[4] == lines[1]
        });
        assert_eq!(shown(&primary)[2..4], ["127.0.0.1".to_string(), replica.port().to_string()]);
        let lines = shown(&replica);
        let port = primary.port().to_string();
        assert_eq!(lines[..4], ["slave", "127.0.0.1", port.as_str(), "connected"]);
    }
}

/// Fields of hashes expire on the primary, which tells the replica; a full synchronisation and a restart keep the expiries.
#[test]
fn fields_of_hashes_expire_on_both_sides() {
    let array = |server: &Server, words: &[&str]| format!("{:?}", server.connect().call(words));
    let mut primary = Setup::new(Kind::Shoal).conf("repl-diskless-sync-delay 0").start();
    primary.call(&["HSET", "h", "stays", "1", "goes", "2", "later", "3"]);
    assert_eq!(array(&primary, &["HEXPIRE", "h", "100000", "FIELDS", "1", "later"]), "Array([Integer(1)])");
    let expiry = array(&primary, &["HPEXPIRETIME", "h", "FIELDS", "1", "later"]);
    assert_eq!(primary.call(&["SAVE"]), "OK");
    primary.kill();
    primary.start();
    let replica = Setup::new(Kind::Shoal).start();
    follow(&replica, &primary);
    wait_until_equal(&primary, &replica);
    for server in [&primary, &replica] {
        assert_eq!(array(server, &["HPEXPIRETIME", "h", "FIELDS", "1", "later"]), expiry);
    }
    assert_eq!(array(&primary, &["HPEXPIRE", "h", "300", "FIELDS", "1", "goes"]), "Array([Integer(1)])");
    eventually(SOON, "the field goes", || replica.call(&["HEXISTS", "h", "goes"]) == "0");
    primary.wait_for_info("stats", "expired_subkeys", "1");
    wait_until_equal(&primary, &replica);
    assert_eq!(replica.info("stats", "expired_subkeys").as_deref(), Some("0"));
    assert_eq!(replica.call(&["HLEN", "h"]), "2");
}
