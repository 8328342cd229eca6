//! The entries of a stream.

use super::id_map::Range;
use super::node::{Node, StreamEntry, Walk};
use super::tree::Tree;
use crate::call::EncodingLimits;
use shoal_formats::listpack::{Listpack, MAX_BYTES, Malformed};
use shoal_formats::rdb::StreamHistory;
use shoal_formats::stream_id::StreamId;

/// Entries with ascending ids. Those that were deleted may still be in their nodes, marked.
#[derive(Clone, Debug, Default)]
pub struct Log {
    tree: Tree,
    length: u64,
    last_id: StreamId,
    history: StreamHistory,
}

/// Why an entry was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// Its id is not greater than the last one.
    IdTooSmall,
    /// Its fields and values are too long.
    TooLarge,
}

/// What trimming leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimTo {
    /// So many entries.
    Length(u64),
    /// Entries from this id on.
    Id(StreamId),
}

/// How much is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// What is left.
    pub to: TrimTo,
    /// Only whole nodes go, so that more may be left.
    pub by_node: bool,
    /// At the most so many entries go; 0 for any number.
    pub limit: u64,
}

impl Log {
    /// The number of entries.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The last id that was given to an entry.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// What is known of entries that may be gone.
    pub fn history(&self) -> StreamHistory {
        self.history
    }

    /// The number of nodes.
    pub fn node_count(&self) -> usize {
        self.tree.len()
    }

    /// The number of nodes that a radix tree over the nodes would have, as Redis counts.
    pub fn radix_node_count(&self) -> u64 {
        self.tree.radix_nodes()
    }

    /// The nodes, as files keep them: the base and the entries.
    pub fn nodes(&self) -> impl Iterator<Item = (StreamId, &Listpack)> {
        self.tree.iter().map(|(base, node)| (base, node.listpack()))
    }

    /// Takes a node from a file or the wire, behind those that are there. Every element is looked at.
    ///
    /// # Errors
    /// It is no node, or its ids do not follow.
    pub fn push_node(&mut self, base: StreamId, listpack: Listpack) -> Result<(), Malformed> {
        let (node, last) = Node::from_listpack(listpack, base)?;
        if self.tree.len() > 0 && base <= self.last_id {
            return Err(Malformed);
        }
        let length = self.length.checked_add(node.counts().0).ok_or(Malformed)?;
        self.tree.insert(base, node);
        (self.length, self.last_id) = (length, last);
        Ok(())
    }

    /// Says what is known besides the nodes, after the last [`Log::push_node`]. Without a history that of a stream from
    /// which nothing was ever deleted is assumed.
    ///
    /// # Errors
    /// There are entries behind the last id, or not so many as are said to be there.
    pub fn complete(
        &mut self,
        length: u64,
        last_id: StreamId,
        history: Option<StreamHistory>,
    ) -> Result<(), Malformed> {
        if length != self.length || last_id < self.last_id {
            return Err(Malformed);
        }
        self.last_id = last_id;
        let first_id = self.first_entry_id().unwrap_or_default();
        self.history = history.unwrap_or(StreamHistory { entries_added: length, ..StreamHistory::default() });
        self.history.first_id = first_id;
        Ok(())
    }

