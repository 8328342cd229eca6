//! FAILOVER: a primary hands over to one of its replicas, by agreement.
//!
//! ```text
//! AwaitSync ── a replica has acknowledged everything ──▶ InProgress ── it answers PSYNC … FAILOVER ──▶ over
//!     │  └──── time is up and FORCE ───────────────────────▲ │
//!     └─ time is up, ABORT ─▶ over: a primary as before      └─ refused, ABORT ─▶ over: a primary again
//! ```
//!
//! Writes wait from the beginning to the end. While it is in progress this node is a replica already: there are never two
//! primaries.

use super::Reason;
use super::peers::Stage;
use crate::host::{Host, LogLevel};
use crate::node::Node;
use crate::pause::{PauseKind, PauseReason};
use shoal_machine::{Monotonic, Now};
use shoal_protocol::ErrorReply;

const IN_PROGRESS: ErrorReply = ErrorReply::new("ERR FAILOVER already in progress.");
const ON_REPLICA: ErrorReply = ErrorReply::new("ERR FAILOVER is not valid when server is a replica.");
const NO_REPLICAS: ErrorReply = ErrorReply::new("ERR FAILOVER requires connected replicas.");
const FORCE_WITHOUT_LIMITS: ErrorReply =
    ErrorReply::new("ERR FAILOVER with force option requires both a timeout and target HOST and IP.");
const UNKNOWN_TARGET: ErrorReply = ErrorReply::new("ERR FAILOVER target HOST and PORT is not a replica.");
const TARGET_NOT_ONLINE: ErrorReply = ErrorReply::new("ERR FAILOVER target replica is not online.");
const NOTHING_TO_ABORT: ErrorReply = ErrorReply::new("ERR No failover in progress.");

/// How far a failover has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Writes are paused until a replica has everything.
    AwaitSync,
    /// This node follows the target, and asks it to become the primary.
    InProgress,
}

/// A failover that has been asked for.
#[derive(Clone, Debug)]
pub(crate) struct Failover {
    target: Option<(String, u16)>,
    deadline: Option<Monotonic>,
    is_forced: bool,
    /// How far it has come.
    pub phase: Phase,
}

/// What FAILOVER asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailoverOptions {
    /// `TO`: the replica that is to take over; any if there is none.
    pub target: Option<(String, u16)>,
    /// `TIMEOUT`: how long the replica may take to catch up.
    pub timeout_ms: Option<u64>,
    /// `FORCE`: it takes over after that time in any case.
    pub is_forced: bool,
}

