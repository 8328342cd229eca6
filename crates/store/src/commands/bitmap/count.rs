//! BITCOUNT and BITPOS.

use super::range::{self, BitRange};
use crate::call::{Call, Outcome};
use shoal_protocol::{Arguments, ErrorReply, errors};

const BAD_BIT: ErrorReply = ErrorReply::new("ERR The bit argument must be 1 or 0.");

/// What start and end count.
#[derive(Clone, Copy)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn take(arguments: &mut Arguments<'_>) -> Result<Self, ErrorReply> {
        let word = arguments.take()?;
        if word.eq_ignore_ascii_case(b"BIT") {
            Ok(Self::Bit)
        } else if word.eq_ignore_ascii_case(b"BYTE") {
            Ok(Self::Byte)
        } else {
            Err(errors::SYNTAX)
        }
    }

    fn range(self, start: i64, end: i64, bytes: usize) -> Option<BitRange> {
        match self {
            Self::Byte => BitRange::of_indexes(start, end, bytes, 8),
            Self::Bit => BitRange::of_indexes(start, end, bytes * 8, 1),
        }
    }
}

pub(super) fn bitcount(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let (start, end, unit) = match arguments.remaining() {
        0 => (0, -1, Unit::Byte),
        2 => (arguments.take_i64()?, arguments.take_i64()?, Unit::Byte),
        3 => (arguments.take_i64()?, arguments.take_i64()?, Unit::take(&mut arguments)?),
        _ => return Err(errors::SYNTAX),
    };
    let mut count = 0;
    if let Some(found) = call.find_for_read(key) {
        let string = call.string(found)?;
        // Two indexes behind the front in the wrong order choose nothing, though both would become the first byte.
        if !(start < 0 && end < 0 && start > end) {
            count = string.text().with_bytes(|bytes| {
                unit.range(start, end, bytes.len()).map_or(0, |chosen| range::count(bytes, chosen))
            });
        }
    }
    call.reply.integer(count as i64);
    Ok(())
}

pub(super) fn bitpos(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let wanted = match arguments.take_i64()? {
        0 => false,
        1 => true,
        _ => return Err(BAD_BIT),
    };
    let (mut start, mut end, mut unit) = (0, None, Unit::Byte);
    match arguments.remaining() {
        0 => {}
        1 => start = arguments.take_i64()?,
        2 => (start, end) = (arguments.take_i64()?, Some(arguments.take_i64()?)),
        3 => {
            start = arguments.take_i64()?;
            // A wrong unit is found before a wrong end.
            let mut ahead = arguments;
            ahead.take()?;
            unit = Unit::take(&mut ahead)?;
            end = Some(arguments.take_i64()?);
        }
        _ => return Err(errors::SYNTAX),
    }
    let Some(found) = call.find_for_read(key) else {
        // What is not there is zeros without end.
        call.reply.integer(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let position = call.string(found)?.text().with_bytes(|bytes| {
        let chosen = unit.range(start, end.unwrap_or(-1), bytes.len())?;
        let behind = || (!wanted && end.is_none()).then_some(bytes.len() as u64 * 8);
        range::find(bytes, wanted, chosen).or_else(behind)
    });
    call.reply.integer(position.map_or(-1, |position| position as i64));
    Ok(())
}
