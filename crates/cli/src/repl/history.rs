//! The history file: one line of input per line, as `redis-cli` keeps it.

use rustyline::history::{History, MemHistory, SearchDirection};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// The file in which the history outlives the program.
pub(crate) struct HistoryFile {
    path: PathBuf,
}

impl HistoryFile {
    /// The file of `REDISCLI_HISTFILE`, or `~/.rediscli_history`; none if that is `/dev/null`.
    pub(crate) fn find() -> Option<Self> {
        dot_file("REDISCLI_HISTFILE", ".rediscli_history").map(|path| Self { path })
    }

    /// Reads the file, if it is there.
    pub(crate) fn load(&self, history: &mut MemHistory) {
        let Ok(text) = std::fs::read(&self.path) else { return };
        for line in String::from_utf8_lossy(&text).lines() {
            let _ = history.add(line);
        }
    }

    /// Writes the file, readable by its owner only. A history that cannot be written is lost without a word.
    pub(crate) fn save(&self, history: &MemHistory) {
        let mut text = String::new();
        for index in 0..history.len() {
            if let Ok(Some(found)) = history.get(index, SearchDirection::Forward) {
                text.push_str(&found.entry);
                text.push('\n');
            }
        }
        let file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path);
        if let Ok(mut file) = file {
            let _ = file.write_all(text.as_bytes());
        }
    }
}

/// The path in an environment variable, or a file in the home directory; none if that is `/dev/null`.
pub(crate) fn dot_file(variable: &str, name: &str) -> Option<PathBuf> {
    match std::env::var_os(variable).filter(|path| !path.is_empty()) {
        Some(path) if path == "/dev/null" => None,
        Some(path) => Some(PathBuf::from(path)),
        None => std::env::var_os("HOME")
            .filter(|home| !home.is_empty())
            .map(|home| PathBuf::from(home).join(name)),
    }
}

/// Whether a command holds a password, so that it must not be remembered.
pub(crate) fn is_sensitive(words: &[Vec<u8>]) -> bool {
    let is = |index: usize, name: &str| {
        words.get(index).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    };
    let is_any = |index: usize, names: &[&str]| names.iter().any(|name| is(index, name));
    if is(0, "auth") || (is(0, "acl") && is(1, "setuser")) {
        return true;
    }
    if is(0, "config") && is(1, "set") {
        // CONFIG SET takes several pairs.
        return (2..words.len())
            .step_by(2)
            .any(|index| is_any(index, &["masterauth", "masteruser", "requirepass"]));
    }
    if is(0, "hello") {
        return (2..words.len()).any(|index| is(index, "auth") && index + 2 < words.len());
    }
    if is(0, "migrate") {
        let end = (6..words.len()).find(|index| is(*index, "keys")).unwrap_or(words.len());
        return (6..end).any(|index| is_any(index, &["auth", "auth2"]) && index + 1 < words.len());
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_remembered() {
        let sensitive = |line: &str| {
            is_sensitive(&line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
        };
        for line in [
            "AUTH secret",
            "acl setuser joe >secret",
            "config set requirepass secret",
            "config set maxmemory 1 masterauth secret",
            "hello 3 setname x auth joe secret",
            "migrate h 1 k 0 10 copy auth secret",
            "migrate h 1 k 0 10 auth2 joe secret keys a",
        ] {
            assert!(sensitive(line), "{line}");
        }
        for line in
            ["get auth", "acl list", "config get requirepass", "hello 3", "migrate h 1 k 0 10 keys auth b"]
        {
            assert!(!sensitive(line), "{line}");
        }
    }
}
