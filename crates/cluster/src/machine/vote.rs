//! Votes this node gives.

use super::ClusterMachine;
use super::announce::Action;
use crate::interface::LogLevel;
use crate::messages::Header;
use crate::node_table::Node;
use crate::nodes_conf::NodesConf;
use crate::view::NodeKey;
use crate::{NodeId, SlotSet};
use shoal_machine::Monotonic;

/// No second vote about the same primary for this many node-timeouts.
const VOTE_REST: u64 = 2;

impl ClusterMachine {
    /// A replica asks for a vote. The vote is saved before it leaves; see [`Action::Vote`].
    pub(super) fn on_vote_request(&mut self, replica: NodeKey, header: &Header) {
        if !self.me().is_primary() || self.me().slots.is_empty() || self.is_silent() {
            return;
        }
        let epoch = self.current_epoch;
        let mut result = self.check_vote_request(replica, header);
        let primary = self.table.get(replica).and_then(|node| node.primary);
        if let (Ok(()), Some(primary)) = (&result, primary)
            && let Err((owner, reason)) =
                self.check_claimed_slots(&header.slots, header.config_epoch, primary)
        {
            // It may not hear of that from the owner, if that one is down, too.
            self.send_update(replica, owner, &SlotSet::empty());
            result = Err(reason);
        }
        if let Err(reason) = result {
            let text = format!("Failover auth denied to {}: {reason}", header.sender.as_str());
            self.log(LogLevel::Warning, text);
            return;
        }
        self.last_vote_epoch = epoch;
        let now = self.monotonic();
        if let Some(primary) = primary.and_then(|key| self.table.get_mut(key)) {
            primary.voted_at = Some((now, replica));
        }
        self.voted_against.extend(primary);
        self.changed();
        self.when_safe(Action::Vote { replica, epoch });
        let text = format!("Failover auth granted to {} for epoch {epoch}", header.sender.as_str());
        self.log(LogLevel::Warning, text);
    }

    fn check_vote_request(&self, replica: NodeKey, header: &Header) -> Result<(), String> {
        if header.current_epoch < self.current_epoch {
            let (asked, current) = (header.current_epoch, self.current_epoch);
            return Err(format!("reqEpoch ({asked}) < curEpoch({current})"));
        }
        // Not only equal: an epoch that was heard of and then lost in a crash must not be voted in again.
        if self.last_vote_epoch >= self.current_epoch {
            return Err(format!("already voted for epoch {}", self.current_epoch));
        }
        let node = self.table.get(replica).ok_or("it is unknown")?;
        if node.is_primary() {
            return Err("it is a master node".to_owned());
        }
        let primary = node.primary.and_then(|key| self.table.get(key)).ok_or("I don't know its master")?;
        if !primary.is_failed() && !header.force_ack {
            return Err("its master is up".to_owned());
        }
        let rest_ms = self.vote_rest_ms();
        if let Some((voted_at, voted_for)) = primary.voted_at {
            let age_ms = self.monotonic().ms_since(voted_at);
            // The same replica asks again in another epoch: it has given the first election up.
            if age_ms < rest_ms && voted_for != replica {
                let left = rest_ms - age_ms;
                return Err(format!("can't vote about this master before {left} milliseconds"));
            }
        }
        Ok(())
    }

    pub(super) fn vote_rest_ms(&self) -> u64 {
        self.config.node_timeout_ms * VOTE_REST
    }

    /// Whether this node has voted for a replica in the place of a primary, and does not know that nothing has come of it: the replica
    /// may have been elected, and neither this node nor the primary may have heard of that, for as long as they are cut off from it.
    pub(super) fn has_voted_against(&self, primary: &Node) -> bool {
        primary.voted_at.is_some()
    }

    /// The primaries in whose place this node has voted, with the replicas it has voted for.
    pub(super) fn saved_votes(&self) -> Vec<(NodeId, NodeId)> {
        let vote = |primary: &NodeKey| {
            let primary = self.table.get(*primary)?;
            let (_, replica) = primary.voted_at?;
            Some((primary.id, self.table.get(replica)?.id))
        };
        self.voted_against.iter().filter_map(vote).collect()
    }

    /// The votes of an earlier life are as new ones.
    pub(super) fn load_votes(&mut self, saved: Option<&NodesConf>) {
        let now = self.monotonic();
        for (primary, replica) in saved.iter().flat_map(|saved| &saved.voted_against) {
            if let (Some(primary), Some(replica)) = (self.table.find(primary), self.table.find(replica))
                && let Some(node) = self.table.get_mut(primary)
            {
                node.voted_at = Some((now, replica));
                self.voted_against.insert(primary);
            }
        }
    }

    /// A node has said how it stands. If this node has voted for it, so long ago that no election of that time goes on, it is known now what
    /// has come of it: either its claims are known, too, or it was not elected.
    pub(super) fn settle_votes(&mut self, sender: NodeKey) {
        if self.voted_against.is_empty() {
            return;
        }
        let (now, rest_ms) = (self.monotonic(), self.vote_rest_ms());
        let is_over =
            |(at, replica): &mut (Monotonic, NodeKey)| *replica == sender && now.ms_since(*at) >= rest_ms;
        let table = &mut self.table;
        let count = self.voted_against.len();
        self.voted_against.retain(|&primary| {
            let Some(node) = table.get_mut(primary) else { return false };
            node.voted_at.take_if(is_over);
            node.voted_at.is_some()
        });
        if self.voted_against.len() < count {
            self.changed();
        }
    }

    /// Who wants slots must know the newest owner of every one: nobody has any of them with a greater epoch; and `holder`, whose they are by
    /// the one who asks, is not known to have given one away before it came to this epoch. The error names the owner.
    pub(super) fn check_claimed_slots(
        &self,
        slots: &SlotSet,
        epoch: u64,
        holder: NodeKey,
    ) -> Result<(), (NodeKey, String)> {
        let holder_epoch = self.table.get(holder).map_or(0, |node| node.config_epoch);
        for slot in slots.iter() {
            let Some((owner, owner_epoch)) = self.table.claim(slot) else { continue };
            if owner_epoch > epoch {
                return Err((owner, format!("slot {slot} epoch ({owner_epoch}) > reqEpoch ({epoch})")));
            }
            if owner != holder && holder_epoch >= epoch {
                return Err((owner, format!("slot {slot} was given to another node before epoch {epoch}")));
            }
        }
        Ok(())
    }
}
