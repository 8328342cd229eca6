//! Random commands on lists, and SORT, get the replies that Redis gives, with nodes of every kind.

use crate::pair::Pair;
use shoal_machine::Rng;
use shoal_protocol::value::{Decoder, Value};
use shoal_store::testing::show;

const COMMANDS: usize = 10_000;
/// After so many commands the data is compared as a whole.
const DIGEST_EVERY: usize = 200;

/// Forms of commands; the words in capitals in [`fill`]'s table are replaced.
const FORMS: &[&str] = &[
    "RPUSH KEY ELEMENT",
    "RPUSH LIST ELEMENT ELEMENT ELEMENT ELEMENT ELEMENT",
    "LPUSH KEY ELEMENT",
    "LPUSH LIST ELEMENT ELEMENT ELEMENT ELEMENT ELEMENT",
    "LPUSHX KEY ELEMENT",
    "RPUSHX KEY ELEMENT ELEMENT",
    "LPOP KEY",
    "RPOP KEY",
    "LPOP KEY INDEX",
    "RPOP KEY INDEX",
    "RPOP KEY 1 1",
    "LLEN KEY",
    "LINDEX KEY INDEX",
    "LSET KEY INDEX ELEMENT",
    "LSET LIST INDEX ELEMENT",
    "LSET LIST INDEX ELEMENT",
    "LINSERT KEY SIDE ELEMENT ELEMENT",
    "LINSERT LIST SIDE ELEMENT ELEMENT",
    "LINSERT LIST SIDE ELEMENT ELEMENT",
    "LRANGE KEY INDEX INDEX",
    "LRANGE LIST 0 -1",
    "LTRIM KEY INDEX INDEX",
    "LREM KEY INDEX ELEMENT",
    "LREM LIST INDEX ELEMENT",
    "LPOS KEY ELEMENT",
    "LPOS LIST ELEMENT OPTION INDEX",
    "LPOS LIST ELEMENT OPTION INDEX OPTION INDEX",
    "LPOS LIST ELEMENT OPTION INDEX OPTION INDEX OPTION INDEX",
    "LPOS LIST ELEMENT OPTION",
    "LMOVE KEY KEY END END",
    "LMOVE LIST LIST END END",
    "RPOPLPUSH KEY KEY",
    "LMPOP INDEX KEY KEY END",
    "LMPOP 2 KEY KEY END COUNT INDEX",
    "LMPOP 1 KEY END OPTION INDEX",
    "BLPOP KEY KEY TIMEOUT",
    "BRPOP KEY TIMEOUT",
    "BLMOVE KEY KEY END END TIMEOUT",
    "BRPOPLPUSH KEY KEY TIMEOUT",
    "BLMPOP TIMEOUT 2 KEY KEY END COUNT INDEX",
    "BLMPOP TIMEOUT INDEX KEY KEY END",
    "SORT NUMBERS",
    "SORT NUMBERS ORDER LIMIT INDEX INDEX",
    "SORT KEY ALPHA ORDER",
    "SORT KEY",
    "SORT NUMBERS BY w* ORDER",
    "SORT NUMBERS BY h*->f LIMIT INDEX INDEX GET # GET w* GET h*->f",
    "SORT NUMBERS BY text GET w*",
    "SORT LIST BY nosort ORDER LIMIT INDEX INDEX",
    "SORT KEY ORDER LIMIT INDEX",
    "SORT NUMBERS ORDER STORE KEY",
    "SORT LIST ALPHA LIMIT INDEX INDEX STORE LIST",
    "SORT NUMBERS GET w* STORE out",
    "SORT_RO KEY ORDER ALPHA",
    "SORT_RO NUMBERS STORE out",
    "RPUSH numbers NUMBER",
    "LPOP numbers",
    "SADD set NUMBER",
    "ZADD zset NUMBER NUMBER",
    "SET wNUMBER NUMBER",
    "HSET hNUMBER f NUMBER",
    "SET text x",
    "COPY LIST LIST REPLACE",
    "DEL KEY",
    "TYPE KEY",
];

