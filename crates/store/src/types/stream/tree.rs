//! The nodes of a stream by their bases.
//!
//! Redis keeps them in a compressed radix tree and shows how many nodes that has. The tree here is another one; the
//! number is kept as if it were Redis's. It depends on nothing but the keys: one node per branching, one per run of
//! bytes without branching, one per key, and the root.

use super::id_map::{IdMap, Range};
use super::node::Node;
use shoal_formats::stream_id::StreamId;

/// Bytes of a key.
const KEY_BYTES: u32 = 16;

/// Nodes in the order of their bases.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: IdMap<Node>,
    radix_nodes: u64,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: IdMap::default(), radix_nodes: 1 }
    }
}

impl Tree {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How many nodes a compressed radix tree over the same keys would have.
    pub(super) fn radix_nodes(&self) -> u64 {
        self.radix_nodes
    }

    /// Bytes on the heap, about, without what the nodes hold.
    pub(super) fn size_bytes(&self) -> usize {
        self.nodes.size_bytes()
    }

    pub(super) fn iter(&self) -> Range<'_, Node> {
        self.nodes.from(StreamId::MIN)
    }

    pub(super) fn first(&self) -> Option<(StreamId, &Node)> {
        self.iter().next()
    }

    pub(super) fn first_mut(&mut self) -> Option<(StreamId, &mut Node)> {
        self.nodes.first_mut()
    }

    pub(super) fn last(&self) -> Option<(StreamId, &Node)> {
        self.iter().next_back()
    }

    pub(super) fn last_mut(&mut self) -> Option<(StreamId, &mut Node)> {
        self.nodes.last_mut()
    }

    /// The nodes in which ids from `start` to `end` may be.
    pub(super) fn range(&self, start: StreamId, end: StreamId) -> Range<'_, Node> {
        let base = self.nodes.at_or_before(start).map_or(start, |(base, _)| base);
        self.nodes.range(base, end.max(base))
    }

    /// The node in which this id may be.
    pub(super) fn around_mut(&mut self, id: StreamId) -> Option<(StreamId, &mut Node)> {
        self.nodes.at_or_before_mut(id)
    }

    /// Puts a node in whose base is not there.
    pub(super) fn insert(&mut self, base: StreamId, node: Node) {
        self.radix_nodes += self.radix_growth(base);
        self.nodes.insert(base, node);
    }

    pub(super) fn remove(&mut self, base: StreamId) {
        if self.nodes.remove(base).is_some() {
            self.radix_nodes -= self.radix_growth(base);
        }
    }

    /// How many nodes a radix tree over the keys gets by a key that it has not.
    fn radix_growth(&self, key: StreamId) -> u64 {
        let lower = self.before(key);
        let upper = self.nodes.from(key).next().map(|(base, _)| base);
        let shared = |other: Option<StreamId>| other.map(|other| (common_bytes(key, other), other));
        // The key leaves the path to its nearest neighbour behind `depth` bytes.
        let Some((depth, neighbour)) = shared(lower).max(shared(upper)) else {
            // The root becomes a run that leads to the one key.
            return 1;
        };
        // A run of bytes to the key, if it is not a branch's child itself, and the key.
        let own = 1 + u64::from(depth + 1 < KEY_BYTES);
        let (first, last) = subtree(neighbour, depth + 1);
        let after = self.nodes.from(last).map(|(base, _)| base).find(|&base| base != last);
        let outside =
            [self.before(first), after].into_iter().flatten().map(|base| common_bytes(neighbour, base));
        let branch = outside.max();
        if branch == Some(depth) {
            return own;
        }
        // The neighbour's path has a run from `start` to `end` there, which is cut in two by a new branch.
        let start = branch.map_or(0, |branch| branch + 1);
        let end = self.branch_below(first, last);
        own + u64::from(depth > start) + u64::from(end > depth + 1)
    }

    /// The last key below this one.
    fn before(&self, key: StreamId) -> Option<StreamId> {
        let mut keys = self.nodes.range(StreamId::MIN, key).map(|(base, _)| base).rev();
        keys.find(|&base| base != key)
    }

    /// How many bytes all keys between two have in common: where their paths branch first, or their end.
    fn branch_below(&self, first: StreamId, last: StreamId) -> u32 {
        let mut keys = self.nodes.range(first, last).map(|(base, _)| base);
        match (keys.next(), keys.next_back()) {
            (Some(least), Some(greatest)) => common_bytes(least, greatest),
            _ => KEY_BYTES,
        }
    }
}

/// The bytes that two keys have in common at their beginning.
fn common_bytes(one: StreamId, other: StreamId) -> u32 {
    (one.as_number() ^ other.as_number()).leading_zeros() / 8
}

/// The least and the greatest key with the first `length` bytes of this one.
fn subtree(key: StreamId, length: u32) -> (StreamId, StreamId) {
    let rest = u128::MAX.checked_shr(8 * length).unwrap_or(0);
    (StreamId::of_number(key.as_number() & !rest), StreamId::of_number(key.as_number() | rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the nodes of a compressed radix tree over sorted keys.
    fn model(keys: &[[u8; 16]], depth: usize) -> u64 {
        if depth == 16 {
            return 1;
        }
        let last = keys[keys.len() - 1];
        let common = keys[0].iter().zip(last).take_while(|(one, other)| **one == *other).count();
        if common > depth {
            // A run of bytes without branching.
            return 1 + model(keys, common);
        }
        1 + keys
            .chunk_by(|one, other| one[depth] == other[depth])
            .map(|part| model(part, depth + 1))
            .sum::<u64>()
    }

    #[test]
    fn the_number_of_radix_nodes_follows_the_keys() {
        let mut rng = shoal_machine::Rng::new(11);
        for spread in [3, 200, 300, 70_000, u64::MAX] {
            let mut tree = Tree::default();
            for step in 0..400 {
                let id = StreamId::new(rng.below(spread), rng.below(spread) & rng.next_u64());
                if tree.len() > 0 && (step % 3 == 2 || tree.nodes.get(id).is_some()) {
                    let index = rng.index(tree.len());
                    let base = tree.iter().nth(index).unwrap().0;
                    tree.remove(base);
                } else {
                    tree.insert(id, Node::new(&[b"f", b"v"]));
                }
                let keys: Vec<_> = tree.iter().map(|(id, _)| id.as_number().to_be_bytes()).collect();
                let expected = if keys.is_empty() { 1 } else { model(&keys, 0) };
                assert_eq!(tree.radix_nodes(), expected, "{keys:?}");
            }
        }
    }
}
