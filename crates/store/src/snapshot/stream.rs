//! Streams in files: nodes, then groups, their pending entries and their consumers.

use super::build::{BadValue, BuildOptions, WRONG_PART};
use super::emit::ValueSink;
use crate::types::Stream;
use crate::types::stream::{Consumer, ConsumerId, Group, Log, Pending, StreamId};
use shoal_formats::listpack::{Listpack, Malformed};
use shoal_formats::rdb::{Element, RdbElement, StreamMeta, ValueLayout};
use std::collections::BTreeMap;

const MALFORMED_NODE: BadValue = BadValue::Malformed("Stream listpack integrity check failed");
const WRONG_META: BadValue = BadValue::Malformed("a stream's length or last id does not fit its entries");
const DUPLICATE_GROUP: BadValue = BadValue::Malformed("Duplicated consumer group name loading a stream");
const DUPLICATE_CONSUMER: BadValue = BadValue::Malformed("Duplicate stream consumer detected");
const DUPLICATE_PENDING: BadValue = BadValue::Malformed("a pending entry of a group is there twice");
const NOT_PENDING: BadValue = BadValue::Malformed("a pending entry of a consumer is not one of the group's");
const WITHOUT_CONSUMER: BadValue = BadValue::Malformed("a pending entry of a group has no consumer");

/// The first version of the format that says when consumers were given something.
const ACTIVE_TIMES_SINCE: u16 = 11;
/// Stands for the time of something that never happened.
const NEVER: i64 = -1;

pub(super) fn emit(stream: &Stream, rdb_version: u16, sink: &mut impl ValueSink) {
    let has_active_times = rdb_version >= ACTIVE_TIMES_SINCE;
    let layout = if has_active_times { ValueLayout::Stream3 } else { ValueLayout::Stream2 };
    let log = stream.log();
    sink.open(layout, log.node_count() as u64);
    for (id, listpack) in log.nodes() {
        sink.element(&Element::StreamNode { id, listpack: listpack.as_bytes() });
    }
    sink.element(&Element::StreamMeta(StreamMeta {
        length: log.len(),
        last_id: log.last_id(),
        history: Some(log.history()),
        groups: stream.group_count() as u64,
    }));
    for (name, group) in stream.groups() {
        emit_group(name, group, sink);
    }
}

fn emit_group(name: &[u8], group: &Group, sink: &mut impl ValueSink) {
    let (last_id, entries_read) = (group.last_id, group.entries_read);
    sink.element(&Element::Group { name, last_id, entries_read, pending: group.pending_len() as u64 });
    for (id, Pending { delivered_ms, deliveries, .. }) in group.pending_from(StreamId::MIN) {
        sink.element(&Element::GroupPending { id, delivered_ms, deliveries });
    }
    sink.element(&Element::Consumers { count: group.consumer_count() as u64 });
    for consumer in group.consumers() {
        let &Consumer { seen_ms, active_ms, .. } = consumer;
        let (name, pending) = (consumer.name(), consumer.pending_len() as u64);
        sink.element(&Element::Consumer { name, seen_ms, active_ms, pending });
        for id in consumer.pending_from(StreamId::MIN) {
            sink.element(&Element::ConsumerPending { id });
        }
    }
}

/// A stream that comes in parts.
#[derive(Debug)]
pub(super) struct Builder {
    /// The nodes that have come.
    log: Log,
    /// What the nodes and the data behind them have become.
    stream: Option<Stream>,
    group: Option<OpenGroup>,
}

/// A group that is not complete yet.
#[derive(Debug)]
struct OpenGroup {
    name: Box<[u8]>,
    group: Group,
    /// Pending entries whose consumer has not come yet: when and how often they were delivered.
    unowned: BTreeMap<StreamId, (i64, u64)>,
    consumer: Option<ConsumerId>,
}

impl Builder {
    pub(super) fn new(_: &BuildOptions) -> Self {
        Self { log: Log::default(), stream: None, group: None }
    }

    pub(super) fn element(&mut self, element: &RdbElement<'_>) -> Result<(), BadValue> {
        match (*element, &mut self.stream, &mut self.group) {
            (Element::StreamNode { id, listpack }, None, _) => {
                let pushed = Listpack::from_bytes(listpack).and_then(|node| self.log.push_node(id, node));
                pushed.map_err(|Malformed| MALFORMED_NODE)
            }
            (Element::StreamMeta(meta), stream @ None, _) => {
                let mut log = std::mem::take(&mut self.log);
                log.complete(meta.length, meta.last_id, meta.history).map_err(|Malformed| WRONG_META)?;
                *stream = Some(Stream::new(log));
                Ok(())
            }
            (Element::Group { name, last_id, entries_read, .. }, Some(stream), group) => {
                close_group(stream, group.take())?;
                let entries_read = match entries_read {
                    Some(read) => Some(read).filter(|read| *read != NEVER),
                    None => stream.log().entries_up_to(last_id),
                };
                *group = Some(OpenGroup {
                    name: name.into(),
                    group: Group::new(last_id, entries_read),
                    unowned: BTreeMap::new(),
                    consumer: None,
                });
                Ok(())
            }
            (element, _, Some(group)) => group.element(element),
            _ => Err(WRONG_PART),
        }
    }

    pub(super) fn finish(self) -> Result<Stream, BadValue> {
        let mut stream = self.stream.ok_or(WRONG_PART)?;
        close_group(&mut stream, self.group)?;
        Ok(stream)
    }
}

impl OpenGroup {
    fn element(&mut self, element: RdbElement<'_>) -> Result<(), BadValue> {
        match (element, self.consumer) {
            (Element::GroupPending { id, delivered_ms, deliveries }, None) => {
                let before = self.unowned.insert(id, (delivered_ms, deliveries));
                before.map_or(Ok(()), |_| Err(DUPLICATE_PENDING))
            }
            (Element::Consumers { .. }, None) => Ok(()),
            (Element::Consumer { name, seen_ms, active_ms, .. }, _) => {
                let id = self.group.add_consumer(name, seen_ms).ok_or(DUPLICATE_CONSUMER)?;
                // Where it is not said, it was given something when it was seen, for all that is known.
                let active_ms = active_ms.unwrap_or(seen_ms);
                self.group.consumer_mut(id).active_ms = Some(active_ms).filter(|at| *at != NEVER);
                self.consumer = Some(id);
                Ok(())
            }
            (Element::ConsumerPending { id }, Some(consumer)) => {
                let (delivered_ms, deliveries) = self.unowned.remove(&id).ok_or(NOT_PENDING)?;
                self.group.deliver(id, Pending { consumer, delivered_ms, deliveries });
                Ok(())
            }
            _ => Err(WRONG_PART),
        }
    }
}

fn close_group(stream: &mut Stream, group: Option<OpenGroup>) -> Result<(), BadValue> {
    let Some(OpenGroup { name, group, unowned, .. }) = group else { return Ok(()) };
    if !unowned.is_empty() {
        return Err(WITHOUT_CONSUMER);
    }
    if stream.add_group(&name, group) { Ok(()) } else { Err(DUPLICATE_GROUP) }
}
