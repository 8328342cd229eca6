//! Large sorted sets: a B+ tree for the order, a hash table for the members.

#![allow(unsafe_code)]

use super::nodes::{ElementTarget, Leaf, Node, Target};
use super::scored::{Link, Scored};
use crate::hasher::Hasher;
use crate::table::{Position, Statistics, Table};
use std::ops::Range;

/// Elements by score and by member.
///
/// The table owns the elements; the nodes link to them. An element is linked as long as it is in the table, and no longer.
#[derive(Debug)]
pub struct Tree {
    hasher: Hasher,
    table: Table<Scored>,
    root: Node,
}

impl Tree {
    /// An empty one that hashes its members with `hasher`.
    pub fn new(hasher: Hasher) -> Self {
        Self { hasher, table: Table::new(), root: Node::default() }
    }

    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// How well the table of the members is filled.
    pub fn table_statistics(&self) -> Statistics {
        self.table.statistics(false)
    }

    /// Asks the processor for what look-ups of these members will touch.
    pub fn prefetch<'k>(&self, members: impl Iterator<Item = &'k [u8]>) {
        self.table.prefetch_keys(&self.hasher, members);
    }

    /// The score of a member.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        let position = self.table.find(self.hasher.hash(member), member)?;
        Some(self.table.item(position).score())
    }

    /// Gives `decide` the score of a member, and the member the score that it returns, if any. Returns the score before.
    pub fn update(&mut self, member: &[u8], decide: impl FnOnce(Option<f64>) -> Option<f64>) -> Option<f64> {
        let hash = self.hasher.hash(member);
        match self.table.find(hash, member) {
            Some(position) => {
                let before = self.table.item(position).score();
                match decide(Some(before)) {
                    Some(score) if score != before => self.change(position, member, before, score),
                    // Zeros of both signs have the same place.
                    Some(score) => self.table.item_mut(position).set_score(score),
                    None => {}
                }
                Some(before)
            }
            None => {
                if let Some(score) = decide(None) {
                    let scored = Scored::new(score, member);
                    // SAFETY: the element goes into the table, and is unlinked before it leaves it.
                    let link = unsafe { scored.link() };
                    self.table.insert(&self.hasher, hash, scored);
                    self.root.insert_at_root(&ElementTarget { score, member, behind: false }, link);
                }
                None
            }
        }
    }

    fn change(&mut self, position: Position, member: &[u8], before: f64, score: f64) {
        let unlinked = self.root.remove_at_root(&ElementTarget { score: before, member, behind: true });
        debug_assert!(unlinked.is_some(), "every element of the table is linked");
        let mut scored = self.table.item_mut(position);
        scored.set_score(score);
        // SAFETY: as in `update`; the score is not changed any more.
        let link = unsafe { scored.link() };
        drop(scored);
        self.root.insert_at_root(&ElementTarget { score, member, behind: false }, link);
    }

    /// Takes a member out. Returns its score. The table does not shrink with `keep_size`.
    pub fn remove(&mut self, member: &[u8], keep_size: bool) -> Option<f64> {
        let hash = self.hasher.hash(member);
        let position = self.table.find(hash, member)?;
        let score = self.table.item(position).score();
        self.root.remove_at_root(&ElementTarget { score, member, behind: true })?;
        drop(self.table.remove(&self.hasher, position, hash, keep_size));
        Some(score)
    }

    /// Takes out the elements with these indexes. The table does not shrink with `keep_size`.
    pub fn remove_range(&mut self, range: Range<usize>, keep_size: bool) {
        for _ in range.clone() {
            let (leaf, index) = self.root.leaf_at(range.start);
            let Some(link) = leaf.links().get(index).copied() else { return };
            let (score, member) = (link.score(), link.member());
            let hash = self.hasher.hash(member);
            self.root.remove_at_root(&ElementTarget { score, member, behind: true });
            let Some(position) = self.table.find(hash, member) else { return };
            drop(self.table.remove(&self.hasher, position, hash, keep_size));
        }
    }

    /// Index and score of a member.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        Some((self.root.count_before(&ElementTarget { score, member, behind: false }), score))
    }

    /// How many elements stand before a place.
    pub fn count_before(&self, target: &impl Target) -> usize {
        self.root.count_before(target)
    }

    /// The elements with these indexes, in order, from either end.
    pub fn range(&self, range: Range<usize>) -> Iter<'_> {
        let end = range.end.min(self.len());
        Iter { root: &self.root, range: range.start.min(end)..end, front: &[], back: &[] }
    }

    /// A random element; `random` gives 64 random bits.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<(&[u8], f64)> {
        let length = self.len() as u64;
        if length == 0 {
            return None;
        }
        let index = ((u128::from(random()) * u128::from(length)) >> 64) as usize;
        let (leaf, index) = self.root.leaf_at(index);
        leaf.links().get(index).map(|link| (link.member(), link.score()))
    }

    /// Visits elements from `cursor` on, about `count`, in the order of their hashes. Returns the cursor to go on with, 0 at
    /// the end. Every element that is there from start to end is visited.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], f64)) -> u64 {
        self.table.scan(cursor, count, false, |scored| visit(scored.member(), scored.score()))
    }

    /// Bytes on the heap; the elements' from a sample of so many (0: all).
    pub fn size_bytes(&self, samples: usize) -> usize {
        let sample = if samples == 0 { self.len() } else { samples.min(self.len()) };
        let mut bytes = 0;
        let mut left = sample;
        self.table.scan(0, sample, false, |scored| {
            if left > 0 {
                left -= 1;
                bytes += scored.size_bytes();
            }
        });
        let elements = (bytes as u128 * self.len() as u128).checked_div(sample as u128).unwrap_or(0);
        let nodes = if samples == 0 { self.root.size_bytes() } else { self.estimated_node_bytes() };
        size_of::<Self>() + self.table.size_bytes() + nodes + elements as usize
    }

    /// About the bytes of all nodes, from how well some leaves are filled.
    fn estimated_node_bytes(&self) -> usize {
        const LEAVES: usize = 16;
        /// Inner nodes are about one part in so many.
        const INNER_SHARE: usize = 24;
        let filled = |sample: usize| self.root.leaf_at(self.len() / LEAVES * sample).0.links().len();
        let together: usize = (0..LEAVES).map(filled).sum();
        let leaves = (self.len() * LEAVES).checked_div(together).unwrap_or(0).max(1);
        let leaf_bytes = leaves * size_of::<Leaf>();
        leaf_bytes + leaf_bytes / INNER_SHARE
    }

    /// Looks at every node.
    #[cfg(test)]
    pub fn check(&self) {
        self.root.check();
        assert_eq!(self.range(0..usize::MAX).count(), self.len());
    }
}

