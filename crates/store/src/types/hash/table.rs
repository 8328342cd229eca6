//! The fields of a large hash.

use crate::hasher::Hasher;
use crate::sample;
use crate::table::Table;
use crate::types::block::Field;
use crate::types::scaled;
use shoal_machine::Rng;

/// A table of fields, each with its value in a block of its own.
#[derive(Debug)]
pub struct Fields {
    table: Table<Field>,
    hasher: Hasher,
}

impl Fields {
    pub(super) fn new(hasher: Hasher) -> Self {
        Self { table: Table::new(), hasher }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    #[inline]
    pub(super) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        let position = self.table.find(self.hasher.hash(name), name)?;
        Some(Field::pair_in(&self.table.item(position)).1)
    }

    pub(super) fn prefetch<'k>(&self, fields: impl Iterator<Item = &'k [u8]>) {
        self.table.prefetch_keys(&self.hasher, fields);
    }

    pub(super) fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        let hash = self.hasher.hash(name);
        match self.table.find(hash, name) {
            Some(position) => {
                self.table.item_mut(position).set_value(value);
                false
            }
            None => {
                self.table.insert(&self.hasher, hash, Field::new(name, value));
                true
            }
        }
    }

    pub(super) fn remove(&mut self, name: &[u8], keep_size: bool) -> bool {
        let hash = self.hasher.hash(name);
        match self.table.find(hash, name) {
            Some(position) => {
                drop(self.table.remove(&self.hasher, position, hash, keep_size));
                true
            }
            None => false,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.table.iter().map(|item| Field::pair_in(&item))
    }

    pub(super) fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], &[u8])) -> u64 {
        self.table.scan(cursor, count, false, |item| {
            let (name, value) = Field::pair_in(&item);
            visit(name, value);
        })
    }

    pub(super) fn random(&self, rng: &mut Rng) -> Option<(&[u8], &[u8])> {
        self.table.random(false, || rng.next_u64()).map(|item| Field::pair_in(&item))
    }

    pub(super) fn sample(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(&[u8], &[u8])) {
        sample::distinct_items(&self.table, count, rng, |item| {
            let (name, value) = Field::pair_in(&item);
            visit(name, value);
        });
    }

    /// The table behind the fields.
    pub fn table(&self) -> &Table<Field> {
        &self.table
    }

    pub(super) fn size_bytes(&self, samples: usize) -> usize {
        let samples = if samples == 0 { usize::MAX } else { samples };
        let sizes = self.table.iter().take(samples).map(|field| field.size_bytes());
        let (count, bytes) = sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
        size_of::<Self>() + self.table.size_bytes() + scaled(bytes, count, self.len())
    }
}

impl Clone for Fields {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.hasher);
        for (name, value) in self.iter() {
            copy.table.insert(&self.hasher, self.hasher.hash(name), Field::new(name, value));
        }
        copy
    }
}
