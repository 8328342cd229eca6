//! Layout, round trips, and what happens to damaged bytes.

use super::*;
use crate::messages::{Body, Extensions, Gossip, GossipEntry, Header, Publication};
use crate::{ClientAddress, NodeFlags, NodeId, SlotSet};
use shoal_machine::Rng;
use std::sync::Arc;

fn name(byte: u8) -> NodeId {
    NodeId::parse(&[byte; 40]).unwrap()
}

fn message(body: Body) -> Message {
    Message {
        header: Header {
            sender: name(b'a'),
            current_epoch: 7,
            config_epoch: 5,
            replication_offset: 1234,
            slots: Arc::new([0, 1, 16383].into_iter().collect::<SlotSet>()),
            primary: Some(name(b'b')),
            announced_host: Some("10.0.0.1".into()),
            port: 7000,
            other_port: 7001,
            bus_port: 17000,
            flags: NodeFlags::REPLICA | NodeFlags::MYSELF,
            cluster_failed: true,
            paused: true,
            force_ack: false,
            extensions_understood: true,
            shoal_version: SHOAL_VERSION,
        },
        body,
    }
}

fn bodies() -> Vec<Body> {
    let entry = |byte| GossipEntry {
        node: name(byte),
        ping_sent_s: 1,
        pong_received_s: 2,
        host: "::1".into(),
        port: 3,
        bus_port: 4,
        flags: NodeFlags::PRIMARY | NodeFlags::SUSPECTED,
        other_port: 5,
    };
    let extensions = Extensions {
        hostname: Some("host.example".into()),
        human_name: Some("blue".into()),
        forgotten: vec![(name(b'f'), 60)],
        client: ClientAddress {
            ipv4: Some("192.0.2.7".into()),
            ipv6: Some("2001:db8::7".into()),
            port: 6407,
            tls_port: 6507,
        }
        .if_any(),
        take_over: false,
        shard_id: Some(name(b'e')),
    };
    let publication = Publication { channel: b"news"[..].into(), message: b"\0\xff"[..].into() };
    vec![
        Body::Ping(Gossip { entries: vec![entry(b'c'), entry(b'd')], extensions }),
        Body::Pong(Gossip { entries: vec![entry(b'c')], extensions: Extensions::default() }),
        Body::Meet(Gossip::default()),
        Body::Fail { node: name(b'c') },
        Body::Publish(publication.clone()),
        Body::AuthRequest,
        Body::AuthAck,
        Body::Update { node: name(b'c'), config_epoch: 9, slots: Arc::new(SlotSet::full()) },
        Body::ManualFailoverStart,
        Body::Module,
        Body::PublishShard(publication),
    ]
}

#[test]
fn every_type_survives_the_way() {
    for (number, body) in bodies().into_iter().enumerate() {
        assert_eq!(usize::from(body.type_number()), number);
        let message = message(body);
        assert_eq!(decode(&encode(&message)), Ok(Some(message)));
    }
}

#[test]
fn a_primary_asks_to_be_replaced() {
    let extensions = Extensions { take_over: true, ..Extensions::default() };
    let message = message(Body::Ping(Gossip { entries: Vec::new(), extensions }));
    let bytes = encode(&message);
    assert_eq!(bytes[HEADER_LENGTH..], [0, 0, 0, 8, 0x53, 0x01, 0, 0]);
    assert_eq!(decode(&bytes), Ok(Some(message)));
}

