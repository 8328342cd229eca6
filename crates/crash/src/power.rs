//! What a power cut may leave, worked out from the journal of a disk.
//!
//! What was synced is there. Of what was written since, anything may be: all, nothing, a part that ends anywhere, some
//! sectors or pages without the others (the rest being zeros). A sync that failed makes nothing
//! safe, and neither do later ones for what it concerned. Names that were made, changed or removed since their directory
//! was synced are there up to some moment.

use crate::Outcome;
use crate::journal::Record;
use shoal_machine::Rng;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a disk writes or does not write as a whole.
const SECTOR_BYTES: usize = 512;
/// What the system gives to the disk as a whole.
const PAGE_BYTES: usize = 4096;

/// A file, by whatever names.
#[derive(Clone, Debug, Default)]
struct Contents {
    safe: Vec<u8>,
    now: Vec<u8>,
    pending: Vec<Pending>,
}

/// A change that is not on the disk for certain.
#[derive(Clone, Debug)]
struct Pending {
    change: Change,
    /// A sync that concerned it has failed.
    is_given_up: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Size(usize),
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Size(size) => contents.resize(*size, 0),
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if contents.len() < end {
                    contents.resize(end, 0);
                }
                contents[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

/// A change of names.
#[derive(Clone, Debug)]
enum NameChange {
    Link(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Directory(PathBuf),
}

/// Names of files and directories.
#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    directories: Vec<PathBuf>,
}

impl Names {
    fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Link(path, file) => drop(self.files.insert(path.clone(), *file)),
            NameChange::Rename(from, to) => {
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
            NameChange::Remove(path) => drop(self.files.remove(path)),
            NameChange::Directory(path) => self.directories.push(path.clone()),
        }
    }
}

/// An open file.
#[derive(Clone, Copy, Debug)]
struct Open {
    file: usize,
    /// Where the next bytes go; `None` for the end.
    position: Option<usize>,
    /// Changes that the sync concerns that is going on.
    sync_concerns: usize,
}

/// A disk at the moment of a power cut.
#[derive(Clone, Debug, Default)]
pub struct PowerCut {
    contents: Vec<Contents>,
    open: BTreeMap<u64, Open>,
    now: Names,
    safe: Names,
    pending_names: BTreeMap<PathBuf, Vec<NameChange>>,
}

fn directory_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_path_buf()
}

impl PowerCut {
    /// The disk after what the journal says, which began with the files below `root` as they are in `before`.
    ///
    /// # Errors
    /// `before` cannot be read.
    pub fn new(root: &Path, before: &Path, records: &[Record]) -> Outcome<Self> {
        let mut cut = Self::default();
        cut.safe.directories.push(root.to_path_buf());
        cut.take_directory(root, before).map_err(|error| format!("{}: {error}", before.display()))?;
        cut.now = cut.safe.clone();
        for record in records {
            cut.apply(record);
        }
        Ok(cut)
    }

