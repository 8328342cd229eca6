//! The sections Server, Clients, CPU, Cluster and Keyspace.

use super::{Facts, Lines};
use crate::client_line::ClientType;
use shoal_config::REDIS_VERSION;
use shoal_machine::Rng;
use shoal_session::Session;
use shoal_store::{Database, access};

/// Expiring keys that the average time to live is estimated from.
const EXPIRY_SAMPLES: usize = 32;

pub(super) fn server(facts: &mut Facts<'_>, lines: &mut Lines) {
    let Facts { node, now, .. } = facts;
    let (config, identity) = (&node.config, &node.identity);
    let uptime_s = now.monotonic.ms_since(node.started_at.monotonic) / 1000;
    let mode = if config.cluster_enabled { "cluster" } else { "standalone" };
    let port = if config.port == 0 { config.tls_port } else { config.port };
    lines.field("redis_version", REDIS_VERSION);
    lines.field("shoal_version", env!("CARGO_PKG_VERSION"));
    lines.field("redis_git_sha1", "00000000");
    lines.field("redis_git_dirty", 0);
    lines.field("redis_build_id", "0");
    lines.field("redis_mode", mode);
    lines.field("os", &identity.system);
    lines.field("arch_bits", usize::BITS);
    lines.field("monotonic_clock", "POSIX clock_gettime");
    lines.field("multiplexing_api", "epoll");
    lines.field("atomicvar_api", "rust-core");
    lines.field("gcc_version", "0.0.0");
    lines.field("process_id", identity.process_id);
    lines.field("process_supervised", identity.supervised);
    lines.field("run_id", &identity.run_id);
    lines.field("tcp_port", port);
    lines.field("server_time_usec", now.unix_us);
    lines.field("uptime_in_seconds", uptime_s);
    lines.field("uptime_in_days", uptime_s / 86_400);
    lines.field("hz", config.hz);
    lines.field("configured_hz", config.hz);
    lines.field("lru_clock", access::lru_clock(*now));
    lines.field("executable", &identity.executable);
    lines.field("config_file", config.file.path.as_deref().unwrap_or_default());
    lines.field("io_threads_active", 0);
    if let Some(remaining_ms) = node.shutdown_remaining_ms(*now) {
        lines.field("shutdown_in_milliseconds", remaining_ms);
    }
    for (index, listener) in identity.listeners.iter().enumerate() {
        lines.field(&format!("listener{index}"), listener);
    }
}

pub(super) fn clients(facts: &mut Facts<'_>, lines: &mut Lines) {
    let Facts { node, session, .. } = facts;
    let all = || node.clients.iter().map(|(_, other)| other).chain(std::iter::once(*session));
    let input_bytes = |client: &Session| client.input_bytes + client.input_free_bytes;
    let replicas = all().filter(|client| ClientType::of(client) == ClientType::Replica).count();
    // Commands that CLIENT PAUSE puts off count as blocking, as in Redis.
    let blocked = all().filter(|client| client.is_blocked || client.is_postponed).count();
    lines.field("connected_clients", node.clients.len() - replicas);
    lines.field("cluster_connections", node.cluster_connections());
    lines.field("maxclients", node.config.maxclients);
    lines.field("client_recent_max_input_buffer", all().map(input_bytes).max().unwrap_or(0));
    let output = all().map(|client| client.output.capacity_bytes()).max();
    lines.field("client_recent_max_output_buffer", output.unwrap_or(0));
    lines.field("blocked_clients", blocked);
    lines.field("tracking_clients", 0);
    let with_deadline = node.replication.waits.iter().filter(|wait| wait.deadline.is_some()).count();
    lines.field("clients_in_timeout_table", with_deadline + node.blocking.deadline_count());
    let (keys, keys_until_gone) = node.blocking.key_counts();
    lines.field("total_blocking_keys", keys);
    lines.field("total_blocking_keys_on_nokey", keys_until_gone);
}

pub(super) fn cpu(facts: &mut Facts<'_>, lines: &mut Lines) {
    let process = facts.host.facts();
    let names = ["", "_children", "_main_thread"];
    for (index, name) in names.iter().enumerate() {
        for (mode, times) in [("sys", process.system_cpu_us), ("user", process.user_cpu_us)] {
            let time_us = times[index];
            let value = format!("{}.{:06}", time_us / 1_000_000, time_us % 1_000_000);
            lines.field(&format!("used_cpu_{mode}{name}"), value);
        }
    }
}

pub(super) fn cluster(facts: &mut Facts<'_>, lines: &mut Lines) {
    lines.field("cluster_enabled", u8::from(facts.node.cluster.is_some()));
}

pub(super) fn keyspace(facts: &mut Facts<'_>, lines: &mut Lines) {
    let Facts { node, now, .. } = facts;
    let mut rng = node.rng.fork();
    for (index, database) in node.keyspace.databases().enumerate() {
        if database.visible_len().0 == 0 {
            continue;
        }
        let value = format!(
            "keys={},expires={},avg_ttl={}",
            database.visible_len().0,
            database.visible_len().1,
            average_ttl_ms(database, now.unix_ms(), &mut rng)
        );
        lines.field(&format!("db{index}"), value);
    }
}

fn average_ttl_ms(database: &Database, now_ms: u64, rng: &mut Rng) -> u64 {
    let samples = database.expiring_len().min(EXPIRY_SAMPLES);
    let sum: u64 = (0..samples)
        .filter_map(|_| database.random(rng, true))
        .filter_map(|entry| entry.expiry_ms())
        .map(|at| at.saturating_sub(now_ms))
        .fold(0, u64::saturating_add);
    sum / samples.max(1) as u64
}
