//! ZREM and the ZREMRANGE commands.

use super::{changed_times, index_range, lex_interval, remove_indexes, score_interval};
use crate::call::{Call, EventClass, Outcome};
use crate::types::{Collection, SortedSet};
use shoal_protocol::Arguments;
use std::ops::Range;

pub(super) fn zrem(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let Some(found) = call.find_collection_for_write::<SortedSet>(key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let settings = call.settings();
    let mut set = call.keyspace.collection_mut::<SortedSet>(call.database_index, found);
    let mut removed = 0;
    for member in arguments.rest() {
        removed += u64::from(set.remove(member, settings).is_some());
        if set.is_empty() {
            break;
        }
    }
    drop(set);
    if removed > 0 {
        call.event(EventClass::SortedSet, "zrem", key);
        call.remove_if_empty::<SortedSet>(found, key);
        changed_times(call, key, removed);
    }
    call.reply.integer(removed as i64);
    Ok(())
}

pub(super) fn zremrangebyrank(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let (first, last) = (arguments.take_i64()?, arguments.take_i64()?);
    remove_range(call, key, "zremrangebyrank", |set| index_range(first, last, set.len()))
}

pub(super) fn zremrangebyscore(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let interval = score_interval(arguments.take()?, arguments.take()?)?;
    remove_range(call, key, "zremrangebyscore", |set| set.interval(&interval, false, 0))
}

pub(super) fn zremrangebylex(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let interval = lex_interval(arguments.take()?, arguments.take()?)?;
    remove_range(call, key, "zremrangebylex", |set| set.interval(&interval, false, 0))
}

fn remove_range(
    call: &mut Call<'_, '_>,
    key: &[u8],
    event: &'static str,
    choose: impl FnOnce(&SortedSet) -> Range<usize>,
) -> Outcome {
    let Some(found) = call.find_collection_for_write::<SortedSet>(key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let range = choose(&call.keyspace.collection::<SortedSet>(call.database_index, found));
    let removed = range.len();
    if removed > 0 {
        call.event(EventClass::SortedSet, event, key);
        remove_indexes(call, found, key, range);
        changed_times(call, key, removed as u64);
    }
    call.reply.integer(removed as i64);
    Ok(())
}
