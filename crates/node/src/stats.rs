//! Counters.

use crate::histogram::Histogram;
use shoal_protocol::CommandId;
use std::collections::BTreeMap;

/// What one command has cost.
#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    /// How often it ran.
    pub calls: u64,
    /// How long it ran, together.
    pub duration_us: u64,
    /// How often it was refused before it ran.
    pub rejected_calls: u64,
    /// How often it ran and failed.
    pub failed_calls: u64,
    /// How long single runs took, with `latency-tracking`.
    pub latencies: Histogram,
}

/// Different error codes that are counted; more would be an attack on memory.
const ERROR_CODES_MAX: usize = 128;

/// Samples that instantaneous figures are averaged over.
const SAMPLES: usize = 16;

/// A rate per second, averaged over the last samples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    samples: [u64; SAMPLES],
    next: usize,
    last_value: u64,
    last_at_ms: u64,
}

impl Rate {
    /// Takes a sample of a counter.
    pub fn sample(&mut self, value: u64, at_ms: u64) {
        let elapsed_ms = at_ms.saturating_sub(self.last_at_ms);
        if self.last_at_ms != 0 && elapsed_ms > 0 {
            let change = value.saturating_sub(self.last_value);
            self.samples[self.next] = change * 1000 / elapsed_ms;
            self.next = (self.next + 1) % SAMPLES;
        }
        self.last_value = value;
        self.last_at_ms = at_ms;
    }

    /// The average.
    pub fn per_second(&self) -> u64 {
        self.samples.iter().sum::<u64>() / SAMPLES as u64
    }
}

/// All counters of a node. `CONFIG RESETSTAT` begins them anew.
#[derive(Debug)]
pub struct Stats {
    /// By command.
    pub commands: Vec<CommandStats>,
    /// Errors by their code.
    pub errors: BTreeMap<Box<str>, u64>,
    /// Errors in all.
    pub total_errors: u64,
    /// Commands in all.
    pub total_commands: u64,
    /// Connections in all.
    pub connections: u64,
    /// Connections refused.
    pub rejected_connections: u64,
    /// Bytes read from clients but the primary, told by the shell.
    pub input_bytes: u64,
    /// Bytes written to clients but replicas, told by the shell.
    pub output_bytes: u64,
    /// Bytes read from the primary.
    pub replication_input_bytes: u64,
    /// Bytes written to replicas.
    pub replication_output_bytes: u64,
    /// Reads from sockets.
    pub reads: u64,
    /// Writes to sockets.
    pub writes: u64,
    /// Keys found by reads.
    pub keyspace_hits: u64,
    /// Keys not found by reads.
    pub keyspace_misses: u64,
    /// Keys deleted because they expired.
    pub expired_keys: u64,
    /// Fields of hashes deleted because they had expired.
    pub expired_fields: u64,
    /// Keys deleted because the memory was used up.
    pub evicted_keys: u64,
    /// Clients disconnected because their memory was used up.
    pub evicted_clients: u64,
    /// For how long the memory was used up, until there was room again.
    pub eviction_exceeded_us: u64,
    /// Share of keys found expired by the cycle, in percent, smoothed.
    pub expired_stale_percent: f64,
    /// How often the cycle ran out of time.
    pub expired_time_cap_reached: u64,
    /// Time spent in the cycle.
    pub expire_cycle_us: u64,
    /// Errors that were answered on links between primaries and replicas.
    pub unexpected_errors: u64,
    /// Full synchronisations served.
    pub full_syncs: u64,
    /// Partial synchronisations served.
    pub partial_syncs: u64,
    /// Partial synchronisations refused.
    pub refused_partial_syncs: u64,
    /// Snapshots begun in a forked child.
    pub forks: u64,
    /// How long the last fork took.
    pub last_fork_us: u64,
    /// Authentications that failed.
    pub denied_authentications: u64,
    /// Clients disconnected for their output buffers.
    pub output_limit_disconnections: u64,
    /// Clients disconnected for their query buffers.
    pub query_limit_disconnections: u64,
    /// Entries freed in the background.
    pub lazily_freed_objects: u64,
    /// Turns of the loop.
    pub loop_cycles: u64,
    /// Time spent in turns of the loop.
    pub loop_us: u64,
    /// Time spent in commands.
    pub command_us: u64,
    /// Commands per second.
    pub command_rate: Rate,
    /// Bytes read per second, those from the primary included.
    pub input_rate: Rate,
    /// Bytes written per second, those to replicas included.
    pub output_rate: Rate,
    /// Bytes read from the primary per second.
    pub replication_input_rate: Rate,
    /// Bytes written to replicas per second.
    pub replication_output_rate: Rate,
    /// Turns of the loop per second.
    pub loop_rate: Rate,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            commands: vec![CommandStats::default(); CommandId::COUNT],
            errors: BTreeMap::new(),
            total_errors: 0,
            total_commands: 0,
            connections: 0,
            rejected_connections: 0,
            input_bytes: 0,
            output_bytes: 0,
            replication_input_bytes: 0,
            replication_output_bytes: 0,
            reads: 0,
            writes: 0,
            keyspace_hits: 0,
            keyspace_misses: 0,
            expired_keys: 0,
            expired_fields: 0,
            evicted_keys: 0,
            evicted_clients: 0,
            eviction_exceeded_us: 0,
            expired_stale_percent: 0.0,
            expired_time_cap_reached: 0,
            expire_cycle_us: 0,
            full_syncs: 0,
            unexpected_errors: 0,
            partial_syncs: 0,
            refused_partial_syncs: 0,
            forks: 0,
            last_fork_us: 0,
            denied_authentications: 0,
            output_limit_disconnections: 0,
            query_limit_disconnections: 0,
            lazily_freed_objects: 0,
            loop_cycles: 0,
            loop_us: 0,
            command_us: 0,
            command_rate: Rate::default(),
            input_rate: Rate::default(),
            output_rate: Rate::default(),
            replication_input_rate: Rate::default(),
            replication_output_rate: Rate::default(),
            loop_rate: Rate::default(),
        }
    }
}

impl Stats {
    /// The counters of a command.
    #[inline]
    pub fn command(&mut self, id: CommandId) -> &mut CommandStats {
        &mut self.commands[id as usize]
    }

    /// Counts an error by its code.
    pub fn count_error(&mut self, code: &str) {
        self.total_errors += 1;
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < ERROR_CODES_MAX {
            self.errors.insert(code.into(), 1);
        }
    }

    /// Takes samples of the rates; called ten times a second.
    pub fn sample(&mut self, at_ms: u64) {
        self.command_rate.sample(self.total_commands, at_ms);
        self.input_rate.sample(self.input_bytes + self.replication_input_bytes, at_ms);
        self.output_rate.sample(self.output_bytes + self.replication_output_bytes, at_ms);
        self.replication_input_rate.sample(self.replication_input_bytes, at_ms);
        self.replication_output_rate.sample(self.replication_output_bytes, at_ms);
        self.loop_rate.sample(self.loop_cycles, at_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_averages() {
        let mut rate = Rate::default();
        for second in 1..=20 {
            rate.sample(second * 100, second * 1000);
        }
        assert_eq!(rate.per_second(), 100);
    }

    #[test]
    fn error_codes_are_bounded() {
        let mut stats = Stats::default();
        for number in 0..1000 {
            stats.count_error(&format!("CODE{number}"));
        }
        stats.count_error("CODE1");
        assert_eq!(stats.errors.len(), ERROR_CODES_MAX);
        assert_eq!((stats.total_errors, stats.errors["CODE1"]), (1001, 2));
    }
}
