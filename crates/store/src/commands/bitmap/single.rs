//! One bit: GETBIT and SETBIT.

use super::take_offset;
use crate::call::{Call, EventClass, Outcome};
use crate::commands::string::edit_bytes_up_to;
use shoal_protocol::{Arguments, ErrorReply};

const BAD_BIT: ErrorReply = ErrorReply::new("ERR bit is not an integer or out of range");

/// The byte that holds a bit, and the bit in that byte.
fn place(offset: u64) -> (usize, u8) {
    ((offset / 8) as usize, 0x80 >> (offset % 8))
}

pub(super) fn getbit(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let (byte, mask) = place(take_offset(call, &mut arguments, None)?);
    let is_set = match call.find_for_read(key) {
        None => false,
        Some(found) => call
            .string(found)?
            .text()
            .with_bytes(|bytes| bytes.get(byte).is_some_and(|byte| byte & mask != 0)),
    };
    call.reply.integer(i64::from(is_set));
    Ok(())
}

pub(super) fn setbit(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let (byte, mask) = place(take_offset(call, &mut arguments, None)?);
    let is_wanted = match arguments.take_i64() {
        Ok(bit @ (0 | 1)) => bit == 1,
        _ => return Err(BAD_BIT),
    };
    let found = call.find_for_write(key);
    let length_before = match found {
        Some(found) => Some(call.string(found)?.text().len()),
        None => None,
    };
    let was_set = edit_bytes_up_to(call, found, key, byte + 1, |bytes| {
        let byte = &mut bytes[byte];
        let was_set = *byte & mask != 0;
        *byte = if is_wanted { *byte | mask } else { *byte & !mask };
        was_set
    });
    // A string that was only made longer has changed, too.
    if was_set != is_wanted || length_before.is_none_or(|length| length <= byte) {
        call.changed(key);
        call.event(EventClass::String, "setbit", key);
    }
    call.reply.integer(i64::from(was_set));
    Ok(())
}
