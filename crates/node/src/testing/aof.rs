//! The directory of the append-only file, in memory.

use crate::host::AofHealth;
use shoal_config::AppendFsync;
use std::collections::BTreeMap;

/// Files that only a test sees.
#[derive(Debug, Default)]
pub struct TestAof {
    /// The files of `appenddirname`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The one that is open.
    pub open: Option<String>,
    /// How safe what was appended had to be.
    pub policies: Vec<AppendFsync>,
    /// Bytes that were ever appended.
    pub appended_bytes: u64,
    /// Those that are said to have reached the disk; all if nothing is said.
    pub synced_bytes: Option<u64>,
    /// What is wrong with appending.
    pub error: Option<String>,
    /// Why bytes of the open file cannot be brought to the disk, until it is closed.
    pub sync_error: Option<String>,
}

impl TestAof {
    pub(super) fn append(&mut self, bytes: &[u8], policy: AppendFsync) -> AofHealth {
        self.appended_bytes += bytes.len() as u64;
        if self.error.is_none()
            && let Some(file) = self.open.as_ref().and_then(|name| self.files.get_mut(name))
        {
            file.extend_from_slice(bytes);
            if !bytes.is_empty() {
                self.policies.push(policy);
            }
        }
        let synced_bytes = self.synced_bytes.unwrap_or(self.appended_bytes);
        let sync_error = self.sync_error.clone();
        AofHealth { error: self.error.clone(), sync_error, synced_bytes, ..AofHealth::default() }
    }

    pub(super) fn open(&mut self, name: &str, is_new: bool) -> Result<u64, String> {
        let file = self.files.entry(name.to_owned()).or_default();
        if is_new {
            file.clear();
        }
        self.open = Some(name.to_owned());
        Ok(file.len() as u64)
    }

    /// Puts a file there; its size.
    pub(super) fn put(&mut self, name: &str, bytes: Vec<u8>) -> u64 {
        let size = bytes.len() as u64;
        self.files.insert(name.to_owned(), bytes);
        size
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), String> {
        let file = self.files.remove(from).ok_or("no such file")?;
        self.files.insert(to.to_owned(), file);
        if self.open.as_deref() == Some(from) {
            self.open = Some(to.to_owned());
        }
        Ok(())
    }

    pub(super) fn read(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, String> {
        let file = self.files.get(name).ok_or("no such file")?;
        let rest = file.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}
