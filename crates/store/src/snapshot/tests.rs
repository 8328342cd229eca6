//! Keyspaces that go out and come back.

use super::*;
use crate::digest::keyspace_digest;
use crate::hasher::Hasher;
use crate::testing::Fixture;

fn load_options(now: Now) -> LoadOptions {
    LoadOptions::new(now, BuildOptions::new(&StoreOptions::default(), Hasher::new(1, 2)))
}

fn filled() -> Fixture {
    let mut fixture = Fixture::default();
    for number in 0..3000 {
        fixture.run(&format!("SET key:{number} value:{number}"));
    }
    let long = "long value ".repeat(10_000);
    fixture.run(&format!("SET long \"{long}\""));
    fixture.run("MSET int 7 big 9223372036854775807 12 -1");
    fixture.run("SET soon v PX 1000");
    fixture.run("SELECT 9");
    fixture.run("SET later v PX 100000");
    fixture
}

fn load(bytes: &[u8], chunk: usize, options: LoadOptions) -> Result<(Keyspace, Loaded), LoadError> {
    let mut keyspace = Fixture::default().keyspace;
    let mut loader = Loader::new(options);
    for piece in bytes.chunks(chunk) {
        loader.feed(&mut keyspace, piece)?;
    }
    assert!(loader.is_done());
    Ok((keyspace, loader.loaded().clone()))
}

#[test]
fn what_goes_out_comes_back() {
    let fixture = filled();
    for compress in [false, true] {
        let store = StoreOptions { compress, ..StoreOptions::default() };
        let point = ReplicationPoint { stream_database: 3, id: "0123456789".repeat(4), offset: 77 };
        let options = SnapshotOptions {
            replication: Some(point.clone()),
            functions: vec![b"#!lua name=f".to_vec()],
            ..SnapshotOptions::new(fixture.now(), store)
        };
        let mut bytes = Vec::new();
        let mut chunks = 0;
        let summary = Snapshot::new(&fixture.keyspace, &options).write_to(&mut |chunk| {
            bytes.extend_from_slice(chunk.bytes);
            chunks += 1;
            true
        });
        assert_eq!(summary, Ok(Summary { keys: 3006, bytes: bytes.len() as u64 }));
        assert!(chunks >= 2 || compress, "a long value closes its chunk");
        for chunk in [7, 1 << 20] {
            let (keyspace, loaded) = load(&bytes, chunk, load_options(fixture.now())).unwrap();
            assert_eq!(keyspace_digest(&keyspace), keyspace_digest(&fixture.keyspace));
            assert_eq!((loaded.keys, loaded.expired, loaded.version), (3006, 0, 11));
            assert_eq!(loaded.replication(), Some(point.clone()));
            assert_eq!(loaded.functions, options.functions);
            assert_eq!(loaded.databases, [0, 9]);
            assert_eq!(loaded.aux_value("redis-ver"), Some(&b"7.2.4"[..]));
        }
    }
}

#[test]
fn expired_keys_stay_only_on_replicas() {
    let fixture = filled();
    let options = SnapshotOptions::new(fixture.now(), StoreOptions::default());
    let bytes = Snapshot::new(&fixture.keyspace, &options).to_vec();
    let later = Now::new(fixture.now().monotonic, fixture.now().unix_us + 2_000_000);
    let (keyspace, loaded) = load(&bytes, 1 << 20, load_options(later)).unwrap();
    assert_eq!((keyspace.len(), loaded.keys, loaded.expired), (3005, 3005, 1));
    let as_replica = LoadOptions { drop_expired: false, ..load_options(later) };
    assert_eq!(load(&bytes, 1 << 20, as_replica).unwrap().0.len(), 3006);
}

#[test]
fn access_clocks_go_along() {
    let mut fixture = Fixture::default();
    fixture.run("SET k v");
    fixture.now_ms += 50_000;
    let mut options = SnapshotOptions::new(fixture.now(), StoreOptions::default());
    options.access = AccessNotes::Idle;
    let bytes = Snapshot::new(&fixture.keyspace, &options).to_vec();
    fixture.keyspace = load(&bytes, 5, load_options(fixture.now())).unwrap().0;
    fixture.check("OBJECT IDLETIME k", ":50");

    fixture.options.lfu = true;
    fixture.run("SET f v");
    options.access = AccessNotes::Frequency;
    options.now = fixture.now();
    let bytes = Snapshot::new(&fixture.keyspace, &options).to_vec();
    let lfu = LoadOptions { lfu: true, ..load_options(fixture.now()) };
    fixture.keyspace = load(&bytes, 5, lfu).unwrap().0;
    fixture.check("OBJECT FREQ f", ":5");
}

