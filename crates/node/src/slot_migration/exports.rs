//! This node as the source of a migration.

use super::{Hold, JobFacts, Node, range_words, request};
use crate::action::Action;
use crate::clients::Handle;
use crate::host::{Host, LogLevel, SnapshotReport, SnapshotTarget};
use shoal_cluster::slot_migration::{
    Export, ExportInput, ExportOutput, ExportState, JobName, LinkMessage, SlotsOf,
};
use shoal_cluster::view::NodeKey;
use shoal_cluster::{ClusterCommand, ClusterView, NodeFlags, NodeId, NodeMessage, SlotRanges};
use shoal_machine::{Monotonic, Now};
use shoal_protocol::request::SharedBytes;
use shoal_protocol::slot::key_slot;
use shoal_protocol::value::{Decoder, Value};
use shoal_protocol::{Command, Request, keys};
use shoal_session::{ClientKind, Close, Identity, Session};
use std::collections::VecDeque;
use std::sync::Arc;

/// While so much waits to be sent, no more of the snapshot is read from the child.
const SNAPSHOT_AHEAD_BYTES: usize = 1024 * 1024;
/// What may wait while the child writes if `client-output-buffer-limit replica` has no hard limit.
const UNLIMITED_CHANGES_MAX_BYTES: u64 = 256 * 1024 * 1024;
const TOO_MANY_CHANGES: &str = "Too many changes came while the keys were sent";
const NO_EPOCH: &str = "The machine of the cluster does not say its epoch";
/// Changes that wait stand in blocks of this size.
const CHANGES_BLOCK_BYTES: usize = 64 * 1024;

/// An export that is under way.
#[derive(Debug)]
pub(crate) struct ExportJob {
    pub facts: JobFacts,
    machine: Export,
    target: NodeId,
    /// Names the connection that is being made.
    ticket: u64,
    handle: Option<Handle>,
    decoder: Decoder,
    /// Changes that wait for the end of the snapshot.
    changes: VecDeque<Vec<u8>>,
    changes_bytes: u64,
    /// Too many changes wait.
    is_over_limit: bool,
    /// The child writes for this job.
    has_child: bool,
    /// No more is read from the child before this, as the rate is limited.
    slowed_until: Option<Monotonic>,
    /// What of the slots waits.
    pub hold: Option<Hold>,
}

impl ExportJob {
    pub(super) fn takes_changes(&self) -> bool {
        self.machine.takes_changes()
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        [self.machine.next_deadline(), self.slowed_until].into_iter().flatten().min()
    }

    fn add_changes(&mut self, bytes: &[u8]) {
        self.changes_bytes += bytes.len() as u64;
        match self.changes.back_mut() {
            Some(block) if block.len() + bytes.len() <= CHANGES_BLOCK_BYTES => block.extend_from_slice(bytes),
            _ => {
                let mut block = Vec::with_capacity(bytes.len().max(CHANGES_BLOCK_BYTES));
                block.extend_from_slice(bytes);
                self.changes.push_back(block);
            }
        }
    }
}

impl Node {
    /// Begins to move slots to another primary; everything has been checked. Returns the job's name.
    pub(crate) fn begin_export(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        slots: SlotRanges,
        target: NodeId,
    ) -> JobName {
        let name = JobName::random(&mut self.rng);
        let mut facts = JobFacts::new(now, name, slots, false);
        facts.target = Some(target);
        facts.source = self.my_id();
        let mut outputs = Vec::new();
        let timeout_ms = u64::from(self.config.repl_timeout_seconds) * 1000;
        let machine = Export::new(now.monotonic, timeout_ms, &mut outputs);
        facts.state = machine.state_word();
        let text =
            format!("Slot migration initiated through CLUSTER MIGRATESLOTS command: {}", facts.describe());
        host.log(LogLevel::Notice, &text);
        self.migrations.exports.push(ExportJob {
            facts,
            machine,
            target,
            ticket: 0,
            handle: None,
            decoder: Decoder::new(),
            changes: VecDeque::new(),
            changes_bytes: 0,
            is_over_limit: false,
            has_child: false,
            slowed_until: None,
            hold: None,
        });
        self.carry_out_export(now, host, name, outputs);
        self.tell_view(now, host, name);
        name
    }

