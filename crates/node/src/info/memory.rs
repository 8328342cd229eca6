//! The section Memory, and the same facts for MEMORY STATS.

use super::{Facts, Lines, human, percent};
use crate::client_line::{ClientType, held_bytes};
use crate::host::{Host, ProcessFacts};
use crate::node::Node;
use shoal_session::Session;

/// What memory is used for.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryUse {
    /// What the system and the allocator say.
    pub process: ProcessFacts,
    /// The most that was ever used.
    pub peak_bytes: u64,
    /// What was used when the node started.
    pub startup_bytes: u64,
    /// Everything but keys and values.
    pub overhead_bytes: u64,
    /// Keys and values.
    pub dataset_bytes: u64,
    /// Tables of all databases.
    pub table_bytes: u64,
    /// The replication backlog.
    pub backlog_bytes: u64,
    /// Plain clients.
    pub normal_client_bytes: u64,
    /// What waits for replicas beyond the backlog.
    pub replica_client_bytes: u64,
    /// What does not count for `maxmemory`.
    pub uncounted_bytes: u64,
}

impl MemoryUse {
    /// What the memory of the data is of all that was taken since the start, in percent.
    pub(crate) fn dataset_percent(&self) -> f64 {
        let net = self.process.used_memory_bytes.saturating_sub(self.startup_bytes);
        if net == 0 { 0.0 } else { self.dataset_bytes as f64 * 100.0 / net as f64 }
    }
}

impl Node {
    /// What memory is used for; `own` is the client whose command is running.
    pub(crate) fn memory_use(&mut self, host: &mut dyn Host, own: &Session) -> MemoryUse {
        let process = host.facts();
        self.note_memory(process.used_memory_bytes);
        // What is kept for nobody any more goes soon.
        let has_replicas = !self.replication.peers.online().is_empty();
        let replica_output_bytes = if has_replicas { self.replica_output_bytes() } else { 0 };
        let mut found = MemoryUse {
            peak_bytes: self.memory_peak_bytes,
            startup_bytes: self.memory_at_start_bytes.unwrap_or(0),
            table_bytes: self.keyspace.databases().map(|database| database.table_bytes() as u64).sum(),
            backlog_bytes: self.replication.stream.size_bytes() as u64 - replica_output_bytes,
            replica_client_bytes: replica_output_bytes,
            uncounted_bytes: self.uncounted_memory_bytes(),
            process,
            ..MemoryUse::default()
        };
        for session in self.clients.iter().map(|(_, session)| session).chain(std::iter::once(own)) {
            // What replicas are sent lies in the stream, and is counted there.
            if ClientType::of(session) != ClientType::Replica {
                found.normal_client_bytes += held_bytes(session) as u64;
            }
        }
        found.overhead_bytes = found.startup_bytes
            + found.table_bytes
            + found.backlog_bytes
            + found.normal_client_bytes
            + found.replica_client_bytes;
        found.dataset_bytes = found.process.used_memory_bytes.saturating_sub(found.overhead_bytes);
        found
    }

    /// Takes note of how much memory is used.
    pub(crate) fn note_memory(&mut self, used_bytes: u64) {
        self.memory_peak_bytes = self.memory_peak_bytes.max(used_bytes);
        self.memory_at_start_bytes.get_or_insert(used_bytes);
    }
}

/// `part / whole` with two decimals, and the difference.
fn ratio(lines: &mut Lines, name: &str, part: u64, whole: u64) {
    let value = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    lines.field(&format!("{name}_ratio"), format!("{value:.2}"));
    lines.field(&format!("{name}_bytes"), i128::from(part) - i128::from(whole));
}

pub(super) fn memory(facts: &mut Facts<'_>, lines: &mut Lines) {
    let Facts { node, host, session, .. } = facts;
    let found = node.memory_use(&mut **host, session);
    let process = &found.process;
    let used = process.used_memory_bytes;
    lines.bytes("used_memory", used);
    lines.bytes("used_memory_rss", process.resident_bytes);
    lines.bytes("used_memory_peak", found.peak_bytes);
    lines.field("used_memory_peak_perc", percent(used, found.peak_bytes));
    lines.field("used_memory_overhead", found.overhead_bytes);
    lines.field("used_memory_startup", found.startup_bytes);
    lines.field("used_memory_dataset", found.dataset_bytes);
    lines.field("used_memory_dataset_perc", format!("{:.2}%", found.dataset_percent()));
    lines.field("allocator_allocated", used);
    lines.field("allocator_active", process.allocator_active_bytes);
    lines.field("allocator_resident", process.allocator_resident_bytes);
    lines.bytes("total_system_memory", process.system_memory_bytes);
    write_scripts(lines);
    lines.bytes("maxmemory", node.config.maxmemory_bytes);
    let policy = node.config.value_of(b"maxmemory-policy").unwrap_or_default();
    lines.field("maxmemory_policy", String::from_utf8_lossy(&policy));
    ratio(lines, "allocator_frag", process.allocator_active_bytes, used);
    ratio(lines, "allocator_rss", process.allocator_resident_bytes, process.allocator_active_bytes);
    ratio(lines, "rss_overhead", process.resident_bytes, process.allocator_resident_bytes);
    ratio(lines, "mem_fragmentation", process.resident_bytes, used);
    lines.field("mem_not_counted_for_evict", found.uncounted_bytes);
    lines.field("mem_replication_backlog", found.backlog_bytes);
    lines.field("mem_total_replication_buffers", node.replication.stream.size_bytes());
    lines.field("mem_clients_slaves", found.replica_client_bytes);
    lines.field("mem_clients_normal", found.normal_client_bytes);
    lines.field("mem_cluster_links", process.cluster_link_bytes);
    lines.field("mem_aof_buffer", node.aof.buffered_bytes() as u64 + node.aof.queued_bytes);
    lines.field("mem_allocator", &process.allocator);
    lines.field("active_defrag_running", 0);
    lines.field("lazyfree_pending_objects", process.pending_objects);
    lines.field("lazyfreed_objects", node.stats.lazily_freed_objects.saturating_sub(process.pending_objects));
}

/// There are no scripts, so they take no memory.
fn write_scripts(lines: &mut Lines) {
    lines.field("used_memory_lua", 0);
    lines.field("used_memory_vm_eval", 0);
    lines.field("used_memory_lua_human", human(0));
    for name in [
        "used_memory_scripts_eval",
        "number_of_cached_scripts",
        "number_of_functions",
        "number_of_libraries",
        "used_memory_vm_functions",
    ] {
        lines.field(name, 0);
    }
    lines.bytes("used_memory_vm_total", 0);
    lines.field("used_memory_functions", 0);
    lines.bytes("used_memory_scripts", 0);
}
