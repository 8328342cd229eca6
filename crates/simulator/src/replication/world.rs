//! The run: time, clients, faults, and the end when all faults are over.

use super::ReplicationReport;
use super::history::Histories;
use super::member::Member;
use super::wire::Wire;
use shoal_machine::{Monotonic, Now, Rng};
use shoal_node::testing::{Fixture, START_UNIX_US};
use shoal_node::Action;
use shoal_session::Identity;
use std::fmt::Write as _;

/// One step of virtual time.
const STEP_MS: u64 = 50;
/// For so long there are faults.
const FAULTS_MS: u64 = 60_000;
/// Within so long all must hold the same data afterwards.
const HEALING_MS: u64 = 240_000;
const FIRST_PORT: u16 = 7000;
/// Keys that clients write to.
const KEYS: u64 = 40;

pub(super) struct World {
    rng: Rng,
    seed: u64,
    now_ms: u64,
    starts: u64,
    members: Vec<Member>,
    wires: Vec<Wire>,
    /// Pairs that reach each other no more, and until when.
    partitions: Vec<(usize, usize, u64)>,
    histories: Histories,
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
                ("client-output-buffer-limit", pick(&["replica 0 0 0", "replica 200kb 50kb 2"])),
                ("repl-timeout", pick(&["5", "12"])),
                ("repl-ping-replica-period", pick(&["1", "3"])),
            ];
            Member::new(FIRST_PORT + index as u16, directives)
        });
        let members = members.collect();
        Self {
            rng,
            seed,
            now_ms: 0,
            starts: 0,
            members,
            wires: Vec::new(),
            partitions: Vec::new(),
            histories: Histories::default(),
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

    fn note(&mut self, text: &str) {
        let _ = writeln!(self.report.log, "{:>7} {text}", self.now_ms);
    }

    fn now(&self) -> Now {
        let unix_us = START_UNIX_US + self.now_ms * 1000;
        Now::new(Monotonic::from_ms(1_000_000 + self.now_ms), unix_us)
    }

    fn start(&mut self, index: usize) -> Result<(), String> {
        self.starts += 1;
        let (now, seed) = (self.now(), self.seed * 1000 + self.starts);
        self.members[index].start(now, seed);
        self.note(&format!("{index} starts"));
        self.observe(index)
    }

    /// A client's command. What it changes is noted.
    fn command(&mut self, index: usize, line: &str) -> Result<String, String> {
        let Some(fixture) = &mut self.members[index].fixture else { return Ok(String::new()) };
        let answer = fixture.run(line);
        self.observe(index)?;
        Ok(answer)
    }

    /// Compares where a node is with its history, or notes it there.
    fn observe(&mut self, index: usize) -> Result<(), String> {
        let Some((is_primary, point, before)) = self.members[index].point() else { return Ok(()) };
        // Without a backlog nothing is recorded, and the history ends when a replica comes.
        if is_primary && self.members[index].info("repl_backlog_active").as_deref() != Some("1") {
            return Ok(());
        }
        if is_primary {
            return self.histories.note(&point, before).map_err(|reason| format!("{index}: {reason}"));
        }
        // A replica whose link is down may be about to be given other data.
        if self.members[index].info("master_link_status").as_deref() == Some("up") {
            self.report.comparisons += 1;
            return self.histories.check(&point).map_err(|reason| format!("replica {index}: {reason}"));
        }
        Ok(())
    }

    fn follow(&mut self, index: usize, primary: usize) -> Result<(), String> {
        let port = FIRST_PORT + primary as u16;
        let answer = self.command(index, &format!("REPLICAOF 127.0.0.1 {port}"))?;
        if answer.starts_with("+OK") {
            self.members[index].primary = Some(port);
        }
        self.note(&format!("{index} follows {primary}: {answer}"));
        Ok(())
    }

    /// One write, to any node; replicas refuse it.
    fn write(&mut self) -> Result<(), String> {
        let index = self.rng.index(self.members.len());
        let (key, number) = (self.rng.below(KEYS), self.rng.below(1000));
        let line = match self.rng.index(12) {
            0 => format!("SELECT {}", self.rng.below(3)),
            1 => format!("INCR counter:{key}"),
            2 => format!("RPUSH list:{key} {number} {}", number + 1),
            3 => format!("LPOP list:{key}"),
            4 => format!("SADD set:{key} {number}"),
            5 => format!("SPOP set:{key}"),
            6 => format!("HSET hash:{key} f{} {number}", number % 7),
            7 => format!("ZADD zset:{key} {number} m{}", number % 9),
            8 => format!("PEXPIRE counter:{key} {}", 600_000 + number * 100),
            9 => format!("GET counter:{key}"),
            10 => format!("SET big:{key} {}", "x".repeat(number as usize * 5)),
            _ => return self.transaction(index, key),
        };
        self.command(index, &line).map(|_| ())
    }

    fn transaction(&mut self, index: usize, key: u64) -> Result<(), String> {
        for line in ["MULTI", &format!("INCR sum:{key}"), &format!("APPEND text:{key} y"), "EXEC"] {
            self.command(index, line)?;
        }
        Ok(())
    }

    fn fault(&mut self) -> Result<(), String> {
        let index = self.rng.index(self.members.len());
        let other = self.rng.index(self.members.len());
        match self.rng.index(14) {
            0 | 1 => self.cut(),
            2 => {
                let until_ms = self.now_ms + 500 + self.rng.below(15_000);
                self.partitions.push((index.min(other), index.max(other), until_ms));
                self.note(&format!("{index} and {other} are apart until {until_ms}"));
            }
            3 => {
                let returns_at_ms = self.now_ms + 200 + self.rng.below(8000);
                self.note(&format!("{index} crashes until {returns_at_ms}"));
                self.members[index].crash(returns_at_ms);
                self.report.crashes += 1;
            }
            4 | 5 => {
                let answer = self.command(index, "BGSAVE")?;
                self.note(&format!("{index} saves: {answer}"));
            }
            6 | 7 => {
                let was_replica = self.members[index].info("role").as_deref() == Some("slave");
                let answer = self.command(index, "REPLICAOF NO ONE")?;
                if answer.starts_with("+OK") {
                    self.members[index].primary = None;
                    self.report.promotions += u64::from(was_replica);
                }
                self.note(&format!("{index} is promoted: {answer}"));
            }
            8 | 9 if index != other => return self.follow(index, other),
            10 => {
                let answer = self.command(index, "FAILOVER TIMEOUT 2000")?;
                self.note(&format!("{index} hands over: {answer}"));
            }
            11 => {
                let kind = if self.rng.chance(1, 2) { "replica" } else { "master" };
                let answer = self.command(index, &format!("CLIENT KILL TYPE {kind}"))?;
                self.note(&format!("{index} ends connections with {kind}: {answer}"));
            }
            12 => {
                let word = self.rng.choose(&["disabled", "on-empty-db", "swapdb"]).copied().unwrap_or_default();
                self.command(index, &format!("CONFIG SET repl-diskless-load {word}"))?;
            }
            _ => {
                let word = self.rng.choose(&["16kb", "1mb"]).copied().unwrap_or_default();
                self.command(index, &format!("CONFIG SET repl-backlog-size {word}"))?;
            }
        }
        Ok(())
    }

    /// Ends one connection, also one of two.
    fn cut(&mut self) {
        if self.wires.is_empty() {
            return;
        }
        let at = self.rng.index(self.wires.len());
        let wire = self.wires.remove(at);
        self.note(&format!("the connection of {} to {} is cut", wire.replica, wire.primary));
        wire.end(&mut self.members);
    }

    fn are_apart(&self, first: usize, second: usize) -> bool {
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
                fixture.host.log.clear();
            }
            let actions = self.members[index].step(&mut self.rng);
            for action in actions {
                self.carry_out(index, &action);
            }
        }
        let mut wires = std::mem::take(&mut self.wires);
        wires.retain_mut(|wire| {
            if self.are_apart(wire.replica, wire.primary) {
                return true;
            }
            let goes_on = wire.carry(&mut self.members, self.now_ms);
            if !goes_on {
                wire.end(&mut self.members);
            }
            goes_on
        });
        wires.append(&mut self.wires);
        self.wires = wires;
        for index in 0..self.members.len() {
            self.observe(index)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, index: usize, action: &Action) {
        match action {
            Action::ConnectPrimary { port, .. } => self.connect(index, *port, false),
            Action::ConnectSnapshotChannel { port, .. } => self.connect(index, *port, true),
            Action::DisconnectPrimary => {
                let (ended, wires) =
                    std::mem::take(&mut self.wires).into_iter().partition(|wire| wire.replica == index);
                self.wires = wires;
                let ended: Vec<Wire> = ended;
                for wire in ended {
                    if let Some(Fixture { node, host, .. }) = &mut self.members[wire.primary].fixture {
                        node.disconnected(host.clock, host, wire.at_primary);
                    }
                }
            }
            _ => {}
        }
    }

    fn connect(&mut self, replica: usize, port: u16, is_channel: bool) {
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
                node.snapshot_channel_unreachable(host.clock, host, "Connection refused");
            } else {
                node.primary_unreachable(host.clock, host, "Connection refused");
            }
            return;
        };
        let at_replica = if is_channel {
            self.report.dual_syncs += 1;
            node.snapshot_channel_connected(host.clock, host, identity(port))
        } else {
            node.primary_connected(host.clock, host, identity(port))
        };
        self.wires.push(Wire::new(replica, primary, (at_replica, at_primary), &mut self.rng));
        self.note(&format!("{replica} connects to {primary}, for a snapshot alone: {is_channel}"));
    }

    /// Faults end, all follow one node, and come to hold its data.
    fn heal(&mut self) -> Result<(), String> {
        self.note("faults end");
        self.partitions.clear();
        for index in 0..self.members.len() {
            if self.members[index].fixture.is_none() {
                self.start(index)?;
            }
        }
        let chosen = self.rng.index(self.members.len());
        let end_ms = self.now_ms + HEALING_MS;
        loop {
            if self.now_ms >= end_ms {
                return Err(format!("not all hold the data of {chosen} after the faults: {}", self.describe()));
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
        }
        let text = format!("healed: {}", self.describe());
        self.note(&text);
        Ok(())
    }

    /// The chosen one is a primary, half of the others follow it and half follow another replica.
    fn assign(&mut self, chosen: usize) -> Result<(), String> {
        if self.members[chosen].info("role").as_deref() != Some("master") {
            self.command(chosen, "REPLICAOF NO ONE")?;
        }
        let relay = (chosen + 1) % self.members.len();
        for index in (0..self.members.len()).filter(|index| *index != chosen) {
            let primary = if index % 2 == 0 || index == relay { chosen } else { relay };
            let port = (FIRST_PORT + primary as u16).to_string();
            if self.members[index].info("master_port").as_deref() != Some(port.as_str()) {
                self.follow(index, primary)?;
            }
        }
        Ok(())
    }

    fn is_healed(&mut self, chosen: usize) -> bool {
        let Some((true, goal, _)) = self.members[chosen].point() else { return false };
        self.members.iter_mut().all(|member| {
            let is_up = member.info("master_link_status").is_none_or(|status| status == "up");
            is_up && member.point().is_some_and(|(_, point, _)| point == goal)
        })
    }

    fn describe(&mut self) -> String {
        let mut text = String::new();
        for index in 0..self.members.len() {
            let role = self.members[index].info("role").unwrap_or_default();
            let status = self.members[index].info("master_link_status").unwrap_or_default();
            let offset = self.members[index].info("master_repl_offset").unwrap_or_default();
            let _ = write!(text, "[{index} {role} {status} {offset}] ");
        }
        text
    }
}
