//! XREAD and XREADGROUP.

use super::{GroupTarget, Parts, at_most, ids, now_ms, propagate_effects_only, reply_entries, reply_entry};
use crate::Found;
use crate::call::{Block, Call, Outcome, TimeoutReply};
use crate::commands::timeout::timeout_given_in_ms;
use crate::types::Type;
use crate::types::stream::{ConsumerId, Pending, Stream, StreamId};
use shoal_protocol::reply::Deferred;
use shoal_protocol::request::Request;
use shoal_protocol::{Arguments, ErrorReply, OwnedRequest, errors, number};

const GROUP_OF_XREAD: ErrorReply =
    ErrorReply::new("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.");
const NOACK_OF_XREAD: ErrorReply =
    ErrorReply::new("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.");
const NO_GROUP_OPTION: ErrorReply = ErrorReply::new("ERR Missing GROUP option for XREADGROUP");
const LAST_ID_OF_XREADGROUP: ErrorReply = ErrorReply::new(
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer \
     by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty \
     result set.",
);
const NEW_ID_OF_XREAD: ErrorReply = ErrorReply::new(
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
);

/// Who reads as part of a group.
#[derive(Clone, Copy)]
struct Reader<'q> {
    group: &'q [u8],
    consumer: &'q [u8],
}

/// What stands before the keys.
#[derive(Default)]
struct Options<'q> {
    timeout_ms: Option<u64>,
    /// The most entries of a stream; 0 for all.
    count: u64,
    no_ack: bool,
    reader: Option<Reader<'q>>,
    first_key: usize,
    stream_count: usize,
}

impl<'q> Options<'q> {
    fn parse(call: &Call<'_, '_>, request: Request<'q>, in_group: bool) -> Result<Self, ErrorReply> {
        let mut options = Self::default();
        let mut position = 1;
        while position < request.len() && options.first_key == 0 {
            let word = request.argument(position);
            let more = request.len() - position - 1;
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            if is("BLOCK") && more > 0 {
                position += 1;
                options.timeout_ms = Some(timeout_given_in_ms(call.now, request.argument(position))?);
            } else if is("COUNT") && more > 0 {
                position += 1;
                let count = number::parse_i64(request.argument(position)).ok_or(errors::NOT_AN_INTEGER)?;
                options.count = count.max(0) as u64;
            } else if is("STREAMS") && more > 0 {
                if !more.is_multiple_of(2) {
                    return Err(unbalanced(in_group));
                }
                options.first_key = position + 1;
                options.stream_count = more / 2;
            } else if is("GROUP") && more >= 2 {
                if !in_group {
                    return Err(GROUP_OF_XREAD);
                }
                let (group, consumer) = (request.argument(position + 1), request.argument(position + 2));
                options.reader = Some(Reader { group, consumer });
                position += 2;
            } else if is("NOACK") {
                if !in_group {
                    return Err(NOACK_OF_XREAD);
                }
                options.no_ack = true;
            } else {
                return Err(errors::SYNTAX);
            }
            position += 1;
        }
        match options.reader {
            _ if options.first_key == 0 => Err(errors::SYNTAX),
            None if in_group => Err(NO_GROUP_OPTION),
            _ => Ok(options),
        }
    }

    fn key(&self, request: Request<'q>, index: usize) -> &'q [u8] {
        request.argument(self.first_key + index)
    }

    fn id_position(&self, index: usize) -> usize {
        self.first_key + self.stream_count + index
    }
}

fn unbalanced(in_group: bool) -> ErrorReply {
    let (name, symbol) = if in_group { ("xreadgroup", '>') } else { ("xread", '$') };
    ErrorReply::from(format!(
        "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be specified."
    ))
}

/// Which entries of a stream a client wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// Those after this one; for a group's reader, those of them that it has not acknowledged.
    Id(StreamId),
    /// Those that nobody in the group has read.
    New,
}

