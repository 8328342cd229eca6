//! Points in time at which keys expire, as commands give them.

use crate::call::Call;
use shoal_machine::Now;
use shoal_protocol::{ErrorReply, errors, number};

/// How an option states an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpiryUnit {
    /// `EX`: seconds from now.
    Seconds,
    /// `PX`: milliseconds from now.
    Milliseconds,
    /// `EXAT`: seconds since 1970.
    UnixSeconds,
    /// `PXAT`: milliseconds since 1970.
    UnixMilliseconds,
}

impl ExpiryUnit {
    /// The unit that an option's word names.
    pub(super) fn from_option(word: &[u8]) -> Option<Self> {
        const OPTIONS: [(&[u8], ExpiryUnit); 4] = [
            (b"EX", ExpiryUnit::Seconds),
            (b"PX", ExpiryUnit::Milliseconds),
            (b"EXAT", ExpiryUnit::UnixSeconds),
            (b"PXAT", ExpiryUnit::UnixMilliseconds),
        ];
        OPTIONS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|&(_, unit)| unit)
    }

    /// Whether the number is a point in time, not a distance from now.
    pub(super) fn is_absolute(self) -> bool {
        matches!(self, Self::UnixSeconds | Self::UnixMilliseconds)
    }

    fn is_seconds(self) -> bool {
        matches!(self, Self::Seconds | Self::UnixSeconds)
    }

    /// Where the number counts from.
    fn base_ms(self, now: Now) -> i64 {
        if self.is_absolute() { 0 } else { now.unix_ms() as i64 }
    }

    /// The milliseconds since 1970 that `number` means; `None` if that is beyond 64 bits.
    pub(super) fn to_unix_ms(self, number: i64, now: Now) -> Option<i64> {
        let milliseconds = if self.is_seconds() { number.checked_mul(1000)? } else { number };
        milliseconds.checked_add(self.base_ms(now))
    }
}

/// An expiry of SET and its kin.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpiryArgument<'q> {
    /// What the number means.
    pub(super) unit: ExpiryUnit,
    /// The number.
    pub(super) number: &'q [u8],
}

impl ExpiryArgument<'_> {
    /// The point in time, in milliseconds since 1970; it must be above zero.
    ///
    /// # Errors
    /// It is no number, not positive, or beyond 64 bits. `command` is named in the text.
    pub(super) fn to_unix_ms(self, now: Now, command: &str) -> Result<u64, ErrorReply> {
        let number = number::parse_i64(self.number).ok_or(errors::NOT_AN_INTEGER)?;
        let unix_ms = if number > 0 { self.unit.to_unix_ms(number, now) } else { None };
        unix_ms.and_then(|at| u64::try_from(at).ok()).ok_or_else(|| errors::invalid_expire(command))
    }
}

/// Whether a key that is given this expiry is to be deleted at once: on a primary, if it has passed. A replica, or a
/// primary that loads a file, keeps the key and waits for the deletion to be told.
pub(super) fn is_already_past(call: &Call<'_, '_>, unix_ms: i64) -> bool {
    unix_ms <= call.now.unix_ms() as i64 && !call.access.on_replica && !call.access.from_primary
}
