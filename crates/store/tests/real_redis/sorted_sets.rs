//! Random commands on sorted sets get the replies that Redis gives, in both protocols and with both encodings.

use crate::server::Server;
use shoal_machine::Rng;
use shoal_protocol::number::{DoubleText, parse_f64};
use shoal_protocol::value::{Decoder, Value};
use shoal_store::digest::keyspace_digest;
use shoal_store::testing::{Fixture, show};

const COMMANDS: usize = 12_000;
/// After so many commands the data is compared as a whole.
const DIGEST_EVERY: usize = 200;
/// Questions about members are asked if listpacks have at least so many.
const LEX_FROM_ENTRIES: usize = 100;

/// Forms of commands; the words in capitals in [`fill`]'s table are replaced.
const FORMS: &[&str] = &[
    "ZADD KEY SCORE MEMBER",
    "ZADD KEY SCORE MEMBER",
    "ZADD KEY SCORE MEMBER SCORE MEMBER",
    "ZADD KEY SCORE MEMBER SCORE MEMBER SCORE MEMBER SCORE MEMBER",
    "ZADD KEY ADD SCORE MEMBER",
    "ZADD KEY ADD ADD SCORE MEMBER SCORE MEMBER",
    "ZADD KEY ADD ADD ADD SCORE MEMBER",
    "ZADD KEY INCR SCORE MEMBER",
    "ZADD KEY ADD INCR ADD SCORE MEMBER",
    "ZADD KEY SCORE",
    "ZADD KEY SCORE MEMBER SCORE",
    "ZADD KEY BOUND MEMBER",
    "ZINCRBY KEY SCORE MEMBER",
    "ZINCRBY KEY SCORE MEMBER",
    "ZINCRBY KEY BOUND MEMBER",
    "ZREM KEY MEMBER",
    "ZREM KEY MEMBER MEMBER MEMBER",
    "ZCARD KEY",
    "ZSCORE KEY MEMBER",
    "ZMSCORE KEY MEMBER MEMBER",
    "ZRANK KEY MEMBER",
    "ZREVRANK KEY MEMBER",
    "ZCOUNT KEY BOUND BOUND",
    "ZLEXCOUNT KEY LEX LEX",
    "ZRANGE KEY INDEX INDEX",
    "ZRANGE KEY INDEX INDEX WITHSCORES",
    "ZRANGE KEY INDEX INDEX RANGE RANGE",
    "ZRANGE KEY BOUND BOUND BYSCORE RANGE",
    "ZRANGE KEY BOUND BOUND BYSCORE RANGE LIMIT INDEX INDEX",
    "ZRANGE KEY BOUND BOUND BYSCORE REV WITHSCORES LIMIT INDEX INDEX",
    "ZRANGE KEY LEX LEX BYLEX RANGE",
    "ZRANGE KEY LEX LEX BYLEX RANGE LIMIT INDEX INDEX",
    "ZRANGE KEY INDEX INDEX LIMIT INDEX INDEX",
    "ZRANGE KEY INDEX INDEX LIMIT INDEX",
    "ZREVRANGE KEY INDEX INDEX",
    "ZREVRANGE KEY INDEX INDEX WITHSCORES",
    "ZREVRANGE KEY INDEX INDEX RANGE",
    "ZRANGEBYSCORE KEY BOUND BOUND",
    "ZRANGEBYSCORE KEY BOUND BOUND WITHSCORES LIMIT INDEX INDEX",
    "ZREVRANGEBYSCORE KEY BOUND BOUND WITHSCORES",
    "ZREVRANGEBYSCORE KEY BOUND BOUND LIMIT INDEX INDEX",
    "ZRANGEBYLEX KEY LEX LEX",
    "ZRANGEBYLEX KEY LEX LEX LIMIT INDEX INDEX",
    "ZREVRANGEBYLEX KEY LEX LEX RANGE",
    "ZREVRANGEBYLEX KEY LEX LEX LIMIT INDEX INDEX",
    "ZRANGESTORE KEY KEY INDEX INDEX",
    "ZRANGESTORE KEY KEY INDEX INDEX RANGE",
    "ZRANGESTORE KEY KEY BOUND BOUND BYSCORE LIMIT INDEX INDEX",
    "ZRANGESTORE KEY KEY LEX LEX BYLEX RANGE",
    "ZREMRANGEBYRANK KEY INDEX INDEX",
    "ZREMRANGEBYSCORE KEY BOUND BOUND",
    "ZREMRANGEBYLEX KEY LEX LEX",
    "ZPOPMIN KEY",
    "ZPOPMAX KEY",
    "ZPOPMIN KEY COUNT",
    "ZPOPMAX KEY COUNT",
    "ZPOPMAX KEY COUNT COUNT",
    "BZPOPMIN KEY KEY TIMEOUT",
    "BZPOPMAX KEY TIMEOUT",
    "ZMPOP COUNT KEY KEY END",
    "ZMPOP 1 KEY END COUNT COUNT",
    "ZMPOP 2 KEY KEY END COUNT COUNT",
    "BZMPOP TIMEOUT COUNT KEY KEY END",
    "BZMPOP TIMEOUT 1 KEY END COUNT COUNT",
    "ZUNION 2 KEY KEY COMBINE",
    "ZUNION 2 KEY KEY WITHSCORES",
    "ZUNION 2 KEY KEY WEIGHTS SCORE SCORE WITHSCORES AGGREGATE FUNCTION",
    "ZUNION 3 KEY KEY KEY WEIGHTS SCORE BOUND SCORE",
    "ZUNION COUNT KEY KEY",
    "ZINTER 2 KEY KEY",
    "ZINTER 2 KEY KEY COMBINE WITHSCORES",
    "ZINTER 2 KEY KEY WEIGHTS SCORE SCORE WITHSCORES AGGREGATE FUNCTION",
    "ZINTER COUNT KEY",
    "ZDIFF 2 KEY KEY",
    "ZDIFF 3 KEY KEY KEY WITHSCORES",
    "ZDIFF 2 KEY KEY COMBINE SCORE SCORE",
    "ZINTERCARD 2 KEY KEY",
    "ZINTERCARD 2 KEY KEY LIMIT COUNT",
    "ZINTERCARD COUNT KEY LIMIT",
    "ZUNIONSTORE KEY 2 KEY KEY",
    "ZUNIONSTORE KEY 2 KEY KEY AGGREGATE FUNCTION",
    "ZUNIONSTORE KEY 2 KEY KEY COMBINE",
    "ZINTERSTORE KEY 2 KEY KEY WEIGHTS SCORE SCORE",
    "ZDIFFSTORE KEY 2 KEY KEY",
    "ZDIFFSTORE KEY COUNT KEY",
    "ZRANDMEMBER KEY",
    "ZRANDMEMBER KEY INDEX",
    "ZRANDMEMBER KEY INDEX WITHSCORES",
    "ZRANDMEMBER KEY INDEX RANGE",
    "OBJECT ENCODING ZSET",
    "TYPE KEY",
    "DEL KEY",
    "SET text x",
    "SADD set MEMBER",
    "COPY ZSET ZSET REPLACE",
];