pub(super) fn xread(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let request = arguments.request();
    let options = Options::parse(call, request, false)?;
    let mut after = Vec::new();
    for index in 0..options.stream_count {
        let found = call.find_collection::<Stream>(options.key(request, index))?;
        after.push(match request.argument(options.id_position(index)) {
            b"$" => found.map_or(StreamId::MIN, |found| {
                call.keyspace.collection::<Stream>(call.database_index, found).log().last_id()
            }),
            b">" => return Err(NEW_ID_OF_XREAD),
            word => ids::strict(word)?,
        });
    }
    let mut replies = Replies::default();
    for (index, after) in after.iter().enumerate() {
        let key = options.key(request, index);
        let Some(found) = call.find_for_read(key) else { continue };
        let stream = call.keyspace.collection::<Stream>(call.database_index, found);
        let has_more = stream.log().last_entry_id().is_some_and(|last| last > *after);
        if let (true, Some(start)) = (has_more, after.next()) {
            replies.begin(call.reply, key);
            reply_entries(call.reply, stream.log().entries(start, StreamId::MAX), options.count);
        }
    }
    if !replies.finish(call) {
        let ids = after.iter().map(|after| after.text());
        let retry = ids.enumerate().map(|(index, id)| (options.id_position(index), id));
        let retry = with_last_ids(request, retry);
        wait(call, &options, request, retry);
    }
    Ok(())
}

/// The request with ids in the place of every `$`; `None` if there is none.
fn with_last_ids(
    request: Request<'_>,
    ids: impl Iterator<Item = (usize, crate::types::stream::IdText)>,
) -> Option<OwnedRequest> {
    let mut ids = ids.filter(|(position, _)| request.argument(*position) == b"$").peekable();
    ids.peek()?;
    let mut retry = OwnedRequest::new::<[&[u8]; 0]>([]);
    for (position, word) in request.iter().enumerate() {
        match ids.next_if(|(wanted, _)| *wanted == position) {
            Some((_, id)) => retry.push(&id),
            None => retry.push(word),
        }
    }
    Some(retry)
}

/// Nothing was found: waits if the client wants that.
fn wait(call: &mut Call<'_, '_>, options: &Options<'_>, request: Request<'_>, retry: Option<OwnedRequest>) {
    let Some(timeout_ms) = options.timeout_ms else {
        call.reply.null_array();
        return;
    };
    let keys = (0..options.stream_count).map(|index| options.key(request, index).to_vec()).collect();
    call.block(Block {
        keys,
        kind: Type::Stream,
        timeout_ms,
        on_timeout: TimeoutReply::NullArray,
        retry,
        until_key_goes: options.reader.is_some(),
    });
}

/// The replies of several streams, with their keys.
#[derive(Default)]
struct Replies {
    length: Option<Deferred>,
    count: usize,
}

impl Replies {
    fn begin(&mut self, reply: &mut shoal_protocol::Reply<'_>, key: &[u8]) {
        self.length.get_or_insert_with(|| reply.deferred());
        self.count += 1;
        if !reply.is_resp3() {
            reply.array(2);
        }
        reply.bulk(key);
    }

    /// False if there are none.
    fn finish(self, call: &mut Call<'_, '_>) -> bool {
        let Some(length) = self.length else { return false };
        if call.reply.is_resp3() {
            call.reply.finish_map(length, self.count);
        } else {
            call.reply.finish_array(length, self.count);
        }
        true
    }
}

