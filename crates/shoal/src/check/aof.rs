//! `check-aof`: looks at every command of an append-only file, and cuts off what is damaged at its end.
//!
//! The text, the offsets and the exit codes are those of `redis-check-aof`: 0 for files that are sound or have been
//! repaired, 1 otherwise. `--json` gives the same to programs.

mod single;

use serde_json::{Value, json};
use shoal_formats::aof::Manifest;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};

/// The largest list of files that is read.
const MANIFEST_MAX_BYTES: u64 = 64 << 20;

const HELP: &str = "\
Usage: check-aof [--json] [--fix | --truncate-to-timestamp SECONDS] FILE

Looks at every command of an append-only file, or of all files that a manifest names, and says up to where they are sound.

  --fix                            cuts the last file off where it is damaged, after a question
  --truncate-to-timestamp SECONDS  cuts off what was written after this time, in seconds since 1970; the file must have been
                                   written with aof-timestamp-enabled
  --json                           one JSON object instead of text
  -h, --help                       this help
  -v, --version                    the version

The exit code is 0 if the files are sound or have been cut off, 1 otherwise.
";

/// What is to be done about what is found.
#[derive(Clone, Copy, Debug, Default)]
struct Repair {
    /// Cut off what is damaged.
    fix: bool,
    /// Cut off what is younger than this, in seconds since 1970.
    to_timestamp: Option<i64>,
}

/// The checks go no further; the reason has been said.
#[derive(Debug)]
struct Aborted;

/// What became of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Valid,
    Empty,
    CutAtTimestamp,
    Cut,
}

/// Says what is found, and remembers it for JSON.
struct Report {
    as_json: bool,
    messages: Vec<String>,
    files: Vec<Value>,
}

impl Report {
    /// A line.
    fn say(&mut self, line: &str) {
        if self.as_json {
            self.messages.push(line.to_owned());
        } else {
            // Whoever closes the pipe has read enough.
            let _ = io::stdout().write_all(format!("{line}\n").as_bytes());
        }
    }

    /// Says why the checks end here.
    fn abort(&mut self, line: &str) -> Aborted {
        self.say(line);
        Aborted
    }

    /// Asks a question; anything that does not begin with a `y` is a no.
    fn ask(&mut self, question: &str) -> bool {
        let _ = match self.as_json {
            true => io::stderr().write_all(question.as_bytes()),
            false => io::stdout().write_all(question.as_bytes()).and_then(|()| io::stdout().flush()),
        };
        let mut answer = String::new();
        let is_answered = io::stdin().lock().read_line(&mut answer).is_ok();
        is_answered && answer.starts_with(['y', 'Y'])
    }
}

/// The program. Gives its exit code.
pub fn check_aof_main(invoked: &str, arguments: &[OsString]) -> i32 {
    let mut report = Report { as_json: false, messages: Vec::new(), files: Vec::new() };
    let mut repair = Repair::default();
    let mut file = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-h" | "--help") => return say(HELP, 0),
            Some("-v" | "--version") => {
                return say(&format!("redis-check-aof 7.2.4 (shoal {})\n", env!("CARGO_PKG_VERSION")), 0);
            }
            Some("--json") => report.as_json = true,
            Some("--fix") => repair.fix = true,
            Some("--truncate-to-timestamp") if repair.to_timestamp.is_none() => {
                let Some(value) = arguments.next() else { return usage(invoked) };
                let Some(value) = value.to_str().and_then(|value| value.parse().ok()) else {
                    return say("Invalid timestamp, aborting...\n", 1);
                };
                repair.to_timestamp = Some(value);
            }
            _ if file.is_none() => file = Some(argument),
            _ => return usage(invoked),
        }
    }
    let Some(file) = file.filter(|_| !repair.fix || repair.to_timestamp.is_none()) else {
        return usage(invoked);
    };
    let code = i32::from(check(&mut report, file, repair).is_err());
    if report.as_json {
        let name = file.to_string_lossy();
        let value = json!({
            "file": name, "ok": code == 0, "files": report.files, "messages": report.messages,
        });
        say(&format!("{value:#}\n"), code);
    }
    code
}

fn usage(invoked: &str) -> i32 {
    let text =
        format!("Usage: {invoked} [--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>\n");
    say(&text, 1)
}

fn say(text: &str, code: i32) -> i32 {
    let _ = io::stdout().write_all(text.as_bytes());
    code
}

