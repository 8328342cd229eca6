//! Writing replies into a connection's output.
//!
//! ```text
//! Reply ──▶ OutputBuffer:  [sealed block][shared value][sealed block] … [tail ▒▒▒▒]
//!                            ▲ the socket takes bytes here               ▲ replies are written here
//! ```
//!
//! Short replies are bytes in the tail. A large value is not copied: the buffer keeps a reference to it.

use crate::number::DoubleText;
use crate::request::SharedBytes;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;

/// A block of this size is sealed and a new one begun.
const BLOCK_BYTES: usize = 64 * 1024;
/// A shared value of at least this size is referred to, a smaller one copied.
pub const SHARE_FROM_BYTES: usize = 32 * 1024;
/// Capacity that an emptied buffer keeps.
pub const KEPT_BYTES: usize = 4 * 1024;

#[derive(Clone, Debug)]
enum Block {
    Owned(Vec<u8>),
    Shared(SharedBytes),
}

impl Block {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// The bytes that wait to be sent to one client.
#[derive(Clone, Debug, Default)]
pub struct OutputBuffer {
    sealed: VecDeque<Block>,
    sealed_bytes: usize,
    tail: Vec<u8>,
    /// Bytes of the first block that have been sent.
    sent: usize,
    /// How many blocks have ever left the front.
    popped: usize,
}

/// A place in an [`OutputBuffer`]: everything after it can be taken back, or a length put in there later.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    block: usize,
    offset: usize,
}

impl OutputBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.sealed_bytes + self.tail.len() - self.sent
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of blocks that wait, as `CLIENT LIST` shows it.
    pub fn block_count(&self) -> usize {
        self.sealed.len()
    }

    /// Memory held.
    pub fn capacity_bytes(&self) -> usize {
        self.sealed_bytes + self.tail.capacity()
    }

    /// Appends bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        if self.tail.len() >= BLOCK_BYTES {
            self.seal();
        }
    }

    /// Appends a shared value, by reference if it is large.
    pub fn extend_shared(&mut self, bytes: &SharedBytes) {
        if bytes.len() < SHARE_FROM_BYTES {
            self.extend(bytes);
            return;
        }
        self.seal();
        self.sealed_bytes += bytes.len();
        self.sealed.push_back(Block::Shared(bytes.clone()));
    }

    /// Appends everything of `other`, which is empty afterwards.
    pub fn append(&mut self, other: &mut OutputBuffer) {
        let mut skip = std::mem::take(&mut other.sent);
        for block in other.sealed.drain(..) {
            match block {
                Block::Shared(bytes) if skip == 0 => self.extend_shared(&bytes),
                block => self.extend(&block.bytes()[skip..]),
            }
            skip = 0;
        }
        self.extend(&other.tail[skip..]);
        other.clear();
    }

    /// Forgets everything that waits.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The place where the next byte goes.
    pub fn mark(&self) -> Mark {
        Mark { block: self.popped + self.sealed.len(), offset: self.tail.len() }
    }

    /// The beginning of what was written after `mark`; empty if nothing was. Bytes after the mark must not have been sent.
    pub fn written_after(&self, mark: Mark) -> &[u8] {
        let blocks = self.sealed.iter().map(Block::bytes).chain(std::iter::once(self.tail.as_slice()));
        let mut after = blocks.skip(mark.block - self.popped.min(mark.block));
        let first = after.next().and_then(|block| block.get(mark.offset..)).unwrap_or_default();
        if first.is_empty() { after.find(|block| !block.is_empty()).unwrap_or_default() } else { first }
    }

    /// Takes back everything written after `mark`. Bytes after the mark must not have been sent.
    pub fn truncate(&mut self, mark: Mark) {
        while self.popped + self.sealed.len() > mark.block {
            let Some(block) = self.sealed.pop_back() else { break };
            self.sealed_bytes -= block.bytes().len();
            if let Block::Owned(bytes) = block {
                self.tail = bytes;
            } else {
                self.tail.clear();
            }
        }
        self.tail.truncate(mark.offset);
    }

    /// Puts bytes in at `mark`.
    fn insert(&mut self, mark: Mark, bytes: &[u8]) {
        let index = mark.block - self.popped;
        if index == self.sealed.len() {
            self.tail.splice(mark.offset..mark.offset, bytes.iter().copied());
        } else if let Some(Block::Owned(block)) = self.sealed.get_mut(index) {
            block.splice(mark.offset..mark.offset, bytes.iter().copied());
            self.sealed_bytes += bytes.len();
        } else {
            // The mark stood at the start of a tail that was sealed away while empty.
            self.sealed.insert(index, Block::Owned(bytes.to_vec()));
            self.sealed_bytes += bytes.len();
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.sealed_bytes += self.tail.len();
            self.sealed.push_back(Block::Owned(std::mem::take(&mut self.tail)));
        }
    }

    /// The first bytes that wait, if they are in one piece.
    pub fn front(&self) -> &[u8] {
        match self.sealed.front() {
            Some(block) => &block.bytes()[self.sent..],
            None => &self.tail[self.sent..],
        }
    }

    /// Whether [`OutputBuffer::front`] is all that waits.
    pub fn is_contiguous(&self) -> bool {
        self.sealed.is_empty()
    }

    /// What waits, as at most `limit` slices for one vectored write.
    pub fn slices(&self, limit: usize) -> Vec<IoSlice<'_>> {
        let blocks = self.sealed.iter().map(Block::bytes).chain(std::iter::once(self.tail.as_slice()));
        let mut skip = self.sent;
        let mut slices = Vec::new();
        for block in blocks.take(limit) {
            if block.len() > skip {
                slices.push(IoSlice::new(&block[skip..]));
            }
            skip = 0;
        }
        slices
    }

    /// The first `count` bytes have been sent.
    pub fn consume(&mut self, count: usize) {
        self.sent += count;
        while let Some(block) = self.sealed.front() {
            let length = block.bytes().len();
            if self.sent < length {
                return;
            }
            self.sent -= length;
            self.sealed_bytes -= length;
            self.sealed.pop_front();
            self.popped += 1;
        }
        if self.sent >= self.tail.len() {
            self.sent = 0;
            self.tail.clear();
            if self.tail.capacity() > KEPT_BYTES {
                self.tail = Vec::new();
            }
        }
    }

    /// Gives back the memory of an empty buffer.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.tail = Vec::new();
            self.sealed = VecDeque::new();
        }
    }

    /// Everything that waits, copied; for tests and in-process callers.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        for slice in self.slices(usize::MAX) {
            bytes.extend_from_slice(&slice);
        }
        bytes
    }
}

