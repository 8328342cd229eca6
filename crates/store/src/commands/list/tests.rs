//! Cases for list commands. Replies were compared with those of a redis-server 7.0; encodings are those of 7.2.

use crate::call::{Block, TimeoutReply};
use crate::testing::Fixture;
use crate::types::Type;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn pushes_and_reads() {
    Fixture::default().check_all(&[
        ("RPUSH l a b c", ":3"),
        ("LPUSH l z y", ":5"),
        ("LRANGE l 0 -1", "[\"y\" \"z\" \"a\" \"b\" \"c\"]"),
        ("LRANGE l 1 2", "[\"z\" \"a\"]"),
        ("LRANGE l -2 100", "[\"b\" \"c\"]"),
        ("LRANGE l -100 0", "[\"y\"]"),
        ("LRANGE l 3 1", "[]"),
        ("LRANGE l 5 9", "[]"),
        ("LRANGE l 0 -6", "[]"),
        ("LRANGE l -9223372036854775808 9223372036854775807", "[\"y\" \"z\" \"a\" \"b\" \"c\"]"),
        ("LRANGE none 0 -1", "[]"),
        ("LRANGE l a 1", "-ERR value is not an integer or out of range"),
        ("LLEN l", ":5"),
        ("LLEN none", ":0"),
        ("LINDEX l 0", "\"y\""),
        ("LINDEX l -1", "\"c\""),
        ("LINDEX l 5", "nil"),
        ("LINDEX l -6", "nil"),
        ("LINDEX l -9223372036854775808", "nil"),
        ("LINDEX l x", "-ERR value is not an integer or out of range"),
        ("LINDEX none x", "nil"),
        ("LPUSHX none a", ":0"),
        ("RPUSHX none a", ":0"),
        ("EXISTS none", ":0"),
        ("LPUSHX l 1", ":6"),
        ("RPUSHX l -2 03", ":8"),
        ("LRANGE l 0 -1", "[\"1\" \"y\" \"z\" \"a\" \"b\" \"c\" \"-2\" \"03\"]"),
        ("RPUSH l", "-ERR wrong number of arguments for 'rpush' command"),
        ("SET s v", "+OK"),
        ("RPUSH s a", WRONG_TYPE),
        ("LPUSHX s a", WRONG_TYPE),
        ("LRANGE s 0 1", WRONG_TYPE),
        ("LRANGE s x 1", "-ERR value is not an integer or out of range"),
        ("LINDEX s x", WRONG_TYPE),
        ("LLEN s", WRONG_TYPE),
        ("TYPE l", "+list"),
    ]);
}

#[test]
fn insertions_and_replacements() {
    Fixture::default().check_all(&[
        ("RPUSH l a b 3", ":3"),
        ("LINSERT l BEFORE b x", ":4"),
        ("LINSERT l after 3 y", ":5"),
        ("LINSERT l BEFORE a first", ":6"),
        ("LINSERT l BEFORE nosuch y", ":-1"),
        ("LINSERT none BEFORE a y", ":0"),
        ("LINSERT l MIDDLE a y", "-ERR syntax error"),
        ("LINSERT l BEFORE a", "-ERR wrong number of arguments for 'linsert' command"),
        ("LRANGE l 0 -1", "[\"first\" \"a\" \"x\" \"b\" \"3\" \"y\"]"),
        ("LSET l 0 0", "+OK"),
        ("LSET l -1 last", "+OK"),
        ("LSET l 6 x", "-ERR index out of range"),
        ("LSET l -7 x", "-ERR index out of range"),
        ("LSET l x x", "-ERR value is not an integer or out of range"),
        ("LSET none x x", "-ERR no such key"),
        ("LRANGE l 0 -1", "[\"0\" \"a\" \"x\" \"b\" \"3\" \"last\"]"),
        ("SET s v", "+OK"),
        ("LSET s x x", WRONG_TYPE),
        ("LINSERT s BEFORE a b", WRONG_TYPE),
        ("LINSERT s MIDDLE a b", "-ERR syntax error"),
    ]);
}

