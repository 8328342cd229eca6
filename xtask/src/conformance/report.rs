//! The figures: on the terminal, as JSON, and in `docs/conformance.md`.

use super::Group;
use super::outcome::{End, Results, Test};
use super::skiplist::Skiplist;
use crate::{Outcome, process, workspace};
use serde_json::json;
use std::process::Command;

const PATH: &str = "docs/conformance.md";
/// A place in the document: between two lines the tool writes; the rest of the file is for people.
pub struct Place {
    begin: &'static str,
    end: &'static str,
}

/// Where the figures of most files stand.
pub const PLACE: Place =
    Place { begin: "<!-- figures: written by cargo xtask conformance -->", end: "<!-- end of figures -->" };

/// Where those of the suite for clusters stand.
pub const CLUSTER_PLACE: Place = Place {
    begin: "<!-- figures: written by cargo xtask conformance --cluster -->",
    end: "<!-- end of figures of clusters -->",
};

/// How one file came out.
pub struct Score {
    /// As the suite names it.
    pub file: String,
    /// Tests that the real server passes, without the excepted ones.
    pub expected: usize,
    /// Of these, what ours passes.
    pub passed: usize,
    /// Tests that are excepted.
    pub excepted: usize,
    failures: Vec<(Test, Option<String>)>,
    outside: Vec<String>,
    is_complete: bool,
}

impl Score {
    /// Judges a run by what the real server passes.
    pub fn new(file: &str, passes: Vec<Test>, skiplist: &Skiplist, results: &Results) -> Self {
        let all = passes.len();
        let expected: Vec<Test> =
            passes.into_iter().filter(|test| !skiplist.holds(file, &test.name)).collect();
        let count = expected.len();
        let mut failures = Vec::new();
        for test in expected {
            match results.end(&test) {
                Some(End::Passed) => {}
                Some(End::Failed(text)) => failures.push((test, Some(text.clone()))),
                None => failures.push((test, None)),
            }
        }
        Self {
            file: file.to_owned(),
            expected: count,
            passed: count - failures.len(),
            excepted: all - count,
            failures,
            outside: results.outside.clone(),
            is_complete: results.is_complete,
        }
    }

    /// What failed and why, and what broke off.
    pub fn failures_text(&self) -> String {
        let mut text = String::new();
        for outside in self.outside.iter().filter(|_| self.expected > self.passed) {
            text.push_str(&format!("{}: outside of a test\n{}\n", self.file, indented(outside)));
        }
        for (test, detail) in &self.failures {
            let number = if test.number > 1 { format!(" ({})", test.number) } else { String::new() };
            let detail = detail.as_ref().map_or("    did not run".to_owned(), |text| indented(text));
            text.push_str(&format!("{}: {}{number}\n{detail}\n", self.file, test.name));
        }
        text
    }

    fn not_run(&self) -> usize {
        self.failures.iter().filter(|(_, detail)| detail.is_none()).count()
    }

    fn failed(&self) -> usize {
        self.failures.len() - self.not_run()
    }
}

/// All files.
pub struct Report {
    scores: Vec<Score>,
    groups: &'static [Group],
    version: String,
}

/// Sums over files.
#[derive(Default)]
struct Sum {
    expected: usize,
    passed: usize,
    failed: usize,
    not_run: usize,
    excepted: usize,
}

impl Report {
    /// Files in groups; `version` is that of the real server.
    pub fn new(scores: Vec<Score>, groups: &'static [Group], version: &str) -> Self {
        Self { scores, groups, version: version.to_owned() }
    }