/// The text of an error reply, beginning with its code, without the leading `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply(pub Cow<'static, str>);

impl ErrorReply {
    /// An error with a fixed text.
    pub const fn new(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The code: the first word.
    pub fn code(&self) -> &str {
        self.0.split(' ').next().unwrap_or("")
    }
}

impl fmt::Display for ErrorReply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ErrorReply {}

impl From<&'static str> for ErrorReply {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}

impl From<String> for ErrorReply {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

/// An array, map or set whose length is not known when its elements are written.
#[derive(Debug)]
#[must_use = "the length has to be put in with `finish_…`"]
pub struct Deferred(Mark);

/// Writes one client's replies in its version of the protocol.
#[derive(Debug)]
pub struct Reply<'a> {
    output: &'a mut OutputBuffer,
    resp3: bool,
    error_count: u32,
    last_error_code: Option<Box<str>>,
}

impl<'a> Reply<'a> {
    /// A writer; `resp3` chooses RESP3 over RESP2.
    pub fn new(output: &'a mut OutputBuffer, resp3: bool) -> Self {
        Self { output, resp3, error_count: 0, last_error_code: None }
    }

    /// Whether the client speaks RESP3.
    pub fn is_resp3(&self) -> bool {
        self.resp3
    }

    /// Switches the protocol from the next reply on.
    pub fn set_resp3(&mut self, resp3: bool) {
        self.resp3 = resp3;
    }

    /// How many errors have been written, and the code of the last one.
    pub fn errors(&self) -> (u32, Option<&str>) {
        (self.error_count, self.last_error_code.as_deref())
    }

    /// The buffer behind the writer.
    pub fn output(&mut self) -> &mut OutputBuffer {
        self.output
    }

    /// Bytes that wait for the client.
    pub fn waiting_bytes(&self) -> usize {
        self.output.len()
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.output.extend(b"+OK\r\n");
    }

    /// A simple string. Line ends in it become spaces.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text);
    }

