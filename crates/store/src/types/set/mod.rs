//! Sets: sorted integers, a listpack or a table, as the directives `set-max-…` say.
//!
//! A set begins as integers or as a listpack and only ever grows into something larger: integers become a listpack with the
//! first member that is none, and both become a table beyond their limits. Source of the rules: Redis 7.2.

mod table;

use super::{Collection, Settings, are_distinct, collection_of};
use crate::digest::Digest;
use crate::sample;
use shoal_formats::intset::{self, Intset};
use shoal_formats::listpack::{self, ELEMENT_OVERHEAD_MAX_BYTES, Element, Listpack};
use shoal_machine::Rng;
use shoal_protocol::number;
use table::Members;

/// Strings, each once, in no order.
#[derive(Clone, Debug)]
pub enum Set {
    /// Integers only.
    Integers(Intset),
    /// Few members.
    Packed(Listpack),
    /// Many members.
    Table(Box<Members>),
}

impl Default for Set {
    fn default() -> Self {
        Self::Integers(Intset::new())
    }
}

impl Set {
    /// An empty set for about `count` members that begin with `first`.
    pub fn for_members(first: &[u8], count: usize, settings: Settings<'_>) -> Self {
        let limits = settings.limits;
        if number::parse_i64(first).is_some() && count <= limits.set_max_intset_entries {
            Self::Integers(Intset::new())
        } else if count <= limits.set_max_listpack_entries {
            Self::Packed(Listpack::new())
        } else {
            Self::Table(Box::new(Members::new(settings.hasher)))
        }
    }

    /// A set of members that a file kept as integers.
    pub fn from_intset(intset: Intset, settings: Settings<'_>) -> Self {
        let mut set = Self::Integers(intset);
        set.check_integers(settings);
        set
    }

    /// A set of members that a file kept as a listpack; `None` if one of them is there twice, which is looked for if asked.
    pub fn from_listpack(listpack: Listpack, check_duplicates: bool, settings: Settings<'_>) -> Option<Self> {
        if check_duplicates && !are_distinct(listpack.iter(), settings.hasher) {
            return None;
        }
        let mut set = Self::Packed(listpack);
        if set.len() > settings.limits.set_max_listpack_entries {
            set.become_table(settings);
        }
        Some(set)
    }

    /// Gets ready for `count` members to be inserted.
    pub fn expect(&mut self, count: usize, settings: Settings<'_>) {
        let limit = match self {
            Self::Integers(_) => settings.limits.set_max_intset_entries,
            Self::Packed(_) => settings.limits.set_max_listpack_entries,
            Self::Table(_) => return,
        };
        if count > limit {
            self.become_table(settings);
        }
    }

