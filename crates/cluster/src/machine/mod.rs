//! The cluster machine: one node's mind, as far as the cluster goes.
//!
//! ```text
//!   Input --> handle: one small function per kind --> changes to the tables, things to do
//!                                                          |
//!                                              settle: 1 elections due
//!                                                      2 is the cluster ok?
//!                                                      3 a new view for the node
//!                                                      4 nodes.conf
//!                                                      5 what waited for 3 and 4
//! ```
//!
//! Nothing about this node leaves it before it is saved and in force: messages carry [`announce::SelfImage`], which
//! follows the tables only after nodes.conf is on disk and the executor has confirmed the view. Votes, requests for
//! votes and the announcement of a promotion wait in a list ([`announce::Action`]) for the same two events.

mod agreement;
mod announce;
mod commands;
mod cron;
mod death;
mod election;
mod epochs;
mod failure;
mod gossip;
mod leaving;
mod links;
mod manual_failover;
mod migration;
mod node_messages;
mod ranking;
mod receive;
mod send;
mod slots;
mod state;
#[cfg(test)]
mod tests;
mod views;
mod vote;

use crate::interface::{Input, LinkId, LogLevel, NodeStatus, Output};
use crate::messages::MESSAGE_TYPES;
use crate::node_table::{Node, NodeTable};
use crate::nodes_conf::{NodesConf, SavedNode};
use crate::view::NodeKey;
use crate::{ClusterConfig, NodeFlags, NodeId, NodeOrder};
use agreement::{Agreement, ClaimVotes};
use announce::Announcements;
use election::{CannotFailover, Election};
use gossip::GossipPool;
use leaving::Leaving;
use links::Link;
use manual_failover::ManualFailover;
use shoal_machine::{Machine, Monotonic, Now, Rng, Timers};
use state::Health;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use views::Views;

/// The cron runs this often, as in Redis.
const CRON_INTERVAL_MS: u64 = 100;

/// The timers of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The next step of an election is due.
    Election,
    /// News for the executor have waited long enough for others.
    View,
    /// The primaries are asked again for their votes on claims.
    Agreement,
    /// The regular work.
    Cron,
}

/// What [`ClusterMachine::settle`] has to look at.
#[derive(Clone, Copy, Debug, Default)]
struct Todo {
    /// A manual failover may go on.
    manual_failover: bool,
    /// An election may go on.
    election: bool,
    /// The state of the cluster may have changed.
    state: bool,
    /// The executor may go on with writes, once it knows who owns the slots now.
    unpause: bool,
}

/// The machine; see the module's comment.
#[derive(Debug)]
pub struct ClusterMachine {
    now: Now,
    config: Arc<ClusterConfig>,
    rng: Rng,
    table: NodeTable,
    myself: NodeKey,
    current_epoch: u64,
    last_vote_epoch: u64,
    migrating: Arc<BTreeMap<u16, NodeKey>>,
    importing: Arc<BTreeMap<u16, NodeKey>>,
    /// Slots that were this node's, or its primary's, and went to others.
    given: crate::SlotSet,
    leaving: Leaving,
    /// This replica's data are not those of its primary: it has had none of them since it was told to follow it.
    never_in_step: bool,
    /// Slots of this node that another may claim at any moment.
    granted: crate::SlotSet,
    /// The same by grants, each with the greatest epoch with which this node has claimed the slots.
    grants: Vec<(crate::SlotSet, u64)>,
    agreements: Vec<Agreement>,
    claim_votes: ClaimVotes,
    /// Primaries in whose place this node has voted for a replica, without knowing yet what has come of it.
    voted_against: BTreeSet<NodeKey>,
    links: BTreeMap<LinkId, Link>,
    next_link: u64,
    /// Forgotten nodes, and until when gossip does not bring them back.
    forgotten: BTreeMap<NodeId, Monotonic>,
    health: Health,
    election: Election,
    /// How often an election was held again at once.
    quick_retries: u32,
    cannot_failover: CannotFailover,
    manual_failover: ManualFailover,
    /// The replica that is asked to take over, and until when.
    hand_over: Option<(NodeKey, Monotonic)>,
    status: NodeStatus,
    status_at: Monotonic,
    progress_at: Monotonic,
    was_silent: bool,
    /// Links over which pings came while the executor was stuck; open ones alone.
    owed_pongs: BTreeSet<LinkId>,
    announcements: Announcements,
    views: Views,
    orders: Vec<NodeOrder>,
    timers: Timers<Timer>,
    cron_count: u64,
    last_cron: Option<Monotonic>,
    sub_replica_since: Option<Monotonic>,
    todo: Todo,
    /// Nodes that are suspected since the last input.
    suspicions: Vec<NodeKey>,
    gossip_pool: GossipPool,
    gossip_pool_is_old: bool,
    /// When a node was last heard of for the first time.
    grown_at: Option<Monotonic>,
    next_ticket: u64,
    messages_sent: [u64; MESSAGE_TYPES],
    messages_received: [u64; MESSAGE_TYPES],
    links_over_limit: u64,
    outputs: Vec<Output>,
}

