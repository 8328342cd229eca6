//! Slots on the move between simulated executors: the shipped machines of both ends, a connection between them that breaks when
//! the network or a process does, and keys that are numbers of writes.

use crate::peers::{Peer, PeerLink, PeerMessage};
use crate::steps::Step;
use crate::world::{Event, World};
use shoal_cluster::slot_migration::{
    EPOCH_IS_OLD, Export, ExportInput, ExportOutput, ExportState, Import, ImportInput, ImportOutput,
    ImportState, JobName, LinkMessage, Outcome, SlotsOf,
};
use shoal_cluster::view::ViewRole;
use shoal_cluster::{ClusterCommand, ClusterView, NodeFlags, NodeId, NodeMessage, SlotRanges};
use shoal_machine::Monotonic;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How long the other side may be silent.
const TIMEOUT_MS: u64 = 10_000;
/// How long a child may write.
const SNAPSHOT_MAX_US: u64 = 400_000;

/// An export of a simulated executor.
#[derive(Debug)]
pub(crate) struct SimulatedExport {
    name: JobName,
    slots: SlotRanges,
    target: NodeId,
    machine: Export,
    link: Option<u64>,
    /// Changes that wait for the end of the snapshot.
    changes: Vec<(u16, u64)>,
}

/// An import of a simulated executor.
#[derive(Debug)]
pub(crate) struct SimulatedImport {
    pub name: JobName,
    slots: SlotRanges,
    source: Option<NodeId>,
    epoch_ticket: u64,
    machine: Import,
    link: Option<u64>,
}

/// The migrations of a simulated executor.
#[derive(Debug, Default)]
pub(crate) struct Migrations {
    exports: Vec<SimulatedExport>,
    pub imports: Vec<SimulatedImport>,
    /// Granted slots that are not claimed again yet.
    reclaiming: Vec<Reclaim>,
    /// Those that were taken back from a target that has failed since that was looked at last.
    pub revoked: Vec<Revoked>,
    /// What the machine has said of epochs, and nobody has looked at yet.
    pub agreed: Vec<(u64, u64)>,
    /// How imports have ended.
    past: Vec<(JobName, Outcome)>,
}

/// Granted slots that the machine is to claim again.
#[derive(Debug)]
struct Reclaim {
    slots: SlotRanges,
    revoked: Option<Revoked>,
}

/// The target may have claimed these slots, with an epoch up to this one.
#[derive(Clone, Debug)]
pub(crate) struct Revoked {
    pub slots: SlotRanges,
    pub target: NodeId,
    pub epoch_max: u64,
}

pub(crate) fn has(slots: &SlotRanges, slot: u16) -> bool {
    slots.as_slice().iter().any(|(first, last)| (first..=last).contains(&&slot))
}

impl Migrations {
    /// Whether writes to a slot wait.
    pub(crate) fn holds(&self, slot: u16) -> bool {
        self.reclaiming.iter().any(|reclaim| has(&reclaim.slots, slot))
            || self.exports.iter().any(|job| {
                let holds =
                    matches!(job.machine.state(), ExportState::Paused { .. } | ExportState::Granted { .. });
                holds && has(&job.slots, slot)
            })
    }

    pub(crate) fn reclaimed(&mut self, slots: &SlotRanges) {
        if let Some(index) = self.reclaiming.iter().position(|reclaim| reclaim.slots == *slots) {
            self.revoked.extend(self.reclaiming.swap_remove(index).revoked);
        }
    }

    /// Whether there is anything to do.
    pub(crate) fn is_idle(&self) -> bool {
        let waits = |job: &SimulatedImport| job.machine.state() != ImportState::OccurringOnPrimary;
        self.exports.is_empty() && self.reclaiming.is_empty() && !self.imports.iter().any(waits)
    }

