//! A replica stands for election when its primary has failed.

use super::announce::Action;
use super::{ClusterMachine, Timer};
use crate::interface::{LogLevel, PrimaryLink};
use crate::messages::Header;
use crate::view::NodeKey;
use shoal_machine::Monotonic;
use shoal_protocol::slot::SLOT_COUNT;
use std::collections::BTreeSet;

/// Before asking for votes a replica waits this long, so that all hear of the failure,
const ELECTION_DELAY_MS: u64 = 500;
/// and a random time up to this, so that replicas do not ask at once,
const ELECTION_JITTER_MS: u64 = 500;
/// and this for every replica of its primary that comes before it.
const ELECTION_RANK_DELAY_MS: u64 = 1000;
/// The first among replicas that are all Shoal waits so long instead: they agree on who is first. It is time enough
/// for the news of the failure to reach the voters, and for the other replicas to tell how much data they have.
const FIRST_ELECTION_DELAY_MS: u64 = 100;
/// Of replicas of several failed primaries each waits so much longer than the one before it, in the order of the
/// primaries' names: an epoch has one winner, so that two that stand in the same epoch hold each other up. It is time
/// enough to save an epoch and to tell it.
const SHARD_DELAY_MS: u64 = 20;
/// An election that has not been won after this is held again, in an epoch of its own, at a random time up to the second
/// figure later; so often at most. After that the next attempt comes when Redis would make it.
const QUICK_ELECTION_MS: u64 = 300;
const QUICK_RETRY_JITTER_MS: u64 = 400;
const QUICK_RETRIES: u32 = 5;
/// An election is given up after two node-timeouts, and not before this.
const MIN_ELECTION_TIMEOUT_MS: u64 = 2000;
/// The reason why there is no failover is repeated in the log after this.
const RELOG_AFTER_MS: u64 = 300_000;

/// The phases of an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// There is none.
    Idle,
    /// Votes are asked for at a time.
    Scheduled {
        /// The time.
        at: Monotonic,
        /// How many other replicas come first.
        rank: u64,
        /// All replicas agree that this one is to stand first, and that it is spared most of the delay.
        is_first: bool,
        /// How many failed primaries were before ours.
        shards_before: u64,
    },
    /// The epoch of the election is being saved.
    Saving {
        /// When it was to begin.
        at: Monotonic,
        /// Its epoch.
        epoch: u64,
    },
    /// Votes have been asked for.
    Voting {
        /// When it was to begin.
        at: Monotonic,
        /// When they were.
        asked_at: Monotonic,
        /// Its epoch.
        epoch: u64,
        /// Who voted for us.
        votes: BTreeSet<NodeKey>,
    },
}

/// Why a replica does not replace its failed primary, and when that was last logged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CannotFailover {
    reason: Option<&'static str>,
    logged_at: Monotonic,
}

impl Election {
    fn begins(&self) -> Option<Monotonic> {
        match self {
            Self::Idle => None,
            Self::Scheduled { at, .. } | Self::Saving { at, .. } | Self::Voting { at, .. } => Some(*at),
        }
    }
}

impl ClusterMachine {
    /// The next step of an election, if there is a reason for one.
    pub(super) fn run_election(&mut self) {
        let is_manual = self.may_start_manual_failover();
        if !self.has_reason_for_election(is_manual) {
            self.election = Election::Idle;
            self.quick_retries = 0;
            self.timers.clear(Timer::Election);
            self.cannot_failover.reason = None;
            return;
        }
        if !is_manual && !self.is_data_recent_enough() {
            self.log_cannot_failover(
                "Disconnected from master for longer than allowed. Please check the \
                 'cluster-replica-validity-factor' configuration option.",
            );
            return;
        }
        let now = self.monotonic();
        let timeout_ms = (self.config.node_timeout_ms * 2).max(MIN_ELECTION_TIMEOUT_MS);
        let age_ms = self.election.begins().map(|at| now.ms_since(at));
        if age_ms.is_none_or(|age_ms| age_ms > timeout_ms * 2) {
            self.quick_retries = 0;
            self.schedule_election(is_manual);
            if !is_manual {
                return;
            }
        }
        let is_expired = self.election.begins().is_some_and(|at| now.ms_since(at) > timeout_ms);
        match &self.election {
            Election::Idle => {}
            _ if is_expired => self.log_cannot_failover("Failover attempt expired."),
            Election::Scheduled { .. } => self.wait_or_start(is_manual),
            Election::Saving { .. } => {}
            Election::Voting { asked_at, epoch, votes, .. } => {
                if votes.len() >= self.table.quorum() {
                    let epoch = *epoch;
                    self.win_election(epoch);
                } else if !is_manual
                    && now.ms_since(*asked_at) > QUICK_ELECTION_MS
                    && self.quick_retries < QUICK_RETRIES
                    && self.is_among_shoal()
                {
                    self.retry_election();
                } else {
                    self.log_cannot_failover("Waiting for votes, but majority still not reached.");
                }
            }
        }
    }

