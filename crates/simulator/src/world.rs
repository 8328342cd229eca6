//! Nodes, network and time: carries out what machines want, and what faults do.

use crate::checkers::{Checkers, SafeWrites, check_healed};
use crate::disk::Disk;
use crate::faults::{Fault, TimedFault};
use crate::keys::Keys;
use crate::network::{End, Network, Quality};
use crate::node_model::NodeModel;
use crate::peers::{PeerLink, PeerMessage};
use crate::queue::Queue;
use crate::scenario::{Formation, Scenario};
use crate::steps::StepFault;
use shoal_cluster::messages::{Body, Message};
use shoal_cluster::nodes_conf::NodesConf;
use shoal_cluster::slot_migration::JobName;
use shoal_cluster::wire::{self, LIGHT_VERSION};
use shoal_cluster::{
    ClusterCommand, ClusterConfig, ClusterMachine, ClusterView, CommandResult, Input, LinkId, MachineMessage,
    NodeId, NodeMessage, Output,
};
use shoal_machine::{Machine, Monotonic, Now, Rng};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

/// The client port of every node; they differ by address.
pub(crate) const PORT: u16 = 6379;
/// The wall clock starts here.
const EPOCH_US: u64 = 1_700_000_000_000_000;
/// The executor's cron.
const TICK_US: u64 = 100_000;
/// Clients try a write this often.
const WRITE_US: u64 = 20_000;
/// A connection that nobody answers is given up after this.
const CONNECT_TIMEOUT_US: u64 = 2_000_000;

/// Something that happens at a time. Events of a node's earlier life are dropped.
#[derive(Debug)]
pub(crate) enum Event {
    /// A machine's timer.
    Timer { node: usize, incarnation: u32, at_us: u64 },
    /// Something reaches a machine.
    Input { node: usize, incarnation: u32, input: Input },
    /// A connection attempt reaches its target.
    Connecting { from: End, target: usize },
    /// A message of the machine reaches its executor.
    ToNode { node: usize, incarnation: u32, message: MachineMessage },
    /// nodes.conf is written.
    Written { node: usize, incarnation: u32, ticket: u64 },
    /// The executor's cron.
    Tick { node: usize, incarnation: u32 },
    /// Something arrives at an executor from another one.
    Peer { link: u64, to_target: bool, message: PeerMessage },
    /// The child that writes the keys of a migration has ended.
    SnapshotSent { node: usize, incarnation: u32, name: JobName },
    /// The machine has answered a command: an executor may wait for that.
    Answered { node: usize, incarnation: u32 },
    /// A node dies in the midst of a migration.
    CrashInMigration { node: usize, incarnation: u32, down_us: u64 },
    /// Clients try a write.
    Write,
    /// A fault begins.
    Fault(Fault),
    /// A node starts again.
    Restart { node: usize },
    /// A partition ends.
    PartitionEnds(Fault),
    /// A storm ends.
    StormEnds,
    /// [`World::run_until`] has reached its time.
    Stop,
}

struct SimulatedNode {
    machine: Option<ClusterMachine>,
    incarnation: u32,
    model: Option<NodeModel>,
    disk: Disk,
    config: Arc<ClusterConfig>,
    clock_skew_us: u64,
    timer_us: Option<u64>,
    /// Messages between the two threads keep their order.
    last_to_node_us: u64,
    last_to_machine_us: u64,
    accepted: u64,
    dies_after_vote_ms: Option<u64>,
    last_offset: u64,
    last_keys: Keys,
    /// What its executor worked by when it died, and whom it followed.
    last_view: Option<Arc<ClusterView>>,
    last_followed: Option<NodeId>,
    replies: BTreeMap<u64, CommandResult>,
}

/// Counts of what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub events: u64,
    pub messages: u64,
    pub bytes: u64,
    pub votes: u64,
    pub promotions: u64,
    pub failures: u64,
    pub crashes: u64,
    pub acknowledged: u64,
    pub suspicions: u64,
    pub longest_outage_us: u64,
    pub migrations_begun: u64,
    pub migrations_done: u64,
}

