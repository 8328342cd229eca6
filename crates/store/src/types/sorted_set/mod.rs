//! Sorted sets.
//!
//! Small ones are listpacks of members and scores by turns (`packed`); large ones are a B+ tree over heap blocks with a hash
//! table by member (`tree`, `nodes`; the blocks in `scored`). Every question about ranks, scores and members is answered with a range
//! of indexes, found in O(log n), over which [`SortedSet::range`] iterates from either end.

mod bounds;
mod nodes;
mod packed;
mod scored;
mod tree;

pub use bounds::{Interval, LexBound, LexRange, ScoreBound, ScoreRange};
pub use scored::MEMBER_MAX_BYTES;

use super::{Collection, Settings, are_distinct, collection_of};
use crate::digest::Digest;
use crate::hasher::Hasher;
use bounds::Edge;
use shoal_formats::listpack::{Element, Listpack};
use shoal_protocol::number::DoubleText;
use std::ops::Range;
use tree::Tree;

/// Members in the order of their scores, those of equal scores in the order of their bytes.
#[derive(Clone, Debug)]
pub enum SortedSet {
    /// Small ones.
    Packed(Listpack),
    /// Large ones.
    Tree(Box<Tree>),
}

impl Default for SortedSet {
    fn default() -> Self {
        Self::Packed(Listpack::new())
    }
}

impl SortedSet {
    /// An empty set of the encoding that suits one of about so many members, the longest of so many bytes.
    pub fn with_expected(members: usize, longest_bytes: usize, settings: Settings<'_>) -> Self {
        if allows_packed(settings, members.max(1), longest_bytes) {
            Self::default()
        } else {
            Self::Tree(Box::new(Tree::new(settings.hasher)))
        }
    }

    /// A listpack of members and scores by turns, as files keep it. One that is out of order is put in order.
    ///
    /// `None` if a score is missing or not a number, or, with `check_duplicates`, if a member is there twice.
    pub fn from_listpack(listpack: Listpack, check_duplicates: bool, settings: Settings<'_>) -> Option<Self> {
        let members = || listpack.iter().step_by(2);
        if !packed::has_scores(&listpack) || (check_duplicates && !are_distinct(members(), settings.hasher)) {
            return None;
        }
        let count = listpack.len() / 2;
        let longest_bytes = members().map(Element::text_length).max().unwrap_or(0);
        if allows_packed(settings, count, longest_bytes) && packed::is_in_order(&listpack) {
            return Some(Self::Packed(listpack));
        }
        let mut set = Self::with_expected(count, longest_bytes, settings);
        for pair in packed::pairs(&listpack) {
            pair.member.with_text(|member| set.update(member, settings, |_| Some(pair.score)));
        }
        Some(set)
    }

