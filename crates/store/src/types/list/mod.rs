//! Lists: sequences of strings, quick to change at both ends.
//!
//! A small list is one listpack. A list that outgrows `list-max-listpack-size` becomes a [`Quicklist`], a row of nodes;
//! one that shrinks to a single node of half that size becomes a listpack again. Both changes happen where Redis 7.2
//! makes them, since `OBJECT ENCODING` shows them.

mod node;
mod packed;
mod quicklist;

pub use node::{Fill, Node};
pub use packed::Needle;
pub use quicklist::{Quicklist, Statistics};

use super::{Collection, collection_of};
use crate::call::EncodingLimits;
use crate::digest::Digest;
use crate::entry::Text;
use shoal_formats::listpack::{Element, Listpack};
use shoal_protocol::SharedBytes;
use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

/// One of the two ends of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The first element's side, `LEFT` in commands.
    Head,
    /// The last element's side, `RIGHT` in commands.
    Tail,
}

/// An element on its way into a list.
#[derive(Clone, Copy, Debug)]
pub struct NewElement<'a> {
    /// The string.
    pub bytes: &'a [u8],
    /// The block it came in, if it is a long one: an element with a node of its own keeps the block.
    pub shared: Option<&'a SharedBytes>,
}

impl<'a> NewElement<'a> {
    /// An element whose bytes are copied.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, shared: None }
    }

    fn to_shared(self) -> SharedBytes {
        self.shared.map_or_else(|| Arc::new(self.bytes.to_vec()), Arc::clone)
    }
}

