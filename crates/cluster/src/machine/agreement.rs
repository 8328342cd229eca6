//! Epochs that a majority has voted for before anything is claimed with them.
//!
//! A config epoch that a node takes by itself may be one that an election has at the same time; and the node may have been replaced
//! already, or the source of the slots, without having heard of it: then its claim, with the greater epoch, would take everything
//! from the node that was elected, with all that was written there. So a node that is about to take slots asks the primaries
//! for their votes first, as a replica does; and so does a node that takes back what it has granted to one that has failed, since that
//! one may have claimed the slots, and served them, without its having heard of that. What follows is what follows from elections:
//!
//! - nobody else has the epoch: a primary votes once in each;
//! - a later election has a greater one, so that the claim takes nothing from who was elected then;
//! - of an earlier election, in which the claimant or the source was replaced, some primary of every majority knows: it does not
//!   vote for the claim.
//!
//! Redis votes for replicas only. Where the primaries that are Shoal are no majority, the current epoch is raised by two instead, and a
//! majority is to have saved that: later elections have greater epochs then, and the rest is not sure.

use super::announce::Action;
use super::{ClusterMachine, Timer};
use crate::SlotSet;
use crate::interface::{LogLevel, MachineMessage, Output};
use crate::messages::{ClaimRequest, Header};
use crate::nodes_conf::NodesConf;
use crate::slot_migration::AGREEMENT_MAX_MS;
use crate::view::NodeKey;
use crate::{NodeId, SlotRanges};
use shoal_machine::Monotonic;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Agreements that are waited for; beyond it the oldest claim of another's slots is forgotten. Those that take grants back are kept, and are
/// never more than there are slots: nothing else is done with a slot meanwhile.
const AGREEMENTS_MAX: usize = 64;
/// Votes of so many epochs are counted: one that comes late may still make a majority.
const ATTEMPTS_MAX: usize = 8;
/// Votes on so many claims are asked for with one message.
const CLAIMS_PER_MESSAGE: usize = 16;
/// So many votes for claims are given again when they are asked for again.
const VOTES_REMEMBERED: usize = 64;

/// Redis answers at once, and before it has saved the epoch: it is asked again after this, and then less and less often.
const ASK_AGAIN_MS: u64 = 4;
/// But at least this often.
const ASK_AGAIN_MAX_MS: u64 = 128;
/// After this, and up to as much again, votes are asked for in another epoch: this one may have gone to somebody else. The time doubles
/// with each attempt,
const ATTEMPT_MS: u64 = 50;
/// up to this.
const ATTEMPT_MAX_MS: u64 = 800;

/// An epoch that is to be agreed on.
#[derive(Clone, Debug)]
struct Attempt {
    epoch: u64,
    /// Where votes cannot be had: the epoch that a majority is to know.
    known: Option<u64>,
    /// This node votes for it itself.
    own_vote: bool,
    votes: BTreeSet<NodeKey>,
}

/// What is claimed when the votes are there.
#[derive(Clone, Debug)]
enum Purpose {
    /// Slots of another: the executor goes on.
    Take {
        /// It knows the claim by this.
        ticket: u64,
    },
    /// Slots that this node has granted to another, which has failed. The executor serves nothing of them before it is done.
    Reclaim {
        /// As the executor names them: some may have gone to others since.
        slots: SlotRanges,
    },
}

/// A claim that is being prepared.
#[derive(Clone, Debug)]
pub(super) struct Agreement {
    purpose: Purpose,
    above: u64,
    source: NodeId,
    slots: Arc<SlotSet>,
    /// The last one is asked for.
    attempts: Vec<Attempt>,
    /// When the next one begins.
    next_at: Monotonic,
    attempt_ms: u64,
    /// How long is waited before primaries are asked again.
    interval_ms: u64,
    /// When it is given up.
    until: Option<Monotonic>,
}

/// What this node knows of its own votes.
#[derive(Debug)]
pub(super) struct ClaimVotes {
    /// The last ones for claims of slots: the epoch, and whose claim.
    given: VecDeque<(u64, NodeKey)>,
    started_at: Monotonic,
    /// The epoch of the last vote before this node started: what it was about is not known.
    before: u64,
}

impl ClaimVotes {
    pub(super) fn new(started_at: Monotonic, saved: Option<&NodesConf>) -> Self {
        let before = saved.map_or(0, |saved| saved.last_vote_epoch);
        Self { given: VecDeque::new(), started_at, before }
    }
}

impl Agreement {
    fn attempt(&self) -> Option<&Attempt> {
        self.attempts.last()
    }
}

