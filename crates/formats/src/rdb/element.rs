//! The parts of values that are not one string: what they are, how they are read one by one, and how they are written.
//!
//! ```text
//! list                count, then so many:  text
//! set                 count, then so many:  text
//! hash                count, then so many:  name, value
//! timed hash          first expiry in eight bytes, count, then so many:
//!                         0 or 1 + expiry - first expiry, name, value
//! its preview         count, then so many:  0 or expiry, name, value
//! sorted set          count, then so many:  member, score: eight bytes, or a byte and as many of text
//! quicklist           count, then so many:  ziplist
//! quicklist 2         count, then so many:  1 and a text, or 2 and a listpack
//! stream              count, then so many:  id in a string, listpack
//!                     what the stream is, then so many groups:
//!                         what the group is, then so many pending entries: id, when, how often
//!                         count, then so many consumers:
//!                             what the consumer is, then so many ids of its pending entries
//! ```

use super::cursor::{Cursor, Stop};
use super::length::{read_length, write_length};
use super::string::{RdbString, read_string, write_string};
use super::{Place, RdbProblem, ValueLayout};
use crate::lzf::Compressor;
use crate::stream_id::{ID_BYTES, StreamId};

/// Says that a list's node is one long element.
const NODE_PLAIN: u64 = 1;
/// Says that a list's node is a listpack.
const NODE_PACKED: u64 = 2;

/// What is known of a stream beside its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamMeta {
    /// Entries.
    pub length: u64,
    /// The last id that was given to an entry.
    pub last_id: StreamId,
    /// What Redis 7.0 added.
    pub history: Option<StreamHistory>,
    /// How many groups follow.
    pub groups: u64,
}

/// What is known of entries that may be gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamHistory {
    /// The first entry's id.
    pub first_id: StreamId,
    /// The greatest id of an entry that was deleted.
    pub max_deleted_id: StreamId,
    /// Entries that were ever added.
    pub entries_added: u64,
}

/// A part of a value; `T` is the form of its texts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Element<T> {
    /// An element of a list or a member of a set.
    Member(T),
    /// A field of a hash.
    Field {
        /// Its name.
        name: T,
        /// Its value.
        value: T,
    },
    /// A field of a hash of which some expire.
    TimedField {
        /// Its name.
        name: T,
        /// Its value.
        value: T,
        /// When it expires, in milliseconds since 1970; may be any number.
        expiry_ms: Option<u64>,
    },
    /// A member of a sorted set.
    Scored {
        /// The member.
        member: T,
        /// Its score; may be anything that eight bytes can be.
        score: f64,
    },
    /// A node of a list.
    Node {
        /// The bytes are one element; otherwise they are a listpack or, in the layout before, a ziplist.
        plain: bool,
        /// The node.
        bytes: T,
    },
    /// A node of a stream.
    StreamNode {
        /// The id to which those in the node are relative.
        id: StreamId,
        /// Its entries.
        listpack: T,
    },
    /// A stream's own data, behind its nodes.
    StreamMeta(StreamMeta),
    /// A consumer group.
    Group {
        /// Its name.
        name: T,
        /// The last id that was delivered.
        last_id: StreamId,
        /// Entries it has read, -1 if that is not known; `None` in the layout that has it not.
        entries_read: Option<i64>,
        /// How many pending entries follow.
        pending: u64,
    },
    /// An entry that was delivered to the group and not acknowledged.
    GroupPending {
        /// The entry.
        id: StreamId,
        /// When it was delivered last, in milliseconds since 1970.
        delivered_ms: i64,
        /// How often it was delivered.
        deliveries: u64,
    },
    /// The end of the group's pending entries.
    Consumers {
        /// How many consumers follow.
        count: u64,
    },
    /// A consumer of the group.
    Consumer {
        /// Its name.
        name: T,
        /// When it was seen last, in milliseconds since 1970.
        seen_ms: i64,
        /// When it got something last, -1 for never; `None` in layouts that have it not.
        active_ms: Option<i64>,
        /// How many pending entries follow.
        pending: u64,
    },
    /// An entry that was delivered to the consumer; it is one of the group's.
    ConsumerPending {
        /// The entry.
        id: StreamId,
    },
}

/// A part of a value, its texts somewhere else.
pub type RdbElement<'a> = Element<&'a [u8]>;

