//! Hashes: a listpack of fields and values in turn, or a table, as the directives `hash-max-…` say.
//!
//! A hash that has become a table stays one. Once a field was given an expiry there is a list of expiries beside the
//! fields (`timed`), which stays, too. Source of the rules: Redis 7.2; of expiries: 7.4.

mod table;
mod timed;

pub use timed::{EXPIRY_MAX_MS, Live};

use super::{Collection, Settings, are_distinct, collection_of};
use crate::digest::Digest;
use crate::sample;
use shoal_formats::listpack::{At, Element, Listpack};
use shoal_machine::Rng;
use table::Fields;
use timed::Timed;

/// What stands in a digest for the fact that a field expires.
const FIELD_EXPIRES: &[u8] = b"!!hexpire!!";

/// Fields with values.
#[derive(Clone, Debug)]
pub enum Hash {
    /// Few fields: each is followed by its value.
    Packed(Listpack),
    /// Many fields.
    Table(Box<Fields>),
    /// Fields of which some expire.
    Timed(Box<Timed>),
}

impl Default for Hash {
    fn default() -> Self {
        Self::Packed(Listpack::new())
    }
}

impl Hash {
    /// A hash that a file kept as a listpack; `None` if a field has no value, or is there twice, which is looked for if
    /// asked.
    pub fn from_listpack(listpack: Listpack, check_duplicates: bool, settings: Settings<'_>) -> Option<Self> {
        if !listpack.len().is_multiple_of(2) {
            return None;
        }
        let mut hash = Self::Packed(listpack);
        if check_duplicates && !are_distinct(hash.iter().map(|(name, _)| name), settings.hasher) {
            return None;
        }
        if hash.len() > settings.limits.hash_max_listpack_entries {
            hash.become_table(settings);
        }
        Some(hash)
    }

