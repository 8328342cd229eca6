//! One owner per slot and config epoch: of those that were voted for, and those that a majority was told of before slots were taken
//! with them. An epoch that a node takes because another primary has the same as it (Redis's rule, without asking anybody) may be
//! one that an election has at the same time; then they part by the same rule, which is checked when the cluster has healed.

use shoal_cluster::{Message, NodeId, SlotSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Who claimed which slots in each config epoch.
#[derive(Debug, Default)]
pub(crate) struct OneOwner {
    claims: BTreeMap<u64, Vec<(NodeId, Arc<SlotSet>)>>,
    /// The last claim of each node, for which nothing new is to be checked.
    last: BTreeMap<usize, (u64, Arc<SlotSet>)>,
    /// Epochs that were taken to part from another node.
    collisions: BTreeSet<u64>,
}

impl OneOwner {
    pub(crate) fn on_collision(&mut self, epoch: u64) {
        self.collisions.insert(epoch);
    }

    pub(crate) fn on_send(&mut self, sender: usize, message: &Message) -> Result<(), String> {
        let header = &message.header;
        if header.primary.is_some()
            || header.slots.is_empty()
            || header.config_epoch == 0
            || self.collisions.contains(&header.config_epoch)
        {
            return Ok(());
        }
        let claim = (header.config_epoch, header.slots.clone());
        if self.last.get(&sender) == Some(&claim) {
            return Ok(());
        }
        self.last.insert(sender, claim);
        let claims = self.claims.entry(header.config_epoch).or_default();
        for (owner, slots) in claims.iter().filter(|(owner, _)| *owner != header.sender) {
            if let Some(slot) = slots.iter().find(|&slot| header.slots.contains(slot)) {
                return Err(format!(
                    "one owner per slot and config epoch: {owner:?} and {:?} (n{sender}) both claim slot {slot} in epoch {}",
                    header.sender, header.config_epoch
                ));
            }
        }
        claims.push((header.sender, header.slots.clone()));
        Ok(())
    }
}
