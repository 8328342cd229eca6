//! Given this input, exactly these outputs.

mod addresses;
mod claims;
mod commands;
mod elections;
mod moving;

use super::*;
use crate::interface::{MachineMessage, NodeMessage, PrimaryLink};
use crate::messages::{Body, Extensions, Gossip, GossipEntry, Header, Message};
use crate::{
    ClusterCommand, ClusterView, CommandReply, FailoverKind, ResetKind, SlotSet, command::SetSlotAction,
};

/// One machine, and the rest of the cluster played by hand: node 0 is the machine, primaries come first.
struct Bench {
    machine: ClusterMachine,
    now_us: u64,
    ids: Vec<NodeId>,
    outputs: Vec<Output>,
    persists: bool,
    applies: bool,
}

const PRIMARIES: usize = 3;
const TIMEOUT_MS: u64 = 1000;

fn slots_of(primary: usize) -> SlotSet {
    (0..16384u16).filter(|slot| usize::from(*slot) % PRIMARIES == primary).collect()
}

impl Bench {
    /// A cluster of three primaries and three replicas; the machine is the node of this index (replica n+3 is of
    /// primary n). Links to all others are open.
    fn new(me: usize) -> Self {
        let ids: Vec<NodeId> = (0..6u8).map(|index| NodeId::parse(&[b'a' + index; 40]).unwrap()).collect();
        let mut text = String::new();
        for (index, id) in ids.iter().enumerate() {
            let is_primary = index < PRIMARIES;
            let role = if is_primary { "master" } else { "slave" };
            let myself = if index == me { "myself," } else { "" };
            let primary = if is_primary { "-".to_owned() } else { ids[index - PRIMARIES].to_string() };
            let slots = if is_primary { slots_of(index).ranges().to_string() } else { String::new() };
            text.push_str(&format!(
                "{id} 10.0.0.{index}:6379@16379 {myself}{role} {primary} 0 0 {} connected {slots}\n",
                index + 1
            ));
        }
        text.push_str("vars currentEpoch 6 lastVoteEpoch 0\n");
        let saved = NodesConf::parse(&text).unwrap();
        let config = ClusterConfig { node_timeout_ms: TIMEOUT_MS, ..ClusterConfig::default() };
        Self::start(config, saved.as_ref(), ids)
    }

    fn start(config: ClusterConfig, saved: Option<&NodesConf>, ids: Vec<NodeId>) -> Self {
        let now_us = 10_000_000;
        let now = Now::new(Monotonic(now_us), now_us);
        let machine = ClusterMachine::new(now, Rng::new(1), Arc::new(config), saved);
        let mut bench = Self { machine, now_us, ids, outputs: Vec::new(), persists: true, applies: true };
        bench.after(0);
        bench.open_links();
        bench
    }

    fn now(&self) -> Now {
        Now::new(Monotonic(self.now_us), self.now_us)
    }

