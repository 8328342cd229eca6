//! A node in a test: clients without sockets, a clock that moves when told, a shell that remembers what it was asked.
//!
//! ```text
//! let mut fixture = Fixture::new();
//! fixture.check("SET k v", "+OK");
//! let other = fixture.connect();
//! fixture.check_as(other, "GET k", "\"v\"");
//! ```
//!
//! Replies are shown on one line: `+status`, `-ERR …`, `:7`, `"bytes"`, `nil`, `[a, b]`, `{k: v}`, `~[a]` for a set,
//! `>[a]` for a push message, `,1.5` for a double, `#t`, `(7` for a big number, `=txt:"text"` for a verbatim string.

mod aof;

mod sync_file;

pub use aof::TestAof;
pub use sync_file::TestSyncFile;

mod memory;
mod show;

pub use show::show;

use crate::action::Action;
use crate::clients::Handle;
use crate::dispatch::Verdict;
use crate::host::{
    AofHealth, ClusterAnswer, Crash, Exchange, Exchanged, Host, LogLevel, ProcessFacts, SnapshotContext,
    SnapshotProgress, SnapshotReport, SnapshotStart, SnapshotTarget, SyncFile,
};
use crate::node::{Node, NodeIdentity, NodeSettings};
use shoal_cluster::view::{NodeFacts, NodeKey, SlotOwners, ViewRole};
use shoal_cluster::{
    ClusterCommand, ClusterView, CommandReply, CommandResult, MachineMessage, NodeFlags, NodeId, NodeMessage,
    SlotSet,
};
use shoal_config::{AppendFsync, Change, Config, SetContext, SetError};
use shoal_machine::{Monotonic, Now};
use shoal_protocol::quoting::split_arguments;
use shoal_protocol::value::{Decoder, Value};
use shoal_protocol::{ErrorReply, OwnedRequest};
use shoal_session::{Close, Identity};
use shoal_store::snapshot::Snapshot;
use shoal_store::{Garbage, Keyspace};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// When the clock of a test starts: 2023-11-14 22:13:20 UTC, in microseconds.
pub const START_UNIX_US: u64 = 1_700_000_000_000_000;

/// A shell that only remembers.
#[derive(Debug)]
pub struct TestHost {
    /// Both clocks; the stopwatch is the monotonic one, so that commands take no time unless they sleep.
    pub clock: Now,
    /// What was logged.
    pub log: Vec<(LogLevel, String)>,
    /// Files by their path; the configuration is read and written here.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The facts to give.
    pub facts: ProcessFacts,
    /// The error of the next attempts to save or to begin a snapshot.
    pub save_error: Option<String>,
    /// How many keys each save in the foreground wrote.
    pub saves: Vec<usize>,
    /// What the last of them wrote.
    pub snapshot_file: Vec<u8>,
    /// A snapshot that arrives from the primary by way of a file.
    pub sync_file: TestSyncFile,
    /// The snapshots that were begun.
    pub snapshots: Vec<SnapshotTarget>,
    /// What stands in the snapshots that were begun.
    pub images: Vec<Vec<u8>>,
    /// What the process that writes a snapshot says of itself.
    pub progress: SnapshotProgress,
    /// How often the snapshot file was removed.
    pub removed_snapshots: usize,
    /// How many snapshots were to be cancelled.
    pub cancelled_snapshots: usize,
    /// The append-only file.
    pub aof: TestAof,
    /// The directives of each configuration change that was to be carried out.
    pub applied: Vec<Vec<&'static str>>,
    /// The error with which changes of the configuration fail.
    pub apply_error: Option<SetError>,
    /// The CLUSTER commands that were to be carried out.
    pub cluster_commands: Vec<ClusterCommand>,
    /// What the cluster machine says before it answers a CLUSTER command.
    pub cluster_answers: VecDeque<MachineMessage>,
    /// What CLUSTER commands are answered.
    pub cluster_result: CommandResult,
    /// What the cluster machine was told.
    pub cluster_messages: Vec<NodeMessage>,
    /// What MIGRATE's targets answer, in order: replies, or the failure to connect; afterwards `+OK` to everything.
    pub exchanges: VecDeque<Result<Exchanged, String>>,
    /// What was sent to MIGRATE's targets: address and bytes.
    pub sent_requests: Vec<(String, Vec<u8>)>,
    /// The targets that there are connections to.
    pub exchange_connections: Vec<String>,
    /// The deaths that were asked for; the test goes on nevertheless.
    pub crashes: Vec<Crash>,
    /// How long was slept, and whether the node counted as alive meanwhile.
    pub sleeps: Vec<(u64, bool)>,
    /// How often unused pages were to be given back.
    pub purges: usize,
    /// How many pieces of memory were to be freed elsewhere.
    pub freed: usize,
}

