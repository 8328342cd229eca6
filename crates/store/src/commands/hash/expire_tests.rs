//! Cases for fields that expire. Replies are those of Redis 7.4.

use crate::testing::Fixture;
use crate::types::Hash;

fn fixture(lines: &[&str]) -> Fixture {
    let mut fixture = Fixture::default();
    for line in lines {
        let reply = fixture.run(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    fixture
}

/// Enough fields for a table.
fn many_fields(count: usize) -> String {
    (0..count).map(|number| format!("f{number} {number}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn expiries_are_set_and_told() {
    let mut fixture = fixture(&["HSET h a 1 b 2 c 3"]);
    let now_s = Fixture::START_MS / 1000;
    fixture.check_all(&[
        ("HTTL h FIELDS 2 a none", "[:-1 :-2]"),
        ("HEXPIRE h 10 FIELDS 2 a none", "[:1 :-2]"),
        ("HTTL h FIELDS 3 a b none", "[:10 :-1 :-2]"),
        ("HPTTL h FIELDS 1 a", "[:10000]"),
        (&format!("HEXPIREAT h {} FIELDS 1 b", now_s + 20), "[:1]"),
        ("HTTL h FIELDS 1 b", "[:20]"),
        ("HPEXPIRE h 1500 FIELDS 1 c", "[:1]"),
        ("HTTL h FIELDS 1 c", "[:2]"),
        ("HPTTL h FIELDS 1 c", "[:1500]"),
        (&format!("HPEXPIREAT h {} FIELDS 1 c", Fixture::START_MS + 7), "[:1]"),
        ("HEXPIRETIME h FIELDS 2 a c", &format!("[:{} :{}]", now_s + 10, now_s + 1)),
        ("HPEXPIRETIME h FIELDS 1 c", &format!("[:{}]", Fixture::START_MS + 7)),
        ("HPERSIST h FIELDS 3 a a none", "[:1 :-1 :-2]"),
        ("HTTL h FIELDS 1 a", "[:-1]"),
        ("HTTL none FIELDS 2 a b", "[:-2 :-2]"),
        ("HPERSIST none FIELDS 2 a b", "[:-2 :-2]"),
        ("HEXPIRE none 10 FIELDS 2 a b", "[:-2 :-2]"),
        ("EXISTS none", ":0"),
    ]);
}

#[test]
fn wrong_arguments_are_refused() {
    let mut fixture = fixture(&["HSET h a 1", "SET s x"]);
    const MISSING: &str = "-ERR Mandatory argument FIELDS is missing or not at the right position";
    const OTHER: &str = "-ERR The `numfields` parameter must match the number of arguments";
    fixture.check_all(&[
        ("HEXPIRE s x FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HTTL s nothing 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HPERSIST s nothing 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HEXPIRE h 10 FIELDS 1", "-ERR wrong number of arguments for 'hexpire' command"),
        ("HEXPIRE h x FIELDS 1 a", "-ERR value is not an integer or out of range"),
        ("HEXPIRE h -1 FIELDS 1 a", "-ERR invalid expire time, must be >= 0"),
        ("HEXPIRE h 70368744178 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"),
        ("HPEXPIRE h 70368744177663 FIELDS 1 a", "-ERR invalid expire time in 'hpexpire' command"),
        ("HPEXPIREAT h 70368744177664 FIELDS 1 a", "-ERR invalid expire time in 'hpexpireat' command"),
        ("HPEXPIREAT h 9223372036854775807 FIELDS 1 a", "-ERR invalid expire time in 'hpexpireat' command"),
        ("HEXPIREAT h 9223372036854775807 FIELDS 1 a", "-ERR invalid expire time in 'hexpireat' command"),
        ("HEXPIRE h 10 NX 1 a b", MISSING),
        ("HEXPIRE h 10 NX XX FIELDS 1 a", MISSING),
        ("HEXPIRE h 10 a FIELDS 1 a", MISSING),
        ("HEXPIRE h 10 FIELDS 0 a", "-ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h 10 FIELDS x a", "-ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h 10 FIELDS 2 a", OTHER),
        ("HEXPIRE h 10 FIELDS 1 a b", OTHER),
        ("HEXPIRE none 10 FIELDS 1 a b", OTHER),
        ("HTTL h FIELD 1 a", MISSING),
        ("HTTL h FIELDS 0 a", "-ERR Number of fields must be a positive integer"),
        ("HTTL h FIELDS 2 a", OTHER),
        ("HPERSIST h FIELDS -1 a", "-ERR Number of fields must be a positive integer"),
        ("HPERSIST h FIELDS 2 a", OTHER),
        ("HPEXPIREAT h 70368744177663 FIELDS 1 a", "[:1]"),
    ]);
}

#[test]
fn conditions_choose() {
    // The present time to live, the condition, the wanted one, and whether it is set.
    for (present, condition, wanted, outcome) in [
        (None, "NX", 10, 1),
        (Some(20), "NX", 10, 0),
        (None, "XX", 10, 0),
        (Some(20), "XX", 10, 1),
        (None, "GT", 10, 0),
        (Some(20), "GT", 10, 0),
        (Some(20), "GT", 20, 0),
        (Some(20), "gt", 30, 1),
        (None, "LT", 10, 1),
        (Some(20), "LT", 20, 0),
        (Some(20), "lt", 10, 1),
        (Some(20), "LT", 30, 0),
        (None, "XX", 0, 0),
        (Some(20), "GT", 0, 0),
        (Some(20), "LT", 0, 2),
    ] {
        let mut fixture = fixture(&["HSET h a 1 b 2"]);
        if let Some(present) = present {
            fixture.check(&format!("HEXPIRE h {present} FIELDS 1 a"), "[:1]");
        }
        let line = format!("HEXPIRE h {wanted} {condition} FIELDS 1 a");
        fixture.check(&line, &format!("[:{outcome}]"));
        let expected = match (outcome, present) {
            (2, _) => -2,
            (1, _) => wanted,
            (_, Some(present)) => present,
            (_, None) => -1,
        };
        fixture.check("HTTL h FIELDS 1 a", &format!("[:{expected}]"));
    }
}

#[test]
fn effects_are_the_same_everywhere() {
    let at = Fixture::START_MS + 10_000;
    let mut fixture = fixture(&["HSET h a 1 b 2 c 3"]);
    let line = "HEXPIRE h 10 NX FIELDS 3 a none b";
    fixture.run(line);
    assert_eq!(fixture.propagated(line), [format!("HPEXPIREAT h {at} FIELDS 2 a b")]);
    assert_eq!((fixture.effects.dirty, fixture.effects.touched.len()), (2, 1));
    assert_eq!(fixture.events(), ["hexpire 0 h"]);
    fixture.run(line);
    assert_eq!((fixture.effects.dirty, fixture.events().len()), (0, 0));
    let line = "HPERSIST h FIELDS 2 a c";
    fixture.check(line, "[:1 :-1]");
    assert_eq!(fixture.propagated(line), [line]);
    assert_eq!((fixture.effects.dirty, fixture.events()), (1, vec!["hpersist 0 h".to_owned()]));
    fixture.run(line);
    assert_eq!((fixture.effects.dirty, fixture.events().len()), (0, 0));
    // A time that has passed deletes.
    fixture.check("HPEXPIREAT h 1 FIELDS 2 a none", "[:2 :-2]");
    assert_eq!(fixture.propagated(""), ["HDEL h a"]);
    assert_eq!((fixture.effects.dirty, fixture.effects.expired_fields), (1, 1));
    assert_eq!(fixture.events(), ["hdel 0 h"]);
    fixture.check("HEXPIRE h 0 FIELDS 2 b c", "[:2 :2]");
    assert_eq!(fixture.propagated(""), ["HDEL h b", "HDEL h c"]);
    assert_eq!(fixture.events(), ["hdel 0 h", "del 0 h"]);
    fixture.check("EXISTS h", ":0");
    // A number keeps its expiry, also where HSET tells of it.
    fixture.run("HSET n x 1");
    fixture.run("HEXPIRE n 10 FIELDS 1 x");
    fixture.check("HINCRBYFLOAT n x 0.5", "\"1.5\"");
    assert_eq!(fixture.propagated(""), ["HSET n x 1.5".to_owned(), format!("HPEXPIREAT n {at} FIELDS 1 x")]);
    fixture.check_all(&[
        ("HSET n i 1", ":1"),
        ("HEXPIRE n 10 FIELDS 1 i", "[:1]"),
        ("HINCRBY n i 1", ":2"),
        ("HTTL n FIELDS 2 x i", "[:10 :10]"),
    ]);
}

#[test]
fn expired_fields_are_gone() {
    for count in [0, 600] {
        let mut fixture = fixture(&["HSET h a 1 b 2"]);
        if count > 0 {
            fixture.run(&format!("HSET h {}", many_fields(count)));
        }
        fixture.run("HPEXPIRE h 10 FIELDS 1 a");
        fixture.check("OBJECT ENCODING h", if count > 0 { "\"hashtable\"" } else { "\"listpackex\"" });
        fixture.now_ms += 10;
        fixture.check("HGET h a", "nil");
        assert_eq!(fixture.effects.expired_fields, 1);
        assert_eq!(fixture.propagated("HGET h a"), ["HDEL h a"]);
        assert_eq!(fixture.events(), ["hexpired 0 h"]);
        fixture.check("HGET h a", "nil");
        assert_eq!((fixture.effects.expired_fields, fixture.events().len()), (0, 0));
        fixture.check("HLEN h", &format!(":{}", count + 1));
        fixture.run("HPEXPIRE h 10 FIELDS 1 b");
        fixture.now_ms += 10;
        fixture.check("HINCRBY h b 5", ":5");
        fixture.check("HTTL h FIELDS 1 b", "[:-1]");
    }
}

#[test]
fn the_last_field_takes_the_key_along() {
    for line in
        ["HGET h a", "HLEN h", "HGETALL h", "HDEL h a", "HTTL h FIELDS 1 a", "HRANDFIELD h", "HSCAN h 0"]
    {
        let mut fixture = fixture(&["HSET h a 1", "HPEXPIRE h 10 FIELDS 1 a"]);
        assert_eq!(fixture.keyspace.database(0).timed_hashes_len(), 1);
        fixture.now_ms += 11;
        fixture.run(line);
        assert_eq!(fixture.events(), ["hexpired 0 h", "del 0 h"], "{line}");
        assert_eq!(fixture.keyspace.database(0).timed_hashes_len(), 0);
        fixture.check("EXISTS h", ":0");
    }
    let mut fixture = fixture(&["HSET h a 1", "HPEXPIRE h 10 FIELDS 1 a"]);
    fixture.now_ms += 11;
    fixture.check("HSETNX h a 2", ":1");
    assert_eq!(fixture.events(), ["hexpired 0 h", "del 0 h", "new 0 h", "hset 0 h"]);
}

/// More have expired than one look-up deletes.
#[test]
fn what_is_not_deleted_yet_is_hidden() {
    let mut fixture = fixture(&[&format!("HSET h live 1 {}", many_fields(1000))]);
    let names = (0..1000).map(|number| format!("f{number}")).collect::<Vec<_>>().join(" ");
    fixture.run(&format!("HPEXPIRE h 10 FIELDS 1000 {names}"));
    fixture.now_ms += 11;
    fixture.check_all(&[
        ("HLEN h", ":1"),
        ("HKEYS h", "[\"live\"]"),
        ("HVALS h", "[\"1\"]"),
        ("HGETALL h", "[\"live\" \"1\"]"),
        ("HRANDFIELD h", "\"live\""),
        ("HRANDFIELD h 5", "[\"live\"]"),
        ("HRANDFIELD h -2", "[\"live\" \"live\"]"),
        ("HMGET h f999 live", "[nil \"1\"]"),
        ("HEXISTS h f999", ":0"),
        ("HTTL h FIELDS 1 f999", "[:-2]"),
        ("HEXPIRE h 10 FIELDS 1 f999", "[:-2]"),
        ("HDEL h f998", ":0"),
        ("HSETNX h f999 2", ":1"),
        ("HLEN h", ":2"),
    ]);
    let scanned = fixture.run("HSCAN h 0 COUNT 2000");
    assert!(scanned.len() < 40 && scanned.contains("\"live\"") && scanned.contains("\"f999\""), "{scanned}");
    // SORT looks fields up, too.
    fixture.check_all(&[("RPUSH l h", ":1"), ("SORT l BY nosort GET *->f997 GET *->live", "[nil \"1\"]")]);
}

#[test]
fn replicas_hide_and_wait() {
    let mut fixture = fixture(&["HSET h a 1 b 2", "HPEXPIRE h 10 FIELDS 1 a"]);
    fixture.now_ms += 11;
    fixture.access.on_replica = true;
    fixture.check_all(&[("HGET h a", "nil"), ("HLEN h", ":1"), ("HGETALL h", "[\"b\" \"2\"]")]);
    assert_eq!(fixture.effects.expired_fields, 0);
    fixture.access.from_primary = true;
    // What the primary says is done to all fields.
    fixture.check_all(&[
        ("HLEN h", ":2"),
        ("HPEXPIREAT h 5 FIELDS 1 b", "[:1]"),
        ("HLEN h", ":2"),
        ("HDEL h a", ":1"),
    ]);
    fixture.access = crate::Access::default();
    fixture.check("HLEN h", ":0");
}

#[test]
fn other_commands_keep_or_drop_expiries() {
    let mut fixture = fixture(&["HSET h a 1 b 2", "HEXPIRE h 10 FIELDS 1 a"]);
    fixture.check_all(&[
        ("RENAME h r", "+OK"),
        ("HTTL r FIELDS 2 a b", "[:10 :-1]"),
        ("COPY r c", ":1"),
        ("HTTL c FIELDS 2 a b", "[:10 :-1]"),
        ("MOVE c 1", ":1"),
        ("HSET r a 2", ":0"),
        ("HTTL r FIELDS 1 a", "[:-1]"),
        ("OBJECT ENCODING r", "\"listpackex\""),
        ("HEXPIRE r 10 FIELDS 1 a", "[:1]"),
        ("HDEL r a", ":1"),
        ("HSET r a 3", ":1"),
        ("HTTL r FIELDS 1 a", "[:-1]"),
        ("HEXPIRE r 10 FIELDS 1 a", "[:1]"),
        ("SET r string", "+OK"),
    ]);
    assert_eq!(fixture.keyspace.database(0).timed_hashes_len(), 0);
    assert_eq!(fixture.keyspace.database(1).timed_hashes_len(), 1);
    fixture.run("SELECT 1");
    fixture.check("HTTL c FIELDS 1 a", "[:10]");
    fixture.check("FLUSHDB", "+OK");
    assert_eq!(fixture.keyspace.database(1).timed_hashes_len(), 0);
}

#[test]
fn payloads_keep_expiries() {
    for fields in ["a 1 b 2".to_owned(), format!("a 1 b 2 {}", many_fields(600))] {
        let mut fixture = fixture(&[&format!("HSET h {fields}"), "HEXPIRE h 10 FIELDS 1 a"]);
        let digest = |fixture: &Fixture, key: &[u8]| {
            let database = fixture.keyspace.database(0);
            crate::digest::value_digest(database, database.find(key))
        };
        let database = fixture.keyspace.database(0);
        let found = database.find(b"h").unwrap();
        let payload = crate::snapshot::dump(database.entry(found).value(), &fixture.options);
        assert_eq!(payload[payload.len() - 10..][..2], [12, 0], "the version");
        fixture.run_words(&[b"RESTORE".as_slice(), b"r", b"0", &payload]);
        assert_eq!(digest(&fixture, b"h"), digest(&fixture, b"r"));
        fixture.check("HTTL r FIELDS 2 a b", "[:10 :-1]");
        assert_eq!(fixture.keyspace.database(0).timed_hashes_len(), 2);
        // What has to fit Redis 7.0 cannot tell of them.
        fixture.options.rdb_version = 10;
        let found = fixture.keyspace.database(0).find(b"h").unwrap();
        let payload =
            crate::snapshot::dump(fixture.keyspace.database(0).entry(found).value(), &fixture.options);
        assert_eq!(payload[payload.len() - 10..][..2], [10, 0]);
        fixture.run_words(&[b"RESTORE".as_slice(), b"old", b"0", &payload]);
        fixture.check("HTTL old FIELDS 2 a b", "[:-1 :-1]");
        assert_ne!(digest(&fixture, b"h"), digest(&fixture, b"old"));
    }
}

#[test]
fn a_hash_without_expiries_pays_nothing() {
    let mut fixture = fixture(&["HSET plain a 1 b 2", "HSET timed a 1 b 2"]);
    let size = |fixture: &Fixture, key: &[u8]| {
        let database = fixture.keyspace.database(0);
        database.entry(database.find(key).unwrap()).size_bytes(0)
    };
    let before = size(&fixture, b"plain");
    fixture.run("HEXPIRE timed 10 FIELDS 1 a");
    assert_eq!(size(&fixture, b"plain"), before);
    assert!(size(&fixture, b"timed") > before);
    assert_eq!(size_of::<Hash>(), 16);
}