    /// The states of all, as text.
    pub(crate) fn describe(&self) -> String {
        let exports =
            self.exports.iter().map(|job| format!("export {:?} {:?}", job.name, job.machine.state()));
        let imports =
            self.imports.iter().map(|job| format!("import {:?} {:?}", job.name, job.machine.state()));
        let reclaiming = self.reclaiming.iter().map(|reclaim| format!("{} not claimed again", reclaim.slots));
        exports.chain(imports).chain(reclaiming).collect::<Vec<_>>().join(", ")
    }

    /// Whether keys of a slot are arriving, or arrive at the primary.
    pub(crate) fn is_importing(&self, slot: u16) -> bool {
        self.imports.iter().any(|job| has(&job.slots, slot))
    }

    fn export_mut(&mut self, name: JobName) -> Option<&mut SimulatedExport> {
        self.exports.iter_mut().find(|job| job.name == name)
    }

    pub(crate) fn slots_of_import(&self, name: JobName) -> Option<SlotRanges> {
        self.imports.iter().find(|job| job.name == name).map(|job| job.slots.clone())
    }

    fn import_mut(&mut self, name: JobName) -> Option<&mut SimulatedImport> {
        self.imports.iter_mut().find(|job| job.name == name)
    }

    /// What a new view says to the exports.
    fn view_for_exports(&self, view: &ClusterView, is_primary: bool) -> Vec<(JobName, ExportInput)> {
        let mut inputs = Vec::new();
        for job in &self.exports {
            let target = view.node_by_name(job.target.as_bytes());
            let owners: BTreeSet<_> = job.slots.iter().map(|slot| view.owners.get(slot)).collect();
            let all = |key| owners.len() == 1 && owners.contains(&Some(key));
            let slots_of = if all(view.myself) {
                SlotsOf::Mine
            } else if target.is_some_and(|target| all(target.key)) {
                SlotsOf::Target
            } else if owners.contains(&Some(view.myself)) {
                SlotsOf::Partly
            } else {
                SlotsOf::Others
            };
            let is_target_gone = target.is_none_or(|target| {
                let replaced =
                    view.replicas_of(target.key).any(|replica| !replica.flags.has(NodeFlags::FAILED));
                !target.flags.has(NodeFlags::PRIMARY) || target.flags.has(NodeFlags::FAILED) && !replaced
            });
            let epoch = view.current_epoch;
            inputs.push((job.name, ExportInput::View { slots_of, epoch, is_target_gone, is_primary }));
        }
        inputs
    }

    /// Follows the marks of the primary, or of the file.
    pub(crate) fn follow(&mut self, now: Monotonic, marks: impl Iterator<Item = (JobName, SlotRanges)>) {
        self.imports.retain(|job| job.machine.state() != ImportState::OccurringOnPrimary);
        for (name, slots) in marks {
            if self.import_mut(name).is_none() {
                let machine = Import::elsewhere(now, TIMEOUT_MS);
                self.imports.push(SimulatedImport {
                    name,
                    slots,
                    source: None,
                    epoch_ticket: 0,
                    machine,
                    link: None,
                });
            }
        }
    }
}

impl World {
    fn at(&self) -> Monotonic {
        Monotonic(self.now_us)
    }

    fn migrations(&mut self, node: usize) -> Option<&mut Migrations> {
        self.model_mut(node).map(|model| &mut model.migrations)
    }

