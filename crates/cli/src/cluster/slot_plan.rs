//! Which slots move where. Pure: slots and weights in, moves out. The arithmetic is that of `redis-cli`, in single
//! precision.

use shoal_protocol::slot::SLOT_COUNT;

/// A slot on its way from a source, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub source: usize,
    pub slot: u16,
}

/// Takes `count` slots from the sources, from each in proportion to what it has, the largest first. A source is an index
/// and its slots in order.
pub(super) fn share_out(sources: &[(usize, &[u16])], count: usize) -> Vec<Move> {
    let total: usize = sources.iter().map(|(_, slots)| slots.len()).sum();
    let mut sorted = sources.to_vec();
    sorted.sort_by_key(|(_, slots)| std::cmp::Reverse(slots.len()));
    let mut moves = Vec::new();
    for (index, (source, slots)) in sorted.into_iter().enumerate() {
        let share = count as f32 / total as f32 * slots.len() as f32;
        let share = if index == 0 { share.ceil() } else { share.floor() } as usize;
        let left = count - moves.len();
        moves.extend(slots.iter().take(share.min(left)).map(|&slot| Move { source, slot }));
    }
    moves
}

/// A primary that takes part in a rebalancing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Share {
    /// Its index.
    pub node: usize,
    /// Its slots, in order.
    pub slots: Vec<u16>,
    /// What it is to have, compared with the others.
    pub weight: f32,
}

/// So many slots go from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transfer {
    pub source: usize,
    pub target: usize,
    pub slots: Vec<u16>,
}

/// A plan to balance a cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Balance {
    /// Nodes with what they have too much (or too little, if negative), the poorest first.
    pub balances: Vec<(usize, i32)>,
    pub transfers: Vec<Transfer>,
}

/// Plans moves after which every node has its share; `None` if all are within `threshold` percent.
pub(super) fn balance(mut shares: Vec<Share>, threshold: f32) -> Option<Balance> {
    let total_weight: f32 = shares.iter().map(|share| share.weight).sum();
    let mut is_needed = false;
    let mut balances = Vec::new();
    for share in &shares {
        let expected = (f32::from(SLOT_COUNT) / total_weight * share.weight) as i32;
        let have = share.slots.len() as i32;
        if threshold > 0.0 {
            is_needed |= if have > 0 {
                (100.0 - 100.0 * f64::from(expected) / f64::from(have)).abs() as f32 > threshold
            } else {
                expected > 1
            };
        }
        balances.push((share.node, have - expected));
    }
    if !is_needed {
        return None;
    }
    // Because of rounding more may be given than taken: those who take, take one more each.
    let mut surplus: i32 = balances.iter().map(|(_, balance)| balance).sum();
    while surplus > 0 && balances.iter().any(|(_, balance)| *balance <= 0) {
        for (_, balance) in &mut balances {
            if *balance <= 0 && surplus > 0 {
                *balance -= 1;
                surplus -= 1;
            }
        }
    }
    balances.sort_by_key(|(_, balance)| *balance);
    let transfers = transfers(&mut shares, balances.clone());
    Some(Balance { balances, transfers })
}

/// The poorest takes from the richest until one of them has what it is to have, and so on.
fn transfers(shares: &mut [Share], mut balances: Vec<(usize, i32)>) -> Vec<Transfer> {
    let mut transfers = Vec::new();
    let (mut poor, mut rich) = (0, balances.len().saturating_sub(1));
    while poor < rich {
        let ((target, wanted), (source, given)) = (balances[poor], balances[rich]);
        let count = wanted.unsigned_abs().min(given.unsigned_abs());
        if count > 0
            && let Some(share) = shares.iter_mut().find(|share| share.node == source)
        {
            let taken = share_out(&[(source, &share.slots)], count as usize);
            let slots: Vec<u16> = taken.into_iter().map(|one| one.slot).collect();
            share.slots.retain(|slot| !slots.contains(slot));
            transfers.push(Transfer { source, target, slots });
        }
        balances[poor].1 += count as i32;
        balances[rich].1 -= count as i32;
        if balances[poor].1 == 0 {
            poor += 1;
        }
        if balances[rich].1 == 0 {
            rich = rich.saturating_sub(1);
        }
    }
    transfers
}

