//! `conformance/reference.json`: the names of the tests that the real server passes, as this tool measured them.
//!
//! ```json
//! {"version": "7.0.15", "files": {"unit/quit": {"passed": ["QUIT returns OK"], "failed": 0, "seconds": 1}}}
//! ```
//!
//! A name that passes more than once stands there as often.

use super::outcome::{Results, Test, stable_name};
use crate::{Outcome, workspace};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PATH: &str = "conformance/reference.json";

/// What the real server scores.
#[derive(Default)]
pub struct Reference {
    /// The version of the server and of its suite.
    pub version: String,
    files: BTreeMap<String, File>,
}

struct File {
    passed: Vec<String>,
    failed: u64,
    seconds: u64,
}

impl Reference {
    /// Reads the file.
    pub fn load() -> Outcome<Self> {
        let text = workspace::text(PATH)?.unwrap_or_default();
        let value: Value = serde_json::from_str(&text).map_err(|error| format!("{PATH}: {error}"))?;
        let number = |file: &Value, name: &str| file.get(name).and_then(Value::as_u64).unwrap_or(0);
        let files =
            value.get("files").and_then(Value::as_object).into_iter().flatten().map(|(name, file)| {
                let passed = file.get("passed").and_then(Value::as_array).into_iter().flatten();
                let passed = passed.filter_map(Value::as_str).map(|test| stable_name(name, test)).collect();
                let file = File { passed, failed: number(file, "failed"), seconds: number(file, "seconds") };
                (name.clone(), file)
            });
        let version = value.get("version").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self { version, files: files.collect() })
    }

    /// The tests of a file that pass; nothing if the file was not measured.
    pub fn passes(&self, file: &str) -> Option<Vec<Test>> {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        let file = self.files.get(file)?;
        let tests = file.passed.iter().map(|name| {
            let count = counts.entry(name).or_default();
            *count += 1;
            Test { name: name.clone(), number: *count }
        });
        Some(tests.collect())
    }

    /// Replaces what is known of a file.
    pub fn set(&mut self, file: &str, results: &Results) {
        let passed = results.passed().map(|test| test.name.clone()).collect();
        let failed = results.failed().count() as u64;
        self.files.insert(file.to_owned(), File { passed, failed, seconds: results.duration.as_secs() });
    }

    /// Writes the file.
    pub fn save(&self) -> Outcome<()> {
        let files: BTreeMap<&String, Value> = self
            .files
            .iter()
            .map(|(name, File { passed, failed, seconds })| {
                (name, json!({"passed": passed, "failed": failed, "seconds": seconds}))
            })
            .collect();
        let value = json!({"version": self.version, "files": files});
        let text = serde_json::to_string_pretty(&value).map_err(|error| error.to_string())?;
        std::fs::write(workspace::root().join(PATH), text + "\n").map_err(|error| format!("{PATH}: {error}"))
    }
}