fn fill(word: &str, rng: &mut Rng) -> Vec<u8> {
    const KEYS: &[&str] = &["a", "a", "b", "b", "c", "d", "set", "text", "none"];
    const SCORES: &[&str] =
        &["0", "1", "2", "3", "-1", "1.5", "0.1", "1e3", "inf", "-inf", "3.0000000000000004", "1e17", "0x10"];
    const BOUNDS: &[&str] = &[
        "-inf", "+inf", "(1", "1", "(2", "2.5", "(inf", "0", "-1", "x", "(x", "nan", "", "(", " 1", "1e400",
    ];
    const LEXES: &[&str] = &["-", "+", "[a", "(a", "[m3", "(m5", "[7", "(", "[", "x", "", "-x", "[zz"];
    const INDEXES: &[&str] = &["0", "1", "2", "5", "-1", "-3", "100", "-100", "x"];
    const COUNTS: &[&str] = &["0", "1", "2", "3", "10", "-1", "x", "9223372036854775807"];
    const ADDS: &[&str] = &["NX", "XX", "GT", "LT", "CH", "INCR", "ch", "FOO"];
    const RANGES: &[&str] = &["REV", "WITHSCORES", "BYSCORE", "BYLEX", "rev", "FOO"];
    const COMBINES: &[&str] = &["WITHSCORES", "WEIGHTS", "AGGREGATE", "LIMIT", "FOO"];
    const FUNCTIONS: &[&str] = &["SUM", "MIN", "MAX", "max", "FOO"];
    const ENDS: &[&str] = &["MIN", "MAX", "max", "FOO"];
    const TIMEOUTS: &[&str] = &["0.001", "0.002", "-1", "x", "1e-20", "-0.002"];
    // Sets have other encodings since 7.2.
    const ZSETS: &[&str] = &["a", "b", "c", "d"];
    let choices = match word {
        "KEY" => KEYS,
        "ZSET" => ZSETS,
        "SCORE" => SCORES,
        "BOUND" => BOUNDS,
        "LEX" => LEXES,
        "INDEX" => INDEXES,
        "COUNT" if rng.chance(1, 4) => &["COUNT"],
        "COUNT" => COUNTS,
        "ADD" => ADDS,
        "RANGE" => RANGES,
        "COMBINE" => COMBINES,
        "FUNCTION" => FUNCTIONS,
        "END" => ENDS,
        "TIMEOUT" => TIMEOUTS,
        "MEMBER" if rng.chance(1, 30) => return vec![b'l'; rng.index(90)],
        "MEMBER" if rng.chance(1, 5) => return rng.below(12).to_string().into_bytes(),
        "MEMBER" => return format!("m{}", rng.below(20)).into_bytes(),
        literal => return literal.as_bytes().to_vec(),
    };
    rng.choose(choices).map_or(Vec::new(), |choice| choice.as_bytes().to_vec())
}

