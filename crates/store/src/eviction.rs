//! Which key goes when memory is used up.
//!
//! No key is ordered among all others by its last use: that would cost memory for each of them. A few keys are looked at each
//! time, and the best candidates among all that were seen so far are kept in a pool, from which the best one goes. With a
//! pool, a handful of samples comes close to the true order. The method is that of Redis (`maxmemory-samples`).

use crate::access;
use crate::call::StoreOptions;
use crate::entry::Entry;
use crate::keyspace::Keyspace;
use crate::table::Item;
use shoal_machine::{Now, Rng};

/// Candidates that are remembered.
const POOL_SIZE: usize = 16;
/// Attempts to find a candidate that is still there. Each looks at several keys at random.
const ATTEMPTS: usize = 64;

/// By what keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    /// The one that was not used for the longest time.
    LeastRecentlyUsed,
    /// The one that is used least often.
    LeastFrequentlyUsed,
    /// The one that expires first.
    EarliestExpiry,
    /// Any.
    Random,
}

/// Which keys may go, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionPolicy {
    /// By what they are chosen.
    pub ranking: Ranking,
    /// Only keys with an expiry may go.
    pub volatile_only: bool,
}

#[derive(Debug)]
struct Candidate {
    /// The higher, the better.
    score: u64,
    database: usize,
    key: Vec<u8>,
}

/// Good candidates, kept from one choice to the next.
#[derive(Debug, Default)]
pub struct EvictionPool {
    /// In the order of their scores, the best last.
    candidates: Vec<Candidate>,
    /// What the scores mean.
    policy: Option<EvictionPolicy>,
    /// The database that the last key at random came from.
    last_database: usize,
}

/// What a choice depends on beside the data.
#[derive(Debug)]
pub struct EvictionContext<'a> {
    /// Which keys may go.
    pub policy: EvictionPolicy,
    /// How many keys of each database are looked at for each choice.
    pub samples: usize,
    /// The time.
    pub now: Now,
    /// How access clocks are read.
    pub options: &'a StoreOptions,
    /// Randomness.
    pub rng: &'a mut Rng,
}

impl EvictionPool {
    /// Chooses a key, and says in which database it is. `None` if no key may go.
    pub fn choose(
        &mut self,
        keyspace: &Keyspace,
        context: &mut EvictionContext<'_>,
    ) -> Option<(usize, Vec<u8>)> {
        if context.policy.ranking == Ranking::Random {
            return self.choose_at_random(keyspace, context);
        }
        if self.policy != Some(context.policy) {
            self.policy = Some(context.policy);
            self.candidates.clear();
        }
        for _ in 0..ATTEMPTS {
            if !self.populate(keyspace, context) {
                return None;
            }
            while let Some(candidate) = self.candidates.pop() {
                let database = keyspace.database(candidate.database);
                let found = database.find(&candidate.key);
                let is_there = found.is_some_and(|found| {
                    !context.policy.volatile_only || database.entry(found).expiry_ms().is_some()
                });
                if is_there {
                    return Some((candidate.database, candidate.key));
                }
            }
        }
        self.choose_at_random(keyspace, context)
    }

    /// Every database has its turn.
    fn choose_at_random(
        &mut self,
        keyspace: &Keyspace,
        context: &mut EvictionContext<'_>,
    ) -> Option<(usize, Vec<u8>)> {
        let count = keyspace.database_count();
        for _ in 0..count {
            self.last_database = (self.last_database + 1) % count;
            let database = keyspace.database(self.last_database);
            if let Some(entry) = database.random(context.rng, context.policy.volatile_only) {
                return Some((self.last_database, entry.key().to_vec()));
            }
        }
        None
    }

    /// Looks at some keys of every database. False if there are none.
    fn populate(&mut self, keyspace: &Keyspace, context: &mut EvictionContext<'_>) -> bool {
        let mut has_keys = false;
        for (index, database) in keyspace.databases().enumerate() {
            let count = if context.policy.volatile_only { database.expiring_len() } else { database.len() };
            for _ in 0..context.samples.min(count) {
                let Some(entry) = database.random(context.rng, context.policy.volatile_only) else { break };
                has_keys = true;
                let score = score(&entry, context);
                self.offer(score, index, entry.key());
            }
        }
        has_keys
    }

