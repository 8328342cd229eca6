//! The B+ tree that keeps members in order, with counts, so that ranks and indexes are found on the way down.
//!
//! ```text
//!  inner:  per child: score and link of its first element, number of elements, the child
//!  leaf:   per element: the upper half of its score as an ordered number, its link
//! ```
//!
//! - An inner node knows the scores at which its children begin, so a descent looks at members only where scores are equal.
//!   In a leaf the upper halves of the scores stand side by side; a block is looked at only where they are equal.
//! - A full leaf first gives elements to a neighbour; only if both neighbours are nearly full it splits. One that grows at its
//!   end splits off nothing but the new element. So leaves stay well filled, whatever the order of insertion.
//! - Nodes on the way down are split when they are full, so that a split below always finds room above.
//!
//! Elements are [`Link`]s: the nodes own nothing but themselves, and there is no `unsafe` here.

use super::scored::Link;
use arrayvec::ArrayVec;
use std::cmp::Ordering;

/// Elements of a leaf; with their counts they fill 768 bytes, a size class of the allocator.
pub const LEAF_MAX: usize = 63;
/// Children of an inner node.
const INNER_MAX: usize = 40;
/// A neighbour with less room than this is left alone when a leaf is full.
const WORTHWHILE_ROOM: usize = 8;
/// A leaf with fewer elements looks for a neighbour to join.
const LEAF_MIN: usize = LEAF_MAX / 3;
/// An inner node with fewer children looks for a neighbour to join.
const INNER_MIN: usize = INNER_MAX / 4;

/// A place between elements: those before it come first.
pub trait Target {
    /// If there is one, all elements with smaller scores stand before the place, all with larger ones behind it.
    fn score(&self) -> Option<f64>;

    /// Whether the place is behind this element.
    fn is_behind(&self, link: &Link) -> bool;
}

/// The place of an element.
#[derive(Clone, Copy, Debug)]
pub struct ElementTarget<'a> {
    /// Its score.
    pub score: f64,
    /// Its member.
    pub member: &'a [u8],
    /// Behind it, if it is there; else before it.
    pub behind: bool,
}

impl Target for ElementTarget<'_> {
    #[inline]
    fn score(&self) -> Option<f64> {
        Some(self.score)
    }

    #[inline]
    fn is_behind(&self, link: &Link) -> bool {
        let score = link.score();
        if score != self.score {
            return score < self.score;
        }
        match link.member().cmp(self.member) {
            Ordering::Less => true,
            Ordering::Equal => self.behind,
            Ordering::Greater => false,
        }
    }
}

/// The upper half of a score as a number of the same order; zeros of both signs are equal, as scores are.
#[inline]
fn prefix_of(score: f64) -> u32 {
    const SIGN: u64 = 1 << 63;
    let bits = (score + 0.0).to_bits();
    let ordered = if bits & SIGN == 0 { bits | SIGN } else { !bits };
    (ordered >> 32) as u32
}

/// A node of either kind.
#[derive(Debug)]
pub enum Node {
    /// Elements.
    Leaf(Box<Leaf>),
    /// Other nodes.
    Inner(Box<Inner>),
}

impl Default for Node {
    fn default() -> Self {
        Self::Leaf(Box::default())
    }
}

