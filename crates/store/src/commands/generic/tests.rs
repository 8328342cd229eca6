//! Cases for commands on keys of any type. Replies were taken from a redis-server 7.0.

use crate::database::Layout;
use crate::testing::Fixture;
use std::collections::BTreeSet;

#[test]
fn keys_come_and_go() {
    Fixture::default().check_all(&[
        ("MSET a 1 b 2 c 3", "+OK"),
        ("EXISTS a b a none", ":3"),
        ("DEL a none", ":1"),
        ("UNLINK b c b", ":2"),
        ("DBSIZE", ":0"),
        ("TYPE a", "+none"),
        ("SET a 1", "+OK"),
        ("TYPE a", "+string"),
        ("TOUCH a b", ":1"),
        ("RANDOMKEY", "\"a\""),
        ("FLUSHDB foo", "-ERR syntax error"),
        ("FLUSHDB ASYNC SYNC", "-ERR syntax error"),
        ("FLUSHDB ASYNC", "+OK"),
        ("RANDOMKEY", "nil"),
        ("SET a 1", "+OK"),
        ("SELECT 3", "+OK"),
        ("SET b 1", "+OK"),
        ("FLUSHALL", "+OK"),
        ("DBSIZE", ":0"),
    ]);
}

#[test]
fn expiries() {
    Fixture::default().check_all(&[
        ("EXPIRE k 10", ":0"),
        ("TTL k", ":-2"),
        ("SET k v", "+OK"),
        ("TTL k", ":-1"),
        ("EXPIRE k 10 XX", ":0"),
        ("EXPIRE k 10 GT", ":0"),
        ("EXPIRE k 100 LT", ":1"),
        ("EXPIRE k 10 NX", ":0"),
        ("EXPIRE k 200 LT", ":0"),
        ("EXPIRE k 200 gt", ":1"),
        ("EXPIRE k 50 XX LT", ":1"),
        ("TTL k", ":50"),
        ("PTTL k", ":50000"),
        ("EXPIRETIME k", ":1700000050"),
        ("PEXPIRETIME k", ":1700000050000"),
        ("PEXPIRE k 1499", ":1"),
        ("TTL k", ":1"),
        ("PEXPIRE k 1500", ":1"),
        ("TTL k", ":2"),
        ("EXPIREAT k 1700000010", ":1"),
        ("PTTL k", ":10000"),
        ("PEXPIREAT k 1700000010001", ":1"),
        ("PTTL k", ":10001"),
        ("PERSIST k", ":1"),
        ("PERSIST k", ":0"),
        ("PERSIST none", ":0"),
        ("EXPIRE k 10 NX GT", "-ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE k 10 LT GT", "-ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k 10 FOO", "-ERR Unsupported option FOO"),
        ("EXPIRE k x FOO", "-ERR Unsupported option FOO"),
        ("EXPIRE k x", "-ERR value is not an integer or out of range"),
        ("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
        ("EXPIRE k -9223372036854775808", "-ERR invalid expire time in 'expire' command"),
        ("PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"),
        ("EXPIREAT k 9223372036854775807", "-ERR invalid expire time in 'expireat' command"),
        ("PEXPIREAT k 9223372036854775807", ":1"),
        ("PEXPIRETIME k", ":9223372036854775807"),
        ("EXPIRE k -1", ":1"),
        ("EXISTS k", ":0"),
        ("SET k v", "+OK"),
        ("PEXPIREAT k 1", ":1"),
        ("EXISTS k", ":0"),
    ]);
}

#[test]
fn time_passes() {
    let mut fixture = Fixture::default();
    fixture.check("SET k v PX 100", "+OK");
    fixture.now_ms += 99;
    fixture.check("PTTL k", ":1");
    fixture.access.on_replica = true;
    fixture.now_ms += 1;
    fixture.check("GET k", "nil");
    fixture.check("DBSIZE", ":1");
    fixture.check("KEYS *", "[]");
    fixture.check("RANDOMKEY", "\"k\"");
    fixture.access.from_primary = true;
    fixture.check("GET k", "\"v\"");
    fixture.check("EXPIRE k -1", ":1");
    fixture.check("DBSIZE", ":1");
    fixture.access = Default::default();
    fixture.check("SCAN 0", "[\"0\" []]");
    assert_eq!(fixture.propagated("SCAN 0"), ["DEL k"]);
    fixture.check("DBSIZE", ":0");
    assert_eq!(fixture.effects.expired, 0);
}

#[test]
fn a_replica_that_takes_writes_deletes_what_has_expired() {
    let mut fixture = Fixture::default();
    fixture.check("SET k v PX 100", "+OK");
    fixture.access.on_replica = true;
    fixture.now_ms += 100;
    fixture.check("SET k w", "+OK");
    fixture.check("DBSIZE", ":1");
    fixture.check("GET k", "\"w\"");
}

#[test]
fn other_names_and_places() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("RENAME a b", "-ERR no such key"),
        ("SET a 1 EX 100", "+OK"),
        ("RENAME a a", "+OK"),
        ("RENAMENX a a", ":0"),
        ("SET b 2", "+OK"),
        ("RENAMENX a b", ":0"),
        ("RENAME a b", "+OK"),
        ("GET b", "\"1\""),
        ("TTL b", ":100"),
        ("DBSIZE", ":1"),
        ("RENAMENX b c", ":1"),
        ("COPY c d", ":1"),
        ("TTL d", ":100"),
        ("COPY c d", ":0"),
        ("SET d x", "+OK"),
        ("COPY c d REPLACE", ":1"),
        ("GET d", "\"1\""),
        ("COPY c c", "-ERR source and destination objects are the same"),
        ("COPY none c", ":0"),
        ("COPY c c DB 1", ":1"),
        ("COPY c c DB 99", "-ERR DB index is out of range"),
        ("COPY c c DB x", "-ERR value is not an integer or out of range"),
        (
            "COPY c c DB 9999999999",
            "-ERR value is out of range, value must between -2147483648 and 2147483647",
        ),
        ("COPY c c DB", "-ERR syntax error"),
        ("COPY c c FOO", "-ERR syntax error"),
        ("MOVE c 0", "-ERR source and destination objects are the same"),
        ("MOVE c 1", ":0"),
        ("MOVE d 1", ":1"),
        ("MOVE d 1", ":0"),
        ("MOVE d 16", "-ERR DB index is out of range"),
        ("MOVE d -1", "-ERR DB index is out of range"),
        ("SELECT 1", "+OK"),
        ("MGET c d", "[\"1\" \"1\"]"),
        ("TTL d", ":100"),
        ("SWAPDB 0 1", "+OK"),
        ("DBSIZE", ":1"),
        ("SWAPDB x 1", "-ERR invalid first DB index"),
        ("SWAPDB 0 x", "-ERR invalid second DB index"),
        ("SWAPDB 0 16", "-ERR DB index is out of range"),
    ]);
    let mut clustered = Fixture::new(Layout::PerSlot);
    clustered.check_all(&[
        ("SET {t}a 1", "+OK"),
        ("COPY {t}a {t}b", ":1"),
        ("MOVE {t}a 1", "-ERR MOVE is not allowed in cluster mode"),
        ("SWAPDB 0 1", "-ERR SWAPDB is not allowed in cluster mode"),
        ("RENAME {t}a {t}c", "+OK"),
    ]);
}

