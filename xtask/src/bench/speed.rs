//! CPU time per request and requests per second.

use super::report::Row;
use super::server::{Kind, Server};
use super::{Size, median};
use crate::{Outcome, process};
use std::process::Command;

/// What is run: the test of the load generator, requests per write, and how much of Redis's CPU time it may cost.
const CASES: &[(&str, u64, f64)] = &[("SET", 1, 0.95), ("GET", 1, 0.95), ("SET", 16, 0.7), ("GET", 16, 0.7)];
/// Keys drawn from.
const KEYS: &str = "100000";

/// Both figures of each case; rounds alternate.
pub fn measure(binary: &str, size: Size) -> Outcome<Vec<Row>> {
    let ours = Server::start(Kind::Shoal, binary)?;
    let theirs = Server::start(Kind::Redis, binary)?;
    let mut rows = Vec::new();
    for &(test, pipeline, limit) in CASES {
        let requests = if pipeline > 1 { size.requests * 4 } else { size.requests };
        let mut samples = [Samples::default(), Samples::default()];
        for _ in 0..size.rounds {
            for (server, samples) in [&ours, &theirs].into_iter().zip(&mut samples) {
                let before = server.cpu();
                samples.rate.push(load(server.port, test, pipeline, requests)?);
                let spent = server.cpu().saturating_sub(before);
                samples.cpu_us.push(spent.as_secs_f64() * 1e6 / requests as f64);
            }
        }
        let [ours, theirs] = samples.map(Samples::medians);
        let name = if pipeline > 1 { format!("{test}, -P {pipeline}") } else { test.to_owned() };
        rows.push(Row::against(format!("{name}: CPU per request"), "µs", ours.0, theirs.0, limit));
        rows.push(Row::shown(format!("{name}: throughput"), "requests/s", ours.1, theirs.1));
    }
    Ok(rows)
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
fn load(port: u16, test: &str, pipeline: u64, requests: u64) -> Outcome<f64> {
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &port.to_string(), "-n", &requests.to_string(), "-P", &pipeline.to_string()]);
    command.args(["-t", &test.to_lowercase(), "-r", KEYS, "-c", "50", "-d", "64", "--csv"]);
    let text = process::output(&mut command)?;
    let rate = text.lines().find_map(|line| line.strip_prefix(&format!("\"{test}\",\"")));
    let rate = rate.and_then(|rest| rest.split('"').next()?.parse().ok());
    rate.ok_or_else(|| format!("redis-benchmark printed no rate: {text}"))
}