    /// Gives an input, and answers Persist and View unless told not to. Returns all outputs.
    fn give(&mut self, input: Input) -> Vec<Output> {
        let mut all = Vec::new();
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut outputs = Vec::new();
            self.machine.handle(self.now(), input, &mut outputs);
            self.answers(&outputs, &mut inputs);
            all.extend(outputs);
        }
        self.outputs.extend(all.iter().cloned());
        all
    }

    fn answers(&self, outputs: &[Output], inputs: &mut Vec<Input>) {
        for output in outputs {
            match output {
                Output::Persist { ticket, .. } if self.persists => {
                    inputs.push(Input::Persisted { ticket: *ticket });
                }
                Output::ToNode(MachineMessage::View { view, .. }) if self.applies => {
                    inputs.push(Input::FromNode(NodeMessage::Applied { version: view.version }));
                }
                _ => {}
            }
        }
    }

    /// Lets time pass in steps of the machine's own deadlines; the executor makes progress meanwhile.
    fn after(&mut self, milliseconds: u64) -> Vec<Output> {
        let until_us = self.now_us + milliseconds * 1000;
        let mut all = Vec::new();
        while let Some(at) = self.machine.next_deadline().filter(|at| at.0 <= until_us) {
            self.now_us = self.now_us.max(at.0);
            let mut outputs = Vec::new();
            self.machine.handle_timers(self.now(), &mut outputs);
            let mut inputs = Vec::new();
            self.answers(&outputs, &mut inputs);
            all.append(&mut outputs);
            for input in inputs {
                all.extend(self.give(input));
            }
            all.extend(self.give(Input::FromNode(NodeMessage::Progress)));
        }
        self.now_us = self.now_us.max(until_us);
        self.outputs.extend(all.iter().cloned());
        all
    }

    /// Opens every link the machine asked for, and lets every peer answer its ping.
    fn open_links(&mut self) {
        let keys: Vec<NodeKey> = self.machine.table.keys();
        for key in keys {
            if let Some(link) = self.machine.table.get(key).and_then(|node| node.link) {
                self.give(Input::LinkOpened { link });
                self.machine.on_pong(key);
            }
        }
    }

    fn key(&self, node: usize) -> NodeKey {
        self.machine.table.find(&self.ids[node]).unwrap()
    }

    fn link(&self, node: usize) -> LinkId {
        self.machine.table.get(self.key(node)).unwrap().link.unwrap()
    }

    /// A header as `node` would send it.
    fn header(&self, node: usize) -> Header {
        let primary = node % PRIMARIES;
        Header {
            sender: self.ids[node],
            current_epoch: 6,
            config_epoch: primary as u64 + 1,
            replication_offset: 100,
            slots: Arc::new(slots_of(primary)),
            primary: (node >= PRIMARIES).then(|| self.ids[primary]),
            announced_host: None,
            port: 6379,
            other_port: 0,
            bus_port: 16379,
            flags: if node < PRIMARIES { NodeFlags::PRIMARY } else { NodeFlags::REPLICA },
            cluster_failed: false,
            paused: false,
            force_ack: false,
            extensions_understood: true,
            shoal_version: 1,
        }
    }

    fn receive(&mut self, node: usize, header: Header, body: Body) -> Vec<Output> {
        let link = self.link(node);
        self.give(Input::Message { link, message: Arc::new(Message { header, body }) })
    }

    fn pong(&mut self, node: usize) -> Vec<Output> {
        let header = self.header(node);
        self.receive(node, header, Body::Pong(Gossip::default()))
    }

    /// Reports that `reporter` cannot reach `about`.
    fn report(&mut self, reporter: usize, about: usize) -> Vec<Output> {
        let entry = GossipEntry {
            node: self.ids[about],
            ping_sent_s: 0,
            pong_received_s: 0,
            host: format!("10.0.0.{about}").into(),
            port: 6379,
            bus_port: 16379,
            flags: NodeFlags::PRIMARY | NodeFlags::SUSPECTED,
            other_port: 0,
        };
        let gossip = Gossip { entries: vec![entry], extensions: Extensions::default() };
        let header = self.header(reporter);
        self.receive(reporter, header, Body::Pong(gossip))
    }

    fn fail(&mut self, about: usize) -> Vec<Output> {
        let (header, node) = (self.header(1), self.ids[about]);
        self.receive(1, header, Body::Fail { node })
    }

    fn command(&mut self, command: ClusterCommand) -> Option<CommandResultText> {
        let outputs = self.give(Input::Command { ticket: 7, command });
        outputs.iter().find_map(|output| match output {
            Output::CommandReply { ticket: 7, result } => Some(match result {
                Ok(CommandReply::Ok) => Ok("OK".to_owned()),
                Ok(CommandReply::Text(text)) => Ok(text.clone()),
                Err(text) => Err(text.to_string()),
            }),
            _ => None,
        })
    }

    fn flags(&self, node: usize) -> NodeFlags {
        self.machine.table.get(self.key(node)).unwrap().flags
    }
}

type CommandResultText = Result<String, String>;

/// Message bodies by name with their receivers, in the order sent.
fn sent(bench: &Bench, outputs: &[Output]) -> Vec<(&'static str, usize)> {
    let receiver = |link: LinkId| {
        let key = bench.machine.links.get(&link).and_then(|link| link.node).unwrap();
        let id = bench.machine.table.get(key).unwrap().id;
        bench.ids.iter().position(|&other| other == id).unwrap()
    };
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send { link, message } => {
                let name = crate::messages::MESSAGE_TYPE_NAMES[usize::from(message.body.type_number())];
                Some((name, receiver(*link)))
            }
            _ => None,
        })
        .collect()
}

