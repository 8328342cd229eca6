//! Hashes: what `commands.json` and `later-commands.json` list in the group `hash`.

mod change;
mod expire;
mod number;
mod random;
mod read;

use super::Body;
use shoal_protocol::CommandId;

pub(super) const BODIES: &[(CommandId, Body)] = &[
    (CommandId::Hdel, change::hdel),
    (CommandId::Hexists, read::hexists),
    (CommandId::Hexpire, expire::hexpire),
    (CommandId::Hexpireat, expire::hexpireat),
    (CommandId::Hexpiretime, expire::hexpiretime),
    (CommandId::Hget, read::hget),
    (CommandId::Hgetall, read::hgetall),
    (CommandId::Hincrby, number::hincrby),
    (CommandId::Hincrbyfloat, number::hincrbyfloat),
    (CommandId::Hkeys, read::hkeys),
    (CommandId::Hlen, read::hlen),
    (CommandId::Hmget, read::hmget),
    (CommandId::Hmset, change::hmset),
    (CommandId::Hpersist, expire::hpersist),
    (CommandId::Hpexpire, expire::hpexpire),
    (CommandId::Hpexpireat, expire::hpexpireat),
    (CommandId::Hpexpiretime, expire::hpexpiretime),
    (CommandId::Hpttl, expire::hpttl),
    (CommandId::Hrandfield, random::hrandfield),
    (CommandId::Hscan, read::hscan),
    (CommandId::Hset, change::hset),
    (CommandId::Hsetnx, change::hsetnx),
    (CommandId::Hstrlen, read::hstrlen),
    (CommandId::Httl, expire::httl),
    (CommandId::Hvals, read::hvals),
];

#[cfg(test)]
mod expire_tests;
#[cfg(test)]
mod tests;
