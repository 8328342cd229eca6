//! DEBUG: what tests and developers do to a server.

use super::debug_tables;
use crate::call::{NodeBody, NodeCall};
use crate::commands::debug_layout::{listpack, quicklist, quicklist_remarks};
use crate::host::{Crash, LogLevel};
use shoal_cluster::ClusterCommand;
use shoal_protocol::number::parse_f64;
use shoal_protocol::{Arguments, CommandId, ErrorReply, Reply, errors};
use shoal_store::digest::{keyspace_digest, value_digest};
use shoal_store::populate::{self, Populate};
use shoal_store::table::Item;
use shoal_store::{Entry, Outcome, StoreOptions, Text, access, snapshot};
use std::fmt::Write as _;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[(CommandId::Debug, debug)];

/// Any number of words.
const ANY: i8 = i8::MIN;

/// A subcommand: its name, how many words follow it (at least as many if negative), and what it does.
type Row = (&'static str, i8, NodeBody);

const SUBCOMMANDS: &[Row] = &[
    ("AOF-FLUSH-SLEEP", 1, accept),
    ("ASSERT", 0, |call, _| crash(call, Crash::Assertion)),
    ("CHANGE-REPL-ID", 0, change_replication_id),
    ("CLIENT-ENFORCE-REPLY-LIST", 1, accept),
    ("CLIENT-EVICTION", 0, client_eviction),
    ("CLUSTERLINK", 3, close_cluster_links),
    ("CONFIG-REWRITE-FORCE-ALL", 0, rewrite_all),
    ("DELAY-RDB-CLIENT-FREE-SECONDS", 1, accept),
    ("DICT-RESIZING", 1, resize_tables),
    ("DIGEST", 0, digest),
    ("DIGEST-VALUE", -1, digest_value),
    ("DROP-CLUSTER-PACKET-FILTER", 1, drop_cluster_packet_filter),
    ("ERROR", 1, error),
    ("HELP", 0, help),
    ("HTSTATS", 1, debug_tables::of_database),
    ("HTSTATS-KEY", 1, debug_tables::of_key),
    ("LEAK", 1, leak),
    ("LISTPACK", 1, listpack),
    ("LOADAOF", 0, load_aof),
    ("LOG", 1, log),
    ("OBJECT", -1, object),
    ("OOM", 0, |call, _| crash(call, Crash::OutOfMemory)),
    ("PANIC", 0, |call, _| crash(call, Crash::Panic)),
    ("PAUSE-CRON", 1, pause_cron),
    ("POPULATE", -1, populate_database),
    ("PROTOCOL", 1, protocol),
    ("QUICKLIST", -1, quicklist),
    ("QUICKLIST-PACKED-THRESHOLD", 1, quicklist_packed_threshold),
    ("RELOAD", ANY, reload),
    ("REPLICATE", -1, replicate),
    ("REPLYBUFFER", 2, reply_buffer),
    ("SEGFAULT", 0, |call, _| crash(call, Crash::SegmentationFault)),
    ("SET-ACTIVE-EXPIRE", 1, set_active_expire),
    ("SET-DISABLE-DENY-SCRIPTS", 1, accept),
    ("SET-SKIP-CHECKSUM-VALIDATION", 1, set_skip_checksum_validation),
    ("SLEEP", 1, sleep),
    ("STRINGMATCH-LEN", 2, string_match),
];

fn debug(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let name = arguments.take()?;
    let count = arguments.remaining();
    let fits = |words: i8| {
        let wanted = usize::from(words.unsigned_abs());
        if words == ANY {
            true
        } else if words < 0 {
            count >= wanted
        } else {
            count == wanted
        }
    };
    let row =
        SUBCOMMANDS.iter().find(|(own, words, _)| own.as_bytes().eq_ignore_ascii_case(name) && fits(*words));
    match row {
        Some((_, _, body)) => body(call, arguments),
        None => Err(call.subcommand_syntax(name)),
    }
}

/// A switch of something that this program does not have: nothing to be done.
fn accept(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply().ok();
    Ok(())
}

fn crash(call: &mut NodeCall<'_>, crash: Crash) -> Outcome {
    call.host.crash(crash);
    // Only a test lives on.
    call.reply().ok();
    Ok(())
}

/// Any number but zero switches on, as C reads a number.
fn take_switch(arguments: &mut Arguments<'_>) -> Result<bool, ErrorReply> {
    let word = arguments.take()?;
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let number: Vec<u8> = digits.iter().copied().take_while(u8::is_ascii_digit).collect();
    Ok(number.iter().any(|&digit| digit != b'0'))
}

fn set_active_expire(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    call.node.active_expire_enabled = take_switch(&mut arguments)?;
    call.reply().ok();
    Ok(())
}

fn set_skip_checksum_validation(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    call.node.options.skip_checksum = take_switch(&mut arguments)?;
    call.reply().ok();
    Ok(())
}

fn resize_tables(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    call.node.keyspace.forbids_shrinking = !take_switch(&mut arguments)?;
    call.reply().ok();
    Ok(())
}

/// Reply buffers have the size that they need, so that there is nothing to be set; the words are looked at.
fn reply_buffer(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let name = arguments.take()?;
    if name.eq_ignore_ascii_case(b"PEAK-RESET-TIME") {
        if !arguments.take_keyword("NEVER") && !arguments.take_keyword("RESET") {
            arguments.take_i64()?;
        }
    } else if name.eq_ignore_ascii_case(b"RESIZING") {
        take_switch(&mut arguments)?;
    } else {
        return Err(call.subcommand_syntax(b"REPLYBUFFER"));
    }
    call.reply().ok();
    Ok(())
}

/// Sends any words to replicas and into the append-only file as a command, without carrying it out. Who gets it cannot be
/// chosen, `ALL` before it says nothing new: both are fed with the same bytes.
fn replicate(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    if arguments.remaining() > 1 {
        arguments.take_keyword("ALL");
    }
    let words: Vec<&[u8]> = arguments.rest().collect();
    call.node.propagate_own(call.session.database, words);
    call.reply().ok();
    Ok(())
}

/// How many clients hold how much memory, by powers of two as Redis keeps them for `maxmemory-clients`.
fn client_eviction(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    /// The first group goes to 32 KiB, the last one begins at 4 GiB.
    const FIRST_BITS: u32 = 15;
    const GROUPS: usize = 19;
    if !call.node.client_memory_is_limited() {
        return Err(ErrorReply::new("ERR maxmemory-clients is disabled."));
    }
    let mut groups = [(0u64, 0u32); GROUPS];
    for (_, session) in call.clients() {
        let bytes = crate::client_line::memory_bytes(session) as u64;
        let bits = (u64::BITS - bytes.leading_zeros()).saturating_sub(FIRST_BITS) as usize;
        let group = &mut groups[bits.min(GROUPS - 1)];
        *group = (group.0 + bytes, group.1 + 1);
    }
    let mut text = "Bucket         Tot Mem       Clients\n".to_owned();
    for (index, (bytes, clients)) in groups.iter().enumerate() {
        let bound = crate::info::human(1 << (FIRST_BITS + index as u32));
        let _ = match index + 1 == GROUPS {
            false => writeln!(text, "Below {bound:>8} {bytes:>10} {clients:>10}"),
            true => writeln!(text, "Above        {bytes:>10} {clients:>10}"),
        };
    }
    call.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

fn pause_cron(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    call.node.is_housekeeping_paused = take_switch(&mut arguments)?;
    call.reply().ok();
    Ok(())
}

fn sleep(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let seconds = parse_f64(arguments.take()?).unwrap_or(0.0);
    call.host.sleep_us((seconds * 1_000_000.0) as u64, false);
    call.reply().ok();
    Ok(())
}

fn digest(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let digest = keyspace_digest(&call.node.keyspace);
    call.reply().simple(&digest.to_string());
    Ok(())
}

fn digest_value(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    let database = call.node.keyspace.database(call.session.database);
    let mut reply = call.session.reply();
    reply.array(arguments.remaining());
    for key in arguments.rest() {
        reply.simple(&value_digest(database, database.find(key)).to_string());
    }
    Ok(())
}

fn object(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let database = call.node.keyspace.database(call.session.database);
    let found = database.find(key).ok_or(errors::NO_SUCH_KEY)?;
    let entry = database.entry(found);
    let text = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}{}",
        entry.key().as_ptr(),
        entry.encoding(),
        serialized_bytes(&entry, &call.node.options),
        entry.access(),
        access::lru_idle_s(entry.access(), call.now),
        quicklist_remarks(entry.value())
    );
    call.session.reply().simple(&text);
    Ok(())
}