impl<T> Element<T> {
    /// The same with other texts.
    pub(crate) fn map<U>(self, mut map: impl FnMut(T) -> U) -> Element<U> {
        match self {
            Self::Member(text) => Element::Member(map(text)),
            Self::Field { name, value } => Element::Field { name: map(name), value: map(value) },
            Self::TimedField { name, value, expiry_ms } => {
                Element::TimedField { name: map(name), value: map(value), expiry_ms }
            }
            Self::Scored { member, score } => Element::Scored { member: map(member), score },
            Self::Node { plain, bytes } => Element::Node { plain, bytes: map(bytes) },
            Self::StreamNode { id, listpack } => Element::StreamNode { id, listpack: map(listpack) },
            Self::StreamMeta(meta) => Element::StreamMeta(meta),
            Self::Group { name, last_id, entries_read, pending } => {
                Element::Group { name: map(name), last_id, entries_read, pending }
            }
            Self::GroupPending { id, delivered_ms, deliveries } => {
                Element::GroupPending { id, delivered_ms, deliveries }
            }
            Self::Consumers { count } => Element::Consumers { count },
            Self::Consumer { name, seen_ms, active_ms, pending } => {
                Element::Consumer { name: map(name), seen_ms, active_ms, pending }
            }
            Self::ConsumerPending { id } => Element::ConsumerPending { id },
        }
    }
}

/// What comes next in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Parts { left: u64 },
    StreamNodes { left: u64 },
    Groups { left: u64 },
    GroupPending { left: u64, groups: u64 },
    Consumers { left: u64, groups: u64 },
    ConsumerPending { left: u64, consumers: u64, groups: u64 },
}

/// Reads the parts of a value, one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ElementReader {
    layout: ValueLayout,
    /// What expiries of fields count from.
    base_ms: u64,
    phase: Phase,
}

/// What stands before the parts of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// What expiries of fields count from.
    pub(crate) base_ms: u64,
    /// How many parts follow.
    pub(crate) count: u64,
}

impl Opening {
    pub(crate) fn read(layout: ValueLayout, cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let base_ms = match layout {
            ValueLayout::TimedHash => u64::from_le_bytes(cursor.array()?),
            _ => 0,
        };
        Ok(Self { base_ms, count: read_length(cursor)? })
    }
}

/// Passes over what stands before a value that is one string of the file.
pub(crate) fn skip_to_packed(layout: ValueLayout, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
    if layout == ValueLayout::TimedHashListpack {
        // The first expiry, which the listpack has, too.
        cursor.array::<8>()?;
    }
    Ok(())
}

impl ElementReader {
    /// A reader behind the opening of a value.
    pub(crate) const fn new(layout: ValueLayout, opening: Opening) -> Self {
        let Opening { base_ms, count } = opening;
        let phase = match layout {
            ValueLayout::Stream | ValueLayout::Stream2 | ValueLayout::Stream3 => {
                Phase::StreamNodes { left: count }
            }
            _ => Phase::Parts { left: count },
        };
        Self { layout, base_ms, phase }
    }

    /// The next part; `None` behind the last one. The reader stays where it was if the bytes end too early.
    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        scratch: &mut [Vec<u8>; 2],
    ) -> Result<Option<Element<Place>>, Stop> {
        let (element, phase) = match self.phase {
            Phase::Parts { left: 0 } | Phase::Groups { left: 0 } => return Ok(None),
            Phase::Parts { left } => {
                (read_part(self.layout, self.base_ms, cursor)?, Phase::Parts { left: left - 1 })
            }
            Phase::StreamNodes { left: 0 } => {
                let meta = read_meta(self.layout, cursor)?;
                (Element::StreamMeta(meta), Phase::Groups { left: meta.groups })
            }
            Phase::StreamNodes { left } => (read_stream_node(cursor)?, Phase::StreamNodes { left: left - 1 }),
            Phase::Groups { left } => {
                let (group, pending) = read_group(self.layout, cursor)?;
                (group, Phase::GroupPending { left: pending, groups: left - 1 })
            }
            Phase::GroupPending { left: 0, groups } => {
                let count = read_length(cursor)?;
                (Element::Consumers { count }, Phase::Consumers { left: count, groups })
            }
            Phase::GroupPending { left, groups } => {
                (read_group_pending(cursor)?, Phase::GroupPending { left: left - 1, groups })
            }
            Phase::Consumers { left: 0, groups }
            | Phase::ConsumerPending { left: 0, consumers: 0, groups } => {
                self.phase = Phase::Groups { left: groups };
                return self.next(cursor, scratch);
            }
            Phase::Consumers { left, groups }
            | Phase::ConsumerPending { left: 0, consumers: left, groups } => {
                let (consumer, pending) = read_consumer(self.layout, cursor)?;
                (consumer, Phase::ConsumerPending { left: pending, consumers: left - 1, groups })
            }
            Phase::ConsumerPending { left, consumers, groups } => {
                let id = StreamId::from_bytes(cursor.array()?);
                (
                    Element::ConsumerPending { id },
                    Phase::ConsumerPending { left: left - 1, consumers, groups },
                )
            }
        };
        // Only a part that is there as a whole is decompressed, so that bytes that trickle in cost nothing.
        let element = place(element, cursor, scratch)?;
        self.phase = phase;
        Ok(Some(element))
    }
}

