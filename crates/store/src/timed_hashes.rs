//! Which keys of a database hold hashes of which fields expire, and when the first of them does.
//!
//! Such keys are few among many, so that they stand in a list of their own, one per slot: a slot that is dropped takes its list
//! along. A key's time here is never later than that of its first field, but may be earlier, when a field was deleted or given
//! a new expiry: whoever comes to look finds out and asks for the key to be noted again.

use crate::call::EncodingLimits;
use crate::hasher::Hasher;
use crate::types::sorted_set::{Interval, ScoreBound, ScoreRange};
use crate::types::{Collection, Settings, SortedSet};
use std::collections::BTreeMap;

/// Slots that one search looks at.
const SLOTS_PER_SEARCH: usize = 256;

/// The keys of one database with hashes of which fields expire.
#[derive(Debug, Default)]
pub struct TimedHashes {
    slots: BTreeMap<u16, SortedSet>,
    length: usize,
    /// Where the next search goes on.
    next_slot: u16,
}

impl TimedHashes {
    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Notes when the first field of a key expires; `None` takes the key out.
    pub(crate) fn note(&mut self, slot: u16, key: &[u8], first_expiry_ms: Option<u64>, hasher: Hasher) {
        let limits = EncodingLimits::default();
        let settings = Settings { limits: &limits, hasher, keep_size: false };
        match first_expiry_ms {
            Some(at) => {
                let before = self.slots.entry(slot).or_default().insert(key, at as f64, settings);
                self.length += usize::from(before.is_none());
            }
            None => {
                let Some(keys) = self.slots.get_mut(&slot) else { return };
                self.length -= usize::from(keys.remove(key, settings).is_some());
                if keys.is_empty() {
                    self.slots.remove(&slot);
                }
            }
        }
    }

    /// Takes out a slot, with its list.
    pub(crate) fn take_slot(&mut self, slot: u16) -> Self {
        let taken: BTreeMap<_, _> = self.slots.remove_entry(&slot).into_iter().collect();
        let length = taken.values().map(Collection::len).sum();
        self.length -= length;
        Self { slots: taken, length, next_slot: 0 }
    }

    /// Looks for keys of which a field may have expired, `limit` of them at the most, and gives them to `visit`. A call goes on
    /// where the last one ended. True when a round is done.
    pub(crate) fn find_due(&mut self, now_ms: u64, limit: usize, mut visit: impl FnMut(&[u8])) -> bool {
        let until_now = Interval::Score(ScoreRange {
            min: ScoreBound { score: f64::NEG_INFINITY, exclusive: false },
            max: ScoreBound { score: now_ms as f64, exclusive: false },
        });
        let mut left = limit;
        for (looked_at, (slot, keys)) in self.slots.range(self.next_slot..).enumerate() {
            if left == 0 || looked_at == SLOTS_PER_SEARCH {
                self.next_slot = *slot;
                return false;
            }
            let is_due = keys.range(0..1).next().is_some_and(|(_, at)| at <= now_ms as f64);
            if is_due {
                let due = keys.interval(&until_now, false, 0);
                let due = due.start..due.end.min(due.start + left);
                left -= due.len();
                keys.range(due).for_each(|(key, _)| key.with_text(&mut visit));
            }
        }
        self.next_slot = 0;
        left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(keys: &mut TimedHashes, now_ms: u64, limit: usize) -> (Vec<String>, bool) {
        let mut found = Vec::new();
        let is_done =
            keys.find_due(now_ms, limit, |key| found.push(String::from_utf8(key.to_vec()).unwrap()));
        (found, is_done)
    }

    #[test]
    fn keys_are_found_when_they_are_due() {
        let hasher = Hasher::new(1, 2);
        let mut keys = TimedHashes::default();
        for (slot, key, at) in [(3, "a", 30), (3, "b", 10), (7, "c", 20), (7, "d", 40)] {
            keys.note(slot, key.as_bytes(), Some(at), hasher);
        }
        keys.note(7, b"c", Some(25), hasher);
        keys.note(9, b"none", None, hasher);
        assert_eq!(keys.len(), 4);
        assert_eq!(due(&mut keys, 9, 10), (vec![], true));
        assert_eq!(due(&mut keys, 25, 10), (vec!["b".into(), "c".into()], true));
        assert_eq!(due(&mut keys, 25, 1), (vec!["b".into()], false));
        assert_eq!(due(&mut keys, 25, 1), (vec!["c".into()], false));
        assert_eq!(due(&mut keys, 40, 3), (vec!["b".into(), "a".into(), "c".into()], false));
        keys.note(3, b"b", None, hasher);
        assert_eq!(keys.take_slot(7).len(), 2);
        assert_eq!(keys.len(), 1);
        assert_eq!(due(&mut keys, 99, 10), (vec!["a".into()], true));
    }
}
