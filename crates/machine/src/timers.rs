//! Named timers in a table.

use crate::Monotonic;
use std::collections::BTreeMap;

/// Deadlines by name. Setting a timer that is already set moves it.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    deadlines: BTreeMap<K, Monotonic>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { deadlines: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Lets `timer` fire at `deadline`.
    pub fn set(&mut self, timer: K, deadline: Monotonic) {
        self.deadlines.insert(timer, deadline);
    }

    /// Stops `timer` from firing.
    pub fn clear(&mut self, timer: K) {
        self.deadlines.remove(&timer);
    }

    /// When `timer` fires, if it is set.
    pub fn deadline(&self, timer: K) -> Option<Monotonic> {
        self.deadlines.get(&timer).copied()
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Monotonic> {
        self.deadlines.values().min().copied()
    }

    /// Removes and returns one timer that is due: the earliest, and of equals the first by name.
    pub fn pop_due(&mut self, now: Monotonic) -> Option<K> {
        let (&timer, _) =
            self.deadlines.iter().filter(|&(_, &at)| at <= now).min_by_key(|&(&timer, &at)| (at, timer))?;
        self.deadlines.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_in_order_of_deadline() {
        let mut timers = Timers::default();
        timers.set("b", Monotonic(5));
        timers.set("a", Monotonic(9));
        timers.set("c", Monotonic(5));
        assert_eq!(timers.next(), Some(Monotonic(5)));
        assert_eq!(timers.pop_due(Monotonic(4)), None);
        assert_eq!(timers.pop_due(Monotonic(9)), Some("b"));
        assert_eq!(timers.pop_due(Monotonic(9)), Some("c"));
        timers.clear("a");
        assert_eq!(timers.pop_due(Monotonic(9)), None);
        assert_eq!(timers.next(), None);
    }
}
