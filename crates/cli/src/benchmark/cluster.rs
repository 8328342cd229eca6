//! The primaries of a cluster, and keys that belong to them.

use super::options::Options;
use super::server::{ServerConfiguration, open};
use crate::cluster::node::parse_nodes;
use crate::connection::Address;
use crate::console::{err, out};
use crate::exit::{Step, fail};
use shoal_protocol::slot::{SLOT_COUNT, key_slot};
use std::sync::{OnceLock, RwLock};

/// A primary that owns slots.
pub(super) struct Primary {
    pub address: Address,
    pub configuration: Option<ServerConfiguration>,
    /// What it owns; changes when the cluster does.
    slots: RwLock<Vec<u16>>,
    id: String,
}

impl Primary {
    /// The hash tag of one of its slots, chosen by `random`.
    pub(super) fn tag(&self, random: &mut fastrand::Rng) -> [u8; 3] {
        let slots = self.slots.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let slot = if slots.is_empty() { 0 } else { slots[random.usize(..slots.len())] };
        tags()[usize::from(slot)]
    }
}

/// Asks a node for the cluster's primaries, and prints them.
pub(super) fn discover(options: &Options) -> Step<Vec<Primary>> {
    let mut primaries = Vec::new();
    for node in known_nodes(&options.address(), options)? {
        if node.is_replica() {
            continue;
        }
        let host = if node.host.is_empty() { options.host.clone() } else { node.host.clone() };
        let address = Address::Tcp { host, port: node.port };
        if node.slots.is_empty() {
            err!("WARNING: Master node {address} has no slots, skipping...");
            continue;
        }
        primaries.push(Primary { address, configuration: None, slots: RwLock::new(node.slots), id: node.id });
    }
    if primaries.len() <= 1 {
        fail!("Invalid cluster: {} node(s).", primaries.len());
    }
    let quiet = options.output == super::options::Output::Json;
    if !quiet {
        out!("Cluster has {} master nodes:\n\n", primaries.len());
    }
    for (index, primary) in primaries.iter_mut().enumerate() {
        if !quiet {
            out!("Master {index}: {} {}\n", primary.id, primary.address);
        }
        primary.configuration = ServerConfiguration::fetch(&primary.address, options)?;
        if primary.configuration.is_none() {
            err!("WARNING: Could not fetch node CONFIG {}", primary.address);
        }
    }
    if !quiet {
        out!("\n");
    }
    Ok(primaries)
}

/// Asks again who owns what, after a node has sent a client elsewhere.
pub(super) fn refresh(primaries: &[Primary], options: &Options) -> Step {
    err!("WARNING: Cluster slots configuration changed, fetching new one...");
    let Some(first) = primaries.first() else { return Ok(()) };
    let nodes = known_nodes(&first.address, options)?;
    for primary in primaries {
        if let Some(node) = nodes.iter().find(|node| node.id == primary.id) {
            let mut slots = primary.slots.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            slots.clone_from(&node.slots);
        }
    }
    Ok(())
}

fn known_nodes(address: &Address, options: &Options) -> Step<Vec<crate::cluster::node::Node>> {
    let Some(mut connection) = open(address, options)? else {
        fail!("Failed to fetch cluster configuration from {address}");
    };
    match connection.call(&["CLUSTER", "NODES"]) {
        Ok(reply) if !reply.is_error() => {
            if let Some(nodes) = parse_nodes(&reply.as_text().unwrap_or_default()) {
                return Ok(nodes);
            }
        }
        Ok(reply) => {
            err!("Cluster node {address} replied with error:\n{}", reply.as_error().unwrap_or_default());
        }
        Err(error) => err!("Error: {error}"),
    }
    fail!("Failed to fetch cluster configuration from {address}");
}

/// For each slot three bytes that hash to it.
fn tags() -> &'static [[u8; 3]] {
    static TAGS: OnceLock<Vec<[u8; 3]>> = OnceLock::new();
    TAGS.get_or_init(|| {
        const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
        let mut tags = vec![[0; 3]; usize::from(SLOT_COUNT)];
        let mut missing = tags.len();
        for first in LETTERS {
            for second in LETTERS {
                for third in LETTERS {
                    let tag = [*first, *second, *third];
                    let slot = usize::from(key_slot(&tag));
                    if tags[slot] == [0; 3] {
                        tags[slot] = tag;
                        missing -= 1;
                    }
                }
            }
            if missing == 0 {
                break;
            }
        }
        tags
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_tag() {
        for (slot, tag) in tags().iter().enumerate() {
            assert_eq!(usize::from(key_slot(tag)), slot);
            assert_ne!(*tag, [0; 3]);
        }
    }
}
