//! jemalloc with size classes of 8 bytes.
//!
//! The build sets `--with-lg-quantum=3` (see `.cargo/config.toml`), so that a block of 24 or 40 bytes costs just
//! that. A block of such a size is aligned to 8 bytes only, while the ready-made wrapper of the crate asks for an
//! alignment only beyond 16: hence this one.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_int, c_void};
use tikv_jemalloc_sys as jemalloc;

/// What any block is aligned to without being asked.
const QUANTUM_BYTES: usize = 8;

/// jemalloc's options, by the name under which it looks for them. Pages that were freed go back to the system within
/// half a second: tables that grow leave many behind.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static OPTIONS: &[u8] = b"dirty_decay_ms:500,muzzy_decay_ms:0\0";

/// The allocator of the process.
pub struct Jemalloc;

/// jemalloc's flags for an alignment: its binary logarithm.
fn flags(layout: Layout) -> c_int {
    if layout.align() <= QUANTUM_BYTES { 0 } else { layout.align().trailing_zeros() as c_int }
}

// SAFETY: every call gives jemalloc the size (never zero, as `GlobalAlloc` promises) and the alignment of the layout, so
// blocks are as large and aligned as asked for; jemalloc is safe to call from all threads and does not unwind.
unsafe impl GlobalAlloc for Jemalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is not zero.
        unsafe { jemalloc::mallocx(layout.size(), flags(layout)).cast() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is not zero; the flag asks for zeros.
        unsafe { jemalloc::mallocx(layout.size(), flags(layout) | jemalloc::MALLOCX_ZERO).cast() }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block was allocated here with this layout.
        unsafe { jemalloc::sdallocx(block.cast::<c_void>(), layout.size(), flags(layout)) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the block was allocated here with this layout, and the new size is not zero.
        unsafe { jemalloc::rallocx(block.cast::<c_void>(), new_size, flags(layout)).cast() }
    }
}
