//! What is to be done to create a cluster. Pure: addresses and a seeded generator in, a plan out.
//!
//! Primaries are taken from the hosts in turn, each gets an equal range of slots, and replicas are put on other hosts than
//! their primary where that is possible: first by a simple rule, then by swapping replicas of which the place is bad as long
//! as that helps. The same input gives the same primaries, slots and first assignment as `redis-cli` 7.0.

use shoal_protocol::slot::SLOT_COUNT;
use std::collections::BTreeMap;

/// Rounds of swapping per node.
const SWAPS_PER_NODE: usize = 500;
/// A replica on the host of its primary weighs as much as this many on the host of a sibling.
const SAME_HOST_AS_PRIMARY_SCORE: usize = 10_000;
/// A cluster needs this many primaries to agree on a failure.
pub(super) const PRIMARIES_MIN: usize = 3;

/// A primary and its slots, first and last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedPrimary {
    /// The index of the node.
    pub node: usize,
    pub first_slot: u16,
    pub last_slot: u16,
}

/// How well replicas are spread over hosts, if they needed swapping at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Affinity {
    /// Nothing had to be changed.
    Unchanged,
    /// Swapping gave a perfect result.
    Perfect,
    /// A replica is on the host of its primary.
    WithPrimary,
    /// Replicas of one primary share a host.
    WithSibling,
}

/// The plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CreatePlan {
    pub primaries: Vec<PlannedPrimary>,
    /// Replica and primary, as indexes of nodes, in the order in which they were assigned, before swapping.
    pub assigned: Vec<(usize, usize)>,
    /// How many of `assigned` are what was asked for; the others are nodes that were left over.
    pub regular_count: usize,
    /// The primary of each node, by index, after swapping.
    pub primary_of: Vec<Option<usize>>,
    pub affinity: Affinity,
}

/// Plans a cluster over nodes on these hosts, `replicas` for each primary.
///
/// # Errors
/// There are too few nodes; the number needed.
pub(super) fn plan_create(
    hosts: &[&str],
    replicas: usize,
    random: &mut fastrand::Rng,
) -> Result<CreatePlan, usize> {
    let primary_count = hosts.len() / (replicas + 1);
    if primary_count < PRIMARIES_MIN {
        return Err(PRIMARIES_MIN * (replicas + 1));
    }
    let order = interleave(hosts);
    let (primary_nodes, rest) = order.split_at(primary_count);
    let primaries = allocate_slots(primary_nodes);
    let mut free: Vec<_> = rest.iter().map(|node| Some(*node)).collect();
    // Primaries and replicas begin with the same host: one step further they rather do not.
    if !free.is_empty() {
        free.rotate_left(1);
    }
    let mut assigned = Vec::new();
    for &primary in primary_nodes {
        for _ in 0..replicas {
            assigned.extend(take_replica(hosts, primary, &mut free).map(|replica| (replica, primary)));
        }
    }
    let regular_count = assigned.len();
    for &primary in primary_nodes {
        assigned.extend(take_replica(hosts, primary, &mut free).map(|replica| (replica, primary)));
    }
    let mut primary_of = vec![None; hosts.len()];
    assigned.iter().for_each(|(replica, primary)| primary_of[*replica] = Some(*primary));
    let affinity = spread(hosts, &mut primary_of, random);
    Ok(CreatePlan { primaries, assigned, regular_count, primary_of, affinity })
}

/// The nodes, one of each host in turn; hosts in the order in which they first occur.
fn interleave(hosts: &[&str]) -> Vec<usize> {
    let mut by_host: Vec<(&str, std::collections::VecDeque<usize>)> = Vec::new();
    for (node, host) in hosts.iter().enumerate() {
        match by_host.iter_mut().find(|(other, _)| other == host) {
            Some((_, nodes)) => nodes.push_back(node),
            None => by_host.push((host, [node].into())),
        }
    }
    let mut order = Vec::with_capacity(hosts.len());
    while order.len() < hosts.len() {
        order.extend(by_host.iter_mut().filter_map(|(_, nodes)| nodes.pop_front()));
    }
    order
}

/// Gives each node an equal range. The arithmetic is that of `redis-cli`, in single precision.
fn allocate_slots(nodes: &[usize]) -> Vec<PlannedPrimary> {
    let slots_per_node = f32::from(SLOT_COUNT) / nodes.len() as f32;
    let mut primaries = Vec::with_capacity(nodes.len());
    let (mut first_slot, mut cursor) = (0, 0f32);
    for (index, &node) in nodes.iter().enumerate() {
        let mut last_slot = (cursor + slots_per_node - 1.0).round() as u16;
        if last_slot >= SLOT_COUNT || index == nodes.len() - 1 {
            last_slot = SLOT_COUNT - 1;
        }
        let last_slot = last_slot.max(first_slot);
        primaries.push(PlannedPrimary { node, first_slot, last_slot });
        first_slot = last_slot + 1;
        cursor += slots_per_node;
    }
    primaries
}

/// Takes the first free node that is on another host than `primary`, or else the first free node.
fn take_replica(hosts: &[&str], primary: usize, free: &mut [Option<usize>]) -> Option<usize> {
    let place = free
        .iter()
        .position(|node| node.is_some_and(|node| hosts[node] != hosts[primary]))
        .or_else(|| free.iter().position(Option::is_some))?;
    free[place].take()
}

