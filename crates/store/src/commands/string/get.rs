//! Commands that read strings.

use super::{delete_after_read, reply_with_string};
use crate::call::{Call, EventClass, Outcome};
use crate::commands::expiry::{ExpiryArgument, ExpiryUnit, is_already_past};
use shoal_protocol::{Arguments, ErrorReply, errors};

pub(super) fn get(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    reply_with_string(call, arguments.take()?).map(|_| ())
}

pub(super) fn mget(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    call.reply.array(arguments.remaining());
    for key in arguments.rest() {
        match call.find_for_read(key) {
            Some(found) if call.string(found).is_ok() => call.reply_value(found),
            _ => call.reply.null(),
        }
    }
    Ok(())
}

pub(super) fn getdel(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    match reply_with_string(call, key)? {
        Some(found) => delete_after_read(call, found, key),
        None => Ok(()),
    }
}

pub(super) fn strlen(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let bytes = match call.find_for_read(arguments.take()?) {
        Some(found) => call.string(found)?.text().len(),
        None => 0,
    };
    call.reply.integer(bytes as i64);
    Ok(())
}

/// GETRANGE and its old name SUBSTR.
pub(super) fn getrange(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let (start, end) = (arguments.take_i64()?, arguments.take_i64()?);
    let Some(found) = call.find_for_read(key) else {
        call.reply.bulk(b"");
        return Ok(());
    };
    call.string(found)?;
    let string = call.keyspace.string(call.database_index, found);
    string.text().with_bytes(|bytes| call.reply.bulk(range_of(bytes, start, end)));
    Ok(())
}

/// The bytes from `start` to `end`, both included, negative ones counted from the end.
fn range_of(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let length = bytes.len() as i64;
    let from_front = |index: i64| if index < 0 { (index + length).max(0) } else { index };
    let (start, end) = (from_front(start), from_front(end).min(length - 1));
    if start > end { b"" } else { &bytes[start as usize..=end as usize] }
}

/// What GETEX does to the expiry.
enum Change<'q> {
    Nothing,
    Persist,
    Expire(ExpiryArgument<'q>),
}

fn getex_option<'q>(arguments: &mut Arguments<'q>) -> Result<Change<'q>, ErrorReply> {
    let mut change = Change::Nothing;
    while let Some(word) = arguments.take_optional() {
        let unit = ExpiryUnit::from_option(word);
        change = match (change, unit) {
            (Change::Nothing | Change::Persist, None) if word.eq_ignore_ascii_case(b"PERSIST") => {
                Change::Persist
            }
            (Change::Nothing, Some(unit)) => {
                Change::Expire(ExpiryArgument { unit, number: arguments.take()? })
            }
            (Change::Expire(before), Some(unit)) if before.unit == unit => {
                Change::Expire(ExpiryArgument { unit, number: arguments.take()? })
            }
            _ => return Err(errors::SYNTAX),
        };
    }
    Ok(change)
}

pub(super) fn getex(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let change = getex_option(&mut arguments)?;
    let Some(found) = call.find_for_read(key) else {
        call.reply.null();
        return Ok(());
    };
    call.string(found)?;
    let expiry = match change {
        Change::Expire(expiry) => Some((expiry.unit, expiry.to_unix_ms(call.now, "getex")?)),
        _ => None,
    };
    call.reply_value(found);
    match expiry {
        Some((unit, at)) if unit.is_absolute() && is_already_past(call, at as i64) => {
            delete_after_read(call, found, key)
        }
        Some((_, at)) => {
            call.database_mut().set_expiry(found, Some(at));
            let digits = itoa::Buffer::new().format(at).to_owned();
            call.propagate_instead([b"PEXPIREAT".as_slice(), key, digits.as_bytes()]);
            call.event(EventClass::Generic, "expire", key);
            call.changed(key);
            Ok(())
        }
        None if matches!(change, Change::Persist) && call.database().entry(found).expiry_ms().is_some() => {
            call.database_mut().set_expiry(found, None);
            call.propagate_instead([b"PERSIST".as_slice(), key]);
            call.event(EventClass::Generic, "persist", key);
            call.changed(key);
            Ok(())
        }
        None => Ok(()),
    }
}
