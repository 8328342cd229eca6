//! Streams: what `commands.json` lists in the group `stream`.

mod append;
mod claim;
mod groups;
mod ids;
mod info;
mod pending;
mod range;
mod read;

use super::{Body, reply_with_element};
use crate::call::{Call, EventClass, Propagation};
use crate::types::stream::{ConsumerId, Group, Pending, Stream, StreamEntry, StreamId};
use crate::{Found, Outcome};
use shoal_protocol::{Arguments, CommandId, ErrorReply, OwnedRequest, Reply};

pub(super) const BODIES: &[(CommandId, Body)] = &[
    (CommandId::Xack, pending::xack),
    (CommandId::Xadd, append::xadd),
    (CommandId::Xautoclaim, claim::xautoclaim),
    (CommandId::Xclaim, claim::xclaim),
    (CommandId::Xdel, range::xdel),
    (CommandId::XgroupCreate, groups::create),
    (CommandId::XgroupCreateconsumer, groups::create_consumer),
    (CommandId::XgroupDelconsumer, groups::delete_consumer),
    (CommandId::XgroupDestroy, groups::destroy),
    (CommandId::XgroupHelp, groups::help),
    (CommandId::XgroupSetid, groups::set_id),
    (CommandId::XinfoConsumers, info::consumers),
    (CommandId::XinfoGroups, info::groups),
    (CommandId::XinfoHelp, info::help),
    (CommandId::XinfoStream, info::stream),
    (CommandId::Xlen, range::xlen),
    (CommandId::Xpending, pending::xpending),
    (CommandId::Xrange, range::xrange),
    (CommandId::Xread, read::xread),
    (CommandId::Xreadgroup, read::xreadgroup),
    (CommandId::Xrevrange, range::xrevrange),
    (CommandId::Xsetid, range::xsetid),
    (CommandId::Xtrim, append::xtrim),
];

/// The error for a group that is not there, or whose key is not.
fn no_key_or_group(key: &[u8], group: &[u8]) -> ErrorReply {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    ErrorReply::from(format!("NOGROUP No such key '{key}' or consumer group '{group}'"))
}

/// The error for a group that the stream has not.
fn no_group(group: &[u8], key: &[u8]) -> ErrorReply {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    ErrorReply::from(format!("NOGROUP No such consumer group '{group}' for key name '{key}'"))
}

/// The error for words after a subcommand's name that it does not know.
fn subcommand_syntax(arguments: &Arguments<'_>) -> ErrorReply {
    /// Bytes of the name that are repeated.
    const NAME_MAX_BYTES: usize = 128;
    let request = arguments.request();
    let name = request.argument(1);
    let name = String::from_utf8_lossy(&name[..name.len().min(NAME_MAX_BYTES)]);
    let container = String::from_utf8_lossy(request.argument(0)).to_uppercase();
    ErrorReply::from(format!(
        "ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP."
    ))
}

/// The time as streams note it.
fn now_ms(call: &Call<'_, '_>) -> i64 {
    call.now.unix_ms() as i64
}

/// Replies with an entry: its id, and its fields and values.
fn reply_entry(reply: &mut Reply<'_>, entry: &StreamEntry<'_>) {
    reply.array(2);
    reply.bulk(&entry.id.text());
    reply.array(2 * entry.field_count());
    for word in entry.words() {
        reply_with_element(reply, word);
    }
}

/// Replies with entries, `count` at the most (0: all).
fn reply_entries<'a>(
    reply: &mut Reply<'_>,
    entries: impl Iterator<Item = StreamEntry<'a>>,
    count: u64,
) -> usize {
    let length = reply.deferred();
    let mut replied = 0;
    for entry in entries.take(at_most(count)) {
        reply_entry(reply, &entry);
        replied += 1;
    }
    reply.finish_array(length, replied);
    replied
}

/// A count of which 0 means any number.
fn at_most(count: u64) -> usize {
    if count == 0 { usize::MAX } else { usize::try_from(count).unwrap_or(usize::MAX) }
}

fn reply_lines(call: &mut Call<'_, '_>, lines: &[&str]) -> Outcome {
    call.reply.array(lines.len());
    lines.iter().for_each(|line| call.reply.simple(line));
    Ok(())
}