#[test]
fn long_values_move_without_a_copy() {
    let mut fixture = Fixture::default();
    let long = "x".repeat(5000);
    fixture.run(&format!("SET a {long}"));
    fixture.check("COPY a b", ":1");
    fixture.check("APPEND b y", ":5001");
    fixture.check("STRLEN a", ":5000");
    fixture.check("RENAME b c", "+OK");
    fixture.check("STRLEN c", ":5001");
}

#[test]
fn listing() {
    for layout in [Layout::Single, Layout::PerSlot] {
        let mut fixture = Fixture::new(layout);
        for number in 0..200 {
            fixture.run(&format!("SET key:{number} {number}"));
        }
        fixture.run("SET {tag}x 1");
        fixture.run("SET {tag}y 1");
        fixture.check("KEYS key:12", "[\"key:12\"]");
        fixture.check("KEYS none", "[]");
        let tagged = fixture.run("KEYS {tag}*");
        assert!(tagged == "[\"{tag}x\" \"{tag}y\"]" || tagged == "[\"{tag}y\" \"{tag}x\"]", "{tagged}");
        for (options, expected) in
            [("", 202), ("COUNT 7", 202), ("MATCH key:1?", 10), ("TYPE STRING", 202), ("TYPE list", 0)]
        {
            let mut seen = BTreeSet::new();
            let mut cursor = "0".to_owned();
            loop {
                let reply = fixture.run(&format!("SCAN {cursor} {options}"));
                let mut words = reply.trim_matches(['[', ']']).split(' ');
                cursor = words.next().unwrap().trim_matches('"').to_owned();
                for word in words.map(|word| word.trim_start_matches('[')).filter(|word| !word.is_empty()) {
                    assert!(seen.insert(word.to_owned()), "{word} twice");
                }
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(seen.len(), expected, "{options} {layout:?}");
        }
    }
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("SCAN x", "-ERR invalid cursor"),
        ("SCAN \" 1\"", "-ERR invalid cursor"),
        ("SCAN 18446744073709551616", "-ERR invalid cursor"),
        ("SCAN 18446744073709551615", "[\"0\" []]"),
        ("SCAN 0 COUNT 0", "-ERR syntax error"),
        ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range"),
        ("SCAN 0 COUNT", "-ERR syntax error"),
        ("SCAN 0 FOO bar", "-ERR syntax error"),
    ]);
}

