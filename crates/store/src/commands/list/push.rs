//! Commands that add elements.

use super::take_element;
use crate::call::{Call, EventClass, Outcome};
use crate::types::list::{End, Needle};
use crate::types::{Collection, List};
use shoal_protocol::{Arguments, errors};
use std::ops::ControlFlow;

pub(super) fn lpush(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    push(call, arguments, End::Head, false)
}

pub(super) fn rpush(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    push(call, arguments, End::Tail, false)
}

pub(super) fn lpushx(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    push(call, arguments, End::Head, true)
}

pub(super) fn rpushx(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    push(call, arguments, End::Tail, true)
}

fn push(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>, end: End, only_if_there: bool) -> Outcome {
    let key = arguments.take()?;
    let found = if only_if_there {
        let Some(found) = call.find_collection_for_write::<List>(key)? else {
            call.reply.integer(0);
            return Ok(());
        };
        found
    } else {
        call.find_or_insert::<List>(key)?
    };
    let count = arguments.remaining();
    let bytes = arguments.rest().map(<[u8]>::len).sum();
    let limits = &call.options.limits;
    let mut entry = call.keyspace.collection_mut::<List>(call.database_index, found);
    let list: &mut List = &mut entry;
    list.make_room(count, bytes, limits);
    while !arguments.is_empty() {
        list.push(end, take_element(&mut arguments)?, limits);
    }
    call.reply.integer(list.len() as i64);
    drop(entry);
    call.effects.dirty += count.saturating_sub(1) as u64;
    call.changed(key);
    call.event(EventClass::List, end.push_event(), key);
    Ok(())
}

pub(super) fn linsert(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let behind = if arguments.take_keyword("AFTER") {
        true
    } else if arguments.take_keyword("BEFORE") {
        false
    } else {
        return Err(errors::SYNTAX);
    };
    let pivot = arguments.take()?;
    let element = take_element(&mut arguments)?;
    let Some(found) = call.find_collection_for_write::<List>(key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let limits = &call.options.limits;
    let mut list = call.keyspace.collection_mut::<List>(call.database_index, found);
    // Redis makes room before it looks for the pivot, so that the encoding may change though nothing is inserted.
    list.make_room(1, element.bytes.len(), limits);
    let needle = Needle::new(pivot);
    let mut index = 0;
    let search = list.walk(0, End::Tail, |text| {
        if needle.is(text) {
            return ControlFlow::Break(());
        }
        index += 1;
        ControlFlow::Continue(())
    });
    if search.is_continue() {
        call.reply.integer(-1);
        return Ok(());
    }
    list.insert(index + usize::from(behind), element, limits);
    call.reply.integer(list.len() as i64);
    drop(list);
    call.changed(key);
    call.event(EventClass::List, "linsert", key);
    Ok(())
}
