//! Maps by id whose keys mostly come in order: the nodes of a stream, lists of pending entries.
//!
//! A B-tree leaves its nodes half empty when keys ascend. Here they are in sorted runs, which are found by a lower bound of
//! their ids, and a run that is full is left full when the next id comes behind it.

use shoal_formats::stream_id::StreamId;
use std::collections::{VecDeque, vec_deque};
use std::slice;

/// The most items of a run.
const RUN_MAX: usize = 128;

/// Items in order. It is never empty.
#[derive(Clone, Debug)]
struct Run<V> {
    /// An id that is not greater than any in the run, and greater than all in the runs before.
    bound: StreamId,
    items: Vec<(StreamId, V)>,
}

/// A sorted map by id.
#[derive(Clone, Debug)]
pub(super) struct IdMap<V> {
    /// In order. Ids mostly come at the end and go at the front, so a new run moves few others.
    runs: VecDeque<Run<V>>,
    length: usize,
}

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        Self { runs: VecDeque::new(), length: 0 }
    }
}

impl<V> IdMap<V> {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// The run in which an id has its place, if it is not below all of them.
    fn run_of(&self, id: StreamId) -> Option<usize> {
        self.runs.partition_point(|run| run.bound <= id).checked_sub(1)
    }

    pub(super) fn get(&self, id: StreamId) -> Option<&V> {
        let items = &self.runs.get(self.run_of(id)?)?.items;
        let index = items.binary_search_by_key(&id, |item| item.0).ok()?;
        items.get(index).map(|item| &item.1)
    }

    pub(super) fn first(&self) -> Option<StreamId> {
        self.runs.front().and_then(|run| run.items.first()).map(|item| item.0)
    }

    pub(super) fn last(&self) -> Option<StreamId> {
        self.runs.back().and_then(|run| run.items.last()).map(|item| item.0)
    }

    /// The items from `start` on, in order.
    pub(super) fn from(&self, start: StreamId) -> Range<'_, V> {
        self.range(start, StreamId::MAX)
    }

    /// The items from `start` to `end`, both included, in order.
    pub(super) fn range(&self, start: StreamId, end: StreamId) -> Range<'_, V> {
        let first = self.run_of(start).unwrap_or(0);
        let behind = self.runs.partition_point(|run| run.bound <= end).max(first);
        Range { runs: self.runs.range(first..behind), front: [].iter(), back: [].iter(), start, end }
    }

    /// The last item that is not greater than `id`.
    pub(super) fn at_or_before(&self, id: StreamId) -> Option<(StreamId, &V)> {
        self.range(StreamId::MIN, id).next_back()
    }

    /// The last item that is not greater than `id`.
    pub(super) fn at_or_before_mut(&mut self, id: StreamId) -> Option<(StreamId, &mut V)> {
        let (found, _) = self.at_or_before(id)?;
        let index = self.run_of(found)?;
        let items = &mut self.runs.get_mut(index)?.items;
        let index = items.partition_point(|item| item.0 <= id).checked_sub(1)?;
        items.get_mut(index).map(|item| (item.0, &mut item.1))
    }

    /// The first item.
    pub(super) fn first_mut(&mut self) -> Option<(StreamId, &mut V)> {
        let item = self.runs.front_mut()?.items.first_mut()?;
        Some((item.0, &mut item.1))
    }

    /// The last item.
    pub(super) fn last_mut(&mut self) -> Option<(StreamId, &mut V)> {
        let item = self.runs.back_mut()?.items.last_mut()?;
        Some((item.0, &mut item.1))
    }

    /// Puts an item in. Returns the one that was there before.
    pub(super) fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        let Some(place) = self.run_of(id) else {
            self.insert_first(id, value);
            return None;
        };
        let items = &mut self.runs[place].items;
        let index = match items.binary_search_by_key(&id, |item| item.0) {
            Ok(index) => return Some(std::mem::replace(&mut items[index].1, value)),
            Err(index) => index,
        };
        self.length += 1;
        if items.len() < RUN_MAX {
            items.insert(index, (id, value));
        } else if index == items.len() {
            self.runs.insert(place + 1, Run { bound: id, items: vec![(id, value)] });
        } else {
            let mut upper = items.split_off(RUN_MAX / 2);
            match index.checked_sub(items.len()) {
                Some(index) => upper.insert(index, (id, value)),
                None => items.insert(index, (id, value)),
            }
            self.runs.insert(place + 1, Run { bound: upper[0].0, items: upper });
        }
        None
    }

    /// Puts an item in whose id is below the bounds of all runs.
    fn insert_first(&mut self, id: StreamId, value: V) {
        self.length += 1;
        match self.runs.front_mut().filter(|run| run.items.len() < RUN_MAX) {
            Some(run) => {
                run.bound = id;
                run.items.insert(0, (id, value));
            }
            None => self.runs.push_front(Run { bound: id, items: vec![(id, value)] }),
        }
    }

    /// Takes an item out.
    pub(super) fn remove(&mut self, id: StreamId) -> Option<V> {
        let place = self.run_of(id)?;
        let items = &mut self.runs.get_mut(place)?.items;
        let index = items.binary_search_by_key(&id, |item| item.0).ok()?;
        let (_, value) = items.remove(index);
        self.length -= 1;
        if items.is_empty() {
            self.runs.remove(place);
        } else if items.len() <= items.capacity() / 4 {
            items.shrink_to(items.len() * 2);
        }
        Some(value)
    }

    /// Bytes on the heap, about.
    pub(super) fn size_bytes(&self) -> usize {
        let items: usize = self.runs.iter().map(|run| run.items.capacity()).sum();
        items * size_of::<(StreamId, V)>() + self.runs.capacity() * size_of::<Run<V>>()
    }
}

