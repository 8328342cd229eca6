//! `cargo xtask fuzz`: changed inputs for every decoder, for a while.
//!
//! On stable Rust changes are drawn at random. With `--coverage`, which needs a nightly toolchain and a C++ compiler,
//! libFuzzer follows the paths inputs take; what it finds stays in `fuzz/crashes`.

use crate::arguments::Arguments;
use crate::{Outcome, process, workspace};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The platform that is built for; named so that build scripts are not instrumented.
const PLATFORM: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };
/// What makes a build follow coverage, as libFuzzer's documentation and cargo-fuzz have it.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Zsanitizer=address -Ccodegen-units=1";

/// Runs `--seconds N` for each of the targets named, or all.
pub fn run(mut arguments: Arguments) -> Outcome<()> {
    let seconds: u64 = arguments.parsed("--seconds")?.unwrap_or(60);
    let seed: u64 = arguments.parsed("--seed")?.unwrap_or(1);
    let coverage = arguments.flag("--coverage");
    let targets = arguments.rest()?;
    if coverage {
        return with_coverage(seconds, seed, &targets);
    }
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--package", "shoal-fuzz", "--"]);
    cargo.args(["--seconds", &seconds.to_string(), "--seed", &seed.to_string()]).args(targets);
    process::run(&mut cargo).map_err(|_| "an input fails; it is kept in fuzz/crashes".to_owned())
}

fn with_coverage(seconds: u64, seed: u64, targets: &[String]) -> Outcome<()> {
    let fuzz = workspace::root().join("fuzz");
    let built = workspace::root().join("target/libfuzzer");
    let mut cargo = Command::new("rustup");
    cargo.args(["run", "nightly", "cargo", "build", "--release", "--target", PLATFORM]);
    cargo.current_dir(fuzz.join("libfuzzer")).env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &built);
    cargo.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    process::run(&mut cargo)
        .map_err(|error| format!("--coverage needs rustup's nightly toolchain: {error}"))?;
    let program = built.join(PLATFORM).join("release/shoal-libfuzzer");
    std::fs::create_dir_all(fuzz.join("crashes")).map_err(|error| error.to_string())?;
    for target in names(&fuzz.join("corpus"))? {
        if targets.is_empty() || targets.contains(&target) {
            run_target(&program, &fuzz, &target, seconds, seed)?;
        }
    }
    Ok(())
}

/// Inputs that libFuzzer finds go into a directory of its own; the corpus stays small.
fn run_target(program: &PathBuf, fuzz: &Path, target: &str, seconds: u64, seed: u64) -> Outcome<()> {
    println!("=== {target}");
    let found = workspace::root().join("target/libfuzzer/corpus").join(target);
    std::fs::create_dir_all(&found).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.env("SHOAL_FUZZ_TARGET", target);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-seed={seed}"));
    command.arg(format!("-artifact_prefix={}/{target}-", fuzz.join("crashes").display()));
    command.arg(found).arg(fuzz.join("corpus").join(target));
    process::run(&mut command).map_err(|_| format!("{target}: an input fails; it is kept in fuzz/crashes"))
}

/// Every target has a corpus of its name.
fn names(corpus: &Path) -> Outcome<Vec<String>> {
    let entries = std::fs::read_dir(corpus).map_err(|error| error.to_string())?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
