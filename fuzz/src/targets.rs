//! The entries.

use shoal_cluster::nodes_conf::NodesConf;
use shoal_config::{Config, Mode, Surroundings};
use shoal_formats::intset::Intset;
use shoal_formats::ziplist::Ziplist;
use shoal_formats::zipmap::Zipmap;
use shoal_formats::{aof, dump_payload, listpack, rdb};
use shoal_machine::{Monotonic, Now};
use shoal_protocol::request::{Limits, RequestReader};
use shoal_protocol::value::{Decoder, Value};
use shoal_replication::{Framing, Handshake, HandshakeSettings, Transfer};

use shoal_store::digest::keyspace_digest;
use shoal_store::snapshot::{BuildOptions, LoadOptions, Loader};
use shoal_store::{Hasher, Keyspace, Layout, StoreOptions};

/// An entry by name.
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// What may never fail.
    pub run: fn(&[u8]),
}

/// All entries.
pub const TARGETS: &[Target] = &[
    Target { name: "resp", run: requests },
    Target { name: "reply", run: replies },
    Target { name: "bus", run: shoal_cluster::wire::fuzz_bus },
    Target { name: "rdb", run: snapshots },
    Target { name: "restore", run: payload },
    Target { name: "value", run: crate::values::value },
    Target { name: "packed", run: crate::values::packed },
    Target { name: "listpack", run: listpack::fuzz_listpack },
    Target { name: "intset", run: intsets },
    Target { name: "ziplist", run: ziplists },
    Target { name: "aof", run: aof::fuzz_aof },
    Target { name: "aof_manifest", run: aof_manifest },
    Target { name: "nodes_conf", run: nodes_conf },
    Target { name: "redis_conf", run: redis_conf },
    Target { name: "replication", run: replication },
    Target { name: "replication_link", run: shoal_simulator::fuzz_link },
    Target { name: "aof_files", run: crate::aof_files::aof_files },
];

