//! Roles and slots as other nodes claim them.

use super::ClusterMachine;
use super::announce::Action;
use crate::interface::LogLevel;
use crate::messages::Header;
use crate::view::NodeKey;
use crate::{NodeFlags, NodeId, SlotSet};
use std::collections::BTreeMap;
use std::sync::Arc;

impl ClusterMachine {
    /// A node says whether it is a primary or whose replica it is.
    pub(super) fn learn_role(&mut self, sender: NodeKey, header: &Header) {
        let Some(primary_id) = header.primary else {
            self.set_as_primary(sender);
            return;
        };
        let Some(node) = self.table.get_mut(sender) else { return };
        if !node.is_replica() {
            node.flags.clear(NodeFlags::PRIMARY | NodeFlags::MIGRATE_TO);
            node.flags.set(NodeFlags::REPLICA);
            self.table.release_slots(sender);
            self.todo.state = true;
            self.changed();
        }
        if let Some(primary) = self.table.find(&primary_id)
            && primary != sender
            && self.table.get(sender).is_some_and(|node| node.primary != Some(primary))
        {
            self.table.set_primary(sender, Some(primary));
            self.changed();
        }
    }

    /// Makes a node a primary in the table; nothing happens if it is one.
    pub(super) fn set_as_primary(&mut self, key: NodeKey) {
        let Some(node) = self.table.get(key) else { return };
        if node.is_primary() {
            return;
        }
        let had_primary = node.primary.is_some();
        self.table.set_primary(key, None);
        let is_me = key == self.myself;
        self.never_in_step &= !is_me;
        if let Some(node) = self.table.get_mut(key) {
            node.flags.clear(NodeFlags::REPLICA);
            node.flags.set(NodeFlags::PRIMARY);
            // An earlier vote was about the time when it was replaced; it has been given its place again since.
            node.voted_at = None;
            if had_primary && !is_me {
                // It replaces a primary that had replicas: others may migrate to it.
                node.flags.set(NodeFlags::MIGRATE_TO);
            }
        }
        self.todo.state = true;
        self.changed();
    }

    /// Compares the slots a message claims with ours: newer claims change our table, older ones are answered.
    /// `known_epoch` is the config epoch by which the sender was known before this message.
    pub(super) fn learn_slots(&mut self, sender: NodeKey, header: &Header, known_epoch: u64) {
        let Some(node) = self.table.get(sender) else { return };
        let is_primary = node.is_primary();
        let shown = if is_primary { Some(sender) } else { node.primary };
        let Some(shown) = shown.and_then(|key| self.table.get(key)) else { return };
        if Arc::ptr_eq(&shown.slots, &header.slots) {
            return;
        }
        if shown.slots == header.slots {
            if is_primary {
                self.table.share_slots(sender, &header.slots);
            }
            return;
        }
        if is_primary {
            self.learn_claims(sender, header.config_epoch, &header.slots, known_epoch);
        }
        self.answer_old_claims(sender, header.config_epoch, &header.slots);
    }

    /// A sender that claims slots which somebody owns with a greater epoch is told so.
    fn answer_old_claims(&mut self, sender: NodeKey, epoch: u64, slots: &SlotSet) {
        let newer = slots.iter().find_map(|slot| {
            let owner = self.table.owner(slot)?;
            let is_newer = match self.granted_with(slot).filter(|_| owner == self.myself) {
                Some(claimed_with) => claimed_with > epoch,
                None => {
                    !self.table.is_unclaimed(slot)
                        && self.table.get(owner).is_some_and(|owner| owner.config_epoch > epoch)
                }
            };
            (is_newer && owner != sender).then_some(owner)
        });
        let Some(owner) = newer else { return };
        if let (Some(sender), Some(owner)) = (self.table.get(sender), self.table.get(owner)) {
            let text = format!(
                "Node {} has old slots configuration, sending an UPDATE message about {}",
                sender.id.as_str(),
                owner.id.as_str()
            );
            self.log(LogLevel::Verbose, text);
        }
        let is_stale = |slot: &u16| self.granted_with(*slot).is_some_and(|claimed_with| claimed_with > epoch);
        let granted: SlotSet = slots.iter().filter(is_stale).collect();
        self.send_update(sender, owner, &granted);
    }

    /// The UPDATE message: somebody else tells what a node serves.
    pub(super) fn on_update(&mut self, node: NodeId, config_epoch: u64, slots: &Arc<SlotSet>) {
        let Some(key) = self.table.find(&node) else { return };
        let Some(known_epoch) = self.table.get(key).map(|node| node.config_epoch) else { return };
        if known_epoch >= config_epoch {
            return;
        }
        if key == self.myself {
            self.log(LogLevel::Warning, "Discarding UPDATE message about myself.".to_owned());
            return;
        }
        self.set_as_primary(key);
        if let Some(node) = self.table.get_mut(key) {
            node.config_epoch = config_epoch;
        }
        self.changed();
        self.learn_claims(key, config_epoch, slots, known_epoch);
    }

