//! A segment: up to 32 buckets that own one range of hashes.

#![allow(unsafe_code)]

use super::NO_DEADLINE;
use super::bucket::{Bucket, Item, ItemMut, ItemRef, SLOTS};
use crate::hasher::Hasher;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// The numbers of buckets that a segment takes on; times 64 bytes they are size classes of the allocator.
const SIZES: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32];
/// A segment of `n` slots is full with `n - n / FREE_SHARE` items.
const FREE_SHARE: usize = 16;
/// Bits of an item's hash that tag and pointer keep.
const FINGERPRINT_BITS: u32 = 24;
/// The bits are taken from a window that moves in steps of this many, so that the directory's bits leave at least 17.
const WINDOW_STEP: u32 = 8;
/// Two halves merge when together they fill at most this many slots.
const MERGE_BELOW: usize = 14 * SLOTS;

#[derive(Debug)]
pub struct Segment<T: Item> {
    buckets: Box<[Bucket]>,
    /// A lower bound of the deadlines of the marked items.
    earliest: u64,
    count: u16,
    marked: u16,
    /// Removals since the items were last placed; they leave overflow bits behind.
    removed: u16,
    depth: u8,
    items: PhantomData<T>,
}

// SAFETY: the segment owns its items, so it may move to another thread when they may.
unsafe impl<T: Item + Send> Send for Segment<T> {}

impl<T: Item> Segment<T> {
    pub fn new(depth: u32) -> Self {
        Self::with_buckets(depth, 1)
    }

    /// A segment that stands for an unused place.
    pub fn vacant() -> Self {
        Self::with_buckets(0, 0)
    }

    fn with_buckets(depth: u32, count: usize) -> Self {
        let buckets = (0..count).map(|_| Bucket::EMPTY).collect();
        Self {
            buckets,
            earliest: NO_DEADLINE,
            count: 0,
            marked: 0,
            removed: 0,
            depth: depth as u8,
            items: PhantomData,
        }
    }

    pub fn depth(&self) -> u32 {
        u32::from(self.depth)
    }

    pub fn capacity(&self) -> usize {
        self.buckets.len() * SLOTS
    }

