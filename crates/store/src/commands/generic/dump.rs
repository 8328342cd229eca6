//! DUMP and RESTORE: values that travel.

use crate::access;
use crate::call::{Call, EventClass, Outcome};
use crate::commands::expiry::is_already_past;
use crate::entry::Entry;
use crate::snapshot::{self, BuildOptions};
use shoal_formats::dump_payload;
use shoal_protocol::{Arguments, ErrorReply, OwnedRequest, errors, number};

const INVALID_TTL: ErrorReply = ErrorReply::new("ERR Invalid TTL value, must be >= 0");
const INVALID_IDLE_TIME: ErrorReply = ErrorReply::new("ERR Invalid IDLETIME value, must be >= 0");
const INVALID_FREQUENCY: ErrorReply = ErrorReply::new("ERR Invalid FREQ value, must be >= 0 and <= 255");
const WRONG_PAYLOAD: ErrorReply = ErrorReply::new("ERR DUMP payload version or checksum are wrong");
const BAD_FORMAT: ErrorReply = ErrorReply::new("ERR Bad data format");

pub(super) fn dump(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let Some(found) = call.find_for_read(arguments.take()?) else {
        call.reply.null();
        return Ok(());
    };
    let entry = call.keyspace.database(call.database_index).entry(found);
    let payload = snapshot::dump(entry.value(), call.options);
    call.reply.bulk(&payload);
    Ok(())
}

#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_s: Option<u64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(mut arguments: Arguments<'_>) -> Result<Self, ErrorReply> {
        let mut options = Self::default();
        while !arguments.is_empty() {
            let has_value = arguments.remaining() >= 2;
            if arguments.take_keyword("REPLACE") {
                options.replace = true;
            } else if arguments.take_keyword("ABSTTL") {
                options.absolute = true;
            } else if has_value && options.frequency.is_none() && arguments.take_keyword("IDLETIME") {
                options.idle_s = Some(u64::try_from(arguments.take_i64()?).map_err(|_| INVALID_IDLE_TIME)?);
            } else if has_value && options.idle_s.is_none() && arguments.take_keyword("FREQ") {
                options.frequency = Some(u8::try_from(arguments.take_i64()?).map_err(|_| INVALID_FREQUENCY)?);
            } else {
                return Err(errors::SYNTAX);
            }
        }
        Ok(options)
    }
}

/// RESTORE, and RESTORE-ASKING as MIGRATE sends it.
pub(super) fn restore(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, ttl, payload) = (arguments.take()?, arguments.take()?, arguments.take()?);
    let options = Options::parse(arguments)?;
    if !options.replace && call.find_for_write(key).is_some() {
        return Err(errors::BUSY_KEY);
    }
    let ttl = number::parse_i64(ttl).ok_or(errors::NOT_AN_INTEGER)?;
    if ttl < 0 {
        return Err(INVALID_TTL);
    }
    let reader = dump_payload::read(payload, !call.options.skip_checksum).map_err(|_| WRONG_PAYLOAD)?;
    // Clients may send anything, so this is always the thorough way.
    let hasher = call.keyspace.hasher();
    let build = BuildOptions { check_duplicates: true, ..BuildOptions::new(call.options, hasher) };
    let expiry_ms = match ttl {
        0 => None,
        ttl if options.absolute => Some(ttl),
        ttl => Some(ttl.saturating_add(call.now.unix_ms() as i64)),
    };
    let made =
        snapshot::read_value(reader, &build, |value| Entry::new(key, value, expiry_ms.map(|at| at as u64)));
    let mut entry = made.map_err(|problem| {
        call.effects.refusal = Some(problem);
        BAD_FORMAT
    })?;
    let before = call.find_for_write(key).filter(|_| options.replace);
    if let Some(found) = before {
        call.remove(found);
    }
    if expiry_ms.is_some_and(|at| is_already_past(call, at)) {
        if before.is_some() {
            call.propagate_instead([b"DEL".as_slice(), key]);
            call.event(EventClass::Generic, "del", key);
            call.changed(key);
        }
        call.reply.ok();
        return Ok(());
    }
    entry.set_access(access::restored(call.now, call.options.lfu, options.idle_s, options.frequency));
    call.put(call.database_index, entry);
    if let Some(at) = expiry_ms.filter(|_| !options.absolute) {
        propagate_absolute(call, arguments, at);
    }
    call.changed(key);
    call.event(EventClass::Generic, "restore", key);
    call.reply.ok();
    Ok(())
}

/// The request with its time to live as a point in time.
fn propagate_absolute(call: &mut Call<'_, '_>, arguments: Arguments<'_>, expiry_ms: i64) {
    /// The argument that holds the time to live.
    const TTL_INDEX: usize = 2;
    if call.effects.skip_propagation {
        return;
    }
    let request = arguments.request();
    let mut absolute = OwnedRequest::new([b"RESTORE"]);
    for index in 1..request.len() {
        match request.shared(index) {
            _ if index == TTL_INDEX => absolute.push(itoa::Buffer::new().format(expiry_ms).as_bytes()),
            Some(shared) => absolute.push_shared(shared),
            None => absolute.push(request.argument(index)),
        }
    }
    absolute.push(b"ABSTTL");
    call.propagate_request_instead(absolute);
}
