//! Cases for hash commands. Replies were taken from a redis-server 7.0.

use crate::testing::Fixture;
use std::collections::BTreeSet;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn fields_come_and_go() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("HSET h a 1 b 2", ":2"),
        ("HSET h a 3 c 4", ":1"),
        ("HSET h a", "-ERR wrong number of arguments for 'hset' command"),
        ("HSET h a 1 b", "-ERR wrong number of arguments for 'hset' command"),
        ("HMSET h a 1 b", "-ERR wrong number of arguments for 'hmset' command"),
        ("HMSET h d 5", "+OK"),
        ("HSETNX h d 6", ":0"),
        ("HSETNX h e 6", ":1"),
        ("HGET h a", "\"3\""),
        ("HGET h none", "nil"),
        ("HGET none a", "nil"),
        ("HMGET h a none e", "[\"3\" nil \"6\"]"),
        ("HMGET none a b", "[nil nil]"),
        ("HLEN h", ":5"),
        ("HLEN none", ":0"),
        ("HEXISTS h a", ":1"),
        ("HEXISTS h none", ":0"),
        ("HEXISTS none a", ":0"),
        ("HSET h long -123456", ":1"),
        ("HSTRLEN h long", ":7"),
        ("HSTRLEN h none", ":0"),
        ("HSTRLEN none a", ":0"),
        ("HDEL h long none e", ":2"),
        ("HDEL none a", ":0"),
        ("HKEYS h", "[\"a\" \"b\" \"c\" \"d\"]"),
        ("HVALS h", "[\"3\" \"2\" \"4\" \"5\"]"),
        ("HGETALL h", "[\"a\" \"3\" \"b\" \"2\" \"c\" \"4\" \"d\" \"5\"]"),
        ("HKEYS none", "[]"),
        ("HVALS none", "[]"),
        ("HGETALL none", "[]"),
        ("HDEL h a b c d d", ":4"),
        ("EXISTS h", ":0"),
    ]);
    fixture.resp3 = true;
    fixture.check_all(&[
        ("HSET h a 1 b 2", ":2"),
        ("HGETALL h", "{\"a\" \"1\" \"b\" \"2\"}"),
        ("HGETALL none", "{}"),
        ("HKEYS h", "[\"a\" \"b\"]"),
    ]);
}

#[test]
fn another_type_is_refused() {
    let mut fixture = Fixture::default();
    fixture.check("SET str v", "+OK");
    for line in [
        "HSET str a 1",
        "HMSET str a 1",
        "HSETNX str a 1",
        "HGET str a",
        "HMGET str a",
        "HLEN str",
        "HEXISTS str a",
        "HSTRLEN str a",
        "HDEL str a",
        "HKEYS str",
        "HVALS str",
        "HGETALL str",
        "HINCRBY str a 1",
        "HINCRBYFLOAT str a 1",
        "HRANDFIELD str",
        "HRANDFIELD str 1",
        "HSCAN str 0",
    ] {
        fixture.check(line, WRONG_TYPE);
        assert_eq!(fixture.effects.dirty, 0);
    }
}

#[test]
fn changes_are_counted_and_told() {
    let mut fixture = Fixture::default();
    fixture.check("HSET h a 1 b 2 c 3", ":3");
    assert_eq!((fixture.effects.dirty, fixture.effects.touched.len()), (3, 1));
    assert_eq!(fixture.events(), ["new 0 h", "hset 0 h"]);
    fixture.check("HSET h a 1", ":0");
    assert_eq!((fixture.effects.dirty, fixture.events()), (1, vec!["hset 0 h".to_owned()]));
    fixture.check("HSETNX h a 1", ":0");
    assert_eq!((fixture.effects.dirty, fixture.events().len()), (0, 0));
    fixture.check("HSETNX h d 1", ":1");
    assert_eq!((fixture.effects.dirty, fixture.events()), (1, vec!["hset 0 h".to_owned()]));
    fixture.check("HDEL h a b x", ":2");
    assert_eq!((fixture.effects.dirty, fixture.events()), (2, vec!["hdel 0 h".to_owned()]));
    fixture.check("HDEL h x", ":0");
    assert_eq!((fixture.effects.dirty, fixture.events().len()), (0, 0));
    fixture.check("HDEL h c d", ":2");
    assert_eq!(fixture.events(), ["hdel 0 h", "del 0 h"]);
}

