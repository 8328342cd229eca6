//! One whole node with its shell: snapshots are written piece by piece, files are sent, and a crash leaves the last
//! snapshot that was complete.

use shoal_machine::{Now, Rng};
use shoal_node::testing::Fixture;
use shoal_node::{Action, Handle, SnapshotReport, SnapshotTarget};
use std::collections::BTreeMap;

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
    /// How often it was started: connections of an earlier life are dead.
    pub life: u64,
    /// The client that looks at it; the first one may have to wait.
    observer: Handle,
    /// The client of blocking commands.
    waiter: Handle,
    is_waiting: bool,
    /// When it comes back.
    pub returns_at_ms: u64,
    /// What a restart finds.
    file: Vec<u8>,
    /// `replicaof`, as a restart finds it.
    pub primary: Option<u16>,
    /// The other directives.
    directives: Vec<(&'static str, String)>,
    /// It was a primary when it was last looked at.
    pub is_primary: bool,
    /// The history and the offset at which its data were last looked at.
    pub seen: Option<(String, u64)>,
    writing: Option<Writing>,
    sending: Vec<(Handle, Vec<u8>, usize)>,
}

impl Member {
    pub fn new(port: u16, directives: Vec<(&'static str, String)>) -> Self {
        Self {
            port,
            fixture: None,
            life: 0,
            observer: Handle(0),
            waiter: Handle(0),
            is_waiting: false,
            returns_at_ms: 0,
            file: Vec::new(),
            primary: None,
            directives,
            is_primary: false,
            seen: None,
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
            let is_whole =
                node.feed_startup_load(&self.file).is_ok() && node.finish_startup_load(now, host).is_ok();
            assert!(is_whole, "the file of {} cannot be loaded", self.port);
        }
        self.observer = fixture.connect();
        self.waiter = fixture.connect();
        self.is_waiting = false;
        self.life += 1;
        self.fixture = Some(fixture);
        self.seen = None;
    }

    /// The node is gone, with all that was not on the disk.
    pub fn crash(&mut self, returns_at_ms: u64) {
        self.fixture = None;
        self.writing = None;
        self.sending.clear();
        self.returns_at_ms = returns_at_ms;
    }

    /// The disk is lost with the node.
    pub fn lose_file(&mut self) {
        self.file.clear();
    }

    /// Ends the node in good order, its data on the disk.
    pub fn shut_down(&mut self, returns_at_ms: u64) {
        if let Some(fixture) = &mut self.fixture
            && fixture.run("SAVE").starts_with("+OK")
        {
            self.file = std::mem::take(&mut fixture.host.snapshot_file);
        }
        self.crash(returns_at_ms);
    }

    /// What the node wants done; what concerns connections is for the caller.
    pub fn take_actions(&mut self) -> Vec<Action> {
        let Some(fixture) = &mut self.fixture else { return Vec::new() };
        fixture.settle();
        let mut kept = Vec::new();
        for action in fixture.actions.drain(..) {
            match action {
                Action::SendSnapshotFile(to) => self.sending.push((to, self.file.clone(), 0)),
                other => kept.push(other),
            }
        }
        kept
    }

    /// A connection of this life has ended.
    pub fn disconnected(&mut self, handle: Handle, life: u64) {
        if life != self.life {
            return;
        }
        self.sending.retain(|(to, ..)| *to != handle);
        if let Some(Fixture { node, host, .. }) = &mut self.fixture {
            node.disconnected(host.clock, host, handle);
        }
    }

    /// Lets the shell do a little.
    pub fn step(&mut self, rng: &mut Rng) {
        let Some(Fixture { node, host, .. }) = &mut self.fixture else { return };
        if node.has_snapshot_to_load() {
            node.load_snapshot_piece(host.clock, host);
        }
        // What arrived by way of a file stands on the disk.
        if !host.sync_file.complete.is_empty() && host.sync_file.complete != self.file {
            self.file.clone_from(&host.sync_file.complete);
        }
        self.write_snapshot(rng);
        self.send_files();
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

    /// What it says of its replication.
    pub fn facts(&mut self) -> Option<Facts> {
        let observer = self.observer;
        let text = self.fixture.as_mut()?.run_as(observer, "INFO replication");
        // It is shown with its quotes, and with its ends of lines as words.
        Facts::read(&text)
    }

    /// The digest of its data.
    pub fn digest(&mut self) -> Option<String> {
        let observer = self.observer;
        Some(self.fixture.as_mut()?.run_as(observer, "DEBUG DIGEST"))
    }

    /// The answer to a command of the client that looks on.
    pub fn ask(&mut self, line: &str) -> String {
        let observer = self.observer;
        self.fixture.as_mut().map(|fixture| fixture.run_as(observer, line)).unwrap_or_default()
    }

    /// A command of the client that may have to wait for its answer; none while it waits.
    pub fn wait_in(&mut self, words: &[&str]) {
        let Some(fixture) = &mut self.fixture else { return };
        // A primary that becomes a replica ends the connections of those that wait.
        if !fixture.is_connected(self.waiter) {
            self.waiter = fixture.connect();
            self.is_waiting = false;
        }
        if !self.is_waiting {
            fixture.send_as(self.waiter, words);
            self.is_waiting = fixture.received(self.waiter).is_empty();
        }
    }

    /// Whether the client that waited has been served since this was last asked.
    pub fn has_served(&mut self) -> bool {
        let waiter = self.waiter;
        let Some(fixture) = &mut self.fixture else { return false };
        if !self.is_waiting || !fixture.is_connected(waiter) {
            return false;
        }
        let received = fixture.received(waiter);
        if received.is_empty() {
            return false;
        }
        self.is_waiting = false;
        received.iter().any(|answer| answer.starts_with(['[', '"']))
    }
}

/// What INFO replication says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub is_primary: bool,
    pub id: String,
    pub offset: u64,
    /// The history that its own went on from, and the first offset that does not belong to it.
    pub before: Option<(String, u64)>,
    pub has_backlog: bool,
    /// Whether the link to the primary is up; true for a primary.
    pub is_link_up: bool,
    pub is_synchronising: bool,
    pub primary_port: Option<u16>,
}

impl Facts {
    fn read(text: &str) -> Option<Self> {
        let fields: BTreeMap<&str, &str> =
            text.split("\\r\\n").filter_map(|line| line.split_once(':')).collect();
        let field = |name: &str| fields.get(name).copied();
        let before = match (field("master_replid2")?, field("second_repl_offset")?.parse()) {
            (id, Ok(offset)) if !id.starts_with("0000000000") => Some((id.to_owned(), offset)),
            _ => None,
        };
        Some(Self {
            is_primary: field("role")? == "master",
            id: field("master_replid")?.to_owned(),
            offset: field("master_repl_offset")?.parse().ok()?,
            before,
            has_backlog: field("repl_backlog_active")? == "1",
            is_link_up: field("master_link_status").is_none_or(|status| status == "up"),
            is_synchronising: field("master_sync_in_progress") == Some("1"),
            primary_port: field("master_port").and_then(|port| port.parse().ok()),
        })
    }
}
