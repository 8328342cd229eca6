//! No write is lost that all replicas of its shard had; and in the end no key is at two primaries.

use crate::keys::{Keys, Writes};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A primary by its number, what it holds, and whether it owns a slot.
pub(crate) type Holder<'a> = (usize, &'a Keys, &'a dyn Fn(u16) -> bool);

/// The writes that must not be lost, by slot: all replicas of the shard that has the slot held them, as WAIT says it.
#[derive(Debug, Default)]
pub(crate) struct SafeWrites {
    safe: BTreeMap<u16, BTreeSet<u64>>,
    /// What was found safe last, so that nothing is looked at twice.
    last: BTreeMap<u16, Writes>,
}

impl SafeWrites {
    /// A primary and all its replicas, which may be none, hold the same writes of a slot.
    pub(crate) fn note(&mut self, slot: u16, writes: &Writes) {
        self.safe.entry(slot).or_default().extend(writes.iter());
        self.last.insert(slot, writes.clone());
    }

    /// Whether these writes were not found safe last.
    pub(crate) fn is_new(&self, slot: u16, writes: &Writes) -> bool {
        self.last.get(&slot).is_none_or(|last| !Arc::ptr_eq(last, writes))
    }

    /// A slot has changed hands: safe is what the replicas of its new owner hold.
    pub(crate) fn restrict(&mut self, slot: u16, replicas: &[Option<Writes>]) {
        self.last.remove(&slot);
        if let Some(safe) = self.safe.get_mut(&slot) {
            safe.retain(|write| {
                replicas.iter().all(|writes| writes.as_ref().is_some_and(|writes| writes.contains(write)))
            });
        }
    }

    /// The slots that have any.
    pub(crate) fn slots(&self) -> Vec<u16> {
        self.safe.keys().copied().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.safe.values().map(BTreeSet::len).sum()
    }

    /// To be called when the cluster has healed.
    pub(crate) fn check(&self, primaries: &[Holder<'_>]) -> Result<(), String> {
        for (node, keys, owns) in primaries {
            if let Some((slot, _)) = keys.iter().find(|(slot, writes)| !writes.is_empty() && !owns(*slot)) {
                return Err(format!(
                    "no key doubled: n{node} holds keys of slot {slot}, which it does not own"
                ));
            }
        }
        for (slot, safe) in &self.safe {
            let owner = primaries.iter().find(|(_, _, owns)| owns(*slot));
            let Some((node, keys, _)) = owner else { return Err(format!("nobody owns slot {slot}")) };
            let held = keys.get(*slot);
            let lost = safe.iter().find(|write| held.is_none_or(|held| !held.contains(write)));
            if let Some(write) = lost {
                return Err(format!("no key lost: write {write} to slot {slot} is not at n{node}"));
            }
        }
        Ok(())
    }
}
