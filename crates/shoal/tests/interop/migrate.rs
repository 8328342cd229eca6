//! MIGRATE between our servers, and between ours and real ones.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use crate::support::{Kind, Server, Setup};

const BUSY: &str = "ERR Target instance replied with error: BUSYKEY Target key name already exists.";

/// A server whose payloads the other kind understands.
fn server(kind: Kind) -> Setup {
    let setup = Setup::new(kind);
    if kind == Kind::Shoal { setup.conf("rdb-version-compat 10") } else { setup }
}

/// MIGRATE of `key` from one server to another, with further words.
fn migrate(source: &Server, target: &Server, key: &str, options: &[&str]) -> String {
    let port = target.port().to_string();
    let mut words = vec!["MIGRATE", target.host(), &port, key, "3", "5000"];
    words.extend(options);
    source.call(&words)
}

fn get(target: &Server, key: &str) -> String {
    let mut connection = target.connect();
    assert_eq!(connection.text(&["SELECT", "3"]), "OK");
    connection.text(&["GET", key])
}

fn move_keys(source: Kind, target: Kind) {
    let (source, target) = (server(source).start(), server(target).start());
    let long = "again ".repeat(40_000);
    source.call(&["MSET", "a", "1", "b", "text", "c", &long]);
    source.call(&["SET", "d", "mortal", "EX", "1000"]);
    assert_eq!(migrate(&source, &target, "nothing", &[]), "NOKEY");
    assert_eq!(migrate(&source, &target, "a", &[]), "OK");
    assert_eq!(migrate(&source, &target, "", &["KEYS", "b", "c", "nothing", "d"]), "OK");
    assert_eq!(source.call(&["DBSIZE"]), "0");
    for (key, value) in [("a", "1"), ("b", "text"), ("c", &long), ("d", "mortal")] {
        assert_eq!(get(&target, key), value);
    }
    let mut connection = target.connect();
    connection.text(&["SELECT", "3"]);
    let ttl: u64 = connection.text(&["TTL", "d"]).parse().unwrap();
    assert!((900..=1000).contains(&ttl), "{ttl}");

    source.call(&["SET", "a", "2"]);
    assert_eq!(migrate(&source, &target, "a", &[]), BUSY);
    assert_eq!(migrate(&source, &target, "a", &["COPY", "REPLACE"]), "OK");
    assert_eq!((source.call(&["GET", "a"]), get(&target, "a")), ("2".into(), "2".into()));
}

#[test]
fn migrate_between_ours() {
    move_keys(Kind::Shoal, Kind::Shoal);
}

#[test]
fn migrate_to_a_real_server() {
    move_keys(Kind::Shoal, Kind::Redis);
}

#[test]
fn migrate_from_a_real_server() {
    move_keys(Kind::Redis, Kind::Shoal);
}

#[test]
fn migrate_with_passwords() {
    for kind in [Kind::Shoal, Kind::Redis] {
        let (source, target) = (server(Kind::Shoal).start(), server(kind).password("secret").start());
        source.call(&["SET", "a", "1"]);
        let refused = migrate(&source, &target, "a", &[]);
        assert!(refused.starts_with("ERR Target instance replied with error: NOAUTH"), "{refused}");
        let refused = migrate(&source, &target, "a", &["AUTH", "wrong"]);
        assert!(refused.starts_with("ERR Target instance replied with error: WRONGPASS"), "{refused}");
        assert_eq!(migrate(&source, &target, "a", &["AUTH", "secret", "COPY"]), "OK");
        assert_eq!(migrate(&source, &target, "a", &["AUTH2", "default", "secret", "REPLACE"]), "OK");
        assert_eq!(get(&target, "a"), "1");
    }
}

#[test]
fn migrate_to_servers_that_fail() {
    let (source, mut target) = (server(Kind::Shoal).start(), server(Kind::Shoal).start());
    source.call(&["MSET", "a", "1", "b", "2"]);
    assert_eq!(migrate(&source, &target, "a", &["COPY"]), "OK");
    // The connection that is kept has ended meanwhile; a new one works.
    target.kill();
    target.start();
    assert_eq!(migrate(&source, &target, "a", &["COPY"]), "OK");
    // The target hangs.
    target.signal("STOP");
    let port = target.port().to_string();
    let reply = source.call(&["MIGRATE", target.host(), &port, "a", "3", "100", "REPLACE"]);
    target.signal("CONT");
    assert_eq!(reply, "IOERR error or timeout reading to target instance");
    target.kill();
    assert_eq!(migrate(&source, &target, "a", &[]), "IOERR error or timeout connecting to the client");
    assert_eq!(source.call(&["DBSIZE"]), "2");
}
