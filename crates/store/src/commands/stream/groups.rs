//! XGROUP.

use super::{ids, no_group, now_ms, reply_lines, subcommand_syntax};
use crate::Found;
use crate::call::{Call, EventClass, Outcome};
use crate::types::stream::{Group, Stream, StreamId};
use shoal_protocol::{Arguments, ErrorReply};

const NO_KEY: ErrorReply = ErrorReply::new(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
     MKSTREAM option to create an empty stream automatically.",
);
const GROUP_EXISTS: ErrorReply = ErrorReply::new("BUSYGROUP Consumer Group name already exists");
const NEGATIVE_ENTRIES_READ: ErrorReply = ErrorReply::new("ERR value for ENTRIESREAD must be positive or -1");
/// Words of XGROUP CREATE with all options.
const CREATE_MAX_WORDS: usize = 8;
/// Words of XGROUP SETID without and with its option.
const SET_ID_WORDS: [usize; 2] = [5, 7];

/// What stands behind the id in CREATE and SETID.
#[derive(Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<i64>,
}

impl Options {
    fn parse(mut arguments: Arguments<'_>, creates: bool) -> Result<Self, ErrorReply> {
        let mut options = Self::default();
        while !arguments.is_empty() {
            if creates && arguments.take_keyword("MKSTREAM") {
                options.make_stream = true;
            } else if arguments.remaining() >= 2 && arguments.take_keyword("ENTRIESREAD") {
                options.entries_read = match arguments.take_i64()? {
                    -1 => None,
                    negative if negative < 0 => return Err(NEGATIVE_ENTRIES_READ),
                    read => Some(read),
                };
            } else {
                return Err(subcommand_syntax(&arguments));
            }
        }
        Ok(options)
    }
}

pub(super) fn create(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, name, id) = (arguments.take()?, arguments.take()?, arguments.take()?);
    let options = Options::parse(arguments, true)?;
    let found = call.find_collection_for_write::<Stream>(key)?;
    if found.is_none() && !options.make_stream {
        return Err(NO_KEY);
    }
    if arguments.request().len() > CREATE_MAX_WORDS {
        return Err(subcommand_syntax(&arguments));
    }
    let id = group_id(call, found, id, ids::strict)?;
    let found = match found {
        Some(found) => found,
        None => {
            call.touched_in(call.database_index, key);
            call.insert(key, Stream::default().into(), None)
        }
    };
    let mut stream = call.keyspace.collection_mut::<Stream>(call.database_index, found);
    if !stream.add_group(name, Group::new(id, options.entries_read)) {
        return Err(GROUP_EXISTS);
    }
    drop(stream);
    call.reply.ok();
    call.effects.dirty += 1;
    call.event(EventClass::Stream, "xgroup-create", key);
    Ok(())
}

/// The id of a group: `$` is the stream's last one.
fn group_id(
    call: &Call<'_, '_>,
    found: Option<Found>,
    word: &[u8],
    parse: impl FnOnce(&[u8]) -> Result<StreamId, ErrorReply>,
) -> Result<StreamId, ErrorReply> {
    if word != b"$" {
        return parse(word);
    }
    let last_id = |found| call.keyspace.collection::<Stream>(call.database_index, found).log().last_id();
    Ok(found.map_or(StreamId::MIN, last_id))
}

/// The stream, which has to be there.
fn find_stream(call: &mut Call<'_, '_>, key: &[u8]) -> Result<Found, ErrorReply> {
    call.find_collection_for_write::<Stream>(key)?.ok_or(NO_KEY)
}

/// Does something to a group, which has to be there.
fn with_group<R>(
    call: &mut Call<'_, '_>,
    found: Found,
    key: &[u8],
    name: &[u8],
    change: impl FnOnce(&mut Group) -> R,
) -> Result<R, ErrorReply> {
    let mut stream = call.keyspace.collection_mut::<Stream>(call.database_index, found);
    stream.group_mut(name).map(change).ok_or_else(|| no_group(name, key))
}

pub(super) fn set_id(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, name, id) = (arguments.take()?, arguments.take()?, arguments.take()?);
    let options = Options::parse(arguments, false)?;
    let found = find_stream(call, key)?;
    with_group(call, found, key, name, |_| ())?;
    if !SET_ID_WORDS.contains(&arguments.request().len()) {
        return Err(subcommand_syntax(&arguments));
    }
    let id = group_id(call, Some(found), id, |word| ids::with_extremes(word, 0))?;
    with_group(call, found, key, name, |group| {
        group.last_id = id;
        group.entries_read = options.entries_read;
    })?;
    call.reply.ok();
    call.effects.dirty += 1;
    call.event(EventClass::Stream, "xgroup-setid", key);
    Ok(())
}

pub(super) fn destroy(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, name) = (arguments.take()?, arguments.take()?);
    let found = find_stream(call, key)?;
    let mut stream = call.keyspace.collection_mut::<Stream>(call.database_index, found);
    let is_removed = stream.remove_group(name);
    drop(stream);
    if is_removed {
        // Clients that wait for the group are told that it is gone.
        call.changed(key);
        call.event(EventClass::Stream, "xgroup-destroy", key);
    }
    call.reply.integer(i64::from(is_removed));
    Ok(())
}

pub(super) fn create_consumer(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, name, consumer) = (arguments.take()?, arguments.take()?, arguments.take()?);
    let found = find_stream(call, key)?;
    let now_ms = now_ms(call);
    let added = with_group(call, found, key, name, |group| group.add_consumer(consumer, now_ms))?;
    if added.is_some() {
        call.effects.dirty += 1;
        call.event(EventClass::Stream, "xgroup-createconsumer", key);
    }
    call.reply.integer(i64::from(added.is_some()));
    Ok(())
}

pub(super) fn delete_consumer(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, name, consumer) = (arguments.take()?, arguments.take()?, arguments.take()?);
    let found = find_stream(call, key)?;
    let pending = with_group(call, found, key, name, |group| group.remove_consumer(consumer))?;
    if pending.is_some() {
        call.effects.dirty += 1;
        call.event(EventClass::Stream, "xgroup-delconsumer", key);
    }
    call.reply.integer(pending.unwrap_or(0) as i64);
    Ok(())
}

pub(super) fn help(call: &mut Call<'_, '_>, _: Arguments<'_>) -> Outcome {
    const LINES: [&str; 17] = [
        "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CREATE <key> <groupname> <id|$> [option]",
        "    Add a consumer group. The options:",
        "    * MKSTREAM",
        "      Make an empty stream if there is none.",
        "    * ENTRIESREAD entries_read",
        "      How many entries the group has read (internal use).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Add a consumer to a group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Take a consumer out of a group.",
        "DESTROY <key> <groupname>",
        "    Take a group out of a stream.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set up to where a group has read.",
        "HELP",
        "    Print this help.",
    ];
    reply_lines(call, &LINES)
}