    /// The name of this node.
    pub(super) fn my_id(&self) -> Option<NodeId> {
        let view = self.cluster.as_ref()?.view.as_deref()?;
        view.my_facts().map(|node| node.id)
    }

    /// Ends all exports on somebody's wish. False if there are none.
    pub(crate) fn cancel_exports(&mut self, now: Now, host: &mut dyn Host) -> bool {
        let names = self.export_names();
        for &name in &names {
            self.export_input(now, host, name, ExportInput::Cancel);
        }
        !names.is_empty()
    }

    pub(super) fn abort_exports(&mut self, now: Now, host: &mut dyn Host, reason: &'static str) {
        for name in self.export_names() {
            self.export_input(now, host, name, ExportInput::Abort(reason));
        }
    }

    fn export_names(&self) -> Vec<JobName> {
        self.migrations.exports.iter().map(|job| job.facts.name).collect()
    }

    fn export_mut(&mut self, name: JobName) -> Option<&mut ExportJob> {
        self.migrations.exports.iter_mut().find(|job| job.facts.name == name)
    }

    fn export_with(&self, handle: Handle) -> Option<JobName> {
        let job = self.migrations.exports.iter().find(|job| job.handle == Some(handle))?;
        Some(job.facts.name)
    }

    fn export_input(&mut self, now: Now, host: &mut dyn Host, name: JobName, input: ExportInput) {
        let Some(job) = self.export_mut(name) else { return };
        let mut outputs = Vec::new();
        job.machine.handle(now.monotonic, input, &mut outputs);
        self.carry_out_export(now, host, name, outputs);
    }

    fn carry_out_export(&mut self, now: Now, host: &mut dyn Host, name: JobName, outputs: Vec<ExportOutput>) {
        if let Some(job) = self.export_mut(name) {
            let state = job.machine.state_word();
            Self::note_state(&mut job.facts, now, host, state);
        }
        let (mut grant, mut is_revoked) = (None, false);
        for output in outputs {
            match output {
                ExportOutput::Connect => self.connect_target(now, host, name),
                ExportOutput::SendAuth => self.send_export_auth(name),
                ExportOutput::SendEstablish => self.send_establish(name),
                ExportOutput::SendStatus => {
                    let text = name.to_string();
                    self.send_export(name, &["CLUSTER", "SYNCSLOTS", "STATUS", "NAME", &text]);
                }
                ExportOutput::Send(message) => self.send_export_message(name, message),
                ExportOutput::BeginSnapshot => self.begin_slots_snapshot(now, host, name),
                ExportOutput::CancelSnapshot => {
                    if self.export_mut(name).is_some_and(|job| std::mem::take(&mut job.has_child)) {
                        self.cancel_snapshot(host);
                    }
                }
                ExportOutput::PauseWrites => self.hold_slots(name, Some(Hold::Writes)),
                ExportOutput::PauseAll => {
                    self.hold_slots(name, Some(Hold::All));
                    grant = Some(self.grant_slots(now, host, name));
                }
                ExportOutput::Release => {
                    if !is_revoked {
                        self.reclaim_slots(host, name, None);
                    }
                    self.hold_slots(name, None);
                }
                ExportOutput::Revoke { epoch_max } => {
                    host.log(LogLevel::Warning, "A granted slot migration is revoked.");
                    self.reclaim_slots(host, name, Some(epoch_max));
                    is_revoked = true;
                }
                ExportOutput::Close => self.close_export_link(name),
                ExportOutput::Ended(outcome, message) => {
                    let jobs = &mut self.migrations.exports;
                    if let Some(index) = jobs.iter().position(|job| job.facts.name == name) {
                        let facts = jobs.remove(index).facts;
                        self.note_end(host, facts, outcome, message);
                    }
                }
            }
        }
        self.migrations.refresh();
        if let Some(grant) = grant {
            self.export_input(now, host, name, grant);
        }
    }

