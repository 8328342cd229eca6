//! The hash table behind every keyspace: segments that grow a little at a time and split one by one.
//!
//! ```text
//!  hash:  ┌─ directory ─┬─ place in the segment ─┬─ …
//!         └─ top depth ─┴─ bits, as a fraction ──┴─ …        64 bits
//!
//!  directory ──▶ segment ──▶ bucket 0 … bucket n-1           1 ≤ n ≤ 32, each one cache line
//!
//!  bucket: ┌ 7 tags of 8 bits ┬ marks ┬ 7 pointers of 48 bits + 16 bits of hash ┐   64 bytes
//! ```
//!
//! - A segment owns a range of hashes and keeps its items near the place that their hash, read as a fraction of that
//!   range, points to. It grows from one bucket to 32 in steps of at most a quarter; then it splits in two halves.
//!   So the table is at least 75 % full at any size once it has left its smallest segments, no operation moves more than
//!   one segment's pointers, and memory does not jump.
//! - Tag and pointer together keep 24 bits of an item's hash. They find the item, and they place it anew when its
//!   segment grows or splits, without touching the item.
//! - Cursors of [`Table::scan`] are hashes: they stay good across growth, splits and merges, and every item that is
//!   there from start to end is visited exactly once.
//! - The mark of an item is a bit for the owner's use (items that expire), counted per segment, together with the
//!   lowest deadline among them.
//!
//! The design is of its own; its parents are extendible hashing (Fagin et al., 1979) and linear probing by buckets.
//! `unsafe` is confined to `bucket` (items behind tagged pointers) and `segment` (which knows their type).

#![allow(unsafe_code)]

mod bucket;
mod segment;
mod statistics;

pub use bucket::{Item, ItemMut, ItemRef};
pub use statistics::Statistics;

use crate::hasher::{Hasher, spread};
use segment::{MAX_SLOTS, Segment, Shortcut};

/// No deadline.
pub const NO_DEADLINE: u64 = u64::MAX;

/// The most hash bits that the directory uses; 2^32 segments are far beyond any memory.
const MAX_DEPTH: u32 = 32;

/// So many places may be unused, whatever the size of the table.
const VACANT_MIN: usize = 8;

/// Items that a segment gets on the average when room is made for many.
const RESERVED_ITEMS_MAX: usize = MAX_SLOTS * 3 / 4;

/// Keys that are asked for at once.
const PREFETCHED_MAX: usize = 16;

/// Items of the smallest table for which memory is asked for early.
pub const PREFETCH_MIN_ITEMS: usize = 4096;

/// Hash bits that a cursor keeps.
const CURSOR_BITS: u32 = 48;

/// Where an item is. Good until the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    segment: u32,
    bucket: u8,
    slot: u8,
}

/// A hash table of items that know their key.
#[derive(Debug)]
pub struct Table<T: Item> {
    /// `2^depth` entries: the segment that owns each range of hashes.
    directory: Vec<u32>,
    /// The same, as the words that look-ups follow.
    shortcuts: Vec<Shortcut>,
    depth: u32,
    segments: Vec<Segment<T>>,
    /// Places in `segments` that are unused.
    vacant: Vec<u32>,
    length: usize,
    marked: usize,
}

impl<T: Item> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Item> Table<T> {
    /// An empty table. It allocates with the first item.
    pub const fn new() -> Self {
        Self {
            directory: Vec::new(),
            shortcuts: Vec::new(),
            depth: 0,
            segments: Vec::new(),
            vacant: Vec::new(),
            length: 0,
            marked: 0,
        }
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The number of marked items.
    pub fn marked_len(&self) -> usize {
        self.marked
    }

    /// The number of segments.
    pub fn segment_count(&self) -> usize {
        self.segments.len() - self.vacant.len()
    }

    /// The number of items that fit without growing.
    pub fn capacity(&self) -> usize {
        self.segments.iter().map(Segment::capacity).sum()
    }

    /// Bytes held by the table itself, without its items.
    pub fn size_bytes(&self) -> usize {
        self.directory.capacity() * (size_of::<u32>() + size_of::<Shortcut>())
            + self.segments.capacity() * size_of::<Segment<T>>()
            + self.vacant.capacity() * size_of::<u32>()
            + self.segments.iter().map(Segment::size_bytes).sum::<usize>()
    }

    /// Finds an item.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Position> {
        let index = self.index_of(hash);
        let shortcut = self.shortcuts.get(index)?;
        // SAFETY: every change of a segment's buckets is followed by `refresh`, before anything else is done with the table,
        // and all items are of type `T`.
        let (bucket, slot) = unsafe { shortcut.find::<T>(hash, key) }?;
        Some(Position { segment: self.directory[index], bucket, slot })
    }

