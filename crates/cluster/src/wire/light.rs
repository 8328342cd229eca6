//! Light messages: the part of the header that seldom changes is left out.
//!
//! What a node says of its slots, its primary and its addresses is the same in nearly all of its messages, and makes up most
//! of their bytes. On a link over which the peer has shown that it is Shoal of [`super::LIGHT_VERSION`] or later, a message
//! whose lasting part equals that of the last whole PING, PONG or MEET on the same link has this header instead:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | signature |
//! | 4 | 4 | total length |
//! | 8 | 2 | version, 1 |
//! | 10 | 2 | unused |
//! | 12 | 2 | 0x5300 + type |
//! | 14 | 2 | gossip entries |
//! | 16 | 8 | current epoch |
//! | 24 | 8 | config epoch |
//! | 32 | 8 | replication offset |
//! | 40 | 2 | node flags |
//! | 42 | 1 | cluster state |
//! | 43 | 1 | message flags |
//! | 44 | 2 | extensions |
//! | 46 | 2 | unused |
//!
//! The data of the type follow as in a whole message. What is left out is as in the last whole PING, PONG or MEET. Links keep
//! order and lose nothing, so that both sides hold the same one; a new link begins with a whole message.

use super::decode::{self, Reader};
use super::{LIGHT_KIND, WireError, encode};
use crate::NodeFlags;
use crate::messages::{Header, Message};
use std::sync::Arc;

/// Where the field of the type ends.
pub(super) const KIND_END: usize = 14;

/// Whether the first bytes of a message are those of a light one.
pub(super) fn is_light(head: &[u8]) -> bool {
    head.get(8..13) == Some(&[0, 1, 0, 0, LIGHT_KIND.to_be_bytes()[0]])
}

/// Turns the messages of one link into bytes.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The header of the last whole PING, PONG or MEET.
    last: Option<Header>,
}

impl Encoder {
    /// The bytes of the next message on the link.
    pub fn encode(&mut self, message: &Message, peer_takes_light: bool) -> Vec<u8> {
        if peer_takes_light && self.last.as_ref().is_some_and(|last| lasts(last, &message.header)) {
            return encode::encode_light(message);
        }
        if is_base(message) {
            self.last = Some(message.header.clone());
        }
        encode::encode(message)
    }
}

/// Whether later messages may leave out what this whole one has said: only those that every version understands count, lest the
/// receiver has passed over one that the sender counts.
pub(super) fn is_base(message: &Message) -> bool {
    message.body.gossip().is_some()
}

/// Whether a light message can say this header after that one.
fn lasts(last: &Header, header: &Header) -> bool {
    (Arc::ptr_eq(&last.slots, &header.slots) || last.slots == header.slots)
        && last.sender == header.sender
        && last.primary == header.primary
        && last.announced_host == header.announced_host
        && (last.port, last.other_port, last.bus_port) == (header.port, header.other_port, header.bus_port)
        && last.shoal_version == header.shoal_version
}

/// The length of a message, light or whole, in bytes.
pub fn length(message: &Message, is_light: bool) -> usize {
    encode::length(message, is_light)
}

/// A message from exactly its bytes, after a whole one with the header `last`.
pub(super) fn decode(bytes: &[u8], last: &Header) -> Result<Option<Message>, WireError> {
    let mut reader = Reader { bytes };
    reader.take(KIND_END - 1)?;
    let [kind] = reader.array()?;
    let count = reader.u16()?;
    let (current_epoch, config_epoch) = (reader.u64()?, reader.u64()?);
    let replication_offset = reader.u64()?;
    let flags = NodeFlags(reader.u16()?);
    let [state, message_flags] = reader.array()?;
    let extension_count = reader.u16()?;
    reader.take(2)?;
    let marks = decode::Marks { state, message_flags };
    let extension_count = if marks.has_extensions() { extension_count } else { 0 };
    let Some(body) = decode::body(&mut reader, u16::from(kind), count, extension_count)? else {
        return Ok(None);
    };
    if !reader.bytes.is_empty() {
        return Err(WireError::Contents);
    }
    let header =
        marks.put_into(Header { current_epoch, config_epoch, replication_offset, flags, ..last.clone() });
    Ok(Some(Message { header, body }))
}
