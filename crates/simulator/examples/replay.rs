//! Replays one seed and prints every event, or runs a range of seeds and prints the failures:
//! `cargo run -p shoal-simulator --example replay FIRST [END [NODES]]`.
#![allow(clippy::print_stdout)]

use shoal_simulator::{Options, simulate_range};

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let first = numbers.next().unwrap_or(0);
    let end = numbers.next();
    let nodes = numbers.next().and_then(|nodes| usize::try_from(nodes).ok());
    let options = Options { log: end.is_none(), nodes };
    let report = simulate_range(first..end.unwrap_or(first + 1), options);
    for failure in &report.failures {
        println!("{}{failure}", failure.log.as_deref().unwrap_or(""));
    }
    println!("{} passed, {} failed; {:?}", report.passed, report.failures.len(), report.total);
}
