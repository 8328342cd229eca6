//! XACK and XPENDING.

use super::{ids, no_key_or_group, now_ms};
use crate::call::{Call, Outcome};
use crate::types::stream::{Group, Pending, Stream, StreamId};
use shoal_protocol::{Arguments, ErrorReply, Reply, errors};

pub(super) fn xack(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, name) = (arguments.take()?, arguments.take()?);
    let mut released = 0;
    if let Some(found) = call.find_collection::<Stream>(key)? {
        let mut stream = call.keyspace.collection_mut::<Stream>(call.database_index, found);
        if let Some(group) = stream.group_mut(name) {
            let ids = arguments.rest().map(ids::strict).collect::<Result<Vec<_>, _>>()?;
            released = ids.into_iter().filter(|id| group.release(*id)).count();
        }
    }
    call.effects.dirty += released as u64;
    call.reply.integer(released as i64);
    Ok(())
}

/// Which pending entries a client wants to see.
struct Selection<'q> {
    min_idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: u64,
    consumer: Option<&'q [u8]>,
}

impl<'q> Selection<'q> {
    /// The most words after the group's name.
    const MAX_WORDS: usize = 6;

    /// `None` if the client wants a summary.
    fn parse(mut arguments: Arguments<'q>) -> Result<Option<Self>, ErrorReply> {
        if arguments.is_empty() {
            return Ok(None);
        }
        if !(3..=Self::MAX_WORDS).contains(&arguments.remaining()) {
            return Err(errors::SYNTAX);
        }
        let mut min_idle_ms = 0;
        if arguments.take_keyword("IDLE") {
            min_idle_ms = arguments.take_i64()?;
            if arguments.remaining() < 3 {
                return Err(errors::SYNTAX);
            }
        }
        let (start, end) = (arguments.take()?, arguments.take()?);
        let count = arguments.take_i64()?.max(0) as u64;
        let (start, end) = (ids::interval_start(start)?, ids::interval_end(end)?);
        Ok(Some(Self { min_idle_ms, start, end, count, consumer: arguments.take_optional() }))
    }
}

pub(super) fn xpending(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, name) = (arguments.take()?, arguments.take()?);
    let selection = Selection::parse(arguments)?;
    let found = call.find_collection::<Stream>(key)?.ok_or_else(|| no_key_or_group(key, name))?;
    let now_ms = now_ms(call);
    let stream = call.keyspace.collection::<Stream>(call.database_index, found);
    let group = stream.group(name).ok_or_else(|| no_key_or_group(key, name))?;
    match selection {
        None => reply_summary(call.reply, group),
        Some(selection) => reply_selected(call.reply, group, &selection, now_ms),
    }
    Ok(())
}

fn reply_summary(reply: &mut Reply<'_>, group: &Group) {
    reply.array(4);
    reply.integer(group.pending_len() as i64);
    let Some((first, last)) = group.pending_ends() else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply.bulk(&first.text());
    reply.bulk(&last.text());
    let length = reply.deferred();
    let mut count = 0;
    for consumer in group.consumers().filter(|consumer| consumer.pending_len() > 0) {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_integer(consumer.pending_len() as i64);
        count += 1;
    }
    reply.finish_array(length, count);
}

fn reply_selected(reply: &mut Reply<'_>, group: &Group, selection: &Selection<'_>, now_ms: i64) {
    let start = selection.start;
    let pending: Box<dyn Iterator<Item = (StreamId, Pending)>> = match selection.consumer {
        None => Box::new(group.pending_from(start)),
        Some(name) => match group.find_consumer(name) {
            Some(id) => {
                let ids = group.consumer(id).pending_from(start);
                Box::new(ids.filter_map(|id| Some((id, group.pending(id)?))))
            }
            None => Box::new(std::iter::empty()),
        },
    };
    let idle_ms = |pending: Pending| now_ms.wrapping_sub(pending.delivered_ms);
    let min_idle_ms = selection.min_idle_ms;
    let selected = pending
        .take_while(|(id, _)| *id <= selection.end)
        .filter(|(_, pending)| min_idle_ms == 0 || idle_ms(*pending) >= min_idle_ms)
        .take(usize::try_from(selection.count).unwrap_or(usize::MAX));
    let length = reply.deferred();
    let mut count = 0;
    for (id, pending) in selected {
        reply.array(4);
        reply.bulk(&id.text());
        reply.bulk(group.consumer(pending.consumer).name());
        reply.integer(idle_ms(pending).max(0));
        reply.integer(pending.deliveries as i64);
        count += 1;
    }
    reply.finish_array(length, count);
}