    /// Keeps a key if it is better than the worst, or if there is room.
    fn offer(&mut self, score: u64, database: usize, key: &[u8]) {
        let place = self.candidates.partition_point(|candidate| candidate.score < score);
        let is_known = self.candidates[place..]
            .iter()
            .take_while(|candidate| candidate.score == score)
            .any(|candidate| candidate.database == database && candidate.key == key);
        if is_known {
            return;
        }
        let candidate = Candidate { score, database, key: key.to_vec() };
        if self.candidates.len() < POOL_SIZE {
            self.candidates.insert(place, candidate);
        } else if place > 0 {
            // The worst one leaves; those that are worse than the new one move down.
            self.candidates[..place].rotate_left(1);
            self.candidates[place - 1] = candidate;
        }
    }
}

fn score(entry: &Entry, context: &EvictionContext<'_>) -> u64 {
    match context.policy.ranking {
        Ranking::LeastRecentlyUsed => access::lru_idle_s(entry.access(), context.now),
        Ranking::LeastFrequentlyUsed => {
            u64::from(255 - access::lfu_counter(entry.access(), context.now, context.options))
        }
        Ranking::EarliestExpiry => u64::MAX - entry.expiry_ms().unwrap_or(u64::MAX),
        Ranking::Random => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;

    /// Evicts `count` keys and returns how many of them `is_good` would have chosen.
    fn evict(
        fixture: &mut Fixture,
        policy: EvictionPolicy,
        count: usize,
        is_good: impl Fn(usize, usize) -> bool,
    ) -> usize {
        let mut pool = EvictionPool::default();
        let mut good = 0;
        for _ in 0..count {
            let now = fixture.now();
            let mut context =
                EvictionContext { policy, samples: 5, now, options: &fixture.options, rng: &mut fixture.rng };
            let (database, key) = pool.choose(&fixture.keyspace, &mut context).unwrap();
            let found = fixture.keyspace.database(database).find(&key).unwrap();
            fixture.keyspace.database_mut(database).remove(found, false);
            good += usize::from(is_good(database, String::from_utf8(key).unwrap().parse().unwrap()));
        }
        good
    }

    fn policy(ranking: Ranking, volatile_only: bool) -> EvictionPolicy {
        EvictionPolicy { ranking, volatile_only }
    }

    #[test]
    fn the_oldest_go_first() {
        let mut fixture = Fixture::default();
        for number in 0..1000 {
            fixture.run(&format!("SET {number} x"));
            fixture.now_ms += 1000;
        }
        let good = evict(&mut fixture, policy(Ranking::LeastRecentlyUsed, false), 300, |_, key| key < 400);
        assert!(good > 270, "{good} of 300 keys were among the oldest 400");
    }

    #[test]
    fn the_least_used_go_first() {
        let mut fixture = Fixture::default();
        fixture.options.lfu = true;
        for number in 0..1000 {
            fixture.run(&format!("SET {number} x"));
        }
        for number in (0..1000).step_by(2) {
            for _ in 0..30 {
                fixture.run(&format!("GET {number}"));
            }
        }
        let good =
            evict(&mut fixture, policy(Ranking::LeastFrequentlyUsed, false), 400, |_, key| key % 2 == 1);
        assert!(good > 390, "{good} of 400 keys had not been read");
    }

    #[test]
    fn the_first_to_expire_go_first() {
        let mut fixture = Fixture::default();
        for number in 0..1000 {
            fixture.run(&format!("SET {number} x EX {}", number + 100));
            fixture.run(&format!("SET {} x", number + 5000));
        }
        let good = evict(&mut fixture, policy(Ranking::EarliestExpiry, true), 300, |_, key| key < 400);
        assert!(good > 270, "{good} of 300 keys were among the first 400 to expire");
        assert_eq!(fixture.keyspace.len(), 1700);
    }

    #[test]
    fn only_keys_with_an_expiry_go_if_so_wanted() {
        for ranking in [
            Ranking::LeastRecentlyUsed,
            Ranking::LeastFrequentlyUsed,
            Ranking::EarliestExpiry,
            Ranking::Random,
        ] {
            let mut fixture = Fixture::default();
            for number in 0..200 {
                fixture.run(&format!("SELECT {}", number % 4));
                let expiry = if number % 2 == 1 { "EX 100" } else { "" };
                fixture.run(&format!("SET {number} x {expiry}"));
            }
            let policy = policy(ranking, true);
            let good = evict(&mut fixture, policy, 100, |database, key| key % 2 == 1 && database == key % 4);
            assert_eq!(good, 100, "{ranking:?}");
            let mut context = EvictionContext {
                policy,
                samples: 5,
                now: fixture.now(),
                options: &fixture.options,
                rng: &mut fixture.rng,
            };
            assert_eq!(EvictionPool::default().choose(&fixture.keyspace, &mut context), None);
        }
    }
}
