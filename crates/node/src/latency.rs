//! The latency monitor: delays beyond a threshold, by what caused them.

use std::collections::{BTreeMap, VecDeque};

/// Delays that are kept of one event.
const SAMPLES_MAX: usize = 160;

/// The delays of one event.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatencyEvent {
    /// Second since 1970 and the worst delay in it in milliseconds, oldest first.
    pub samples: VecDeque<(u64, u64)>,
    /// The worst delay ever, in milliseconds.
    pub worst_ms: u64,
}

/// The delays of all events.
#[derive(Debug, Default)]
pub(crate) struct LatencyMonitor {
    events: BTreeMap<&'static str, LatencyEvent>,
}

impl LatencyMonitor {
    /// Notes a delay. Of one second only the worst is kept.
    pub(crate) fn note(&mut self, event: &'static str, at_s: u64, delay_ms: u64) {
        let event = self.events.entry(event).or_default();
        event.worst_ms = event.worst_ms.max(delay_ms);
        match event.samples.back_mut() {
            Some((last_s, last_ms)) if *last_s == at_s => *last_ms = (*last_ms).max(delay_ms),
            _ => event.samples.push_back((at_s, delay_ms)),
        }
        if event.samples.len() > SAMPLES_MAX {
            event.samples.pop_front();
        }
    }

    /// The events that there were.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&'static str, &LatencyEvent)> {
        self.events.iter().map(|(&name, event)| (name, event))
    }

    /// One event, by its name in any case.
    pub(crate) fn event(&self, name: &[u8]) -> Option<(&'static str, &LatencyEvent)> {
        self.iter().find(|(own, _)| own.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Forgets an event. False if there was none.
    pub(crate) fn forget(&mut self, name: &[u8]) -> bool {
        let found = self.event(name).map(|(own, _)| own);
        found.is_some_and(|own| self.events.remove(own).is_some())
    }

    /// Forgets all events. Returns how many there were.
    pub(crate) fn clear(&mut self) -> usize {
        let count = self.events.len();
        self.events.clear();
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_bounded_and_one_per_second() {
        let mut monitor = LatencyMonitor::default();
        for second in 0..500 {
            monitor.note("command", second, second % 7);
            monitor.note("command", second, second % 5);
        }
        let (_, event) = monitor.event(b"COMMAND").unwrap();
        assert_eq!((event.samples.len(), event.worst_ms), (SAMPLES_MAX, 6));
        assert_eq!(event.samples.back(), Some(&(499, 4)));
        assert!(monitor.forget(b"command") && !monitor.forget(b"command"));
        assert_eq!(monitor.clear(), 0);
    }
}
