//! Random commands on a handful of keys get the replies that Redis gives, and leave the same data.

use crate::server::Server;
use shoal_machine::Rng;
use shoal_protocol::value::{Decoder, Value};
use shoal_store::digest::keyspace_digest;
use shoal_store::testing::{Fixture, show};
use std::time::{SystemTime, UNIX_EPOCH};

const COMMANDS: usize = 20_000;
/// After so many commands the data is compared as a whole.
const DIGEST_EVERY: usize = 500;

/// Forms of commands; the words in capitals at the end of [`fill`]'s table are replaced.
const FORMS: &[&str] = &[
    "SET KEY VALUE",
    "SET KEY VALUE",
    "SET KEY VALUE OPTION",
    "SET KEY VALUE OPTION OPTION",
    "SET KEY VALUE OPTION OPTION OPTION",
    "SETNX KEY VALUE",
    "SETEX KEY INTEGER VALUE",
    "PSETEX KEY INTEGER VALUE",
    "GET KEY",
    "GETSET KEY VALUE",
    "GETDEL KEY",
    "GETEX KEY",
    "GETEX KEY OPTION",
    "GETEX KEY OPTION INTEGER",
    "GETEX KEY PERSIST",
    "MGET KEY KEY KEY",
    "MSET KEY VALUE KEY VALUE",
    "MSET KEY VALUE KEY",
    "MSETNX KEY VALUE KEY VALUE",
    "MSETNX FRESH VALUE KEY VALUE",
    "STRLEN KEY",
    "APPEND KEY VALUE",
    "GETRANGE KEY INDEX INDEX",
    "SUBSTR KEY INDEX INDEX",
    "SETRANGE KEY INDEX VALUE",
    "INCR KEY",
    "DECR KEY",
    "INCRBY KEY INTEGER",
    "DECRBY KEY INTEGER",
    "INCRBYFLOAT KEY FLOAT",
    "LCS KEY KEY",
    "LCS KEY KEY LEN",
    "LCS KEY KEY IDX WITHMATCHLEN",
    "LCS KEY KEY IDX MINMATCHLEN INDEX",
    "LCS KEY KEY OPTION",
    "DEL KEY KEY",
    "UNLINK KEY",
    "EXISTS KEY KEY KEY",
    "TOUCH KEY KEY",
    "TYPE KEY",
    "EXPIRE KEY INTEGER",
    "EXPIRE KEY INTEGER PRESENCE",
    "PEXPIRE KEY INTEGER PRESENCE PRESENCE",
    "EXPIREAT KEY TIME",
    "EXPIREAT KEY TIME CONDITION",
    "PEXPIREAT KEY TIME CONDITION CONDITION",
    "PEXPIREAT KEY TIME CONDITION",
    "TTL KEY",
    "PTTL KEY",
    "EXPIRETIME KEY",
    "PEXPIRETIME KEY",
    "PERSIST KEY",
    "KEYS PATTERN",
    "RENAME KEY KEY",
    "RENAMENX KEY KEY",
    "COPY KEY KEY",
    "COPY KEY KEY REPLACE",
    "COPY KEY KEY DB DATABASE",
    "COPY KEY KEY DB DATABASE REPLACE",
    "MOVE KEY DATABASE",
    "SWAPDB 0 DATABASE",
    "SELECT 0",
    "SELECT 1",
    "DBSIZE",
    "DUMP KEY",
    "OBJECT ENCODING KEY",
    "OBJECT FREQ KEY",
    "SCAN 0 OPTION INDEX COUNT 1000",
    "SCAN 0 MATCH PATTERN COUNT 1000",
    "SCAN 0 TYPE OPTION COUNT 1000",
    "FLUSHDB OPTION",
    "MEMORY USAGE KEY SAMPLES OPTION",
    "RESTORE KEY INTEGER junk OPTION",
];