#[test]
fn removals() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("RPUSH l a b a 1 a 01 a 1", ":8"),
        ("LREM l 1 a", ":1"),
        ("LREM l -2 a", ":2"),
        ("LRANGE l 0 -1", "[\"b\" \"a\" \"1\" \"01\" \"1\"]"),
        ("LREM l 0 1", ":2"),
        ("LREM l 0 1", ":0"),
        ("LREM l x 1", "-ERR value is not an integer or out of range"),
        ("LREM none 0 1", ":0"),
        ("LREM none x 1", "-ERR value is not an integer or out of range"),
        ("LRANGE l 0 -1", "[\"b\" \"a\" \"01\"]"),
        ("LREM l -5 01", ":1"),
    ]);
    assert_eq!(fixture.events(), ["lrem 0 l"]);
    fixture.run("RPUSH l b b");
    fixture.check("LREM l -9223372036854775808 b", ":3");
    assert_eq!(fixture.effects.dirty, 3);
    fixture.check("LREM l 0 a", ":1");
    assert_eq!(fixture.events(), ["lrem 0 l", "del 0 l"]);
    fixture.check_all(&[
        ("RPUSH l a b c d e", ":5"),
        ("LTRIM l 1 -2", "+OK"),
        ("LRANGE l 0 -1", "[\"b\" \"c\" \"d\"]"),
        ("LTRIM l 0 100", "+OK"),
        ("LTRIM l -100 -1", "+OK"),
    ]);
    assert_eq!((fixture.effects.dirty, fixture.events()), (0, vec!["ltrim 0 l".to_owned()]));
    assert_eq!(fixture.effects.touched, [(0, b"l".to_vec())]);
    fixture.check("LTRIM l 2 1", "+OK");
    assert_eq!((fixture.effects.dirty, fixture.events().len()), (3, 2));
    fixture.check_all(&[
        ("EXISTS l", ":0"),
        ("LTRIM l 0 1", "+OK"),
        ("LTRIM l x 1", "-ERR value is not an integer or out of range"),
        ("SET s v", "+OK"),
        ("LTRIM s 0 1", WRONG_TYPE),
        ("LREM s 0 1", WRONG_TYPE),
    ]);
}

#[test]
fn pops() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("RPUSH l a 2 c d e f", ":6"),
        ("LPOP l", "\"a\""),
        ("RPOP l", "\"f\""),
        ("LPOP l 2", "[\"2\" \"c\"]"),
        ("RPOP l 0", "[]"),
        ("RPOP l 9", "[\"e\" \"d\"]"),
    ]);
    assert_eq!((fixture.effects.dirty, fixture.events()), (2, vec!["rpop 0 l".into(), "del 0 l".into()]));
    fixture.check_all(&[
        ("EXISTS l", ":0"),
        ("LPOP l", "nil"),
        ("LPOP l 1", "nil"),
        ("LPOP l 1 2", "-ERR wrong number of arguments for 'lpop' command"),
        ("RPOP l -1", "-ERR value is out of range, must be positive"),
        ("RPOP l x", "-ERR value is out of range, must be positive"),
        ("SET s v", "+OK"),
        ("LPOP s", WRONG_TYPE),
        ("LPOP s 0", WRONG_TYPE),
        ("RPOP s x", "-ERR value is out of range, must be positive"),
    ]);
    assert_eq!(fixture.run_words(&["LPOP", "none"]), b"$-1\r\n");
    assert_eq!(fixture.run_words(&["LPOP", "none", "1"]), b"*-1\r\n");
    fixture.resp3 = true;
    assert_eq!(fixture.run_words(&["LPOP", "none", "1"]), b"_\r\n");
}

