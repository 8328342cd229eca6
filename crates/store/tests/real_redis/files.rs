//! Files, payloads and digests: Redis loads what the store writes, and the store loads what Redis writes.

use crate::server::Server;
use shoal_machine::{Monotonic, Now, Rng};
use shoal_protocol::value::Value;
use shoal_store::digest::{keyspace_digest, value_digest};
use shoal_store::snapshot::{AccessNotes, BuildOptions, LoadOptions, Loader, Snapshot, SnapshotOptions};
use shoal_store::testing::{Fixture, show, show_bytes};

/// The newest version that the installed server reads.
const RDB_VERSION_OF_REDIS_7_0: u16 = 10;

/// A string of any kind that files treat in a way of their own.
fn text(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0 => (rng.next_u64() as i8).to_string().into_bytes(),
        1 => (rng.next_u64() as i16).to_string().into_bytes(),
        2 => (rng.next_u64() as i32).to_string().into_bytes(),
        3 => (rng.next_u64() as i64).to_string().into_bytes(),
        4 => (0..rng.below(60)).map(|_| rng.next_u64() as u8).collect(),
        5 => vec![rng.next_u64() as u8; rng.index(400)],
        6 => (0..rng.below(30)).flat_map(|_| *b"some words ").chain([rng.next_u64() as u8]).collect(),
        _ => (0..rng.below(20_000)).map(|_| b'a' + rng.below(6) as u8).collect(),
    }
}

/// Commands that fill several databases; expiries are far in the future.
fn commands() -> Vec<Vec<Vec<u8>>> {
    let mut rng = Rng::new(5);
    let mut commands = Vec::new();
    let mut push = |words: &[&[u8]]| commands.push(words.iter().map(|word| word.to_vec()).collect());
    for (database, count) in [("0", 400u64), ("3", 50), ("15", 1)] {
        push(&[b"SELECT", database.as_bytes()]);
        for _ in 0..count {
            let (key, value) = (text(&mut rng), text(&mut rng));
            push(&[b"SET", &key, &value]);
            if rng.chance(1, 4) {
                push(&[b"PEXPIREAT", &key, (9_000_000_000_000 + rng.below(1000)).to_string().as_bytes()]);
            }
            if rng.chance(1, 8) {
                push(&[b"APPEND", &key, b"more"]);
            }
        }
    }
    commands
}

fn filled_fixture() -> Fixture {
    let mut fixture = Fixture::default();
    fixture.options.rdb_version = RDB_VERSION_OF_REDIS_7_0;
    for words in commands() {
        fixture.run_words(&words);
    }
    fixture
}

#[test]
fn redis_loads_our_files() {
    let fixture = filled_fixture();
    for (compress, access) in
        [(true, AccessNotes::None), (false, AccessNotes::Idle), (true, AccessNotes::Frequency)]
    {
        let mut options = SnapshotOptions::new(fixture.now(), fixture.options);
        options.store.compress = compress;
        options.access = access;
        let bytes = Snapshot::new(&fixture.keyspace, &options).to_vec();
        let mut server = Server::start(&["--dbfilename", "ours.rdb"], |directory| {
            std::fs::write(directory.join("ours.rdb"), &bytes).unwrap();
        });
        assert_eq!(server.text(&["DEBUG", "DIGEST"]), keyspace_digest(&fixture.keyspace).to_string());
        let size = server.call(&["DBSIZE"]).as_integer().unwrap();
        assert_eq!(size as usize, fixture.keyspace.database(0).len());
    }
}

#[test]
fn we_load_files_of_redis() {
    let mut fixture = filled_fixture();
    for compress in ["yes", "no"] {
        let options =
            ["--rdbcompression", compress, "--maxmemory-policy", "allkeys-lru", "--dbfilename", "theirs.rdb"];
        let mut server = Server::start(&options, |_| {});
        for words in commands() {
            assert!(!matches!(server.call(&words), Value::Error(_)));
        }
        assert_eq!(show(&server.call(&["SAVE"])), "+OK");
        let bytes = std::fs::read(server.directory().join("theirs.rdb")).unwrap();
        for chunk in [1, 4096, bytes.len()] {
            fixture.keyspace = fixture.keyspace.empty_like();
            let build = BuildOptions::new(&fixture.options, fixture.keyspace.hasher());
            let mut loader = Loader::new(LoadOptions::new(Now::new(Monotonic(0), 0), build));
            for piece in bytes.chunks(chunk) {
                loader.feed(&mut fixture.keyspace, piece).unwrap();
            }
            assert!(loader.is_done());
            assert_eq!(server.text(&["DEBUG", "DIGEST"]), keyspace_digest(&fixture.keyspace).to_string());
            assert_eq!(loader.loaded().version, RDB_VERSION_OF_REDIS_7_0);
        }
    }
}

#[test]
fn payloads_and_digests_of_values_are_the_same() {
    let mut fixture = Fixture::default();
    fixture.options.rdb_version = RDB_VERSION_OF_REDIS_7_0;
    fixture.options.compress = false;
    let mut server = Server::start(&["--rdbcompression", "no"], |_| {});
    let mut rng = Rng::new(6);
    for _ in 0..300 {
        let value = text(&mut rng);
        let set = [&b"SET"[..], b"k", &value];
        fixture.run_words(&set);
        server.call(&set);
        let ours = fixture.run_words(&["DUMP", "k"]);
        let theirs = server.call(&["DUMP", "k"]);
        assert_eq!(show_bytes(&ours), show(&theirs));
        let restore = [&b"RESTORE"[..], b"back", b"0", theirs.as_bytes().unwrap(), b"REPLACE"];
        assert_eq!(show_bytes(&fixture.run_words(&restore)), "+OK");
        let found = fixture.keyspace.database(0).find(b"back");
        let digest = value_digest(fixture.keyspace.database(0), found).to_string();
        assert_eq!(show(&server.call(&["DEBUG", "DIGEST-VALUE", "k"])), format!("[+{digest}]"));
    }
    server.call(&["CONFIG", "SET", "rdbcompression", "yes"]);
    fixture.options.compress = true;
    for _ in 0..300 {
        let value = text(&mut rng);
        fixture.run_words(&[&b"SET"[..], b"k", &value]);
        let ours = fixture.run_words(&["DUMP", "k"]);
        let mut decoder = shoal_protocol::value::Decoder::new();
        decoder.feed(&ours);
        let payload = decoder.next_value().unwrap().unwrap();
        let restore = [&b"RESTORE"[..], b"back", b"0", payload.as_bytes().unwrap(), b"REPLACE"];
        assert_eq!(show(&server.call(&restore)), "+OK");
        assert_eq!(server.call(&["GET", "back"]).as_bytes(), Some(&value[..]));
        let theirs = server.call(&["DUMP", "back"]);
        fixture.run_words(&[&b"RESTORE"[..], b"again", b"0", theirs.as_bytes().unwrap(), b"REPLACE"]);
        assert_eq!(fixture.run_words(&["GET", "again"]), fixture.run_words(&["GET", "k"]));
    }
}
