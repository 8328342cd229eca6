//! The CLUSTER commands that change state, and their error texts.
//!
//! Arguments are already parsed by the node (`Invalid or out of range slot` and the like are its answers, with the
//! texts below); what the machine cannot know (are there keys?) comes with the command.

use std::borrow::Cow;
use std::sync::Arc;

/// A state-changing CLUSTER subcommand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterCommand {
    /// CLUSTER MEET.
    Meet {
        /// The address as given.
        host: Arc<str>,
        /// The client port as given.
        port: i64,
        /// The bus port; `None` for the client port plus 10000.
        bus_port: Option<i64>,
    },
    /// CLUSTER ADDSLOTS and ADDSLOTSRANGE: the slots in the order given, a range spelt out.
    AddSlots {
        /// Slots, perhaps named twice (which is an error).
        slots: Vec<u16>,
    },
    /// CLUSTER DELSLOTS and DELSLOTSRANGE.
    DeleteSlots {
        /// Slots, perhaps named twice (which is an error).
        slots: Vec<u16>,
    },
    /// CLUSTER FLUSHSLOTS.
    FlushSlots {
        /// Database 0 holds no key.
        database_is_empty: bool,
    },
    /// CLUSTER SETSLOT.
    SetSlot {
        /// The slot.
        slot: u16,
        /// What to do with it.
        action: SetSlotAction,
        /// How many keys the slot holds here.
        keys_in_slot: u64,
    },
    /// CLUSTER REPLICATE.
    Replicate {
        /// The name as given.
        node: NodeName,
        /// Database 0 holds no key.
        database_is_empty: bool,
    },
    /// CLUSTER FORGET.
    Forget {
        /// The name as given.
        node: NodeName,
    },
    /// CLUSTER RESET.
    Reset {
        /// Hard or soft.
        kind: ResetKind,
        /// The selected database holds no key.
        database_is_empty: bool,
    },
    /// CLUSTER FAILOVER.
    Failover {
        /// How.
        kind: FailoverKind,
    },
    /// This primary is about to end: its best replica is asked to take its place.
    HandOver,
    /// CLUSTER SET-CONFIG-EPOCH.
    SetConfigEpoch {
        /// The epoch as given.
        epoch: i64,
    },
    /// A migration has brought the keys of these slots: this node claims them.
    TakeSlots {
        /// The slots.
        slots: crate::SlotRanges,
        /// Who must have all of them until now.
        from: crate::NodeId,
        /// The epoch to claim them with: one that a majority knows ([`crate::MachineMessage::EpochAgreed`]).
        epoch: u64,
        /// The greatest epoch with which they may be claimed.
        epoch_max: u64,
    },
    /// These slots of this node are about to be another's: from now on it does not claim them, whatever its epoch, so that any
    /// other claim to them counts. [`crate::NodeMessage::Reclaim`] takes that back. The reply is the config epoch of this node:
    /// it has claimed them with no greater one.
    GrantSlots {
        /// The slots, all of them this node's.
        slots: crate::SlotRanges,
    },
    /// CLUSTER BUMPEPOCH.
    BumpEpoch,
    /// CLUSTER SAVECONFIG.
    SaveConfig,
    /// DEBUG CLUSTERLINK KILL: close links with a node. Ours to it is made anew soon.
    CloseLinks {
        /// The name as given.
        node: NodeName,
        /// The link that this node opened.
        to: bool,
        /// The link that the other node opened.
        from: bool,
    },
    /// Publish a fresh view before answering OK; for CLUSTER NODES, INFO and LINKS with exact times and counts.
    Refresh,
}

/// A node name as a client gave it, valid or not.
pub type NodeName = Arc<[u8]>;

/// The actions of CLUSTER SETSLOT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetSlotAction {
    /// MIGRATING: keys go to this node.
    Migrating(NodeName),
    /// IMPORTING: keys come from this node.
    Importing(NodeName),
    /// NODE: the slot belongs to this node.
    Node(NodeName),
    /// STABLE: neither migrating nor importing.
    Stable,
}

/// The kinds of CLUSTER FAILOVER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailoverKind {
    /// With the primary's help, nothing is lost.
    Coordinated,
    /// The primary is not asked, the others vote.
    Force,
    /// Nobody is asked.
    Takeover,
}

/// The kinds of CLUSTER RESET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetKind {
    /// Keeps name and epochs.
    Soft,
    /// New name, epochs zero.
    Hard,
}

/// A good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandReply {
    /// `+OK`.
    Ok,
    /// A simple string, as BUMPEPOCH gives (`BUMPED 5`).
    Text(String),
}

impl CommandReply {
    /// The number that a text is.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Ok => None,
            Self::Text(text) => text.parse().ok(),
        }
    }
}

/// A reply, or an error line with its code word (`ERR …`).
pub type CommandResult = Result<CommandReply, Cow<'static, str>>;

/// For a slot argument that is no slot.
pub const INVALID_SLOT: &str = "ERR Invalid or out of range slot";
/// For cluster commands on a server that is none.
pub const CLUSTER_DISABLED: &str = "ERR This instance has cluster support disabled";
/// For a SETSLOT with unknown words.
pub const INVALID_SETSLOT: &str =
    "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP";

/// For a range argument that goes backwards.
pub fn range_error(first: u16, last: u16) -> String {
    format!("ERR start slot number {first} is greater than end slot number {last}")
}

/// For a name that no known node has (FORGET, REPLICATE, REPLICAS, COUNT-FAILURE-REPORTS, SETSLOT NODE).
pub fn unknown_node(name: &[u8]) -> Cow<'static, str> {
    Cow::Owned(format!("ERR Unknown node {}", String::from_utf8_lossy(name)))
}

/// For REPLICAS of a node that is a replica itself.
pub const NOT_A_PRIMARY: &str = "ERR The specified node is not a master";
