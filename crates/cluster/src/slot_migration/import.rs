//! The target's end of a migration; see the module's comment.

use super::{ACK_INTERVAL_MS, AGREEMENT_MAX_MS, LinkMessage, Outcome, REPLICA_WAIT_MS};
use shoal_machine::Monotonic;

/// How far an import has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportState {
    /// The source has announced it.
    WaitingForAck,
    /// Keys arrive.
    ReceivingSnapshot,
    /// Changes arrive; the source is to pause writes.
    WaitingForPaused,
    /// Everything is here; this node's own replicas are waited for.
    WaitingForReplicas {
        /// Not longer than until then.
        until: Monotonic,
    },
    /// The source has been asked for the slots.
    FailoverRequested,
    /// The source has granted the slots, and this node claims them.
    FailoverGranted,
    /// It has come to nothing, and the keys are being deleted.
    CleaningUp(Outcome),
    /// It happens at this node's primary, or happened before this node started.
    OccurringOnPrimary,
    /// It is over.
    Ended(Outcome),
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportInput {
    /// A message of the source.
    Message(LinkMessage),
    /// The connection is gone.
    LinkLost,
    /// All replicas of this node have everything that it has.
    ReplicasInStep,
    /// A majority of the primaries knows this epoch.
    EpochAgreed(u64),
    /// The slots are claimed, and that is saved; or why they cannot be.
    Claimed(Result<(), String>),
    /// The slots cannot be claimed with this epoch, since the node has come to a greater one ([`super::EPOCH_IS_OLD`]).
    EpochIsOld {
        /// The greatest epoch that the source allows.
        epoch_max: u64,
    },
    /// It cannot go on.
    Abort(String),
    /// All keys are deleted.
    CleanedUp,
    /// The primary says how it ended.
    Finished {
        /// The slots are the shard's.
        is_success: bool,
        /// Why not.
        message: String,
    },
    /// This node was a primary and is a replica now: the import is its new primary's affair.
    Demoted,
    /// This node followed an import of its primary, and is the primary now.
    Promoted {
        /// The slots are this node's already: all, or those that have not gone on to others since.
        owns_slots: bool,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportOutput {
    /// Send a message to the source.
    Send(LinkMessage),
    /// Have a majority of the primaries know a new epoch.
    AgreeOnEpoch {
        /// It is to be greater than this one.
        above: u64,
    },
    /// Ask the replicas how far they are, and say when all have everything.
    WaitForReplicas,
    /// Claim the slots, with an epoch up to this one.
    Claim {
        /// One that a majority knows.
        epoch: u64,
        /// The greatest epoch that the source allows.
        epoch_max: u64,
    },
    /// Delete the keys of the slots.
    CleanUp,
    /// Delete the keys of those of the slots that are others'.
    CleanUpOthers,
    /// Close the connection.
    Close,
    /// It is over; why, for the operator. Replicas and files are told.
    Ended(Outcome, String),
}

/// An import.
#[derive(Clone, Debug)]
pub struct Import {
    state: ImportState,
    heard_at: Monotonic,
    next_ack_at: Monotonic,
    timeout_ms: u64,
    message: String,
    /// The epoch that a majority knows.
    epoch: Option<u64>,
    /// Until when a majority has to know it.
    agree_by: Option<Monotonic>,
    /// The slots are granted, up to this epoch; one that is great enough for the claim is being agreed on.
    granted: Option<u64>,
}

impl Import {
    /// An import that the source has announced. A source that is silent for `timeout_ms` is given up.
    pub fn new(now: Monotonic, timeout_ms: u64) -> Self {
        Self::in_state(ImportState::WaitingForAck, now, timeout_ms)
    }

    /// An import that happens at the primary of this node, or that a file tells of.
    pub fn elsewhere(now: Monotonic, timeout_ms: u64) -> Self {
        Self::in_state(ImportState::OccurringOnPrimary, now, timeout_ms)
    }

    fn in_state(state: ImportState, now: Monotonic, timeout_ms: u64) -> Self {
        let message = String::new();
        let (epoch, agree_by, granted) = (None, None, None);
        Self { state, heard_at: now, next_ack_at: now, timeout_ms, message, epoch, agree_by, granted }
    }

    /// How far it has come.
    pub fn state(&self) -> ImportState {
        self.state
    }

    /// The word that Valkey shows; it has none for waiting for replicas.
    pub fn state_word(&self) -> &'static str {
        match self.state {
            ImportState::WaitingForAck => "waiting-for-ack",
            ImportState::ReceivingSnapshot => "receiving-snapshot",
            ImportState::WaitingForPaused => "waiting-for-paused",
            ImportState::WaitingForReplicas { .. } => "waiting-for-replicas",
            ImportState::FailoverRequested => "failover-requested",
            ImportState::FailoverGranted => "failover-granted",
            ImportState::CleaningUp(_) => "cleaning-up",
            ImportState::OccurringOnPrimary => "occurring-on-primary",
            ImportState::Ended(outcome) => outcome.word(),
        }
    }

    /// Whether it is over, with nothing left to be done.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, ImportState::Ended(_))
    }

    /// Whether it is still hoped for; not when it is cleaned up.
    pub fn is_in_progress(&self) -> bool {
        !matches!(self.state, ImportState::Ended(_) | ImportState::CleaningUp(_))
    }

    /// Whether this node can still take the slots: what the source is told when it asks.
    pub fn status_word(&self) -> &'static str {
        match self.state {
            ImportState::Ended(Outcome::Success) => "success",
            ImportState::Ended(_) | ImportState::CleaningUp(_) => "failed",
            _ => "in-progress",
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Monotonic, input: ImportInput, outputs: &mut Vec<ImportOutput>) {
        use ImportState::{CleaningUp, Ended, FailoverGranted, OccurringOnPrimary, WaitingForReplicas};
        match (self.state, input) {
            (Ended(_), _) => {}
            (CleaningUp(outcome), ImportInput::CleanedUp) => {
                let message = std::mem::take(&mut self.message);
                self.end(outcome, message, outputs);
            }
            (CleaningUp(outcome), ImportInput::Demoted) => {
                // The new primary has the rest of the keys, and the marker that says so.
                let _ = outcome;
                self.state = OccurringOnPrimary;
            }
            (CleaningUp(_), _) => {}
            (OccurringOnPrimary, input) => self.told_elsewhere(input, outputs),
            // The claim is on its way: what becomes of it is all that counts now.
            (FailoverGranted, ImportInput::LinkLost | ImportInput::Abort(_) | ImportInput::Message(_)) => {}
            (_, ImportInput::Message(message)) => {
                self.heard_at = now;
                self.told(now, message, outputs);
            }
            (WaitingForReplicas { .. }, ImportInput::ReplicasInStep) => self.request_slots(outputs),
            (_, ImportInput::ReplicasInStep) => {}
            (state, ImportInput::EpochAgreed(epoch)) => {
                if state == ImportState::WaitingForPaused && self.epoch.is_none() {
                    self.epoch = Some(epoch);
                    self.agree_by = None;
                    outputs.push(ImportOutput::Send(LinkMessage::RequestPause));
                } else if state == FailoverGranted
                    && let Some(epoch_max) = self.granted.take()
                {
                    self.agree_by = None;
                    outputs.push(ImportOutput::Claim { epoch, epoch_max });
                }
            }
            (FailoverGranted, ImportInput::Claimed(Ok(()))) => {
                self.end(Outcome::Success, String::new(), outputs);
            }
            (FailoverGranted, ImportInput::Claimed(Err(reason))) => {
                outputs.push(ImportOutput::Send(LinkMessage::GaveUp));
                self.fail(reason, outputs);
            }
            (_, ImportInput::Claimed(_)) => {}
            (FailoverGranted, ImportInput::EpochIsOld { epoch_max }) => {
                self.agree_again(now, 0, epoch_max, outputs);
            }
            (_, ImportInput::EpochIsOld { .. }) => {}
            (_, ImportInput::LinkLost) => self.fail(LINK_LOST.to_owned(), outputs),
            (_, ImportInput::Abort(reason)) => {
                outputs.push(ImportOutput::Send(LinkMessage::GaveUp));
                self.fail(reason, outputs);
            }
            (_, ImportInput::Demoted) => {
                self.state = OccurringOnPrimary;
                self.granted = None;
                outputs.push(ImportOutput::Close);
            }
            (_, ImportInput::CleanedUp | ImportInput::Finished { .. } | ImportInput::Promoted { .. }) => {}
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Monotonic, outputs: &mut Vec<ImportOutput>) {
        match self.state {
            ImportState::WaitingForReplicas { until } if until <= now => self.request_slots(outputs),
            ImportState::Ended(_) | ImportState::CleaningUp(_) | ImportState::OccurringOnPrimary => return,
            // What becomes of the claim is all that counts now.
            ImportState::FailoverGranted if self.granted.is_none() => return,
            _ => {}
        }
        if self.agree_by.is_some_and(|at| at <= now) {
            outputs.push(ImportOutput::Send(LinkMessage::GaveUp));
            return self.fail("A majority of the primaries cannot be reached".to_owned(), outputs);
        }
        if self.state == ImportState::FailoverGranted {
            return;
        }
        if now.ms_since(self.heard_at) > self.timeout_ms {
            return self.fail("Timed out after too long with no interaction".to_owned(), outputs);
        }
        if self.state != ImportState::WaitingForAck && now >= self.next_ack_at {
            self.next_ack_at = now.plus_ms(ACK_INTERVAL_MS);
            outputs.push(ImportOutput::Send(LinkMessage::Ack));
        }
    }

    /// When [`Import::tick`] is wanted, beside the regular ticks.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match self.state {
            ImportState::WaitingForReplicas { until } => Some(until),
            _ => None,
        }
    }

    /// Something was read from the link at this time.
    pub fn heard(&mut self, at: Monotonic) {
        self.heard_at = self.heard_at.max(at);
    }

    fn told(&mut self, now: Monotonic, message: LinkMessage, outputs: &mut Vec<ImportOutput>) {
        match (self.state, message) {
            (ImportState::WaitingForAck, LinkMessage::Ack) => self.state = ImportState::ReceivingSnapshot,
            (_, LinkMessage::Ack) => {}
            (ImportState::ReceivingSnapshot, LinkMessage::SnapshotEof) => {
                self.state = ImportState::WaitingForPaused;
                // Only then does the source pause: nobody waits for the agreement.
                self.agree_by = Some(now.plus_ms(AGREEMENT_MAX_MS));
                outputs.push(ImportOutput::AgreeOnEpoch { above: 0 });
            }
            (ImportState::WaitingForPaused, LinkMessage::Paused) => {
                self.state = ImportState::WaitingForReplicas { until: now.plus_ms(REPLICA_WAIT_MS) };
                outputs.push(ImportOutput::WaitForReplicas);
            }
            (ImportState::FailoverRequested, LinkMessage::FailoverGranted { epoch_max, above }) => {
                self.state = ImportState::FailoverGranted;
                match self.epoch.filter(|epoch| *epoch > above) {
                    Some(epoch) => outputs.push(ImportOutput::Claim { epoch, epoch_max }),
                    None if above >= epoch_max => {
                        outputs.push(ImportOutput::Send(LinkMessage::GaveUp));
                        self.fail("The epochs of source and target do not fit".to_owned(), outputs);
                    }
                    // The source has come to a greater epoch since: a claim of its own that is still on its way would win.
                    None => self.agree_again(now, above, epoch_max, outputs),
                }
            }
            _ => {
                outputs.push(ImportOutput::Send(LinkMessage::GaveUp));
                self.fail("Unexpected state machine transition".to_owned(), outputs);
            }
        }
    }

    /// Has another epoch agreed on while the source waits.
    fn agree_again(&mut self, now: Monotonic, above: u64, epoch_max: u64, outputs: &mut Vec<ImportOutput>) {
        self.granted = Some(epoch_max);
        self.agree_by = Some(now.plus_ms(AGREEMENT_MAX_MS));
        outputs.push(ImportOutput::AgreeOnEpoch { above });
    }

    fn told_elsewhere(&mut self, input: ImportInput, outputs: &mut Vec<ImportOutput>) {
        match input {
            ImportInput::Finished { is_success: true, .. } => {
                self.end(Outcome::Success, String::new(), outputs);
            }
            ImportInput::Promoted { owns_slots: true } => {
                // Some may have gone on to others already.
                outputs.push(ImportOutput::CleanUpOthers);
                self.end(Outcome::Success, String::new(), outputs);
            }
            // The primary has deleted the keys, and that has come here before.
            ImportInput::Finished { message, .. } => self.end(Outcome::Failed, message, outputs),
            ImportInput::Promoted { .. } => {
                self.fail("A failover occurred during slot import".to_owned(), outputs);
            }
            _ => {}
        }
    }

    fn request_slots(&mut self, outputs: &mut Vec<ImportOutput>) {
        self.state = ImportState::FailoverRequested;
        outputs.push(ImportOutput::Send(LinkMessage::RequestFailover));
    }

    fn fail(&mut self, reason: String, outputs: &mut Vec<ImportOutput>) {
        self.state = ImportState::CleaningUp(Outcome::Failed);
        self.message = reason;
        outputs.push(ImportOutput::Close);
        outputs.push(ImportOutput::CleanUp);
    }

    fn end(&mut self, outcome: Outcome, message: String, outputs: &mut Vec<ImportOutput>) {
        self.state = ImportState::Ended(outcome);
        outputs.push(ImportOutput::Close);
        outputs.push(ImportOutput::Ended(outcome, message));
    }
}

const LINK_LOST: &str =
    "Connection lost to source. Check CLUSTER GETSLOTMIGRATIONS on the source node for more information.";
