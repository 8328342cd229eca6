//! `--cluster restore`: the inverse of `backup`, into a cluster of any size.
//!
//! Every snapshot that the backup's `nodes.json` names is read piece by piece; each key goes by RESTORE to the primary that
//! owns its slot now. Keys that are there already stop the restoration, unless `--cluster-replace` says otherwise.

use super::backup::{NODES_FILE, SNAPSHOT};
use super::check;
use super::client::Cluster;
use super::log::{Level, log};
use super::planned::{self, PlannedStep, Risk};
use super::progress::Progress;
use super::report;
use super::restore_functions::restore_libraries;
use crate::console::error_text;
use crate::exit::{Step, fail};
use crate::options::table::path;
use crate::options::{ClusterOptions, Options};
use crate::text::lossy;
use serde_json::{Value as Json, json};
use shoal_formats::dump_payload::PayloadWriter;
use shoal_formats::rdb::{EntryNotes, RdbEvent, RdbReader, VERSION, ValueLayout};
use shoal_protocol::slot::{SLOT_COUNT, key_slot};
use shoal_protocol::value::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes read at a time.
const PIECE_BYTES: usize = 256 * 1024;
/// Bytes of RESTORE commands in flight to one node.
const IN_FLIGHT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Commands in flight to one node.
const IN_FLIGHT_MAX: usize = 1000;
/// The version that payloads say they are of if their value is no newer: that of Redis 7.0, which refuses a later one.
const VERSION_OF_7_0: u16 = 10;
/// What RESTORE says of a key that is there already.
const KEY_EXISTS: &[u8] = b"BUSYKEY";
const KEY_EXISTS_ADVICE: &str = "\n*** --cluster-replace puts the backup's value there; --cluster-if-needed leaves such keys as they are.";
/// The first encoding that Redis 7.0 does not know.
const FIRST_NEWER_LAYOUT: u8 = 20;

/// Restores the backup in the directory of the second argument into the cluster of the first.
pub(super) fn run(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let directory = path(arguments.get(1).map_or(b".", |word| word));
    let snapshots = snapshots(&directory)?;
    let mut cluster = super::load(&arguments[..1], options)?;
    if !check::check(&mut cluster, false)?.is_clean() {
        return Ok(1);
    }
    let mut restoration = Restoration::new(&cluster, &options.cluster);
    for name in &snapshots {
        log(Level::Information, &format!(">>> Restoring {name}\n"));
        restoration.read_snapshot(&mut cluster, &directory.join(name), options)?;
    }
    for at in 0..cluster.members.len() {
        restoration.settle(&mut cluster, at)?;
    }
    let Restoration { keys, expired, kept, libraries, .. } = restoration;
    let loaded = restore_libraries(&mut cluster, &libraries, options)?;
    report::note("keys", json!(keys));
    report::note("expired", json!(expired));
    report::note("kept", json!(kept));
    report::note("libraries", json!(loaded));
    report::note("snapshots", json!(snapshots));
    let count = snapshots.len();
    let kept = if kept > 0 { format!("; {kept} were there already") } else { String::new() };
    log(
        Level::Success,
        &format!("[OK] {keys} keys restored from {count} snapshots; {expired} had expired{kept}.\n"),
    );
    Ok(0)
}

/// What restoring the backup in a directory would do: a step for each snapshot and primary, and one for the function libraries.
/// The snapshots are read, and the primaries are asked which of the keys they have.
pub(super) fn planned(cluster: &mut Cluster, directory: &[u8], options: &Options) -> Step<Vec<PlannedStep>> {
    let directory = path(directory);
    let snapshots = snapshots(&directory)?;
    let mut look = Restoration::new(cluster, &options.cluster);
    look.only_looks = true;
    let mut steps = Vec::new();
    for name in &snapshots {
        look.read_snapshot(cluster, &directory.join(name), options)?;
        for at in 0..cluster.members.len() {
            look.settle(cluster, at)?;
            let Seen { keys, bytes, present } = std::mem::take(&mut look.seen[at]);
            if keys > 0 {
                let node = &cluster.members[at].node;
                let text = format!("restore keys of {name} at {}", node.address());
                let figures = (keys, bytes, present);
                steps.push(planned::arrival(planned::RESTORE_KEYS, text, node, figures, &options.cluster));
            }
        }
    }
    if !look.libraries.is_empty() {
        let text = format!("load {} function libraries at every primary", look.libraries.len());
        let (risk, why) = match options.cluster.replace {
            true => (Risk::Medium, "other libraries of the same names are replaced"),
            false => (Risk::Low, "another library of the same name ends it, and nothing is replaced"),
        };
        steps.push(PlannedStep::new("load-libraries", text, risk, why));
    }
    Ok(steps)
}

