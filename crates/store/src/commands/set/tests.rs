//! Cases for set commands. Replies were taken from a redis-server 7.0; encodings are those of 7.2.

use crate::entry::Value;
use crate::testing::Fixture;
use std::collections::BTreeSet;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

/// The words of a reply in order, without brackets.
fn sorted(reply: &str) -> Vec<String> {
    let words = reply.trim_start_matches('~').trim_start_matches('[').trim_end_matches(']');
    let mut words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    words.sort();
    words
}

#[track_caller]
fn check_sorted(fixture: &mut Fixture, line: &str, expected: &str) {
    let reply = fixture.run(line);
    assert_eq!(sorted(&reply).join(" "), expected, "reply to {line}");
}

#[test]
fn members_come_and_go() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("SADD s a b a", ":2"),
        ("SADD s b c", ":1"),
        ("SADD s", "-ERR wrong number of arguments for 'sadd' command"),
        ("SCARD s", ":3"),
        ("SCARD none", ":0"),
        ("SISMEMBER s a", ":1"),
        ("SISMEMBER s x", ":0"),
        ("SISMEMBER none x", ":0"),
        ("SMISMEMBER s a x b", "[:1 :0 :1]"),
        ("SMISMEMBER none a", "[:0]"),
        ("SMEMBERS s", "[\"a\" \"b\" \"c\"]"),
        ("SMEMBERS none", "[]"),
        ("SREM s x", ":0"),
        ("SREM s a x c", ":2"),
        ("SREM none a", ":0"),
        ("SMEMBERS s", "[\"b\"]"),
        ("SREM s b b", ":1"),
        ("EXISTS s", ":0"),
        ("SADD n 3 1 2", ":3"),
        ("SMEMBERS n", "[\"1\" \"2\" \"3\"]"),
        ("SADD n 03", ":1"),
        ("SISMEMBER n 3", ":1"),
        ("SET str v", "+OK"),
        ("SADD str a", WRONG_TYPE),
        ("SREM str a", WRONG_TYPE),
        ("SCARD str", WRONG_TYPE),
        ("SISMEMBER str a", WRONG_TYPE),
        ("SMISMEMBER str a", WRONG_TYPE),
        ("SMEMBERS str", WRONG_TYPE),
    ]);
    fixture.resp3 = true;
    fixture.check("SMEMBERS n", "~[\"1\" \"2\" \"3\" \"03\"]");
    fixture.check("SMEMBERS none", "~[]");
}

#[test]
fn changes_are_counted_and_told() {
    let mut fixture = Fixture::default();
    fixture.check("SADD s a b c", ":3");
    assert_eq!((fixture.effects.dirty, fixture.effects.touched.len()), (3, 1));
    assert_eq!(fixture.events(), ["new 0 s", "sadd 0 s"]);
    fixture.check("SADD s a", ":0");
    assert_eq!(fixture.effects.dirty, 0);
    assert!(fixture.events().is_empty() && fixture.effects.touched.is_empty());
    fixture.check("SREM s a b", ":2");
    assert_eq!(fixture.effects.dirty, 2);
    assert_eq!(fixture.events(), ["srem 0 s"]);
    fixture.check("SREM s c d", ":1");
    assert_eq!(fixture.events(), ["srem 0 s", "del 0 s"]);
    fixture.check("SMEMBERS s", "[]");
    assert_eq!((fixture.effects.misses, fixture.events()), (1, vec!["keymiss 0 s".to_owned()]));
}

#[test]
fn encodings() {
    let mut fixture = Fixture::default();
    let numbers: Vec<String> = (0..513).map(|number| number.to_string()).collect();
    fixture.run(&format!("SADD numbers {}", numbers[..512].join(" ")));
    fixture.check("OBJECT ENCODING numbers", "\"intset\"");
    fixture.check("SADD numbers 512", ":1");
    fixture.check("OBJECT ENCODING numbers", "\"hashtable\"");
    fixture.run(&format!("SADD all {}", numbers.join(" ")));
    fixture.check("OBJECT ENCODING all", "\"hashtable\"");
    fixture.run(&format!("SADD words a {}", numbers[..127].join(" ")));
    fixture.check("OBJECT ENCODING words", "\"listpack\"");
    fixture.check("SADD words b", ":1");
    fixture.check("OBJECT ENCODING words", "\"hashtable\"");
    fixture.run(&format!("SADD long {}", "x".repeat(65)));
    fixture.check("OBJECT ENCODING long", "\"hashtable\"");
    fixture.check("SREM words b", ":1");
    fixture.check("OBJECT ENCODING words", "\"hashtable\"");
    fixture.options.limits.set_max_listpack_entries = 0;
    fixture.check("SADD plain a", ":1");
    fixture.check("OBJECT ENCODING plain", "\"hashtable\"");
    fixture.check("SADD few 1 2", ":2");
    fixture.check("SADD few a", ":1");
    fixture.check("OBJECT ENCODING few", "\"hashtable\"");
}

