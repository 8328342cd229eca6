//! Mutates the corpus of each target for a while: `shoal-fuzz [--seconds N] [--seed S] [target…]`.
//!
//! Runs on stable Rust anywhere. An input that fails is written to `crashes/`; once the bug is gone it belongs into the
//! corpus.

// A tool for the terminal.
#![allow(clippy::print_stdout)]

use shoal_fuzz::memory::{bound, peak_of};
use shoal_fuzz::{Mutator, TARGETS, Target, corpus};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const SECONDS: u64 = 60;
/// An input that takes longer is a failure: something is not bounded.
const SLOW: Duration = Duration::from_secs(2);
/// So often it has to take longer: a busy machine may let this program wait.
const SLOW_RUNS: usize = 4;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (mut seconds, mut seed, mut names) = (SECONDS, 1, Vec::new());
    while let Some(word) = words.next() {
        let mut number = |default| words.next().and_then(|text| text.parse().ok()).unwrap_or(default);
        match word.as_str() {
            "--seconds" => seconds = number(seconds),
            "--seed" => seed = number(seed),
            _ => names.push(word),
        }
    }
    if let Some(name) = names.iter().find(|name| TARGETS.iter().all(|target| target.name != **name)) {
        println!("no such target: {name}");
        return ExitCode::FAILURE;
    }
    std::panic::set_hook(Box::new(|_| {}));
    let chosen =
        TARGETS.iter().filter(|target| names.is_empty() || names.iter().any(|name| name == target.name));
    let failed = chosen.filter(|target| !fuzz(target, seed, Duration::from_secs(seconds))).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one target; whether nothing failed.
fn fuzz(target: &Target, seed: u64, limit: Duration) -> bool {
    let inputs = match corpus(target) {
        Ok(inputs) => inputs,
        Err(error) => {
            println!("{}: the corpus cannot be read: {error}", target.name);
            return false;
        }
    };
    let mut mutator = Mutator::new(seed);
    let began = Instant::now();
    let mut count = 0_u64;
    while began.elapsed() < limit {
        let input = mutator.draw(&inputs);
        let input_began = Instant::now();
        let outcome = std::panic::catch_unwind(|| peak_of(|| (target.run)(&input)));
        let is_slow = input_began.elapsed() > SLOW && is_always_slow(target, &input);
        let is_large = outcome.as_ref().is_ok_and(|peak| *peak > bound(input.len()));
        count += 1;
        if outcome.is_err() || is_slow || is_large {
            let what = match (is_slow, is_large) {
                (true, _) => "slow",
                (_, true) => "too much memory",
                _ => "panic",
            };
            println!("{}: {what} after {count} inputs; {}", target.name, keep(target, &input));
            return false;
        }
    }
    println!("{:<12} {count} inputs in {} s", target.name, limit.as_secs());
    true
}

/// Whether an input takes too long again and again.
fn is_always_slow(target: &Target, input: &[u8]) -> bool {
    (1..SLOW_RUNS).all(|_| {
        let began = Instant::now();
        let _ = std::panic::catch_unwind(|| (target.run)(input));
        began.elapsed() > SLOW
    })
}

/// Writes an input that fails; says where.
fn keep(target: &Target, input: &[u8]) -> String {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("crashes");
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let path = directory.join(format!("{}-{hash:016x}", target.name));
    match std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&path, input)) {
        Ok(()) => format!("the input is {}", path.display()),
        Err(error) => format!("the input could not be written ({error}): {}", input.escape_ascii()),
    }
}