    /// A node is told to move some of its slots to some other primary.
    pub(crate) fn migrate_slots(&mut self, node: usize) -> Result<(), String> {
        let Some(view) = self.model(node).and_then(|model| model.view.clone()) else { return Ok(()) };
        let is_target = |target: &&shoal_cluster::view::NodeFacts| {
            target.key != view.myself
                && target.flags.has(NodeFlags::PRIMARY)
                && !target.flags.has(NodeFlags::FAILED)
        };
        let targets: Vec<NodeId> = view.nodes.iter().filter(is_target).map(|node| node.id).collect();
        let own: Vec<u16> = (0..16384).filter(|&slot| view.owns(slot)).collect();
        if view.role != ViewRole::Primary
            || targets.is_empty()
            || own.is_empty()
            || !view.importing.is_empty()
        {
            return Ok(());
        }
        let target = targets[self.rng.index(targets.len())];
        let first = self.rng.index(own.len());
        let most = if self.rng.chance(1, 4) { own.len() } else { 600 };
        let count = 1 + self.rng.index(most);
        // Half of them, with keys.
        let (first, count) =
            if self.scenario.step_fault.is_some() { (0, own.len() / 2) } else { (first, count) };
        let slots: SlotRanges = own.iter().skip(first).take(count).copied().collect();
        let now = self.at();
        let name = JobName::random(&mut self.rng);
        let Some(migrations) = self.migrations(node) else { return Ok(()) };
        if migrations.exports.len() >= 3
            || migrations.exports.iter().any(|job| slots.iter().any(|slot| has(&job.slots, slot)))
        {
            return Ok(());
        }
        let mut outputs = Vec::new();
        let machine = Export::new(now, TIMEOUT_MS, &mut outputs);
        let text = slots.to_string();
        migrations.exports.push(SimulatedExport {
            name,
            slots,
            target,
            machine,
            link: None,
            changes: Vec::new(),
        });
        self.note(|| format!("n{node} migrates {text} to {target:?}"));
        self.counts.migrations_begun += 1;
        self.carry_out_export(node, name, outputs)
    }

    /// A write was acknowledged: the migration of its slot hears of it.
    pub(crate) fn feed_exports(&mut self, node: usize, slot: u16, write: u64) {
        let Some(migrations) = self.migrations(node) else { return };
        let takes = |job: &&mut SimulatedExport| job.machine.takes_changes() && has(&job.slots, slot);
        let Some(job) = migrations.exports.iter_mut().find(takes) else { return };
        job.changes.push((slot, write));
        let name = job.name;
        self.send_changes(node, name);
    }

    fn send_changes(&mut self, node: usize, name: JobName) {
        let Some(job) = self.migrations(node).and_then(|migrations| migrations.export_mut(name)) else {
            return;
        };
        if job.machine.state() == ExportState::Snapshotting {
            return;
        }
        let (link, changes) = (job.link, std::mem::take(&mut job.changes));
        for (slot, write) in changes {
            self.send_peer(link, node, PeerMessage::Change { slot, write });
        }
    }

    /// Something arrives at an executor.
    pub(crate) fn peer_message(
        &mut self,
        number: u64,
        to_target: bool,
        message: PeerMessage,
    ) -> Result<(), String> {
        let Some(link) = self.peer_links.get(&number) else { return Ok(()) };
        let is_closed = matches!(message, PeerMessage::Closed);
        if link.is_broken && !is_closed {
            return Ok(());
        }
        let receiver = if to_target { link.target } else { link.source };
        if !self.is_alive(receiver.node, receiver.incarnation) {
            self.break_link(number);
            return Ok(());
        }
        let now_us = self.now_us;
        if self.model(receiver.node).is_some_and(|model| !model.can_work(now_us)) {
            // It is read when the executor has time.
            self.queue.schedule(now_us + 50_000, Event::Peer { link: number, to_target, message });
            return Ok(());
        }
        if to_target {
            self.at_target(receiver.node, number, message)
        } else {
            self.at_source(receiver.node, number, message)
        }
    }

    fn at_source(&mut self, node: usize, number: u64, message: PeerMessage) -> Result<(), String> {
        let Some(migrations) = self.migrations(node) else { return Ok(()) };
        let Some(job) = migrations.exports.iter_mut().find(|job| job.link == Some(number)) else {
            return Ok(());
        };
        let name = job.name;
        let input = match message {
            PeerMessage::Reply(reply) => ExportInput::Reply(reply),
            PeerMessage::Link(message) => ExportInput::Message(message),
            PeerMessage::Closed => {
                job.link = None;
                ExportInput::LinkLost
            }
            _ => return Ok(()),
        };
        self.export_input(node, name, input)?;
        self.export_input(node, name, ExportInput::Waiting(0))
    }

