//! The sections Persistence, Stats, Commandstats, Errorstats and Latencystats.

use super::{Facts, Lines};
use crate::aof::AofState;
use crate::replication::LoadKind;
use shoal_protocol::command::COMMANDS;
use shoal_session::Channel;
use std::fmt::Write as _;

pub(super) fn persistence(facts: &mut Facts<'_>, lines: &mut Lines) {
    let Facts { node, host, now, .. } = facts;
    let state = &node.persistence;
    let status = |is_good: bool| if is_good { "ok" } else { "err" };
    let seconds = |value: Option<u64>| value.map_or_else(|| "-1".to_owned(), |value| value.to_string());
    let running_s = state.running_since.map(|since| now.monotonic.ms_since(since) / 1000);
    let load_kind = node.load_kind();
    lines.field("loading", u8::from(node.is_loading || load_kind == LoadKind::Blocking));
    lines.field("async_loading", u8::from(load_kind == LoadKind::Async));
    let total = node.snapshot.map_or(0, |snapshot| snapshot.keys);
    let progress = node.snapshot.map(|_| host.snapshot_progress()).unwrap_or_default();
    let percent = if total == 0 { 0.0 } else { progress.keys as f64 * 100.0 / total as f64 };
    lines.field("current_cow_peak", progress.peak_copied_bytes);
    lines.field("current_cow_size", progress.copied_bytes);
    lines.field("current_cow_size_age", progress.age_s);
    lines.field("current_fork_perc", format!("{percent:.2}"));
    lines.field("current_save_keys_processed", progress.keys);
    lines.field("current_save_keys_total", total);
    lines.field("rdb_changes_since_last_save", node.changes_since_save);
    lines.field("rdb_bgsave_in_progress", u8::from(running_s.is_some()));
    lines.field("rdb_last_save_time", state.last_save_unix_s);
    lines.field("rdb_last_bgsave_status", status(state.is_last_good));
    lines.field("rdb_last_bgsave_time_sec", seconds(state.last_duration_s));
    lines.field("rdb_current_bgsave_time_sec", seconds(running_s));
    lines.field("rdb_saves", state.saves);
    lines.field("rdb_last_cow_size", state.last_copied_bytes);
    lines.field("rdb_last_load_keys_expired", state.loaded_expired_keys);
    lines.field("rdb_last_load_keys_loaded", state.loaded_keys);
    let aof = &node.aof;
    let rewriting_s = aof.rewrite.map(|rewrite| now.monotonic.ms_since(rewrite.since) / 1000);
    lines.field("aof_enabled", u8::from(aof.state != AofState::Off));
    lines.field("aof_rewrite_in_progress", u8::from(rewriting_s.is_some()));
    lines.field("aof_rewrite_scheduled", u8::from(aof.is_scheduled));
    lines.field("aof_last_rewrite_time_sec", seconds(aof.last_duration_s));
    lines.field("aof_current_rewrite_time_sec", seconds(rewriting_s));
    lines.field("aof_last_bgrewrite_status", status(!aof.last_rewrite_failed));
    lines.field("aof_rewrites", aof.rewrites);
    lines.field("aof_rewrites_consecutive_failures", aof.failures);
    lines.field("aof_last_write_status", status(aof.write_error.is_none()));
    lines.field("aof_last_cow_size", aof.last_copied_bytes);
    lines.field("module_fork_in_progress", 0);
    lines.field("module_fork_last_cow_size", 0);
    if aof.state != AofState::Off {
        lines.field("aof_current_size", aof.current_size);
        lines.field("aof_base_size", aof.base_size);
        lines.field("aof_pending_rewrite", 0);
        lines.field("aof_buffer_length", aof.buffered_bytes() as u64 + aof.queued_bytes);
        lines.field("aof_pending_bio_fsync", u8::from(aof.is_sync_pending));
        lines.field("aof_delayed_fsync", aof.delayed_syncs);
    }
    if let Some(progress) = node.load_progress() {
        lines.field("loading_start_time", progress.began_unix_s);
        lines.field("loading_total_bytes", progress.total_bytes);
        lines.field("loading_rdb_used_mem", progress.saved_memory_bytes);
        lines.field("loading_loaded_bytes", progress.loaded_bytes);
        lines.field("loading_loaded_perc", format!("{:.2}", progress.percent()));
        lines.field("loading_eta_seconds", progress.remaining_s(*now));
    }
}

