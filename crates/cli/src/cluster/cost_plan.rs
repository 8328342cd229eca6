//! Which slots move so that what slots cost (their keys, bytes or load) is spread evenly. Pure: costs in, moves out.

use super::slot_plan::Transfer;

/// A primary and what each of its slots costs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CostShare {
    /// Its index.
    pub node: usize,
    /// Slots with their cost.
    pub slots: Vec<(u16, u64)>,
    /// What it is to have, compared with the others.
    pub weight: f64,
}

/// Plans moves after which no node has much more than its share: the one with the most above its share gives to the one with
/// the most below, the dearest slots that fit first. A slot goes only where both come closer to their share, so that the plan
/// ends. Nothing moves while all are within `threshold` percent of their shares.
pub(super) fn balance_costs(shares: &[CostShare], threshold: f64) -> Vec<Transfer> {
    let total: u64 = shares.iter().flat_map(|share| &share.slots).map(|(_, cost)| cost).sum();
    let weights: f64 = shares.iter().map(|share| share.weight).sum();
    if total == 0 || weights <= 0.0 {
        return Vec::new();
    }
    let expected: Vec<f64> = shares.iter().map(|share| total as f64 * share.weight / weights).collect();
    let mut held: Vec<f64> =
        shares.iter().map(|share| share.slots.iter().map(|(_, cost)| *cost as f64).sum()).collect();
    let is_off = |held: f64, expected: f64| (held - expected).abs() > expected * threshold / 100.0;
    if !held.iter().zip(&expected).any(|(held, expected)| is_off(*held, *expected)) {
        return Vec::new();
    }
    // Dearest last, so that they are taken from the end; slots that cost nothing stay where they are.
    let mut left: Vec<Vec<(u64, u16)>> = shares
        .iter()
        .map(|share| {
            let mut slots: Vec<_> =
                share.slots.iter().filter(|(_, cost)| *cost > 0).map(|&(slot, cost)| (cost, slot)).collect();
            slots.sort_unstable();
            slots
        })
        .collect();
    let mut transfers: Vec<Transfer> = Vec::new();
    let surplus = |held: &[f64], index: usize| held[index] - expected[index];
    loop {
        let by_surplus = |one: &usize, other: &usize| surplus(&held, *one).total_cmp(&surplus(&held, *other));
        let (Some(rich), Some(poor)) =
            ((0..shares.len()).max_by(by_surplus), (0..shares.len()).min_by(by_surplus))
        else {
            return transfers;
        };
        let most = surplus(&held, rich).min(-surplus(&held, poor)).max(0.0);
        // The dearest slot that neither empties the giver below its share nor fills the taker above it; or one that comes closer
        // all the same because it overshoots by less than it helps.
        let fits = left[rich].partition_point(|(cost, _)| *cost as f64 <= most);
        let place = match fits.checked_sub(1) {
            Some(place) => place,
            None if left[rich].first().is_some_and(|(cost, _)| (*cost as f64) < 2.0 * most) => 0,
            None => return transfers,
        };
        let (cost, slot) = left[rich].remove(place);
        held[rich] -= cost as f64;
        held[poor] += cost as f64;
        let (source, target) = (shares[rich].node, shares[poor].node);
        let same = |transfer: &&mut Transfer| transfer.source == source && transfer.target == target;
        match transfers.iter_mut().find(same) {
            Some(transfer) => transfer.slots.push(slot),
            None => transfers.push(Transfer { source, target, slots: vec![slot] }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(costs: &[(&[u64], f64)]) -> Vec<CostShare> {
        let mut slot = 0;
        let mut share = |(node, (costs, weight)): (usize, &(&[u64], f64))| {
            let slots = costs.iter().map(|&cost| {
                slot += 1;
                (slot, cost)
            });
            CostShare { node, slots: slots.collect(), weight: *weight }
        };
        costs.iter().enumerate().map(&mut share).collect()
    }

    fn after(shares: &[CostShare], transfers: &[Transfer]) -> Vec<u64> {
        let cost = |slot: u16| shares.iter().flat_map(|share| &share.slots).find(|(other, _)| *other == slot);
        let mut held: Vec<u64> =
            shares.iter().map(|share| share.slots.iter().map(|(_, cost)| cost).sum()).collect();
        for transfer in transfers {
            for &slot in &transfer.slots {
                let cost = cost(slot).unwrap().1;
                held[transfer.source] -= cost;
                held[transfer.target] += cost;
            }
        }
        held
    }

    #[test]
    fn costs_are_spread() {
        for (costs, expected) in [
            (vec![(&[10, 10, 10, 10][..], 1.0), (&[][..], 1.0)], vec![20, 20]),
            (vec![(&[100, 1, 1, 1, 1][..], 1.0), (&[0, 0][..], 1.0)], vec![100, 4]),
            (vec![(&[5, 5, 5, 5, 5, 5][..], 1.0), (&[][..], 2.0)], vec![10, 20]),
            (vec![(&[7][..], 0.0), (&[1][..], 1.0)], vec![0, 8]),
            (vec![(&[0, 0][..], 1.0), (&[][..], 1.0)], vec![0, 0]),
        ] {
            let shares = shares(&costs);
            let transfers = balance_costs(&shares, 2.0);
            assert_eq!(after(&shares, &transfers), expected, "{costs:?}");
        }
        assert!(balance_costs(&shares(&[(&[51], 1.0), (&[49], 1.0)]), 2.5).is_empty());
    }

    #[test]
    fn every_plan_ends_and_makes_nothing_worse() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..300 {
            let lists: Vec<Vec<u64>> = (0..random.usize(1..6))
                .map(|_| (0..random.usize(0..60)).map(|_| random.u64(0..1000)).collect())
                .collect();
            let costs: Vec<(&[u64], f64)> = lists.iter().map(|list| (list.as_slice(), 1.0)).collect();
            let shares = shares(&costs);
            let transfers = balance_costs(&shares, 0.0);
            let (before, after) = (after(&shares, &[]), after(&shares, &transfers));
            let spread = |held: &[u64]| held.iter().max().unwrap() - held.iter().min().unwrap();
            assert!(spread(&after) <= spread(&before), "{before:?} {after:?}");
            assert_eq!(before.iter().sum::<u64>(), after.iter().sum::<u64>());
        }
    }
}
