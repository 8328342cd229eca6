//! From messages to bytes.

use super::{
    EXTENSION_CLIENT_IPV4, EXTENSION_CLIENT_IPV6, EXTENSION_CLIENT_PORTS, EXTENSION_FORGOTTEN,
    EXTENSION_HOSTNAME, EXTENSION_HUMAN_NAME, EXTENSION_SHARD_ID, EXTENSION_TAKE_OVER, FLAG_EXTENSIONS,
    FLAG_FORCE_ACK, FLAG_PAUSED, GOSSIP_LENGTH, HEADER_LENGTH, HOST_LENGTH, SIGNATURE,
};
use crate::messages::{Body, Extensions, Gossip, GossipEntry, Message, Publication};

/// The bytes of a message.
pub fn encode(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LENGTH + body_capacity(&message.body));
    let gossip_count = message.body.gossip().map_or(0, |gossip| gossip.entries.len());
    header(&mut bytes, message, gossip_count);
    debug_assert_eq!(bytes.len(), HEADER_LENGTH);
    let mut extensions_count = 0;
    match &message.body {
        Body::Ping(gossip) | Body::Pong(gossip) | Body::Meet(gossip) => {
            for entry in gossip.entries.iter().take(usize::from(u16::MAX)) {
                gossip_entry(&mut bytes, entry);
            }
            extensions_count = extensions(&mut bytes, &gossip.extensions);
        }
        Body::Fail { node } => bytes.extend_from_slice(node.as_bytes()),
        Body::Publish(publication) | Body::PublishShard(publication) => publish(&mut bytes, publication),
        Body::Update { node, config_epoch, slots } => {
            bytes.extend_from_slice(&config_epoch.to_be_bytes());
            bytes.extend_from_slice(node.as_bytes());
            bytes.extend_from_slice(&slots.to_bitmap());
        }
        // Module id, length zero, type and the three bytes that close the fixed part.
        Body::Module => bytes.extend_from_slice(&[0; 13]),
        Body::AuthRequest | Body::AuthAck | Body::ManualFailoverStart => {}
    }
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    bytes[4..8].copy_from_slice(&length.to_be_bytes());
    bytes[2214..2216].copy_from_slice(&u16::to_be_bytes(extensions_count));
    bytes
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

fn header(bytes: &mut Vec<u8>, message: &Message, gossip_count: usize) {
    let header = &message.header;
    bytes.extend_from_slice(&SIGNATURE);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&1u16.to_be_bytes());
    bytes.extend_from_slice(&header.port.to_be_bytes());
    bytes.extend_from_slice(&message.body.type_number().to_be_bytes());
    bytes.extend_from_slice(&u16::try_from(gossip_count).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(&header.current_epoch.to_be_bytes());
    bytes.extend_from_slice(&header.config_epoch.to_be_bytes());
    bytes.extend_from_slice(&header.replication_offset.to_be_bytes());
    bytes.extend_from_slice(header.sender.as_bytes());
    bytes.extend_from_slice(&header.slots.to_bitmap());
    bytes.extend_from_slice(header.primary.as_ref().map_or(&[0; 40][..], |primary| primary.as_bytes()));
    host(bytes, header.announced_host.as_deref().unwrap_or(""));
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&[0; 29]);
    bytes.push(header.shoal_version);
    bytes.extend_from_slice(&header.other_port.to_be_bytes());
    bytes.extend_from_slice(&header.bus_port.to_be_bytes());
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
    bytes.extend_from_slice(&[flags, 0, 0]);
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
    if extensions.take_over {
        append(EXTENSION_TAKE_OVER, &[]);
    }
    count
}