impl ClusterMachine {
    /// A machine that goes on from what nodes.conf says, or starts as a new node without it. The first outputs (a
    /// view, the first nodes.conf) come with the first call of [`Machine::handle`] or [`Machine::handle_timers`],
    /// which is due at once.
    pub fn new(now: Now, mut rng: Rng, config: Arc<ClusterConfig>, saved: Option<&NodesConf>) -> Self {
        let mut table = NodeTable::default();
        let is_new = saved.is_none();
        let (myself, migrating, importing) = match saved {
            Some(saved) => load(&mut table, &mut rng, now, saved),
            None => {
                let (id, shard_id) = (NodeId::random(&mut rng), NodeId::random(&mut rng));
                let flags = NodeFlags::MYSELF | NodeFlags::PRIMARY;
                let key = table.add(Node::new(id, shard_id, flags, now.monotonic));
                (key, BTreeMap::new(), BTreeMap::new())
            }
        };
        let mut machine = Self {
            now,
            config,
            rng,
            table,
            myself,
            current_epoch: saved.map_or(0, |saved| saved.current_epoch),
            last_vote_epoch: saved.map_or(0, |saved| saved.last_vote_epoch),
            migrating: Arc::new(migrating),
            importing: Arc::new(importing),
            granted: crate::SlotSet::empty(),
            grants: Vec::new(),
            agreements: Vec::new(),
            claim_votes: ClaimVotes::new(now.monotonic, saved),
            given: saved.map(|saved| saved.given.clone()).unwrap_or_default(),
            never_in_step: saved.is_some_and(|saved| saved.never_in_step),
            leaving: Leaving::default(),
            voted_against: BTreeSet::new(),
            links: BTreeMap::new(),
            next_link: 0,
            forgotten: BTreeMap::new(),
            health: Health::default(),
            election: Election::Idle,
            quick_retries: 0,
            cannot_failover: CannotFailover::default(),
            manual_failover: ManualFailover::None,
            hand_over: None,
            status: NodeStatus::default(),
            status_at: now.monotonic,
            progress_at: now.monotonic,
            was_silent: false,
            owed_pongs: BTreeSet::new(),
            announcements: Announcements::default(),
            views: Views::default(),
            orders: Vec::new(),
            timers: Timers::default(),
            suspicions: Vec::new(),
            gossip_pool: GossipPool::default(),
            gossip_pool_is_old: true,
            grown_at: None,
            cron_count: 0,
            last_cron: None,
            sub_replica_since: None,
            todo: Todo { state: true, ..Todo::default() },
            next_ticket: 0,
            messages_sent: [0; MESSAGE_TYPES],
            messages_received: [0; MESSAGE_TYPES],
            links_over_limit: 0,
            outputs: Vec::new(),
        };
        machine.load_votes(saved);
        let found = if is_new { "No cluster configuration found" } else { "Node configuration loaded" };
        machine.log(LogLevel::Notice, format!("{found}, I'm {}", machine.me().id));
        machine.start_announcements(is_new);
        machine.apply_config();
        machine.timers.set(Timer::Cron, now.monotonic);
        machine
    }

    /// This node's name.
    pub fn id(&self) -> NodeId {
        self.me().id
    }

    /// The greatest epoch seen so far.
    pub fn current_epoch(&self) -> u64 {
        self.current_epoch
    }

    fn me(&self) -> &Node {
        self.table.get(self.myself).expect("this node is never removed from its own table")
    }

    fn me_mut(&mut self) -> &mut Node {
        self.table.get_mut(self.myself).expect("this node is never removed from its own table")
    }

    /// This node's primary, if this node is a replica that knows it.
    fn my_primary(&self) -> Option<NodeKey> {
        self.me().primary.filter(|_| self.me().is_replica())
    }

    fn monotonic(&self) -> Monotonic {
        self.now.monotonic
    }

    /// Milliseconds since `earlier`; for something that never happened, since the clock's start.
    fn ms_since(&self, earlier: Option<Monotonic>) -> u64 {
        self.monotonic().ms_since(earlier.unwrap_or_default())
    }

    fn log(&mut self, level: LogLevel, text: String) {
        self.outputs.push(Output::Log { level, text });
    }

    /// Something that stands in nodes.conf and in views has changed.
    fn changed(&mut self) {
        self.announcements.changed();
        self.views.is_dirty = true;
        self.gossip_pool_is_old = true;
    }

