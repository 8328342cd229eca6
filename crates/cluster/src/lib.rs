//! Redis Cluster: bus messages, node table, gossip, failure votes, elections, slots.
//!
//! ```text
//!             commands, status                typed messages
//!   executor  ---------------->  ClusterMachine  <---------->  wire codec  <-->  bus sockets
//!   (node)    <----------------   (this crate)                                  of the shell
//!             views, orders            |
//!                                      v  Persist / Persisted
//!                                  nodes.conf
//! ```
//!
//! [`ClusterMachine`] decides; it runs on a thread of its own, beside the executor that holds the keys. Both speak by
//! the messages of [`interface`]. What the node routes by is an immutable [`ClusterView`], replaced as a whole.
//! [`wire`] turns bytes into [`messages`] and back, [`nodes_conf`] reads and writes the file that survives a crash.
//!
//! Invariants the machine keeps, and the simulator checks:
//! - What it says about itself on the bus is saved, and known to the executor, before it is said.
//! - One vote per epoch, saved before it is sent.
//! - Epochs only grow.
//! - A primary whose role or slots are taken away tells its executor before anybody else.

pub mod client_address;
pub mod command;
pub mod config;
pub mod flags;
pub mod interface;
pub mod machine;
pub mod messages;
pub mod node_id;
pub mod node_table;
pub mod nodes_conf;
pub mod slot_migration;
pub mod slots;
pub mod view;
pub mod wire;

pub use client_address::{ClientAddress, Onlooker};
pub use command::{ClusterCommand, CommandReply, CommandResult, FailoverKind, ResetKind};
pub use config::{ClusterConfig, EndpointKind};
pub use flags::NodeFlags;
pub use interface::{
    Input, LinkId, LogLevel, MachineMessage, NodeMessage, NodeOrder, NodeStatus, Output, PrimaryLink,
};
pub use machine::ClusterMachine;
pub use messages::Message;
pub use node_id::NodeId;
pub use slots::{SlotRanges, SlotSet};
pub use view::ClusterView;
