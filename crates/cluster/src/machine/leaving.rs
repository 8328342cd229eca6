//! Slots that have gone to others, and their keys, which are still here.
//!
//! A replica that has not heard who the new owner is may be elected in the place of this node, and takes the slots with a greater epoch than
//! the new owner has: voters who have not heard either let it, as when the new owner was cut off at its claim. It is to have their keys
//! then. So this node keeps them, hidden, until its replicas show by what they say about its slots that they know better; before that,
//! nothing is deleted, neither here nor, by the stream, there. A replica that has failed is not waited for: when it is back, it is told whose
//! the slots are as soon as it says a word.

use super::ClusterMachine;
use crate::messages::Header;
use crate::view::NodeKey;
use crate::{NodeOrder, SlotSet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module's comment.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    slots: SlotSet,
    /// What each replica has last said about the slots of this node since: with which config epoch, and which they are.
    shown: BTreeMap<NodeKey, (u64, Arc<SlotSet>)>,
}

impl ClusterMachine {
    /// These slots are others' now: the executor hides their keys, and deletes them when no replica may come back with the slots.
    pub(super) fn let_go(&mut self, slots: &SlotSet) {
        self.leaving.slots = self.leaving.slots.union(slots);
        let due = self.take_left();
        let kept = slots.minus(&due);
        if !kept.is_empty() {
            self.orders.push(NodeOrder::HideSlots { slots: kept.ranges() });
        }
        self.order_to_drop(&due);
    }

    /// A replica of this node says which slots that has, as far as it knows.
    pub(super) fn note_shown(&mut self, sender: NodeKey, header: &Header) {
        if self.leaving.slots.is_empty() || header.primary != Some(self.me().id) {
            return;
        }
        self.leaving.shown.insert(sender, (header.config_epoch, header.slots.clone()));
        let due = self.take_left();
        self.order_to_drop(&due);
    }

    /// The replicas that have not heard of it are asked, and told.
    pub(super) fn leaving_cron(&mut self) {
        if self.leaving.slots.is_empty() {
            return;
        }
        let due = self.take_left();
        self.order_to_drop(&due);
        for replica in self.waited_for() {
            if self.unaware_of(replica).is_some() {
                self.send_ping(replica);
            }
        }
    }

    fn order_to_drop(&mut self, due: &SlotSet) {
        if !due.is_empty() {
            self.orders.push(NodeOrder::DropSlots { slots: due.ranges() });
            self.views.is_dirty = true;
        }
    }

    fn waited_for(&self) -> Vec<NodeKey> {
        let replicas = self.table.replicas_of(self.myself);
        replicas.filter(|(_, node)| !node.is_failed()).map(|(key, _)| key).collect()
    }

    /// Which of the slots a replica may take for those of this node still.
    fn unaware_of(&self, replica: NodeKey) -> Option<SlotSet> {
        let Leaving { slots, shown } = &self.leaving;
        let left = match shown.get(&replica) {
            Some((epoch, shown)) if *epoch == self.me().config_epoch => slots.minus(&slots.minus(shown)),
            // It has not said anything since, or does not know all that this node has claimed.
            _ => slots.clone(),
        };
        (!left.is_empty()).then_some(left)
    }

    /// Takes out the slots that no replica takes for those of this node any more.
    fn take_left(&mut self) -> SlotSet {
        let is_replica = self.me().is_replica();
        let (table, myself) = (&self.table, self.myself);
        // What has come back is emptied by the executor at once; and the keys of a replica are those of its primary.
        let importing = &self.importing;
        let stays =
            |slot: &u16| !is_replica && table.owner(*slot) != Some(myself) && !importing.contains_key(slot);
        let mut due: SlotSet = self.leaving.slots.iter().filter(stays).collect();
        self.leaving.slots = due.clone();
        for replica in self.waited_for() {
            if let Some(unaware) = self.unaware_of(replica) {
                due = due.minus(&unaware);
            }
        }
        self.leaving.slots = self.leaving.slots.minus(&due);
        if self.leaving.slots.is_empty() {
            self.leaving.shown.clear();
        }
        due
    }
}