impl ClusterMachine {
    /// Begins; the executor hears of it when a majority agrees that this node may claim slots of `source`.
    pub(super) fn agree_on_epoch(&mut self, ticket: u64, above: u64, source: NodeId, slots: &SlotRanges) {
        let until = self.monotonic().plus_ms(AGREEMENT_MAX_MS);
        self.begin_agreement(Purpose::Take { ticket }, above, source, slots.to_set(), Some(until));
    }

    /// Begins to take back what is still this node's of slots that it has granted to another. That goes on until a majority agrees, or until
    /// the slots are somebody else's.
    pub(super) fn agree_on_reclaim(&mut self, slots: SlotRanges, above: u64) {
        let own = slots.iter().filter(|&slot| self.table.owner(slot) == Some(self.myself)).collect();
        self.begin_agreement(Purpose::Reclaim { slots }, above, self.me().id, own, None);
    }

    fn begin_agreement(
        &mut self,
        purpose: Purpose,
        above: u64,
        source: NodeId,
        slots: SlotSet,
        until: Option<Monotonic>,
    ) {
        if self.me().is_replica() {
            return;
        }
        if self.agreements.len() >= AGREEMENTS_MAX
            && let Some(index) = self.agreements.iter().position(|agreement| agreement.until.is_some())
        {
            self.agreements.remove(index);
        }
        let agreement = Agreement {
            purpose,
            above,
            source,
            slots: Arc::new(slots),
            attempts: Vec::new(),
            next_at: self.monotonic(),
            attempt_ms: ATTEMPT_MS,
            interval_ms: ASK_AGAIN_MS,
            until,
        };
        self.agreements.push(agreement);
        self.run_agreements();
    }

    /// What is due: other attempts, and further questions.
    pub(super) fn run_agreements(&mut self) {
        let now = self.monotonic();
        self.end_agreements();
        for index in 0..self.agreements.len() {
            if self.agreements.get(index).is_some_and(|agreement| agreement.next_at <= now) {
                self.begin_attempt(index);
            }
        }
        self.ask_primaries();
    }

    /// Gives up what nothing can come of: the time is over, or the slots that were to be taken back are others' now.
    fn end_agreements(&mut self) {
        let (now, is_replica, myself) = (self.monotonic(), self.me().is_replica(), self.myself);
        let mut lost = Vec::new();
        let table = &self.table;
        self.agreements.retain_mut(|agreement| {
            let Purpose::Reclaim { slots } = &agreement.purpose else {
                return !is_replica && agreement.until.is_none_or(|until| now < until);
            };
            let is_mine = |slot: u16| table.owner(slot) == Some(myself);
            if !agreement.slots.iter().all(is_mine) {
                agreement.slots = Arc::new(agreement.slots.iter().filter(|&slot| is_mine(slot)).collect());
            }
            let stays = !is_replica && !agreement.slots.is_empty();
            if !stays {
                lost.push(slots.clone());
            }
            stays
        });
        for slots in lost {
            self.finish_reclaim(&slots, None);
        }
    }

    fn begin_attempt(&mut self, index: usize) {
        let Some(agreement) = self.agreements.get(index) else { return };
        let epoch = self.current_epoch.max(agreement.above).saturating_add(1);
        // Of whom this node has not heard since it started it waits for the votes: without any, the epoch could be somebody else's.
        let can_vote = |key: NodeKey| {
            key == self.myself || self.table.get(key).is_some_and(|node| node.votes_on_claims != Some(false))
        };
        let voters = self.table.voters().filter(|&(key, _)| can_vote(key)).count();
        let known = (voters < self.table.quorum()).then(|| epoch.saturating_add(1));
        let request = self.claim_request(agreement, epoch);
        let own_vote = self.votes(self.myself)
            && (known.is_some()
                || self.check_claim(self.myself, &self.me().slots, self.me().config_epoch, &request).is_ok());
        let jitter_ms = self.rng.below(agreement.attempt_ms);
        let now = self.monotonic();
        let Some(agreement) = self.agreements.get_mut(index) else { return };
        if agreement.attempts.len() >= ATTEMPTS_MAX {
            agreement.attempts.remove(0);
        }
        agreement.attempts.push(Attempt { epoch, known, own_vote, votes: BTreeSet::new() });
        agreement.next_at = match known {
            Some(_) => agreement.until.unwrap_or(now.plus_ms(AGREEMENT_MAX_MS)),
            None => now.plus_ms(agreement.attempt_ms + jitter_ms),
        };
        agreement.attempt_ms = (agreement.attempt_ms * 2).min(ATTEMPT_MAX_MS);
        agreement.interval_ms = ASK_AGAIN_MS;
        self.current_epoch = known.unwrap_or(epoch);
        if own_vote && known.is_none() {
            self.last_vote_epoch = epoch;
        }
        self.changed();
        self.views.is_dirty = true;
        self.when_safe(Action::AskPrimaries);
    }

