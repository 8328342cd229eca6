//! A segment: up to 32 buckets that own one range of hashes.

#![allow(unsafe_code)]

use super::NO_DEADLINE;
use super::bucket::{Bucket, Item, ItemMut, ItemRef, SLOTS};
use crate::hasher::Hasher;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The numbers of buckets that a segment takes on; times 64 bytes they are size classes of the allocator.
const SIZES: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32];
/// Slots of the largest segment.
pub const MAX_SLOTS: usize = SIZES[SIZES.len() - 1] as usize * SLOTS;
/// A segment of `n` slots is full with `n - n / FREE_SHARE` items.
const FREE_SHARE: usize = 16;
/// Bits of an item's hash that tag and pointer keep.
const FINGERPRINT_BITS: u32 = 24;
/// The bits are taken from a window that moves in steps of this many, so that the directory's bits leave at least 17.
const WINDOW_STEP: u32 = 8;
/// Two halves merge when together they fill at most this many slots.
const MERGE_BELOW: usize = 14 * SLOTS;

/// The buckets of a segment: a boxed slice whose address others may know.
#[derive(Debug)]
struct Buckets(NonNull<[Bucket]>);

impl Buckets {
    fn new(count: usize) -> Self {
        let buckets: Box<[Bucket]> = (0..count).map(|_| Bucket::EMPTY).collect();
        Self(NonNull::from(Box::leak(buckets)))
    }
}

impl Deref for Buckets {
    type Target = [Bucket];

    #[inline]
    fn deref(&self) -> &[Bucket] {
        // SAFETY: the slice is owned, and borrowed together with its owner.
        unsafe { self.0.as_ref() }
    }
}