    /// Gets ready for these fields and values to be set.
    pub fn expect<'q>(&mut self, words: impl ExactSizeIterator<Item = &'q [u8]>, settings: Settings<'_>) {
        let Self::Packed(listpack) = self.fields_mut() else { return };
        let count = words.len();
        let mut bytes = 0usize;
        let mut too_long = count / 2 > settings.limits.hash_max_listpack_entries;
        for word in words {
            bytes = bytes.saturating_add(word.len());
            too_long |= word.len() > settings.limits.hash_max_listpack_value_bytes;
        }
        if too_long || !listpack.fits(count, bytes) {
            self.fields_mut().become_table(settings);
        }
    }

    /// The hash as somebody sees it for whom fields are gone that have expired by now; 0 shows all.
    pub fn live(&self, now_ms: u64) -> Live<'_> {
        Live::new(self, now_ms)
    }

    /// When a field expires, in milliseconds since 1970, if it does.
    pub fn expiry_ms(&self, name: &[u8]) -> Option<u64> {
        match self {
            Self::Timed(timed) => timed.expiry_ms(name),
            Self::Packed(_) | Self::Table(_) => None,
        }
    }

    /// When the first field expires, if any does.
    pub fn first_expiry_ms(&self) -> Option<u64> {
        match self {
            Self::Timed(timed) => timed.first_expiry_ms(),
            Self::Packed(_) | Self::Table(_) => None,
        }
    }

    /// How many fields expire.
    pub fn expiring_len(&self) -> usize {
        match self {
            Self::Timed(timed) => timed.expiring_len(),
            Self::Packed(_) | Self::Table(_) => 0,
        }
    }

    /// Says when a field expires, in milliseconds since 1970 up to [`EXPIRY_MAX_MS`], or that it does not. The field is there.
    pub fn set_expiry(&mut self, name: &[u8], expiry_ms: Option<u64>, settings: Settings<'_>) {
        debug_assert!(self.contains(name), "a field that is there");
        if let Self::Timed(timed) = self {
            timed.set_expiry(name, expiry_ms, settings);
        } else if expiry_ms.is_some() {
            let mut timed = Box::new(Timed::new(std::mem::take(self)));
            timed.set_expiry(name, expiry_ms, settings);
            *self = Self::Timed(timed);
        }
    }

    /// Takes out fields that have expired by now, those that did first, `limit` at the most, and gives their names to `visit`.
    /// Returns how many.
    pub fn remove_due(
        &mut self,
        now_ms: u64,
        limit: usize,
        settings: Settings<'_>,
        visit: impl FnMut(&[u8]),
    ) -> usize {
        match self {
            Self::Timed(timed) => timed.remove_due(now_ms, limit, settings, visit),
            Self::Packed(_) | Self::Table(_) => 0,
        }
    }

    /// The fields without their expiries.
    fn fields(&self) -> &Self {
        match self {
            Self::Timed(timed) => &timed.fields,
            Self::Packed(_) | Self::Table(_) => self,
        }
    }

    fn fields_mut(&mut self) -> &mut Self {
        match self {
            Self::Timed(timed) => &mut timed.fields,
            Self::Packed(_) | Self::Table(_) => self,
        }
    }

    /// Asks the processor for what look-ups of these fields will touch, if there is anything worth asking for.
    pub fn prefetch<'k>(&self, names: impl Iterator<Item = &'k [u8]>) {
        if let Self::Table(fields) = self {
            fields.prefetch(names);
        }
    }

    /// The value of a field.
    pub fn value(&self, name: &[u8]) -> Option<Element<'_>> {
        match self {
            Self::Timed(timed) => timed.fields.value(name),
            Self::Packed(listpack) => {
                let at = listpack.find(listpack.first(), name, 1)?;
                listpack.next(at).map(|at| listpack.get(at))
            }
            Self::Table(fields) => fields.value(name).map(Element::Bytes),
        }
    }

    /// Whether there is such a field.
    pub fn contains(&self, name: &[u8]) -> bool {
        match self {
            Self::Timed(timed) => timed.fields.contains(name),
            Self::Packed(listpack) => listpack.find(listpack.first(), name, 1).is_some(),
            Self::Table(fields) => fields.value(name).is_some(),
        }
    }

    /// Sets the value of a field, which does not expire then. True if the field is new.
    pub fn set(&mut self, name: &[u8], value: &[u8], settings: Settings<'_>) -> bool {
        if let Self::Timed(timed) = self {
            timed.set_expiry(name, None, settings);
        }
        self.set_and_keep_expiry(name, value, settings)
    }

    /// Sets the value of a field. True if the field is new.
    pub fn set_and_keep_expiry(&mut self, name: &[u8], value: &[u8], settings: Settings<'_>) -> bool {
        let limits = settings.limits;
        if let Self::Packed(listpack) = self {
            let max_bytes = limits.hash_max_listpack_value_bytes;
            let too_long = name.len() > max_bytes || value.len() > max_bytes;
            if too_long || !listpack.fits(2, name.len() + value.len()) {
                self.become_table(settings);
            }
        }
        match self {
            Self::Timed(timed) => timed.fields.set_and_keep_expiry(name, value, settings),
            Self::Table(fields) => fields.set(name, value),
            Self::Packed(listpack) => {
                let found = listpack.find(listpack.first(), name, 1);
                if let Some(at) = found.and_then(|at| listpack.next(at)) {
                    listpack.replace(at, value);
                    return false;
                }
                listpack.push(name);
                listpack.push(value);
                if self.len() > limits.hash_max_listpack_entries {
                    self.become_table(settings);
                }
                true
            }
        }
    }

    /// Takes a field out. False if it was not there.
    pub fn remove(&mut self, name: &[u8], settings: Settings<'_>) -> bool {
        match self {
            Self::Timed(timed) => {
                timed.set_expiry(name, None, settings);
                timed.fields.remove(name, settings)
            }
            Self::Packed(listpack) => match listpack.find(listpack.first(), name, 1) {
                Some(at) => listpack.remove(at, 2) > 0,
                None => false,
            },
            Self::Table(fields) => fields.remove(name, settings.keep_size),
        }
    }

    /// All fields with their values: those of a listpack in its order, those of a table in no order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (Element<'_>, Element<'_>)> + '_> {
        match self {
            Self::Timed(timed) => timed.fields.iter(),
            Self::Packed(listpack) => {
                let mut elements = listpack.iter();
                Box::new(std::iter::from_fn(move || Some((elements.next()?, elements.next()?))))
            }
            Self::Table(fields) => {
                Box::new(fields.iter().map(|(name, value)| (Element::Bytes(name), Element::Bytes(value))))
            }
        }
    }

    /// Visits fields from `cursor` on, about `count`, but all at once if they are not in a table. Returns the cursor to go
    /// on with, 0 at the end. Every field that is there from start to end is visited.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Element<'_>, Element<'_>)) -> u64 {
        if let Self::Table(fields) = self.fields() {
            return fields
                .scan(cursor, count, |name, value| visit(Element::Bytes(name), Element::Bytes(value)));
        }
        self.iter().for_each(|(name, value)| visit(name, value));
        0
    }

    /// A random field with its value; `None` if there are none.
    pub fn random(&self, rng: &mut Rng) -> Option<(Element<'_>, Element<'_>)> {
        match self {
            Self::Timed(timed) => timed.fields.random(rng),
            Self::Packed(listpack) => {
                let at = listpack.seek(2 * rng.index(self.len()) as i64)?;
                pair_at(listpack, at)
            }
            Self::Table(fields) => {
                fields.random(rng).map(|(name, value)| (Element::Bytes(name), Element::Bytes(value)))
            }
        }
    }

    /// Visits `count` random fields, of which some may be the same, until `visit` returns false.
    pub fn draw(&self, count: u64, rng: &mut Rng, mut visit: impl FnMut(Element<'_>, Element<'_>) -> bool) {
        let fields = self.fields();
        let places: Vec<At> = match fields {
            Self::Packed(listpack) if count > 1 => listpack.places().step_by(2).collect(),
            _ => Vec::new(),
        };
        for _ in 0..count {
            let pair = match (fields, rng.choose(&places)) {
                (Self::Packed(listpack), Some(at)) => pair_at(listpack, *at),
                _ => fields.random(rng),
            };
            if !pair.is_some_and(|(name, value)| visit(name, value)) {
                return;
            }
        }
    }

    /// Visits `count` different random fields; all if there are not so many.
    pub fn sample(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Element<'_>, Element<'_>)) {
        if let Self::Table(fields) = self.fields() {
            fields.sample(count, rng, |name, value| visit(Element::Bytes(name), Element::Bytes(value)));
            return;
        }
        let mut selection = sample::Selection::new(self.len(), count);
        self.iter().filter(|_| selection.takes(rng)).for_each(|(name, value)| visit(name, value));
    }

    /// The fields' table, if they are in one.
    pub fn table(&self) -> Option<&Fields> {
        match self.fields() {
            Self::Table(fields) => Some(fields),
            Self::Packed(_) | Self::Timed(_) => None,
        }
    }

    fn become_table(&mut self, settings: Settings<'_>) {
        let mut fields = Fields::new(settings.hasher);
        for (name, value) in self.iter() {
            name.with_text(|name| value.with_text(|value| fields.set(name, value)));
        }
        *self = Self::Table(Box::new(fields));
    }
}

