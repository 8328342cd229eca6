//! How much memory an entry takes: an allocator that counts, thread by thread.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What an entry may take beside what follows from the size of its input.
const BASE_BYTES: usize = 64 << 20;
/// What a byte of input can become when it is decompressed: the shortest piece that refers back is three bytes, the
/// longest text it stands for 264.
const DECOMPRESSED: usize = 264 / 3;
/// How often what was decompressed may be there at a time.
const COPIES: usize = 2;

thread_local! {
    /// Bytes that this thread has allocated and not freed; what another thread frees stays counted.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

fn count(change: isize) {
    // Threads that end allocate after their variables are gone; nobody asks for these.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is passed on to the system's allocator as it came; the counters neither allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps to the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // For a moment there may be both.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps to the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The most bytes that an entry may take with an input of this size: twice what the input can be decompressed to, and
/// 64 MiB.
pub fn bound(input_bytes: usize) -> usize {
    COPIES * DECOMPRESSED * input_bytes + BASE_BYTES
}

/// Runs `action`; the most bytes that it had allocated at a time.
pub fn peak_of(action: impl FnOnce()) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    action();
    usize::try_from(PEAK.get() - before).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::peak_of;

    #[test]
    fn the_peak_is_seen() {
        let peak = peak_of(|| {
            drop(std::hint::black_box(vec![0u8; 5_000_000]));
            drop(std::hint::black_box(Vec::<u8>::with_capacity(3_000_000)));
        });
        assert!((5_000_000..6_000_000).contains(&peak), "{peak}");
    }
}