    fn at_target(&mut self, node: usize, number: u64, message: PeerMessage) -> Result<(), String> {
        let now = self.at();
        if let PeerMessage::Establish { name, source, slots } = message {
            return self.establish(node, number, (name, source, slots));
        }
        if let PeerMessage::Status(name) = message {
            let Some(migrations) = self.migrations(node) else { return Ok(()) };
            let past = migrations.past.iter().find(|(other, _)| *other == name).map(|(_, outcome)| *outcome);
            let word = match (migrations.import_mut(name), past) {
                (Some(job), _) => job.machine.status_word(),
                (None, Some(Outcome::Success)) => "success",
                (None, Some(_)) => "failed",
                (None, None) => "unknown",
            };
            self.send_peer(Some(number), node, PeerMessage::Reply(Ok(word.to_owned())));
            return Ok(());
        }
        let Some(model) = self.model_mut(node) else { return Ok(()) };
        let Some(job) = model.migrations.imports.iter_mut().find(|job| job.link == Some(number)) else {
            return Ok(());
        };
        job.machine.heard(now);
        let name = job.name;
        let input = match message {
            PeerMessage::Keys { slot, writes } => {
                model.change_keys().put(slot, writes);
                return Ok(());
            }
            PeerMessage::Change { slot, write } => {
                model.change_keys().write(slot, write);
                return Ok(());
            }
            PeerMessage::Link(message) => ImportInput::Message(message),
            PeerMessage::Closed => {
                job.link = None;
                ImportInput::LinkLost
            }
            _ => return Ok(()),
        };
        self.import_input(node, name, input)
    }

    fn establish(
        &mut self,
        node: usize,
        number: u64,
        (name, source, slots): (JobName, NodeId, SlotRanges),
    ) -> Result<(), String> {
        let now = self.at();
        let Some(model) = self.model_mut(node) else { return Ok(()) };
        let view = model.view.clone();
        let agrees = view.is_some_and(|view| {
            let from = view.node_by_name(source.as_bytes()).map(|node| node.key);
            view.role == ViewRole::Primary
                && model.following.is_none()
                && view.importing.is_empty()
                && from.is_some()
                && slots.iter().all(|slot| view.owners.get(slot) == from)
        });
        let overlaps =
            model.migrations.imports.iter().any(|job| slots.iter().any(|slot| has(&job.slots, slot)));
        let reply = if agrees && !overlaps {
            model.hidden = model.hidden.minus(&slots.to_set());
            model.change_keys().drop_slots(&slots);
            model.change_keys().marks.insert(name, slots.clone());
            let machine = Import::new(now, TIMEOUT_MS);
            let import = SimulatedImport {
                name,
                slots,
                source: Some(source),
                epoch_ticket: 0,
                machine,
                link: Some(number),
            };
            model.migrations.imports.push(import);
            Ok("OK".to_owned())
        } else {
            Err("ERR no".to_owned())
        };
        self.send_peer(Some(number), node, PeerMessage::Reply(reply));
        Ok(())
    }

    // The source

    fn export_input(&mut self, node: usize, name: JobName, input: ExportInput) -> Result<(), String> {
        let now = self.at();
        let Some(job) = self.migrations(node).and_then(|migrations| migrations.export_mut(name)) else {
            return Ok(());
        };
        let mut outputs = Vec::new();
        job.machine.handle(now, input, &mut outputs);
        self.carry_out_export(node, name, outputs)
    }

