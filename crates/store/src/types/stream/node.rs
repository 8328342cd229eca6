//! One node of a stream: entries with ids near each other, in one listpack.
//!
//! ```text
//! master:  live │ deleted │ field count │ field … │ 0
//! entry:   flags │ ms │ sequence │ field count │ field, value … │ elements of this entry
//!          flags │ ms │ sequence │ value … │ elements of this entry          with the fields of the master
//! ```
//!
//! Times and sequence numbers are relative to the node's base, the id of the first entry that was put into it. An
//! entry that is deleted stays, marked. The last element of each entry counts those before it, so that the node can be
//! read backwards; the master's 0 ends that. Source of the layout: what Redis 7.0 keeps in memory and files.

use shoal_formats::listpack::{At, ELEMENT_OVERHEAD_MAX_BYTES, Element, Listpack, MAX_BYTES, Malformed};
use shoal_formats::stream_id::StreamId;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// Elements of an entry besides fields and values: flags, time and sequence.
const ENTRY_ELEMENTS: usize = 3;
/// Elements of an entry or a master, at the most, besides fields and values.
const EXTRA_ELEMENTS_MAX: usize = 5;

/// A listpack that holds a master and at least the marks of entries.
#[derive(Clone, Debug)]
pub(super) struct Node(Listpack);

/// Where a node has what its entries refer to.
#[derive(Clone, Copy, Debug)]
struct Master {
    field_count: usize,
    /// The first field, or the 0 if there are none.
    fields: At,
    /// The 0 at the end.
    end: At,
}

impl Node {
    /// A node with one entry, whose id is the node's base. `words` are fields and values in turn.
    pub(super) fn new(words: &[&[u8]]) -> Self {
        let mut listpack = Listpack::new();
        let fields = words.iter().step_by(2).map(|word| Element::of(word));
        let head = [1, 0, (words.len() / 2) as i64].map(Element::Integer);
        listpack.extend(head.into_iter().chain(fields).chain([Element::Integer(0)]));
        let mut node = Self(listpack);
        node.push_entry(SAME_FIELDS, (0, 0), words);
        node
    }

    /// The node that a listpack from a file or the wire is, and the last id of an entry that is not deleted, or its base;
    /// every element of it is looked at.
    ///
    /// # Errors
    /// It is no node with this base: counts differ from what is there, or ids do not ascend.
    pub(super) fn from_listpack(listpack: Listpack, base: StreamId) -> Result<(Self, StreamId), Malformed> {
        let node = Self(listpack);
        let last = node.check(base).ok_or(Malformed)?;
        Ok((node, last))
    }

    /// The listpack.
    pub(super) fn listpack(&self) -> &Listpack {
        &self.0
    }

    /// Whether fields and values of `bytes` bytes fit into any node at all.
    pub(super) fn can_hold(words: usize, bytes: usize) -> bool {
        // A new node has all fields, and the words of the first entry but for the fields.
        bytes <= MAX_BYTES
            && bytes + (words + 2 * EXTRA_ELEMENTS_MAX) * ELEMENT_OVERHEAD_MAX_BYTES < MAX_BYTES
    }

    /// Whether one more entry surely fits.
    pub(super) fn has_room(&self, words: usize, bytes: usize) -> bool {
        self.0.fits(words + EXTRA_ELEMENTS_MAX, bytes)
    }

    /// Appends an entry whose id is greater than that of the last one.
    pub(super) fn append(&mut self, base: StreamId, id: StreamId, words: &[&[u8]]) {
        let flags = if self.has_fields(words) { SAME_FIELDS } else { 0 };
        self.push_entry(flags, id.delta_from(base), words);
        let (live, _) = self.counts();
        self.set_integer(self.0.first(), live as i64 + 1);
    }

    fn has_fields(&self, words: &[&[u8]]) -> bool {
        let mut elements = self.0.iter().skip(2);
        elements.next() == Some(Element::Integer((words.len() / 2) as i64))
            && words.iter().step_by(2).all(|field| elements.next() == Some(Element::of(field)))
    }