    /// An error. Line ends in it become spaces.
    pub fn error(&mut self, error: &ErrorReply) {
        self.error_count += 1;
        self.last_error_code = Some(error.code().into());
        self.line(b'-', &error.0);
    }

    fn line(&mut self, kind: u8, text: &str) {
        self.output.extend(&[kind]);
        if text.contains(['\r', '\n']) {
            self.output.extend(text.trim_end_matches(['\r', '\n']).replace(['\r', '\n'], " ").as_bytes());
        } else {
            self.output.extend(text.as_bytes());
        }
        self.output.extend(b"\r\n");
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        let tail = &mut self.output.tail;
        tail.push(b'$');
        let mut buffer = itoa::Buffer::new();
        tail.extend_from_slice(buffer.format(bytes.len()).as_bytes());
        tail.extend_from_slice(b"\r\n");
        tail.extend_from_slice(bytes);
        self.output.extend(b"\r\n");
    }

    /// A bulk string that is shared with its owner if it is large.
    pub fn bulk_shared(&mut self, bytes: &SharedBytes) {
        self.header(b'$', bytes.len() as i64);
        self.output.extend_shared(bytes);
        self.output.extend(b"\r\n");
    }

    /// A bulk string that holds a number's decimal form.
    pub fn bulk_integer(&mut self, value: i64) {
        let mut buffer = itoa::Buffer::new();
        self.bulk(buffer.format(value).as_bytes());
    }

