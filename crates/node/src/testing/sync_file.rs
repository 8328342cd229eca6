//! A snapshot that arrives by way of a file, in memory.

use crate::host::SyncFile;

/// The file.
#[derive(Debug, Default)]
pub struct TestSyncFile {
    /// What has been written so far, while a snapshot arrives.
    pub writing: Option<Vec<u8>>,
    /// What arrived last.
    pub complete: Vec<u8>,
    /// The error with which writing fails.
    pub error: Option<String>,
}

impl SyncFile for TestSyncFile {
    fn begin(&mut self) -> Result<(), String> {
        self.writing = Some(Vec::new());
        self.error.clone().map_or(Ok(()), Err)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.writing.as_mut().ok_or("no file")?.extend_from_slice(bytes);
        self.error.clone().map_or(Ok(()), Err)
    }

    fn finish(&mut self) -> Result<u64, String> {
        self.complete = self.writing.take().ok_or("no file")?;
        Ok(self.complete.len() as u64)
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, String> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.complete.get(offset..));
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn discard(&mut self) {
        self.writing = None;
    }
}