impl Default for TestHost {
    fn default() -> Self {
        Self {
            clock: Now::new(Monotonic::from_ms(1_000_000), START_UNIX_US),
            log: Vec::new(),
            files: BTreeMap::new(),
            facts: ProcessFacts {
                used_memory_bytes: 2 << 20,
                cluster_link_bytes: 0,
                pending_objects: 0,
                allocator_active_bytes: 3 << 20,
                allocator_resident_bytes: 4 << 20,
                allocator: "jemalloc-5.3.0".to_owned(),
                exchange_connections: 0,
                resident_bytes: 6 << 20,
                system_memory_bytes: 8 << 30,
                system_cpu_us: [1_500_000, 0, 1_250_000],
                user_cpu_us: [2_500_000, 0, 2_250_000],
            },
            save_error: None,
            saves: Vec::new(),
            snapshot_file: Vec::new(),
            sync_file: TestSyncFile::default(),
            snapshots: Vec::new(),
            images: Vec::new(),
            progress: SnapshotProgress::default(),
            removed_snapshots: 0,
            cancelled_snapshots: 0,
            aof: TestAof::default(),
            applied: Vec::new(),
            apply_error: None,
            cluster_commands: Vec::new(),
            cluster_answers: VecDeque::new(),
            cluster_result: Ok(CommandReply::Ok),
            cluster_messages: Vec::new(),
            exchanges: VecDeque::new(),
            sent_requests: Vec::new(),
            exchange_connections: Vec::new(),
            crashes: Vec::new(),
            sleeps: Vec::new(),
            purges: 0,
            freed: 0,
        }
    }
}

impl Host for TestHost {
    fn stopwatch_us(&mut self) -> u64 {
        self.clock.monotonic.0
    }

    fn now(&mut self) -> Now {
        self.clock
    }

    fn log(&mut self, level: LogLevel, text: &str) {
        self.log.push((level, text.to_owned()));
    }

    fn begin_cluster_command(&mut self, command: ClusterCommand) -> u64 {
        self.cluster_commands.push(command);
        self.cluster_commands.len() as u64
    }

    fn wait_for_cluster(&mut self, _ticket: u64) -> ClusterAnswer {
        match self.cluster_answers.pop_front() {
            Some(message) => ClusterAnswer::First(Box::new(message)),
            None => ClusterAnswer::Done(self.cluster_result.clone()),
        }
    }

    fn tell_cluster(&mut self, message: NodeMessage) {
        self.cluster_messages.push(message);
    }

    fn save(&mut self, keyspace: &Keyspace, context: &SnapshotContext) -> Result<u64, String> {
        if let Some(error) = &self.save_error {
            return Err(error.clone());
        }
        self.saves.push(keyspace.len());
        self.snapshot_file = shoal_store::snapshot::Snapshot::new(keyspace, &context.options).to_vec();
        Ok(100)
    }

    fn read_snapshot(&mut self, take: &mut dyn FnMut(&[u8]) -> Result<bool, String>) -> Result<(), String> {
        take(&self.snapshot_file).map(|_| ())
    }

