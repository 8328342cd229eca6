//! What the child that writes a snapshot says of itself on its way: a page of memory that both processes see.
//!
//! The pipe to the parent carries the snapshot itself when replicas wait for it, so it has no room for this.

#![allow(unsafe_code)]

use shoal_node::SnapshotProgress;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the child looks how much memory was copied.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Looking may take this part of the child's time at most.
const LOOK_SHARE: u32 = 100;

/// What both see. The times are those of the system's monotonic clock, which is one for all processes.
#[derive(Debug, Default)]
struct Shared {
    keys: AtomicU64,
    copied_bytes: AtomicU64,
    peak_copied_bytes: AtomicU64,
    /// All measurements together, and how many there were.
    copied_sum_bytes: AtomicU64,
    measurements: AtomicU64,
    measured_at_ms: AtomicU64,
}

/// The page. It lives as long as the process, or until this is dropped.
#[derive(Debug)]
pub struct ChildReport(NonNull<Shared>);

impl ChildReport {
    /// A page for the next child.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a new mapping, backed by nothing but memory; the system chooses a place where nothing is yet.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Shared>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // The page is full of zeros, which are the first values.
        NonNull::new(page.cast()).map(Self).ok_or_else(io::Error::last_os_error)
    }

    fn shared(&self) -> &Shared {
        // SAFETY: the mapping is as large as this, aligned to a page, and stays until `self` is dropped; it holds nothing
        // but atomic integers, for which any bytes are values.
        unsafe { self.0.as_ref() }
    }

    /// What the child has said last.
    pub fn progress(&self) -> SnapshotProgress {
        let shared = self.shared();
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let measurements = load(&shared.measurements);
        let age_ms = system_ms().saturating_sub(load(&shared.measured_at_ms));
        SnapshotProgress {
            keys: load(&shared.keys),
            copied_bytes: load(&shared.copied_bytes),
            peak_copied_bytes: load(&shared.peak_copied_bytes),
            average_copied_bytes: load(&shared.copied_sum_bytes).checked_div(measurements).unwrap_or(0),
            age_s: if measurements == 0 { 0 } else { age_ms / 1000 },
        }
    }
}

impl Drop for ChildReport {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this size, and nobody has a reference into it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Shared>()) };
    }
}

/// Milliseconds of a clock that all processes share.
fn system_ms() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes into a local variable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1000 + time.tv_nsec.unsigned_abs() / 1_000_000
}

/// The child's side.
pub struct Reporter<'a> {
    report: &'a ChildReport,
    next_look: Instant,
    status: Vec<u8>,
}

impl<'a> Reporter<'a> {
    /// Reports into this page.
    pub fn new(report: &'a ChildReport) -> Self {
        Self { report, next_look: Instant::now(), status: Vec::new() }
    }

    /// So many keys have been written.
    pub fn wrote(&mut self, keys: u64) {
        self.report.shared().keys.store(keys, Ordering::Relaxed);
        let now = Instant::now();
        if now >= self.next_look {
            self.look();
            self.next_look = Instant::now() + LOOK_INTERVAL.max(now.elapsed() * LOOK_SHARE);
        }
    }

    /// Measures how much memory is this process's own by now: what one of the two has written to since the fork.
    pub fn look(&mut self) {
        let Some(bytes) = self.private_dirty_bytes() else { return };
        let shared = self.report.shared();
        shared.copied_bytes.store(bytes, Ordering::Relaxed);
        shared.peak_copied_bytes.fetch_max(bytes, Ordering::Relaxed);
        shared.copied_sum_bytes.fetch_add(bytes, Ordering::Relaxed);
        shared.measurements.fetch_add(1, Ordering::Relaxed);
        shared.measured_at_ms.store(system_ms(), Ordering::Relaxed);
    }

    fn private_dirty_bytes(&mut self) -> Option<u64> {
        use std::io::Read;
        self.status.clear();
        let mut file = std::fs::File::open("/proc/self/smaps_rollup").ok()?;
        file.read_to_end(&mut self.status).ok()?;
        let text = std::str::from_utf8(&self.status).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_sees_what_is_said() {
        let report = ChildReport::new().unwrap();
        assert_eq!(report.progress(), SnapshotProgress::default());
        let mut reporter = Reporter::new(&report);
        reporter.wrote(7);
        reporter.wrote(9);
        let progress = report.progress();
        assert_eq!(progress.keys, 9);
        assert!(progress.copied_bytes > 0, "this process has memory of its own");
        assert_eq!(progress.peak_copied_bytes, progress.average_copied_bytes, "it looks once a second");
    }
}
