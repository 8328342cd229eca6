//! What happened to the cluster, as this node sees it: the differences between successive views, with their causes. CLUSTER
//! EVENTS shows the last ones.

use shoal_cluster::view::NodeFacts;
use shoal_cluster::{ClusterView, NodeFlags, NodeId};
use shoal_machine::Now;
use std::collections::{BTreeMap, VecDeque};

/// No more events than this are kept; the oldest go first.
pub(crate) const EVENTS_MAX: usize = 1024;

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterEvent {
    /// Counts events from 1.
    pub id: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// `joined`, `left`, `suspected`, `failed`, `recovered`, `role`, `address`, `slots`, `epoch` or `state`.
    pub kind: &'static str,
    /// The node it is about.
    pub node: NodeId,
    /// What changed.
    pub what: String,
    /// Why, as far as this node can tell.
    pub why: String,
}

/// The last events.
#[derive(Debug, Default)]
pub(crate) struct ClusterEvents {
    events: VecDeque<ClusterEvent>,
    count: u64,
}

impl ClusterEvents {
    /// The events, the newest first.
    pub fn newest(&self) -> impl ExactSizeIterator<Item = &ClusterEvent> {
        self.events.iter().rev()
    }

    /// Notes what differs between two views.
    pub fn note(&mut self, now: Now, old: &ClusterView, new: &ClusterView) {
        for (kind, node, what, why) in differences(old, new) {
            self.count += 1;
            if self.events.len() == EVENTS_MAX {
                self.events.pop_front();
            }
            self.events.push_back(ClusterEvent {
                id: self.count,
                at_ms: now.unix_ms(),
                kind,
                node,
                what,
                why,
            });
        }
    }
}

