//! Cases for sorted-set commands. Replies were taken from a redis-server 7.0; WITHSCORE of ZRANK and the form of doubles are
//! those of 7.2. Random commands are compared with a real server elsewhere.

use crate::call::TimeoutReply;
use crate::testing::Fixture;
use crate::types::Type;

#[test]
fn adding_and_asking() {
    Fixture::default().check_all(&[
        ("ZADD z 1 a 2 b", ":2"),
        ("ZADD z CH 1 a 3 b 4 c", ":2"),
        ("ZADD z NX 9 a 5 d", ":1"),
        ("ZADD z XX GT CH 2 a 1 b", ":1"),
        ("ZADD z LT INCR -1 c", "\"3\""),
        ("ZADD z LT INCR 1 c", "nil"),
        ("ZADD z XX INCR 1 none", "nil"),
        ("ZADD none XX 1 a", ":0"),
        ("EXISTS none", ":0"),
        ("ZADD z NX XX 1 a", "-ERR XX and NX options at the same time are not compatible"),
        ("ZADD z GT LT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("ZADD z INCR 1 a 2 b", "-ERR INCR option supports a single increment-element pair"),
        ("ZADD z 1", "-ERR wrong number of arguments for 'zadd' command"),
        ("ZADD z 1 a 2", "-ERR syntax error"),
        ("ZADD z 1 a x b", "-ERR value is not a valid float"),
        ("ZADD z nan a", "-ERR value is not a valid float"),
        ("ZADD z inf i", ":1"),
        ("ZINCRBY z -inf i", "-ERR resulting score is not a number (NaN)"),
        ("ZINCRBY z 0.1 a", "\"2.1\""),
        ("ZSCORE z a", "\"2.1\""),
        ("ZSCORE z i", "\"inf\""),
        ("ZSCORE z none", "nil"),
        ("ZMSCORE z a none", "[\"2.1\" nil]"),
        ("ZMSCORE none a", "[nil]"),
        ("ZRANK z a", ":0"),
        ("ZREVRANK z a", ":4"),
        ("ZRANK z a WITHSCORE", "[:0 \"2.1\"]"),
        ("ZREVRANK z none WITHSCORE", "nil"),
        ("ZRANK z a NOSCORE", "-ERR syntax error"),
        ("ZRANK z a WITHSCORE x", "-ERR wrong number of arguments for 'zrank' command"),
        ("ZCARD z", ":5"),
        ("ZCOUNT z (3 +inf", ":2"),
        ("ZCOUNT z x 1", "-ERR min or max is not a float"),
        ("ZLEXCOUNT z x y", "-ERR min or max not valid string range item"),
        ("SET text x", "+OK"),
        ("ZADD text 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("ZADD text x a", "-ERR value is not a valid float"),
    ]);
}

#[test]
fn doubles_are_doubles_in_resp3() {
    let mut fixture = Fixture { resp3: true, ..Fixture::default() };
    fixture.check_all(&[
        ("ZADD z 1.5 a -inf b", ":2"),
        ("ZSCORE z b", ",-inf"),
        ("ZINCRBY z 1 a", ",2.5"),
        ("ZRANGE z 0 -1 WITHSCORES", "[[\"b\" ,-inf] [\"a\" ,2.5]]"),
        ("ZRANK z a WITHSCORE", "[:1 ,2.5]"),
        ("ZPOPMAX z", "[\"a\" ,2.5]"),
        ("ZPOPMIN z 1", "[[\"b\" ,-inf]]"),
        ("EXISTS z", ":0"),
    ]);
}

#[test]
fn encodings_follow_the_limits() {
    let mut fixture = Fixture::default();
    fixture.options.limits.zset_max_listpack_entries = 3;
    fixture.options.limits.zset_max_listpack_value_bytes = 5;
    fixture.check_all(&[
        ("ZADD z 1 a 2 b 3 c", ":3"),
        ("OBJECT ENCODING z", "\"listpack\""),
        ("ZADD z 1 d", ":1"),
        ("OBJECT ENCODING z", "\"skiplist\""),
        ("ZREM z a b c", ":3"),
        ("OBJECT ENCODING z", "\"skiplist\""),
        ("ZADD long 1 123456", ":1"),
        ("OBJECT ENCODING long", "\"skiplist\""),
        ("ZUNIONSTORE u 1 z", ":1"),
        ("OBJECT ENCODING u", "\"listpack\""),
        ("ZUNIONSTORE u 1 long", ":1"),
        ("OBJECT ENCODING u", "\"skiplist\""),
        ("ZRANGESTORE r long 0 -1", ":1"),
        ("OBJECT ENCODING r", "\"skiplist\""),
        // Since 7.2 the number of pairs decides before they are looked at.
        ("ZADD same 1 a 1 a 1 a 1 a", ":1"),
        ("OBJECT ENCODING same", "\"skiplist\""),
    ]);
}

#[test]
fn effects_are_the_same_everywhere() {
    let mut fixture = Fixture::default();
    for (line, propagated, events) in [
        ("ZADD z 1 a 2 b 3 c 4 d 5 e", vec!["ZADD z 1 a 2 b 3 c 4 d 5 e"], vec!["new 0 z", "zadd 0 z"]),
        ("ZADD z 1 a", vec![], vec![]),
        ("ZADD z NX 9 a", vec![], vec![]),
        ("ZINCRBY z 1 a", vec!["ZINCRBY z 1 a"], vec!["zincr 0 z"]),
        ("ZADD z INCR 0 a", vec![], vec![]),
        ("ZREM z none", vec![], vec![]),
        ("ZREM z a none", vec!["ZREM z a none"], vec!["zrem 0 z"]),
        ("ZPOPMIN z", vec!["ZPOPMIN z"], vec!["zpopmin 0 z"]),
        ("ZMPOP 2 none z MAX COUNT 1", vec!["ZPOPMAX z 1"], vec!["zpopmax 0 z"]),
        ("BZPOPMIN none z 0", vec!["ZPOPMIN z"], vec!["zpopmin 0 z"]),
        ("BZMPOP 0 1 z MIN COUNT 9", vec!["ZPOPMIN z 1"], vec!["zpopmin 0 z", "del 0 z"]),
        ("ZADD a 1 x 2 y 3 z", vec!["ZADD a 1 x 2 y 3 z"], vec!["new 0 a", "zadd 0 a"]),
        ("ZUNIONSTORE b 1 a", vec!["ZUNIONSTORE b 1 a"], vec!["new 0 b", "zunionstore 0 b"]),
        ("ZINTERSTORE b 2 a none", vec!["ZINTERSTORE b 2 a none"], vec!["keymiss 0 none", "del 0 b"]),
        ("ZDIFFSTORE b 2 a a", vec![], vec![]),
        ("ZRANGESTORE b a 0 0", vec!["ZRANGESTORE b a 0 0"], vec!["new 0 b", "zrangestore 0 b"]),
        ("ZRANGESTORE b a 9 9", vec!["ZRANGESTORE b a 9 9"], vec!["del 0 b"]),
        ("ZREMRANGEBYRANK a 0 0", vec!["ZREMRANGEBYRANK a 0 0"], vec!["zremrangebyrank 0 a"]),
        ("ZREMRANGEBYSCORE a 2 2", vec!["ZREMRANGEBYSCORE a 2 2"], vec!["zremrangebyscore 0 a"]),
        ("ZREMRANGEBYLEX a - +", vec!["ZREMRANGEBYLEX a - +"], vec!["zremrangebylex 0 a", "del 0 a"]),
    ] {
        fixture.run(line);
        assert_eq!(fixture.propagated(line), propagated, "{line}");
        assert_eq!(fixture.events(), events, "{line}");
    }
}

#[test]
fn changes_are_counted_one_by_one() {
    let mut fixture = Fixture::default();
    for (line, dirty) in [
        ("ZADD z 1 a 2 b 3 c 4 d 5 e", 5),
        ("ZADD z 1 a 3 b 9 f", 2),
        ("ZREM z a b", 2),
        ("ZPOPMAX z 2", 2),
        ("ZUNIONSTORE u 1 z", 1),
        ("ZREMRANGEBYRANK z 0 -1", 2),
    ] {
        fixture.run(line);
        assert_eq!(fixture.effects.dirty, dirty, "{line}");
    }
}

#[test]
fn who_finds_nothing_waits() {
    let mut fixture = Fixture::default();
    for (line, timeout_ms) in
        [("BZPOPMIN a b 0.5", 500), ("BZMPOP 0 2 a b MIN", 0), ("BZPOPMAX a b 0.0001", 1)]
    {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(fixture.run_words(&words).is_empty(), "no reply to {line}");
        let block = fixture.effects.block.take().expect("the client waits");
        assert_eq!(block.keys, [b"a", b"b"]);
        assert_eq!((block.timeout_ms, block.kind), (timeout_ms, Type::SortedSet));
        assert_eq!(block.on_timeout, TimeoutReply::NullArray);
    }
    fixture.check("BZPOPMIN a -1", "-ERR timeout is negative");
    fixture.check("BZPOPMIN a x", "-ERR timeout is not a float or out of range");
    fixture.check("BZPOPMIN a inf", "-ERR timeout is out of range");
    fixture.check("BZMPOP 1 0 a MIN", "-ERR numkeys should be greater than 0");
    fixture.access.deny_blocking = true;
    fixture.check("BZPOPMIN a 0", "nil");
}

#[test]
fn an_input_that_has_expired_is_none() {
    let mut fixture = Fixture::default();
    fixture.check("ZADD a 1 x", ":1");
    fixture.check("ZADD b 1 x", ":1");
    fixture.check("PEXPIRE a 5", ":1");
    fixture.access.on_replica = true;
    fixture.now_ms += 10;
    fixture.check("ZINTER 2 b a", "[]");
    fixture.check("ZDIFF 2 b a", "[\"x\"]");
    fixture.access.on_replica = false;
    fixture.check("ZINTERCARD 2 a b", ":0");
    fixture.check("ZUNION 2 a b WITHSCORES", "[\"x\" \"1\"]");
}

#[test]
fn random_members_are_members() {
    let mut fixture = Fixture::default();
    fixture.run("ZADD z 1 a 2 b 3 c");
    assert_eq!(fixture.run("ZRANDMEMBER z -20").split(' ').count(), 20);
    for _ in 0..50 {
        let mut drawn: Vec<_> = fixture
            .run("ZRANDMEMBER z 2")
            .trim_matches(['[', ']'])
            .split(' ')
            .map(|member| member.trim_matches('"').to_owned())
            .collect();
        drawn.sort();
        drawn.dedup();
        assert_eq!(drawn.len(), 2, "{drawn:?}");
        assert!(drawn.iter().all(|member| ["a", "b", "c"].contains(&member.as_str())));
    }
    fixture.check_all(&[
        ("ZRANDMEMBER z 9", "[\"a\" \"b\" \"c\"]"),
        ("ZRANDMEMBER none", "nil"),
        ("ZRANDMEMBER none 3", "[]"),
        ("ZRANDMEMBER z x", "-ERR value is not an integer or out of range"),
        (
            "ZRANDMEMBER z -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ),
        ("ZRANDMEMBER z 5000000000000000000 WITHSCORES", "-ERR value is out of range"),
    ]);
}

#[test]
fn scanning() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("ZADD z 1.1 a 2 b 3 7", ":3"),
        ("ZSCAN z 0", "[\"0\" [\"a\" \"1.1\" \"b\" \"2\" \"7\" \"3\"]]"),
        ("ZSCAN z 0 MATCH b COUNT 1", "[\"0\" [\"b\" \"2\"]]"),
        ("ZSCAN none 0", "[\"0\" []]"),
        ("ZSCAN z x", "-ERR invalid cursor"),
        ("ZSCAN z 0 TYPE b", "-ERR syntax error"),
    ]);
    fixture.options.limits.zset_max_listpack_entries = 0;
    fixture.check_all(&[
        ("ZADD large 1.1 a", ":1"),
        ("ZSCAN large 0 COUNT 10", "[\"0\" [\"a\" \"1.1000000000000001\"]]"),
        ("SADD set a b", ":2"),
        ("ZUNION 2 large set WITHSCORES", "[\"b\" \"1\" \"a\" \"2.1\"]"),
        ("ZINTER 2 set large WITHSCORES WEIGHTS 2 1", "[\"a\" \"3.1\"]"),
        ("ZDIFF 2 set large WITHSCORES", "[\"b\" \"1\"]"),
        ("ZINTERCARD 2 set set", ":2"),
    ]);
}

#[test]
fn payloads_come_back() {
    let mut fixture = Fixture::default();
    for entries in [128, 2] {
        fixture.options.limits.zset_max_listpack_entries = entries;
        fixture.run("DEL z copy");
        fixture.run("ZADD z 1 a 2.5 b -inf c 7 7 1e300 d");
        let words: [&[u8]; 2] = [b"DUMP", b"z"];
        let reply = fixture.run_words(&words);
        let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let payload = reply[start..reply.len() - 2].to_vec();
        let words: [&[u8]; 4] = [b"RESTORE", b"copy", b"0", &payload];
        assert_eq!(fixture.run_words(&words), b"+OK\r\n");
        let encoding = fixture.run("OBJECT ENCODING z");
        fixture.check("OBJECT ENCODING copy", &encoding);
        let members = fixture.run("ZRANGE z 0 -1 WITHSCORES");
        fixture.check("ZRANGE copy 0 -1 WITHSCORES", &members);
        for length in 0..payload.len() {
            let words: [&[u8]; 4] = [b"RESTORE", b"cut", b"0", &payload[..length]];
            assert!(fixture.run_words(&words).starts_with(b"-ERR"));
        }
    }
}