    /// A missing bulk string.
    pub fn null(&mut self) {
        self.output.extend(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// A missing array.
    pub fn null_array(&mut self) {
        self.output.extend(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// A truth value: `#t` or `#f`, in RESP2 the integers 1 and 0.
    pub fn boolean(&mut self, value: bool) {
        match (self.resp3, value) {
            (true, true) => self.output.extend(b"#t\r\n"),
            (true, false) => self.output.extend(b"#f\r\n"),
            (false, value) => self.integer(i64::from(value)),
        }
    }

    /// A floating point number in its shortest form; in RESP2 a bulk string.
    pub fn double(&mut self, value: f64) {
        let text = DoubleText::shortest(value);
        self.double_text(text.as_bytes());
    }

    /// A floating point number whose text is known; in RESP2 a bulk string.
    pub fn double_text(&mut self, text: &[u8]) {
        if self.resp3 {
            let tail = &mut self.output.tail;
            tail.push(b',');
            tail.extend_from_slice(text);
            self.output.extend(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// A string with its format of three letters; in RESP2 a bulk string.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        if !self.resp3 {
            self.bulk(text);
            return;
        }
        self.header(b'=', text.len() as i64 + 4);
        self.output.extend(format.as_bytes());
        self.output.extend(b":");
        self.output.extend(text);
        self.output.extend(b"\r\n");
    }

    /// The beginning of an array of `length` elements.
    pub fn array(&mut self, length: usize) {
        self.header(b'*', length as i64);
    }

    /// The beginning of a map of `length` pairs; in RESP2 an array of twice the length.
    pub fn map(&mut self, length: usize) {
        if self.resp3 { self.header(b'%', length as i64) } else { self.array(length * 2) }
    }

    /// The beginning of a set; in RESP2 an array.
    pub fn set(&mut self, length: usize) {
        self.header(if self.resp3 { b'~' } else { b'*' }, length as i64);
    }

    /// The beginning of a push message; in RESP2 an array.
    pub fn push(&mut self, length: usize) {
        self.header(if self.resp3 { b'>' } else { b'*' }, length as i64);
    }

    /// Reserves the place for a length that is known later.
    pub fn deferred(&mut self) -> Deferred {
        Deferred(self.output.mark())
    }

    /// Puts in the length of an array.
    pub fn finish_array(&mut self, deferred: Deferred, length: usize) {
        self.finish(&deferred, b'*', length);
    }

    /// Puts in the length of a map, in pairs.
    pub fn finish_map(&mut self, deferred: Deferred, length: usize) {
        let (kind, length) = if self.resp3 { (b'%', length) } else { (b'*', length * 2) };
        self.finish(&deferred, kind, length);
    }

    /// Puts in the length of a set.
    pub fn finish_set(&mut self, deferred: Deferred, length: usize) {
        self.finish(&deferred, if self.resp3 { b'~' } else { b'*' }, length);
    }

    fn finish(&mut self, deferred: &Deferred, kind: u8, length: usize) {
        let mut header = vec![kind];
        header.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        header.extend_from_slice(b"\r\n");
        self.output.insert(deferred.0, &header);
    }

    fn header(&mut self, kind: u8, value: i64) {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(value).as_bytes();
        let tail = &mut self.output.tail;
        tail.push(kind);
        tail.extend_from_slice(digits);
        tail.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn written(resp3: bool, write: impl FnOnce(&mut Reply)) -> String {
        let mut output = OutputBuffer::new();
        write(&mut Reply::new(&mut output, resp3));
        String::from_utf8(output.to_vec()).unwrap()
    }

    #[test]
    fn both_protocols() {
        type Case = (fn(&mut Reply), &'static str, &'static str);
        let cases: &[Case] = &[
            (|reply| reply.ok(), "+OK\r\n", "+OK\r\n"),
            (|reply| reply.integer(-7), ":-7\r\n", ":-7\r\n"),
            (|reply| reply.bulk(b"ab"), "$2\r\nab\r\n", "$2\r\nab\r\n"),
            (|reply| reply.null(), "$-1\r\n", "_\r\n"),
            (|reply| reply.null_array(), "*-1\r\n", "_\r\n"),
            (|reply| reply.boolean(true), ":1\r\n", "#t\r\n"),
            (|reply| reply.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (|reply| reply.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
            (|reply| reply.map(2), "*4\r\n", "%2\r\n"),
            (|reply| reply.set(2), "*2\r\n", "~2\r\n"),
            (|reply| reply.push(2), "*2\r\n", ">2\r\n"),
            (|reply| reply.verbatim("txt", b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (|reply| reply.error(&"ERR a\r\nb".into()), "-ERR a  b\r\n", "-ERR a  b\r\n"),
        ];
        for (write, resp2, resp3) in cases {
            assert_eq!(written(false, write), *resp2);
            assert_eq!(written(true, write), *resp3);
        }
    }

    #[test]
    fn deferred_lengths_and_marks_across_blocks() {
        let large: SharedBytes = Arc::new(vec![b'x'; SHARE_FROM_BYTES]);
        let mut output = OutputBuffer::new();
        let mut reply = Reply::new(&mut output, false);
        let outer = reply.deferred();
        reply.bulk_shared(&large);
        let inner = reply.deferred();
        reply.bulk(&vec![b'y'; BLOCK_BYTES]);
        reply.finish_array(inner, 1);
        let mark = reply.output().mark();
        reply.bulk(b"taken back");
        reply.bulk_shared(&large);
        reply.output().truncate(mark);
        reply.finish_array(outer, 2);
        let bytes = output.to_vec();
        assert_eq!(bytes.len(), output.len());
        assert!(bytes.starts_with(b"*2\r\n$32768\r\nxxx"));
        let middle = 4 + 8 + SHARE_FROM_BYTES + 2;
        assert!(bytes[middle..].starts_with(b"*1\r\n$65536\r\nyyy"));
        assert!(bytes.ends_with(b"yy\r\n"));
    }

    #[test]
    fn a_deferred_length_in_front_of_a_shared_value() {
        let large: SharedBytes = Arc::new(vec![b'x'; SHARE_FROM_BYTES]);
        let mut output = OutputBuffer::new();
        let mut reply = Reply::new(&mut output, false);
        let deferred = reply.deferred();
        reply.output().extend_shared(&large);
        reply.finish_array(deferred, 1);
        assert!(output.to_vec().starts_with(b"*1\r\nxx"));
        assert_eq!(output.len(), SHARE_FROM_BYTES + 4);
    }

    #[test]
    fn consuming_in_any_steps_gives_the_same_bytes() {
        let large: SharedBytes = Arc::new((0..100_000u32).map(|index| index as u8).collect());
        for step in [1usize, 7, 4096, 1_000_000] {
            let mut output = OutputBuffer::new();
            output.extend(b"head");
            output.extend_shared(&large);
            output.extend(b"tail");
            let expected = output.to_vec();
            let mut taken = Vec::new();
            while !output.is_empty() {
                let first: Vec<u8> =
                    output.slices(2).iter().flat_map(|slice| slice.to_vec()).take(step).collect();
                output.consume(first.len());
                taken.extend(first);
            }
            assert_eq!(taken, expected);
        }
    }
}