    fn carry_out_export(
        &mut self,
        node: usize,
        name: JobName,
        outputs: Vec<ExportOutput>,
    ) -> Result<(), String> {
        let mut is_revoked = false;
        for output in outputs {
            let Some(job) = self.migrations(node).and_then(|migrations| migrations.export_mut(name)) else {
                return Ok(());
            };
            let link = job.link;
            match output {
                ExportOutput::Connect => self.connect_peer(node, name)?,
                ExportOutput::SendEstablish => {
                    let (slots, target) = (job.slots.clone(), Some(job.target));
                    let source = self.id(node);
                    self.come_to_step(name, Step::Establish, (source, target));
                    if let Some(source) = source {
                        self.send_peer(link, node, PeerMessage::Establish { name, source, slots });
                    }
                }
                ExportOutput::SendStatus => self.send_peer(link, node, PeerMessage::Status(name)),
                ExportOutput::Send(message) => {
                    let ends = (None, Some(job.target));
                    self.note(|| format!("n{node} job {name:?}: {message:?}"));
                    self.send_changes(node, name);
                    self.note_step(node, name, message, ends);
                    self.send_peer(link, node, PeerMessage::Link(message));
                    self.maybe_crash_in_migration(node);
                }
                ExportOutput::BeginSnapshot => self.begin_snapshot(node, name)?,
                ExportOutput::PauseAll => {
                    let slots = job.slots.clone();
                    let ticket = self.command(node, ClusterCommand::GrantSlots { slots })?;
                    // The machine answers at once.
                    let input = match self.reply_of(node, ticket) {
                        Some(Ok(reply)) => {
                            ExportInput::GrantMade { config_epoch: reply.number().unwrap_or(0) }
                        }
                        _ => ExportInput::NotGranted("refused".to_owned()),
                    };
                    self.export_input(node, name, input)?;
                }
                ExportOutput::Revoke { epoch_max } => {
                    let revoked = Revoked { slots: job.slots.clone(), target: job.target, epoch_max };
                    self.reclaim(node, revoked.slots.clone(), Some(revoked));
                    is_revoked = true;
                }
                ExportOutput::Release if is_revoked => {}
                ExportOutput::Release => {
                    let slots = job.slots.clone();
                    self.reclaim(node, slots, None);
                }
                ExportOutput::Close => {
                    job.link = None;
                    self.close_peer(link, node);
                }
                ExportOutput::Ended(outcome, reason) => {
                    self.note(|| format!("n{node} job {name:?}: {outcome:?} {reason}"));
                    self.counts.migrations_done += u64::from(outcome == Outcome::Success);
                    if let Some(migrations) = self.migrations(node) {
                        migrations.exports.retain(|job| job.name != name);
                    }
                }
                ExportOutput::SendAuth | ExportOutput::CancelSnapshot | ExportOutput::PauseWrites => {}
            }
        }
        Ok(())
    }

    /// Nothing of the slots is served before the machine says that they are claimed again, or somebody else's.
    fn reclaim(&mut self, node: usize, slots: SlotRanges, revoked: Option<Revoked>) {
        let above_epoch = revoked.as_ref().map(|revoked| revoked.epoch_max);
        if let Some(migrations) = self.migrations(node) {
            migrations.reclaiming.push(Reclaim { slots: slots.clone(), revoked });
        }
        self.send_to_machine(node, vec![NodeMessage::Reclaim { slots, above_epoch }]);
    }

    fn connect_peer(&mut self, node: usize, name: JobName) -> Result<(), String> {
        let Some(job) = self.migrations(node).and_then(|migrations| migrations.export_mut(name)) else {
            return Ok(());
        };
        let target = job.target;
        let target = self.ids.get(&target).copied();
        let reachable = target.filter(|&target| {
            self.model(target).is_some()
                && !self.network.is_blocked(node, target)
                && !self.network.is_blocked(target, node)
        });
        let Some(target) = reachable else {
            return self.export_input(node, name, ExportInput::Unreachable("nobody there".to_owned()));
        };
        self.next_peer_link += 1;
        let number = self.next_peer_link;
        let peer = |node: usize| Peer { node, incarnation: self.incarnation(node) };
        let link =
            PeerLink { source: peer(node), target: peer(target), last_us: self.now_us, is_broken: false };
        self.peer_links.insert(number, link);
        if let Some(job) = self.migrations(node).and_then(|migrations| migrations.export_mut(name)) {
            job.link = Some(number);
        }
        self.export_input(node, name, ExportInput::Connected { sends_auth: false })
    }

