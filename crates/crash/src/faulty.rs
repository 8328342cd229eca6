//! A disk that fails on demand. What goes wrong stands in a file, one fault a line, and may change at any time:
//!
//! ```text
//! write-error NAME          writes to files whose name holds NAME fail with EIO
//! full NAME SIZE            such files take no more than SIZE bytes, then ENOSPC
//! short NAME                writes take half of what they are given
//! sync-error NAME           syncs fail with EIO
//! slow-sync NAME MS         syncs take so long
//! rename-error NAME         renames to such a name fail with EIO
//! ```

use shoal_transport::disk::ReadFile;
use shoal_transport::{Disk, DiskFile, SystemDisk};
use std::fs::Permissions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The real disk, with faults.
#[derive(Debug)]
pub struct FaultyDisk {
    faults: Arc<Faults>,
}

#[derive(Debug)]
struct Faults {
    control: PathBuf,
}

impl FaultyDisk {
    /// `control` says what goes wrong; nothing does while it is not there.
    pub fn new(control: PathBuf) -> Self {
        Self { faults: Arc::new(Faults { control }) }
    }

    fn wrap(&self, inner: Box<dyn DiskFile>, path: &Path) -> Box<dyn DiskFile> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Box::new(FaultyFile { inner, name, faults: Arc::clone(&self.faults) })
    }
}

impl Faults {
    /// The fault of this kind for a file of this name: its number, if it has one.
    fn find(&self, kind: &str, name: &str) -> Option<u64> {
        let text = std::fs::read_to_string(&self.control).ok()?;
        text.lines().find_map(|line| {
            let mut words = line.split(' ');
            let is_meant = words.next() == Some(kind) && words.next().is_some_and(|part| name.contains(part));
            is_meant.then(|| words.next().and_then(|number| number.parse().ok()).unwrap_or(0))
        })
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(SystemDisk.create(path)?, path))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(SystemDisk.append(path)?, path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        SystemDisk.open(path)
    }

    fn truncate(&self, path: &Path, size: u64) -> io::Result<()> {
        SystemDisk.truncate(path, size)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match self.faults.find("rename-error", &name) {
            Some(_) => Err(io::Error::from_raw_os_error(libc::EIO)),
            None => SystemDisk.rename(from, to),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        SystemDisk.make_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        SystemDisk.sync_directory(path)
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn DiskFile>,
    name: String,
    faults: Arc<Faults>,
}

impl DiskFile for FaultyFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.faults.find("write-error", &self.name).is_some() {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        if let Some(limit) = self.faults.find("full", &self.name) {
            let room = limit.saturating_sub(self.inner.size()?);
            if room == 0 {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            return self.inner.write(&bytes[..bytes.len().min(room as usize)]);
        }
        if self.faults.find("short", &self.name).is_some() {
            return self.inner.write(&bytes[..bytes.len().div_ceil(2)]);
        }
        self.inner.write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        if let Some(delay_ms) = self.faults.find("slow-sync", &self.name) {
            std::thread::sleep(Duration::from_millis(delay_ms));
        }
        match self.faults.find("sync-error", &self.name) {
            Some(_) => Err(io::Error::from_raw_os_error(libc::EIO)),
            None => self.inner.sync(),
        }
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.inner.truncate(size)
    }

    fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        self.inner.set_permissions(permissions)
    }
}
