//! CLUSTER FAILOVER: a replica takes over from a primary that is up.
//!
//! ```text
//!   replica                       primary                        its executor
//!     MFSTART  ------------------>  PauseWrites  ------------------>
//!                                                <------------------  Paused at offset
//!     <------ PING, paused, offset
//!   has reached that offset: election at once, with votes that need no failed primary
//! ```
//!
//! The offset is announced only after the executor confirmed the pause, so no write can slip in behind it.

use super::ClusterMachine;
use crate::interface::{LogLevel, MachineMessage, Output};
use crate::messages::Header;
use crate::view::NodeKey;
use shoal_machine::Monotonic;

/// A manual failover is given up after this.
pub(super) const TIMEOUT_MS: u64 = 5000;
/// Writes stay paused for so many timeouts, should nobody end the pause.
const PAUSE_TIMEOUTS: u64 = 2;

/// How far a manual failover has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ManualFailover {
    /// There is none.
    None,
    /// We are the primary.
    Primary {
        /// When it is given up.
        until: Monotonic,
        /// Who takes over.
        replica: NodeKey,
        /// Names the pause.
        ticket: u64,
        /// The executor has confirmed the pause.
        is_paused: bool,
    },
    /// We take over.
    Replica {
        /// When it is given up.
        until: Monotonic,
        /// The primary's last offset, once it told.
        primary_offset: Option<u64>,
        /// The election may begin.
        can_start: bool,
    },
}

impl ClusterMachine {
    /// Ends a manual failover on either side.
    pub(super) fn reset_manual_failover(&mut self) {
        if let ManualFailover::Primary { .. } = self.manual_failover {
            self.todo.unpause = true;
        }
        self.manual_failover = ManualFailover::None;
    }

    /// Begins one on the replica's side; with `force` the primary is not asked.
    pub(super) fn begin_manual_failover(&mut self, force: bool) {
        self.reset_manual_failover();
        let until = self.monotonic().plus_ms(TIMEOUT_MS);
        self.manual_failover = ManualFailover::Replica { until, primary_offset: None, can_start: force };
        self.election = super::Election::Idle;
        self.todo.election = true;
    }

    /// Begins to ask a replica to take over.
    pub(super) fn begin_hand_over(&mut self, replica: NodeKey) {
        self.hand_over = Some((replica, self.monotonic().plus_ms(TIMEOUT_MS)));
        self.send_ping(replica);
    }

    /// Whether a ping to this node asks it to take over.
    pub(super) fn asks_to_take_over(&self, target: Option<NodeKey>) -> bool {
        let now = self.monotonic();
        self.me().is_primary()
            && self.hand_over.is_some_and(|(replica, until)| Some(replica) == target && now < until)
    }

    /// Our replica wants to take over.
    pub(super) fn on_manual_failover_start(&mut self, sender: NodeKey) {
        let is_my_replica = self.table.get(sender).is_some_and(|node| node.primary == Some(self.myself));
        if !self.me().is_primary() || !is_my_replica {
            return;
        }
        self.reset_manual_failover();
        let until = self.monotonic().plus_ms(TIMEOUT_MS);
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.manual_failover = ManualFailover::Primary { until, replica: sender, ticket, is_paused: false };
        self.todo.unpause = false;
        let for_ms = TIMEOUT_MS * PAUSE_TIMEOUTS;
        self.outputs.push(Output::ToNode(MachineMessage::PauseWrites { ticket, for_ms }));
        if let Some(node) = self.table.get(sender) {
            let text = format!("Manual failover requested by replica {}.", node.id.as_str());
            self.log(LogLevel::Warning, text);
        }
    }

    /// The executor has stopped writes at `offset`.
    pub(super) fn on_paused(&mut self, confirmed: u64, offset: u64) {
        let ManualFailover::Primary { replica, ticket, is_paused, .. } = &mut self.manual_failover else {
            return;
        };
        if *ticket != confirmed {
            return;
        }
        *is_paused = true;
        let replica = *replica;
        self.status.replication_offset = offset;
        self.send_ping(replica);
    }

    /// Whether messages say that writes are paused.
    pub(super) fn is_paused_for_failover(&self) -> bool {
        matches!(self.manual_failover, ManualFailover::Primary { is_paused: true, .. })
    }

    /// Whether this replica has asked for a manual failover.
    pub(super) fn is_manual_failover_of_replica(&self) -> bool {
        matches!(self.manual_failover, ManualFailover::Replica { .. })
    }

    /// Whether this replica may stand for election although its primary is up.
    pub(super) fn may_start_manual_failover(&self) -> bool {
        matches!(self.manual_failover, ManualFailover::Replica { can_start: true, .. })
    }

    /// A message of our paused primary tells the offset to reach.
    pub(super) fn note_paused_primary(&mut self, sender: NodeKey, header: &Header) {
        if !header.paused || self.my_primary() != Some(sender) {
            return;
        }
        let ManualFailover::Replica { primary_offset: primary_offset @ None, .. } = &mut self.manual_failover
        else {
            return;
        };
        let reach = header.replication_offset;
        *primary_offset = Some(reach);
        self.log(
            LogLevel::Warning,
            format!("Received replication offset for paused master manual failover: {reach}"),
        );
        self.outputs.push(Output::ToNode(MachineMessage::ReportOffset { reach }));
        self.todo.manual_failover = true;
    }

    /// Goes on once all of the primary's stream is here.
    pub(super) fn run_manual_failover(&mut self) {
        let reached = self.status.replication_offset;
        let ManualFailover::Replica { primary_offset: Some(offset), can_start, .. } =
            &mut self.manual_failover
        else {
            return;
        };
        if *can_start || reached < *offset {
            return;
        }
        *can_start = true;
        self.election = super::Election::Idle;
        self.log(
            LogLevel::Warning,
            "All master replication stream processed, manual failover can start.".to_owned(),
        );
    }

    /// Gives up after a while; on the primary, keeps telling the offset meanwhile.
    pub(super) fn manual_failover_cron(&mut self) {
        let now = self.monotonic();
        let until = match self.manual_failover {
            ManualFailover::None => return,
            ManualFailover::Primary { until, .. } | ManualFailover::Replica { until, .. } => until,
        };
        if until < now {
            self.log(LogLevel::Warning, "Manual failover timed out.".to_owned());
            self.reset_manual_failover();
            return;
        }
        match self.manual_failover {
            ManualFailover::Primary { replica, is_paused: true, .. } => self.send_ping(replica),
            ManualFailover::Replica { .. } => self.todo.manual_failover = true,
            _ => {}
        }
    }

    /// A node is gone; so is the failover it wanted.
    pub(super) fn manual_failover_lost_node(&mut self, key: NodeKey) {
        if let ManualFailover::Primary { replica, .. } = self.manual_failover
            && replica == key
        {
            self.reset_manual_failover();
        }
    }
}
