//! From bytes to messages.

use super::{
    EXTENSION_CLAIM, EXTENSION_CLIENT_IPV4, EXTENSION_CLIENT_IPV6, EXTENSION_CLIENT_PORTS,
    EXTENSION_FORGOTTEN, EXTENSION_HOSTNAME, EXTENSION_HUMAN_NAME, EXTENSION_PRIORITY, EXTENSION_SHARD_ID,
    EXTENSION_TAKE_OVER, FLAG_EXTENSIONS, FLAG_FORCE_ACK, FLAG_PAUSED, GOSSIP_LENGTH, HEADER_LENGTH,
    HOST_LENGTH, SIGNATURE, WireError,
};
use crate::messages::{Body, ClaimRequest, Extensions, Gossip, GossipEntry, Header, Message, Publication};
use crate::{ClientAddress, NodeFlags, NodeId, SlotSet};
use std::sync::Arc;

/// A message from exactly its bytes; `None` for a version or type this program does not know.
pub fn decode(bytes: &[u8]) -> Result<Option<Message>, WireError> {
    let mut reader = Reader { bytes };
    if reader.array()? != SIGNATURE {
        return Err(WireError::Signature);
    }
    let whole_length = u32::from_be_bytes(reader.array()?) as usize;
    if whole_length != bytes.len() || whole_length < HEADER_LENGTH {
        return Err(WireError::Length);
    }
    if reader.u16()? != 1 {
        return Ok(None);
    }
    let port = reader.u16()?;
    let kind = reader.u16()?;
    let count = reader.u16()?;
    let current_epoch = reader.u64()?;
    let config_epoch = reader.u64()?;
    let replication_offset = reader.u64()?;
    let sender = reader.name()?;
    let slots = Arc::new(SlotSet::from_bitmap(&reader.array()?));
    let primary = reader.name_or_zeros()?;
    let announced_host = reader.host()?;
    let extension_count = reader.u16()?;
    reader.take(29)?;
    let [shoal_version] = reader.array()?;
    let other_port = reader.u16()?;
    let bus_port = reader.u16()?;
    let flags = NodeFlags(reader.u16()?);
    let [state, message_flags, _, _] = reader.array()?;
    let marks = Marks { state, message_flags };
    let extension_count = if marks.has_extensions() { extension_count } else { 0 };
    let Some(body) = body(&mut reader, kind, count, extension_count)? else { return Ok(None) };
    if !reader.bytes.is_empty() {
        return Err(WireError::Contents);
    }
    let header = Header {
        sender,
        current_epoch,
        config_epoch,
        replication_offset,
        slots,
        primary,
        announced_host: Some(announced_host).filter(|host| !host.is_empty()),
        port,
        other_port,
        bus_port,
        flags,
        cluster_failed: false,
        paused: false,
        force_ack: false,
        extensions_understood: false,
        shoal_version,
    };
    Ok(Some(Message { header: marks.put_into(header), body }))
}

/// The bytes at the end of a header.
pub(super) struct Marks {
    pub state: u8,
    pub message_flags: u8,
}

impl Marks {
    pub fn has_extensions(&self) -> bool {
        self.message_flags & FLAG_EXTENSIONS != 0
    }

    pub fn put_into(&self, header: Header) -> Header {
        Header {
            cluster_failed: self.state != 0,
            paused: self.message_flags & FLAG_PAUSED != 0,
            force_ack: self.message_flags & FLAG_FORCE_ACK != 0,
            extensions_understood: self.has_extensions(),
            ..header
        }
    }
}

pub(super) fn body(
    reader: &mut Reader<'_>,
    kind: u16,
    count: u16,
    extension_count: u16,
) -> Result<Option<Body>, WireError> {
    Ok(Some(match kind {
        0 => Body::Ping(gossip(reader, count, extension_count)?),
        1 => Body::Pong(gossip(reader, count, extension_count)?),
        2 => Body::Meet(gossip(reader, count, extension_count)?),
        3 => Body::Fail { node: reader.name()? },
        4 => Body::Publish(publication(reader)?),
        5 => Body::AuthRequest,
        6 => Body::AuthAck,
        7 => {
            let config_epoch = reader.u64()?;
            let node = reader.name()?;
            Body::Update { node, config_epoch, slots: Arc::new(SlotSet::from_bitmap(&reader.array()?)) }
        }
        8 => Body::ManualFailoverStart,
        9 => {
            module(reader)?;
            Body::Module
        }
        10 => Body::PublishShard(publication(reader)?),
        _ => return Ok(None),
    }))
}

