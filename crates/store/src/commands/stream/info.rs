//! XINFO.

use super::{at_most, no_group, now_ms, reply_entries, reply_entry, reply_lines, subcommand_syntax};
use crate::Found;
use crate::call::{Call, Outcome};
use crate::types::stream::{Consumer, Group, Log, Stream, StreamEntry, StreamId};
use shoal_protocol::{Arguments, ErrorReply, Reply, errors};

fn find_stream(call: &mut Call<'_, '_>, key: &[u8]) -> Result<Found, ErrorReply> {
    call.find_collection::<Stream>(key)?.ok_or(errors::NO_SUCH_KEY)
}

pub(super) fn stream(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let found = find_stream(call, arguments.take()?)?;
    let full = Full::parse(arguments)?;
    let stream = call.keyspace.collection::<Stream>(call.database_index, found);
    let reply = &mut *call.reply;
    match full {
        None => {
            reply.map(10);
            reply_log_facts(reply, stream.log());
            reply.bulk(b"groups");
            reply.integer(stream.group_count() as i64);
            let all = || stream.log().entries(StreamId::MIN, StreamId::MAX);
            reply.bulk(b"first-entry");
            reply_entry_or_null(reply, all().next());
            reply.bulk(b"last-entry");
            reply_entry_or_null(reply, all().backwards().next());
        }
        Some(Full { count }) => {
            reply.map(9);
            reply_log_facts(reply, stream.log());
            reply.bulk(b"entries");
            reply_entries(reply, stream.log().entries(StreamId::MIN, StreamId::MAX), count);
            reply.bulk(b"groups");
            reply.array(stream.group_count());
            for (name, group) in stream.groups() {
                reply_group_in_full(reply, name, group, stream.lag(group), at_most(count));
            }
        }
    }
    Ok(())
}

/// Everything is shown.
struct Full {
    /// The most entries of each kind; 0 for all.
    count: u64,
}

impl Full {
    /// `None` if the client wants a summary.
    fn parse(mut arguments: Arguments<'_>) -> Result<Option<Self>, ErrorReply> {
        const DEFAULT_COUNT: u64 = 10;
        if arguments.is_empty() {
            return Ok(None);
        }
        let words = arguments.remaining();
        if !matches!(words, 1 | 3) || !arguments.take_keyword("FULL") {
            return Err(subcommand_syntax(&arguments));
        }
        let mut count = DEFAULT_COUNT;
        if words == 3 {
            if !arguments.take_keyword("COUNT") {
                return Err(subcommand_syntax(&arguments));
            }
            count = u64::try_from(arguments.take_i64()?).unwrap_or(DEFAULT_COUNT);
        }
        Ok(Some(Self { count }))
    }
}

/// Seven facts that both forms show.
fn reply_log_facts(reply: &mut Reply<'_>, log: &Log) {
    let history = log.history();
    let mut integer = |name: &[u8], value: u64| {
        reply.bulk(name);
        reply.integer(value as i64);
    };
    integer(b"length", log.len());
    integer(b"radix-tree-keys", log.node_count() as u64);
    integer(b"radix-tree-nodes", log.radix_node_count());
    reply.bulk(b"last-generated-id");
    reply.bulk(&log.last_id().text());
    reply.bulk(b"max-deleted-entry-id");
    reply.bulk(&history.max_deleted_id.text());
    reply.bulk(b"entries-added");
    reply.integer(history.entries_added as i64);
    reply.bulk(b"recorded-first-entry-id");
    reply.bulk(&history.first_id.text());
}

fn reply_entry_or_null(reply: &mut Reply<'_>, entry: Option<StreamEntry<'_>>) {
    match entry {
        Some(entry) => reply_entry(reply, &entry),
        None => reply.null(),
    }
}

fn reply_integer_or_null(reply: &mut Reply<'_>, value: Option<i64>) {
    match value {
        Some(value) => reply.integer(value),
        None => reply.null(),
    }
}