/// Doubles as Redis 7.0 prints them: it does so with 17 digits.
fn with_17_digits(value: &Value) -> Value {
    let text = |text: &[u8]| match parse_f64(text) {
        Some(number) => String::from_utf8_lossy(DoubleText::with_17_digits(number).as_bytes()).into_owned(),
        None => String::from_utf8_lossy(text).into_owned(),
    };
    match value {
        Value::Bulk(bytes) => Value::Bulk(text(bytes).into_bytes()),
        Value::Double(double) => Value::Double(text(double.as_bytes())),
        Value::Array(values) => Value::Array(values.iter().map(with_17_digits).collect()),
        other => other.clone(),
    }
}

/// The reply as far as it can be compared: what is random has only its shape.
fn comparable(form: &str, reply: &Value) -> String {
    let name = form.split(' ').next().unwrap_or_default();
    match (name, reply) {
        ("ZRANDMEMBER", Value::Array(values)) => {
            let shape = |value: &Value| match value {
                Value::Array(values) => values.len(),
                _ => 1,
            };
            format!("{:?}", values.iter().map(shape).collect::<Vec<_>>())
        }
        ("ZRANDMEMBER", Value::Bulk(_)) => "a member".to_owned(),
        _ => show(&with_17_digits(reply)),
    }
}

fn compare(entries: usize, resp3: bool, seed: u64) {
    let entries_text = entries.to_string();
    // Where members are compared as such, even long ones stay in listpacks.
    let value_bytes = if entries < LEX_FROM_ENTRIES { 64 } else { 100 };
    let value_text = value_bytes.to_string();
    let options = ["--zset-max-listpack-entries", &entries_text, "--zset-max-listpack-value", &value_text];
    let mut server = Server::start(&options, |_| {});
    let mut fixture = Fixture { resp3, ..Fixture::default() };
    if resp3 {
        server.call(&["HELLO", "3"]);
    }
    fixture.access.deny_blocking = true;
    fixture.options.limits.zset_max_listpack_entries = entries;
    fixture.options.limits.zset_max_listpack_value_bytes = value_bytes;
    let mut rng = Rng::new(seed);
    for round in 0..COMMANDS {
        let form = *rng.choose(FORMS).unwrap();
        // A skiplist's answers to questions about members depend on chance where scores differ.
        if entries < LEX_FROM_ENTRIES && form.contains("LEX") {
            continue;
        }
        let words: Vec<Vec<u8>> = form.split(' ').map(|word| fill(word, &mut rng)).collect();
        let mut decoder = Decoder::new();
        decoder.feed(&fixture.run_words(&words));
        let shown: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let ours = decoder.next_value().unwrap().unwrap_or_else(|| panic!("no reply to {shown:?}"));
        let theirs = server.call(&words);
        assert_eq!(comparable(form, &ours), comparable(form, &theirs), "command {round}: {shown:?}");
        if round % DIGEST_EVERY == 0 {
            let digest = server.text(&["DEBUG", "DIGEST"]);
            assert_eq!(keyspace_digest(&fixture.keyspace).to_string(), digest, "after {round} commands");
        }
    }
}

#[test]
fn small_sorted_sets_are_those_of_redis() {
    compare(128, false, 1);
    compare(128, true, 2);
}

#[test]
fn large_sorted_sets_are_those_of_redis() {
    compare(0, false, 3);
    compare(8, true, 4);
}
