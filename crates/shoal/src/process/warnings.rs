//! What the machine's settings make worth a warning at the start, and `--check-system`.

use std::fs;

use super::system;
use crate::log_line;

/// The first words of the texts are those that tools look for in Redis's log.
const OVERCOMMIT: &str = "Memory overcommit must be enabled! Without it, a background save or replication may fail \
    under low memory condition. To fix this issue add 'vm.overcommit_memory = 1' to /etc/sysctl.conf and then reboot \
    or run the command 'sysctl vm.overcommit_memory=1' for this to take effect.";
const HUGE_PAGES: &str = "You have Transparent Huge Pages (THP) support enabled in your kernel. This will create \
    latency and memory usage issues with Redis. To fix this issue run the command 'echo madvise > \
    /sys/kernel/mm/transparent_hugepage/enabled' as root, and add it to your /etc/rc.local in order to retain the \
    setting after a reboot. Redis must be restarted after THP is disabled (set to 'madvise' or 'never').";

/// Warns of memory settings that do a server no good, and switches transparent huge pages off for this process if
/// `disable_thp` says so.
pub fn warn_of_memory_settings(disable_thp: bool) {
    if overcommit_is_off() {
        log_line!(Warning, "WARNING {OVERCOMMIT}");
    }
    let is_switched_off = disable_thp && system::disable_transparent_huge_pages().is_ok();
    if huge_pages_are_forced() && !is_switched_off {
        log_line!(Warning, "WARNING {HUGE_PAGES}");
    }
}

/// Warns when the kernel queues fewer connections than `tcp_backlog`.
pub fn warn_of_backlog(tcp_backlog: u32) {
    let somaxconn = read("/proc/sys/net/core/somaxconn").and_then(|text| text.parse::<u32>().ok());
    if let Some(somaxconn @ 1..) = somaxconn
        && somaxconn < tcp_backlog
    {
        log_line!(
            Warning,
            "WARNING: The TCP backlog setting of {tcp_backlog} cannot be enforced because \
             /proc/sys/net/core/somaxconn is set to the lower value of {somaxconn}."
        );
    }
}

/// Warns of a memory limit that can only be a slip.
pub fn warn_of_maxmemory(maxmemory_bytes: u64) {
    if (1..1 << 20).contains(&maxmemory_bytes) {
        log_line!(
            Warning,
            "WARNING: You specified a maxmemory value that is less than 1MB (current value is {maxmemory_bytes} \
             bytes). Are you sure this is what you really want?"
        );
    }
}

/// `--check-system`: the report, and whether nothing is amiss.
pub fn check_system() -> (String, bool) {
    let checks =
        [("overcommit", overcommit_is_off(), OVERCOMMIT), ("THP", huge_pages_are_forced(), HUGE_PAGES)];
    let mut report = String::new();
    for (name, is_bad, text) in checks {
        report.push_str(&if is_bad {
            format!("[{name}]...WARNING:\n{text}\n")
        } else {
            format!("[{name}]...OK\n")
        });
    }
    (report, checks.iter().all(|(_, is_bad, _)| !is_bad))
}

fn overcommit_is_off() -> bool {
    read("/proc/sys/vm/overcommit_memory").is_some_and(|mode| mode != "1")
}

fn huge_pages_are_forced() -> bool {
    read("/sys/kernel/mm/transparent_hugepage/enabled").is_some_and(|modes| modes.contains("[always]"))
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_string())
}
