//! One owner per slot and config epoch.

use shoal_cluster::{Message, NodeId, SlotSet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who claimed which slots in each config epoch.
#[derive(Debug, Default)]
pub(crate) struct OneOwner {
    claims: BTreeMap<u64, Vec<(NodeId, Arc<SlotSet>)>>,
    /// The last claim of each node, for which nothing new is to be checked.
    last: BTreeMap<usize, (u64, Arc<SlotSet>)>,
}

impl OneOwner {
    pub(crate) fn on_send(&mut self, sender: usize, message: &Message) -> Result<(), String> {
        let header = &message.header;
        if header.primary.is_some() || header.slots.is_empty() || header.config_epoch == 0 {
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