/// The length of a string value in a snapshot without compression, of a collection as the settings say.
fn serialized_bytes(entry: &Entry, options: &StoreOptions) -> usize {
    /// Bytes around a value in a payload: its type, the version, the checksum.
    const AROUND_BYTES: usize = 1 + 2 + 8;
    let of_bytes = |length: usize| match length {
        0..=63 => length + 1,
        64..=16_383 => length + 2,
        _ => length + 5,
    };
    match entry.text() {
        Some(Text::Integer(integer)) => match integer {
            -0x80..=0x7f => 2,
            -0x8000..=0x7fff => 3,
            -0x8000_0000..=0x7fff_ffff => 5,
            _ => of_bytes(integer.to_string().len()),
        },
        Some(Text::Bytes(bytes)) => of_bytes(bytes.len()),
        Some(Text::Shared(bytes)) => of_bytes(bytes.len()),
        None => snapshot::dump(entry.value(), options).len() - AROUND_BYTES,
    }
}

fn populate_database(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let take_size = |arguments: &mut Arguments<'_>| {
        let size = arguments.take_i64().ok().and_then(|size| usize::try_from(size).ok());
        size.ok_or(errors::MUST_BE_POSITIVE)
    };
    let count = take_size(&mut arguments)? as u64;
    let prefix = arguments.take_optional().unwrap_or(b"key");
    let size = if arguments.is_empty() { None } else { Some(take_size(&mut arguments)?) };
    if !arguments.is_empty() {
        return Err(call.subcommand_syntax(arguments.request().argument(1)));
    }
    if size.is_some_and(|size| size > call.node.options.max_string_bytes) {
        return Err(errors::OUT_OF_RANGE);
    }
    let keys = Populate { count, prefix, value_bytes: size.unwrap_or(0) };
    let (index, lfu) = (call.session.database, call.node.options.lfu);
    populate::populate(&mut call.node.keyspace, index, call.now, lfu, keys);
    call.reply().ok();
    Ok(())
}