    /// Asks the processor for what look-ups of these members will touch, if there is anything worth asking for.
    pub fn prefetch<'k>(&self, names: impl Iterator<Item = &'k [u8]>) {
        if let Self::Table(members) = self {
            members.prefetch(names);
        }
    }

    /// Puts a member into the set. False if it was there.
    pub fn insert(&mut self, member: &[u8], settings: Settings<'_>) -> bool {
        if let Self::Table(members) = self {
            return members.insert(member);
        }
        self.insert_element(Element::of(member), settings)
    }

    /// As [`Set::insert`].
    pub fn insert_element(&mut self, member: Element<'_>, settings: Settings<'_>) -> bool {
        match (&mut *self, member) {
            (Self::Table(members), member) => return member.with_text(|text| members.insert(text)),
            (Self::Integers(intset), Element::Integer(integer)) => {
                let inserted = intset.insert(integer);
                self.check_integers(settings);
                return inserted;
            }
            (Self::Integers(intset), Element::Bytes(bytes)) => {
                let integers_fit = longest_text(intset) <= settings.limits.set_max_listpack_value_bytes;
                if integers_fit && fits_listpack(intset.len(), bytes.len(), settings) {
                    let mut listpack = Listpack::new();
                    intset.iter().for_each(|integer| listpack.push_element(Element::Integer(integer)));
                    listpack.push_element(member);
                    *self = Self::Packed(listpack);
                    return true;
                }
            }
            (Self::Packed(listpack), member) => {
                if listpack.find_element(listpack.first(), member, 0).is_some() {
                    return false;
                }
                let bytes = member.text_length();
                if fits_listpack(listpack.len(), bytes, settings) && listpack.fits(1, bytes) {
                    listpack.push_element(member);
                    return true;
                }
            }
        }
        self.become_table(settings);
        self.insert_element(member, settings)
    }

    /// Takes a member out. False if it was not there.
    pub fn remove(&mut self, member: &[u8], settings: Settings<'_>) -> bool {
        match self {
            Self::Integers(intset) => number::parse_i64(member).is_some_and(|integer| intset.remove(integer)),
            Self::Packed(listpack) => match listpack.find(listpack.first(), member, 0) {
                Some(at) => listpack.remove(at, 1) > 0,
                None => false,
            },
            Self::Table(members) => members.remove(member, settings.keep_size),
        }
    }

    /// Whether a member is in the set.
    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            Self::Table(members) => members.contains(member),
            _ => self.contains_element(Element::of(member)),
        }
    }

    /// As [`Set::contains`].
    pub fn contains_element(&self, member: Element<'_>) -> bool {
        match (self, member) {
            (Self::Integers(intset), Element::Integer(integer)) => intset.contains(integer),
            // Members of a table are not looked at whether they are integers.
            (Self::Integers(intset), Element::Bytes(bytes)) => {
                number::parse_i64(bytes).is_some_and(|integer| intset.contains(integer))
            }
            (Self::Packed(listpack), Element::Integer(_)) => {
                listpack.find_element(listpack.first(), member, 0).is_some()
            }
            (Self::Packed(listpack), Element::Bytes(bytes)) => {
                listpack.find(listpack.first(), bytes, 0).is_some()
            }
            (Self::Table(members), member) => member.with_text(|text| members.contains(text)),
        }
    }

    /// All members: integers ascending, those of a listpack in its order, those of a table in no order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = Element<'_>> + '_> {
        match self {
            Self::Integers(intset) => Box::new(intset.iter().map(Element::Integer)),
            Self::Packed(listpack) => Box::new(listpack.iter()),
            Self::Table(members) => Box::new(members.iter().map(Element::Bytes)),
        }
    }

    /// Visits members from `cursor` on, about `count`, but all at once if they are not in a table. Returns the cursor to go
    /// on with, 0 at the end. Every member that is there from start to end is visited.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Element<'_>)) -> u64 {
        if let Self::Table(members) = self {
            return members.scan(cursor, count, |member| visit(Element::Bytes(member)));
        }
        self.iter().for_each(visit);
        0
    }

    /// A random member; `None` if there are none.
    pub fn random(&self, rng: &mut Rng) -> Option<Element<'_>> {
        match self {
            Self::Integers(intset) => intset.get(rng.index(intset.len())).map(Element::Integer),
            Self::Packed(listpack) => {
                let at = listpack.seek(rng.index(listpack.len()) as i64)?;
                Some(listpack.get(at))
            }
            Self::Table(members) => members.random(rng).map(Element::Bytes),
        }
    }

    /// Visits `count` random members, of which some may be the same, until `visit` returns false.
    pub fn draw(&self, count: u64, rng: &mut Rng, mut visit: impl FnMut(Element<'_>) -> bool) {
        let places: Vec<listpack::At> = match self {
            Self::Packed(listpack) if count > 1 => listpack.places().collect(),
            _ => Vec::new(),
        };
        for _ in 0..count {
            let member = match (self, rng.choose(&places)) {
                (Self::Packed(listpack), Some(at)) => Some(listpack.get(*at)),
                _ => self.random(rng),
            };
            if !member.is_some_and(&mut visit) {
                return;
            }
        }
    }

    /// Visits `count` different random members; all if there are not so many.
    pub fn sample(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Element<'_>)) {
        match self {
            Self::Table(members) => members.sample(count, rng, |member| visit(Element::Bytes(member))),
            Self::Integers(intset) => {
                let indices = sample::distinct_indices(intset.len(), count, rng);
                indices.filter_map(|at| intset.get(at)).for_each(|integer| visit(Element::Integer(integer)));
            }
            Self::Packed(listpack) => {
                let mut selection = sample::Selection::new(listpack.len(), count);
                listpack.iter().filter(|_| selection.takes(rng)).for_each(visit);
            }
        }
    }

    /// Becomes integers again if all members are and there are few: what the store of an intersection does.
    pub fn become_integers_if_possible(&mut self, settings: Settings<'_>) {
        if matches!(self, Self::Integers(_)) || self.len() > intset_max(settings) {
            return;
        }
        let mut integers = Vec::with_capacity(self.len());
        for member in self.iter() {
            match member.with_text(number::parse_i64) {
                Some(integer) => integers.push(integer),
                None => return,
            }
        }
        integers.sort_unstable();
        let mut intset = Intset::new();
        integers.into_iter().for_each(|integer| {
            intset.insert(integer);
        });
        *self = Self::Integers(intset);
    }

    /// The members' table, if they are in one.
    pub fn table(&self) -> Option<&Members> {
        match self {
            Self::Table(members) => Some(members),
            _ => None,
        }
    }

    fn check_integers(&mut self, settings: Settings<'_>) {
        if let Self::Integers(intset) = self
            && intset.len() > intset_max(settings)
        {
            self.become_table(settings);
        }
    }

    fn become_table(&mut self, settings: Settings<'_>) {
        let mut members = Members::new(settings.hasher);
        for member in self.iter() {
            member.with_text(|text| members.insert(text));
        }
        *self = Self::Table(Box::new(members));
    }
}