fn names(bench: &Bench, outputs: &[Output]) -> Vec<&'static str> {
    sent(bench, outputs).into_iter().map(|(name, _)| name).collect()
}

fn messages(outputs: &[Output]) -> Vec<Arc<Message>> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send { message, .. } => Some(message.clone()),
            _ => None,
        })
        .collect()
}

fn orders(outputs: &[Output]) -> Vec<NodeOrder> {
    outputs
        .iter()
        .flat_map(|output| match output {
            Output::ToNode(MachineMessage::View { orders, .. }) => orders.clone(),
            _ => Vec::new(),
        })
        .collect()
}

fn last_view(bench: &Bench) -> Arc<ClusterView> {
    let view = bench.outputs.iter().rev().find_map(|output| match output {
        Output::ToNode(MachineMessage::View { view, .. }) => Some(view.clone()),
        _ => None,
    });
    view.unwrap()
}

fn saves(outputs: &[Output]) -> Vec<u64> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Persist { ticket, .. } => Some(*ticket),
            _ => None,
        })
        .collect()
}

fn vote_request(bench: &Bench, replica: usize, epoch: u64) -> Header {
    Header { current_epoch: epoch, ..bench.header(replica) }
}

#[test]
fn a_vote_is_saved_before_it_is_sent() {
    let mut bench = Bench::new(0);
    bench.fail(2);
    bench.persists = false;
    let header = vote_request(&bench, 5, 7);
    let outputs = bench.receive(5, header, Body::AuthRequest);
    let [ticket] = saves(&outputs)[..] else { panic!("one save: {outputs:?}") };
    let Some(Output::Persist { contents, .. }) =
        outputs.iter().find(|output| matches!(output, Output::Persist { .. }))
    else {
        panic!()
    };
    assert_eq!((contents.current_epoch, contents.last_vote_epoch), (7, 7));
    assert_eq!(names(&bench, &outputs), Vec::<&str>::new(), "nothing is sent yet");
    let outputs = bench.give(Input::Persisted { ticket });
    assert_eq!(sent(&bench, &outputs), [("auth-ack", 5)]);
    assert_eq!(messages(&outputs)[0].header.current_epoch, 7);
}

#[test]
fn the_same_replica_may_be_voted_for_again_in_another_epoch() {
    let mut bench = Bench::new(0);
    bench.fail(2);
    let (key, replica, now) = (bench.key(2), bench.key(5), bench.now().monotonic);
    bench.machine.table.get_mut(key).unwrap().voted_at = Some((now, replica));
    let header = vote_request(&bench, 5, 7);
    let outputs = bench.receive(5, header, Body::AuthRequest);
    assert!(outputs.iter().any(|output| matches!(output, Output::Persist { .. })), "the vote is saved");
    assert_eq!(bench.machine.last_vote_epoch, 7);
}

#[test]
fn votes_are_refused() {
    type Change = fn(&mut Bench, &mut Header);
    let cases: [(&str, Change); 7] = [
        ("primary is up", |bench, _| {
            bench.machine.table.iter_mut().for_each(|(_, node)| node.flags.clear(NodeFlags::FAILED));
        }),
        ("old epoch", |_, header| header.current_epoch = 5),
        ("voted in this epoch", |bench, _| bench.machine.last_vote_epoch = 7),
        ("voted in a later epoch", |bench, _| bench.machine.last_vote_epoch = 8),
        ("old slots", |_, header| header.config_epoch = 2),
        ("just voted about this primary", |bench, _| {
            let (key, now) = (bench.key(2), bench.now().monotonic);
            bench.machine.table.get_mut(key).unwrap().voted_at = Some((now, key));
        }),
        ("we serve no slots", |bench, _| {
            let me = bench.machine.myself;
            bench.machine.table.release_slots(me);
        }),
    ];
    for (reason, change) in cases {
        let mut bench = Bench::new(0);
        bench.fail(2);
        let mut header = vote_request(&bench, 5, 7);
        change(&mut bench, &mut header);
        let outputs = bench.receive(5, header, Body::AuthRequest);
        assert!(!names(&bench, &outputs).contains(&"auth-ack"), "{reason}");
    }
    let mut bench = Bench::new(0);
    bench.fail(2);
    let (key, now) = (bench.key(2), bench.now().monotonic);
    bench.machine.table.get_mut(key).unwrap().voted_at = Some((now, key));
    bench.machine.table.set_primary(key, Some(bench.machine.myself));
    bench.machine.table.get_mut(key).unwrap().flags.clear(NodeFlags::PRIMARY);
    bench.machine.set_as_primary(key);
    assert_eq!(bench.machine.table.get(key).unwrap().voted_at, None, "it has been promoted since");
    let mut bench = Bench::new(0);
    bench.fail(2);
    let header = vote_request(&bench, 1, 7);
    let outputs = bench.receive(1, header, Body::AuthRequest);
    assert!(names(&bench, &outputs).is_empty(), "a primary gets no vote");
}