fn gossip(reader: &mut Reader<'_>, count: u16, extension_count: u16) -> Result<Gossip, WireError> {
    // The entries are there before room is made for them.
    let mut entries_reader = Reader { bytes: reader.take(usize::from(count) * GOSSIP_LENGTH)? };
    let mut entries = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let entry = GossipEntry {
            node: match entries_reader.optional_name()? {
                Some(node) => node,
                // Redis ignores an entry whose name is no name.
                None => {
                    entries_reader.take(GOSSIP_LENGTH - 40)?;
                    continue;
                }
            },
            ping_sent_s: entries_reader.u32()?,
            pong_received_s: entries_reader.u32()?,
            host: entries_reader.host()?,
            port: entries_reader.u16()?,
            bus_port: entries_reader.u16()?,
            flags: NodeFlags(entries_reader.u16()?),
            other_port: entries_reader.u16()?,
        };
        entries_reader.take(2)?;
        entries.push(entry);
    }
    let mut extensions = Extensions::default();
    let mut client = ClientAddress::default();
    for _ in 0..extension_count {
        extension(reader, &mut extensions, &mut client)?;
    }
    extensions.client = client.if_any();
    Ok(Gossip { entries, extensions })
}

fn extension(
    reader: &mut Reader<'_>,
    extensions: &mut Extensions,
    client: &mut ClientAddress,
) -> Result<(), WireError> {
    let length = reader.u32()? as usize;
    let kind = reader.u16()?;
    reader.take(2)?;
    if length < 8 || !length.is_multiple_of(8) {
        return Err(WireError::Contents);
    }
    let mut data = Reader { bytes: reader.take(length - 8)? };
    match kind {
        EXTENSION_HOSTNAME => extensions.hostname = text(data.bytes)?,
        EXTENSION_HUMAN_NAME => extensions.human_name = text(data.bytes)?,
        EXTENSION_FORGOTTEN => {
            let node = data.name()?;
            extensions.forgotten.push((node, data.u64()?));
        }
        EXTENSION_SHARD_ID => extensions.shard_id = Some(data.name()?),
        EXTENSION_CLIENT_IPV4 => client.ipv4 = text(data.bytes)?,
        EXTENSION_CLIENT_IPV6 => client.ipv6 = text(data.bytes)?,
        EXTENSION_CLIENT_PORTS => (client.port, client.tls_port) = (data.u16()?, data.u16()?),
        EXTENSION_PRIORITY => extensions.replica_priority = Some(data.u32()?),
        EXTENSION_TAKE_OVER => extensions.take_over = true,
        EXTENSION_CLAIM => {
            let (epoch, source_epoch) = (data.u64()?, data.u64()?);
            let source = data.name()?;
            let slots = Arc::new(SlotSet::from_bitmap(&data.array()?));
            extensions.claims.push(ClaimRequest { epoch, source, source_epoch, slots });
        }
        _ => {}
    }
    Ok(())
}

/// A text that ends with a zero byte, `None` if it is empty.
fn text(bytes: &[u8]) -> Result<Option<Arc<str>>, WireError> {
    let end = bytes.iter().position(|&byte| byte == 0).ok_or(WireError::Contents)?;
    let text = std::str::from_utf8(bytes.get(..end).unwrap_or_default()).map_err(|_| WireError::Text)?;
    Ok(Some(text).filter(|text| !text.is_empty()).map(Arc::from))
}

fn publication(reader: &mut Reader<'_>) -> Result<Publication, WireError> {
    let channel_length = reader.u32()? as usize;
    let message_length = reader.u32()? as usize;
    let channel = reader.take(channel_length)?.into();
    let message = reader.take(message_length)?.into();
    Ok(Publication { channel, message })
}

/// A module's message is checked and dropped: id 8, length 4, type 1, then as many bytes as the length says.
fn module(reader: &mut Reader<'_>) -> Result<(), WireError> {
    reader.take(8)?;
    let length = reader.u32()? as usize;
    reader.take(1)?;
    reader.take(length)?;
    Ok(())
}

pub(super) struct Reader<'a> {
    pub bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(WireError::Contents)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or(WireError::Contents)?;
        self.bytes = rest;
        Ok(*taken)
    }

    pub fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    fn optional_name(&mut self) -> Result<Option<NodeId>, WireError> {
        Ok(NodeId::parse(&self.array::<40>()?))
    }

    fn name(&mut self) -> Result<NodeId, WireError> {
        self.optional_name()?.ok_or(WireError::Name)
    }

    fn name_or_zeros(&mut self) -> Result<Option<NodeId>, WireError> {
        let bytes = self.array::<40>()?;
        if bytes == [0; 40] { Ok(None) } else { NodeId::parse(&bytes).map(Some).ok_or(WireError::Name) }
    }

    fn host(&mut self) -> Result<Arc<str>, WireError> {
        let bytes = self.array::<HOST_LENGTH>()?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(HOST_LENGTH - 1);
        let text = std::str::from_utf8(bytes.get(..end).unwrap_or_default()).map_err(|_| WireError::Text)?;
        Ok(text.into())
    }
}
