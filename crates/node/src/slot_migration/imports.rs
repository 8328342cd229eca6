//! This node as the target of a migration, or as a replica of the target.

use super::{JobFacts, Node, Own, range_words, request};
use crate::clients::Handle;
use crate::dispatch::Verdict;
use crate::host::{Host, LogLevel};
use crate::replication::link::error_in;
use shoal_cluster::slot_migration::{
    EPOCH_IS_OLD, Import, ImportInput, ImportOutput, ImportState, JobName, LinkMessage, Outcome,
};
use shoal_cluster::view::ViewRole;
use shoal_cluster::{ClusterCommand, NodeId, NodeMessage, SlotRanges};
use shoal_machine::{Monotonic, Now};
use shoal_protocol::{CommandId, Request};
use shoal_session::{ClientKind, Close, Session};
use shoal_store::snapshot::Loaded;

/// What a bus that does not answer says: whether the slots are claimed is not known yet.
const NO_ANSWER: &str = "CLUSTERDOWN";

/// An import that is under way, here or at the primary of this node.
#[derive(Debug)]
pub(crate) struct ImportJob {
    pub facts: JobFacts,
    machine: Import,
    handle: Option<Handle>,
    /// Replicas are waited for until they have the stream up to here.
    wanted_offset: Option<u64>,
    /// Under which the machine was asked for an epoch.
    epoch_ticket: u64,
}

impl ImportJob {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.machine.next_deadline()
    }
}

/// The epochs with which granted slots may be claimed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EpochBounds {
    /// The greatest.
    pub epoch_max: u64,
    /// All of them are greater than this one.
    pub above: u64,
}

/// The word of a message.
pub(super) fn word_of(message: LinkMessage) -> &'static str {
    match message {
        LinkMessage::Ack => "ACK",
        LinkMessage::SnapshotEof => "SNAPSHOT-EOF",
        LinkMessage::RequestPause => "REQUEST-PAUSE",
        LinkMessage::Paused => "PAUSED",
        LinkMessage::RequestFailover => "REQUEST-FAILOVER",
        LinkMessage::FailoverGranted { .. } => "FAILOVER-GRANTED",
        LinkMessage::GaveUp => "GAVE-UP",
    }
}

/// The message of a word. A grant without epochs, as Valkey gives it, allows all.
pub(super) fn message_of(word: &[u8], bounds: Option<EpochBounds>) -> Option<LinkMessage> {
    let EpochBounds { epoch_max, above } = bounds.unwrap_or(EpochBounds { epoch_max: u64::MAX, above: 0 });
    let messages = [
        LinkMessage::Ack,
        LinkMessage::SnapshotEof,
        LinkMessage::RequestPause,
        LinkMessage::Paused,
        LinkMessage::RequestFailover,
        LinkMessage::FailoverGranted { epoch_max, above },
        LinkMessage::GaveUp,
    ];
    messages.into_iter().find(|message| word.eq_ignore_ascii_case(word_of(*message).as_bytes()))
}

impl Node {
    /// Begins an import that its source has announced on this connection; everything has been checked.
    pub(crate) fn begin_import(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        own: (Handle, &mut Session),
        (name, source): (JobName, NodeId),
        slots: SlotRanges,
    ) {
        let (handle, session) = own;
        // What is there of these slots is left over from earlier.
        self.drop_at_once(now, host, &slots);
        session.kind = ClientKind::Import;
        session.no_evict = true;
        let mut facts = JobFacts::new(now, name, slots, true);
        facts.source = Some(source);
        facts.target = self.my_id();
        let timeout_ms = u64::from(self.config.repl_timeout_seconds) * 1000;
        let machine = Import::new(now.monotonic, timeout_ms);
        facts.state = machine.state_word();
        facts.progress.began = Some(now.monotonic);
        host.log(LogLevel::Notice, &format!("New slot import job created: {}.", facts.describe()));
        self.propagate_import_begin(&facts);
        self.migrations.imports.push(ImportJob {
            facts,
            machine,
            handle: Some(handle),
            wanted_offset: None,
            epoch_ticket: 0,
        });
        self.hide_slots();
    }

    /// Notes an import that happens at this node's primary, or that a file tells of.
    pub(crate) fn follow_import(&mut self, now: Now, host: &mut dyn Host, name: JobName, slots: SlotRanges) {
        if self.import_mut(name).is_some() || !self.migrations.has_room(1) {
            return;
        }
        let timeout_ms = u64::from(self.config.repl_timeout_seconds) * 1000;
        let machine = Import::elsewhere(now.monotonic, timeout_ms);
        let mut facts = JobFacts::new(now, name, slots, true);
        facts.state = machine.state_word();
        host.log(LogLevel::Notice, &format!("New slot import job created: {}.", facts.describe()));
        // For the own file; the stream has it from the primary.
        self.propagate_import_begin(&facts);
        self.migrations.imports.push(ImportJob {
            facts,
            machine,
            handle: None,
            wanted_offset: None,
            epoch_ticket: 0,
        });
        self.hide_slots();
    }

