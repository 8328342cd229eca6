//! From messages to bytes.

use super::{
    EXTENSION_CLAIM, EXTENSION_CLIENT_IPV4, EXTENSION_CLIENT_IPV6, EXTENSION_CLIENT_PORTS,
    EXTENSION_FORGOTTEN, EXTENSION_HOSTNAME, EXTENSION_HUMAN_NAME, EXTENSION_PRIORITY, EXTENSION_SHARD_ID,
    EXTENSION_TAKE_OVER, FLAG_EXTENSIONS, FLAG_FORCE_ACK, FLAG_PAUSED, GOSSIP_LENGTH, HEADER_LENGTH,
    HOST_LENGTH, LIGHT_HEADER_LENGTH, LIGHT_KIND, SIGNATURE,
};
use crate::messages::{Body, Extensions, Gossip, GossipEntry, Message, Publication};

/// Where the number of extensions stands in a whole header,
const EXTENSIONS_COUNT: usize = 2214;
/// and in a light one.
const LIGHT_EXTENSIONS_COUNT: usize = 44;

/// The bytes of a message.
pub fn encode(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LENGTH + body_capacity(&message.body));
    header(&mut bytes, message);
    debug_assert_eq!(bytes.len(), HEADER_LENGTH);
    finish(bytes, message, EXTENSIONS_COUNT)
}

/// The bytes of a message with a light header.
pub(super) fn encode_light(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LIGHT_HEADER_LENGTH + body_capacity(&message.body));
    light_header(&mut bytes, message);
    debug_assert_eq!(bytes.len(), LIGHT_HEADER_LENGTH);
    finish(bytes, message, LIGHT_EXTENSIONS_COUNT)
}

/// The length of the bytes of a message.
pub(super) fn length(message: &Message, is_light: bool) -> usize {
    let header_length = if is_light { LIGHT_HEADER_LENGTH } else { HEADER_LENGTH };
    header_length + body(&mut Vec::with_capacity(body_capacity(&message.body)), message).0
}

/// Appends the data of the type, and fills in the length and, at this offset, the number of extensions.
fn finish(mut bytes: Vec<u8>, message: &Message, extensions_at: usize) -> Vec<u8> {
    let (_, extensions_count) = body(&mut bytes, message);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    bytes[4..8].copy_from_slice(&length.to_be_bytes());
    bytes[extensions_at..extensions_at + 2].copy_from_slice(&u16::to_be_bytes(extensions_count));
    bytes
}

/// Appends the data of the type; returns their length, and how many extensions are among them.
fn body(bytes: &mut Vec<u8>, message: &Message) -> (usize, u16) {
    let begins = bytes.len();
    let mut extensions_count = 0;
    match &message.body {
        Body::Ping(gossip) | Body::Pong(gossip) | Body::Meet(gossip) => {
            for entry in gossip.entries.iter().take(usize::from(u16::MAX)) {
                gossip_entry(bytes, entry);
            }
            extensions_count = extensions(bytes, &gossip.extensions);
        }
        Body::Fail { node } => bytes.extend_from_slice(node.as_bytes()),
        Body::Publish(publication) | Body::PublishShard(publication) => publish(bytes, publication),
        Body::Update { node, config_epoch, slots } => {
            bytes.extend_from_slice(&config_epoch.to_be_bytes());
            bytes.extend_from_slice(node.as_bytes());
            bytes.extend_from_slice(&slots.to_bitmap());
        }
        // Module id, length zero, type and the three bytes that close the fixed part.
        Body::Module => bytes.extend_from_slice(&[0; 13]),
        Body::AuthRequest | Body::AuthAck | Body::ManualFailoverStart => {}
    }
    (bytes.len() - begins, extensions_count)
}

fn body_capacity(body: &Body) -> usize {
    match body {
        Body::Ping(gossip) | Body::Pong(gossip) | Body::Meet(gossip) => gossip_capacity(gossip),
        Body::Publish(publication) | Body::PublishShard(publication) => {
            8 + publication.channel.len() + publication.message.len()
        }
        Body::Update { .. } => 2096,
        _ => 40,
    }
}

fn gossip_capacity(gossip: &Gossip) -> usize {
    gossip.entries.len() * GOSSIP_LENGTH + 128
}

fn header(bytes: &mut Vec<u8>, message: &Message) {
    let header = &message.header;
    front(bytes, message, header.port, message.body.type_number());
    bytes.extend_from_slice(header.sender.as_bytes());
    bytes.extend_from_slice(&header.slots.to_bitmap());
    bytes.extend_from_slice(header.primary.as_ref().map_or(&[0; 40][..], |primary| primary.as_bytes()));
    host(bytes, header.announced_host.as_deref().unwrap_or(""));
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&[0; 29]);
    bytes.push(header.shoal_version);
    bytes.extend_from_slice(&header.other_port.to_be_bytes());
    bytes.extend_from_slice(&header.bus_port.to_be_bytes());
    standing(bytes, message);
    bytes.extend_from_slice(&[0; 2]);
}

