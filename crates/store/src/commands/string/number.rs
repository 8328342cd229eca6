//! Strings as numbers.

use crate::call::{Call, EventClass, Outcome};
use crate::entry::{NewValue, Text};
use crate::long_double::LongDouble;
use shoal_protocol::{Arguments, ErrorReply, errors, number};

const DECREMENT_OVERFLOW: ErrorReply = ErrorReply::new("ERR decrement would overflow");
const NOT_FINITE: ErrorReply = ErrorReply::new("ERR increment would produce NaN or Infinity");

pub(super) fn incr(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    add(call, arguments.take()?, 1)
}

pub(super) fn decr(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    add(call, arguments.take()?, -1)
}

pub(super) fn incrby(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let increment = arguments.take_i64()?;
    add(call, key, increment)
}

pub(super) fn decrby(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let increment = arguments.take_i64()?.checked_neg().ok_or(DECREMENT_OVERFLOW)?;
    add(call, key, increment)
}

fn add(call: &mut Call<'_, '_>, key: &[u8], increment: i64) -> Outcome {
    let found = call.find_for_write(key);
    let before = match found {
        Some(found) => match call.string(found)?.text() {
            Text::Integer(integer) => integer,
            Text::Bytes(bytes) => number::parse_i64(bytes).ok_or(errors::NOT_AN_INTEGER)?,
            Text::Shared(bytes) => number::parse_i64(bytes).ok_or(errors::NOT_AN_INTEGER)?,
        },
        None => 0,
    };
    let sum = before.checked_add(increment).ok_or(errors::OVERFLOW)?;
    call.store(found, key, NewValue::Integer(sum), None);
    call.changed(key);
    call.event(EventClass::String, "incrby", key);
    call.reply.integer(sum);
    Ok(())
}

pub(super) fn incrbyfloat(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let found = call.find_for_write(key);
    let before = match found {
        Some(found) => match call.string(found)?.text() {
            Text::Integer(integer) => Some(LongDouble::from_i64(integer)),
            Text::Bytes(bytes) => LongDouble::parse(bytes),
            Text::Shared(bytes) => LongDouble::parse(bytes),
        },
        None => Some(LongDouble::from_i64(0)),
    }
    .ok_or(errors::NOT_A_FLOAT)?;
    let increment = LongDouble::parse(arguments.take()?).ok_or(errors::NOT_A_FLOAT)?;
    let sum = before.plus(&increment).and_then(|sum| sum.to_decimal()).ok_or(NOT_FINITE)?;
    call.store(found, key, NewValue::Bytes(sum.as_bytes()), None);
    call.changed(key);
    call.event(EventClass::String, "incrbyfloat", key);
    call.reply.bulk(sum.as_bytes());
    // The result, not the sum: other machines may round in another way.
    call.propagate_instead([b"SET".as_slice(), key, sum.as_bytes(), b"KEEPTTL"]);
    Ok(())
}