#[test]
fn positions() {
    Fixture::default().check_all(&[
        ("RPUSH l a b c 1 2 3 c c", ":8"),
        ("LPOS l a", ":0"),
        ("LPOS l c", ":2"),
        ("LPOS l 2", ":4"),
        ("LPOS l c RANK 2", ":6"),
        ("LPOS l c RANK 4", "nil"),
        ("LPOS l c RANK -1", ":7"),
        ("LPOS l c RANK -3", ":2"),
        ("LPOS l c COUNT 2", "[:2 :6]"),
        ("LPOS l c COUNT 0", "[:2 :6 :7]"),
        ("LPOS l c COUNT 2 RANK -1", "[:7 :6]"),
        ("LPOS l c RANK 2 COUNT 0", "[:6 :7]"),
        ("LPOS l c MAXLEN 3", ":2"),
        ("LPOS l c MAXLEN 2", "nil"),
        ("LPOS l c MAXLEN 2 COUNT 0", "[]"),
        ("LPOS l c MAXLEN 2 RANK -1 COUNT 0", "[:7 :6]"),
        ("LPOS l c MAXLEN 0 COUNT 0", "[:2 :6 :7]"),
        ("LPOS l x", "nil"),
        ("LPOS l x COUNT 1", "[]"),
        ("LPOS none x", "nil"),
        ("LPOS none x COUNT 1", "[]"),
        (
            "LPOS l c RANK 0",
            "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
             negative to start from the end of the list",
        ),
        (
            "LPOS l c RANK -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ),
        ("LPOS l c RANK x", "-ERR value is not an integer or out of range"),
        ("LPOS l c COUNT -1", "-ERR COUNT can't be negative"),
        ("LPOS l c COUNT x", "-ERR COUNT can't be negative"),
        ("LPOS l c MAXLEN -1", "-ERR MAXLEN can't be negative"),
        ("LPOS l c COUNT", "-ERR syntax error"),
        ("LPOS l c FIRST 1", "-ERR syntax error"),
        ("SET s v", "+OK"),
        (
            "LPOS s v RANK 0 COUNT",
            "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
          second ... or use negative to start from the end of the list",
        ),
        ("LPOS s v", WRONG_TYPE),
    ]);
}

#[test]
fn moves() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("RPUSH l a b c", ":3"),
        ("LMOVE l m RIGHT LEFT", "\"c\""),
        ("LMOVE l m left right", "\"a\""),
        ("LRANGE m 0 -1", "[\"c\" \"a\"]"),
        ("RPOPLPUSH l m", "\"b\""),
    ]);
    assert_eq!(fixture.events(), ["lpush 0 m", "rpop 0 l", "del 0 l"]);
    assert_eq!(fixture.effects.dirty, 1);
    fixture.check_all(&[
        ("EXISTS l", ":0"),
        ("LRANGE m 0 -1", "[\"b\" \"c\" \"a\"]"),
        ("RPOPLPUSH m m", "\"a\""),
        ("LRANGE m 0 -1", "[\"a\" \"b\" \"c\"]"),
        ("LMOVE m m LEFT LEFT", "\"a\""),
        ("LRANGE m 0 -1", "[\"a\" \"b\" \"c\"]"),
        ("RPUSH one x", ":1"),
        ("RPOPLPUSH one one", "\"x\""),
        ("LRANGE one 0 -1", "[\"x\"]"),
        ("RPOPLPUSH none m", "nil"),
        ("LMOVE none m UP LEFT", "-ERR syntax error"),
        ("SET s v", "+OK"),
        ("LMOVE none s LEFT LEFT", "nil"),
        ("LMOVE m s LEFT LEFT", WRONG_TYPE),
        ("LMOVE s m LEFT LEFT", WRONG_TYPE),
        ("LRANGE m 0 -1", "[\"a\" \"b\" \"c\"]"),
    ]);
    let long = "z".repeat(20_000);
    fixture.check(&format!("RPUSH long {long}"), ":1");
    fixture.check("LMOVE long m LEFT LEFT", &format!("\"{long}\""));
    fixture.check("LINDEX m 0", &format!("\"{long}\""));
    fixture.check("LMOVE m long LEFT LEFT", &format!("\"{long}\""));
    fixture.run("RPUSH old 1");
    fixture.run("PEXPIRE old 10");
    fixture.now_ms += 11;
    fixture.check("LMOVE m old LEFT LEFT", "\"a\"");
    fixture.check_all(&[("LRANGE old 0 -1", "[\"a\"]"), ("TTL old", ":-1")]);
}

