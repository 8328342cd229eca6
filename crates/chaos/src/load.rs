//! Clients that write and read all the while, and remember what they were told.

use crate::Outcome;
use crate::client::{Answer, Client};
use crate::linearizability::{self, Action, Before, Operation};
use shoal_machine::Rng;
use shoal_probe::eventually;
use shoal_protocol::slot::key_slot;
use shoal_protocol::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Keys that all clients write and read.
const REGISTERS: u64 = 48;
/// Keys of each client's own, of each kind.
const OWN_KEYS: u64 = 16;
/// How long a client waits for replicas to confirm.
const WAIT_TIMEOUT: Duration = Duration::from_millis(500);
/// Between two requests of a client.
const PACE: Duration = Duration::from_millis(2);
/// After a request that was refused.
const REFUSED_PACE: Duration = Duration::from_millis(20);
/// How long a whole cluster may take to serve a read.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// Replicas of each shard: all have to confirm.
const REPLICAS: usize = 1;

/// What a client knows of a key that it alone writes.
#[derive(Debug, Default)]
struct Own {
    /// The last number that was sent.
    sent: u64,
    /// Numbers that every replica has confirmed.
    confirmed: BTreeSet<u64>,
    /// Numbers that may have been written or not, or will be.
    unknown: BTreeSet<u64>,
    /// Numbers that were not written.
    refused: BTreeSet<u64>,
}

/// Everything that one client remembers.
#[derive(Debug)]
pub struct History {
    number: usize,
    strings: BTreeMap<u64, Own>,
    lists: BTreeMap<u64, Own>,
    registers: BTreeMap<u64, Vec<Operation>>,
    /// Requests that were carried out, were refused, and may have been either.
    pub counts: [u64; 3],
    /// How often each refusal came.
    pub refusals: BTreeMap<String, u64>,
}

/// What a run and its clients tell each other.
#[derive(Debug)]
pub struct Common {
    /// What times count from.
    pub began: Instant,
    /// The clients are to end.
    pub stop: AtomicBool,
    /// Requests that were carried out, of all clients.
    pub served: AtomicU64,
}

/// Runs one client until it is to end.
pub fn run(number: usize, nodes: usize, mut rng: Rng, common: &Common) -> History {
    let mut client = Client::new(nodes, rng.fork());
    let mut history = History {
        number,
        strings: BTreeMap::new(),
        lists: BTreeMap::new(),
        registers: BTreeMap::new(),
        counts: [0; 3],
        refusals: BTreeMap::new(),
    };
    let mut written = 0;
    while !common.stop.load(Ordering::Relaxed) {
        let answer = match rng.below(10) {
            0..4 => history.write_own(&mut client, rng.below(OWN_KEYS), false),
            4..6 => history.write_own(&mut client, rng.below(OWN_KEYS), true),
            kind => {
                written += 1;
                // Unique among all clients.
                let value = written * 1000 + number as u64;
                history.use_register(
                    &mut client,
                    rng.below(REGISTERS),
                    (kind < 8).then_some(value),
                    common.began,
                )
            }
        };
        let pace = match answer {
            Answer::Reply(_) => {
                history.counts[0] += 1;
                common.served.fetch_add(1, Ordering::Relaxed);
                PACE
            }
            Answer::Refused(text) => {
                history.counts[1] += 1;
                let code = text.split(' ').next().unwrap_or_default().to_owned();
                *history.refusals.entry(code).or_default() += 1;
                REFUSED_PACE
            }
            Answer::Unknown => {
                history.counts[2] += 1;
                PACE
            }
        };
        std::thread::sleep(pace);
    }
    history
}

fn register_key(index: u64) -> String {
    format!("register:{index}")
}

impl History {
    fn key(&self, index: u64, is_list: bool) -> String {
        format!("{}:{}:{index}", if is_list { "list" } else { "string" }, self.number)
    }

    fn write_own(&mut self, client: &mut Client, index: u64, is_list: bool) -> Answer {
        let key = self.key(index, is_list);
        let own = if is_list { &mut self.lists } else { &mut self.strings }.entry(index).or_default();
        own.sent += 1;
        let number = own.sent.to_string();
        let (answer, target) = client.call(&key, &[if is_list { "RPUSH" } else { "SET" }, &key, &number]);
        match (&answer, target) {
            (Answer::Reply(_), Some(target)) => {
                if client.wait(target, REPLICAS, WAIT_TIMEOUT) >= REPLICAS {
                    own.confirmed.insert(own.sent);
                }
            }
            (Answer::Refused(_), _) => drop(own.refused.insert(own.sent)),
            _ => drop(own.unknown.insert(own.sent)),
        }
        answer
    }

    fn use_register(
        &mut self,
        client: &mut Client,
        index: u64,
        value: Option<u64>,
        began: Instant,
    ) -> Answer {
        let key = register_key(index);
        let now = || u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let begin = now();
        let (answer, _) = match value {
            Some(value) => client.call(&key, &["SET", &key, &value.to_string()]),
            None => client.call(&key, &["GET", &key]),
        };
        let end = matches!(answer, Answer::Reply(_)).then(now);
        let action = match (value, &answer) {
            (_, Answer::Refused(_)) | (None, Answer::Unknown) => return answer,
            (Some(value), _) => Action::Write(value),
            (None, Answer::Reply(reply)) => Action::Read(number_in(reply)),
        };
        self.registers.entry(index).or_default().push(Operation { begin, end, action });
        answer
    }

