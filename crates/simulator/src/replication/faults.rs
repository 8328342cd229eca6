//! What goes wrong, and what operators do meanwhile.

use super::world::{FIRST_PORT, World};

impl World {
    /// One fault or one order.
    pub fn fault(&mut self) -> Result<(), String> {
        let index = self.rng.index(self.members.len());
        let other = self.rng.index(self.members.len());
        match self.rng.index(20) {
            0 | 1 => self.cut(),
            2 | 16 => self.cut_synchronisation(),
            3 if index != other => {
                let until_ms = self.now_ms + 500 + self.rng.below(15_000);
                self.partitions.push((index.min(other), index.max(other), until_ms));
                self.note(&format!("{index} and {other} are apart until {until_ms}"));
            }
            4 | 5 => self.crash(index),
            6 | 7 => {
                let answer = self.command(index, "BGSAVE")?;
                self.note(&format!("{index} saves: {answer}"));
            }
            8 | 9 => self.promote(index)?,
            10 | 11 if index != other => return self.follow(index, other),
            12 | 13 => self.hand_over()?,
            14 => {
                let kind = if self.rng.chance(1, 2) { "replica" } else { "master" };
                let answer = self.command(index, &format!("CLIENT KILL TYPE {kind}"))?;
                self.note(&format!("{index} ends connections with {kind}: {answer}"));
            }
            15 => {
                let at = self.rng.index(self.wires.len() + 1);
                if let Some(wire) = self.wires.get_mut(at) {
                    wire.slow_down();
                    let text = format!("the connection of {} to {} is slow", wire.replica, wire.primary);
                    self.note(&text);
                }
            }
            _ => self.configure(index)?,
        }
        Ok(())
    }

    fn configure(&mut self, index: usize) -> Result<(), String> {
        let choices: [(&str, &[&str]); 5] = [
            ("repl-diskless-load", &["disabled", "on-empty-db", "swapdb"]),
            ("repl-backlog-size", &["16kb", "1mb"]),
            ("dual-channel-replication-enabled", &["yes", "no"]),
            ("repl-diskless-sync", &["yes", "no"]),
            ("client-output-buffer-limit", &["\"replica 60kb 20kb 1\"", "\"replica 0 0 0\""]),
        ];
        let Some((name, values)) = self.rng.choose(&choices).copied() else { return Ok(()) };
        let value = self.rng.choose(values).copied().unwrap_or_default();
        let answer = self.command(index, &format!("CONFIG SET {name} {value}"))?;
        self.note(&format!("{index} has {name} {value}: {answer}"));
        Ok(())
    }

    fn promote(&mut self, index: usize) -> Result<(), String> {
        let was_replica = self.members[index].facts().is_some_and(|facts| !facts.is_primary);
        let answer = self.command(index, "REPLICAOF NO ONE")?;
        if answer.starts_with("+OK") {
            self.members[index].primary = None;
            self.report.promotions += u64::from(was_replica);
        }
        self.note(&format!("{index} is promoted: {answer}"));
        Ok(())
    }

    /// An order to a primary, if there is one, about any other node.
    fn hand_over(&mut self) -> Result<(), String> {
        let count = self.members.len();
        let first = self.rng.index(count);
        let mut order = (first..count).chain(0..first);
        let members = &mut self.members;
        let is_primary = |index: &usize| {
            members[*index].facts().is_some_and(|facts| facts.is_primary && facts.has_backlog)
        };
        let index = order.find(is_primary).unwrap_or(first);
        let other = self.rng.index(count);
        let port = FIRST_PORT + other as u16;
        let line = match self.rng.index(6) {
            0 => "FAILOVER".to_owned(),
            1 => "FAILOVER TIMEOUT 2000".to_owned(),
            2 => format!("FAILOVER TO 127.0.0.1 {port} TIMEOUT 3000"),
            3 => format!("FAILOVER TO 127.0.0.1 {port}"),
            4 => format!("FAILOVER TO 127.0.0.1 {port} FORCE TIMEOUT 200"),
            _ => "FAILOVER ABORT".to_owned(),
        };
        let answer = self.command(index, &line)?;
        self.note(&format!("{index} is told {line}: {answer}"));
        Ok(())
    }

    /// A node goes, with or without its data on the disk, or with its disk.
    fn crash(&mut self, index: usize) {
        if self.members[index].fixture.is_none() {
            return;
        }
        let returns_at_ms = self.now_ms + 200 + self.rng.below(8000);
        self.report.crashes += 1;
        match self.rng.index(4) {
            0 => {
                self.note(&format!("{index} is shut down until {returns_at_ms}"));
                self.members[index].shut_down(returns_at_ms);
            }
            1 => {
                self.note(&format!("{index} crashes until {returns_at_ms}, and its disk is lost"));
                self.members[index].crash(returns_at_ms);
                self.members[index].lose_file();
            }
            _ => {
                self.note(&format!("{index} crashes until {returns_at_ms}"));
                self.members[index].crash(returns_at_ms);
            }
        }
    }

    /// Ends one connection, also one of two.
    fn cut(&mut self) {
        if !self.wires.is_empty() {
            let at = self.rng.index(self.wires.len());
            self.cut_wire(at);
        }
    }

    /// Ends a connection in the middle of a full synchronisation, if there is one.
    fn cut_synchronisation(&mut self) {
        let first = self.rng.index(self.wires.len() + 1);
        let order = (first..self.wires.len()).chain(0..first);
        let found = order.into_iter().find(|&at| {
            let replica = self.wires[at].replica;
            self.members[replica].facts().is_some_and(|facts| facts.is_synchronising)
        });
        if let Some(at) = found {
            self.report.broken_syncs += 1;
            self.cut_wire(at);
        }
    }

    fn cut_wire(&mut self, at: usize) {
        let wire = self.wires.remove(at);
        self.note(&format!("the connection of {} to {} is cut", wire.replica, wire.primary));
        wire.end(&mut self.members);
        self.carry_out_actions();
    }
}
