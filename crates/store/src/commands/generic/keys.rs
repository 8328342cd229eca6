//! DEL, EXISTS and other commands that look at keys or databases as they are.

use super::{check_database, is_clustered};
use crate::call::{Call, EventClass, Outcome};
use shoal_protocol::{Arguments, ErrorReply, number};

const SWAPDB_IN_CLUSTER: ErrorReply = ErrorReply::new("ERR SWAPDB is not allowed in cluster mode");
const INVALID_FIRST: ErrorReply = ErrorReply::new("ERR invalid first DB index");
const INVALID_SECOND: ErrorReply = ErrorReply::new("ERR invalid second DB index");

/// DEL and UNLINK. They are the same here: what takes long to free is always put aside.
pub(super) fn del(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let mut deleted = 0;
    for key in arguments.rest() {
        let Some(found) = call.find(key) else { continue };
        call.remove(found);
        call.event(EventClass::Generic, "del", key);
        call.changed(key);
        deleted += 1;
    }
    call.reply.integer(deleted);
    Ok(())
}

pub(super) fn exists(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let count = arguments.rest().filter(|key| call.peek(key).is_some()).count();
    call.reply.integer(count as i64);
    Ok(())
}

pub(super) fn touch(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let count = arguments.rest().filter(|key| call.find_for_read(key).is_some()).count();
    call.reply.integer(count as i64);
    Ok(())
}

pub(super) fn type_name(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let name = match call.peek(arguments.take()?) {
        Some(found) => call.database().entry(found).type_name(),
        None => "none",
    };
    call.reply.simple(name);
    Ok(())
}

pub(super) fn dbsize(call: &mut Call<'_, '_>, _: Arguments<'_>) -> Outcome {
    let (length, _) = call.database().visible_len();
    call.reply.integer(length as i64);
    Ok(())
}

pub(super) fn flushdb(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let at_once = flush_at_once(arguments)?;
    flush(call, call.database_index, at_once);
    propagate_flush(call);
    call.reply.ok();
    Ok(())
}

pub(super) fn flushall(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let at_once = flush_at_once(arguments)?;
    for index in 0..call.keyspace.database_count() {
        flush(call, index, at_once);
    }
    propagate_flush(call);
    call.reply.ok();
    Ok(())
}

/// Whether the client asked for the memory to be free when the reply comes.
fn flush_at_once(mut arguments: Arguments<'_>) -> Result<bool, ErrorReply> {
    let at_once = arguments.take_keyword("SYNC");
    if !at_once {
        arguments.take_keyword("ASYNC");
    }
    arguments.finish()?;
    Ok(at_once)
}

/// Replicas are told even if nothing was there: they may hold keys that have expired here.
fn propagate_flush(call: &mut Call<'_, '_>) {
    call.effects.dirty = call.effects.dirty.max(1);
}

fn flush(call: &mut Call<'_, '_>, index: usize, at_once: bool) {
    let length = call.keyspace.database(index).len();
    if length == 0 {
        return;
    }
    call.effects.dirty += length as u64;
    call.effects.touched_databases.push(index);
    if at_once {
        drop(call.keyspace.database_mut(index).clear());
    } else {
        call.keyspace.clear(index);
    }
}

pub(super) fn swapdb(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    if is_clustered(call) {
        return Err(SWAPDB_IN_CLUSTER);
    }
    let number = |word, error: ErrorReply| {
        number::parse_i64(word).and_then(|number| i32::try_from(number).ok()).ok_or(error)
    };
    let first = number(arguments.take()?, INVALID_FIRST)?;
    let second = number(arguments.take()?, INVALID_SECOND)?;
    let (first, second) = (check_database(call, first)?, check_database(call, second)?);
    if first != second {
        call.keyspace.swap(first, second);
        call.effects.touched_databases.extend([first, second]);
    }
    call.effects.dirty += 1;
    call.reply.ok();
    Ok(())
}