/// A group of a stream, and how changes of it are propagated.
struct GroupTarget<'q> {
    key: &'q [u8],
    name: &'q [u8],
    found: Found,
}

impl<'q> GroupTarget<'q> {
    /// Does something to the group, which is there; what it returns is propagated.
    fn with<R>(
        &self,
        call: &mut Call<'_, '_>,
        change: impl FnOnce(&mut Parts<'_, '_, 'q>) -> R,
    ) -> Option<R> {
        let mut stream = call.keyspace.collection_mut::<Stream>(call.database_index, self.found);
        let (log, group) = stream.log_and_group_mut(self.name)?;
        let mut parts = Parts {
            log,
            group,
            reply: call.reply,
            key: self.key,
            name: self.name,
            requests: Vec::new(),
            skip_propagation: call.effects.skip_propagation,
            dirty: 0,
        };
        let outcome = change(&mut parts);
        let Parts { requests, dirty, .. } = parts;
        drop(stream);
        call.effects.dirty += dirty;
        requests.into_iter().for_each(|request| call.propagate_request_instead(request));
        Some(outcome)
    }

    /// The consumer of this name, which is added if it is not there.
    fn consumer(&self, call: &mut Call<'_, '_>, name: &[u8]) -> Option<ConsumerId> {
        let now_ms = now_ms(call);
        let (id, is_new) = self.with(call, |parts| {
            if let Some(id) = parts.group.find_consumer(name) {
                parts.group.consumer_mut(id).seen_ms = now_ms;
                return Some((id, false));
            }
            parts.dirty += 1;
            parts.propagate(&[b"XGROUP", b"CREATECONSUMER", parts.key, parts.name, name]);
            Some((parts.group.add_consumer(name, now_ms)?, true))
        })??;
        if is_new {
            call.event(EventClass::Stream, "xgroup-createconsumer", self.key);
        }
        Some(id)
    }
}

/// What a command may use while it changes a group.
struct Parts<'a, 'r, 'q> {
    log: &'a crate::types::stream::Log,
    group: &'a mut Group,
    reply: &'a mut Reply<'r>,
    key: &'q [u8],
    name: &'q [u8],
    requests: Vec<OwnedRequest>,
    skip_propagation: bool,
    dirty: u64,
}

impl Parts<'_, '_, '_> {
    fn propagate(&mut self, words: &[&[u8]]) {
        if !self.skip_propagation {
            self.requests.push(OwnedRequest::new(words));
        }
    }

    /// A pending entry as a claim that has the same effect wherever and however often it is carried out.
    fn propagate_claim(&mut self, id: &[u8], pending: Pending) {
        if self.skip_propagation {
            return;
        }
        let (mut delivered, mut deliveries) = (itoa::Buffer::new(), itoa::Buffer::new());
        let request = OwnedRequest::new([
            b"XCLAIM".as_slice(),
            self.key,
            self.name,
            self.group.consumer(pending.consumer).name(),
            b"0",
            id,
            b"TIME",
            delivered.format(pending.delivered_ms).as_bytes(),
            b"RETRYCOUNT",
            deliveries.format(pending.deliveries).as_bytes(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            &self.group.last_id.text(),
        ]);
        self.requests.push(request);
    }

    /// How far the group has read.
    fn propagate_last_id(&mut self) {
        let mut entries_read = itoa::Buffer::new();
        let entries_read = entries_read.format(self.group.entries_read.unwrap_or(-1));
        let last_id = self.group.last_id.text();
        let (key, name) = (self.key, self.name);
        let words: [&[u8]; 7] =
            [b"XGROUP", b"SETID", key, name, &last_id, b"ENTRIESREAD", entries_read.as_bytes()];
        self.propagate(&words);
    }

    /// Replies with an entry that a consumer claims.
    fn reply_claimed(&mut self, id: StreamId, just_id: bool) {
        match self.log.entries(id, id).next().filter(|_| !just_id) {
            Some(entry) => reply_entry(self.reply, &entry),
            None => self.reply.bulk(&id.text()),
        }
    }
}

/// Nothing is propagated but what follows.
fn propagate_effects_only(call: &mut Call<'_, '_>) {
    call.effects.propagation = Propagation::Instead(Vec::new());
}

#[cfg(test)]
mod tests;
