//! Commands that change a part of a string.

use super::{ValueArgument, store_raw};
use crate::call::{Call, EventClass, Outcome};
use shoal_protocol::{Arguments, ErrorReply};
use std::sync::Arc;

/// The most that a long string's buffer grows ahead of its content.
const GROWTH_MAX_BYTES: usize = 1024 * 1024;

const TOO_LONG: ErrorReply = ErrorReply::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
const OFFSET_OUT_OF_RANGE: ErrorReply = ErrorReply::new("ERR offset is out of range");

/// The length of a string of `before` bytes with `more` behind them.
///
/// # Errors
/// It is longer than strings may be. What the primary did is repeated at any length.
fn grown_length(call: &Call<'_, '_>, before: usize, more: usize) -> Result<usize, ErrorReply> {
    let total = before.checked_add(more).filter(|total| isize::try_from(*total).is_ok()).ok_or(TOO_LONG)?;
    if total > call.options.max_string_bytes && !call.access.from_primary {
        return Err(TOO_LONG);
    }
    Ok(total)
}

/// Makes room for a string to grow, with a reserve that saves copies when it goes on growing.
fn reserve(bytes: &mut Vec<u8>, total: usize) {
    if total > bytes.capacity() {
        bytes.reserve_exact(total - bytes.len() + total.min(GROWTH_MAX_BYTES));
    }
}

pub(super) fn append(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let value = ValueArgument::take(&mut arguments)?;
    let found = call.find_for_write(key);
    let total = match found {
        None => {
            call.store(None, key, value.to_value(), None);
            value.bytes.len()
        }
        Some(found) => {
            let before = call.string(found)?.text().len();
            let total = grown_length(call, before, value.bytes.len())?;
            let mut entry = call.database_mut().entry_mut(found);
            if let Some(shared) = entry.shared_mut() {
                let bytes = Arc::make_mut(shared);
                reserve(bytes, total);
                bytes.extend_from_slice(value.bytes);
            } else {
                drop(entry);
                let mut bytes = Vec::with_capacity(total);
                call.string(found)?.text().with_bytes(|before| bytes.extend_from_slice(before));
                bytes.extend_from_slice(value.bytes);
                store_raw(call, Some(found), key, bytes);
            }
            total
        }
    };
    call.changed(key);
    call.event(EventClass::String, "append", key);
    call.reply.integer(total as i64);
    Ok(())
}

pub(super) fn setrange(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let offset = arguments.take_i64()?;
    let value = arguments.take()?;
    let offset = usize::try_from(offset).map_err(|_| OFFSET_OUT_OF_RANGE)?;
    let found = call.find_for_write(key);
    let before = match found {
        Some(found) => call.string(found)?.text().len(),
        None => 0,
    };
    if value.is_empty() {
        call.reply.integer(before as i64);
        return Ok(());
    }
    let end = grown_length(call, offset, value.len())?;
    write_range(call, found, key, offset, value);
    call.changed(key);
    call.event(EventClass::String, "setrange", key);
    call.reply.integer(end.max(before) as i64);
    Ok(())
}

/// Puts `value` into a string at `offset`; zeros fill what was not there.
fn write_range(
    call: &mut Call<'_, '_>,
    found: Option<crate::Found>,
    key: &[u8],
    offset: usize,
    value: &[u8],
) {
    let end = offset + value.len();
    let mut bytes = Vec::new();
    if let Some(found) = found {
        let mut entry = call.database_mut().entry_mut(found);
        if let Some(shared) = entry.shared_mut() {
            overwrite(Arc::make_mut(shared), offset, end, value);
            return;
        }
        drop(entry);
        let before = call.keyspace.string(call.database_index, found);
        bytes.reserve_exact(end.max(before.text().len()));
        before.text().with_bytes(|before| bytes.extend_from_slice(before));
    }
    overwrite(&mut bytes, offset, end, value);
    store_raw(call, found, key, bytes);
}

fn overwrite(bytes: &mut Vec<u8>, offset: usize, end: usize, value: &[u8]) {
    if bytes.len() < end {
        reserve(bytes, end);
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(value);
}