/// Swaps the primaries of badly placed replicas at random as long as it does no harm.
fn spread(hosts: &[&str], primary_of: &mut [Option<usize>], random: &mut fastrand::Rng) -> Affinity {
    if rate(hosts, primary_of).0 == 0 {
        return Affinity::Unchanged;
    }
    for _ in 0..SWAPS_PER_NODE * hosts.len() {
        let (score, offenders) = rate(hosts, primary_of);
        if score == 0 || offenders.is_empty() {
            break;
        }
        let first = offenders[random.usize(..offenders.len())];
        let others: Vec<_> =
            (0..hosts.len()).filter(|node| *node != first && primary_of[*node].is_some()).collect();
        if others.is_empty() {
            break;
        }
        let second = others[random.usize(..others.len())];
        primary_of.swap(first, second);
        // A swap that changes nothing is kept: the way to a better result may lead over it.
        if rate(hosts, primary_of).0 > score {
            primary_of.swap(first, second);
        }
    }
    match rate(hosts, primary_of).0 {
        0 => Affinity::Perfect,
        score if score >= SAME_HOST_AS_PRIMARY_SCORE => Affinity::WithPrimary,
        _ => Affinity::WithSibling,
    }
}

/// How badly replicas are placed (0 is perfect), and one badly placed replica of each bad group.
fn rate(hosts: &[&str], primary_of: &[Option<usize>]) -> (usize, Vec<usize>) {
    // The members of each shard on each host; the primary counts as one.
    let mut groups: BTreeMap<(&str, usize), (bool, Vec<usize>)> = BTreeMap::new();
    for (node, host) in hosts.iter().enumerate() {
        let group = groups.entry((host, primary_of[node].unwrap_or(node))).or_default();
        match primary_of[node] {
            None => group.0 = true,
            Some(_) => group.1.push(node),
        }
    }
    let (mut score, mut offenders) = (0, Vec::new());
    for (has_primary, replicas) in groups.values() {
        if replicas.len() + usize::from(*has_primary) < 2 {
            continue;
        }
        score += if *has_primary { SAME_HOST_AS_PRIMARY_SCORE * replicas.len() } else { replicas.len() };
        offenders.extend(replicas.first());
    }
    (score, offenders)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(hosts: &[&str], replicas: usize) -> CreatePlan {
        plan_create(hosts, replicas, &mut fastrand::Rng::with_seed(1)).unwrap()
    }

    #[test]
    fn slots_are_divided_as_by_redis() {
        for (count, expected) in [
            (3, vec![5460, 10922, 16383]),
            (4, vec![4095, 8191, 12287, 16383]),
            (5, vec![3276, 6553, 9829, 13106, 16383]),
            (7, vec![2340, 4680, 7021, 9361, 11702, 14042, 16383]),
        ] {
            let nodes: Vec<_> = (0..count).collect();
            let last: Vec<_> = allocate_slots(&nodes).iter().map(|primary| primary.last_slot).collect();
            assert_eq!(last, expected, "{count}");
        }
    }

    #[test]
    fn one_host_cannot_be_perfect() {
        let plan = plan(&["a"; 6], 1);
        assert_eq!(plan.primaries.iter().map(|primary| primary.node).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(plan.assigned, [(4, 0), (5, 1), (3, 2)]);
        assert_eq!(plan.affinity, Affinity::WithPrimary);
        let mut primaries: Vec<_> = plan.primary_of.iter().flatten().copied().collect();
        primaries.sort_unstable();
        assert_eq!(primaries, [0, 1, 2]);
    }

    #[test]
    fn hosts_are_used_in_turn() {
        let plan = plan(&["a", "a", "b", "b", "c", "c"], 1);
        assert_eq!(plan.primaries.iter().map(|primary| primary.node).collect::<Vec<_>>(), [0, 2, 4]);
        assert!(matches!(plan.affinity, Affinity::Unchanged | Affinity::Perfect));
        let hosts = ["a", "a", "b", "b", "c", "c"];
        for (node, primary) in plan.primary_of.iter().enumerate() {
            assert!(primary.is_none_or(|primary| hosts[primary] != hosts[node]));
        }
    }

    #[test]
    fn siblings_are_spread_by_swapping() {
        let hosts = ["a", "b", "c", "a", "b", "c", "a", "b", "c"];
        let mut primary_of: Vec<Option<usize>> =
            [None, None, None, Some(0), Some(1), Some(2), Some(0), Some(1), Some(2)].into();
        let affinity = spread(&hosts, &mut primary_of, &mut fastrand::Rng::with_seed(7));
        assert_eq!(affinity, Affinity::Perfect);
        assert_eq!(rate(&hosts, &primary_of).0, 0);
    }

    #[test]
    fn nodes_left_over_become_extra_replicas() {
        let plan = plan(&["a"; 8], 1);
        assert_eq!(plan.primaries.len(), 4);
        assert_eq!(plan.regular_count, 4);
        let plan = self::plan(&["a"; 7], 1);
        assert_eq!((plan.primaries.len(), plan.regular_count, plan.assigned.len()), (3, 3, 4));
    }

    #[test]
    fn too_few_nodes_are_refused() {
        assert_eq!(plan_create(&["a"; 5], 1, &mut fastrand::Rng::with_seed(1)), Err(6));
        assert_eq!(plan_create(&["a"; 2], 0, &mut fastrand::Rng::with_seed(1)), Err(3));
    }
}
