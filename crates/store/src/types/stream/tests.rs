//! The log against a plain list of entries, and payloads that are no nodes.

use super::node::Node;
use super::*;
use crate::call::EncodingLimits;
use shoal_formats::listpack::{Element, Listpack};
use shoal_machine::Rng;

type Model = Vec<(StreamId, Vec<Vec<u8>>)>;

fn shown(entry: &StreamEntry<'_>) -> (StreamId, Vec<Vec<u8>>) {
    (entry.id, entry.words().map(Element::to_vec).collect())
}

fn check(log: &Log, model: &Model, rng: &mut Rng) {
    assert_eq!(log.len(), model.len() as u64);
    let first = model.first().map_or(StreamId::MIN, |(id, _)| *id);
    assert_eq!(log.history().first_id, first);
    assert_eq!(log.last_entry_id(), model.last().map(|(id, _)| *id));
    let bound = |rng: &mut Rng| match rng.below(6) {
        0 => StreamId::MIN,
        1 => StreamId::MAX,
        _ => StreamId::new(rng.below(log.last_id().ms + 2), rng.below(4)),
    };
    let (start, end) = (bound(rng), bound(rng));
    let expected = || model.iter().filter(|(id, _)| (start..=end).contains(id)).cloned();
    assert!(log.entries(start, end).map(|entry| shown(&entry)).eq(expected()));
    let backwards = expected().collect::<Vec<_>>().into_iter().rev();
    assert!(log.entries(start, end).backwards().map(|entry| shown(&entry)).eq(backwards));
    assert_eq!(log.contains(start), model.iter().any(|(id, _)| *id == start));
}

/// The nodes of a log as files keep them make the same log.
fn reloaded(log: &Log) -> Log {
    let mut copy = Log::default();
    for (base, node) in log.nodes() {
        let listpack = Listpack::from_bytes(node.as_bytes()).expect("a listpack");
        copy.push_node(base, listpack).expect("a node");
    }
    copy.complete(log.len(), log.last_id(), Some(log.history())).expect("it is complete");
    copy
}

fn random_words(rng: &mut Rng) -> Vec<Vec<u8>> {
    let fields = if rng.chance(1, 4) { rng.below(4) + 1 } else { 2 };
    let word = |name: u8, rng: &mut Rng| match rng.below(4) {
        0 => rng.next_u64().to_string().into_bytes(),
        1 => vec![b'x'; rng.index(200)],
        _ => vec![name; 1 + rng.index(3)],
    };
    (0..fields).flat_map(|field| [vec![b'a' + field as u8], word(b'v', rng)]).collect()
}

#[test]
fn a_log_does_what_a_list_does() {
    let mut rng = Rng::new(3);
    for round in 0..6 {
        let limits = EncodingLimits {
            stream_node_max_entries: [100, 5, 1, 0, 200, 7][round],
            stream_node_max_bytes: [4096, 0, 4096, 300, 0, 128][round],
            ..EncodingLimits::default()
        };
        let (mut log, mut model) = (Log::default(), Model::new());
        for step in 0..1500 {
            let length = model.len();
            match rng.below(30) {
                0 => {
                    let to = TrimTo::Length(rng.below(length as u64 + 3));
                    let trimmed = log.trim(Trim { to, by_node: false, limit: 0 });
                    let TrimTo::Length(wanted) = to else { unreachable!() };
                    model.drain(..length.saturating_sub(wanted as usize));
                    assert_eq!(trimmed as usize, length - model.len());
                }
                1 => {
                    let first = StreamId::new(rng.below(log.last_id().ms + 2), 1);
                    let trimmed = log.trim(Trim { to: TrimTo::Id(first), by_node: false, limit: 0 });
                    model.retain(|(id, _)| *id >= first);
                    assert_eq!(trimmed as usize, length - model.len());
                }
                2 => {
                    // By whole nodes: never more than asked for, never above the limit, and of the first ones.
                    let (wanted, limit) = (rng.below(length as u64 + 3), rng.below(40));
                    let trim = Trim { to: TrimTo::Length(wanted), by_node: true, limit };
                    let trimmed = log.trim(trim) as usize;
                    assert!(trimmed <= length.saturating_sub(wanted as usize));
                    assert!(limit == 0 || trimmed <= limit as usize);
                    model.drain(..trimmed);
                }
                3..=8 if length > 0 => {
                    let id = model[rng.index(length)].0;
                    let missing = StreamId::new(id.ms, id.sequence + 1_000_000);
                    assert_eq!(log.delete(&[id, missing, id]), 1);
                    model.retain(|(other, _)| *other != id);
                    assert!(log.history().max_deleted_id >= id);
                }
                _ => {
                    let id = match log.last_id() {
                        last if rng.chance(1, 2) => StreamId::new(last.ms + 1 + rng.below(5), rng.below(3)),
                        last => last.next().unwrap(),
                    };
                    let words = random_words(&mut rng);
                    let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                    log.append(id, &slices, &limits).unwrap();
                    assert_eq!(log.append(id, &slices, &limits), Err(AppendError::IdTooSmall));
                    model.push((id, words));
                }
            }
            check(&log, &model, &mut rng);
            if step % 100 == 0 {
                check(&reloaded(&log), &model, &mut rng);
            }
        }
    }
}