/// See the module's comment.
pub(crate) struct World {
    pub now_us: u64,
    pub counts: Counts,
    pub log: Option<String>,
    /// The bytes of messages are counted, as if nothing had changed on their links since the last one.
    pub counts_bytes: bool,
    pub scenario: Scenario,
    pub rng: Rng,
    pub queue: Queue<Event>,
    pub network: Network,
    nodes: Vec<SimulatedNode>,
    pub ids: BTreeMap<NodeId, usize>,
    pub checkers: Checkers,
    outputs: Vec<Output>,
    next_ticket: u64,
    pub faults_are_over: bool,
    pub peer_links: BTreeMap<u64, PeerLink>,
    pub next_peer_link: u64,
    pub next_epoch_ticket: u64,
    /// Claims of slots that the machines have not answered, by node, life and ticket, with the greatest epoch allowed.
    pub claims: BTreeMap<(usize, u32, u64), (JobName, u64)>,
    pub safe_writes: SafeWrites,
    /// Nodes that an operator forces to take the place of their primaries.
    pub forced: BTreeSet<usize>,
    /// A fault that waits for its step.
    pub step_fault: Option<StepFault>,
    /// When a write to each share of the slots was last acknowledged.
    last_write_us: Vec<u64>,
}

impl World {
    pub(crate) fn new(seed: u64, scenario: &Scenario, keeps_log: bool) -> Self {
        let mut rng = Rng::new(seed);
        let saved = match scenario.formation {
            Formation::Ready => crate::scenario::ready_configurations(scenario, &mut rng),
            Formation::Commands => vec![None; scenario.nodes()],
        };
        let nodes = saved
            .into_iter()
            .map(|saved| SimulatedNode {
                machine: None,
                incarnation: 0,
                model: None,
                disk: Disk::holding(saved),
                config: Arc::new(ClusterConfig { port: PORT, ..scenario.config.clone() }),
                clock_skew_us: rng.below(400_000),
                timer_us: None,
                last_to_node_us: 0,
                last_to_machine_us: 0,
                accepted: 0,
                dies_after_vote_ms: None,
                last_offset: 1,
                last_keys: Keys::default(),
                last_view: None,
                last_followed: None,
                replies: BTreeMap::new(),
            })
            .collect();
        let mut world = Self {
            now_us: 1_000_000,
            counts: Counts::default(),
            log: keeps_log.then(String::new),
            counts_bytes: false,
            scenario: scenario.clone(),
            rng,
            queue: Queue::new(),
            network: Network::new(),
            nodes,
            ids: BTreeMap::new(),
            checkers: Checkers::default(),
            outputs: Vec::new(),
            next_ticket: 0,
            faults_are_over: false,
            peer_links: BTreeMap::new(),
            next_peer_link: 0,
            next_epoch_ticket: 0,
            claims: BTreeMap::new(),
            safe_writes: SafeWrites::default(),
            forced: BTreeSet::new(),
            step_fault: scenario.step_fault,
            last_write_us: Vec::new(),
        };
        world.queue.schedule(world.now_us + WRITE_US, Event::Write);
        world
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            let _ = writeln!(log, "{:>12.6} {}", self.now_us as f64 / 1e6, text());
        }
    }

    /// Runs until the time, or until a checker objects.
    pub(crate) fn run_until(&mut self, until_us: u64) -> Result<(), String> {
        self.queue.schedule(until_us, Event::Stop);
        while let Some((at_us, event)) = self.queue.pop() {
            self.now_us = self.now_us.max(at_us);
            self.counts.events += 1;
            if matches!(event, Event::Stop) {
                break;
            }
            self.happen(event)?;
        }
        Ok(())
    }

    /// Runs until the cluster is as it should be; the error says what was not when time was over.
    pub(crate) fn run_until_healed(&mut self, within_ms: u64) -> Result<(), String> {
        let deadline_us = self.now_us + within_ms * 1000;
        loop {
            let result = check_healed(self.nodes.iter().map(|node| node.model.as_ref()).enumerate());
            match result {
                Ok(()) => return Ok(()),
                Err(text) if self.now_us >= deadline_us => return Err(format!("not healed: {text}")),
                Err(_) => self.run_until(self.now_us + 500_000)?,
            }
        }
    }

    /// From now on the time without writes counts.
    pub(crate) fn watch_writes(&mut self) {
        self.last_write_us = vec![self.now_us; self.scenario.primaries];
        self.counts =
            Counts { events: self.counts.events, messages: self.counts.messages, ..Counts::default() };
    }

    pub(crate) fn schedule_faults(&mut self, faults: &[TimedFault]) {
        for fault in faults {
            self.queue.schedule(self.now_us + fault.at_ms * 1000, Event::Fault(fault.fault.clone()));
        }
    }

    pub(crate) fn set_quality(&mut self, quality: Quality) {
        self.network.quality = quality;
    }

    /// All faults end: partitions, storms, hangs; nodes that are down start.
    pub(crate) fn end_faults(&mut self) -> Result<(), String> {
        self.note(|| "all faults end".to_owned());
        self.faults_are_over = true;
        self.network.heal();
        for index in 0..self.nodes.len() {
            self.nodes[index].dies_after_vote_ms = None;
            let now_us = self.now_us;
            if let Some(model) = &mut self.nodes[index].model {
                model.hung_until_us = model.hung_until_us.min(now_us);
                model.busy_until_us = model.busy_until_us.min(now_us);
            }
            self.start(index)?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Timer { node, incarnation, at_us } => {
                if self.is_alive(node, incarnation) && self.nodes[node].timer_us == Some(at_us) {
                    self.nodes[node].timer_us = None;
                    return self.step(node, None);
                }
                Ok(())
            }
            Event::Input { node, incarnation, input } => {
                if self.is_alive(node, incarnation) {
                    self.step(node, Some(input))
                } else {
                    Ok(())
                }
            }
            Event::Connecting { from, target } => {
                self.connecting(from, target);
                Ok(())
            }
            Event::ToNode { node, incarnation, message } => {
                let now_us = self.now_us;
                let mut replies = Vec::new();
                if self.is_alive(node, incarnation)
                    && let Some(model) = &mut self.nodes[node].model
                {
                    model.receive(now_us, message, &mut replies);
                }
                self.send_to_machine(node, replies);
                if self.is_moving() && self.is_alive(node, incarnation) {
                    self.migrations_see_view(node)
                } else {
                    Ok(())
                }
            }
            Event::Written { node, incarnation, ticket } => {
                if self.is_alive(node, incarnation) && self.nodes[node].disk.finish(ticket) {
                    return self.step(node, Some(Input::Persisted { ticket }));
                }
                Ok(())
            }
            Event::Tick { node, incarnation } => self.tick(node, incarnation),
            Event::Write => self.write(),
            Event::Fault(fault) => self.fault(fault),
            Event::Restart { node } => self.start(node),
            Event::PartitionEnds(fault) => {
                self.partition(&fault, false);
                Ok(())
            }
            Event::StormEnds => {
                if !self.faults_are_over {
                    self.network.quality = Quality::of(&self.scenario.rates);
                }
                Ok(())
            }
            Event::Stop => Ok(()),
            event => self.happen_in_migration(event),
        }
    }

    fn happen_in_migration(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Peer { link, to_target, message } => self.peer_message(link, to_target, message),
            Event::SnapshotSent { node, incarnation, name } if self.is_alive(node, incarnation) => {
                self.snapshot_sent(node, name)
            }
            Event::SnapshotSent { .. } => Ok(()),
            Event::Answered { node, incarnation } => self.answered(node, incarnation),
            Event::CrashInMigration { node, incarnation, down_us } => {
                if self.is_alive(node, incarnation) && !self.faults_are_over {
                    self.crash(node, true);
                    self.queue.schedule(self.now_us + down_us, Event::Restart { node });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn is_alive(&self, node: usize, incarnation: u32) -> bool {
        let node = &self.nodes[node];
        node.incarnation == incarnation && node.machine.is_some()
    }

    fn now(&self, node: usize) -> Now {
        Now::new(Monotonic(self.now_us), EPOCH_US + self.now_us + self.nodes[node].clock_skew_us)
    }

    /// Starts a node from its disk, if it is down.
    pub(crate) fn start(&mut self, index: usize) -> Result<(), String> {
        if self.nodes[index].machine.is_some() {
            return Ok(());
        }
        let text = self.nodes[index].disk.text(self.scenario.sabotage);
        let saved = match text.as_deref().map(NodesConf::parse).transpose() {
            Ok(saved) => saved.flatten(),
            Err(error) => return Err(format!("n{index} cannot read its own nodes.conf: {error}")),
        };
        let now = self.now(index);
        let seed = self.rng.fork();
        let node = &mut self.nodes[index];
        let machine = ClusterMachine::new(now, seed, node.config.clone(), saved.as_ref());
        self.ids.insert(machine.id(), index);
        node.machine = Some(machine);
        node.incarnation += 1;
        node.timer_us = None;
        let keys = std::mem::take(&mut node.last_keys);
        node.model = Some(NodeModel::starting(self.now_us, node.last_offset, keys));
        let incarnation = node.incarnation;
        let first_tick_us = self.now_us + self.rng.below(TICK_US);
        self.queue.schedule(first_tick_us, Event::Tick { node: index, incarnation });
        self.note(|| format!("n{index} starts"));
        self.step(index, None)
    }

    pub(crate) fn crash(&mut self, index: usize, noticed: bool) {
        let node = &mut self.nodes[index];
        if node.machine.take().is_none() {
            return;
        }
        if let Some(model) = node.model.take() {
            (node.last_offset, node.last_keys) = (model.offset, model.keys);
            (node.last_view, node.last_followed) = (model.view, model.following);
        }
        self.forced.remove(&index);
        node.disk.crash(&mut self.rng);
        self.counts.crashes += 1;
        self.checkers.on_crash(index);
        self.break_links_of(index);
        self.note(|| format!("n{index} crashes"));
        for peer in self.network.close_all(index) {
            if noticed && !self.network.is_blocked(index, peer.node) {
                let at_us = self.now_us + self.network.delay_us(&mut self.rng);
                self.tell_closed(at_us, peer);
            }
        }
    }

    fn tell_closed(&mut self, at_us: u64, end: End) {
        let input = Input::LinkClosed { link: end.link, over_limit: false };
        self.queue.schedule(at_us, Event::Input { node: end.node, incarnation: end.incarnation, input });
    }

    /// Gives a machine an input, or lets its timers run, and carries out what it wants.
    fn step(&mut self, index: usize, input: Option<Input>) -> Result<(), String> {
        let now = self.now(index);
        let mut outputs = std::mem::take(&mut self.outputs);
        let Some(machine) = &mut self.nodes[index].machine else { return Ok(()) };
        let before = machine.current_epoch();
        match input {
            Some(input) => machine.handle(now, input, &mut outputs),
            None => machine.handle_timers(now, &mut outputs),
        }
        let after = machine.current_epoch();
        let deadline_us = machine.next_deadline().map(|at| at.0.max(self.now_us));
        if after < before {
            return Err(format!("epochs never fall: n{index} went from {before} to {after}"));
        }
        if let Some(at_us) = deadline_us
            && self.nodes[index].timer_us.is_none_or(|set_us| at_us < set_us)
        {
            self.nodes[index].timer_us = Some(at_us);
            let incarnation = self.nodes[index].incarnation;
            self.queue.schedule(at_us, Event::Timer { node: index, incarnation, at_us });
        }
        let incarnation = self.nodes[index].incarnation;
        for output in outputs.drain(..) {
            // A crash in the midst of the outputs keeps the rest from happening.
            if self.is_alive(index, incarnation) {
                self.carry_out(index, output)?;
            }
        }
        self.outputs = outputs;
        Ok(())
    }

    fn carry_out(&mut self, index: usize, output: Output) -> Result<(), String> {
        let incarnation = self.nodes[index].incarnation;
        match output {
            Output::Connect { link, host, .. } => {
                let from = End { node: index, incarnation, link };
                self.connect(from, &host);
            }
            Output::Close { link } => self.close_link(index, link),
            Output::Send { link, message } => self.send(index, link, &message)?,
            Output::Persist { ticket, contents, .. } => {
                self.nodes[index].disk.write(ticket, contents);
                let slow = self.rng.chance(1, 50);
                let takes_us = 100 + self.rng.below(if slow { 300_000 } else { 8000 });
                let event = Event::Written { node: index, incarnation, ticket };
                self.queue.schedule(self.now_us + takes_us, event);
            }
            Output::ToNode(message) => {
                let at_us = self.now_us + self.thread_delay_us();
                let node = &mut self.nodes[index];
                node.last_to_node_us = node.last_to_node_us.max(at_us);
                let at_us = node.last_to_node_us;
                self.queue.schedule(at_us, Event::ToNode { node: index, incarnation, message });
            }
            Output::CommandReply { ticket, result } => {
                self.note(|| format!("n{index} answers a command: {result:?}"));
                self.note_reply(index, ticket, result);
            }
            Output::Log { text, .. } => {
                self.note_log(index, &text);
            }
            Output::Fatal { text } => return Err(format!("n{index}: {text}")),
        }
        Ok(())
    }

    /// A machine logs something.
    fn note_log(&mut self, index: usize, text: &str) {
        self.counts.promotions += u64::from(text.starts_with("Failover election won"));
        self.counts.failures += u64::from(text.starts_with("Marking node"));
        self.counts.suspicions += u64::from(text.starts_with("*** NODE"));
        let parted =
            text.strip_prefix("WARNING: configEpoch collision").and_then(|rest| rest.rsplit(' ').next());
        if let Some(epoch) = parted.and_then(|epoch| epoch.parse().ok()) {
            self.checkers.on_collision(epoch);
        }
        self.note_force(index, text);
        self.note(|| format!("n{index} # {text}"));
    }

    fn send(&mut self, index: usize, link: LinkId, message: &Arc<Message>) -> Result<(), String> {
        self.counts.messages += 1;
        if self.counts_bytes {
            let is_light = message.header.shoal_version >= LIGHT_VERSION;
            self.counts.bytes += wire::length(message, is_light) as u64;
        }
        let arrivals = self.network.carry(self.now_us, index, link, &mut self.rng);
        let receiver = self.network.peer(index, link).map(|peer| peer.node);
        let applied = self.nodes[index].model.as_ref().and_then(|model| model.view.clone());
        let kind = shoal_cluster::messages::MESSAGE_TYPE_NAMES[usize::from(message.body.type_number())];
        self.note(|| {
            let header = &message.header;
            let lost = if arrivals.is_empty() { " (lost)" } else { "" };
            let (epoch, config_epoch) = (header.current_epoch, header.config_epoch);
            format!("n{index} -> {receiver:?} {kind} epoch {epoch} config {config_epoch}{lost}")
        });
        let model = self.nodes[index].model.as_ref();
        let is_held = |slot| model.is_some_and(|model| model.migrations.holds(slot));
        self.checkers.on_send(index, receiver, message, applied.as_deref(), &is_held)?;
        for (at_us, end) in arrivals {
            let input = Input::Message { link: end.link, message: message.clone() };
            let event = Event::Input { node: end.node, incarnation: end.incarnation, input };
            self.queue.schedule(at_us, event);
        }
        if message.body == Body::AuthAck {
            self.counts.votes += 1;
            if let Some(down_ms) = self.nodes[index].dies_after_vote_ms.take() {
                self.crash(index, true);
                self.queue.schedule(self.now_us + down_ms * 1000, Event::Restart { node: index });
            }
        }
        Ok(())
    }

    fn close_link(&mut self, index: usize, link: LinkId) {
        if let Some((last_us, peer)) = self.network.close(index, link)
            && !self.network.is_blocked(index, peer.node)
        {
            let at_us = last_us.max(self.now_us + self.network.delay_us(&mut self.rng));
            self.tell_closed(at_us, peer);
        }
    }

    fn note_reply(&mut self, index: usize, ticket: u64, result: CommandResult) {
        let is_moving = self.is_moving();
        let node = &mut self.nodes[index];
        node.replies.insert(ticket, result);
        if is_moving {
            // It comes after the views that came before it.
            let (incarnation, at_us) = (node.incarnation, node.last_to_node_us.max(self.now_us));
            self.queue.schedule(at_us, Event::Answered { node: index, incarnation });
        }
    }

    /// Threads answer fast, mostly.
    fn thread_delay_us(&mut self) -> u64 {
        let slow = self.rng.chance(1, 20);
        self.rng.below(if slow { 20_000 } else { 200 })
    }

    pub(crate) fn send_to_machine(&mut self, index: usize, messages: Vec<NodeMessage>) {
        let incarnation = self.nodes[index].incarnation;
        for message in messages {
            let at_us = self.now_us + self.thread_delay_us();
            let node = &mut self.nodes[index];
            node.last_to_machine_us = node.last_to_machine_us.max(at_us);
            let event = Event::Input { node: index, incarnation, input: Input::FromNode(message) };
            let at_us = node.last_to_machine_us;
            self.queue.schedule(at_us, event);
        }
    }

    fn connect(&mut self, from: End, host: &str) {
        let target = host.strip_prefix("10.0.0.").and_then(|number| number.parse::<usize>().ok());
        let target =
            target.filter(|&target| (1..=self.nodes.len()).contains(&target)).map(|target| target - 1);
        let delay_us = self.network.delay_us(&mut self.rng);
        let refused = self.rng.chance(self.network.quality.refused_ppm, 1_000_000);
        match target {
            Some(target) if !refused => {
                if self.network.is_blocked(from.node, target) || self.network.is_blocked(target, from.node) {
                    self.refuse(self.now_us + CONNECT_TIMEOUT_US, from, false);
                } else {
                    self.queue.schedule(self.now_us + delay_us, Event::Connecting { from, target });
                }
            }
            _ => self.refuse(self.now_us + delay_us, from, true),
        }
    }

    fn refuse(&mut self, at_us: u64, from: End, by_peer: bool) {
        let input = Input::LinkRefused { link: from.link, by_peer };
        self.queue.schedule(at_us, Event::Input { node: from.node, incarnation: from.incarnation, input });
    }

    fn connecting(&mut self, from: End, target: usize) {
        let back_us = self.now_us + self.network.delay_us(&mut self.rng);
        if self.nodes[target].machine.is_none() || !self.is_alive(from.node, from.incarnation) {
            self.refuse(back_us, from, true);
            return;
        }
        let node = &mut self.nodes[target];
        node.accepted += 1;
        let (incarnation, link) = (node.incarnation, LinkId::accepted(node.accepted));
        self.network.join(from, End { node: target, incarnation, link });
        let input = Input::Accepted { link, peer: address(from.node), local: address(target) };
        self.queue.schedule(self.now_us, Event::Input { node: target, incarnation, input });
        let input = Input::LinkOpened { link: from.link };
        let opened = Event::Input { node: from.node, incarnation: from.incarnation, input };
        self.queue.schedule(back_us, opened);
    }

    /// The executor's cron: replication, status, and the word of its shell while it is busy.
    fn tick(&mut self, index: usize, incarnation: u32) -> Result<(), String> {
        if !self.is_alive(index, incarnation) {
            return Ok(());
        }
        self.queue.schedule(self.now_us + TICK_US, Event::Tick { node: index, incarnation });
        let primary = self.primary_stream(index);
        let (now_us, is_moving) = (self.now_us, self.is_moving());
        let Some(model) = &mut self.nodes[index].model else { return Ok(()) };
        if now_us < model.hung_until_us {
            return Ok(());
        }
        if now_us < model.busy_until_us {
            self.send_to_machine(index, vec![NodeMessage::Progress]);
            return Ok(());
        }
        let mut replies = Vec::new();
        model.drain(now_us, &mut replies);
        model.replicate(now_us, primary);
        replies.extend(model.status(now_us));
        self.send_to_machine(index, replies);
        if is_moving {
            self.migrations_see_view(index)?;
            self.tick_migrations(index)?;
        }
        Ok(())
    }

    /// The offset of the primary a node's executor follows, and its keys, if it can be reached.
    fn primary_stream(&self, index: usize) -> Option<(u64, Keys)> {
        let primary = self.nodes[index].model.as_ref()?.following?;
        let primary = *self.ids.get(&primary)?;
        if self.network.is_blocked(index, primary) || self.network.is_blocked(primary, index) {
            return None;
        }
        let model = self.nodes[primary].model.as_ref()?;
        model.can_work(self.now_us).then(|| (model.offset, model.keys.clone()))
    }

    /// Clients send a write to every node that would take it.
    fn write(&mut self) -> Result<(), String> {
        self.queue.schedule(self.now_us + WRITE_US, Event::Write);
        let slot = self.rng.below(16384) as u16;
        // Few slots, so that all of them have keys.
        let slot = if self.is_moving() { slot & !0xff } else { slot };
        let mut servers = Vec::new();
        let is_moving = self.is_moving();
        for index in 0..self.nodes.len() {
            let Some(model) = &mut self.nodes[index].model else { continue };
            if !model.accepts_write(self.now_us, slot) {
                continue;
            }
            servers.push(index);
            model.acknowledge();
            if is_moving {
                let write = self.counts.acknowledged;
                model.keys.write(slot, write);
                self.note(|| format!("n{index} acknowledges write {write} to slot {slot}"));
                self.feed_exports(index, slot, write);
            }
            self.counts.acknowledged += 1;
            let share = usize::from(slot) * self.scenario.primaries / 16384;
            if let Some(last_us) = self.last_write_us.get_mut(share) {
                let outage_us = self.now_us - std::mem::replace(last_us, self.now_us);
                self.counts.longest_outage_us = self.counts.longest_outage_us.max(outage_us);
            }
            if let Some(view) = self.model(index).and_then(|model| model.view.clone()) {
                self.checkers.on_acknowledged(index, slot, &view)?;
            }
        }
        // Of runs without migrations the checker hears of no elections.
        if self.is_moving() { self.checkers.on_served(slot, &servers) } else { Ok(()) }
    }

    fn partition(&mut self, fault: &Fault, begins: bool) {
        let Fault::Partition { group, others, one_way, .. } = fault else { return };
        let all = || (0..self.nodes.len()).collect();
        let others = others.clone().unwrap_or_else(all);
        // When all faults are over the network is whole already.
        if begins || !self.faults_are_over {
            self.network.partition(group, &others, *one_way, begins);
        }
    }

    fn fault(&mut self, fault: Fault) -> Result<(), String> {
        self.note(|| format!("fault: {fault:?}"));
        let now_us = self.now_us;
        match fault {
            Fault::Crash { node, down_ms, noticed } => {
                self.crash(node, noticed);
                if let Some(down_ms) = down_ms {
                    self.queue.schedule(now_us + down_ms * 1000, Event::Restart { node });
                }
            }
            Fault::CrashAfterVote { node, down_ms } => self.nodes[node].dies_after_vote_ms = Some(down_ms),
            Fault::Partition { for_ms, .. } => {
                self.partition(&fault, true);
                self.queue.schedule(now_us + for_ms * 1000, Event::PartitionEnds(fault));
            }
            Fault::Hang { node, for_ms } => {
                if let Some(model) = &mut self.nodes[node].model {
                    model.hung_until_us = now_us + for_ms * 1000;
                }
            }
            Fault::LongCommand { node, for_ms } => {
                if let Some(model) = &mut self.nodes[node].model {
                    model.busy_until_us = now_us + for_ms * 1000;
                }
            }
            Fault::Storm { for_ms, loss_ppm, duplicates_ppm, refused_ppm, delay_ms } => {
                let max_delay_us = delay_ms * 1000;
                let quality = &mut self.network.quality;
                *quality = Quality { loss_ppm, duplicates_ppm, refused_ppm, max_delay_us, ..*quality };
                self.queue.schedule(now_us + for_ms * 1000, Event::StormEnds);
            }
            Fault::MigrateSlots { node } => self.migrate_slots(node)?,
            Fault::ManualFailover { node, kind } => {
                self.command(node, ClusterCommand::Failover { kind })?;
            }
        }
        Ok(())
    }

    /// Sends a command to a node; its reply comes to [`Self::reply`]. Nothing happens if the node is down.
    pub(crate) fn command(&mut self, node: usize, command: ClusterCommand) -> Result<u64, String> {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.step(node, Some(Input::Command { ticket, command }))?;
        Ok(ticket)
    }

    /// Whether a command has been answered, and well.
    pub(crate) fn reply(&self, node: usize, ticket: u64) -> Option<bool> {
        self.reply_of(node, ticket).map(Result::is_ok)
    }

    /// What a command has been answered.
    pub(crate) fn reply_of(&self, node: usize, ticket: u64) -> Option<&CommandResult> {
        self.nodes[node].replies.get(&ticket)
    }

    pub(crate) fn model(&self, node: usize) -> Option<&NodeModel> {
        self.nodes[node].model.as_ref()
    }

    pub(crate) fn model_mut(&mut self, node: usize) -> Option<&mut NodeModel> {
        self.nodes[node].model.as_mut()
    }

    pub(crate) fn incarnation(&self, node: usize) -> u32 {
        self.nodes[node].incarnation
    }

    /// What a node holds, or will hold when it starts.
    pub(crate) fn keys_of(&self, node: usize) -> Option<&Keys> {
        let node = self.nodes.get(node)?;
        Some(node.model.as_ref().map_or(&node.last_keys, |model| &model.keys))
    }

    /// By which view a node works, or will when it starts.
    pub(crate) fn last_view_of(&self, node: usize) -> Option<&ClusterView> {
        let node = self.nodes.get(node)?;
        let view = node.model.as_ref().and_then(|model| model.view.as_ref());
        view.or(node.last_view.as_ref()).map(|view| &**view)
    }

    /// Whom a node follows, or will when it starts.
    pub(crate) fn followed_by(&self, node: usize) -> Option<NodeId> {
        let node = self.nodes.get(node)?;
        match &node.model {
            Some(model) if model.view.is_some() => model.following,
            _ => node.last_followed,
        }
    }

    /// Whether slots move in this run.
    pub(crate) fn is_moving(&self) -> bool {
        self.scenario.rates.migrations > 0 || self.scenario.step_fault.is_some()
    }

    pub(crate) fn crash_in_migration_percent(&self) -> u64 {
        self.scenario.rates.crashes_in_migration
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn id(&self, node: usize) -> Option<NodeId> {
        self.nodes[node].machine.as_ref().map(ClusterMachine::id)
    }
}

/// The address of a node.
pub(crate) fn address(node: usize) -> Arc<str> {
    format!("10.0.0.{}", node + 1).into()
}