    fn sync_file(&mut self) -> &mut dyn SyncFile {
        &mut self.sync_file
    }

    fn begin_snapshot(
        &mut self,
        keyspace: &Keyspace,
        target: SnapshotTarget,
        context: &SnapshotContext,
    ) -> Result<SnapshotStart, String> {
        if let Some(error) = &self.save_error {
            return Err(error.clone());
        }
        self.snapshots.push(target);
        self.images.push(Snapshot::new(keyspace, &context.options).to_vec());
        Ok(SnapshotStart { process_id: 4711, fork_us: 123 })
    }

    fn snapshot_progress(&self) -> SnapshotProgress {
        self.progress
    }

    fn remove_snapshot(&mut self) -> Result<(), String> {
        self.removed_snapshots += 1;
        Ok(())
    }

    fn cancel_snapshot(&mut self) {
        self.cancelled_snapshots += 1;
    }

    fn append_aof(&mut self, bytes: &[u8], policy: AppendFsync) -> AofHealth {
        self.aof.append(bytes, policy)
    }

    fn open_aof(&mut self, name: &str, is_new: bool) -> Result<u64, String> {
        self.aof.open(name, is_new)
    }

    fn close_aof(&mut self) {
        self.aof.open = None;
        self.aof.sync_error = None;
    }

    fn write_aof_base(
        &mut self,
        keyspace: &Keyspace,
        context: &SnapshotContext,
        name: &str,
    ) -> Result<u64, String> {
        Ok(self.aof.put(name, Snapshot::new(keyspace, &context.options).to_vec()))
    }

    fn adopt_aof_base(&mut self, _process_id: u32, name: &str) -> Result<u64, String> {
        Ok(self.aof.put(name, self.images.last().cloned().ok_or("no image")?))
    }

    fn discard_aof_base(&mut self, _process_id: u32) {}

    fn read_aof_file(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.aof.files.get(name).cloned())
    }

    fn replace_aof_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.aof.put(name, bytes.to_vec());
        Ok(())
    }

    fn rename_aof_file(&mut self, from: &str, to: &str) -> Result<(), String> {
        self.aof.rename(from, to)
    }

    fn remove_aof_file(&mut self, name: &str) {
        self.aof.files.remove(name);
    }

    fn aof_file_size(&mut self, name: &str) -> Result<u64, String> {
        let file = self.aof.files.get(name);
        file.map(|file| file.len() as u64).ok_or_else(|| format!("{name}: no such file"))
    }

    fn read_aof_piece(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, String> {
        self.aof.read(name, offset, buffer)
    }

    fn truncate_aof_file(&mut self, name: &str, size: u64) -> Result<(), String> {
        self.aof.files.get_mut(name).ok_or("no such file")?.truncate(size as usize);
        Ok(())
    }

    fn has_old_aof_file(&mut self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    fn move_old_aof_file(&mut self, name: &str) -> Result<(), String> {
        let file = self.files.remove(name).ok_or("no such file")?;
        self.aof.put(name, file);
        Ok(())
    }

    fn apply_configuration(&mut self, _config: &Config, change: &Change) -> Result<(), SetError> {
        if let Some(error) = &self.apply_error {
            return Err(error.clone());
        }
        self.applied.push(change.directives.clone());
        Ok(())
    }

    fn read_configuration(&mut self, path: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.files.get(path).cloned())
    }

    fn write_configuration(&mut self, path: &str, text: &[u8]) -> Result<(), String> {
        self.files.insert(path.to_owned(), text.to_vec());
        Ok(())
    }

    fn facts(&mut self) -> ProcessFacts {
        self.facts.clone()
    }

    fn open_exchange(&mut self, host: &str, port: u16, _timeout_ms: u64) -> Result<bool, String> {
        if let Some(Err(reason)) = self.exchanges.front() {
            let reason = reason.clone();
            self.exchanges.pop_front();
            return Err(reason);
        }
        let target = format!("{host}:{port}");
        let is_new = !self.exchange_connections.contains(&target);
        if is_new {
            self.exchange_connections.push(target);
        }
        Ok(is_new)
    }

    fn exchange(&mut self, exchange: Exchange<'_>) -> Exchanged {
        self.sent_requests.push((format!("{}:{}", exchange.host, exchange.port), exchange.requests.to_vec()));
        match self.exchanges.pop_front() {
            Some(Ok(exchanged)) => exchanged,
            _ => Exchanged {
                replies: vec![Value::Simple(b"OK".to_vec()); exchange.reply_count],
                failure: None,
            },
        }
    }

    fn close_exchange(&mut self, host: &str, port: u16) {
        let target = format!("{host}:{port}");
        self.exchange_connections.retain(|other| *other != target);
    }

    fn sleep_us(&mut self, duration_us: u64, counts_as_alive: bool) {
        self.sleeps.push((duration_us, counts_as_alive));
        self.advance_us(duration_us);
    }

    fn crash(&mut self, crash: Crash) {
        self.crashes.push(crash);
    }

    fn purge_memory(&mut self) {
        self.purges += 1;
    }

    fn free(&mut self, garbage: Vec<Garbage>) {
        self.freed += garbage.len();
    }
}