    /// The child sees the keys as they are now, and they arrive in time.
    fn begin_snapshot(&mut self, node: usize, name: JobName) -> Result<(), String> {
        let Some(model) = self.model_mut(node) else { return Ok(()) };
        let keys = model.keys.clone();
        let Some(job) = model.migrations.export_mut(name) else { return Ok(()) };
        if job.machine.state() != ExportState::WaitingToSnapshot {
            return Ok(());
        }
        let (slots, link, target) = (job.slots.clone(), job.link, Some(job.target));
        self.come_to_step(name, Step::Snapshot, (self.id(node), target));
        self.export_input(node, name, ExportInput::SnapshotBegan)?;
        for (slot, writes) in keys.iter().filter(|(slot, _)| has(&slots, *slot)) {
            self.send_peer(link, node, PeerMessage::Keys { slot, writes: writes.clone() });
        }
        let takes_us = self.rng.below(SNAPSHOT_MAX_US);
        let incarnation = self.incarnation(node);
        self.queue.schedule(self.now_us + takes_us, Event::SnapshotSent { node, incarnation, name });
        Ok(())
    }

    pub(crate) fn snapshot_sent(&mut self, node: usize, name: JobName) -> Result<(), String> {
        self.export_input(node, name, ExportInput::SnapshotSent)?;
        self.send_changes(node, name);
        Ok(())
    }

    // The target

    fn import_input(&mut self, node: usize, name: JobName, input: ImportInput) -> Result<(), String> {
        let now = self.at();
        let Some(job) = self.migrations(node).and_then(|migrations| migrations.import_mut(name)) else {
            return Ok(());
        };
        let mut outputs = Vec::new();
        job.machine.handle(now, input, &mut outputs);
        self.carry_out_import(node, name, outputs)
    }

    fn carry_out_import(
        &mut self,
        node: usize,
        name: JobName,
        outputs: Vec<ImportOutput>,
    ) -> Result<(), String> {
        for output in outputs {
            let Some(model) = self.model_mut(node) else { return Ok(()) };
            let Some(job) = model.migrations.import_mut(name) else { return Ok(()) };
            let (link, slots, source) = (job.link, job.slots.clone(), job.source);
            match output {
                ImportOutput::Send(message) => {
                    self.note(|| format!("n{node} import {name:?}: {message:?}"));
                    self.note_step(node, name, message, (source, None));
                    self.send_peer(link, node, PeerMessage::Link(message));
                    self.maybe_crash_in_migration(node);
                }
                ImportOutput::WaitForReplicas => {}
                ImportOutput::AgreeOnEpoch { above } => {
                    self.next_epoch_ticket += 1;
                    let ticket = self.next_epoch_ticket;
                    let job = self.migrations(node).and_then(|migrations| migrations.import_mut(name));
                    if let Some(job) = job {
                        job.epoch_ticket = ticket;
                    }
                    let Some(source) = source else { continue };
                    let message = NodeMessage::AgreeOnEpoch { ticket, above, source, slots };
                    self.send_to_machine(node, vec![message]);
                }
                ImportOutput::Claim { epoch, epoch_max } => {
                    let Some(from) = source else { continue };
                    let ticket =
                        self.command(node, ClusterCommand::TakeSlots { slots, from, epoch, epoch_max })?;
                    self.come_to_step(name, Step::Claim, (Some(from), self.id(node)));
                    let incarnation = self.incarnation(node);
                    self.claims.insert((node, incarnation, ticket), (name, epoch_max));
                }
                ImportOutput::CleanUp => {
                    model.change_keys().drop_slots(&slots);
                    self.import_input(node, name, ImportInput::CleanedUp)?;
                }
                ImportOutput::CleanUpOthers => {
                    if let Some(view) = model.view.clone() {
                        let others = slots.iter().filter(|&slot| !view.owns(slot)).collect();
                        model.change_keys().drop_slots(&others);
                    }
                }
                ImportOutput::Close => {
                    job.link = None;
                    self.close_peer(link, node);
                }
                ImportOutput::Ended(outcome, reason) => {
                    model.change_keys().marks.remove(&name);
                    model.migrations.imports.retain(|job| job.name != name);
                    model.migrations.past.push((name, outcome));
                    self.note(|| format!("n{node} import {name:?}: {outcome:?} {reason}"));
                }
            }
        }
        Ok(())
    }

