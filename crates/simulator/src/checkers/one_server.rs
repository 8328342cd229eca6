//! At no moment do two nodes serve one slot, but for one that has not heard what it has lost: a majority has replaced it by an
//! election, or has taken it for failed when the source of slots took them back, or it was down meanwhile. There is a time in which such a node may still serve, as with Redis. What moves is never
//! served at both ends.

use shoal_cluster::SlotSet;
use std::collections::BTreeMap;

/// What each node may still serve although it was replaced.
#[derive(Debug, Default)]
pub(crate) struct OneServer {
    replaced: BTreeMap<usize, SlotSet>,
    /// What was granted to it and taken back, with epochs above these.
    revoked: BTreeMap<usize, Vec<(SlotSet, u64)>>,
}

impl OneServer {
    /// A node was elected, and owns these slots: the others of its shard were replaced, whichever of them it took for its primary.
    pub(crate) fn on_elected(&mut self, node: usize, shard: &[usize], slots: &SlotSet) {
        self.replaced.remove(&node);
        for other in shard.iter().filter(|&&other| other != node) {
            let replaced = self.replaced.entry(*other).or_default();
            *replaced = replaced.iter().chain(slots.iter()).collect();
        }
    }

    /// Others have taken these slots from a node that has not heard of it: it slept, or a majority took it for failed.
    pub(crate) fn on_unheard(&mut self, node: usize, taken: &SlotSet) {
        let replaced = self.replaced.entry(node).or_default();
        *replaced = replaced.iter().chain(taken.iter()).collect();
    }

    /// The source has taken granted slots back from a node that a majority took for failed, with an epoch above this one: the node may
    /// claim them even now, until it hears of that epoch.
    pub(crate) fn on_revoked(&mut self, node: usize, slots: SlotSet, epoch_max: u64) {
        self.revoked.entry(node).or_default().push((slots, epoch_max));
    }

    /// A node has a new view: what it does not own any more it has heard of. `epoch_of` is the config epoch of the owner of a slot.
    pub(crate) fn on_view(&mut self, node: usize, owns: &SlotSet, epoch_of: &dyn Fn(u16) -> u64) {
        if let Some(revoked) = self.revoked.get_mut(&node) {
            revoked.retain(|(slots, epoch_max)| slots.iter().any(|slot| epoch_of(slot) <= *epoch_max));
        }
        if let Some(replaced) = self.replaced.get_mut(&node) {
            *replaced = replaced.iter().filter(|&slot| owns.contains(slot)).collect();
            if replaced.is_empty() {
                self.replaced.remove(&node);
            }
        }
    }

    /// These nodes serve a slot at once.
    pub(crate) fn on_served(&self, slot: u16, servers: &[usize]) -> Result<(), String> {
        let is_replaced = |node: &usize| {
            let revoked = self.revoked.get(node).into_iter().flatten();
            self.replaced.get(node).is_some_and(|slots| slots.contains(slot))
                || revoked.into_iter().any(|(slots, _)| slots.contains(slot))
        };
        let owners: Vec<usize> = servers.iter().copied().filter(|node| !is_replaced(node)).collect();
        match owners[..] {
            [first, second, ..] => {
                Err(format!("one server: n{first} and n{second} serve slot {slot} at once"))
            }
            _ => Ok(()),
        }
    }
}
