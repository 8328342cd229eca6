//! In and out: Shoal follows a Redis that holds every type and encoding, is promoted, and the Redis follows it. Also over
//! two connections, between Shoals.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use super::{follow, setup, wait_until_equal};
use crate::support::data::{change_collections, describe_collections, fill_collections};
use crate::support::{Kind, LATER, Server, eventually};

/// Everything that is compared beside the digest: encodings, expiries, groups.
fn contents(server: &Server) -> Vec<String> {
    let mut connection = server.connect();
    describe_collections(&mut connection)
}

#[test]
fn in_and_out_of_a_real_server() {
    for diskless in ["yes", "no"] {
        let conf = format!("repl-diskless-sync {diskless}\nrdb-version-compat 10");
        let redis = setup(Kind::Redis).conf(&format!("repl-diskless-sync {diskless}")).start();
        let shoal = setup(Kind::Shoal).conf(&conf).start();
        fill_collections(&mut redis.connect());
        follow(&shoal, &redis);
        wait_until_equal(&redis, &shoal);
        assert_eq!(contents(&redis), contents(&shoal), "in, diskless {diskless}");
        change_collections(&mut redis.connect());
        wait_until_equal(&redis, &shoal);
        // Out: the roles change, and the real one goes on where it is.
        assert_eq!(shoal.call(&["REPLICAOF", "NO", "ONE"]), "OK");
        follow(&redis, &shoal);
        wait_until_equal(&shoal, &redis);
        assert_eq!(shoal.info("stats", "sync_full").as_deref(), Some("0"), "a partial resync was enough");
        shoal.connect().text(&["INCR", "counter"]);
        wait_until_equal(&shoal, &redis);
        // And once more from nothing.
        let other = setup(Kind::Redis).start();
        follow(&other, &shoal);
        wait_until_equal(&shoal, &other);
        assert_eq!(contents(&shoal), contents(&other), "out, diskless {diskless}");
    }
}

#[test]
fn snapshot_and_stream_on_two_connections() {
    let conf = "dual-channel-replication-enabled yes\nrepl-diskless-sync-delay 0";
    let primary = setup(Kind::Shoal).conf(conf).start();
    let replica = setup(Kind::Shoal).conf(conf).start();
    fill_collections(&mut primary.connect());
    // Slow enough for the stream to begin before the snapshot ends.
    assert_eq!(primary.call(&["CONFIG", "SET", "rdb-key-save-delay", "100000"]), "OK");
    follow(&replica, &primary);
    eventually(LATER, "both connections", || {
        let text = primary.call(&["INFO", "replication"]);
        text.contains("type=rdb-channel") && text.contains("type=main-channel")
    });
    for number in 0..500 {
        primary.call(&["SET", &format!("during:{number}"), &"x".repeat(1000)]);
    }
    wait_until_equal(&primary, &replica);
    assert_eq!(replica.call(&["GET", "during:499"]).len(), 1000);
    assert_eq!(primary.info("stats", "sync_full").as_deref(), Some("1"));
    // A Redis does not announce it, and gets everything on one connection.
    let redis = setup(Kind::Redis).start();
    assert_eq!(primary.call(&["CONFIG", "SET", "rdb-key-save-delay", "0"]), "OK");
    assert_eq!(primary.call(&["CONFIG", "SET", "rdb-version-compat", "10"]), "OK");
    follow(&redis, &primary);
    wait_until_equal(&primary, &redis);
}
