//! Long lists: a row of nodes.
//!
//! ```text
//!   head                                                        tail
//! ┌ packed ┬ packed ┬ compressed ┬ plain ┬ compressed ┬ packed ┐
//!   ╰ compress_depth nodes at each end are never compressed ╯
//! ```
//!
//! The listpacks at both ends are roomy once something was pushed or popped there, all others are not.
//!
//! Nodes are 16 bytes in a ring buffer, so that pushes and pops at both ends are cheap and a look for an index passes
//! over a few nodes per cache line. No node is empty. With a compress depth, nodes nearer to an end than that are not
//! compressed: [`Quicklist::settle`] sees to it after every change of the row.

use super::node::{Node, Shape};
use super::packed::{self, Needle};
use super::{End, Fill, NewElement, Part};
use crate::call::EncodingLimits;
use crate::entry::Text;
use shoal_formats::listpack::Listpack;
use shoal_formats::lzf;
use shoal_protocol::SharedBytes;
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// A row keeps memory for this many nodes without need.
const NODES_KEPT: usize = 16;

/// A list of many nodes.
#[derive(Clone, Debug)]
pub struct Quicklist {
    nodes: VecDeque<Node>,
    count: usize,
    shape: Shape,
}

/// What `DEBUG OBJECT` tells of a quicklist.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Nodes.
    pub nodes: usize,
    /// Elements per node.
    pub elements_per_node: f64,
    /// `list-max-listpack-size` as it was when the list grew.
    pub list_max_listpack_size: i32,
    /// Whether nodes may be compressed.
    pub is_compressed: bool,
    /// Bytes of all nodes before compression.
    pub uncompressed_bytes: usize,
}

