//! Replication between our servers, and with real ones in both directions.

mod support;

#[path = "replication/in_and_out.rs"]
mod in_and_out;
#[path = "replication/mixed.rs"]
mod mixed;
#[path = "replication/operation.rs"]
mod operation;
#[path = "replication/scenarios.rs"]
mod scenarios;

use std::time::Duration;

use support::data::{change_collections, fill_collections};
use support::{Kind, LATER, Server, Setup, eventually};

/// Two servers of one kind or of both.
const PAIRS: [(Kind, Kind); 3] =
    [(Kind::Shoal, Kind::Shoal), (Kind::Shoal, Kind::Redis), (Kind::Redis, Kind::Shoal)];

/// A server as the tests of replication want it: snapshots that a Redis 7.0 can read, and no waiting for further replicas.
fn setup(kind: Kind) -> Setup {
    let setup = Setup::new(kind).conf("repl-diskless-sync-delay 0\nrepl-ping-replica-period 1");
    if kind == Kind::Shoal { setup.conf("rdb-version-compat 10") } else { setup }
}

/// Makes a server a replica of another.
fn follow(replica: &Server, primary: &Server) {
    assert_eq!(replica.call(&["REPLICAOF", primary.host(), &primary.port().to_string()]), "OK");
}

/// Waits until the link is up and the replica has everything; the data is equal then.
fn wait_until_equal(primary: &Server, replica: &Server) {
    replica.wait_for_info("replication", "master_link_status", "up");
    eventually(LATER, "equal data", || {
        let offset = |server: &Server| server.info("replication", "master_repl_offset");
        offset(primary) == offset(replica)
            && primary.call(&["DEBUG", "DIGEST"]) == replica.call(&["DEBUG", "DIGEST"])
    });
}

/// Strings of all encodings, with and without expiry, in several databases; and collections of every type.
fn fill(server: &Server) {
    let mut connection = server.connect();
    for database in ["0", "5", "15"] {
        assert_eq!(connection.text(&["SELECT", database]), "OK");
        assert_eq!(connection.text(&["DEBUG", "POPULATE", "500", &format!("key{database}"), "30"]), "OK");
        for words in [
            &["SET", "integer", "-12345678901"][..],
            &["SET", "short", "a\r\nb\0c"],
            &["SET", "repetitive", &"abcabc ".repeat(2000)],
            &["SET", "lasting", "x", "EX", "100000"],
            &["APPEND", "raw", "grown"],
            &["INCRBYFLOAT", "float", "3.25"],
        ] {
            let reply = connection.text(words);
            assert!(!reply.starts_with("ERR"), "{words:?}: {reply}");
        }
    }
    assert_eq!(connection.text(&["SELECT", "11"]), "OK");
    fill_collections(&mut connection);
}

/// Changes of all kinds that go down the stream of commands.
fn change(server: &Server) {
    let mut connection = server.connect();
    assert_eq!(connection.text(&["SELECT", "11"]), "OK");
    change_collections(&mut connection);
    for words in [
        &["SELECT", "5"][..],
        &["SET", "fresh", "1", "PX", "500000"],
        &["INCRBY", "fresh", "10"],
        &["GETEX", "lasting", "PERSIST"],
        &["GETDEL", "raw"],
        &["RENAME", "short", "renamed"],
        &["SETRANGE", "repetitive", "10", "XYZ"],
        &["MULTI"],
        &["SET", "one", "1"],
        &["SELECT", "0"],
        &["INCRBYFLOAT", "float", "0.5"],
        &["EXEC"],
        &["COPY", "integer", "copied", "DB", "7"],
        &["MOVE", "float", "9"],
        &["SWAPDB", "5", "15"],
        &["EXPIRE", "integer", "5000"],
        &["SET", "gone", "x", "PX", "1"],
    ] {
        let reply = connection.text(words);
        assert!(!reply.starts_with("ERR"), "{words:?}: {reply}");
    }
    eventually(LATER, "expiry", || connection.text(&["EXISTS", "gone"]) == "0");
}

/// How long nothing may happen where nothing should.
const QUIET: Duration = Duration::from_millis(300);