impl TestHost {
    fn advance_us(&mut self, duration_us: u64) {
        let Now { monotonic, unix_us } = self.clock;
        self.clock = Now::new(Monotonic(monotonic.0 + duration_us), unix_us + duration_us);
    }

    /// Whether a line was logged that contains `text`.
    pub fn has_logged(&self, text: &str) -> bool {
        self.log.iter().any(|(_, line)| line.contains(text))
    }
}

/// The other end of one connection.
#[derive(Debug, Default)]
struct Peer {
    decoder: Decoder,
    /// A request that was put off.
    postponed: Option<OwnedRequest>,
}

/// A node with clients.
pub struct Fixture {
    /// The node.
    pub node: Node,
    /// Its shell.
    pub host: TestHost,
    /// What the node wanted done, beside going on with clients that were put off.
    pub actions: Vec<Action>,
    /// What the process uses beside the keys. While it is set, the used memory is this and the sizes of all keys.
    pub base_memory_bytes: Option<u64>,
    peers: BTreeMap<Handle, Peer>,
    /// Those whose connection the node has ended, with what it had still to say.
    departed: BTreeMap<Handle, Peer>,
    first: Handle,
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

impl Fixture {
    /// A node with the standard configuration, DEBUG allowed, and one client.
    pub fn new() -> Self {
        Self::with_configuration(&[])
    }

    /// A node whose configuration differs from the standard in these directives, and one client.
    ///
    /// # Panics
    /// If the configuration is not accepted.
    pub fn with_configuration(directives: &[(&str, &str)]) -> Self {
        Self::with_configuration_and_seed(directives, 1)
    }

    /// As [`Fixture::with_configuration`], with other random numbers.
    ///
    /// # Panics
    /// If the configuration is not accepted.
    pub fn with_configuration_and_seed(directives: &[(&str, &str)], seed: u64) -> Self {
        let mut config = Config::default();
        let standard = [("enable-debug-command", "yes"), ("enable-protected-configs", "yes")];
        let mut text = String::new();
        for (name, value) in standard.iter().chain(directives) {
            text.push_str(&format!("{name} {value}\n"));
        }
        let loaded = config.load(text.as_bytes(), shoal_config::Mode::Server, &mut NoSurroundings);
        loaded.expect("the test's configuration is valid");
        Self::with_config_and_seed(config, seed)
    }

    /// A node with this configuration and one client.
    ///
    /// # Panics
    /// If the configuration is not accepted.
    pub fn with_config(config: Config) -> Self {
        Self::with_config_and_seed(config, 1)
    }