    /// Has the machine claim the slots no more. It answers at once.
    fn grant_slots(&mut self, now: Now, host: &mut dyn Host, name: JobName) -> ExportInput {
        let slots = self.export_mut(name).map(|job| job.facts.slots.clone()).unwrap_or_default();
        match self.run_cluster_command(now, host, ClusterCommand::GrantSlots { slots }) {
            Ok(reply) => match reply.number() {
                Some(config_epoch) => ExportInput::GrantMade { config_epoch },
                None => ExportInput::NotGranted(NO_EPOCH.to_owned()),
            },
            Err(reason) => ExportInput::NotGranted(reason.into_owned()),
        }
    }

    /// Has the machine claim again what is still this node's, if it was granted.
    fn reclaim_slots(&mut self, host: &mut dyn Host, name: JobName, above_epoch: Option<u64>) {
        if let Some(job) = self.export_mut(name).filter(|job| job.hold == Some(Hold::All)) {
            let slots = job.facts.slots.clone();
            self.migrations.reclaiming.push(slots.clone());
            host.tell_cluster(NodeMessage::Reclaim { slots, above_epoch });
        }
    }

    /// The machine claims slots again that were granted: they are served.
    pub(crate) fn slots_reclaimed(&mut self, slots: &SlotRanges) {
        if let Some(index) = self.migrations.reclaiming.iter().position(|other| other == slots) {
            self.migrations.reclaiming.swap_remove(index);
            self.migrations.refresh();
            self.resume_postponed();
        }
    }

    // The link

    fn connect_target(&mut self, now: Now, host: &mut dyn Host, name: JobName) {
        self.migrations.next_ticket += 1;
        let ticket = self.migrations.next_ticket;
        let address = self.export_mut(name).map(|job| job.target).and_then(|target| {
            let view = self.cluster.as_ref()?.view.as_deref()?;
            let node = view.node_by_name(target.as_bytes())?;
            (!node.host.is_empty()).then(|| (node.host.to_string(), node.client_port(false)))
        });
        let Some(job) = self.export_mut(name) else { return };
        job.ticket = ticket;
        job.decoder = Decoder::new();
        match address {
            Some((host, port)) => self.actions.push(Action::ConnectTarget { ticket, host, port }),
            None => {
                let reason = "target node not found".to_owned();
                self.export_input(now, host, name, ExportInput::Unreachable(reason));
            }
        }
    }

    /// The connection that [`Action::ConnectTarget`] asked for is there. Its input goes to [`Node::target_input`]; its output
    /// is that of the session.
    pub fn target_connected(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        ticket: u64,
        identity: Identity,
    ) -> Handle {
        let mut session = Session::new(self.next_client_id, identity, now);
        self.next_client_id += 1;
        session.kind = ClientKind::Export;
        session.is_authenticated = true;
        session.no_evict = true;
        let handle = self.clients.insert(session);
        let Some(job) = self.migrations.exports.iter_mut().find(|job| job.ticket == ticket) else {
            self.close(handle, Close::Now);
            return handle;
        };
        job.handle = Some(handle);
        let name = job.facts.name;
        let sends_auth = !self.config.primary_auth.is_empty();
        self.export_input(now, host, name, ExportInput::Connected { sends_auth });
        handle
    }

    /// The connection that [`Action::ConnectTarget`] asked for cannot be made; `reason` is the system's text.
    pub fn target_unreachable(&mut self, now: Now, host: &mut dyn Host, ticket: u64, reason: &str) {
        let job = self.migrations.exports.iter().find(|job| job.ticket == ticket);
        if let Some(name) = job.map(|job| job.facts.name) {
            self.export_input(now, host, name, ExportInput::Unreachable(reason.to_owned()));
        }
    }

    /// Bytes from the target of a migration: replies, and what it says by commands.
    pub fn target_input(&mut self, now: Now, host: &mut dyn Host, handle: Handle, bytes: &[u8]) {
        if let Some(session) = self.clients.session_mut(handle) {
            session.last_input_at = now.monotonic;
        }
        let Some(name) = self.export_with(handle) else { return };
        if let Some(job) = self.export_mut(name) {
            job.decoder.feed(bytes);
        }
        loop {
            let Some(job) = self.export_mut(name) else { return };
            let value = match job.decoder.next_value() {
                Ok(Some(value)) => value,
                Ok(None) => return,
                Err(_) => {
                    self.close(handle, Close::Now);
                    return;
                }
            };
            job.facts.acknowledged_s = now.unix_s();
            let input = match read_value(&value) {
                Some(input) => input,
                None => ExportInput::Abort("Unknown SYNCSLOTS subcommand used"),
            };
            self.export_input(now, host, name, input);
            self.migrations.is_urgent = true;
        }
    }