    /// The imports that a snapshot tells of; those of the data before are forgotten unless these join them.
    pub(crate) fn follow_imports_of(&mut self, host: &mut dyn Host, loaded: &Loaded, joins: bool) {
        let now = host.now();
        if !joins {
            let is_here = |job: &ImportJob| job.machine.state() != ImportState::OccurringOnPrimary;
            self.migrations.imports.retain(is_here);
        }
        for (name, ranges) in loaded.imports() {
            let slots = ranges.into_iter().flat_map(|(first, last)| first..=last);
            if let Some(name) = JobName::parse(name.as_bytes()) {
                self.follow_import(now, host, name, slots.collect());
            }
        }
        self.hide_slots();
    }

    fn propagate_import_begin(&mut self, facts: &JobFacts) {
        let (name, ranges) = (facts.name.to_string(), range_words(&facts.slots));
        let mut words = vec!["CLUSTER", "SYNCSLOTS", "ESTABLISH", "NAME", &name, "SLOTSRANGE"];
        words.extend(ranges.iter().map(String::as_str));
        self.propagate_own(0, words);
    }

    fn import_mut(&mut self, name: JobName) -> Option<&mut ImportJob> {
        self.migrations.imports.iter_mut().find(|job| job.facts.name == name)
    }

    fn import_names(&self) -> Vec<JobName> {
        self.migrations.imports.iter().map(|job| job.facts.name).collect()
    }

    fn import_with(&self, handle: Handle) -> Option<JobName> {
        let job = self.migrations.imports.iter().find(|job| job.handle == Some(handle))?;
        Some(job.facts.name)
    }