#[test]
fn errors_are_clear() {
    let mut fixture = filled();
    let options = SnapshotOptions::new(fixture.now(), StoreOptions::default());
    let bytes = Snapshot::new(&fixture.keyspace, &options).to_vec();
    let mut loader = Loader::new(load_options(fixture.now()));
    let error = loader.feed(&mut fixture.keyspace, &bytes).unwrap_err();
    assert!(matches!(error, LoadError::DuplicateKey { database: 0, .. }), "{error}");
    let mut loader = Loader::new(LoadOptions { replace: true, ..load_options(fixture.now()) });
    assert_eq!(loader.feed(&mut fixture.keyspace, &bytes), Ok(true));
    let mut clustered = Fixture::new(crate::Layout::PerSlot);
    let mut loader = Loader::new(load_options(fixture.now()));
    let error = loader.feed(&mut clustered.keyspace, &bytes).unwrap_err();
    assert_eq!(error, LoadError::DatabaseOutOfRange { index: 9, count: 1 });
    let mut sunk = 0;
    let stopped = Snapshot::new(&fixture.keyspace, &options).write_to(&mut |_| {
        sunk += 1;
        false
    });
    assert_eq!((stopped, sunk), (Err(Stopped), 1));
}

#[test]
fn large_values_leave_in_pieces() {
    let mut fixture = Fixture::default();
    for number in 0..20_000 {
        fixture.run(&format!("HSET hash field:{number} value:{number}"));
        fixture.run(&format!("RPUSH list element:{number}"));
        fixture.run(&format!("ZADD zset {number} member:{number}"));
    }
    let options = SnapshotOptions::new(fixture.now(), fixture.options);
    let (mut bytes, mut longest, mut pieces) = (Vec::new(), 0, 0);
    let written = Snapshot::new(&fixture.keyspace, &options).write_to(&mut |chunk| {
        longest = longest.max(chunk.bytes.len());
        pieces += 1;
        bytes.extend_from_slice(chunk.bytes);
        true
    });
    assert_eq!(written.map(|summary| (summary.keys, summary.bytes)), Ok((3, bytes.len() as u64)));
    // A node of a list is the largest part.
    assert!(longest <= 2 * CHUNK_BYTES && pieces > 5, "{longest} bytes in one of {pieces} pieces");
    let (keyspace, _) = load(&bytes, 1000, load_options(fixture.now())).unwrap();
    assert_eq!(keyspace_digest(&keyspace), keyspace_digest(&fixture.keyspace));
    // A sink that has enough is not asked again in the middle of a value.
    let mut asked = 0;
    let stopped = Snapshot::new(&fixture.keyspace, &options).write_to(&mut |_| {
        asked += 1;
        false
    });
    assert_eq!((stopped, asked), (Err(Stopped), 1));
}

#[test]
fn empty_collections_of_a_file_are_left_out() {
    let mut bytes = Vec::new();
    let mut writer = RdbWriter::new(10, false, true);
    writer.select_database(0);
    let none = EntryNotes::default();
    writer.open(b"set", none, ValueLayout::Set, 0);
    writer.open(b"list", none, ValueLayout::Quicklist2, 0);
    let intset = RdbValue::Packed { layout: ValueLayout::SetIntset, bytes: &[2, 0, 0, 0, 0, 0, 0, 0] };
    writer.entry(b"intset", none, intset);
    writer.open(b"kept", none, ValueLayout::Set, 1);
    writer.element(&RdbElement::Member(b"a"));
    writer.end();
    writer.drain(&mut |chunk| {
        bytes.extend_from_slice(chunk);
        true
    });
    let now = Fixture::default().now();
    let (keyspace, loaded) = load(&bytes, 7, load_options(now)).unwrap();
    assert_eq!((keyspace.len(), loaded.keys, loaded.empty), (1, 1, 3));
    let twice = [0xfe, 0, 2, 1, b'k', 2, 1, b'a', 1, b'a', 0xff];
    let file = [&b"REDIS0010"[..], &twice, &[0; 8]].concat();
    let refused = load(&file, 100, load_options(now)).map(|_| ()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the value of 'k' in database 0 is refused: Set integrity check failed: a member is there twice"
    );
}
