//! Hashes: a listpack of fields and values in turn, or a table, as the directives `hash-max-…` say.
//!
//! A hash that has become a table stays one. Source of the rules: Redis 7.2.

mod table;

use super::{Collection, Settings, are_distinct, collection_of};
use crate::digest::Digest;
use crate::sample;
use shoal_formats::listpack::{At, Element, Listpack};
use shoal_machine::Rng;
use table::Fields;

/// Fields with values.
#[derive(Clone, Debug)]
pub enum Hash {
    /// Few fields: each is followed by its value.
    Packed(Listpack),
    /// Many fields.
    Table(Box<Fields>),
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
        let Self::Packed(listpack) = self else { return };
        let count = words.len();
        let mut bytes = 0usize;
        let mut too_long = count / 2 > settings.limits.hash_max_listpack_entries;
        for word in words {
            bytes = bytes.saturating_add(word.len());
            too_long |= word.len() > settings.limits.hash_max_listpack_value_bytes;
        }
        if too_long || !listpack.fits(count, bytes) {
            self.become_table(settings);
        }
    }

    /// The value of a field.
    pub fn value(&self, name: &[u8]) -> Option<Element<'_>> {
        match self {
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
            Self::Packed(listpack) => listpack.find(listpack.first(), name, 1).is_some(),
            Self::Table(fields) => fields.value(name).is_some(),
        }
    }

    /// Sets the value of a field. True if the field is new.
    pub fn set(&mut self, name: &[u8], value: &[u8], settings: Settings<'_>) -> bool {
        let limits = settings.limits;
        if let Self::Packed(listpack) = self {
            let max_bytes = limits.hash_max_listpack_value_bytes;
            let too_long = name.len() > max_bytes || value.len() > max_bytes;
            if too_long || !listpack.fits(2, name.len() + value.len()) {
                self.become_table(settings);
            }
        }
        match self {
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
        if let Self::Table(fields) = self {
            return fields
                .scan(cursor, count, |name, value| visit(Element::Bytes(name), Element::Bytes(value)));
        }
        self.iter().for_each(|(name, value)| visit(name, value));
        0
    }

    /// A random field with its value; `None` if there are none.
    pub fn random(&self, rng: &mut Rng) -> Option<(Element<'_>, Element<'_>)> {
        match self {
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
        let places: Vec<At> = match self {
            Self::Packed(listpack) if count > 1 => listpack.places().step_by(2).collect(),
            _ => Vec::new(),
        };
        for _ in 0..count {
            let pair = match (self, rng.choose(&places)) {
                (Self::Packed(listpack), Some(at)) => pair_at(listpack, *at),
                _ => self.random(rng),
            };
            if !pair.is_some_and(|(name, value)| visit(name, value)) {
                return;
            }
        }
    }

    /// Visits `count` different random fields; all if there are not so many.
    pub fn sample(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Element<'_>, Element<'_>)) {
        if let Self::Table(fields) = self {
            fields.sample(count, rng, |name, value| visit(Element::Bytes(name), Element::Bytes(value)));
            return;
        }
        let mut selection = sample::Selection::new(self.len(), count);
        self.iter().filter(|_| selection.takes(rng)).for_each(|(name, value)| visit(name, value));
    }

    /// The fields' table, if they are in one.
    pub fn table(&self) -> Option<&Fields> {
        match self {
            Self::Packed(_) => None,
            Self::Table(fields) => Some(fields),
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
        }
    }

    fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Table(_) => "hashtable",
        }
    }

    fn size_bytes(&self, samples: usize) -> usize {
        match self {
            Self::Packed(listpack) => listpack.size_bytes(),
            Self::Table(fields) => fields.size_bytes(samples),
        }
    }

    fn mix_into(&self, digest: &mut Digest) {
        for (name, value) in self.iter() {
            let mut pair = Digest::default();
            name.with_text(|name| pair.mix(name));
            value.with_text(|value| pair.mix(value));
            digest.xor(&pair.0);
        }
    }

    fn free_effort(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Table(fields) => fields.len(),
        }
    }
}

#[cfg(test)]
mod tests;