    fn claim_request(&self, agreement: &Agreement, epoch: u64) -> ClaimRequest {
        let source = self.table.find(&agreement.source).and_then(|key| self.table.get(key));
        let source_epoch = source.map_or(0, |node| node.config_epoch);
        ClaimRequest { epoch, source: agreement.source, source_epoch, slots: agreement.slots.clone() }
    }

    /// New epochs are saved: everybody who votes is told of them.
    pub(super) fn ask_primaries(&mut self) {
        let saved_epoch = self.announcements.epoch();
        let is_asked = |agreement: &Agreement, key: &NodeKey| {
            agreement
                .attempt()
                .is_some_and(|attempt| attempt.epoch <= saved_epoch && !attempt.votes.contains(key))
        };
        for key in self.table.keys() {
            let is_wanted = self.agreements.iter().any(|agreement| is_asked(agreement, &key));
            if key != self.myself && is_wanted && self.votes(key) {
                self.send_ping(key);
            }
        }
        self.count_agreements();
        for agreement in &mut self.agreements {
            agreement.interval_ms = (agreement.interval_ms * 2).min(ASK_AGAIN_MAX_MS);
        }
        let now = self.monotonic();
        let due = |agreement: &Agreement| {
            now.plus_ms(agreement.interval_ms).min(agreement.next_at.max(now.plus_ms(1)))
        };
        if let Some(at) = self.agreements.iter().map(due).min() {
            self.timers.set(Timer::Agreement, at);
        }
    }

    /// What a peer that votes on claims has not voted for yet, the smaller epochs first: it votes in rising ones only.
    pub(super) fn claims_to_vote_on(&self, target: Option<NodeKey>) -> Vec<ClaimRequest> {
        let saved_epoch = self.announcements.epoch();
        let Some(key) = target.filter(|_| !self.agreements.is_empty()) else { return Vec::new() };
        if !self.votes(key) || self.table.get(key).is_none_or(|node| node.votes_on_claims != Some(true)) {
            return Vec::new();
        }
        let request = |agreement: &Agreement| {
            let attempt = agreement.attempt()?;
            let is_asked =
                attempt.known.is_none() && attempt.epoch <= saved_epoch && !attempt.votes.contains(&key);
            is_asked.then(|| self.claim_request(agreement, attempt.epoch))
        };
        let mut claims: Vec<ClaimRequest> = self.agreements.iter().filter_map(request).collect();
        claims.sort_unstable_by_key(|claim| claim.epoch);
        claims.truncate(CLAIMS_PER_MESSAGE);
        claims
    }

    /// A primary asks for a vote, so that it may claim slots of another. The vote is saved before it leaves.
    pub(super) fn on_claim_request(&mut self, claimant: NodeKey, header: &Header, request: &ClaimRequest) {
        if !self.votes(self.myself) || header.primary.is_some() || self.is_silent() {
            return;
        }
        let epoch = request.epoch;
        if !self.claim_votes.given.contains(&(epoch, claimant)) {
            let result = if self.last_vote_epoch >= epoch {
                Err((None, "already voted in that epoch or a later one".to_owned()))
            } else {
                self.check_claim(claimant, &header.slots, header.config_epoch, request)
            };
            if let Err((owner, reason)) = result {
                // It may hear of that from nobody else: who has replaced it, or has claimed what it takes back, may be down.
                if let Some(owner) = owner.filter(|&owner| owner != claimant) {
                    self.send_update(claimant, owner, &SlotSet::empty());
                }
                let text = format!("Vote on slots denied to {}: {reason}", header.sender.as_str());
                self.log(LogLevel::Verbose, text);
                return;
            }
            if self.claim_votes.given.len() >= VOTES_REMEMBERED {
                self.claim_votes.given.pop_front();
            }
            self.claim_votes.given.push_back((epoch, claimant));
            self.last_vote_epoch = epoch;
            self.current_epoch = self.current_epoch.max(epoch);
            self.changed();
        }
        self.when_safe(Action::Vote { replica: claimant, epoch });
    }

