//! The messages of the bus, typed.
//!
//! [`crate::wire`] makes them from bytes; the machine and the simulator see nothing else. Large parts are shared, so
//! that one message to many nodes is built once.

use crate::{ClientAddress, NodeFlags, NodeId, SlotSet};
use std::sync::Arc;

/// The number of message types.
pub const MESSAGE_TYPES: usize = 11;

/// The names of the message types in CLUSTER INFO, by type number.
pub const MESSAGE_TYPE_NAMES: [&str; MESSAGE_TYPES] = [
    "ping",
    "pong",
    "meet",
    "fail",
    "publish",
    "auth-req",
    "auth-ack",
    "update",
    "mfstart",
    "module",
    "publishshard",
];

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What every message says about its sender.
    pub header: Header,
    /// What this one is about.
    pub body: Body,
}

/// What every message says about its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender's name.
    pub sender: NodeId,
    /// The sender's current epoch.
    pub current_epoch: u64,
    /// The config epoch of the sender, or of its primary if it is a replica.
    pub config_epoch: u64,
    /// Bytes of the replication stream written (primary) or applied (replica).
    pub replication_offset: u64,
    /// The slots the sender serves, or its primary if it is a replica.
    pub slots: Arc<SlotSet>,
    /// The sender's primary, if it is a replica.
    pub primary: Option<NodeId>,
    /// The address the sender wants to be known by; `None` means: that of the socket.
    pub announced_host: Option<Arc<str>>,
    /// The client port (the TLS one under `tls-cluster`).
    pub port: u16,
    /// The other client port, 0 if there is none.
    pub other_port: u16,
    /// The bus port.
    pub bus_port: u16,
    /// The sender's flags.
    pub flags: NodeFlags,
    /// Whether the sender takes the cluster to be down.
    pub cluster_failed: bool,
    /// The sender, a primary, has stopped writes for a manual failover.
    pub paused: bool,
    /// A vote is asked for although the primary is up (manual failover).
    pub force_ack: bool,
    /// The sender understands ping extensions.
    pub extensions_understood: bool,
    /// The version of Shoal's own additions that the sender speaks; 0 for other programs.
    pub shoal_version: u8,
}

/// What a message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Are you there? Answered with PONG.
    Ping(Gossip),
    /// The answer, or news about the sender.
    Pong(Gossip),
    /// A PING that makes the receiver take up the sender.
    Meet(Gossip),
    /// A majority takes this node to be down.
    Fail {
        /// The node that failed.
        node: NodeId,
    },
    /// PUBLISH for the subscribers of the receiver.
    Publish(Publication),
    /// SPUBLISH for the subscribers of the receiver.
    PublishShard(Publication),
    /// A replica asks for a vote.
    AuthRequest,
    /// A vote.
    AuthAck,
    /// The slots of a node, from somebody who knows better than the receiver.
    Update {
        /// The node.
        node: NodeId,
        /// Its config epoch.
        config_epoch: u64,
        /// Its slots.
        slots: Arc<SlotSet>,
    },
    /// A replica asks its primary to pause for a manual failover.
    ManualFailoverStart,
    /// A message between modules; ignored.
    Module,
}

/// The data of PING, PONG and MEET.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gossip {
    /// News about other nodes.
    pub entries: Vec<GossipEntry>,
    /// Further facts about the sender.
    pub extensions: Extensions,
}

/// News about one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipEntry {
    /// The node.
    pub node: NodeId,
    /// When the sender's unanswered ping left, in seconds since 1970; 0 if there is none.
    pub ping_sent_s: u32,
    /// When the last pong came, in seconds since 1970; 0 if none came yet.
    pub pong_received_s: u32,
    /// Its address; empty if unknown.
    pub host: Arc<str>,
    /// Its client port.
    pub port: u16,
    /// Its bus port.
    pub bus_port: u16,
    /// Its flags as the sender sees them.
    pub flags: NodeFlags,
    /// Its other client port, 0 if there is none.
    pub other_port: u16,
}

/// Extensions of PING, PONG and MEET; unknown ones are skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// The host name to announce to clients.
    pub hostname: Option<Arc<str>>,
    /// A name for people (Redis 7.2).
    pub human_name: Option<Arc<str>>,
    /// Nodes to forget, and for how many seconds (Redis 7.2).
    pub forgotten: Vec<(NodeId, u64)>,
    /// The shard of the sender (Redis 7.2).
    pub shard_id: Option<NodeId>,
    /// The address that it tells clients (Valkey 8; its ports as Shoal sends them).
    pub client: Option<Arc<ClientAddress>>,
    /// The sender's `replica-priority`, if it is not the usual one (Shoal).
    pub replica_priority: Option<u32>,
    /// The sender, a primary that is to end, wants the receiver to take its place (Shoal).
    pub take_over: bool,
    /// Votes that the sender asks for, before it claims slots that a migration brings (Shoal).
    pub claims: Vec<ClaimRequest>,
}

/// A primary asks for a vote: it is about to claim slots of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The epoch that it is to claim them with.
    pub epoch: u64,
    /// Whose they are.
    pub source: NodeId,
    /// With which config epoch, as the sender knows.
    pub source_epoch: u64,
    /// The slots.
    pub slots: Arc<SlotSet>,
}

/// A channel and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The channel.
    pub channel: Arc<[u8]>,
    /// The message.
    pub message: Arc<[u8]>,
}

impl Body {
    /// The type number on the bus.
    pub const fn type_number(&self) -> u16 {
        match self {
            Self::Ping(_) => 0,
            Self::Pong(_) => 1,
            Self::Meet(_) => 2,
            Self::Fail { .. } => 3,
            Self::Publish(_) => 4,
            Self::AuthRequest => 5,
            Self::AuthAck => 6,
            Self::Update { .. } => 7,
            Self::ManualFailoverStart => 8,
            Self::Module => 9,
            Self::PublishShard(_) => 10,
        }
    }

    /// The gossip of PING, PONG and MEET.
    pub const fn gossip(&self) -> Option<&Gossip> {
        match self {
            Self::Ping(gossip) | Self::Pong(gossip) | Self::Meet(gossip) => Some(gossip),
            _ => None,
        }
    }
}