    fn push_entry(&mut self, flags: i64, delta: (i64, i64), words: &[&[u8]]) {
        let field_count = words.len() / 2;
        let head = [flags, delta.0, delta.1].into_iter();
        if flags & SAME_FIELDS != 0 {
            let values = words.iter().skip(1).step_by(2).map(|word| Element::of(word));
            let count = (ENTRY_ELEMENTS + field_count) as i64;
            self.0.extend(head.map(Element::Integer).chain(values).chain([Element::Integer(count)]));
        } else {
            let head = head.chain([field_count as i64]).map(Element::Integer);
            let words = words.iter().map(|word| Element::of(word));
            let count = (ENTRY_ELEMENTS + 1 + 2 * field_count) as i64;
            self.0.extend(head.chain(words).chain([Element::Integer(count)]));
        }
    }

    /// Entries that are there, and entries that are only marked as deleted.
    pub(super) fn counts(&self) -> (u64, u64) {
        let first = self.0.first();
        let second = first.and_then(|at| self.0.next(at));
        (self.integer(first) as u64, self.integer(second) as u64)
    }

    /// Marks an entry as deleted that is not. Returns how many entries are left.
    pub(super) fn delete(&mut self, place: Place) -> u64 {
        let flags = self.integer(Some(place.0));
        self.set_integer(Some(place.0), flags | DELETED);
        let (live, deleted) = self.counts();
        let live = live.saturating_sub(1);
        // The second count first: the first may change its length.
        self.set_integer(self.0.first().and_then(|at| self.0.next(at)), deleted as i64 + 1);
        self.set_integer(self.0.first(), live as i64);
        live
    }

    /// Marks entries as deleted, from the first on, as long as `wanted` says so; it is asked about those that are not
    /// deleted yet. Returns how many were marked.
    pub(super) fn delete_while(&mut self, base: StreamId, mut wanted: impl FnMut(StreamId) -> bool) -> u64 {
        let mut marked = 0;
        let mut walk = Walk::forward(self, base);
        let mut places = Vec::new();
        while let Some(entry) = walk.next_entry() {
            if entry.is_deleted {
                continue;
            }
            if !wanted(entry.id) {
                break;
            }
            places.push(entry.place());
        }
        for place in places {
            // One bit more does not change how long the element is.
            let flags = self.integer(Some(place.0));
            self.set_integer(Some(place.0), flags | DELETED);
            marked += 1;
        }
        let (live, deleted) = self.counts();
        self.set_integer(self.0.first().and_then(|at| self.0.next(at)), (deleted + marked) as i64);
        self.set_integer(self.0.first(), live.saturating_sub(marked) as i64);
        marked
    }

    fn integer(&self, at: Option<At>) -> i64 {
        match at.map(|at| self.0.get(at)) {
            Some(Element::Integer(integer)) => integer,
            _ => 0,
        }
    }

    fn set_integer(&mut self, at: Option<At>, integer: i64) {
        if let Some(at) = at {
            self.0.replace_element(at, Element::Integer(integer));
        }
    }

    fn master(&self) -> Option<Master> {
        let live = self.0.first()?;
        let count = self.0.next(self.0.next(live)?)?;
        let field_count = self.integer(Some(count)) as usize;
        let fields = self.0.next(count)?;
        let end = self.skip(fields, field_count)?;
        Some(Master { field_count, fields, end })
    }

    fn skip(&self, from: At, count: usize) -> Option<At> {
        let mut at = from;
        for _ in 0..count {
            at = self.0.next(at)?;
        }
        Some(at)
    }

    /// The last id of an entry that is not deleted, or the base if there is none, if everything is as it has to be. After
    /// XSETID, ids may begin again below those of deleted entries.
    fn check(&self, base: StreamId) -> Option<StreamId> {
        let mut elements = self.0.iter();
        let total = self.0.len();
        let live = natural(elements.next())?;
        let deleted = natural(elements.next())?;
        let master_fields = natural(elements.next()).filter(|&count| count < total)?;
        let mut elements = elements.skip(master_fields);
        if natural(elements.next())? != 0 {
            return None;
        }
        let (mut seen_live, mut seen_deleted, mut last) = (0, 0, None);
        while let Some(element) = elements.next() {
            let flags = natural(Some(element))?;
            let (ms, sequence) = (integer(elements.next())?, integer(elements.next())?);
            let id = StreamId::at_delta(base, ms, sequence);
            let (words, own) = if flags as i64 & SAME_FIELDS != 0 {
                (master_fields, ENTRY_ELEMENTS)
            } else {
                let fields = natural(elements.next()).filter(|&count| count < total)?;
                (2 * fields, ENTRY_ELEMENTS + 1)
            };
            if words > 0 {
                elements.nth(words - 1)?;
            }
            if natural(elements.next())? != words + own {
                return None;
            }
            if flags as i64 & DELETED != 0 {
                seen_deleted += 1;
                continue;
            }
            seen_live += 1;
            if id < base || last.is_some_and(|last| id <= last) {
                return None;
            }
            last = Some(id);
        }
        let is_whole = live == seen_live && deleted == seen_deleted && live + deleted > 0;
        is_whole.then_some(last.unwrap_or(base))
    }
}

