//! The run: time, clients, faults, and the end when all faults are over.

use super::ReplicationReport;
use super::history::{Histories, Point};
use super::member::{Facts, Member};
use super::wire::{Change, Wire};
use shoal_machine::{Monotonic, Now, Rng};
use shoal_node::Action;
use shoal_node::testing::{Fixture, START_UNIX_US};
use shoal_session::Identity;
use std::fmt::Write as _;

/// One step of virtual time.
pub(super) const STEP_MS: u64 = 50;
/// For so long there are faults.
const FAULTS_MS: u64 = 60_000;
/// Within so long all must hold the same data afterwards.
const HEALING_MS: u64 = 240_000;
pub(super) const FIRST_PORT: u16 = 7000;
/// Connections are made within so long.
const CONNECTING_MAX_MS: u64 = 100;

/// How often the data of a primary may have changed since they were last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changes {
    /// Not, or once.
    One,
    /// Any number of times.
    Several,
}

/// A connection to a primary that a node has asked for, and that is not made yet.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    replica: usize,
    port: u16,
    ticket: u64,
    /// It is for a snapshot alone.
    is_channel: bool,
    /// When it is made, or fails.
    due_ms: u64,
}

pub(super) struct World {
    pub rng: Rng,
    seed: u64,
    pub now_ms: u64,
    starts: u64,
    pub members: Vec<Member>,
    pub wires: Vec<Wire>,
    attempts: Vec<Attempt>,
    /// Pairs that reach each other no more, and until when.
    pub partitions: Vec<(usize, usize, u64)>,
    histories: Histories,
    has_ended_faults: bool,
    pub report: ReplicationReport,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let count = 3 + rng.index(3);
        let members = (0..count).map(|index| {
            let mut pick = |words: &[&str]| rng.choose(words).copied().unwrap_or_default().to_owned();
            let directives = vec![
                ("repl-diskless-sync", pick(&["yes", "yes", "no"])),
                ("repl-diskless-sync-delay", pick(&["0", "1"])),
                ("repl-diskless-load", pick(&["disabled", "on-empty-db", "swapdb"])),
                ("dual-channel-replication-enabled", pick(&["yes", "yes", "no"])),
                ("repl-backlog-size", pick(&["16kb", "64kb", "1mb"])),
                ("client-output-buffer-limit", pick(&["replica 0 0 0", "replica 40kb 20kb 2"])),
                ("save", pick(&["3600 1 300 100 60 10000", "\"\""])),
                ("repl-timeout", pick(&["5", "12"])),
                ("repl-ping-replica-period", pick(&["1", "3"])),
            ];
            Member::new(FIRST_PORT + index as u16, directives)
        });
        let members = members.collect();
        Self::of(seed, rng, members)
    }

    /// These nodes, not started yet.
    pub fn of(seed: u64, rng: Rng, members: Vec<Member>) -> Self {
        Self {
            rng,
            seed,
            now_ms: 0,
            starts: 0,
            members,
            wires: Vec::new(),
            attempts: Vec::new(),
            partitions: Vec::new(),
            histories: Histories::default(),
            has_ended_faults: false,
            report: ReplicationReport::default(),
        }
    }

    pub fn run(&mut self) -> Result<(), String> {
        for index in 0..self.members.len() {
            self.start(index)?;
            if index > 0 {
                self.follow(index, 0)?;
            }
        }
        while self.now_ms < FAULTS_MS {
            for _ in 0..self.rng.index(4) {
                self.write()?;
            }
            if self.rng.chance(1, 25) {
                self.fault()?;
            }
            self.step()?;
        }
        self.heal()
    }

    pub fn note(&mut self, text: &str) {
        let _ = writeln!(self.report.log, "{:>7} {text}", self.now_ms);
    }

    pub fn now(&self) -> Now {
        let unix_us = START_UNIX_US + self.now_ms * 1000;
        Now::new(Monotonic::from_ms(1_000_000 + self.now_ms), unix_us)
    }

    fn start(&mut self, index: usize) -> Result<(), String> {
        self.starts += 1;
        // What it asked for in an earlier life is forgotten.
        self.attempts.retain(|attempt| attempt.replica != index);
        let (now, seed) = (self.now(), self.seed * 1000 + self.starts);
        self.members[index].start(now, seed);
        self.note(&format!("{index} starts"));
        self.observe(index, Changes::Several)
    }

    /// A client's command. What it changes is noted; that is at most one change.
    pub fn command(&mut self, index: usize, line: &str) -> Result<String, String> {
        let Some(fixture) = &mut self.members[index].fixture else { return Ok(String::new()) };
        let answer = fixture.run(line);
        self.carry_out_actions();
        self.observe(index, Changes::One)?;
        Ok(answer)
    }

    /// Compares where a node is with its history, or notes it there.
    pub fn observe(&mut self, index: usize, changes: Changes) -> Result<(), String> {
        let Some(facts) = self.members[index].facts() else { return Ok(()) };
        self.members[index].is_primary = facts.is_primary;
        // Without a backlog nothing is recorded, and the history ends when a replica comes. A replica whose link is
        // down may be about to be given other data.
        let is_of_interest = if facts.is_primary { facts.has_backlog } else { facts.is_link_up };
        if !is_of_interest {
            return Ok(());
        }
        let place = (facts.id.clone(), facts.offset);
        // Looking is dear. Data that change without a trace are found now and then, and in the end.
        if self.members[index].seen.as_ref() == Some(&place) && !self.rng.chance(1, 30) {
            return Ok(());
        }
        let Some(digest) = self.members[index].digest() else { return Ok(()) };
        self.members[index].seen = Some(place);
        let Facts { is_primary, id, offset, before, .. } = facts;
        let point = Point { id, offset, digest };
        if is_primary {
            let is_single = changes == Changes::One;
            let outcome = self.histories.note(&point, before, is_single);
            return outcome.map_err(|reason| format!("{index}: {reason}"));
        }
        match self.histories.check(&point) {
            Ok(is_known) => {
                let count =
                    if is_known { &mut self.report.comparisons } else { &mut self.report.unknown_places };
                *count += 1;
                Ok(())
            }
            Err(reason) => Err(format!("replica {index}: {reason}")),
        }
    }

    pub fn follow(&mut self, index: usize, primary: usize) -> Result<(), String> {
        let port = FIRST_PORT + primary as u16;
        let answer = self.command(index, &format!("REPLICAOF 127.0.0.1 {port}"))?;
        if answer.starts_with("+OK") {
            self.members[index].primary = Some(port);
        }
        self.note(&format!("{index} follows {primary}: {answer}"));
        Ok(())
    }

    pub fn are_apart(&self, first: usize, second: usize) -> bool {
        let pair = (first.min(second), first.max(second));
        self.partitions.iter().any(|&(one, other, until_ms)| (one, other) == pair && until_ms > self.now_ms)
    }

    /// Time passes, everybody does a little, and what they hold is compared.
    fn step(&mut self) -> Result<(), String> {
        self.now_ms += STEP_MS;
        for index in 0..self.members.len() {
            if self.members[index].fixture.is_none() {
                if self.members[index].returns_at_ms <= self.now_ms {
                    self.start(index)?;
                }
                continue;
            }
            if let Some(fixture) = &mut self.members[index].fixture {
                fixture.advance_ms(STEP_MS);
                for (_, line) in fixture.host.log.drain(..) {
                    self.report.count_line(&line);
                    let _ = writeln!(self.report.log, "{:>7} [{index}] {line}", self.now_ms);
                }
            }
            self.observe(index, Changes::Several)?;
            self.report.served += u64::from(self.members[index].has_served());
            self.members[index].step(&mut self.rng);
        }
        self.carry_out_actions();
        self.carry(&mut |_, _| {});
        for index in 0..self.members.len() {
            self.observe(index, Changes::Several)?;
        }
        Ok(())
    }

    /// Every connection carries a little.
    pub fn carry(&mut self, change: &mut Change<'_>) {
        let mut wires = std::mem::take(&mut self.wires);
        wires.retain_mut(|wire| {
            if self.are_apart(wire.replica, wire.primary) {
                return true;
            }
            let goes_on = wire.carry(&mut self.members, self.now_ms, change);
            if !goes_on {
                wire.end(&mut self.members);
            }
            goes_on
        });
        self.wires = wires;
        self.carry_out_actions();
    }

    /// Does what the nodes want done.
    pub fn carry_out_actions(&mut self) {
        let now_ms = self.now_ms;
        for attempt in self.attempts.extract_if(.., |attempt| attempt.due_ms <= now_ms).collect::<Vec<_>>() {
            self.connect(attempt);
        }
        for replica in 0..self.members.len() {
            for action in self.members[replica].take_actions() {
                let (ticket, port, is_channel) = match action {
                    Action::DisconnectPrimary => {
                        self.disconnect_primary(replica);
                        continue;
                    }
                    Action::ConnectPrimary { ticket, port, .. } => (ticket, port, false),
                    Action::ConnectSnapshotChannel { ticket, port, .. } => (ticket, port, true),
                    _ => continue,
                };
                let due_ms = now_ms + self.rng.below(CONNECTING_MAX_MS);
                self.attempts.push(Attempt { replica, port, ticket, is_channel, due_ms });
            }
        }
    }

    fn disconnect_primary(&mut self, index: usize) {
        let (ended, wires): (Vec<Wire>, Vec<Wire>) =
            std::mem::take(&mut self.wires).into_iter().partition(|wire| wire.replica == index);
        self.wires = wires;
        for attempt in self.attempts.extract_if(.., |attempt| attempt.replica == index).collect::<Vec<_>>() {
            // It may have been made in the same turn in which the node gave it up.
            if self.rng.chance(1, 2) {
                self.connect(attempt);
            }
        }
        for wire in ended {
            wire.end_at_primary(&mut self.members);
        }
    }

    fn connect(&mut self, attempt: Attempt) {
        let Attempt { replica, port, ticket, is_channel, .. } = attempt;
        let identity = |port: u16| Identity {
            address: format!("127.0.0.1:{port}"),
            is_local: true,
            ..Identity::default()
        };
        let primary = usize::from(port - FIRST_PORT);
        let is_reachable = primary != replica
            && self.members.get(primary).is_some_and(|member| member.fixture.is_some())
            && !self.are_apart(replica, primary);
        let handle = if is_reachable {
            let fixture = self.members[primary].fixture.as_mut();
            fixture.and_then(|Fixture { node, host, .. }| {
                node.connect(host.clock, identity(40_000 + replica as u16)).ok()
            })
        } else {
            None
        };
        let Some(Fixture { node, host, .. }) = &mut self.members[replica].fixture else { return };
        let Some(at_primary) = handle else {
            if is_channel {
                node.snapshot_channel_unreachable(host.clock, host, ticket, "Connection refused");
            } else {
                node.primary_unreachable(host.clock, host, ticket, "Connection refused");
            }
            return;
        };
        let at_replica = if is_channel {
            node.snapshot_channel_connected(host.clock, host, ticket, identity(port))
        } else {
            node.primary_connected(host.clock, host, ticket, identity(port))
        };
        let Some(at_replica) = at_replica else {
            self.report.given_up_attempts += 1;
            let life = self.members[primary].life;
            return self.members[primary].disconnected(at_primary, life);
        };
        self.report.dual_syncs += u64::from(is_channel);
        let lives = (self.members[replica].life, self.members[primary].life);
        let mut wire = Wire::new((replica, primary), (at_replica, at_primary), lives, &mut self.rng);
        if self.has_ended_faults {
            wire.recover();
        }
        self.wires.push(wire);
        self.note(&format!("{replica} connects to {primary}, for a snapshot alone: {is_channel}"));
    }

    /// Faults end, all follow one node, and come to hold its data.
    fn heal(&mut self) -> Result<(), String> {
        self.note("faults end");
        self.has_ended_faults = true;
        self.partitions.clear();
        self.wires.iter_mut().for_each(Wire::recover);
        for index in 0..self.members.len() {
            if self.members[index].fixture.is_none() {
                self.start(index)?;
            }
        }
        let chosen = self.rng.index(self.members.len());
        let end_ms = self.now_ms + HEALING_MS;
        loop {
            if self.now_ms >= end_ms {
                return Err(format!(
                    "not all hold the data of {chosen} after the faults: {}",
                    self.describe()
                ));
            }
            if self.now_ms.is_multiple_of(1000) {
                self.assign(chosen)?;
            }
            self.step()?;
            if self.is_healed(chosen) {
                break;
            }
        }
        for member in &self.members {
            let Some(fixture) = &member.fixture else { continue };
            self.report.full_syncs += fixture.node.stats().full_syncs;
            self.report.partial_syncs += fixture.node.stats().partial_syncs;
            self.report.expired_keys += fixture.node.stats().expired_keys;
        }
        let text = format!("healed: {}", self.describe());
        self.note(&text);
        Ok(())
    }

    /// The chosen one is a primary, half of the others follow it and half follow another replica.
    fn assign(&mut self, chosen: usize) -> Result<(), String> {
        for index in 0..self.members.len() {
            self.command(index, "FAILOVER ABORT")?;
        }
        if self.members[chosen].facts().is_some_and(|facts| !facts.is_primary) {
            self.command(chosen, "REPLICAOF NO ONE")?;
        }
        let relay = (chosen + 1) % self.members.len();
        for index in (0..self.members.len()).filter(|index| *index != chosen) {
            let primary = if index % 2 == 0 || index == relay { chosen } else { relay };
            let port = FIRST_PORT + primary as u16;
            if self.members[index].facts().and_then(|facts| facts.primary_port) != Some(port) {
                self.follow(index, primary)?;
            }
        }
        Ok(())
    }

    fn is_healed(&mut self, chosen: usize) -> bool {
        let Some(goal) = self.members[chosen].facts().filter(|facts| facts.is_primary) else { return false };
        let has_arrived =
            |facts: &Facts| facts.is_link_up && (&facts.id, facts.offset) == (&goal.id, goal.offset);
        let mut members = self.members.iter_mut();
        if !members.all(|member| member.facts().is_some_and(|facts| has_arrived(&facts))) {
            return false;
        }
        let digest = self.members[chosen].digest();
        self.members.iter_mut().all(|member| member.digest() == digest)
    }

    fn describe(&mut self) -> String {
        let mut text = String::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            let digest = member.digest().unwrap_or_default();
            if let Some(Facts { is_primary, is_link_up, id, offset, .. }) = member.facts() {
                let _ =
                    write!(text, "[{index} primary:{is_primary} up:{is_link_up} {id} {offset} {digest}] ");
            }
        }
        text
    }
}
