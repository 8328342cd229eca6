//! One database: its tables, one for all keys or one per hash slot.

use crate::entry::{Entry, Value};
use crate::hasher::Hasher;
use crate::table::{Item, ItemMut, ItemRef, NO_DEADLINE, Position, Statistics, Table};
use crate::timed_hashes::TimedHashes;
use crate::types::Hash;
use shoal_machine::Rng;
use shoal_protocol::slot::{SLOT_COUNT, key_slot};

/// How keys are spread over tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One table.
    Single,
    /// A table per hash slot, made when first used: what a slot costs depends on what it holds.
    PerSlot,
}

/// What is computed of a key once and used for every step of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    hash: u64,
    slot: u16,
}

/// An entry of a database. Good until the database changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    place: Place,
    position: Position,
}

/// How many random tables are tried for a fair choice before any is taken.
const FAIR_TRIES: usize = 32;

/// Bits of a cursor of [`Database::scan`] that name the slot.
const SLOT_BITS: u32 = 14;

/// The keys of one database.
#[derive(Debug)]
pub struct Database {
    hasher: Hasher,
    layout: Layout,
    tables: Vec<Option<Box<Table<Entry>>>>,
    /// Bit per table: it has keys.
    occupied: Vec<u64>,
    /// Bit per slot whose keys nobody is to see or to delete; empty if there are none.
    hidden: Vec<u64>,
    length: usize,
    expiring: usize,
    expire_slot: usize,
    expire_cursor: u64,
    /// Keys of hashes of which fields expire.
    timed_hashes: TimedHashes,
    recent: Recent,
}

/// The key that was looked up last, for commands in a row on one key: neither its hash nor its place is to be found anew.
/// Forgotten with every change that may put another key in its place.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    found: Option<Found>,
    /// It was looked up before that, too.
    is_repeated: bool,
}

impl Database {
    /// An empty database.
    pub fn new(layout: Layout, hasher: Hasher) -> Self {
        let mut database = Self {
            hasher,
            layout,
            tables: Vec::new(),
            occupied: Vec::new(),
            hidden: Vec::new(),
            length: 0,
            expiring: 0,
            expire_slot: 0,
            expire_cursor: 0,
            timed_hashes: TimedHashes::default(),
            recent: Recent::default(),
        };
        database.clear();
        database
    }

    /// How keys are spread.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The number of keys, expired ones that nobody has touched included.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Hides the keys of some slots, given as ranges, and shows all others: SCAN, KEYS, RANDOMKEY, eviction and the search
    /// for expired keys pass them over. Who names such a key finds it.
    pub fn hide_slots(&mut self, ranges: &[(u16, u16)]) {
        self.hidden = if ranges.is_empty() { Vec::new() } else { vec![0; usize::from(SLOT_COUNT) / 64] };
        for slot in ranges.iter().flat_map(|&(first, last)| first..=last) {
            if let Some(word) = self.hidden.get_mut(usize::from(slot) / 64) {
                *word |= 1 << (slot % 64);
            }
        }
    }

    /// Whether the keys of a slot are hidden.
    pub fn is_hidden(&self, slot: u16) -> bool {
        self.hidden.get(usize::from(slot) / 64).is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }

    /// The number of keys that are not hidden, and how many of them expire.
    pub fn visible_len(&self) -> (usize, usize) {
        let mut counts = (self.length, self.expiring);
        for (index, word) in self.hidden.iter().enumerate() {
            let mut bits = word & self.occupied.get(index).copied().unwrap_or(0);
            while bits != 0 {
                let slot = index * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(table) = self.tables.get(slot).and_then(Option::as_deref) {
                    counts.0 -= table.len();
                    counts.1 -= table.marked_len();
                }
            }
        }
        counts
    }

    /// The number of keys that expire.
    pub fn expiring_len(&self) -> usize {
        self.expiring
    }

    /// The number of keys that hold hashes of which fields expire.
    pub fn timed_hashes_len(&self) -> usize {
        self.timed_hashes.len()
    }

