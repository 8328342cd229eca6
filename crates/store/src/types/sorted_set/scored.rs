//! A member and its score in one heap block, and the pointers by which the tree knows it.
//!
//! ```text
//! ┌ score 64 ┬ length 8, or FF and length 32 ┬ member … ┐
//! ```
//!
//! This module owns the `unsafe` of sorted sets. The contract: a [`Scored`] owns its block; the table of a
//! [`super::tree::Tree`] owns its `Scored`s; a [`Link`] is only followed while the table it was made for holds the block.

#![allow(unsafe_code)]

use crate::table::Item;
use shoal_formats::thin_bytes::size_class;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::ptr::NonNull;

const SCORE_BYTES: usize = 8;
/// The length that says: it stands in the four bytes behind.
const LONG: u8 = u8::MAX;
const LONG_LENGTH_BYTES: usize = 4;
/// The longest member.
pub const MEMBER_MAX_BYTES: usize = 1 << 31;

const fn layout_for(member_bytes: usize) -> Layout {
    let length_bytes = if member_bytes < LONG as usize { 1 } else { 1 + LONG_LENGTH_BYTES };
    let size = size_class(SCORE_BYTES + length_bytes + member_bytes);
    // SAFETY: the alignment is a power of two, and members are far below `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size, SCORE_BYTES) }
}

/// A member with its score, owned.
#[repr(transparent)]
pub struct Scored {
    block: NonNull<u8>,
}

// SAFETY: the block has no ties to a thread.
unsafe impl Send for Scored {}

impl Scored {
    /// # Panics
    /// The member is longer than [`MEMBER_MAX_BYTES`].
    pub fn new(score: f64, member: &[u8]) -> Self {
        assert!(member.len() <= MEMBER_MAX_BYTES, "a member of {} bytes", member.len());
        let layout = layout_for(member.len());
        // SAFETY: the layout is not empty: it holds at least the score.
        let Some(block) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: the block holds the score, the length in its form, and the member.
        unsafe {
            block.cast::<f64>().write(score);
            let mut at = block.add(SCORE_BYTES);
            if member.len() < usize::from(LONG) {
                at.write(member.len() as u8);
            } else {
                at.write(LONG);
                at.add(1).cast::<u32>().write_unaligned(member.len() as u32);
                at = at.add(LONG_LENGTH_BYTES);
            }
            std::ptr::copy_nonoverlapping(member.as_ptr(), at.add(1).as_ptr(), member.len());
        }
        Self { block }
    }

    /// The score.
    #[inline]
    pub fn score(&self) -> f64 {
        // SAFETY: every block begins with its score.
        unsafe { self.block.cast::<f64>().read() }
    }

    /// Puts another score in the place of this one.
    pub fn set_score(&mut self, score: f64) {
        // SAFETY: every block begins with its score, and this is the only one who writes.
        unsafe { self.block.cast::<f64>().write(score) };
    }

    /// The member.
    #[inline]
    pub fn member(&self) -> &[u8] {
        // SAFETY: the member's bytes follow the length in its form, and live as long as the borrow.
        unsafe {
            let at = self.block.add(SCORE_BYTES);
            match at.read() {
                LONG => {
                    let length = at.add(1).cast::<u32>().read_unaligned();
                    std::slice::from_raw_parts(at.add(1 + LONG_LENGTH_BYTES).as_ptr(), length as usize)
                }
                length => std::slice::from_raw_parts(at.add(1).as_ptr(), usize::from(length)),
            }
        }
    }

    /// Bytes taken from the allocator.
    pub fn size_bytes(&self) -> usize {
        layout_for(self.member().len()).size()
    }

    /// A pointer to the block.
    ///
    /// # Safety
    /// It is not followed after the block has been freed, nor while the score is being changed.
    #[inline]
    pub unsafe fn link(&self) -> Link {
        Link(self.block)
    }
}

// SAFETY: the block does not move while the item is given away; its address is that of the heap.
unsafe impl Item for Scored {
    #[inline]
    fn key(&self) -> &[u8] {
        self.member()
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

impl Drop for Scored {
    fn drop(&mut self) {
        let layout = layout_for(self.member().len());
        // SAFETY: the block was allocated with this layout and is not used again.
        unsafe { dealloc(self.block.as_ptr(), layout) };
    }
}

impl fmt::Debug for Scored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.score(), String::from_utf8_lossy(self.member()))
    }
}

/// A pointer to a member with its score that another owns. Who makes one promises that it is not followed for longer than
/// the block is there; see [`Scored::link`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link(NonNull<u8>);

// SAFETY: the block has no ties to a thread; a link moves together with the owner of the block.
unsafe impl Send for Link {}

impl Link {
    /// The score.
    #[inline]
    pub fn score(&self) -> f64 {
        // SAFETY: every block begins with its score, and the maker of the link has promised that the block is there.
        unsafe { self.0.cast::<f64>().read() }
    }

    /// The member.
    #[inline]
    pub fn member(&self) -> &[u8] {
        // SAFETY: a `Scored` is this pointer and nothing else, so a pointer to the one may be read as the other; the maker of
        // the link has promised that the block is there.
        unsafe { (*std::ptr::from_ref(&self.0).cast::<Scored>()).member() }
    }

    /// Asks the processor for the block.
    #[inline]
    pub fn prefetch(self) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: prefetching never faults.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(self.0.as_ptr().cast());
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.score(), String::from_utf8_lossy(self.member()))
    }
}