    /// For people.
    pub fn text(&self, with_failures: bool) -> String {
        let mut text = String::new();
        if with_failures {
            text.extend(self.scores.iter().map(Score::failures_text));
            text.push('\n');
        }
        let width = self.scores.iter().map(|score| score.file.len()).max().unwrap_or(0).max(20);
        text.push_str(&format!(
            "{:<width$} {:>9} {:>7} {:>7} {:>8} {:>8} {:>7}\n",
            "file", "real", "passed", "failed", "not run", "excepted", "ratio"
        ));
        let mut line = |name: &str, sum: &Sum| {
            text.push_str(&format!(
                "{name:<width$} {:>9} {:>7} {:>7} {:>8} {:>8} {:>7}\n",
                sum.expected,
                sum.passed,
                sum.failed,
                sum.not_run,
                sum.excepted,
                sum.ratio()
            ));
        };
        for score in &self.scores {
            line(&score.file, &Sum::of([score]));
        }
        for (name, sum) in self.sums() {
            line(name, &sum);
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> String {
        let files: Vec<_> = self
            .scores
            .iter()
            .map(|score| {
                let failures: Vec<_> = score
                    .failures
                    .iter()
                    .map(|(test, detail)| json!({"test": test.name, "number": test.number, "detail": detail}))
                    .collect();
                json!({"file": score.file, "real": score.expected, "passed": score.passed,
                       "failed": score.failed(), "not_run": score.not_run(), "excepted": score.excepted,
                       "complete": score.is_complete, "failures": failures, "outside": score.outside})
            })
            .collect();
        let groups: Vec<_> = self
            .sums()
            .map(|(name, sum)| json!({"group": name, "real": sum.expected, "passed": sum.passed}))
            .collect();
        json!({"version": self.version, "files": files, "groups": groups}).to_string()
    }

    /// Replaces the figures in the document.
    pub fn write(&self, place: Place) -> Outcome<()> {
        let text = workspace::text(PATH)?.unwrap_or_default();
        let (Some(begin), Some(end)) = (text.find(place.begin), text.find(place.end)) else {
            return Err(format!("{PATH} has no place for figures"));
        };
        let head = text.get(..begin + place.begin.len()).unwrap_or_default();
        let tail = text.get(end..).unwrap_or_default();
        let day = process::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
        let about = format!("{}, the suite of Redis {}.", day.trim(), self.version);
        std::fs::write(
            workspace::root().join(PATH),
            format!("{head}\n\n{about}\n\n{}\n{tail}", self.tables()),
        )
        .map_err(|error| format!("{PATH}: {error}"))
    }

    fn tables(&self) -> String {
        let head = "| real server passes | Shoal passes | fails | not run | excepted | ratio |";
        let rule = "|---:|---:|---:|---:|---:|---:|";
        let mut text = format!("| group {head}\n|---{rule}\n");
        for (name, sum) in self.sums() {
            text.push_str(&sum.row(name));
        }
        text.push_str(&format!("\n| file {head}\n|---{rule}\n"));
        for score in &self.scores {
            text.push_str(&Sum::of([score]).row(&format!("`{}`", score.file)));
        }
        text
    }

    /// Each group that has files here, and all.
    fn sums(&self) -> impl Iterator<Item = (&'static str, Sum)> {
        let groups = self
            .groups
            .iter()
            .map(|group| (group.name, Sum::of(self.scores.iter().filter(|score| group.holds(&score.file)))));
        let all = ("all", Sum::of(&self.scores));
        groups.filter(|(_, sum)| sum.expected > 0).chain([all])
    }
}

impl Sum {
    fn of<'a>(scores: impl IntoIterator<Item = &'a Score>) -> Self {
        scores.into_iter().fold(Self::default(), |sum, score| Self {
            expected: sum.expected + score.expected,
            passed: sum.passed + score.passed,
            failed: sum.failed + score.failed(),
            not_run: sum.not_run + score.not_run(),
            excepted: sum.excepted + score.excepted,
        })
    }

    fn ratio(&self) -> String {
        match self.expected {
            0 => "-".to_owned(),
            // Rounded down: only all is 100 %.
            expected => format!("{:.1} %", (self.passed * 1000 / expected) as f64 / 10.0),
        }
    }

    fn row(&self, name: &str) -> String {
        let Self { expected, passed, failed, not_run, excepted } = self;
        format!("| {name} | {expected} | {passed} | {failed} | {not_run} | {excepted} | {} |\n", self.ratio())
    }
}

/// The first lines of a text, moved to the right.
fn indented(text: &str) -> String {
    /// Longer ones are traces of the suite's own procedures.
    const LINES_MAX: usize = 12;
    /// Some hold whole replies.
    const LINE_MAX: usize = 400;
    let lines = text.lines().take(LINES_MAX);
    let lines = lines.map(|line| format!("    {}", line.chars().take(LINE_MAX).collect::<String>()));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{Report, Results, Score, Skiplist, Test};
    use std::time::Duration;

    #[test]
    fn what_the_real_server_passes_is_the_measure() {
        let output = "[ok]: a (1 ms)\n[err]: b in tests/unit/x.tcl\nwhy\n[ok]: only ours (1 ms)\n";
        let results = Results::parse("unit/quit", output, Duration::ZERO);
        let passes = ["a", "b", "c"].map(|name| Test { name: name.to_owned(), number: 1 });
        let score = Score::new("unit/x", passes.to_vec(), &Skiplist::default(), &results);
        assert_eq!((score.expected, score.passed, score.failed(), score.not_run()), (3, 1, 1, 1));
        assert_eq!(score.failures_text(), "unit/x: b\n    why\nunit/x: c\n    did not run\n");
        let report = Report::new(vec![score], &[], "7");
        assert!(report.tables().contains("| `unit/x` | 3 | 1 | 1 | 1 | 0 | 33.3 % |"), "{}", report.tables());
    }
}
