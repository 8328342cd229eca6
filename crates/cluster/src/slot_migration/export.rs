//! The source's end of a migration; see the module's comment.

use super::{
    ACK_INTERVAL_MS, ASK_INTERVAL_MS, EPOCHS_GRANTED, LinkMessage, Outcome, PAUSE_AT_MOST_BYTES, PAUSE_MAX_MS,
};
use shoal_machine::Monotonic;

/// How far an export has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportState {
    /// The connection is being made.
    Connecting,
    /// AUTH was sent.
    Authenticating,
    /// ESTABLISH was sent.
    Establishing,
    /// The target is ready; another child process is still busy here.
    WaitingToSnapshot,
    /// A child writes the keys.
    Snapshotting,
    /// Changes are sent as they come.
    Streaming,
    /// The target has asked for the pause; too much waits to be sent still.
    WaitingToPause,
    /// Writes to the slots wait.
    Paused {
        /// Until then.
        until: Monotonic,
    },
    /// The target may take the slots: nothing of them is served here until it is known what it has done.
    Granted {
        /// The target claims them with an epoch up to this one.
        epoch_max: u64,
        /// The link is gone; the target is asked what has become of the job at this time.
        ask_at: Option<Monotonic>,
    },
    /// It is over.
    Ended(Outcome),
}