#[test]
fn moving() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("SADD from a b 1", ":3"),
        ("SADD to b", ":1"),
        ("SET str v", "+OK"),
        ("SMOVE none to a", ":0"),
        ("SMOVE none str a", ":0"),
        ("SMOVE str to a", WRONG_TYPE),
        ("SMOVE from str a", WRONG_TYPE),
        ("SMOVE from to x", ":0"),
        ("SMOVE from from a", ":1"),
        ("SMOVE from from x", ":0"),
    ]);
    assert_eq!(fixture.effects.dirty, 0);
    fixture.check("SMOVE from to a", ":1");
    assert_eq!(fixture.effects.dirty, 2);
    assert_eq!(fixture.events(), ["srem 0 from", "sadd 0 to"]);
    fixture.check("SMOVE from to b", ":1");
    assert_eq!(fixture.effects.dirty, 1);
    assert_eq!(fixture.events(), ["srem 0 from"]);
    fixture.check("SMOVE from fresh 1", ":1");
    assert_eq!(fixture.events(), ["srem 0 from", "del 0 from", "new 0 fresh", "sadd 0 fresh"]);
    fixture.check("OBJECT ENCODING fresh", "\"intset\"");
    fixture.check("SMEMBERS to", "[\"b\" \"a\"]");
}

#[test]
fn moving_between_expired_keys() {
    let mut fixture = Fixture::default();
    for number in 0..200 {
        fixture.run(&format!("SADD filler:{number} x"));
    }
    fixture.check("SADD from a b", ":2");
    fixture.check("SADD to x", ":1");
    fixture.check("PEXPIRE to 5", ":1");
    fixture.now_ms += 10;
    fixture.check("SMOVE from to a", ":1");
    fixture.check("SMEMBERS to", "[\"a\"]");
    assert_eq!(fixture.run("TTL to"), ":-1");
    fixture.check("PEXPIRE to 5", ":1");
    fixture.now_ms += 10;
    fixture.check("SUNION from to from", "[\"b\"]");
    fixture.check("SUNION to from", "[\"b\"]");
}

#[test]
fn intersections() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("SADD a 1 2 3 4", ":4"),
        ("SADD b 3 4 x", ":3"),
        ("SADD c 4 y", ":2"),
        ("SET str v", "+OK"),
        ("SINTER a", "[\"1\" \"2\" \"3\" \"4\"]"),
        ("SINTER a b", "[\"3\" \"4\"]"),
        ("SINTER a b c", "[\"4\"]"),
        ("SINTER a none", "[]"),
        ("SINTER none str", WRONG_TYPE),
        ("SINTER a str", WRONG_TYPE),
        ("SINTERSTORE d a b", ":2"),
        ("OBJECT ENCODING d", "\"intset\""),
        ("SINTERSTORE d b b", ":3"),
        ("OBJECT ENCODING d", "\"listpack\""),
        ("SINTERSTORE a a b", ":2"),
        ("SMEMBERS a", "[\"3\" \"4\"]"),
        ("SINTERSTORE str a b", ":2"),
        ("TYPE str", "+set"),
        ("EXPIRE d 100", ":1"),
        ("SINTERSTORE d a b", ":2"),
        ("TTL d", ":-1"),
    ]);
    assert_eq!(fixture.run("SINTERSTORE d a b"), ":2");
    assert_eq!((fixture.effects.dirty, fixture.events()), (1, vec!["sinterstore 0 d".to_owned()]));
    fixture.check("SINTERSTORE d a none", ":0");
    assert_eq!((fixture.effects.dirty, fixture.events()[1].as_str()), (1, "del 0 d"));
    fixture.check("SINTERSTORE d a none", ":0");
    assert_eq!(fixture.effects.dirty, 0);
    fixture.resp3 = true;
    fixture.check("SINTER a b", "~[\"3\" \"4\"]");
}

