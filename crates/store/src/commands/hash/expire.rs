//! Fields that expire: HEXPIRE and HTTL with their kin, and HPERSIST. Source of the rules: Redis 7.4.
//!
//! ```text
//! HEXPIRE key seconds [NX | XX | GT | LT] FIELDS number field …     an answer per field: -2 0 1 2
//! HTTL    key                             FIELDS number field …                         -2 -1 or the time
//! ```

use crate::call::{Call, EventClass, Outcome};
use crate::commands::expiry::{ExpiryUnit, is_already_past};
use crate::types::Hash;
use shoal_protocol::{Arguments, ErrorReply, errors, number};

/// The latest expiry that commands accept: two of the 48 bits that files have for it are reserved.
const COMMAND_EXPIRY_MAX_MS: i64 = (1 << 46) - 1;

const NEGATIVE_EXPIRY: ErrorReply = ErrorReply::new("ERR invalid expire time, must be >= 0");
const FIELDS_MISSING: ErrorReply =
    ErrorReply::new("ERR Mandatory argument FIELDS is missing or not at the right position");
const EXPIRE_COUNT: ErrorReply = ErrorReply::new("ERR Parameter `numFields` should be greater than 0");
const COUNT: ErrorReply = ErrorReply::new("ERR Number of fields must be a positive integer");
const OTHER_COUNT: ErrorReply =
    ErrorReply::new("ERR The `numfields` parameter must match the number of arguments");

/// There is no such field.
const NO_FIELD: i64 = -2;
/// The field does not expire.
const NO_EXPIRY: i64 = -1;
/// The condition does not hold.
const NOT_DONE: i64 = 0;
/// Done.
const DONE: i64 = 1;
/// The time has passed already, so that the field was deleted.
const DELETED: i64 = 2;

pub(super) fn hexpire(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    set_expiries(call, arguments, ExpiryUnit::Seconds, "hexpire")
}

pub(super) fn hpexpire(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    set_expiries(call, arguments, ExpiryUnit::Milliseconds, "hpexpire")
}

pub(super) fn hexpireat(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    set_expiries(call, arguments, ExpiryUnit::UnixSeconds, "hexpireat")
}

pub(super) fn hpexpireat(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    set_expiries(call, arguments, ExpiryUnit::UnixMilliseconds, "hpexpireat")
}

/// When an expiry is set.
#[derive(Clone, Copy)]
enum Condition {
    Always,
    /// Only if there is none.
    None,
    /// Only if there is one.
    Some,
    /// Only if it is later than the present one; a field without expiry has the latest.
    Later,
    /// Only if it is earlier than the present one.
    Earlier,
}

impl Condition {
    fn take(arguments: &mut Arguments<'_>) -> Self {
        const WORDS: [(&str, Condition); 4] = [
            ("NX", Condition::None),
            ("XX", Condition::Some),
            ("GT", Condition::Later),
            ("LT", Condition::Earlier),
        ];
        let found = WORDS.iter().find(|(word, _)| arguments.take_keyword(word));
        found.map_or(Self::Always, |(_, condition)| *condition)
    }

    fn allows(self, present_ms: Option<u64>, wanted_ms: u64) -> bool {
        match self {
            Self::Always => true,
            Self::None => present_ms.is_none(),
            Self::Some => present_ms.is_some(),
            Self::Later => present_ms.is_some_and(|present| wanted_ms > present),
            Self::Earlier => present_ms.is_none_or(|present| wanted_ms < present),
        }
    }
}

/// The time that an argument means, in milliseconds since 1970.
fn take_expiry(
    call: &Call<'_, '_>,
    arguments: &mut Arguments<'_>,
    unit: ExpiryUnit,
    command: &str,
) -> Result<i64, ErrorReply> {
    let number = number::parse_i64(arguments.take()?).ok_or(errors::NOT_AN_INTEGER)?;
    if number < 0 {
        return Err(NEGATIVE_EXPIRY);
    }
    let at = unit.to_unix_ms(number, call.now).filter(|at| *at <= COMMAND_EXPIRY_MAX_MS);
    at.ok_or_else(|| errors::invalid_expire(command))
}

/// Reads `FIELDS number`, behind which exactly so many fields stand.
fn take_fields(arguments: &mut Arguments<'_>, wrong_count: ErrorReply) -> Result<(), ErrorReply> {
    if !arguments.take_keyword("FIELDS") {
        return Err(FIELDS_MISSING);
    }
    let count = arguments.take_optional().and_then(number::parse_i64).filter(|count| *count > 0);
    if usize::try_from(count.ok_or(wrong_count)?) == Ok(arguments.remaining()) {
        Ok(())
    } else {
        Err(OTHER_COUNT)
    }
}

fn reply_without_hash(call: &mut Call<'_, '_>, fields: usize) -> Outcome {
    call.reply.array(fields);
    (0..fields).for_each(|_| call.reply.integer(NO_FIELD));
    Ok(())
}