#[test]
fn nodes_end_where_the_settings_say() {
    let limits = EncodingLimits {
        stream_node_max_entries: 10,
        stream_node_max_bytes: 200,
        ..EncodingLimits::default()
    };
    let mut log = Log::default();
    for ms in 1..=25 {
        log.append(StreamId::new(ms, 0), &[b"f", b"v"], &limits).unwrap();
    }
    assert_eq!(log.node_count(), 3);
    log.append(StreamId::new(30, 0), &[b"f", &[b'v'; 190]], &limits).unwrap();
    assert_eq!(log.node_count(), 4, "the bytes to be added count");
    let trim = Trim { to: TrimTo::Length(17), by_node: true, limit: 0 };
    assert_eq!(log.trim(trim), 0, "the first node is needed for 17");
    assert_eq!(log.trim(Trim { to: TrimTo::Length(16), ..trim }), 10);
    assert_eq!(log.trim(Trim { to: TrimTo::Id(StreamId::new(20, 0)), ..trim }), 0);
    assert_eq!(log.trim(Trim { to: TrimTo::Id(StreamId::new(21, 0)), limit: 9, ..trim }), 0);
    assert_eq!(log.trim(Trim { to: TrimTo::Id(StreamId::new(21, 0)), limit: 10, ..trim }), 10);
}

/// A node with two fields, four entries and one of them deleted, as its elements.
const SOUND: &[&str] = &[
    "3", "1", "2", "name", "age", "0", // master
    "2", "0", "0", "ada", "36", "5", // same fields
    "3", "0", "5", "bob", "7", "5", // deleted
    "0", "7", "-3", "1", "other", "x", "6", // fields of its own
    "2", "8", "0", "eve", "9", "5",
];

fn node_of(elements: &[&str], base: StreamId) -> Option<StreamId> {
    let listpack: Listpack = elements.iter().map(|text| text.as_bytes()).collect();
    Node::from_listpack(listpack, base).ok().map(|(_, last)| last)
}

#[test]
fn what_is_no_node_is_refused() {
    let base = StreamId::new(100, 5);
    assert_eq!(node_of(SOUND, base), Some(StreamId::new(108, 5)));
    let changes: &[(usize, &str, &str)] = &[
        (0, "4", "entries that are not there"),
        (0, "-3", "a negative count"),
        (1, "0", "a deleted entry that is not counted"),
        (2, "1", "fewer fields than there are"),
        (2, "3", "more fields than there are"),
        (2, "9223372036854775807", "more fields than there can be"),
        (2, "-1", "fewer fields than none"),
        (5, "1", "no end of the master"),
        (6, "0", "fields that are not there"),
        (6, "-2", "flags that nobody has written"),
        (6, "flags", "flags that are no number"),
        (7, "ms", "a time that is no number"),
        (11, "4", "a wrong number of elements"),
        (12, "2", "a deleted entry that is none"),
        (21, "2", "a wrong number of own fields"),
        (21, "-1", "a negative number of own fields"),
        (19, "0", "an id below the base"),
        (26, "6", "an id below the one before"),
    ];
    for &(at, text, what) in changes {
        let mut elements = SOUND.to_vec();
        elements[at] = text;
        assert_eq!(node_of(&elements, base), None, "{what}");
    }
    for length in 0..SOUND.len() {
        assert_eq!(node_of(&SOUND[..length], base), None, "the first {length} elements");
    }
    assert_eq!(node_of(&[SOUND, &["0"]].concat(), base), None, "an element too many");
}

#[test]
fn nodes_follow_each_other() {
    let listpack: Listpack = SOUND.iter().map(|text| text.as_bytes()).collect();
    let mut log = Log::default();
    log.push_node(StreamId::new(100, 5), listpack.clone()).unwrap();
    let too_early = log.clone().push_node(StreamId::new(108, 5), listpack.clone());
    assert!(too_early.is_err(), "it begins with the last entry before");
    log.push_node(StreamId::new(108, 6), listpack).unwrap();
    let last = StreamId::new(116, 6);
    assert!(log.clone().complete(5, last, None).is_err(), "there are six entries");
    assert!(log.clone().complete(6, last.previous().unwrap(), None).is_err(), "the last id is too small");
    log.complete(6, last, None).unwrap();
    assert_eq!(log.history().first_id, StreamId::new(100, 5));
    assert_eq!(log.history().entries_added, 6);
}

/// Whatever bytes are taken for a node, all that can be done with it ends.
#[test]
fn damaged_nodes_are_refused_or_harmless() {
    let sound: Listpack = SOUND.iter().map(|text| text.as_bytes()).collect();
    let mut rng = Rng::new(8);
    let mut accepted = 0;
    for _ in 0..100_000 {
        let mut bytes = sound.as_bytes().to_vec();
        for _ in 0..=rng.below(3) {
            let at = rng.index(bytes.len());
            bytes[at] = if rng.chance(1, 2) { rng.below(8) as u8 } else { rng.next_u64() as u8 };
        }
        let mut log = Log::default();
        let pushed = Listpack::from_bytes(&bytes).and_then(|node| log.push_node(StreamId::new(100, 5), node));
        if pushed.is_err() {
            continue;
        }
        accepted += 1;
        assert_eq!(log.entries(StreamId::MIN, StreamId::MAX).count() as u64, log.len());
        assert_eq!(log.entries(StreamId::MIN, StreamId::MAX).backwards().count() as u64, log.len());
        let ids: Vec<_> = log.entries(StreamId::MIN, StreamId::MAX).map(|entry| entry.id).collect();
        let words: usize = log.entries(StreamId::MIN, StreamId::MAX).map(|entry| entry.words().count()).sum();
        assert!(words <= 2 * SOUND.len());
        assert_eq!(log.delete(&ids), ids.len() as u64);
    }
    assert!(accepted > 1000, "some damage is only to texts: {accepted}");
}
