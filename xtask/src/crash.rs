//! `cargo xtask crash`: servers under load are killed, and asked afterwards what they have.

use crate::arguments::Arguments;
use crate::{Outcome, process, workspace};

/// Runs on each disk when nothing else is said.
const DEFAULT_RUNS: u64 = 100;

/// Runs `--runs N` seeds from `--seed S` on, on the `--disk` that is named or on both, and then the faults of the disk.
pub fn run(mut arguments: Arguments) -> Outcome<()> {
    let runs: u64 = arguments.parsed("--runs")?.unwrap_or(DEFAULT_RUNS);
    let seed: u64 = arguments.parsed("--seed")?.unwrap_or(1);
    let disk = arguments.value("--disk")?.unwrap_or_else(|| "both".to_owned());
    let keep = arguments.flag("--keep");
    let debug = arguments.flag("--debug");
    arguments.end()?;
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--package", "shoal-crash"]).args((!debug).then_some("--release"));
    cargo.args(["--", "run", "--disk", &disk, "--runs", &runs.to_string(), "--seed", &seed.to_string()]);
    cargo.args(keep.then_some("--keep"));
    process::run(&mut cargo).map_err(|_| "runs failed; --seed S --runs 1 --keep repeats one".to_owned())
}
