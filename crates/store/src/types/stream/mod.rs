//! Streams: a log of entries with ids, and the groups that consume it.
//!
//! ```text
//! Stream ─▶ Log ─▶ Tree ─▶ Node, Node, …      up to stream-node-max-entries entries each, see `node`
//!        └▶ groups by name ─▶ pending entries, consumers ─▶ their pending entries
//! ```

mod group;
mod id_map;
mod log;
mod node;
mod tree;

pub use group::{Consumer, ConsumerId, Group, Pending};
pub use log::{AppendError, Entries, Log, Trim, TrimTo};
pub use node::StreamEntry;
pub use shoal_formats::stream_id::{IdText, StreamId};

use super::{Collection, collection_of};
use crate::digest::Digest;
use std::collections::BTreeMap;

/// A stream.
#[derive(Clone, Debug, Default)]
pub struct Stream(Box<Parts>);

#[derive(Clone, Debug, Default)]
struct Parts {
    log: Log,
    groups: BTreeMap<Box<[u8]>, Group>,
}

impl Stream {
    /// A stream of these entries, without groups.
    pub fn new(log: Log) -> Self {
        Self(Box::new(Parts { log, groups: BTreeMap::new() }))
    }

    /// The entries.
    pub fn log(&self) -> &Log {
        &self.0.log
    }

    /// The entries, to be changed.
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.0.log
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.0.groups.len()
    }

    /// The groups in the order of their names.
    pub fn groups(&self) -> impl Iterator<Item = (&[u8], &Group)> {
        self.0.groups.iter().map(|(name, group)| (&**name, group))
    }

    /// The group of this name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.0.groups.get(name)
    }

    /// The group of this name, to be changed.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.log_and_group_mut(name).map(|(_, group)| group)
    }

    /// The entries, and the group of this name to be changed.
    pub fn log_and_group_mut(&mut self, name: &[u8]) -> Option<(&Log, &mut Group)> {
        let group = self.0.groups.get_mut(name)?;
        Some((&self.0.log, group))
    }

    /// Adds a group. False if there is one of this name, which stays as it is.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        let is_new = !self.0.groups.contains_key(name);
        if is_new {
            self.0.groups.insert(name.into(), group);
        }
        is_new
    }

    /// Removes a group. False if there is none of this name.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        self.0.groups.remove(name).is_some()
    }

    /// How many entries the group has yet to read, if that can be told.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let log = self.log();
        let read = match group.entries_read {
            _ if log.history().entries_added == 0 => return Some(0),
            Some(read) if !log.has_deleted_from(group.last_id) => read,
            _ => log.entries_up_to(group.last_id)?,
        };
        Some((log.history().entries_added as i64).wrapping_sub(read))
    }
}

impl Collection for Stream {
    collection_of!(Stream);

    fn len(&self) -> usize {
        self.log().len() as usize
    }

    fn encoding(&self) -> &'static str {
        "stream"
    }

    fn size_bytes(&self, samples: usize) -> usize {
        let groups = self.groups().map(|(name, group)| name.len() + size_of::<Group>() + group.size_bytes());
        size_of::<Parts>() + self.log().size_bytes(samples) + groups.sum::<usize>()
    }

    fn mix_into(&self, digest: &mut Digest) {
        for entry in self.log().entries(StreamId::MIN, StreamId::MAX) {
            digest.mix(&entry.id.joined(b'.'));
            entry.words().for_each(|word| word.with_text(|text| digest.mix(text)));
        }
    }

    fn free_effort(&self) -> usize {
        // The first group stands for the others, so that telling the effort takes none.
        let pending = self.groups().next().map_or(0, |(_, group)| group.pending_len());
        self.log().node_count() + self.group_count() * (1 + pending)
    }
}

#[cfg(test)]
mod tests;
