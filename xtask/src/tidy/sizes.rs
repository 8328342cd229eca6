//! Files and functions stay short.

use super::exceptions::Exceptions;
use super::{File, Finding};

/// Lines a Rust file may have.
pub const FILE_LINES: usize = 800;
/// Lines a function may have.
pub const FUNCTION_LINES: usize = 70;

/// Files and functions that are too long and not excepted.
pub fn check(files: &[File], exceptions: &mut Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, lines, place) in measured(files) {
        let (limit, what) = match name.contains("::") {
            true => (FUNCTION_LINES, "function"),
            false => (FILE_LINES, "file"),
        };
        if lines > limit && !exceptions.allows_size(&name, lines) {
            findings.push(Finding::new(place, format!("{what} of {lines} lines, more than {limit}: {name}")));
        }
    }
    findings
}

/// Every file as `path` and every function as `path::name`, with its lines and its place.
pub fn measured(files: &[File]) -> Vec<(String, usize, String)> {
    let mut all = Vec::new();
    for file in files {
        let Some(rust) = &file.rust else { continue };
        all.push((file.path.clone(), file.text.lines().count(), file.path.clone()));
        for function in rust.functions() {
            let place = format!("{}:{}", file.path, function.line);
            all.push((format!("{}::{}", file.path, function.name), function.lines, place));
        }
    }
    all
}
