//! Hashes: what `commands.json` lists in the group `hash`.

mod change;
mod number;
mod random;
mod read;

use super::Body;
use shoal_protocol::CommandId;

pub(super) const BODIES: &[(CommandId, Body)] = &[
    (CommandId::Hdel, change::hdel),
    (CommandId::Hexists, read::hexists),
    (CommandId::Hget, read::hget),
    (CommandId::Hgetall, read::hgetall),
    (CommandId::Hincrby, number::hincrby),
    (CommandId::Hincrbyfloat, number::hincrbyfloat),
    (CommandId::Hkeys, read::hkeys),
    (CommandId::Hlen, read::hlen),
    (CommandId::Hmget, read::hmget),
    (CommandId::Hmset, change::hmset),
    (CommandId::Hrandfield, random::hrandfield),
    (CommandId::Hscan, read::hscan),
    (CommandId::Hset, change::hset),
    (CommandId::Hsetnx, change::hsetnx),
    (CommandId::Hstrlen, read::hstrlen),
    (CommandId::Hvals, read::hvals),
];

#[cfg(test)]
mod tests;