    /// A link to a target has ended, by whoever's will.
    pub(crate) fn export_link_lost(&mut self, now: Now, host: &mut dyn Host, handle: Handle) {
        let Some(name) = self.export_with(handle) else { return };
        if let Some(job) = self.export_mut(name) {
            job.handle = None;
        }
        self.export_input(now, host, name, ExportInput::LinkLost);
    }

    fn close_export_link(&mut self, name: JobName) {
        if let Some(handle) = self.export_mut(name).and_then(|job| job.handle.take()) {
            self.close(handle, Close::Now);
        }
    }

    fn send_export(&mut self, name: JobName, words: &[impl AsRef<[u8]>]) {
        let mut bytes = Vec::new();
        request(words, &mut bytes);
        if let Some(handle) = self.export_mut(name).and_then(|job| job.handle) {
            self.write_to(handle, &mut None, &bytes);
        }
    }

    fn send_export_auth(&mut self, name: JobName) {
        let (user, password) = (self.config.primary_user.clone(), self.config.primary_auth.clone());
        if user.is_empty() {
            self.send_export(name, &[b"AUTH".as_slice(), &password]);
        } else {
            self.send_export(name, &[b"AUTH".as_slice(), &user, &password]);
        }
    }

    fn send_establish(&mut self, name: JobName) {
        let Some(job) = self.export_mut(name) else { return };
        let source = job.facts.source.map(|id| id.to_string()).unwrap_or_default();
        let (text, ranges) = (name.to_string(), range_words(&job.facts.slots));
        let mut words =
            vec!["CLUSTER", "SYNCSLOTS", "ESTABLISH", "SOURCE", &source, "NAME", &text, "SLOTSRANGE"];
        words.extend(ranges.iter().map(String::as_str));
        self.send_export(name, &words);
    }

    fn send_export_message(&mut self, name: JobName, message: LinkMessage) {
        self.send_changes(name);
        let mut words = vec!["CLUSTER", "SYNCSLOTS", super::imports::word_of(message)];
        let (most, least);
        if let LinkMessage::FailoverGranted { epoch_max, above } = message {
            (most, least) = (epoch_max.to_string(), above.to_string());
            words.extend(["EPOCH", &most, "ABOVE", &least]);
        }
        self.send_export(name, &words);
    }

    /// Changes that have waited for the end of the snapshot go to the link.
    fn send_changes(&mut self, name: JobName) {
        let Some(job) = self.export_mut(name) else { return };
        if job.machine.state() == ExportState::Snapshotting {
            return;
        }
        let (Some(handle), changes) = (job.handle, std::mem::take(&mut job.changes)) else { return };
        job.changes_bytes = 0;
        if let Some(session) = self.clients.session_mut(handle) {
            for block in changes {
                let shared: SharedBytes = Arc::new(block);
                session.output.extend_shared(&shared);
            }
            self.clients.mark_pending(handle);
        }
    }

    // The snapshot

    fn begin_slots_snapshot(&mut self, now: Now, host: &mut dyn Host, name: JobName) {
        if self.snapshot.is_some() || self.is_loading {
            return;
        }
        let Some(job) = self.migrations.exports.iter_mut().find(|job| job.facts.name == name) else { return };
        let database = self.keyspace.database(0);
        let keys_total = job.facts.slots.iter().map(|slot| database.slot_len(slot) as u64).sum();
        job.facts.progress.keys_total = keys_total;
        job.facts.progress.began = Some(now.monotonic);
        job.has_child = true;
        match self.begin_snapshot(now, host, SnapshotTarget::Slots) {
            Ok(()) => self.export_input(now, host, name, ExportInput::SnapshotBegan),
            Err(reason) => self.export_input(now, host, name, ExportInput::SnapshotFailed(reason)),
        }
    }

