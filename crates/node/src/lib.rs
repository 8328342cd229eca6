//! One whole server without sockets: dispatch, transactions, waiting clients, replication, INFO.
//!
//! ```text
//!  shell ── connect, execute, tick, cluster messages ──▶ Node ── replies in each session's output ──▶ shell
//!        ◀───────────── Host: asked at once ────────────      ── actions, carried out later ────────▶
//! ```
//!
//! The node holds store, sessions and replication, and talks with the cluster machine by messages. It never sees a
//! socket, a file or a clock; the simulator drives the same code.

mod action;
mod aof;
mod blocking;
mod call;
mod client_line;
mod client_memory;
mod clients;
mod cluster;
mod cluster_events;
mod commands;
mod dispatch;
mod eviction;
mod expiry;
mod histogram;
mod host;
mod info;
mod latency;
mod limits;
mod loading;
mod monitor;
mod names;
mod node;
mod notify;
mod pause;
mod persistence;
mod plain;
mod propagation;
mod replication;
mod routing;
mod shutdown;
mod slot_migration;
mod slot_stats;
mod slow_log;
mod snapshot;
mod stats;
pub mod testing;
mod watch;
mod watch_flush;

pub use action::{Action, ShutdownRequest};
pub use call::{NodeBody, NodeCall};
pub use clients::Handle;
pub use commands::migrate::TARGETS_MAX as EXCHANGE_CONNECTIONS_MAX;
pub use dispatch::{PREFETCHED_REQUESTS, Verdict};
pub use host::{
    AofHealth, ClusterAnswer, Crash, Exchange, ExchangeFailure, Exchanged, Host, LinkBuffer, LogLevel,
    ProcessFacts, SnapshotContext, SnapshotProgress, SnapshotReport, SnapshotStart, SnapshotTarget, SyncFile,
};
pub use node::{Node, NodeIdentity, NodeSettings};
pub use stats::Stats;