    /// The machine may have answered a claim; what follows comes after the view that the answer comes after.
    pub(crate) fn answer_claims(&mut self, node: usize) -> Result<(), String> {
        let incarnation = self.incarnation(node);
        let answered: Vec<_> = self
            .claims
            .iter()
            .filter(|((at, life, ticket), _)| {
                *at == node && *life == incarnation && self.reply(node, *ticket).is_some()
            })
            .map(|(&key, &(name, epoch_max))| (key, name, epoch_max))
            .collect();
        for (key, name, epoch_max) in answered {
            self.claims.remove(&key);
            let is_good = self.reply(node, key.2) == Some(true);
            if is_good {
                self.restrict_safe_writes(node, name);
                let source = self.migrations(node).and_then(|migrations| migrations.import_mut(name)?.source);
                self.come_to_step(name, Step::Claimed, (source, self.id(node)));
            }
            let is_old = self
                .reply_of(node, key.2)
                .is_some_and(|reply| reply.as_ref().is_err_and(|reason| reason.starts_with(EPOCH_IS_OLD)));
            let input = match is_good {
                true => ImportInput::Claimed(Ok(())),
                false if is_old => ImportInput::EpochIsOld { epoch_max },
                false => ImportInput::Claimed(Err("refused".to_owned())),
            };
            self.import_input(node, name, input)?;
        }
        Ok(())
    }

    fn has_replicas_in_step(&self, node: usize, slots: &SlotRanges) -> bool {
        let Some(model) = self.model(node) else { return false };
        self.followers_of(node).into_iter().all(|replica| {
            let keys = self.keys_of(replica);
            let held = |slot: u16| keys.and_then(|keys| keys.get(slot));
            model.keys.iter().filter(|(slot, _)| has(slots, *slot)).all(|(slot, writes)| {
                held(slot).is_some_and(|held| Arc::ptr_eq(held, writes) || writes.is_subset(held))
            })
        })
    }

    // Time and views

    /// The executor's cron, for migrations.
    pub(crate) fn tick_migrations(&mut self, node: usize) -> Result<(), String> {
        let now = self.at();
        let Some(migrations) = self.migrations(node) else { return Ok(()) };
        let exports: Vec<JobName> = migrations.exports.iter().map(|job| job.name).collect();
        let imports: Vec<JobName> = migrations.imports.iter().map(|job| job.name).collect();
        for name in exports {
            let mut outputs = Vec::new();
            if let Some(job) = self.migrations(node).and_then(|migrations| migrations.export_mut(name)) {
                job.machine.tick(now, &mut outputs);
            }
            self.carry_out_export(node, name, outputs)?;
            self.export_input(node, name, ExportInput::Waiting(0))?;
        }
        for name in imports {
            let mut outputs = Vec::new();
            let Some(job) = self.migrations(node).and_then(|migrations| migrations.import_mut(name)) else {
                continue;
            };
            job.machine.tick(now, &mut outputs);
            let slots = job.slots.clone();
            self.carry_out_import(node, name, outputs)?;
            if self.has_replicas_in_step(node, &slots) {
                self.import_input(node, name, ImportInput::ReplicasInStep)?;
            }
        }
        self.note_safe_writes(node);
        Ok(())
    }