/// The first byte is the length of the pieces, the rest what a client sends.
fn requests(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let limits = Limits { max_buffer_bytes: 1 << 20, authenticated: first & 1 == 0, ..Limits::default() };
    let read = |piece: usize| {
        let mut reader = RequestReader::new();
        let mut requests = Vec::new();
        for bytes in data.chunks(piece.max(1)) {
            reader.feed(bytes);
            loop {
                match reader.next(&limits) {
                    Ok(Some(request)) => {
                        requests.push(request.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
                    }
                    Ok(None) => break,
                    Err(error) => return (requests, Some(error)),
                }
            }
        }
        (requests, None)
    };
    assert_eq!(read(data.len()).0, read(usize::from(first)).0, "pieces give the same requests as the whole");
}

/// The first byte is the length of the pieces, the rest what a server sends.
fn replies(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let read = |piece: usize| {
        let mut decoder = Decoder::new();
        let mut values: Vec<Value> = Vec::new();
        for bytes in data.chunks(piece.max(1)) {
            decoder.feed(bytes);
            loop {
                match decoder.next_value() {
                    Ok(Some(value)) => values.push(value),
                    Ok(None) => break,
                    Err(error) => return (values, Some(error)),
                }
            }
        }
        (values, None)
    };
    let (whole, pieces) = (read(data.len()), read(usize::from(first)));
    assert_eq!(whole.0, pieces.0, "pieces give the same replies as the whole");
}

/// The first byte is the length of the pieces, the rest a file: read, and loaded.
fn snapshots(data: &[u8]) {
    rdb::fuzz_rdb(data);
    let Some((&first, data)) = data.split_first() else { return };
    let load = |piece: usize| {
        let hasher = Hasher::new(1, 2);
        let mut keyspace = Keyspace::new(16, Layout::Single, hasher);
        let build = BuildOptions::new(&StoreOptions::default(), hasher);
        let now = Now { monotonic: Monotonic(0), unix_us: 1_700_000_000_000_000 };
        let mut loader = Loader::new(LoadOptions { check_checksum: false, ..LoadOptions::new(now, build) });
        let end = data.chunks(piece.max(1)).find_map(|bytes| loader.feed(&mut keyspace, bytes).err());
        (keyspace_digest(&keyspace), end)
    };
    assert_eq!(load(data.len()), load(usize::from(first)), "pieces give the same keys as the whole");
}

/// What RESTORE is given: as it is, and as a value without version and checksum.
fn payload(data: &[u8]) {
    let _ = dump_payload::read(data, true);
    let readers = dump_payload::read(data, false).into_iter().chain([rdb::ValueReader::new(data)]);
    for mut reader in readers {
        while let Ok(Some(_)) = reader.next() {}
    }
}

/// An intset is what a sorted set of integers is.
fn intsets(data: &[u8]) {
    let Ok(mut intset) = Intset::from_bytes(data) else { return };
    let mut model: std::collections::BTreeSet<i64> = intset.iter().collect();
    assert_eq!(model.len(), intset.len());
    let first = model.first().copied().unwrap_or(0);
    for integer in [first, 0, -1, i64::from(i16::MAX) + 1, i64::MIN] {
        assert_eq!(intset.contains(integer), model.contains(&integer));
        assert_eq!(intset.insert(integer), model.insert(integer));
    }
    assert_eq!(intset.remove(first), model.remove(&first));
    assert!(intset.iter().eq(model), "the integers ascend");
    assert!(Intset::from_bytes(intset.as_bytes()).is_ok());
}

/// What is taken for a ziplist or a zipmap can be read to its end.
fn ziplists(data: &[u8]) {
    if let Ok(list) = Ziplist::new(data) {
        assert_eq!(list.iter().count(), list.len());
    }
    if let Ok(map) = Zipmap::new(data) {
        let bytes: usize = map.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(bytes < data.len());
    }
}

/// A list of files that can be read is written and read again the same.
fn aof_manifest(data: &[u8]) {
    if let Ok(manifest) = aof::Manifest::parse(data) {
        assert_eq!(aof::Manifest::parse(manifest.to_string().as_bytes()).unwrap_or_default(), manifest);
    }
}

/// A nodes.conf that can be read is written and read again the same.
fn nodes_conf(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(Some(conf)) = NodesConf::parse(&text) {
        let written = conf.to_string();
        let again = NodesConf::parse(&written).map(|conf| conf.map(|conf| conf.to_string()));
        assert_eq!(
            again.ok().flatten().as_deref(),
            Some(written.as_str()),
            "what was written reads the same"
        );
    }
}

/// A configuration file.
fn redis_conf(data: &[u8]) {
    let mut config = Config::default();
    for mode in [Mode::Server, Mode::Sentinel] {
        if let Err(error) = config.load(data, mode, &mut Nowhere) {
            let _ = error.to_string();
        }
    }
}

/// A world without files.
struct Nowhere;

impl Surroundings for Nowhere {
    fn include(&mut self, pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        Ok(vec![(pattern.to_owned(), b"timeout 1\n".to_vec())])
    }

    fn enter_directory(&mut self, path: &str) -> Result<String, String> {
        Ok(path.to_owned())
    }
}

/// What a primary sends: the handshake first, then a snapshot in one of its framings.
fn replication(data: &[u8]) {
    let settings = HandshakeSettings {
        user: Vec::new(),
        password: b"secret".to_vec(),
        listening_port: 6379,
        announced_address: String::new(),
        resume: None,
        is_failover: false,
        has_dual_channel: true,
    };
    let mut outputs = Vec::new();
    let mut handshake = Handshake::new(settings, &mut outputs);
    for piece in data.chunks(7) {
        handshake.receive(piece, &mut outputs);
        outputs.clear();
    }
    let mark = data.first_chunk::<40>().copied().unwrap_or([b'x'; 40]);
    for framing in [Framing::Length(data.len() as u64 / 2), Framing::Mark(mark)] {
        let mut transfer = Transfer::new(framing);
        let mut bytes = 0;
        for piece in data.chunks(13) {
            let received = transfer.receive(piece, &mut |payload| bytes += payload.len());
            if received.is_complete {
                break;
            }
        }
        assert!(bytes <= data.len(), "no more comes out than went in");
    }
}
