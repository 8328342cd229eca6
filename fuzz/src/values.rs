//! Values that RESTORE is given, and commands on what becomes of them.

use shoal_formats::crc64::crc64;
use shoal_formats::rdb::VERSION;
use shoal_store::digest::keyspace_digest;
use shoal_store::testing::{Fixture, show_bytes};

/// Commands for each type; `k` is the key. Whatever stands in the value, they end and break nothing.
const COMMANDS: &[(&str, &[&str])] = &[
    (
        "string",
        &[
            "GET k",
            "PFCOUNT k",
            "PFMERGE other k",
            "PFADD k a b c",
            "PFCOUNT k other",
            "PFDEBUG DECODE k",
            "PFDEBUG GETREG k",
            "BITCOUNT k",
            "BITPOS k 1",
            "APPEND k x",
        ],
    ),
    (
        "list",
        &[
            "LRANGE k 0 -1",
            "LINDEX k -1",
            "LPOS k a RANK -1 COUNT 0",
            "LPUSH k new",
            "RPUSH k -4095",
            "LINSERT k BEFORE a b",
            "LSET k 0 first",
            "LREM k -2 a",
            "LMOVE k k LEFT RIGHT",
            "LTRIM k 1 -2",
            "RPOP k 2",
        ],
    ),
    (
        "set",
        &[
            "SMEMBERS k",
            "SISMEMBER k 1",
            "SRANDMEMBER k -5",
            "SRANDMEMBER k 3",
            "SSCAN k 0 COUNT 100",
            "SUNIONSTORE other k k",
            "SADD k 1 70000 a",
            "SREM k 1 a",
            "SPOP k 2",
            "SINTERCARD 2 k other",
        ],
    ),
    (
        "hash",
        &[
            "HGETALL k",
            "HGET k a",
            "HSTRLEN k a",
            "HRANDFIELD k -5 WITHVALUES",
            "HSCAN k 0 COUNT 100",
            "HSET k a 1 new 2",
            "HINCRBY k a 5",
            "HEXPIRE k 100 FIELDS 2 a new",
            "HTTL k FIELDS 2 a b",
            "HPERSIST k FIELDS 1 new",
            "HPEXPIREAT k 1 LT FIELDS 1 a",
            "HDEL k a",
        ],
    ),
    (
        "zset",
        &[
            "ZRANGE k 0 -1 WITHSCORES",
            "ZRANK k a",
            "ZSCORE k a",
            "ZCOUNT k -inf +inf",
            "ZLEXCOUNT k - +",
            "ZRANGEBYSCORE k -inf 5 LIMIT 1 2",
            "ZRANDMEMBER k -5 WITHSCORES",
            "ZSCAN k 0 COUNT 100",
            "ZUNIONSTORE other 2 k k",
            "ZADD k 1.5 a 2 new",
            "ZINCRBY k 3 a",
            "ZREM k a",
            "ZREMRANGEBYRANK k 0 0",
            "ZPOPMIN k 2",
        ],
    ),
    (
        "stream",
        &[
            "XRANGE k - +",
            "XREVRANGE k + - COUNT 3",
            "XLEN k",
            "XINFO STREAM k",
            "XINFO STREAM k FULL COUNT 0",
            "XINFO GROUPS k",
            "XINFO CONSUMERS k g",
            "XPENDING k g",
            "XPENDING k g - + 10",
            "XREADGROUP GROUP g c COUNT 2 STREAMS k >",
            "XREADGROUP GROUP g c COUNT 2 STREAMS k 0",
            "XAUTOCLAIM k g other 0 0",
            "XADD k * f v g w",
            "XADD k MAXLEN 2 * f v",
            "XDEL k 1-1 2-1",
            "XTRIM k MINID ~ 5",
            "XGROUP CREATE k second 0",
            "XGROUP DELCONSUMER k g c",
            "XSETID k 99999999999999-1",
        ],
    ),
];

/// The layouts of small collections, and a node of a list and of a stream: what `packed` makes of its input.
const LAYOUTS: u8 = 12;

