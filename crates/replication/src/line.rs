//! Lines of a handshake, whatever the pieces they arrive in.

use crate::handshake::LINE_MAX_BYTES;

/// Collects one line at a time.
#[derive(Debug, Default)]
pub(crate) struct LineReader {
    line: Vec<u8>,
}

/// The line is longer than [`LINE_MAX_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl LineReader {
    /// Takes bytes up to the end of a line. Returns how many, and the line without its end if that was there.
    ///
    /// # Errors
    /// There is no end where one is due; the connection is of no use.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(usize, Option<Vec<u8>>), TooLong> {
        let end = memchr::memchr(b'\n', bytes);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        if self.line.len() + part.len() > LINE_MAX_BYTES {
            return Err(TooLong);
        }
        self.line.extend_from_slice(part);
        let Some(end) = end else { return Ok((bytes.len(), None)) };
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok((end + 1, Some(line)))
    }
}
