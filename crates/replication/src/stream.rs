//! The replication stream: what was written, kept once for the backlog and for all replicas.
//!
//! ```text
//!            kept_from                                  end
//! offset  ────┬──────────┬──────────┬──────────┬─────────┐
//!             │ block    │ block    │ block    │ block ▒ │
//!             └────▲─────┴──────────┴──▲───────┴─────────┘
//!              replica A           replica B      new bytes come here
//! ```
//!
//! Offsets count bytes from 1, as PSYNC does: the byte at `end` is the next one to be written. A reader is an offset;
//! the owner tells the stream which offsets are still needed, and older blocks go.

use std::collections::VecDeque;
use std::io::IoSlice;

/// Bytes in one block. A block may be larger if a single write is.
const BLOCK_BYTES: usize = 16 * 1024;

/// The stream's bytes from some offset to its end.
#[derive(Debug)]
pub struct Stream {
    blocks: VecDeque<Vec<u8>>,
    /// The offset of the first byte in `blocks`.
    kept_from: u64,
    /// The offset of the next byte.
    end: u64,
}

impl Stream {
    /// An empty stream whose next byte has this offset.
    pub fn new(next_offset: u64) -> Self {
        Self { blocks: VecDeque::new(), kept_from: next_offset, end: next_offset }
    }

    /// The offset of the next byte to be written.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The offset of the oldest byte that is kept; equal to the end if none is.
    pub fn kept_from(&self) -> u64 {
        self.kept_from
    }

    /// The number of bytes that are kept.
    pub fn len(&self) -> u64 {
        self.end - self.kept_from
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.end == self.kept_from
    }

    /// Memory held.
    pub fn size_bytes(&self) -> usize {
        self.blocks.iter().map(Vec::capacity).sum()
    }

    /// Appends bytes.
    pub fn append(&mut self, bytes: &[u8]) {
        self.end += bytes.len() as u64;
        match self.blocks.back_mut() {
            Some(block) if block.len() + bytes.len() <= block.capacity() => block.extend_from_slice(bytes),
            _ => {
                let mut block = Vec::with_capacity(BLOCK_BYTES.max(bytes.len()));
                block.extend_from_slice(bytes);
                self.blocks.push_back(block);
            }
        }
    }

    /// Forgets blocks that end before `offset`.
    pub fn trim(&mut self, offset: u64) {
        while let Some(block) = self.blocks.front() {
            let end = self.kept_from + block.len() as u64;
            if end > offset {
                return;
            }
            self.kept_from = end;
            self.blocks.pop_front();
        }
    }

    /// Forgets everything that is kept.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.kept_from = self.end;
    }

    /// Forgets everything and goes on at another offset.
    pub fn restart(&mut self, next_offset: u64) {
        self.blocks.clear();
        self.kept_from = next_offset;
        self.end = next_offset;
    }

    /// Whether the bytes from `offset` on are all here.
    pub fn reaches(&self, offset: u64) -> bool {
        (self.kept_from..=self.end).contains(&offset)
    }

    /// The bytes from `offset` on, as at most `limit` slices. Empty if they are not kept any more.
    pub fn slices(&self, offset: u64, limit: usize) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::new();
        if !self.reaches(offset) {
            return slices;
        }
        let mut skip = (offset - self.kept_from) as usize;
        for block in &self.blocks {
            if slices.len() == limit {
                break;
            }
            if skip < block.len() {
                slices.push(IoSlice::new(&block[skip..]));
                skip = 0;
            } else {
                skip -= block.len();
            }
        }
        slices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(stream: &Stream, offset: u64) -> Vec<u8> {
        stream.slices(offset, usize::MAX).iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn any_offset_that_is_kept_can_be_read() {
        let mut stream = Stream::new(1);
        let mut written = Vec::new();
        for number in 0..20_000u32 {
            let line = format!("{number},");
            stream.append(line.as_bytes());
            written.extend_from_slice(line.as_bytes());
        }
        assert_eq!((stream.kept_from(), stream.end()), (1, written.len() as u64 + 1));
        for offset in [1, 2, 65_000, 65_536, 65_537, written.len() as u64] {
            assert_eq!(bytes(&stream, offset), written[offset as usize - 1..]);
        }
        assert!(bytes(&stream, stream.end()).is_empty());
        assert!(!stream.reaches(stream.end() + 1) && !stream.reaches(0));
        stream.trim(70_000);
        assert!(stream.kept_from() > 1 && stream.kept_from() <= 70_000);
        assert!(!stream.reaches(1));
        assert_eq!(bytes(&stream, 70_000), written[69_999..]);
        assert!(stream.slices(70_000, 1).len() == 1);
        stream.clear();
        assert!(stream.is_empty() && stream.reaches(stream.end()));
    }

    #[test]
    fn a_write_larger_than_a_block() {
        let mut stream = Stream::new(100);
        stream.append(&vec![b'x'; BLOCK_BYTES * 3]);
        stream.append(b"y");
        assert_eq!(bytes(&stream, 100 + BLOCK_BYTES as u64 * 3), b"y");
    }
}
