//! The figures as a table, as JSON, and in `docs/benchmarks.md`.

use crate::{Outcome, process, workspace};
use serde_json::json;
use std::process::Command;

const PATH: &str = "docs/benchmarks.md";
/// Between these lines the tool writes; the rest of the file is for people.
const BEGIN: &str = "<!-- figures: written by cargo xtask bench -->";
const END: &str = "<!-- end of figures -->";

/// One figure of both servers.
pub struct Row {
    /// What is measured.
    pub name: String,
    unit: &'static str,
    ours: f64,
    theirs: Option<f64>,
    limit: Limit,
}

/// What is promised.
enum Limit {
    /// At most so much of the other's figure.
    Ratio(f64),
    /// At most this.
    Value(f64),
    /// At most this, and no more than the other's.
    Both(f64),
    /// Nothing.
    None,
}

impl Row {
    /// A figure that may be at most `ratio` of the other's.
    pub fn against(name: String, unit: &'static str, ours: f64, theirs: f64, ratio: f64) -> Self {
        Self { name, unit, ours, theirs: Some(theirs), limit: Limit::Ratio(ratio) }
    }

    /// A figure that may be at most `limit`, beside the other's.
    pub fn below(name: String, unit: &'static str, ours: f64, theirs: f64, limit: f64) -> Self {
        Self { name, unit, ours, theirs: Some(theirs), limit: Limit::Value(limit) }
    }

    /// A figure that may be at most `limit`, if there is one, and in any case no more than the other's.
    pub fn below_both(name: String, unit: &'static str, ours: f64, theirs: f64, limit: Option<f64>) -> Self {
        let limit = limit.map_or(Limit::Ratio(1.0), Limit::Both);
        Self { name, unit, ours, theirs: Some(theirs), limit }
    }

    /// A figure only we have.
    pub fn alone(name: String, unit: &'static str, ours: f64, limit: f64) -> Self {
        Self { name, unit, ours, theirs: None, limit: Limit::Value(limit) }
    }

    /// Two figures without a promise.
    pub fn shown(name: String, unit: &'static str, ours: f64, theirs: f64) -> Self {
        Self { name, unit, ours, theirs: Some(theirs), limit: Limit::None }
    }

    /// Whether the promise is kept.
    pub fn is_met(&self) -> bool {
        match self.limit {
            Limit::Ratio(ratio) => self.theirs.is_some_and(|theirs| self.ours <= theirs * ratio),
            Limit::Value(value) => self.ours <= value,
            Limit::Both(value) => self.ours <= value && self.theirs.is_some_and(|theirs| self.ours <= theirs),
            Limit::None => true,
        }
    }

    fn ratio(&self) -> Option<f64> {
        self.theirs.map(|theirs| self.ours / theirs)
    }
}

/// The table, as Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text =
        "| figure | unit | Shoal | Redis | ratio | at most | |\n|---|---|---:|---:|---:|---:|---|\n"
            .to_owned();
    for row in rows {
        let other = row.theirs.map_or("—".to_owned(), number);
        let ratio = row.ratio().map_or("—".to_owned(), |ratio| format!("{ratio:.2}"));
        let (limit, verdict) = match row.limit {
            Limit::Ratio(ratio) => (format!("{ratio} ×"), if row.is_met() { "kept" } else { "**missed**" }),
            Limit::Both(value) => {
                (format!("{}, 1 ×", number(value)), if row.is_met() { "kept" } else { "**missed**" })
            }
            Limit::Value(value) => (number(value), if row.is_met() { "kept" } else { "**missed**" }),
            Limit::None => (String::new(), ""),
        };
        let Row { name, unit, .. } = row;
        text.push_str(&format!(
            "| {name} | {unit} | {} | {other} | {ratio} | {limit} | {verdict} |\n",
            number(row.ours)
        ));
    }
    text
}

