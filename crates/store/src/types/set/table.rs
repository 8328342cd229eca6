//! The members of a large set.

use crate::hasher::Hasher;
use crate::sample;
use crate::table::Table;
use crate::types::block::Member;
use crate::types::scaled;
use shoal_machine::Rng;

/// A table of members, each a block of its own.
#[derive(Debug)]
pub struct Members {
    table: Table<Member>,
    hasher: Hasher,
}

impl Members {
    pub(super) fn new(hasher: Hasher) -> Self {
        Self { table: Table::new(), hasher }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    #[inline]
    pub(super) fn contains(&self, member: &[u8]) -> bool {
        self.table.find(self.hasher.hash(member), member).is_some()
    }

    pub(super) fn prefetch<'k>(&self, members: impl Iterator<Item = &'k [u8]>) {
        self.table.prefetch_keys(&self.hasher, members);
    }

    pub(super) fn insert(&mut self, member: &[u8]) -> bool {
        let hash = self.hasher.hash(member);
        if self.table.find(hash, member).is_some() {
            return false;
        }
        self.table.insert(&self.hasher, hash, Member::new(member));
        true
    }

    pub(super) fn remove(&mut self, member: &[u8], keep_size: bool) -> bool {
        let hash = self.hasher.hash(member);
        match self.table.find(hash, member) {
            Some(position) => {
                drop(self.table.remove(&self.hasher, position, hash, keep_size));
                true
            }
            None => false,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.table.iter().map(|item| Member::bytes_in(&item))
    }

    pub(super) fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8])) -> u64 {
        self.table.scan(cursor, count, false, |item| visit(Member::bytes_in(&item)))
    }

    pub(super) fn random(&self, rng: &mut Rng) -> Option<&[u8]> {
        self.table.random(false, || rng.next_u64()).map(|item| Member::bytes_in(&item))
    }

    pub(super) fn sample(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(&[u8])) {
        sample::distinct_items(&self.table, count, rng, |item| visit(Member::bytes_in(&item)));
    }

    /// The table behind the members.
    pub fn table(&self) -> &Table<Member> {
        &self.table
    }

    pub(super) fn size_bytes(&self, samples: usize) -> usize {
        let samples = if samples == 0 { usize::MAX } else { samples };
        let sizes = self.table.iter().take(samples).map(|member| member.size_bytes());
        let (count, bytes) = sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
        size_of::<Self>() + self.table.size_bytes() + scaled(bytes, count, self.len())
    }
}

impl Clone for Members {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.hasher);
        for member in self.iter() {
            copy.table.insert(&self.hasher, self.hasher.hash(member), Member::new(member));
        }
        copy
    }
}