#[test]
fn a_forced_vote_needs_no_failed_primary_and_each_epoch_has_one() {
    let mut bench = Bench::new(0);
    let header = Header { force_ack: true, ..vote_request(&bench, 5, 7) };
    let outputs = bench.receive(5, header, Body::AuthRequest);
    assert_eq!(sent(&bench, &outputs), [("auth-ack", 5)]);
    let header = Header { force_ack: true, ..vote_request(&bench, 4, 7) };
    let outputs = bench.receive(4, header, Body::AuthRequest);
    assert!(names(&bench, &outputs).is_empty());
    let header = Header { force_ack: true, ..vote_request(&bench, 4, 8) };
    let outputs = bench.receive(4, header, Body::AuthRequest);
    assert_eq!(sent(&bench, &outputs), [("auth-ack", 4)]);
}

#[test]
fn suspicion_and_agreement_make_a_failure() {
    let mut bench = Bench::new(0);
    let link = bench.link(2);
    bench.give(Input::LinkClosed { link, over_limit: false });
    for _ in 0..11 {
        bench.after(100);
        for node in [1, 3, 4, 5] {
            bench.pong(node);
        }
    }
    assert!(bench.flags(2).has(NodeFlags::SUSPECTED), "one node-timeout without an answer");
    assert!(!bench.flags(2).has(NodeFlags::FAILED), "one of three is no majority");
    let outputs = bench.report(1, 2);
    assert!(bench.flags(2).has(NodeFlags::FAILED));
    let fails: Vec<(&str, usize)> =
        sent(&bench, &outputs).into_iter().filter(|&(name, _)| name == "fail").collect();
    assert_eq!(fails, [("fail", 1), ("fail", 3), ("fail", 4), ("fail", 5)]);
    assert!(!last_view(&bench).is_ok, "not all slots are served");
}

/// Breaks the link to a node, and has so many connections refused.
fn refuse(bench: &mut Bench, node: usize, count: usize, by_peer: bool) {
    let link = bench.link(node);
    bench.give(Input::LinkClosed { link, over_limit: false });
    for _ in 0..count {
        bench.after(100);
        let link = bench.link(node);
        bench.give(Input::LinkRefused { link, by_peer });
    }
}

#[test]
fn refusals_count_in_a_row() {
    let mut bench = Bench::new(0);
    for _ in 0..3 {
        refuse(&mut bench, 2, 1, true);
        bench.after(100);
        let link = bench.link(2);
        bench.give(Input::LinkOpened { link });
    }
    assert!(!bench.flags(2).has(NodeFlags::SUSPECTED), "it was restarted each time");
}

#[test]
fn only_death_is_noticed_at_once() {
    let suspected = |bench: &Bench| bench.flags(2).has(NodeFlags::SUSPECTED);
    let mut bench = Bench::new(0);
    refuse(&mut bench, 2, 2, true);
    assert!(suspected(&bench));
    assert!(!bench.flags(2).has(NodeFlags::FAILED), "that is for a majority to find");
    bench.report(1, 2);
    assert!(bench.flags(2).has(NodeFlags::FAILED));
    let mut bench = Bench::new(0);
    refuse(&mut bench, 2, 2, false);
    assert!(!suspected(&bench), "a node that cannot be reached may be alive");
    let mut bench = Bench::new(0);
    bench.fail(5);
    refuse(&mut bench, 2, 2, true);
    assert!(!suspected(&bench), "there is no replica to take its place");
    let mut bench = Bench::new(0);
    let config = ClusterConfig { fast_failure_detection: false, ..(*bench.machine.config).clone() };
    bench.give(Input::FromNode(NodeMessage::ConfigChanged(Arc::new(config))));
    refuse(&mut bench, 2, 2, true);
    assert!(!suspected(&bench), "it is switched off");
    let mut bench = Bench::new(0);
    let link = bench.link(2);
    bench.give(Input::LinkClosed { link, over_limit: true });
    bench.after(100);
    let link = bench.link(2);
    bench.give(Input::LinkRefused { link, by_peer: true });
    bench.after(100);
    let link = bench.link(2);
    bench.give(Input::LinkRefused { link, by_peer: true });
    assert!(!suspected(&bench), "we closed the link ourselves");
}

