//! `cargo xtask chaos`: a cluster of real processes in network namespaces, under faults and a recorded load.

use crate::arguments::Arguments;
use crate::{Outcome, process, workspace};

/// How long faults go on when nothing else is said.
const DEFAULT_SECONDS: u64 = 60;

/// Runs `--seed S` for `--seconds N`; `--keep` leaves the nodes' logs. Takes root's rights.
pub fn run(mut arguments: Arguments) -> Outcome<()> {
    let seed: u64 = arguments.parsed("--seed")?.unwrap_or(1);
    let seconds: u64 = arguments.parsed("--seconds")?.unwrap_or(DEFAULT_SECONDS);
    let keep = arguments.flag("--keep");
    let binary = arguments.value("--binary")?;
    arguments.end()?;
    let binary = match binary {
        Some(path) => path.into(),
        None => workspace::program(true)?,
    };
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--package", "shoal-chaos", "--release", "--", "--program"]).arg(binary);
    cargo
        .args(["--seed", &seed.to_string(), "--seconds", &seconds.to_string()])
        .args(keep.then_some("--keep"));
    process::run(&mut cargo)
        .map_err(|_| format!("the run failed; --seed {seed} --keep leaves the nodes' logs"))
}