    fn with_config_and_seed(config: Config, seed: u64) -> Self {
        let identity = NodeIdentity {
            run_id: "0123456789012345678901234567890123456789".to_owned(),
            process_id: 4242,
            executable: "/usr/bin/shoal".to_owned(),
            system: "Linux 6.1 x86_64".to_owned(),
            supervised: "no",
            listeners: vec!["name=tcp,bind=*,bind=-::*,port=6379".to_owned()],
        };
        let host = TestHost::default();
        let settings = NodeSettings { config, identity, seed, hash_key: (1, 2) };
        let node = Node::new(settings, host.clock).expect("the test's configuration can be carried out");
        let mut fixture = Self {
            node,
            host,
            actions: Vec::new(),
            base_memory_bytes: None,
            peers: BTreeMap::new(),
            departed: BTreeMap::new(),
            first: Handle(0),
        };
        fixture.first = fixture.connect();
        fixture
    }

    /// Changes directives in the way of CONFIG SET, also those that CONFIG SET may not change while it runs.
    ///
    /// # Panics
    /// If the configuration is not accepted.
    pub fn configure(&mut self, words: &[&str]) {
        let context = SetContext { is_loading: false, is_local_client: true };
        self.node.config.set(words, context).expect("the test's configuration is valid");
        self.node.configuration_changed();
    }

    /// The client that is there from the start.
    pub fn first(&self) -> Handle {
        self.first
    }

    /// Another client, from this machine.
    ///
    /// # Panics
    /// If the node refuses it.
    pub fn connect(&mut self) -> Handle {
        let number = 50_000 + self.peers.len();
        self.connect_from(&format!("127.0.0.1:{number}"), true).expect("the node takes the client")
    }

    /// Another client.
    ///
    /// # Errors
    /// The node refuses it.
    pub fn connect_from(&mut self, address: &str, is_local: bool) -> Result<Handle, ErrorReply> {
        let identity = Identity {
            address: address.to_owned(),
            local_address: "127.0.0.1:6379".to_owned(),
            is_local,
            is_unix_socket: false,
            descriptor: 8 + i32::try_from(self.peers.len()).unwrap_or(0),
        };
        let handle = self.node.connect(self.host.clock, identity)?;
        self.peers.insert(handle, Peer::default());
        self.departed.remove(&handle);
        Ok(handle)
    }

    /// Whether the connection has not ended.
    pub fn is_connected(&self, client: Handle) -> bool {
        self.peers.contains_key(&client)
    }

    /// Ends a connection from the client's side.
    pub fn disconnect(&mut self, client: Handle) {
        self.peers.remove(&client);
        self.node.disconnected(self.host.clock, &mut self.host, client);
    }

    /// Sends a line (quoted as in redis-cli) as the first client, and compares what comes back.
    ///
    /// # Panics
    /// If something else comes back.
    #[track_caller]
    pub fn check(&mut self, line: &str, expected: &str) {
        self.check_as(self.first, line, expected);
    }

    /// As [`Fixture::check`], for each pair.
    ///
    /// # Panics
    /// If something else comes back.
    #[track_caller]
    pub fn check_all(&mut self, cases: &[(&str, &str)]) {
        for (line, expected) in cases {
            self.check(line, expected);
        }
    }

    /// Sends a line as this client, and compares what comes back: replies one after another, joined with `" ; "`.
    ///
    /// # Panics
    /// If something else comes back.
    #[track_caller]
    pub fn check_as(&mut self, client: Handle, line: &str, expected: &str) {
        let answer = self.run_as(client, line);
        assert_eq!(answer, expected, "in answer to: {line}");
    }

    /// Sends a line as the first client and compares the beginning of what comes back.
    ///
    /// # Panics
    /// If something else comes back.
    #[track_caller]
    pub fn check_start(&mut self, line: &str, expected: &str) {
        let answer = self.run(line);
        assert!(answer.starts_with(expected), "in answer to: {line}: {answer}");
    }

