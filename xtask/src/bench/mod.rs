//! `cargo xtask bench`: Shoal against the installed `redis-server`, on the same machine in the same run.
//!
//! Absolute times say more about the machine than about the program: what counts is the ratio. Rounds alternate between
//! the two servers, medians are compared, the load comes from one core and the servers run on another.

mod cluster;
mod elements;
mod everysec;
mod idle;
mod latency;
mod loader;
mod memory;
mod persistence;
mod report;
mod scale;
mod server;
mod speed;
mod types;

use crate::arguments::Arguments;
use crate::{Outcome, process, workspace};
use report::Row;
use std::process::Command;

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Size {
    /// Alternating rounds of each speed.
    pub rounds: usize,
    /// Requests of a round; with pipelines four times as many.
    pub requests: u64,
    /// Keys in memory.
    pub keys: &'static [u64],
    /// Elements of one key in memory, and of the sorted set that is measured.
    pub elements: u64,
    /// Keys loaded while latency is measured.
    pub load: u64,
    /// Keys of all types in a snapshot.
    pub persisted: u64,
    /// Seconds of idleness.
    pub idle_seconds: u64,
}

const FULL: Size = Size {
    rounds: 7,
    requests: 300_000,
    keys: &[700_000, 1_000_000, 1_400_000],
    elements: 1_000_000,
    load: 10_000_000,
    persisted: 2_000_000,
    idle_seconds: 60,
};
const QUICK: Size = Size {
    rounds: 3,
    requests: 100_000,
    keys: &[700_000],
    elements: 200_000,
    load: 1_000_000,
    persisted: 300_000,
    idle_seconds: 10,
};

/// A measurement by name.
type Part = (&'static str, fn(&str, Size) -> Outcome<Vec<Row>>);

const PARTS: &[Part] = &[
    ("speed", speed::measure),
    ("types", types::measure),
    ("elements", elements::measure),
    ("memory", memory::measure),
    ("latency", latency::measure),
    ("scale", scale::measure),
    ("persistence", persistence::measure),
    ("everysec", everysec::measure),
    ("idle", idle::measure),
    ("cluster", cluster::measure),
];

/// Measures and prints the table; without `--quick` it is also written to `docs/benchmarks.md`, with `--only`, or parts as words, the
/// rows of those parts.
pub fn run(mut arguments: Arguments) -> Outcome<()> {
    let (quick, json) = (arguments.flag("--quick"), arguments.flag("--json"));
    let mut only = arguments.list("--only")?;
    let binary = arguments.value("--binary")?;
    only.extend(arguments.rest()?);
    if let Some(unknown) = only.iter().find(|word| !PARTS.iter().any(|(name, _)| name == word)) {
        return Err(format!("nothing is measured under the name of {unknown}"));
    }
    let binary = match binary {
        Some(path) => path,
        None => workspace::program(true)?.to_string_lossy().into_owned(),
    };
    let size = if quick { QUICK } else { FULL };
    pin_to_load_core();
    let mut rows = Vec::new();
    for (name, measure) in PARTS {
        if only.is_empty() || only.iter().any(|word| word == name) {
            eprintln!("measuring {name}…");
            rows.extend(measure(&binary, size)?);
        }
    }
    if json {
        println!("{}", report::json(&rows));
    } else {
        println!("{}", report::table(&rows));
    }
    if !quick {
        if only.is_empty() { report::write(&rows, &binary)? } else { report::update(&rows)? }
    }
    let missed: Vec<&str> = rows.iter().filter(|row| !row.is_met()).map(|row| row.name.as_str()).collect();
    if missed.is_empty() { Ok(()) } else { Err(format!("above the limit: {}", missed.join("; "))) }
}

/// This process, and the load generators it starts, stay on the first core.
fn pin_to_load_core() {
    let process = std::process::id().to_string();
    if !process::output(Command::new("taskset").args(["-p", "-c", "0", &process]))
        .is_ok_and(|text| !text.is_empty())
    {
        eprintln!("taskset is missing: servers and load share the cores, figures will vary");
    }
}

/// The value in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