    /// An executor has a new view.
    pub(crate) fn migrations_see_view(&mut self, node: usize) -> Result<(), String> {
        let Some(model) = self.model_mut(node) else { return Ok(()) };
        let Some(view) = model.view.clone() else { return Ok(()) };
        let agreed = std::mem::take(&mut model.migrations.agreed);
        let revoked = std::mem::take(&mut model.migrations.revoked);
        let is_primary = view.role == ViewRole::Primary && model.following.is_none();
        let followed = std::mem::replace(&mut model.followed, model.following);
        let is_first = !model.has_told_slots;
        if model.following != followed
            && let Some(primary) = model.following
        {
            let keys = model.keys.clone();
            self.restrict_to_new_replica(&view, primary, &keys);
        }
        self.tell_of_revoked(&view, revoked);
        self.tell_checkers(node, &view, is_first && is_primary, followed.filter(|_| is_primary));
        let Some(model) = self.model_mut(node) else { return Ok(()) };
        let inputs = model.migrations.view_for_exports(&view, is_primary);
        let mut import_inputs = Vec::new();
        for job in &model.migrations.imports {
            let source = job.source.and_then(|id| view.node_by_name(id.as_bytes())).map(|node| node.key);
            let owns_slots = job.slots.iter().all(|slot| view.owns(slot));
            let input = match job.machine.state() {
                ImportState::OccurringOnPrimary if is_primary => {
                    let owns_slots = job.slots.iter().any(|slot| view.owns(slot));
                    ImportInput::Promoted { owns_slots }
                }
                ImportState::OccurringOnPrimary | ImportState::Ended(_) => continue,
                _ if !is_primary => ImportInput::Demoted,
                ImportState::FailoverGranted if owns_slots => continue,
                _ if job.slots.iter().all(|slot| view.owners.get(slot) == source) => continue,
                _ => ImportInput::Abort("not the source's any more".to_owned()),
            };
            import_inputs.push((job.name, input));
        }
        for (ticket, epoch) in agreed {
            let jobs = self.migrations(node).map(|migrations| &migrations.imports);
            let job = jobs.and_then(|jobs| jobs.iter().find(|job| job.epoch_ticket == ticket));
            if let Some(name) = job.map(|job| job.name) {
                self.import_input(node, name, ImportInput::EpochAgreed(epoch))?;
            }
        }
        for (name, input) in inputs {
            self.export_input(node, name, input)?;
        }
        for (name, input) in import_inputs {
            self.import_input(node, name, input)?;
        }
        if let Some(model) = self.model_mut(node)
            && !std::mem::replace(&mut model.has_told_slots, true)
        {
            let slots_with_keys = Box::new(model.keys.slots());
            self.send_to_machine(node, vec![NodeMessage::Loaded { slots_with_keys }]);
        }
        Ok(())
    }

    /// A message of a migration is sent. The end that is not named is this node.
    fn note_step(
        &mut self,
        node: usize,
        name: JobName,
        message: LinkMessage,
        ends: (Option<NodeId>, Option<NodeId>),
    ) {
        if let Some(step) = Step::of_message(message) {
            let me = self.id(node);
            self.come_to_step(name, step, (ends.0.or(me), ends.1.or(me)));
        }
    }

    /// At any step of the protocol either side may die, if the scenario wants that.
    fn maybe_crash_in_migration(&mut self, node: usize) {
        let chance = self.crash_in_migration_percent();
        if self.faults_are_over || !self.rng.chance(chance, 100) {
            return;
        }
        let incarnation = self.incarnation(node);
        // After what has been sent has left, and before it has an effect.
        let at_us = self.now_us + self.rng.below(3000);
        let down_us = 10_000 + self.rng.below(4_000_000);
        self.queue.schedule(at_us, Event::CrashInMigration { node, incarnation, down_us });
    }

    /// The machine has answered something.
    pub(crate) fn answered(&mut self, node: usize, incarnation: u32) -> Result<(), String> {
        if !self.is_alive(node, incarnation) {
            return Ok(());
        }
        let now_us = self.now_us;
        if self.model(node).is_some_and(|model| !model.can_work(now_us)) {
            self.queue.schedule(now_us + 50_000, Event::Answered { node, incarnation });
            return Ok(());
        }
        self.migrations_see_view(node)?;
        self.answer_claims(node)
    }
}