#[test]
fn reports_do_not_count_for_ever_nor_without_own_suspicion() {
    let mut bench = Bench::new(0);
    bench.report(1, 2);
    assert!(!bench.flags(2).has(NodeFlags::FAILED), "we reach it ourselves");
    let key = bench.key(2);
    assert_eq!(bench.machine.failure_reports(key), 1);
    bench.now_us += (2 * TIMEOUT_MS + 1) * 1000;
    bench.give(Input::FromNode(NodeMessage::Progress));
    assert_eq!(bench.machine.failure_reports(key), 0);
}

#[test]
fn a_silent_executor_silences_the_bus() {
    let mut bench = Bench::new(0);
    bench.applies = false;
    bench.now_us += (TIMEOUT_MS / 2 + 1) * 1000;
    let header = bench.header(1);
    let outputs = bench.receive(1, header, Body::Ping(Gossip::default()));
    assert!(names(&bench, &outputs).is_empty());
    let outputs = bench.give(Input::FromNode(NodeMessage::Progress));
    assert_eq!(sent(&bench, &outputs), [("pong", 1)], "the answer is late, but it comes");
    let header = bench.header(1);
    let outputs = bench.receive(1, header, Body::Ping(Gossip::default()));
    assert_eq!(sent(&bench, &outputs), [("pong", 1)]);
    assert!(bench.give(Input::FromNode(NodeMessage::Progress)).is_empty());
}

/// The status of a replica with this much data whose link to the primary has just broken.
fn just_cut_off(replication_offset: u64) -> NodeStatus {
    let primary_link = PrimaryLink::Down { since_ms: 0 };
    NodeStatus { replication_offset, primary_link, ..NodeStatus::default() }
}

/// A replica whose primary has failed, at the moment it asks for votes (which is not saved yet).
fn candidate() -> (Bench, u64) {
    let mut bench = Bench::new(3);
    let status = just_cut_off(100);
    bench.give(Input::FromNode(NodeMessage::Status(status)));
    bench.fail(0);
    bench.persists = false;
    let outputs = bench.after(1100);
    let tickets = saves(&outputs);
    assert!(!names(&bench, &outputs).contains(&"auth-req"), "the epoch is not saved");
    (bench, *tickets.last().unwrap())
}

#[test]
fn an_election_is_won_by_a_majority_of_distinct_voters() {
    let (mut bench, ticket) = candidate();
    // The first save may have been under way when the election began; the next one holds its epoch.
    let mut outputs = bench.give(Input::Persisted { ticket });
    if let Some(&next) = saves(&outputs).last() {
        outputs = bench.give(Input::Persisted { ticket: next });
    }
    let requests: Vec<(&str, usize)> =
        sent(&bench, &outputs).into_iter().filter(|&(name, _)| name == "auth-req").collect();
    let all = [0, 1, 2, 4, 5];
    assert_eq!(requests, all.map(|node| ("auth-req", node)));
    assert_eq!(messages(&outputs)[0].header.current_epoch, 7);

    let vote = |bench: &mut Bench, node, epoch| {
        let header = Header { current_epoch: epoch, ..bench.header(node) };
        bench.receive(node, header, Body::AuthAck)
    };
    assert!(orders(&vote(&mut bench, 1, 6)).is_empty(), "a vote of an older epoch");
    assert!(orders(&vote(&mut bench, 4, 7)).is_empty(), "a replica has no vote");
    assert!(orders(&vote(&mut bench, 1, 7)).is_empty(), "one of three");
    assert!(orders(&vote(&mut bench, 1, 7)).is_empty(), "the same voter again");
    bench.persists = true;
    if let Some(&ticket) = saves(&bench.outputs).last() {
        bench.give(Input::Persisted { ticket });
    }
    (bench.persists, bench.applies) = (false, false);
    let outputs = vote(&mut bench, 2, 7);
    assert_eq!(orders(&outputs), [NodeOrder::BecomePrimary]);
    let view = last_view(&bench);
    assert!(slots_of(0).iter().all(|slot| view.owns(slot)));
    assert!(names(&bench, &outputs).is_empty(), "not before it is saved and applied");

    let ticket = *saves(&outputs).last().unwrap();
    let outputs = bench.give(Input::Persisted { ticket });
    assert!(names(&bench, &outputs).is_empty(), "not before it is applied");
    let version = view.version;
    let outputs = bench.give(Input::FromNode(NodeMessage::Applied { version }));
    assert_eq!(sent(&bench, &outputs), all.map(|node| ("pong", node)));
    let header = &messages(&outputs)[0].header;
    assert_eq!((header.config_epoch, header.primary), (7, None));
    assert_eq!(*header.slots, slots_of(0));
}

