//! One cache line of a table: seven tagged pointers to items.
//!
//! This module and the item types own the `unsafe` of the table. The contract: a slot is either empty (a null
//! pointer) or holds a pointer that came out of [`Item::into_pointer`] and has not gone back into
//! [`Item::from_pointer`]; the bucket owns that item.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Items in a bucket.
pub const SLOTS: usize = 7;

/// The bit of `marks` that says: an item that belongs here or before sits further on.
const OVERFLOWED: u8 = 1 << SLOTS;

/// Where the hash bits begin in a slot's pointer. User space of 64-bit Linux stays below.
const HASH_SHIFT: u32 = 48;
const ADDRESS_MASK: usize = (1 << HASH_SHIFT) - 1;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the table keeps hash bits in the upper 16 bits of 64-bit pointers");

/// A thin owning pointer to something that knows its key.
///
/// # Safety
/// `into_pointer` gives up ownership to the returned pointer, whose address fits 48 bits; `from_pointer` takes it back.
/// In between the pointed-to item does not move.
pub unsafe trait Item: Sized {
    /// The item's key.
    fn key(&self) -> &[u8];

    /// Gives the item away as a pointer.
    fn into_pointer(self) -> NonNull<u8>;

    /// Takes an item back.
    ///
    /// # Safety
    /// `pointer` came from [`Item::into_pointer`] of the same type, and is not used again.
    unsafe fn from_pointer(pointer: NonNull<u8>) -> Self;
}

/// A look at an item in a table.
#[derive(Debug)]
pub struct ItemRef<'a, T: Item> {
    item: ManuallyDrop<T>,
    borrow: PhantomData<&'a T>,
}

impl<T: Item> Deref for ItemRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<'a, T: Item> ItemRef<'a, T> {
    /// The item for as long as the table is borrowed.
    pub fn get(&self) -> &T {
        &self.item
    }
}

/// An item in a table, to be changed. When it is dropped, the table learns the item's new address.
#[derive(Debug)]
pub struct ItemMut<'a, T: Item> {
    item: ManuallyDrop<T>,
    slot: &'a mut *mut u8,
}

impl<T: Item> Deref for ItemMut<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T: Item> DerefMut for ItemMut<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl<T: Item> Drop for ItemMut<'_, T> {
    fn drop(&mut self) {
        // SAFETY: `item` is not used after this; its pointer goes back into the slot that owns it.
        let item = unsafe { ManuallyDrop::take(&mut self.item) };
        *self.slot = tagged(item.into_pointer(), hash_bits(*self.slot));
    }
}

fn hash_bits(slot: *mut u8) -> u16 {
    (slot.addr() >> HASH_SHIFT) as u16
}

fn tagged(pointer: NonNull<u8>, bits: u16) -> *mut u8 {
    assert!(pointer.addr().get() & !ADDRESS_MASK == 0, "an address beyond 48 bits");
    pointer.as_ptr().map_addr(|address| address | usize::from(bits) << HASH_SHIFT)
}

fn untagged(slot: *mut u8) -> Option<NonNull<u8>> {
    NonNull::new(slot.map_addr(|address| address & ADDRESS_MASK))
}

/// Seven items, their tags and marks. It does not know their type: its segment does, and empties it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Bucket {
    tags: [u8; SLOTS],
    marks: u8,
    slots: [*mut u8; SLOTS],
}

impl Bucket {
    pub const EMPTY: Self = Self { tags: [0; SLOTS], marks: 0, slots: [std::ptr::null_mut(); SLOTS] };

    /// Finds the item with this key among those whose 24 hash bits are `fingerprint`.
    ///
    /// # Safety
    /// The bucket's items are of type `T`.
    #[inline]
    pub unsafe fn find<T: Item>(&self, fingerprint: u32, key: &[u8]) -> Option<u8> {
        let mut candidates = self.tag_matches(fingerprint as u8);
        while candidates != 0 {
            let slot = candidates.trailing_zeros() as usize / 8;
            candidates &= candidates - 1;
            let pointer = self.slots[slot];
            if hash_bits(pointer) == (fingerprint >> 8) as u16 && untagged(pointer).is_some() {
                // SAFETY: the slot is not empty and holds a `T`, as the caller promises.
                let item = unsafe { self.item::<T>(slot as u8) };
                if item.key() == key {
                    return Some(slot as u8);
                }
            }
        }
        None
    }