    /// What has become of an import, in the word that its source is told.
    pub(crate) fn import_status(&self, name: JobName) -> &'static str {
        if let Some(job) = self.migrations.imports.iter().find(|job| job.facts.name == name) {
            return job.machine.status_word();
        }
        let past = self.migrations.past.iter().find(|facts| facts.is_import && facts.name == name);
        match past {
            Some(facts) if facts.state == Outcome::Success.word() => "success",
            Some(_) => "failed",
            None => "unknown",
        }
    }

    /// The primary says how an import has ended.
    pub(crate) fn import_finished(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        name: JobName,
        is_success: bool,
        message: String,
    ) {
        self.import_input(now, host, name, ImportInput::Finished { is_success, message }, &mut None);
    }

    /// Carries out a request of a source.
    pub(crate) fn process_import(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        handle: Handle,
        session: &mut Session,
        request: Request<'_>,
    ) -> Verdict {
        let mark = session.output.mark();
        let size_bytes: usize = request.iter().map(<[u8]>::len).sum();
        let verdict = self.process(now, host, handle, session, request);
        if verdict == Verdict::Postponed {
            return verdict;
        }
        let Some(name) = self.import_with(handle) else { return verdict };
        let error = error_in(session.output.written_after(mark));
        if session.last_command.is_none_or(|command| command.id != CommandId::ClusterSyncslots)
            || error.is_some()
        {
            session.output.truncate(mark);
        }
        if let Some(job) = self.import_mut(name) {
            job.facts.progress.bytes += size_bytes as u64;
        }
        if let Some(error) = error {
            let text = format!("A command of slot migration {name} has failed: {error}");
            host.log(LogLevel::Warning, &text);
            let reason = if error.starts_with("OOM") { OUT_OF_MEMORY } else { FAILED_COMMAND };
            let mut own = Some((handle, session));
            self.import_input(now, host, name, ImportInput::Abort(reason.to_owned()), &mut own);
        }
        verdict
    }

    /// A message of a source, on its connection. False if there is no import on it.
    pub(crate) fn import_message(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        own: (Handle, &mut Session),
        word: &[u8],
        bounds: Option<EpochBounds>,
    ) -> bool {
        let (handle, session) = own;
        let Some(name) = self.import_with(handle) else { return false };
        if let Some(job) = self.import_mut(name) {
            job.facts.acknowledged_s = now.unix_s();
        }
        let input = match message_of(word, bounds) {
            Some(message) => ImportInput::Message(message),
            None => ImportInput::Abort("Unknown SYNCSLOTS subcommand used".to_owned()),
        };
        self.import_input(now, host, name, input, &mut Some((handle, session)));
        true
    }

    /// A link from a source has ended, by whoever's will.
    pub(crate) fn import_link_lost(&mut self, now: Now, host: &mut dyn Host, handle: Handle) {
        let Some(name) = self.import_with(handle) else { return };
        if let Some(job) = self.import_mut(name) {
            job.handle = None;
        }
        self.import_input(now, host, name, ImportInput::LinkLost, &mut None);
    }

    pub(super) fn abort_imports(&mut self, now: Now, host: &mut dyn Host, reason: &str) {
        for name in self.import_names() {
            self.import_input(now, host, name, ImportInput::Abort(reason.to_owned()), &mut None);
        }
    }

    fn import_input(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        name: JobName,
        input: ImportInput,
        own: &mut Own<'_>,
    ) {
        let Some(job) = self.import_mut(name) else { return };
        let mut outputs = Vec::new();
        job.machine.handle(now.monotonic, input, &mut outputs);
        self.carry_out_import(now, host, name, outputs, own);
    }

    fn carry_out_import(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        name: JobName,
        outputs: Vec<ImportOutput>,
        own: &mut Own<'_>,
    ) {
        if let Some(job) = self.import_mut(name) {
            let state = job.machine.state_word();
            Self::note_state(&mut job.facts, now, host, state);
        }
        for output in outputs {
            match output {
                ImportOutput::Send(message) => {
                    let mut bytes = Vec::new();
                    request(&["CLUSTER", "SYNCSLOTS", word_of(message)], &mut bytes);
                    if let Some(handle) = self.import_mut(name).and_then(|job| job.handle) {
                        self.write_to(handle, own, &bytes);
                    }
                }
                ImportOutput::WaitForReplicas => self.wait_for_replicas(name),
                ImportOutput::AgreeOnEpoch { above } => {
                    self.migrations.next_ticket += 1;
                    let ticket = self.migrations.next_ticket;
                    if let Some(job) = self.import_mut(name)
                        && let Some(source) = job.facts.source
                    {
                        job.epoch_ticket = ticket;
                        let slots = job.facts.slots.clone();
                        host.tell_cluster(NodeMessage::AgreeOnEpoch { ticket, above, source, slots });
                    }
                }
                ImportOutput::Claim { epoch, epoch_max } => {
                    self.claim_slots(now, host, name, (epoch, epoch_max), own);
                }
                ImportOutput::CleanUp => {
                    if let Some(slots) = self.import_mut(name).map(|job| job.facts.slots.clone()) {
                        self.migrations.drops.add(&slots);
                    }
                }
                ImportOutput::CleanUpOthers => {
                    let view = self.cluster.as_ref().and_then(|side| side.view.clone());
                    if let (Some(view), Some(job)) = (view, self.import_mut(name)) {
                        let others = job.facts.slots.iter().filter(|&slot| !view.owns(slot)).collect();
                        self.migrations.drops.add(&others);
                    }
                }
                ImportOutput::Close => self.close_import_link(name, own),
                ImportOutput::Ended(outcome, message) => self.end_import(host, name, outcome, message),
            }
        }
    }

    fn close_import_link(&mut self, name: JobName, own: &mut Own<'_>) {
        let Some(handle) = self.import_mut(name).and_then(|job| job.handle.take()) else { return };
        match own {
            // What has been said last is to arrive.
            Some((own_handle, session)) if *own_handle == handle => session.close = Close::AfterReply,
            _ => self.close(handle, Close::AfterReply),
        }
    }

    fn end_import(&mut self, host: &mut dyn Host, name: JobName, outcome: Outcome, message: String) {
        let jobs = &mut self.migrations.imports;
        let Some(index) = jobs.iter().position(|job| job.facts.name == name) else { return };
        let facts = jobs.remove(index).facts;
        let text = name.to_string();
        let mut words = vec!["CLUSTER", "SYNCSLOTS", "FINISH", "STATE", outcome.word(), "NAME", &text];
        if !message.is_empty() {
            words.extend(["MESSAGE", &message]);
        }
        self.propagate_own(0, words);
        self.hide_slots();
        self.note_end(host, facts, outcome, message);
    }

    /// Asks the replicas how far they are. What they lack, a failover to one of them would lose, although a replica of the
    /// source may have had it, and a client been told so.
    fn wait_for_replicas(&mut self, name: JobName) {
        let offset = self.replication_offset();
        self.ask_replicas();
        if let Some(job) = self.import_mut(name) {
            job.wanted_offset = Some(offset);
        }
        self.migrations.is_urgent = true;
    }

    fn claim_slots(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        name: JobName,
        (epoch, epoch_max): (u64, u64),
        own: &mut Own<'_>,
    ) {
        let Some(job) = self.import_mut(name) else { return };
        let Some(from) = job.facts.source else { return };
        let command = ClusterCommand::TakeSlots { slots: job.facts.slots.clone(), from, epoch, epoch_max };
        let input = match self.run_cluster_command(now, host, command) {
            Ok(_) => ImportInput::Claimed(Ok(())),
            // The machine may still do it: the view says so then.
            Err(reason) if reason.starts_with(NO_ANSWER) => return,
            Err(reason) if reason.starts_with(EPOCH_IS_OLD) => ImportInput::EpochIsOld { epoch_max },
            Err(reason) => ImportInput::Claimed(Err(reason.into_owned())),
        };
        self.import_input(now, host, name, input, own);
    }

    /// A majority of the primaries knows an epoch that was asked for.
    pub(crate) fn epoch_agreed(&mut self, now: Now, host: &mut dyn Host, ticket: u64, epoch: u64) {
        let job = self.migrations.imports.iter().find(|job| job.epoch_ticket == ticket);
        if let Some(name) = job.map(|job| job.facts.name) {
            self.import_input(now, host, name, ImportInput::EpochAgreed(epoch), &mut None);
        }
    }

    pub(super) fn tick_imports(&mut self, now: Now, host: &mut dyn Host) {
        for name in self.import_names() {
            let heard_at = self
                .import_mut(name)
                .and_then(|job| job.handle)
                .and_then(|handle| self.clients.session(handle));
            let heard_at = heard_at.map(|session| session.last_input_at);
            let Some(job) = self.import_mut(name) else { continue };
            if let Some(at) = heard_at {
                job.machine.heard(at);
            }
            let mut outputs = Vec::new();
            job.machine.tick(now.monotonic, &mut outputs);
            let wanted = job.wanted_offset;
            self.carry_out_import(now, host, name, outputs, &mut None);
            if let Some(offset) = wanted {
                let peers = &self.replication.peers;
                if peers.acknowledged(offset) >= peers.online().len() {
                    self.import_input(now, host, name, ImportInput::ReplicasInStep, &mut None);
                }
            }
        }
    }

    /// Replicas have acknowledged something.
    #[inline]
    pub(crate) fn note_acknowledged(&mut self) {
        let waits = |job: &ImportJob| matches!(job.machine.state(), ImportState::WaitingForReplicas { .. });
        self.migrations.is_urgent |= self.migrations.imports.iter().any(waits);
    }

    /// The keys of some slots have been deleted.
    pub(super) fn note_dropped(&mut self, now: Now, host: &mut dyn Host) {
        for name in self.import_names() {
            let Some(job) = self.import_mut(name) else { continue };
            let slots = job.facts.slots.clone();
            if !self.migrations.drops.contains_any(&slots) {
                self.import_input(now, host, name, ImportInput::CleanedUp, &mut None);
            }
        }
        self.hide_slots();
    }

    /// The data are loaded: of imports that were under way then, a primary deletes the keys at once. A replica waits for what its
    /// primary says.
    pub(crate) fn imports_after_loading(&mut self, now: Now, host: &mut dyn Host) {
        self.imports_see_view(now, host);
        let left: SlotRanges = self.migrations.drops.slots().collect();
        if !left.is_empty() && !self.is_replica() {
            self.drop_at_once(now, host, &left);
        }
    }

    pub(super) fn imports_see_view(&mut self, now: Now, host: &mut dyn Host) {
        let Some(view) = self.cluster.as_ref().and_then(|side| side.view.clone()) else { return };
        if self.is_loading {
            return;
        }
        let is_primary = view.role == ViewRole::Primary && !self.is_replica();
        for name in self.import_names() {
            let Some(job) = self.import_mut(name) else { continue };
            let source =
                job.facts.source.and_then(|id| view.node_by_name(id.as_bytes())).map(|node| node.key);
            let owns_slots = job.facts.slots.iter().all(|slot| view.owns(slot));
            let sources = job.facts.slots.iter().all(|slot| view.owners.get(slot) == source);
            let input = match job.machine.state() {
                ImportState::OccurringOnPrimary if is_primary => {
                    // The primary had claimed all of them; a part may have gone on since.
                    let owns_slots = job.facts.slots.iter().any(|slot| view.owns(slot));
                    ImportInput::Promoted { owns_slots }
                }
                ImportState::OccurringOnPrimary | ImportState::Ended(_) => continue,
                _ if !is_primary => ImportInput::Demoted,
                // The answer to the claim follows, or has been given up.
                ImportState::FailoverGranted if owns_slots => ImportInput::Claimed(Ok(())),
                _ if sources => continue,
                _ if owns_slots => {
                    ImportInput::Abort("Slots were unexpectedly assigned to myself during import".to_owned())
                }
                _ => ImportInput::Abort("Slots are no longer owned by source node".to_owned()),
            };
            self.import_input(now, host, name, input, &mut None);
        }
    }
}

const OUT_OF_MEMORY: &str = "Ran out of memory (OOM) during slot import";
const FAILED_COMMAND: &str =
    "Failed to process command during slot migration. Check logs for more information";
