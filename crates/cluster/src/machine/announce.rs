//! What this node says about itself, and the saving of nodes.conf.
//!
//! The tables change at once; what is said about them changes when it is safe:
//!
//! ```text
//!   change --> View to the executor --> Applied  \
//!          \-> Persist to the shell --> Persisted -+--> SelfImage in message headers, waiting actions
//! ```

use super::ClusterMachine;
use crate::interface::{LinkId, LogLevel, Output};
use crate::messages::Message;
use crate::nodes_conf::{NodesConf, SavedNode};
use crate::view::NodeKey;
use crate::{CommandResult, NodeFlags, NodeId, SlotSet};
use shoal_machine::Monotonic;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What message headers say about this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SelfImage {
    /// Its name.
    pub id: NodeId,
    /// Its flags.
    pub flags: NodeFlags,
    /// Its primary, for a replica.
    pub primary: Option<NodeId>,
    /// Its slots, or its primary's.
    pub slots: Arc<SlotSet>,
    /// Its config epoch, or its primary's.
    pub config_epoch: u64,
}

/// Something that waits until the state it rests on is saved and in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Tell all nodes, or those of our shard, how we stand.
    BroadcastPong {
        /// Only to the replicas of our primary, or of us.
        only_shard: bool,
    },
    /// Tell the executor that slots are claimed again.
    TellReclaimed {
        /// The slots.
        slots: crate::SlotRanges,
    },
    /// Ask all primaries for their votes on claims of slots.
    AskPrimaries,
    /// Ask for votes in the election of this epoch.
    RequestVotes {
        /// The epoch.
        epoch: u64,
    },
    /// Give the vote of this epoch to a replica.
    Vote {
        /// The replica.
        replica: NodeKey,
        /// The epoch.
        epoch: u64,
    },
    /// Answer a command.
    Reply {
        /// The command.
        ticket: u64,
        /// The answer.
        result: CommandResult,
        /// It is CLUSTER SAVECONFIG, which reports that saving failed.
        reports_failure: bool,
    },
}

impl Action {
    /// It tells a client whether the file could be written.
    fn reports_failure(&self) -> bool {
        matches!(self, Self::Reply { reports_failure: true, .. })
    }
}

/// More waiting actions than this mean that nodes.conf has not been written for very long; further votes and
/// announcements are dropped then (commands still get their reply).
const MAX_WAITING: usize = 1024;

/// Saves that nobody waits for, and that promise nothing, keep a distance of one millisecond for so many nodes: in a large
/// cluster news of many nodes come at once.
const SAVED_NODES_PER_MS: u64 = 20;

/// More answers than this are not kept while a new node is not on disk yet.
const MAX_EARLY: usize = 256;

#[derive(Debug)]
struct Waiting {
    change: u64,
    view: u64,
    action: Action,
}

#[derive(Clone, Debug)]
struct InFlight {
    ticket: u64,
    current_epoch: u64,
    promise: Promise,
}

/// What a node has let others rely on: a power cut must not undo it.
#[derive(Clone, Debug)]
struct Promise {
    current_epoch: u64,
    last_vote_epoch: u64,
    config_epoch: u64,
    primary: Option<NodeKey>,
    slots: Arc<SlotSet>,
}

impl Promise {
    /// Whether it promises nothing more than an earlier one.
    fn follows(&self, earlier: &Self) -> bool {
        self.current_epoch == earlier.current_epoch
            && self.last_vote_epoch == earlier.last_vote_epoch
            && self.config_epoch == earlier.config_epoch
            && self.primary == earlier.primary
            && self.slots.minus(&earlier.slots) == SlotSet::default()
    }
}

/// See the module's comment.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    /// Counts changes worth saving.
    change: u64,
    /// The change the last finished save held.
    saved_change: u64,
    in_flight: Option<InFlight>,
    /// Of the last finished save.
    promise: Option<Promise>,
    /// When the last save was begun.
    saved_at: Option<Monotonic>,
    /// nodes.conf has been written at least once; before that this node says nothing.
    is_on_disk: bool,
    /// The current epoch on disk.
    saved_epoch: u64,
    image: Option<SelfImage>,
    next_image: Option<(SelfImage, u64, u64)>,
    fresh: Vec<(Action, bool)>,
    waiting: Vec<Waiting>,
    /// Messages from the time before this node was on disk.
    early: Vec<(LinkId, Arc<Message>)>,
}

impl Announcements {
    /// Something that stands in nodes.conf has changed.
    pub(super) fn changed(&mut self) {
        self.change += 1;
    }

    /// Keeps a message until this node is on disk; beyond a bound they are dropped.
    pub(super) fn keep_early(&mut self, link: LinkId, message: Arc<Message>) {
        if self.early.len() < MAX_EARLY {
            self.early.push((link, message));
        }
    }