fn integer(element: Option<Element<'_>>) -> Option<i64> {
    match element? {
        Element::Integer(integer) => Some(integer),
        Element::Bytes(_) => None,
    }
}

fn natural(element: Option<Element<'_>>) -> Option<usize> {
    usize::try_from(integer(element)?).ok()
}

/// Where an entry begins in its node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(At);

/// An entry of a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamEntry<'a> {
    /// Its id.
    pub id: StreamId,
    pub(super) is_deleted: bool,
    node: &'a Node,
    flags: At,
    /// The first word: a value if the fields are those of the master.
    words: At,
    field_count: usize,
    master_fields: Option<At>,
}

impl<'a> StreamEntry<'a> {
    pub(super) fn place(&self) -> Place {
        Place(self.flags)
    }

    /// The number of fields.
    pub fn field_count(&self) -> usize {
        self.field_count
    }

    /// Fields and values in turn.
    pub fn words(&self) -> impl Iterator<Item = Element<'a>> + use<'a> {
        let listpack = &self.node.0;
        let mut own = listpack.iter_from(self.words);
        let mut shared = self.master_fields.map(|at| listpack.iter_from(at));
        (0..2 * self.field_count).map_while(move |index| match &mut shared {
            Some(fields) if index % 2 == 0 => fields.next(),
            _ => own.next(),
        })
    }
}

/// A walk over the entries of a node, marked ones included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a> {
    node: &'a Node,
    base: StreamId,
    master: Option<Master>,
    /// Forwards the flags of the entry to come; backwards its last element.
    at: Option<At>,
}

impl<'a> Walk<'a> {
    /// From the first entry on.
    pub(super) fn forward(node: &'a Node, base: StreamId) -> Self {
        let master = node.master();
        let at = master.and_then(|master| node.0.next(master.end));
        Self { node, base, master, at }
    }

    /// From the last entry on.
    pub(super) fn backward(node: &'a Node, base: StreamId) -> Self {
        Self { node, base, master: node.master(), at: node.0.last() }
    }

    /// The entry after the one before.
    pub(super) fn next_entry(&mut self) -> Option<StreamEntry<'a>> {
        let entry = self.entry_at(self.at?)?;
        let words = if entry.master_fields.is_some() { entry.field_count } else { 2 * entry.field_count };
        let end = self.node.skip(entry.words, words)?;
        self.at = self.node.0.next(end);
        Some(entry)
    }

    /// The entry before the one before.
    pub(super) fn previous_entry(&mut self) -> Option<StreamEntry<'a>> {
        let end = self.at?;
        let count = self.node.integer(Some(end));
        if count <= 0 {
            return None;
        }
        let mut flags = end;
        for _ in 0..count {
            flags = self.node.0.previous(flags)?;
        }
        self.at = self.node.0.previous(flags);
        self.entry_at(flags)
    }

    fn entry_at(&self, flags: At) -> Option<StreamEntry<'a>> {
        let listpack = &self.node.0;
        let master = self.master?;
        let bits = self.node.integer(Some(flags));
        let ms = listpack.next(flags)?;
        let sequence = listpack.next(ms)?;
        let id =
            StreamId::at_delta(self.base, self.node.integer(Some(ms)), self.node.integer(Some(sequence)));
        let after = listpack.next(sequence)?;
        let (words, field_count, master_fields) = if bits & SAME_FIELDS != 0 {
            (after, master.field_count, Some(master.fields))
        } else {
            (listpack.next(after)?, self.node.integer(Some(after)) as usize, None)
        };
        let is_deleted = bits & DELETED != 0;
        Some(StreamEntry { id, is_deleted, node: self.node, flags, words, field_count, master_fields })
    }
}