    fn has_reason_for_election(&self, is_manual: bool) -> bool {
        if self.me().is_primary() || self.is_silent() {
            return false;
        }
        let Some(primary) = self.my_primary().and_then(|key| self.table.get(key)) else { return false };
        !primary.slots.is_empty() && (is_manual || primary.is_failed() && self.config.stands_by_itself())
    }

    /// How old this replica's data may be, and is.
    fn is_data_recent_enough(&self) -> bool {
        let config = &self.config;
        if config.replica_validity_factor == 0 {
            return true;
        }
        // As with Redis: what it has are the data of somebody else.
        if self.never_in_step {
            return false;
        }
        let reported_ms = match self.status.primary_link {
            PrimaryLink::Up { last_interaction_ms } => last_interaction_ms,
            PrimaryLink::Down { since_ms } => since_ms,
        };
        let age_ms = reported_ms.saturating_add(self.monotonic().ms_since(self.status_at));
        // The time it takes to find a failure is everybody's.
        let age_ms = if age_ms > config.node_timeout_ms { age_ms - config.node_timeout_ms } else { age_ms };
        let allowed_ms = config.replication_ping_period_s * 1000
            + config.node_timeout_ms.saturating_mul(config.replica_validity_factor);
        age_ms <= allowed_ms
    }

    fn schedule_election(&mut self, is_manual: bool) {
        let now = self.monotonic();
        let is_first = !is_manual && self.is_first_in_line();
        let shards_before = self.failed_shards_before();
        let (rank, delay_ms) = if is_manual {
            (0, 0)
        } else if is_first {
            (0, FIRST_ELECTION_DELAY_MS + shards_before * SHARD_DELAY_MS)
        } else {
            let rank = self.rank();
            let jitter_ms = self.rng.below(ELECTION_JITTER_MS);
            (rank, ELECTION_DELAY_MS + jitter_ms + rank * ELECTION_RANK_DELAY_MS)
        };
        let at = now.plus_ms(delay_ms);
        self.election = Election::Scheduled { at, rank, is_first, shards_before };
        self.timers.set(Timer::Election, at);
        let offset = self.status.replication_offset;
        let text =
            format!("Start of election delayed for {delay_ms} milliseconds (rank #{rank}, offset {offset}).");
        self.log(LogLevel::Warning, text);
        // The other replicas learn our offset, and rank themselves by it.
        self.broadcast_pong(true);
    }

    /// Stands again soon: votes of this epoch went to replicas of other primaries that failed at the same time.
    fn retry_election(&mut self) {
        self.quick_retries += 1;
        let (rank, shards_before) = (self.rank(), u64::MAX);
        let delay_ms = self.rng.below(QUICK_RETRY_JITTER_MS) + rank * ELECTION_RANK_DELAY_MS;
        let at = self.monotonic().plus_ms(delay_ms);
        self.election = Election::Scheduled { at, rank, is_first: false, shards_before };
        self.timers.set(Timer::Election, at);
        self.log(LogLevel::Verbose, "No majority has voted for me; asking again.".to_owned());
    }