    fn take_directory(&mut self, root: &Path, before: &Path) -> std::io::Result<()> {
        for entry in fs::read_dir(before)? {
            let entry = entry?;
            let path = root.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.safe.directories.push(path.clone());
                self.take_directory(&path, &entry.path())?;
            } else {
                let safe = fs::read(entry.path())?;
                self.safe.files.insert(path, self.contents.len());
                self.contents.push(Contents { now: safe.clone(), safe, pending: Vec::new() });
            }
        }
        Ok(())
    }

    fn name(&mut self, directory: PathBuf, change: NameChange) {
        self.now.apply(&change);
        self.pending_names.entry(directory).or_default().push(change);
    }

    fn change(&mut self, file: usize, change: Change) {
        change.apply(&mut self.contents[file].now);
        self.contents[file].pending.push(Pending { change, is_given_up: false });
    }

    /// The file of this name, made if there is none.
    fn find_or_make(&mut self, path: &Path) -> usize {
        if let Some(file) = self.now.files.get(path) {
            return *file;
        }
        self.contents.push(Contents::default());
        let file = self.contents.len() - 1;
        self.name(directory_of(path), NameChange::Link(path.to_path_buf(), file));
        file
    }

    fn apply(&mut self, record: &Record) {
        match record {
            Record::Create { file: number, path } => {
                let file = self.find_or_make(path);
                self.change(file, Change::Size(0));
                self.open.insert(*number, Open { file, position: Some(0), sync_concerns: 0 });
            }
            Record::Append { file: number, path } => {
                let file = self.find_or_make(path);
                self.open.insert(*number, Open { file, position: None, sync_concerns: 0 });
            }
            Record::Write { file: number, bytes } => {
                let Some(open) = self.open.get_mut(number) else { return };
                let offset = open.position.unwrap_or(self.contents[open.file].now.len());
                open.position = open.position.map(|position| position + bytes.len());
                let file = open.file;
                self.change(file, Change::Write { offset, bytes: bytes.clone() });
            }
            Record::Cut { file: number, size } => {
                let Some(open) = self.open.get_mut(number) else { return };
                open.position = open.position.map(|_| *size as usize);
                let file = open.file;
                self.change(file, Change::Size(*size as usize));
            }
            Record::SyncBegins { file } => {
                if let Some(open) = self.open.get_mut(file) {
                    open.sync_concerns = self.contents[open.file].pending.len();
                }
            }
            Record::Synced { file } => self.end_sync(*file, true),
            Record::SyncFailed { file } => self.end_sync(*file, false),
            Record::Truncate { path, size } => {
                if let Some(&file) = self.now.files.get(path) {
                    let contents = &mut self.contents[file];
                    contents.now.resize(*size as usize, 0);
                    contents.safe = contents.now.clone();
                    contents.pending.clear();
                }
            }
            Record::Rename { from, to } => {
                self.name(directory_of(to), NameChange::Rename(from.clone(), to.clone()));
            }
            Record::Remove { path } => self.name(directory_of(path), NameChange::Remove(path.clone())),
            Record::MakeDirectory { path } => {
                if !self.now.directories.contains(path) {
                    self.name(directory_of(path), NameChange::Directory(path.clone()));
                }
            }
            Record::SyncDirectory { path } => {
                for change in self.pending_names.remove(path).unwrap_or_default() {
                    self.safe.apply_renamed(&change, &self.now);
                }
            }
        }
    }

    fn end_sync(&mut self, number: u64, is_good: bool) {
        let Some(open) = self.open.get(&number).copied() else { return };
        let contents = &mut self.contents[open.file];
        let concerned = open.sync_concerns.min(contents.pending.len());
        if !is_good {
            contents.pending[..concerned].iter_mut().for_each(|pending| pending.is_given_up = true);
            return;
        }
        let later = contents.pending.split_off(concerned);
        for pending in std::mem::take(&mut contents.pending) {
            if pending.is_given_up {
                contents.pending.push(pending);
            } else {
                pending.change.apply(&mut contents.safe);
            }
        }
        contents.pending.extend(later);
        // Other syncs of the same file have begun before: what they concern has moved up.
        for other in self.open.values_mut().filter(|other| other.file == open.file) {
            other.sync_concerns = other.sync_concerns.saturating_sub(concerned);
        }
    }

    /// Makes one of the states that the power cut may leave, below `target`; `root` is where the server worked.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn leave(&self, rng: &mut Rng, root: &Path, target: &Path) -> Outcome<()> {
        let mut names = self.safe.clone();
        for changes in self.pending_names.values() {
            let kept = match rng.below(3) {
                0 => 0,
                1 => changes.len(),
                _ => rng.below(changes.len() as u64 + 1) as usize,
            };
            changes[..kept].iter().for_each(|change| names.apply_renamed(change, &self.now));
        }
        let below = |path: &Path| path.strip_prefix(root).ok().map(|path| target.join(path));
        let failed = |error: std::io::Error| format!("{}: {error}", target.display());
        fs::create_dir_all(target).map_err(failed)?;
        for directory in names.directories.iter().filter_map(|path| below(path)) {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        for (path, file) in &names.files {
            let is_there = names.directories.contains(&directory_of(path));
            let Some(path) = below(path).filter(|_| is_there) else { continue };
            fs::write(path, self.contents[*file].left(rng)).map_err(failed)?;
        }
        Ok(())
    }
}

impl Names {
    /// As [`Names::apply`]; a rename finds its file even when the old name never reached the disk.
    fn apply_renamed(&mut self, change: &NameChange, now: &Names) {
        if let NameChange::Rename(from, to) = change
            && !self.files.contains_key(from)
        {
            if let Some(file) = now.files.get(to) {
                self.files.insert(to.clone(), *file);
            }
            return;
        }
        self.apply(change);
    }
}