impl Node {
    fn is_full(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.links.is_full(),
            Self::Inner(inner) => inner.children.is_full(),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.links.is_empty(),
            Self::Inner(inner) => inner.children.is_empty(),
        }
    }

    fn is_sparse(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.links.len() < LEAF_MIN,
            Self::Inner(inner) => inner.children.len() < INNER_MIN,
        }
    }

    /// The number of elements below this node.
    fn count(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.links.len(),
            Self::Inner(inner) => inner.counts.iter().sum(),
        }
    }

    /// Score and link of the first element; the node is not empty.
    fn first(&self) -> (f64, Link) {
        match self {
            Self::Leaf(leaf) => (leaf.links[0].score(), leaf.links[0]),
            Self::Inner(inner) => (inner.scores[0], inner.firsts[0]),
        }
    }

    /// Puts an element that is not there into the tree of which this is the root.
    pub fn insert_at_root(&mut self, target: &ElementTarget<'_>, link: Link) {
        if self.is_full() {
            let mut root = Box::<Inner>::default();
            root.put(0, std::mem::take(self));
            *self = Self::Inner(root);
        }
        self.insert(target, link);
    }

    /// Puts an element into a node that is not full. True if it is the first now.
    fn insert(&mut self, target: &ElementTarget<'_>, link: Link) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.insert(leaf.position(target), target.score, link),
            Self::Inner(inner) => inner.insert(target, link),
        }
    }

    /// Takes an element out of the tree of which this is the root.
    pub fn remove_at_root(&mut self, target: &ElementTarget<'_>) -> Option<Link> {
        let (link, _) = self.remove(target)?;
        while let Self::Inner(inner) = self {
            match inner.children.len() {
                0 => *self = Self::default(),
                1 => {
                    let Some(child) = inner.children.pop() else { break };
                    *self = child;
                }
                _ => break,
            }
        }
        Some(link)
    }

    /// Takes the element out that `target` stands behind, and says whether it was the first.
    fn remove(&mut self, target: &ElementTarget<'_>) -> Option<(Link, bool)> {
        match self {
            Self::Leaf(leaf) => {
                let index = leaf.position(target).checked_sub(1)?;
                let found = leaf.links[index];
                (found.score() == target.score && found.member() == target.member).then(|| {
                    leaf.prefixes.remove(index);
                    leaf.links.remove(index);
                    (found, index == 0)
                })
            }
            Self::Inner(inner) => inner.remove(target),
        }
    }

    /// How many elements stand before a place.
    pub fn count_before(&self, target: &impl Target) -> usize {
        let mut node = self;
        let mut count = 0;
        loop {
            match node {
                Self::Leaf(leaf) => return count + leaf.position(target),
                Self::Inner(inner) => {
                    let index = inner.child_for(target);
                    count += inner.counts[..index].iter().sum::<usize>();
                    node = &inner.children[index];
                }
            }
        }
    }

    /// The leaf that holds the element with this index, and its index there; beyond the end it is the end of the last leaf.
    pub fn leaf_at(&self, index: usize) -> (&Leaf, usize) {
        let mut node = self;
        let mut left = index;
        loop {
            match node {
                Self::Leaf(leaf) => return (leaf, left.min(leaf.links.len())),
                Self::Inner(inner) => {
                    let mut child = 0;
                    while child + 1 < inner.counts.len() && left >= inner.counts[child] {
                        left -= inner.counts[child];
                        child += 1;
                    }
                    node = &inner.children[child];
                }
            }
        }
    }

    /// Bytes of this node and all below.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Leaf(_) => size_of::<Leaf>(),
            Self::Inner(inner) => {
                size_of::<Inner>() + inner.children.iter().map(Self::size_bytes).sum::<usize>()
            }
        }
    }

    /// Looks at every node.
    ///
    /// # Panics
    /// What inner nodes say of their children is not so, or elements are out of order.
    #[cfg(test)]
    pub fn check(&self) {
        match self {
            Self::Leaf(leaf) => {
                assert_eq!(leaf.links.len(), leaf.prefixes.len());
                for (link, prefix) in leaf.links.iter().zip(&leaf.prefixes) {
                    assert_eq!(prefix_of(link.score()), *prefix);
                }
                for pair in leaf.links.windows(2) {
                    let target =
                        ElementTarget { score: pair[1].score(), member: pair[1].member(), behind: false };
                    assert!(target.is_behind(&pair[0]));
                }
            }
            Self::Inner(inner) => {
                for (index, child) in inner.children.iter().enumerate() {
                    child.check();
                    assert!(!child.is_empty());
                    assert_eq!(child.count(), inner.counts[index]);
                    assert!(child.first().1 == inner.firsts[index]);
                    assert_eq!(child.first().0, inner.scores[index]);
                    let member = inner.firsts[index].member();
                    let target = ElementTarget { score: inner.scores[index], member, behind: false };
                    let before = inner.counts[..index].iter().sum::<usize>();
                    assert_eq!(self.count_before(&target), before);
                }
            }
        }
    }
}

