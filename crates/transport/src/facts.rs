//! Facts about the process, from the system and the allocator.

use shoal_node::ProcessFacts;
use std::sync::OnceLock;

/// Reads all facts. The allocator's are only as good as its last epoch, which this begins anew.
pub fn read() -> ProcessFacts {
    let (allocated, active, resident) = allocator();
    let [process, children, thread] =
        [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN, libc::RUSAGE_THREAD].map(processor_time);
    let resident_bytes = resident_set();
    ProcessFacts {
        used_memory_bytes: if allocated > 0 { allocated } else { resident_bytes },
        cluster_link_bytes: 0,
        pending_objects: 0,
        allocator_active_bytes: active,
        allocator_resident_bytes: resident,
        allocator: allocator_name(),
        exchange_connections: 0,
        resident_bytes,
        system_memory_bytes: system_memory(),
        system_cpu_us: [process.0, children.0, thread.0],
        user_cpu_us: [process.1, children.1, thread.1],
    }
}

/// Bytes given out, in active pages, and resident; zeros without jemalloc.
fn allocator() -> (u64, u64, u64) {
    use tikv_jemalloc_ctl::{epoch, stats};
    if epoch::advance().is_err() {
        return (0, 0, 0);
    }
    let read = |value: Result<usize, tikv_jemalloc_ctl::Error>| value.unwrap_or(0) as u64;
    (read(stats::allocated::read()), read(stats::active::read()), read(stats::resident::read()))
}

/// Gives pages that hold no data back to the system.
#[allow(unsafe_code)]
pub fn purge() {
    /// The control of all arenas together (4096 is `MALLCTL_ARENAS_ALL`).
    const PURGE_ALL: &std::ffi::CStr = c"arena.4096.purge";
    let (none, length) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the name ends with a zero, and this control takes and gives nothing.
    unsafe { tikv_jemalloc_sys::mallctl(PURGE_ALL.as_ptr(), none, length, none, 0) };
}

/// The allocator and its version, as `INFO` shows it.
pub fn allocator_name() -> String {
    let version = tikv_jemalloc_ctl::version::read().unwrap_or_default();
    format!("jemalloc-{}", version.split('-').next().unwrap_or_default())
}

/// Time in the kernel and in user mode, in microseconds.
#[allow(unsafe_code)]
fn processor_time(who: i32) -> (u64, u64) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the structure is large enough and zeroed, so it is initialised whether or not the call succeeds.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    (micros(usage.ru_stime), micros(usage.ru_utime))
}

#[allow(unsafe_code)]
fn page_bytes() -> u64 {
    static PAGE: OnceLock<u64> = OnceLock::new();
    // SAFETY: a question to the system without arguments in memory.
    *PAGE.get_or_init(|| u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096))
}

fn resident_set() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    pages * page_bytes()
}

fn system_memory() -> u64 {
    static TOTAL: OnceLock<u64> = OnceLock::new();
    *TOTAL.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("MemTotal:")).unwrap_or("");
        let kilobytes: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        kilobytes * 1024
    })
}
