//! CPU time per request for one command or two of each data type, with and without pipelines.

use super::loader::load;
use super::report::Row;
use super::server::{Kind, Server};
use super::{Size, speed};
use crate::Outcome;

/// What a case needs in the server before it is measured.
#[derive(Clone, Copy)]
enum Need {
    /// Nothing, or what the case before it left.
    Nothing,
    /// The sorted set of a million members, or as many as the run has.
    Scores,
    /// Before each round as many members as will be taken.
    Members,
    /// A list of a thousand elements.
    List,
}

/// One command, as the load generator takes it, and how much of Redis's CPU time it may cost in pipelines of 16.
struct Case {
    name: &'static str,
    words: &'static [&'static str],
    limit: Option<f64>,
    need: Need,
}

const fn case(name: &'static str, words: &'static [&'static str], limit: Option<f64>, need: Need) -> Case {
    Case { name, words, limit, need }
}

const VALUE: &str = "a value of some thirty-two bytes";
const RANDOM: &str = "__rand_int__";

const CASES: &[Case] = &[
    case("INCR", &["INCR", "counter:__rand_int__"], None, Need::Nothing),
    case(
        "MSET of 5",
        &[
            "MSET",
            "m:1:__rand_int__",
            VALUE,
            "m:2:__rand_int__",
            VALUE,
            "m:3:__rand_int__",
            VALUE,
            "m:4:__rand_int__",
            VALUE,
            "m:5:__rand_int__",
            VALUE,
        ],
        None,
        Need::Nothing,
    ),
    case("LPUSH", &["LPUSH", "queue", VALUE], Some(0.8), Need::Nothing),
    // Takes what LPUSH has put there, which ran as often.
    case("RPOP", &["RPOP", "queue"], Some(0.8), Need::Nothing),
    case("LRANGE_100", &["LRANGE", "list", "0", "99"], Some(0.8), Need::List),
    case("SADD", &["SADD", "set", "element:__rand_int__"], Some(0.8), Need::Nothing),
    case("SPOP", &["SPOP", "members"], None, Need::Members),
    case("HSET", &["HSET", "hash", "element:__rand_int__", VALUE], Some(0.8), Need::Nothing),
    case("HGET", &["HGET", "hash", "element:__rand_int__"], None, Need::Nothing),
    case("ZADD to a big set", &["ZADD", "scores", RANDOM, "member:__rand_int__"], Some(0.7), Need::Scores),
    case("ZRANGE_100", &["ZRANGE", "scores", "0", "99"], Some(0.8), Need::Scores),
    case("ZSCORE", &["ZSCORE", "scores", "member:__rand_int__"], None, Need::Scores),
    case("XADD", &["XADD", "stream", "*", "field", VALUE], Some(0.8), Need::Nothing),
    // The random number has leading zeros, which an offset must not have.
    case("SETBIT", &["SETBIT", "bits:__rand_int__", "77", "1"], None, Need::Nothing),
    case("PFADD", &["PFADD", "visitors", RANDOM], None, Need::Nothing),
    case(
        "GEOADD",
        &["GEOADD", "places", "13.361389", "38.115556", "place:__rand_int__"],
        None,
        Need::Nothing,
    ),
];

/// Both figures of each case; rounds alternate.
pub fn measure(binary: &str, size: Size) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for pipeline in [1, 16] {
        let servers = [Server::start(Kind::Shoal, binary)?, Server::start(Kind::Redis, binary)?];
        let mut has_scores = false;
        for case in CASES {
            let requests = if pipeline > 1 { size.requests * 4 } else { size.requests };
            match case.need {
                Need::Scores if !has_scores => {
                    has_scores = true;
                    prepare(&servers, case.need, size.elements)?;
                }
                Need::List => prepare(&servers, case.need, 1000)?,
                _ => {}
            }
            let load = |server: &Server| {
                if let Need::Members = case.need {
                    prepare(std::slice::from_ref(server), case.need, requests)?;
                }
                Ok(())
            };
            let keys = if matches!(case.need, Need::Scores) { size.elements } else { 100_000 };
            let test = speed::Test { words: case.words, keys, pipeline, requests };
            let [ours, theirs] = speed::compare(&servers, &test, size.rounds, load)?;
            let name =
                if pipeline > 1 { format!("{}, -P {pipeline}", case.name) } else { case.name.to_owned() };
            let cpu = format!("{name}: CPU per request");
            rows.push(match case.limit.filter(|_| pipeline > 1) {
                Some(limit) => Row::against(cpu, "µs", ours.0, theirs.0, limit),
                None => Row::shown(cpu, "µs", ours.0, theirs.0),
            });
            rows.push(Row::shown(format!("{name}: throughput"), "requests/s", ours.1, theirs.1));
        }
    }
    Ok(rows)
}

fn prepare(servers: &[Server], need: Need, count: u64) -> Outcome<()> {
    let request = |number: u64| match need {
        // Names as the load generator makes them from its random numbers.
        Need::Scores => ["ZADD", "scores", &number.to_string(), &format!("member:{number:012}")]
            .map(str::to_owned)
            .to_vec(),
        Need::Members => ["SADD", "members", &format!("member:{number:012}")].map(str::to_owned).to_vec(),
        _ => ["RPUSH", "list", VALUE].map(str::to_owned).to_vec(),
    };
    for server in servers {
        load(server.port, 0..count, request).map_err(|error| format!("filling a server: {error}"))?;
    }
    Ok(())
}