fn pair_at(listpack: &Listpack, at: At) -> Option<(Element<'_>, Element<'_>)> {
    Some((listpack.get(at), listpack.get(listpack.next(at)?)))
}

impl Collection for Hash {
    collection_of!(Hash);

    fn len(&self) -> usize {
        match self {
            Self::Packed(listpack) => listpack.len() / 2,
            Self::Table(fields) => fields.len(),
            Self::Timed(timed) => timed.fields.len(),
        }
    }

    fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Table(_) => "hashtable",
            Self::Timed(timed) if timed.fields.table().is_none() => "listpackex",
            Self::Timed(_) => "hashtable",
        }
    }

    fn size_bytes(&self, samples: usize) -> usize {
        match self {
            Self::Packed(listpack) => listpack.size_bytes(),
            Self::Table(fields) => fields.size_bytes(samples),
            Self::Timed(timed) => timed.size_bytes(samples),
        }
    }

    fn mix_into(&self, digest: &mut Digest) {
        for (name, value) in self.iter() {
            let mut pair = Digest::default();
            name.with_text(|name| pair.mix(name));
            value.with_text(|value| pair.mix(value));
            if name.with_text(|name| self.expiry_ms(name)).is_some() {
                pair.xor(FIELD_EXPIRES);
            }
            digest.xor(&pair.0);
        }
    }

    fn free_effort(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Table(fields) => fields.len(),
            Self::Timed(timed) => timed.free_effort(),
        }
    }
}

#[cfg(test)]
mod tests;