/// Gives all slots of a node to others, so that those have as equal numbers as can be: the poorest take first. An other is
/// an index and how many slots it has. Each takes slots that stand together.
pub(super) fn level(source: usize, slots: &[u16], others: &[(usize, usize)]) -> Vec<Transfer> {
    let mut wanted: Vec<(usize, usize, usize)> = others.iter().map(|&(node, have)| (node, have, 0)).collect();
    for _ in slots {
        let Some(poorest) = wanted.iter_mut().min_by_key(|(_, have, taken)| have + taken) else { break };
        poorest.2 += 1;
    }
    let mut rest = slots;
    let mut transfers = Vec::new();
    for (target, _, count) in wanted {
        let (taken, left) = rest.split_at(count.min(rest.len()));
        rest = left;
        if !taken.is_empty() {
            transfers.push(Transfer { source, target, slots: taken.to_vec() });
        }
    }
    transfers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drained_node_fills_up_the_poorest() {
        let slots: Vec<u16> = (0..100).collect();
        let plan = |others: &[(usize, usize)]| {
            let transfers = level(7, &slots, others);
            assert!(transfers.iter().all(|transfer| transfer.source == 7));
            let all: Vec<u16> = transfers.iter().flat_map(|transfer| transfer.slots.clone()).collect();
            assert!(others.is_empty() || all == slots, "every slot moves, in order");
            transfers.iter().map(|transfer| (transfer.target, transfer.slots.len())).collect::<Vec<_>>()
        };
        assert_eq!(plan(&[(1, 50), (2, 50)]), [(1, 50), (2, 50)]);
        assert_eq!(plan(&[(1, 0), (2, 40), (3, 200)]), [(1, 70), (2, 30)]);
        assert_eq!(plan(&[(4, 9)]), [(4, 100)]);
        assert_eq!(plan(&[]), []);
    }

    fn counts(moves: &[Move], nodes: usize) -> Vec<usize> {
        (0..nodes).map(|node| moves.iter().filter(|one| one.source == node).count()).collect()
    }

    #[test]
    fn slots_are_taken_in_proportion() {
        let slots: Vec<u16> = (0..SLOT_COUNT).collect();
        let (a, b, c) = (&slots[..5461], &slots[5461..10923], &slots[10923..]);
        let moves = share_out(&[(0, a), (1, b), (2, c)], 4096);
        // The largest gives one more than the others: its share is rounded up.
        assert_eq!(counts(&moves, 3), [1365, 1366, 1365]);
        assert_eq!((moves[0].source, moves[0].slot), (1, 5461));
        assert_eq!(counts(&share_out(&[(0, a)], 1000), 1), [1000]);
        assert_eq!(counts(&share_out(&[(0, a)], 9000), 1), [5461]);
        assert_eq!(share_out(&[(0, &[])], 5), []);
        assert_eq!(share_out(&[], 5), []);
    }

    fn shares(sizes: &[(u16, u16, f32)]) -> Vec<Share> {
        let share = |(node, &(first, end, weight)): (usize, &(u16, u16, f32))| Share {
            node,
            slots: (first..end).collect(),
            weight,
        };
        sizes.iter().enumerate().map(share).collect()
    }

    fn after(sizes: &[(u16, u16, f32)], plan: &Balance) -> Vec<usize> {
        let mut counts: Vec<usize> = sizes.iter().map(|(first, end, _)| usize::from(end - first)).collect();
        for transfer in &plan.transfers {
            counts[transfer.source] -= transfer.slots.len();
            counts[transfer.target] += transfer.slots.len();
        }
        counts
    }

    #[test]
    fn every_node_gets_its_share() {
        for (sizes, expected) in [
            (vec![(0, 5461, 1.0), (5461, 10923, 1.0), (10923, 16384, 1.0), (0, 0, 1.0)], vec![4096; 4]),
            (vec![(0, 16384, 1.0), (0, 0, 1.0), (0, 0, 2.0)], vec![4096, 4096, 8192]),
            (vec![(0, 8192, 0.0), (8192, 16384, 1.0)], vec![0, 16384]),
        ] {
            let plan = balance(shares(&sizes), 2.0).unwrap();
            assert_eq!(after(&sizes, &plan), expected, "{sizes:?}");
        }
    }

    #[test]
    fn what_is_near_enough_stays() {
        let sizes = [(0, 5461, 1.0), (5461, 10923, 1.0), (10923, 16384, 1.0)];
        assert_eq!(balance(shares(&sizes), 2.0), None);
        assert_eq!(balance(shares(&sizes), 0.0), None);
        let sizes = [(0, 5600, 1.0), (5600, 10923, 1.0), (10923, 16384, 1.0)];
        assert_eq!(balance(shares(&sizes), 5.0), None);
        assert!(balance(shares(&sizes), 2.0).is_some());
    }

    #[test]
    fn every_plan_ends() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..300 {
            let nodes = random.usize(1..8);
            let mut borders: Vec<u16> = (1..nodes).map(|_| random.u16(0..=SLOT_COUNT)).collect();
            borders.extend([0, SLOT_COUNT]);
            borders.sort_unstable();
            let sizes: Vec<_> =
                borders.windows(2).map(|pair| (pair[0], pair[1], random.f32() * 3.0)).collect();
            if let Some(plan) = balance(shares(&sizes), 1.0) {
                assert_eq!(after(&sizes, &plan).iter().sum::<usize>(), usize::from(SLOT_COUNT));
            }
        }
    }
}
