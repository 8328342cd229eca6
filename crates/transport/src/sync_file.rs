//! The file by way of which a replica receives a snapshot, when it does not load it from the socket.

use crate::disk::{self, DiskFile, DiskWriter, ReadFile, SharedDisk};
use shoal_node::SyncFile as _;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The file is synced every so many bytes, so that the end does not take long.
const SYNC_EVERY_BYTES: usize = 8 * 1024 * 1024;

/// The file, being written or read.
pub struct SyncFile {
    /// `dbfilename`, in the working directory: the file whose place it takes.
    pub file_name: String,
    disk: SharedDisk,
    writing: Option<Writing>,
    reading: Option<Box<dyn ReadFile>>,
}

struct Writing {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    unsynced_bytes: usize,
}

impl SyncFile {
    /// No file yet.
    pub fn new(disk: SharedDisk, file_name: String) -> Self {
        Self { file_name, disk, writing: None, reading: None }
    }

    fn try_begin(&mut self) -> io::Result<()> {
        self.reading = None;
        let temporary =
            Path::new(&self.file_name).with_file_name(format!("temp-sync-{}.rdb", std::process::id()));
        let file = self.disk.create(&temporary)?;
        self.writing = Some(Writing { file, path: temporary, unsynced_bytes: 0 });
        Ok(())
    }

    fn try_append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let writing = self.writing.as_mut().ok_or(io::ErrorKind::NotFound)?;
        DiskWriter(&*writing.file).write_all(bytes)?;
        writing.unsynced_bytes += bytes.len();
        if writing.unsynced_bytes >= SYNC_EVERY_BYTES {
            writing.unsynced_bytes = 0;
            writing.file.sync()?;
        }
        Ok(())
    }

    fn try_finish(&self, writing: &Writing) -> io::Result<(Box<dyn ReadFile>, u64)> {
        let path = Path::new(&self.file_name);
        writing.file.sync()?;
        self.disk.rename(&writing.path, path)?;
        self.disk.sync_directory(disk::directory_of(path))?;
        Ok((self.disk.open(path)?, self.disk.size(path)?))
    }

    fn try_read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.reading.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.seek(SeekFrom::Start(offset))?;
        let count = file.read(buffer)?;
        if count == 0 {
            self.reading = None;
        }
        Ok(count)
    }
}

impl shoal_node::SyncFile for SyncFile {
    fn begin(&mut self) -> Result<(), String> {
        self.discard();
        self.try_begin().map_err(|error| error.to_string())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.try_append(bytes).map_err(|error| error.to_string())
    }

    fn finish(&mut self) -> Result<u64, String> {
        let writing = self.writing.take().ok_or("there is no file")?;
        match self.try_finish(&writing) {
            Ok((file, size)) => {
                self.reading = Some(file);
                Ok(size)
            }
            Err(error) => {
                let _ = self.disk.remove(&writing.path);
                Err(error.to_string())
            }
        }
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, String> {
        self.try_read(offset, buffer).map_err(|error| error.to_string())
    }

    fn discard(&mut self) {
        if let Some(writing) = self.writing.take() {
            let _ = self.disk.remove(&writing.path);
        }
    }
}

impl Drop for SyncFile {
    fn drop(&mut self) {
        self.discard();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;
    use std::sync::Arc;

    #[test]
    fn a_file_takes_its_place_only_when_complete() {
        let directory = std::env::temp_dir().join(format!("shoal-sync-file-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("dump.rdb");
        std::fs::write(&path, "old").unwrap();
        let mut file = SyncFile::new(Arc::new(SystemDisk), path.to_string_lossy().into_owned());
        let mut buffer = [0; 4];
        assert!(file.append(b"x").is_err() && file.read(0, &mut buffer).is_err());
        file.begin().unwrap();
        file.append(b"lost").unwrap();
        file.begin().unwrap();
        file.append(b"new").unwrap();
        file.append(b" data").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(file.finish().unwrap(), 8);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new data");
        assert_eq!((file.read(4, &mut buffer).unwrap(), &buffer), (4, b"data"));
        assert_eq!(file.read(8, &mut buffer).unwrap(), 0);
        file.begin().unwrap();
        drop(file);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