    /// Where the item is that probably has these hash bits.
    #[inline]
    pub fn likely_item(&self, fingerprint: u32) -> Option<*const u8> {
        let mut candidates = self.tag_matches(fingerprint as u8);
        while candidates != 0 {
            let pointer = self.slots[candidates.trailing_zeros() as usize / 8];
            candidates &= candidates - 1;
            if hash_bits(pointer) == (fingerprint >> 8) as u16 {
                return untagged(pointer).map(|item| item.as_ptr().cast_const());
            }
        }
        None
    }

    /// A word with the top bit of byte `n` set where tag `n` is (perhaps) `tag`; false positives are possible.
    #[inline]
    fn tag_matches(&self, tag: u8) -> u64 {
        const LOW: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        /// The eighth byte is the marks.
        const TAGS: u64 = 0x00ff_ffff_ffff_ffff;
        let [a, b, c, d, e, f, g] = self.tags;
        let difference = u64::from_le_bytes([a, b, c, d, e, f, g, 0]) ^ LOW.wrapping_mul(u64::from(tag));
        difference.wrapping_sub(LOW) & !difference & HIGH & TAGS
    }

    /// The item in a slot that is not empty.
    ///
    /// # Safety
    /// The bucket's items are of type `T` and the slot is not empty.
    #[inline]
    pub unsafe fn item<T: Item>(&self, slot: u8) -> ItemRef<'_, T> {
        let pointer = untagged(self.slots[usize::from(slot)]);
        // SAFETY: by the bucket's contract the pointer came from `into_pointer`; `ManuallyDrop` leaves the
        // ownership with the slot, and the borrow of the bucket keeps it from being changed meanwhile.
        let item = unsafe { ManuallyDrop::new(T::from_pointer(pointer.unwrap_unchecked())) };
        ItemRef { item, borrow: PhantomData }
    }

    /// The item in a slot that is not empty, to be changed.
    ///
    /// # Safety
    /// As for [`Bucket::item`].
    #[inline]
    pub unsafe fn item_mut<T: Item>(&mut self, slot: u8) -> ItemMut<'_, T> {
        let slot = &mut self.slots[usize::from(slot)];
        // SAFETY: as in `item`; the guard holds the only way to the slot.
        let item = unsafe { ManuallyDrop::new(T::from_pointer(untagged(*slot).unwrap_unchecked())) };
        ItemMut { item, slot }
    }

    /// The first empty slot.
    #[inline]
    pub fn vacant_slot(&self) -> Option<u8> {
        self.slots.iter().position(|slot| slot.is_null()).map(|slot| slot as u8)
    }

    #[inline]
    pub fn is_occupied(&self, slot: u8) -> bool {
        !self.slots[usize::from(slot)].is_null()
    }

    /// Puts an item with its hash bits into an empty slot.
    pub fn put(&mut self, slot: u8, fingerprint: u32, pointer: NonNull<u8>, marked: bool) {
        debug_assert!(!self.is_occupied(slot));
        self.tags[usize::from(slot)] = fingerprint as u8;
        self.slots[usize::from(slot)] = tagged(pointer, (fingerprint >> 8) as u16);
        self.set_mark(slot, marked);
    }

    /// Takes what is in a slot: hash bits, pointer and mark.
    pub fn take(&mut self, slot: u8) -> Option<(u32, NonNull<u8>, bool)> {
        let fingerprint = self.fingerprint(slot);
        let marked = self.is_marked(slot);
        let pointer = untagged(std::mem::replace(&mut self.slots[usize::from(slot)], std::ptr::null_mut()))?;
        self.set_mark(slot, false);
        Some((fingerprint, pointer, marked))
    }

    /// Puts another pointer into an occupied slot and returns the one before; hash bits and mark stay.
    pub fn swap(&mut self, slot: u8, pointer: NonNull<u8>) -> Option<NonNull<u8>> {
        let place = &mut self.slots[usize::from(slot)];
        let before = *place;
        *place = tagged(pointer, hash_bits(before));
        untagged(before)
    }

    /// The 24 hash bits of the item in a slot.
    #[inline]
    pub fn fingerprint(&self, slot: u8) -> u32 {
        u32::from(hash_bits(self.slots[usize::from(slot)])) << 8 | u32::from(self.tags[usize::from(slot)])
    }

    #[inline]
    pub fn is_marked(&self, slot: u8) -> bool {
        self.marks & (1 << slot) != 0
    }

    pub fn set_mark(&mut self, slot: u8, marked: bool) {
        self.marks = self.marks & !(1 << slot) | u8::from(marked) << slot;
    }

    #[inline]
    pub fn has_overflowed(&self) -> bool {
        self.marks & OVERFLOWED != 0
    }

    pub fn set_overflowed(&mut self) {
        self.marks |= OVERFLOWED;
    }
}