/// See [`super::light`].
fn light_header(bytes: &mut Vec<u8>, message: &Message) {
    front(bytes, message, 0, LIGHT_KIND | message.body.type_number());
    standing(bytes, message);
    // The number of extensions, and two bytes that nobody uses.
    bytes.extend_from_slice(&[0; 4]);
}

/// What both headers begin with.
fn front(bytes: &mut Vec<u8>, message: &Message, port: u16, kind: u16) {
    let (header, entries) = (&message.header, message.body.gossip().map_or(0, |gossip| gossip.entries.len()));
    bytes.extend_from_slice(&SIGNATURE);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&1u16.to_be_bytes());
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&u16::try_from(entries).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(&header.current_epoch.to_be_bytes());
    bytes.extend_from_slice(&header.config_epoch.to_be_bytes());
    bytes.extend_from_slice(&header.replication_offset.to_be_bytes());
}

/// Node flags, cluster state and the first message flags.
fn standing(bytes: &mut Vec<u8>, message: &Message) {
    let header = &message.header;
    bytes.extend_from_slice(&header.flags.0.to_be_bytes());
    bytes.push(u8::from(header.cluster_failed));
    let mut flags = 0;
    for (set, flag) in [
        (header.paused, FLAG_PAUSED),
        (header.force_ack, FLAG_FORCE_ACK),
        (header.extensions_understood || has_extensions(&message.body), FLAG_EXTENSIONS),
    ] {
        flags |= if set { flag } else { 0 };
    }
    bytes.push(flags);
}

fn has_extensions(body: &Body) -> bool {
    body.gossip().is_some_and(|gossip| gossip.extensions != Extensions::default())
}

/// An address of at most 45 bytes, zero padded; a longer one is cut.
fn host(bytes: &mut Vec<u8>, text: &str) {
    let length = text.len().min(HOST_LENGTH - 1);
    bytes.extend_from_slice(text.as_bytes().get(..length).unwrap_or_default());
    bytes.resize(bytes.len() + HOST_LENGTH - length, 0);
}

fn gossip_entry(bytes: &mut Vec<u8>, entry: &GossipEntry) {
    bytes.extend_from_slice(entry.node.as_bytes());
    bytes.extend_from_slice(&entry.ping_sent_s.to_be_bytes());
    bytes.extend_from_slice(&entry.pong_received_s.to_be_bytes());
    host(bytes, &entry.host);
    bytes.extend_from_slice(&entry.port.to_be_bytes());
    bytes.extend_from_slice(&entry.bus_port.to_be_bytes());
    bytes.extend_from_slice(&entry.flags.0.to_be_bytes());
    bytes.extend_from_slice(&entry.other_port.to_be_bytes());
    bytes.extend_from_slice(&[0; 2]);
}

fn publish(bytes: &mut Vec<u8>, publication: &Publication) {
    for part in [&publication.channel, &publication.message] {
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    }
    bytes.extend_from_slice(&publication.channel);
    bytes.extend_from_slice(&publication.message);
}

/// Appends the extensions and returns how many there are.
fn extensions(bytes: &mut Vec<u8>, extensions: &Extensions) -> u16 {
    let mut count = 0;
    let mut append = |kind: u16, data: &[&[u8]]| {
        let length: usize = data.iter().map(|part| part.len()).sum();
        let padded = (8 + length).next_multiple_of(8);
        bytes.extend_from_slice(&u32::try_from(padded).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0; 2]);
        for part in data {
            bytes.extend_from_slice(part);
        }
        bytes.resize(bytes.len() + padded - 8 - length, 0);
        count += 1;
    };
    if let Some(hostname) = &extensions.hostname {
        append(EXTENSION_HOSTNAME, &[hostname.as_bytes(), &[0]]);
    }
    if let Some(name) = &extensions.human_name {
        append(EXTENSION_HUMAN_NAME, &[name.as_bytes(), &[0]]);
    }
    for (node, seconds) in &extensions.forgotten {
        append(EXTENSION_FORGOTTEN, &[node.as_bytes(), &seconds.to_be_bytes()]);
    }
    if let Some(shard_id) = &extensions.shard_id {
        append(EXTENSION_SHARD_ID, &[shard_id.as_bytes()]);
    }
    if let Some(client) = &extensions.client {
        for (kind, address) in [(EXTENSION_CLIENT_IPV4, &client.ipv4), (EXTENSION_CLIENT_IPV6, &client.ipv6)]
        {
            if let Some(address) = address {
                append(kind, &[address.as_bytes(), &[0]]);
            }
        }
        if (client.port, client.tls_port) != (0, 0) {
            append(EXTENSION_CLIENT_PORTS, &[&client.port.to_be_bytes(), &client.tls_port.to_be_bytes()]);
        }
    }
    if let Some(priority) = extensions.replica_priority {
        append(EXTENSION_PRIORITY, &[&priority.to_be_bytes()]);
    }
    if extensions.take_over {
        append(EXTENSION_TAKE_OVER, &[]);
    }
    for claim in &extensions.claims {
        let (epochs, slots) =
            ([claim.epoch.to_be_bytes(), claim.source_epoch.to_be_bytes()], claim.slots.to_bitmap());
        append(EXTENSION_CLAIM, &[&epochs[0], &epochs[1], claim.source.as_bytes(), &slots]);
    }
    count
}
