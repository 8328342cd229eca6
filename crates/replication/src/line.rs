//! Lines of a handshake, whatever the pieces they arrive in.

use crate::handshake::{LINE_MAX_BYTES, Output};

/// Collects one line at a time.
#[derive(Debug, Default)]
pub(crate) struct LineReader {
    line: Vec<u8>,
}

/// The line is longer than [`LINE_MAX_BYTES`].
struct TooLong;

/// A handshake: a machine that is fed line by line until it is over.
pub(crate) trait ByLine {
    /// Where its lines are collected.
    fn lines(&mut self) -> &mut LineReader;
    /// Whether no more lines belong to it.
    fn is_over(&self) -> bool;
    /// A line has arrived.
    fn handle(&mut self, line: &[u8], outputs: &mut Vec<Output>);
    /// There is no end where one is due: the handshake is over.
    fn refuse_long_line(&mut self, outputs: &mut Vec<Output>);

    /// Takes bytes. Returns how many of them belong to the handshake.
    fn receive_lines(&mut self, bytes: &[u8], outputs: &mut Vec<Output>) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && !self.is_over() {
            match self.lines().take(&bytes[taken..]) {
                Err(TooLong) => self.refuse_long_line(outputs),
                Ok((count, line)) => {
                    taken += count;
                    if let Some(line) = line {
                        self.handle(&line, outputs);
                    }
                }
            }
        }
        taken
    }
}

impl LineReader {
    /// Takes bytes up to the end of a line. Returns how many, and the line without its end if that was there.
    ///
    /// # Errors
    /// There is no end where one is due; the connection is of no use.
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, Option<Vec<u8>>), TooLong> {
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
