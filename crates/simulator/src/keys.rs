//! The keys of a simulated executor: for each slot the numbers of the writes that it holds. They survive a crash, as with an
//! append-only file that is synced always.

use shoal_cluster::slot_migration::JobName;
use shoal_cluster::{SlotRanges, SlotSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Writes of one slot. Copies share them, so that equal ones are found by their place.
pub(crate) type Writes = Arc<BTreeSet<u64>>;

/// What an executor holds, and which imports stand in its file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    slots: BTreeMap<u16, Writes>,
    /// Imports that have begun, by the markers in the stream.
    pub marks: BTreeMap<JobName, SlotRanges>,
}

impl Keys {
    pub(crate) fn write(&mut self, slot: u16, number: u64) {
        Arc::make_mut(self.slots.entry(slot).or_default()).insert(number);
    }

    pub(crate) fn get(&self, slot: u16) -> Option<&Writes> {
        self.slots.get(&slot)
    }

    pub(crate) fn put(&mut self, slot: u16, writes: Writes) {
        self.slots.insert(slot, writes);
    }

    pub(crate) fn drop_slots(&mut self, slots: &SlotRanges) {
        self.slots
            .retain(|slot, _| !slots.as_slice().iter().any(|(first, last)| (first..=last).contains(&slot)));
    }

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
    }

    pub(crate) fn slots(&self) -> SlotSet {
        self.slots.keys().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &Writes)> {
        self.slots.iter().map(|(&slot, writes)| (slot, writes))
    }
}
