//! CPU time per request and requests per second.

use super::report::Row;
use super::server::{Kind, Server};
use super::{Size, median};
use crate::{Outcome, process};
use std::process::Command;

/// What is run: its name and words, requests per write, and how much of Redis's CPU time it may cost.
const CASES: &[(&str, &[&str], u64, f64)] =
    &[("SET", SET, 1, 0.95), ("GET", GET, 1, 0.95), ("SET", SET, 16, 0.7), ("GET", GET, 16, 0.7)];
const SET: &[&str] =
    &["SET", "key:__rand_int__", "a value of exactly sixty-four bytes, as many as the texts say.."];
const GET: &[&str] = &["GET", "key:__rand_int__"];
/// Keys drawn from.
const KEYS: u64 = 100_000;

/// One command for the load generator.
pub struct Test<'a> {
    /// The command; `__rand_int__` stands for twelve digits.
    pub words: &'a [&'a str],
    /// Random numbers are below this.
    pub keys: u64,
    /// Requests per write.
    pub pipeline: u64,
    /// Requests of a round.
    pub requests: u64,
}

/// Both figures of each case; rounds alternate.
pub fn measure(binary: &str, size: Size) -> Outcome<Vec<Row>> {
    let servers = [Server::start(Kind::Shoal, binary)?, Server::start(Kind::Redis, binary)?];
    let mut rows = Vec::new();
    for &(name, words, pipeline, limit) in CASES {
        let requests = if pipeline > 1 { size.requests * 4 } else { size.requests };
        let test = Test { words, keys: KEYS, pipeline, requests };
        let [ours, theirs] = compare(&servers, &test, size.rounds, |_| Ok(()))?;
        let name = if pipeline > 1 { format!("{name}, -P {pipeline}") } else { name.to_owned() };
        rows.push(Row::against(format!("{name}: CPU per request"), "µs", ours.0, theirs.0, limit));
        rows.push(Row::shown(format!("{name}: throughput"), "requests/s", ours.1, theirs.1));
    }
    Ok(rows)
}

/// Alternating rounds on both servers: the medians of CPU time per request in µs and of requests per second. `prepare`
/// runs before each round and is not measured.
pub fn compare(
    servers: &[Server; 2],
    test: &Test<'_>,
    rounds: usize,
    prepare: impl Fn(&Server) -> Outcome<()>,
) -> Outcome<[(f64, f64); 2]> {
    let mut samples = [Samples::default(), Samples::default()];
    for _ in 0..rounds {
        for (server, samples) in servers.iter().zip(&mut samples) {
            prepare(server)?;
            let before = server.cpu();
            samples.rate.push(load(server.port, test)?);
            let spent = server.cpu().saturating_sub(before);
            samples.cpu_us.push(spent.as_secs_f64() * 1e6 / test.requests as f64);
        }
    }
    Ok(samples.map(Samples::medians))
}

#[derive(Default)]
struct Samples {
    cpu_us: Vec<f64>,
    rate: Vec<f64>,
}

impl Samples {
    fn medians(self) -> (f64, f64) {
        (median(self.cpu_us), median(self.rate))
    }
}

/// Runs the load generator, which is the same for both, and gives the requests per second it counts.
fn load(port: u16, test: &Test<'_>) -> Outcome<f64> {
    let mut command = Command::new("redis-benchmark");
    command.args([
        "-p",
        &port.to_string(),
        "-n",
        &test.requests.to_string(),
        "-P",
        &test.pipeline.to_string(),
    ]);
    command.args(["-r", &test.keys.to_string(), "-c", "50", "--csv"]).args(test.words);
    let text = process::output(&mut command)?;
    // The name of the test, which may hold anything, stands before the figures.
    let figures = text.lines().last().unwrap_or_default().rsplit("\",\"");
    // Of eight columns the rate is the second: seven from the end.
    let rate = figures.take(FIGURES).last().and_then(|rate| rate.parse().ok());
    rate.ok_or_else(|| format!("redis-benchmark printed no rate: {text}"))
}

/// Columns of figures: the rate and six latencies.
const FIGURES: usize = 7;
