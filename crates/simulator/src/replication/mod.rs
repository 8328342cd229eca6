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

mod history;
mod member;
mod wire;
mod world;

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
    /// Crashes of nodes.
    pub crashes: u64,
    /// Replicas that became primaries.
    pub promotions: u64,
    /// Places of replicas that were compared with their primaries'.
    pub comparisons: u64,
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
        for seed in 0..40 {
            let report = run_replication(seed).unwrap_or_else(|failure| panic!("{failure}"));
            total.full_syncs += report.full_syncs;
            total.partial_syncs += report.partial_syncs;
            total.dual_syncs += report.dual_syncs;
            total.crashes += report.crashes;
            total.promotions += report.promotions;
            total.comparisons += report.comparisons;
        }
        println!("{total:?}");
        assert!(total.full_syncs > 200 && total.partial_syncs > 100, "the faults are too mild: {total:?}");
        assert!(total.dual_syncs > 40 && total.crashes > 40 && total.promotions > 80, "{total:?}");
        assert!(total.comparisons > 4000, "{total:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let [first, second] = [(); 2].map(|()| run_replication(3).unwrap().log);
        assert!(first.len() > 2000);
        assert!(first == second);
    }
}
