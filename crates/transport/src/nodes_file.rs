//! nodes.conf and its journal: saves that follow each other closely cost a write and a sync each, and no new file.
//!
//! ```text
//!  nodes.conf            whole, replaced by renaming: what people, tools and Redis read
//!  nodes.conf-journal    there only while saves follow each other: the texts since, each behind a head
//!
//!  save 1423 3a5c…99e0 07b1…c2d4\n      bytes of the text; checksum of nodes.conf; checksum of all of the head before and the text
//!  <text>
//! ```
//!
//! The last whole entry counts whose checksum is that of nodes.conf; without one nodes.conf counts itself. nodes.conf is only
//! replaced for good, and the journal removed for good before the next one begins, so that an entry never meets a file that
//! it does not follow. Nobody else may use both meanwhile: a server reads them when it has its ports.

use crate::disk::{self, DiskFile, DiskWriter, SharedDisk};
use shoal_formats::crc64::crc64;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is added to the name of nodes.conf.
const JOURNAL_SUFFIX: &str = "-journal";
/// Saves that come within this time of each other follow each other.
const CLOSE: Duration = Duration::from_millis(100);
/// So many of them in a row are saved one by one; then the journal begins.
const SINGLE_SAVES_MAX: u32 = 3;
/// When nothing has been saved for so long, nodes.conf takes over what stands in the journal.
const QUIET: Duration = Duration::from_millis(200);
/// What was written without waiting for the disk is synced with the first save that comes so much later.
const SYNC_DELAY: Duration = Duration::from_millis(200);
/// nodes.conf is never older than this while it can be written.
const JOURNAL_AGE_MAX: Duration = Duration::from_secs(2);
/// A journal of this size is taken over.
const JOURNAL_MAX_BYTES: usize = 8 * 1024 * 1024;
/// After nodes.conf could not be written, it is tried again this much later.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The longest head of an entry.
const HEAD_MAX_BYTES: usize = 80;

/// A nodes.conf that is being written.
#[derive(Debug)]
pub struct NodesFile {
    disk: SharedDisk,
    path: PathBuf,
    /// The checksum of nodes.conf, if it is on the disk for certain.
    base: Option<u64>,
    journal: Option<Journal>,
    /// Saves so far that followed each other, and when the last one ended.
    streak: u32,
    ended: Option<Instant>,
    /// When nodes.conf is to take over what stands in the journal.
    settles_at: Option<Instant>,
}

/// The journal while it is there.
#[derive(Debug)]
struct Journal {
    file: Box<dyn DiskFile>,
    began: Instant,
    bytes: usize,
    /// The newest text.
    text: String,
    /// Since when something is not synced.
    unsynced_since: Option<Instant>,
    /// Its name is on the disk.
    is_named: bool,
}

impl NodesFile {
    /// Goes on with the file that [`load`] has read, or begins one.
    pub fn new(disk: SharedDisk, path: PathBuf) -> Self {
        Self { disk, path, base: None, journal: None, streak: 0, ended: None, settles_at: None }
    }

    /// Saves a text. If it is durable it survives a power cut from now on, and otherwise a crash of the process at once and
    /// a power cut soon.
    ///
    /// # Errors
    /// The system's. Which of this and earlier texts that nobody was told of a crash leaves is unknown.
    pub fn save(&mut self, text: &str, is_durable: bool) -> io::Result<()> {
        let now = Instant::now();
        let is_close = self.ended.is_some_and(|ended| now.duration_since(ended) < CLOSE);
        self.streak = if is_close { self.streak.saturating_add(1) } else { 0 };
        let has_room = match &self.journal {
            None => !is_durable || self.streak >= SINGLE_SAVES_MAX,
            Some(journal) => {
                now.duration_since(journal.began) < JOURNAL_AGE_MAX
                    && journal.bytes.saturating_add(text.len()) < JOURNAL_MAX_BYTES
            }
        };
        let outcome = match self.base.filter(|_| has_room) {
            Some(base) => self.append(base, text, is_durable).or_else(|_| self.replace(text)),
            None => self.replace(text),
        };
        let now = Instant::now();
        self.ended = Some(now);
        self.settles_at = self.journal.is_some().then(|| now + QUIET);
        outcome
    }

