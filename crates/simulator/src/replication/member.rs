//! One whole node with its shell: snapshots are written piece by piece, files are sent, and a crash leaves the last
//! snapshot that was complete.

use super::history::Point;
use shoal_machine::{Now, Rng};
use shoal_node::testing::Fixture;
use shoal_node::{Action, Handle, SnapshotReport, SnapshotTarget};

/// Bytes of a snapshot file that a replica is given at once.
const FILE_PIECE_BYTES: usize = 2000;

/// A snapshot that is being written.
struct Writing {
    target: SnapshotTarget,
    image: Vec<u8>,
    sent: usize,
    /// How many bytes come in one step.
    pace: usize,
}

/// A node.
pub(super) struct Member {
    pub port: u16,
    /// `None` while it is down.
    pub fixture: Option<Fixture>,
    /// The client that looks at it; the first one may have to wait.
    observer: Handle,
    /// When it comes back.
    pub returns_at_ms: u64,
    /// What a restart finds.
    file: Vec<u8>,
    /// `replicaof`, as a restart finds it.
    pub primary: Option<u16>,
    /// The other directives.
    directives: Vec<(&'static str, String)>,
    writing: Option<Writing>,
    sending: Vec<(Handle, Vec<u8>, usize)>,
}

impl Member {
    pub fn new(port: u16, directives: Vec<(&'static str, String)>) -> Self {
        Self {
            port,
            fixture: None,
            observer: Handle(0),
            returns_at_ms: 0,
            file: Vec::new(),
            primary: None,
            directives,
            writing: None,
            sending: Vec::new(),
        }
    }

    /// Starts the node with what its disk holds.
    pub fn start(&mut self, now: Now, seed: u64) {
        let port = self.port.to_string();
        let primary = self.primary.map(|port| format!("127.0.0.1 {port}"));
        let mut words = vec![("port", port.as_str())];
        words.extend(self.directives.iter().map(|(name, value)| (*name, value.as_str())));
        words.extend(primary.iter().map(|primary| ("replicaof", primary.as_str())));
        let mut fixture = Fixture::with_configuration_and_seed(&words, seed);
        fixture.host.clock = now;
        if !self.file.is_empty() {
            let Fixture { node, host, .. } = &mut fixture;
            node.begin_startup_load(now, self.file.len() as u64);
            let is_whole = node.feed_startup_load(&self.file).is_ok()
                && node.finish_startup_load(now, host).is_ok();
            assert!(is_whole, "the file of {} cannot be loaded", self.port);
        }
        // Several keys that end in one tick would be several steps of the history.
        fixture.run("DEBUG SET-ACTIVE-EXPIRE 0");
        self.observer = fixture.connect();
        self.fixture = Some(fixture);
    }

    /// The node is gone, with all that was not on the disk.
    pub fn crash(&mut self, returns_at_ms: u64) {
        self.fixture = None;
        self.writing = None;
        self.sending.clear();
        self.returns_at_ms = returns_at_ms;
    }

    /// Lets the shell do a little; returns the actions that concern connections.
    pub fn step(&mut self, rng: &mut Rng) -> Vec<Action> {
        let Some(fixture) = &mut self.fixture else { return Vec::new() };
        fixture.settle();
        let actions = std::mem::take(&mut fixture.actions);
        let Fixture { node, host, .. } = fixture;
        if node.has_snapshot_to_load() {
            node.load_snapshot_piece(host.clock, host);
        }
        let mut kept = Vec::new();
        for action in actions {
            match action {
                Action::SendSnapshotFile(to) => self.sending.push((to, self.file.clone(), 0)),
                other => kept.push(other),
            }
        }
        // What arrived by way of a file stands on the disk.
        if !host.sync_file.complete.is_empty() && host.sync_file.complete != self.file {
            self.file.clone_from(&host.sync_file.complete);
        }
        self.write_snapshot(rng);
        self.send_files();
        kept
    }

    fn write_snapshot(&mut self, rng: &mut Rng) {
        let Some(Fixture { node, host, .. }) = &mut self.fixture else { return };
        if let (Some(image), Some(target)) = (host.images.pop(), host.snapshots.pop()) {
            let pace = rng.choose(&[100, 1000, 100_000]).copied().unwrap_or(1000);
            self.writing = Some(Writing { target, image, sent: 0, pace });
        }
        let is_failing = self.writing.is_some() && rng.chance(1, 500);
        if std::mem::take(&mut host.cancelled_snapshots) > 0 || is_failing {
            self.writing = None;
            node.snapshot_ended(host.clock, host, Err("terminated by signal 10".to_owned()));
        }
        let Some(writing) = &mut self.writing else { return };
        let end = (writing.sent + writing.pace).min(writing.image.len());
        if writing.target == SnapshotTarget::Stream {
            if !node.wants_snapshot_bytes() {
                return;
            }
            if writing.sent < end {
                node.snapshot_chunk(host.clock, host, &writing.image[writing.sent..end]);
            }
        }
        writing.sent = end;
        if end < writing.image.len() {
            return;
        }
        let size_bytes = writing.image.len() as u64;
        if writing.target == SnapshotTarget::File {
            self.file = std::mem::take(&mut writing.image);
        }
        self.writing = None;
        node.snapshot_ended(host.clock, host, Ok(SnapshotReport { size_bytes, ..SnapshotReport::default() }));
    }

    fn send_files(&mut self) {
        let Some(Fixture { node, host, .. }) = &mut self.fixture else { return };
        self.sending.retain_mut(|(to, file, sent)| {
            if node.output_waiting_bytes(*to).is_none() {
                return false;
            }
            let end = (*sent + FILE_PIECE_BYTES).min(file.len());
            node.file_chunk(*to, &file[*sent..end]);
            *sent = end;
            if end == file.len() {
                node.file_sent(host.clock, host, *to, Ok(()));
            }
            end < file.len()
        });
    }

    /// A field of INFO replication.
    pub fn info(&mut self, field: &str) -> Option<String> {
        let observer = self.observer;
        let text = self.fixture.as_mut()?.run_as(observer, "INFO replication");
        // It is shown with its quotes, and with its ends of lines as words.
        text.split("\\r\\n").find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
    }

    /// Where it is, and the history that its own went on from; with the role.
    pub fn point(&mut self) -> Option<(bool, Point, Option<(String, u64)>)> {
        let id = self.info("master_replid")?;
        let offset = self.info("master_repl_offset")?.parse().ok()?;
        let before = match (self.info("master_replid2")?, self.info("second_repl_offset")?.parse()) {
            (id, Ok(offset)) if !id.starts_with("0000000000") => Some((id, offset)),
            _ => None,
        };
        let is_primary = self.info("role")? == "master";
        let observer = self.observer;
        let digest = self.fixture.as_mut()?.run_as(observer, "DEBUG DIGEST");
        Some((is_primary, Point { id, offset, digest }, before))
    }
}