#[test]
fn pops_from_the_first_of_many() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("LMPOP 2 none l LEFT", "nil"),
        ("RPUSH l a b c d", ":4"),
        ("LMPOP 2 none l LEFT", "[\"l\" [\"a\"]]"),
        ("LMPOP 2 l none RIGHT COUNT 2", "[\"l\" [\"d\" \"c\"]]"),
    ]);
    assert_eq!(fixture.propagated(""), ["RPOP l 2"]);
    fixture.check("LMPOP 1 l left count 9", "[\"l\" [\"b\"]]");
    assert_eq!(fixture.propagated(""), ["LPOP l 1"]);
    fixture.check_all(&[
        ("SET s v", "+OK"),
        ("LMPOP 2 none s LEFT", WRONG_TYPE),
        ("LMPOP 0 s LEFT", "-ERR numkeys should be greater than 0"),
        ("LMPOP x s LEFT", "-ERR numkeys should be greater than 0"),
        ("LMPOP 9223372036854775807 s LEFT", "-ERR syntax error"),
        ("LMPOP 2 s LEFT", "-ERR syntax error"),
        ("LMPOP 1 s UP", "-ERR syntax error"),
        ("LMPOP 1 s LEFT COUNT", "-ERR syntax error"),
        ("LMPOP 1 s LEFT COUNT 0", "-ERR count should be greater than 0"),
        ("LMPOP 1 s LEFT COUNT x", "-ERR count should be greater than 0"),
        ("LMPOP 1 s LEFT COUNT 1 COUNT 1", "-ERR syntax error"),
        ("BLMPOP x 0 s LEFT", "-ERR numkeys should be greater than 0"),
        ("BLMPOP x 1 s LEFT", "-ERR timeout is not a float or out of range"),
    ]);
}

/// Runs a command that has to wait and returns what it waits for.
#[track_caller]
fn blocked(fixture: &mut Fixture, line: &str) -> Block {
    let words: Vec<_> = line.split(' ').collect();
    assert_eq!(fixture.run_words(&words), b"", "no reply yet");
    fixture.effects.block.clone().expect("it waits")
}

#[test]
fn blocking_commands_take_what_is_there() {
    let mut fixture = Fixture::default();
    for (line, reply, propagated) in [
        ("BLPOP none l 0", "[\"l\" \"a\"]", "LPOP l"),
        ("BRPOP none l 0.1", "[\"l\" \"e\"]", "RPOP l"),
        ("BLMPOP 1 2 none l RIGHT COUNT 2", "[\"l\" [\"d\" \"c\"]]", "RPOP l 2"),
        ("BLMOVE l m Left right 0", "\"b\"", "LMOVE l m Left right"),
        ("BRPOPLPUSH m l 0", "\"b\"", "RPOPLPUSH m l"),
    ] {
        if fixture.run("EXISTS l m") == ":0" {
            fixture.run("RPUSH l a b c d e");
        }
        fixture.check(line, reply);
        assert_eq!(fixture.propagated(line), [propagated]);
        assert!(fixture.effects.block.is_none());
    }
    fixture.check_all(&[
        ("SET s v", "+OK"),
        ("BLPOP none s 0", WRONG_TYPE),
        ("BLMOVE s m LEFT LEFT 0", WRONG_TYPE),
        ("BRPOPLPUSH l s 0", WRONG_TYPE),
        ("LLEN l", ":1"),
        ("BLPOP l x", "-ERR timeout is not a float or out of range"),
        ("BLPOP l -1", "-ERR timeout is negative"),
        ("BLPOP l 0x7FFFFFFFFFFFFF", "-ERR timeout is out of range"),
        ("BLPOP l 9223372036854774", "-ERR timeout is out of range"),
        ("BLMOVE l m UP LEFT x", "-ERR syntax error"),
        ("BLMOVE l m LEFT LEFT x", "-ERR timeout is not a float or out of range"),
    ]);
}

