//! Bytes on the heap behind one thin pointer: what small collections are kept in.
//!
//! ```text
//! ┌ length 32 ┬ bytes … ┬ slack up to the allocator's size class ┐
//! ┌ length 32, ROOMY ┬ block 32 ┬ gap 32 ┬ gap … ┬ bytes … ┬ slack … ┐
//! ```
//!
//! A `Vec<u8>` takes three words where it is kept, this takes one. Bytes that change often at their ends can be made *roomy*:
//! then there is space before and behind them, and a change moves only what stands between it and the nearer end. The
//! contract of the `unsafe` here: the block was allocated with the layout that follows from its length, or if it is roomy
//! from its block word, and as many bytes as the length says are initialised.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The most bytes that fit.
pub const MAX_BYTES: usize = (1 << 31) - 1;

const LENGTH_BYTES: usize = size_of::<u32>();
const ALIGNMENT: usize = 8;
/// The bit of the length word that says that two more words follow.
const ROOMY: u32 = 1 << 31;
/// Length, size of the block, and gap.
const ROOMY_HEADER_BYTES: usize = 3 * size_of::<u32>();
/// More bytes are not made roomy.
const ROOMY_MAX_BYTES: usize = 1 << 20;

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

/// The size of a new roomy block for so many bytes: a quarter more than they need.
const fn roomy_block_bytes(length: usize) -> usize {
    const ROOM_MIN_BYTES: usize = 64;
    size_class(ROOMY_HEADER_BYTES + length + length / 4 + ROOM_MIN_BYTES)
}

