//! A disk that notes every operation. What a sync makes safe is worked out from the journal.

use crate::journal::Record;
use shoal_transport::disk::ReadFile;
use shoal_transport::{Disk, DiskFile, SharedDisk};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Another disk, and a journal of what is done to it.
#[derive(Debug)]
pub struct RecordingDisk {
    inner: SharedDisk,
    /// Syncs are handed on; otherwise they cost nothing.
    is_syncing: bool,
    journal: Arc<Journal>,
}

#[derive(Debug)]
struct Journal {
    file: File,
    files: AtomicU32,
}

impl Journal {
    /// One write to the end: records of server and children do not mix, and nothing is locked.
    fn note(&self, record: &Record) -> io::Result<()> {
        (&self.file).write_all(&record.encode())
    }

    /// A number for a file that was opened, of its own in all processes.
    fn number(&self) -> u64 {
        u64::from(std::process::id()) << 32 | u64::from(self.files.fetch_add(1, Ordering::Relaxed))
    }
}

impl RecordingDisk {
    /// Begins a journal, or goes on with one.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn begin(path: &Path, inner: SharedDisk, is_syncing: bool) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { inner, is_syncing, journal: Arc::new(Journal { file, files: AtomicU32::new(0) }) })
    }

    fn wrap(&self, inner: Box<dyn DiskFile>, number: u64) -> Box<dyn DiskFile> {
        Box::new(RecordedFile {
            inner,
            is_syncing: self.is_syncing,
            number,
            journal: Arc::clone(&self.journal),
        })
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

impl Disk for RecordingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.inner.create(path)?;
        let number = self.journal.number();
        self.journal.note(&Record::Create { file: number, path: absolute(path) })?;
        Ok(self.wrap(file, number))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.inner.append(path)?;
        let number = self.journal.number();
        self.journal.note(&Record::Append { file: number, path: absolute(path) })?;
        Ok(self.wrap(file, number))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        self.inner.open(path)
    }

    fn truncate(&self, path: &Path, size: u64) -> io::Result<()> {
        self.inner.truncate(path, size)?;
        self.journal.note(&Record::Truncate { path: absolute(path), size })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)?;
        self.journal.note(&Record::Rename { from: absolute(from), to: absolute(to) })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)?;
        self.journal.note(&Record::Remove { path: absolute(path) })
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.inner.make_directory(path)?;
        self.journal.note(&Record::MakeDirectory { path: absolute(path) })
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.journal.note(&Record::SyncDirectory { path: absolute(path) })
    }
}

#[derive(Debug)]
struct RecordedFile {
    inner: Box<dyn DiskFile>,
    is_syncing: bool,
    number: u64,
    journal: Arc<Journal>,
}

impl DiskFile for RecordedFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.journal.note(&Record::Write { file: self.number, bytes: bytes[..count].to_vec() })?;
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        let file = self.number;
        self.journal.note(&Record::SyncBegins { file })?;
        let synced = if self.is_syncing { self.inner.sync() } else { Ok(()) };
        match synced {
            Ok(()) => self.journal.note(&Record::Synced { file }),
            Err(error) => {
                self.journal.note(&Record::SyncFailed { file })?;
                Err(error)
            }
        }
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.inner.truncate(size)?;
        self.journal.note(&Record::Cut { file: self.number, size })
    }

    fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        self.inner.set_permissions(permissions)
    }
}