    /// Appends an entry; `words` are its fields and values in turn, at least one of each.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append(
        &mut self,
        id: StreamId,
        words: &[&[u8]],
        limits: &EncodingLimits,
    ) -> Result<(), AppendError> {
        if id <= self.last_id {
            return Err(AppendError::IdTooSmall);
        }
        let bytes = words.iter().map(|word| word.len()).sum();
        if !Node::can_hold(words.len(), bytes) {
            return Err(AppendError::TooLarge);
        }
        // After XSETID the last node may begin with deleted entries of greater ids, to which nothing can be added.
        let last = self.tree.last_mut();
        match last.filter(|(base, node)| *base <= id && has_room(node, words.len(), bytes, limits)) {
            Some((base, node)) => node.append(base, id, words),
            None => self.tree.insert(id, Node::new(words)),
        }
        self.length += 1;
        self.history.entries_added = self.history.entries_added.wrapping_add(1);
        self.last_id = id;
        if self.length == 1 {
            self.history.first_id = id;
        }
        Ok(())
    }

    /// The entries from `start` to `end`, both included, in order; [`Entries::backwards`] gives the last one first.
    pub fn entries(&self, start: StreamId, end: StreamId) -> Entries<'_> {
        let (start, end) = if start <= end { (start, end) } else { (StreamId::MAX, StreamId::MIN) };
        Entries { nodes: self.tree.range(start, end), walk: None, start, end }
    }

    /// Whether there is an entry with this id.
    pub fn contains(&self, id: StreamId) -> bool {
        self.entries(id, id).next().is_some()
    }

    /// The id of the last entry that is still there.
    pub fn last_entry_id(&self) -> Option<StreamId> {
        self.entries(StreamId::MIN, StreamId::MAX).backwards().next().map(|entry| entry.id)
    }

    fn first_entry_id(&self) -> Option<StreamId> {
        self.entries(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id)
    }

    /// The first id that a node has, of an entry that may be deleted; [`StreamId::MAX`] if there are no nodes.
    pub fn first_kept_id(&self) -> StreamId {
        let first = self.tree.first().and_then(|(base, node)| Walk::forward(node, base).next_entry());
        first.map_or(StreamId::MAX, |entry| entry.id)
    }

    /// Deletes an entry without keeping the history. False if it is not there.
    fn delete_one(&mut self, id: StreamId) -> bool {
        let Some((base, node)) = self.tree.around_mut(id) else { return false };
        let mut walk = Walk::forward(node, base);
        let entry = loop {
            match walk.next_entry() {
                Some(entry) if entry.is_deleted || entry.id < id => {}
                Some(entry) if entry.id == id => break entry,
                _ => return false,
            }
        };
        let place = entry.place();
        if node.delete(place) == 0 {
            self.tree.remove(base);
        }
        self.length -= 1;
        true
    }

    /// Deletes the entries with these ids. Returns how many were there.
    pub fn delete(&mut self, ids: &[StreamId]) -> u64 {
        let before = self.length;
        let mut first_is_gone = false;
        for &id in ids {
            if self.delete_one(id) {
                first_is_gone |= id == self.history.first_id;
                self.history.max_deleted_id = self.history.max_deleted_id.max(id);
            }
        }
        if first_is_gone || self.length == 0 {
            self.history.first_id = self.first_entry_id().unwrap_or_default();
        }
        before - self.length
    }

    /// Deletes the first entries. Returns how many went.
    pub fn trim(&mut self, trim: Trim) -> u64 {
        let before = self.length;
        while let Some((base, node)) = self.tree.first_mut() {
            let (live, _) = node.counts();
            let length = self.length;
            let is_done = matches!(trim.to, TrimTo::Length(wanted) if length <= wanted);
            if is_done || (trim.limit > 0 && before - length + live > trim.limit) {
                break;
            }
            let whole = match trim.to {
                TrimTo::Length(wanted) => length - live >= wanted,
                TrimTo::Id(first) => {
                    Walk::backward(node, base).previous_entry().is_none_or(|last| last.id < first)
                }
            };
            if whole {
                self.tree.remove(base);
                self.length -= live;
                continue;
            }
            if !trim.by_node {
                let mut left = length;
                self.length -= node.delete_while(base, |id| {
                    let wanted = match trim.to {
                        TrimTo::Length(wanted) => left > wanted,
                        TrimTo::Id(first) => id < first,
                    };
                    left -= u64::from(wanted);
                    wanted
                });
            }
            break;
        }
        if self.length != before {
            self.history.first_id = self.first_entry_id().unwrap_or_default();
        }
        before - self.length
    }

    /// Sets what XSETID sets; what is `None` stays.
    pub fn set_ids(
        &mut self,
        last_id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    ) {
        self.last_id = last_id;
        self.history.entries_added = entries_added.unwrap_or(self.history.entries_added);
        self.history.max_deleted_id = max_deleted_id.unwrap_or(self.history.max_deleted_id);
    }

    /// Whether entries from `start` on may have been deleted by their ids, with older ones still there.
    pub fn has_deleted_from(&self, start: StreamId) -> bool {
        let StreamHistory { first_id, max_deleted_id, .. } = self.history;
        self.length > 0
            && max_deleted_id != StreamId::MIN
            && first_id <= max_deleted_id
            && start <= max_deleted_id
    }

    /// How many entries were ever added up to this id, itself included, if that can be told.
    pub fn entries_up_to(&self, id: StreamId) -> Option<i64> {
        let StreamHistory { first_id, max_deleted_id, entries_added } = self.history;
        let before_first = entries_added.wrapping_sub(self.length);
        let count = if entries_added == 0 {
            0
        } else if id == self.last_id || (self.length == 0 && id < self.last_id) {
            entries_added
        } else if id > self.last_id || (max_deleted_id != StreamId::MIN && max_deleted_id >= first_id) {
            return None;
        } else if id < first_id {
            before_first
        } else if id == first_id {
            before_first.wrapping_add(1)
        } else {
            return None;
        };
        Some(count as i64)
    }

    /// Bytes on the heap, exact or from a sample of so many nodes (0: all).
    pub(super) fn size_bytes(&self, samples: usize) -> usize {
        let count = self.tree.len();
        let looked_at = if samples == 0 { count } else { samples.min(count) };
        let sample: usize = self.nodes().take(looked_at).map(|(_, listpack)| listpack.size_bytes()).sum();
        let last = self.tree.last().map_or(0, |(_, node)| node.listpack().size_bytes());
        let listpacks = if looked_at < count {
            // The last node is not full yet, so it is no example of the others.
            (sample as f64 / looked_at as f64 * (count - 1) as f64) as usize + last
        } else {
            sample
        };
        listpacks + self.tree.size_bytes()
    }
}