pub(super) fn xreadgroup(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let request = arguments.request();
    let options = Options::parse(call, request, true)?;
    let reader = options.reader.ok_or(NO_GROUP_OPTION)?;
    let mut after = Vec::new();
    for index in 0..options.stream_count {
        let key = options.key(request, index);
        let found = call.find_collection::<Stream>(key)?;
        if !found.is_some_and(|found| has_group(call, found, reader.group)) {
            return Err(no_group_to_read(key, reader.group));
        }
        after.push(match request.argument(options.id_position(index)) {
            b"$" => return Err(LAST_ID_OF_XREADGROUP),
            b">" => After::New,
            // The greatest id stands for new entries, too, as no history follows it.
            word => Some(ids::strict(word)?).filter(|id| *id != StreamId::MAX).map_or(After::New, After::Id),
        });
    }
    propagate_effects_only(call);
    let mut replies = Replies::default();
    for (index, after) in after.into_iter().enumerate() {
        let key = options.key(request, index);
        let Some(found) = call.find_for_read(key) else { continue };
        let target = GroupTarget { key, name: reader.group, found };
        read_in_group(call, &target, after, &options, reader.consumer, &mut replies);
    }
    if !replies.finish(call) {
        wait(call, &options, request, None);
    }
    Ok(())
}

fn has_group(call: &Call<'_, '_>, found: Found, name: &[u8]) -> bool {
    call.keyspace.collection::<Stream>(call.database_index, found).group(name).is_some()
}

fn no_group_to_read(key: &[u8], group: &[u8]) -> ErrorReply {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    ErrorReply::from(format!(
        "NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option"
    ))
}

/// Reads one stream; the consumer is there afterwards, whether it was given something or not.
fn read_in_group(
    call: &mut Call<'_, '_>,
    target: &GroupTarget<'_>,
    after: After,
    options: &Options<'_>,
    consumer: &[u8],
    replies: &mut Replies,
) {
    let Some(consumer) = target.consumer(call, consumer) else { return };
    let now_ms = now_ms(call);
    target.with(call, |parts| {
        let start = match after {
            After::Id(id) => id.next(),
            After::New if parts.log.is_empty() => None,
            After::New => {
                let last = parts.log.last_entry_id();
                parts.group.last_id.next().filter(|_| last.is_some_and(|last| last > parts.group.last_id))
            }
        };
        let Some(start) = start else { return };
        parts.dirty += 1;
        replies.begin(parts.reply, parts.key);
        match after {
            After::Id(_) => reply_with_history(parts, start, options.count, consumer, now_ms),
            After::New => deliver(parts, start, options, consumer, now_ms),
        }
    });
}

/// Replies with new entries, which become pending.
fn deliver(
    parts: &mut Parts<'_, '_, '_>,
    start: StreamId,
    options: &Options<'_>,
    consumer: ConsumerId,
    now_ms: i64,
) {
    let length = parts.reply.deferred();
    let mut count = 0;
    for entry in parts.log.entries(start, StreamId::MAX).take(at_most(options.count)) {
        parts.group.advance(entry.id, parts.log);
        reply_entry(parts.reply, &entry);
        count += 1;
        if !options.no_ack {
            let pending = Pending { consumer, delivered_ms: now_ms, deliveries: 1 };
            parts.group.deliver(entry.id, pending);
            parts.group.consumer_mut(consumer).active_ms = Some(now_ms);
            parts.propagate_claim(&entry.id.text(), pending);
        }
    }
    parts.reply.finish_array(length, count);
    if count > 0 {
        parts.propagate_last_id();
    }
}

/// Replies with what the consumer has not acknowledged; entries that are gone have null in the place of their fields.
fn reply_with_history(
    parts: &mut Parts<'_, '_, '_>,
    start: StreamId,
    count: u64,
    consumer: ConsumerId,
    now_ms: i64,
) {
    let pending = parts.group.consumer(consumer).pending_from(start);
    let pending: Vec<StreamId> = pending.take(at_most(count)).collect();
    parts.reply.array(pending.len());
    for id in pending {
        let Some(entry) = parts.log.entries(id, id).next() else {
            parts.reply.array(2);
            parts.reply.bulk(&id.text());
            parts.reply.null_array();
            continue;
        };
        reply_entry(parts.reply, &entry);
        if let Some(mut pending) = parts.group.pending(id) {
            pending.delivered_ms = now_ms;
            pending.deliveries = pending.deliveries.wrapping_add(1);
            parts.group.deliver(id, pending);
        }
    }
}
