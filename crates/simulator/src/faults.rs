//! Faults, by script or by seed.

use crate::scenario::Scenario;
use shoal_cluster::FailoverKind;
use shoal_machine::Rng;
use std::collections::BTreeSet;

/// A fault at a time.
#[derive(Clone, Debug)]
pub struct TimedFault {
    /// Milliseconds after the cluster stands.
    pub at_ms: u64,
    /// What happens.
    pub fault: Fault,
}

/// Something that goes wrong, or that an operator does. Nodes are numbered from 0; primaries come first.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The process dies and starts again later.
    Crash {
        /// The node.
        node: usize,
        /// Until it starts again; `None`: when faults end.
        down_ms: Option<u64>,
        /// Its peers see their connections break at once.
        noticed: bool,
    },
    /// The process dies right after the next vote it sends, and starts again later.
    CrashAfterVote {
        /// The node.
        node: usize,
        /// Until it starts again.
        down_ms: u64,
    },
    /// Messages between a group and others are lost.
    Partition {
        /// The group.
        group: BTreeSet<usize>,
        /// The others; `None` for all the rest.
        others: Option<BTreeSet<usize>>,
        /// Only those from the group are lost.
        one_way: bool,
        /// How long it lasts.
        for_ms: u64,
    },
    /// The executor does nothing at all (as in DEBUG SLEEP).
    Hang {
        /// The node.
        node: usize,
        /// How long.
        for_ms: u64,
    },
    /// The executor is busy with one command; its shell says so to the machine.
    LongCommand {
        /// The node.
        node: usize,
        /// How long.
        for_ms: u64,
    },
    /// The network is bad for everybody.
    Storm {
        /// How long.
        for_ms: u64,
        /// Messages lost, of a million.
        loss_ppm: u64,
        /// Messages that come twice, of a million.
        duplicates_ppm: u64,
        /// Connections refused, of a million.
        refused_ppm: u64,
        /// Messages take up to this.
        delay_ms: u64,
    },
    /// CLUSTER MIGRATESLOTS: some slots of a node go to some other primary.
    MigrateSlots {
        /// The node; nothing happens if it is no primary with slots.
        node: usize,
    },
    /// CLUSTER FAILOVER.
    ManualFailover {
        /// The node it is sent to; primaries refuse it.
        node: usize,
        /// How.
        kind: FailoverKind,
    },
}

/// Random faults as the scenario's rates want them, in the order of time.
pub(crate) fn random_faults(scenario: &Scenario, rng: &mut Rng) -> Vec<TimedFault> {
    type Make = fn(&Scenario, &mut Rng) -> Fault;
    let rates = &scenario.rates;
    let kinds: [(u64, Make); 8] = [
        (rates.crashes, crash),
        (rates.crashes_after_vote, crash_after_vote),
        (rates.partitions, partition),
        (rates.hangs, |scenario, rng| Fault::Hang {
            node: node(scenario, rng),
            for_ms: 100 + rng.below(8000),
        }),
        (rates.long_commands, |scenario, rng| Fault::LongCommand {
            node: node(scenario, rng),
            for_ms: 100 + rng.below(8000),
        }),
        (rates.storms, storm),
        (rates.manual_failovers, |scenario, rng| Fault::ManualFailover {
            node: node(scenario, rng),
            kind: if rng.chance(2, 3) { FailoverKind::Coordinated } else { FailoverKind::Force },
        }),
        (rates.migrations, |scenario, rng| Fault::MigrateSlots { node: node(scenario, rng) }),
    ];
    let mut faults = Vec::new();
    for (per_ten_seconds, make) in kinds {
        for _ in 0..per_ten_seconds * scenario.faults_ms / 10_000 {
            let at_ms = rng.below(scenario.faults_ms);
            faults.push(TimedFault { at_ms, fault: make(scenario, rng) });
        }
    }
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}

fn node(scenario: &Scenario, rng: &mut Rng) -> usize {
    rng.index(scenario.nodes())
}

fn crash(scenario: &Scenario, rng: &mut Rng) -> Fault {
    let down_ms = if rng.chance(1, 6) { None } else { Some(10 + rng.below(10_000)) };
    Fault::Crash { node: node(scenario, rng), down_ms, noticed: rng.chance(2, 3) }
}

fn crash_after_vote(scenario: &Scenario, rng: &mut Rng) -> Fault {
    Fault::CrashAfterVote { node: node(scenario, rng), down_ms: 5 + rng.below(500) }
}

fn partition(scenario: &Scenario, rng: &mut Rng) -> Fault {
    let size = 1 + rng.index(scenario.nodes() - 1);
    let mut nodes: Vec<usize> = (0..scenario.nodes()).collect();
    rng.shuffle(&mut nodes);
    nodes.truncate(size);
    let group = nodes.into_iter().collect();
    Fault::Partition { group, others: None, one_way: rng.chance(1, 3), for_ms: 100 + rng.below(12_000) }
}

fn storm(_: &Scenario, rng: &mut Rng) -> Fault {
    Fault::Storm {
        for_ms: 500 + rng.below(5000),
        loss_ppm: rng.below(500_000),
        duplicates_ppm: rng.below(200_000),
        refused_ppm: rng.below(700_000),
        delay_ms: 1 + rng.below(800),
    }
}