/// Elements in order.
#[derive(Debug, Default)]
pub struct Leaf {
    prefixes: ArrayVec<u32, LEAF_MAX>,
    links: ArrayVec<Link, LEAF_MAX>,
}

const _: () = assert!(size_of::<Leaf>() == 768);

impl Leaf {
    /// The elements.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// How many elements stand before a place.
    #[inline]
    fn position(&self, target: &impl Target) -> usize {
        let (low, high) = match target.score() {
            Some(score) => {
                let prefix = prefix_of(score);
                let low = self.prefixes.iter().map(|other| usize::from(*other < prefix)).sum();
                let high = self.prefixes.iter().map(|other| usize::from(*other <= prefix)).sum();
                (low, high)
            }
            None => (0, self.links.len()),
        };
        low + self.links[low..high].partition_point(|link| target.is_behind(link))
    }

    /// Puts an element into a leaf that is not full. True if it is the first now.
    fn insert(&mut self, index: usize, score: f64, link: Link) -> bool {
        self.prefixes.insert(index, prefix_of(score));
        self.links.insert(index, link);
        index == 0
    }

    /// Moves the last `count` elements to the front of the leaf that follows.
    fn give_last(&mut self, next: &mut Self, count: usize) {
        let at = self.links.len() - count;
        let (prefixes, links) = (next.prefixes.clone(), next.links.clone());
        next.prefixes.clear();
        next.links.clear();
        next.prefixes.extend(self.prefixes.drain(at..).chain(prefixes));
        next.links.extend(self.links.drain(at..).chain(links));
    }

    /// Moves the first `count` elements to the end of the leaf before.
    fn give_first(&mut self, previous: &mut Self, count: usize) {
        previous.prefixes.extend(self.prefixes.drain(..count));
        previous.links.extend(self.links.drain(..count));
    }

    /// Makes two neighbours equally long.
    fn balance(&mut self, next: &mut Self) {
        let (ours, theirs) = (self.links.len(), next.links.len());
        let half = usize::midpoint(ours, theirs);
        match ours.cmp(&half) {
            Ordering::Greater => self.give_last(next, ours - half),
            Ordering::Less => next.give_first(self, half - ours),
            Ordering::Equal => {}
        }
    }
}

/// Nodes in order.
#[derive(Debug, Default)]
pub struct Inner {
    scores: ArrayVec<f64, INNER_MAX>,
    firsts: ArrayVec<Link, INNER_MAX>,
    counts: ArrayVec<usize, INNER_MAX>,
    children: ArrayVec<Node, INNER_MAX>,
}

impl Inner {
    /// The child in which a place is, or at whose end.
    #[inline]
    fn child_for(&self, target: &impl Target) -> usize {
        let (low, high) = match target.score() {
            Some(score) => {
                let low = self.scores.partition_point(|other| *other < score);
                (low, low + self.scores[low..].partition_point(|other| *other == score))
            }
            None => (0, self.firsts.len()),
        };
        let begun = low + self.firsts[low..high].partition_point(|link| target.is_behind(link));
        begun.saturating_sub(1)
    }

    fn put(&mut self, index: usize, child: Node) {
        let (score, first) = child.first();
        self.scores.insert(index, score);
        self.firsts.insert(index, first);
        self.counts.insert(index, child.count());
        self.children.insert(index, child);
    }

    fn take(&mut self, index: usize) -> Node {
        self.scores.remove(index);
        self.firsts.remove(index);
        self.counts.remove(index);
        self.children.remove(index)
    }

    /// Learns anew what a child holds.
    fn refresh(&mut self, index: usize) {
        let child = &self.children[index];
        (self.scores[index], self.firsts[index]) = child.first();
        self.counts[index] = child.count();
    }

    /// A child and the one after it, if both are leaves.
    fn leaves(&mut self, index: usize) -> Option<(&mut Leaf, &mut Leaf)> {
        match self.children.get_mut(index..index + 2)? {
            [Node::Leaf(left), Node::Leaf(right)] => Some((left, right)),
            _ => None,
        }
    }

