//! Ids of entries as clients write them.
//!
//! An id is `ms-sequence` or `ms` alone. Numbers are read as `strtoull` reads them, so that leading zeros, spaces and
//! signs are accepted where Redis accepts them.

use crate::types::stream::StreamId;
use shoal_protocol::{ErrorReply, number};

const INVALID_ID: ErrorReply = ErrorReply::new("ERR Invalid stream ID specified as stream command argument");
const INVALID_START: ErrorReply = ErrorReply::new("ERR invalid start ID for the interval");
const INVALID_END: ErrorReply = ErrorReply::new("ERR invalid end ID for the interval");
/// A longer word is no id.
const ID_MAX_BYTES: usize = 127;

/// The id that XADD is asked to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WantedId {
    /// `*`: by the clock.
    Any,
    /// `ms-*`: the next one of this millisecond.
    At(u64),
    /// This one.
    Exactly(StreamId),
}

impl WantedId {
    /// An id for XADD.
    pub(super) fn parse(word: &[u8]) -> Result<Self, ErrorReply> {
        match word {
            b"*" => Ok(Self::Any),
            _ => match word.strip_suffix(b"-*") {
                Some(ms) if word.len() <= ID_MAX_BYTES => unsigned(ms).map(Self::At).ok_or(INVALID_ID),
                _ => strict(word).map(Self::Exactly),
            },
        }
    }
}

/// An id whose sequence is 0 if it is not given.
pub(super) fn strict(word: &[u8]) -> Result<StreamId, ErrorReply> {
    parse(word, 0).ok_or(INVALID_ID)
}

/// As [`strict`]; `-` and `+` stand for the least and the greatest id.
pub(super) fn with_extremes(word: &[u8], missing_sequence: u64) -> Result<StreamId, ErrorReply> {
    match word {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => parse(word, missing_sequence).ok_or(INVALID_ID),
    }
}

/// The first id of an interval; `(` before it leaves it out.
pub(super) fn interval_start(word: &[u8]) -> Result<StreamId, ErrorReply> {
    match word {
        [b'(', excluded @ ..] if !excluded.is_empty() => strict(excluded)?.next().ok_or(INVALID_START),
        _ => with_extremes(word, 0),
    }
}

/// The last id of an interval; `(` before it leaves it out.
pub(super) fn interval_end(word: &[u8]) -> Result<StreamId, ErrorReply> {
    match word {
        [b'(', excluded @ ..] if !excluded.is_empty() => {
            parse(excluded, u64::MAX).ok_or(INVALID_ID)?.previous().ok_or(INVALID_END)
        }
        _ => with_extremes(word, u64::MAX),
    }
}

fn parse(word: &[u8], missing_sequence: u64) -> Option<StreamId> {
    if word.len() > ID_MAX_BYTES {
        return None;
    }
    let Some(dash) = word.iter().position(|byte| *byte == b'-') else {
        return Some(StreamId::new(unsigned(word)?, missing_sequence));
    };
    Some(StreamId::new(unsigned(&word[..dash])?, unsigned(&word[dash + 1..])?))
}

fn unsigned(text: &[u8]) -> Option<u64> {
    if let Some(value) = number::parse_i64(text) {
        return u64::try_from(value).ok();
    }
    let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r'))?;
    let (negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    Some(if negative { value.wrapping_neg() } else { value })
}
