//! What a run of the suite printed, as names of tests and how they ended.

use std::collections::BTreeMap;
use std::time::Duration;

/// A test by name. Loops of the suite run some names more than once: the second of a name has the number 2.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    /// As the suite prints it.
    pub name: String,
    /// Which of this name, from 1.
    pub number: u32,
}

/// Files whose tests carry numbers in their names that are drawn anew in each run.
const RANDOM_NAMES: &[&str] = &["integration/psync2", "cluster/03-failover-loop"];

/// The name of a test that is the same in every run.
pub fn stable_name(file: &str, name: &str) -> String {
    if !RANDOM_NAMES.contains(&file) {
        return name.to_owned();
    }
    // Numbers become one letter, but for the one in the name of the feature.
    let mut stable = String::new();
    let mut is_in_number = false;
    for (index, character) in name.char_indices() {
        let is_digit = character.is_ascii_digit() && index > "PSYNC2".len();
        if !is_digit {
            stable.push(character);
        } else if !is_in_number {
            stable.push('N');
        }
        is_in_number = is_digit;
    }
    stable
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Well.
    Passed,
    /// Not, with what the suite said.
    Failed(String),
}

/// All that is known of a run of one file.
#[derive(Debug, Default)]
pub struct Results {
    tests: BTreeMap<Test, End>,
    /// Errors outside of a test: they end the block around them, and tests after them did not run.
    pub outside: Vec<String>,
    /// Whether the file ran to its end.
    pub is_complete: bool,
    /// How long it took.
    pub duration: Duration,
}

impl Results {
    /// Reads what the suite printed of a file.
    pub fn parse(file: &str, output: &str, duration: Duration) -> Self {
        let mut results = Self { duration, ..Self::default() };
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        // The lines after an error belong to it, up to the next line with a state.
        let mut open: Option<Open> = None;
        for line in output.lines() {
            let line = without_colours(line);
            let Some((state, text)) = state(&line) else {
                if line.trim_start().starts_with("The End") {
                    results.close(open.take());
                } else if let Some(open) = &mut open {
                    open.detail.push(line);
                }
                continue;
            };
            results.close(open.take());
            let mut numbered = |name: &str| {
                let name = stable_name(file, name);
                let count = counts.entry(name.clone()).or_default();
                *count += 1;
                Test { name, number: *count }
            };
            match state {
                "ok" => {
                    let name = text.rsplit_once(" (").map_or(text, |(name, _)| name);
                    results.tests.insert(numbered(name), End::Passed);
                }
                "err" => {
                    let test = text.rsplit_once(" in tests/").filter(|(_, path)| path.ends_with(".tcl"));
                    let test = test.map(|(name, _)| numbered(name));
                    let detail = if test.is_none() { vec![text.to_owned()] } else { Vec::new() };
                    open = Some(Open { test, detail });
                }
                "exception" | "TIMEOUT" => {
                    open = Some(Open { test: None, detail: vec![format!("{state}: {text}")] });
                }
                state if state.ends_with("done") => results.is_complete = true,
                _ => {}
            }
        }
        results.close(open);
        results
    }

    /// Reads what the suite for clusters printed: `20:12:17> NAME: `, whatever the test itself prints, and `OK` or `FAILED: why`.
    pub fn parse_cluster(file: &str, output: &str, duration: Duration) -> Self {
        let mut results = Self { duration, ..Self::default() };
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        let mut open: Option<(Test, String)> = None;
        for line in output.lines() {
            let line = without_colours(line);
            if ENDS_OF_CLUSTER_SUITE.iter().any(|end| line.contains(end)) {
                results.is_complete = true;
            }
            if let Some((name, rest)) =
                line.split_once("> ").and_then(|(time, text)| cluster_test(time, text))
            {
                results.close_cluster(open.take());
                let name = stable_name(file, name);
                let count = counts.entry(name.clone()).or_default();
                *count += 1;
                open = Some((Test { name, number: *count }, rest.to_owned()));
            } else if let Some((_, text)) = &mut open {
                text.push('\n');
                text.push_str(&line);
            }
        }
        results.close_cluster(open);
        results
    }

    fn close_cluster(&mut self, open: Option<(Test, String)>) {
        let Some((test, text)) = open else { return };
        let failure = text.find("FAILED: ").map(|at| text.get(at..).unwrap_or_default());
        let passed = text.lines().any(|line| line.ends_with("OK"));
        let end = match failure {
            None if passed => End::Passed,
            None => End::Failed(text),
            Some(why) => End::Failed(why.to_owned()),
        };
        self.tests.insert(test, end);
    }

    /// Tests that passed.
    pub fn passed(&self) -> impl Iterator<Item = &Test> {
        self.tests.iter().filter(|(_, end)| **end == End::Passed).map(|(test, _)| test)
    }