/// Who owns the slots, as this node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotsOf {
    /// This node has all of them.
    Mine,
    /// The target has all of them.
    Target,
    /// This node has some of them: the target may have taken all, and given the others to a third node already.
    Partly,
    /// None is this node's, and not all are the target's.
    Others,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportInput {
    /// The connection is there.
    Connected {
        /// The target wants a password.
        sends_auth: bool,
    },
    /// The connection cannot be made.
    Unreachable(String),
    /// The reply to AUTH, to ESTABLISH, or to the question what has become of the job.
    Reply(Result<String, String>),
    /// A message of the target.
    Message(LinkMessage),
    /// The connection is gone.
    LinkLost,
    /// The child that writes the keys has begun.
    SnapshotBegan,
    /// All keys have been written, and handed to the connection.
    SnapshotSent,
    /// The child has failed.
    SnapshotFailed(String),
    /// So many bytes wait to be sent.
    Waiting(usize),
    /// The owner of the slots, in a new view of the cluster; `epoch` is the greatest known.
    View {
        /// Who has the slots.
        slots_of: SlotsOf,
        /// The greatest epoch that this node knows.
        epoch: u64,
        /// The target has failed, or is no primary any more, and no replica is about to take its place.
        is_target_gone: bool,
        /// This node is a primary.
        is_primary: bool,
    },
    /// The machine of this node does not claim the slots any more.
    GrantMade {
        /// The config epoch of this node: it has claimed them with no greater one, and what it said last may still be on its way.
        config_epoch: u64,
    },
    /// The grant could not be made.
    NotGranted(String),
    /// Somebody wants it to end.
    Cancel,
    /// It cannot go on: all keys were deleted, or too much waits to be sent.
    Abort(&'static str),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportOutput {
    /// Connect to the target.
    Connect,
    /// Send AUTH.
    SendAuth,
    /// Send ESTABLISH.
    SendEstablish,
    /// Ask what has become of the job: STATUS.
    SendStatus,
    /// Send a message, after all changes so far.
    Send(LinkMessage),
    /// Start the child that writes the keys, when there is no other.
    BeginSnapshot,
    /// End the child.
    CancelSnapshot,
    /// Let writes to the slots wait.
    PauseWrites,
    /// Let everything wait that concerns the slots, and do not claim them in the cluster any more: [`ExportInput::GrantMade`] or
    /// [`ExportInput::NotGranted`] follows.
    PauseAll,
    /// Serve the slots again.
    Release,
    /// Take an epoch above this one and claim the slots again; before they are served again.
    Revoke {
        /// The greatest epoch with which the target may have claimed the slots.
        epoch_max: u64,
    },
    /// Close the connection.
    Close,
    /// It is over; why, for the operator.
    Ended(Outcome, String),
}

/// An export.
#[derive(Clone, Debug)]
pub struct Export {
    state: ExportState,
    /// The target was heard of last.
    heard_at: Monotonic,
    next_ack_at: Monotonic,
    timeout_ms: u64,
    epoch: u64,
    is_target_gone: bool,
}

impl Export {
    /// A job that begins to connect. A target that is silent for `timeout_ms` is given up.
    pub fn new(now: Monotonic, timeout_ms: u64, outputs: &mut Vec<ExportOutput>) -> Self {
        outputs.push(ExportOutput::Connect);
        Self {
            state: ExportState::Connecting,
            heard_at: now,
            next_ack_at: now,
            timeout_ms,
            epoch: 0,
            is_target_gone: false,
        }
    }

    /// How far it has come.
    pub fn state(&self) -> ExportState {
        self.state
    }

    /// The word that Valkey shows.
    pub fn state_word(&self) -> &'static str {
        match self.state {
            ExportState::Connecting => "connecting",
            ExportState::Authenticating => "reading-auth-response",
            ExportState::Establishing => "reading-establish-response",
            ExportState::WaitingToSnapshot => "waiting-to-snapshot",
            ExportState::Snapshotting => "snapshotting",
            ExportState::Streaming => "replicating",
            ExportState::WaitingToPause => "waiting-to-pause",
            ExportState::Paused { .. } => "failover-paused",
            ExportState::Granted { .. } => "failover-granted",
            ExportState::Ended(outcome) => outcome.word(),
        }
    }

    /// Whether it is over.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, ExportState::Ended(_))
    }

    /// Whether changes of the slots have to be sent, now or after the snapshot.
    pub fn takes_changes(&self) -> bool {
        matches!(
            self.state,
            ExportState::Snapshotting
                | ExportState::Streaming
                | ExportState::WaitingToPause
                | ExportState::Paused { .. }
        )
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Monotonic, input: ExportInput, outputs: &mut Vec<ExportOutput>) {
        use ExportState::{Authenticating, Connecting, Ended, Granted, Snapshotting, Streaming};
        if self.has_ended() {
            return;
        }
        match input {
            ExportInput::Connected { sends_auth } => self.connected(now, sends_auth, outputs),
            ExportInput::Unreachable(reason) => match self.state {
                Granted { .. } => self.ask_later(now),
                _ => self.fail(format!("Unable to connect to target node: {reason}"), outputs),
            },
            ExportInput::Reply(reply) => {
                self.heard_at = now;
                self.replied(now, reply, outputs);
            }
            ExportInput::Message(message) => {
                self.heard_at = now;
                self.told(now, message, outputs);
            }
            ExportInput::LinkLost => match self.state {
                Granted { .. } => self.ask_later(now),
                Ended(_) => {}
                Connecting | Authenticating => self.fail("Connection lost to target.".to_owned(), outputs),
                _ => self.fail(LINK_LOST.to_owned(), outputs),
            },
            ExportInput::SnapshotBegan if self.state == ExportState::WaitingToSnapshot => {
                self.state = Snapshotting;
            }
            ExportInput::SnapshotBegan => {}
            ExportInput::SnapshotSent if self.state == Snapshotting => {
                self.state = Streaming;
                outputs.push(ExportOutput::Send(LinkMessage::SnapshotEof));
            }
            ExportInput::SnapshotSent => {}
            ExportInput::SnapshotFailed(reason) => {
                if matches!(self.state, ExportState::WaitingToSnapshot | Snapshotting) {
                    self.fail(format!("Failed to perform snapshot: {reason}"), outputs);
                }
            }
            ExportInput::Waiting(bytes) => self.pause_if_due(now, bytes, outputs),
            ExportInput::View { slots_of, epoch, is_target_gone, is_primary } => {
                (self.epoch, self.is_target_gone) = (epoch, is_target_gone);
                self.viewed(slots_of, is_target_gone, is_primary, outputs);
            }
            ExportInput::GrantMade { config_epoch } => self.grant(config_epoch, outputs),
            ExportInput::NotGranted(reason) => self.fail(reason, outputs),
            ExportInput::Cancel => {
                if !matches!(self.state, Granted { .. }) {
                    self.end(Outcome::Cancelled, String::new(), outputs);
                }
            }
            ExportInput::Abort(reason) => {
                if !matches!(self.state, Granted { .. }) {
                    self.fail(reason.to_owned(), outputs);
                }
            }
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Monotonic, outputs: &mut Vec<ExportOutput>) {
        match self.state {
            ExportState::Ended(_) => return,
            ExportState::Granted { epoch_max, ask_at } => {
                if ask_at.is_some_and(|at| at <= now) {
                    self.state = ExportState::Granted { epoch_max, ask_at: None };
                    outputs.push(ExportOutput::Connect);
                }
                return;
            }
            ExportState::Paused { until } if until <= now => {
                return self.fail("Timed out before streaming completed".to_owned(), outputs);
            }
            _ => {}
        }
        // While the child writes, the connection belongs to its bytes; the target is silent until it has them all.
        let is_heard_anyway = matches!(self.state, ExportState::Snapshotting);
        if is_heard_anyway {
            self.heard_at = now;
        } else if now.ms_since(self.heard_at) > self.timeout_ms {
            return self.fail("Timed out after too long with no interaction".to_owned(), outputs);
        }
        if self.state == ExportState::WaitingToSnapshot {
            outputs.push(ExportOutput::BeginSnapshot);
        }
        let may_send = matches!(
            self.state,
            ExportState::WaitingToSnapshot | ExportState::Streaming | ExportState::WaitingToPause
        );
        if may_send && now >= self.next_ack_at {
            self.next_ack_at = now.plus_ms(ACK_INTERVAL_MS);
            outputs.push(ExportOutput::Send(LinkMessage::Ack));
        }
    }

    /// When [`Export::tick`] is wanted, beside the regular ticks.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match self.state {
            ExportState::Granted { ask_at, .. } => ask_at,
            ExportState::Paused { until } => Some(until),
            _ => None,
        }
    }

    fn connected(&mut self, now: Monotonic, sends_auth: bool, outputs: &mut Vec<ExportOutput>) {
        self.heard_at = now;
        match self.state {
            ExportState::Granted { .. } => {
                if sends_auth {
                    outputs.push(ExportOutput::SendAuth);
                }
                outputs.push(ExportOutput::SendStatus);
            }
            _ if sends_auth => {
                self.state = ExportState::Authenticating;
                outputs.push(ExportOutput::SendAuth);
            }
            _ => self.establish(outputs),
        }
    }

    fn establish(&mut self, outputs: &mut Vec<ExportOutput>) {
        self.state = ExportState::Establishing;
        outputs.push(ExportOutput::SendEstablish);
    }

    fn replied(&mut self, now: Monotonic, reply: Result<String, String>, outputs: &mut Vec<ExportOutput>) {
        match (self.state, reply) {
            (ExportState::Authenticating, Ok(_)) => self.establish(outputs),
            (ExportState::Authenticating, Err(text)) => {
                self.fail(format!("Failed to AUTH to target node: {text}"), outputs);
            }
            (ExportState::Establishing, Ok(_)) => {
                self.state = ExportState::WaitingToSnapshot;
                self.next_ack_at = now.plus_ms(ACK_INTERVAL_MS);
                outputs.push(ExportOutput::Send(LinkMessage::Ack));
                outputs.push(ExportOutput::BeginSnapshot);
            }
            (ExportState::Establishing, Err(text)) => {
                self.fail(format!("Received error during handshake to target: {text}"), outputs);
            }
            (ExportState::Granted { .. }, Ok(word)) => match word.as_str() {
                // The slots are the target's; the bus brings that here.
                "success" => {
                    outputs.push(ExportOutput::Close);
                    self.ask_later(now);
                }
                // It cannot take them any more.
                "failed" | "unknown" => self.fail(LINK_LOST.to_owned(), outputs),
                // The reply to AUTH, or it is still at it.
                "OK" => {}
                _ => {
                    outputs.push(ExportOutput::Close);
                    self.ask_later(now);
                }
            },
            // It is loading, or wants a password: it will answer some time.
            (ExportState::Granted { .. }, Err(_)) => {
                outputs.push(ExportOutput::Close);
                self.ask_later(now);
            }
            _ => self.fail("Received a reply that was not asked for".to_owned(), outputs),
        }
    }

    fn told(&mut self, now: Monotonic, message: LinkMessage, outputs: &mut Vec<ExportOutput>) {
        match (self.state, message) {
            (_, LinkMessage::Ack) => {}
            (_, LinkMessage::GaveUp) => {
                self.fail("The target node has given up".to_owned(), outputs);
            }
            (ExportState::Streaming, LinkMessage::RequestPause) => self.state = ExportState::WaitingToPause,
            // It would be taken back at once.
            (ExportState::Paused { .. }, LinkMessage::RequestFailover) if self.is_target_gone => {
                self.fail("The target node has failed".to_owned(), outputs);
            }
            (ExportState::Paused { until }, LinkMessage::RequestFailover) if until > now => {
                let epoch_max = self.epoch.saturating_add(EPOCHS_GRANTED);
                self.state = ExportState::Granted { epoch_max, ask_at: None };
                // Nothing is read here that the target may have changed.
                outputs.push(ExportOutput::PauseAll);
            }
            (ExportState::Granted { .. }, _) => {}
            _ => self.fail(UNEXPECTED.to_owned(), outputs),
        }
    }

    /// A claim of this node that is still on its way must not beat that of the target: the target is told how great an epoch the
    /// former may have.
    fn grant(&mut self, config_epoch: u64, outputs: &mut Vec<ExportOutput>) {
        if let ExportState::Granted { epoch_max, .. } = &mut self.state {
            *epoch_max = (*epoch_max).max(config_epoch.saturating_add(EPOCHS_GRANTED));
            let (epoch_max, above) = (*epoch_max, config_epoch);
            outputs.push(ExportOutput::Send(LinkMessage::FailoverGranted { epoch_max, above }));
        }
    }

    fn pause_if_due(&mut self, now: Monotonic, waiting_bytes: usize, outputs: &mut Vec<ExportOutput>) {
        if self.state == ExportState::WaitingToPause && waiting_bytes <= PAUSE_AT_MOST_BYTES {
            self.state = ExportState::Paused { until: now.plus_ms(PAUSE_MAX_MS) };
            outputs.push(ExportOutput::PauseWrites);
            outputs.push(ExportOutput::Send(LinkMessage::Paused));
        }
    }

    fn viewed(
        &mut self,
        slots_of: SlotsOf,
        is_target_gone: bool,
        is_primary: bool,
        outputs: &mut Vec<ExportOutput>,
    ) {
        let granted = match self.state {
            ExportState::Granted { epoch_max, .. } => Some(epoch_max),
            _ => None,
        };
        match slots_of {
            SlotsOf::Target if granted.is_some() => {
                self.end(Outcome::Success, String::new(), outputs);
            }
            _ if !is_primary => self.fail("This node is no primary any more".to_owned(), outputs),
            // Of a part that went on to others nothing follows for the rest: that may be the target's, too.
            SlotsOf::Partly if granted.is_none() => {
                self.fail("Slots are no longer owned by myself".to_owned(), outputs);
            }
            SlotsOf::Mine | SlotsOf::Partly => {
                if let Some(epoch_max) = granted.filter(|_| is_target_gone) {
                    outputs.push(ExportOutput::Revoke { epoch_max });
                    self.fail(
                        "The target node failed when it was about to take the slots".to_owned(),
                        outputs,
                    );
                }
            }
            SlotsOf::Target | SlotsOf::Others => {
                self.fail("Slots are no longer owned by myself".to_owned(), outputs);
            }
        }
    }

    fn ask_later(&mut self, now: Monotonic) {
        if let ExportState::Granted { ask_at, .. } = &mut self.state {
            *ask_at = Some(now.plus_ms(ASK_INTERVAL_MS));
        }
    }

    fn fail(&mut self, reason: String, outputs: &mut Vec<ExportOutput>) {
        self.end(Outcome::Failed, reason, outputs);
    }

    fn end(&mut self, outcome: Outcome, reason: String, outputs: &mut Vec<ExportOutput>) {
        let before = std::mem::replace(&mut self.state, ExportState::Ended(outcome));
        if matches!(before, ExportState::WaitingToSnapshot | ExportState::Snapshotting) {
            outputs.push(ExportOutput::CancelSnapshot);
        }
        if matches!(before, ExportState::Paused { .. } | ExportState::Granted { .. }) {
            outputs.push(ExportOutput::Release);
        }
        outputs.push(ExportOutput::Close);
        outputs.push(ExportOutput::Ended(outcome, reason));
    }
}

const LINK_LOST: &str =
    "Connection lost to target. Check CLUSTER GETSLOTMIGRATIONS on the target node for more information.";
const UNEXPECTED: &str = "Unexpected state machine transition";
