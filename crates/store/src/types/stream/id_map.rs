//! Maps by id whose keys mostly come in order: lists of pending entries.
//!
//! A B-tree leaves its nodes half empty when keys ascend. Here they are in sorted runs, which a tree finds by a lower
//! bound of their ids, and a run that is full is left full when the next id comes behind it.

use shoal_formats::stream_id::StreamId;
use std::collections::BTreeMap;

/// The most items of a run.
const RUN_MAX: usize = 128;

/// A sorted map by id.
#[derive(Clone, Debug)]
pub(super) struct IdMap<V> {
    /// By an id that is not greater than any in the run, and greater than all in the runs before.
    runs: BTreeMap<StreamId, Vec<(StreamId, V)>>,
    length: usize,
}

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        Self { runs: BTreeMap::new(), length: 0 }
    }
}

impl<V> IdMap<V> {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn get(&self, id: StreamId) -> Option<&V> {
        let (_, run) = self.runs.range(..=id).next_back()?;
        let index = run.binary_search_by_key(&id, |item| item.0).ok()?;
        Some(&run[index].1)
    }

    pub(super) fn first(&self) -> Option<StreamId> {
        self.runs.first_key_value().and_then(|(_, run)| run.first()).map(|item| item.0)
    }

    pub(super) fn last(&self) -> Option<StreamId> {
        self.runs.last_key_value().and_then(|(_, run)| run.last()).map(|item| item.0)
    }

    /// The items from `start` on, in order.
    pub(super) fn from(&self, start: StreamId) -> impl Iterator<Item = (StreamId, &V)> + use<'_, V> {
        let bound = self.runs.range(..=start).next_back().map_or(start, |(bound, _)| *bound);
        self.runs.range(bound..).flat_map(move |(_, run)| {
            let first = run.partition_point(|item| item.0 < start);
            run[first..].iter().map(|item| (item.0, &item.1))
        })
    }

    /// Puts an item in. Returns the one that was there before.
    pub(super) fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        let Some((_, run)) = self.runs.range_mut(..=id).next_back() else {
            self.insert_first(id, value);
            return None;
        };
        let index = match run.binary_search_by_key(&id, |item| item.0) {
            Ok(index) => return Some(std::mem::replace(&mut run[index].1, value)),
            Err(index) => index,
        };
        self.length += 1;
        if run.len() < RUN_MAX {
            run.insert(index, (id, value));
        } else if index == run.len() {
            self.runs.insert(id, vec![(id, value)]);
        } else {
            let mut upper = run.split_off(RUN_MAX / 2);
            match index.checked_sub(run.len()) {
                Some(index) => upper.insert(index, (id, value)),
                None => run.insert(index, (id, value)),
            }
            self.runs.insert(upper[0].0, upper);
        }
        None
    }

    /// Puts an item in whose id is below the bounds of all runs.
    fn insert_first(&mut self, id: StreamId, value: V) {
        self.length += 1;
        let mut run = match self.runs.first_entry() {
            Some(first) if first.get().len() < RUN_MAX => first.remove(),
            _ => Vec::new(),
        };
        run.insert(0, (id, value));
        self.runs.insert(id, run);
    }

    /// Takes an item out.
    pub(super) fn remove(&mut self, id: StreamId) -> Option<V> {
        let (&bound, run) = self.runs.range_mut(..=id).next_back()?;
        let index = run.binary_search_by_key(&id, |item| item.0).ok()?;
        let (_, value) = run.remove(index);
        self.length -= 1;
        if run.is_empty() {
            self.runs.remove(&bound);
        } else if run.len() <= run.capacity() / 4 {
            run.shrink_to(run.len() * 2);
        }
        Some(value)
    }

    /// Bytes on the heap, about.
    pub(super) fn size_bytes(&self) -> usize {
        /// The tree's nodes are a little more than half full.
        const TREE_SHARE: usize = 2;
        let runs: usize = self.runs.values().map(Vec::capacity).sum();
        runs * size_of::<(StreamId, V)>()
            + self.runs.len() * size_of::<(StreamId, Vec<(StreamId, V)>)>() * TREE_SHARE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_machine::Rng;

    #[test]
    fn it_does_what_a_tree_does() {
        let mut rng = Rng::new(17);
        for spread in [10, 300, 5000] {
            let (mut map, mut model) = (IdMap::default(), BTreeMap::new());
            for step in 0..20_000u64 {
                let id = match rng.below(3) {
                    0 => StreamId::new(step, 0),
                    1 => StreamId::new(rng.below(spread), 0),
                    _ => StreamId::new(20_000 - step, 1),
                };
                // It grows at first, and shrinks then.
                if rng.chance(if step < 12_000 { 1 } else { 9 }, 10) {
                    let gone = match rng.below(3) {
                        0 => model.keys().next().copied().unwrap_or(id),
                        1 => model.range(id..).next().map_or(id, |(id, _)| *id),
                        _ => id,
                    };
                    assert_eq!(map.remove(gone), model.remove(&gone));
                } else {
                    assert_eq!(map.insert(id, step), model.insert(id, step));
                }
                assert_eq!(map.len(), model.len());
                assert_eq!(map.get(id), model.get(&id));
                assert_eq!(map.first(), model.keys().next().copied());
                assert_eq!(map.last(), model.keys().next_back().copied());
                let start = StreamId::new(rng.below(20_000), rng.below(2));
                let expected = model.range(start..).map(|(id, value)| (*id, value));
                assert!(map.from(start).take(300).eq(expected.take(300)));
            }
            let all = model.iter().map(|(id, value)| (*id, value));
            assert!(map.from(StreamId::MIN).eq(all));
        }
    }

    #[test]
    fn runs_of_ascending_ids_are_full() {
        let mut map = IdMap::default();
        for ms in 0..128_000 {
            map.insert(StreamId::new(ms, 0), ());
        }
        assert_eq!(map.runs.len(), 1000);
        assert!(map.size_bytes() < 128_000 * 17);
        for ms in (0..128_000).filter(|ms| ms % 64 != 0) {
            map.remove(StreamId::new(ms, 0));
        }
        assert_eq!((map.len(), map.runs.len()), (2000, 1000));
        assert!(map.size_bytes() < 2000 * 128);
    }
}