fn fill(word: &str, rng: &mut Rng) -> Vec<u8> {
    const LISTS: &[&str] = &["a", "b", "c"];
    const KEYS: &[&str] = &["a", "a", "b", "b", "c", "d", "numbers", "text", "none"];
    const NUMBER_KEYS: &[&str] = &["numbers", "numbers", "set", "zset"];
    const INDEXES: &[&str] =
        &["0", "1", "2", "3", "7", "-1", "-2", "-5", "30", "-30", "x", "9223372036854775807"];
    const OPTIONS: &[&str] = &["RANK", "COUNT", "MAXLEN", "rank", "FOO"];
    const ENDS: &[&str] = &["LEFT", "RIGHT", "left", "RIGHT", "FOO"];
    const SIDES: &[&str] = &["BEFORE", "AFTER", "before", "after", "FOO"];
    const ORDERS: &[&str] = &["ASC", "DESC"];
    const TIMEOUTS: &[&str] = &["0.001", "0.002", "-1", "x", "0.0001"];
    let choices = match word {
        "LIST" => LISTS,
        "KEY" => KEYS,
        "NUMBERS" => NUMBER_KEYS,
        "INDEX" => INDEXES,
        "OPTION" => OPTIONS,
        "END" => ENDS,
        "SIDE" => SIDES,
        "ORDER" => ORDERS,
        "TIMEOUT" => TIMEOUTS,
        "NUMBER" => return rng.below(40).to_string().into_bytes(),
        "wNUMBER" => return format!("w{}", rng.below(40)).into_bytes(),
        "hNUMBER" => return format!("h{}", rng.below(40)).into_bytes(),
        "ELEMENT" if rng.chance(1, 20) => return vec![b'l'; rng.index(200)],
        "ELEMENT" if rng.chance(1, 60) => return vec![b'L'; 9000 + rng.index(3)],
        "ELEMENT" if rng.chance(1, 2) => return rng.below(12).to_string().into_bytes(),
        "ELEMENT" => return format!("e{}", rng.below(12)).into_bytes(),
        literal => return literal.as_bytes().to_vec(),
    };
    rng.choose(choices).map_or(Vec::new(), |choice| choice.as_bytes().to_vec())
}

fn compare(size: i32, depth: u32, resp3: bool, seed: u64) {
    // Blocking commands wait until the server's next look at the clock.
    let mut pair = Pair::with_options(&["--hz", "500"]);
    if resp3 {
        pair.server.call(&["HELLO", "3"]);
    }
    pair.fixture.resp3 = resp3;
    // The newest version that a server 7.0 reads.
    pair.fixture.options.rdb_version = 10;
    pair.fixture.access.deny_blocking = true;
    let limits = &mut pair.fixture.options.limits;
    limits.list_max_listpack_size = size;
    limits.list_compress_depth = depth;
    if depth > 1 {
        limits.quicklist_packed_threshold_bytes = 100;
    }
    let mut rng = Rng::new(seed);
    for round in 0..COMMANDS {
        let form = *rng.choose(FORMS).unwrap();
        let words: Vec<Vec<u8>> = form.split(' ').map(|word| fill(word, &mut rng)).collect();
        pair.check(&words);
        if round % DIGEST_EVERY == 0 {
            pair.check_digests();
            exchange_payloads(&mut pair);
        }
    }
}

/// Each side restores what the other has dumped; the data stays what it was.
fn exchange_payloads(pair: &mut Pair) {
    for key in ["a", "b", "c", "numbers"] {
        let theirs = pair.server.call(&["DUMP", key]);
        let mut decoder = Decoder::new();
        decoder.feed(&pair.fixture.run_words(&["DUMP", key]));
        let ours = decoder.next_value().unwrap().unwrap();
        let (Value::Bulk(theirs), Value::Bulk(ours)) = (theirs, ours) else { continue };
        let restore =
            |payload| [b"RESTORE".to_vec(), key.into(), b"0".to_vec(), payload, b"REPLACE".to_vec()];
        assert_eq!(pair.fixture.run_words(&restore(theirs)), b"+OK\r\n");
        assert_eq!(show(&pair.server.call(&restore(ours))), "+OK");
    }
    pair.check_digests();
}

#[test]
fn lists_of_few_nodes_are_those_of_redis() {
    compare(-2, 0, false, 1);
    compare(128, 0, true, 2);
}

#[test]
fn lists_of_many_nodes_are_those_of_redis() {
    compare(1, 0, false, 3);
    compare(3, 1, false, 4);
    compare(5, 2, true, 5);
}
