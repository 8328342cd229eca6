//! Atomic slot migration: a primary gives slots with all their keys to another primary, at once.
//!
//! ```text
//!  source (Export)                                      target (Import)
//!   connecting … reading-establish-response  ── ESTABLISH ──▶  waiting-for-ack
//!   waiting-to-snapshot                      ──── ACK ──────▶  receiving-snapshot
//!   snapshotting                             ══ snapshot ═══▶
//!   replicating                              ─ SNAPSHOT-EOF ▶  waiting-for-paused: a majority votes for it, then
//!   waiting-to-pause                         ◀ REQUEST-PAUSE ─
//!   failover-paused   (writes wait)          ══ changes, PAUSED ▶  its replicas have everything, then
//!                                            ◀ REQUEST-FAILOVER ─  failover-requested
//!   failover-granted  (reads wait, too)      ─ FAILOVER-GRANTED ▶  claims the slots, saves, tells everybody
//!   success           ◀───────────── the cluster bus ────────────  success
//! ```
//!
//! The messages and the names of the states are those of Valkey 9. The two ends are machines without sockets and keys; the
//! node that drives them does what their outputs say.
//!
//! **Why there is one owner at a time.** Before the grant the target cannot take the slots, so the source may go on whenever
//! something fails. After the grant the source serves nothing of these slots any more, and does not claim them in the cluster
//! either, so that the target's claim counts whatever the epochs of the two become; however long that takes, until it *knows*
//! what has happened. It sees the slots at the target; or the target says that it has given up (over the link, or when it is
//! asked again on a new one), after which it cannot take them; or the target has failed, by the word of a majority, and is
//! not replaced any more: then the source takes an epoch above the greatest one with which the target may have claimed the
//! slots (the grant says which), so that a claim that nobody has heard of loses when the target comes back.

mod export;
mod import;
#[cfg(test)]
mod tests;

pub use export::{Export, ExportInput, ExportOutput, ExportState, SlotsOf};
pub use import::{Import, ImportInput, ImportOutput, ImportState};

use crate::NodeId;

/// The name of a job: 40 hexadecimal characters, as those of nodes.
pub type JobName = NodeId;

/// For how long writes wait for the target to ask for the slots; then the job fails and they go on.
pub const PAUSE_MAX_MS: u64 = 5000;
/// Writes are paused when no more bytes than this wait to be sent: what is left then takes a few milliseconds.
pub const PAUSE_AT_MOST_BYTES: usize = 64 * 1024;
/// How long the target waits for its own replicas to have everything before it takes the slots.
pub const REPLICA_WAIT_MS: u64 = 500;
/// How long a majority of the primaries may take to know the epoch with which the target is to claim the slots.
pub const AGREEMENT_MAX_MS: u64 = 10_000;
/// Each side says so often that it is there.
pub const ACK_INTERVAL_MS: u64 = 1000;
/// How often the source asks a target, to which it has granted the slots and lost the link, what has become of it.
pub const ASK_INTERVAL_MS: u64 = 200;
/// So many epochs above its own the source lets the target go when that claims the slots.
pub const EPOCHS_GRANTED: u64 = 64;

/// Why a claim is refused that may be made with another epoch: this node has come to a greater one since its epoch was agreed on.
pub const EPOCH_IS_OLD: &str = "This node has come to a greater epoch";

/// What the two ends say to each other once the link is established: subcommands of CLUSTER SYNCSLOTS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkMessage {
    /// The sender is alive.
    Ack,
    /// The snapshot has ended; changes follow.
    SnapshotEof,
    /// The target has loaded the snapshot: writes are to stop soon.
    RequestPause,
    /// Writes have stopped: everything has been sent.
    Paused,
    /// The target has everything and asks for the slots.
    RequestFailover,
    /// The target may take the slots.
    FailoverGranted {
        /// With an epoch up to this one,
        epoch_max: u64,
        /// and above this one: the greatest with which the source has claimed them.
        above: u64,
    },
    /// The target has given up, and cannot take the slots any more.
    GaveUp,
}

/// How a job has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The slots are the target's.
    Success,
    /// They are still the source's, or somebody else's.
    Failed,
    /// Somebody has cancelled it; they are still the source's.
    Cancelled,
}

impl Outcome {
    /// The word that Valkey shows.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}