#[test]
fn old_data_and_configuration_keep_from_election() {
    let stale = NodeStatus {
        replication_offset: 1,
        primary_link: PrimaryLink::Down { since_ms: 60_000 },
        ..NodeStatus::default()
    };
    let fresh = NodeStatus { primary_link: PrimaryLink::Down { since_ms: 0 }, ..stale };
    for (status, no_failover, stands) in [(fresh, false, true), (stale, false, false), (fresh, true, false)] {
        let mut bench = Bench::new(3);
        let mut config = (*bench.machine.config).clone();
        config.replica_no_failover = no_failover;
        bench.give(Input::FromNode(NodeMessage::ConfigChanged(Arc::new(config))));
        bench.give(Input::FromNode(NodeMessage::Status(status)));
        bench.fail(0);
        let outputs = bench.after(1100);
        assert_eq!(names(&bench, &outputs).contains(&"auth-req"), stands, "{status:?} {no_failover}");
    }
}

#[test]
fn a_replica_with_less_data_waits_longer() {
    let mut bench = Bench::new(3);
    // A second replica of the same primary is ahead.
    let header = Header { primary: Some(bench.ids[0]), replication_offset: 500, ..bench.header(4) };
    bench.receive(4, header, Body::Pong(Gossip::default()));
    bench.fail(0);
    let Election::Scheduled { at, rank, .. } = bench.machine.election else { panic!() };
    assert_eq!(rank, 1);
    let delay_ms = at.ms_since(bench.now().monotonic);
    assert!((1500..2000).contains(&delay_ms), "{delay_ms}");
}

#[test]
fn colliding_epochs_part() {
    for (other, changes) in [(1, true), (0, false)] {
        // Node 0 has the smaller name; the one with the smaller name moves.
        let mut bench = Bench::new(1 - other);
        let mine = bench.machine.me().config_epoch;
        let key = bench.key(other);
        bench.machine.table.get_mut(key).unwrap().config_epoch = mine;
        let header = Header { config_epoch: mine, ..bench.header(other) };
        bench.receive(other, header, Body::Pong(Gossip::default()));
        let after = bench.machine.me().config_epoch;
        assert_eq!(after, if changes { 7 } else { mine });
        assert_eq!(bench.machine.current_epoch, if changes { 7 } else { 6 });
    }
}

#[test]
fn a_deposed_primary_tells_its_executor_first() {
    let mut bench = Bench::new(0);
    bench.applies = false;
    let header = Header {
        primary: None,
        config_epoch: 7,
        current_epoch: 7,
        slots: Arc::new(slots_of(0)),
        ..bench.header(3)
    };
    let outputs = bench.receive(3, header, Body::Pong(Gossip::default()));
    let follow = NodeOrder::Follow { primary: bench.ids[3], host: "10.0.0.3".into(), port: 6379 };
    assert_eq!(orders(&outputs), [follow]);
    let version = last_view(&bench).version;
    // Until the executor has confirmed, messages still show the primary.
    let header = bench.header(1);
    let outputs = bench.receive(1, header, Body::Ping(Gossip::default()));
    assert_eq!(messages(&outputs)[0].header.primary, None);
    bench.give(Input::FromNode(NodeMessage::Applied { version }));
    let header = bench.header(1);
    let outputs = bench.receive(1, header, Body::Ping(Gossip::default()));
    assert_eq!(messages(&outputs)[0].header.primary, Some(bench.ids[3]));
}

