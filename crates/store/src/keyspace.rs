//! All databases of a node.

use crate::database::{Database, Found, Garbage, Layout};
use crate::entry::{Entry, Text};
use crate::hasher::Hasher;
use crate::table::{ItemMut, ItemRef};
use crate::types::Collection;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// The databases, and what waits to be freed.
#[derive(Debug)]
pub struct Keyspace {
    databases: Vec<Database>,
    hasher: Hasher,
    layout: Layout,
    garbage: Vec<Garbage>,
    /// While a snapshot shares the pages, tables do not shrink and access clocks stand still.
    pub frozen_pages: bool,
    /// A debugging aid: tables do not shrink.
    pub forbids_shrinking: bool,
}

impl Keyspace {
    /// `count` empty databases.
    pub fn new(count: usize, layout: Layout, hasher: Hasher) -> Self {
        let databases = (0..count.max(1)).map(|_| Database::new(layout, hasher)).collect();
        Self { databases, hasher, layout, garbage: Vec::new(), frozen_pages: false, forbids_shrinking: false }
    }

    /// An empty keyspace of the same shape, to be loaded beside this one.
    pub fn empty_like(&self) -> Self {
        Self::new(self.databases.len(), self.layout, self.hasher)
    }

    /// Whether tables keep their size when items go.
    pub fn keeps_size(&self) -> bool {
        self.frozen_pages || self.forbids_shrinking
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

    /// What keys and members are hashed with.
    pub fn hasher(&self) -> Hasher {
        self.hasher
    }

    /// The string of a key that is known to hold one (see [`crate::Call::string`]).
    pub fn string(&self, index: usize, found: Found) -> StringRef<'_> {
        StringRef { entry: self.database(index).entry(found) }
    }

    /// The collection of a key that is known to hold one of this type (see [`crate::Call::find_collection`]).
    pub fn collection<T: Collection>(&self, index: usize, found: Found) -> CollectionRef<'_, T> {
        CollectionRef { entry: self.database(index).entry(found), kind: PhantomData }
    }

    /// As [`Keyspace::collection`], to be changed.
    pub fn collection_mut<T: Collection>(&mut self, index: usize, found: Found) -> CollectionMut<'_, T> {
        CollectionMut { entry: self.database_mut(index).entry_mut(found), kind: PhantomData }
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

    /// Frees an entry: at once if that is cheap, else it waits for the shell.
    pub fn discard_entry(&mut self, entry: Entry) {
        if Self::is_dear(&entry) {
            self.discard(Garbage::Entry(entry));
        }
    }

    /// Whether an entry takes long to free.
    pub(crate) fn is_dear(entry: &Entry) -> bool {
        /// A string of more bytes is freed in the background.
        const LAZY_FREE_BYTES: usize = 64 * 1024;
        /// A collection of more allocations is freed in the background.
        const LAZY_FREE_EFFORT: usize = 64;
        match entry.text() {
            Some(Text::Shared(bytes)) => bytes.len() > LAZY_FREE_BYTES,
            Some(_) => false,
            None => entry.free_effort() > LAZY_FREE_EFFORT,
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

/// A look at a string.
#[derive(Debug)]
pub struct StringRef<'a> {
    entry: ItemRef<'a, Entry>,
}

impl StringRef<'_> {
    /// The string.
    #[inline]
    pub fn text(&self) -> Text<'_> {
        self.entry.text().expect("callers have looked at the type")
    }
}

/// A look at a collection.
#[derive(Debug)]
pub struct CollectionRef<'a, T> {
    entry: ItemRef<'a, Entry>,
    kind: PhantomData<T>,
}

impl<T: Collection> Deref for CollectionRef<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        T::of(self.entry.value()).expect("callers have looked at the type")
    }
}

/// A collection that may be changed.
#[derive(Debug)]
pub struct CollectionMut<'a, T> {
    entry: ItemMut<'a, Entry>,
    kind: PhantomData<T>,
}

impl<T: Collection> Deref for CollectionMut<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        T::of(self.entry.value()).expect("callers have looked at the type")
    }
}

impl<T: Collection> DerefMut for CollectionMut<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        T::of_mut(self.entry.value_mut()).expect("callers have looked at the type")
    }
}