#[test]
fn counts_of_intersections() {
    Fixture::default().check_all(&[
        ("SADD a 1 2 3 4", ":4"),
        ("SADD b 2 3 4 x", ":4"),
        ("SINTERCARD 2 a b", ":3"),
        ("SINTERCARD 2 a b LIMIT 2", ":2"),
        ("SINTERCARD 2 a b LIMIT 0", ":3"),
        ("SINTERCARD 2 a b LIMIT 9", ":3"),
        ("SINTERCARD 2 a none", ":0"),
        ("SINTERCARD 1 a", ":4"),
        ("SINTERCARD", "-ERR wrong number of arguments for 'sintercard' command"),
        ("SINTERCARD 0 a", "-ERR numkeys should be greater than 0"),
        ("SINTERCARD x a", "-ERR numkeys should be greater than 0"),
        ("SINTERCARD 3 a b", "-ERR Number of keys can't be greater than number of args"),
        ("SINTERCARD 1 a LIMIT", "-ERR syntax error"),
        ("SINTERCARD 1 a b", "-ERR syntax error"),
        ("SINTERCARD 1 a LIMIT -1", "-ERR LIMIT can't be negative"),
        ("SINTERCARD 1 a LIMIT x", "-ERR LIMIT can't be negative"),
    ]);
}

#[test]
fn unions_and_differences() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("SADD a 1 2 3", ":3"),
        ("SADD b 3 x", ":2"),
        ("SET str v", "+OK"),
        ("SUNION a none", "[\"1\" \"2\" \"3\"]"),
        ("SUNION none", "[]"),
        ("SUNION a str", WRONG_TYPE),
        ("SUNIONSTORE u a b", ":4"),
        ("OBJECT ENCODING u", "\"listpack\""),
        ("SUNIONSTORE u a a", ":3"),
        ("OBJECT ENCODING u", "\"intset\""),
        ("SDIFF a b", "[\"1\" \"2\"]"),
        ("SDIFF a", "[\"1\" \"2\" \"3\"]"),
        ("SDIFF a b a", "[]"),
        ("SDIFF none a", "[]"),
        ("SDIFF a none", "[\"1\" \"2\" \"3\"]"),
        ("SDIFF none str", WRONG_TYPE),
        ("SDIFFSTORE d a b", ":2"),
        ("SMEMBERS d", "[\"1\" \"2\"]"),
        ("SDIFFSTORE d b a", ":1"),
        ("SMEMBERS d", "[\"x\"]"),
    ]);
    assert_eq!(fixture.events(), Vec::<String>::new());
    check_sorted(&mut fixture, "SUNION a b", "\"1\" \"2\" \"3\" \"x\"");
    fixture.check("SDIFFSTORE d a a", ":0");
    assert_eq!((fixture.effects.dirty, fixture.events()), (1, vec!["del 0 d".to_owned()]));
    fixture.check("SUNIONSTORE d b", ":2");
    assert_eq!(fixture.events(), ["new 0 d", "sunionstore 0 d"]);
    fixture.check("SDIFFSTORE d a b", ":2");
    assert_eq!(fixture.events(), ["sdiffstore 0 d"]);
}

#[test]
fn algebra_agrees_with_a_model() {
    let mut fixture = Fixture::default();
    let mut rng = shoal_machine::Rng::new(11);
    for round in 0..300 {
        let mut models = Vec::new();
        let mut keys = Vec::new();
        for index in 0..1 + rng.index(4) {
            let key = format!("s{index}");
            fixture.run(&format!("DEL {key}"));
            let range = [5, 60, 1000][rng.index(3)];
            let count = [1, 10, 150, 700][rng.index(4)];
            let prefix = ["", "m"][rng.index(2)];
            let members: BTreeSet<String> =
                (0..count).map(|_| format!("{prefix}{}", rng.index(range))).collect();
            let words: Vec<&str> = members.iter().map(String::as_str).collect();
            fixture.run(&format!("SADD {key} {}", words.join(" ")));
            models.push(members);
            keys.push(key);
        }
        let keys = keys.join(" ");
        let (first, others) = models.split_first().unwrap();
        let inter = others.iter().fold(first.clone(), |all, other| &all & other);
        let union = others.iter().fold(first.clone(), |all, other| &all | other);
        let diff = others.iter().fold(first.clone(), |all, other| &all - other);
        for (name, expected) in [("SINTER", inter), ("SUNION", union), ("SDIFF", diff)] {
            let quoted: BTreeSet<String> = expected.iter().map(|member| format!("\"{member}\"")).collect();
            let quoted: Vec<String> = quoted.into_iter().collect();
            assert_eq!(sorted(&fixture.run(&format!("{name} {keys}"))), quoted, "{name} in round {round}");
            fixture.check(&format!("{name}STORE result {keys}"), &format!(":{}", expected.len()));
            assert_eq!(sorted(&fixture.run("SMEMBERS result")), quoted, "{name}STORE in round {round}");
        }
    }
}

