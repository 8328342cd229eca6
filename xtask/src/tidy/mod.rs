//! `cargo xtask tidy`: the laws of the source tree that no compiler checks.
//!
//! Each law is a function that gives its [`Finding`]s. What may be broken stands by name, with a reason, in
//! `xtask/tidy-exceptions.toml`; an exception that is no longer needed is a finding as well, so the list only shrinks.

mod edges;
mod exceptions;
mod licences;
mod links;
mod rust_source;
mod sizes;
mod words;

use crate::arguments::Arguments;
use crate::{Outcome, workspace};
use exceptions::Exceptions;
use rust_source::RustSource;

/// A broken law: where, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// A path, with a line where one is meant.
    place: String,
    /// What is wrong, and what to do.
    text: String,
}

impl Finding {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }
}

/// A text file of the project.
struct File {
    path: String,
    text: String,
    /// For Rust: the same text with blanks for comments and literals.
    rust: Option<RustSource>,
}

/// Checks all laws; any finding is an error.
pub fn run(mut arguments: Arguments) -> Outcome<()> {
    let lower = arguments.flag("--lower");
    arguments.end()?;
    let files = read_files()?;
    let mut exceptions = Exceptions::load()?;
    if lower {
        return exceptions.lower(&files);
    }
    let metadata = workspace::metadata()?;
    let mut findings = Vec::new();
    findings.extend(edges::check(&metadata));
    findings.extend(licences::check(&metadata));
    findings.extend(sizes::check(&files, &mut exceptions));
    findings.extend(words::check(&files, &mut exceptions));
    findings.extend(links::check(&files));
    findings.extend(exceptions.unused());
    for finding in &findings {
        println!("{}: {}", finding.place, finding.text);
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(format!("{count} findings")),
    }
}

fn read_files() -> Outcome<Vec<File>> {
    let mut files = Vec::new();
    for path in workspace::files()? {
        let Some(text) = workspace::text(&path)? else { continue };
        let rust = path.ends_with(".rs").then(|| RustSource::new(&text));
        files.push(File { path, text, rust });
    }
    Ok(files)
}