    /// Bytes held by the tables, without the entries.
    pub fn table_bytes(&self) -> usize {
        let tables = self.tables.iter().flatten().map(|table| table.size_bytes() + size_of::<Table<Entry>>());
        tables.sum::<usize>() + self.tables.capacity() * size_of::<usize>()
    }

    /// Bytes that a key takes: its block, what the block points to, and its share of the table. Of a collection, `samples`
    /// elements are looked at (0: all).
    pub fn memory_usage(&self, found: Found, samples: usize) -> usize {
        /// A bucket is a cache line of seven items.
        const BUCKET_SHARE_BYTES: usize = 64_usize.div_ceil(7);
        self.entry(found).size_bytes(samples) + BUCKET_SHARE_BYTES
    }

    /// The number of entries that fit without growing.
    pub fn capacity(&self) -> usize {
        self.tables.iter().flatten().map(|table| table.capacity()).sum()
    }

    /// How well the tables are filled; with keys that expire only, if asked.
    pub fn statistics(&self, expiring_only: bool) -> Statistics {
        let tables = self.tables.iter().flatten();
        tables.fold(Statistics::default(), |sum, table| sum.plus(&table.statistics(expiring_only)))
    }

    /// Hash and slot of a key.
    #[inline]
    pub fn place(&self, key: &[u8]) -> Place {
        let slot = if self.layout == Layout::PerSlot { key_slot(key) } else { 0 };
        Place { hash: self.hasher.hash(key), slot }
    }

    /// Asks the processor for what a look-up of this place will touch first.
    #[inline]
    pub fn prefetch(&self, place: Place) {
        if let Some(table) = self.table(place.slot) {
            table.prefetch(place.hash);
        }
    }

    /// Asks the processor for the entry that is probably at this place; some time after [`Database::prefetch`].
    #[inline]
    pub fn prefetch_entry(&self, place: Place) {
        if let Some(table) = self.table(place.slot) {
            table.prefetch_item(place.hash);
        }
    }

