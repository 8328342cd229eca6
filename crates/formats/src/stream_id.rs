//! The ids of entries of streams: a time and a sequence number.

use std::fmt;
use std::ops::Deref;

/// Bytes of an id.
pub const ID_BYTES: usize = 16;

/// The id of a stream's entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds since 1970.
    pub ms: u64,
    /// Tells entries of the same millisecond apart.
    pub sequence: u64,
}

impl StreamId {
    /// The least id, which no entry has.
    pub const MIN: Self = Self { ms: 0, sequence: 0 };
    /// The greatest id.
    pub const MAX: Self = Self { ms: u64::MAX, sequence: u64::MAX };

    /// The id with these parts.
    pub const fn new(ms: u64, sequence: u64) -> Self {
        Self { ms, sequence }
    }

    /// The id after this one; none after [`StreamId::MAX`].
    pub fn next(self) -> Option<Self> {
        self.as_number().checked_add(1).map(Self::of_number)
    }

    /// The id before this one; none before [`StreamId::MIN`].
    pub fn previous(self) -> Option<Self> {
        self.as_number().checked_sub(1).map(Self::of_number)
    }

    /// Both parts as one number, in the order of ids.
    pub const fn as_number(self) -> u128 {
        (self.ms as u128) << 64 | self.sequence as u128
    }

    /// See [`StreamId::as_number`].
    pub const fn of_number(number: u128) -> Self {
        Self { ms: (number >> 64) as u64, sequence: number as u64 }
    }

    /// The id that these bytes are, as nodes' keys and listings of pending entries keep it.
    pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        Self::of_number(u128::from_be_bytes(bytes))
    }

    /// See [`StreamId::from_bytes`].
    pub const fn to_bytes(self) -> [u8; ID_BYTES] {
        self.as_number().to_be_bytes()
    }

    /// How far this id is from `base`, part by part, as nodes keep it: the differences wrap around.
    pub const fn delta_from(self, base: Self) -> (i64, i64) {
        (self.ms.wrapping_sub(base.ms) as i64, self.sequence.wrapping_sub(base.sequence) as i64)
    }

    /// The id that is so far from `base`.
    pub const fn at_delta(base: Self, ms: i64, sequence: i64) -> Self {
        Self { ms: base.ms.wrapping_add(ms as u64), sequence: base.sequence.wrapping_add(sequence as u64) }
    }

    /// As clients see it: `ms-sequence`.
    pub fn text(self) -> IdText {
        self.joined(b'-')
    }

    /// Both parts in decimal with `separator` between.
    pub fn joined(self, separator: u8) -> IdText {
        let mut text = IdText { bytes: [0; ID_TEXT_MAX_BYTES], length: 0 };
        text.push(itoa::Buffer::new().format(self.ms).as_bytes());
        text.push(&[separator]);
        text.push(itoa::Buffer::new().format(self.sequence).as_bytes());
        text
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.ms, self.sequence)
    }
}

/// Two numbers of twenty digits, and what separates them.
const ID_TEXT_MAX_BYTES: usize = 41;

/// An id as text.
#[derive(Clone, Copy, Debug)]
pub struct IdText {
    bytes: [u8; ID_TEXT_MAX_BYTES],
    length: u8,
}

impl IdText {
    fn push(&mut self, bytes: &[u8]) {
        let start = usize::from(self.length);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len() as u8;
    }
}

impl Deref for IdText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl AsRef<[u8]> for IdText {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