    /// Sends a line as the first client. Returns what comes back.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> String {
        self.run_as(self.first, line)
    }

    /// Sends a line as this client. Returns what comes back: replies one after another, joined with `" ; "`.
    ///
    /// # Panics
    /// If the line's quotes are not balanced.
    #[track_caller]
    pub fn run_as(&mut self, client: Handle, line: &str) -> String {
        let words = split_arguments(line.as_bytes()).expect("quotes are balanced");
        self.send_as(client, &words);
        self.received(client).join(" ; ")
    }

    /// Sends these words as this client, without looking at the answer.
    pub fn send_as(&mut self, client: Handle, words: &[impl AsRef<[u8]>]) {
        let request = OwnedRequest::new(words);
        let bytes = request.size_bytes();
        self.node.input_arrived(self.host.clock, client, bytes, 0, 0);
        self.execute(client, request);
        self.settle();
    }

    /// The answer to a line, of the first client, as the text of one bulk or verbatim string.
    ///
    /// # Panics
    /// If the answer is something else.
    #[track_caller]
    pub fn text(&mut self, line: &str) -> String {
        let words = split_arguments(line.as_bytes()).expect("quotes are balanced");
        self.send_as(self.first, &words);
        let value = self.values(self.first).pop();
        let text = value.as_ref().and_then(Value::as_text).expect("the answer is a string");
        text.into_owned()
    }

    /// What has arrived at a client since it was last looked at, shown.
    pub fn received(&mut self, client: Handle) -> Vec<String> {
        self.values(client).iter().map(show).collect()
    }

    /// What has arrived at a client since it was last looked at.
    ///
    /// # Panics
    /// If it breaks the protocol.
    pub fn values(&mut self, client: Handle) -> Vec<Value> {
        self.collect(client);
        let peer = self.peers.get_mut(&client).or_else(|| self.departed.get_mut(&client));
        let Some(peer) = peer else { return Vec::new() };
        let mut values = Vec::new();
        while let Some(value) = peer.decoder.next_value().expect("replies follow the protocol") {
            values.push(value);
        }
        values
    }

    /// Lets time pass, and housekeeping happen once.
    pub fn advance_ms(&mut self, duration_ms: u64) {
        self.host.advance_us(duration_ms * 1000);
        self.node.tick(self.host.clock, &mut self.host);
        self.settle();
    }

    /// Lets the snapshot that is being made end.
    pub fn end_snapshot(&mut self, result: Result<SnapshotReport, String>) {
        self.node.snapshot_ended(self.host.clock, &mut self.host, result);
        self.settle();
    }

    /// Carries out what the node wants done, and ends connections.
    pub fn settle(&mut self) {
        self.measure_memory();
        self.node.relieve_memory(self.host.clock, &mut self.host);
        loop {
            let actions = self.node.take_actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                match action {
                    Action::Resume(client) => {
                        let postponed = self.peers.get_mut(&client).and_then(|peer| peer.postponed.take());
                        if let Some(request) = postponed {
                            self.execute(client, request);
                        }
                    }
                    other => self.actions.push(other),
                }
            }
        }
        let mut pending = Vec::new();
        self.node.take_pending(&mut pending);
        for client in pending {
            // Whoever connected other clients ends them.
            let close = if self.peers.contains_key(&client) { self.node.close_of(client) } else { Close::No };
            if close == Close::AfterReply {
                self.collect(client);
            }
            if close != Close::No {
                let peer = self.peers.remove(&client).unwrap_or_default();
                self.departed.insert(client, peer);
                self.disconnect(client);
            }
        }
    }

    fn execute(&mut self, client: Handle, request: OwnedRequest) {
        self.measure_memory();
        self.node.batch_begins(client);
        let verdict = self.node.execute(self.host.clock, &mut self.host, client, request.as_request());
        self.node.batch_ends();
        if let Some(peer) = self.peers.get_mut(&client).filter(|_| verdict == Verdict::Postponed) {
            peer.postponed = Some(request);
        }
    }

    fn collect(&mut self, client: Handle) {
        let Some(output) = self.node.output_mut(client) else { return };
        let bytes = output.to_vec();
        output.consume(bytes.len());
        if let Some(peer) = self.peers.get_mut(&client) {
            peer.decoder.feed(&bytes);
        }
    }
}

