//! The list of named exceptions, `xtask/tidy-exceptions.toml`.
//!
//! ```toml
//! [[size]]                       # a file (`path`) or function (`path::name`) longer than the law allows
//! name = "crates/x/src/y.rs::parse"
//! lines = 90
//! reason = "one arm per message"
//!
//! [[unsafe]]                     # a file that may hold unsafe code
//! path = "crates/x/src/z.rs"
//! reason = "the only memory layout of our own"
//! ```

use super::sizes::{FILE_LINES, FUNCTION_LINES, measured};
use super::{File, Finding};
use crate::{Outcome, workspace};
use std::collections::BTreeSet;
use toml::{Table, Value};

/// Where the list stands.
const PATH: &str = "xtask/tidy-exceptions.toml";

/// The list, and which of its entries were needed.
pub struct Exceptions {
    sizes: Vec<Size>,
    unsafe_files: Vec<String>,
    used: BTreeSet<String>,
    problems: Vec<Finding>,
}

struct Size {
    name: String,
    lines: usize,
    reason: String,
}

impl Exceptions {
    /// Reads the list.
    pub fn load() -> Outcome<Self> {
        let text = workspace::text(PATH)?.unwrap_or_default();
        Self::parse(&text)
    }

    fn parse(text: &str) -> Outcome<Self> {
        let table: Table = text.parse().map_err(|error| format!("{PATH}: {error}"))?;
        let mut list =
            Self { sizes: Vec::new(), unsafe_files: Vec::new(), used: BTreeSet::new(), problems: Vec::new() };
        for entry in entries(&table, "size") {
            let lines =
                entry.get("lines").and_then(Value::as_integer).and_then(|lines| lines.try_into().ok());
            let size =
                Size { name: word(entry, "name"), lines: lines.unwrap_or(0), reason: word(entry, "reason") };
            list.reasoned(&size.name, &size.reason);
            list.sizes.push(size);
        }
        for entry in entries(&table, "unsafe") {
            let path = word(entry, "path");
            list.reasoned(&path, &word(entry, "reason"));
            list.unsafe_files.push(path);
        }
        Ok(list)
    }

    fn reasoned(&mut self, name: &str, reason: &str) {
        if reason.is_empty() {
            self.problems.push(Finding::new(PATH, format!("{name}: an exception needs a reason")));
        }
    }

    /// Whether something may have so many lines.
    pub fn allows_size(&mut self, name: &str, lines: usize) -> bool {
        let Some(entry) = self.sizes.iter().find(|entry| entry.name == name) else { return false };
        self.used.insert(name.to_owned());
        lines <= entry.lines
    }

    /// Whether a file may hold unsafe code.
    pub fn allows_unsafe(&mut self, path: &str) -> bool {
        let listed = self.unsafe_files.iter().any(|file| file == path);
        if listed {
            self.used.insert(path.to_owned());
        }
        listed
    }

    /// Entries nobody needed, and entries without a reason.
    pub fn unused(self) -> Vec<Finding> {
        let names = self.sizes.into_iter().map(|size| size.name).chain(self.unsafe_files);
        let unused = names.filter(|name| !self.used.contains(name));
        let unused = unused.map(|name| Finding::new(PATH, format!("no longer needed: {name}")));
        self.problems.into_iter().chain(unused).collect()
    }

    /// Rewrites the sizes to what is there today: entries shrink or go, none grows or is added.
    pub fn lower(&mut self, files: &[File]) -> Outcome<()> {
        let text = workspace::text(PATH)?.unwrap_or_default();
        let head = text.split("[[size]]").next().unwrap_or_default();
        let tail = text.find("[[unsafe]]").and_then(|at| text.get(at..)).unwrap_or_default();
        let sizes = measured(files);
        let mut body = String::new();
        for entry in &self.sizes {
            let limit = if entry.name.contains("::") { FUNCTION_LINES } else { FILE_LINES };
            let greatest =
                sizes.iter().filter(|(name, ..)| *name == entry.name).map(|(_, lines, _)| *lines).max();
            let Some(lines) = greatest.filter(|lines| *lines > limit) else { continue };
            let lines = lines.min(entry.lines);
            let (name, reason) = (Value::from(entry.name.as_str()), Value::from(entry.reason.as_str()));
            body.push_str(&format!("[[size]]\nname = {name}\nlines = {lines}\nreason = {reason}\n\n"));
        }
        std::fs::write(workspace::root().join(PATH), format!("{head}{body}{tail}"))
            .map_err(|error| format!("{PATH}: {error}"))
    }
}

fn entries<'a>(table: &'a Table, name: &str) -> impl Iterator<Item = &'a Table> {
    table.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table)
}

fn word(entry: &Table, name: &str) -> String {
    entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::Exceptions;

    const LIST: &str = "[[size]]\nname = 'a.rs::f'\nlines = 80\nreason = 'r'\n\
                        [[unsafe]]\npath = 'b.rs'\nreason = ''\n";

    #[test]
    fn exceptions_have_bounds_and_reasons_and_must_be_needed() {
        let mut list = Exceptions::parse(LIST).unwrap();
        assert!(list.allows_size("a.rs::f", 80));
        assert!(!list.allows_size("a.rs::f", 81));
        assert!(!list.allows_size("a.rs::g", 71));
        assert!(!list.allows_unsafe("a.rs"));
        let texts: Vec<String> = list.unused().into_iter().map(|finding| finding.text).collect();
        assert_eq!(texts, ["b.rs: an exception needs a reason", "no longer needed: b.rs"]);
    }
}