type Difference = (&'static str, NodeId, String, String);

fn differences(old: &ClusterView, new: &ClusterView) -> Vec<Difference> {
    let mut found = Vec::new();
    let before: BTreeMap<NodeId, &NodeFacts> = old.nodes.iter().map(|node| (node.id, node)).collect();
    let after: BTreeMap<NodeId, &NodeFacts> = new.nodes.iter().map(|node| (node.id, node)).collect();
    let is_known = |node: &NodeFacts| !node.flags.has(NodeFlags::HANDSHAKE);
    for node in new.nodes.iter().filter(|node| is_known(node)) {
        match before.get(&node.id).filter(|old| is_known(old)) {
            Some(earlier) => compare_nodes(old, new, earlier, node, &mut found),
            None => {
                let why = if node.key == new.myself {
                    "this node has started"
                } else {
                    "it was met, or a member told of it"
                };
                found.push((
                    "joined",
                    node.id,
                    format!("{}:{}", node.host, node.client_port(false)),
                    why.to_owned(),
                ));
            }
        }
    }
    for node in old.nodes.iter().filter(|node| is_known(node) && !after.contains_key(&node.id)) {
        let why = "it was forgotten by CLUSTER FORGET or RESET, here or at another member";
        found.push(("left", node.id, format!("{}:{}", node.host, node.client_port(false)), why.to_owned()));
    }
    compare_slots(old, new, &mut found);
    if let (true, Some(me)) = (old.is_ok != new.is_ok, new.my_facts()) {
        let (what, why) = if new.is_ok {
            (
                "ok",
                "all slots that have to be are served, and a majority of primaries is reachable".to_owned(),
            )
        } else {
            ("fail", why_down(new))
        };
        found.push(("state", me.id, what.to_owned(), why));
    }
    found
}

fn compare_nodes(
    old: &ClusterView,
    new: &ClusterView,
    earlier: &NodeFacts,
    node: &NodeFacts,
    found: &mut Vec<Difference>,
) {
    let gained = |flag| node.flags.has(flag) && !earlier.flags.has(flag);
    if gained(NodeFlags::FAILED) {
        let why =
            format!("a majority of primaries suspected it; {} reports are known here", node.failure_reports);
        found.push(("failed", node.id, "declared as failed".to_owned(), why));
    } else if gained(NodeFlags::SUSPECTED) {
        let why = "it did not answer for the node timeout, or its system refused connections";
        found.push(("suspected", node.id, "suspected by this node".to_owned(), why.to_owned()));
    }
    let was_down = earlier.flags.has(NodeFlags::FAILED) || earlier.flags.has(NodeFlags::SUSPECTED);
    if was_down && !node.flags.has(NodeFlags::FAILED) && !node.flags.has(NodeFlags::SUSPECTED) {
        found.push(("recovered", node.id, "reachable again".to_owned(), "it answered".to_owned()));
    }
    let name_of = |view: &ClusterView, node: &NodeFacts| {
        let primary = node.primary.and_then(|key| view.node(key));
        primary.filter(|_| node.flags.has(NodeFlags::REPLICA)).map(|primary| primary.id)
    };
    let (followed, follows) = (name_of(old, earlier), name_of(new, node));
    let was_replica = earlier.flags.has(NodeFlags::REPLICA);
    let is_replica = node.flags.has(NodeFlags::REPLICA);
    match (was_replica, is_replica) {
        (true, false) => {
            let why = match followed {
                Some(primary) => format!("it took the place of {primary} with epoch {}", node.config_epoch),
                None => "it was told to, or reset".to_owned(),
            };
            found.push(("role", node.id, "primary".to_owned(), why));
        }
        (_, true) if followed != follows || !was_replica => {
            let primary = follows.map_or_else(|| "an unknown node".to_owned(), |id| id.to_string());
            let why = if was_replica {
                "it was told to follow another primary, or moved to one without replicas"
            } else {
                "another node has its slots with a greater epoch, or it was told to follow"
            };
            found.push(("role", node.id, format!("replica of {primary}"), why.to_owned()));
        }
        _ => {}
    }
    if (&*earlier.host, earlier.client_port(false)) != (&*node.host, node.client_port(false)) {
        let what = format!("{}:{}", node.host, node.client_port(false));
        found.push(("address", node.id, what, "it says so itself, or answers from there".to_owned()));
    }
    if earlier.config_epoch < node.config_epoch && !is_replica {
        let why = "an election, a slot that was taken over, or a collision with another node's epoch";
        let what = format!("{} after {}", node.config_epoch, earlier.config_epoch);
        found.push(("epoch", node.id, what, why.to_owned()));
    }
}

/// Slots that have another owner, by their new owner.
fn compare_slots(old: &ClusterView, new: &ClusterView, found: &mut Vec<Difference>) {
    if std::sync::Arc::ptr_eq(&old.owners, &new.owners) {
        return;
    }
    let runs = |view: &ClusterView| -> Vec<(u16, u16, NodeId)> {
        let named = |(first, last, owner)| Some((first, last, view.node(owner)?.id));
        view.owners.runs().filter_map(named).collect()
    };
    let (before, after) = (runs(old), runs(new));
    let mut changed: BTreeMap<(Option<NodeId>, Option<NodeId>), u32> = BTreeMap::new();
    let (mut one, mut other) = (before.iter().peekable(), after.iter().peekable());
    let mut slot = 0u32;
    while slot < u32::from(shoal_protocol::slot::SLOT_COUNT) {
        // The owner here, and where that ends.
        let owner = |runs: &mut std::iter::Peekable<std::slice::Iter<'_, (u16, u16, NodeId)>>| {
            while runs.next_if(|(_, last, _)| u32::from(*last) < slot).is_some() {}
            match runs.peek() {
                Some((first, last, id)) if u32::from(*first) <= slot => (Some(*id), u32::from(*last) + 1),
                Some((first, ..)) => (None, u32::from(*first)),
                None => (None, u32::from(shoal_protocol::slot::SLOT_COUNT)),
            }
        };
        let ((was, until), (is, also_until)) = (owner(&mut one), owner(&mut other));
        let end = until.min(also_until);
        if was != is {
            *changed.entry((was, is)).or_default() += end - slot;
        }
        slot = end;
    }
    for ((was, is), count) in changed {
        let epoch = is.and_then(|id| new.node_by_name(id.as_bytes())).map(|node| node.config_epoch);
        let (node, what) = match (was, is) {
            (Some(was), Some(is)) => (is, format!("{count} slots from {was}")),
            (None, Some(is)) => (is, format!("{count} slots that nobody had")),
            (Some(was), None) => (was, format!("{count} slots are nobody's now")),
            (None, None) => continue,
        };
        let why = match epoch {
            Some(epoch) => {
                format!("its epoch {epoch} is the greatest that claims them, or a manager gave them")
            }
            None => "they were taken away by CLUSTER DELSLOTS, FLUSHSLOTS or FORGET".to_owned(),
        };
        found.push(("slots", node, what, why));
    }
}

fn why_down(view: &ClusterView) -> String {
    let is_failed = |key| view.node(key).is_some_and(|node| node.flags.has(NodeFlags::FAILED));
    let served = |failed: bool| -> u32 {
        let runs = view.owners.runs().filter(|(.., owner)| is_failed(*owner) == failed);
        runs.map(|(first, last, _)| u32::from(last) - u32::from(first) + 1).sum()
    };
    let all = u32::from(shoal_protocol::slot::SLOT_COUNT);
    let (lost, unowned) = (served(true), all - served(true) - served(false));
    match (lost, unowned) {
        (0, 0) => "a majority of primaries is out of reach, or this node has just started".to_owned(),
        _ => format!("{unowned} slots are nobody's, and {lost} belong to nodes that have failed"),
    }
}
