//! What a run is made of.

use crate::faults::{Fault, TimedFault};
use crate::steps::StepFault;
use crate::world::{PORT, address};
use shoal_cluster::config::BUS_PORT_OFFSET;
use shoal_cluster::nodes_conf::{NodesConf, SavedNode};
use shoal_cluster::{ClusterConfig, NodeFlags, NodeId, SlotSet};
use shoal_machine::Rng;
use std::sync::Arc;

/// A run: the cluster, the faults, and how long all takes.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Primaries; they share the slots evenly.
    pub primaries: usize,
    /// Replicas of each primary.
    pub replicas: usize,
    /// How the cluster comes into being.
    pub formation: Formation,
    /// The configuration of every node (ports and addresses are set by the simulator).
    pub config: ClusterConfig,
    /// How long random faults come, in milliseconds.
    pub faults_ms: u64,
    /// Random faults by kind.
    pub rates: FaultRates,
    /// Faults at given times, counted from the moment the cluster stands.
    pub script: Vec<TimedFault>,
    /// How long healing may take after the last fault, in milliseconds.
    pub heal_ms: u64,
    /// Slots of the first primary move, and this happens in the midst of it.
    pub step_fault: Option<StepFault>,
    /// A deliberate bug, to see that it is caught.
    pub sabotage: Option<Sabotage>,
}

/// How the cluster comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formation {
    /// Every node starts from a nodes.conf that knows all.
    Ready,
    /// Nodes start empty and are joined by commands: SET-CONFIG-EPOCH, ADDSLOTS, MEET, REPLICATE.
    Commands,
}

/// How many faults of each kind come on average in ten seconds; and how the network is all the time.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultRates {
    /// Crashes with restart.
    pub crashes: u64,
    /// Crashes right after a vote was sent, before anything else.
    pub crashes_after_vote: u64,
    /// Partitions of any groups, in both directions or one.
    pub partitions: u64,
    /// Executors that hang.
    pub hangs: u64,
    /// Executors that are busy with a long command.
    pub long_commands: u64,
    /// Times of great loss, delay, duplication and refused connections.
    pub storms: u64,
    /// CLUSTER FAILOVER, plain or FORCE, at some node.
    pub manual_failovers: u64,
    /// Migrations of slots that are begun, at any node; at replicas nothing happens.
    pub migrations: u64,
    /// How often, in percent, a node crashes after it has sent a message of a migration.
    pub crashes_in_migration: u64,
    /// Messages lost at all times, of a million.
    pub loss_ppm: u64,
    /// Messages that come twice at all times, of a million.
    pub duplicates_ppm: u64,
    /// Messages overtake each other on one connection.
    pub reorder: bool,
}

/// Deliberate bugs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The disk forgets the last vote in a crash.
    DoubleVote,
}

impl Scenario {
    /// A calm cluster without faults.
    pub fn calm(primaries: usize, replicas: usize) -> Self {
        Self {
            primaries,
            replicas,
            formation: Formation::Ready,
            config: ClusterConfig { node_timeout_ms: 2000, ..ClusterConfig::default() },
            faults_ms: 0,
            rates: FaultRates::default(),
            script: Vec::new(),
            heal_ms: 60_000,
            step_fault: None,
            sabotage: None,
        }
    }

    /// A scenario that a seed chooses: size, timeouts, and a mix of faults. `nodes` fixes the size if given.
    pub fn random(seed: u64, nodes: Option<usize>) -> Self {
        let mut rng = Rng::new(seed ^ 0x7363_656e_6172_696f);
        let replicas = 1 + rng.index(2);
        let primaries = match nodes {
            Some(nodes) => (nodes / (replicas + 1)).max(3),
            None => 3 + rng.index(3),
        };
        let mut scenario = Self::calm(primaries, replicas);
        scenario.config.node_timeout_ms = [500, 1000, 2000, 5000][rng.index(4)];
        scenario.config.replica_validity_factor = [0, 10][rng.index(2)];
        scenario.config.require_full_coverage = rng.chance(1, 2);
        scenario.config.nodes_conf_without_auxiliary = rng.chance(1, 4);
        if rng.chance(1, 4) {
            scenario.formation = Formation::Commands;
        }
        scenario.faults_ms = 20_000 + rng.below(20_000);
        let mut some = |greatest: u64| if rng.chance(1, 3) { 0 } else { rng.below(greatest + 1) };
        scenario.rates = FaultRates {
            crashes: some(6),
            crashes_after_vote: some(4),
            partitions: some(4),
            hangs: some(2),
            long_commands: some(2),
            storms: some(2),
            manual_failovers: some(3),
            migrations: 0,
            crashes_in_migration: 0,
            loss_ppm: some(3) * 10_000,
            duplicates_ppm: some(3) * 10_000,
            reorder: false,
        };
        scenario.rates.reorder = rng.chance(1, 3);
        scenario.heal_ms = 60_000 + scenario.config.node_timeout_ms * 20;
        scenario
    }

