//! The longest single command on very large values: what costs Redis O(log n) must never pause.
//!
//! The time is the server's own (`INFO latencystats`, the hundredth percentile), so that the network and the load
//! generator have no share in it.

use super::Size;
use super::elements::words;
use super::loader::{Client, load};
use super::report::Row;
use super::server::{Kind, Server};
use crate::Outcome;

/// The most that one command may take, in milliseconds.
const LIMIT_MS: f64 = 5.0;
/// How often each command runs on the large value.
const REPEATS: u64 = 2000;
/// The length of the large string, in bytes.
const STRING_BYTES: u64 = 512 * 1024 * 1024;

/// A request by number; with numbers of a wide range it meets places all over the value.
type Request = fn(u64, u64) -> Vec<String>;

struct Case {
    name: &'static str,
    /// Adds an element.
    add: Request,
    /// What runs then. The second number is the count of elements.
    commands: &'static [Request],
}

const CASES: &[Case] = &[
    Case {
        name: "sorted set",
        add: |number, _| words(&["ZADD", "value", &scattered(number, 1 << 30), &member(number)]),
        commands: &[
            |number, count| words(&["ZADD", "value", &scattered(number, 1 << 30), &member(number % count)]),
            |number, count| words(&["ZINCRBY", "value", "17", &member(number % count)]),
            |number, count| words(&["ZRANK", "value", &member(number % count)]),
            |number, count| words(&["ZSCORE", "value", &member(number % count)]),
            |number, count| {
                words(&["ZRANGE", "value", &scattered(number, count), "+inf", "BYSCORE", "LIMIT", "0", "10"])
            },
            |number, count| {
                let start = number % count;
                words(&["ZRANGE", "value", &start.to_string(), &(start + 10).to_string()])
            },
            |number, count| words(&["ZCOUNT", "value", &scattered(number, count), "+inf"]),
            |number, count| words(&["ZREM", "value", &member(number % count)]),
            |_, _| words(&["ZPOPMIN", "value"]),
            |_, _| words(&["ZPOPMAX", "value"]),
            |_, _| words(&["ZRANDMEMBER", "value"]),
            |number, _| words(&["ZSCAN", "value", &scattered(number, 1 << 20)]),
        ],
    },
    Case {
        name: "set",
        add: |number, _| words(&["SADD", "value", &member(number)]),
        commands: &[
            |number, count| words(&["SADD", "value", &member(count + number)]),
            |number, count| words(&["SISMEMBER", "value", &member(number % count)]),
            |number, count| words(&["SREM", "value", &member(number % count)]),
            |_, _| words(&["SPOP", "value"]),
            |_, _| words(&["SRANDMEMBER", "value"]),
            |number, _| words(&["SSCAN", "value", &scattered(number, 1 << 20)]),
        ],
    },
    Case {
        name: "hash",
        add: |number, _| words(&["HSET", "value", &member(number), "content"]),
        commands: &[
            |number, count| words(&["HSET", "value", &member(count + number), "content"]),
            |number, count| words(&["HGET", "value", &member(number % count)]),
            |number, count| words(&["HINCRBY", "value", &format!("counter:{}", number % count), "3"]),
            |number, count| words(&["HDEL", "value", &member(number % count)]),
            |_, _| words(&["HRANDFIELD", "value"]),
            |number, _| words(&["HSCAN", "value", &scattered(number, 1 << 20)]),
        ],
    },
    Case {
        name: "list",
        add: |number, _| words(&["RPUSH", "value", &member(number)]),
        commands: &[
            |number, _| words(&["LPUSH", "value", &member(number)]),
            |number, _| words(&["RPUSH", "value", &member(number)]),
            |_, _| words(&["LPOP", "value"]),
            |_, _| words(&["RPOP", "value"]),
            |_, _| words(&["LRANGE", "value", "-10", "-1"]),
            |_, _| words(&["LMOVE", "value", "value", "LEFT", "RIGHT"]),
        ],
    },
    Case {
        name: "stream",
        add: |number, _| words(&["XADD", "value", &format!("{}-1", number + 1), "field", "content"]),
        commands: &[
            |_, _| words(&["XADD", "value", "*", "field", "content"]),
            |number, count| words(&["XRANGE", "value", &scattered(number, count), "+", "COUNT", "10"]),
            |number, count| words(&["XREVRANGE", "value", &scattered(number, count), "-", "COUNT", "10"]),
            |number, count| words(&["XDEL", "value", &format!("{}-1", scattered(number, count))]),
            |number, count| words(&["XREAD", "COUNT", "10", "STREAMS", "value", &scattered(number, count)]),
        ],
    },
];