/// A part of a map, in order from both ends.
#[derive(Clone, Debug)]
pub(super) struct Range<'a, V> {
    /// Runs that neither end has come to.
    runs: vec_deque::Iter<'a, Run<V>>,
    front: slice::Iter<'a, (StreamId, V)>,
    back: slice::Iter<'a, (StreamId, V)>,
    start: StreamId,
    end: StreamId,
}

impl<'a, V> Range<'a, V> {
    /// The part of a run that belongs to the range.
    fn part(&self, run: &'a Run<V>) -> slice::Iter<'a, (StreamId, V)> {
        let first = run.items.partition_point(|item| item.0 < self.start);
        let end = run.items.partition_point(|item| item.0 <= self.end);
        run.items.get(first..end).unwrap_or_default().iter()
    }
}

impl<'a, V> Iterator for Range<'a, V> {
    type Item = (StreamId, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.front.next() {
                return Some((item.0, &item.1));
            }
            match self.runs.next() {
                Some(run) => self.front = self.part(run),
                None => return self.back.next().map(|item| (item.0, &item.1)),
            }
        }
    }
}

impl<V> DoubleEndedIterator for Range<'_, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.back.next_back() {
                return Some((item.0, &item.1));
            }
            match self.runs.next_back() {
                Some(run) => self.back = self.part(run),
                None => return self.front.next_back().map(|item| (item.0, &item.1)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_machine::Rng;
    use std::collections::BTreeMap;

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
                let end = StreamId::new(rng.below(20_000), rng.below(2)).max(start);
                let expected: Vec<_> = model.range(start..=end).map(|(id, value)| (*id, *value)).collect();
                let mut range = map.range(start, end);
                let mut both = (Vec::new(), Vec::new());
                // From both ends in turn, as chance wants.
                loop {
                    let is_front = rng.chance(1, 2);
                    let Some((id, value)) = (if is_front { range.next() } else { range.next_back() }) else {
                        break;
                    };
                    if is_front { both.0.push((id, *value)) } else { both.1.push((id, *value)) }
                }
                both.0.extend(both.1.into_iter().rev());
                assert_eq!(both.0, expected);
                let around = model.range(..=end).next_back().map(|(id, value)| (*id, *value));
                assert_eq!(map.at_or_before(end).map(|(id, value)| (id, *value)), around);
                assert_eq!(map.at_or_before_mut(end).map(|(id, value)| (id, *value)), around);
                let last = model.last_key_value().map(|(id, value)| (*id, *value));
                assert_eq!(map.last_mut().map(|(id, value)| (id, *value)), last);
                let first = model.first_key_value().map(|(id, value)| (*id, *value));
                assert_eq!(map.first_mut().map(|(id, value)| (id, *value)), first);
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