    /// Binds the slots `claimant` claims with `epoch`, and draws the consequences for this node: it follows the new
    /// owner when its own shard lost its last slot, or drops the keys of what it lost.
    fn learn_claims(&mut self, claimant: NodeKey, epoch: u64, slots: &Arc<SlotSet>, known_epoch: u64) {
        if claimant == self.myself {
            return;
        }
        let my_shard = self.my_primary().unwrap_or(self.myself);
        let mut lost = Vec::new();
        let mut taken_from_shard = 0;
        // A node has two links to each peer: this may have been overtaken by what it said later.
        let is_overtaken = self.table.get(claimant).is_some_and(|node| node.config_epoch > epoch);
        if !is_overtaken {
            self.note_unclaimed(claimant, slots, known_epoch);
        }
        for slot in slots.iter() {
            let owner = self.table.owner(slot);
            if owner == Some(claimant) {
                if !is_overtaken {
                    self.table.set_claimed(slot);
                }
                continue;
            }
            // A slot that is being imported changes hands by command only.
            if self.importing.contains_key(&slot) {
                continue;
            }
            // What its owner has claimed with a greater epoch, and granted since, is not that of a node that has slept meanwhile.
            if self.table.claim(slot).is_some_and(|(_, claimed_with)| claimed_with >= epoch) {
                continue;
            }
            if owner == Some(self.myself) {
                lost.push(slot);
            }
            taken_from_shard += usize::from(owner == Some(my_shard));
            self.table.assign(slot, Some(claimant));
            self.table.set_claimed(slot);
            if is_overtaken {
                // It has not claimed the slot with the epoch that it has come to since.
                self.table.set_unclaimed(slot, epoch);
            }
            self.todo.state = true;
            self.changed();
        }
        self.table.share_slots(claimant, slots);
        self.react_to_lost_slots(claimant, taken_from_shard, usize::from(slots.len()), &lost);
    }

    /// For a slot that this node has granted: the epoch with which it has claimed it. Whoever comes with an older one has not been
    /// granted anything: it has slept through a failover.
    fn granted_with(&self, slot: u16) -> Option<u64> {
        self.grants.iter().find(|(slots, _)| slots.contains(slot)).map(|&(_, epoch)| epoch)
    }

    /// What a node claims no more stays bound to it, so that requests are redirected rather than refused until somebody else
    /// claims it, with an epoch above that with which the node was known to claim it.
    fn note_unclaimed(&mut self, claimant: NodeKey, slots: &SlotSet, known_epoch: u64) {
        let Some(node) = self.table.get(claimant) else { return };
        let dropped = node.slots.minus(slots).minus(self.table.unclaimed_slots());
        for slot in dropped.iter() {
            self.table.set_unclaimed(slot, known_epoch);
            self.changed();
        }
    }

    fn react_to_lost_slots(&mut self, claimant: NodeKey, taken: usize, claimed: usize, lost: &[u16]) {
        let my_primary = self.my_primary();
        let my_shard = my_primary.unwrap_or(self.myself);
        let shard_is_empty = self.table.get(my_shard).is_none_or(|node| node.slots.is_empty());
        let grand_primary = my_primary.and_then(|key| self.table.get(key)).and_then(|node| node.primary);
        if taken > 0 && shard_is_empty && (self.config.allow_replica_migration || claimed == taken) {
            self.log_follow("Configuration change detected. Reconfiguring myself as a replica of", claimant);
            self.follow(claimant);
        } else if let Some(grand_primary) = grand_primary.filter(|&key| key != self.myself) {
            self.log_follow(super::migration::SUB_REPLICA, grand_primary);
            self.follow(grand_primary);
        } else if !lost.is_empty() {
            for &slot in lost {
                self.given.insert(slot);
            }
            self.let_go(&lost.iter().copied().collect());
        }
    }

    pub(super) fn log_follow(&mut self, text: &str, primary: NodeKey) {
        if let Some(node) = self.table.get(primary) {
            let line = format!("{text} {}", node.id.as_str());
            self.log(LogLevel::Warning, line);
        }
    }

    /// Makes this node a replica of `primary`.
    pub(super) fn follow(&mut self, primary: NodeKey) {
        if primary == self.myself {
            return;
        }
        if self.me().is_primary() {
            self.table.release_slots(self.myself);
            let me = self.me_mut();
            me.flags.clear(NodeFlags::PRIMARY | NodeFlags::MIGRATE_TO);
            me.flags.set(NodeFlags::REPLICA);
            self.close_all_slots();
            // A manual failover back may be asked for at once, and the others have to know then who is who.
            self.when_safe(Action::BroadcastPong { only_shard: false });
        }
        self.never_in_step |= self.my_primary() != Some(primary);
        self.table.set_primary(self.myself, Some(primary));
        self.reset_manual_failover();
        self.election = super::Election::Idle;
        self.todo.state = true;
        self.changed();
    }

    /// Forgets all migrating and importing states.
    pub(super) fn close_all_slots(&mut self) {
        self.migrating = Arc::new(BTreeMap::new());
        self.importing = Arc::new(BTreeMap::new());
    }
}