#[test]
fn a_lost_slot_is_dropped_and_old_claims_are_answered() {
    let mut bench = Bench::new(0);
    let mut slots = slots_of(1);
    slots.insert(0);
    let header = Header { config_epoch: 9, current_epoch: 9, slots: Arc::new(slots), ..bench.header(1) };
    let outputs = bench.receive(1, header, Body::Pong(Gossip::default()));
    assert_eq!(orders(&outputs), [NodeOrder::HideSlots { slots: [0].into_iter().collect() }]);
    // Node 2 still thinks that slot 0 is its own, with an older epoch.
    let mut slots = slots_of(2);
    slots.insert(0);
    let header = Header { slots: Arc::new(slots), ..bench.header(2) };
    let outputs = bench.receive(2, header, Body::Pong(Gossip::default()));
    assert_eq!(sent(&bench, &outputs), [("update", 2)]);
    let Body::Update { node, config_epoch, .. } = &messages(&outputs)[0].body else { panic!() };
    assert_eq!((*node, *config_epoch), (bench.ids[1], 9));
}

#[test]
fn a_manual_failover_waits_for_the_pause() {
    let mut primary = Bench::new(0);
    let header = primary.header(3);
    let outputs = primary.receive(3, header, Body::ManualFailoverStart);
    assert!(names(&primary, &outputs).is_empty(), "the offset is not known before the pause");
    let ticket = outputs.iter().find_map(|output| match output {
        Output::ToNode(MachineMessage::PauseWrites { ticket, for_ms: 10_000 }) => Some(*ticket),
        _ => None,
    });
    let paused = NodeMessage::Paused { ticket: ticket.unwrap(), offset: 4321 };
    let outputs = primary.give(Input::FromNode(paused));
    assert_eq!(sent(&primary, &outputs), [("ping", 3)]);
    let header = &messages(&outputs)[0].header;
    assert_eq!((header.paused, header.replication_offset), (true, 4321));
    let outputs = primary.after(5200);
    assert!(outputs.iter().any(|output| matches!(output, Output::ToNode(MachineMessage::Unpause))));
}

#[test]
fn writes_go_on_only_where_the_slots_are_known_to_be_lost() {
    let mut primary = Bench::new(0);
    let header = primary.header(3);
    let outputs = primary.receive(3, header, Body::ManualFailoverStart);
    let ticket = outputs.iter().find_map(|output| match output {
        Output::ToNode(MachineMessage::PauseWrites { ticket, .. }) => Some(*ticket),
        _ => None,
    });
    let paused = NodeMessage::Paused { ticket: ticket.unwrap(), offset: 4321 };
    primary.give(Input::FromNode(paused));
    // The replica won: it claims our slots as a primary.
    let won = Header { config_epoch: 9, current_epoch: 9, ..primary.header(0) };
    let header = Header { sender: primary.ids[3], flags: primary.header(1).flags, ..won };
    let outputs = primary.receive(3, header, Body::Pong(Gossip::default()));
    let position = |is_wanted: fn(&MachineMessage) -> bool| {
        outputs.iter().position(|output| matches!(output, Output::ToNode(message) if is_wanted(message)))
    };
    let demoted = position(|message| match message {
        MachineMessage::View { orders, .. } => matches!(orders[..], [NodeOrder::Follow { .. }]),
        _ => false,
    });
    let unpaused = position(|message| matches!(message, MachineMessage::Unpause));
    assert!(demoted.is_some() && demoted < unpaused, "{demoted:?} {unpaused:?}");
}

#[test]
fn a_manual_failover_waits_for_the_primary_s_stream() {
    let mut replica = Bench::new(3);
    let outputs = replica.give(Input::Command {
        ticket: 1,
        command: ClusterCommand::Failover { kind: FailoverKind::Coordinated },
    });
    assert_eq!(sent(&replica, &outputs), [("mfstart", 0)]);
    let header = Header { paused: true, replication_offset: 4321, ..replica.header(0) };
    let outputs = replica.receive(0, header, Body::Pong(Gossip::default()));
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::ToNode(MachineMessage::ReportOffset { reach: 4321 })))
    );
    let status = |replication_offset| {
        Input::FromNode(NodeMessage::Status(NodeStatus { replication_offset, ..NodeStatus::default() }))
    };
    let outputs = replica.give(status(4320));
    assert!(!names(&replica, &outputs).contains(&"auth-req"));
    let outputs = replica.give(status(4321));
    let request = messages(&outputs).into_iter().find(|message| message.body == Body::AuthRequest).unwrap();
    assert!(request.header.force_ack);
}

