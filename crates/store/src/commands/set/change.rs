//! Commands that put members in and take them out.

use crate::call::{Call, EventClass, Outcome};
use crate::entry::NewValue;
use crate::types::{Collection, Set, Type};
use shoal_protocol::Arguments;

pub(super) fn sadd(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let settings = call.settings();
    let found = match call.find_collection_for_write::<Set>(key)? {
        Some(found) => found,
        None => {
            let first = arguments.peek().unwrap_or_default();
            let set = Set::for_members(first, arguments.remaining(), settings);
            call.insert(key, NewValue::from(set), None)
        }
    };
    let mut set = call.keyspace.collection_mut::<Set>(call.database_index, found);
    set.expect(arguments.remaining(), settings);
    let mut added = 0;
    for member in arguments.rest() {
        added += u64::from(set.insert(member, settings));
    }
    drop(set);
    if added > 0 {
        call.changed(key);
        call.effects.dirty += added - 1;
        call.event(EventClass::Set, "sadd", key);
    }
    call.reply.integer(added as i64);
    Ok(())
}

pub(super) fn srem(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let Some(found) = call.find_collection_for_write::<Set>(key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let settings = call.settings();
    let mut set = call.keyspace.collection_mut::<Set>(call.database_index, found);
    let mut removed = 0;
    for member in arguments.rest() {
        removed += u64::from(set.remove(member, settings));
        if set.is_empty() {
            break;
        }
    }
    drop(set);
    if removed > 0 {
        call.changed(key);
        call.effects.dirty += removed - 1;
        call.event(EventClass::Set, "srem", key);
        call.remove_if_empty::<Set>(found, key);
    }
    call.reply.integer(removed as i64);
    Ok(())
}

pub(super) fn smove(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (source_key, target_key, member) = (arguments.take()?, arguments.take()?, arguments.take()?);
    let is_there = call.find_for_write(source_key).is_some();
    let target = call.find_for_write(target_key);
    if !is_there {
        call.reply.integer(0);
        return Ok(());
    }
    // The look-up of the second key may have moved the first one.
    let source = call.find(source_key);
    call.check_type(source, Type::Set)?;
    call.check_type(target, Type::Set)?;
    let Some(source) = source else { return Ok(()) };
    let settings = call.settings();
    let mut set = call.keyspace.collection_mut::<Set>(call.database_index, source);
    let moves = if source_key == target_key { false } else { set.remove(member, settings) };
    let is_member = moves || set.contains(member);
    drop(set);
    if moves {
        call.event(EventClass::Set, "srem", source_key);
        call.remove_if_empty::<Set>(source, source_key);
        let target = match call.find(target_key) {
            Some(target) => target,
            None => call.insert(target_key, NewValue::from(Set::for_members(member, 1, settings)), None),
        };
        call.changed(source_key);
        let mut set = call.keyspace.collection_mut::<Set>(call.database_index, target);
        let added = set.insert(member, settings);
        drop(set);
        if added {
            call.changed(target_key);
            call.event(EventClass::Set, "sadd", target_key);
        }
    }
    call.reply.integer(i64::from(is_member));
    Ok(())
}