fn reply_group_in_full(reply: &mut Reply<'_>, name: &[u8], group: &Group, lag: Option<i64>, count: usize) {
    reply.map(7);
    reply.bulk(b"name");
    reply.bulk(name);
    reply.bulk(b"last-delivered-id");
    reply.bulk(&group.last_id.text());
    reply.bulk(b"entries-read");
    reply_integer_or_null(reply, group.entries_read);
    reply.bulk(b"lag");
    reply_integer_or_null(reply, lag);
    reply.bulk(b"pel-count");
    reply.integer(group.pending_len() as i64);
    reply.bulk(b"pending");
    reply.array(group.pending_len().min(count));
    for (id, pending) in group.pending_from(StreamId::MIN).take(count) {
        reply.array(4);
        reply.bulk(&id.text());
        reply.bulk(group.consumer(pending.consumer).name());
        reply.integer(pending.delivered_ms);
        reply.integer(pending.deliveries as i64);
    }
    reply.bulk(b"consumers");
    reply.array(group.consumer_count());
    for consumer in group.consumers() {
        reply_consumer_in_full(reply, group, consumer, count);
    }
}

/// Stands for the time of something that never happened.
const NEVER: i64 = -1;

fn reply_consumer_in_full(reply: &mut Reply<'_>, group: &Group, consumer: &Consumer, count: usize) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    reply.bulk(b"seen-time");
    reply.integer(consumer.seen_ms);
    reply.bulk(b"active-time");
    reply.integer(consumer.active_ms.unwrap_or(NEVER));
    reply.bulk(b"pel-count");
    reply.integer(consumer.pending_len() as i64);
    reply.bulk(b"pending");
    reply.array(consumer.pending_len().min(count));
    for id in consumer.pending_from(StreamId::MIN).take(count) {
        let pending = group.pending(id);
        reply.array(3);
        reply.bulk(&id.text());
        reply.integer(pending.map_or(0, |pending| pending.delivered_ms));
        reply.integer(pending.map_or(0, |pending| pending.deliveries as i64));
    }
}

pub(super) fn groups(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let found = find_stream(call, arguments.take()?)?;
    let stream = call.keyspace.collection::<Stream>(call.database_index, found);
    let reply = &mut *call.reply;
    reply.array(stream.group_count());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"consumers");
        reply.integer(group.consumer_count() as i64);
        reply.bulk(b"pending");
        reply.integer(group.pending_len() as i64);
        reply.bulk(b"last-delivered-id");
        reply.bulk(&group.last_id.text());
        reply.bulk(b"entries-read");
        reply_integer_or_null(reply, group.entries_read);
        reply.bulk(b"lag");
        reply_integer_or_null(reply, stream.lag(group));
    }
    Ok(())
}

pub(super) fn consumers(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, name) = (arguments.take()?, arguments.take()?);
    let found = find_stream(call, key)?;
    let now_ms = now_ms(call);
    let stream = call.keyspace.collection::<Stream>(call.database_index, found);
    let group = stream.group(name).ok_or_else(|| no_group(name, key))?;
    let reply = &mut *call.reply;
    reply.array(group.consumer_count());
    for consumer in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        reply.bulk(b"pending");
        reply.integer(consumer.pending_len() as i64);
        reply.bulk(b"idle");
        reply.integer(now_ms.wrapping_sub(consumer.seen_ms).max(0));
        reply.bulk(b"inactive");
        reply.integer(consumer.active_ms.map_or(NEVER, |active_ms| now_ms.wrapping_sub(active_ms)));
    }
    Ok(())
}

pub(super) fn help(call: &mut Call<'_, '_>, _: Arguments<'_>) -> Outcome {
    const LINES: [&str; 9] = [
        "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CONSUMERS <key> <groupname>",
        "    The consumers of a group.",
        "GROUPS <key>",
        "    The groups of a stream.",
        "STREAM <key> [FULL [COUNT <count>]]",
        "    Facts about a stream, with FULL its entries, groups and consumers, too.",
        "HELP",
        "    Print this help.",
    ];
    reply_lines(call, &LINES)
}