/// What runs on a string of the greatest length.
const STRING_COMMANDS: &[Request] = &[
    |_, _| words(&["STRLEN", "value"]),
    |number, _| {
        let start = place(number, STRING_BYTES);
        words(&["GETRANGE", "value", &start.to_string(), &(start + 100).to_string()])
    },
    |number, _| words(&["SETRANGE", "value", &scattered(number, STRING_BYTES), "x"]),
    |number, _| words(&["SETBIT", "value", &scattered(number, STRING_BYTES * 8), "1"]),
    |number, _| words(&["GETBIT", "value", &scattered(number, STRING_BYTES * 8)]),
    |number, _| words(&["BITFIELD", "value", "INCRBY", "u8", &scattered(number, STRING_BYTES * 8), "3"]),
];

/// One row for each type: its longest command.
pub fn measure(binary: &str, size: Size) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for case in CASES {
        let longest = |kind| longest_of_case(kind, binary, case, size.load);
        let ((ours, command), (theirs, _)) = (longest(Kind::Shoal)?, longest(Kind::Redis)?);
        let millions = size.load as f64 / 1e6;
        let name = format!("longest command on a {} of {millions:.0} M ({command})", case.name);
        rows.push(Row::below(name, "ms", ours, theirs, LIMIT_MS));
    }
    let longest = |kind| longest_of_string(kind, binary);
    let ((ours, command), (theirs, _)) = (longest(Kind::Shoal)?, longest(Kind::Redis)?);
    let name = format!("longest command on a string of 512 MB ({command})");
    rows.push(Row::below(name, "ms", ours, theirs, LIMIT_MS));
    Ok(rows)
}

fn longest_of_case(kind: Kind, binary: &str, case: &Case, count: u64) -> Outcome<(f64, String)> {
    let server = Server::start(kind, binary)?;
    track_longest(&server)?;
    fill(&server, 0..count, |number| (case.add)(number, count))?;
    run(&server, case.commands, count)?;
    longest_command(&server)
}

fn longest_of_string(kind: Kind, binary: &str) -> Outcome<(f64, String)> {
    let server = Server::start(kind, binary)?;
    // To make it takes as long as it is: that is not what is measured.
    fill(&server, 0..1, |_| words(&["SETRANGE", "value", &(STRING_BYTES - 1).to_string(), "x"]))?;
    track_longest(&server)?;
    run(&server, STRING_COMMANDS, STRING_BYTES)?;
    longest_command(&server)
}

/// Each command many times, and at last the value is given up.
fn run(server: &Server, commands: &[Request], count: u64) -> Outcome<()> {
    for command in commands {
        fill(server, 0..REPEATS, |number| command(number * 7_919 + 13, count))?;
    }
    fill(server, 0..1, |_| words(&["UNLINK", "value"]))
}

fn fill(server: &Server, numbers: std::ops::Range<u64>, request: impl Fn(u64) -> Vec<String>) -> Outcome<()> {
    load(server.port, numbers, request).map_err(|error| format!("a large value: {error}"))
}

fn track_longest(server: &Server) -> Outcome<()> {
    let mut client = Client::connect(server.port).map_err(|error| error.to_string())?;
    client.expect("+OK", &["CONFIG", "SET", "latency-tracking-info-percentiles", "100"])?;
    client.expect("+OK", &["CONFIG", "RESETSTAT"])
}

/// In milliseconds, with its name.
fn longest_command(server: &Server) -> Outcome<(f64, String)> {
    let reply = Client::connect(server.port).and_then(|mut client| client.ask(&["INFO", "latencystats"]));
    let reply = reply.map_err(|error| format!("INFO: {error}"))?;
    let text = reply.as_text().unwrap_or_default();
    let figure = |line: &str| {
        let (name, value) = line.strip_prefix("latency_percentiles_usec_")?.split_once(":p100=")?;
        Some((value.trim().parse::<f64>().ok()? / 1000.0, name.to_uppercase()))
    };
    // What the measurement itself asks for is no part of it.
    let is_measured = |(_, name): &(f64, String)| !name.starts_with("CONFIG") && !name.starts_with("INFO");
    let figures = text.lines().filter_map(figure).filter(is_measured);
    figures.max_by(|one, other| one.0.total_cmp(&other.0)).ok_or_else(|| format!("no figures in: {text}"))
}

/// A number below `limit`, far from those of the neighbours.
fn place(number: u64, limit: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % limit
}

/// The same as a word.
fn scattered(number: u64, limit: u64) -> String {
    place(number, limit).to_string()
}

fn member(number: u64) -> String {
    format!("member:{number:09}")
}
