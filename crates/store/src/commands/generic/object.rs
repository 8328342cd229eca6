//! OBJECT and MEMORY USAGE: how a value is kept.

use crate::access;
use crate::call::{Call, Outcome};
use crate::database::Found;
use crate::entry::{Text, Value};
use shoal_protocol::{Arguments, ErrorReply, errors};

const IDLE_TIME_UNDER_LFU: ErrorReply = ErrorReply::new(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
     policies at runtime LRU and LFU data will take some time to adjust.",
);
const FREQUENCY_UNDER_LRU: ErrorReply = ErrorReply::new(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
     between policies at runtime LRU and LFU data will take some time to adjust.",
);

/// Redis shares the integers below this between all keys, and says so with the largest count.
const SHARED_INTEGERS: std::ops::Range<i64> = 0..10_000;
const SHARED_REFERENCES: i64 = i32::MAX as i64;

/// Finds a key for a look at how it is kept: counted, without a trace on the key. Replies null if it is not there.
fn inspect(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Result<Option<Found>, ErrorReply> {
    let found = call.find(arguments.take()?);
    match found {
        Some(_) => call.effects.hits += 1,
        None => {
            call.effects.misses += 1;
            call.reply.null();
        }
    }
    Ok(found)
}

pub(super) fn encoding(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    if let Some(found) = inspect(call, arguments)? {
        let encoding = call.database().entry(found).encoding();
        call.reply.bulk(encoding.as_bytes());
    }
    Ok(())
}

pub(super) fn refcount(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    if let Some(found) = inspect(call, arguments)? {
        let references = match call.database().entry(found).value() {
            Value::String(Text::Integer(integer))
                if SHARED_INTEGERS.contains(&integer) && !call.options.own_integers =>
            {
                SHARED_REFERENCES
            }
            _ => 1,
        };
        call.reply.integer(references);
    }
    Ok(())
}

pub(super) fn idletime(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    if let Some(found) = inspect(call, arguments)? {
        if call.options.lfu {
            return Err(IDLE_TIME_UNDER_LFU);
        }
        let idle_s = access::lru_idle_s(call.database().entry(found).access(), call.now);
        call.reply.integer(idle_s as i64);
    }
    Ok(())
}

pub(super) fn freq(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    if let Some(found) = inspect(call, arguments)? {
        if !call.options.lfu {
            return Err(FREQUENCY_UNDER_LRU);
        }
        let counter = access::lfu_counter(call.database().entry(found).access(), call.now, call.options);
        call.reply.integer(i64::from(counter));
    }
    Ok(())
}

pub(super) fn help(call: &mut Call<'_, '_>, _: Arguments<'_>) -> Outcome {
    const LINES: [&str; 11] = [
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    How the value of <key> is kept in memory.",
        "FREQ <key>",
        "    How often <key> was accessed of late, on a logarithmic scale (LFU policies only).",
        "IDLETIME <key>",
        "    Seconds since <key> was accessed (not with LFU policies).",
        "REFCOUNT <key>",
        "    How many places refer to the value of <key>.",
        "HELP",
        "    Print this help.",
    ];
    call.reply.array(LINES.len());
    for line in LINES {
        call.reply.simple(line);
    }
    Ok(())
}

pub(super) fn memory_usage(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    /// Elements of a collection that are looked at, unless the client says how many.
    const SAMPLES: usize = 5;
    let key = arguments.take()?;
    let mut samples = SAMPLES;
    while !arguments.is_empty() {
        if arguments.remaining() < 2 || !arguments.take_keyword("SAMPLES") {
            return Err(errors::SYNTAX);
        }
        samples = usize::try_from(arguments.take_i64()?).map_err(|_| errors::SYNTAX)?;
    }
    let database = call.keyspace.database(call.database_index);
    match database.find(key) {
        Some(found) => call.reply.integer(database.memory_usage(found, samples) as i64),
        None => call.reply.null(),
    }
    Ok(())
}