#[test]
fn blocking_commands_wait() {
    let mut fixture = Fixture::default();
    for (line, keys, timeout_ms) in [
        ("BLPOP a b 0", &["a", "b"][..], 0),
        ("BRPOP a 1.5", &["a"], 1500),
        ("BLMPOP 0.001 2 a b LEFT COUNT 3", &["a", "b"], 1),
        ("BLMOVE a b LEFT RIGHT 10", &["a"], 10_000),
        ("BRPOPLPUSH a b 0", &["a"], 0),
    ] {
        let block = blocked(&mut fixture, line);
        let waits_for: Vec<_> = block.keys.iter().map(|key| std::str::from_utf8(key).unwrap()).collect();
        assert_eq!((waits_for.as_slice(), block.timeout_ms), (keys, timeout_ms), "{line}");
        assert_eq!((block.kind, block.on_timeout), (Type::List, TimeoutReply::NullArray));
        assert_eq!(fixture.effects.dirty, 0);
    }
    fixture.access.deny_blocking = true;
    assert_eq!(fixture.run_words(&["BLPOP", "a", "0"]), b"*-1\r\n");
    assert_eq!(fixture.run_words(&["BLMPOP", "0", "1", "a", "LEFT"]), b"*-1\r\n");
    assert_eq!(fixture.run_words(&["BLMOVE", "a", "b", "LEFT", "LEFT", "0"]), b"$-1\r\n");
    assert_eq!(fixture.run_words(&["BRPOPLPUSH", "a", "b", "0"]), b"$-1\r\n");
    assert!(fixture.effects.block.is_none());
}

#[test]
fn encodings() {
    let mut fixture = Fixture::default();
    fixture.options.limits.list_max_listpack_size = 4;
    let encoding = |fixture: &mut Fixture, line: &str, expected: &str| {
        fixture.run(line);
        fixture.check("OBJECT ENCODING l", expected);
    };
    for (line, expected) in [
        ("RPUSH l a b c d", "\"listpack\""),
        ("RPUSH l e", "\"quicklist\""),
        ("RPOP l", "\"quicklist\""),
        ("LPOP l", "\"quicklist\""),
        // One node of half the limit or less.
        ("LPOP l", "\"listpack\""),
        ("LPUSH l 1 2 3", "\"quicklist\""),
        ("LTRIM l 0 1", "\"quicklist\""),
        ("LPUSH l 4", "\"quicklist\""),
        ("LTRIM l 0 1", "\"listpack\""),
        ("LSET l 0 2", "\"listpack\""),
        ("LINSERT l BEFORE 2 x", "\"listpack\""),
        ("LINSERT l BEFORE 2 y", "\"listpack\""),
        ("LINSERT l BEFORE nosuch z", "\"quicklist\""),
        ("LREM l 1 x", "\"quicklist\""),
        ("LREM l 1 y", "\"listpack\""),
        ("LSET l 0 v", "\"listpack\""),
        ("RPUSH l p q", "\"listpack\""),
        // Redis takes a replacement for one more.
        ("LSET l 0 w", "\"quicklist\""),
        ("RPOPLPUSH l other", "\"quicklist\""),
        ("RPOPLPUSH l other", "\"listpack\""),
    ] {
        encoding(&mut fixture, line, expected);
    }
    fixture.options.limits.list_max_listpack_size = -1;
    let long = "x".repeat(1000);
    fixture.run("DEL l");
    for (count, expected) in [(3, "\"listpack\""), (1, "\"listpack\""), (1, "\"quicklist\"")] {
        for _ in 0..count {
            fixture.run(&format!("RPUSH l {long}"));
        }
        fixture.check("OBJECT ENCODING l", expected);
    }
    for (left, expected) in [(4, "\"quicklist\""), (3, "\"quicklist\""), (2, "\"listpack\"")] {
        fixture.run("RPOP l");
        fixture.check("LLEN l", &format!(":{left}"));
        fixture.check("OBJECT ENCODING l", expected);
    }
}

#[test]
fn changes_are_counted_and_told() {
    let mut fixture = Fixture::default();
    for (line, dirty, events) in [
        ("RPUSH l a b c", 3, &["new 0 l", "rpush 0 l"][..]),
        ("LPUSHX l x", 1, &["lpush 0 l"]),
        ("LINSERT l BEFORE a y", 1, &["linsert 0 l"]),
        ("LINSERT l BEFORE nosuch y", 0, &[]),
        ("LSET l 0 z", 1, &["lset 0 l"]),
        ("LPOP l 2", 2, &["lpop 0 l"]),
        ("LPOP l 0", 0, &[]),
        ("LREM l 0 nosuch", 0, &[]),
    ] {
        fixture.run(line);
        assert_eq!(
            (fixture.effects.dirty, fixture.events().as_slice()),
            (dirty, &events.iter().map(|event| (*event).to_owned()).collect::<Vec<_>>()[..]),
            "{line}"
        );
        assert_eq!(fixture.effects.touched.len() as u64, dirty.min(1), "{line}");
        if dirty > 0 {
            assert_eq!(fixture.propagated(line), [line]);
        }
    }
}