impl Node {
    /// The word that INFO shows.
    pub(crate) fn failover_state(&self) -> &'static str {
        match self.replication.failover.as_ref().map(|failover| failover.phase) {
            None => "no-failover",
            Some(Phase::AwaitSync) => "waiting-for-sync",
            Some(Phase::InProgress) => "failover-in-progress",
        }
    }

    /// Whether the next PSYNC tells the target to become a primary.
    pub(crate) fn is_failover_in_progress(&self) -> bool {
        self.replication.failover.as_ref().is_some_and(|failover| failover.phase == Phase::InProgress)
    }

    /// Begins a failover.
    ///
    /// # Errors
    /// It cannot be done now, or not to this target.
    pub(crate) fn begin_failover(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        options: FailoverOptions,
    ) -> Result<(), ErrorReply> {
        if self.replication.failover.is_some() {
            return Err(IN_PROGRESS);
        }
        if self.is_replica() {
            return Err(ON_REPLICA);
        }
        if self.replication.peers.replica_count() == 0 {
            return Err(NO_REPLICAS);
        }
        if options.is_forced && (options.timeout_ms.is_none() || options.target.is_none()) {
            return Err(FORCE_WITHOUT_LIMITS);
        }
        let goal = match &options.target {
            Some((address, port)) => {
                let stage = self.stage_of(address, *port).ok_or(UNKNOWN_TARGET)?;
                if !matches!(stage, Stage::Online | Stage::AwaitAck) {
                    return Err(TARGET_NOT_ONLINE);
                }
                format!("{address}:{port}")
            }
            None => "any replica".to_owned(),
        };
        host.log(LogLevel::Notice, &format!("FAILOVER requested to {goal}."));
        self.replication.failover = Some(Failover {
            target: options.target,
            deadline: options.timeout_ms.map(|timeout_ms| now.monotonic.plus_ms(timeout_ms)),
            is_forced: options.is_forced,
            phase: Phase::AwaitSync,
        });
        // It ends with the failover, however long that takes.
        self.pauses.begin(PauseReason::Failover, PauseKind::Writes, Monotonic(u64::MAX));
        Ok(())
    }

    fn stage_of(&self, address: &str, port: u16) -> Option<Stage> {
        let mut replicas = self.replication.peers.replicas();
        replicas
            .find(|&(handle, peer)| {
                peer.port == port && self.replica_address(handle, peer).eq_ignore_ascii_case(address)
            })
            .map(|(_, peer)| peer.stage)
    }

    /// Goes on with a failover that waits: a replica may have caught up, or the time may be up.
    pub(crate) fn advance_failover(&mut self, now: Now, host: &mut dyn Host) {
        let Some(failover) = self.replication.failover.as_ref() else { return };
        if failover.phase != Phase::AwaitSync {
            return;
        }
        let is_late = failover.deadline.is_some_and(|deadline| deadline <= now.monotonic);
        if is_late && !failover.is_forced {
            self.abort_failover(now, host, "Replica never caught up before timeout");
            return;
        }
        let chosen = match (&failover.target, is_late) {
            (Some(target), true) => Some((target.clone(), "time out exceeded")),
            _ => self.synced_target().map(|target| (target, "is synced")),
        };
        let Some(((address, port), reason)) = chosen else { return };
        let text = if is_late {
            format!("FAILOVER to {address}:{port} {reason}, failing over.")
        } else {
            format!("Failover target {address}:{port} {reason}, failing over.")
        };
        host.log(LogLevel::Notice, &text);
        if let Some(failover) = &mut self.replication.failover {
            failover.phase = Phase::InProgress;
            failover.target = Some((address.clone(), port));
        }
        self.set_primary(now, host, &address, port, Reason::User);
    }

    /// The target if it has acknowledged everything, or any replica that has.
    fn synced_target(&self) -> Option<(String, u16)> {
        let wanted = self.replication.failover.as_ref()?.target.as_ref();
        let end = self.replication_offset();
        self.replication.peers.replicas().find_map(|(handle, peer)| {
            let address = self.replica_address(handle, peer);
            let is_wanted =
                wanted.is_none_or(|(name, port)| peer.port == *port && address.eq_ignore_ascii_case(name));
            (is_wanted && peer.is_online() && peer.ack_offset == end).then(|| (address.to_owned(), peer.port))
        })
    }

    /// The target has answered: this node is its replica now, and writes get the answer of a replica.
    pub(crate) fn finish_failover(&mut self) {
        if self.is_failover_in_progress() {
            self.replication.failover = None;
            self.end_pause(PauseReason::Failover);
        }
    }

    /// Gives a failover up; this node is a primary as before.
    pub(crate) fn abort_failover(&mut self, now: Now, host: &mut dyn Host, reason: &str) {
        let Some(failover) = self.replication.failover.take() else { return };
        let goal = match &failover.target {
            Some((address, port)) => format!("{address}:{port}"),
            None => "any replica".to_owned(),
        };
        host.log(LogLevel::Notice, &format!("FAILOVER to {goal} aborted: {reason}"));
        if failover.phase == Phase::InProgress {
            self.unset_primary(now, host, Reason::User);
        }
        self.end_pause(PauseReason::Failover);
    }

    /// `FAILOVER ABORT`.
    ///
    /// # Errors
    /// There is nothing to abort.
    pub(crate) fn abort_failover_by_user(&mut self, now: Now, host: &mut dyn Host) -> Result<(), ErrorReply> {
        if self.replication.failover.is_none() {
            return Err(NOTHING_TO_ABORT);
        }
        self.abort_failover(now, host, "Failover manually aborted");
        Ok(())
    }
}