#[test]
fn popping_one() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("SPOP none", "nil"),
        ("SET str v", "+OK"),
        ("SPOP str", WRONG_TYPE),
        ("SPOP str 1 2", "-ERR syntax error"),
        ("SADD s only", ":1"),
        ("SPOP s", "\"only\""),
    ]);
    assert_eq!(fixture.propagated(""), ["SREM s only"]);
    assert_eq!(fixture.events(), ["spop 0 s", "del 0 s"]);
    assert_eq!(fixture.effects.dirty, 1);
    fixture.check("EXISTS s", ":0");
    fixture.check("SADD s 1 2 3", ":3");
    let popped = fixture.run("SPOP s");
    assert_eq!(fixture.propagated(""), [format!("SREM s {}", popped.trim_matches('"'))]);
    assert_eq!(fixture.events(), ["spop 0 s"]);
    fixture.check("SCARD s", ":2");
}

#[test]
fn popping_several() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("SPOP none 3", "[]"),
        ("SADD s a", ":1"),
        ("SPOP s -1", "-ERR value is out of range, must be positive"),
        ("SPOP s x", "-ERR value is out of range, must be positive"),
        ("SPOP s 0", "[]"),
        ("SPOP s 5", "[\"a\"]"),
    ]);
    assert_eq!(fixture.propagated(""), ["DEL s"]);
    assert_eq!(fixture.events(), ["spop 0 s", "del 0 s"]);
    fixture.resp3 = true;
    fixture.check("SPOP none 3", "~[]");
    fixture.options.lazy_server_del = true;
    fixture.check("SADD s a", ":1");
    fixture.check("SPOP s 1", "~[\"a\"]");
    assert_eq!(fixture.propagated(""), ["UNLINK s"]);
}

/// Every way of popping: each encoding, few and most of the members.
#[test]
fn what_is_popped_is_what_is_propagated() {
    for (length, prefix, pops) in [
        (400, "", &[1usize, 50, 399][..]),
        (100, "m", &[1, 50, 99]),
        (3000, "m", &[1, 1500, 2600, 2999]),
        (3000, "", &[2000, 2999]),
    ] {
        for &pop in pops {
            let mut fixture = Fixture::default();
            let members: BTreeSet<String> = (0..length).map(|number| format!("{prefix}{number}")).collect();
            let words: Vec<&str> = members.iter().map(String::as_str).collect();
            fixture.run(&format!("SADD s {}", words.join(" ")));
            let popped: BTreeSet<String> =
                sorted(&fixture.run(&format!("SPOP s {pop}"))).into_iter().collect();
            let popped: BTreeSet<String> =
                popped.iter().map(|member| member.trim_matches('"').to_owned()).collect();
            assert_eq!(popped.len(), pop);
            assert_eq!(fixture.effects.dirty, pop as u64);
            let mut removed = BTreeSet::new();
            for line in fixture.propagated("") {
                let mut words = line.split(' ').map(str::to_owned);
                assert_eq!((words.next().as_deref(), words.next().as_deref()), (Some("SREM"), Some("s")));
                removed.extend(words);
            }
            assert_eq!(removed, popped);
            let rest: BTreeSet<String> = sorted(&fixture.run("SMEMBERS s"))
                .iter()
                .map(|member| member.trim_matches('"').to_owned())
                .collect();
            assert_eq!(rest, &members - &popped);
        }
    }
}

