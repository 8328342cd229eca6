//! Large clusters in virtual time, as a table: `cargo run --release -p shoal-simulator --example scale [shoal|redis] [NODES…]`.
//! `cargo xtask sim --scale` calls it and keeps what it prints in `docs/scale.md`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use shoal_simulator::{ScaleOptions, ScaleReport, run_scale};
use std::process::ExitCode;

/// Sizes that run when none are named.
const NODES: [usize; 2] = [200, 1000];
/// With Redis's rules larger ones run only if they are named: each message tells of a tenth of all nodes, which takes hours.
const REDIS_NODES_MAX: usize = 200;
const NODE_TIMEOUT_MS: u64 = 5000;
const KILLS: [usize; 3] = [1, 10, 50];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let named: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let are_defaults = named.is_empty();
    let sizes = if are_defaults { NODES.to_vec() } else { named };
    let kinds: &[bool] = match words.iter().map(String::as_str).find(|word| ["shoal", "redis"].contains(word))
    {
        Some("shoal") => &[false],
        Some(_) => &[true],
        None => &[false, true],
    };
    println!("| | stands | idle: messages | idle: bytes | killed | declared failed | replaced |");
    println!("|---|---|---|---|---|---|---|");
    for nodes in sizes {
        for &as_redis in kinds {
            if as_redis && are_defaults && nodes > REDIS_NODES_MAX {
                continue;
            }
            let options = ScaleOptions {
                primaries: nodes / 2,
                node_timeout_ms: NODE_TIMEOUT_MS,
                as_redis,
                kills: KILLS.to_vec(),
            };
            let name = format!("{nodes} nodes, {}", if as_redis { "Redis's rules" } else { "Shoal" });
            if let Err(reason) = run_scale(&options, &mut |report| print(&name, report)) {
                eprintln!("{name}: {reason}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Prints the line of what was measured last: large clusters take hours, and what is there is to be kept.
fn print(name: &str, report: &ScaleReport) {
    let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1000.0);
    let started = seconds(report.started_ms);
    let formed = format!("{started} | {:.1} | {:.0}", report.idle_messages, report.idle_bytes);
    let Some(kill) = report.kills.last() else {
        return eprintln!("{name}: stands after {started}");
    };
    let (name, formed) = if report.kills.len() == 1 { (name, formed.as_str()) } else { ("", " | | ") };
    println!(
        "| {name} | {formed} | {} ({} %) | {} to {} | {} |",
        kill.killed,
        kill.percent,
        seconds(kill.first_failed_ms),
        seconds(kill.all_failed_ms),
        seconds(kill.replaced_ms)
    );
}
