//! Replays one seed and prints every event, or runs a range of seeds on all cores and prints the failures:
//! `cargo run -p shoal-simulator --example replay [replication|moving] FIRST [END|log [NODES]]`. `cargo xtask sim` calls it.
#![allow(clippy::print_stdout)]

use shoal_simulator::{
    Options, RangeReport, ReplicationReport, Scenario, run_replication, run_with_options, simulate_range,
};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

fn main() -> ExitCode {
    let has_word = |word: &str| std::env::args().nth(1).is_some_and(|first| first == word);
    let (is_replication, is_moving) = (has_word("replication"), has_word("moving"));
    let skipped = usize::from(is_replication || is_moving);
    let number = |index: usize| std::env::args().nth(skipped + index)?.parse::<u64>().ok();
    let first = number(1).unwrap_or(0);
    let end = number(2);
    let nodes = number(3).and_then(|nodes| usize::try_from(nodes).ok());
    let options = Options { log: end.is_none(), nodes, is_moving };
    if is_replication {
        return replication(first, end);
    }
    let report = match end {
        None => one(first, options),
        Some(end) => on_all_cores(first..end, options),
    };
    for failure in &report.failures {
        println!("{}{failure}", failure.log.as_deref().unwrap_or(""));
    }
    println!("{} passed, {} failed", report.passed, report.failures.len());
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Replication between whole nodes: one seed with every event, or a range.
fn replication(first: u64, end: Option<u64>) -> ExitCode {
    let next = AtomicU64::new(first);
    let failures = AtomicU64::new(0);
    let total = Mutex::new(ReplicationReport::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.unwrap_or(first + 1) {
                break;
            }
            match run_replication(seed) {
                Ok(report) if end.is_none() => println!("{}", report.log),
                Ok(report) => {
                    if let Ok(mut total) = total.lock() {
                        total.add(&report);
                    }
                }
                Err(failure) => {
                    failures.fetch_add(1, Ordering::Relaxed);
                    let shown =
                        if end.is_none() { failure.as_str() } else { failure.lines().next().unwrap_or("") };
                    println!("failed: {shown}");
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let failed = failures.load(Ordering::Relaxed);
    println!("{}", total.into_inner().unwrap_or_default());
    println!("{} passed, {failed} failed", end.unwrap_or(first + 1) - first - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One seed with every event.
fn one(seed: u64, options: Options) -> RangeReport {
    let scenario = match options.is_moving {
        true => Scenario::moving(seed, options.nodes),
        false => Scenario::random(seed, options.nodes),
    };
    match run_with_options(seed, &scenario, options) {
        Ok(report) => {
            println!("{}", report.log.as_deref().unwrap_or(""));
            RangeReport { passed: 1, ..RangeReport::default() }
        }
        Err(failure) => RangeReport { failures: vec![failure], ..RangeReport::default() },
    }
}

/// Each core takes the next seed when it is done with one; a failure is printed when it is found.
fn on_all_cores(seeds: Range<u64>, options: Options) -> RangeReport {
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new(RangeReport::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let mut report = simulate_range(seed..seed + 1, options);
            if let Some(failure) = report.failures.first() {
                println!("failed: {failure}");
            }
            let Ok(mut sum) = sum.lock() else { break };
            sum.passed += report.passed;
            sum.failures.append(&mut report.failures);
            let done = sum.passed + sum.failures.len() as u64;
            if done.is_multiple_of(100) {
                println!("{done} of {} seeds", seeds.end - seeds.start);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    sum.into_inner().unwrap_or_default()
}
