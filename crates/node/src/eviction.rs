//! Staying below `maxmemory`: keys go before a command runs, and the rest between commands if it takes too long.
//!
//! ```text
//!  command ──▶ used memory over the limit? ──▶ keys go, one by one, until there is room ──▶ Fine: it runs
//!                                                 │ time is over: Running: it runs, relieve_memory goes on between commands
//!                                                 │ no key may go: Failed: it is refused if it wants memory
//! ```

use crate::clients::Handle;
use crate::expiry::Deletion;
use crate::host::Host;
use crate::node::Node;
use shoal_config::MaxmemoryPolicy;
use shoal_machine::{Monotonic, Now};
use shoal_session::Session;
use shoal_store::call::EventClass;
use shoal_store::eviction::{EvictionContext, EvictionPolicy, EvictionPool, Ranking};

/// After so many keys clock and memory are looked at again.
const KEYS_PER_LOOK: usize = 16;
/// How long is waited at once for memory that is being freed elsewhere.
const WAIT_STEP_US: u64 = 100;

/// How things stand with the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    /// There is room, or it is not for this node to make room.
    Fine,
    /// There is too little, and keys go on going.
    Running,
    /// There is too little, and no key may go.
    Failed,
}

/// The state of eviction.
#[derive(Debug, Default)]
pub(crate) struct Eviction {
    pool: EvictionPool,
    /// [`Node::relieve_memory`] has something to do.
    is_running: bool,
    /// Since when the memory has been used up.
    exceeded_since: Option<Monotonic>,
}

impl Node {
    /// Whether keys are going to go as soon as [`Node::relieve_memory`] is called again.
    pub fn is_evicting(&self) -> bool {
        self.eviction.is_running
    }

    /// Lets go of keys and clients between commands, for a bounded time; to be called once per turn of the loop, before
    /// output is written.
    pub fn relieve_memory(&mut self, now: Now, host: &mut dyn Host) {
        if self.eviction.is_running {
            self.evict(now, host, None);
            self.serve_blocked(host);
        }
        if self.client_memory_is_limited() {
            self.evict_clients(now, host, None);
        }
    }

    /// The limit has changed: whatever is beyond it goes soon.
    pub(crate) fn memory_limit_changed(&mut self) {
        self.eviction.is_running = self.config.maxmemory_bytes > 0;
    }

    /// For how long the memory has been used up, in microseconds: until the last time that there was room again, and since.
    pub(crate) fn eviction_exceeded_us(&self, now: Now) -> (u64, u64) {
        let current = self.eviction.exceeded_since.map_or(0, |since| now.monotonic.0.saturating_sub(since.0));
        (self.stats.eviction_exceeded_us + current, current)
    }

    /// Memory that eviction cannot give back, so that it does not count: what waits for slow replicas beyond the backlog,
    /// and what waits to be written to the append-only file.
    pub(crate) fn uncounted_memory_bytes(&self) -> u64 {
        self.replica_output_bytes() + self.aof.buffered_bytes() as u64 + self.aof.queued_bytes
    }

    /// What is kept for slow replicas beyond the backlog.
    pub(crate) fn replica_output_bytes(&self) -> u64 {
        let stream_bytes = self.replication.stream.size_bytes() as u64;
        stream_bytes.saturating_sub(self.config.repl_backlog_size_bytes)
    }

    /// Bytes beyond the limit.
    fn excess_bytes(&self, host: &mut dyn Host) -> u64 {
        let limit = self.config.maxmemory_bytes;
        let used = host.used_memory_bytes();
        if limit == 0 || used <= limit {
            return 0;
        }
        used.saturating_sub(self.uncounted_memory_bytes()).saturating_sub(limit)
    }

    /// Makes room if the memory is used up. `own` is the client whose command is about to run.
    pub(crate) fn evict(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        own: Option<(Handle, &mut Session)>,
    ) -> Pressure {
        let ignores = self.is_replica() && self.config.replica_ignore_maxmemory;
        if self.is_loading || ignores || self.data_stand_still() {
            self.eviction.is_running = false;
            return Pressure::Fine;
        }
        let excess_bytes = self.excess_bytes(host);
        let pressure = match policy_of(self.config.maxmemory_policy) {
            _ if excess_bytes == 0 => Pressure::Fine,
            None => Pressure::Failed,
            Some(policy) => self.make_room(now, host, own, policy, excess_bytes),
        };
        self.eviction.is_running = pressure == Pressure::Running;
        if pressure != Pressure::Fine {
            self.eviction.exceeded_since.get_or_insert(now.monotonic);
        } else if let Some(since) = self.eviction.exceeded_since.take() {
            self.stats.eviction_exceeded_us += now.monotonic.0.saturating_sub(since.0);
        }
        pressure
    }