#[test]
fn encodings() {
    let mut fixture = Fixture::default();
    let pairs = |count: usize| (0..count).map(|number| format!("f{number} v")).collect::<Vec<_>>().join(" ");
    fixture.run(&format!("HSET h {}", pairs(512)));
    fixture.check("OBJECT ENCODING h", "\"listpack\"");
    fixture.check("HSET h f0 w", ":0");
    fixture.check("OBJECT ENCODING h", "\"listpack\"");
    fixture.check("HSET h more v", ":1");
    fixture.check("OBJECT ENCODING h", "\"hashtable\"");
    fixture.check("HDEL h more", ":1");
    fixture.check("OBJECT ENCODING h", "\"hashtable\"");
    fixture.run(&format!("HSET many {}", pairs(513)));
    fixture.check("OBJECT ENCODING many", "\"hashtable\"");
    for (line, encoding) in [
        (format!("HSET k f {}", "v".repeat(64)), "listpack"),
        (format!("HSET k f {}", "v".repeat(65)), "hashtable"),
        (format!("HSETNX k {} v", "f".repeat(65)), "hashtable"),
        (format!("HINCRBY k {} 1", "f".repeat(65)), "hashtable"),
        (format!("HINCRBYFLOAT k {} 1", "f".repeat(64)), "listpack"),
    ] {
        fixture.run("DEL k");
        fixture.run(&line);
        assert_eq!(fixture.run("OBJECT ENCODING k"), format!("\"{encoding}\""), "{line}");
    }
}

#[test]
fn fields_as_integers() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("HINCRBY h n 5", ":5"),
        ("HINCRBY h n -7", ":-2"),
        ("HINCRBY h n x", "-ERR value is not an integer or out of range"),
        ("HSET h word abc spaced \" 1\" float 1.5", ":3"),
        ("HINCRBY h word 1", "-ERR hash value is not an integer"),
        ("HINCRBY h spaced 1", "-ERR hash value is not an integer"),
        ("HINCRBY h float 1", "-ERR hash value is not an integer"),
        ("HSET h large 9223372036854775807", ":1"),
        ("HINCRBY h large 1", "-ERR increment or decrement would overflow"),
        ("HINCRBY h large -1", ":9223372036854775806"),
        ("HGET h large", "\"9223372036854775806\""),
        ("HINCRBY fresh n 9223372036854775807", ":9223372036854775807"),
    ]);
    assert_eq!(fixture.events(), ["new 0 fresh", "hincrby 0 fresh"]);
    assert_eq!(fixture.propagated("HINCRBY"), ["HINCRBY"]);
    assert_eq!(fixture.effects.dirty, 1);
}

#[test]
fn fields_as_floats() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("HINCRBYFLOAT h n 1.5", "\"1.5\""),
        ("HINCRBYFLOAT h n 0.1", "\"1.6\""),
        ("HINCRBYFLOAT h n -1.6", "\"0\""),
        ("HINCRBYFLOAT h n x", "-ERR value is not a valid float"),
        ("HINCRBYFLOAT h n nan", "-ERR value is not a valid float"),
        ("HINCRBYFLOAT none n inf", "-ERR value is NaN or Infinity"),
        ("EXISTS none", ":0"),
        ("HSET h word abc spaced \" 1\" inf inf", ":3"),
        ("HINCRBYFLOAT h word 1", "-ERR hash value is not a float"),
        ("HINCRBYFLOAT h spaced 1", "-ERR hash value is not a float"),
        ("HINCRBYFLOAT h inf 1", "-ERR increment would produce NaN or Infinity"),
        ("HINCRBYFLOAT h n 5.0e3", "\"5000\""),
    ]);
    assert_eq!(fixture.propagated(""), ["HSET h n 5000"]);
    assert_eq!(fixture.events(), ["hincrbyfloat 0 h"]);
}