    /// As [`Scenario::random`], with slots on the move all the time.
    pub fn moving(seed: u64, nodes: Option<usize>) -> Self {
        let mut scenario = Self::random(seed, nodes);
        let mut rng = Rng::new(seed ^ 0x6d6f_7669_6e67);
        scenario.rates.migrations = 10 + rng.below(40);
        scenario.rates.crashes_in_migration = [0, 1, 5, 20][rng.index(4)];
        scenario
    }

    /// Half of the slots of a primary move while clients write, and a fault comes at a step of that.
    pub fn fault_at_step(fault: StepFault) -> Self {
        let mut scenario = Self::calm(3, 1);
        scenario.faults_ms = 12_000;
        scenario.step_fault = Some(fault);
        scenario.script.push(TimedFault { at_ms: 3000, fault: Fault::MigrateSlots { node: 0 } });
        scenario
    }

    /// Two primaries die at once, their replicas stand for election without hearing of each other, and every voter
    /// crashes right after its vote and is back at once. With [`Sabotage::DoubleVote`] some voters vote twice.
    pub fn two_elections_in_one_epoch(sabotage: Option<Sabotage>) -> Self {
        let mut scenario = Self::calm(5, 1);
        scenario.config.node_timeout_ms = 1000;
        scenario.faults_ms = 8000;
        scenario.sabotage = sabotage;
        let mut at = |at_ms, fault| scenario.script.push(TimedFault { at_ms, fault });
        for primary in [0, 1] {
            at(1000, Fault::Crash { node: primary, down_ms: None, noticed: true });
        }
        // Once the failures are agreed on, the candidates hear neither of each other nor of the other replicas.
        for (candidate, deaf_to) in [(5, 6..10), (6, 7..10)] {
            let (group, others) = ([candidate].into(), Some(deaf_to.collect()));
            at(2300, Fault::Partition { group, others, one_way: false, for_ms: 3000 });
        }
        for voter in 2..5 {
            at(900, Fault::CrashAfterVote { node: voter, down_ms: 5 });
        }
        scenario
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.primaries * (self.replicas + 1)
    }
}

/// The slots of a primary: an even share.
pub(crate) fn share_of_slots(primaries: usize, primary: usize) -> std::ops::Range<u16> {
    let bound = |index: usize| (index * 16384 / primaries) as u16;
    bound(primary)..bound(primary + 1)
}

/// A nodes.conf for each node, in which all know all.
pub(crate) fn ready_configurations(scenario: &Scenario, rng: &mut Rng) -> Vec<Option<NodesConf>> {
    let primaries = scenario.primaries;
    let ids: Vec<NodeId> = (0..scenario.nodes()).map(|_| NodeId::random(rng)).collect();
    let nodes: Vec<SavedNode> = ids
        .iter()
        .enumerate()
        .map(|(index, &id)| {
            let is_primary = index < primaries;
            let primary = ids.get(index % primaries).copied().filter(|_| !is_primary);
            SavedNode {
                id,
                host: address(index),
                port: PORT,
                bus_port: PORT + BUS_PORT_OFFSET,
                hostname: None,
                human_name: None,
                client: None,
                shard_id: None,
                flags: if is_primary { NodeFlags::PRIMARY } else { NodeFlags::REPLICA },
                primary,
                ping_sent_ms: 0,
                pong_received_ms: 0,
                config_epoch: if is_primary { index as u64 + 1 } else { 0 },
                connected: false,
                slots: Arc::new(if is_primary {
                    share_of_slots(primaries, index).collect()
                } else {
                    SlotSet::empty()
                }),
            }
        })
        .collect();
    (0..scenario.nodes())
        .map(|index| {
            let mut nodes = nodes.clone();
            if let Some(node) = nodes.get_mut(index) {
                node.flags.set(NodeFlags::MYSELF);
            }
            Some(NodesConf { current_epoch: primaries as u64, nodes, ..NodesConf::default() })
        })
        .collect()
}