    fn make_room(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        mut own: Option<(Handle, &mut Session)>,
        policy: EvictionPolicy,
        excess_bytes: u64,
    ) -> Pressure {
        let began_us = host.stopwatch_us();
        let limit_us = time_limit_us(self.config.maxmemory_eviction_tenacity);
        let mut freed_bytes = 0;
        let mut keys = 0;
        let mut pressure = Pressure::Fine;
        while freed_bytes < excess_bytes {
            let mut context = EvictionContext {
                policy,
                samples: self.config.maxmemory_samples as usize,
                now,
                options: &self.options,
                rng: &mut self.rng,
            };
            let Some((database, key)) = self.eviction.pool.choose(&self.keyspace, &mut context) else {
                pressure = self.wait_for_freeing(host, began_us, limit_us);
                break;
            };
            freed_bytes += self.evict_key(database, &key, &mut own);
            keys += 1;
            if keys % KEYS_PER_LOOK != 0 {
                continue;
            }
            if self.excess_bytes(host) == 0 {
                break;
            }
            if host.stopwatch_us().saturating_sub(began_us) > limit_us {
                pressure = Pressure::Running;
                break;
            }
        }
        self.free_garbage(host);
        let duration_ms = host.stopwatch_us().saturating_sub(began_us) / 1000;
        let threshold_ms = self.config.latency_monitor_threshold_ms;
        if threshold_ms > 0 && duration_ms >= threshold_ms {
            self.latency.note("eviction-cycle", now.unix_s(), duration_ms);
        }
        pressure
    }

    /// Deletes a key. Returns about how many bytes that frees.
    fn evict_key(&mut self, database: usize, key: &[u8], own: &mut Option<(Handle, &mut Session)>) -> u64 {
        /// Elements of a collection that are looked at to guess its size.
        const SAMPLES: usize = 5;
        let keys = self.keyspace.database(database);
        let bytes = keys.find(key).map_or(0, |found| keys.memory_usage(found, SAMPLES));
        self.stats.evicted_keys += 1;
        let deletion = Deletion {
            class: EventClass::Evicted,
            event: "evicted",
            is_lazy: self.config.lazyfree_lazy_eviction,
            frees_elsewhere: self.config.lazyfree_lazy_eviction,
        };
        self.delete_unasked(database, key, deletion, own.as_mut().map(|(handle, own)| (*handle, &mut **own)));
        bytes as u64
    }

    /// There are no more keys to evict; but what was deleted before may still be on its way to the allocator.
    fn wait_for_freeing(&mut self, host: &mut dyn Host, began_us: u64, limit_us: u64) -> Pressure {
        self.free_garbage(host);
        while host.facts().pending_objects > 0 && host.stopwatch_us().saturating_sub(began_us) < limit_us {
            host.sleep_us(WAIT_STEP_US, true);
            if self.excess_bytes(host) == 0 {
                return Pressure::Fine;
            }
        }
        Pressure::Failed
    }
}

/// What the store needs to know of a policy; `None` if no key may go.
fn policy_of(policy: MaxmemoryPolicy) -> Option<EvictionPolicy> {
    let (ranking, volatile_only) = match policy {
        MaxmemoryPolicy::NoEviction => return None,
        MaxmemoryPolicy::AllkeysLru => (Ranking::LeastRecentlyUsed, false),
        MaxmemoryPolicy::AllkeysLfu => (Ranking::LeastFrequentlyUsed, false),
        MaxmemoryPolicy::AllkeysRandom => (Ranking::Random, false),
        MaxmemoryPolicy::VolatileLru => (Ranking::LeastRecentlyUsed, true),
        MaxmemoryPolicy::VolatileLfu => (Ranking::LeastFrequentlyUsed, true),
        MaxmemoryPolicy::VolatileRandom => (Ranking::Random, true),
        MaxmemoryPolicy::VolatileTtl => (Ranking::EarliestExpiry, true),
    };
    Some(EvictionPolicy { ranking, volatile_only })
}

/// How long keys may go before a command: 50 µs per point up to 10, then 15 % more with each, and without end at 100.
fn time_limit_us(tenacity: u32) -> u64 {
    match tenacity {
        0..=10 => 50 * u64::from(tenacity),
        11..=99 => (500.0 * 1.15_f64.powf(f64::from(tenacity) - 10.0)) as u64,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests;