    /// Waits for the time of the election, which moves when more is known, or begins it.
    fn wait_or_start(&mut self, is_manual: bool) {
        let Election::Scheduled { mut at, mut rank, mut is_first, mut shards_before } = self.election else {
            return;
        };
        let now = self.monotonic();
        if !is_manual {
            if is_first && !self.is_first_in_line() {
                // Another one has told that it has as much data, or more: what was spared is waited for now.
                is_first = false;
                let jitter_ms = self.rng.below(ELECTION_JITTER_MS);
                at = at.plus_ms(ELECTION_DELAY_MS - FIRST_ELECTION_DELAY_MS + jitter_ms);
            }
            let before_now = self.failed_shards_before();
            if is_first && before_now > shards_before {
                at = at.plus_ms((before_now - shards_before) * SHARD_DELAY_MS);
                shards_before = before_now;
            }
            let new_rank = self.rank();
            if new_rank > rank {
                let added_ms = (new_rank - rank) * ELECTION_RANK_DELAY_MS;
                at = at.plus_ms(added_ms);
                rank = new_rank;
                let text =
                    format!("Replica rank updated to #{new_rank}, added {added_ms} milliseconds of delay.");
                self.log(LogLevel::Warning, text);
            }
            self.election = Election::Scheduled { at, rank, is_first, shards_before };
        }
        if now < at {
            self.timers.set(Timer::Election, at);
            self.log_cannot_failover("Waiting the delay before I can start a new failover.");
            return;
        }
        self.current_epoch += 1;
        let epoch = self.current_epoch;
        self.election = Election::Saving { at, epoch };
        self.log(LogLevel::Warning, format!("Starting a failover election for epoch {epoch}."));
        self.changed();
        self.when_safe(Action::RequestVotes { epoch });
    }

    /// The epoch is saved: ask, unless the election is over already.
    pub(super) fn request_votes(&mut self, epoch: u64) {
        let Election::Saving { at, epoch: current } = self.election else { return };
        if current != epoch {
            return;
        }
        let asked_at = self.monotonic();
        self.election = Election::Voting { at, asked_at, epoch, votes: BTreeSet::new() };
        let force_ack = self.is_manual_failover_of_replica();
        self.broadcast_vote_request(epoch, force_ack);
    }

    /// A vote came in. Each voter counts once, however often the message comes.
    pub(super) fn on_vote(&mut self, voter: NodeKey, header: &Header) {
        self.note_claim_vote(voter, header.current_epoch);
        let may_vote = self.table.get(voter).is_some_and(|node| node.is_primary() && !node.slots.is_empty());
        if let Election::Voting { epoch, votes, .. } = &mut self.election
            && may_vote
            && header.current_epoch >= *epoch
        {
            votes.insert(voter);
            self.todo.election = true;
        }
    }

    fn win_election(&mut self, epoch: u64) {
        self.log(LogLevel::Warning, "Failover election won: I'm the new master.".to_owned());
        if self.me().config_epoch < epoch {
            self.me_mut().config_epoch = epoch;
            let text = format!("configEpoch set to {epoch} after successful failover");
            self.log(LogLevel::Warning, text);
        }
        self.note_election_won();
        self.replace_primary();
    }

    /// Takes the place of our primary; config epoch and agreement are the caller's matter. Others hear of it once it
    /// is saved and the executor serves.
    pub(super) fn replace_primary(&mut self) {
        let Some(old) = self.my_primary() else { return };
        let slots = self.table.get(old).map(|node| node.slots.clone()).unwrap_or_default();
        self.set_as_primary(self.myself);
        for slot in slots.iter() {
            self.table.assign(slot, Some(self.myself));
            self.table.set_claimed(slot);
        }
        // Its data may be older than what it knows of the slots. The executor deletes the keys of others' slots; should it
        // not come to that, they are deleted when this node starts anew.
        for slot in 0..SLOT_COUNT {
            if self.table.owner(slot).is_some_and(|owner| owner != self.myself) {
                self.given.insert(slot);
            }
        }
        self.election = Election::Idle;
        self.timers.clear(Timer::Election);
        self.update_state();
        self.changed();
        self.announce();
        self.reset_manual_failover();
    }

    /// Logs why there is no failover, once for each reason, and only when it takes suspiciously long.
    fn log_cannot_failover(&mut self, reason: &'static str) {
        let now = self.monotonic();
        let last = self.cannot_failover;
        if last.reason == Some(reason) && now.ms_since(last.logged_at) < RELOG_AFTER_MS {
            return;
        }
        self.cannot_failover.reason = Some(reason);
        let patience_ms = self.config.node_timeout_ms + 5000;
        let failed_at = self.my_primary().and_then(|key| self.table.get(key)).map(|node| node.failed_at);
        if failed_at.is_some_and(|at| now.ms_since(at) < patience_ms) {
            return;
        }
        self.cannot_failover.logged_at = now;
        self.log(LogLevel::Warning, format!("Currently unable to failover: {reason}"));
    }
}