/// A part of a list as files keep it.
#[derive(Debug)]
pub enum Part<'a> {
    /// A listpack; of a compressed node a copy.
    Packed(Cow<'a, Listpack>),
    /// One long element.
    Plain(Cow<'a, [u8]>),
}

/// A sequence of strings.
#[derive(Clone, Debug)]
pub enum List {
    /// Small ones.
    Packed(Listpack),
    /// All others.
    Quick(Box<Quicklist>),
}

impl Default for List {
    fn default() -> Self {
        Self::Packed(Listpack::new())
    }
}

impl List {
    /// Has to be called before `count` elements of `bytes` bytes together are added: a listpack that would become too
    /// large becomes a quicklist.
    pub fn make_room(&mut self, count: usize, bytes: usize, limits: &EncodingLimits) {
        let Self::Packed(listpack) = self else { return };
        let fill = Fill::new(limits.list_max_listpack_size);
        if fill.is_exceeded(listpack.byte_len().saturating_add(bytes), listpack.len() + count) {
            let mut quicklist = Quicklist::new(limits);
            quicklist.push_packed(std::mem::take(listpack));
            *self = Self::Quick(Box::new(quicklist));
        }
    }

    /// Makes a quicklist of one node a listpack if it is small: half as large as listpacks may become, so that a list
    /// does not go back and forth. To be called after elements were removed or replaced.
    pub fn shrink(&mut self, limits: &EncodingLimits) {
        if matches!(self, Self::Quick(quicklist) if quicklist.node_count() == 1) {
            self.become_packed(Fill::new(limits.list_max_listpack_size).to_return(2));
        }
    }

    fn become_packed(&mut self, fill: Fill) {
        if let Self::Quick(quicklist) = self
            && let Some(listpack) = quicklist.take_only_node(fill)
        {
            *self = Self::Packed(listpack);
        }
    }

    /// A list whose parts a file gave, in the encoding that its size calls for.
    pub fn from_quicklist(quicklist: Quicklist, limits: &EncodingLimits) -> Self {
        let mut list = Self::Quick(Box::new(quicklist));
        list.become_packed(Fill::new(limits.list_max_listpack_size).to_return(1));
        list
    }

    /// Adds an element at an end. [`List::make_room`] was called before.
    pub fn push(&mut self, end: End, element: NewElement<'_>, limits: &EncodingLimits) {
        match (self, end) {
            (Self::Packed(listpack), End::Head) => listpack.push_front(element.bytes),
            (Self::Packed(listpack), End::Tail) => listpack.push(element.bytes),
            (Self::Quick(quicklist), end) => quicklist.push(end, element, limits),
        }
    }

    /// Takes the element at an end out and gives it to `use_text`; `None` if there is none.
    pub fn pop<R>(&mut self, end: End, use_text: impl FnOnce(Text<'_>) -> R) -> Option<R> {
        match self {
            Self::Packed(listpack) => packed::pop(listpack, end, use_text),
            Self::Quick(quicklist) => quicklist.pop(end, use_text),
        }
    }

    /// Gives `use_text` the element at `index`; `None` if there is none.
    pub fn get<R>(&self, index: usize, use_text: impl FnOnce(Text<'_>) -> R) -> Option<R> {
        let mut use_text = Some(use_text);
        let mut result = None;
        if index < self.len() {
            let _ = self.walk(index, End::Tail, |text| {
                result = use_text.take().map(|use_text| use_text(text));
                ControlFlow::Break(())
            });
        }
        result
    }

    /// Visits the elements from `index` on, towards an end, until `visit` breaks off.
    pub fn walk(
        &self,
        index: usize,
        towards: End,
        mut visit: impl FnMut(Text<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Packed(listpack) => packed::walk(listpack, index, towards, &mut visit),
            Self::Quick(quicklist) => quicklist.walk(index, towards, &mut visit),
        }
    }

    /// Visits `count` elements from `index` on, towards an end.
    pub fn visit_range(&self, index: usize, count: usize, towards: End, mut visit: impl FnMut(Text<'_>)) {
        let mut left = count;
        if left == 0 {
            return;
        }
        let _ = self.walk(index, towards, |text| {
            visit(text);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }

    /// Puts an element before the one at `index`, or at the end if `index` is the length. [`List::make_room`] was
    /// called before.
    pub fn insert(&mut self, index: usize, element: NewElement<'_>, limits: &EncodingLimits) {
        match self {
            Self::Packed(listpack) => packed::insert(listpack, index, element.bytes),
            Self::Quick(quicklist) => quicklist.insert(index, element, limits),
        }
    }

    /// Puts an element in the place of the one at `index`. False if there is none. [`List::make_room`] was called
    /// before.
    pub fn replace(&mut self, index: usize, element: NewElement<'_>, limits: &EncodingLimits) -> bool {
        if index >= self.len() {
            return false;
        }
        match self {
            Self::Packed(listpack) => packed::replace(listpack, index, element.bytes),
            Self::Quick(quicklist) => quicklist.replace(index, element, limits),
        }
        true
    }

    /// Takes out `count` elements from `index` on, fewer if there are not so many.
    pub fn remove_range(&mut self, index: usize, count: usize) {
        match self {
            Self::Packed(listpack) => packed::remove_range(listpack, index, count),
            Self::Quick(quicklist) => quicklist.remove_range(index, count),
        }
    }

    /// Takes out the first `limit` elements, seen from an end, that are `text`. Returns how many there were.
    pub fn remove_equal(&mut self, text: &[u8], limit: usize, from: End) -> usize {
        let needle = Needle::new(text);
        match self {
            Self::Packed(listpack) => {
                let skip = match from {
                    End::Head => 0,
                    End::Tail => packed::count_equal(listpack, needle).saturating_sub(limit),
                };
                packed::remove_equal(listpack, needle, skip, limit)
            }
            Self::Quick(quicklist) => quicklist.remove_equal(needle, limit, from),
        }
    }

    /// The number of [`List::parts`].
    pub fn part_count(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Quick(quicklist) => quicklist.node_count(),
        }
    }

    /// The parts in order, as files keep them.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let (listpack, quicklist) = match self {
            Self::Packed(listpack) => (Some(listpack), None),
            Self::Quick(quicklist) => (None, Some(quicklist)),
        };
        let nodes = quicklist.into_iter().flat_map(|quicklist| quicklist.nodes()).map(Node::part);
        listpack.map(|listpack| Part::Packed(Cow::Borrowed(listpack))).into_iter().chain(nodes)
    }
}

impl<'a> From<Element<'a>> for Text<'a> {
    fn from(element: Element<'a>) -> Self {
        match element {
            Element::Integer(integer) => Self::Integer(integer),
            Element::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

impl Collection for List {
    collection_of!(List);

    fn len(&self) -> usize {
        match self {
            Self::Packed(listpack) => listpack.len(),
            Self::Quick(quicklist) => quicklist.len(),
        }
    }

    fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Quick(_) => "quicklist",
        }
    }

    fn size_bytes(&self, samples: usize) -> usize {
        match self {
            Self::Packed(listpack) => listpack.size_bytes(),
            Self::Quick(quicklist) => quicklist.size_bytes(samples),
        }
    }

    fn mix_into(&self, digest: &mut Digest) {
        let _ = self.walk(0, End::Tail, |text| {
            text.with_bytes(|bytes| digest.mix(bytes));
            ControlFlow::Continue(())
        });
    }

    fn free_effort(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Quick(quicklist) => quicklist.node_count(),
        }
    }
}

#[cfg(test)]
mod tests;
