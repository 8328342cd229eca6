//! Commands on the entries of a stream: XRANGE, XREVRANGE, XLEN, XDEL and XSETID.

use super::{ids, reply_entries};
use crate::call::{Call, EventClass, Outcome};
use crate::types::stream::{Stream, StreamId};
use shoal_protocol::{Arguments, ErrorReply, errors};

const NEGATIVE_ENTRIES_ADDED: ErrorReply = ErrorReply::new("ERR entries_added must be positive");
const BELOW_GIVEN_DELETED: ErrorReply =
    ErrorReply::new("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
const BELOW_DELETED: ErrorReply =
    ErrorReply::new("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id");
const BELOW_LAST: ErrorReply =
    ErrorReply::new("ERR The ID specified in XSETID is smaller than the target stream top item");
const FEWER_THAN_LENGTH: ErrorReply =
    ErrorReply::new("ERR The entries_added specified in XSETID is smaller than the target stream length");

pub(super) fn xrange(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    range(call, arguments, false)
}

pub(super) fn xrevrange(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    range(call, arguments, true)
}

fn range(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>, backwards: bool) -> Outcome {
    let key = arguments.take()?;
    let (first, second) = (arguments.take()?, arguments.take()?);
    let (start, end) = if backwards { (second, first) } else { (first, second) };
    let (start, end) = (ids::interval_start(start)?, ids::interval_end(end)?);
    let mut count = None;
    while !arguments.is_empty() {
        if arguments.remaining() < 2 || !arguments.take_keyword("COUNT") {
            return Err(errors::SYNTAX);
        }
        count = Some(arguments.take_i64()?.max(0) as u64);
    }
    let Some(found) = call.find_collection::<Stream>(key)? else {
        call.reply.array(0);
        return Ok(());
    };
    if count == Some(0) {
        call.reply.null_array();
        return Ok(());
    }
    let stream = call.keyspace.collection::<Stream>(call.database_index, found);
    let entries = stream.log().entries(start, end);
    let count = count.unwrap_or(0);
    if backwards {
        reply_entries(call.reply, entries.backwards(), count);
    } else {
        reply_entries(call.reply, entries, count);
    }
    Ok(())
}

pub(super) fn xlen(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let found = call.find_collection::<Stream>(arguments.take()?)?;
    let length =
        found.map_or(0, |found| call.keyspace.collection::<Stream>(call.database_index, found).log().len());
    call.reply.integer(length as i64);
    Ok(())
}

pub(super) fn xdel(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let Some(found) = call.find_collection_for_write::<Stream>(key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let ids = arguments.rest().map(ids::strict).collect::<Result<Vec<_>, _>>()?;
    let mut stream = call.keyspace.collection_mut::<Stream>(call.database_index, found);
    let deleted = stream.log_mut().delete(&ids);
    drop(stream);
    if deleted > 0 {
        call.changed(key);
        call.event(EventClass::Stream, "xdel", key);
        call.effects.dirty += deleted - 1;
    }
    call.reply.integer(deleted as i64);
    Ok(())
}

pub(super) fn xsetid(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let id = ids::strict(arguments.take()?)?;
    let (mut entries_added, mut max_deleted_id) = (None, None);
    while !arguments.is_empty() {
        if arguments.remaining() < 2 {
            return Err(errors::SYNTAX);
        }
        if arguments.take_keyword("ENTRIESADDED") {
            let added = u64::try_from(arguments.take_i64()?).map_err(|_| NEGATIVE_ENTRIES_ADDED)?;
            entries_added = Some(added);
        } else if arguments.take_keyword("MAXDELETEDID") {
            let deleted = ids::strict(arguments.take()?)?;
            if id < deleted {
                return Err(BELOW_GIVEN_DELETED);
            }
            max_deleted_id = Some(deleted);
        } else {
            return Err(errors::SYNTAX);
        }
    }
    let found = call.find_collection_for_write::<Stream>(key)?.ok_or(errors::NO_SUCH_KEY)?;
    let mut stream = call.keyspace.collection_mut::<Stream>(call.database_index, found);
    let log = stream.log_mut();
    if id < log.history().max_deleted_id {
        return Err(BELOW_DELETED);
    }
    if log.last_entry_id().is_some_and(|last| id < last) {
        return Err(BELOW_LAST);
    }
    if entries_added.is_some_and(|added| log.len() > added) {
        return Err(FEWER_THAN_LENGTH);
    }
    // 0-0 leaves what is there.
    log.set_ids(id, entries_added, max_deleted_id.filter(|id| *id != StreamId::MIN));
    drop(stream);
    call.reply.ok();
    call.effects.dirty += 1;
    call.event(EventClass::Stream, "xsetid", key);
    Ok(())
}
