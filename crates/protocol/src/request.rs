//! Reading requests from a client connection.
//!
//! ```text
//! bytes of the socket ──▶ RequestReader::space ──▶ ┌────────── buffer ─────────────┐
//!                                                  │ done │ request │ not yet read │
//!                                                  └──────┴─────────┴──────────────┘
//! an argument of 32 KiB or more ──────────────────▶ a block of its own, shared, never copied again
//! ```
//!
//! The reader finds the frames in place: a [`Request`] is a list of ranges into the buffer. It keeps its position
//! between calls, so a request that arrives in a thousand pieces is still looked at only once, and the same input
//! gives the same requests however it is split.

use crate::quoting;
use memchr::memchr;
use std::fmt;
use std::sync::Arc;

/// Bytes that several owners share: a large argument, a value, a reply.
pub type SharedBytes = Arc<Vec<u8>>;

/// The longest inline request, and the longest length line.
pub const INLINE_MAX_BYTES: usize = 64 * 1024;
/// An argument of this size or more gets a block of its own.
pub const LARGE_ARGUMENT_BYTES: usize = 32 * 1024;
/// How much space is offered for one read.
pub const READ_CHUNK_BYTES: usize = 16 * 1024;
/// The most that a large argument's block grows ahead of the bytes that have arrived.
const LARGE_ARGUMENT_STEP_BYTES: usize = 1024 * 1024;
/// Arguments that a client which has not authenticated may send.
const UNAUTHENTICATED_MAX_ARGUMENTS: i64 = 10;
/// Bytes in an argument of a client that has not authenticated.
const UNAUTHENTICATED_MAX_BULK_BYTES: i64 = 16384;
/// How many argument slots are reserved before the arguments have arrived.
const RESERVED_ARGUMENTS: usize = 1024;

/// Words of a request that [`RequestReader::upcoming`] shows.
pub const UPCOMING_WORDS: usize = 3;
/// The first words after a request's name.
pub type UpcomingWords<'a> = [&'a [u8]; UPCOMING_WORDS];

/// Limits on what a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `proto-max-bulk-len`.
    pub max_bulk_bytes: i64,
    /// `client-query-buffer-limit`.
    pub max_buffer_bytes: usize,
    /// False applies the narrow limits for clients that have not authenticated.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bulk_bytes: 512 * 1024 * 1024, max_buffer_bytes: 1024 * 1024 * 1024, authenticated: true }
    }
}

/// What is wrong with the input. The connection cannot go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// An inline request without an end.
    InlineTooLong,
    /// A quote that does not close.
    UnbalancedQuotes,
    /// The line with the number of arguments has no end.
    CountLineTooLong,
    /// The number of arguments is no number or out of range.
    InvalidCount,
    /// Too many arguments before authentication.
    UnauthenticatedCount,
    /// The line with an argument's length has no end.
    LengthLineTooLong,
    /// An argument that does not begin with `$`.
    ExpectedDollar(u8),
    /// An argument's length is no number or out of range.
    InvalidLength,
    /// Too long an argument before authentication.
    UnauthenticatedLength,
    /// More bytes wait than `client-query-buffer-limit` allows; the connection is closed without a reply.
    BufferLimit,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::InlineTooLong => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::CountLineTooLong => "too big mbulk count string",
            Self::InvalidCount => "invalid multibulk length",
            Self::UnauthenticatedCount => "unauthenticated multibulk length",
            Self::LengthLineTooLong => "too big bulk count string",
            Self::ExpectedDollar(byte) => {
                return write!(formatter, "Protocol error: expected '$', got '{}'", char::from(*byte));
            }
            Self::InvalidLength => "invalid bulk length",
            Self::UnauthenticatedLength => "unauthenticated bulk length",
            Self::BufferLimit => "query buffer limit exceeded",
        };
        write!(formatter, "Protocol error: {text}")
    }
}

impl std::error::Error for ProtocolError {}

/// Where an argument's bytes are.
#[derive(Clone, Debug)]
enum Place {
    /// A range of the buffer, relative to the start of the request.
    Range { start: usize, end: usize },
    /// A block of its own.
    Large(SharedBytes),
}

