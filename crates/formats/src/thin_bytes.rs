//! Bytes on the heap behind one thin pointer: what small collections are kept in.
//!
//! ```text
//! ┌ length 32 ┬ bytes … ┬ slack up to the allocator's size class ┐
//! ```
//!
//! A `Vec<u8>` takes three words where it is kept, this takes one. The contract of the `unsafe` here: the block was
//! allocated with the layout that follows from its length, and as many bytes as the length says are initialised.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The most bytes that fit.
pub const MAX_BYTES: usize = 1 << 31;

const LENGTH_BYTES: usize = size_of::<u32>();
const ALIGNMENT: usize = 8;

/// The size that an allocator with classes of 8 bytes, from 64 bytes on four per doubling, takes for so many.
pub const fn size_class(bytes: usize) -> usize {
    const SMALL_MAX: usize = 64;
    if bytes <= SMALL_MAX {
        bytes.next_multiple_of(ALIGNMENT)
    } else {
        bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2))
    }
}

/// Bytes on the heap that grow and shrink in place where the allocator allows it.
pub struct ThinBytes {
    block: NonNull<u8>,
}

// SAFETY: the block has no ties to a thread.
unsafe impl Send for ThinBytes {}
// SAFETY: a shared borrow only reads.
unsafe impl Sync for ThinBytes {}

const fn layout_for(length: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and lengths are far below `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size_class(LENGTH_BYTES + length), ALIGNMENT) }
}

impl ThinBytes {
    /// A copy of these bytes.
    ///
    /// # Panics
    /// There are more than [`MAX_BYTES`].
    pub fn new(bytes: &[u8]) -> Self {
        assert!(bytes.len() <= MAX_BYTES, "{} bytes do not fit", bytes.len());
        let layout = layout_for(bytes.len());
        // SAFETY: the layout is not empty: it holds at least the length.
        let Some(block) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: the block holds the length and as many bytes.
        unsafe {
            block.cast::<u32>().write(bytes.len() as u32);
            let to = block.as_ptr().add(LENGTH_BYTES);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        Self { block }
    }

    #[inline]
    fn length(&self) -> usize {
        // SAFETY: every block begins with its length.
        (unsafe { self.block.cast::<u32>().read() }) as usize
    }

    /// Bytes taken from the allocator.
    pub fn size_bytes(&self) -> usize {
        layout_for(self.length()).size()
    }

    /// Puts `pieces`, one after the other, in the place of `removed` bytes from `at` on.
    ///
    /// # Panics
    /// The range is not within the bytes, or the outcome is longer than [`MAX_BYTES`].
    pub fn splice(&mut self, at: usize, removed: usize, pieces: &[&[u8]]) {
        let before = self.length();
        assert!(removed <= before && at <= before - removed, "{at}+{removed} of {before}");
        let added: usize = pieces.iter().map(|piece| piece.len()).sum();
        let after = before - removed + added;
        assert!(after <= MAX_BYTES, "{after} bytes do not fit");
        let tail = before - at - removed;
        if after > before {
            self.resize_block(before, after);
        }
        // SAFETY: before growth or after it, the block holds both the old and the new bytes; the tail moves as a whole,
        // and the gap it leaves is as long as the pieces together.
        unsafe {
            let bytes = self.block.as_ptr().add(LENGTH_BYTES);
            if removed != added {
                std::ptr::copy(bytes.add(at + removed), bytes.add(at + added), tail);
            }
            let mut to = bytes.add(at);
            for piece in pieces {
                std::ptr::copy_nonoverlapping(piece.as_ptr(), to, piece.len());
                to = to.add(piece.len());
            }
        }
        if after < before {
            self.resize_block(before, after);
        }
        // SAFETY: every block begins with its length.
        unsafe { self.block.cast::<u32>().write(after as u32) };
    }

    fn resize_block(&mut self, before: usize, after: usize) {
        let (old, new) = (layout_for(before), layout_for(after));
        if old.size() == new.size() {
            return;
        }
        // SAFETY: the block was allocated with the old layout; the new size is not zero.
        let moved = unsafe { realloc(self.block.as_ptr(), old, new.size()) };
        let Some(block) = NonNull::new(moved) else { handle_alloc_error(new) };
        self.block = block;
    }
}

impl Deref for ThinBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: as many bytes as the length says follow it, and live as long as the borrow.
        unsafe { std::slice::from_raw_parts(self.block.as_ptr().add(LENGTH_BYTES), self.length()) }
    }
}

impl DerefMut for ThinBytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let length = self.length();
        // SAFETY: as many bytes as the length says follow it, and the borrow is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.block.as_ptr().add(LENGTH_BYTES), length) }
    }
}

impl Drop for ThinBytes {
    fn drop(&mut self) {
        // SAFETY: the block was allocated with this layout and is not used again.
        unsafe { dealloc(self.block.as_ptr(), layout_for(self.length())) };
    }
}

impl Clone for ThinBytes {
    fn clone(&self) -> Self {
        Self::new(self)
    }
}

impl fmt::Debug for ThinBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for (bytes, class) in [
            (1, 8),
            (8, 8),
            (9, 16),
            (64, 64),
            (65, 80),
            (80, 80),
            (81, 96),
            (128, 128),
            (129, 160),
            (257, 320),
            (8192, 8192),
            (8193, 10240),
        ] {
            assert_eq!(size_class(bytes), class, "{bytes}");
        }
    }

    #[test]
    fn splicing_does_what_a_vector_does() {
        let mut state = 7u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below.max(1)
        };
        let (mut thin, mut model) = (ThinBytes::new(b""), Vec::new());
        for step in 0..3000 {
            let at = random(model.len() + 1);
            let removed = random((model.len() - at).min(60) + 1);
            let first = vec![step as u8; random(40)];
            let second = vec![!step as u8; random(20)];
            thin.splice(at, removed, &[&first, &second]);
            model.splice(at..at + removed, first.into_iter().chain(second));
            assert_eq!(*thin, *model);
            if model.len() > 4000 {
                thin.splice(0, model.len(), &[]);
                model.clear();
            }
        }
        assert_eq!(*thin.clone(), *model);
    }

    #[test]
    #[should_panic(expected = "3+2 of 4")]
    fn a_range_beyond_the_end_is_refused() {
        ThinBytes::new(b"abcd").splice(3, 2, &[]);
    }
}