/// The names of the snapshots of a backup, all of which are there.
fn snapshots(directory: &Path) -> Step<Vec<String>> {
    let file = directory.join(NODES_FILE);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => fail!("[ERR] Cannot read {}: {}", file.display(), error_text(&error)),
    };
    let nodes: Vec<Json> = match serde_json::from_str(&text) {
        Ok(nodes) => nodes,
        Err(error) => fail!("[ERR] {} is no list of nodes: {error}", file.display()),
    };
    let mut names = Vec::new();
    for node in nodes.iter().filter(|node| node["replicate"].as_str().unwrap_or_default().is_empty()) {
        let id = node["name"].as_str().unwrap_or_default();
        let end = format!("-{id}.{SNAPSHOT}");
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut found = entries.filter_map(|entry| entry.file_name().into_string().ok());
        match found.find(|name| !id.is_empty() && name.ends_with(&end)) {
            Some(name) => names.push(name),
            None => fail!("[ERR] The snapshot of node {id} is missing in {}.", directory.display()),
        }
    }
    if names.is_empty() {
        fail!("[ERR] {} names no primary.", file.display());
    }
    Ok(names)
}

/// What waits for the answer of one node.
#[derive(Clone, Debug, Default)]
struct InFlight {
    keys: Vec<Vec<u8>>,
    bytes: usize,
}

/// A key whose value comes in parts.
struct Opened {
    key: Vec<u8>,
    notes: EntryNotes,
    payload: PayloadWriter,
}

/// What a snapshot has for one node.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    keys: u64,
    /// Of the payloads.
    bytes: u64,
    /// Keys that the node has already.
    present: u64,
}

struct Restoration {
    /// Nothing is restored; `seen` counts what there is.
    only_looks: bool,
    /// By member.
    seen: Vec<Seen>,
    /// The member that owns each slot.
    owners: Vec<usize>,
    in_flight: Vec<InFlight>,
    replaces: bool,
    /// A key that is there already stays as it is.
    keeps: bool,
    keys: u64,
    expired: u64,
    kept: u64,
    /// The code of function libraries; every primary has the same.
    libraries: BTreeSet<Vec<u8>>,
    now_ms: u64,
}

impl Restoration {
    fn new(cluster: &Cluster, options: &ClusterOptions) -> Self {
        let mut owners = vec![0; usize::from(SLOT_COUNT)];
        for (index, member) in cluster.members.iter().enumerate() {
            member.node.slots.iter().for_each(|slot| owners[usize::from(*slot)] = index);
        }
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now_ms = since.map_or(0, |since| since.as_millis() as u64);
        let in_flight = vec![InFlight::default(); cluster.members.len()];
        let (replaces, keeps) = (options.replace, options.if_needed && !options.replace);
        let libraries = BTreeSet::new();
        let seen = vec![Seen::default(); cluster.members.len()];
        Self {
            only_looks: false,
            seen,
            owners,
            in_flight,
            replaces,
            keeps,
            keys: 0,
            expired: 0,
            kept: 0,
            libraries,
            now_ms,
        }
    }

