//! One or two strings in one heap block behind a thin pointer: what the tables of sets and hashes hold.
//!
//! ```text
//! Member: ┌ length ┬ bytes … ┐
//! Field:  ┌ length of the field ┬ length of the value ┬ field … ┬ value … ┐
//! ```
//!
//! A length below 255 takes one byte, a longer one 255 and eight bytes. The contract of the `unsafe` here: a block was
//! allocated with the layout that follows from its lengths, all its bytes are initialised, and its owner frees it.

#![allow(unsafe_code)]

use crate::table::{Item, ItemRef};
use shoal_formats::thin_bytes::size_class;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ptr::NonNull;

const ALIGNMENT: usize = 8;
/// Stands before a length of eight bytes.
const LONG: u8 = u8::MAX;
const LONG_PREFIX_BYTES: usize = 1 + size_of::<u64>();

const fn prefix_bytes(length: usize) -> usize {
    if length < LONG as usize { 1 } else { LONG_PREFIX_BYTES }
}

const fn layout_for(length: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and what requests hold is far below `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size_class(length), ALIGNMENT) }
}

fn allocate(length: usize) -> NonNull<u8> {
    let layout = layout_for(length);
    // SAFETY: the layout is not empty: it holds at least one length.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

/// A length in front of what it measures.
#[derive(Clone, Copy)]
struct Prefix {
    length: usize,
    /// Bytes that the prefix itself takes.
    own: usize,
}

impl Prefix {
    fn of(length: usize) -> Self {
        Self { length, own: prefix_bytes(length) }
    }

    /// # Safety
    /// A prefix stands at `at`.
    #[inline]
    unsafe fn read(at: NonNull<u8>) -> Self {
        // SAFETY: a prefix has at least one byte, and eight more if the first says so.
        unsafe {
            match at.read() {
                LONG => {
                    let length = at.add(1).cast::<u64>().read_unaligned();
                    Self { length: length as usize, own: LONG_PREFIX_BYTES }
                }
                length => Self { length: usize::from(length), own: 1 },
            }
        }
    }

    /// # Safety
    /// The block has room for the prefix at `at`.
    unsafe fn write(self, at: NonNull<u8>) {
        // SAFETY: as the caller promises.
        unsafe {
            if self.own == 1 {
                at.write(self.length as u8);
            } else {
                at.write(LONG);
                at.add(1).cast::<u64>().write_unaligned(self.length as u64);
            }
        }
    }
}

/// A member of a set.
pub struct Member {
    block: NonNull<u8>,
}

// SAFETY: the block has no ties to a thread.
unsafe impl Send for Member {}

impl Member {
    /// A copy of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let prefix = Prefix::of(bytes.len());
        let block = allocate(prefix.own + bytes.len());
        // SAFETY: the new block holds prefix and bytes.
        unsafe {
            prefix.write(block);
            let to = block.as_ptr().add(prefix.own);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        Self { block }
    }

    #[inline]
    fn prefix(&self) -> Prefix {
        // SAFETY: every block begins with a prefix.
        unsafe { Prefix::read(self.block) }
    }

    /// Bytes taken from the allocator.
    pub fn size_bytes(&self) -> usize {
        let prefix = self.prefix();
        layout_for(prefix.own + prefix.length).size()
    }

    /// The bytes of a member in a table, for as long as the table is borrowed.
    #[inline]
    pub fn bytes_in<'a>(item: &ItemRef<'a, Self>) -> &'a [u8] {
        let prefix = item.prefix();
        // SAFETY: the bytes follow the prefix. The table owns the block and is borrowed for `'a`, so the block neither
        // changes nor goes meanwhile.
        unsafe { std::slice::from_raw_parts(item.block.as_ptr().add(prefix.own), prefix.length) }
    }
}

// SAFETY: the block does not move while the member is given away; its address is that of the heap.
unsafe impl Item for Member {
    #[inline]
    fn key(&self) -> &[u8] {
        let prefix = self.prefix();
        // SAFETY: the bytes follow the prefix, and live as long as the borrow of the member.
        unsafe { std::slice::from_raw_parts(self.block.as_ptr().add(prefix.own), prefix.length) }
    }

    #[inline]
    fn into_pointer(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).block
    }

    #[inline]
    unsafe fn from_pointer(pointer: NonNull<u8>) -> Self {
        Self { block: pointer }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let prefix = self.prefix();
        // SAFETY: the member owns its block, which was allocated with this layout.
        unsafe { dealloc(self.block.as_ptr(), layout_for(prefix.own + prefix.length)) };
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.key()).fmt(formatter)
    }
}

/// A field of a hash with its value.
pub struct Field {
    block: NonNull<u8>,
}

// SAFETY: the block has no ties to a thread.
unsafe impl Send for Field {}

/// Where the parts of a field's block are.
#[derive(Clone, Copy)]
struct Parts {
    name: Prefix,
    value: Prefix,
}

impl Parts {
    fn name_at(self) -> usize {
        self.name.own + self.value.own
    }

    fn value_at(self) -> usize {
        self.name_at() + self.name.length
    }

    fn length(self) -> usize {
        self.value_at() + self.value.length
    }
}