impl Contents {
    /// What a power cut may leave of it.
    fn left(&self, rng: &mut Rng) -> Vec<u8> {
        let mut left = self.safe.clone();
        if self.pending.is_empty() {
            return left;
        }
        let changes = || self.pending.iter().map(|pending| &pending.change);
        match rng.below(5) {
            0 => {}
            1 => changes().for_each(|change| change.apply(&mut left)),
            2 => {
                let count = rng.below(self.pending.len() as u64) as usize;
                changes().take(count).for_each(|change| change.apply(&mut left));
                if let Change::Write { offset, bytes } = &self.pending[count].change {
                    let kept = rng.below(bytes.len() as u64 + 1) as usize;
                    Change::Write { offset: *offset, bytes: bytes[..kept].to_vec() }.apply(&mut left);
                }
            }
            choice => {
                let unit_bytes = if choice == 3 { SECTOR_BYTES } else { PAGE_BYTES };
                let kept = 1 + rng.below(8);
                left.resize(self.now.len(), 0);
                for start in (0..left.len()).step_by(unit_bytes) {
                    let end = (start + unit_bytes).min(left.len());
                    if rng.chance(kept, 8) {
                        left[start..end].copy_from_slice(&self.now[start..end]);
                    }
                }
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All states that some seeds lead to: the contents of `a` and `b`.
    fn states(records: &[Record]) -> Vec<(Option<String>, Option<String>)> {
        let root = Path::new("/data");
        let before = tempfile::tempdir().unwrap();
        let cut = PowerCut::new(root, before.path(), records).unwrap();
        let mut states = Vec::new();
        for seed in 0..200 {
            let target = tempfile::tempdir().unwrap();
            cut.leave(&mut Rng::new(seed), root, target.path()).unwrap();
            let read = |name: &str| {
                fs::read(target.path().join(name)).ok().map(|bytes| String::from_utf8(bytes).unwrap())
            };
            states.push((read("a"), read("b")));
        }
        states.sort();
        states.dedup();
        states
    }

    fn some(a: Option<&str>, b: Option<&str>) -> (Option<String>, Option<String>) {
        (a.map(str::to_owned), b.map(str::to_owned))
    }

    #[test]
    fn only_what_was_synced_is_certain() {
        let (root, path) = (PathBuf::from("/data"), PathBuf::from("/data/a"));
        let mut records = vec![
            Record::Append { file: 1, path: path.clone() },
            Record::Write { file: 1, bytes: b"one".to_vec() },
        ];
        assert!(states(&records).contains(&some(None, None)));
        records.extend([Record::SyncBegins { file: 1 }, Record::Write { file: 1, bytes: b"2".to_vec() }]);
        records.extend([Record::Synced { file: 1 }, Record::SyncDirectory { path: root.clone() }]);
        let left = states(&records);
        // What was not synced is there, is not, or only the file has grown by it.
        assert_eq!(left, [some(Some("one"), None), some(Some("one\0"), None), some(Some("one2"), None)]);
        records.extend([Record::SyncBegins { file: 1 }, Record::SyncFailed { file: 1 }]);
        records.extend([Record::SyncBegins { file: 1 }, Record::Synced { file: 1 }]);
        assert_eq!(states(&records), left, "a sync after one that failed makes nothing safe");
    }

    #[test]
    fn names_are_safe_with_their_directory() {
        let (root, a, b) = (PathBuf::from("/data"), PathBuf::from("/data/a"), PathBuf::from("/data/b"));
        let mut records = vec![
            Record::Create { file: 1, path: b.clone() },
            Record::Write { file: 1, bytes: b"old".to_vec() },
            Record::SyncBegins { file: 1 },
            Record::Synced { file: 1 },
            Record::SyncDirectory { path: root.clone() },
            Record::Create { file: 2, path: a.clone() },
            Record::Write { file: 2, bytes: b"new".to_vec() },
            Record::SyncBegins { file: 2 },
            Record::Synced { file: 2 },
            Record::Rename { from: a, to: b },
        ];
        let left = states(&records);
        assert_eq!(left, [some(None, Some("new")), some(None, Some("old")), some(Some("new"), Some("old"))]);
        records.push(Record::SyncDirectory { path: root });
        assert_eq!(states(&records), [some(None, Some("new"))]);
    }
}
