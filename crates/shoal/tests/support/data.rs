//! Data of every type and encoding, the same whenever they are made.

use super::Connection;

/// Runs a command; it may not fail.
pub fn run(connection: &mut Connection, words: &[&str]) {
    let reply = connection.text(words);
    assert!(!is_error(&reply), "{words:?}: {reply}");
}

fn is_error(reply: &str) -> bool {
    ["ERR ", "WRONGTYPE ", "BUSYGROUP ", "NOGROUP ", "MISCONF "].iter().any(|code| reply.starts_with(code))
}

/// Runs a command with so many groups of words more, 100 at a time.
fn run_many(connection: &mut Connection, words: &[&str], count: usize, group: impl Fn(usize) -> Vec<String>) {
    let numbers: Vec<usize> = (0..count).collect();
    for numbers in numbers.chunks(100) {
        let more: Vec<String> = numbers.iter().flat_map(|number| group(*number)).collect();
        let words: Vec<&str> = words.iter().copied().chain(more.iter().map(String::as_str)).collect();
        run(connection, &words);
    }
}

/// A small and a large collection of each type in the selected database.
pub fn fill_collections(connection: &mut Connection) {
    let long = "a long text, ".repeat(30);
    run(connection, &["RPUSH", "list:small", "a", "-7", "70000", &long]);
    run_many(connection, &["RPUSH", "list:large"], 3000, |number| vec![format!("element {number}")]);
    run(connection, &["LPUSH", "list:plain", &"x".repeat(100_000), "short"]);
    run(connection, &["SADD", "set:integers", "1", "-70000", "5000000000"]);
    run(connection, &["SADD", "set:small", "a", "1", &long]);
    run_many(connection, &["SADD", "set:large"], 1000, |number| vec![format!("{}", number * 77)]);
    run(connection, &["HSET", "hash:small", "a", "1", "b", "text"]);
    run(connection, &["HSET", "hash:long", "field", &long]);
    run_many(connection, &["HSET", "hash:large"], 1000, |number| {
        vec![format!("field {number}"), number.to_string()]
    });
    run(connection, &["ZADD", "zset:small", "1", "a", "-inf", "b", "2.5", "c", "1e300", "d"]);
    run_many(connection, &["ZADD", "zset:large"], 1000, |number| {
        vec![format!("{}", number as f64 / 7.0), format!("member {number}")]
    });
    run(connection, &["PFADD", "hll", "a", "b", "c"]);
    run(connection, &["SETBIT", "bits", "1000", "1"]);
    run(
        connection,
        &["GEOADD", "geo", "13.361389", "38.115556", "Palermo", "15.087269", "37.502669", "Catania"],
    );
    run(connection, &["EXPIRE", "list:small", "100000"]);
    fill_streams(connection);
}

fn fill_streams(connection: &mut Connection) {
    for number in 1..=300 {
        let id = format!("{number}-1");
        run(connection, &["XADD", "stream:large", &id, "field", &number.to_string(), "other", "x"]);
    }
    run(connection, &["XADD", "stream:large", "400-0", "different", "fields", "and", "values"]);
    run(connection, &["XDEL", "stream:large", "7-1", "300-1"]);
    run(connection, &["XGROUP", "CREATE", "stream:large", "group", "0"]);
    run(connection, &["XGROUP", "CREATE", "stream:large", "idle", "$"]);
    run(connection, &["XREADGROUP", "GROUP", "group", "one", "COUNT", "5", "STREAMS", "stream:large", ">"]);
    run(connection, &["XREADGROUP", "GROUP", "group", "two", "COUNT", "3", "STREAMS", "stream:large", ">"]);
    run(connection, &["XACK", "stream:large", "group", "2-1", "6-1"]);
    run(connection, &["XADD", "stream:empty", "5-5", "a", "b"]);
    run(connection, &["XTRIM", "stream:empty", "MAXLEN", "0"]);
}

/// Changes of all kinds, which go down a stream of commands as effects.
pub fn change_collections(connection: &mut Connection) {
    let commands = [
        "RPOPLPUSH list:large list:small",
        "LINSERT list:large BEFORE element new",
        "LSET list:large 5 replaced",
        "LTRIM list:large 10 -10",
        "LMPOP 2 nothing list:large RIGHT COUNT 3",
        "BLPOP list:small 1",
        "SPOP set:large 10",
        "SPOP set:small",
        "SREM set:integers 1",
        "SADD set:integers text",
        "SMOVE set:large set:moved 77",
        "SUNIONSTORE set:union set:large set:integers",
        "HINCRBYFLOAT hash:small a 0.5",
        "HDEL hash:large field",
        "HSETNX hash:small c 3",
        "ZINCRBY zset:large 3.25 new",
        "ZPOPMIN zset:large 5",
        "ZADD zset:small GT CH 5 a",
        "ZUNIONSTORE zset:union 2 zset:large zset:small WEIGHTS 2 3",
        "ZREMRANGEBYSCORE zset:large 20 30",
        "ZRANGESTORE zset:range zset:large 0 20",
        "XADD stream:large MAXLEN ~ 250 * field fresh",
        "XDEL stream:large 20-1",
        "XREADGROUP GROUP group three COUNT 4 STREAMS stream:large >",
        "XCLAIM stream:large group two 0 1-1",
        "XAUTOCLAIM stream:large group one 0 0 COUNT 2",
        "XGROUP DELCONSUMER stream:large group three",
        "XSETID stream:empty 9-9",
        "PFADD hll d e f",
        "PFMERGE merged hll",
        "BITOP NOT bits:not bits",
        "BITFIELD bits SET u8 100 200 INCRBY i5 3 7",
        "GEOSEARCHSTORE geo:near geo FROMLONLAT 15 37 BYRADIUS 200 km",
        "SORT set:integers ALPHA STORE sorted",
        "COPY zset:large zset:copy",
        "COPY hash:large hash:copy REPLACE",
        "EXPIRE set:large 5000",
    ];
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        run(connection, &words);
    }
}

/// What can be seen of the collections and does not depend on the kind of server or on the time.
pub fn describe_collections(connection: &mut Connection) -> Vec<String> {
    // This may change the value: its count is kept there.
    let mut lines = vec![format!("PFCOUNT {}", connection.text(&["PFCOUNT", "hll"]))];
    let keys = connection.call(&["KEYS", "*"]);
    let mut keys: Vec<String> = keys
        .as_elements()
        .unwrap_or_default()
        .iter()
        .filter_map(|key| Some(key.as_text()?.into_owned()))
        .collect();
    keys.sort();
    for key in &keys {
        let digest = connection.call(&["DEBUG", "DIGEST-VALUE", key]);
        let digest = digest.as_elements().and_then(|digests| Some(digests.first()?.as_text()?.into_owned()));
        lines.push(format!("{key} {} {digest:?}", connection.text(&["TYPE", key])));
    }
    for words in [
        &["XLEN", "stream:large"][..],
        &["XPENDING", "stream:large", "group"],
        &["XINFO", "GROUPS", "stream:large"],
    ] {
        lines.push(format!("{words:?} {:?}", connection.call(words)));
    }
    lines
}
