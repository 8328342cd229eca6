//! Bitmaps and HyperLogLogs: random commands get the replies that Redis gives, and leave the same bytes.

use crate::pair::Pair;
use shoal_machine::Rng;
use shoal_protocol::value::Value;

fn bit_word(word: &str, rng: &mut Rng) -> String {
    const TYPES: &[&str] =
        &["u1", "i1", "u7", "i8", "u8", "i13", "u31", "i32", "i63", "u63", "i64", "u64", "i0", "x"];
    const VALUES: &[&str] = &[
        "0",
        "1",
        "-1",
        "7",
        "100",
        "-100",
        "255",
        "65535",
        "9223372036854775807",
        "-9223372036854775808",
        "x",
    ];
    const INDEXES: &[&str] = &["0", "1", "-1", "3", "-4", "7", "8", "40", "-100", "100", "x"];
    let choices = match word {
        "KEY" => &["a", "b", "c", "number", "none"][..],
        "TYPE" => TYPES,
        "VALUE" => VALUES,
        "INDEX" => INDEXES,
        "UNIT" => &["BIT", "BYTE", "bit", "bad"],
        "OVERFLOW" => &["WRAP", "SAT", "FAIL", "sat", "bad"],
        "LOGIC" => &["AND", "OR", "XOR", "xor", "NOT", "bad"],
        "BIT" => &["0", "1", "1", "0", "2", "x"],
        "OFFSET" if rng.chance(1, 20) => &["-1", "4294967296", "#", "x", "#x", "#-1"],
        "OFFSET" => {
            let mark = if rng.chance(1, 3) { "#" } else { "" };
            return format!("{mark}{}", rng.below(200));
        }
        literal => return literal.to_owned(),
    };
    (*rng.choose(choices).unwrap()).to_owned()
}

#[test]
fn bitmaps() {
    const FORMS: &[&str] = &[
        "SETBIT KEY OFFSET BIT",
        "SETBIT KEY OFFSET BIT",
        "GETBIT KEY OFFSET",
        "BITCOUNT a",
        "BITCOUNT a INDEX INDEX",
        "BITCOUNT b INDEX INDEX bit",
        "BITPOS b BIT",
        "BITPOS a BIT INDEX",
        "BITPOS a BIT INDEX INDEX",
        "BITPOS b BIT INDEX INDEX UNIT",
        "BITCOUNT b INDEX INDEX byte",
        "BITOP LOGIC KEY KEY KEY",
        "BITOP LOGIC KEY KEY",
        "BITFIELD KEY GET TYPE OFFSET",
        "BITFIELD KEY SET TYPE OFFSET VALUE GET TYPE OFFSET",
        "BITFIELD KEY INCRBY TYPE OFFSET VALUE INCRBY TYPE OFFSET VALUE",
        "BITFIELD KEY OVERFLOW OVERFLOW SET TYPE OFFSET VALUE INCRBY TYPE OFFSET VALUE",
        "BITFIELD KEY OVERFLOW OVERFLOW INCRBY TYPE 24 VALUE OVERFLOW OVERFLOW SET TYPE 24 VALUE",
        "BITFIELD_RO KEY GET TYPE OFFSET GET TYPE OFFSET",
        "GET KEY",
        "SET number 12345",
        "SET a abcdefghijklmnop",
        "SET b \"\"",
        "OBJECT ENCODING KEY",
    ];
    let mut pair = Pair::new();
    let mut rng = Rng::new(11);
    // Both are there from the start: of keys that are not, 7.0 and 7.2 say different things.
    pair.check(&["SET", "a", "x"]);
    pair.check(&["SET", "b", "x"]);
    for _ in 0..20_000 {
        let form = *rng.choose(FORMS).unwrap();
        let words: Vec<String> = form.split(' ').map(|word| bit_word(word, &mut rng)).collect();
        pair.check(&words);
        if words[0] == "BITOP" {
            for key in ["a", "b"] {
                pair.check(&["SETRANGE", key, "0", "y"]);
            }
        }
    }
}

#[test]
fn hyperloglogs() {
    let mut pair = Pair::new();
    let mut rng = Rng::new(12);
    for max_bytes in ["3000", "200", "16000", "0"] {
        pair.server.call(&["CONFIG", "SET", "hll-sparse-max-bytes", max_bytes]);
        pair.fixture.options.limits.hll_sparse_max_bytes = max_bytes.parse().unwrap();
        pair.check(&["FLUSHALL"]);
        for _ in 0..1200 {
            let key = *rng.choose(&["a", "b", "c", "d"]).unwrap();
            let other = *rng.choose(&["a", "b", "c", "none"]).unwrap();
            match rng.below(12) {
                0 => pair.check(&["PFCOUNT", key]),
                1 => pair.check(&["PFCOUNT", key, other]),
                2 => pair.check(&["PFMERGE", key, other]),
                3 => pair.check(&["DEL", "d"]),
                4 if rng.chance(1, 20) => pair.check(&["DEL", key]),
                _ => {
                    let mut words = vec!["PFADD".to_owned(), key.to_owned()];
                    let count = if rng.chance(1, 30) { 300 } else { rng.below(4) };
                    words.extend((0..count).map(|_| {
                        let number = rng.below(50_000);
                        "e".repeat(number as usize % 19) + &number.to_string()
                    }));
                    pair.check(&words)
                }
            };
            pair.check(&["GET", key]);
        }
    }
}

/// Bytes that no Redis has written are answered alike, as far as Redis looks at them.
#[test]
fn damaged_hyperloglogs() {
    let mut pair = Pair::new();
    let mut rng = Rng::new(13);
    for _ in 0..2000 {
        let mut words = vec!["PFADD".to_owned(), "k".to_owned()];
        words.extend((0..rng.below(60)).map(|number| number.to_string()));
        pair.check(&words);
        let Value::Bulk(sound) = pair.check(&["GET", "k"]) else { panic!("a string") };
        let mut bytes = sound.to_vec();
        for _ in 0..=rng.below(2) {
            let at = rng.index(bytes.len());
            match rng.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.push(rng.next_u64() as u8),
                _ => bytes[at] = rng.next_u64() as u8,
            }
            if bytes.is_empty() {
                break;
            }
        }
        pair.check(&[b"SET".as_slice(), b"k", &bytes]);
        pair.check(&["PFDEBUG", "ENCODING", "k"]);
        pair.check(&["PFCOUNT", "k"]);
        pair.check(&["PFCOUNT", "k", "none"]);
        pair.check(&["GET", "k"]);
        pair.check(&["DEL", "k"]);
    }
}