    /// The slots of which the child that is about to begin writes the keys.
    pub(crate) fn slots_of_snapshot(&self) -> Option<Vec<(u16, u16)>> {
        let job = self.migrations.exports.iter().find(|job| job.has_child)?;
        Some(job.facts.slots.as_slice().to_vec())
    }

    fn snapshot_job(&mut self) -> Option<&mut ExportJob> {
        self.migrations.exports.iter_mut().find(|job| job.has_child)
    }

    /// Whether more bytes of the keys of the slots are wanted now.
    pub(crate) fn wants_slots_bytes(&self) -> bool {
        let Some(job) = self.migrations.exports.iter().find(|job| job.has_child) else { return true };
        let waiting = job.handle.and_then(|handle| self.output_waiting_bytes(handle)).unwrap_or(0);
        job.slowed_until.is_none() && waiting < SNAPSHOT_AHEAD_BYTES
    }

    /// Bytes of the keys of the slots.
    pub(crate) fn slots_chunk(&mut self, now: Now, bytes: &[u8]) {
        let rate = self.config.cluster_slot_migration_max_rate_bytes;
        let Some(job) = self.snapshot_job() else { return };
        let progress = &mut job.facts.progress;
        progress.bytes += bytes.len() as u64;
        // The time at which so many bytes may have been sent.
        if let Some(due_us) = progress.bytes.saturating_mul(1_000_000).checked_div(rate)
            && let Some(began) = progress.began
        {
            let due = Monotonic(began.0.saturating_add(due_us));
            job.slowed_until = (due > now.monotonic).then_some(due);
        }
        if let Some(handle) = job.handle
            && let Some(session) = self.clients.session_mut(handle)
        {
            session.output.extend_shared(&Arc::new(bytes.to_vec()));
            self.clients.mark_pending(handle);
        }
    }

    /// The child has ended; what it wrote has been handed to the link.
    pub(crate) fn slots_snapshot_ended(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        result: &Result<SnapshotReport, String>,
    ) {
        let Some(job) = self.snapshot_job() else { return };
        job.has_child = false;
        job.slowed_until = None;
        let name = job.facts.name;
        let input = match result {
            Ok(report) => {
                job.facts.copied_bytes = report.copied_bytes;
                job.facts.progress.keys = job.facts.progress.keys_total;
                ExportInput::SnapshotSent
            }
            Err(reason) => ExportInput::SnapshotFailed(reason.clone()),
        };
        self.export_input(now, host, name, input);
        self.send_changes(name);
    }

    // Changes

    /// Passes a change on to the migration of its slot. `bytes` is the request, encoded.
    pub(crate) fn feed_exports(&mut self, request: &Request<'_>, bytes: &[u8]) {
        let Some(command) = Command::lookup(request.argument(0)) else { return };
        let mut slot = None;
        keys::for_each(command, request, |key| slot = slot.or_else(|| Some(key_slot(key))));
        // What touches no key, such as the bounds of transactions, says nothing to the target: it shows the slots to
        // nobody before it has everything.
        let Some(slot) = slot else { return };
        let limit = self.config.client_output_buffer_limit.of(shoal_config::ClientClass::Replica).hard_bytes;
        let limit = if limit == 0 { UNLIMITED_CHANGES_MAX_BYTES } else { limit };
        let takes = |job: &&mut ExportJob| job.takes_changes() && job.facts.set.contains(slot);
        let Some(job) = self.migrations.exports.iter_mut().find(takes) else { return };
        job.facts.progress.bytes += bytes.len() as u64;
        match job.handle {
            Some(handle) if job.machine.state() != ExportState::Snapshotting => {
                self.write_to(handle, &mut None, bytes);
                if let Some(waiting) = self.output_waiting_bytes(handle) {
                    self.note_output(handle, waiting);
                }
            }
            _ => {
                job.add_changes(bytes);
                if job.changes_bytes > limit {
                    job.is_over_limit = true;
                    self.migrations.is_urgent = true;
                }
            }
        }
    }

    fn hold_slots(&mut self, name: JobName, hold: Option<Hold>) {
        let Some(job) = self.export_mut(name) else { return };
        job.hold = hold;
        self.migrations.refresh();
        if hold.is_none() {
            self.resume_postponed();
        }
    }