    /// Writes that every replica has confirmed.
    pub fn confirmed_len(&self) -> usize {
        self.strings.values().chain(self.lists.values()).map(|own| own.confirmed.len()).sum()
    }

    /// Compares the client's own keys with what the cluster has now.
    ///
    /// # Errors
    /// What is missing, doubled, or was never written.
    pub fn compare_own(&self, client: &mut Client) -> Outcome<()> {
        for (&index, own) in &self.strings {
            let key = self.key(index, false);
            let found = number_in(&read(client, &key, &["GET", &key])?);
            own.check_string(found).map_err(|problem| format!("{key}: {problem}"))?;
        }
        for (&index, own) in &self.lists {
            let key = self.key(index, true);
            let reply = read(client, &key, &["LRANGE", &key, "0", "-1"])?;
            let Value::Array(elements) = reply else { return Err(format!("{key}: {reply:?}")) };
            let found: Vec<u64> = elements.iter().filter_map(number_in).collect();
            own.check_list(&found).map_err(|problem| format!("{key}: {problem}"))?;
        }
        Ok(())
    }
}

impl Own {
    /// A string holds the last confirmed number, a later one, or one of which nobody knows when it was written.
    fn check_string(&self, found: Option<u64>) -> Outcome<()> {
        let last = self.confirmed.last().copied().unwrap_or(0);
        let value = found.unwrap_or(0);
        if value > self.sent || self.refused.contains(&value) {
            return Err(format!("{value} was never written"));
        }
        if value >= last || self.unknown.contains(&value) {
            return Ok(());
        }
        Err(format!("{last} was confirmed by every replica, there is {found:?}"))
    }

    /// A list holds every confirmed number, each number once, and none that was not sent.
    fn check_list(&self, found: &[u64]) -> Outcome<()> {
        let there: BTreeSet<u64> = found.iter().copied().collect();
        if there.len() != found.len() {
            return Err("a number is there twice".to_owned());
        }
        if let Some(missing) = self.confirmed.difference(&there).next() {
            return Err(format!("{missing} was confirmed by every replica and is missing"));
        }
        match there.iter().find(|&&number| number > self.sent || self.refused.contains(&number)) {
            Some(stranger) => Err(format!("{stranger} was never written")),
            None => Ok(()),
        }
    }
}

/// A time in which slots got another primary without that being asked for, which may lose writes that were not confirmed.
#[derive(Clone, Debug)]
pub struct TakeOver {
    /// When the fault began, in nanoseconds since the run did.
    pub from: u64,
    /// When the cluster was whole again.
    pub to: u64,
    /// The slots.
    pub slots: BTreeSet<u16>,
}

/// Checks all registers, in the parts before, between and after the take-overs of their slots. Gives how many parts there were and
/// how many operations in them.
///
/// # Errors
/// A register whose history cannot have been.
pub fn check_registers(histories: &[History], take_overs: &[TakeOver]) -> Outcome<(usize, usize)> {
    let (mut parts, mut operations) = (0, 0);
    for index in 0..REGISTERS {
        let key = register_key(index);
        let slot = key_slot(key.as_bytes());
        let of_the_key = histories.iter().filter_map(|history| history.registers.get(&index)).flatten();
        let of_the_key: Vec<Operation> = of_the_key.copied().collect();
        let gaps = take_overs.iter().filter(|take_over| take_over.slots.contains(&slot));
        let mut from = 0;
        for (gap_from, gap_to) in gaps.map(|gap| (gap.from, gap.to)).chain([(u64::MAX, u64::MAX)]) {
            let part = linearizability::part(&of_the_key, from, gap_from);
            let before = if from == 0 { Before::Empty } else { Before::Unknown };
            linearizability::check(&part, before).map_err(|problem| format!("{key}: {problem}"))?;
            parts += 1;
            operations += part.len();
            from = gap_to;
        }
    }
    Ok((parts, operations))
}

/// A reply that has to come: the cluster is whole.
fn read(client: &mut Client, key: &str, words: &[&str]) -> Outcome<Value> {
    let mut last = String::new();
    let reply = eventually("a reply", READ_LIMIT, || match client.call(key, words).0 {
        Answer::Reply(value) => Some(value),
        other => {
            last = format!("{other:?}");
            None
        }
    });
    reply.map_err(|error| format!("{}: {error}: {last}", words.join(" ")))
}

fn number_in(value: &Value) -> Option<u64> {
    value.as_text()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Own {
        Own {
            sent: 6,
            confirmed: BTreeSet::from([1, 4]),
            unknown: BTreeSet::from([2]),
            refused: BTreeSet::from([5]),
        }
    }

    #[test]
    fn strings_keep_what_was_confirmed() {
        for good in [Some(4), Some(6), Some(2)] {
            assert_eq!(own().check_string(good), Ok(()), "{good:?}");
        }
        for bad in [None, Some(1), Some(3), Some(5), Some(7)] {
            assert!(own().check_string(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lists_keep_what_was_confirmed_once() {
        for good in [&[1, 4][..], &[1, 3, 4, 6], &[1, 4, 2]] {
            assert_eq!(own().check_list(good), Ok(()), "{good:?}");
        }
        for bad in [&[1][..], &[1, 4, 4], &[1, 4, 5], &[1, 4, 7]] {
            assert!(own().check_list(bad).is_err(), "{bad:?}");
        }
    }
}