    /// Tests that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Test> {
        self.tests.iter().filter(|(_, end)| **end != End::Passed).map(|(test, _)| test)
    }

    /// How a test ended; nothing if it did not run.
    pub fn end(&self, test: &Test) -> Option<&End> {
        self.tests.get(test)
    }

    /// A remark if the file did not run to its end.
    pub fn ending(&self) -> &'static str {
        if self.is_complete { "" } else { ", broke off" }
    }

    /// One line for the impatient.
    pub fn summary(&self) -> String {
        let (passed, failed) = (self.passed().count(), self.failed().count());
        let outside = self.outside.len();
        let seconds = self.duration.as_secs_f64();
        format!(
            "{passed} passed, {failed} failed, {outside} errors outside of tests{}, {seconds:.1} s",
            self.ending()
        )
    }

    fn close(&mut self, open: Option<Open>) {
        let Some(Open { test, detail }) = open else { return };
        let detail = detail.join("\n").trim_end().to_owned();
        match test {
            Some(test) => {
                self.tests.insert(test, End::Failed(detail));
            }
            None => self.outside.push(detail),
        }
    }
}

/// What the suite for clusters says when it ends.
const ENDS_OF_CLUSTER_SUITE: &[&str] = &["GOOD! No errors.", " test(s) failed."];

/// The name of a test and what follows, if the line begins with a time of day.
fn cluster_test<'a>(time: &str, text: &'a str) -> Option<(&'a str, &'a str)> {
    let is_time = time.len() == 8 && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    is_time.then(|| text.split_once(": "))?
}

/// An error whose text goes on.
struct Open {
    test: Option<Test>,
    detail: Vec<String>,
}

/// The state at the beginning of a line, `[ok]: `, and the rest. Lines of the summary at the end begin with stars.
fn state(line: &str) -> Option<(&str, &str)> {
    let (state, text) = line.strip_prefix('[')?.split_once("]: ")?;
    let is_done = state.ends_with(" done");
    let is_known =
        ["ok", "err", "exception", "TIMEOUT", "skip", "ignore", "ready"].contains(&state) || is_done;
    is_known.then_some((state, text))
}

/// Without the sequences that colour a terminal.
fn without_colours(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        text.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::{End, Results, Test, stable_name};
    use std::time::Duration;

    const OUTPUT: &str = "Starting test server at port 21079\n[ready]: 4711\nTesting unit/some\n\
        [ok]: a name (with brackets) (3 ms)\n\
        [\u{1b}[0;32;49mok\u{1b}[0m]: twice (0 ms)\n\
        [err]: broken in tests/unit/some.tcl\nExpected '1'\nto be 2\n\
        [ok]: twice (1 ms)\n[skip]: left out\n[ignore]: large memory flag not provided\n\
        [err]: RR lost connection\nwhile executing\n\
        [1/1 done]: unit/some (2 seconds)\n\n                   The End\n\n\
        *** [err]: broken in tests/unit/some.tcl\nExpected '1'\n";

    fn test(name: &str, number: u32) -> Test {
        Test { name: name.to_owned(), number }
    }

    #[test]
    fn states_names_and_details() {
        let results = Results::parse("unit/quit", OUTPUT, Duration::from_secs(2));
        assert!(results.is_complete);
        let passed: Vec<&Test> = results.passed().collect();
        assert_eq!(passed, [&test("a name (with brackets)", 1), &test("twice", 1), &test("twice", 2)]);
        let end = results.end(&test("broken", 1));
        assert_eq!(end, Some(&End::Failed("Expected '1'\nto be 2".to_owned())));
        assert_eq!(results.outside, ["RR lost connection\nwhile executing"]);
        assert_eq!(results.end(&test("left out", 1)), None);
    }

    #[test]
    fn the_suite_for_clusters() {
        let output = "Testing unit: 04-resharding.tcl\n\
            20:12:17> (init) Restart killed instances: redis/1 \u{1b}[0;32;49mOK\u{1b}[0m\n\
            20:12:18> Killing one: Waiting for process 1 to exit...\nOK\n\
            20:12:19> Moving: WW...Moving 3 slots\n[OK] All 16384 slots covered.\nWWOK\n\
            20:12:20> Broken: FAILED: Expected 1\n(Jumping to next unit after error)\n\
            20:12:21> Killing one: OK\n20:12:22> Hangs: W\nWARNING 1 test(s) failed.\n";
        let results = Results::parse_cluster("cluster/04-resharding", output, Duration::ZERO);
        let names: Vec<&str> = results.passed().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["(init) Restart killed instances", "Killing one", "Killing one", "Moving"]);
        let failed: Vec<&str> = results.failed().map(|test| test.name.as_str()).collect();
        assert_eq!(failed, ["Broken", "Hangs"]);
        assert!(results.is_complete);
    }

    #[test]
    fn a_file_that_breaks_off() {
        let results = Results::parse(
            "unit/quit",
            "[ok]: one (1 ms)\n[exception]: Executing test client: oh\n",
            Duration::ZERO,
        );
        assert!(!results.is_complete);
        assert_eq!(results.outside, ["exception: Executing test client: oh"]);
        assert_eq!(results.passed().count(), 1);
    }

    #[test]
    fn drawn_numbers_do_not_make_another_test() {
        let name = "PSYNC2: cluster is consistent after load (x = 197048)";
        assert_eq!(
            stable_name("integration/psync2", name),
            "PSYNC2: cluster is consistent after load (x = N)"
        );
        assert_eq!(stable_name("integration/psync2-reg", name), name);
    }
}