#[test]
fn inspection() {
    let mut fixture = Fixture::default();
    let long = "x".repeat(45);
    fixture.check_all(&[
        ("MSET i 5 j 10000 s short", "+OK"),
        (&format!("SET l {long}"), "+OK"),
        ("OBJECT ENCODING i", "\"int\""),
        ("OBJECT ENCODING s", "\"embstr\""),
        ("OBJECT ENCODING l", "\"raw\""),
        ("OBJECT ENCODING none", "nil"),
        ("OBJECT REFCOUNT i", ":2147483647"),
        ("OBJECT REFCOUNT j", ":1"),
        ("OBJECT REFCOUNT s", ":1"),
        ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command"),
        ("OBJECT FOO k", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP."),
        ("OBJECT FREQ none", "nil"),
        ("MEMORY USAGE none", "nil"),
        ("MEMORY USAGE i SAMPLES 0", ":34"),
        ("MEMORY USAGE i SAMPLES", "-ERR syntax error"),
        ("MEMORY USAGE i SAMPLES -1", "-ERR syntax error"),
    ]);
    fixture.now_ms += 7000;
    fixture.check("EXISTS s", ":1");
    fixture.check("OBJECT IDLETIME s", ":7");
    fixture.check("GET s", "\"short\"");
    fixture.check("OBJECT IDLETIME s", ":0");
    fixture.options.lfu = true;
    fixture.check("SET f 1", "+OK");
    fixture.check("OBJECT FREQ f", ":5");
    assert!(fixture.run("OBJECT IDLETIME f").starts_with("-ERR An LFU maxmemory policy is selected"));
    fixture.options.lfu = false;
    assert!(fixture.run("OBJECT FREQ f").starts_with("-ERR An LFU maxmemory policy is not selected"));
}

#[test]
fn effects_are_the_same_everywhere() {
    let mut fixture = Fixture::default();
    fixture.run("MSET a 1 b 2 c 3");
    for (line, propagated, events) in [
        ("EXPIRE a 10", vec!["PEXPIREAT a 1700000010000"], vec!["expire 0 a"]),
        ("PERSIST a", vec!["PERSIST a"], vec!["persist 0 a"]),
        ("EXPIRE a -10", vec!["DEL a"], vec!["del 0 a"]),
        ("DEL none", vec![], vec![]),
        ("DEL b none", vec!["DEL b none"], vec!["del 0 b"]),
        ("RENAME c d", vec!["RENAME c d"], vec!["new 0 d", "rename_from 0 c", "rename_to 0 d"]),
        ("COPY d e DB 2", vec!["COPY d e DB 2"], vec!["new 2 e", "copy_to 2 e"]),
        ("MOVE d 2", vec!["MOVE d 2"], vec!["new 2 d", "move_from 0 d", "move_to 2 d"]),
        ("FLUSHDB", vec!["FLUSHDB"], vec![]),
        ("SWAPDB 0 2", vec!["SWAPDB 0 2"], vec![]),
        ("TTL none", vec![], vec!["keymiss 0 none"]),
    ] {
        fixture.run(line);
        assert_eq!(fixture.propagated(line), propagated, "{line}");
        assert_eq!(fixture.events(), events, "{line}");
    }
    fixture.run("FLUSHALL");
    assert_eq!((fixture.effects.dirty, &fixture.effects.touched_databases[..]), (2, &[0][..]));
    fixture.run("FLUSHALL");
    assert_eq!(fixture.propagated("FLUSHALL"), ["FLUSHALL"]);
}

/// A payload in a form that command lines can hold.
fn quoted(payload: &[u8]) -> String {
    shoal_protocol::quoting::quote(payload)
}

#[test]
fn values_travel() {
    let mut fixture = Fixture::default();
    fixture.run("MSET n 10 s hello");
    // As Redis 7.0 dumps them.
    fixture.options.rdb_version = 10;
    let number = quoted(b"\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb");
    fixture.check("DUMP n", &number);
    fixture.check("DUMP none", "nil");
    fixture.options.rdb_version = 11;
    let text = fixture.run("DUMP s");
    fixture.check_all(&[
        (&format!("RESTORE n 0 {text}"), "-BUSYKEY Target key name already exists."),
        (&format!("RESTORE r 0 {number}"), "+OK"),
        ("GET r", "\"10\""),
        ("OBJECT ENCODING r", "\"int\""),
        (&format!("RESTORE r 5000 {text} REPLACE"), "+OK"),
        ("GET r", "\"hello\""),
        ("PTTL r", ":5000"),
        (&format!("RESTORE r 1700000009000 {text} replace absttl idletime 100"), "+OK"),
        ("PTTL r", ":9000"),
        ("OBJECT IDLETIME r", ":100"),
        (&format!("RESTORE r 1 {text} replace absttl"), "+OK"),
        ("EXISTS r", ":0"),
        (&format!("RESTORE r x {text}"), "-ERR value is not an integer or out of range"),
        (&format!("RESTORE r -1 {text}"), "-ERR Invalid TTL value, must be >= 0"),
        (&format!("RESTORE r 0 {text} IDLETIME -1"), "-ERR Invalid IDLETIME value, must be >= 0"),
        (&format!("RESTORE r 0 {text} FREQ 256"), "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
        (&format!("RESTORE r 0 {text} FREQ 1 IDLETIME 1"), "-ERR syntax error"),
        (&format!("RESTORE r 0 {text} FREQ"), "-ERR syntax error"),
        ("RESTORE r 0 junk", "-ERR DUMP payload version or checksum are wrong"),
        ("RESTORE r 0 \"0123456789abc\"", "-ERR DUMP payload version or checksum are wrong"),
    ]);
    fixture.options.skip_checksum = true;
    fixture.check("RESTORE r 0 \"\\x12\\x01\\x0b\\x0012345678\"", "-ERR Bad data format");
    fixture.check("RESTORE r 0 \"\\x00\\x01x\\x0b\\x0012345678\"", "+OK");
    fixture.check("GET r", "\"x\"");
    fixture.options.skip_checksum = false;
    for (line, propagated) in [
        (format!("RESTORE p 0 {number}"), None),
        (format!("RESTORE p 5000 {number} replace"), Some("1700000005000")),
        (format!("RESTORE p 1700000005000 {number} replace absttl"), None),
    ] {
        fixture.run(&line);
        let sent = fixture.propagated(&line);
        let expected = propagated.map_or(vec![line.clone()], |at| {
            let payload = String::from_utf8_lossy(b"\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb").into_owned();
            vec![format!("RESTORE p {at} {payload} replace ABSTTL")]
        });
        assert_eq!(sent, expected);
    }
    fixture.run(&format!("RESTORE p 1 {number} replace absttl"));
    assert_eq!(fixture.propagated(""), ["DEL p"]);
    fixture.run(&format!("RESTORE p 1 {number} replace absttl"));
    assert!(fixture.propagated("").is_empty());
}
