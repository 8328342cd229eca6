//! Commands on keys of any type, and on databases as a whole.

mod dump;
mod expire;
mod keys;
mod object;
mod relocate;
pub(super) mod scan;
mod sort;

use super::Body;
use crate::call::Call;
use crate::database::Layout;
use shoal_protocol::{CommandId, ErrorReply, errors, number};

pub(super) const BODIES: &[(CommandId, Body)] = &[
    (CommandId::Copy, relocate::copy),
    (CommandId::Dbsize, keys::dbsize),
    (CommandId::Del, keys::del),
    (CommandId::Dump, dump::dump),
    (CommandId::Exists, keys::exists),
    (CommandId::Expire, expire::expire),
    (CommandId::Expireat, expire::expireat),
    (CommandId::Expiretime, expire::expiretime),
    (CommandId::Flushall, keys::flushall),
    (CommandId::Flushdb, keys::flushdb),
    (CommandId::Keys, scan::keys),
    (CommandId::MemoryUsage, object::memory_usage),
    (CommandId::Move, relocate::move_key),
    (CommandId::ObjectEncoding, object::encoding),
    (CommandId::ObjectFreq, object::freq),
    (CommandId::ObjectHelp, object::help),
    (CommandId::ObjectIdletime, object::idletime),
    (CommandId::ObjectRefcount, object::refcount),
    (CommandId::Persist, expire::persist),
    (CommandId::Pexpire, expire::pexpire),
    (CommandId::Pexpireat, expire::pexpireat),
    (CommandId::Pexpiretime, expire::pexpiretime),
    (CommandId::Pttl, expire::pttl),
    (CommandId::Randomkey, scan::randomkey),
    (CommandId::Rename, relocate::rename),
    (CommandId::Renamenx, relocate::renamenx),
    (CommandId::Restore, dump::restore),
    (CommandId::RestoreAsking, dump::restore),
    (CommandId::Scan, scan::scan),
    (CommandId::Sort, sort::sort),
    (CommandId::SortRo, sort::sort_ro),
    (CommandId::Swapdb, keys::swapdb),
    (CommandId::Touch, keys::touch),
    (CommandId::Ttl, expire::ttl),
    (CommandId::Type, keys::type_name),
    (CommandId::Unlink, keys::del),
];

/// A database's number as a client gives it: an integer of 32 bits, and there is such a database.
fn database_number(call: &Call<'_, '_>, word: &[u8]) -> Result<usize, ErrorReply> {
    const NOT_32_BITS: ErrorReply =
        ErrorReply::new("ERR value is out of range, value must between -2147483648 and 2147483647");
    let number = number::parse_i64(word).ok_or(errors::NOT_AN_INTEGER)?;
    let number = i32::try_from(number).map_err(|_| NOT_32_BITS)?;
    check_database(call, number)
}

fn check_database(call: &Call<'_, '_>, number: i32) -> Result<usize, ErrorReply> {
    let index = usize::try_from(number).ok().filter(|index| *index < call.keyspace.database_count());
    index.ok_or(errors::DB_OUT_OF_RANGE)
}

/// Whether keys have slots: there is one database then.
fn is_clustered(call: &Call<'_, '_>) -> bool {
    call.database().layout() == Layout::PerSlot
}

#[cfg(test)]
mod sort_tests;
#[cfg(test)]
mod tests;