/// A string of the file, between two positions.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
}

fn read_span(cursor: &mut Cursor<'_>) -> Result<Span, Stop> {
    let start = cursor.position();
    read_string(cursor)?;
    Ok(Span { start })
}

/// Decodes the strings of a part.
fn place(
    element: Element<Span>,
    cursor: &Cursor<'_>,
    scratch: &mut [Vec<u8>; 2],
) -> Result<Element<Place>, Stop> {
    let mut problem = None;
    let mut part = 0;
    let placed = element.map(|span| {
        let at = part;
        part += 1;
        let decoded = Place::of_text(&mut cursor.at(span.start), scratch, at);
        decoded.unwrap_or_else(|stop| {
            problem = Some(stop);
            Place::Scratch(at)
        })
    });
    problem.map_or(Ok(placed), Err)
}

fn read_part(layout: ValueLayout, base_ms: u64, cursor: &mut Cursor<'_>) -> Result<Element<Span>, Stop> {
    Ok(match layout {
        ValueLayout::TimedHash | ValueLayout::TimedHashPreview => {
            let expiry_ms = match read_length(cursor)? {
                0 => None,
                at if layout == ValueLayout::TimedHashPreview => Some(at),
                at => Some(base_ms.saturating_add(at - 1)),
            };
            Element::TimedField { name: read_span(cursor)?, value: read_span(cursor)?, expiry_ms }
        }
        ValueLayout::Hash => Element::Field { name: read_span(cursor)?, value: read_span(cursor)? },
        ValueLayout::SortedSet => {
            Element::Scored { member: read_span(cursor)?, score: f64::from_le_bytes(cursor.array()?) }
        }
        ValueLayout::SortedSetText => {
            Element::Scored { member: read_span(cursor)?, score: read_text_score(cursor)? }
        }
        ValueLayout::Quicklist => Element::Node { plain: false, bytes: read_span(cursor)? },
        ValueLayout::Quicklist2 => {
            let plain = match read_length(cursor)? {
                NODE_PLAIN => true,
                NODE_PACKED => false,
                _ => return Err(RdbProblem::MalformedNode.into()),
            };
            Element::Node { plain, bytes: read_span(cursor)? }
        }
        _ => Element::Member(read_span(cursor)?),
    })
}

/// A score as text, its length before it; three lengths stand for what is no number.
fn read_text_score(cursor: &mut Cursor<'_>) -> Result<f64, Stop> {
    const NAN: u8 = 253;
    const INFINITE: u8 = 254;
    const NEGATIVE_INFINITE: u8 = 255;
    Ok(match cursor.byte()? {
        NAN => f64::NAN,
        INFINITE => f64::INFINITY,
        NEGATIVE_INFINITE => f64::NEG_INFINITY,
        length => {
            let text = std::str::from_utf8(cursor.take(usize::from(length))?).ok();
            let score = text.and_then(|text| text.trim_ascii().parse().ok());
            score.ok_or(RdbProblem::MalformedScore)?
        }
    })
}

fn read_stream_node(cursor: &mut Cursor<'_>) -> Result<Element<Span>, Stop> {
    let start = cursor.position();
    read_string(cursor)?;
    let mut bytes = cursor.at(start);
    // No id is ever compressed or taken for an integer.
    if read_length(&mut bytes)? != ID_BYTES as u64 {
        return Err(RdbProblem::MalformedStreamId.into());
    }
    Ok(Element::StreamNode { id: StreamId::from_bytes(bytes.array()?), listpack: read_span(cursor)? })
}

fn read_id(cursor: &mut Cursor<'_>) -> Result<StreamId, Stop> {
    Ok(StreamId { ms: read_length(cursor)?, sequence: read_length(cursor)? })
}

fn read_meta(layout: ValueLayout, cursor: &mut Cursor<'_>) -> Result<StreamMeta, Stop> {
    let (length, last_id) = (read_length(cursor)?, read_id(cursor)?);
    let history = match layout {
        ValueLayout::Stream => None,
        _ => Some(StreamHistory {
            first_id: read_id(cursor)?,
            max_deleted_id: read_id(cursor)?,
            entries_added: read_length(cursor)?,
        }),
    };
    Ok(StreamMeta { length, last_id, history, groups: read_length(cursor)? })
}

