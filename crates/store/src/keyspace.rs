//! All databases of a node.

use crate::database::{Database, Garbage, Layout};
use crate::hasher::Hasher;

/// The databases, and what waits to be freed.
#[derive(Debug)]
pub struct Keyspace {
    databases: Vec<Database>,
    hasher: Hasher,
    layout: Layout,
    garbage: Vec<Garbage>,
    /// While a snapshot shares the pages, tables do not shrink and access clocks stand still.
    pub frozen_pages: bool,
}

impl Keyspace {
    /// `count` empty databases.
    pub fn new(count: usize, layout: Layout, hasher: Hasher) -> Self {
        let databases = (0..count.max(1)).map(|_| Database::new(layout, hasher)).collect();
        Self { databases, hasher, layout, garbage: Vec::new(), frozen_pages: false }
    }

    /// An empty keyspace of the same shape, to be loaded beside this one.
    pub fn empty_like(&self) -> Self {
        Self::new(self.databases.len(), self.layout, self.hasher)
    }

    /// The number of databases.
    pub fn database_count(&self) -> usize {
        self.databases.len()
    }

    /// Database `index`, which is below [`Keyspace::database_count`].
    pub fn database(&self, index: usize) -> &Database {
        &self.databases[index]
    }

    /// Database `index`, to be changed.
    pub fn database_mut(&mut self, index: usize) -> &mut Database {
        &mut self.databases[index]
    }

    /// All databases in order.
    pub fn databases(&self) -> impl Iterator<Item = &Database> {
        self.databases.iter()
    }

    /// Exchanges the content of two databases.
    pub fn swap(&mut self, first: usize, second: usize) {
        self.databases.swap(first, second);
    }

    /// The number of keys in all databases.
    pub fn len(&self) -> usize {
        self.databases.iter().map(Database::len).sum()
    }

    /// Whether there are no keys at all.
    pub fn is_empty(&self) -> bool {
        self.databases.iter().all(Database::is_empty)
    }

    /// Empties database `index`.
    pub fn clear(&mut self, index: usize) {
        let garbage = self.databases[index].clear();
        self.discard(garbage);
    }

    /// Empties all databases.
    pub fn clear_all(&mut self) {
        for index in 0..self.databases.len() {
            self.clear(index);
        }
    }

    /// Puts something aside to be freed by the shell.
    pub fn discard(&mut self, garbage: Garbage) {
        if garbage.cost() > 0 {
            self.garbage.push(garbage);
        }
    }

    /// What waits to be freed.
    pub fn take_garbage(&mut self) -> Vec<Garbage> {
        std::mem::take(&mut self.garbage)
    }

    /// Whether something waits to be freed.
    pub fn has_garbage(&self) -> bool {
        !self.garbage.is_empty()
    }
}
