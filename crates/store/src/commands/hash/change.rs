//! Commands that set and delete fields.

use crate::call::{Call, EventClass, Outcome};
use crate::types::{Collection, Hash};
use shoal_protocol::{Arguments, ErrorReply, errors};

pub(super) fn hset(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let created = set_all(call, arguments, "hset")?;
    call.reply.integer(created);
    Ok(())
}

pub(super) fn hmset(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    set_all(call, arguments, "hmset")?;
    call.reply.ok();
    Ok(())
}

/// Sets fields to values, given in turn. Returns how many fields are new.
fn set_all(
    call: &mut Call<'_, '_>,
    mut arguments: Arguments<'_>,
    name: &'static str,
) -> Result<i64, ErrorReply> {
    let key = arguments.take()?;
    let words = arguments.remaining();
    if !words.is_multiple_of(2) {
        return Err(errors::wrong_arity(name));
    }
    let found = call.find_or_insert_hash(key, arguments.rest().step_by(2))?;
    let settings = call.settings();
    let mut hash = call.keyspace.collection_mut::<Hash>(call.database_index, found);
    hash.expect(arguments.rest(), settings);
    let mut created = 0;
    while let (Some(field), Some(value)) = (arguments.take_optional(), arguments.take_optional()) {
        created += i64::from(hash.set(field, value, settings));
    }
    drop(hash);
    call.changed(key);
    call.effects.dirty += (words / 2) as u64 - 1;
    call.event(EventClass::Hash, "hset", key);
    Ok(created)
}

pub(super) fn hsetnx(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let words = arguments.rest();
    let (field, value) = (arguments.take()?, arguments.take()?);
    let found = call.find_or_insert_hash(key, std::iter::once(field))?;
    let settings = call.settings();
    let mut hash = call.keyspace.collection_mut::<Hash>(call.database_index, found);
    let is_new = !hash.contains(field);
    if is_new {
        hash.expect(words, settings);
        hash.set(field, value, settings);
    }
    drop(hash);
    if is_new {
        call.changed(key);
        call.event(EventClass::Hash, "hset", key);
    }
    call.reply.integer(i64::from(is_new));
    Ok(())
}

pub(super) fn hdel(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let Some(found) = call.find_hash_for_write(key, arguments.rest())? else {
        call.reply.integer(0);
        return Ok(());
    };
    let settings = call.settings();
    let mut hash = call.keyspace.collection_mut::<Hash>(call.database_index, found);
    let mut removed = 0;
    for field in arguments.rest() {
        removed += u64::from(hash.remove(field, settings));
        if hash.is_empty() {
            break;
        }
    }
    drop(hash);
    if removed > 0 {
        call.changed(key);
        call.effects.dirty += removed - 1;
        call.event(EventClass::Hash, "hdel", key);
        call.remove_if_empty::<Hash>(found, key);
    }
    call.reply.integer(removed as i64);
    Ok(())
}
