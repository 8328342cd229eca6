//! Consumer groups: what was delivered to whom and not acknowledged yet.
//!
//! An entry that is pending is in the group's list, which knows its consumer, and in that consumer's list.

use super::id_map::IdMap;
use super::log::Log;
use shoal_formats::stream_id::StreamId;
use std::collections::BTreeMap;

/// A group of consumers that share a stream's entries.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The last id that was delivered.
    pub last_id: StreamId,
    /// Entries of the stream up to `last_id`, if that is known.
    pub entries_read: Option<i64>,
    pending: IdMap<Pending>,
    names: BTreeMap<Box<[u8]>, ConsumerId>,
    /// By id; those that are gone leave a gap, which the next one takes.
    consumers: Vec<Option<Consumer>>,
    gaps: Vec<ConsumerId>,
}

/// A consumer of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerId(u32);

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// To whom.
    pub consumer: ConsumerId,
    /// When it was delivered last, in milliseconds since 1970.
    pub delivered_ms: i64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// One of a group's consumers.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Box<[u8]>,
    /// When it asked for something last, in milliseconds since 1970.
    pub seen_ms: i64,
    /// When it was given something last, if ever.
    pub active_ms: Option<i64>,
    pending: IdMap<()>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many entries are pending.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The ids of its pending entries from `start` on, in order.
    pub fn pending_from(&self, start: StreamId) -> impl Iterator<Item = StreamId> + use<'_> {
        self.pending.from(start).map(|(id, ())| id)
    }
}

impl Group {
    /// A group without consumers that has read up to `last_id`.
    pub fn new(last_id: StreamId, entries_read: Option<i64>) -> Self {
        Self { last_id, entries_read, ..Self::default() }
    }

    /// Notes that the entry with this id, the next one, was delivered.
    pub fn advance(&mut self, id: StreamId, log: &Log) {
        match self.entries_read {
            Some(read) if !log.has_deleted_from(id) => self.entries_read = Some(read.wrapping_add(1)),
            _ if log.history().entries_added > 0 => self.entries_read = log.entries_up_to(id),
            _ => {}
        }
        self.last_id = id;
    }

    /// How many consumers there are.
    pub fn consumer_count(&self) -> usize {
        self.names.len()
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.names.values().filter_map(|id| self.consumers[id.0 as usize].as_ref())
    }

    /// The consumer of this name.
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied()
    }

    /// One of the group's consumers.
    ///
    /// # Panics
    /// It was removed.
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers[id.0 as usize].as_ref().expect("a consumer that is there")
    }

    /// As [`Group::consumer`], to be changed.
    ///
    /// # Panics
    /// It was removed.
    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers[id.0 as usize].as_mut().expect("a consumer that is there")
    }

    /// Adds a consumer; `None` if there is one of this name.
    pub fn add_consumer(&mut self, name: &[u8], seen_ms: i64) -> Option<ConsumerId> {
        if self.names.contains_key(name) {
            return None;
        }
        let consumer = Consumer { name: name.into(), seen_ms, active_ms: None, pending: IdMap::default() };
        let id = match self.gaps.pop() {
            Some(id) => id,
            None => {
                self.consumers.push(None);
                ConsumerId(self.consumers.len() as u32 - 1)
            }
        };
        self.consumers[id.0 as usize] = Some(consumer);
        self.names.insert(name.into(), id);
        Some(id)
    }

    /// Removes a consumer with its pending entries. Returns how many those were; `None` if there is no such consumer.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let id = self.names.remove(name)?;
        let consumer = self.consumers[id.0 as usize].take()?;
        self.gaps.push(id);
        for entry in consumer.pending_from(StreamId::MIN) {
            self.pending.remove(entry);
        }
        Some(consumer.pending.len())
    }

    /// How many entries are pending.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The pending entry with this id.
    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        self.pending.get(id).copied()
    }

    /// The first and the last pending entry's ids.
    pub fn pending_ends(&self) -> Option<(StreamId, StreamId)> {
        Some((self.pending.first()?, self.pending.last()?))
    }

    /// The pending entries from `start` on, in order.
    pub fn pending_from(&self, start: StreamId) -> impl Iterator<Item = (StreamId, Pending)> + use<'_> {
        self.pending.from(start).map(|(id, pending)| (id, *pending))
    }

    /// Makes an entry pending, or changes who has it, since when and how often.
    pub fn deliver(&mut self, id: StreamId, pending: Pending) {
        let before = self.pending.insert(id, pending);
        if let Some(before) = before
            && before.consumer != pending.consumer
        {
            self.consumer_mut(before.consumer).pending.remove(id);
        }
        if before.is_none_or(|before| before.consumer != pending.consumer) {
            self.consumer_mut(pending.consumer).pending.insert(id, ());
        }
    }

    /// Takes an entry out of the pending ones. False if it is not among them.
    pub fn release(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(id) else { return false };
        self.consumer_mut(pending.consumer).pending.remove(id);
        true
    }

    /// Bytes on the heap, about.
    pub(super) fn size_bytes(&self) -> usize {
        /// What a tree keeps for an item besides it: nodes are a little more than half full.
        const SHARE: usize = 2;
        let consumers =
            self.consumers().map(|consumer| 2 * consumer.name.len() + consumer.pending.size_bytes());
        consumers.sum::<usize>()
            + self.consumers.capacity() * size_of::<Option<Consumer>>()
            + self.names.len() * size_of::<(Box<[u8]>, ConsumerId)>() * SHARE
            + self.pending.size_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_machine::Rng;

    /// Both lists say the same after any sequence of changes.
    #[test]
    fn pending_entries_are_in_both_lists() {
        let mut rng = Rng::new(5);
        let mut group = Group::default();
        let mut model: BTreeMap<StreamId, (u8, u64)> = BTreeMap::new();
        for step in 0..20_000 {
            let name = b'a' + rng.below(5) as u8;
            let id = StreamId::new(rng.below(40), 0);
            match rng.below(10) {
                0 => {
                    let removed = group.remove_consumer(&[name]).unwrap_or(0);
                    let before = model.len();
                    model.retain(|_, (owner, _)| *owner != name);
                    assert_eq!(removed, before - model.len());
                }
                1..=3 => assert_eq!(group.release(id), model.remove(&id).is_some()),
                _ => {
                    let found = group.find_consumer(&[name]);
                    let consumer = found.or_else(|| group.add_consumer(&[name], 0)).unwrap();
                    group.deliver(id, Pending { consumer, delivered_ms: 0, deliveries: step });
                    model.insert(id, (name, step));
                }
            }
            let listed = group.pending_from(StreamId::MIN);
            let listed =
                listed.map(|(id, entry)| (id, (group.consumer(entry.consumer).name()[0], entry.deliveries)));
            assert!(listed.eq(model.iter().map(|(id, entry)| (*id, *entry))));
            for consumer in group.consumers() {
                let own = model.iter().filter(|(_, (owner, _))| *owner == consumer.name()[0]);
                assert!(consumer.pending_from(StreamId::MIN).eq(own.map(|(id, _)| *id)));
            }
        }
    }
}