    /// Finds a key.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<Found> {
        self.find_at(self.place(key), key)
    }

    /// Finds a key whose place is known.
    #[inline]
    pub fn find_at(&self, place: Place, key: &[u8]) -> Option<Found> {
        let position = self.table(place.slot)?.find(place.hash, key)?;
        Some(Found { place, position })
    }

    /// As [`Database::find`], at less cost for a key that is looked up again and again.
    #[inline]
    pub fn look_up(&mut self, key: &[u8]) -> Option<Found> {
        if self.recent.is_repeated
            && let Some(found) = self.recent.found
            && self.table(found.place.slot).is_some_and(|table| table.holds(found.position, key))
        {
            return Some(found);
        }
        let found = self.find(key)?;
        self.recent = Recent { found: Some(found), is_repeated: self.recent.found == Some(found) };
        Some(found)
    }

    /// The entry.
    #[inline]
    pub fn entry(&self, found: Found) -> ItemRef<'_, Entry> {
        self.table(found.place.slot).expect("found in this table").item(found.position)
    }

    /// The entry, to be changed in its value or access clock. Expiries change by [`Database::set_expiry`].
    #[inline]
    pub fn entry_mut(&mut self, found: Found) -> ItemMut<'_, Entry> {
        self.table_mut(found.place.slot).item_mut(found.position)
    }

    /// Makes room for so many keys, if there are none yet and all are in one table.
    pub fn reserve(&mut self, keys: usize) {
        if self.layout == Layout::Single && self.length == 0 {
            self.table_mut(0).reserve(keys);
        }
    }

    /// Gives back the room that was made for keys if none came.
    pub fn release_unused(&mut self) {
        if self.layout == Layout::Single && self.length == 0 {
            self.tables[0] = None;
        }
    }

    /// Inserts an entry whose key is not there yet.
    pub fn insert(&mut self, place: Place, entry: Entry) -> Found {
        let expiry_ms = entry.expiry_ms();
        let hasher = self.hasher;
        self.recent = Recent::default();
        self.length += 1;
        self.expiring += usize::from(expiry_ms.is_some());
        if let Some(at) = first_field_expiry_ms(&entry) {
            self.timed_hashes.note(place.slot, entry.key(), Some(at), hasher);
        }
        self.occupied[usize::from(place.slot) / 64] |= 1 << (place.slot % 64);
        let table = self.table_mut(place.slot);
        let position = table.insert(&hasher, place.hash, entry);
        if expiry_ms.is_some() {
            table.set_mark(position, expiry_ms);
        }
        Found { place, position }
    }

    /// Puts an entry in the place of another with the same key. Returns the one before.
    pub fn replace(&mut self, found: Found, entry: Entry) -> Entry {
        let expiry_ms = entry.expiry_ms();
        let first_field_ms = first_field_expiry_ms(&entry);
        if first_field_ms.is_some() || is_timed_hash(&self.entry(found)) {
            self.timed_hashes.note(found.place.slot, entry.key(), first_field_ms, self.hasher);
        }
        let before = self.table_mut(found.place.slot).replace(found.position, entry);
        self.mark(found, before.expiry_ms().is_some(), expiry_ms);
        before
    }

    /// Takes an entry out. With `keep_size` the table does not shrink (while a snapshot shares its pages).
    pub fn remove(&mut self, found: Found, keep_size: bool) -> Entry {
        let hasher = self.hasher;
        self.recent = Recent::default();
        let table = self.table_mut(found.place.slot);
        let entry = table.remove(&hasher, found.position, found.place.hash, keep_size);
        let slot = usize::from(found.place.slot);
        if table.is_empty() {
            if self.layout == Layout::PerSlot && !keep_size {
                self.tables[slot] = None;
            }
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
        self.length -= 1;
        self.expiring -= usize::from(entry.expiry_ms().is_some());
        if is_timed_hash(&entry) {
            self.timed_hashes.note(found.place.slot, entry.key(), None, hasher);
        }
        entry
    }

    /// To be called when a field of a hash was given an expiry, or when its first fields have gone: notes when the first one
    /// expires now.
    pub fn note_field_expiries(&mut self, found: Found) {
        let Self { tables, timed_hashes, .. } = self;
        let Some(table) = tables.get(usize::from(found.place.slot)).and_then(Option::as_deref) else {
            return;
        };
        let entry = table.item(found.position);
        let first_expiry_ms = first_field_expiry_ms(&entry);
        timed_hashes.note(found.place.slot, entry.key(), first_expiry_ms, self.hasher);
    }

    /// Looks for keys of hashes of which a field may have expired, `limit` of them at the most, and gives them to `visit`. A call
    /// goes on where the last one ended. True when a round is done.
    pub fn find_due_hashes(&mut self, now_ms: u64, limit: usize, visit: impl FnMut(&[u8])) -> bool {
        self.timed_hashes.find_due(now_ms, limit, visit)
    }

    /// Sets or removes an expiry, in milliseconds since 1970.
    pub fn set_expiry(&mut self, found: Found, expiry_ms: Option<u64>) {
        let mut entry = self.entry_mut(found);
        let before = entry.expiry_ms().is_some();
        entry.set_expiry_ms(expiry_ms);
        drop(entry);
        self.mark(found, before, expiry_ms);
    }

    fn mark(&mut self, found: Found, before: bool, expiry_ms: Option<u64>) {
        self.expiring = self.expiring + usize::from(expiry_ms.is_some()) - usize::from(before);
        if before || expiry_ms.is_some() {
            self.table_mut(found.place.slot).set_mark(found.position, expiry_ms);
        }
    }

    /// Empties the database. The tables go to the caller, who may free them elsewhere.
    pub fn clear(&mut self) -> Garbage {
        let count = if self.layout == Layout::PerSlot { usize::from(SLOT_COUNT) } else { 1 };
        self.recent = Recent::default();
        self.length = 0;
        self.expiring = 0;
        self.expire_slot = 0;
        self.expire_cursor = 0;
        self.occupied = vec![0; count.div_ceil(64)];
        let fresh = (0..count).map(|_| None).collect();
        let tables = std::mem::replace(&mut self.tables, fresh).into_iter().flatten().collect();
        Garbage::Tables(tables, std::mem::take(&mut self.timed_hashes))
    }

    /// Empties one slot.
    pub fn clear_slot(&mut self, slot: u16) -> Garbage {
        let Some(table) = self.tables.get_mut(usize::from(slot)).and_then(Option::take) else {
            return Garbage::Tables(Vec::new(), TimedHashes::default());
        };
        self.recent = Recent::default();
        self.length -= table.len();
        self.expiring -= table.marked_len();
        self.occupied[usize::from(slot) / 64] &= !(1 << (slot % 64));
        Garbage::Tables(vec![table], self.timed_hashes.take_slot(slot))
    }

    /// The number of keys in a slot.
    pub fn slot_len(&self, slot: u16) -> usize {
        self.table(slot).map_or(0, Table::len)
    }

    /// Visits the entries of a slot, `count` at the most.
    pub fn slot_entries(&self, slot: u16, count: usize, mut visit: impl FnMut(&Entry)) {
        let mut left = count;
        if let Some(table) = self.table(slot).filter(|_| count > 0) {
            table.scan(0, count, false, |entry| {
                if left > 0 {
                    left -= 1;
                    visit(&entry);
                }
            });
        }
    }

    /// Visits entries from `cursor` on, about `count`. Returns the cursor to go on with, 0 at the end. Every key that
    /// is there from start to end is visited.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&Entry)) -> u64 {
        let mut slot = (cursor & ((1 << SLOT_BITS) - 1)) as usize;
        let mut hash_cursor = cursor >> SLOT_BITS;
        let mut left = count.max(1);
        while let Some(occupied) = self.next_visible(slot) {
            if occupied != slot {
                hash_cursor = 0;
            }
            slot = occupied;
            let mut visited = 0;
            if let Some(table) = self.table(slot as u16) {
                hash_cursor = table.scan(hash_cursor, left, false, |entry| {
                    visited += 1;
                    visit(&entry);
                });
            }
            left = left.saturating_sub(visited);
            if hash_cursor == 0 {
                slot += 1;
            }
            if left == 0 {
                let more = hash_cursor != 0 || self.next_visible(slot).is_some();
                return if more { hash_cursor << SLOT_BITS | slot as u64 } else { 0 };
            }
        }
        0
    }

    /// Visits every entry, slot by slot.
    pub fn for_each(&self, mut visit: impl FnMut(&Entry)) {
        for table in self.tables.iter().flatten() {
            table.for_each(|entry| visit(&entry));
        }
    }

    /// Visits every entry that is not hidden, slot by slot.
    pub fn for_each_visible(&self, mut visit: impl FnMut(&Entry)) {
        let mut slot = 0;
        while let Some(next) = self.next_visible(slot) {
            if let Some(table) = self.table(next as u16) {
                table.for_each(|entry| visit(&entry));
            }
            slot = next + 1;
        }
    }

    /// A random entry; only one that expires if `expiring_only`.
    pub fn random(&self, rng: &mut Rng, expiring_only: bool) -> Option<ItemRef<'_, Entry>> {
        let wanted = if expiring_only { self.expiring } else { self.length };
        if wanted == 0 {
            return None;
        }
        if self.layout == Layout::Single {
            return self.table(0)?.random(expiring_only, || rng.next_u64());
        }
        // A slot is chosen with a probability that grows with its size: a random one is taken if a random number
        // below the largest size seen falls into it.
        let mut largest = 1;
        let mut candidate = None;
        for _ in 0..FAIR_TRIES {
            let start = rng.index(usize::from(SLOT_COUNT));
            let Some(slot) = self.next_visible(start).or_else(|| self.next_visible(0)) else { break };
            let Some(table) = self.table(slot as u16) else { continue };
            let size = if expiring_only { table.marked_len() } else { table.len() };
            largest = largest.max(size);
            if size > 0 {
                candidate = Some(table);
                if rng.index(largest) < size {
                    break;
                }
            }
        }
        let candidate = candidate.or_else(|| {
            let all = self.tables.iter().enumerate();
            let visible = all.filter(|(slot, _)| !self.is_hidden(*slot as u16));
            visible
                .filter_map(|(_, table)| table.as_deref())
                .find(|table| if expiring_only { table.marked_len() > 0 } else { !table.is_empty() })
        })?;
        candidate.random(expiring_only, || rng.next_u64())
    }

    /// Looks for expired keys in the next `segment_budget` segments and gives each to `visit`. True when a whole round
    /// is done; the next call begins another.
    pub fn find_expired(
        &mut self,
        now_ms: u64,
        segment_budget: usize,
        mut visit: impl FnMut(&Entry),
    ) -> bool {
        /// Tables without expiring keys that one call may pass over.
        const TABLES_PER_CALL: usize = 4096;
        let mut budget = segment_budget;
        for _ in 0..TABLES_PER_CALL {
            if self.expiring == 0 || budget == 0 {
                break;
            }
            let Some(slot) = self.next_visible(self.expire_slot) else {
                self.expire_slot = 0;
                self.expire_cursor = 0;
                return true;
            };
            if slot != self.expire_slot {
                self.expire_cursor = 0;
                self.expire_slot = slot;
            }
            let cursor = self.expire_cursor;
            let table = self.table_mut(slot as u16);
            let mut next = 0;
            if table.marked_len() > 0 {
                let step = budget.min(table.segment_count());
                let deadline = |entry: &Entry| entry.expiry_ms().unwrap_or(NO_DEADLINE);
                next = table.due(cursor, now_ms, step, deadline, &mut visit);
                budget -= step.max(1).min(budget);
            }
            self.expire_cursor = next;
            if next == 0 {
                self.expire_slot = slot + 1;
            }
        }
        self.expiring == 0
    }

    /// The first slot from there on that has keys and is not hidden.
    fn next_visible(&self, from: usize) -> Option<usize> {
        let shown = |word: usize| Some(self.occupied.get(word)? & !self.hidden.get(word).unwrap_or(&0));
        let mut word = from / 64;
        let mut bits = shown(word)? & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = shown(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    #[inline]
    fn table(&self, slot: u16) -> Option<&Table<Entry>> {
        self.tables.get(usize::from(slot))?.as_deref()
    }

    #[inline]
    fn table_mut(&mut self, slot: u16) -> &mut Table<Entry> {
        self.tables[usize::from(slot)].get_or_insert_default()
    }
}

fn is_timed_hash(entry: &Entry) -> bool {
    matches!(entry.value(), Value::Hash(Hash::Timed(_)))
}

fn first_field_expiry_ms(entry: &Entry) -> Option<u64> {
    match entry.value() {
        Value::Hash(hash) => hash.first_expiry_ms(),
        _ => None,
    }
}

/// Memory that is no longer used and may take long to free; a shell can free it on another thread.
#[derive(Debug)]
pub enum Garbage {
    /// Whole tables, and the list of their keys that hold hashes of which fields expire.
    Tables(Vec<Box<Table<Entry>>>, TimedHashes),
    /// One entry.
    Entry(Entry),
}

impl Garbage {
    /// How many keys it was.
    pub fn objects(&self) -> usize {
        match self {
            Self::Tables(tables, _) => tables.iter().map(|table| table.len()).sum(),
            Self::Entry(_) => 1,
        }
    }

    /// About how many allocations are to be freed.
    pub fn cost(&self) -> usize {
        match self {
            Self::Tables(tables, _) => tables.iter().map(|table| table.len()).sum(),
            Self::Entry(entry) => entry.free_effort(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::NewValue;
    use std::collections::BTreeSet;

    fn filled(layout: Layout, count: u32) -> Database {
        let mut database = Database::new(layout, Hasher::new(3, 4));
        for number in 0..count {
            let key = format!("key:{number}");
            let expiry_ms = (number % 2 == 0).then_some(u64::from(number));
            let place = database.place(key.as_bytes());
            database
                .insert(place, Entry::new(key.as_bytes(), NewValue::Integer(i64::from(number)), expiry_ms));
        }
        database
    }

    #[test]
    fn scan_visits_all_keys_in_both_layouts() {
        for layout in [Layout::Single, Layout::PerSlot] {
            let database = filled(layout, 5000);
            for count in [1, 10, 7000] {
                let mut seen = BTreeSet::new();
                let mut cursor = 0;
                loop {
                    cursor = database.scan(cursor, count, |entry| {
                        assert!(seen.insert(entry.key().to_vec()), "no key twice");
                    });
                    if cursor == 0 {
                        break;
                    }
                }
                assert_eq!(seen.len(), 5000);
            }
        }
    }

    #[test]
    fn expired_keys_are_found_in_rounds() {
        for layout in [Layout::Single, Layout::PerSlot] {
            let mut database = filled(layout, 1000);
            let mut due = Vec::new();
            for _ in 0..10_000 {
                if database.find_expired(500, 3, |entry| due.push(entry.key().to_vec())) {
                    break;
                }
            }
            assert_eq!(due.len(), 251, "{layout:?}");
            for key in &due {
                let found = database.find(key).unwrap();
                database.remove(found, false);
            }
            assert_eq!((database.len(), database.expiring_len()), (749, 249));
        }
    }

    #[test]
    fn a_key_looked_up_in_a_row_is_found_where_it_is_now() {
        for layout in [Layout::Single, Layout::PerSlot] {
            let mut rng = shoal_machine::Rng::new(7);
            let mut database = filled(layout, 50);
            let (mut repeats, mut next) = (0, 50);
            for _ in 0..20_000 {
                let key = format!("key:{}", rng.below(next));
                // In a row, while keys come and go around it, and the key itself now and then.
                for _ in 0..rng.below(5) {
                    let found = database.look_up(key.as_bytes());
                    assert_eq!(found, database.find(key.as_bytes()), "{key}");
                    repeats += u64::from(database.recent.is_repeated);
                    match rng.below(6) {
                        0 => {
                            let place = database.place(format!("key:{next}").as_bytes());
                            let entry =
                                Entry::new(format!("key:{next}").as_bytes(), NewValue::Integer(1), None);
                            database.insert(place, entry);
                            next += 1;
                        }
                        1 if let Some(found) = found => {
                            database.remove(found, false);
                        }
                        2 if rng.chance(1, 100) => {
                            database.clear();
                        }
                        _ => {}
                    }
                }
            }
            assert!(repeats > 1000, "{repeats}");
        }
    }

    #[test]
    fn expiries_and_slots_are_counted() {
        let mut database = filled(Layout::PerSlot, 100);
        let found = database.find(b"key:1").unwrap();
        database.set_expiry(found, Some(5));
        assert_eq!(database.expiring_len(), 51);
        assert_eq!(database.entry(found).expiry_ms(), Some(5));
        let before = database.replace(found, Entry::new(b"key:1", NewValue::Integer(0), None));
        assert_eq!(before.expiry_ms(), Some(5));
        assert_eq!(database.expiring_len(), 50);
        let slot = key_slot(b"key:2");
        let in_slot = database.slot_len(slot);
        assert!(in_slot >= 1);
        assert_eq!(database.clear_slot(slot).cost(), in_slot);
        assert!(database.find(b"key:2").is_none());
        assert_eq!(database.len(), 100 - in_slot);
        let mut rng = Rng::new(1);
        assert!((0..100).all(|_| database.random(&mut rng, true).unwrap().expiry_ms().is_some()));
        assert_eq!(database.clear().cost(), 100 - in_slot);
        assert!(database.random(&mut rng, false).is_none());
    }
}