/// The same for programs.
pub fn json(rows: &[Row]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({"figure": row.name, "unit": row.unit, "shoal": row.ours, "redis": row.theirs,
                   "ratio": row.ratio(), "kept": row.is_met()})
        })
        .collect();
    json!(rows).to_string()
}

/// Puts these figures into the document in the place of those with the same names; new ones come behind the others.
pub fn update(rows: &[Row]) -> Outcome<()> {
    let text = workspace::text(PATH)?.unwrap_or_default();
    let updated = merge(&text, rows).ok_or_else(|| format!("{PATH} has no place for figures"))?;
    std::fs::write(workspace::root().join(PATH), updated).map_err(|error| format!("{PATH}: {error}"))
}

fn merge(text: &str, rows: &[Row]) -> Option<String> {
    let new = table(rows);
    let mut new: Vec<&str> = new.lines().skip(2).collect();
    let name = |line: &str| line.split(" | ").next().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for line in text.lines() {
        if line == END {
            // Behind the table there is an empty line.
            let at = lines.iter().rposition(|line: &&str| line.starts_with('|'))? + 1;
            lines.splice(at..at, new.drain(..));
        }
        let same = new.iter().position(|row| line.starts_with("| ") && name(row) == name(line));
        lines.push(same.map_or(line, |at| new.remove(at)));
    }
    new.is_empty().then(|| lines.join("\n") + "\n")
}

/// Replaces the figures in the document.
pub fn write(rows: &[Row], binary: &str) -> Outcome<()> {
    let text = workspace::text(PATH)?.unwrap_or_default();
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        return Err(format!("{PATH} has no place for figures"));
    };
    let head = text.get(..begin + BEGIN.len()).unwrap_or_default();
    let tail = text.get(end..).unwrap_or_default();
    let day = process::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let cores = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let count = cores.lines().filter(|line| line.starts_with("processor")).count();
    let model = cores.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let about = format!("{}, {count} cores ({model}).\n{}.", day.trim(), super::server::versions(binary));
    std::fs::write(workspace::root().join(PATH), format!("{head}\n\n{about}\n\n{}\n{tail}", table(rows)))
        .map_err(|error| format!("{PATH}: {error}"))
}

fn number(value: f64) -> String {
    if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::{END, Row, merge, table};

    #[test]
    fn a_part_of_the_figures_replaces_its_own() {
        let row = |name: &str, ours| Row::shown(name.to_owned(), "s", ours, 2.0);
        let text = format!("head\n\n{}\n{END}\n", table(&[row("a", 1.0), row("ab", 1.0)]));
        let merged = merge(&text, &[row("c", 3.0), row("a", 4.0)]).unwrap();
        let expected = table(&[row("a", 4.0), row("ab", 1.0), row("c", 3.0)]);
        assert_eq!(merged, format!("head\n\n{expected}\n{END}\n"));
        assert_eq!(merge("nothing", &[row("c", 3.0)]), None);
    }

    #[test]
    fn promises_are_judged() {
        let rows = [
            Row::against("a".to_owned(), "µs", 9.0, 10.0, 0.95),
            Row::against("b".to_owned(), "µs", 9.6, 10.0, 0.95),
            Row::below("c".to_owned(), "bytes", 115.0, 150.0, 115.0),
            Row::alone("d".to_owned(), "%", 2.1, 2.0),
            Row::shown("e".to_owned(), "1/s", 1.0, 2.0),
            Row::below_both("f".to_owned(), "bytes", 30.0, 40.0, Some(36.0)),
            Row::below_both("g".to_owned(), "bytes", 35.0, 34.0, Some(36.0)),
            Row::below_both("h".to_owned(), "bytes", 37.0, 50.0, Some(36.0)),
            Row::below_both("i".to_owned(), "bytes", 37.0, 36.0, None),
        ];
        let met: Vec<bool> = rows.iter().map(Row::is_met).collect();
        assert_eq!(met, [true, false, true, false, true, true, false, false, false]);
        assert!(table(&rows).contains("| a | µs | 9.00 | 10.00 | 0.90 | 0.95 × | kept |"));
    }
}