    /// The listpack of a small set, as files keep it.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match self {
            Self::Packed(listpack) => Some(listpack),
            Self::Tree(_) => None,
        }
    }

    /// Asks the processor for what look-ups of these members will touch, if there is anything worth asking for.
    pub fn prefetch<'k>(&self, members: impl Iterator<Item = &'k [u8]>) {
        if let Self::Tree(tree) = self {
            tree.prefetch(members);
        }
    }

    /// The score of a member.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(listpack) => packed::find(listpack, member).map(|pair| pair.score),
            Self::Tree(tree) => tree.score(member),
        }
    }

    /// Puts a member in with a score, or gives it this score. Returns the score before.
    pub fn insert(&mut self, member: &[u8], score: f64, settings: Settings<'_>) -> Option<f64> {
        self.update(member, settings, |_| Some(score))
    }

    /// Gives `decide` the score of a member, and the member the score that it returns, if any: it is put in if it is not
    /// there. Returns the score before. Scores are numbers.
    pub fn update(
        &mut self,
        member: &[u8],
        settings: Settings<'_>,
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Option<f64> {
        let listpack = match self {
            Self::Packed(listpack) => listpack,
            Self::Tree(tree) => return tree.update(member, decide),
        };
        let found = packed::find(listpack, member).map(|pair| (pair.at, pair.score));
        let before = found.map(|(_, score)| score);
        let Some(score) = decide(before) else { return before };
        match found {
            Some((_, before)) if before == score => {}
            Some((at, _)) => {
                listpack.remove(at, 2);
                packed::insert(listpack, member, score);
            }
            None => {
                /// The longest text of a score.
                const SCORE_MAX_BYTES: usize = 40;
                let count = listpack.len() / 2 + 1;
                if allows_packed(settings, count, member.len())
                    && listpack.fits(2, member.len() + SCORE_MAX_BYTES)
                {
                    packed::insert(listpack, member, score);
                } else {
                    self.become_tree(settings.hasher).update(member, |_| Some(score));
                }
            }
        }
        before
    }

    /// Becomes a large set, whatever its size.
    fn become_tree(&mut self, hasher: Hasher) -> &mut Tree {
        if let Self::Packed(listpack) = self {
            let mut tree = Box::new(Tree::new(hasher));
            for pair in packed::pairs(listpack) {
                pair.member.with_text(|member| tree.update(member, |_| Some(pair.score)));
            }
            *self = Self::Tree(tree);
        }
        match self {
            Self::Tree(tree) => tree,
            Self::Packed(_) => unreachable!("it has just become a tree"),
        }
    }

    /// Becomes a small set if the limits allow it: for sets that are complete when they are stored.
    pub fn shrink(&mut self, settings: Settings<'_>) {
        let Self::Tree(tree) = self else { return };
        if tree.len() > settings.limits.zset_max_listpack_entries {
            return;
        }
        let (mut longest_bytes, mut all_bytes) = (0, 0);
        for (member, _) in tree.range(0..tree.len()) {
            longest_bytes = longest_bytes.max(member.len());
            all_bytes += member.len();
        }
        let mut listpack = Listpack::new();
        if allows_packed(settings, tree.len(), longest_bytes) && listpack.fits(tree.len() * 8, all_bytes) {
            tree.range(0..tree.len())
                .for_each(|(member, score)| packed::insert(&mut listpack, member, score));
            *self = Self::Packed(listpack);
        }
    }

    /// Gets ready for so many members at once.
    pub fn expect(&mut self, members: usize, settings: Settings<'_>) {
        if members > settings.limits.zset_max_listpack_entries {
            self.become_tree(settings.hasher);
        }
    }

    /// Takes a member out. Returns its score.
    pub fn remove(&mut self, member: &[u8], settings: Settings<'_>) -> Option<f64> {
        match self {
            Self::Packed(listpack) => {
                let (at, score) = packed::find(listpack, member).map(|pair| (pair.at, pair.score))?;
                listpack.remove(at, 2);
                Some(score)
            }
            Self::Tree(tree) => tree.remove(member, settings.keep_size),
        }
    }

    /// Takes out the members with these indexes. Returns how many.
    pub fn remove_range(&mut self, range: Range<usize>, settings: Settings<'_>) -> usize {
        let before = self.len();
        let range = range.start..range.end.min(before);
        match self {
            _ if range.is_empty() => {}
            Self::Packed(listpack) => {
                if let Some(at) = listpack.seek(range.start as i64 * 2) {
                    listpack.remove(at, range.len() * 2);
                }
            }
            Self::Tree(tree) => tree.remove_range(range, settings.keep_size),
        }
        before - self.len()
    }

    /// Index and score of a member.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            Self::Packed(listpack) => packed::rank(listpack, member),
            Self::Tree(tree) => tree.rank(member),
        }
    }

    /// The indexes of the members of an interval but for the first `offset`, which are the last if it is looked at
    /// `backwards`.
    pub fn interval(&self, interval: &Interval<'_>, backwards: bool, offset: usize) -> Range<usize> {
        match self {
            Self::Packed(listpack) => packed::interval(listpack, interval, backwards, offset),
            Self::Tree(tree) => {
                let start = tree.count_before(&Edge { interval, is_end: false });
                let end = tree.count_before(&Edge { interval, is_end: true });
                if end.saturating_sub(start) <= offset {
                    start..start
                } else if backwards {
                    start..end - offset
                } else {
                    start + offset..end
                }
            }
        }
    }

    /// The members with these indexes, in order, from either end.
    pub fn range(&self, range: Range<usize>) -> Iter<'_> {
        Iter(match self {
            Self::Packed(listpack) => Inner::Packed(packed::range(listpack, range)),
            Self::Tree(tree) => Inner::Tree(tree.range(range)),
        })
    }

    /// All members in order, from either end.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0..self.len())
    }

    /// A random member and its score; `random` gives 64 random bits.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<(Element<'_>, f64)> {
        match self {
            Self::Packed(listpack) => {
                let index = (u128::from(random()) * (listpack.len() / 2) as u128) >> 64;
                packed::range(listpack, index as usize..index as usize + 1)
                    .next()
                    .map(|pair| (pair.member, pair.score))
            }
            Self::Tree(tree) => tree.random(random).map(|(member, score)| (Element::Bytes(member), score)),
        }
    }

    /// Visits members from `cursor` on, about `count`; all of a small set at once. Returns the cursor to go on with, 0 at the
    /// end. Every member that is there from start to end is visited.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Element<'_>, f64)) -> u64 {
        match self {
            Self::Packed(listpack) => {
                packed::pairs(listpack).for_each(|pair| visit(pair.member, pair.score));
                0
            }
            Self::Tree(tree) => {
                tree.scan(cursor, count, |member, score| visit(Element::Bytes(member), score))
            }
        }
    }
}