    /// The messages that were kept.
    pub(super) fn take_early(&mut self) -> Vec<(LinkId, Arc<Message>)> {
        std::mem::take(&mut self.early)
    }

    /// Whether something was decided with this input that waits to be said.
    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Whether this node may speak at all.
    pub(super) fn is_on_disk(&self) -> bool {
        self.is_on_disk
    }

    /// The current epoch that messages carry: the one on disk.
    pub(super) fn epoch(&self) -> u64 {
        self.saved_epoch
    }
}

impl ClusterMachine {
    pub(super) fn start_announcements(&mut self, is_new: bool) {
        self.announcements.is_on_disk = !is_new;
        self.announcements.saved_epoch = self.current_epoch;
        self.announcements.image = Some(self.self_image());
        if is_new {
            self.changed();
        }
        self.views.is_dirty = true;
    }

    /// What message headers say about this node now.
    pub(super) fn announced(&self) -> SelfImage {
        self.announcements.image.clone().unwrap_or_else(|| self.self_image())
    }

    /// Whether what is announced is what the tables say.
    pub(super) fn is_image_current(&self) -> bool {
        self.announcements.image.as_ref() == Some(&self.self_image())
    }

    /// Lets `action` happen once everything decided so far is saved and in force.
    pub(super) fn when_safe(&mut self, action: Action) {
        self.announcements.fresh.push((action, true));
    }

    /// Lets `action` happen after the outputs of this input, whether or not they are saved.
    pub(super) fn after_this(&mut self, action: Action) {
        self.announcements.fresh.push((action, false));
    }

    fn self_image(&self) -> SelfImage {
        let me = self.me();
        let primary = self.my_primary().and_then(|key| self.table.get(key));
        let shown = primary.unwrap_or(me);
        SelfImage {
            id: me.id,
            flags: me.flags,
            primary: primary.map(|primary| primary.id),
            slots: self.claimed_slots(shown),
            config_epoch: shown.config_epoch,
        }
    }

    /// The slots of a node without those that it has granted to another.
    fn claimed_slots(&self, shown: &crate::node_table::Node) -> Arc<SlotSet> {
        if self.granted.is_empty() || shown.id != self.me().id {
            return shown.slots.clone();
        }
        Arc::new(shown.slots.minus(&self.granted))
    }

    /// Asks for a save if one is due, moves the image forward, and carries out what waited.
    pub(super) fn settle_announcements(&mut self) {
        let image = self.self_image();
        let next_is_same = self.announcements.next_image.as_ref().is_some_and(|(next, ..)| *next == image);
        if self.announcements.image.as_ref() == Some(&image) {
            self.announcements.next_image = None;
        } else if !next_is_same {
            self.announcements.changed();
            self.announcements.next_image = Some((image, self.announcements.change, self.views.fence));
        }
        self.save_if_needed();
        let (change, view) = (self.announcements.change, self.views.fence);
        for (action, waits) in std::mem::take(&mut self.announcements.fresh) {
            let is_reply = matches!(action, Action::Reply { .. });
            if is_reply || self.announcements.waiting.len() < MAX_WAITING {
                // The executor waits for the reply, and may confirm the view only after it.
                let view = if is_reply { 0 } else { view };
                let change = if waits { change } else { 0 };
                self.announcements.waiting.push(Waiting { change, view, action });
            }
        }
        self.release();
    }

    fn save_if_needed(&mut self) {
        let announcements = &self.announcements;
        if announcements.in_flight.is_some() || announcements.change == announcements.saved_change {
            return;
        }
        let ticket = announcements.change;
        let is_fresh = announcements
            .saved_at
            .is_some_and(|at| self.monotonic().ms_since(at) < self.table.len() as u64 / SAVED_NODES_PER_MS);
        let promise = self.promise();
        let is_asked = announcements.fresh.iter().any(|(action, _)| action.reports_failure());
        let is_durable =
            is_asked || !announcements.promise.as_ref().is_some_and(|kept| promise.follows(kept));
        let is_awaited = !announcements.fresh.is_empty()
            || !announcements.waiting.is_empty()
            || announcements.next_image.is_some();
        if is_fresh && !is_durable && !is_awaited {
            return;
        }
        self.announcements.saved_at = Some(self.monotonic());
        self.announcements.in_flight = Some(InFlight { ticket, current_epoch: self.current_epoch, promise });
        let contents = Arc::new(self.nodes_conf());
        self.outputs.push(Output::Persist { ticket, is_durable, contents });
    }

    fn promise(&self) -> Promise {
        let me = self.me();
        Promise {
            current_epoch: self.current_epoch,
            last_vote_epoch: self.last_vote_epoch,
            config_epoch: me.config_epoch,
            primary: self.my_primary(),
            slots: me.slots.clone(),
        }
    }

