//! Strings: what `commands.json` lists in the group `string`.
//!
//! A value is an integer, bytes inside the entry's block, or a long string that replies share. Commands that change a
//! part of a string leave it in the encoding `raw`, as Redis does; only whole values become integers.

mod edit;
mod get;
mod lcs;
mod number;
mod set;

pub(super) use edit::{edit_bytes_up_to, edit_vec};

use super::Body;
use crate::call::{Call, EventClass};
use crate::entry::{INLINE_MAX_BYTES, NewValue};
use crate::{Found, Outcome};
use shoal_protocol::{Arguments, CommandId, ErrorReply, SharedBytes};
use std::sync::Arc;

pub(super) const BODIES: &[(CommandId, Body)] = &[
    (CommandId::Append, edit::append),
    (CommandId::Decr, number::decr),
    (CommandId::Decrby, number::decrby),
    (CommandId::Get, get::get),
    (CommandId::Getdel, get::getdel),
    (CommandId::Getex, get::getex),
    (CommandId::Getrange, get::getrange),
    (CommandId::Getset, set::getset),
    (CommandId::Incr, number::incr),
    (CommandId::Incrby, number::incrby),
    (CommandId::Incrbyfloat, number::incrbyfloat),
    (CommandId::Lcs, lcs::lcs),
    (CommandId::Mget, get::mget),
    (CommandId::Mset, set::mset),
    (CommandId::Msetnx, set::msetnx),
    (CommandId::Psetex, set::psetex),
    (CommandId::Set, set::set),
    (CommandId::Setex, set::setex),
    (CommandId::Setnx, set::setnx),
    (CommandId::Setrange, edit::setrange),
    (CommandId::Strlen, get::strlen),
    (CommandId::Substr, get::getrange),
];

/// A value as the client sent it.
#[derive(Clone, Copy)]
struct ValueArgument<'q> {
    bytes: &'q [u8],
    /// The block it came in, if it is a large one.
    shared: Option<&'q SharedBytes>,
}

impl<'q> ValueArgument<'q> {
    fn take(arguments: &mut Arguments<'q>) -> Result<Self, ErrorReply> {
        let (bytes, shared) = arguments.take_shared()?;
        Ok(Self { bytes, shared })
    }

    /// The form in which the keyspace keeps it.
    fn to_value(self) -> NewValue<'q> {
        match self.shared {
            Some(shared) => NewValue::Shared(shared.clone()),
            None => NewValue::compact(self.bytes),
        }
    }
}

/// Replies with the string of a key, or null. The body of GET and the first half of many others.
fn reply_with_string(call: &mut Call<'_, '_>, key: &[u8]) -> Result<Option<Found>, ErrorReply> {
    let found = call.find_for_read(key);
    match found {
        Some(found) => {
            call.string(found)?;
            call.reply_value(found);
        }
        None => call.reply.null(),
    }
    Ok(found)
}

/// Stores a string that was put together from parts: it keeps the encoding `raw`.
pub(super) fn store_raw(call: &mut Call<'_, '_>, found: Option<Found>, key: &[u8], bytes: Vec<u8>) {
    if bytes.len() <= INLINE_MAX_BYTES {
        call.store(found, key, NewValue::RawBytes(&bytes), None);
    } else {
        call.store(found, key, NewValue::Shared(Arc::new(bytes)), None);
    }
}

/// Takes a key out whose string has been read, as DEL would; propagated as such.
fn delete_after_read(call: &mut Call<'_, '_>, found: Found, key: &[u8]) -> Outcome {
    call.remove(found);
    let name = if call.options.lazy_user_del { b"UNLINK".as_slice() } else { b"DEL" };
    call.propagate_instead([name, key]);
    call.event(EventClass::Generic, "del", key);
    call.changed(key);
    Ok(())
}

#[cfg(test)]
mod tests;
