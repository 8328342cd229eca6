//! How long a blocking command waits.

use crate::long_double::LongDouble;
use shoal_machine::Now;
use shoal_protocol::{ErrorReply, number};

const NOT_A_FLOAT: ErrorReply = ErrorReply::new("ERR timeout is not a float or out of range");
const NOT_AN_INTEGER: ErrorReply = ErrorReply::new("ERR timeout is not an integer or out of range");
const OUT_OF_RANGE: ErrorReply = ErrorReply::new("ERR timeout is out of range");
const NEGATIVE: ErrorReply = ErrorReply::new("ERR timeout is negative");

/// The milliseconds in a word that gives seconds, rounded up; 0 is for ever.
///
/// # Errors
/// It is no number, negative, or reaches beyond the end of time.
pub(super) fn timeout_ms(now: Now, word: &[u8]) -> Result<u64, ErrorReply> {
    let seconds = LongDouble::parse(word).ok_or(NOT_A_FLOAT)?;
    checked(now, seconds.thousandfold().ok_or(OUT_OF_RANGE)?)
}

/// As [`timeout_ms`], of a word that gives milliseconds.
///
/// # Errors
/// It is no integer, negative, or reaches beyond the end of time.
pub(super) fn timeout_given_in_ms(now: Now, word: &[u8]) -> Result<u64, ErrorReply> {
    checked(now, number::parse_i64(word).ok_or(NOT_AN_INTEGER)?)
}

fn checked(now: Now, timeout_ms: i64) -> Result<u64, ErrorReply> {
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| NEGATIVE)?;
    if timeout_ms > (i64::MAX as u64).saturating_sub(now.unix_ms()) {
        Err(OUT_OF_RANGE)
    } else {
        Ok(timeout_ms)
    }
}