    /// Asks the processor for what [`Table::find`] will look at first; [`Table::prefetch_item`] asks for the rest, a moment
    /// later.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(shortcut) = self.shortcuts.get(self.index_of(hash)) {
            shortcut.prefetch_bucket(hash);
        }
    }

    /// Asks the processor for the item that [`Table::find`] will probably find.
    #[inline]
    pub fn prefetch_item(&self, hash: u64) {
        if let Some(shortcut) = self.shortcuts.get(self.index_of(hash)) {
            // SAFETY: as in `find`.
            unsafe { shortcut.prefetch_item(hash) };
        }
    }

    /// Asks the processor for what look-ups of these keys will touch, for [`PREFETCHED_MAX`] of them at the most. In a small
    /// table, which is in its cache anyway, nothing is done.
    pub fn prefetch_keys<'k>(&self, hasher: &Hasher, keys: impl Iterator<Item = &'k [u8]>) {
        if self.length < PREFETCH_MIN_ITEMS {
            return;
        }
        let mut hashes = [0; PREFETCHED_MAX];
        let mut count = 0;
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = hasher.hash(key);
            self.prefetch(*hash);
            count += 1;
        }
        hashes[..count].iter().for_each(|&hash| self.prefetch_item(hash));
    }

    /// The item at `position`.
    #[inline]
    pub fn item(&self, position: Position) -> ItemRef<'_, T> {
        self.segments[position.segment as usize].item(position.bucket, position.slot)
    }

    /// Whether the item at a position has this key; false if nothing is there.
    #[inline]
    pub fn holds(&self, position: Position, key: &[u8]) -> bool {
        let segment = self.segments.get(position.segment as usize);
        let item = segment.and_then(|segment| segment.get(position.bucket, position.slot));
        item.is_some_and(|item| item.key() == key)
    }

    /// The item at `position`, to be changed. Its key must stay.
    #[inline]
    pub fn item_mut(&mut self, position: Position) -> ItemMut<'_, T> {
        self.segments[position.segment as usize].item_mut(position.bucket, position.slot)
    }

    /// Inserts an item whose key is not in the table yet.
    pub fn insert(&mut self, hasher: &Hasher, hash: u64, item: T) -> Position {
        if self.directory.is_empty() {
            self.segments.push(Segment::new(0));
            self.directory.push(0);
            self.shortcuts.push(self.segments[0].shortcut());
        }
        loop {
            let index = self.segment_of(hash).unwrap_or(0);
            if self.segments[index as usize].is_full() {
                if !self.segments[index as usize].grow() {
                    self.split(index, hash, hasher);
                    continue;
                }
                self.refresh(hash);
            }
            let segment = &mut self.segments[index as usize];
            let (bucket, slot) = segment.insert(hash, item);
            self.length += 1;
            return Position { segment: index, bucket, slot };
        }
    }

    /// Makes room for so many items in an empty table, so that they come in without a segment growing or splitting on the
    /// way. A table with items stays as it is.
    pub fn reserve(&mut self, items: usize) {
        if !self.is_empty() || items <= MAX_SLOTS {
            return;
        }
        let depth = items.div_ceil(RESERVED_ITEMS_MAX).next_power_of_two().trailing_zeros().min(MAX_DEPTH);
        let mean = items >> depth;
        // One segment in six gets more than its share and the usual deviation; it grows as it always does.
        let room = mean + mean.isqrt();
        self.depth = depth;
        self.segments = (0..1 << depth).map(|_| Segment::with_room(depth, room)).collect();
        self.directory = (0..1 << depth).collect();
        self.shortcuts = self.segments.iter().map(Segment::shortcut).collect();
        self.vacant = Vec::new();
    }

    /// Puts another item with the same key in the place of one; the mark stays. Returns the old one.
    pub fn replace(&mut self, position: Position, item: T) -> T {
        self.segments[position.segment as usize].replace(position.bucket, position.slot, item)
    }

    /// Takes an item out. The table may shrink unless `keep_size` is set.
    pub fn remove(&mut self, hasher: &Hasher, position: Position, hash: u64, keep_size: bool) -> T {
        let segment = &mut self.segments[position.segment as usize];
        self.marked -= usize::from(segment.is_marked(position.bucket, position.slot));
        let item = segment.remove(position.bucket, position.slot);
        self.length -= 1;
        if !keep_size {
            if segment.shrink() {
                self.refresh(hash);
            }
            self.merge(hash, hasher);
        }
        item
    }

    /// Marks or unmarks an item; `deadline` of a marked one counts for [`Table::earliest`].
    pub fn set_mark(&mut self, position: Position, deadline: Option<u64>) {
        let segment = &mut self.segments[position.segment as usize];
        let was = segment.set_mark(position.bucket, position.slot, deadline);
        self.marked = self.marked + usize::from(deadline.is_some()) - usize::from(was);
    }

    /// Visits items in the order of their hashes from `cursor` on, `count` of them or a few more; marked ones only if
    /// `marked_only`. Returns the cursor to go on with, 0 at the end.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        marked_only: bool,
        mut visit: impl FnMut(ItemRef<'_, T>),
    ) -> u64 {
        let mut left = count.max(1);
        let mut from = cursor << (64 - CURSOR_BITS);
        loop {
            let Some(index) = self.segment_of(from) else { return 0 };
            let segment = &self.segments[index as usize];
            let (visited, next) = segment.scan(from, left, marked_only, &mut visit);
            left = left.saturating_sub(visited);
            match next.or_else(|| segment.end_of(from)) {
                None => return 0,
                Some(next) => from = next,
            }
            if left == 0 {
                return from >> (64 - CURSOR_BITS);
            }
        }
    }

    /// Looks through whole segments from `cursor` on for marked items whose deadline has come, and gives the key of
    /// each to `visit`. Stops after `segment_budget` segments; the cursor to go on with is 0 at the end.
    ///
    /// Segments in which nothing is due cost one comparison.
    pub fn due(
        &mut self,
        cursor: u64,
        now: u64,
        segment_budget: usize,
        deadline_of: impl Fn(&T) -> u64,
        mut visit: impl FnMut(&T),
    ) -> u64 {
        let mut from = cursor << (64 - CURSOR_BITS);
        for _ in 0..segment_budget.max(1) {
            let Some(index) = self.segment_of(from) else { return 0 };
            let segment = &mut self.segments[index as usize];
            if segment.earliest() <= now {
                segment.visit_due(now, &deadline_of, &mut visit);
            }
            match segment.end_of(from) {
                None => return 0,
                Some(next) => from = next,
            }
        }
        from >> (64 - CURSOR_BITS)
    }

    /// A lower bound of the deadlines of the marked items in the segment that holds `hash`.
    pub fn earliest(&self, hash: u64) -> u64 {
        self.segment_of(hash).map_or(NO_DEADLINE, |index| self.segments[index as usize].earliest())
    }

    /// A random item, each as likely as any other (about so for marked ones); `random` gives 64 random bits. Marked ones only if
    /// `marked_only`. `None` if there are none, or none was found in a bounded number of tries.
    pub fn random(&self, marked_only: bool, mut random: impl FnMut() -> u64) -> Option<ItemRef<'_, T>> {
        /// Tries; a table that is mostly empty or mostly unmarked is searched from a random place after them.
        const TRIES: usize = 64;
        if self.length == 0 || (marked_only && self.marked == 0) {
            return None;
        }
        for _ in 0..if marked_only { 0 } else { TRIES } {
            // Every slot that there could be is as likely as any other, so every item is.
            let segment = &self.segments[(random() % self.segments.len() as u64) as usize];
            let slots = if self.segments.len() == 1 { segment.capacity() } else { MAX_SLOTS };
            if let Some(item) = segment.slot_item((random() % slots as u64) as usize) {
                return Some(item);
            }
        }
        for _ in 0..TRIES {
            // Spread like the hashes, so that a segment is chosen as often as it has items.
            let index = self.segment_of(spread(random()))?;
            if let Some((bucket, slot)) = self.segments[index as usize].random(marked_only, random()) {
                return Some(self.segments[index as usize].item(bucket, slot));
            }
        }
        let start = random();
        for cursor in [start >> (64 - CURSOR_BITS), 0] {
            let mut found = None;
            let mut from = cursor << (64 - CURSOR_BITS);
            while let Some(index) = self.segment_of(from) {
                let segment = &self.segments[index as usize];
                if let Some((bucket, slot)) = segment.first(marked_only) {
                    found = Some(segment.item(bucket, slot));
                    break;
                }
                match segment.end_of(from) {
                    None => break,
                    Some(next) => from = next,
                }
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// All items, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = ItemRef<'_, T>> {
        self.segments.iter().flat_map(Segment::iter)
    }

    /// Visits all items in the order of their hashes.
    pub fn for_each(&self, mut visit: impl FnMut(ItemRef<'_, T>)) {
        let mut from = 0;
        while let Some(index) = self.segment_of(from) {
            let segment = &self.segments[index as usize];
            segment.scan(from, usize::MAX, false, &mut visit);
            match segment.end_of(from) {
                None => return,
                Some(next) => from = next,
            }
        }
    }

    /// The directory's entry for a hash.
    #[inline]
    fn index_of(&self, hash: u64) -> usize {
        if self.depth == 0 { 0 } else { (hash >> (64 - self.depth)) as usize }
    }

    fn segment_of(&self, hash: u64) -> Option<u32> {
        self.directory.get(self.index_of(hash)).copied()
    }

    /// Splits the segment that owns `hash` into two halves of its range.
    fn split(&mut self, index: u32, hash: u64, hasher: &Hasher) {
        let depth = self.segments[index as usize].depth();
        assert!(depth < MAX_DEPTH, "items of equal hash fill a segment");
        if depth == self.depth {
            let mut doubled = Vec::with_capacity(self.directory.len() * 2);
            for &segment in &self.directory {
                doubled.extend([segment, segment]);
            }
            self.directory = doubled;
            self.shortcuts = self.shortcuts.iter().flat_map(|&shortcut| [shortcut, shortcut]).collect();
            self.depth += 1;
        }
        let upper = self.segments[index as usize].split(hasher);
        let place = match self.vacant.pop() {
            Some(place) => {
                self.segments[place as usize] = upper;
                place
            }
            None => {
                self.segments.push(upper);
                self.segments.len() as u32 - 1
            }
        };
        let (first, width) = self.range_in_directory(hash, depth);
        self.directory[first + width / 2..first + width].fill(place);
        self.shortcuts[first..first + width / 2].fill(self.segments[index as usize].shortcut());
        self.shortcuts[first + width / 2..first + width].fill(self.segments[place as usize].shortcut());
    }

    /// Joins the segment that owns `hash` with its other half, if both are small.
    fn merge(&mut self, hash: u64, hasher: &Hasher) {
        let Some(index) = self.segment_of(hash) else { return };
        let depth = self.segments[index as usize].depth();
        if depth == 0 {
            return;
        }
        let other_hash = hash ^ (1 << (64 - depth));
        let Some(other) = self.segment_of(other_hash) else { return };
        let (ours, theirs) = (&self.segments[index as usize], &self.segments[other as usize]);
        if theirs.depth() != depth || !ours.should_merge(theirs) {
            return;
        }
        let (low, high) = if hash < other_hash { (index, other) } else { (other, index) };
        let upper = std::mem::replace(&mut self.segments[high as usize], Segment::vacant());
        self.segments[low as usize].absorb(upper, hasher);
        self.vacant.push(high);
        let (first, width) = self.range_in_directory(hash, depth - 1);
        self.directory[first..first + width].fill(low);
        self.shortcuts[first..first + width].fill(self.segments[low as usize].shortcut());
        if self.vacant.len() > VACANT_MIN.max(self.segments.len() / 2) {
            self.compact();
        }
    }

    /// Gives back the room of unused places, and of the directory that nobody needs any more. The buckets stay where they
    /// are.
    fn compact(&mut self) {
        let mut places = Vec::with_capacity(self.segments.len());
        let mut kept = Vec::with_capacity(self.segment_count());
        for segment in std::mem::take(&mut self.segments) {
            places.push(kept.len() as u32);
            if segment.capacity() > 0 {
                kept.push(segment);
            }
        }
        let depth = kept.iter().map(Segment::depth).max().unwrap_or(0);
        let step = 1 << (self.depth - depth);
        let directory = self.directory.iter().step_by(step);
        self.directory = directory.map(|&place| places[place as usize]).collect();
        self.shortcuts = self.shortcuts.iter().copied().step_by(step).collect();
        self.segments = kept;
        self.depth = depth;
        self.vacant = Vec::new();
    }

    /// Learns the buckets of the segment that owns `hash` anew.
    fn refresh(&mut self, hash: u64) {
        let Some(index) = self.segment_of(hash) else { return };
        let segment = &self.segments[index as usize];
        let (first, width) = self.range_in_directory(hash, segment.depth());
        self.shortcuts[first..first + width].fill(segment.shortcut());
    }

    /// The part of the directory that the segment of this depth owns.
    fn range_in_directory(&self, hash: u64, segment_depth: u32) -> (usize, usize) {
        let width = 1usize << (self.depth - segment_depth);
        (self.index_of(hash) & !(width - 1), width)
    }
}

#[cfg(test)]
mod tests;
