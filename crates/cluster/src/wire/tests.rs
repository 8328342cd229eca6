//! Layout, round trips, and what happens to damaged bytes.

use super::*;
use crate::messages::{Body, ClaimRequest, Extensions, Gossip, GossipEntry, Header, Publication};
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
    let claim = |epoch| ClaimRequest {
        epoch,
        source: name(b'f'),
        source_epoch: 7,
        slots: Arc::new([3, 16383].into_iter().collect()),
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
        replica_priority: None,
        take_over: false,
        claims: Vec::new(),
        shard_id: Some(name(b'e')),
    };
    let publication = Publication { channel: b"news"[..].into(), message: b"\0\xff"[..].into() };
    vec![
        Body::Ping(Gossip { entries: vec![entry(b'c'), entry(b'd')], extensions }),
        Body::Pong(Gossip {
            entries: vec![entry(b'c')],
            extensions: Extensions {
                replica_priority: Some(7),
                claims: vec![claim(8), claim(9)],
                ..Extensions::default()
            },
        }),
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

/// What a decoder makes of bytes that come in pieces of this size.
fn decoded(bytes: &[u8], piece: usize) -> Result<Vec<Message>, WireError> {
    let mut decoder = Decoder::new();
    let mut messages = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        while let Some(message) = decoder.next_message()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

#[test]
fn light_messages_say_the_same() {
    let first = message(Body::Ping(Gossip::default()));
    let mut later = first.clone();
    later.header.current_epoch += 1;
    later.header.replication_offset += 100;
    later.header.cluster_failed = !later.header.cluster_failed;
    later.header.paused = !later.header.paused;
    later.body = Body::Fail { node: first.header.sender };
    let mut other_slots = later.clone();
    other_slots.body = first.body.clone();
    other_slots.header.slots = Arc::new([5u16, 6].into_iter().collect());
    let sent = [first.clone(), later.clone(), first.clone(), other_slots.clone(), other_slots, later];
    for peer_takes_light in [true, false] {
        let mut encoder = Encoder::default();
        let parts: Vec<Vec<u8>> =
            sent.iter().map(|message| encoder.encode(message, peer_takes_light)).collect();
        let is_light = |bytes: &Vec<u8>| bytes.len() < HEADER_LENGTH;
        let light: Vec<bool> = parts.iter().map(is_light).collect();
        // A header that differs in what lasts is sent whole.
        let expected = [false, true, true, false, true, false].map(|is_light| is_light && peer_takes_light);
        assert_eq!(light, expected);
        for piece in [1, 13, 14, 100, 100_000] {
            assert_eq!(decoded(&parts.concat(), piece).as_deref(), Ok(&sent[..]), "{piece}");
        }
        if peer_takes_light {
            assert_eq!(decoded(&parts[1], 1000), Err(WireError::Light));
        }
    }
}

/// A program of a later version may send types that this one passes over; what they say is no base.
#[test]
fn only_gossip_is_a_base_of_light_messages() {
    let ping = message(Body::Ping(Gossip::default()));
    let mut request = message(Body::AuthRequest);
    request.header.slots = Arc::new([9u16].into_iter().collect());
    let mut again = request.clone();
    again.body = Body::AuthAck;
    let mut encoder = Encoder::default();
    let sent = [ping.clone(), request, again, ping];
    let parts: Vec<Vec<u8>> = sent.iter().map(|message| encoder.encode(message, true)).collect();
    let light: Vec<bool> = parts.iter().map(|bytes| bytes.len() < HEADER_LENGTH).collect();
    assert_eq!(light, [false, false, false, true]);
    assert_eq!(decoded(&parts.concat(), 1000).as_deref(), Ok(&sent[..]));
}

/// Any sequence of headers on one link, light or whole, arrives as it was sent.
#[test]
fn links_keep_what_headers_say() {
    let mut rng = Rng::new(5);
    for _ in 0..200 {
        let mut encoder = Encoder::default();
        let (mut sent, mut bytes) = (Vec::new(), Vec::new());
        let mut message = message(Body::Ping(Gossip::default()));
        for _ in 0..20 {
            vary(&mut rng, &mut message);
            bytes.extend(encoder.encode(&message, rng.chance(3, 4)));
            sent.push(message.clone());
        }
        assert_eq!(decoded(&bytes, 1 + rng.index(5000)).as_deref(), Ok(&sent[..]));
    }
}

/// Changes one thing in a message.
fn vary(rng: &mut Rng, message: &mut Message) {
    let header = &mut message.header;
    match rng.index(14) {
        0 => header.current_epoch += 1,
        1 => header.config_epoch += 1,
        2 => header.replication_offset += 1,
        3 => header.slots = Arc::new([rng.below(16384) as u16].into_iter().collect()),
        4 => header.primary = header.primary.is_none().then_some(header.sender),
        5 => header.announced_host = rng.chance(1, 2).then(|| "10.1.2.3".into()),
        6 => header.port ^= 1,
        7 => header.other_port ^= 1,
        8 => header.bus_port ^= 1,
        9 => header.flags = NodeFlags(rng.below(256) as u16),
        10 => header.cluster_failed = !header.cluster_failed,
        11 => header.paused = !header.paused,
        12 => header.force_ack = !header.force_ack,
        _ => {
            let node = header.sender;
            message.body = match rng.index(4) {
                0 => Body::Ping(Gossip::default()),
                1 => Body::Fail { node },
                2 => Body::Update { node, config_epoch: 3, slots: header.slots.clone() },
                _ => Body::AuthAck,
            };
        }
    }
}

#[test]
fn only_who_announces_it_takes_light_messages() {
    for (version, expected) in [(0, false), (1, false), (LIGHT_VERSION, true), (255, true)] {
        let mut message = message(Body::Ping(Gossip::default()));
        message.header.shoal_version = version;
        let mut decoder = Decoder::new();
        assert!(!decoder.peer_takes_light());
        decoder.push(&encode(&message));
        decoder.next_message().unwrap();
        assert_eq!(decoder.peer_takes_light(), expected, "{version}");
    }
}