    /// How long to wait for the next save before [`NodesFile::settle`] is due; `None` for as long as it takes.
    pub fn settles_in(&self) -> Option<Duration> {
        self.settles_at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Has nodes.conf take over what stands in the journal.
    ///
    /// # Errors
    /// The system's. Nothing is lost; it is tried again later.
    pub fn settle(&mut self) -> io::Result<()> {
        self.settles_at = None;
        let Some(text) = self.journal.as_ref().map(|journal| journal.text.clone()) else { return Ok(()) };
        self.replace(&text).inspect_err(|_| self.settles_at = Some(Instant::now() + RETRY_DELAY))
    }

    fn append(&mut self, base: u64, text: &str, is_durable: bool) -> io::Result<()> {
        // What comes after an entry that is torn would not be found: if this fails, there is no journal to go on with.
        self.base = None;
        if self.journal.is_none() {
            let file = self.disk.create(&journal_of(&self.path))?;
            let began = Instant::now();
            self.journal = Some(Journal {
                file,
                began,
                bytes: 0,
                text: String::new(),
                unsynced_since: None,
                is_named: false,
            });
        }
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let entry = entry(base, text);
        DiskWriter(&*journal.file).write_all(&entry)?;
        journal.bytes += entry.len();
        text.clone_into(&mut journal.text);
        let since = *journal.unsynced_since.get_or_insert_with(Instant::now);
        if is_durable || since.elapsed() >= SYNC_DELAY {
            journal.file.sync()?;
            if !journal.is_named {
                self.disk.sync_directory(disk::directory_of(&self.path))?;
                journal.is_named = true;
            }
            journal.unsynced_since = None;
        }
        self.base = Some(base);
        Ok(())
    }

    /// Replaces nodes.conf for good; there is no journal afterwards.
    fn replace(&mut self, text: &str) -> io::Result<()> {
        // If it fails it is unknown which of two texts a crash leaves, so nothing can follow either.
        self.base = None;
        disk::replace(&*self.disk, &self.path, text.as_bytes())?;
        if self.journal.is_some() {
            remove_journal(&self.disk, &self.path)?;
            self.journal = None;
        }
        self.base = Some(crc64(text.as_bytes()));
        Ok(())
    }
}

/// Reads nodes.conf, and brings it up to date if a journal was left. `None` if there is no nodes.conf.
///
/// # Errors
/// The system's.
pub fn load(disk: &SharedDisk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let read = |path: &Path| match disk.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let text = read(path)?;
    let Some(journal) = read(&journal_of(path))? else { return Ok(text) };
    let newer = text.as_ref().and_then(|text| last_entry(&journal, crc64(text)));
    if let Some(newer) = newer {
        disk::replace(&**disk, path, newer)?;
    }
    remove_journal(disk, path)?;
    Ok(newer.map(<[u8]>::to_vec).or(text))
}

fn journal_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(JOURNAL_SUFFIX);
    path.with_file_name(name)
}