    /// What has to be done after any input, in an order that keeps the invariants; see the module's comment.
    fn settle(&mut self) {
        self.tell_suspicions();
        let todo = std::mem::take(&mut self.todo);
        if todo.manual_failover {
            self.run_manual_failover();
        }
        if todo.manual_failover || todo.election || self.todo.election {
            self.todo.election = false;
            self.run_election();
        }
        if todo.state || self.todo.state {
            self.todo.state = false;
            self.update_state();
        }
        self.publish_view_if_needed();
        // After the view: a write that was put off must not run where the slots are lost.
        if todo.unpause || std::mem::take(&mut self.todo.unpause) {
            self.outputs.push(Output::ToNode(crate::MachineMessage::Unpause));
        }
        self.settle_announcements();
    }
}

impl Machine for ClusterMachine {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input, outputs: &mut Vec<Output>) {
        self.now = now;
        match input {
            Input::LinkOpened { link } => self.on_link_opened(link),
            Input::LinkRefused { link, by_peer } => self.on_link_refused(link, by_peer),
            Input::LinkClosed { link, over_limit } => {
                self.links_over_limit += u64::from(over_limit);
                self.on_link_closed(link, over_limit);
            }
            Input::Accepted { link, peer, local } => self.on_accepted(link, peer, local),
            Input::Message { link, message } => self.on_message(link, &message),
            Input::Persisted { ticket } => self.on_persisted(ticket),
            Input::PersistFailed { ticket, reason } => self.on_persist_failed(ticket, &reason),
            Input::FromNode(message) => self.on_node_message(message),
            Input::Command { ticket, command } => self.on_command(ticket, command),
        }
        self.settle();
        outputs.append(&mut self.outputs);
    }

    fn handle_timers(&mut self, now: Now, outputs: &mut Vec<Output>) {
        self.now = now;
        while let Some(timer) = self.timers.pop_due(now.monotonic) {
            match timer {
                Timer::Cron => {
                    self.timers.set(Timer::Cron, now.monotonic.plus_ms(CRON_INTERVAL_MS));
                    self.cron();
                }
                Timer::Agreement => self.run_agreements(),
                Timer::Election => self.todo.election = true,
                // Whatever comes, a view follows when it is due.
                Timer::View => {}
            }
        }
        self.settle();
        outputs.append(&mut self.outputs);
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        self.timers.next()
    }
}

type OpenSlots = BTreeMap<u16, NodeKey>;

/// Fills an empty table from nodes.conf; returns this node and the slots that move.
fn load(
    table: &mut NodeTable,
    rng: &mut Rng,
    now: Now,
    saved: &NodesConf,
) -> (NodeKey, OpenSlots, OpenSlots) {
    let mut myself = None;
    for line in &saved.nodes {
        let key = table.add(loaded_node(rng, now, line));
        if line.flags.has(NodeFlags::MYSELF) {
            myself = Some(key);
        }
    }
    for line in &saved.nodes {
        let Some(key) = table.find(&line.id) else { continue };
        if let Some(primary) = line.primary {
            let primary = find_or_add(table, rng, now, primary);
            table.set_primary(key, Some(primary));
        }
        for slot in line.slots.iter().collect::<Vec<_>>() {
            // Of two nodes with one slot the first has it.
            if table.owner(slot).is_none() {
                table.assign(slot, Some(key));
            }
        }
    }
    for slot in saved.unclaimed.iter() {
        table.set_unclaimed(slot, 0);
    }
    let mut open = |slots: &[(u16, NodeId)]| -> OpenSlots {
        slots.iter().map(|&(slot, node)| (slot, find_or_add(table, rng, now, node))).collect()
    };
    let (migrating, importing) = (open(&saved.migrating), open(&saved.importing));
    // The parser lets no file through in which no node is marked; a new node is the answer to one made by hand.
    let myself = myself.unwrap_or_else(|| {
        let id = NodeId::random(rng);
        table.add(Node::new(id, id, NodeFlags::MYSELF | NodeFlags::PRIMARY, now.monotonic))
    });
    (myself, migrating, importing)
}

fn loaded_node(rng: &mut Rng, now: Now, line: &SavedNode) -> Node {
    let shard_id = line.shard_id.unwrap_or_else(|| NodeId::random(rng));
    let mut node = Node::new(line.id, shard_id, line.flags, now.monotonic);
    node.host = line.host.clone();
    node.port = line.port;
    node.bus_port = line.bus_port;
    node.hostname = line.hostname.clone();
    node.human_name = line.human_name.clone();
    node.client = line.client.clone();
    node.config_epoch = line.config_epoch;
    node.failed_at = now.monotonic;
    // How long ago a ping or pong was says nothing after a restart.
    node.ping_sent = Some(now.monotonic).filter(|_| line.ping_sent_ms != 0);
    node.pong_received = Some(now.monotonic).filter(|_| line.pong_received_ms != 0);
    node
}

fn find_or_add(table: &mut NodeTable, rng: &mut Rng, now: Now, id: NodeId) -> NodeKey {
    match table.find(&id) {
        Some(key) => key,
        None => {
            let shard_id = NodeId::random(rng);
            table.add(Node::new(id, shard_id, NodeFlags::NONE, now.monotonic))
        }
    }
}
