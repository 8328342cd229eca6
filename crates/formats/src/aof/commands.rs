//! The commands of an append-only file: as clients send them, with remarks in between that begin with `#`.

use shoal_protocol::number::parse_i64;
use shoal_protocol::{OwnedRequest, SharedBytes};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The longest line: a remark, or the length of something.
const LINE_MAX_BYTES: usize = 1024;
/// The most words of a command.
const WORDS_MAX: i64 = 1 << 31;
/// The longest word.
const WORD_MAX_BYTES: i64 = 1 << 32;
/// Words from this length on get a block of their own, so that they are not copied again.
const SHARED_FROM_BYTES: usize = 32 * 1024;
/// How many places are reserved for words that have not arrived.
const RESERVED_WORDS: usize = 64;

/// Something that is no command stands at this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedCommand {
    /// Bytes before the command.
    pub offset: u64,
    /// Bytes before the place where something else was expected.
    pub position: u64,
}

impl fmt::Display for MalformedCommand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "malformed command at offset {}", self.offset)
    }
}

impl std::error::Error for MalformedCommand {}

/// Finds commands in bytes as they arrive.
#[derive(Debug, Default)]
pub struct CommandReader {
    buffer: Vec<u8>,
    /// Where the command begins that is not complete yet.
    start: usize,
    /// How far it has been looked at.
    position: usize,
    /// Its words that are still to come, once that is known.
    missing: Option<usize>,
    /// Where its words are.
    words: Vec<Range<usize>>,
    /// Bytes before the buffer.
    offset: u64,
}

impl CommandReader {
    /// A reader behind so many bytes of the file.
    pub fn new(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    /// Takes more bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            let start = std::mem::take(&mut self.start);
            self.offset += start as u64;
            self.buffer.drain(..start);
            self.position -= start;
            for word in &mut self.words {
                *word = word.start - start..word.end - start;
            }
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes of the file before the command that is not complete yet.
    pub fn offset(&self) -> u64 {
        self.offset + self.start as u64
    }

    /// Whether everything that was fed belongs to commands that have been given out.
    pub fn is_at_boundary(&self) -> bool {
        self.start == self.buffer.len()
    }

    /// The next command; `None` if more bytes are needed.
    ///
    /// # Errors
    /// The bytes are no command.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<OwnedRequest>, MalformedCommand> {
        loop {
            match self.missing {
                None => {
                    if !self.read_head()? {
                        return Ok(None);
                    }
                }
                Some(0) => {
                    let request = self.request();
                    self.missing = None;
                    self.words.clear();
                    self.start = self.position;
                    return Ok(Some(request));
                }
                Some(missing) => {
                    if !self.read_word()? {
                        return Ok(None);
                    }
                    self.missing = Some(missing - 1);
                }
            }
        }
    }

    fn malformed(&self) -> MalformedCommand {
        self.malformed_at(self.position)
    }

    fn malformed_at(&self, position: usize) -> MalformedCommand {
        MalformedCommand { offset: self.offset(), position: self.offset + position as u64 }
    }

    /// The line at the position, without its end; and where the next one begins.
    fn line(&self) -> Result<Option<(&[u8], usize)>, MalformedCommand> {
        let rest = &self.buffer[self.position..];
        let window = &rest[..rest.len().min(LINE_MAX_BYTES)];
        match window.iter().position(|byte| *byte == b'\n') {
            Some(length) => {
                let line = &rest[..length];
                let next = self.position + length + 1;
                Ok(Some((line.strip_suffix(b"\r").ok_or(self.malformed())?, next)))
            }
            None if rest.len() >= LINE_MAX_BYTES => Err(self.malformed()),
            None => Ok(None),
        }
    }

    /// Reads a remark or the number of words.
    fn read_head(&mut self) -> Result<bool, MalformedCommand> {
        match self.buffer.get(self.position) {
            None => return Ok(false),
            Some(b'#' | b'*') => {}
            Some(_) => return Err(self.malformed()),
        }
        let Some((line, next)) = self.line()? else { return Ok(false) };
        if let Some(count) = line.strip_prefix(b"*") {
            let count = parse_i64(count).filter(|count| (1..=WORDS_MAX).contains(count));
            let count = count.ok_or(self.malformed())? as usize;
            self.missing = Some(count);
            self.words.reserve(count.min(RESERVED_WORDS));
            self.position = next;
        } else {
            self.position = next;
            self.start = next;
        }
        Ok(true)
    }