fn set_expiries(
    call: &mut Call<'_, '_>,
    mut arguments: Arguments<'_>,
    unit: ExpiryUnit,
    command: &'static str,
) -> Outcome {
    let key = arguments.take()?;
    let found = call.find_hash_for_write(key, std::iter::empty())?;
    let wanted = take_expiry(call, &mut arguments, unit, command)?;
    let condition = Condition::take(&mut arguments);
    take_fields(&mut arguments, EXPIRE_COUNT)?;
    let Some(found) = found else { return reply_without_hash(call, arguments.remaining()) };
    let is_past = is_already_past(call, wanted);
    let wanted_ms = u64::try_from(wanted).unwrap_or(0);
    let (settings, now_ms) = (call.settings(), call.fields_now_ms());
    let (mut updated, mut deleted) = (Vec::new(), Vec::new());
    call.reply.array(arguments.remaining());
    let mut hash = call.keyspace.collection_mut::<Hash>(call.database_index, found);
    for field in arguments.rest() {
        let outcome = if !hash.live(now_ms).contains(field) {
            NO_FIELD
        } else if !condition.allows(hash.expiry_ms(field), wanted_ms) {
            NOT_DONE
        } else if is_past {
            hash.remove(field, settings);
            deleted.push(field);
            DELETED
        } else {
            hash.set_expiry(field, Some(wanted_ms), settings);
            updated.push(field);
            DONE
        };
        call.reply.integer(outcome);
    }
    drop(hash);
    if updated.is_empty() && deleted.is_empty() {
        return Ok(());
    }
    call.effects.expired_fields += deleted.len() as u64;
    call.changed(key);
    call.effects.dirty += (updated.len() + deleted.len()) as u64 - 1;
    propagate(call, key, wanted_ms, &updated, &deleted);
    call.event(EventClass::Hash, if deleted.is_empty() { "hexpire" } else { "hdel" }, key);
    if !call.remove_if_empty::<Hash>(found, key) {
        call.database_mut().note_field_expiries(found);
    }
    Ok(())
}

/// The effects are the same wherever they are carried out: a point in time, and deletions.
fn propagate(call: &mut Call<'_, '_>, key: &[u8], at_ms: u64, updated: &[&[u8]], deleted: &[&[u8]]) {
    for field in deleted {
        call.propagate_instead([b"HDEL".as_slice(), key, field]);
    }
    if !updated.is_empty() {
        let digits = itoa::Buffer::new().format(at_ms).to_owned();
        let count = itoa::Buffer::new().format(updated.len()).to_owned();
        let words = [b"HPEXPIREAT", key, digits.as_bytes(), b"FIELDS", count.as_bytes()];
        call.propagate_instead(words.iter().chain(updated));
    }
}

pub(super) fn hpersist(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let found = call.find_hash_for_write(key, std::iter::empty())?;
    take_fields(&mut arguments, COUNT)?;
    let Some(found) = found else { return reply_without_hash(call, arguments.remaining()) };
    let (settings, now_ms) = (call.settings(), call.fields_now_ms());
    let mut is_changed = false;
    call.reply.array(arguments.remaining());
    let mut hash = call.keyspace.collection_mut::<Hash>(call.database_index, found);
    for field in arguments.rest() {
        let outcome = if !hash.live(now_ms).contains(field) {
            NO_FIELD
        } else if hash.expiry_ms(field).is_none() {
            NO_EXPIRY
        } else {
            hash.set_expiry(field, None, settings);
            is_changed = true;
            DONE
        };
        call.reply.integer(outcome);
    }
    drop(hash);
    if is_changed {
        call.database_mut().note_field_expiries(found);
        call.event(EventClass::Hash, "hpersist", key);
        call.changed(key);
    }
    Ok(())
}

pub(super) fn httl(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_expiries(call, arguments, |at, now| at.saturating_sub(now).div_ceil(1000))
}

pub(super) fn hpttl(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_expiries(call, arguments, u64::saturating_sub)
}

pub(super) fn hexpiretime(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_expiries(call, arguments, |at, _| at.div_ceil(1000))
}

pub(super) fn hpexpiretime(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_expiries(call, arguments, |at, _| at)
}

/// Replies with what `measure` makes of each field's expiry and the present time.
fn reply_expiries(
    call: &mut Call<'_, '_>,
    mut arguments: Arguments<'_>,
    measure: impl Fn(u64, u64) -> u64,
) -> Outcome {
    let found = call.find_hash(arguments.take()?)?;
    take_fields(&mut arguments, COUNT)?;
    let Some(found) = found else { return reply_without_hash(call, arguments.remaining()) };
    let (now_ms, fields_now_ms) = (call.now.unix_ms(), call.fields_now_ms());
    call.reply.array(arguments.remaining());
    let hash = call.keyspace.collection::<Hash>(call.database_index, found);
    let hash = hash.live(fields_now_ms);
    for field in arguments.rest() {
        call.reply.integer(match hash.expiry_ms(field) {
            _ if !hash.contains(field) => NO_FIELD,
            None => NO_EXPIRY,
            Some(at) => measure(at, now_ms) as i64,
        });
    }
    Ok(())
}
