//! Files that are read whole, in pieces, and damaged.

use super::super::{RdbString, RdbWriter, StreamHistory, StreamMeta};
use super::*;
use crate::stream_id::StreamId;

fn sample(compress: bool, checksum: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = RdbWriter::new(11, compress, checksum);
    writer.aux("redis-ver", RdbString::Bytes(b"7.2.4"));
    writer.aux("redis-bits", RdbString::Integer(64));
    writer.function(b"#!lua name=f");
    writer.select_database(0);
    writer.resize(4, 1);
    let long = "long ".repeat(100);
    let none = EntryNotes::default();
    writer.entry(b"a", none, RdbValue::String(RdbString::Bytes(b"text")));
    writer.entry(b"12", none, RdbValue::String(RdbString::Bytes(b"-77")));
    assert!(writer.drain(&mut |chunk| {
        bytes.extend_from_slice(chunk);
        true
    }));
    let notes = EntryNotes { expiry_ms: Some(1_700_000_000_123), idle_s: Some(70), frequency: Some(9) };
    writer.entry(long.as_bytes(), notes, RdbValue::String(RdbString::Bytes(long.as_bytes())));
    writer.select_database(300);
    writer.entry(b"b", none, RdbValue::String(RdbString::Integer(1 << 40)));
    writer.end();
    writer.drain(&mut |chunk| {
        bytes.extend_from_slice(chunk);
        true
    });
    assert_eq!(writer.drained_bytes(), bytes.len() as u64);
    bytes
}

/// The events as text, fed in chunks of this size.
fn events(bytes: &[u8], chunk: usize) -> Result<Vec<String>, RdbError> {
    let mut reader = RdbReader::new(true);
    let mut events = Vec::new();
    for piece in bytes.chunks(chunk) {
        reader.feed(piece);
        while let Some(event) = reader.next()? {
            events.push(format!("{event:?}"));
        }
    }
    assert!(reader.is_done() || !events.iter().any(|event| event.starts_with("End")));
    Ok(events)
}

#[test]
fn what_is_written_is_read() {
    for (compress, checksum) in [(false, false), (true, false), (false, true), (true, true)] {
        let bytes = sample(compress, checksum);
        let whole = events(&bytes, bytes.len()).unwrap();
        assert_eq!(whole.len(), 12);
        assert_eq!(whole.last(), Some(&format!("End {{ has_checksum: {checksum} }}")));
        assert!(whole[8].contains("expiry_ms: Some(1700000000123), idle_s: Some(70), frequency: Some(9)"));
        assert!(whole[7].contains("key: [49, 50]") && whole[7].contains("Integer(-77)"));
        for chunk in [1, 2, 7, 100] {
            assert_eq!(events(&bytes, chunk).unwrap(), whole);
        }
    }
}

#[test]
fn what_follows_the_end_is_kept() {
    let mut bytes = sample(true, true);
    let length = bytes.len() as u64;
    bytes.extend_from_slice(b"*1\r\n");
    let mut reader = RdbReader::new(true);
    reader.feed(&bytes);
    while reader.next().unwrap().is_some() {}
    assert!(reader.is_done());
    assert_eq!(reader.offset(), length);
    assert_eq!(reader.take_rest(), b"*1\r\n");
}

#[test]
fn damage_is_found() {
    let bytes = sample(true, true);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        let mut reader = RdbReader::new(true);
        reader.feed(&damaged);
        let mut outcome = Ok(());
        loop {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.next(), Err(error.clone()));
                    outcome = Err(error);
                    break;
                }
            }
        }
        assert!(outcome.is_err() || !reader.is_done(), "byte {at}");
    }
}