impl Clone for Tree {
    fn clone(&self) -> Self {
        let mut clone = Self::new(self.hasher);
        for (member, score) in self.range(0..self.len()) {
            clone.update(member, |_| Some(score));
        }
        clone
    }
}

/// Elements in order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    root: &'a Node,
    range: Range<usize>,
    /// What is left of the leaf at the front.
    front: &'a [Link],
    /// What is left of the leaf at the back.
    back: &'a [Link],
}

/// Blocks of a leaf that are asked for before the first is looked at.
const PREFETCHED: usize = 16;

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        if self.front.is_empty() {
            let (leaf, index) = self.root.leaf_at(self.range.start);
            let links = &Leaf::links(leaf)[index..];
            self.front = &links[..links.len().min(self.range.len())];
            self.front.iter().take(PREFETCHED).for_each(|link| link.prefetch());
        } else if let Some(link) = self.front.get(PREFETCHED) {
            link.prefetch();
        }
        let (link, rest) = self.front.split_first()?;
        self.front = rest;
        self.range.start += 1;
        Some((link.member(), link.score()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.range.len(), Some(self.range.len()))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        if self.back.is_empty() {
            let (leaf, index) = self.root.leaf_at(self.range.end - 1);
            let links = &Leaf::links(leaf)[..=index];
            self.back = &links[links.len() - links.len().min(self.range.len())..];
            self.back.iter().rev().take(PREFETCHED).for_each(|link| link.prefetch());
        } else if let Some(at) = self.back.len().checked_sub(PREFETCHED + 1) {
            self.back[at].prefetch();
        }
        let (link, rest) = self.back.split_last()?;
        self.back = rest;
        self.range.end -= 1;
        Some((link.member(), link.score()))
    }
}

impl ExactSizeIterator for Iter<'_> {}
