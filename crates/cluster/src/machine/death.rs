//! The death of a process, noticed at once.
//!
//! A process that dies takes its sockets with it: the link breaks, and its system refuses further connections. That is
//! different from silence. A node that is slow, stopped or cut off keeps its links, or its system does not answer at
//! all; it gets its whole node-timeout. Suspicion is only brought forward here: that a node has failed is still for
//! a majority of the primaries to find, each by its own connections.

use super::ClusterMachine;
use crate::interface::LogLevel;
use crate::node_table::{DeathSigns, Node};
use crate::view::NodeKey;

/// So many connections in a row have to be refused after the link broke,
const REFUSALS: u32 = 2;
/// within this time, in milliseconds. What takes longer is left to node-timeout.
const WINDOW_MS: u64 = 1000;

impl ClusterMachine {
    /// A link of ours that worked was closed from the other side.
    pub(super) fn note_broken_link(&mut self, key: NodeKey) {
        let now = self.monotonic();
        if let Some(node) = self.table.get_mut(key) {
            node.death_signs = Some(DeathSigns { lost_at: now, refusals: 0 });
        }
    }

    /// The system of a node says that nobody listens there.
    pub(super) fn note_refusal(&mut self, key: NodeKey) {
        let now = self.monotonic();
        let Some(node) = self.table.get_mut(key) else { return };
        let Some(signs) = &mut node.death_signs else { return };
        if now.ms_since(signs.lost_at) > WINDOW_MS {
            node.death_signs = None;
            return;
        }
        signs.refusals += 1;
        if signs.refusals < REFUSALS {
            return;
        }
        node.death_signs = None;
        let id = node.id;
        if !self.config.fast_failure_detection || self.is_silent() || !self.would_be_replaced(key) {
            return;
        }
        self.log(
            LogLevel::Notice,
            format!("The process of node {id} has died: its link broke, and its system refuses connections."),
        );
        self.suspect(key);
    }

    /// Whether it helps anybody to be quick: a primary without a replica that can take its place had better come back
    /// by itself, without having been declared failed.
    fn would_be_replaced(&self, key: NodeKey) -> bool {
        let Some(node) = self.table.get(key) else { return false };
        let is_known = node.is_suspected() || node.is_failed() || node.is_in_handshake();
        let can_replace = |replica: &Node| replica.may_take_over() && !replica.is_suspected();
        !is_known
            && !node.slots.is_empty()
            && self.table.replicas_of(key).any(|(_, replica)| can_replace(replica))
    }
}
