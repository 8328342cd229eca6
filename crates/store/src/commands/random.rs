//! What SRANDMEMBER, HRANDFIELD and ZRANDMEMBER have in common.

use shoal_protocol::{Arguments, ErrorReply, errors};

const OUT_OF_RANGE: ErrorReply = ErrorReply::new(
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
);

/// How many random elements a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RandomCount {
    /// Different ones, or all if there are not so many.
    Distinct(u64),
    /// Exactly so many, some perhaps more than once.
    Repeated(u64),
}

impl RandomCount {
    /// The next word: a positive number asks for different elements.
    pub fn take(arguments: &mut Arguments<'_>) -> Result<Self, ErrorReply> {
        match arguments.take_i64()? {
            i64::MIN => Err(OUT_OF_RANGE),
            count if count < 0 => Ok(Self::Repeated(count.unsigned_abs())),
            count => Ok(Self::Distinct(count.unsigned_abs())),
        }
    }

    /// As [`RandomCount::take`]; the reply holds two elements for each.
    pub fn check_pairs(self) -> Result<Self, ErrorReply> {
        const PAIRS_MAX: u64 = i64::MAX as u64 / 2;
        let (Self::Distinct(count) | Self::Repeated(count)) = self;
        if count > PAIRS_MAX { Err(errors::OUT_OF_RANGE) } else { Ok(self) }
    }
}
