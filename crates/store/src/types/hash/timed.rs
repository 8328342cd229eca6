//! A hash of which some fields expire: the fields as in any other hash, and beside them the fields that expire in the order
//! in which they do.
//!
//! ```text
//! fields       a listpack or a table, as in other hashes
//! deadlines    a sorted set: name of the field, milliseconds since 1970
//! ```
//!
//! A sorted set answers everything that is asked: when a field expires, which do first, and how many have by now. Its
//! scores are doubles, which are exact far beyond [`EXPIRY_MAX_MS`]. Hashes without expiries pay nothing for it.

use super::Hash;
use crate::types::sorted_set::{Interval, ScoreBound, ScoreRange};
use crate::types::{Collection, Settings, SortedSet};
use shoal_formats::listpack::Element;
use std::ops::Range;

/// The latest time at which a field may expire, in milliseconds since 1970 (as in Redis 7.4, which keeps it in 48 bits).
pub const EXPIRY_MAX_MS: u64 = (1 << 48) - 1;

/// Fields with values, and when some of them expire.
#[derive(Clone, Debug)]
pub struct Timed {
    /// Never timed itself.
    pub(super) fields: Hash,
    /// Every one is a field.
    deadlines: SortedSet,
}

impl Timed {
    pub(super) fn new(fields: Hash) -> Self {
        Self { fields, deadlines: SortedSet::default() }
    }

    /// When a field expires.
    pub(super) fn expiry_ms(&self, name: &[u8]) -> Option<u64> {
        self.deadlines.score(name).map(|at| at as u64)
    }

    /// Says when a field expires that is there, or that it does not.
    pub(super) fn set_expiry(&mut self, name: &[u8], expiry_ms: Option<u64>, settings: Settings<'_>) {
        match expiry_ms {
            Some(at) => drop(self.deadlines.insert(name, at.min(EXPIRY_MAX_MS) as f64, settings)),
            None => drop(self.deadlines.remove(name, settings)),
        }
    }

    /// When the first field expires.
    pub(super) fn first_expiry_ms(&self) -> Option<u64> {
        self.deadlines.range(0..1.min(self.deadlines.len())).next().map(|(_, at)| at as u64)
    }

    /// Fields that expire.
    pub(super) fn expiring_len(&self) -> usize {
        self.deadlines.len()
    }

    /// Fields that have expired by now.
    pub(super) fn due_len(&self, now_ms: u64) -> usize {
        // Mostly none has, which is cheap to see.
        if self.first_expiry_ms().is_none_or(|first| first > now_ms) { 0 } else { self.due(now_ms).len() }
    }

    fn due(&self, now_ms: u64) -> Range<usize> {
        let until_now = ScoreRange {
            min: ScoreBound { score: f64::NEG_INFINITY, exclusive: false },
            max: ScoreBound { score: now_ms as f64, exclusive: false },
        };
        self.deadlines.interval(&Interval::Score(until_now), false, 0)
    }

    /// Takes out fields that have expired, those that did first, `limit` at the most. Gives their names to `visit`.
    pub(super) fn remove_due(
        &mut self,
        now_ms: u64,
        limit: usize,
        settings: Settings<'_>,
        mut visit: impl FnMut(&[u8]),
    ) -> usize {
        let due = self.due(now_ms);
        let range = 0..due.end.min(limit);
        let fields = &mut self.fields;
        self.deadlines.range(range.clone()).for_each(|(name, _)| {
            name.with_text(|name| {
                fields.remove(name, settings);
                visit(name);
            });
        });
        self.deadlines.remove_range(range, settings)
    }

    pub(super) fn size_bytes(&self, samples: usize) -> usize {
        size_of::<Self>() + self.fields.size_bytes(samples) + self.deadlines.size_bytes(samples)
    }

    pub(super) fn free_effort(&self) -> usize {
        self.fields.free_effort() + self.deadlines.free_effort()
    }
}

/// A hash as somebody sees it for whom expired fields are not there.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    hash: &'a Hash,
    /// The present time, if there are expired fields.
    expired: Option<(&'a Timed, u64)>,
    length: usize,
}

impl<'a> Live<'a> {
    pub(super) fn new(hash: &'a Hash, now_ms: u64) -> Self {
        let (expired, hidden) = match hash {
            Hash::Timed(timed) => match timed.due_len(now_ms) {
                0 => (None, 0),
                due => (Some((&**timed, now_ms)), due),
            },
            _ => (None, 0),
        };
        Self { hash, expired, length: hash.len() - hidden }
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn shows(&self, name: &[u8]) -> bool {
        self.expired.is_none_or(|(timed, now_ms)| timed.expiry_ms(name).is_none_or(|at| at > now_ms))
    }

    fn shows_element(&self, name: Element<'_>) -> bool {
        self.expired.is_none() || name.with_text(|name| self.shows(name))
    }

    /// The value of a field.
    pub fn value(&self, name: &[u8]) -> Option<Element<'a>> {
        self.hash.value(name).filter(|_| self.shows(name))
    }

    /// Whether there is such a field.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.hash.contains(name) && self.shows(name)
    }

    /// When a field expires.
    pub fn expiry_ms(&self, name: &[u8]) -> Option<u64> {
        self.hash.expiry_ms(name)
    }

    /// All fields with their values, see [`Hash::iter`].
    pub fn iter(&self) -> Box<dyn Iterator<Item = (Element<'a>, Element<'a>)> + 'a> {
        if self.expired.is_none() {
            return self.hash.iter();
        }
        let live = *self;
        Box::new(self.hash.iter().filter(move |(name, _)| live.shows_element(*name)))
    }

    /// Visits fields from `cursor` on, see [`Hash::scan`].
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Element<'_>, Element<'_>)) -> u64 {
        self.hash.scan(cursor, count, |name, value| {
            if self.shows_element(name) {
                visit(name, value);
            }
        })
    }

    /// A random field with its value.
    pub fn random(&self, rng: &mut shoal_machine::Rng) -> Option<(Element<'a>, Element<'a>)> {
        /// Where few are left among many that have expired, one is looked for in order.
        const TRIES: usize = 64;
        if self.is_empty() {
            return None;
        }
        for _ in 0..TRIES {
            let drawn = self.hash.random(rng)?;
            if self.shows_element(drawn.0) {
                return Some(drawn);
            }
        }
        self.iter().nth(rng.index(self.length))
    }

    /// Visits `count` random fields, see [`Hash::draw`].
    pub fn draw(
        &self,
        count: u64,
        rng: &mut shoal_machine::Rng,
        mut visit: impl FnMut(Element<'_>, Element<'_>) -> bool,
    ) {
        if self.expired.is_none() {
            return self.hash.draw(count, rng, visit);
        }
        let fields: Vec<_> = self.iter().collect();
        for _ in 0..count {
            let Some((name, value)) = rng.choose(&fields) else { return };
            if !visit(*name, *value) {
                return;
            }
        }
    }

    /// Visits `count` different random fields, see [`Hash::sample`].
    pub fn sample(
        &self,
        count: usize,
        rng: &mut shoal_machine::Rng,
        mut visit: impl FnMut(Element<'_>, Element<'_>),
    ) {
        if self.expired.is_none() {
            return self.hash.sample(count, rng, visit);
        }
        let mut selection = crate::sample::Selection::new(self.length, count);
        self.iter().filter(|_| selection.takes(rng)).for_each(|(name, value)| visit(name, value));
    }
}
