//! HyperLogLogs: what `commands.json` lists in the group `hyperloglog`. They are strings, laid out byte for byte as Redis
//! lays them out: see [`sketch`].

mod debug;
mod dense;
mod estimate;
mod sketch;
mod sparse;

use super::Body;
use super::string::{edit_bytes_up_to, edit_vec, store_raw};
use crate::call::{Call, EventClass, Outcome};
use crate::database::Found;
use shoal_protocol::{Arguments, CommandId, ErrorReply};
use sketch::{Corrupted, Encoding, Registers};

pub(super) const BODIES: &[(CommandId, Body)] = &[
    (CommandId::Pfadd, pfadd),
    (CommandId::Pfcount, pfcount),
    (CommandId::Pfdebug, debug::pfdebug),
    (CommandId::Pfmerge, pfmerge),
    (CommandId::Pfselftest, debug::pfselftest),
];

const NO_SKETCH: ErrorReply = ErrorReply::new("WRONGTYPE Key is not a valid HyperLogLog string value.");
const CORRUPTED: ErrorReply = ErrorReply::new("INVALIDOBJ Corrupted HLL object detected");

impl From<Corrupted> for ErrorReply {
    fn from(_: Corrupted) -> Self {
        CORRUPTED
    }
}

/// Which encoding a key has that is to hold a HyperLogLog.
///
/// # Errors
/// It holds something else.
fn encoding_of(call: &Call<'_, '_>, found: Found) -> Result<Encoding, ErrorReply> {
    call.string(found)?.text().with_bytes(sketch::encoding).ok_or(NO_SKETCH)
}

fn pfadd(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let max_bytes = call.options.limits.hll_sparse_max_bytes;
    let found = call.find_for_write(key);
    let updates = match found {
        None => {
            let mut bytes = sketch::empty();
            let updates = add_all(&mut bytes, arguments, max_bytes)?;
            sketch::forget_count(&mut bytes);
            store_raw(call, None, key, bytes);
            updates + 1
        }
        Some(found) if encoding_of(call, found)? == Encoding::Dense => {
            edit_bytes_up_to(call, Some(found), key, sketch::DENSE_BYTES, |bytes| {
                add_to_dense(bytes, arguments)
            })
        }
        Some(found) => {
            // Foreign bytes are looked at as a whole before anything changes.
            call.string(found)?.text().with_bytes(sketch::check_sparse)?;
            edit_vec(call, Some(found), key, |bytes| add_all(bytes, arguments, max_bytes))?
        }
    };
    if updates > 0 {
        call.changed(key);
        call.effects.dirty += updates - 1;
        call.event(EventClass::String, "pfadd", key);
    }
    call.reply.integer(i64::from(updates > 0));
    Ok(())
}

/// Adds elements to a sketch that has been checked. Returns how many registers rose.
fn add_all(bytes: &mut Vec<u8>, elements: Arguments<'_>, max_bytes: usize) -> Result<u64, Corrupted> {
    let mut updates = 0;
    for element in elements.rest() {
        updates += u64::from(sketch::add(bytes, element, max_bytes)?);
    }
    if updates > 0 {
        sketch::forget_count(bytes);
    }
    Ok(updates)
}

fn add_to_dense(bytes: &mut [u8], elements: Arguments<'_>) -> u64 {
    let mut updates = 0;
    for element in elements.rest() {
        updates += u64::from(sketch::add_to_dense(bytes, element));
    }
    if updates > 0 {
        sketch::forget_count(bytes);
    }
    updates
}

fn pfcount(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    if arguments.remaining() > 1 {
        let (registers, _) = union(call, arguments)?;
        call.reply.integer(estimate::count(&estimate::of_registers(&registers)).cast_signed());
        return Ok(());
    }
    let key = arguments.take()?;
    let Some(found) = call.find_for_read(key) else {
        call.reply.integer(0);
        return Ok(());
    };
    encoding_of(call, found)?;
    let known = call.string(found)?.text().with_bytes(sketch::known_count);
    let count = match known {
        Some(count) => count,
        None => {
            let count = call.string(found)?.text().with_bytes(sketch::count)?;
            edit_bytes_up_to(call, Some(found), key, sketch::HEADER_BYTES, |bytes| {
                sketch::note_count(bytes, count);
            });
            // The bytes of the string have changed: replicas and files get the command, although it only reads.
            call.changed(key);
            count
        }
    };
    call.reply.integer(count.cast_signed());
    Ok(())
}

/// The registers of all keys together, and whether one of them is dense.
fn union(call: &mut Call<'_, '_>, keys: Arguments<'_>) -> Result<(Box<Registers>, bool), ErrorReply> {
    let mut registers = Box::new([0; sketch::REGISTERS]);
    let mut has_dense = false;
    for key in keys.rest() {
        let Some(found) = call.find_for_read(key) else { continue };
        has_dense |= encoding_of(call, found)? == Encoding::Dense;
        call.string(found)?.text().with_bytes(|bytes| sketch::raise(bytes, &mut registers))?;
    }
    Ok((registers, has_dense))
}

fn pfmerge(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (registers, wants_dense) = union(call, arguments)?;
    let key = arguments.take()?;
    let max_bytes = call.options.limits.hll_sparse_max_bytes;
    let found = call.find_for_write(key);
    edit_vec(call, found, key, |bytes| {
        if bytes.is_empty() {
            *bytes = sketch::empty();
        }
        if wants_dense {
            sketch::make_dense(bytes)?;
        }
        sketch::set_registers(bytes, &registers, max_bytes)?;
        sketch::forget_count(bytes);
        Ok::<(), Corrupted>(())
    })?;
    call.changed(key);
    call.event(EventClass::String, "pfadd", key);
    call.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests;