    fn read_word(&mut self) -> Result<bool, MalformedCommand> {
        const END_BYTES: usize = 2;
        let Some((line, next)) = self.line()? else { return Ok(false) };
        let length = line.strip_prefix(b"$").and_then(parse_i64);
        let length = length.filter(|length| (0..=WORD_MAX_BYTES).contains(length));
        let end = next + length.ok_or(self.malformed())? as usize;
        if self.buffer.len() < end + END_BYTES {
            return Ok(false);
        }
        if self.buffer[end..end + END_BYTES] != *b"\r\n" {
            return Err(self.malformed_at(end));
        }
        self.words.push(next..end);
        self.position = end + END_BYTES;
        Ok(true)
    }

    fn request(&self) -> OwnedRequest {
        let mut request = OwnedRequest::new::<[&[u8]; 0]>([]);
        for word in &self.words {
            let word = &self.buffer[word.clone()];
            if word.len() >= SHARED_FROM_BYTES {
                let shared: SharedBytes = Arc::new(word.to_vec());
                request.push_shared(&shared);
            } else {
                request.push(word);
            }
        }
        request
    }
}

/// The entry of a fuzz target: the first byte is the length of the pieces, the rest a file.
///
/// # Panics
/// Pieces give something else than the whole.
pub fn fuzz_aof(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let read = |piece: usize| {
        let mut reader = CommandReader::new(0);
        let mut commands = Vec::new();
        for bytes in data.chunks(piece.max(1)) {
            reader.feed(bytes);
            loop {
                match reader.next() {
                    Ok(Some(command)) => {
                        commands.push(command.as_request().iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
                    }
                    Ok(None) => break,
                    Err(error) => return (commands, Some(error)),
                }
            }
        }
        (commands, None)
    };
    assert_eq!(read(data.len()), read(usize::from(first)), "pieces give the same commands as the whole");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(request: &OwnedRequest) -> String {
        let words: Vec<_> =
            request.as_request().iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn commands_are_read_in_pieces() {
        let long = "x".repeat(SHARED_FROM_BYTES);
        let text = format!(
            "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n#TS:1700000000\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{long}\r\n*1\r\n$0\r\n\r\n",
            long.len()
        );
        for piece in [1, 7, 1000, text.len()] {
            let mut reader = CommandReader::new(100);
            let mut commands = Vec::new();
            for bytes in text.as_bytes().chunks(piece) {
                reader.feed(bytes);
                while let Some(request) = reader.next().unwrap() {
                    commands.push(words(&request));
                }
            }
            assert_eq!(commands, ["SELECT 0".to_owned(), format!("SET k {long}"), String::new()]);
            assert!(reader.is_at_boundary());
            assert_eq!(reader.offset(), 100 + text.len() as u64);
        }
    }

    #[test]
    fn the_offset_is_that_of_the_torn_command() {
        let text = b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI";
        let mut reader = CommandReader::new(0);
        reader.feed(text);
        assert!(reader.next().unwrap().is_some());
        assert!(reader.next().unwrap().is_none());
        assert_eq!(reader.offset(), 14);
        assert!(!reader.is_at_boundary());
    }

    #[test]
    fn what_is_no_command_is_refused() {
        let long = "*1".repeat(LINE_MAX_BYTES);
        for text in [
            "PING\r\n",
            "*0\r\n",
            "*x\r\n",
            "*1\n",
            "*1\r\n4\r\nPING\r\n",
            "*1\r\n$-1\r\n",
            "*1\r\n$1\r\nab\r\n",
            &long,
        ] {
            let mut reader = CommandReader::new(0);
            reader.feed(b"*1\r\n$1\r\na\r\n");
            reader.feed(text.as_bytes());
            assert!(reader.next().unwrap().is_some());
            let error = reader.next().err().unwrap();
            assert!(error.offset == 11 && error.position >= 11, "{text}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_safely(parts in prop::collection::vec(0usize..6, 0..12), piece in 1u8..20) {
            const PARTS: [&[u8]; 6] = [b"*1\r\n", b"$1\r\na\r\n", b"*2\r\n", b"#\r\n", b"$0\r\n\r\n", b"x"];
            let mut data = vec![piece];
            data.extend(parts.iter().flat_map(|part| PARTS[*part]));
            fuzz_aof(&data);
        }
    }
}
