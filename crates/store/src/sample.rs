//! Random choices among the elements of a collection, each as likely as any other.

use crate::table::{Item, ItemRef, Table};
use shoal_machine::Rng;
use std::collections::BTreeSet;

/// Chooses some of a sequence of known length while it passes by: every subset of the wanted size is as likely as any
/// other. (Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2 S.)
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    left: usize,
    wanted: usize,
}

impl Selection {
    /// `wanted` of `length` elements; all if there are not so many.
    pub fn new(length: usize, wanted: usize) -> Self {
        Self { left: length, wanted: wanted.min(length) }
    }

    /// Whether the next element is chosen.
    pub fn takes(&mut self, rng: &mut Rng) -> bool {
        let takes = rng.index(self.left) < self.wanted;
        self.left = self.left.saturating_sub(1);
        self.wanted -= usize::from(takes);
        takes
    }

    /// Whether all have been chosen.
    pub fn is_done(self) -> bool {
        self.wanted == 0
    }
}

/// `count` different indices below `length`, ascending; all if there are not so many.
pub fn distinct_indices(length: usize, count: usize, rng: &mut Rng) -> impl Iterator<Item = usize> {
    let mut selection = Selection::new(length, count);
    (0..length).take_while(move |_| !selection.is_done()).filter(move |_| selection.takes(rng))
}

/// Visits `count` different items of a table; all if there are not so many. Costs about as many steps as items are asked
/// for.
pub fn distinct_items<'a, T: Item>(
    table: &'a Table<T>,
    count: usize,
    rng: &mut Rng,
    mut visit: impl FnMut(ItemRef<'a, T>),
) {
    /// Where more than this share is wanted, walking over all items is cheaper than drawing again and again.
    const WALK_FROM_SHARE: usize = 3;
    if count.saturating_mul(WALK_FROM_SHARE) < table.len() {
        let mut drawn = BTreeSet::new();
        while drawn.len() < count {
            let Some(item) = table.random(false, || rng.next_u64()) else { return };
            // Items stay where they are while the table is borrowed, so their addresses tell them apart.
            if drawn.insert(item.key().as_ptr().addr()) {
                visit(item);
            }
        }
        return;
    }
    let mut selection = Selection::new(table.len(), count);
    for item in table.iter() {
        if selection.is_done() {
            return;
        }
        if selection.takes(rng) {
            visit(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_distinct_and_each_is_as_likely() {
        let mut rng = Rng::new(5);
        for (length, count, expected) in [(0, 3, 0), (5, 0, 0), (5, 3, 3), (5, 5, 5), (5, 9, 5)] {
            let drawn: Vec<usize> = distinct_indices(length, count, &mut rng).collect();
            assert_eq!(drawn.len(), expected);
            assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]) && drawn.iter().all(|at| *at < length));
        }
        let mut counts = [0u32; 10];
        for _ in 0..10_000 {
            distinct_indices(10, 3, &mut rng).for_each(|index| counts[index] += 1);
        }
        assert!(counts.iter().all(|count| (2800..3200).contains(count)), "{counts:?}");
    }
}
