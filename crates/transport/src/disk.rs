//! The disk: every access to a file that must survive a crash goes through here.
//!
//! ```text
//!  append-only file, its list, snapshots (also the child's), nodes.conf, configuration
//!        │
//!      Disk ──▶ SystemDisk: the real one
//!           └─▶ what tests put in its place: one that fails on demand, one that notes what would survive a power cut
//! ```
//!
//! What a crash leaves is up to [`DiskFile::sync`] and [`Disk::sync_directory`]: bytes are safe after the first, names
//! after the second. A forked child uses the disk, too, so nothing here may take a lock that another thread may hold.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The disk that a server works on; threads and children share it.
pub type SharedDisk = Arc<dyn Disk>;

/// Files that must survive a crash. Relative paths begin at the working directory.
pub trait Disk: Debug + Send + Sync {
    /// Opens a file for writing, made if it is not there and emptied if it is.
    ///
    /// # Errors
    /// The system's, as for all that follow.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for appending, made if it is not there.
    ///
    /// # Errors
    /// See [`Disk::create`].
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// See [`Disk::create`].
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;

    /// Cuts a file off; the new size has reached the disk.
    ///
    /// # Errors
    /// See [`Disk::create`].
    fn truncate(&self, path: &Path, size_bytes: u64) -> io::Result<()>;

    /// Gives a file another name, in the place of a file that has that name.
    ///
    /// # Errors
    /// See [`Disk::create`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Deletes a file.
    ///
    /// # Errors
    /// See [`Disk::create`].
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory. One that is there already is no error.
    ///
    /// # Errors
    /// See [`Disk::create`].
    fn make_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes what was created, renamed and removed in a directory last.
    ///
    /// # Errors
    /// See [`Disk::create`].
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// The size of a file in bytes.
    ///
    /// # Errors
    /// See [`Disk::create`].
    fn size(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(path).map(|metadata| metadata.len())
    }

    /// A whole file; meant for small ones.
    ///
    /// # Errors
    /// See [`Disk::create`].
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The names of the files in a directory, in no order.
    ///
    /// # Errors
    /// See [`Disk::create`].
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        Ok(entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }
}

/// A file that is open for writing, behind what was written before.
pub trait DiskFile: Debug + Send + Sync {
    /// Writes as much as the system takes; returns how many bytes that was.
    ///
    /// # Errors
    /// The system's. Nothing was written.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Returns when what was written has reached the disk.
    ///
    /// # Errors
    /// The system's. Whether bytes that were written since the last success are on the disk is unknown, and stays
    /// unknown when a later call succeeds: the system has given the pages up.
    fn sync(&self) -> io::Result<()>;

    /// The size of the file in bytes.
    ///
    /// # Errors
    /// The system's.
    fn size(&self) -> io::Result<u64>;

    /// Cuts the file off here; what follows is written behind that.
    ///
    /// # Errors
    /// The system's.
    fn truncate(&self, size_bytes: u64) -> io::Result<()>;

    /// Lets the file be used by others as it says.
    ///
    /// # Errors
    /// The system's.
    fn set_permissions(&self, permissions: Permissions) -> io::Result<()>;
}

/// A file that is open for reading.
pub trait ReadFile: Read + Seek + Send {}

impl<R: Read + Seek + Send> ReadFile for R {}

/// Writes a file as [`Write`] wants it.
#[derive(Debug)]
pub struct DiskWriter<'a>(pub &'a dyn DiskFile);

impl Write for DiskWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The directory in which a path stands.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name beside `path` that no other process uses.
pub fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!("temp-{}-{name}", std::process::id()))
}

/// Writes `bytes` to `path` by way of a temporary file beside it, so that a crash leaves the old or the new one, never a
/// torn one; file and directory are synced.
///
/// # Errors
/// The old file is still there, unless only syncing the directory failed.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_beside(path);
    let attempt = || -> io::Result<()> {
        let file = disk.create(&temporary)?;
        if let Ok(metadata) = fs::metadata(path) {
            // A configuration with a password keeps its permissions.
            file.set_permissions(metadata.permissions())?;
        }
        DiskWriter(&*file).write_all(bytes)?;
        file.sync()?;
        disk.rename(&temporary, path)?;
        disk.sync_directory(directory_of(path))
    };
    attempt().inspect_err(|_| {
        let _ = disk.remove(&temporary);
    })
}

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::create(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().append(true).create(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn truncate(&self, path: &Path, size_bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(size_bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

impl DiskFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self;
        Write::write(&mut file, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn truncate(&self, size_bytes: u64) -> io::Result<()> {
        self.set_len(size_bytes)?;
        let mut file = self;
        Seek::seek(&mut file, io::SeekFrom::Start(size_bytes)).map(drop)
    }

    fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        File::set_permissions(self, permissions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for text in ["first", "second and longer", ""] {
            replace(&SystemDisk, &path, text.as_bytes()).unwrap();
            assert_eq!(SystemDisk.read(&path).unwrap(), text.as_bytes());
            assert_eq!(SystemDisk.list(directory.path()).unwrap(), ["file"]);
        }
        assert!(replace(&SystemDisk, &directory.path().join("none").join("file"), b"x").is_err());
    }

    #[test]
    fn files_are_appended_to_and_cut() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = SystemDisk.append(&path).unwrap();
        file.write(b"one two").unwrap();
        file.truncate(3).unwrap();
        file.write(b" three").unwrap();
        file.sync().unwrap();
        assert_eq!((file.size().unwrap(), SystemDisk.size(&path).unwrap()), (9, 9));
        assert_eq!(SystemDisk.read(&path).unwrap(), b"one three");
        assert_eq!(SystemDisk.append(&path).unwrap().size().unwrap(), 9);
        SystemDisk.make_directory(&directory.path().join("sub")).unwrap();
        SystemDisk.make_directory(&directory.path().join("sub")).unwrap();
        SystemDisk.sync_directory(directory.path()).unwrap();
        SystemDisk.truncate(&path, 1).unwrap();
        SystemDisk.rename(&path, &directory.path().join("sub/file")).unwrap();
        assert_eq!(SystemDisk.read(&directory.path().join("sub/file")).unwrap(), b"o");
        SystemDisk.remove(&directory.path().join("sub/file")).unwrap();
        assert!(SystemDisk.create(&path).unwrap().size().unwrap() == 0);
    }
}
