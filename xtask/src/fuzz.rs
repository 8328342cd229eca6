//! `cargo xtask fuzz`: changed inputs for every decoder, for a while.

use crate::arguments::Arguments;
use crate::{Outcome, process, workspace};

/// Runs `--seconds N` for each of the targets named, or all.
pub fn run(mut arguments: Arguments) -> Outcome<()> {
    let seconds: u64 = arguments.parsed("--seconds")?.unwrap_or(60);
    let seed: u64 = arguments.parsed("--seed")?.unwrap_or(1);
    let targets = arguments.rest()?;
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--package", "shoal-fuzz", "--"]);
    cargo.args(["--seconds", &seconds.to_string(), "--seed", &seed.to_string()]).args(targets);
    process::run(&mut cargo).map_err(|_| "an input fails; it is kept in fuzz/crashes".to_owned())
}