#[test]
fn fields_stand_where_redis_has_them() {
    let bytes = encode(&message(bodies().swap_remove(0)));
    let field = |offset: usize, length: usize| bytes[offset..offset + length].to_vec();
    assert_eq!(field(0, 4), b"RCmb");
    // Two entries, then extensions of 24, 16, 56, 48, 24, 24 and 16 bytes.
    let length = HEADER_LENGTH + 2 * GOSSIP_LENGTH + 24 + 16 + 56 + 48 + 24 + 24 + 16;
    assert_eq!(bytes.len(), length);
    assert_eq!(field(4, 4), u32::to_be_bytes(length as u32));
    assert_eq!(field(8, 2), [0, 1]);
    assert_eq!(field(10, 2), u16::to_be_bytes(7000));
    assert_eq!(field(12, 4), [0, 0, 0, 2]);
    assert_eq!(field(16, 8), u64::to_be_bytes(7));
    assert_eq!(field(24, 8), u64::to_be_bytes(5));
    assert_eq!(field(32, 8), u64::to_be_bytes(1234));
    assert_eq!(field(40, 40), [b'a'; 40]);
    assert_eq!((bytes[80], bytes[80 + 2047]), (3, 0x80));
    assert_eq!(field(2128, 40), [b'b'; 40]);
    assert_eq!(field(2168, 9), b"10.0.0.1\0");
    assert_eq!(field(2214, 2), [0, 7]);
    assert_eq!(field(2216, 29), [0; 29]);
    assert_eq!(bytes[SHOAL_BYTE], SHOAL_VERSION);
    assert_eq!(field(2246, 2), u16::to_be_bytes(7001));
    assert_eq!(field(2248, 2), u16::to_be_bytes(17000));
    assert_eq!(field(2250, 2), [0, 18]);
    assert_eq!(field(2252, 4), [1, 5, 0, 0]);
    let entry = HEADER_LENGTH;
    assert_eq!(field(entry, 40), [b'c'; 40]);
    assert_eq!(field(entry + 40, 8), [0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(field(entry + 48, 4), b"::1\0");
    assert_eq!(field(entry + 94, 10), [0, 3, 0, 4, 0, 5, 0, 5, 0, 0]);
    let extension = HEADER_LENGTH + 2 * GOSSIP_LENGTH;
    assert_eq!(field(extension, 8), [0, 0, 0, 24, 0, 0, 0, 0]);
    assert_eq!(field(extension + 8, 13), b"host.example\0");
    assert_eq!(field(extension + 24, 8), [0, 0, 0, 16, 0, 1, 0, 0]);
}

#[test]
fn any_split_gives_the_same_messages() {
    let messages: Vec<Message> = bodies().into_iter().map(message).collect();
    let stream: Vec<u8> = messages.iter().flat_map(encode).collect();
    for step in [1, 7, 8, 9, 2255, 2256, 5000, stream.len()] {
        let mut decoder = Decoder::new();
        let mut received = Vec::new();
        for chunk in stream.chunks(step) {
            decoder.push(chunk);
            while let Some(message) = decoder.next_message().unwrap() {
                received.push(message);
            }
        }
        assert_eq!(received, messages, "in steps of {step}");
        assert_eq!(decoder.pending(), 0);
    }
}

#[test]
fn shorter_and_longer_contents_are_refused() {
    for body in bodies() {
        let bytes = encode(&message(body.clone()));
        for change in [-8i64, -1, 1, 8] {
            let length = usize::try_from(bytes.len() as i64 + change).unwrap();
            let mut damaged = bytes.clone();
            damaged.resize(length, 0);
            damaged[4..8].copy_from_slice(&(length as u32).to_be_bytes());
            assert!(decode(&damaged).is_err(), "{body:?} by {change}");
        }
    }
}

#[test]
fn refuses_strangers_and_liars() {
    let first_error = |bytes: &[u8]| {
        let mut decoder = Decoder::new();
        decoder.push(bytes);
        decoder.next_message().unwrap_err()
    };
    assert_eq!(first_error(b"GET / HTTP/1.1\r\n"), WireError::Signature);
    assert_eq!(first_error(b"RX"), WireError::Signature);
    assert_eq!(first_error(b"RCmb\0\0\0\x10"), WireError::Length);
    assert_eq!(first_error(b"RCmb\xff\xff\xff\xff"), WireError::Length);
    let mut bytes = encode(&message(Body::AuthAck));
    bytes[40] = b'-';
    assert_eq!(first_error(&bytes), WireError::Name);
    let mut count = encode(&message(Body::Ping(Gossip::default())));
    count[14] = 0xff;
    assert_eq!(first_error(&count), WireError::Contents);
    let mut publication = encode(&message(bodies().swap_remove(4)));
    publication[HEADER_LENGTH] = 0xff;
    assert_eq!(first_error(&publication), WireError::Contents);
}

#[test]
fn other_versions_and_types_are_skipped() {
    let mut newer = encode(&message(Body::AuthAck));
    newer[9] = 2;
    let mut unknown = encode(&message(Body::AuthAck));
    unknown[13] = 99;
    let mut decoder = Decoder::new();
    decoder.push(&newer);
    decoder.push(&unknown);
    decoder.push(&encode(&message(Body::AuthRequest)));
    assert_eq!(decoder.next_message(), Ok(Some(message(Body::AuthRequest))));
}

#[test]
fn garbage_never_panics() {
    let mut rng = Rng::new(1);
    let seeds: Vec<Vec<u8>> = bodies().into_iter().map(|body| encode(&message(body))).collect();
    for _ in 0..20_000 {
        let mut bytes = rng.choose(&seeds).unwrap().clone();
        for _ in 0..=rng.below(8) {
            let index =
                if rng.chance(1, 2) { rng.index(bytes.len()) } else { 2200 + rng.index(bytes.len() - 2200) };
            bytes[index] = rng.next_u64() as u8;
        }
        let length = bytes.len();
        if rng.chance(1, 4) {
            bytes.truncate(rng.index(length));
        } else if rng.chance(1, 2) {
            bytes[4..8].copy_from_slice(&(length as u32).to_be_bytes());
        }
        fuzz_bus(&bytes);
    }
}