#[test]
fn random_fields() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("HRANDFIELD none", "nil"),
        ("HRANDFIELD none 2", "[]"),
        ("HRANDFIELD none 2 WITHVALUES", "[]"),
        ("HSET h a 1", ":1"),
        ("HRANDFIELD h", "\"a\""),
        ("HRANDFIELD h 0", "[]"),
        ("HRANDFIELD h 2", "[\"a\"]"),
        ("HRANDFIELD h -2", "[\"a\" \"a\"]"),
        ("HRANDFIELD h 2 WITHVALUES", "[\"a\" \"1\"]"),
        ("HRANDFIELD h -2 withvalues", "[\"a\" \"1\" \"a\" \"1\"]"),
        ("HRANDFIELD h x", "-ERR value is not an integer or out of range"),
        ("HRANDFIELD h x nothing", "-ERR value is not an integer or out of range"),
        ("HRANDFIELD h 1 nothing", "-ERR syntax error"),
        ("HRANDFIELD h 1 WITHVALUES WITHVALUES", "-ERR syntax error"),
        ("HRANDFIELD h -9223372036854770000 WITHVALUES", "-ERR value is out of range"),
        (
            "HRANDFIELD h -9223372036854775808 WITHVALUES",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ),
    ]);
    fixture.resp3 = true;
    fixture.check_all(&[
        ("HRANDFIELD h 2 WITHVALUES", "[[\"a\" \"1\"]]"),
        ("HRANDFIELD h -2 WITHVALUES", "[[\"a\" \"1\"] [\"a\" \"1\"]]"),
        ("HRANDFIELD h -2", "[\"a\" \"a\"]"),
        ("HRANDFIELD none", "nil"),
    ]);
}

#[test]
fn scanning() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("HSCAN none 0", "[\"0\" []]"),
        ("HSCAN none x", "-ERR invalid cursor"),
        ("HSET h a 1 b 2", ":2"),
        ("HSCAN h 0", "[\"0\" [\"a\" \"1\" \"b\" \"2\"]]"),
        ("HSCAN h 0 COUNT 1 MATCH b", "[\"0\" [\"b\" \"2\"]]"),
        ("HSCAN h 0 MATCH 2", "[\"0\" []]"),
        ("HSCAN h 0 NOVALUES", "-ERR syntax error"),
    ]);
    let pairs: Vec<String> = (0..1000).map(|number| format!("f{number} {number}")).collect();
    fixture.run(&format!("HSET big {}", pairs.join(" ")));
    let (mut seen, mut cursor) = (BTreeSet::new(), "0".to_owned());
    loop {
        let reply = fixture.run(&format!("HSCAN big {cursor} COUNT 20"));
        let (next, page) = reply.trim_start_matches('[').split_once(' ').unwrap();
        cursor = next.trim_matches('"').to_owned();
        let words: Vec<&str> = page.trim_start_matches('[').trim_end_matches(']').split(' ').collect();
        for pair in words.chunks(2) {
            assert_eq!(pair[0].trim_matches('"'), format!("f{}", pair[1].trim_matches('"')));
            assert!(seen.insert(pair[0].to_owned()), "no field twice in a hash at rest");
        }
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 1000);
}

/// Whoever gets no more than so much gets nothing at all: the rest of a reply is not made.
#[test]
fn replies_beyond_the_output_limit_end_early() {
    let mut fixture = Fixture::default();
    let words: Vec<String> = (0..5000).map(|number| format!("f{number}")).collect();
    fixture.run(&format!("SADD s {}", words.join(" ")));
    fixture.run(&format!(
        "HSET h {}",
        words.iter().map(|word| format!("{word} v")).collect::<Vec<_>>().join(" ")
    ));
    fixture
        .run(&format!("MSET {}", words.iter().map(|word| format!("{word} v")).collect::<Vec<_>>().join(" ")));
    for line in [&["SMEMBERS", "s"][..], &["HGETALL", "h"], &["HKEYS", "h"], &["HVALS", "h"], &["KEYS", "*"]]
    {
        fixture.access.reply_max_bytes = 0;
        assert!(fixture.run_words(line).len() > 30_000, "{line:?}");
        fixture.access.reply_max_bytes = 1000;
        assert!(fixture.run_words(line).len() < 1100, "{line:?}");
    }
}
