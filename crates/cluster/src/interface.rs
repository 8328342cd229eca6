//! What goes into the machine and what comes out.
//!
//! Two partners stand around it:
//!
//! **The bus shell** owns sockets and nodes.conf. It opens and accepts links, decodes bytes with [`crate::wire`],
//! and writes the file in one piece before it answers [`Input::Persisted`].
//!
//! **The node** (executor) owns keys, clients and replication. It sends [`NodeMessage`]s and gets [`MachineMessage`]s.
//! Its duties:
//! - It takes all waiting messages of the machine before it runs the next batch of commands, and answers every
//!   [`MachineMessage::View`] with [`NodeMessage::Applied`] once the view and its orders are in force.
//! - It sends [`NodeMessage::Status`] when something in it changed, at most every 100 ms, and at least every
//!   [`STATUS_INTERVAL_MS`] (or an eighth of node-timeout if that is less). Every message counts as progress. While a
//!   long command, a script or loading runs and no message can be sent, the shell sends [`NodeMessage::Progress`]
//!   in the executor's place (from its `Interrupt`, or from a watcher that sees the executor marked as *in a
//!   command*). `DEBUG SLEEP` is the exception: the shell keeps silent, and the machine falls silent too after
//!   a quarter of node-timeout, so that a hung node is failed over.
//! - When the newest view is older than half of node-timeout ([`crate::ClusterView::is_stale`]) it answers
//!   CLUSTERDOWN: the machine publishes one at least every quarter of node-timeout.

use crate::messages::{Message, Publication};
use crate::nodes_conf::NodesConf;
use crate::{ClusterCommand, ClusterConfig, ClusterView, CommandResult, NodeId, SlotRanges, SlotSet};
use std::sync::Arc;

/// A node that has nothing new to say sends its status this often.
pub const STATUS_INTERVAL_MS: u64 = 1000;

/// One connection of the bus. Outgoing ones get their number from the machine, accepted ones from the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u64);

impl LinkId {
    /// The machine's `number`-th own connection.
    pub const fn outgoing(number: u64) -> Self {
        Self(number * 2)
    }

    /// The shell's `number`-th accepted connection.
    pub const fn accepted(number: u64) -> Self {
        Self(number * 2 + 1)
    }

    /// Whether the shell accepted it.
    pub const fn is_accepted(self) -> bool {
        self.0 % 2 == 1
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection asked for by [`Output::Connect`] is open.
    LinkOpened {
        /// The connection.
        link: LinkId,
    },
    /// A connection asked for cannot be had (refused, timed out).
    LinkRefused {
        /// The connection; it is gone.
        link: LinkId,
        /// The other system answered that nobody listens there: what a process leaves behind that has died.
        by_peer: bool,
    },
    /// A connection broke, or the peer closed it, or its bytes were no messages, or its send buffer grew over
    /// `cluster-link-sendbuf-limit`. Not sent for what [`Output::Close`] closed.
    LinkClosed {
        /// The connection; it is gone.
        link: LinkId,
        /// It was closed because its send buffer exceeded the limit.
        over_limit: bool,
    },
    /// A peer connected.
    Accepted {
        /// A new number, see [`LinkId::accepted`].
        link: LinkId,
        /// The peer's address without port, as text (an IPv4 one not written as a mapped IPv6 one).
        peer: Arc<str>,
        /// Our own address on this connection without port, as text.
        local: Arc<str>,
    },
    /// A message came. Shells hand over an [`Arc`], so that the simulator shares one between many nodes.
    Message {
        /// Where it came from.
        link: LinkId,
        /// The message.
        message: Arc<Message>,
    },
    /// nodes.conf with this ticket is on disk (file and directory synced).
    Persisted {
        /// From [`Output::Persist`].
        ticket: u64,
    },
    /// nodes.conf could not be written. Only CLUSTER SAVECONFIG survives that.
    PersistFailed {
        /// From [`Output::Persist`].
        ticket: u64,
        /// Why.
        reason: String,
    },
    /// Something from the executor.
    FromNode(NodeMessage),
    /// A CLUSTER command that changes state.
    Command {
        /// Comes back with the reply.
        ticket: u64,
        /// The command.
        command: ClusterCommand,
    },
}

/// What the machine wants done, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Connect to a node's bus port.
    Connect {
        /// The new connection.
        link: LinkId,
        /// The address.
        host: Arc<str>,
        /// The bus port.
        port: u16,
    },
    /// Close a connection; what was sent before may be lost.
    Close {
        /// The connection.
        link: LinkId,
    },
    /// Send a message.
    Send {
        /// Over this connection, which is open.
        link: LinkId,
        /// The message; encode with [`crate::wire::encode`].
        message: Arc<Message>,
    },
    /// Write nodes.conf so that it survives a crash of the process, replacing the old one at once, then answer
    /// [`Input::Persisted`]. Best done on a thread of its own: while it lasts, the machine must go on. At most one is asked for at a time.
    Persist {
        /// Comes back in the answer.
        ticket: u64,
        /// Whether it must survive a power cut before the answer: epochs, votes, roles and slots that were gained. What else there
        /// is may be synced soon after, as in Redis.
        is_durable: bool,
        /// The text is `contents.to_string()`; making it may happen on the shell's thread.
        contents: Arc<NodesConf>,
    },
    /// Tell the executor.
    ToNode(MachineMessage),
    /// The answer to [`Input::Command`]. Views that the command caused come before it.
    CommandReply {
        /// From the command.
        ticket: u64,
        /// Its reply.
        result: CommandResult,
    },
    /// Write to the log.
    Log {
        /// How important it is.
        level: LogLevel,
        /// The line.
        text: String,
    },
    /// Going on would be unsafe (nodes.conf cannot be written): end the process with this line in the log.
    Fatal {
        /// The line.
        text: String,
    },
}

