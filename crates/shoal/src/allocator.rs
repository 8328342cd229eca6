//! jemalloc with size classes of 8 bytes.
//!
//! The build sets `--with-lg-quantum=3` (see `.cargo/config.toml`), so that a block of 24 or 40 bytes costs just
//! that. A block of such a size is aligned to 8 bytes only, while the ready-made wrapper of the crate asks for an
//! alignment only beyond 16: hence this one.
//!
//! What is given out is counted here, as `maxmemory` asks for it before every command: jemalloc's own figures are dear to
//! read, and leave out what threads keep for their next requests. Each thread counts for itself and tells the others
//! of it when the difference has become large enough.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicI64, Ordering};
use tikv_jemalloc_sys as jemalloc;

/// What any block is aligned to without being asked.
const QUANTUM_BYTES: usize = 8;

/// jemalloc's options, by the name under which it looks for them. Pages that were freed go back to the system within
/// half a second: tables that grow leave many behind.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static OPTIONS: &[u8] = b"dirty_decay_ms:500,muzzy_decay_ms:0\0";

/// The allocator of the process.
pub struct Jemalloc;

/// A thread tells the others of what it has taken or given back beyond this.
const UNTOLD_MAX_BYTES: i64 = 16 * 1024;

/// What all threads have told of.
static USED_BYTES: AtomicI64 = AtomicI64::new(0);

thread_local! {
    /// What this thread has not told of yet. It needs no destructor, so it can be used while a thread begins or ends.
    static UNTOLD_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// Bytes given out: exact for the calling thread, the others may have taken or given back 16 KiB each that they have not
/// told of. Zero unless [`Jemalloc`] is the program's allocator.
pub fn used_bytes() -> u64 {
    let used = USED_BYTES.load(Ordering::Relaxed) + UNTOLD_BYTES.try_with(Cell::get).unwrap_or(0);
    u64::try_from(used).unwrap_or(0)
}

/// Up to this size there are four classes to each doubling, 8 bytes apart at the least. How larger blocks are rounded is
/// jemalloc's own affair.
const SMALL_MAX_BYTES: usize = 4096;

/// What a block of this size, which is not zero, really takes.
#[inline]
fn class_bytes(size: usize) -> i64 {
    let bytes = if size <= SMALL_MAX_BYTES {
        shoal_formats::thin_bytes::size_class(size)
    } else {
        // SAFETY: a question about a size that is not zero.
        unsafe { jemalloc::nallocx(size, 0) }
    };
    bytes as i64
}

#[inline]
fn count(bytes: i64) {
    let _ = UNTOLD_BYTES.try_with(|untold| {
        let bytes = untold.get() + bytes;
        if bytes.abs() < UNTOLD_MAX_BYTES {
            untold.set(bytes);
        } else {
            untold.set(0);
            USED_BYTES.fetch_add(bytes, Ordering::Relaxed);
        }
    });
}

/// jemalloc's flags for an alignment: its binary logarithm.
fn flags(layout: Layout) -> c_int {
    if layout.align() <= QUANTUM_BYTES { 0 } else { layout.align().trailing_zeros() as c_int }
}

// SAFETY: every call gives jemalloc the size (never zero, as `GlobalAlloc` promises) and the alignment of the layout, so
// blocks are as large and aligned as asked for; jemalloc is safe to call from all threads and does not unwind.
unsafe impl GlobalAlloc for Jemalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(class_bytes(layout.size()));
        // SAFETY: the size is not zero.
        unsafe { jemalloc::mallocx(layout.size(), flags(layout)).cast() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(class_bytes(layout.size()));
        // SAFETY: the size is not zero; the flag asks for zeros.
        unsafe { jemalloc::mallocx(layout.size(), flags(layout) | jemalloc::MALLOCX_ZERO).cast() }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-class_bytes(layout.size()));
        // SAFETY: the block was allocated here with this layout.
        unsafe { jemalloc::sdallocx(block.cast::<c_void>(), layout.size(), flags(layout)) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(class_bytes(new_size) - class_bytes(layout.size()));
        // SAFETY: the block was allocated here with this layout, and the new size is not zero.
        unsafe { jemalloc::rallocx(block.cast::<c_void>(), new_size, flags(layout)).cast() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_allocator() {
        for size in (1..5000).chain([16_000, 100_001, 114_688, 114_689, 1 << 20, (1 << 20) + 1, 123_456_789])
        {
            // SAFETY: a question about a size that is not zero.
            let expected = unsafe { jemalloc::nallocx(size, 0) };
            assert_eq!(class_bytes(size), expected as i64, "{size}");
        }
    }
}