#[test]
fn problems_are_named() {
    for (bytes, text) in [
        (&b"RUBIS0011"[..], "wrong signature at offset 0"),
        (b"REDIS00x1", "wrong signature at offset 0"),
        (b"REDIS0014", "cannot read RDB version 14 at offset 0"),
        (b"REDIS0081", "cannot read RDB version 81 at offset 0"),
        (
            b"REDIS0011\x07\x01k\x81\x02\x02\x02\x02\x02\x02\x02\x02\x00",
            "the value of a module, and there is no module with type 'AgICAgICA' at offset 9",
        ),
        (b"REDIS0011\x1e", "unknown type or opcode 30: damage, or a file of a newer server at offset 9"),
        (b"REDIS0080\x16", "unknown type or opcode 22: damage, or a file of a newer server at offset 9"),
        (b"REDIS0011\xf7\x05\x01", "malformed module data at offset 9"),
        (b"REDIS0011\xf7\x05\x02\x01\x09", "malformed module data at offset 9"),
        (b"REDIS0011\xfe\x82", "malformed length at offset 9"),
        (b"REDIS0011\x00\x01k\xc7", "malformed string at offset 9"),
    ] {
        let mut reader = RdbReader::new(true);
        reader.feed(bytes);
        let error = loop {
            match reader.next() {
                Ok(event) => assert!(event.is_some(), "{text}"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn hashes_with_expiring_fields_are_read() {
    // A hash of 7.4 whose first field expires at 1000 ms, one of a preview, and two listpacks.
    let timed = b"\x18\x01k\xe8\x03\0\0\0\0\0\0\x03\x01\x01a\x011\x00\x01b\x012\x06\x01c\x013";
    let preview = b"\x16\x01k\x02\x43\xe8\x01a\x011\x00\x01b\x012";
    let packed = b"\x19\x01k\xe8\x03\0\0\0\0\0\0\x02lp\x17\x01k\x02lp";
    let bytes = [&b"REDIS0012"[..], timed, preview, packed, &[opcode::END], &[0; 8]].concat();
    for chunk in [1, 7, bytes.len()] {
        let events = events(&bytes, chunk).unwrap();
        let expiries: Vec<&str> = events
            .iter()
            .filter_map(|event| event.split_once("expiry_ms: ")?.1.split_once(" }"))
            .map(|(expiry, _)| expiry)
            .filter(|expiry| !expiry.contains(','))
            .collect();
        assert_eq!(expiries, ["Some(1000)", "None", "Some(1005)", "Some(1000)", "None"], "{events:?}");
        let layouts = ["TimedHashListpack,", "TimedHashListpackPreview,"];
        assert!(layouts.iter().all(|layout| events.iter().any(|event| event.contains(layout))), "{events:?}");
    }
    let mut writer = RdbWriter::new(12, false, false);
    writer.open_timed_hash(b"k", EntryNotes::default(), 1000, 3);
    for (name, value, expiry_ms) in
        [(&b"a"[..], &b"1"[..], Some(1000)), (b"b", b"2", None), (b"c", b"3", Some(1005))]
    {
        writer.element(&Element::TimedField { name, value, expiry_ms });
    }
    let mut written = Vec::new();
    writer.drain(&mut |chunk| {
        written.extend_from_slice(chunk);
        true
    });
    // Texts that are numbers are written as numbers.
    let expected = b"\x18\x01k\xe8\x03\0\0\0\0\0\0\x03\x01\x01a\xc0\x01\x00\x01b\xc0\x02\x06\x01c\xc0\x03";
    assert_eq!(written[9..], expected[..]);
}

#[test]
fn old_forms_are_read() {
    let bytes = b"REDIS0004\xfd\x0a\x00\x00\x00\x00\x01k\x01v\xff";
    let old = events(bytes, 3).unwrap();
    assert!(old[1].contains("expiry_ms: Some(10000)"));
    assert_eq!(old[2], "End { has_checksum: false }");
    let module = b"REDIS0012\xf7\x05\x02\x01\x01\x07\x05\x02ab\x03abcd\x04abcdefgh\x00\xf4\x01\x02\x03";
    assert_eq!(
        events(module, 1).unwrap()[1..],
        ["ModuleAux { module_id: 5 }", "SlotInfo { slot: 1, keys: 2, expiring: 3 }"]
    );
}

#[test]
fn libraries_of_previews_become_code() {
    for description in [&b"\x00"[..], b"\x01\x05about"] {
        let bytes = [b"REDIS0010\xf6\x03lib\x03LUA", description, b"\x04code\xff\0\0\0\0\0\0\0\0"].concat();
        let function = format!("{:?}", RdbEvent::Function(b"#!LUA name=lib\ncode"));
        assert_eq!(events(&bytes, 1).unwrap()[1..], [function, "End { has_checksum: false }".to_owned()]);
    }
}

#[test]
fn values_of_modules_are_passed_over_by_those_who_only_look() {
    let bytes = b"REDIS0011\xfc\x01\0\0\0\0\0\0\0\x07\x01k\x05\x01\x07\x05\x02ab\x00\x00\x01a\x01b";
    let mut reader = RdbReader::new(true).skipping_modules();
    let mut shown = Vec::new();
    for byte in bytes {
        reader.feed(&[*byte]);
        while let Some(event) = reader.next().unwrap() {
            shown.push(format!("{event:?}"));
        }
    }
    let notes = EntryNotes { expiry_ms: Some(1), ..EntryNotes::default() };
    assert_eq!(shown[1], format!("{:?}", RdbEvent::ModuleEntry { key: b"k", notes }));
    assert!(shown[2].starts_with("Entry"));
}

const LONG: &[u8] = b"long text, long text, long text, long text, long text, long text, long text, long text";
const EARLY: StreamId = StreamId { ms: 1, sequence: 2 };
const LATE: StreamId = StreamId { ms: 1 << 40, sequence: u64::MAX };

/// The parts of a stream with two groups.
fn stream(history: Option<StreamHistory>, active_ms: Option<i64>) -> Vec<RdbElement<'static>> {
    let pending = |id| Element::GroupPending { id, delivered_ms: -5, deliveries: 3 };
    let consumer = |name: &'static str, pending| {
        let name = name.as_bytes();
        Element::Consumer { name, seen_ms: 9, active_ms, pending }
    };
    let entries_read = history.map(|_| -1);
    vec![
        Element::StreamNode { id: EARLY, listpack: b"node" },
        Element::StreamNode { id: LATE, listpack: LONG },
        Element::StreamMeta(StreamMeta { length: 7, last_id: LATE, history, groups: 2 }),
        Element::Group { name: b"first", last_id: EARLY, entries_read, pending: 2 },
        pending(EARLY),
        pending(LATE),
        Element::Consumers { count: 3 },
        consumer("1", 0),
        consumer("two", 2),
        Element::ConsumerPending { id: EARLY },
        Element::ConsumerPending { id: LATE },
        consumer("three", 0),
        Element::Group { name: b"second", last_id: LATE, entries_read, pending: 0 },
        Element::Consumers { count: 0 },
    ]
}

/// A file with a value of each layout that has parts, and what its reader gives.
fn values_in_parts() -> (Vec<u8>, Vec<String>) {
    let history = StreamHistory { first_id: EARLY, max_deleted_id: LATE, entries_added: 1 << 50 };
    fn scored(member: &[u8], score: f64) -> RdbElement<'_> {
        Element::Scored { member, score }
    }
    let values = [
        (ValueLayout::List, 3, vec![Element::Member(LONG), Element::Member(b"-7"), Element::Member(b"")]),
        (ValueLayout::Set, 0, vec![]),
        (ValueLayout::Hash, 1, vec![Element::Field { name: LONG, value: LONG }]),
        (ValueLayout::SortedSet, 2, vec![scored(b"a", 1.5), scored(LONG, f64::NEG_INFINITY)]),
        (ValueLayout::Quicklist, 1, vec![Element::Node { plain: false, bytes: LONG }]),
        (
            ValueLayout::Quicklist2,
            2,
            vec![Element::Node { plain: true, bytes: b"x" }, Element::Node { plain: false, bytes: LONG }],
        ),
        (ValueLayout::Stream, 2, stream(None, None)),
        (ValueLayout::Stream2, 2, stream(Some(history), None)),
        (ValueLayout::Stream3, 2, stream(Some(history), Some(-1))),
    ];
    let mut writer = RdbWriter::new(11, true, true);
    let mut expected = vec![format!("{:?}", RdbEvent::Begin { version: 11 })];
    for (index, (layout, count, elements)) in values.iter().enumerate() {
        let notes = EntryNotes { expiry_ms: (index == 2).then_some(77), ..EntryNotes::default() };
        writer.open(b"key", notes, *layout, *count);
        let open = RdbOpen { key: b"key", layout: *layout, count: *count, notes };
        expected.push(format!("{:?}", RdbEvent::Open(open)));
        for element in elements {
            writer.element(element);
            expected.push(format!("{:?}", RdbEvent::Element(*element)));
        }
        expected.push(format!("{:?}", RdbEvent::Close));
        let packed = RdbValue::Packed { layout: ValueLayout::SetIntset, bytes: b"12" };
        writer.entry(b"7", EntryNotes::default(), packed);
        let entry = RdbEntry { key: b"7", value: packed, notes: EntryNotes::default() };
        expected.push(format!("{:?}", RdbEvent::Entry(entry)));
    }
    writer.end();
    expected.push(format!("{:?}", RdbEvent::End { has_checksum: true }));
    let mut bytes = Vec::new();
    writer.drain(&mut |chunk| {
        bytes.extend_from_slice(chunk);
        true
    });
    (bytes, expected)
}

#[test]
fn values_come_in_parts() {
    let (bytes, expected) = values_in_parts();
    for chunk in [1, 3, 50, bytes.len()] {
        assert_eq!(events(&bytes, chunk).unwrap(), expected);
    }
    for cut in 0..bytes.len() {
        let part = events(&bytes[..cut], bytes.len()).unwrap();
        assert_eq!(part, expected[..part.len()]);
    }
}

#[test]
fn scores_as_text_are_read() {
    let read = |value: &[u8]| events(&[b"REDIS0006\x03\x01k\x01\x01m", value].concat(), 100);
    for (value, score) in [
        (&b"\x031.5"[..], "1.5"),
        (b"\x05-2e10", "-20000000000.0"),
        (b"\xfe", "inf"),
        (b"\xff", "-inf"),
        (b"\xfd", "NaN"),
    ] {
        let expected = format!("Element(Scored {{ member: [109], score: {score} }})");
        assert_eq!(read(value).unwrap()[2], expected);
    }
    for wrong in [&b"\x01x"[..], b"\x00", b"\x02\xff\xff"] {
        assert_eq!(read(wrong).unwrap_err().problem, RdbProblem::MalformedScore);
    }
}

#[test]
fn parts_that_cannot_be_are_refused() {
    for (value, problem) in [
        (&b"\x12\x01k\x01\x03\x01x"[..], RdbProblem::MalformedNode),
        (b"\x15\x01k\x01\x0f0123456789abcdef", RdbProblem::MalformedStreamId),
        (b"\x15\x01k\x01\xc0\x0f\x00", RdbProblem::MalformedLength),
        (b"\x02\x01k\xc0", RdbProblem::MalformedLength),
    ] {
        let error = events(&[b"REDIS0011", value].concat(), 100).unwrap_err();
        assert_eq!(error.problem, problem);
    }
}