/// A request whose arguments are slices of the reader's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    buffer: &'a [u8],
    places: &'a [Place],
}

impl<'a> Request<'a> {
    /// The number of words, the command's name included. Never zero.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Word `index`; empty if there is none.
    pub fn argument(&self, index: usize) -> &'a [u8] {
        match self.places.get(index) {
            Some(&Place::Range { start, end }) => &self.buffer[start..end],
            Some(Place::Large(bytes)) => bytes,
            None => &[],
        }
    }

    /// Word `index` as a shared block, if it came in one of its own: it can be kept without a copy.
    pub fn shared(&self, index: usize) -> Option<&'a SharedBytes> {
        match self.places.get(index) {
            Some(Place::Large(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// All words in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let request = *self;
        (0..request.places.len()).map(move |index| request.argument(index))
    }
}

/// Words that outlive the reader's buffer: queued in MULTI, replayed from a script, made by a test.
#[derive(Clone, Debug)]
pub struct OwnedRequest {
    buffer: Vec<u8>,
    places: Vec<Place>,
}

impl OwnedRequest {
    /// Copies these words.
    pub fn new<I>(words: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut owned = Self { buffer: Vec::new(), places: Vec::new() };
        for word in words {
            owned.push(word.as_ref());
        }
        owned
    }

    /// Copies a request; large arguments are shared, not copied.
    pub fn copy(request: &Request<'_>) -> Self {
        let mut owned = Self { buffer: Vec::new(), places: Vec::with_capacity(request.len()) };
        for index in 0..request.len() {
            match request.shared(index) {
                Some(bytes) => owned.places.push(Place::Large(bytes.clone())),
                None => owned.push(request.argument(index)),
            }
        }
        owned
    }

    /// Appends a word.
    pub fn push(&mut self, word: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(word);
        self.places.push(Place::Range { start, end: self.buffer.len() });
    }

    /// Appends a word that is shared, not copied.
    pub fn push_shared(&mut self, word: &SharedBytes) {
        self.places.push(Place::Large(word.clone()));
    }

    /// The words as a request.
    pub fn as_request(&self) -> Request<'_> {
        Request { buffer: &self.buffer, places: &self.places }
    }

    /// Bytes held.
    pub fn size_bytes(&self) -> usize {
        self.buffer.capacity()
            + self.places.capacity() * size_of::<Place>()
            + self
                .places
                .iter()
                .map(|place| if let Place::Large(bytes) = place { bytes.len() } else { 0 })
                .sum::<usize>()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between requests.
    Idle,
    /// Inside a multibulk request: arguments still to come.
    Arguments { remaining: usize },
    /// Inside an argument of this length whose bytes are in the buffer.
    Body { remaining: usize, length: usize },
    /// Inside an argument of this length that has a block of its own.
    LargeBody { remaining: usize, length: usize },
    /// A large argument is complete but for its line end.
    LargeEnd { remaining: usize },
}

/// Finds requests in the bytes of one connection.
#[derive(Debug)]
pub struct RequestReader {
    /// Everything up to `filled` has arrived; the rest is space.
    buffer: Vec<u8>,
    filled: usize,
    /// Where the current request begins.
    start: usize,
    /// How far the current request has been looked at, relative to `start`.
    position: usize,
    state: State,
    places: Vec<Place>,
    large: Vec<u8>,
    /// The request that `next` returned last still occupies the buffer.
    complete: bool,
    inline: Vec<u8>,
    /// Bytes of the words of the current request that are complete.
    word_bytes: usize,
    /// The buffer is one that [`RequestReader::lend`] brought.
    is_lent: bool,
}

impl Default for RequestReader {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestReader {
    /// A reader without a buffer; it gets one with the first bytes.
    pub const fn new() -> Self {
        Self {
            buffer: Vec::new(),
            filled: 0,
            start: 0,
            position: 0,
            state: State::Idle,
            places: Vec::new(),
            large: Vec::new(),
            complete: false,
            inline: Vec::new(),
            word_bytes: 0,
            is_lent: false,
        }
    }

    /// Space for the next bytes of the socket. Call [`RequestReader::advance`] with how many came.
    pub fn space(&mut self) -> &mut [u8] {
        self.release();
        if let State::LargeBody { length, .. } = self.state {
            let have = self.large.len();
            // `filled` bytes of the block are counted by `large_filled`; see `advance`.
            let target = length.min(have.max(self.position_in_large() + LARGE_ARGUMENT_STEP_BYTES));
            if self.large.len() < target {
                self.large.resize(target, 0);
            }
            let filled = self.position_in_large();
            return &mut self.large[filled..];
        }
        if self.start > 0
            && (self.start == self.filled || self.buffer.len() - self.filled < READ_CHUNK_BYTES / 4)
        {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.filled < READ_CHUNK_BYTES / 4 {
            let wanted = (self.filled + READ_CHUNK_BYTES).max(self.buffer.len() * 2);
            self.buffer.resize(wanted, 0);
        }
        &mut self.buffer[self.filled..]
    }

    /// `count` bytes have been written to the space.
    pub fn advance(&mut self, count: usize) {
        if matches!(self.state, State::LargeBody { .. }) {
            self.position += count;
        } else {
            self.filled = (self.filled + count).min(self.buffer.len());
        }
    }

    /// Appends bytes, for callers that have them already.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.space();
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            self.advance(count);
            bytes = &bytes[count..];
            if let State::LargeBody { length, .. } = self.state {
                if self.position_in_large() < length {
                    continue;
                }
                self.finish_large();
            }
        }
    }

    /// Takes the last request back: [`RequestReader::next`] will give it again.
    pub fn put_back(&mut self) {
        if !self.complete {
            return;
        }
        self.complete = false;
        if self.buffer.get(self.start) == Some(&b'*') {
            self.state = State::Arguments { remaining: 0 };
        } else {
            self.places.clear();
            self.position = 0;
        }
    }

    /// Shows the first words after the name of each request that waits, `limit` requests at the most: probably a key and
    /// what is looked for in its value, whose places in memory can be asked for early. Requests without any are left out;
    /// words that a request does not have are empty. Stops at anything out of the ordinary.
    pub fn upcoming<'a>(&'a self, limit: usize, mut visit: impl FnMut(UpcomingWords<'a>)) {
        let skip = if self.complete { self.position } else { 0 };
        if self.state != State::Idle {
            return;
        }
        let mut rest = &self.buffer[self.start + skip..self.filled];
        for _ in 0..limit {
            let Some((count, mut at)) = short_line(rest, b'*') else { return };
            let mut words: UpcomingWords<'a> = [&[]; UPCOMING_WORDS];
            for index in 0..count {
                let Some((length, line)) = rest.get(at..).and_then(|line| short_line(line, b'$')) else {
                    return;
                };
                let Some(word) = rest.get(at + line..at + line + length) else { return };
                if let Some(place) = index.checked_sub(1).and_then(|index: usize| words.get_mut(index)) {
                    *place = word;
                }
                at += line + length + 2;
                if at > rest.len() {
                    return;
                }
            }
            if count > 1 {
                visit(words);
            }
            rest = &rest[at..];
        }
    }

    /// Bytes that wait to become requests, and the space held for them.
    pub fn buffered_bytes(&self) -> usize {
        let large = if matches!(self.state, State::LargeBody { .. }) { self.position } else { 0 };
        self.filled - self.start + large
    }

    /// Bytes of words that have arrived, and of what has not been looked at yet: lengths of words that are complete do not
    /// count.
    pub fn waiting_bytes(&self) -> usize {
        let unread = match self.state {
            // The buffer holds only what stands before the word.
            State::LargeBody { .. } => self.position,
            _ => self.filled - self.start - self.position,
        };
        self.word_bytes + unread
    }

    /// Space held for more bytes, but for a lent buffer.
    pub fn free_bytes(&self) -> usize {
        let buffer = if self.is_lent { 0 } else { self.buffer.len() - self.filled };
        buffer + self.large.len().saturating_sub(self.position)
    }

    /// Memory held.
    pub fn capacity_bytes(&self) -> usize {
        self.buffer.capacity() + self.large.capacity() + self.places.capacity() * size_of::<Place>()
    }

    /// Whether part of a request has arrived.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
            && (self.filled == self.start || self.complete && self.start + self.position == self.filled)
    }

    /// Lends a buffer to a reader that holds little, so that connections need none of their own while they wait. The
    /// request that was returned last is gone.
    pub fn lend(&mut self, buffer: &mut Vec<u8>) {
        self.release();
        let rest = self.start..self.filled;
        if buffer.is_empty() || rest.len() > buffer.len() / 4 {
            return;
        }
        buffer[..rest.len()].copy_from_slice(&self.buffer[rest.clone()]);
        self.buffer = std::mem::take(buffer);
        self.filled = rest.len();
        self.start = 0;
        self.is_lent = true;
    }

    /// Whether a large argument is on its way: further reads go straight to its place.
    pub fn is_in_large_argument(&self) -> bool {
        matches!(self.state, State::LargeBody { .. })
    }

    /// Gives the lent buffer back. What is left of an unfinished request moves to a buffer of its own size; a buffer of the
    /// reader's own in which nothing is left goes.
    pub fn give_back(&mut self, buffer: &mut Vec<u8>) {
        self.release();
        if self.is_lent && buffer.is_empty() {
            self.is_lent = false;
            let rest = self.buffer[self.start..self.filled].to_vec();
            std::mem::swap(&mut self.buffer, buffer);
            self.filled = rest.len();
            self.start = 0;
            self.buffer = rest;
        } else if self.start == self.filled && self.state == State::Idle {
            self.filled = 0;
            self.start = 0;
            self.buffer = Vec::new();
        }
        if self.state == State::Idle && self.places.capacity() > RESERVED_ARGUMENTS {
            self.places = Vec::new();
        }
    }

    /// The next request, if one is complete. The one before is gone then.
    ///
    /// # Errors
    /// The input breaks the protocol or a limit; nothing more can be read from this connection.
    pub fn next(&mut self, limits: &Limits) -> Result<Option<Request<'_>>, ProtocolError> {
        self.release();
        if self.take_whole(limits) {
            let end = self.start + self.position;
            return Ok(Some(Request { buffer: &self.buffer[self.start..end], places: &self.places }));
        }
        loop {
            match self.state {
                State::Idle => {
                    if self.start == self.filled {
                        return Ok(None);
                    }
                    if self.buffer[self.start] == b'*' {
                        if !self.read_count(limits)? {
                            return self.check_buffered(limits);
                        }
                        continue;
                    }
                    return match self.read_inline()? {
                        Inline::Incomplete => self.check_buffered(limits),
                        Inline::Empty => continue,
                        Inline::Request => Ok(Some(Request { buffer: &self.inline, places: &self.places })),
                    };
                }
                State::Arguments { remaining: 0 } => {
                    self.state = State::Idle;
                    self.complete = true;
                    let end = self.start + self.position;
                    return Ok(Some(Request { buffer: &self.buffer[self.start..end], places: &self.places }));
                }
                State::Arguments { remaining } => {
                    if !self.read_length(remaining, limits)? {
                        return self.check_buffered(limits);
                    }
                }
                State::Body { remaining, length } => {
                    let end = self.position + length;
                    if self.start + end + 2 > self.filled {
                        return self.check_buffered(limits);
                    }
                    self.places.push(Place::Range { start: self.position, end });
                    self.word_bytes += length;
                    self.position = end + 2;
                    self.state = State::Arguments { remaining: remaining - 1 };
                }
                State::LargeBody { length, .. } => {
                    if self.position_in_large() < length {
                        return Ok(None);
                    }
                    self.finish_large();
                }
                State::LargeEnd { remaining } => {
                    if self.start + self.position + 2 > self.filled {
                        return Ok(None);
                    }
                    self.position += 2;
                    self.state = State::Arguments { remaining: remaining - 1 };
                }
            }
        }
    }

    /// Takes a request that is here as a whole and has nothing out of the ordinary, which most are. False leaves everything to
    /// the slower way, which then goes on from where it stops.
    #[inline]
    fn take_whole(&mut self, limits: &Limits) -> bool {
        let is_at_begin = self.state == State::Idle && self.position == 0;
        if !is_at_begin || !limits.authenticated || !self.places.is_empty() {
            return false;
        }
        let rest = &self.buffer[self.start..self.filled];
        let Some((count, mut at)) = short_line(rest, b'*') else { return false };
        if count == 0 || count > RESERVED_ARGUMENTS {
            return false;
        }
        let max_bytes = limits.max_bulk_bytes.clamp(0, LARGE_ARGUMENT_BYTES as i64 - 1) as usize;
        let mut word_bytes = 0;
        self.places.reserve(count);
        for _ in 0..count {
            let word = rest.get(at..).and_then(|line| short_line(line, b'$'));
            let Some((length, line)) = word.filter(|&(length, _)| length <= max_bytes) else { break };
            let start = at + line;
            let end = start + length;
            if end + 2 > rest.len() {
                break;
            }
            self.places.push(Place::Range { start, end });
            word_bytes += length;
            at = end + 2;
        }
        if self.places.len() < count {
            self.places.clear();
            return false;
        }
        self.position = at;
        self.word_bytes = word_bytes;
        self.complete = true;
        true
    }

    fn check_buffered(&self, limits: &Limits) -> Result<Option<Request<'_>>, ProtocolError> {
        if self.buffered_bytes() > limits.max_buffer_bytes {
            Err(ProtocolError::BufferLimit)
        } else {
            Ok(None)
        }
    }

    /// Forgets the request that `next` returned last; what is buffered then has not been returned yet.
    pub fn release(&mut self) {
        if self.complete {
            self.complete = false;
            self.start += self.position;
            self.position = 0;
            self.word_bytes = 0;
            self.places.clear();
            if self.start == self.filled {
                self.start = 0;
                self.filled = 0;
            }
        }
    }

    /// In `LargeBody` the position counts the bytes of the block: the buffer is empty then.
    fn position_in_large(&self) -> usize {
        self.position
    }

    /// A line without its end, from `position` on; `None` if it has not ended yet.
    fn line(&self, too_long: ProtocolError) -> Result<Option<(usize, usize)>, ProtocolError> {
        let from = self.start + self.position;
        match memchr(b'\r', &self.buffer[from..self.filled]) {
            Some(length) if from + length + 1 < self.filled => Ok(Some((from, from + length))),
            None if self.filled - from > INLINE_MAX_BYTES => Err(too_long),
            _ => Ok(None),
        }
    }

    /// A line of a number that begins with `kind`, from `position` on, and where the next line begins; `None` if it has not
    /// ended yet. The number is `None` if it is none.
    #[inline]
    fn number_line(
        &self,
        kind: u8,
        too_long: ProtocolError,
    ) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
        let from = self.start + self.position;
        if let Some((number, length)) = short_line(&self.buffer[from..self.filled], kind)
            && from + length <= self.filled
        {
            return Ok(Some((Some(number as i64), self.position + length)));
        }
        let Some((from, to)) = self.line(too_long)? else { return Ok(None) };
        // An empty line has not even a kind.
        let digits = self.buffer.get(from + 1..to);
        Ok(Some((digits.and_then(crate::number::parse_i64), to + 2 - self.start)))
    }

    fn read_count(&mut self, limits: &Limits) -> Result<bool, ProtocolError> {
        let Some((count, next)) = self.number_line(b'*', ProtocolError::CountLineTooLong)? else {
            return Ok(false);
        };
        let count = count.filter(|&count| count <= i64::from(i32::MAX)).ok_or(ProtocolError::InvalidCount)?;
        if !limits.authenticated && count > UNAUTHENTICATED_MAX_ARGUMENTS {
            return Err(ProtocolError::UnauthenticatedCount);
        }
        self.position = next;
        if count <= 0 {
            self.start += self.position;
            self.position = 0;
            return Ok(true);
        }
        let count = count as usize;
        self.places.reserve(count.min(RESERVED_ARGUMENTS));
        self.state = State::Arguments { remaining: count };
        Ok(true)
    }

    fn read_length(&mut self, remaining: usize, limits: &Limits) -> Result<bool, ProtocolError> {
        let Some((length, next)) = self.number_line(b'$', ProtocolError::LengthLineTooLong)? else {
            return Ok(false);
        };
        let kind = self.buffer[self.start + self.position];
        if kind != b'$' {
            return Err(ProtocolError::ExpectedDollar(kind));
        }
        let length = length
            .filter(|&length| length >= 0 && length <= limits.max_bulk_bytes)
            .ok_or(ProtocolError::InvalidLength)?;
        if !limits.authenticated && length > UNAUTHENTICATED_MAX_BULK_BYTES {
            return Err(ProtocolError::UnauthenticatedLength);
        }
        self.position = next;
        let length = length as usize;
        self.state = State::Body { remaining, length };
        if length >= LARGE_ARGUMENT_BYTES {
            self.begin_large(remaining, length);
        }
        Ok(true)
    }

    /// Moves what has arrived of a large argument into a block of its own, unless all of it is here already.
    fn begin_large(&mut self, remaining: usize, length: usize) {
        let from = self.start + self.position;
        let arrived = (self.filled - from).min(length);
        let mut block = Vec::with_capacity(length.min(arrived + LARGE_ARGUMENT_STEP_BYTES));
        block.extend_from_slice(&self.buffer[from..from + arrived]);
        // The words before it stay where they are; what follows it moves up behind them.
        self.buffer.copy_within(from + arrived..self.filled, from);
        self.filled -= arrived;
        self.large = block;
        if arrived == length {
            self.word_bytes += length;
            self.places.push(Place::Large(Arc::new(std::mem::take(&mut self.large))));
            self.state = State::LargeEnd { remaining };
        } else {
            self.places.push(Place::Range { start: self.position, end: self.position });
            self.state = State::LargeBody { remaining, length };
            self.position = arrived;
        }
    }

    fn finish_large(&mut self) {
        let State::LargeBody { remaining, length } = self.state else { return };
        self.large.truncate(length);
        self.word_bytes += length;
        let mut block = std::mem::take(&mut self.large);
        block.shrink_to_fit();
        if let Some(place) = self.places.last_mut() {
            if let Place::Range { start, .. } = *place {
                self.position = start;
            }
            *place = Place::Large(Arc::new(block));
        }
        self.state = State::LargeEnd { remaining };
    }

    fn read_inline(&mut self) -> Result<Inline, ProtocolError> {
        let waiting = &self.buffer[self.start..self.filled];
        let Some(length) = memchr(b'\n', waiting) else {
            return if waiting.len() > INLINE_MAX_BYTES {
                Err(ProtocolError::InlineTooLong)
            } else {
                Ok(Inline::Incomplete)
            };
        };
        let line = waiting[..length].strip_suffix(b"\r").unwrap_or(&waiting[..length]);
        let words = quoting::split_arguments(line).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        self.position = length + 1;
        self.complete = true;
        if words.is_empty() {
            self.release();
            return Ok(Inline::Empty);
        }
        self.inline.clear();
        for word in words {
            let start = self.inline.len();
            self.inline.extend_from_slice(&word);
            self.places.push(Place::Range { start, end: self.inline.len() });
        }
        Ok(Inline::Request)
    }
}

/// A line of `kind` and a plain number of at most seven digits: the number, and where the next line begins.
#[inline]
fn short_line(bytes: &[u8], kind: u8) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte - b'0');
    match *bytes {
        [first, ones @ b'0'..=b'9', b'\r', _, ..] if first == kind => Some((digit(ones), 4)),
        [first, tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', _, ..] if first == kind => {
            Some((digit(tens) * 10 + digit(ones), 5))
        }
        _ => longer_line(bytes, kind),
    }
}

fn longer_line(bytes: &[u8], kind: u8) -> Option<(usize, usize)> {
    const DIGITS_MAX: usize = 7;
    if bytes.first() != Some(&kind) {
        return None;
    }
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().skip(1).take(DIGITS_MAX + 1) {
        match byte {
            // Not with a zero in front: that is for who takes a closer look.
            b'0'..=b'9' if index == 1 || value > 0 => value = value * 10 + usize::from(byte - b'0'),
            b'\r' if index > 1 => return Some((value, index + 2)),
            _ => return None,
        }
    }
    None
}

enum Inline {
    Incomplete,
    Empty,
    Request,
}

#[cfg(test)]
mod tests;