    fn insert(&mut self, target: &ElementTarget<'_>, link: Link) -> bool {
        let mut index = self.child_for(target);
        if self.children[index].is_full() {
            if let Node::Leaf(leaf) = &self.children[index]
                && leaf.position(target) == LEAF_MAX
            {
                self.insert_behind(index, target, link);
                return false;
            }
            self.make_room(index);
            index = self.child_for(target);
        }
        let is_first = self.children[index].insert(target, link);
        self.counts[index] += 1;
        if is_first {
            self.scores[index] = target.score;
            self.firsts[index] = link;
        }
        is_first && index == 0
    }

    /// Puts an element behind all of a full leaf: before those of the next one, if that has room, else into a new leaf.
    fn insert_behind(&mut self, index: usize, target: &ElementTarget<'_>, link: Link) {
        match self.children.get_mut(index + 1) {
            Some(Node::Leaf(next)) if !next.links.is_full() => {
                next.insert(0, target.score, link);
                self.refresh(index + 1);
            }
            _ => {
                let mut leaf = Box::<Leaf>::default();
                leaf.insert(0, target.score, link);
                self.put(index + 1, Node::Leaf(leaf));
            }
        }
    }

    /// Makes a full child smaller. There is room for another child.
    fn make_room(&mut self, index: usize) {
        for left in [Some(index), index.checked_sub(1)].into_iter().flatten() {
            if let Some((first, second)) = self.leaves(left)
                && first.links.len() + second.links.len() + WORTHWHILE_ROOM <= 2 * LEAF_MAX
            {
                first.balance(second);
                self.refresh(left);
                self.refresh(left + 1);
                return;
            }
        }
        let upper = match &mut self.children[index] {
            Node::Leaf(leaf) => {
                let mut upper = Box::<Leaf>::default();
                leaf.give_last(&mut upper, LEAF_MAX / 2);
                Node::Leaf(upper)
            }
            Node::Inner(inner) => {
                let mut upper = Box::<Inner>::default();
                inner.move_last(&mut upper, INNER_MAX / 2);
                Node::Inner(upper)
            }
        };
        self.counts[index] -= upper.count();
        self.put(index + 1, upper);
    }

    /// Moves the children from `at` on to the end of another node.
    fn move_last(&mut self, other: &mut Self, at: usize) {
        other.scores.extend(self.scores.drain(at..));
        other.firsts.extend(self.firsts.drain(at..));
        other.counts.extend(self.counts.drain(at..));
        other.children.extend(self.children.drain(at..));
    }

    fn remove(&mut self, target: &ElementTarget<'_>) -> Option<(Link, bool)> {
        let index = self.child_for(target);
        let (link, was_first) = self.children[index].remove(target)?;
        self.counts[index] -= 1;
        let child = &self.children[index];
        if child.is_empty() {
            self.take(index);
        } else {
            if was_first {
                (self.scores[index], self.firsts[index]) = child.first();
            }
            if child.is_sparse() {
                self.join(index);
            }
        }
        Some((link, was_first && index == 0))
    }

    /// Joins a child of few elements with a neighbour, or takes some of its elements.
    fn join(&mut self, index: usize) {
        let left = if index + 1 < self.children.len() { index } else { index.saturating_sub(1) };
        let joined = match self.children.get_mut(left..left + 2) {
            Some([Node::Leaf(first), Node::Leaf(second)]) => {
                let together = first.links.len() + second.links.len();
                if together + WORTHWHILE_ROOM <= LEAF_MAX {
                    second.give_first(first, second.links.len());
                    true
                } else {
                    first.balance(second);
                    false
                }
            }
            Some([Node::Inner(first), Node::Inner(second)])
                if first.children.len() + second.children.len() + INNER_MIN <= INNER_MAX =>
            {
                second.move_last(first, 0);
                true
            }
            _ => return,
        };
        if joined {
            self.take(left + 1);
        } else {
            self.refresh(left + 1);
        }
        self.refresh(left);
    }
}
