//! Bitmaps: what `commands.json` lists in the group `bitmap`. A bitmap is a string; bit 0 is the highest bit of its
//! first byte.

mod count;
mod field;
mod operation;
mod range;
mod single;

use super::Body;
use crate::call::Call;
use shoal_protocol::{Arguments, CommandId, ErrorReply, number};

pub(super) const BODIES: &[(CommandId, Body)] = &[
    (CommandId::Bitcount, count::bitcount),
    (CommandId::Bitfield, field::bitfield),
    (CommandId::BitfieldRo, field::bitfield_ro),
    (CommandId::Bitop, operation::bitop),
    (CommandId::Bitpos, count::bitpos),
    (CommandId::Getbit, single::getbit),
    (CommandId::Setbit, single::setbit),
];

const BAD_OFFSET: ErrorReply = ErrorReply::new("ERR bit offset is not an integer or out of range");

/// Takes a bit's number. With `width`, a number behind `#` counts fields of that many bits.
///
/// # Errors
/// It is none, or names a bit that strings are too short for.
fn take_offset(
    call: &Call<'_, '_>,
    arguments: &mut Arguments<'_>,
    width: Option<u32>,
) -> Result<u64, ErrorReply> {
    let word = arguments.take()?;
    let (digits, factor) = match (word, width) {
        ([b'#', digits @ ..], Some(width)) => (digits, i64::from(width)),
        _ => (word, 1),
    };
    let offset = number::parse_i64(digits).and_then(|number| number.checked_mul(factor)).ok_or(BAD_OFFSET)?;
    let offset = u64::try_from(offset).map_err(|_| BAD_OFFSET)?;
    let is_too_far = offset / 8 >= call.options.max_string_bytes as u64;
    if is_too_far && !call.access.from_primary { Err(BAD_OFFSET) } else { Ok(offset) }
}

#[cfg(test)]
mod tests;