/// What DUMP gives.
fn dump(fixture: &mut Fixture, key: &str) -> Vec<u8> {
    let reply = fixture.run_words(&["DUMP", key]);
    let begin = reply.iter().position(|byte| *byte == b'\n').expect("a bulk string") + 1;
    reply[begin..reply.len() - 2].to_vec()
}

#[test]
fn lists_go_out_and_come_back() {
    let mut fixture = Fixture::default();
    let long = "z".repeat(20_000);
    for (size, depth) in [(-2, 0), (3, 0), (3, 1), (-1, 2)] {
        fixture.options.limits.list_max_listpack_size = size;
        fixture.options.limits.list_compress_depth = depth;
        fixture.run("DEL l copy");
        for number in 0..30 {
            fixture.run(&format!("RPUSH l {number} {} text:{number}", "y".repeat(100 + number)));
        }
        for encoding in ["\"listpack\"", "\"quicklist\""] {
            if size == -2 || encoding == "\"quicklist\"" {
                fixture.check("OBJECT ENCODING l", encoding);
                let dump = dump(&mut fixture, "l");
                fixture.run_words(&[&b"RESTORE"[..], b"copy", b"0", &dump, b"REPLACE"]);
                fixture.check("OBJECT ENCODING copy", encoding);
                let list = fixture.run("LRANGE l 0 -1");
                assert!(list.len() > 3000);
                fixture.check("LRANGE copy 0 -1", &list);
            }
            fixture.run(&format!("LINSERT l BEFORE 17 {long}"));
        }
    }
}

/// The payload of a value without a checksum; the fixture does not look at it.
fn payload(value: &[u8]) -> Vec<u8> {
    [value, &[10, 0], &[0; 8]].concat()
}

#[test]
fn lists_of_old_files_become_what_they_are_today() {
    // A ziplist of the string `a` and the integer 5: bytes, offset of the last, count, elements, end.
    const ZIPLIST: &[u8] = b"\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf6\xff";
    let node = [&[ZIPLIST.len() as u8], ZIPLIST].concat();
    let mut fixture = Fixture::default();
    fixture.options.skip_checksum = true;
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("type 1: strings", b"\x01\x03\x01a\xc0\x05\x01b".to_vec(), "[\"a\" \"5\" \"b\"]"),
        ("type 10: a ziplist", [b"\x0a", &node[..]].concat(), "[\"a\" \"5\"]"),
        ("type 14: ziplists", [b"\x0e\x02", &node[..], &node].concat(), "[\"a\" \"5\" \"a\" \"5\"]"),
        (
            "type 18: a listpack and a plain node",
            b"\x12\x02\x02\x0a\x0a\0\0\0\x01\0\x81a\x02\xff\x01\x03xyz".to_vec(),
            "[\"a\" \"xyz\"]",
        ),
        ("a damaged ziplist", b"\x0a\x05hello".to_vec(), ""),
        ("a damaged listpack", b"\x12\x01\x02\x05hello".to_vec(), ""),
    ];
    for (name, value, expected) in cases {
        fixture.run("DEL l");
        let reply = fixture.run_words(&[&b"RESTORE"[..], b"l", b"0", &payload(&value)]);
        if expected.is_empty() {
            assert_eq!(reply, b"-ERR Bad data format\r\n", "{name}");
            fixture.check("EXISTS l", ":0");
            continue;
        }
        assert_eq!(reply, b"+OK\r\n", "{name}");
        fixture.check("LRANGE l 0 -1", expected);
        let encoding = if name.starts_with("type 1:") || name.starts_with("type 10") {
            "\"listpack\""
        } else {
            "\"quicklist\""
        };
        fixture.check("OBJECT ENCODING l", encoding);
    }
}