fn remove_journal(disk: &SharedDisk, path: &Path) -> io::Result<()> {
    match disk.remove(&journal_of(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => disk.sync_directory(disk::directory_of(path)),
    }
}

fn entry(base: u64, text: &str) -> Vec<u8> {
    let head = format!("save {} {base:016x}", text.len());
    let sum = checksum(&head, text.as_bytes());
    let mut entry = format!("{head} {sum:016x}\n").into_bytes();
    entry.extend_from_slice(text.as_bytes());
    entry
}

fn checksum(head: &str, text: &[u8]) -> u64 {
    crc64(&[head.as_bytes(), text].concat())
}

/// The text of the last entry that follows `base`, up to the first one that is torn.
fn last_entry(mut journal: &[u8], base: u64) -> Option<&[u8]> {
    let mut last = None;
    while let Some((entry_base, text, rest)) = split_entry(journal) {
        if entry_base == base {
            last = Some(text);
        }
        journal = rest;
    }
    last
}

fn split_entry(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let end = bytes.iter().take(HEAD_MAX_BYTES).position(|byte| *byte == b'\n')?;
    let (head, sum) = std::str::from_utf8(bytes.get(..end)?).ok()?.rsplit_once(' ')?;
    let (length, base) = head.strip_prefix("save ")?.split_once(' ')?;
    let (text, rest) = bytes.get(end + 1..)?.split_at_checked(length.parse().ok()?)?;
    let is_whole = u64::from_str_radix(sum, 16).ok()? == checksum(head, text);
    is_whole.then_some((u64::from_str_radix(base, 16).ok()?, text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;
    use std::sync::Arc;

    #[test]
    fn saves_in_a_row_go_into_the_journal_and_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes.conf");
        let disk: SharedDisk = Arc::new(SystemDisk);
        let names = || {
            let mut names = disk.list(directory.path()).unwrap();
            names.sort();
            names
        };
        assert_eq!(load(&disk, &path).unwrap(), None);
        let mut file = NodesFile::new(Arc::clone(&disk), path.clone());
        file.save("first", true).unwrap();
        assert_eq!((names(), file.settles_in()), (vec!["nodes.conf".to_owned()], None));
        file.save("second", false).unwrap();
        file.save("third", true).unwrap();
        assert_eq!(names(), ["nodes.conf", "nodes.conf-journal"]);
        assert!(file.settles_in().is_some_and(|wait| wait <= QUIET));
        assert_eq!(disk.read(&path).unwrap(), b"first");
        // The process is gone: the next one has the newest text, in nodes.conf and nowhere else.
        drop(file);
        assert_eq!(load(&disk, &path).unwrap().unwrap(), b"third");
        assert_eq!((names(), disk.read(&path).unwrap()), (vec!["nodes.conf".to_owned()], b"third".to_vec()));
        let mut file = NodesFile::new(Arc::clone(&disk), path.clone());
        for number in 0..10 {
            file.save(&format!("text {number}"), true).unwrap();
        }
        assert_eq!(names(), ["nodes.conf", "nodes.conf-journal"]);
        file.settle().unwrap();
        assert_eq!((names(), disk.read(&path).unwrap()), (vec!["nodes.conf".to_owned()], b"text 9".to_vec()));
    }

    #[test]
    fn a_journal_that_does_not_follow_counts_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes.conf");
        let disk: SharedDisk = Arc::new(SystemDisk);
        for (journal, text) in [
            // Somebody else has written nodes.conf meanwhile.
            (entry(crc64(b"other"), "new"), "old"),
            (b"save 3 nonsense\nnew".to_vec(), "old"),
            (entry(crc64(b"old"), "new"), "new"),
            // The second one is torn: what follows it is not found, whatever it is.
            ([entry(crc64(b"old"), "new"), b"save 9 00".to_vec(), entry(crc64(b"old"), "x")].concat(), "new"),
            (vec![0; 4096], "old"),
        ] {
            disk::replace(&*disk, &path, b"old").unwrap();
            std::fs::write(journal_of(&path), journal).unwrap();
            assert_eq!(load(&disk, &path).unwrap().unwrap(), text.as_bytes());
            assert_eq!(disk.list(directory.path()).unwrap(), ["nodes.conf"]);
        }
        let whole = entry(7, "some text");
        for end in 0..whole.len() {
            assert!(last_entry(&whole[..end], 7).is_none(), "{end}");
            let mut wrong = whole.clone();
            wrong[end] ^= 1;
            assert!(last_entry(&wrong, 7).is_none(), "{end}");
        }
        assert_eq!(last_entry(&whole, 7), Some(b"some text".as_slice()));
    }
}
