//! What is done to the cluster.

use crate::Outcome;
use crate::client::{PORT, ask};
use crate::cluster::{Cluster, NODE_TIMEOUT_MS, View};
use crate::network::{Network, address};
use shoal_machine::Rng;
use shoal_probe::eventually;
use std::fmt;
use std::time::Duration;

/// How long a replica may take to become the primary when it is asked to and has said yes.
const FAILOVER_LIMIT: Duration = Duration::from_secs(10);
/// Slots that one move takes, at the most.
const MOVED_SLOTS_MAX: u64 = 200;

/// One thing done to the cluster. Nodes go by their index; times are in milliseconds.
#[allow(missing_docs)] // The fields say what each variant's text names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node ends without a warning and comes back.
    Kill { node: usize, down_ms: u64 },
    /// A node does nothing for a while.
    Stop { node: usize, ms: u64 },
    /// A node is cut off from the other nodes; clients reach it.
    Isolate { node: usize, ms: u64 },
    /// A node is cut off from everybody.
    Unplug { node: usize, ms: u64 },
    /// What a node sends to another does not arrive; the other way it does.
    OneWay { from: usize, to: usize, ms: u64 },
    /// The nodes below this index do not reach the others, nor these them.
    Split { below: usize, ms: u64 },
    /// A replica is asked to take over.
    Failover { replica: usize },
    /// Slots move from one primary to another.
    Move { from: usize, to: usize, slots: u64 },
}

impl Fault {
    /// Any of them, for a cluster that looks like this.
    pub fn draw(rng: &mut Rng, view: &View, nodes: usize) -> Self {
        let node = rng.index(nodes);
        let other = (node + 1 + rng.index(nodes - 1)) % nodes;
        // Some shorter than the time after which nodes are given up, some longer.
        let ms = 200 + rng.below(3 * NODE_TIMEOUT_MS);
        let primaries = view.primaries();
        let replicas: Vec<usize> = view.replicas.keys().copied().collect();
        match rng.below(10) {
            0 | 1 => Self::Kill { node, down_ms: rng.below(3 * NODE_TIMEOUT_MS) },
            2 => Self::Stop { node, ms },
            3 => Self::Isolate { node, ms },
            4 => Self::Unplug { node, ms },
            5 => Self::OneWay { from: node, to: other, ms },
            6 => Self::Split { below: 1 + rng.index(nodes - 1), ms },
            7 => match rng.choose(&replicas) {
                Some(&replica) => Self::Failover { replica },
                None => Self::Stop { node, ms },
            },
            _ => {
                let from = rng.index(primaries.len());
                let to = (from + 1 + rng.index(primaries.len().saturating_sub(1))) % primaries.len().max(1);
                Self::Move { from: primaries[from], to: primaries[to], slots: 1 + rng.below(MOVED_SLOTS_MAX) }
            }
        }
    }

    /// Whether a primary may be replaced by a replica that does not have everything: such a take-over was not asked for.
    pub const fn may_lose_writes(&self) -> bool {
        !matches!(self, Self::Failover { .. } | Self::Move { .. })
    }

    /// Whether it is over so soon that no node may be given up for it, even if the network takes its time to recover.
    pub const fn is_brief(&self) -> bool {
        match self {
            Self::Kill { .. } | Self::Failover { .. } | Self::Move { .. } => false,
            Self::Stop { ms, .. }
            | Self::Isolate { ms, .. }
            | Self::Unplug { ms, .. }
            | Self::OneWay { ms, .. }
            | Self::Split { ms, .. } => *ms <= NODE_TIMEOUT_MS / 2,
        }
    }

    /// Does it, and undoes it when its time is over.
    ///
    /// # Errors
    /// What went wrong.
    pub fn carry_out(&self, cluster: &mut Cluster, network: &Network) -> Outcome<()> {
        let last = |ms: &u64| std::thread::sleep(Duration::from_millis(*ms));
        match self {
            Self::Kill { node, down_ms } => {
                cluster.kill(*node);
                last(down_ms);
                cluster.start_node(*node)?;
            }
            Self::Stop { node, ms } => {
                cluster.signal(*node, "STOP")?;
                last(ms);
                cluster.signal(*node, "CONT")?;
            }
            Self::Isolate { node, ms } => {
                let others = (0..cluster.len()).filter(|other| other != node);
                for other in others {
                    network.block(*node, other)?;
                    network.block(other, *node)?;
                }
                last(ms);
                network.heal()?;
            }
            Self::Unplug { node, ms } => {
                network.unplug(*node)?;
                last(ms);
                network.heal()?;
            }
            Self::OneWay { from, to, ms } => {
                network.block(*from, *to)?;
                last(ms);
                network.heal()?;
            }
            Self::Split { below, ms } => {
                for low in 0..*below {
                    for high in *below..cluster.len() {
                        network.block(low, high)?;
                        network.block(high, low)?;
                    }
                }
                last(ms);
                network.heal()?;
            }
            Self::Failover { replica } => {
                if ask(*replica, &["CLUSTER", "FAILOVER"]).as_deref() == Some("OK") {
                    let is_primary = || {
                        ask(*replica, &["INFO", "replication"]).filter(|info| info.contains("role:master"))
                    };
                    eventually("the replica takes over", FAILOVER_LIMIT, is_primary)?;
                }
            }
            Self::Move { from, to, slots } => move_slots(cluster, *from, *to, *slots)?,
        }
        Ok(())
    }
}

fn move_slots(cluster: &Cluster, from: usize, to: usize, slots: u64) -> Outcome<()> {
    let name = |node| ask(node, &["CLUSTER", "MYID"]).ok_or_else(|| format!("node {node} does not answer"));
    let (from_name, to_name) = (name(from)?, name(to)?);
    let entrance = format!("{}:{PORT}", address(to));
    let count = slots.to_string();
    let words = ["reshard", &entrance, "--cluster-from", &from_name, "--cluster-to", &to_name];
    let more = ["--cluster-slots", &count, "--cluster-yes"];
    cluster.manage(&[&words[..], &more].concat()).map(drop)
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { node, down_ms } => {
                write!(formatter, "node {node} is killed and back after {down_ms} ms")
            }
            Self::Stop { node, ms } => write!(formatter, "node {node} is stopped for {ms} ms"),
            Self::Isolate { node, ms } => {
                write!(formatter, "node {node} is cut off from the others for {ms} ms")
            }
            Self::Unplug { node, ms } => write!(formatter, "node {node} is unplugged for {ms} ms"),
            Self::OneWay { from, to, ms } => {
                write!(formatter, "nothing from node {from} reaches node {to} for {ms} ms")
            }
            Self::Split { below, ms } => {
                write!(formatter, "the nodes below {below} are cut off from the rest for {ms} ms")
            }
            Self::Failover { replica } => write!(formatter, "node {replica} is asked to take over"),
            Self::Move { from, to, slots } => {
                write!(formatter, "{slots} slots move from node {from} to node {to}")
            }
        }
    }
}