const fn roomy_layout(block_bytes: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and roomy blocks are far smaller than `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(block_bytes, ALIGNMENT) }
}

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
    fn word(&self) -> u32 {
        // SAFETY: every block begins with its length.
        unsafe { self.block.cast::<u32>().read() }
    }

    #[inline]
    fn length(&self) -> usize {
        (self.word() & !ROOMY) as usize
    }

    /// Whether there may be space before the bytes, and more space behind them than the allocator gives anyway.
    #[inline]
    pub fn is_roomy(&self) -> bool {
        self.word() & ROOMY != 0
    }

    /// Size of the block and length of the gap. Only roomy bytes have these words.
    #[inline]
    fn room(&self) -> (usize, usize) {
        debug_assert!(self.is_roomy());
        // SAFETY: a roomy block begins with three words.
        unsafe {
            let words = self.block.cast::<u32>();
            (words.add(1).read() as usize, words.add(2).read() as usize)
        }
    }

    /// Where the bytes begin in the block.
    #[inline]
    fn offset(&self) -> usize {
        if self.is_roomy() { ROOMY_HEADER_BYTES + self.room().1 } else { LENGTH_BYTES }
    }

    #[inline]
    fn layout(&self) -> Layout {
        if self.is_roomy() { roomy_layout(self.room().0) } else { layout_for(self.length()) }
    }

    /// Bytes taken from the allocator.
    pub fn size_bytes(&self) -> usize {
        self.layout().size()
    }

    /// Makes space at the ends for changes to come, unless there are very many bytes.
    pub fn make_roomy(&mut self) {
        if !self.is_roomy() && self.length() <= ROOMY_MAX_BYTES {
            *self = self.roomy_with(self.length(), 0, &[], false);
        }
    }

    /// Gives up the space that [`ThinBytes::make_roomy`] made.
    pub fn compact(&mut self) {
        if self.is_roomy() {
            *self = Self::new(self);
        }
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
        if self.is_roomy() {
            return self.splice_roomy(at, removed, pieces, added);
        }
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

    /// As [`ThinBytes::splice`], for roomy bytes; the range and the outcome's length have been checked.
    fn splice_roomy(&mut self, at: usize, removed: usize, pieces: &[&[u8]], added: usize) {
        let before = self.length();
        let after = before - removed + added;
        let (block_bytes, gap) = self.room();
        let tail = before - at - removed;
        let in_front = at <= tail;
        let room = if in_front { gap } else { block_bytes - ROOMY_HEADER_BYTES - gap - before };
        if after > ROOMY_MAX_BYTES {
            self.compact();
            return self.splice(at, removed, pieces);
        }
        if added > room + removed || block_bytes > 2 * roomy_block_bytes(after) {
            *self = self.roomy_with(at, removed, pieces, in_front);
            return;
        }
        // SAFETY: header, gap, bytes and slack make up the block. In front, the prefix moves by the difference, which the gap
        // holds if there are more bytes; behind, the tail does, and the slack holds the difference. Either way the pieces
        // come to stand between the two.
        unsafe {
            let bytes = self.block.as_ptr().add(ROOMY_HEADER_BYTES + gap);
            let mut to = if in_front {
                let moved = bytes.add(removed).sub(added);
                std::ptr::copy(bytes, moved, at);
                self.block.cast::<u32>().add(2).write((gap + removed - added) as u32);
                moved.add(at)
            } else {
                std::ptr::copy(bytes.add(at + removed), bytes.add(at + added), tail);
                bytes.add(at)
            };
            for piece in pieces {
                std::ptr::copy_nonoverlapping(piece.as_ptr(), to, piece.len());
                to = to.add(piece.len());
            }
            self.block.cast::<u32>().write(after as u32 | ROOMY);
        }
    }

    /// Roomy bytes as these would be with `pieces` in the place of `removed` bytes from `at` on. All room is in front or
    /// behind.
    fn roomy_with(&self, at: usize, removed: usize, pieces: &[&[u8]], in_front: bool) -> Self {
        let (prefix, tail) = (&self[..at], &self[at + removed..]);
        let length = at + pieces.iter().map(|piece| piece.len()).sum::<usize>() + tail.len();
        let block_bytes = roomy_block_bytes(length);
        let gap = if in_front { block_bytes - ROOMY_HEADER_BYTES - length } else { 0 };
        let layout = roomy_layout(block_bytes);
        // SAFETY: the layout is not empty: it holds at least the three words.
        let Some(block) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: the block holds the three words, the gap and as many bytes.
        unsafe {
            let words = block.cast::<u32>();
            words.write(length as u32 | ROOMY);
            words.add(1).write(block_bytes as u32);
            words.add(2).write(gap as u32);
            let mut to = block.as_ptr().add(ROOMY_HEADER_BYTES + gap);
            for piece in std::iter::once(&prefix).chain(pieces).chain(std::iter::once(&tail)) {
                std::ptr::copy_nonoverlapping(piece.as_ptr(), to, piece.len());
                to = to.add(piece.len());
            }
        }
        Self { block }
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
        // SAFETY: as many bytes as the length says stand there, and live as long as the borrow.
        unsafe { std::slice::from_raw_parts(self.block.as_ptr().add(self.offset()), self.length()) }
    }
}

impl DerefMut for ThinBytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let (offset, length) = (self.offset(), self.length());
        // SAFETY: as many bytes as the length says stand there, and the borrow is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.block.as_ptr().add(offset), length) }
    }
}

impl Drop for ThinBytes {
    fn drop(&mut self) {
        // SAFETY: the block was allocated with this layout and is not used again.
        unsafe { dealloc(self.block.as_ptr(), self.layout()) };
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
            match random(50) {
                0 => thin.make_roomy(),
                1 => thin.compact(),
                _ => {}
            }
            // Most changes are near an end, as in a queue.
            let at = match random(4) {
                0 => at,
                1 => model.len() - removed,
                _ => 0,
            };
            thin.splice(at, removed, &[&first, &second]);
            model.splice(at..at + removed, first.into_iter().chain(second));
            assert_eq!(*thin, *model);
            assert!(thin.size_bytes() <= 3 * model.len() + 300, "{} for {}", thin.size_bytes(), model.len());
            if model.len() > 4000 {
                thin.splice(0, model.len(), &[]);
                model.clear();
            }
        }
        assert_eq!(*thin.clone(), *model);
    }

    #[test]
    fn room_at_the_ends_is_kept_within_bounds() {
        let mut queue = ThinBytes::new(&[]);
        queue.make_roomy();
        let mut blocks = 0;
        let mut block = queue.block;
        for step in 0..4000u32 {
            queue.splice(0, 0, &[&step.to_le_bytes()]);
            blocks += usize::from(queue.block != block);
            block = queue.block;
        }
        assert_eq!(queue[..4], 3999u32.to_le_bytes());
        assert!(blocks < 40, "{blocks} blocks for 4000 changes");
        assert!(queue.size_bytes() < 16_000 * 3 / 2 + 100, "{} bytes", queue.size_bytes());
        for _ in 0..3990 {
            queue.splice(queue.len() - 4, 4, &[]);
        }
        assert_eq!((queue.len(), &queue[..4]), (40, &3999u32.to_le_bytes()[..]));
        assert!(queue.size_bytes() < 400, "{} bytes", queue.size_bytes());
        queue.compact();
        assert_eq!((queue.size_bytes(), queue.is_roomy()), (48, false));
        let mut large = ThinBytes::new(&vec![7; ROOMY_MAX_BYTES]);
        large.make_roomy();
        assert!(large.is_roomy());
        large.splice(0, 0, &[b"x"]);
        assert_eq!((large.is_roomy(), large.len(), large[0]), (false, ROOMY_MAX_BYTES + 1, b'x'));
    }

    #[test]
    #[should_panic(expected = "3+2 of 4")]
    fn a_range_beyond_the_end_is_refused() {
        ThinBytes::new(b"abcd").splice(3, 2, &[]);
    }
}
