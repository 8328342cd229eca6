//! The bodies of commands that need more than the keyspace, one file per family.

mod client;
mod cluster;
mod cluster_insight;
mod command;
mod config;
mod connection;
mod debug;
mod debug_layout;
mod debug_tables;
mod info;
mod latency;
mod lolwut;
mod memory;
pub(crate) mod migrate;
mod module;
mod persistence;
mod pubsub;
mod replication;
mod slot_migration;
mod slowlog;
mod transaction;

use crate::call::NodeBody;
use shoal_protocol::CommandId;

/// The body of a command, if the node has it.
#[inline]
pub fn body(id: CommandId) -> Option<NodeBody> {
    BODIES[id as usize]
}

/// Whether a command has a body anywhere.
#[inline]
pub fn is_implemented(id: CommandId) -> bool {
    BODIES[id as usize].is_some() || shoal_store::commands::body(id).is_some()
}

/// Whether a container has at least one subcommand with a body; the others are unknown subcommands then.
pub fn is_known_container(id: CommandId) -> bool {
    id.row().subcommands().iter().any(|subcommand| is_implemented(subcommand.id))
}

/// Every family declares its rows; the table is built at compile time.
static BODIES: [Option<NodeBody>; CommandId::COUNT] = {
    let mut bodies: [Option<NodeBody>; CommandId::COUNT] = [None; CommandId::COUNT];
    let families: &[&[(CommandId, NodeBody)]] = &[
        client::BODIES,
        cluster::BODIES,
        cluster_insight::BODIES,
        command::BODIES,
        config::BODIES,
        connection::BODIES,
        debug::BODIES,
        info::BODIES,
        latency::BODIES,
        lolwut::BODIES,
        memory::BODIES,
        migrate::BODIES,
        module::BODIES,
        persistence::BODIES,
        pubsub::BODIES,
        replication::BODIES,
        slot_migration::BODIES,
        slowlog::BODIES,
        transaction::BODIES,
    ];
    let mut family = 0;
    while family < families.len() {
        let mut row = 0;
        while row < families[family].len() {
            bodies[families[family][row].0 as usize] = Some(families[family][row].1);
            row += 1;
        }
        family += 1;
    }
    bodies
};