#[test]
fn meeting_adds_a_node_on_both_sides() {
    let config = ClusterConfig { node_timeout_ms: TIMEOUT_MS, ..ClusterConfig::default() };
    let stranger = NodeId::parse(&[b'x'; 40]).unwrap();
    let mut bench = Bench::start(config, None, vec![stranger]);
    assert_eq!(saves(&bench.outputs).len(), 1, "a new node saves its name");
    let outputs = bench.give(Input::Command {
        ticket: 1,
        command: ClusterCommand::Meet { host: "10.0.0.9".into(), port: 7000, bus_port: None },
    });
    let Some(Output::Connect { link, host, port: 17000 }) =
        outputs.iter().find(|output| matches!(output, Output::Connect { .. })).cloned()
    else {
        panic!("{outputs:?}")
    };
    assert_eq!(&*host, "10.0.0.9");
    let outputs = bench.give(Input::LinkOpened { link });
    assert!(matches!(messages(&outputs)[0].body, Body::Meet(_)));
    let header = Header { sender: stranger, primary: None, slots: Arc::default(), ..header_of_stranger() };
    let message = Arc::new(Message { header: header.clone(), body: Body::Pong(Gossip::default()) });
    bench.give(Input::Message { link, message });
    let node = bench.machine.table.get(bench.key(0)).unwrap();
    assert_eq!(node.flags, NodeFlags::PRIMARY);

    let mut other = Bench::start(ClusterConfig::default(), None, vec![stranger]);
    let link = LinkId::accepted(1);
    other.give(Input::Accepted { link, peer: "10.0.0.9".into(), local: "10.0.0.1".into() });
    let message = Arc::new(Message { header, body: Body::Meet(Gossip::default()) });
    let outputs = other.give(Input::Message { link, message });
    assert!(matches!(messages(&outputs)[0].body, Body::Pong(_)));
    assert_eq!(&*other.machine.me().host, "10.0.0.1", "MEET tells our own address");
    let outputs = other.after(100);
    assert!(outputs.iter().any(|output| matches!(output, Output::Connect { port: 17000, .. })));
}

fn header_of_stranger() -> Header {
    Header { port: 7000, bus_port: 17000, config_epoch: 0, current_epoch: 0, ..Bench::new(0).header(1) }
}

#[test]
fn views_render_as_redis_prints() {
    let mut bench = Bench::new(0);
    for _ in 0..25 {
        bench.after(100);
        (1..6).for_each(|node| drop(bench.pong(node)));
    }
    bench.command(ClusterCommand::SetSlot {
        slot: 0,
        action: SetSlotAction::Migrating(bench.ids[1].as_bytes()[..].into()),
        keys_in_slot: 1,
    });
    let view = last_view(&bench);
    let text = view.nodes_text(crate::Onlooker::default());
    let line = text.lines().next().unwrap();
    let (id, other) = (bench.ids[0], bench.ids[1]);
    assert!(
        line.starts_with(&format!("{id} 10.0.0.0:6379@16379 myself,master - 0 0 1 connected 0 3 6 ")),
        "{line}"
    );
    assert!(line.ends_with(&format!(" 16383 [0->-{other}]")));
    let replica = text.lines().nth(3).unwrap();
    assert!(replica.contains(&format!(" slave {id} ")) && replica.contains(" 1 "), "{replica}");
    let info = view.info_text();
    for part in [
        "cluster_state:ok\r\n",
        "cluster_slots_assigned:16384\r\n",
        "cluster_known_nodes:6\r\ncluster_size:3\r\ncluster_current_epoch:6\r\ncluster_my_epoch:1\r\n",
        "total_cluster_links_buffer_limit_exceeded:0\r\n",
    ] {
        assert!(info.contains(part), "{info}");
    }
    assert_eq!(view.shards().len(), 3);
    assert_eq!(view.shards()[0].nodes.len(), 2);
    assert_eq!(view.slots().len(), 16384);
    let route = view.route(0);
    assert!(route.is_mine && route.migrating_to.is_some_and(|node| node.id == other));
}