fn has_room(node: &Node, words: usize, bytes: usize, limits: &EncodingLimits) -> bool {
    let max_bytes = match limits.stream_node_max_bytes {
        0 => MAX_BYTES,
        configured => configured.min(MAX_BYTES),
    };
    let (live, deleted) = node.counts();
    let is_full = limits.stream_node_max_entries > 0
        && live.saturating_add(deleted) >= limits.stream_node_max_entries as u64;
    node.listpack().byte_len() + bytes < max_bytes && !is_full && node.has_room(words, bytes)
}

/// The entries of a part of a log, in order.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    nodes: Range<'a, Node>,
    walk: Option<Walk<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Entries<'a> {
    /// The same entries, the last one first.
    pub fn backwards(mut self) -> impl Iterator<Item = StreamEntry<'a>> {
        std::iter::from_fn(move || self.next_in(true))
    }

    fn next_in(&mut self, backwards: bool) -> Option<StreamEntry<'a>> {
        loop {
            let walk = match &mut self.walk {
                Some(walk) => walk,
                None if backwards => {
                    let (base, node) = self.nodes.next_back()?;
                    self.walk.insert(Walk::backward(node, base))
                }
                None => {
                    let (base, node) = self.nodes.next()?;
                    self.walk.insert(Walk::forward(node, base))
                }
            };
            let entry = if backwards { walk.previous_entry() } else { walk.next_entry() };
            match entry {
                None => self.walk = None,
                Some(entry) if entry.is_deleted => {}
                Some(entry) if entry.id < self.start && backwards => return None,
                Some(entry) if entry.id > self.end && !backwards => return None,
                Some(entry) if entry.id < self.start || entry.id > self.end => {}
                Some(entry) => return Some(entry),
            }
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = StreamEntry<'a>;

    fn next(&mut self) -> Option<StreamEntry<'a>> {
        self.next_in(false)
    }
}