fn error(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let text = arguments.take()?;
    // It is not counted: nothing went wrong.
    call.reply().error(&ErrorReply::from(String::from_utf8_lossy(text).into_owned()));
    Ok(())
}

fn change_replication_id(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.host.log(LogLevel::Notice, "Changing replication IDs after receiving DEBUG change-repl-id");
    let NodeCall { node, .. } = call;
    node.replication.id = shoal_replication::ReplicationId::random(&mut node.rng);
    node.replication.second_id = None;
    call.reply().ok();
    Ok(())
}

/// Half of the data cannot be saved, and not be loaded twice at once.
fn refuse_while_loading(call: &NodeCall<'_>) -> Outcome {
    if call.node.is_loading || call.session.is_internal { Err(errors::LOADING) } else { Ok(()) }
}

const RELOAD_FAILED: ErrorReply =
    ErrorReply::new("ERR Error trying to load the RDB dump, check server logs.");

/// Saves the data to the snapshot file, drops it, and loads it again. NOSAVE and NOFLUSH leave out steps; with MERGE a
/// key that is there is replaced.
fn reload(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    refuse_while_loading(call)?;
    let (mut save, mut flush, mut merge) = (true, true, false);
    while let Some(option) = arguments.take_optional() {
        match option.to_ascii_lowercase().as_slice() {
            b"nosave" => save = false,
            b"noflush" => flush = false,
            b"merge" => merge = true,
            _ => {
                return Err(ErrorReply::new(
                    "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        }
    }
    if save {
        call.node.save_now(call.now, call.host).map_err(|_| ErrorReply::new("ERR"))?;
    }
    if flush {
        let emptied: Vec<_> = (0..call.node.keyspace.database_count()).map(|index| (index, None)).collect();
        let changes = call.node.foresee_watches(call.now, call.handle, call.session, &emptied);
        call.node.blocking.note_all();
        call.node.keyspace.clear_all();
        call.node.change_watches(call.handle, call.session, changes);
    }
    if let Err(reason) = call.node.load_again(call.now, call.host, merge) {
        call.host.log(LogLevel::Warning, &format!("Cannot load the snapshot: {reason}"));
        return Err(RELOAD_FAILED);
    }
    call.node.changes_since_save = 0;
    call.host.log(LogLevel::Warning, "DB reloaded by DEBUG RELOAD");
    call.reply().ok();
    Ok(())
}

/// Drops the data, and loads what the append-only file holds.
fn load_aof(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    refuse_while_loading(call)?;
    call.node.flush_aof(call.host);
    call.node.blocking.note_all();
    call.node.keyspace.clear_all();
    if let Err(reason) = call.node.load_aof_again(call.now, call.host) {
        // The data are gone, and half of them must not replace what the files hold.
        call.host.log(LogLevel::Warning, &reason);
        call.host.crash(Crash::Abort);
        return Err(ErrorReply::new("ERR Error trying to load the AOF files, check server logs."));
    }
    call.host.log(LogLevel::Warning, "Append Only File loaded by DEBUG LOADAOF");
    // What was carried out is in the file already.
    call.node.effects.reset();
    call.reply().ok();
    Ok(())
}

fn log(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let text = format!("DEBUG LOG: {}", String::from_utf8_lossy(arguments.take()?));
    call.host.log(LogLevel::Warning, &text);
    call.reply().ok();
    Ok(())
}

fn leak(_: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    Err(ErrorReply::new("ERR DEBUG LEAK is not available: this server does not leak memory on purpose"))
}

fn quicklist_packed_threshold(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    /// The largest node that Redis could lay out.
    const THRESHOLD_MAX_BYTES: u64 = (1 << 32) - (1 << 20);
    let size = shoal_config::parse_memory(arguments.take()?).filter(|size| *size <= THRESHOLD_MAX_BYTES);
    let size = size
        .ok_or(ErrorReply::new("ERR argument must be a memory value bigger than 1 and smaller than 4gb"))?;
    call.node.options.limits.quicklist_packed_threshold_bytes = size as usize;
    call.reply().ok();
    Ok(())
}

fn drop_cluster_packet_filter(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let message_type = arguments.take_i64()?;
    call.node.cluster_drop_filter(call.host, message_type)?;
    call.reply().ok();
    Ok(())
}

fn close_cluster_links(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let (kill, direction, name) = (arguments.take()?, arguments.take()?, arguments.take()?);
    if !kill.eq_ignore_ascii_case(b"kill") {
        let text = "ERR unknown subcommand or wrong number of arguments for 'CLUSTERLINK'. Try DEBUG HELP.";
        return Err(ErrorReply::new(text));
    }
    if call.node.cluster.is_none() {
        let text = "ERR Debug option only available for cluster mode enabled setup!";
        return Err(ErrorReply::new(text));
    }
    let (to, from) = match direction.to_ascii_lowercase().as_slice() {
        b"to" => (true, false),
        b"from" => (false, true),
        b"all" => (true, true),
        _ => {
            let direction = String::from_utf8_lossy(direction);
            return Err(ErrorReply::from(format!("ERR Unknown direction {direction}")));
        }
    };
    let command = ClusterCommand::CloseLinks { node: name.into(), to, from };
    call.node.run_cluster_command(call.now, call.host, command).map_err(ErrorReply)?;
    call.reply().ok();
    Ok(())
}

impl crate::node::Node {
    /// Makes the bus drop all messages of a type; -1 lets all pass again.
    ///
    /// # Errors
    /// This node is in no cluster.
    fn cluster_drop_filter(
        &mut self,
        host: &mut dyn crate::host::Host,
        message_type: i64,
    ) -> Result<(), ErrorReply> {
        let side = self.cluster.as_mut().ok_or(ErrorReply::new(shoal_cluster::command::CLUSTER_DISABLED))?;
        side.drop_packet_filter = i32::try_from(message_type).map_err(|_| errors::OUT_OF_RANGE)?;
        self.cluster_configuration_changed(host);
        Ok(())
    }
}

fn rewrite_all(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    if call.node.config.file.path.is_none() {
        return Err(ErrorReply::new("ERR The server is running without a config file"));
    }
    let result = call.node.rewrite_configuration(call.host, true);
    result.map_err(|reason| ErrorReply::from(format!("ERR CONFIG-REWRITE-FORCE-ALL failed: {reason}")))?;
    call.reply().ok();
    Ok(())
}

fn string_match(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    use shoal_protocol::glob::{Case, matches};
    let (pattern, text) = (arguments.take()?, arguments.take()?);
    call.reply().integer(i64::from(matches(pattern, text, Case::Sensitive)));
    Ok(())
}

/// One reply of each type, for tests of clients.
fn protocol(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let NodeCall { node, session, .. } = call;
    let is_resp3 = session.is_resp3;
    let mut reply = session.reply();
    let numbers = |reply: &mut Reply<'_>| (0..3).for_each(|number| reply.integer(number));
    match arguments.take()?.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" if is_resp3 => reply.output().extend(b",3.141\r\n"),
        b"double" => reply.bulk(b"3.141"),
        b"bignum" if is_resp3 => reply.output().extend(b"(1234567999999999999999999999999999999\r\n"),
        b"bignum" => reply.bulk(b"1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            numbers(&mut reply);
        }
        b"set" => {
            reply.set(3);
            numbers(&mut reply);
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if is_resp3 {
                reply.output().extend(b"|1\r\n");
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if !is_resp3 {
                return Err(ErrorReply::new("ERR RESP2 is not supported by this command"));
            }
            reply.bulk(b"Some real reply following the push reply");
            let mut push = Reply::new(&mut node.own_pushes, true);
            push.push(2);
            push.bulk(b"server-cpu-usage");
            push.integer(42);
        }
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        _ => {
            return Err(ErrorReply::new(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

fn help(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply_help(HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "AOF-FLUSH-SLEEP <microsec>",
    "    Accepted without effect.",
    "ASSERT",
    "    Die of a failed assertion.",
    "CHANGE-REPL-ID",
    "    Go on with another name of the replication stream.",
    "CLIENT-ENFORCE-REPLY-LIST <0|1>",
    "    Accepted without effect.",
    "CLIENT-EVICTION",
    "    How many clients hold how much memory.",
    "CLUSTERLINK KILL <to|from|all> <node-id>",
    "    Close links of the cluster bus: the one to this node, the one from it, or both.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    Write the configuration in force into its file, defaults included.",
    "DELAY-RDB-CLIENT-FREE-SECONDS <seconds>",
    "    Accepted without effect.",
    "DICT-RESIZING <0|1>",
    "    Whether tables shrink when items go.",
    "DIGEST",
    "    The fingerprint of all data; the same data gives the same fingerprint.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    The fingerprint of each key's value.",
    "DROP-CLUSTER-PACKET-FILTER <packet-type>",
    "    Drop messages of this type from the cluster bus; -1 for none.",
    "ERROR <string>",
    "    Reply with this error.",
    "HTSTATS <db>",
    "    How well a database's tables are filled.",
    "HTSTATS-KEY <key>",
    "    How well the table of a key's value is filled.",
    "LISTPACK <key>",
    "    Write the elements of a value that is a listpack to the log.",
    "LOG <message>",
    "    Write a line to the log.",
    "OBJECT <key>",
    "    What there is to know about a key's value.",
    "OOM",
    "    Die for want of memory.",
    "PANIC",
    "    Die of a panic.",
    "PAUSE-CRON <0|1>",
    "    Stop housekeeping, or let it go on.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Make string keys named key:<number>, which are not replicated.",
    "PROTOCOL <type>",
    "    A reply of this type: string, integer, double, bignum, null, array, set, map,",
    "    attrib, push, verbatim, true, false.",
    "QUICKLIST <key> [<0|1>]",
    "    Write the nodes of a list to the log; with 1 their elements, too.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Elements of lists from this size on have a node of their own; 0 leaves it to",
    "    list-max-listpack-size.",
    "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
    "    Save the data, drop it, and load it again.",
    "REPLICATE <string>",
    "    Send a command to replicas and into the append-only file.",
    "REPLYBUFFER PEAK-RESET-TIME|RESIZING <value>",
    "    Accepted without effect.",
    "SEGFAULT",
    "    Die of an invalid memory access.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Whether expired keys are deleted before somebody touches them.",
    "SET-DISABLE-DENY-SCRIPTS <0|1>",
    "    Accepted without effect.",
    "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
    "    Whether RESTORE leaves checksums unchecked.",
    "SLEEP <seconds>",
    "    Hang for so long. Decimals are allowed.",
    "STRINGMATCH-LEN <pattern> <string>",
    "    Whether a string matches a pattern.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;
    use shoal_store::NewValue;

    /// The digests were computed by a redis-server 7.0.15.
    #[test]
    fn digests_are_those_of_redis() {
        let mut fixture = Fixture::new();
        fixture.check("DEBUG DIGEST", "+0000000000000000000000000000000000000000");
        let database = fixture.node.keyspace.database_mut(0);
        let place = database.place(b"a");
        let found = database.insert(place, Entry::new(b"a", NewValue::Integer(1), None));
        fixture.check_all(&[
            ("DEBUG DIGEST", "+943d800368fb9c0e951138f1bc0e313ac769d91f"),
            (
                "DEBUG DIGEST-VALUE a b",
                "[+b4fc66738120fba0b5aa500ab5c2bf89cea1c5da, +0000000000000000000000000000000000000000]",
            ),
        ]);
        let database = fixture.node.keyspace.database_mut(0);
        database.set_expiry(found, Some(u64::MAX));
        let place = database.place(b"b");
        database.insert(place, Entry::new(b"b", NewValue::Bytes(b"hello"), None));
        let place = database.place(b"s");
        database.insert(place, Entry::new(b"s", NewValue::Integer(12_345_678), None));
        fixture.check("DEBUG DIGEST", "+4c84d53d0788c462e03f0e89305831ef4f8ef752");
    }

    #[test]
    fn keys_are_made_and_shown() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("DEBUG POPULATE 3", "+OK"),
            ("GET key:2", "\"value:2\""),
            ("DEBUG POPULATE 1 other 10", "+OK"),
            ("GET other:0", "\"value:0\\x00\\x00\\x00\""),
            ("DEBUG POPULATE x", "-ERR value is out of range, must be positive"),
            ("DEBUG POPULATE 1 p -1", "-ERR value is out of range, must be positive"),
            (
                "DEBUG POPULATE 1 p 1 1",
                "-ERR unknown subcommand or wrong number of arguments for 'POPULATE'. Try DEBUG HELP.",
            ),
            ("DEBUG OBJECT nosuch", "-ERR no such key"),
        ]);
        let shown = fixture.run("DEBUG OBJECT key:2");
        assert!(shown.starts_with("+Value at:0x"), "{shown}");
        assert!(shown.contains(" refcount:1 encoding:embstr serializedlength:8 lru:"), "{shown}");
        assert!(shown.ends_with(" lru_seconds_idle:0"), "{shown}");
    }

    #[test]
    fn data_is_loaded_again() {
        let mut fixture = Fixture::new();
        let watcher = fixture.connect();
        fixture.run("SET a 1");
        fixture.run("SET b hello EX 100");
        fixture.run("SET gone x PX 10");
        let digest = fixture.run("DEBUG DIGEST-VALUE a b");
        fixture.run_as(watcher, "WATCH a");
        fixture.advance_ms(20);
        fixture.check("DEBUG RELOAD", "+OK");
        assert_eq!(fixture.run("DEBUG DIGEST-VALUE a b"), digest);
        fixture.run_as(watcher, "MULTI");
        fixture.check_as(watcher, "EXEC", "nil");
        assert!(fixture.host.has_logged("DB reloaded by DEBUG RELOAD"));
        fixture.run("SET a changed");
        fixture.check_all(&[
            ("DEBUG RELOAD what", "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."),
            ("DEBUG RELOAD NOSAVE NOFLUSH", "-ERR Error trying to load the RDB dump, check server logs."),
            ("DEBUG RELOAD NOSAVE NOFLUSH MERGE", "+OK"),
            ("GET a", "\"1\""),
            ("DBSIZE", ":2"),
        ]);
        fixture.host.snapshot_file.truncate(20);
        fixture.check("DEBUG RELOAD NOSAVE", "-ERR Error trying to load the RDB dump, check server logs.");
    }

    #[test]
    fn the_stream_gets_another_name() {
        let mut fixture = Fixture::new();
        let before = fixture.node.replication.id;
        fixture.check("DEBUG CHANGE-REPL-ID", "+OK");
        assert_ne!(fixture.node.replication.id.to_string(), before.to_string());
    }

    #[test]
    fn switches_and_small_things() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("DEBUG SLEEP 0.5", "+OK"),
            ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"),
            ("DEBUG PAUSE-CRON 1", "+OK"),
            ("DEBUG PAUSE-CRON 0", "+OK"),
            ("DEBUG ERROR \"MINE is broken\"", "-MINE is broken"),
            ("DEBUG LOG hello", "+OK"),
            ("DEBUG LEAK x", "-ERR DEBUG LEAK is not available: this server does not leak memory on purpose"),
            ("DEBUG QUICKLIST-PACKED-THRESHOLD 100b", "+OK"),
            (
                "DEBUG QUICKLIST-PACKED-THRESHOLD abc",
                "-ERR argument must be a memory value bigger than 1 and smaller than 4gb",
            ),
            ("DEBUG REPLYBUFFER RESIZING 0", "+OK"),
            ("DEBUG REPLYBUFFER PEAK-RESET-TIME never", "+OK"),
            ("DEBUG REPLYBUFFER PEAK-RESET-TIME 100", "+OK"),
            ("DEBUG REPLYBUFFER PEAK-RESET-TIME x", "-ERR value is not an integer or out of range"),
            (
                "DEBUG REPLYBUFFER x 1",
                "-ERR unknown subcommand or wrong number of arguments for 'REPLYBUFFER'. Try DEBUG HELP.",
            ),
            ("DEBUG CLIENT-EVICTION", "-ERR maxmemory-clients is disabled."),
            ("DEBUG CLIENT-ENFORCE-REPLY-LIST 1", "+OK"),
            ("DEBUG DICT-RESIZING 0", "+OK"),
            ("DEBUG REPLICATE ALL PING", "+OK"),
            ("DEBUG REPLICATE fake", "+OK"),
            ("DEBUG STRINGMATCH-LEN a*c abc", ":1"),
            (
                "DEBUG CLUSTERLINK KILL to abc",
                "-ERR Debug option only available for cluster mode enabled setup!",
            ),
            (
                "DEBUG CLUSTERLINK to abc x",
                "-ERR unknown subcommand or wrong number of arguments for 'CLUSTERLINK'. Try DEBUG HELP.",
            ),
            ("DEBUG DROP-CLUSTER-PACKET-FILTER 1", "-ERR This instance has cluster support disabled"),
            (
                "DEBUG NOSUCH",
                "-ERR unknown subcommand or wrong number of arguments for 'NOSUCH'. Try DEBUG HELP.",
            ),
            (
                "DEBUG SLEEP",
                "-ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP.",
            ),
        ]);
        assert_eq!(fixture.host.sleeps, [(500_000, false)]);
        assert!(fixture.host.has_logged("DEBUG LOG: hello"));
        assert!(!fixture.node.active_expire_enabled);
        assert!(fixture.node.keyspace.keeps_size());
        fixture.check("DEBUG DICT-RESIZING 1", "+OK");
        assert!(!fixture.node.keyspace.keeps_size());
        fixture.run("CONFIG SET maxmemory-clients 10mb");
        let shown = fixture.text("DEBUG CLIENT-EVICTION");
        assert!(
            shown.lines().any(|line| line.starts_with("Below   32.00K") && line.ends_with(" 1")),
            "{shown}"
        );
        for (line, crash) in [
            ("DEBUG SEGFAULT", Crash::SegmentationFault),
            ("DEBUG PANIC", Crash::Panic),
            ("DEBUG ASSERT", Crash::Assertion),
            ("DEBUG OOM", Crash::OutOfMemory),
        ] {
            fixture.run(line);
            assert_eq!(fixture.host.crashes.pop(), Some(crash));
        }
    }

    #[test]
    fn every_type_of_reply() {
        let cases = [
            ("string", "\"Hello World\"", "\"Hello World\""),
            ("integer", ":12345", ":12345"),
            ("double", "\"3.141\"", ",3.141"),
            ("bignum", "\"1234567999999999999999999999999999999\"", "(1234567999999999999999999999999999999"),
            ("null", "nil", "nil"),
            ("array", "[:0, :1, :2]", "[:0, :1, :2]"),
            ("set", "[:0, :1, :2]", "~[:0, :1, :2]"),
            ("map", "[:0, :0, :1, :1, :2, :0]", "{:0: #f, :1: #t, :2: #f}"),
            (
                "attrib",
                "\"Some real reply following the attribute\"",
                "\"Some real reply following the attribute\"",
            ),
            (
                "push",
                "-ERR RESP2 is not supported by this command",
                "\"Some real reply following the push reply\" ; >[\"server-cpu-usage\", :42]",
            ),
            ("verbatim", "\"This is a verbatim\\nstring\"", "=txt:\"This is a verbatim\\nstring\""),
            ("true", ":1", "#t"),
            ("false", ":0", "#f"),
        ];
        let mut fixture = Fixture::new();
        let modern = fixture.connect();
        fixture.run_as(modern, "HELLO 3");
        for (name, resp2, resp3) in cases {
            fixture.check(&format!("DEBUG PROTOCOL {name}"), resp2);
            fixture.check_as(modern, &format!("DEBUG PROTOCOL {name}"), resp3);
        }
    }

    #[test]
    fn debug_has_to_be_allowed() {
        let mut fixture = Fixture::with_configuration(&[("enable-debug-command", "local")]);
        fixture.check("DEBUG SLEEP 0", "+OK");
        fixture.configure(&["protected-mode", "no"]);
        let stranger = fixture.connect_from("192.0.2.1:1", false).unwrap();
        let refused = fixture.run_as(stranger, "DEBUG SLEEP 0");
        assert!(refused.starts_with("-ERR DEBUG command not allowed."), "{refused}");
    }
}
