//! Finds the shortest part of a failing sequence that still fails.

use super::generate::Operation;
use super::pair::{Pair, Problem};
use super::shown::shown;
use crate::Outcome;
use std::time::{Duration, Instant};

/// Replays in all; each begins with two empty servers.
const REPLAYS_MAX: usize = 600;
/// After so long the shortest sequence so far is shown.
const TIME_MAX: Duration = Duration::from_secs(180);
/// The first try: so many commands before the failure.
const SUFFIX_FIRST: usize = 32;

/// The shortest sequence as text with what differs; nothing if the failure does not come again.
/// `with_reload` says whether both had loaded their data anew.
pub fn shrink(pair: &mut Pair, history: &[Operation], with_reload: bool) -> Outcome<Option<String>> {
    let began = Instant::now();
    let mut length = SUFFIX_FIRST;
    let mut failing = loop {
        let suffix = history.get(history.len().saturating_sub(length)..).unwrap_or(history);
        if let Some((end, _)) = replay(pair, suffix, with_reload)? {
            break suffix.get(..end).unwrap_or(suffix).to_vec();
        }
        if length >= history.len() {
            return Ok(None);
        }
        length *= 4;
    };
    let mut replays = 0;
    let mut chunk = failing.len().div_ceil(2);
    let is_enough = |replays: usize| replays >= REPLAYS_MAX || began.elapsed() > TIME_MAX;
    while chunk > 0 && !is_enough(replays) {
        let mut at = 0;
        while at < failing.len() && !is_enough(replays) {
            let rest = failing.iter().enumerate().filter(|(index, _)| *index < at || *index >= at + chunk);
            let shorter: Vec<Operation> = rest.map(|(_, operation)| operation.clone()).collect();
            replays += 1;
            match replay(pair, &shorter, with_reload)? {
                Some((end, _)) => failing = shorter.get(..end).unwrap_or(&shorter).to_vec(),
                None => at += chunk,
            }
        }
        chunk /= 2;
    }
    let difference =
        replay(pair, &failing, with_reload)?.map_or("(not in the last replay)".to_owned(), |(_, text)| text);
    let lines: Vec<String> = failing.iter().map(shown).collect();
    Ok(Some(format!("{}\n\n{difference}", lines.join("\n"))))
}

/// Runs a sequence from empty servers, and compares all in the end: how many commands it took to differ, and how.
fn replay(pair: &mut Pair, operations: &[Operation], with_reload: bool) -> Outcome<Option<(usize, String)>> {
    if let Err(Problem::Broken(text)) = pair.reset() {
        return Err(text);
    }
    for (index, operation) in operations.iter().enumerate() {
        match pair.run(operation) {
            Ok(_) => {}
            Err(Problem::Different(text)) => return Ok(Some((index + 1, text))),
            Err(Problem::Broken(text)) => return Err(text),
        }
    }
    match pair.compare_all(with_reload) {
        Ok(()) => Ok(None),
        Err(Problem::Different(text)) => Ok(Some((operations.len(), text))),
        Err(Problem::Broken(text)) => Err(text),
    }
}
