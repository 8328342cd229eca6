//! Deleting the keys of slots that belong to others now: a piece in each turn of the loop, so that nobody waits for it.
//! Nobody sees the keys meanwhile, and no slot comes back before it is done.

use super::Node;
use crate::host::Host;
use shoal_cluster::{SlotRanges, SlotSet};
use shoal_machine::Now;
use shoal_protocol::slot::SLOT_COUNT;
use shoal_store::table::Item;

/// Keys that are deleted in one turn of the loop: a fraction of a millisecond.
const KEYS_PER_TURN: usize = 256;
/// Keys that one command of the stream names.
const KEYS_PER_COMMAND: usize = 64;

/// Slots whose keys are to be deleted.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    slots: Option<Box<SlotSet>>,
    /// Those whose keys are hidden only, for now: a replica may still be elected that takes the slots for its own.
    kept: SlotSet,
}

impl Drops {
    pub(super) fn add(&mut self, slots: &SlotRanges) {
        if slots.is_empty() {
            return;
        }
        let set = self.slots.get_or_insert_default();
        for slot in slots.iter() {
            set.insert(slot);
            self.kept.remove(slot);
        }
    }

    fn keep(&mut self, slots: &SlotRanges) {
        for slot in slots.iter() {
            if !self.slots.as_ref().is_some_and(|set| set.contains(slot)) {
                self.kept.insert(slot);
            }
        }
    }

    /// All whose keys nobody is to see.
    pub(super) fn hidden(&self) -> impl Iterator<Item = u16> + '_ {
        self.slots().chain(self.kept.iter())
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = u16> + '_ {
        self.slots.iter().flat_map(|set| set.iter())
    }

    pub(super) fn contains_any(&self, slots: &SlotRanges) -> bool {
        self.slots.as_ref().is_some_and(|set| slots.iter().any(|slot| set.contains(slot)))
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn remove(&mut self, slot: u16) {
        self.kept.remove(slot);
        if let Some(set) = &mut self.slots {
            set.remove(slot);
            if set.is_empty() {
                self.slots = None;
            }
        }
    }
}

impl Node {
    /// Whether [`Node::drop_keys`] has something to do.
    #[inline]
    pub fn has_keys_to_drop(&self) -> bool {
        self.migrations.drops.slots.is_some()
    }

    /// Deletes some keys of slots that have gone; to be called once per turn of the loop.
    pub fn drop_keys(&mut self, now: Now, host: &mut dyn Host) {
        if !self.has_keys_to_drop() {
            return;
        }
        if self.is_replica() {
            return self.forget_drops();
        }
        let mut left = KEYS_PER_TURN;
        let mut has_emptied = false;
        while left > 0 {
            let first = self.migrations.drops.slots().next();
            let Some(slot) = first else { break };
            left -= self.drop_keys_of(slot, left).min(left);
            if self.keyspace.database(0).slot_len(slot) == 0 {
                self.migrations.drops.remove(slot);
                has_emptied = true;
            }
        }
        if has_emptied {
            self.note_dropped(now, host);
        }
        self.free_garbage(host);
    }

    /// This node is a replica: its primary sees to what is to be deleted.
    pub(crate) fn forget_drops(&mut self) {
        self.migrations.drops.clear();
        self.hide_slots();
    }

    /// Has the keys of slots hidden that belong to others now.
    pub(crate) fn keep_hidden(&mut self, slots: &SlotRanges) {
        self.migrations.drops.keep(slots);
        self.hide_slots();
    }

    /// Has the keys of slots deleted that belong to others now. Those that are on their way back are left alone: they were emptied before the
    /// first key came.
    pub(crate) fn drop_slots_of_others(&mut self, slots: &SlotRanges) {
        let slots: SlotRanges = slots.iter().filter(|&slot| !self.migrations.is_importing(slot)).collect();
        self.drop_slots(&slots);
    }

    fn drop_slots(&mut self, slots: &SlotRanges) {
        self.migrations.drops.add(slots);
        self.hide_slots();
    }

    /// A replica that is promoted may hold keys of slots that its primary had given away, and not deleted at its replicas yet:
    /// they go. Slots that are being imported by hand stay.
    pub(crate) fn drop_keys_of_others(&mut self) {
        let Some(view) = self.cluster.as_ref().and_then(|side| side.view.clone()) else { return };
        let database = self.keyspace.database(0);
        let is_anothers = |slot: &u16| {
            let owner = view.owners.get(*slot);
            owner.is_some_and(|owner| owner != view.myself) && !view.importing.contains_key(slot)
        };
        let is_importing = |slot: &u16| self.migrations.is_importing(*slot);
        let slots = (0..SLOT_COUNT).filter(|&slot| database.slot_len(slot) > 0);
        let slots: SlotRanges = slots.filter(is_anothers).filter(|slot| !is_importing(slot)).collect();
        if !slots.is_empty() {
            self.drop_slots(&slots);
        }
    }

    /// Deletes all keys of some slots now: they are to be used anew.
    pub(crate) fn drop_at_once(&mut self, now: Now, host: &mut dyn Host, slots: &SlotRanges) {
        for slot in slots.iter() {
            while self.drop_keys_of(slot, usize::MAX) > 0 {}
            self.migrations.drops.remove(slot);
        }
        self.note_dropped(now, host);
        self.free_garbage(host);
    }

    /// Slots that have come back, or are to be filled by hand, before their keys were deleted: that is made up for now.
    pub(crate) fn finish_drops_of_own_slots(&mut self, now: Now, host: &mut dyn Host) {
        let Some(view) = self.cluster.as_ref().and_then(|side| side.view.clone()) else { return };
        let is_back = |slot: &u16| view.owns(*slot) || view.importing.contains_key(slot);
        let own: SlotRanges = self.migrations.drops.hidden().filter(is_back).collect();
        if !own.is_empty() {
            self.drop_at_once(now, host, &own);
        }
    }

    /// Deletes up to `limit` keys of a slot; replicas hear of it. Returns how many.
    fn drop_keys_of(&mut self, slot: u16, limit: usize) -> usize {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let database = self.keyspace.database_mut(0);
        let is_all = database.slot_len(slot) <= limit;
        database.slot_entries(slot, limit, |entry| keys.push(entry.key().to_vec()));
        if is_all {
            let garbage = database.clear_slot(slot);
            self.keyspace.discard(garbage);
        } else {
            let keep_size = self.keyspace.keeps_size();
            for key in &keys {
                let database = self.keyspace.database_mut(0);
                if let Some(found) = database.find(key) {
                    let entry = database.remove(found, keep_size);
                    self.keyspace.discard_entry(entry);
                }
            }
        }
        self.changes_since_save += keys.len() as u64;
        for key in &keys {
            self.blocking.note(0, key);
        }
        for part in keys.chunks(KEYS_PER_COMMAND) {
            self.propagate_own(0, std::iter::once(b"DEL".as_slice()).chain(part.iter().map(Vec::as_slice)));
        }
        keys.len()
    }
}
