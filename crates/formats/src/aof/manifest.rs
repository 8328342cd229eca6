//! The list of files that make up an append-only file.
//!
//! ```text
//! file appendonly.aof.2.base.rdb seq 2 type b     the snapshot; at most one
//! file appendonly.aof.1.incr.aof seq 1 type h     not needed any more, to be deleted
//! file appendonly.aof.2.incr.aof seq 2 type i     commands since, in the order of their numbers
//! ```

use shoal_protocol::quoting::{quote, split_arguments};
use std::fmt;

/// The most bytes of a line.
const LINE_MAX_BYTES: usize = 1024;
/// The most files that a list may name.
const FILES_MAX: usize = 100_000;

/// How a base is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BaseForm {
    /// As a snapshot.
    #[default]
    Snapshot,
    /// As commands.
    Commands,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// The snapshot.
    Base,
    /// Commands since the snapshot.
    Increment,
    /// Something that has been replaced.
    History,
}

/// A file of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFile {
    /// Its name in the directory.
    pub name: String,
    /// Its number, counted by kind.
    pub sequence: u64,
}

/// Which files belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The snapshot.
    pub base: Option<ManifestFile>,
    /// The commands since, oldest first.
    pub increments: Vec<ManifestFile>,
    /// Files that are to be deleted.
    pub history: Vec<ManifestFile>,
    /// The number of the last snapshot.
    pub base_sequence: u64,
    /// The number of the last file of commands.
    pub increment_sequence: u64,
}

/// Why a list is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// The line, counted from one; 0 for the list as a whole.
    pub line: usize,
    /// What is wrong.
    pub reason: &'static str,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for ManifestError {}

