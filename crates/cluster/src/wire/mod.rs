//! The bytes of the bus, version 1, as Redis 7.0 and 7.2 speak it.
//!
//! A message is a header of 2256 bytes and then data of its type; all integers are big endian. The layout is written
//! down in `docs/` and, field by field, in the constants here. Shoal announces itself in the header byte
//! [`SHOAL_BYTE`], which Redis leaves zero and does not read.

mod decode;
mod encode;
mod light;
#[cfg(test)]
mod tests;

use crate::messages::{Header, Message};
use std::fmt;

pub use decode::decode;
pub use encode::encode;
pub use light::{Encoder, length};

/// The length of the header.
pub const HEADER_LENGTH: usize = 2256;
/// The length of one gossip entry.
pub const GOSSIP_LENGTH: usize = 104;
/// The length of an address field.
pub const HOST_LENGTH: usize = 46;
/// The longest message taken: a publication may be as long as a value (512 MiB), with its channel.
pub const MAX_MESSAGE_LENGTH: usize = 1 << 30;
/// The position of the byte in which Shoal announces itself, within 30 bytes Redis leaves unused.
pub const SHOAL_BYTE: usize = 2245;
/// What Shoal writes there: the version of its own additions to the bus. From 2 on a node takes slots by an atomic migration,
/// from 3 on light messages, from 4 on it votes on claims of slots.
pub const SHOAL_VERSION: u8 = 4;
/// The first version whose nodes take slots by an atomic migration.
pub const TAKES_SLOTS_VERSION: u8 = 2;
/// Peers of this version and later take light messages.
pub const LIGHT_VERSION: u8 = 3;
/// The first version whose nodes vote on claims of slots.
pub const VOTES_ON_CLAIMS_VERSION: u8 = 4;
/// The length of the header of a light message.
pub const LIGHT_HEADER_LENGTH: usize = 48;
/// The type of a light message is this with that of the message.
const LIGHT_KIND: u16 = 0x5300;
/// The first bytes of every message.
pub const SIGNATURE: [u8; 4] = *b"RCmb";

/// Message flag: writes are paused.
const FLAG_PAUSED: u8 = 1;
/// Message flag: vote although the primary is up.
const FLAG_FORCE_ACK: u8 = 2;
/// Message flag: extensions are understood, and counted in the header.
const FLAG_EXTENSIONS: u8 = 4;

const EXTENSION_HOSTNAME: u16 = 0;
const EXTENSION_HUMAN_NAME: u16 = 1;
const EXTENSION_FORGOTTEN: u16 = 2;
const EXTENSION_SHARD_ID: u16 = 3;
/// Valkey 8.
const EXTENSION_CLIENT_IPV4: u16 = 4;
const EXTENSION_CLIENT_IPV6: u16 = 5;
/// Shoal's own begin far above those of Redis, and go to Shoal nodes only.
const EXTENSION_TAKE_OVER: u16 = 0x5301;
const EXTENSION_CLIENT_PORTS: u16 = 0x5302;
const EXTENSION_PRIORITY: u16 = 0x5303;
const EXTENSION_CLAIM: u16 = 0x5304;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The first bytes are not the signature.
    Signature,
    /// The length is below that of a header, or above [`MAX_MESSAGE_LENGTH`].
    Length,
    /// A light message came before any whole one.
    Light,
    /// The length is not what the contents add up to.
    Contents,
    /// A sender's or node's name is no name.
    Name,
    /// A text field is not UTF-8.
    Text,
}

impl fmt::Display for WireError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Signature | Self::Length => "Bad message length or signature received from Cluster bus.",
            Self::Light => "Received a light message before a whole one from Cluster bus.",
            Self::Contents => "Received a message whose length does not fit its contents from Cluster bus.",
            Self::Name => "Received a message with an invalid node name from Cluster bus.",
            Self::Text => "Received a message with an invalid text from Cluster bus.",
        })
    }
}

impl std::error::Error for WireError {}

/// Cuts a stream of bytes into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    /// The header of the last whole PING, PONG or MEET.
    last: Option<Header>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes that came in.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `None` until more bytes come. After an error the stream is lost: close the link.
    ///
    /// Messages of a type or version this program does not know are skipped, as Redis skips them.
    pub fn next_message(&mut self) -> Result<Option<Message>, WireError> {
        loop {
            let bytes = self.buffer.get(self.start..).unwrap_or_default();
            let Some((head, _)) = bytes.split_first_chunk::<8>() else {
                // The signature alone already tells a stranger.
                let length = bytes.len().min(SIGNATURE.len());
                return if bytes.get(..length) == SIGNATURE.get(..length) {
                    Ok(None)
                } else {
                    Err(WireError::Signature)
                };
            };
            if head[..4] != SIGNATURE {
                return Err(WireError::Signature);
            }
            let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
            if !(LIGHT_HEADER_LENGTH..=MAX_MESSAGE_LENGTH).contains(&length) {
                return Err(WireError::Length);
            }
            let is_light = match bytes.get(..light::KIND_END) {
                Some(head) => light::is_light(head),
                None => return Ok(None),
            };
            if !is_light && length < HEADER_LENGTH {
                return Err(WireError::Length);
            }
            let Some(whole) = bytes.get(..length) else { return Ok(None) };
            let message = match (&self.last, is_light) {
                (Some(last), true) => light::decode(whole, last)?,
                (None, true) => return Err(WireError::Light),
                (_, false) => decode(whole)?,
            };
            if let Some(message) = message.as_ref().filter(|message| !is_light && light::is_base(message)) {
                self.last = Some(message.header.clone());
            }
            self.start += length;
            if self.start == self.buffer.len() {
                self.buffer.clear();
                self.start = 0;
            }
            if let Some(message) = message {
                return Ok(Some(message));
            }
        }
    }

    /// Whether the peer has shown that it takes light messages.
    pub fn peer_takes_light(&self) -> bool {
        self.last.as_ref().is_some_and(|header| header.shoal_version >= LIGHT_VERSION)
    }

    /// Bytes that wait for the rest of their message.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }
}

/// The entry of the fuzz target: any bytes are either refused or decoded, and what was decoded survives being encoded
/// and decoded again.
pub fn fuzz_bus(data: &[u8]) {
    let mut decoder = Decoder::new();
    for chunk in data.chunks(1000) {
        decoder.push(chunk);
        while let Ok(Some(message)) = decoder.next_message() {
            let bytes = encode(&message);
            assert_eq!(decode(&bytes), Ok(Some(message)), "a message changed on its way");
        }
    }
}