impl Field {
    /// A copy of a field's name and its value.
    pub fn new(name: &[u8], value: &[u8]) -> Self {
        let parts = Parts { name: Prefix::of(name.len()), value: Prefix::of(value.len()) };
        let block = allocate(parts.length());
        // SAFETY: the new block holds prefixes, name and value.
        unsafe {
            parts.name.write(block);
            parts.value.write(block.add(parts.name.own));
            let to = block.as_ptr();
            std::ptr::copy_nonoverlapping(name.as_ptr(), to.add(parts.name_at()), name.len());
            std::ptr::copy_nonoverlapping(value.as_ptr(), to.add(parts.value_at()), value.len());
        }
        Self { block }
    }

    #[inline]
    fn parts(&self) -> Parts {
        // SAFETY: every block begins with two prefixes.
        unsafe {
            let name = Prefix::read(self.block);
            Parts { name, value: Prefix::read(self.block.add(name.own)) }
        }
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> &[u8] {
        let parts = self.parts();
        // SAFETY: the value follows the name, and lives as long as the borrow of the field.
        unsafe { std::slice::from_raw_parts(self.block.as_ptr().add(parts.value_at()), parts.value.length) }
    }

    /// Name and value of a field in a table, for as long as the table is borrowed.
    #[inline]
    pub fn pair_in<'a>(item: &ItemRef<'a, Self>) -> (&'a [u8], &'a [u8]) {
        let parts = item.parts();
        let block = item.block.as_ptr();
        // SAFETY: name and value follow the prefixes. The table owns the block and is borrowed for `'a`, so the block
        // neither changes nor goes meanwhile.
        unsafe {
            (
                std::slice::from_raw_parts(block.add(parts.name_at()), parts.name.length),
                std::slice::from_raw_parts(block.add(parts.value_at()), parts.value.length),
            )
        }
    }

    /// Puts a value in the place of this one; in the same block if the new one takes as much from the allocator.
    pub fn set_value(&mut self, value: &[u8]) {
        let before = self.parts();
        let after = Parts { name: before.name, value: Prefix::of(value.len()) };
        if before.value.own != after.value.own {
            *self = Self::new(self.key(), value);
            return;
        }
        let (old, new) = (layout_for(before.length()), layout_for(after.length()));
        if old.size() != new.size() {
            // SAFETY: the block was allocated with the old layout; the new size is not zero.
            let moved = unsafe { realloc(self.block.as_ptr(), old, new.size()) };
            self.block = NonNull::new(moved).unwrap_or_else(|| handle_alloc_error(new));
        }
        // SAFETY: the block holds as many bytes as the new value needs now; prefixes and name are where they were.
        unsafe {
            after.value.write(self.block.add(after.name.own));
            let to = self.block.as_ptr().add(after.value_at());
            std::ptr::copy_nonoverlapping(value.as_ptr(), to, value.len());
        }
    }

    /// Bytes taken from the allocator.
    pub fn size_bytes(&self) -> usize {
        layout_for(self.parts().length()).size()
    }
}

// SAFETY: the block does not move while the field is given away; its address is that of the heap.
unsafe impl Item for Field {
    #[inline]
    fn key(&self) -> &[u8] {
        let parts = self.parts();
        // SAFETY: the name follows the prefixes, and lives as long as the borrow of the field.
        unsafe { std::slice::from_raw_parts(self.block.as_ptr().add(parts.name_at()), parts.name.length) }
    }

    #[inline]
    fn into_pointer(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).block
    }

    #[inline]
    unsafe fn from_pointer(pointer: NonNull<u8>) -> Self {
        Self { block: pointer }
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        // SAFETY: the field owns its block, which was allocated with this layout.
        unsafe { dealloc(self.block.as_ptr(), layout_for(self.parts().length())) };
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        write!(formatter, "{:?}: {:?}", text(self.key()), text(self.value()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [usize; 12] = [0, 1, 6, 7, 8, 64, 253, 254, 255, 256, 1000, 100_000];

    #[test]
    fn members_keep_their_bytes() {
        for length in LENGTHS {
            let bytes = vec![b'm'; length];
            let member = Member::new(&bytes);
            assert_eq!(member.key(), bytes);
            assert!(member.size_bytes() > length);
        }
        assert_eq!(Member::new(&[b'x'; 15]).size_bytes(), 16);
        assert_eq!(Member::new(&[b'x'; 16]).size_bytes(), 24);
    }

    #[test]
    fn fields_keep_name_and_value_across_changes() {
        for name_length in LENGTHS {
            let name = vec![b'n'; name_length];
            let mut field = Field::new(&name, b"");
            for (step, length) in LENGTHS.iter().chain(LENGTHS.iter().rev()).enumerate() {
                let value = vec![step as u8; *length];
                field.set_value(&value);
                assert_eq!((field.key(), field.value()), (&name[..], &value[..]));
                assert_eq!(field.size_bytes(), Field::new(&name, &value).size_bytes());
            }
        }
        assert_eq!(Field::new(&[b'f'; 15], &[b'v'; 12]).size_bytes(), 32);
    }

    #[test]
    fn a_value_of_about_the_same_length_stays_in_its_block() {
        let mut field = Field::new(b"name", b"12345");
        let before = field.block;
        field.set_value(b"12345678");
        assert_eq!(field.block, before);
        assert_eq!(field.value(), b"12345678");
    }
}