    fn read_snapshot(&mut self, cluster: &mut Cluster, path: &Path, options: &Options) -> Step {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) => fail!("[ERR] Cannot read {}: {}", path.display(), error_text(&error)),
        };
        let length = file.metadata().ok().map(|metadata| metadata.len());
        let progress = Progress::of_bytes("Restoring", length, options);
        let mut reader = RdbReader::new(true).skipping_modules();
        let mut piece = vec![0; PIECE_BYTES];
        let mut opened = None;
        loop {
            match reader.next() {
                Ok(Some(RdbEvent::End { .. })) => return Ok(()),
                Ok(Some(event)) => {
                    self.take(cluster, event, &mut opened)?;
                    continue;
                }
                Ok(None) => {}
                Err(error) => fail!("[ERR] {}: {error}", path.display()),
            }
            match file.read(&mut piece) {
                Ok(0) => fail!("[ERR] {} ends too early.", path.display()),
                Ok(count) => {
                    reader.feed(piece.get(..count).unwrap_or_default());
                    progress.advance(count as u64);
                }
                Err(error) => fail!("[ERR] Cannot read {}: {}", path.display(), error_text(&error)),
            }
        }
    }

    fn take(&mut self, cluster: &mut Cluster, event: RdbEvent<'_>, opened: &mut Option<Opened>) -> Step {
        match event {
            RdbEvent::Entry(entry) => {
                let mut payload = PayloadWriter::new(version_for(entry.value.layout()), false);
                payload.value(entry.value);
                self.send(cluster, entry.key, entry.notes, &payload.finish())?;
            }
            RdbEvent::Open(open) => {
                let mut payload = PayloadWriter::new(version_for(open.layout), false);
                match open.layout {
                    // Expiries are absolute here; in the payload they count from the beginning of time.
                    ValueLayout::TimedHash => payload.open_timed_hash(0, open.count),
                    layout => payload.open(layout, open.count),
                }
                *opened = Some(Opened { key: open.key.to_vec(), notes: open.notes, payload });
            }
            RdbEvent::Element(element) => {
                if let Some(opened) = opened {
                    opened.payload.element(&element);
                }
            }
            RdbEvent::Close => {
                if let Some(Opened { key, notes, payload }) = opened.take() {
                    self.send(cluster, &key, notes, &payload.finish())?;
                }
            }
            RdbEvent::Function(code) => {
                self.libraries.insert(code.to_vec());
            }
            RdbEvent::ModuleEntry { key, .. } => {
                fail!("[ERR] The key {} belongs to a module; it cannot be restored.", lossy(key));
            }
            RdbEvent::SelectDatabase(index) if index != 0 => {
                fail!("[ERR] The snapshot has keys in database {index}; a cluster has database 0 only.");
            }
            _ => {}
        }
        Ok(())
    }

    fn send(&mut self, cluster: &mut Cluster, key: &[u8], notes: EntryNotes, payload: &[u8]) -> Step {
        if notes.expiry_ms.is_some_and(|expiry_ms| expiry_ms <= self.now_ms) {
            self.expired += 1;
            return Ok(());
        }
        let at = self.owners[usize::from(key_slot(key))];
        if self.only_looks {
            self.seen[at].bytes += payload.len() as u64;
            cluster.members[at].connection.queue(&[b"EXISTS".as_slice(), key]);
            return self.note_sent(cluster, at, key, payload);
        }
        let expiry = notes.expiry_ms.unwrap_or(0).to_string();
        let mut words: Vec<&[u8]> = vec![b"RESTORE", key, expiry.as_bytes(), payload, b"ABSTTL"];
        if self.replaces {
            words.push(b"REPLACE");
        }
        let heat = match (notes.idle_s, notes.frequency) {
            (Some(idle_s), _) => Some((b"IDLETIME".as_slice(), idle_s.to_string())),
            (None, Some(frequency)) => Some((b"FREQ".as_slice(), frequency.to_string())),
            (None, None) => None,
        };
        if let Some((name, value)) = &heat {
            words.extend([name, value.as_bytes()]);
        }
        cluster.members[at].connection.queue(&words);
        self.note_sent(cluster, at, key, payload)
    }

    fn note_sent(&mut self, cluster: &mut Cluster, at: usize, key: &[u8], payload: &[u8]) -> Step {
        let waiting = &mut self.in_flight[at];
        waiting.keys.push(key.to_vec());
        waiting.bytes += payload.len();
        if waiting.bytes > IN_FLIGHT_BYTES_MAX || waiting.keys.len() >= IN_FLIGHT_MAX {
            self.settle(cluster, at)?;
        }
        Ok(())
    }

    /// Reads the answers that a node owes.
    fn settle(&mut self, cluster: &mut Cluster, at: usize) -> Step {
        let member = &mut cluster.members[at];
        for key in std::mem::take(&mut self.in_flight[at]).keys {
            match member.receive() {
                Ok(Value::Error(text)) if self.keeps && text.starts_with(KEY_EXISTS) => self.kept += 1,
                Ok(Value::Error(text)) => {
                    let advice = if text.starts_with(KEY_EXISTS) { KEY_EXISTS_ADVICE } else { "" };
                    let (key, text) = (lossy(&key).into_owned(), lossy(&text).into_owned());
                    fail!("[ERR] Node {} refused the key {key}: {text}{advice}", member.node.address());
                }
                Ok(found) if self.only_looks => {
                    self.seen[at].keys += 1;
                    self.seen[at].present += u64::from(found.as_integer() == Some(1));
                }
                Ok(_) => self.keys += 1,
                Err(error) => fail!("[ERR] Node {}: {error}", member.node.address()),
            }
        }
        Ok(())
    }
}

/// The lowest version that knows a layout, so that an old server takes what it can.
fn version_for(layout: ValueLayout) -> u16 {
    if layout.byte() < FIRST_NEWER_LAYOUT { VERSION_OF_7_0 } else { VERSION }
}
