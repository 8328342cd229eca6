//! Fields as numbers.

use crate::call::{Call, EventClass, Outcome};
use crate::long_double::LongDouble;
use crate::types::Hash;
use shoal_formats::listpack::Element;
use shoal_protocol::{Arguments, ErrorReply, errors, number};

const NOT_AN_INTEGER: ErrorReply = ErrorReply::new("ERR hash value is not an integer");
const NOT_A_FLOAT: ErrorReply = ErrorReply::new("ERR hash value is not a float");
const INCREMENT_NOT_FINITE: ErrorReply = ErrorReply::new("ERR value is NaN or Infinity");
const SUM_NOT_FINITE: ErrorReply = ErrorReply::new("ERR increment would produce NaN or Infinity");

pub(super) fn hincrby(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, field) = (arguments.take()?, arguments.take()?);
    let increment = arguments.take_i64()?;
    let found = call.find_or_insert_hash(key, std::iter::once(field))?;
    let settings = call.settings();
    let mut hash = call.keyspace.collection_mut::<Hash>(call.database_index, found);
    let before = match hash.value(field) {
        Some(Element::Integer(integer)) => integer,
        Some(Element::Bytes(bytes)) => number::parse_i64(bytes).ok_or(NOT_AN_INTEGER)?,
        None => 0,
    };
    let sum = before.checked_add(increment).ok_or(errors::OVERFLOW)?;
    hash.set_and_keep_expiry(field, itoa::Buffer::new().format(sum).as_bytes(), settings);
    drop(hash);
    call.changed(key);
    call.event(EventClass::Hash, "hincrby", key);
    call.reply.integer(sum);
    Ok(())
}

pub(super) fn hincrbyfloat(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, field) = (arguments.take()?, arguments.take()?);
    let increment = LongDouble::parse(arguments.take()?).ok_or(errors::NOT_A_FLOAT)?;
    if !increment.is_finite() {
        return Err(INCREMENT_NOT_FINITE);
    }
    let found = call.find_or_insert_hash(key, std::iter::once(field))?;
    let settings = call.settings();
    let mut hash = call.keyspace.collection_mut::<Hash>(call.database_index, found);
    let before = match hash.value(field) {
        Some(Element::Integer(integer)) => LongDouble::from_i64(integer),
        Some(Element::Bytes(bytes)) => LongDouble::parse(bytes).ok_or(NOT_A_FLOAT)?,
        None => LongDouble::from_i64(0),
    };
    let sum = before.plus(&increment).and_then(|sum| sum.to_decimal()).ok_or(SUM_NOT_FINITE)?;
    hash.set_and_keep_expiry(field, sum.as_bytes(), settings);
    let expiry_ms = hash.expiry_ms(field);
    drop(hash);
    call.changed(key);
    call.event(EventClass::Hash, "hincrbyfloat", key);
    // The outcome is the same everywhere, whatever precision others compute with.
    call.propagate_instead([b"HSET".as_slice(), key, field, sum.as_bytes()]);
    if let Some(at) = expiry_ms {
        // HSET makes the others forget when the field expires.
        let digits = itoa::Buffer::new().format(at).to_owned();
        call.propagate_instead([b"HPEXPIREAT", key, digits.as_bytes(), b"FIELDS", b"1", field]);
    }
    call.reply.bulk(sum.as_bytes());
    Ok(())
}
