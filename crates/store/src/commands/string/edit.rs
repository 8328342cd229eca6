//! Commands that change a part of a string.

use super::{ValueArgument, store_raw};
use crate::Found;
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

/// Makes room for a string to grow, with a reserve that saves copies when it goes on growing. A new one gets none.
fn reserve(bytes: &mut Vec<u8>, total: usize) {
    if bytes.is_empty() {
        bytes.reserve_exact(total);
    } else if total > bytes.capacity() {
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
    edit_bytes_up_to(call, found, key, end, |bytes| bytes[offset..end].copy_from_slice(value));
    call.changed(key);
    call.event(EventClass::String, "setrange", key);
    call.reply.integer(end.max(before) as i64);
    Ok(())
}

/// Lets `edit` change the bytes of a string in their place, `length` of them at the least: zeros fill what was not there.
/// The key is made if it is not there; its string is `raw` after that.
pub(in crate::commands) fn edit_bytes_up_to<R>(
    call: &mut Call<'_, '_>,
    found: Option<Found>,
    key: &[u8],
    length: usize,
    edit: impl FnOnce(&mut [u8]) -> R,
) -> R {
    if let Some(found) = found {
        let mut entry = call.database_mut().entry_mut(found);
        if let Some(bytes) = entry.bytes_mut()
            && bytes.len() >= length
        {
            return edit(bytes);
        }
    }
    edit_vec(call, found, key, |bytes| {
        grow(bytes, length);
        edit(bytes)
    })
}

/// Lets `edit` change the bytes of a string and their number. The key is made if it is not there; its string is `raw`
/// after that.
pub(in crate::commands) fn edit_vec<R>(
    call: &mut Call<'_, '_>,
    found: Option<Found>,
    key: &[u8],
    edit: impl FnOnce(&mut Vec<u8>) -> R,
) -> R {
    let mut bytes = Vec::new();
    if let Some(found) = found {
        let mut entry = call.database_mut().entry_mut(found);
        if let Some(shared) = entry.shared_mut() {
            return edit(Arc::make_mut(shared));
        }
        drop(entry);
        bytes = call.keyspace.string(call.database_index, found).text().to_vec();
    }
    let result = edit(&mut bytes);
    store_raw(call, found, key, bytes);
    result
}

/// Fills up with zeros to `length` bytes. Many of them are not written one by one: fresh pages are zeros.
fn grow(bytes: &mut Vec<u8>, length: usize) {
    let missing = length.saturating_sub(bytes.len());
    if missing > GROWTH_MAX_BYTES && missing > bytes.len() && bytes.capacity() < length {
        let mut grown = vec![0; length];
        grown[..bytes.len()].copy_from_slice(bytes);
        *bytes = grown;
    } else if missing > 0 {
        reserve(bytes, length);
        bytes.resize(length, 0);
    }
}