    // Time and views

    pub(super) fn tick_exports(&mut self, now: Now, host: &mut dyn Host) {
        for name in self.export_names() {
            let keys = host.snapshot_progress().keys;
            let Some(job) = self.export_mut(name) else { continue };
            if job.slowed_until.is_some_and(|until| until <= now.monotonic) {
                job.slowed_until = None;
            }
            if job.has_child {
                job.facts.progress.keys = keys;
            }
            let is_over_limit = job.is_over_limit;
            let mut outputs = Vec::new();
            job.machine.tick(now.monotonic, &mut outputs);
            let waiting = job.handle.and_then(|handle| self.output_waiting_bytes(handle));
            self.carry_out_export(now, host, name, outputs);
            if is_over_limit {
                self.export_input(now, host, name, ExportInput::Abort(TOO_MANY_CHANGES));
            } else if let Some(waiting) = waiting {
                self.export_input(now, host, name, ExportInput::Waiting(waiting));
            }
        }
    }

    /// Something was sent to a client: an export may have waited for that.
    #[inline]
    pub(crate) fn note_sent(&mut self, handle: Handle) {
        if self.migrations.takes_changes {
            self.migrations.is_urgent |=
                self.migrations.exports.iter().any(|job| {
                    job.handle == Some(handle) && job.machine.state() == ExportState::WaitingToPause
                });
        }
    }

    pub(super) fn exports_see_view(&mut self, now: Now, host: &mut dyn Host) {
        for name in self.export_names() {
            self.tell_view(now, host, name);
        }
    }

    fn tell_view(&mut self, now: Now, host: &mut dyn Host, name: JobName) {
        let Some(view) = self.cluster.as_ref().and_then(|side| side.view.clone()) else { return };
        let Some(job) = self.export_mut(name) else { return };
        let input = ExportInput::View {
            slots_of: owner_of(&view, &job.facts.slots, job.target),
            epoch: view.current_epoch,
            is_target_gone: is_gone(&view, job.target),
            is_primary: view.role == shoal_cluster::view::ViewRole::Primary,
        };
        self.export_input(now, host, name, input);
    }
}

fn owner_of(view: &ClusterView, slots: &SlotRanges, target: NodeId) -> SlotsOf {
    let target = view.node_by_name(target.as_bytes()).map(|node| node.key);
    let owners = || slots.iter().map(|slot| view.owners.get(slot));
    let is_mine = |owner: Option<NodeKey>| owner == Some(view.myself);
    if owners().all(is_mine) {
        SlotsOf::Mine
    } else if owners().any(is_mine) {
        SlotsOf::Partly
    } else if target.is_some() && owners().all(|owner| owner == target) {
        SlotsOf::Target
    } else {
        SlotsOf::Others
    }
}

/// Whether a target has failed, or is no primary any more, with nobody about to take its place.
fn is_gone(view: &ClusterView, target: NodeId) -> bool {
    let Some(node) = view.node_by_name(target.as_bytes()) else { return true };
    if !node.flags.has(NodeFlags::PRIMARY) {
        return true;
    }
    let may_be_replaced = view.replicas_of(node.key).any(|replica| !replica.flags.has(NodeFlags::FAILED));
    node.flags.has(NodeFlags::FAILED) && !may_be_replaced
}

/// What the target has said: a reply, or a command.
fn read_value(value: &Value) -> Option<ExportInput> {
    if let Some(error) = value.as_error() {
        return Some(ExportInput::Reply(Err(error.into_owned())));
    }
    let Some(words) = value.as_elements() else {
        return value.as_text().map(|text| ExportInput::Reply(Ok(text.into_owned())));
    };
    let words: Vec<&[u8]> = words.iter().filter_map(Value::as_bytes).collect();
    let [cluster, syncslots, word, ..] = words.as_slice() else { return None };
    if !cluster.eq_ignore_ascii_case(b"CLUSTER") || !syncslots.eq_ignore_ascii_case(b"SYNCSLOTS") {
        return None;
    }
    super::imports::message_of(word, None).map(ExportInput::Message)
}
