//! What writes cost while an append-only file is kept that is synchronised every second.

use super::loader::Client;
use super::report::Row;
use super::server::{Kind, Server};
use super::{Size, persistence, speed};
use crate::Outcome;

/// What a write in a pipeline of 16 may cost of the other's.
const RATIO: f64 = 0.8;
const VALUE: &str = "a value of some thirty-two bytes";
/// One kind of write for each type, on many keys of the mix that the server holds.
const WRITES: &[&[&str]] = &[
    &["SET", "string:__rand_int__", VALUE],
    &["HSET", "hash:__rand_int__", "field0", VALUE],
    &["RPUSH", "list:__rand_int__", VALUE],
    &["SADD", "set:__rand_int__", VALUE],
    &["ZADD", "scores:__rand_int__", "17", VALUE],
    &["XADD", "stream:__rand_int__", "*", "field", VALUE],
];
/// Keys drawn from.
const KEYS: u64 = 100_000;

/// CPU time per write over all types, with pipelines and without.
pub fn measure(binary: &str, size: Size) -> Outcome<Vec<Row>> {
    let servers = [Server::start(Kind::Shoal, binary)?, Server::start(Kind::Redis, binary)?];
    for server in &servers {
        persistence::fill(server.port, size.persisted).map_err(|error| format!("filling: {error}"))?;
        let mut client = Client::connect(server.port).map_err(|error| error.to_string())?;
        for (name, value) in
            [("appendfsync", "everysec"), ("auto-aof-rewrite-percentage", "0"), ("appendonly", "yes")]
        {
            client.expect("+OK", &["CONFIG", "SET", name, value])?;
        }
        persistence::wait_for(&mut client, "persistence", "aof_rewrite_in_progress", "0")?;
        persistence::wait_for(&mut client, "persistence", "aof_rewrite_scheduled", "0")?;
    }
    let mut rows = Vec::new();
    for pipeline in [1, 16] {
        let requests = if pipeline > 1 { size.requests } else { size.requests / 4 };
        let mut sums = [0.0, 0.0];
        for words in WRITES {
            let test = speed::Test { words, keys: KEYS, pipeline, requests };
            let figures = speed::compare(&servers, &test, size.rounds, |_| Ok(()))?;
            for (sum, (cpu_us, _)) in sums.iter_mut().zip(figures) {
                *sum += cpu_us / WRITES.len() as f64;
            }
        }
        let [ours, theirs] = sums;
        let name = "a write of any type, appendfsync everysec";
        rows.push(if pipeline > 1 {
            Row::against(format!("{name}, -P {pipeline}: CPU per request"), "µs", ours, theirs, RATIO)
        } else {
            Row::shown(format!("{name}: CPU per request"), "µs", ours, theirs)
        });
    }
    Ok(rows)
}