pub(super) fn stats(facts: &mut Facts<'_>, lines: &mut Lines) {
    traffic(facts, lines);
    let node = &facts.node;
    let stats = &node.stats;
    lines.field("rejected_connections", stats.rejected_connections);
    lines.field("sync_full", stats.full_syncs);
    lines.field("sync_partial_ok", stats.partial_syncs);
    lines.field("sync_partial_err", stats.refused_partial_syncs);
    lines.field("expired_keys", stats.expired_keys);
    lines.field("expired_subkeys", stats.expired_fields);
    lines.field("expired_stale_perc", format!("{:.2}", stats.expired_stale_percent));
    lines.field("expired_time_cap_reached_count", stats.expired_time_cap_reached);
    lines.field("expire_cycle_cpu_milliseconds", stats.expire_cycle_us / 1000);
    lines.field("evicted_keys", stats.evicted_keys);
    lines.field("evicted_clients", stats.evicted_clients);
    let (exceeded_us, now_exceeded_us) = node.eviction_exceeded_us(facts.now);
    lines.field("total_eviction_exceeded_time", exceeded_us / 1000);
    lines.field("current_eviction_exceeded_time", now_exceeded_us / 1000);
    lines.field("keyspace_hits", stats.keyspace_hits);
    lines.field("keyspace_misses", stats.keyspace_misses);
    lines.field("pubsub_channels", node.subscribers.name_count(Channel::Plain));
    lines.field("pubsub_patterns", node.subscribers.name_count(Channel::Pattern));
    lines.field("pubsubshard_channels", node.subscribers.name_count(Channel::Shard));
    lines.field("latest_fork_usec", stats.last_fork_us);
    lines.field("total_forks", stats.forks);
    lines.field("migrate_cached_sockets", facts.host.facts().exchange_connections);
    lines.field("slave_expires_tracked_keys", node.own_keys.len());
    for name in [
        "active_defrag_hits",
        "active_defrag_misses",
        "active_defrag_key_hits",
        "active_defrag_key_misses",
        "total_active_defrag_time",
        "current_active_defrag_time",
        "tracking_total_keys",
        "tracking_total_items",
        "tracking_total_prefixes",
    ] {
        lines.field(name, 0);
    }
    lines.field("unexpected_error_replies", stats.unexpected_errors);
    lines.field("total_error_replies", stats.total_errors);
    lines.field("dump_payload_sanitizations", 0);
    work(facts, lines);
}

fn traffic(facts: &Facts<'_>, lines: &mut Lines) {
    let stats = &facts.node.stats;
    let kilobytes = |per_second: u64| format!("{:.2}", per_second as f64 / 1024.0);
    let from_peers = stats.replication_input_bytes;
    let to_peers = stats.replication_output_bytes;
    lines.field("total_connections_received", stats.connections);
    lines.field("total_commands_processed", stats.total_commands);
    lines.field("instantaneous_ops_per_sec", stats.command_rate.per_second());
    lines.field("total_net_input_bytes", stats.input_bytes + from_peers);
    lines.field("total_net_output_bytes", stats.output_bytes + to_peers);
    lines.field("total_net_repl_input_bytes", from_peers);
    lines.field("total_net_repl_output_bytes", to_peers);
    lines.field("instantaneous_input_kbps", kilobytes(stats.input_rate.per_second()));
    lines.field("instantaneous_output_kbps", kilobytes(stats.output_rate.per_second()));
    lines.field("instantaneous_input_repl_kbps", kilobytes(stats.replication_input_rate.per_second()));
    lines.field("instantaneous_output_repl_kbps", kilobytes(stats.replication_output_rate.per_second()));
}

fn work(facts: &Facts<'_>, lines: &mut Lines) {
    let stats = &facts.node.stats;
    lines.field("total_reads_processed", stats.reads);
    lines.field("total_writes_processed", stats.writes);
    lines.field("io_threaded_reads_processed", 0);
    lines.field("io_threaded_writes_processed", 0);
    lines.field("reply_buffer_shrinks", 0);
    lines.field("reply_buffer_expands", 0);
    lines.field("eventloop_cycles", stats.loop_cycles);
    lines.field("eventloop_duration_sum", stats.loop_us);
    lines.field("eventloop_duration_cmd_sum", stats.command_us);
    lines.field("instantaneous_eventloop_cycles_per_sec", stats.loop_rate.per_second());
    lines.field("instantaneous_eventloop_duration_usec", stats.loop_us / stats.loop_cycles.max(1));
    lines.field("acl_access_denied_auth", stats.denied_authentications);
    lines.field("acl_access_denied_cmd", 0);
    lines.field("acl_access_denied_key", 0);
    lines.field("acl_access_denied_channel", 0);
}

pub(super) fn commandstats(facts: &mut Facts<'_>, lines: &mut Lines) {
    for (command, stats) in COMMANDS.iter().zip(&facts.node.stats.commands) {
        if stats.calls == 0 && stats.rejected_calls == 0 && stats.failed_calls == 0 {
            continue;
        }
        let per_call = stats.duration_us as f64 / stats.calls.max(1) as f64;
        let value = format!(
            "calls={},usec={},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}",
            stats.calls, stats.duration_us, stats.rejected_calls, stats.failed_calls
        );
        lines.field(&format!("cmdstat_{}", command.name), value);
    }
}

pub(super) fn errorstats(facts: &mut Facts<'_>, lines: &mut Lines) {
    for (code, count) in &facts.node.stats.errors {
        lines.field(&format!("errorstat_{code}"), format!("count={count}"));
    }
}

pub(super) fn latencystats(facts: &mut Facts<'_>, lines: &mut Lines) {
    if !facts.node.config.latency_tracking {
        return;
    }
    let percentiles = &facts.node.config.latency_tracking_info_percentiles.0;
    for (command, stats) in COMMANDS.iter().zip(&facts.node.stats.commands) {
        if stats.latencies.total() == 0 {
            continue;
        }
        let mut value = String::new();
        for (index, &percentile) in percentiles.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let latency_us = stats.latencies.percentile_ns(percentile) as f64 / 1000.0;
            let _ = write!(value, "{comma}p{percentile}={latency_us:.3}");
        }
        lines.field(&format!("latency_percentiles_usec_{}", command.name), value);
    }
}
