//! Servers that crash, on the real disk and on one that forgets; faults of the disk. `cargo xtask crash` runs more.

use shoal_crash::faults::SCENARIOS;
use shoal_crash::run::{DiskKind, Settings, run};
use std::path::PathBuf;

/// Runs on each disk.
const RUNS: u64 = 10;

fn settings() -> Settings {
    Settings::new(PathBuf::from(env!("CARGO_BIN_EXE_shoal-crash")))
}

fn run_seeds(disk: DiskKind) {
    for seed in 1..=RUNS {
        if let Err(error) = run(seed, disk, &settings()) {
            panic!("cargo xtask crash --runs 1 --seed {seed} --disk {disk}\n{error}");
        }
    }
}

#[test]
fn a_killed_server_has_what_it_acknowledged() {
    run_seeds(DiskKind::Real);
}

#[test]
fn a_power_cut_takes_only_what_was_not_synced() {
    run_seeds(DiskKind::Simulated);
}

#[test]
fn faults_of_the_disk_are_answered_as_documented() {
    for (name, scenario) in SCENARIOS {
        if let Err(error) = scenario(&settings()) {
            panic!("{name}: {error}");
        }
    }
}