impl Quicklist {
    /// An empty one.
    pub fn new(limits: &EncodingLimits) -> Self {
        Self { nodes: VecDeque::new(), count: 0, shape: Shape::new(limits) }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes in order.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// What there is to tell about the nodes.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            nodes: self.nodes.len(),
            elements_per_node: self.count as f64 / self.nodes.len() as f64,
            list_max_listpack_size: self.shape.list_max_listpack_size,
            is_compressed: self.shape.compress_depth != 0,
            uncompressed_bytes: self.nodes.iter().map(Node::content_bytes).sum(),
        }
    }

    /// Nodes at each end that are never compressed; 0 if none is.
    pub fn compress_depth(&self) -> u32 {
        self.shape.compress_depth
    }

    /// Bytes on the heap, estimated from the first `samples` nodes (0: exact).
    pub fn size_bytes(&self, samples: usize) -> usize {
        let looked_at = if samples == 0 { self.nodes.len() } else { samples.min(self.nodes.len()) };
        let bytes: usize = self.nodes.iter().take(looked_at).map(Node::size_bytes).sum();
        let all = bytes as u128 * self.nodes.len() as u128 / looked_at.max(1) as u128;
        all as usize + size_of::<Self>() + self.nodes.capacity() * size_of::<Node>()
    }

    /// Appends a node of a file. An empty one is left out.
    pub fn push_packed(&mut self, listpack: Listpack) {
        if !listpack.is_empty() {
            self.push_node(End::Tail, Node::packed(listpack));
        }
    }

    /// Appends an element that has a node of its own in a file.
    pub fn push_plain(&mut self, bytes: SharedBytes) {
        self.push_node(End::Tail, Node::Plain(bytes));
    }

    /// The listpack, if it is the only node and not larger than that.
    pub(super) fn take_only_node(&mut self, fill: Fill) -> Option<Listpack> {
        let is_only = self.nodes.len() == 1;
        match self.nodes.front_mut() {
            Some(Node::Packed { count, listpack })
                if is_only && !fill.is_exceeded(listpack.byte_len(), *count as usize) =>
            {
                listpack.compact();
                Some(std::mem::take(listpack))
            }
            _ => None,
        }
    }

    fn end_node_mut(&mut self, end: End) -> Option<&mut Node> {
        match end {
            End::Head => self.nodes.front_mut(),
            End::Tail => self.nodes.back_mut(),
        }
    }

    fn push_node(&mut self, end: End, node: Node) {
        self.count += node.len();
        if let Some(Node::Packed { listpack, .. }) = self.end_node_mut(end) {
            listpack.compact();
        }
        match end {
            End::Head => self.nodes.push_front(node),
            End::Tail => self.nodes.push_back(node),
        }
        self.settle(0);
    }

    /// Adds an element at an end.
    pub fn push(&mut self, end: End, element: NewElement<'_>, limits: &EncodingLimits) {
        let shape = self.shape;
        let is_large = shape.is_large(element.bytes.len(), limits);
        match self.end_node_mut(end) {
            Some(node) if !is_large && node.takes(&shape, element.bytes.len()) => {
                let Node::Packed { count, listpack } = node else { return };
                listpack.make_roomy();
                match end {
                    End::Head => listpack.push_front(element.bytes),
                    End::Tail => listpack.push(element.bytes),
                }
                *count += 1;
                self.count += 1;
            }
            _ => self.push_node(end, Node::single(element, is_large)),
        }
    }

    /// Takes the element at an end out and gives it to `use_text`; `None` if there is none.
    pub fn pop<R>(&mut self, end: End, use_text: impl FnOnce(Text<'_>) -> R) -> Option<R> {
        if let Some(Node::Packed { count, listpack }) = self.end_node_mut(end)
            && *count > 1
        {
            *count -= 1;
            listpack.make_roomy();
            let result = packed::pop(listpack, end, use_text);
            self.count -= 1;
            return result;
        }
        let mut node = match end {
            End::Head => self.nodes.pop_front(),
            End::Tail => self.nodes.pop_back(),
        }?;
        self.count -= 1;
        self.settle(0);
        match &mut node {
            Node::Packed { listpack, .. } => packed::pop(listpack, end, use_text),
            Node::Plain(bytes) => Some(use_text(Text::Shared(bytes))),
            Node::Compressed { .. } => unreachable!("the first and the last node are not compressed"),
        }
    }

    /// The node that holds the element at `index`, which is below the length, and the element's index in it.
    fn locate(&self, index: usize) -> (usize, usize) {
        if index < self.count / 2 {
            let mut offset = index;
            for (position, node) in self.nodes.iter().enumerate() {
                if offset < node.len() {
                    return (position, offset);
                }
                offset -= node.len();
            }
        }
        let mut before = self.count;
        for (position, node) in self.nodes.iter().enumerate().rev() {
            before -= node.len();
            if before <= index {
                return (position, index - before);
            }
        }
        (self.nodes.len(), 0)
    }

    /// Visits the elements from `index` on, towards an end, until `visit` breaks off.
    pub(super) fn walk(
        &self,
        index: usize,
        towards: End,
        visit: &mut impl FnMut(Text<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if index >= self.count {
            return ControlFlow::Continue(());
        }
        let (first, mut offset) = self.locate(index);
        match towards {
            End::Tail => {
                for node in self.nodes.range(first..) {
                    walk_node(node, offset, towards, visit)?;
                    offset = 0;
                }
            }
            End::Head => {
                for (position, node) in self.nodes.range(..=first).enumerate().rev() {
                    let from = if position == first { offset } else { node.len() - 1 };
                    walk_node(node, from, towards, visit)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Puts an element before the one at `index`, or behind all others.
    pub fn insert(&mut self, index: usize, element: NewElement<'_>, limits: &EncodingLimits) {
        if index == 0 || index >= self.count {
            let end = if index == 0 { End::Head } else { End::Tail };
            return self.push(end, element, limits);
        }
        let shape = self.shape;
        let is_large = shape.is_large(element.bytes.len(), limits);
        let takes = |node: &Node| !is_large && node.takes(&shape, element.bytes.len());
        let (position, offset) = self.locate(index);
        self.nodes[position].decompress();
        if offset == 0 {
            // Between two nodes: either may take it.
            self.nodes[position - 1].decompress();
        }
        if takes(&self.nodes[position]) {
            self.insert_into(position, offset, element.bytes);
        } else if offset == 0 && takes(&self.nodes[position - 1]) {
            self.insert_into(position - 1, usize::MAX, element.bytes);
        } else if offset == 0 {
            self.nodes.insert(position, Node::single(element, is_large));
        } else {
            self.split(position, offset);
            if takes(&self.nodes[position]) {
                self.insert_into(position, usize::MAX, element.bytes);
            } else if takes(&self.nodes[position + 1]) {
                self.insert_into(position + 1, 0, element.bytes);
            } else {
                self.nodes.insert(position + 1, Node::single(element, is_large));
            }
            self.merge_around(position);
        }
        self.count += 1;
        self.settle(position);
    }

    /// Puts a string into a listpack, before its element `offset` or behind all others.
    fn insert_into(&mut self, position: usize, offset: usize, text: &[u8]) {
        if let Some(Node::Packed { count, listpack }) = self.nodes.get_mut(position) {
            packed::insert(listpack, offset, text);
            *count += 1;
        }
    }

    /// Makes two nodes of one: the second begins with the element that was at `offset`.
    fn split(&mut self, position: usize, offset: usize) {
        if let Some(Node::Packed { count, listpack }) = self.nodes.get_mut(position)
            && let Some(at) = listpack.seek(offset as i64)
        {
            let second = listpack.split_off(at);
            listpack.compact();
            let moved = *count - offset as u32;
            *count = offset as u32;
            self.nodes.insert(position + 1, Node::Packed { count: moved, listpack: second });
        }
    }

    /// After a split at `position`: joins small neighbours, so that many insertions do not leave many small nodes.
    fn merge_around(&mut self, position: usize) {
        // From the right to the left, so that places to the left stay what they are.
        for left in (position.saturating_sub(1)..=position + 2).rev() {
            if left + 1 < self.nodes.len() {
                self.merge_with_next(left);
            }
        }
    }

    fn merge_with_next(&mut self, left: usize) {
        if self.nodes[left].can_absorb(&self.nodes[left + 1], &self.shape)
            && let Some(next) = self.nodes.remove(left + 1)
        {
            self.nodes[left].absorb(next);
        }
    }

    /// Puts an element in the place of the one at `index`, which is below the length.
    pub fn replace(&mut self, index: usize, element: NewElement<'_>, limits: &EncodingLimits) {
        let shape = self.shape;
        let is_large = shape.is_large(element.bytes.len(), limits);
        let (position, offset) = self.locate(index);
        let node = &mut self.nodes[position];
        node.decompress();
        match node {
            Node::Packed { count, listpack } if !is_large => {
                let before = packed::text_length(listpack, offset);
                let grows_to = (listpack.byte_len() + element.bytes.len()).saturating_sub(before);
                let grows = element.bytes.len() > before;
                if *count == 1 || !grows || !shape.fill.is_exceeded(grows_to, *count as usize) {
                    packed::replace(listpack, offset, element.bytes);
                    return self.settle(position);
                }
            }
            Node::Plain(bytes) if is_large => {
                *bytes = element.to_shared();
                return self.settle(position);
            }
            _ => {}
        }
        self.remove_range(index, 1);
        self.insert(index, element, limits);
    }

    /// Takes out `count` elements from `index` on, fewer if there are not so many.
    pub fn remove_range(&mut self, index: usize, count: usize) {
        if index >= self.count || count == 0 {
            return;
        }
        let count = count.min(self.count - index);
        let (mut first, offset) = self.locate(index);
        let mut left = count;
        let in_first = self.nodes[first].len() - offset;
        if offset > 0 || left < in_first {
            let removed = left.min(in_first);
            self.remove_within(first, offset, removed);
            left -= removed;
            first += 1;
        }
        let mut end = first;
        while end < self.nodes.len() && self.nodes[end].len() <= left {
            left -= self.nodes[end].len();
            end += 1;
        }
        self.nodes.drain(first..end);
        if left > 0 {
            self.remove_within(first, 0, left);
        }
        self.count -= count;
        self.settle(first);
    }

    /// Takes elements out of a node that keeps others.
    fn remove_within(&mut self, position: usize, offset: usize, removed: usize) {
        self.nodes[position].decompress();
        if let Some(Node::Packed { count, listpack }) = self.nodes.get_mut(position) {
            packed::remove_range(listpack, offset, removed);
            *count -= removed as u32;
        }
    }

    /// Takes out the first `limit` elements, seen from an end, that are `needle`. Returns how many there were.
    pub fn remove_equal(&mut self, needle: Needle<'_>, limit: usize, from: End) -> usize {
        let (mut skip, first) = match from {
            End::Head => (0, 0),
            End::Tail => self.last_matches(needle, limit),
        };
        let mut compressor = lzf::Compressor::new();
        let mut removed = 0;
        let mut nodes = self.nodes.split_off(first);
        nodes.retain_mut(|node| {
            if removed < limit {
                removed += remove_equal_in_node(node, needle, &mut skip, limit - removed, &mut compressor);
            }
            !node.is_empty()
        });
        self.nodes.append(&mut nodes);
        self.count -= removed;
        if removed > 0 {
            self.settle(0);
        }
        removed
    }

    /// Where the last `limit` matches begin: a node, and how many matches in it come before them.
    fn last_matches(&self, needle: Needle<'_>, limit: usize) -> (usize, usize) {
        let mut seen = 0;
        for (position, node) in self.nodes.iter().enumerate().rev() {
            seen += count_equal_in_node(node, needle);
            if seen >= limit {
                return (seen - limit, position);
            }
        }
        (0, 0)
    }

    /// Sees to it, after the row of nodes changed at `position`, that nodes near the ends are not compressed, and that
    /// those around `position` are, and those that have just moved away from an end.
    fn settle(&mut self, position: usize) {
        /// A row shorter than a quarter of its memory gives some back.
        const SLACK_MAX: usize = 4;
        let length = self.nodes.len();
        if self.nodes.capacity() > (length + NODES_KEPT) * SLACK_MAX {
            self.nodes.shrink_to(length * 2);
        }
        let depth = self.shape.compress_depth as usize;
        if depth == 0 {
            return;
        }
        for near in 0..depth.min(length) {
            self.nodes[near].decompress();
            self.nodes[length - 1 - near].decompress();
        }
        if length <= 2 * depth {
            return;
        }
        let mut compressor = lzf::Compressor::new();
        let inner = depth..length - depth;
        let around = position.saturating_sub(2)..=position.saturating_add(3);
        let moved_in = [inner.start, inner.start + 1, inner.end.saturating_sub(2), inner.end - 1];
        for touched in around.chain(moved_in) {
            if inner.contains(&touched) {
                self.nodes[touched].compress(&mut compressor);
            }
        }
    }
}

fn walk_node(
    node: &Node,
    offset: usize,
    towards: End,
    visit: &mut impl FnMut(Text<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match node {
        Node::Packed { listpack, .. } => packed::walk(listpack, offset, towards, visit),
        Node::Plain(bytes) => visit(Text::Shared(bytes)),
        Node::Compressed { .. } => match node.part() {
            Part::Packed(listpack) => packed::walk(&listpack, offset, towards, visit),
            Part::Plain(bytes) => visit(Text::Bytes(&bytes)),
        },
    }
}

fn count_equal_in_node(node: &Node, needle: Needle<'_>) -> usize {
    let mut count = 0;
    let _ = walk_node(node, 0, End::Tail, &mut |text| {
        count += usize::from(needle.is(text));
        ControlFlow::Continue(())
    });
    count
}

/// Takes the matches out of a node, but for the first `skip`; the node may be empty then.
fn remove_equal_in_node(
    node: &mut Node,
    needle: Needle<'_>,
    skip: &mut usize,
    limit: usize,
    compressor: &mut lzf::Compressor,
) -> usize {
    let was_compressed = node.is_compressed();
    if was_compressed && count_equal_in_node(node, needle) == 0 {
        return 0;
    }
    node.decompress();
    let skipped = std::mem::take(skip);
    let removed = match node {
        Node::Packed { count, listpack } => {
            let removed = packed::remove_equal(listpack, needle, skipped, limit);
            *count -= removed as u32;
            removed
        }
        Node::Plain(bytes) if skipped == 0 && needle.is(Text::Shared(bytes)) => {
            *node = Node::Packed { count: 0, listpack: Listpack::new() };
            1
        }
        _ => 0,
    };
    if was_compressed && !node.is_empty() {
        node.compress(compressor);
    }
    removed
}