fn read_group(layout: ValueLayout, cursor: &mut Cursor<'_>) -> Result<(Element<Span>, u64), Stop> {
    let (name, last_id) = (read_span(cursor)?, read_id(cursor)?);
    let entries_read = match layout {
        ValueLayout::Stream => None,
        _ => Some(read_length(cursor)? as i64),
    };
    let pending = read_length(cursor)?;
    Ok((Element::Group { name, last_id, entries_read, pending }, pending))
}

fn read_group_pending(cursor: &mut Cursor<'_>) -> Result<Element<Span>, Stop> {
    Ok(Element::GroupPending {
        id: StreamId::from_bytes(cursor.array()?),
        delivered_ms: i64::from_le_bytes(cursor.array()?),
        deliveries: read_length(cursor)?,
    })
}

fn read_consumer(layout: ValueLayout, cursor: &mut Cursor<'_>) -> Result<(Element<Span>, u64), Stop> {
    let name = read_span(cursor)?;
    let seen_ms = i64::from_le_bytes(cursor.array()?);
    let active_ms = match layout {
        ValueLayout::Stream3 => Some(i64::from_le_bytes(cursor.array()?)),
        _ => None,
    };
    let pending = read_length(cursor)?;
    Ok((Element::Consumer { name, seen_ms, active_ms, pending }, pending))
}

/// Appends a part of a value in this layout. What a layout has not is left out; a missing part of what it has is
/// written as unknown. No field expires before `base_ms`.
pub(crate) fn write_element(
    layout: ValueLayout,
    base_ms: u64,
    element: &RdbElement<'_>,
    mut compressor: Option<&mut Compressor>,
    output: &mut Vec<u8>,
) {
    let mut text = |bytes: &[u8], output: &mut Vec<u8>| {
        write_string(RdbString::Bytes(bytes), compressor.as_deref_mut(), output);
    };
    match *element {
        Element::Member(member) => text(member, output),
        Element::Field { name, value } => {
            text(name, output);
            text(value, output);
        }
        Element::TimedField { name, value, expiry_ms } => {
            write_length(expiry_ms.map_or(0, |at| at.saturating_sub(base_ms).saturating_add(1)), output);
            text(name, output);
            text(value, output);
        }
        Element::Scored { member, score } => {
            text(member, output);
            output.extend_from_slice(&score.to_le_bytes());
        }
        Element::Node { plain, bytes } => {
            if layout == ValueLayout::Quicklist2 {
                write_length(if plain { NODE_PLAIN } else { NODE_PACKED }, output);
            }
            text(bytes, output);
        }
        Element::StreamNode { id, listpack } => {
            write_length(ID_BYTES as u64, output);
            output.extend_from_slice(&id.to_bytes());
            text(listpack, output);
        }
        Element::StreamMeta(meta) => write_meta(layout, meta, output),
        Element::Group { name, last_id, entries_read, pending } => {
            text(name, output);
            write_id(last_id, output);
            if layout != ValueLayout::Stream {
                write_length(entries_read.unwrap_or(-1) as u64, output);
            }
            write_length(pending, output);
        }
        Element::GroupPending { id, delivered_ms, deliveries } => {
            output.extend_from_slice(&id.to_bytes());
            output.extend_from_slice(&delivered_ms.to_le_bytes());
            write_length(deliveries, output);
        }
        Element::Consumers { count } => write_length(count, output),
        Element::Consumer { name, seen_ms, active_ms, pending } => {
            text(name, output);
            output.extend_from_slice(&seen_ms.to_le_bytes());
            if layout == ValueLayout::Stream3 {
                output.extend_from_slice(&active_ms.unwrap_or(-1).to_le_bytes());
            }
            write_length(pending, output);
        }
        Element::ConsumerPending { id } => output.extend_from_slice(&id.to_bytes()),
    }
}

fn write_id(id: StreamId, output: &mut Vec<u8>) {
    write_length(id.ms, output);
    write_length(id.sequence, output);
}

fn write_meta(layout: ValueLayout, meta: StreamMeta, output: &mut Vec<u8>) {
    write_length(meta.length, output);
    write_id(meta.last_id, output);
    if layout != ValueLayout::Stream {
        let history = meta.history.unwrap_or_default();
        write_id(history.first_id, output);
        write_id(history.max_deleted_id, output);
        write_length(history.entries_added, output);
    }
    write_length(meta.groups, output);
}