/// Integers beyond this are no intset, whatever the directive says: their bytes would be too many.
fn intset_max(settings: Settings<'_>) -> usize {
    const BYTES_PER_INTEGER: usize = 8;
    settings.limits.set_max_intset_entries.min(intset::MAX_BYTES / BYTES_PER_INTEGER - 2)
}

/// Whether a set of `count` members may have one of so many bytes more as a listpack.
fn fits_listpack(count: usize, bytes: usize, settings: Settings<'_>) -> bool {
    let limits = settings.limits;
    count < limits.set_max_listpack_entries
        && bytes <= limits.set_max_listpack_value_bytes
        && count < listpack::MAX_BYTES / (2 * ELEMENT_OVERHEAD_MAX_BYTES)
}

/// The number of characters of the longest integer.
fn longest_text(intset: &Intset) -> usize {
    let ends = [intset.get(0), intset.len().checked_sub(1).and_then(|last| intset.get(last))];
    let lengths = ends.into_iter().flatten().map(|integer| Element::Integer(integer).text_length());
    lengths.max().unwrap_or(0)
}

impl Collection for Set {
    collection_of!(Set);

    fn len(&self) -> usize {
        match self {
            Self::Integers(intset) => intset.len(),
            Self::Packed(listpack) => listpack.len(),
            Self::Table(members) => members.len(),
        }
    }

    fn encoding(&self) -> &'static str {
        match self {
            Self::Integers(_) => "intset",
            Self::Packed(_) => "listpack",
            Self::Table(_) => "hashtable",
        }
    }

    fn size_bytes(&self, samples: usize) -> usize {
        match self {
            Self::Integers(intset) => intset.size_bytes(),
            Self::Packed(listpack) => listpack.size_bytes(),
            Self::Table(members) => members.size_bytes(samples),
        }
    }

    fn mix_into(&self, digest: &mut Digest) {
        self.iter().for_each(|member| member.with_text(|text| digest.xor(text)));
    }

    fn free_effort(&self) -> usize {
        match self {
            Self::Integers(_) | Self::Packed(_) => 1,
            Self::Table(members) => members.len(),
        }
    }
}

#[cfg(test)]
mod tests;
