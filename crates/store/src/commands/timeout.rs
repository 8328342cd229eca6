//! How long a blocking command waits.

use crate::long_double::LongDouble;
use shoal_machine::Now;
use shoal_protocol::ErrorReply;

/// The milliseconds in a word that gives seconds, rounded up; 0 is for ever.
///
/// # Errors
/// It is no number, negative, or reaches beyond the end of time.
pub(super) fn timeout_ms(now: Now, word: &[u8]) -> Result<u64, ErrorReply> {
    const NOT_A_FLOAT: ErrorReply = ErrorReply::new("ERR timeout is not a float or out of range");
    const OUT_OF_RANGE: ErrorReply = ErrorReply::new("ERR timeout is out of range");
    const NEGATIVE: ErrorReply = ErrorReply::new("ERR timeout is negative");
    let seconds = LongDouble::parse(word).ok_or(NOT_A_FLOAT)?;
    let timeout_ms = u64::try_from(seconds.thousandfold().ok_or(OUT_OF_RANGE)?).map_err(|_| NEGATIVE)?;
    if timeout_ms > (i64::MAX as u64).saturating_sub(now.unix_ms()) {
        Err(OUT_OF_RANGE)
    } else {
        Ok(timeout_ms)
    }
}
