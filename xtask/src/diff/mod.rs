//! `cargo xtask diff`: random commands on Shoal and on an installed `redis-server` must get equal replies and leave
//! equal data.
//!
//! ```text
//!   Generator --operation--> Pair { ours, theirs } --two answers--> compare (rules) --different--> shrink
//! ```
//!
//! A failure is replayed and shrunk to the shortest sequence that still shows it, and printed as commands one can type.

mod compare;
mod generate;
mod pair;
mod peer;
mod shown;
mod shrink;
mod waiter;

use crate::arguments::Arguments;
use crate::{Outcome, workspace};
pub use generate::Choice;
use generate::Generator;
use pair::{Pair, Problem};
use std::path::Path;
use std::time::Instant;

/// Commands that run when no number is given; the tests run fewer.
const DEFAULT_OPERATIONS: usize = 100_000;
/// After so many commands the data is compared as a whole.
const DIGEST_EVERY: usize = 1000;
/// After so many both load their data anew before.
const RELOAD_EVERY: usize = 5000;
/// Differences that do not come again when the same commands run again: an expiry fell between two replies.
const RACES_MAX: usize = 3;

/// Runs `--ops N` commands of `--seed S`.
pub fn run(mut arguments: Arguments) -> Outcome<()> {
    let seed = arguments.parsed("--seed")?.unwrap_or(1);
    let operations = arguments.parsed("--ops")?.unwrap_or(DEFAULT_OPERATIONS);
    let keep_going = arguments.flag("--keep-going");
    let choice = Choice {
        groups: arguments.list("--group")?,
        without: arguments.list("--without")?,
        is_cluster: arguments.flag("--cluster"),
    };
    let binary: Option<String> = arguments.value("--binary")?;
    arguments.end()?;
    if let Some(name) = choice.groups.iter().find(|name| !Generator::knows_group(name)) {
        return Err(format!("no such group: {name}"));
    }
    let binary = match binary {
        Some(path) => path.into(),
        None => workspace::program(false)?,
    };
    println!("{}", differential(seed, operations, &binary, &choice, keep_going)?);
    Ok(())
}

/// Runs commands; the text sums up, the error shows the shortest sequence that fails. With `keep_going` every failure is
/// shown and the rest runs from empty servers.
pub fn differential(
    seed: u64,
    operations: usize,
    binary: &Path,
    choice: &Choice,
    keep_going: bool,
) -> Outcome<String> {
    let began = Instant::now();
    let mut pair = Pair::start(&binary.to_string_lossy(), choice)?;
    let mut generator = Generator::new(seed, choice.clone());
    let mut history = Vec::new();
    let (mut races, mut failures) = (0, 0);
    for index in 1..=operations {
        let operation = generator.next();
        // One thousand with events, one thousand with keys that have ended and are still there.
        pair.hears_events = ((index - 1) / DIGEST_EVERY).is_multiple_of(2);
        let outcome = pair.run(&operation);
        history.push(operation);
        for payload in outcome.iter().flatten() {
            generator.remember_payload(payload);
        }
        let with_reload = index % RELOAD_EVERY == 0;
        let outcome =
            outcome.map(drop).and_then(|()| match index % DIGEST_EVERY == 0 || index == operations {
                true => pair.compare_all(with_reload),
                false => Ok(()),
            });
        let Err(problem) = outcome else { continue };
        let Problem::Different(text) = problem else { return Err(problem.to_string()) };
        eprintln!("seed {seed}, command {index}: {text}\nlooking for a shorter sequence…");
        match shrink::shrink(&mut pair, &history, with_reload)? {
            Some(shortest) => {
                let log = pair.log_of_a_crash();
                let report = format!("seed {seed}, command {index}, the shortest sequence:\n{shortest}{log}");
                if !keep_going {
                    return Err(report);
                }
                println!("{report}\n");
                failures += 1;
                pair.reset().map_err(|problem| problem.to_string())?;
                history.clear();
            }
            None if races < RACES_MAX => {
                races += 1;
                println!("not repeatable, counted as a race of clocks ({races}): {text}");
                pair.reset().map_err(|problem| problem.to_string())?;
                history.clear();
            }
            None => return Err(format!("seed {seed}, command {index}, not repeatable: {text}")),
        }
    }
    if failures > 0 {
        return Err(format!("{failures} differences"));
    }
    let rate = operations as f64 / began.elapsed().as_secs_f64();
    Ok(format!(
        "{operations} commands of seed {seed}, {rate:.0} per second, {} of them answered with errors; {}",
        pair.errors,
        pair.accepted()
    ))
}