    pub fn size_bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }

    pub fn earliest(&self) -> u64 {
        self.earliest
    }

    pub fn is_full(&self) -> bool {
        usize::from(self.count) >= full_at(self.buckets.len())
    }

    /// The first hash beyond the range that holds `hash`; `None` at the end of all hashes.
    pub fn end_of(&self, hash: u64) -> Option<u64> {
        if self.depth == 0 {
            return None;
        }
        let width = 1u64 << (64 - self.depth());
        (hash & !(width - 1)).checked_add(width)
    }

    /// Where the kept bits of a hash begin.
    fn window(&self) -> u32 {
        self.depth() / WINDOW_STEP * WINDOW_STEP
    }

    fn fingerprint(&self, hash: u64) -> u32 {
        ((hash << self.window()) >> (64 - FINGERPRINT_BITS)) as u32
    }

    /// The bucket that an item belongs to: its bits below the directory's, read as a fraction.
    fn home(&self, fingerprint: u32) -> usize {
        let used = self.depth() - self.window();
        let fraction = (fingerprint << used) & ((1 << FINGERPRINT_BITS) - 1);
        (fraction as usize * self.buckets.len()) >> FINGERPRINT_BITS
    }

    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<(u8, u8)> {
        let fingerprint = self.fingerprint(hash);
        let mut index = self.home(fingerprint);
        for _ in 0..self.buckets.len() {
            let bucket = self.buckets.get(index)?;
            // SAFETY: this segment puts only items of type `T` into its buckets.
            if let Some(slot) = unsafe { bucket.find::<T>(fingerprint, key) } {
                return Some((index as u8, slot));
            }
            if !bucket.has_overflowed() {
                return None;
            }
            index = if index + 1 == self.buckets.len() { 0 } else { index + 1 };
        }
        None
    }

    pub fn item(&self, bucket: u8, slot: u8) -> ItemRef<'_, T> {
        let bucket = &self.buckets[usize::from(bucket)];
        assert!(bucket.is_occupied(slot), "a position outlived a change of its table");
        // SAFETY: the slot is occupied, by a `T`.
        unsafe { bucket.item(slot) }
    }

    pub fn item_mut(&mut self, bucket: u8, slot: u8) -> ItemMut<'_, T> {
        let bucket = &mut self.buckets[usize::from(bucket)];
        assert!(bucket.is_occupied(slot), "a position outlived a change of its table");
        // SAFETY: the slot is occupied, by a `T`.
        unsafe { bucket.item_mut(slot) }
    }

    /// Inserts an item; the segment is not full.
    pub fn insert(&mut self, hash: u64, item: T) -> (u8, u8) {
        let fingerprint = self.fingerprint(hash);
        self.count += 1;
        self.place(fingerprint, item.into_pointer(), false)
    }

    fn place(&mut self, fingerprint: u32, pointer: NonNull<u8>, marked: bool) -> (u8, u8) {
        let mut index = self.home(fingerprint);
        loop {
            let bucket = &mut self.buckets[index];
            if let Some(slot) = bucket.vacant_slot() {
                bucket.put(slot, fingerprint, pointer, marked);
                return (index as u8, slot);
            }
            bucket.set_overflowed();
            index = if index + 1 == self.buckets.len() { 0 } else { index + 1 };
        }
    }

    pub fn replace(&mut self, bucket: u8, slot: u8, item: T) -> T {
        let bucket = &mut self.buckets[usize::from(bucket)];
        assert!(bucket.is_occupied(slot), "a position outlived a change of its table");
        let before = bucket.swap(slot, item.into_pointer());
        // SAFETY: the slot was occupied by a `T`, which the swap has taken out of the bucket's ownership.
        unsafe { T::from_pointer(before.unwrap_unchecked()) }
    }

    pub fn remove(&mut self, bucket: u8, slot: u8) -> T {
        let taken = self.buckets[usize::from(bucket)].take(slot);
        assert!(taken.is_some(), "a position outlived a change of its table");
        self.count -= 1;
        self.removed = self.removed.saturating_add(1);
        // SAFETY: checked above; the pointer is out of the bucket's ownership now.
        let (_, pointer, marked) = unsafe { taken.unwrap_unchecked() };
        self.forget_mark(marked);
        // SAFETY: the slot held a `T`.
        unsafe { T::from_pointer(pointer) }
    }

    fn forget_mark(&mut self, marked: bool) {
        self.marked -= u16::from(marked);
        if self.marked == 0 {
            self.earliest = NO_DEADLINE;
        }
    }

    pub fn is_marked(&self, bucket: u8, slot: u8) -> bool {
        self.buckets[usize::from(bucket)].is_marked(slot)
    }

    /// Marks or unmarks; returns whether it was marked.
    pub fn set_mark(&mut self, bucket: u8, slot: u8, deadline: Option<u64>) -> bool {
        let place = &mut self.buckets[usize::from(bucket)];
        let was = place.is_marked(slot);
        place.set_mark(slot, deadline.is_some());
        self.marked += u16::from(deadline.is_some());
        self.forget_mark(was);
        if let Some(deadline) = deadline {
            self.earliest = self.earliest.min(deadline);
        }
        was
    }

    /// Grows by one step. False if the segment has its largest size and has to be split.
    pub fn grow(&mut self) -> bool {
        let Some(&size) = SIZES.iter().find(|&&size| usize::from(size) > self.buckets.len()) else {
            return false;
        };
        self.resize(usize::from(size));
        true
    }

    /// Shrinks when half of the slots are empty; places the items anew when many removals have left traces.
    pub fn shrink(&mut self) {
        let capacity = self.capacity();
        if self.buckets.len() > 1 && usize::from(self.count) * 2 < capacity {
            self.resize(size_for(usize::from(self.count) + usize::from(self.count) / 8));
        } else if usize::from(self.removed) > capacity / 4 {
            self.resize(self.buckets.len());
        }
    }

    fn resize(&mut self, size: usize) {
        let mut old = std::mem::replace(&mut self.buckets, (0..size).map(|_| Bucket::EMPTY).collect());
        self.removed = 0;
        take_all(&mut old, |fingerprint, pointer, marked| {
            self.place(fingerprint, pointer, marked);
        });
    }

    /// Moves the upper half of the range into a segment of its own.
    pub fn split(&mut self, hasher: &Hasher) -> Self {
        let half = 1 << (FINGERPRINT_BITS - 1 - (self.depth() - self.window()));
        let mut parts: [Vec<Kept>; 2] = [Vec::new(), Vec::new()];
        take_all(&mut self.buckets, |fingerprint, pointer, marked| {
            parts[usize::from(fingerprint & half != 0)].push((fingerprint, pointer, marked));
        });
        let [low, high] = parts;
        let mut upper = Self::vacant();
        upper.earliest = self.earliest;
        upper.depth = self.depth;
        self.refill(self.depth() + 1, low, hasher);
        upper.refill(self.depth(), high, hasher);
        upper
    }

    /// Takes the items of the upper half back.
    pub fn absorb(&mut self, mut upper: Self, hasher: &Hasher) {
        let mut all = Vec::with_capacity(usize::from(self.count + upper.count));
        for buckets in [&mut self.buckets, &mut upper.buckets] {
            take_all(buckets, |fingerprint, pointer, marked| all.push((fingerprint, pointer, marked)));
        }
        self.earliest = self.earliest.min(upper.earliest);
        self.refill(self.depth() - 1, all, hasher);
    }

    /// Whether both halves together are small enough for one segment.
    pub fn should_merge(&self, other: &Self) -> bool {
        usize::from(self.count) + usize::from(other.count) <= MERGE_BELOW
    }

    /// Replaces the (already emptied) content by items that were kept at this segment's depth until now.
    fn refill(&mut self, depth: u32, mut items: Vec<Kept>, hasher: &Hasher) {
        let window = self.window();
        self.depth = depth as u8;
        if self.window() != window {
            for (fingerprint, pointer, _) in &mut items {
                // SAFETY: the pointer came out of a bucket of this segment, so it is a `T`; `ManuallyDrop` leaves the
                // ownership with `items`.
                let item = unsafe { ManuallyDrop::new(T::from_pointer(*pointer)) };
                *fingerprint = self.fingerprint(hasher.hash(item.key()));
            }
        }
        self.buckets = (0..size_for(items.len())).map(|_| Bucket::EMPTY).collect();
        self.count = items.len() as u16;
        self.marked = items.iter().filter(|(_, _, marked)| *marked).count() as u16;
        self.removed = 0;
        if self.marked == 0 {
            self.earliest = NO_DEADLINE;
        }
        for (fingerprint, pointer, marked) in items {
            self.place(fingerprint, pointer, marked);
        }
    }

    /// Visits items whose hash is `from` or more in the order of their hashes, `count` of them and those that share the
    /// last one's bits. Returns how many, and the hash to go on with if the segment has more.
    pub fn scan(
        &self,
        from: u64,
        count: usize,
        marked_only: bool,
        visit: &mut impl FnMut(ItemRef<'_, T>),
    ) -> (usize, Option<u64>) {
        let first = self.fingerprint(from);
        let mut found: Vec<(u32, u8, u8)> = Vec::with_capacity(usize::from(self.count));
        self.each_slot(|bucket, slot| {
            let fingerprint = self.buckets[usize::from(bucket)].fingerprint(slot);
            if fingerprint >= first && (!marked_only || self.is_marked(bucket, slot)) {
                found.push((fingerprint, bucket, slot));
            }
        });
        found.sort_unstable();
        let end = match found.get(count.saturating_sub(1)) {
            None => found.len(),
            Some(&(last, _, _)) => found.partition_point(|&(fingerprint, _, _)| fingerprint <= last),
        };
        for &(_, bucket, slot) in &found[..end] {
            visit(self.item(bucket, slot));
        }
        // The bits before the window are those of `from`, which is in this segment.
        let next = found.get(end).map(|&(fingerprint, _, _)| {
            let window = self.window();
            let before = if window == 0 { 0 } else { from & !(u64::MAX >> window) };
            before | u64::from(fingerprint) << (64 - FINGERPRINT_BITS - window)
        });
        (end, next)
    }

    /// Shows each marked item whose deadline has come, and takes the earliest of the others as the new bound.
    pub fn visit_due(&mut self, now: u64, deadline_of: &impl Fn(&T) -> u64, visit: &mut impl FnMut(&T)) {
        let mut earliest = NO_DEADLINE;
        self.each_slot(|bucket, slot| {
            if self.is_marked(bucket, slot) {
                let item = self.item(bucket, slot);
                let deadline = deadline_of(&item);
                if deadline <= now {
                    visit(&item);
                }
                earliest = earliest.min(deadline);
            }
        });
        self.earliest = earliest;
    }

    /// A random item, found by a random slot; `None` if that slot is empty or not marked as asked.
    pub fn random(&self, marked_only: bool, random: u64) -> Option<(u8, u8)> {
        let wanted = if marked_only { self.marked } else { self.count };
        if wanted == 0 {
            return None;
        }
        if self.capacity() <= usize::from(wanted) * 2 {
            let at = (random % self.capacity() as u64) as usize;
            let (bucket, slot) = ((at / SLOTS) as u8, (at % SLOTS) as u8);
            let fits = self.buckets[usize::from(bucket)].is_occupied(slot)
                && (!marked_only || self.is_marked(bucket, slot));
            return fits.then_some((bucket, slot));
        }
        self.nth(marked_only, (random % u64::from(wanted)) as usize)
    }

    /// The first item.
    pub fn first(&self, marked_only: bool) -> Option<(u8, u8)> {
        self.nth(marked_only, 0)
    }

    fn nth(&self, marked_only: bool, index: usize) -> Option<(u8, u8)> {
        let mut left = index;
        let mut found = None;
        self.each_slot(|bucket, slot| {
            if found.is_none() && (!marked_only || self.is_marked(bucket, slot)) {
                if left == 0 {
                    found = Some((bucket, slot));
                }
                left = left.saturating_sub(1);
            }
        });
        found
    }

    fn each_slot(&self, mut visit: impl FnMut(u8, u8)) {
        for (index, bucket) in self.buckets.iter().enumerate() {
            for slot in (0..SLOTS as u8).filter(|&slot| bucket.is_occupied(slot)) {
                visit(index as u8, slot);
            }
        }
    }
}

impl<T: Item> Drop for Segment<T> {
    fn drop(&mut self) {
        take_all(&mut self.buckets, |_, pointer, _| {
            // SAFETY: the bucket held a `T` and has given up its ownership.
            drop(unsafe { T::from_pointer(pointer) });
        });
    }
}

/// An item out of its bucket: hash bits, pointer, mark.
type Kept = (u32, NonNull<u8>, bool);

/// Empties buckets.
fn take_all(buckets: &mut [Bucket], mut keep: impl FnMut(u32, NonNull<u8>, bool)) {
    for bucket in buckets {
        for slot in 0..SLOTS as u8 {
            if let Some((fingerprint, pointer, marked)) = bucket.take(slot) {
                keep(fingerprint, pointer, marked);
            }
        }
    }
}

/// The number of items at which a segment of this many buckets is full.
const fn full_at(buckets: usize) -> usize {
    let slots = buckets * SLOTS;
    slots - slots / FREE_SHARE
}

/// The smallest size that holds this many items without being more than full.
fn size_for(items: usize) -> usize {
    let size = SIZES.iter().copied().map(usize::from).find(|&size| full_at(size) >= items);
    size.unwrap_or_else(|| (items + items / (FREE_SHARE - 1)).div_ceil(SLOTS))
}