/// A view of a healthy cluster of primaries at 127.0.0.1 with the ports from 7000 on, as the first of them has it. The
/// name of each is 40 times the last digit of its number.
///
/// # Panics
/// Never: the names are well-formed.
pub fn cluster_view(node_count: u32, owners: SlotOwners) -> ClusterView {
    let nodes = (0..node_count).map(|number| {
        let digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        let id = NodeId::parse(&[digit; 40]).expect("40 digits are a name");
        let mut slots = SlotSet::default();
        for (first, last, _) in owners.runs().filter(|&(_, _, owner)| owner == NodeKey(number)) {
            (first..=last).for_each(|slot| {
                slots.insert(slot);
            });
        }
        let port = 7000 + u16::try_from(number).unwrap_or(0);
        NodeFacts {
            key: NodeKey(number),
            id,
            shard_id: id,
            host: "127.0.0.1".into(),
            hostname: None,
            human_name: None,
            client: None,
            port,
            other_port: 0,
            bus_port: port + 10_000,
            flags: NodeFlags::PRIMARY,
            primary: None,
            ping_sent_ms: 0,
            pong_received_ms: 0,
            config_epoch: u64::from(number) + 1,
            slots: Arc::new(slots),
            replication_offset: 0,
            failure_reports: 0,
            takes_slots: true,
            link_to: None,
            link_from: None,
        }
    });
    ClusterView {
        version: 1,
        published_at: Monotonic::from_ms(1_000_000),
        myself: NodeKey(0),
        role: ViewRole::Primary,
        is_ok: true,
        nodes: nodes.collect(),
        owners: Arc::new(owners),
        migrating: Arc::default(),
        importing: Arc::default(),
        current_epoch: u64::from(node_count),
        last_vote_epoch: 0,
        size: node_count as usize,
        messages_sent: Default::default(),
        messages_received: Default::default(),
        links_over_limit: 0,
        manual_failover: false,
        config: Arc::default(),
    }
}

struct NoSurroundings;

impl shoal_config::Surroundings for NoSurroundings {
    fn include(&mut self, pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        Err(format!("no file {pattern}"))
    }

    fn enter_directory(&mut self, path: &str) -> Result<String, String> {
        Ok(path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_talk_to_the_node() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("PING", "+PONG"),
            ("PING \"a b\"", "\"a b\""),
            ("NOSUCH a", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' "),
            ("GET nothing", "nil"),
            ("MULTI", "+OK"),
            ("ECHO x", "+QUEUED"),
            ("EXEC", "[\"x\"]"),
        ]);
        let other = fixture.connect();
        assert!(fixture.run_as(other, "HELLO 3").starts_with("{\"server\": \"redis\""));
        fixture.send_as(other, &["QUIT"]);
        assert!(!fixture.is_connected(other) && fixture.is_connected(fixture.first()));
    }

    #[test]
    fn passwords_and_limits() {
        let mut fixture = Fixture::with_configuration(&[("requirepass", "secret"), ("maxclients", "2")]);
        fixture.check("PING", "-NOAUTH Authentication required.");
        fixture.check("AUTH secret", "+OK");
        fixture.check("PING", "+PONG");
        fixture.connect();
        let refused = fixture.connect_from("127.0.0.1:1", true);
        assert_eq!(refused.unwrap_err().0, "ERR max number of clients reached");
    }
}
