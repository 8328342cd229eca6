//! Builds the programs of all tests and runs them.

use crate::{Outcome, process, workspace};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A test program that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(900);
/// Crates whose tests in `tests/` compare with a real server, in process.
const DIFFERENTIAL: &[&str] = &["shoal-store", "shoal-config", "shoal-node"];

/// What a test program is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tests beside the code.
    Unit,
    /// The simulator's.
    Simulator,
    /// In `tests/` of a pure crate.
    Differential,
    /// The corpora of the fuzz targets.
    Corpora,
    /// In `tests/` of a shell: processes and sockets.
    EndToEnd,
}

/// A built test program.
struct Program {
    kind: Kind,
    /// Package and target, as one names it to cargo.
    name: String,
    path: PathBuf,
    /// The directory of its package: where cargo would start it.
    directory: PathBuf,
}

/// All test programs.
pub struct Programs {
    all: Vec<Program>,
    /// The program `shoal`, as the tests use it.
    pub shoal: PathBuf,
}

impl Programs {
    /// Builds all tests, and with them the program `shoal`.
    pub fn build() -> Outcome<Self> {
        let mut cargo = workspace::cargo();
        cargo.args(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]);
        let text = process::output(cargo.stdin(Stdio::null()))?;
        let messages: Vec<Value> =
            text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect();
        let mut all: Vec<Program> = messages.iter().filter_map(program).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        let shoal = messages.iter().find_map(shoal).ok_or("cargo did not build the program shoal")?;
        Ok(Self { all, shoal })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Runs all of a kind, one after another; the text sums up how many tests passed.
    pub fn run(&self, kind: Kind) -> Outcome<String> {
        let mut passed = 0;
        let mut failed = Vec::new();
        for program in self.all.iter().filter(|program| program.kind == kind) {
            let began = Instant::now();
            let mut command = Command::new(&program.path);
            command.current_dir(&program.directory).env("CARGO_MANIFEST_DIR", &program.directory);
            let finished = process::caught(&mut command, LIMIT)?;
            let (good, result) = count(&finished.output);
            passed += good;
            println!("  {:<44}{result} {:.1} s", program.name, began.elapsed().as_secs_f64());
            if !finished.success {
                println!("{}", finished.output);
                failed.push(program.name.clone());
            }
        }
        match failed.is_empty() {
            true => Ok(format!("{passed} tests")),
            false => Err(format!("tests failed in: {}", failed.join(", "))),
        }
    }
}

/// The test program a message of cargo speaks of, if it does.
fn program(message: &Value) -> Option<Program> {
    let path = PathBuf::from(message.get("executable")?.as_str()?);
    if !message.pointer("/profile/test")?.as_bool()? {
        return None;
    }
    let directory = Path::new(message.get("manifest_path")?.as_str()?).parent()?.to_path_buf();
    let package = package_name(&directory);
    let target = message.pointer("/target/name")?.as_str()?;
    let is_beside_tests = message.pointer("/target/kind/0")?.as_str()? == "test";
    let kind = match is_beside_tests {
        _ if package == "shoal-simulator" => Kind::Simulator,
        _ if package == "shoal-fuzz" => Kind::Corpora,
        false => Kind::Unit,
        true if DIFFERENTIAL.contains(&package.as_str()) => Kind::Differential,
        true => Kind::EndToEnd,
    };
    let name = if is_beside_tests {
        format!("-p {package} --test {target}")
    } else {
        format!("-p {package} {target}")
    };
    Some(Program { kind, name, path, directory })
}

/// The path of the program, if a message of cargo speaks of it; that of its unit tests is another.
fn shoal(message: &Value) -> Option<PathBuf> {
    let path = PathBuf::from(message.get("executable")?.as_str()?);
    path.ends_with("shoal").then_some(path)
}

/// Directories are named after packages; libraries and machines have the project's name before theirs.
fn package_name(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.as_str() {
        "shoal" | "xtask" => name,
        _ => format!("shoal-{name}"),
    }
}

/// How many tests passed, and the line of the test harness that says so.
fn count(output: &str) -> (u64, String) {
    let line =
        output.lines().rev().find_map(|line| line.strip_prefix("test result: ")).unwrap_or("no result;");
    let before = |word: &str| {
        let words: Vec<&str> = line.split([' ', ';']).filter(|part| !part.is_empty()).collect();
        let at = words.iter().position(|part| *part == word)?;
        words.get(at.checked_sub(1)?)?.parse::<u64>().ok()
    };
    let passed = before("passed").unwrap_or(0);
    let short = format!(
        "{passed} passed, {} failed, {} ignored",
        before("failed").unwrap_or(0),
        before("ignored").unwrap_or(0)
    );
    (passed, if line == "no result;" { "no result".to_owned() } else { short })
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn results_are_counted() {
        let output =
            "running 2 tests\ntest result: ok. 7 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(count(output), (7, "7 passed, 1 failed, 2 ignored".to_owned()));
        assert_eq!(count("killed"), (0, "no result".to_owned()));
    }
}