#[test]
fn few_that_stay_are_packed_again() {
    let mut fixture = Fixture::default();
    let members: Vec<String> = (0..1000).map(|number| format!("m{number}")).collect();
    fixture.run(&format!("SADD s {}", members.join(" ")));
    fixture.run("EXPIRE s 100");
    fixture.run("SPOP s 700");
    fixture.check("OBJECT ENCODING s", "\"hashtable\"");
    fixture.run("SPOP s 280");
    fixture.check("OBJECT ENCODING s", "\"listpack\"");
    fixture.check("SCARD s", ":20");
    fixture.check("TTL s", ":100");
}

#[test]
fn random_members() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("SRANDMEMBER none", "nil"),
        ("SRANDMEMBER none 3", "[]"),
        ("SRANDMEMBER none -3", "[]"),
        ("SADD s a", ":1"),
        ("SRANDMEMBER s", "\"a\""),
        ("SRANDMEMBER s 0", "[]"),
        ("SRANDMEMBER s 3", "[\"a\"]"),
        ("SRANDMEMBER s -3", "[\"a\" \"a\" \"a\"]"),
        ("SRANDMEMBER s x", "-ERR value is not an integer or out of range"),
        ("SRANDMEMBER s 1 2", "-ERR syntax error"),
        (
            "SRANDMEMBER s -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ),
        ("SET str v", "+OK"),
        ("SRANDMEMBER str", WRONG_TYPE),
        ("SRANDMEMBER str 1", WRONG_TYPE),
    ]);
    fixture.resp3 = true;
    fixture.check("SRANDMEMBER s 3", "[\"a\"]");
    assert_eq!(fixture.effects.dirty, 0);
}

#[test]
fn scanning() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("SSCAN none 0", "[\"0\" []]"),
        ("SSCAN none x", "-ERR invalid cursor"),
        ("SSCAN none 0 COUNT", "[\"0\" []]"),
        ("SADD n 1 2 30", ":3"),
        ("SSCAN n 0", "[\"0\" [\"1\" \"2\" \"30\"]]"),
        ("SSCAN n 0 COUNT 1", "[\"0\" [\"1\" \"2\" \"30\"]]"),
        ("SSCAN n 0 MATCH 3*", "[\"0\" [\"30\"]]"),
        ("SADD s a b", ":2"),
        ("SSCAN s 0 MATCH a COUNT 5", "[\"0\" [\"a\"]]"),
        ("SSCAN s 0 COUNT 0", "-ERR syntax error"),
        ("SSCAN s 0 COUNT x", "-ERR value is not an integer or out of range"),
        ("SSCAN s 0 MATCH", "-ERR syntax error"),
        ("SSCAN s 0 TYPE set", "-ERR syntax error"),
        ("SET str v", "+OK"),
        ("SSCAN str 0", WRONG_TYPE),
    ]);
    let members: Vec<String> = (0..2000).map(|number| format!("m{number}")).collect();
    fixture.run(&format!("SADD big {}", members.join(" ")));
    let (mut seen, mut cursor) = (BTreeSet::new(), "0".to_owned());
    loop {
        let reply = fixture.run(&format!("SSCAN big {cursor}"));
        let (next, page) = reply.trim_start_matches('[').split_once(' ').unwrap();
        cursor = next.trim_matches('"').to_owned();
        seen.extend(sorted(page));
        // Members that come and go on the way do not disturb those that stay.
        fixture.run(&format!("SADD big x{cursor} y{cursor}"));
        fixture.run(&format!("SREM big y{cursor}"));
        if cursor == "0" {
            break;
        }
    }
    assert!(members.iter().all(|member| seen.contains(&format!("\"{member}\""))));
}

#[test]
fn copies_and_digests_are_independent_of_the_encoding() {
    let mut fixture = Fixture::default();
    let members: Vec<String> = (0..600).map(|number| number.to_string()).collect();
    fixture.run(&format!("SADD s {}", members.join(" ")));
    fixture.check("COPY s t", ":1");
    fixture.check("SREM t 5", ":1");
    fixture.check("SCARD s", ":600");
    fixture.check("SADD t 5", ":1");
    let database = fixture.keyspace.database(0);
    let digest = |key: &[u8]| crate::digest::value_digest(database, database.find(key)).to_string();
    assert_eq!(digest(b"s"), digest(b"t"));
    let found = database.find(b"s").unwrap();
    assert!(matches!(database.entry(found).value(), Value::Set(set) if set.table().is_some()));
}