    /// Whether nothing that this node knows speaks against a claim: the claimant and the source are the owners of their slots, and
    /// nobody has been elected in their place. The error names whom a slot belongs to, if it is somebody else.
    fn check_claim(
        &self,
        claimant: NodeKey,
        own: &SlotSet,
        own_epoch: u64,
        request: &ClaimRequest,
    ) -> Result<(), (Option<NodeKey>, String)> {
        self.check_claimed_slots(own, own_epoch, claimant)
            .map_err(|(owner, reason)| (Some(owner), reason))?;
        let source = self.table.find(&request.source);
        for slot in request.slots.iter() {
            let Some((owner, owner_epoch)) = self.table.claim(slot) else { continue };
            // The source may have taken a grant back.
            let greatest = if Some(owner) == source { request.epoch } else { request.source_epoch };
            if owner_epoch > greatest {
                let reason = format!("slot {slot} epoch ({owner_epoch}) > reqEpoch ({greatest})");
                return Err((Some(owner), reason));
            }
        }
        self.check_claim_votes(claimant, source).map_err(|reason| (None, reason.to_owned()))
    }

    /// Whether this node has voted for nobody in the place of the two ends of a claim.
    fn check_claim_votes(&self, claimant: NodeKey, source: Option<NodeKey>) -> Result<(), &'static str> {
        let voted_against =
            |key: NodeKey| self.table.get(key).is_some_and(|node| self.has_voted_against(node));
        if voted_against(claimant) || source.is_some_and(voted_against) {
            return Err("I have voted for a replica in its place");
        }
        if source.and_then(|key| self.table.get(key)).is_some_and(|node| !node.is_primary()) {
            return Err("the slots are those of a replica");
        }
        // Before it started anew this node may have voted for a replica in the place of one of the two.
        let ClaimVotes { started_at, before, .. } = self.claim_votes;
        if before > self.table.greatest_config_epoch()
            && self.ms_since(Some(started_at)) < self.vote_rest_ms()
        {
            return Err("I have just started, and do not know what I have voted for");
        }
        Ok(())
    }

    /// A vote came in; also one of an earlier attempt.
    pub(super) fn note_claim_vote(&mut self, voter: NodeKey, epoch: u64) {
        if self.agreements.is_empty() || !self.votes(voter) {
            return;
        }
        let attempts = self.agreements.iter_mut().flat_map(|agreement| &mut agreement.attempts);
        for attempt in attempts.filter(|attempt| attempt.epoch == epoch && attempt.known.is_none()) {
            attempt.votes.insert(voter);
        }
        self.count_agreements();
    }

    /// A node has said which epoch it has saved.
    pub(super) fn note_epoch_of(&mut self, sender: NodeKey, epoch: u64) {
        if self.agreements.is_empty() || !self.votes(sender) {
            return;
        }
        let attempts = self.agreements.iter_mut().flat_map(|agreement| &mut agreement.attempts);
        for attempt in attempts.filter(|attempt| attempt.known.is_some_and(|known| known <= epoch)) {
            attempt.votes.insert(sender);
        }
        self.count_agreements();
    }

    fn votes(&self, key: NodeKey) -> bool {
        self.table.get(key).is_some_and(|node| node.is_primary() && !node.slots.is_empty())
    }

    fn count_agreements(&mut self) {
        let (quorum, saved_epoch) = (self.table.quorum(), self.announcements.epoch());
        let is_agreed = |attempt: &&Attempt| {
            let votes = attempt.votes.len() + usize::from(attempt.own_vote);
            attempt.known.unwrap_or(attempt.epoch) <= saved_epoch && votes >= quorum
        };
        let config_epoch = self.me().config_epoch;
        let mut agreed = Vec::new();
        self.agreements.retain(|agreement| {
            let attempt = match agreement.purpose {
                Purpose::Take { .. } => agreement.attempts.iter().rev().find(is_agreed),
                // Who has voted long ago may have heard of another owner since; and of a greater epoch that this node has come to by another
                // claim nobody has voted on this one.
                Purpose::Reclaim { .. } => {
                    agreement.attempt().filter(|attempt| attempt.epoch > config_epoch).filter(is_agreed)
                }
            };
            agreed.extend(attempt.map(|attempt| (agreement.purpose.clone(), attempt.epoch)));
            attempt.is_none()
        });
        // Each is a claim: the greater one is the epoch of all.
        agreed.sort_by_key(|(_, epoch)| *epoch);
        for (purpose, epoch) in agreed {
            match purpose {
                Purpose::Take { ticket } => {
                    self.outputs.push(Output::ToNode(MachineMessage::EpochAgreed { ticket, epoch }));
                }
                Purpose::Reclaim { slots } => self.finish_reclaim(&slots, Some(epoch)),
            }
        }
    }
}