fn fill(word: &str, rng: &mut Rng) -> Vec<u8> {
    const KEYS: &[&str] = &["a", "b", "c", "d", "e", "f"];
    const VALUES: &[&str] = &[
        "",
        "x",
        "7",
        "-12",
        "10000",
        "9223372036854775807",
        "-9223372036854775808",
        "3.25",
        "1e3",
        "abcabc",
        "cbacba",
        "some longer text that is not embedded in its object",
    ];
    const OPTIONS: &[&str] = &[
        "NX",
        "xx",
        "GET",
        "KEEPTTL",
        "PERSIST",
        "EX",
        "PX",
        "EXAT",
        "PXAT",
        "5",
        "0",
        "-1",
        "IDX",
        "LEN",
        "COUNT",
        "MATCH",
        "TYPE",
        "REPLACE",
        "IDLETIME",
        "FREQ",
        "ASYNC",
        "nonsense",
        "9999999999",
    ];
    const INTEGERS: &[&str] = &[
        "1000",
        "5000000",
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "12x",
        "",
        "9999999999999",
    ];
    const INDEXES: &[&str] = &["0", "1", "2", "5", "-1", "-3", "100", "-100", "x", "9223372036854775807"];
    const FLOATS: &[&str] = &["0.1", "-2.5", "1e10", "3", "1e-20", "nan", "inf", "x", "0x10"];
    const TIMES: &[&str] = &["9000000000", "9000000000000", "1", "0", "-5", "x", "9223372036854775807"];
    const CONDITIONS: &[&str] = &["NX", "XX", "GT", "LT", "lt", "FOO"];
    const PRESENCES: &[&str] = &["NX", "XX", "xx", "FOO"];
    const PATTERNS: &[&str] = &["*", "?", "[a-c]", "a", "[^a]", "\\a", "none*"];
    const DATABASES: &[&str] = &["0", "1", "2", "15", "16", "-1", "x", "9999999999"];
    let choices = match word {
        "KEY" => KEYS,
        "VALUE" => VALUES,
        "OPTION" => OPTIONS,
        "INTEGER" => INTEGERS,
        "INDEX" => INDEXES,
        "FLOAT" => FLOATS,
        "TIME" => TIMES,
        "CONDITION" => CONDITIONS,
        // Two distances from now that are equal are so only within a millisecond: no GT and LT for them.
        "PRESENCE" => PRESENCES,
        "PATTERN" => PATTERNS,
        "DATABASE" => DATABASES,
        "FRESH" => return format!("fresh:{}", rng.below(50)).into_bytes(),
        literal => return literal.as_bytes().to_vec(),
    };
    // Some strings grow long, so that all ways of keeping them are met.
    if word == "VALUE" && rng.chance(1, 30) {
        return vec![b'a' + rng.below(3) as u8; rng.index(3000)];
    }
    rng.choose(choices).map_or(Vec::new(), |choice| choice.as_bytes().to_vec())
}

/// The reply as far as it can be compared: orders and clocks are left out.
fn comparable(form: &str, reply: &Value) -> String {
    let name = form.split(' ').next().unwrap_or_default();
    match (name, reply) {
        ("KEYS", Value::Array(keys)) => {
            let mut keys: Vec<_> = keys.iter().map(show).collect();
            keys.sort();
            keys.join(" ")
        }
        ("TTL" | "PTTL" | "EXPIRETIME" | "PEXPIRETIME", Value::Integer(number)) => {
            number.signum().to_string()
        }
        ("SCAN", Value::Array(_)) => "an array".to_owned(),
        ("MEMORY", Value::Integer(_)) => "a number".to_owned(),
        _ => show(reply),
    }
}

#[test]
fn replies_and_data_are_those_of_redis() {
    let mut server = Server::start(&["--rdbcompression", "no"], |_| {});
    server.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    let mut fixture = Fixture::default();
    fixture.options.rdb_version = 10;
    fixture.options.compress = false;
    let mut rng = Rng::new(2024);
    for round in 0..COMMANDS {
        let form = *rng.choose(FORMS).unwrap();
        let words: Vec<Vec<u8>> = form.split(' ').map(|word| fill(word, &mut rng)).collect();
        fixture.now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let mut decoder = Decoder::new();
        decoder.feed(&fixture.run_words(&words));
        let ours = decoder.next_value().unwrap().unwrap();
        let theirs = server.call(&words);
        let shown: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        assert_eq!(comparable(form, &ours), comparable(form, &theirs), "command {round}: {shown:?}");
        if round % DIGEST_EVERY == 0 {
            let digest = server.text(&["DEBUG", "DIGEST"]);
            assert_eq!(keyspace_digest(&fixture.keyspace).to_string(), digest, "after {round} commands");
        }
    }
}
