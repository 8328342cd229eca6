//! RENAME, COPY and MOVE: values under other names and in other databases.

use super::{database_number, is_clustered};
use crate::call::{Call, EventClass, Outcome};
use crate::entry::Entry;
use shoal_protocol::{Arguments, ErrorReply, errors};

const COPY_IN_CLUSTER: ErrorReply =
    ErrorReply::new("ERR Copying to another database is not allowed in cluster mode");
const MOVE_IN_CLUSTER: ErrorReply = ErrorReply::new("ERR MOVE is not allowed in cluster mode");

pub(super) fn rename(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    if rename_key(call, arguments, false)? {
        call.reply.ok();
    }
    Ok(())
}

pub(super) fn renamenx(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let is_renamed = rename_key(call, arguments, true)?;
    call.reply.integer(i64::from(is_renamed));
    Ok(())
}

/// Renames a key. Always true unless `only_if_free` is set: then false if the new name is taken, be it by the key itself.
fn rename_key(
    call: &mut Call<'_, '_>,
    mut arguments: Arguments<'_>,
    only_if_free: bool,
) -> Result<bool, ErrorReply> {
    let (from, to) = (arguments.take()?, arguments.take()?);
    call.find_for_write(from).ok_or(errors::NO_SUCH_KEY)?;
    if from == to {
        return Ok(!only_if_free);
    }
    if let Some(taken) = call.find_for_write(to) {
        if only_if_free {
            return Ok(false);
        }
        call.remove(taken);
    }
    if let Some(entry) = take(call, from) {
        call.put(call.database_index, entry.renamed(to));
    }
    call.changed(from);
    call.touched_in(call.database_index, to);
    call.event(EventClass::Generic, "rename_from", from);
    call.event(EventClass::Generic, "rename_to", to);
    Ok(true)
}

/// Takes an entry out of the selected database, to be put elsewhere.
fn take(call: &mut Call<'_, '_>, key: &[u8]) -> Option<Entry> {
    let keep_size = call.keyspace.keeps_size();
    let database = call.database_mut();
    let found = database.find(key)?;
    Some(database.remove(found, keep_size))
}

pub(super) fn copy(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (from, to) = (arguments.take()?, arguments.take()?);
    let mut replace = false;
    let mut target = call.database_index;
    while !arguments.is_empty() {
        if arguments.take_keyword("REPLACE") {
            replace = true;
        } else if arguments.remaining() >= 2 && arguments.take_keyword("DB") {
            target = database_number(call, arguments.take()?)?;
        } else {
            return Err(errors::SYNTAX);
        }
    }
    if is_clustered(call) && target != 0 {
        return Err(COPY_IN_CLUSTER);
    }
    if target == call.database_index && from == to {
        return Err(errors::SAME_OBJECT);
    }
    if call.find_for_read(from).is_none() {
        call.reply.integer(0);
        return Ok(());
    }
    if let Some(taken) = call.find_for_write_in(target, to) {
        if !replace {
            call.reply.integer(0);
            return Ok(());
        }
        call.remove_from(target, taken);
    }
    let clock = call.initial_access();
    if let Some(found) = call.find(from) {
        let mut entry = call.database().entry(found).copied(to);
        entry.set_access(clock);
        call.put(target, entry);
    }
    call.touched_in(target, to);
    call.event_in(target, EventClass::Generic, "copy_to", to);
    call.effects.dirty += 1;
    call.reply.integer(1);
    Ok(())
}

pub(super) fn move_key(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    if is_clustered(call) {
        return Err(MOVE_IN_CLUSTER);
    }
    let key = arguments.take()?;
    let target = database_number(call, arguments.take()?)?;
    if target == call.database_index {
        return Err(errors::SAME_OBJECT);
    }
    let is_free = call.find_for_write(key).is_some() && call.find_for_write_in(target, key).is_none();
    let entry = if is_free { take(call, key) } else { None };
    let Some(entry) = entry else {
        call.reply.integer(0);
        return Ok(());
    };
    call.put(target, entry);
    call.changed(key);
    call.touched_in(target, key);
    call.event(EventClass::Generic, "move_from", key);
    call.event_in(target, EventClass::Generic, "move_to", key);
    call.reply.integer(1);
    Ok(())
}
