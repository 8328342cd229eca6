//! `cargo xtask sim`: many seeds of the simulator, or one seed with every event.

use crate::arguments::Arguments;
use crate::{Outcome, process, workspace};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Seeds that run when none are named: of the cluster, and of replication.
const DEFAULT_SEEDS: (u64, u64) = (0, 1000);
const DEFAULT_REPLICATION_SEEDS: (u64, u64) = (0, 500);

/// The page with the table of large clusters, and what stands around it.
const SCALE_PAGE: &str = "docs/scale.md";
const TABLE_BEGINS: &str = "<!-- begin of the table -->";
const TABLE_ENDS: &str = "<!-- end of the table -->";
/// The lines of a table above its first row.
const HEADING_LINES: usize = 2;

/// Runs `--seeds A..B`, or `--seed S`, with `--log` for its events, on clusters of `--nodes N`; with `--replication`,
/// replication between whole nodes; with `--moving`, slots move all the time; with `--scale`, large clusters, by the rules of
/// both or by `--rules shoal` or `--rules redis`.
pub fn run(mut arguments: Arguments) -> Outcome<()> {
    let seeds = arguments.value("--seeds")?.map(|text| range(&text)).transpose()?;
    let seed: Option<u64> = arguments.parsed("--seed")?;
    let log = arguments.flag("--log");
    let is_replication = arguments.flag("--replication");
    let is_scale = arguments.flag("--scale");
    let nodes: Option<usize> = arguments.parsed("--nodes")?;
    let rules = arguments.value("--rules")?;
    let is_moving = arguments.flag("--moving");
    arguments.end()?;
    if is_scale {
        return scale(nodes, rules.as_deref());
    }
    if rules.is_some() {
        return Err("--rules is for --scale".to_owned());
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

/// Measures large clusters, and keeps the lines of the sizes that ran in the documentation, as they come.
fn scale(nodes: Option<usize>, rules: Option<&str>) -> Outcome<()> {
    if let Some(other) = rules.filter(|rules| !["shoal", "redis"].contains(rules)) {
        return Err(format!("--rules is shoal or redis, not {other}"));
    }
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "shoal-simulator", "--example", "scale", "--"]);
    cargo.args(rules).args(nodes.map(|nodes| nodes.to_string()));
    let path = workspace::root().join(SCALE_PAGE);
    let mut table = String::new();
    process::each_line(&mut cargo, |line| {
        println!("{line}");
        table.push_str(line);
        table.push('\n');
        if table.lines().count() <= HEADING_LINES {
            return Ok(());
        }
        let page = std::fs::read_to_string(&path).map_err(|error| format!("{SCALE_PAGE}: {error}"))?;
        let page =
            with_lines(&page, &table).ok_or_else(|| format!("{SCALE_PAGE} has no place for the table"))?;
        std::fs::write(&path, page).map_err(|error| format!("{SCALE_PAGE}: {error}"))
    })
}

/// A page whose table has these lines, and of the old ones those about other clusters.
fn with_lines(page: &str, table: &str) -> Option<String> {
    let (head, rest) = page.split_once(TABLE_BEGINS)?;
    let (old, tail) = rest.split_once(TABLE_ENDS)?;
    let mut clusters = clusters_of(old);
    clusters.extend(clusters_of(table));
    let lines: Vec<&str> = clusters.values().flatten().copied().collect();
    let heading: Vec<&str> = table.lines().take(HEADING_LINES).collect();
    Some(format!("{head}{TABLE_BEGINS}\n{}\n{}\n{TABLE_ENDS}{tail}", heading.join("\n"), lines.join("\n")))
}

/// The lines about each cluster, by the number of its nodes and its name. The first line has the name, the others have none.
fn clusters_of(table: &str) -> BTreeMap<(usize, Reverse<&str>), Vec<&str>> {
    let mut clusters = BTreeMap::new();
    let mut current = None;
    for line in table.trim().lines().skip(HEADING_LINES) {
        let name = line.split('|').nth(1).unwrap_or_default().trim();
        if let Some(nodes) = name.split(' ').next().and_then(|nodes| nodes.parse().ok()) {
            current = Some((nodes, Reverse(name)));
        }
        if let Some(cluster) = current {
            clusters.entry(cluster).or_insert_with(Vec::new).push(line);
        }
    }
    clusters
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
    use super::{TABLE_BEGINS, TABLE_ENDS, range, with_lines};

    #[test]
    fn lines_are_replaced_by_cluster() {
        let heading = "| | stands |\n|---|---|";
        let page = |lines: &str| format!("# A\n\n{TABLE_BEGINS}\n{heading}\n{lines}\n{TABLE_ENDS}\n\nend\n");
        let old = page(
            "| 200 nodes, Shoal | 1 |\n|  | 2 |\n| 200 nodes, Redis's rules | 3 |\n| 2000 nodes, Shoal | 4 |",
        );
        let new =
            format!("{heading}\n| 1000 nodes, Shoal | 5 |\n| 200 nodes, Shoal | 6 |\n|  | 7 |\n|  | 8 |\n");
        let wanted = "| 200 nodes, Shoal | 6 |\n|  | 7 |\n|  | 8 |\n| 200 nodes, Redis's rules | 3 |\n\
                      | 1000 nodes, Shoal | 5 |\n| 2000 nodes, Shoal | 4 |";
        assert_eq!(with_lines(&old, &new), Some(page(wanted)));
        assert_eq!(with_lines("# A", "new"), None);
    }

    #[test]
    fn ranges() {
        assert_eq!(range("3..10"), Ok((3, 10)));
        for text in ["3", "3..3", "9..3", "a..b", ""] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
