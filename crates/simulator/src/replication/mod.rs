//! Replication between whole nodes in virtual time, under faults that a seed decides.
//!
//! ```text
//!  World ── Member: a node with its shell (snapshots, files)      crashes, restarts from the last snapshot
//!       ├── Wire: a connection, or two for one replica             delay, pace, silence, cuts
//!       └── Histories: the checker                                 at every step, for every replica whose link is up
//! ```
//!
//! Clients write to whatever is a primary; replicas are moved, promoted and handed over to. Afterwards all follow one
//! primary, and must come to hold its data. The same seed gives the same run, event by event.

mod faults;
mod history;
mod hostile;
mod load;
mod member;
mod wire;
mod world;

pub use hostile::fuzz_link;
use world::World;

/// How a run went.
#[derive(Clone, Debug, Default)]
pub struct ReplicationReport {
    /// Its events as text, if that was asked for.
    pub log: String,
    /// Full synchronisations.
    pub full_syncs: u64,
    /// Partial ones.
    pub partial_syncs: u64,
    /// Full ones on two connections.
    pub dual_syncs: u64,
    /// Connections that were made when nobody wanted them any more.
    pub given_up_attempts: u64,
    /// Crashes of nodes.
    pub crashes: u64,
    /// Replicas that became primaries.
    pub promotions: u64,
    /// Places of replicas that were compared with their primaries'.
    pub comparisons: u64,
    /// Places of replicas of which nobody knows what they should hold, as several changes were made at once.
    pub unknown_places: u64,
    /// Primaries that handed over with FAILOVER.
    pub handovers: u64,
    /// Synchronisations that were cut in the middle.
    pub broken_syncs: u64,
    /// Replicas that were sent away because they were slow.
    pub output_limit_cuts: u64,
    /// Keys that expired, in those that lived to the end.
    pub expired_keys: u64,
    /// Clients whose blocking command was served.
    pub served: u64,
}

impl ReplicationReport {
    /// Counts what only the log tells.
    fn count_line(&mut self, line: &str) {
        let is_handover = line.starts_with("Failover target") || line.contains("time out exceeded");
        self.handovers += u64::from(is_handover);
        self.output_limit_cuts += u64::from(line.contains("overcoming of output buffer limits"));
    }

    /// Adds another run's figures.
    pub fn add(&mut self, other: &Self) {
        self.full_syncs += other.full_syncs;
        self.partial_syncs += other.partial_syncs;
        self.dual_syncs += other.dual_syncs;
        self.given_up_attempts += other.given_up_attempts;
        self.crashes += other.crashes;
        self.promotions += other.promotions;
        self.comparisons += other.comparisons;
        self.unknown_places += other.unknown_places;
        self.handovers += other.handovers;
        self.broken_syncs += other.broken_syncs;
        self.output_limit_cuts += other.output_limit_cuts;
        self.expired_keys += other.expired_keys;
        self.served += other.served;
    }
}

impl std::fmt::Display for ReplicationReport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "synchronisations: {} full ({} on two connections), {} partial, {} cut in the middle; {} replicas too slow; {} \
             attempts given up; {} crashes, {} promotions, {} handovers; {} keys expired, {} waiting clients served; {} places compared, {} \
             unknown",
            self.full_syncs,
            self.dual_syncs,
            self.partial_syncs,
            self.broken_syncs,
            self.output_limit_cuts,
            self.given_up_attempts,
            self.crashes,
            self.promotions,
            self.handovers,
            self.expired_keys,
            self.served,
            self.comparisons,
            self.unknown_places
        )
    }
}

/// Runs a seed.
///
/// # Errors
/// What went wrong, with the events before it.
pub fn run_replication(seed: u64) -> Result<ReplicationReport, String> {
    let mut world = World::new(seed);
    match world.run() {
        Ok(()) => Ok(world.report),
        Err(reason) => Err(format!("seed {seed}: {reason}\n{}", world.report.log)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_hold_what_their_primaries_held() {
        let mut total = ReplicationReport::default();
        for seed in 0..20 {
            let report = run_replication(seed).unwrap_or_else(|failure| panic!("{failure}"));
            total.add(&report);
        }
        println!("{total}");
        let counts = [
            total.full_syncs,
            total.dual_syncs,
            total.partial_syncs,
            total.broken_syncs,
            total.crashes,
            total.promotions,
            total.handovers,
            total.expired_keys,
            total.served,
        ];
        assert!(counts.iter().all(|&count| count > 5), "the faults are too mild: {total}");
        assert!(
            total.output_limit_cuts > 0 && total.given_up_attempts > 0,
            "the faults are too mild: {total}"
        );
        assert!(total.comparisons > 20 * total.unknown_places, "too little is known: {total}");
    }

    #[test]
    fn a_seed_is_a_run() {
        assert_eq!(run_replication(7).unwrap().log, run_replication(7).unwrap().log);
    }
}