/// The first byte chooses a layout, the rest is a listpack, an intset or one of their forerunners, whose own length is put
/// right: so that changed inputs get further.
pub fn packed(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let mut bytes = rest.to_vec();
    let layout = first % LAYOUTS;
    let has_length = !matches!(layout, 0 | 1);
    let total = bytes.len() as u32;
    if let Some(length) = bytes.first_chunk_mut::<4>().filter(|_| has_length) {
        *length = total.to_le_bytes();
    }
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    bytes.truncate(usize::from(length));
    let string = [&[0x80, 0, 0][..], &length.to_be_bytes(), &bytes].concat();
    let body = match layout {
        0 => [&[11][..], &string].concat(),
        1 => [&[9][..], &string].concat(),
        2 => [&[10][..], &string].concat(),
        3 => [&[12][..], &string].concat(),
        4 => [&[13][..], &string].concat(),
        5 => [&[16][..], &string].concat(),
        6 => [&[17][..], &string].concat(),
        7 => [&[20][..], &string].concat(),
        8 => [&[18, 2, 2][..], &string, &[1, 1, b'x']].concat(),
        9 => stream(&string, &bytes),
        10 => [&[25][..], &[0; 8], &string].concat(),
        _ => [&[23][..], &string].concat(),
    };
    value(&body);
}

/// A stream of one node, with a group and nothing pending. It says of itself that it has as many entries as the node.
fn stream(string: &[u8], node: &[u8]) -> Vec<u8> {
    const ID: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    // The first element of the node: a small integer, or something else that cannot be right.
    let length = node.get(6).copied().unwrap_or(0) & 0x3f;
    let id = [0x3f, 0];
    [
        &[19, 1, 16][..],
        &ID,
        string,
        &[length],
        &id,
        &[1, 1],
        &id,
        &[length],
        &[1, 1, b'g'],
        &[0, 0, 1, 0],
        &[1, 1, b'c'],
        &[0; 8],
        &[0],
    ]
    .concat()
}

/// Gives `data` (a type byte, and the value as in a file) to RESTORE. It is refused and nothing has changed, or every command
/// works on it.
pub fn value(data: &[u8]) {
    let mut fixture = Fixture::default();
    fixture.options.rdb_version = VERSION;
    fixture.run("SET witness 1");
    let before = keyspace_digest(&fixture.keyspace);
    let mut payload = data.to_vec();
    payload.extend(VERSION.to_le_bytes());
    payload.extend(crc64(&payload).to_le_bytes());
    let reply = show_bytes(&fixture.run_words(&[&b"RESTORE"[..], b"k", b"0", &payload]));
    if reply != "+OK" {
        assert_eq!(reply, "-ERR Bad data format");
        assert_eq!(keyspace_digest(&fixture.keyspace), before, "nothing has changed");
        assert!(fixture.effects.dirty == 0 && fixture.effects.touched.is_empty());
        return;
    }
    travel(&mut fixture);
    let kind = fixture.run("TYPE k");
    fixture.run("OBJECT ENCODING k");
    let commands = COMMANDS.iter().filter(|(name, _)| kind == format!("+{name}"));
    for command in commands.flat_map(|(_, commands)| *commands) {
        fixture.run(command);
    }
    travel(&mut fixture);
    fixture.run("DEL k");
}

/// What is dumped is restored, and is the same then. So it is in the form for Redis 7.0.
fn travel(fixture: &mut Fixture) {
    for version in [VERSION, 10] {
        fixture.options.rdb_version = version;
        let dumped = fixture.run_words(&["DUMP", "k"]);
        let mut decoder = shoal_protocol::value::Decoder::new();
        decoder.feed(&dumped);
        let Ok(Some(value)) = decoder.next_value() else { panic!("DUMP replies") };
        let Some(payload) = value.as_bytes() else { return };
        let reply = fixture.run_words(&[&b"RESTORE"[..], b"back", b"0", payload, b"REPLACE"]);
        assert_eq!(show_bytes(&reply), "+OK");
        let digest = |fixture: &Fixture, key: &[u8]| {
            let database = fixture.keyspace.database(0);
            shoal_store::digest::value_digest(database, database.find(key))
        };
        // Redis 7.0 knows no fields that expire.
        let loses_expiries = version == 10 && fixture.keyspace.database(0).timed_hashes_len() > 0;
        assert!(
            loses_expiries || digest(fixture, b"k") == digest(fixture, b"back"),
            "what travels stays the same"
        );
        fixture.run("DEL back");
    }
    fixture.options.rdb_version = VERSION;
}