impl DerefMut for Buckets {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Bucket] {
        // SAFETY: the slice is owned, and borrowed for changing together with its owner.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Buckets {
    fn drop(&mut self) {
        // SAFETY: the slice came out of a box, and nothing refers to it any more: a table forgets a segment's address
        // before the segment's buckets go.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// All that finding an item takes, in one word: address, number and depth of a segment's buckets.
///
/// Buckets are aligned to 64 bytes and their addresses fit 48 bits; the number's index in [`SIZES`] is kept below, the
/// depth above. So a look-up goes from the directory straight to the bucket.
#[derive(Clone, Copy, Debug)]
pub struct Shortcut(*const u8);

const SIZE_MASK: usize = 0x3f;
const DEPTH_SHIFT: u32 = 48;

// SAFETY: a shortcut belongs to a table and moves with it; it is only followed through the table.
unsafe impl Send for Shortcut {}

impl Shortcut {
    #[inline]
    fn depth(self) -> u32 {
        (self.0.addr() >> DEPTH_SHIFT) as u32
    }

    #[inline]
    fn bucket_count(self) -> usize {
        usize::from(SIZES[self.0.addr() & SIZE_MASK & (SIZES.len() - 1)])
    }

    #[inline]
    fn buckets(self) -> *const Bucket {
        self.0.map_addr(|address| address & ((1 << DEPTH_SHIFT) - 1) & !SIZE_MASK).cast()
    }

    /// Finds the item with this key: its bucket and slot.
    ///
    /// # Safety
    /// The segment that gave this shortcut is there and has not changed its buckets since, and its items are of type `T`.
    #[inline]
    pub unsafe fn find<T: Item>(self, hash: u64, key: &[u8]) -> Option<(u8, u8)> {
        let count = self.bucket_count();
        let fingerprint = fingerprint(self.depth(), hash);
        let mut index = home(self.depth(), count, fingerprint);
        for _ in 0..count {
            // SAFETY: `index` is below the number of buckets, and the buckets are there, as the caller promises.
            let bucket = unsafe { &*self.buckets().add(index) };
            // SAFETY: the items are of type `T`, as the caller promises.
            if let Some(slot) = unsafe { bucket.find::<T>(fingerprint, key) } {
                return Some((index as u8, slot));
            }
            if !bucket.has_overflowed() {
                return None;
            }
            index = if index + 1 == count { 0 } else { index + 1 };
        }
        None
    }

    /// Brings the bucket that an item of this hash belongs to into the processor's cache.
    #[inline]
    pub fn prefetch_bucket(self, hash: u64) {
        let index = home(self.depth(), self.bucket_count(), fingerprint(self.depth(), hash));
        prefetch(self.buckets().wrapping_add(index).cast());
    }

    /// Brings the item that probably has this hash into the processor's cache.
    ///
    /// # Safety
    /// As for [`Shortcut::find`].
    #[inline]
    pub unsafe fn prefetch_item(self, hash: u64) {
        let fingerprint = fingerprint(self.depth(), hash);
        let index = home(self.depth(), self.bucket_count(), fingerprint);
        // SAFETY: `index` is below the number of buckets, and the buckets are there, as the caller promises.
        if let Some(item) = unsafe { &*self.buckets().add(index) }.likely_item(fingerprint) {
            prefetch(item);
        }
    }
}

/// Asks the processor to load a cache line. Any address will do.
#[inline]
fn prefetch(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: prefetching never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}

/// Where the kept bits of a hash begin in a segment of this depth.
#[inline]
const fn window(depth: u32) -> u32 {
    depth / WINDOW_STEP * WINDOW_STEP
}

/// The kept bits of a hash in a segment of this depth.
#[inline]
const fn fingerprint(depth: u32, hash: u64) -> u32 {
    ((hash << window(depth)) >> (64 - FINGERPRINT_BITS)) as u32
}

/// The bucket that an item belongs to: its bits below the directory's, read as a fraction.
#[inline]
const fn home(depth: u32, bucket_count: usize, fingerprint: u32) -> usize {
    let used = depth - window(depth);
    let fraction = (fingerprint << used) & ((1 << FINGERPRINT_BITS) - 1);
    (fraction as usize * bucket_count) >> FINGERPRINT_BITS
}

#[derive(Debug)]
pub struct Segment<T: Item> {
    buckets: Buckets,
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

    /// An empty segment that takes so many items without growing, as far as one can.
    pub fn with_room(depth: u32, items: usize) -> Self {
        Self::with_buckets(depth, size_for(items))
    }

    /// A segment that stands for an unused place.
    pub fn vacant() -> Self {
        Self::with_buckets(0, 0)
    }

    fn with_buckets(depth: u32, count: usize) -> Self {
        let buckets = Buckets::new(count);
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

    /// The word that finds this segment's items until its buckets change.
    pub fn shortcut(&self) -> Shortcut {
        let index = SIZES.iter().position(|&size| usize::from(size) == self.buckets.len()).unwrap_or(0);
        let address = self.buckets.0.as_ptr().cast::<u8>().cast_const();
        assert!(address.addr() >> DEPTH_SHIFT == 0, "an address beyond 48 bits");
        Shortcut(address.map_addr(|address| address | index | (self.depth() as usize) << DEPTH_SHIFT))
    }

    fn window(&self) -> u32 {
        window(self.depth())
    }

    fn fingerprint(&self, hash: u64) -> u32 {
        fingerprint(self.depth(), hash)
    }

    fn home(&self, fingerprint: u32) -> usize {
        home(self.depth(), self.buckets.len(), fingerprint)
    }

    pub fn item(&self, bucket: u8, slot: u8) -> ItemRef<'_, T> {
        self.get(bucket, slot).expect("a position does not outlive a change of its table")
    }

    /// The item at a position; `None` if it is empty.
    #[inline]
    pub fn get(&self, bucket: u8, slot: u8) -> Option<ItemRef<'_, T>> {
        let bucket = self.buckets.get(usize::from(bucket))?;
        // SAFETY: the slot is occupied, by a `T`.
        bucket.is_occupied(slot).then(|| unsafe { bucket.item(slot) })
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

    /// Shrinks when half of the slots are empty; places the items anew when many removals have left traces. True if the
    /// buckets have changed.
    pub fn shrink(&mut self) -> bool {
        let capacity = self.capacity();
        if self.buckets.len() > 1 && usize::from(self.count) * 2 < capacity {
            self.resize(size_for(usize::from(self.count) + usize::from(self.count) / 8));
            true
        } else if usize::from(self.removed) > capacity / 4 {
            self.resize(self.buckets.len());
            true
        } else {
            false
        }
    }

    fn resize(&mut self, size: usize) {
        let mut old = std::mem::replace(&mut self.buckets, Buckets::new(size));
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
        self.buckets = Buckets::new(size_for(items.len()));
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

    /// What is in this slot, if it is one of this segment and not empty.
    pub fn slot_item(&self, at: usize) -> Option<ItemRef<'_, T>> {
        let bucket = self.buckets.get(at / SLOTS)?;
        let slot = (at % SLOTS) as u8;
        // SAFETY: the slot is occupied, by a `T`.
        bucket.is_occupied(slot).then(|| unsafe { bucket.item(slot) })
    }

    /// The buckets.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// All items, bucket by bucket.
    pub fn iter(&self) -> impl Iterator<Item = ItemRef<'_, T>> {
        (0..self.capacity()).filter_map(|at| self.slot_item(at))
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
    size.unwrap_or_else(|| {
        // Twice the largest number of items of a segment never occurs: a split halves them, a merge joins small halves.
        // All in one half is possible, and they fit, for they did before.
        usize::from(SIZES[SIZES.len() - 1])
    })
}