    /// Carries out what is saved and in force.
    fn release(&mut self) {
        let (saved, applied) = (self.announcements.saved_change, self.views.applied);
        let is_safe = |change: u64, view: u64| change <= saved && view <= applied;
        if let Some((_, change, view)) = &self.announcements.next_image
            && is_safe(*change, *view)
        {
            self.announcements.image = self.announcements.next_image.take().map(|(image, ..)| image);
        }
        let mut ready = Vec::new();
        self.announcements.waiting.retain_mut(|waiting| {
            let stays = !is_safe(waiting.change, waiting.view);
            if !stays {
                ready.push(std::mem::replace(
                    &mut waiting.action,
                    Action::BroadcastPong { only_shard: false },
                ));
            }
            stays
        });
        for action in ready {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::BroadcastPong { only_shard } => self.broadcast_pong(only_shard),
            Action::TellReclaimed { slots } => {
                self.outputs.push(Output::ToNode(crate::MachineMessage::Reclaimed { slots }));
            }
            Action::AskPrimaries => self.ask_primaries(),
            Action::RequestVotes { epoch } => self.request_votes(epoch),
            Action::Vote { replica, epoch } => self.send_vote(replica, epoch),
            Action::Reply { ticket, result, .. } => {
                self.outputs.push(Output::CommandReply { ticket, result });
            }
        }
    }

    pub(super) fn on_persisted(&mut self, ticket: u64) {
        let Some(in_flight) = self.announcements.in_flight.take_if(|flying| flying.ticket == ticket) else {
            return;
        };
        self.announcements.saved_change = in_flight.ticket;
        self.announcements.saved_epoch = in_flight.current_epoch;
        self.announcements.promise = Some(in_flight.promise);
        if !std::mem::replace(&mut self.announcements.is_on_disk, true) {
            self.send_early();
        }
    }

    /// Only CLUSTER SAVECONFIG can go on when its save fails, and only if nothing else waits for it.
    pub(super) fn on_persist_failed(&mut self, ticket: u64, reason: &str) {
        if self.announcements.in_flight.take_if(|flying| flying.ticket == ticket).is_none() {
            return;
        }
        let mut only_save_config = !self.announcements.waiting.is_empty();
        for waiting in &mut self.announcements.waiting {
            match &mut waiting.action {
                Action::Reply { result, reports_failure: true, .. } => {
                    *result = Err(format!("ERR error saving the cluster node config: {reason}").into());
                }
                _ => only_save_config = false,
            }
        }
        if only_save_config && self.announcements.next_image.is_none() {
            self.announcements.saved_change = ticket;
            return;
        }
        self.log(LogLevel::Warning, format!("Cannot write the cluster config file: {reason}"));
        self.outputs.push(Output::Fatal { text: "Fatal: can't update cluster config file.".to_owned() });
    }

    /// The contents of nodes.conf now; nodes in handshake are left out.
    pub(super) fn nodes_conf(&self) -> NodesConf {
        let name = |key: NodeKey| self.table.get(key).map(|node| node.id);
        let open = |slots: &BTreeMap<u16, NodeKey>| {
            slots.iter().filter_map(|(&slot, &key)| Some((slot, name(key)?))).collect()
        };
        let nodes = self
            .table
            .iter()
            .filter(|(_, node)| !node.is_in_handshake())
            .map(|(_, node)| SavedNode {
                id: node.id,
                host: node.host.clone(),
                port: node.port,
                bus_port: node.bus_port,
                hostname: node.hostname.clone(),
                human_name: node.human_name.clone(),
                client: node.client.clone(),
                shard_id: Some(node.shard_id),
                flags: node.flags,
                primary: node.primary.and_then(name),
                ping_sent_ms: self.unix_ms(node.ping_sent),
                pong_received_ms: self.unix_ms(node.pong_received),
                config_epoch: node.config_epoch,
                connected: node.flags.has(NodeFlags::MYSELF) || self.is_open(node.link),
                slots: node.slots.clone(),
            })
            .collect();
        NodesConf {
            current_epoch: self.current_epoch,
            last_vote_epoch: self.last_vote_epoch,
            nodes,
            migrating: open(&self.migrating),
            importing: open(&self.importing),
            given: self.given.minus(&self.me().slots),
            // What this node has granted is its own nevertheless when it starts anew: the grant ends with its process.
            unclaimed: self.table.unclaimed_slots().minus(&self.me().slots),
            voted_against: self.saved_votes(),
            never_in_step: self.never_in_step,
            auxiliary: !self.config.nodes_conf_without_auxiliary,
        }
    }
}
