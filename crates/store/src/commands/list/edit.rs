//! Commands that change or remove elements anywhere in a list.

use super::{index_of, range_of, take_element, tidy_up};
use crate::call::{Call, EventClass, Outcome};
use crate::types::list::End;
use crate::types::{Collection, List};
use shoal_protocol::{Arguments, ErrorReply, errors};

pub(super) fn lset(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    const INDEX_OUT_OF_RANGE: ErrorReply = ErrorReply::new("ERR index out of range");
    let key = arguments.take()?;
    let found = call.find_collection_for_write::<List>(key)?.ok_or(errors::NO_SUCH_KEY)?;
    let index = arguments.take_i64()?;
    let element = take_element(&mut arguments)?;
    let limits = &call.options.limits;
    let mut list = call.keyspace.collection_mut::<List>(call.database_index, found);
    // Redis makes room before it looks at the index, as if the element came on top of the others.
    list.make_room(1, element.bytes.len(), limits);
    let index = index_of(index, list.len()).ok_or(INDEX_OUT_OF_RANGE)?;
    list.replace(index, element, limits);
    list.shrink(limits);
    drop(list);
    call.reply.ok();
    call.changed(key);
    call.event(EventClass::List, "lset", key);
    Ok(())
}

pub(super) fn ltrim(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let (start, stop) = (arguments.take_i64()?, arguments.take_i64()?);
    let Some(found) = call.find_collection_for_write::<List>(key)? else {
        call.reply.ok();
        return Ok(());
    };
    let mut list = call.keyspace.collection_mut::<List>(call.database_index, found);
    let length = list.len();
    let (first, count) = range_of(start, stop, length).unwrap_or((length, 0));
    list.remove_range(first + count, length);
    list.remove_range(0, first);
    drop(list);
    call.event(EventClass::List, "ltrim", key);
    tidy_up(call, found, key);
    call.touched_in(call.database_index, key);
    call.effects.dirty += (length - count) as u64;
    call.reply.ok();
    Ok(())
}

pub(super) fn lrem(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let count = arguments.take_i64()?;
    let element = arguments.take()?;
    let Some(found) = call.find_collection_for_write::<List>(key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let from = if count < 0 { End::Tail } else { End::Head };
    let limit = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let mut list = call.keyspace.collection_mut::<List>(call.database_index, found);
    let removed = list.remove_equal(element, limit, from);
    drop(list);
    if removed > 0 {
        call.effects.dirty += removed as u64 - 1;
        call.changed(key);
        call.event(EventClass::List, "lrem", key);
        tidy_up(call, found, key);
    }
    call.reply.integer(removed as i64);
    Ok(())
}