/// Whether a listpack may hold so many members, the longest of so many bytes.
fn allows_packed(settings: Settings<'_>, members: usize, longest_bytes: usize) -> bool {
    members <= settings.limits.zset_max_listpack_entries
        && longest_bytes <= settings.limits.zset_max_listpack_value_bytes
}

/// Members and their scores, in order.
#[derive(Clone, Debug)]
pub struct Iter<'a>(Inner<'a>);

#[derive(Clone, Debug)]
enum Inner<'a> {
    Packed(packed::Pairs<'a>),
    Tree(tree::Iter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Element<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Inner::Packed(pairs) => pairs.next().map(|pair| (pair.member, pair.score)),
            Inner::Tree(iter) => iter.next().map(|(member, score)| (Element::Bytes(member), score)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Inner::Packed(pairs) => pairs.size_hint(),
            Inner::Tree(iter) => iter.size_hint(),
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Inner::Packed(pairs) => pairs.next_back().map(|pair| (pair.member, pair.score)),
            Inner::Tree(iter) => iter.next_back().map(|(member, score)| (Element::Bytes(member), score)),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl Collection for SortedSet {
    collection_of!(SortedSet);

    fn len(&self) -> usize {
        match self {
            Self::Packed(listpack) => listpack.len() / 2,
            Self::Tree(tree) => tree.len(),
        }
    }

    fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Tree(_) => "skiplist",
        }
    }

    fn size_bytes(&self, samples: usize) -> usize {
        match self {
            Self::Packed(listpack) => listpack.size_bytes(),
            Self::Tree(tree) => tree.size_bytes(samples),
        }
    }

    fn mix_into(&self, digest: &mut Digest) {
        for (member, score) in self.iter() {
            let mut element = Digest::default();
            member.with_text(|member| element.mix(member));
            element.mix(DoubleText::with_17_digits(score).as_bytes());
            digest.xor(&element.0);
        }
    }

    fn free_effort(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Tree(tree) => tree.len(),
        }
    }
}

#[cfg(test)]
mod tests;
