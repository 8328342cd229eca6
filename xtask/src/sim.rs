//! `cargo xtask sim`: many seeds of the simulator, or one seed with every event.

use crate::arguments::Arguments;
use crate::{Outcome, process, workspace};

/// Seeds that run when none are named: of the cluster, and of replication.
const DEFAULT_SEEDS: (u64, u64) = (0, 1000);
const DEFAULT_REPLICATION_SEEDS: (u64, u64) = (0, 500);

/// Runs `--seeds A..B`, or `--seed S`, with `--log` for its events, on clusters of `--nodes N`; with `--replication`,
/// replication between whole nodes, and with `--moving`, slots move all the time.
pub fn run(mut arguments: Arguments) -> Outcome<()> {
    let seeds = arguments.value("--seeds")?.map(|text| range(&text)).transpose()?;
    let seed: Option<u64> = arguments.parsed("--seed")?;
    let log = arguments.flag("--log");
    let is_replication = arguments.flag("--replication");
    let nodes: Option<usize> = arguments.parsed("--nodes")?;
    let is_moving = arguments.flag("--moving");
    arguments.end()?;
    let (first, end) = match (seed, seeds) {
        (Some(_), Some(_)) => return Err("--seed and --seeds exclude each other".to_owned()),
        (Some(seed), None) => (seed, seed + 1),
        (None, None) if is_replication => DEFAULT_REPLICATION_SEEDS,
        (None, seeds) => seeds.unwrap_or(DEFAULT_SEEDS),
    };
    if log && seed.is_none() {
        return Err("--log is for one --seed".to_owned());
    }
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--package", "shoal-simulator", "--example", "replay", "--"]);
    let end = if log { "log".to_owned() } else { end.to_string() };
    cargo.args(is_replication.then_some("replication")).args(is_moving.then_some("moving"));
    cargo.args([first.to_string(), end]).args(nodes.map(|nodes| nodes.to_string()));
    process::run(&mut cargo).map_err(|_| {
        "seeds failed; --seed S --log shows the events of one, --nodes and --moving as in this run".to_owned()
    })
}

/// Reads `A..B`, B not included.
fn range(text: &str) -> Outcome<(u64, u64)> {
    let bounds =
        text.split_once("..").and_then(|(first, end)| Some((first.parse().ok()?, end.parse().ok()?)));
    bounds
        .filter(|(first, end)| first < end)
        .ok_or_else(|| format!("--seeds is A..B with A below B, not {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges() {
        assert_eq!(range("3..10"), Ok((3, 10)));
        for text in ["3", "3..3", "9..3", "a..b", ""] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