/// The levels of Redis's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `.`
    Debug,
    /// `-`
    Verbose,
    /// `*`
    Notice,
    /// `#`
    Warning,
}

/// From the executor to the machine.
#[derive(Clone, Debug)]
pub enum NodeMessage {
    /// The facts of replication.
    Status(NodeStatus),
    /// The data set is loaded; these slots hold keys. Slots nobody serves are taken over, slots of others become
    /// importing, so that the operator sees them.
    Loaded {
        /// Slots with keys.
        slots_with_keys: Box<SlotSet>,
    },
    /// A client published; the machine spreads it.
    Published {
        /// Channel and message.
        publication: Publication,
        /// SPUBLISH: to the nodes of this shard only.
        sharded: bool,
    },
    /// Writes have stopped as [`MachineMessage::PauseWrites`] asked; the replication stream ends here until they go
    /// on (no PING of the stream either).
    Paused {
        /// From the request.
        ticket: u64,
        /// The offset of the replication stream.
        offset: u64,
    },
    /// A view and its orders are in force.
    Applied {
        /// [`ClusterView::version`].
        version: u64,
    },
    /// The executor is alive, or excused: a command, a script or loading takes long.
    Progress,
    /// A grant ([`crate::ClusterCommand::GrantSlots`]) is over: what is still this node's of these slots it claims again.
    Reclaim {
        /// The slots.
        slots: SlotRanges,
        /// Somebody may have claimed them, with an epoch up to this one, who is gone: that claim is not to count unless others know of it. A
        /// majority of the primaries votes on that, however long it takes; meanwhile nothing of the slots may be served.
        above_epoch: Option<u64>,
    },
    /// Have a majority of the primaries vote for an epoch with which this node may claim slots of another:
    /// [`MachineMessage::EpochAgreed`]. It may never come.
    AgreeOnEpoch {
        /// Comes back in the answer.
        ticket: u64,
        /// The epoch is to be greater than this one, too.
        above: u64,
        /// Whose slots they are.
        source: NodeId,
        /// The slots.
        slots: SlotRanges,
    },
    /// CONFIG SET changed something.
    ConfigChanged(Arc<ClusterConfig>),
}

/// The facts of replication the machine needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Bytes of the replication stream written (primary) or applied (replica).
    pub replication_offset: u64,
    /// The link to the primary, for a replica.
    pub primary_link: PrimaryLink,
    /// For a replica: the link has been up since it was told to follow this primary, so that its data are the primary's.
    pub has_been_in_step: bool,
}

/// A replica's link to its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrimaryLink {
    /// Connected; the last bytes came this many milliseconds ago.
    Up {
        /// Milliseconds since the last byte.
        last_interaction_ms: u64,
    },
    /// Down for this many milliseconds.
    Down {
        /// Milliseconds since it was up; counted from the start of the process if it never was.
        since_ms: u64,
    },
}

impl Default for PrimaryLink {
    fn default() -> Self {
        Self::Down { since_ms: 0 }
    }
}

/// From the machine to the executor.
#[derive(Clone, Debug)]
pub enum MachineMessage {
    /// A new view, and what has to be done together with it. To be answered with [`NodeMessage::Applied`].
    View {
        /// What to route by from now on.
        view: Arc<ClusterView>,
        /// Carried out with the view, in this order, before any further command.
        orders: Vec<NodeOrder>,
    },
    /// Stop writes (and expiry and eviction), then answer [`NodeMessage::Paused`].
    PauseWrites {
        /// Comes back in the answer.
        ticket: u64,
        /// The pause ends by itself after this.
        for_ms: u64,
    },
    /// The pause ends now.
    Unpause,
    /// A majority of the primaries has saved this epoch: slots may be taken with it ([`ClusterCommand::TakeSlots`]).
    EpochAgreed {
        /// From the request.
        ticket: u64,
        /// The epoch.
        epoch: u64,
    },
    /// What is still this node's of slots that were granted is claimed again ([`NodeMessage::Reclaim`]): it may be served.
    Reclaimed {
        /// The slots.
        slots: SlotRanges,
    },
    /// Hand a message of another node to the local subscribers.
    DeliverPublish {
        /// Channel and message.
        publication: Publication,
        /// SPUBLISH.
        sharded: bool,
    },
    /// Send a status as soon as the replication offset reaches this (a manual failover waits for it).
    ReportOffset {
        /// The offset.
        reach: u64,
    },
}

/// What the executor does together with a new view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeOrder {
    /// Become a replica of this primary, or follow it to a new address.
    Follow {
        /// Its name.
        primary: NodeId,
        /// Its address.
        host: Arc<str>,
        /// Its client port.
        port: u16,
    },
    /// Become a primary; the data stays.
    BecomePrimary,
    /// Show nobody the keys of slots that now belong to others. They are not deleted before [`NodeOrder::DropSlots`] comes: a replica that has
    /// not heard of it may be elected, and is to have them then. Of slots that come back earlier the keys are old: they go at once.
    HideSlots {
        /// The slots.
        slots: SlotRanges,
    },
    /// Delete the keys of slots that now belong to others.
    DropSlots {
        /// The slots.
        slots: SlotRanges,
    },
    /// Delete all keys (CLUSTER RESET of a replica).
    DropAllKeys,
}