impl Manifest {
    /// Reads a list. What it does not know in a line is passed over.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        let error = |line, reason| ManifestError { line, reason };
        if text.is_empty() {
            return Err(error(0, "Found an empty AOF manifest"));
        }
        let mut manifest = Self::default();
        for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let number = index + 1;
            if line.first() == Some(&b'#') {
                continue;
            }
            if line.last() != Some(&b'\n') || line.len() > LINE_MAX_BYTES || number > FILES_MAX {
                return Err(error(number, "The AOF manifest file contains too long line"));
            }
            manifest.take_line(line).map_err(|reason| error(number, reason))?;
        }
        Ok(manifest)
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        const INVALID: &str = "Invalid AOF manifest file format";
        let words = split_arguments(line.trim_ascii()).map_err(|_| INVALID)?;
        // More pairs than three are of a version to come.
        if words.len() < 6 || !words.len().is_multiple_of(2) {
            return Err(INVALID);
        }
        let (mut name, mut sequence, mut kind) = (None, None, None);
        for pair in words.chunks_exact(2) {
            let value = std::str::from_utf8(&pair[1]).map_err(|_| INVALID)?;
            match pair[0].to_ascii_lowercase().as_slice() {
                b"file" if value.contains(['/', '\\']) || matches!(value, "." | ".." | "") => {
                    return Err("File can't be a path, just a filename");
                }
                b"file" => name = Some(value.to_owned()),
                b"seq" => sequence = value.parse().ok().filter(|sequence: &u64| *sequence > 0),
                b"type" => kind = value.chars().next(),
                _ => {}
            }
        }
        let (Some(name), Some(sequence), Some(kind)) = (name, sequence, kind) else { return Err(INVALID) };
        let file = ManifestFile { name, sequence };
        match kind {
            'b' if self.base.is_some() => return Err("Found duplicate base file information"),
            'b' => {
                self.base_sequence = sequence;
                self.base = Some(file);
            }
            'h' => self.history.push(file),
            'i' if sequence <= self.increment_sequence => {
                return Err("Found a non-monotonic sequence number");
            }
            'i' => {
                self.increment_sequence = sequence;
                self.increments.push(file);
            }
            _ => return Err("Unknown AOF file type"),
        }
        Ok(())
    }

    /// Whether there is nothing to load.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.increments.is_empty()
    }

    /// What is to be loaded, in this order.
    pub fn files(&self) -> impl Iterator<Item = &ManifestFile> {
        self.base.iter().chain(&self.increments)
    }

    /// Begins a new file of commands; its name. `prefix` is `appendfilename`.
    pub fn add_increment(&mut self, prefix: &str) -> String {
        self.increment_sequence += 1;
        let name = format!("{prefix}.{}.incr.aof", self.increment_sequence);
        self.increments.push(ManifestFile { name: name.clone(), sequence: self.increment_sequence });
        name
    }

    /// The name that the next base gets.
    pub fn next_base_name(&self, prefix: &str, form: BaseForm) -> String {
        let ending = match form {
            BaseForm::Snapshot => "rdb",
            BaseForm::Commands => "aof",
        };
        format!("{prefix}.{}.base.{ending}", self.base_sequence + 1)
    }

    /// Puts a new base in the place of the old one and of the commands that it holds: all files but the last
    /// `kept_increments`.
    pub fn replace_base(&mut self, prefix: &str, form: BaseForm, kept_increments: usize) {
        let name = self.next_base_name(prefix, form);
        self.base_sequence += 1;
        let replaced = self.increments.len().saturating_sub(kept_increments);
        // What was replaced last stands first.
        let mut history: Vec<ManifestFile> = self.increments.drain(..replaced).collect();
        history.extend(self.base.replace(ManifestFile { name, sequence: self.base_sequence }));
        history.append(&mut self.history);
        self.history = history;
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups =
            [('b', self.base.as_slice()), ('h', self.history.as_slice()), ('i', self.increments.as_slice())];
        for (kind, files) in groups {
            for ManifestFile { name, sequence } in files {
                let is_plain = !name.contains(|letter: char| {
                    letter.is_whitespace() || letter.is_control() || matches!(letter, '"' | '\'' | '\\')
                });
                let name = if is_plain { name.clone() } else { quote(name.as_bytes()) };
                writeln!(formatter, "file {name} seq {sequence} type {kind}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back() {
        let text = "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.1.incr.aof seq 1 type h\n\
                    file \"a b.incr\" seq 2 type i\nfile appendonly.aof.5.incr.aof seq 5 type i\n";
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.to_string(), text);
        assert_eq!((manifest.base_sequence, manifest.increment_sequence), (2, 5));
        let names: Vec<_> = manifest.files().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["appendonly.aof.2.base.rdb", "a b.incr", "appendonly.aof.5.incr.aof"]);
        let newer = "# remark\n  FILE x seq 1 type b more 1\n";
        assert_eq!(Manifest::parse(newer.as_bytes()).unwrap().to_string(), "file x seq 1 type b\n");
    }

    #[test]
    fn wrong_lists_are_refused() {
        for (text, line, reason) in [
            ("", 0, "Found an empty AOF manifest"),
            ("file x seq 1 type b", 1, "The AOF manifest file contains too long line"),
            ("\n", 1, "Invalid AOF manifest file format"),
            ("file x seq 1 type\n", 1, "Invalid AOF manifest file format"),
            ("file x seq 1 file y\n", 1, "Invalid AOF manifest file format"),
            ("file x seq 0 type b\n", 1, "Invalid AOF manifest file format"),
            ("file ../x seq 1 type b\n", 1, "File can't be a path, just a filename"),
            ("file x seq 1 type b\nfile y seq 2 type b\n", 2, "Found duplicate base file information"),
            ("file x seq 2 type i\nfile y seq 2 type i\n", 2, "Found a non-monotonic sequence number"),
            ("file x seq 1 type z\n", 1, "Unknown AOF file type"),
        ] {
            assert_eq!(Manifest::parse(text.as_bytes()), Err(ManifestError { line, reason }), "{text}");
        }
    }

    #[test]
    fn a_new_base_replaces_what_it_holds() {
        let mut manifest = Manifest::default();
        manifest.replace_base("a", BaseForm::Commands, 0);
        assert_eq!(manifest.add_increment("a"), "a.1.incr.aof");
        assert_eq!(manifest.add_increment("a"), "a.2.incr.aof");
        assert_eq!(manifest.next_base_name("a", BaseForm::Snapshot), "a.2.base.rdb");
        manifest.replace_base("a", BaseForm::Snapshot, 1);
        assert_eq!(
            manifest.to_string(),
            "file a.2.base.rdb seq 2 type b\nfile a.1.incr.aof seq 1 type h\nfile a.1.base.aof seq 1 type h\n\
             file a.2.incr.aof seq 2 type i\n"
        );
    }
}