fn check(report: &mut Report, file: &OsStr, repair: Repair) -> Result<(), Aborted> {
    let (path, name) = (Path::new(file), file.to_string_lossy().into_owned());
    let kind = find_kind(report, path)?;
    let mut checker = single::Checker::new(repair);
    if kind == Kind::Manifest {
        return check_manifest(report, &mut checker, path);
    }
    report.say("Start checking Old-Style AOF");
    let target = single::Target { name: &name, path, is_last: true, has_preamble: kind == Kind::Snapshot };
    let finding = checker.check(report, &target)?;
    say_finding(report, "AOF", &name, finding, repair);
    Ok(())
}

/// What a file is, by its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Manifest,
    Snapshot,
    Commands,
}

fn find_kind(report: &mut Report, path: &Path) -> Result<Kind, Aborted> {
    let failed = |error| report.abort(&format!("Cannot open file {}: {}", path.display(), reason(&error)));
    kind_of(path).map_err(failed)
}

fn kind_of(path: &Path) -> io::Result<Kind> {
    const HEADER_BYTES: usize = 8;
    let mut reader = io::BufReader::new(File::open(path)?.take(MANIFEST_MAX_BYTES));
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = reader.by_ref().take(HEADER_BYTES as u64).read_until(b'\n', &mut line)?;
        if line.first() == Some(&b'#') && count > 0 {
            if line.last() != Some(&b'\n') {
                reader.skip_until(b'\n')?;
            }
            continue;
        }
        return Ok(match line.as_slice() {
            text if text.starts_with(b"file") => Kind::Manifest,
            text if text.starts_with(b"REDIS") && count >= HEADER_BYTES => Kind::Snapshot,
            _ => Kind::Commands,
        });
    }
}

fn check_manifest(report: &mut Report, checker: &mut single::Checker, path: &Path) -> Result<(), Aborted> {
    report.say("Start checking Multi Part AOF");
    let manifest = read_manifest(report, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let count = manifest.files().count();
    let repair = checker.repair;
    for (index, file) in manifest.files().enumerate() {
        let path: PathBuf = directory.join(&file.name);
        let is_base = index == 0 && manifest.base.is_some();
        let has_preamble = is_base && find_kind(report, &path)? == Kind::Snapshot;
        let what = if is_base { "BASE AOF" } else { "INCR AOF" };
        if is_base {
            let format = if has_preamble { "RDB" } else { "RESP" };
            report.say(&format!("Start to check BASE AOF ({format} format)."));
        } else if index == usize::from(manifest.base.is_some()) {
            report.say("Start to check INCR files.");
        }
        let is_last = index + 1 == count;
        let target = single::Target { name: &file.name, path: &path, is_last, has_preamble };
        let finding = checker.check(report, &target)?;
        say_finding(report, what, &file.name, finding, repair);
    }
    report.say("All AOF files and manifest are valid");
    Ok(())
}

fn read_manifest(report: &mut Report, path: &Path) -> Result<Manifest, Aborted> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MANIFEST_MAX_BYTES).read_to_end(&mut text));
    if let Err(error) = read {
        let name = path.display();
        let line =
            format!("Fatal error: can't open the AOF manifest file {name} for reading: {}", reason(&error));
        return Err(report.abort(&line));
    }
    Manifest::parse(&text).map_err(|error| {
        let mut said = "\n*** FATAL AOF MANIFEST FILE ERROR ***\n".to_owned();
        if error.line > 0 {
            let line = text.split(|byte| *byte == b'\n').nth(error.line - 1).unwrap_or_default();
            let line = String::from_utf8_lossy(line).into_owned();
            let _ = write!(said, "Reading the manifest file, at line {}\n>>> '{line}'\n", error.line);
        }
        said.push_str(error.reason);
        report.abort(&said)
    })
}

fn say_finding(report: &mut Report, what: &str, name: &str, finding: Finding, repair: Repair) {
    let timestamp = repair.to_timestamp.unwrap_or_default();
    report.say(&match finding {
        Finding::Valid => format!("{what} {name} is valid"),
        Finding::Empty => format!("{what} {name} is empty"),
        Finding::CutAtTimestamp => format!("Successfully truncated AOF {name} to timestamp {timestamp}"),
        Finding::Cut => format!("Successfully truncated AOF {name}"),
    });
}

/// The system's words without the number that the standard library adds.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
