//! `cargo xtask sim`: many seeds of the simulator, or one seed with every event.

use crate::arguments::Arguments;
use crate::{Outcome, process, workspace};

/// Seeds that run when none are named: of the cluster, and of replication.
const DEFAULT_SEEDS: (u64, u64) = (0, 1000);
const DEFAULT_REPLICATION_SEEDS: (u64, u64) = (0, 500);

/// The page with the table of large clusters, and what stands around it.
const SCALE_PAGE: &str = "docs/scale.md";
const TABLE_BEGINS: &str = "<!-- begin of the table -->";
const TABLE_ENDS: &str = "<!-- end of the table -->";

/// Runs `--seeds A..B`, or `--seed S`, with `--log` for its events, on clusters of `--nodes N`; with `--replication`,
/// replication between whole nodes; with `--moving`, slots move all the time; with `--scale`, large clusters.
pub fn run(mut arguments: Arguments) -> Outcome<()> {
    let seeds = arguments.value("--seeds")?.map(|text| range(&text)).transpose()?;
    let seed: Option<u64> = arguments.parsed("--seed")?;
    let log = arguments.flag("--log");
    let is_replication = arguments.flag("--replication");
    let is_scale = arguments.flag("--scale");
    let nodes: Option<usize> = arguments.parsed("--nodes")?;
    let is_moving = arguments.flag("--moving");
    arguments.end()?;
    if is_scale {
        return scale(nodes);
    }
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

/// Measures large clusters, and keeps the table in the documentation.
fn scale(nodes: Option<usize>) -> Outcome<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "shoal-simulator", "--example", "scale", "--"]);
    cargo.args(nodes.map(|nodes| nodes.to_string()));
    let table = process::output(&mut cargo)?;
    println!("{table}");
    if nodes.is_some() {
        return Ok(());
    }
    let path = workspace::root().join(SCALE_PAGE);
    let page = std::fs::read_to_string(&path).map_err(|error| format!("{SCALE_PAGE}: {error}"))?;
    let page = with_table(&page, &table).ok_or_else(|| format!("{SCALE_PAGE} has no place for the table"))?;
    std::fs::write(&path, page).map_err(|error| format!("{SCALE_PAGE}: {error}"))
}

/// A page with this table in the place of the one that is there.
fn with_table(page: &str, table: &str) -> Option<String> {
    let (head, rest) = page.split_once(TABLE_BEGINS)?;
    let (_, tail) = rest.split_once(TABLE_ENDS)?;
    Some(format!("{head}{TABLE_BEGINS}\n{}\n{TABLE_ENDS}{tail}", table.trim()))
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
    use super::{TABLE_BEGINS, TABLE_ENDS, range, with_table};

    #[test]
    fn the_table_is_replaced() {
        let page = |table: &str| format!("# A\n\n{TABLE_BEGINS}\n{table}\n{TABLE_ENDS}\n\nend\n");
        assert_eq!(with_table(&page("old"), "new\n"), Some(page("new")));
        assert_eq!(with_table("# A", "new"), None);
    }

    #[test]
    fn ranges() {
        assert_eq!(range("3..10"), Ok((3, 10)));
        for text in ["3", "3..3", "9..3", "a..b", ""] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
