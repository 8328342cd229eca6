//! The poll loop, connections, timers and files that drive a node.
//!
//! ```text
//!            ┌────────────────────── executor thread ──────────────────────┐
//! clients ──▶│ poll ─▶ read ─▶ Node::execute ─▶ … ─▶ write ─▶ timers ─▶ poll │──▶ clients
//!            └──────┬───────────────┬──────────────────────┬───────────────┘
//!                   │ messages      │ garbage              │ fork
//!              bus thread      freeing thread        snapshot child
//! ```
//!
//! Everything that touches the world is here and decides nothing: which command may run, what goes to whom and when
//! a connection ends is the node's word.

mod aof;
mod bus;
mod child_report;
mod clock;
mod connection;
pub mod disk;
mod exchange;
mod facts;
mod freeing;
mod host;
mod listener;
pub mod nodes_file;
mod saver;
mod server;
mod snapshot;
mod stopwatch;
mod sync_file;

pub use bus::BusSettings;
pub use clock::Clock;
pub use disk::{Disk, DiskFile, SharedDisk, SystemDisk};
pub use facts::allocator_name;
pub use host::ApplyConfiguration;
pub use listener::{ListenError, Listeners};
pub use server::{
    LoadFailure, Log, Server, ServerSettings, SignalRequests, StopReason, TakeSignals, describe_crash,
};
