//! Sets: what `commands.json` lists in the group `set`.

mod algebra;
mod change;
mod pop;
mod read;

use super::Body;
use shoal_protocol::CommandId;

pub(super) const BODIES: &[(CommandId, Body)] = &[
    (CommandId::Sadd, change::sadd),
    (CommandId::Scard, read::scard),
    (CommandId::Sdiff, algebra::sdiff),
    (CommandId::Sdiffstore, algebra::sdiffstore),
    (CommandId::Sinter, algebra::sinter),
    (CommandId::Sintercard, algebra::sintercard),
    (CommandId::Sinterstore, algebra::sinterstore),
    (CommandId::Sismember, read::sismember),
    (CommandId::Smembers, read::smembers),
    (CommandId::Smismember, read::smismember),
    (CommandId::Smove, change::smove),
    (CommandId::Spop, pop::spop),
    (CommandId::Srandmember, read::srandmember),
    (CommandId::Srem, change::srem),
    (CommandId::Sscan, read::sscan),
    (CommandId::Sunion, algebra::sunion),
    (CommandId::Sunionstore, algebra::sunionstore),
];

#[cfg(test)]
mod tests;
