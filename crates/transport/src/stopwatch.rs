//! A stopwatch for commands that costs a third of what asking the system's clock does.
//!
//! It reads the processor's time stamp counter and knows from the monotonic clock, to which it is set anew now and then, how
//! fast that counts. It does so only where Linux itself takes its time from that counter, since only then it is known to be
//! steady and equal on all cores; elsewhere it asks the clock.

#![allow(unsafe_code)]

use crate::clock::Clock;

/// The file in which Linux names what it takes its time from.
const CLOCK_SOURCE_PATH: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
/// How long the counter is watched before its speed is believed, in microseconds.
const FIRST_INTERVAL_US: u64 = 200_000;
/// A counter that goes further from the clock than this between two comparisons is not used any more.
const DRIFT_MAX_US: u64 = 20_000;
/// The fixed point of microseconds per tick.
const FRACTION_BITS: u32 = 40;

/// Microseconds of the monotonic clock, from the processor's counter where that is good.
#[derive(Debug)]
pub struct Stopwatch {
    clock: Clock,
    /// Both clocks when the counter was looked at first; `None` if it is not used.
    first: Option<Reading>,
    /// Both clocks when they were compared last, and microseconds per tick with [`FRACTION_BITS`] behind the point.
    set: Option<(Reading, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    ticks: u64,
    at_us: u64,
}

impl Stopwatch {
    /// A stopwatch of this clock.
    pub fn new(clock: Clock) -> Self {
        let is_steady = std::fs::read_to_string(CLOCK_SOURCE_PATH).is_ok_and(|name| name.trim() == "tsc");
        let first = if is_steady { Reading::take(clock) } else { None };
        Self { clock, first, set: None }
    }

    /// Compares the counter with the clock; to be called now and then.
    pub fn set(&mut self) {
        let Some(first) = self.first else { return };
        let Some(now) = Reading::take(self.clock) else { return };
        if let Some((set, speed)) = self.set
            && extrapolate(set, speed, now.ticks).abs_diff(now.at_us) > DRIFT_MAX_US
        {
            (self.first, self.set) = (None, None);
            return;
        }
        self.set = speed(first, now).map(|speed| (now, speed));
    }

    /// Microseconds since the clock's begin.
    #[inline]
    pub fn read_us(&self) -> u64 {
        match (self.set, ticks()) {
            (Some((set, speed)), Some(ticks)) => extrapolate(set, speed, ticks),
            _ => self.clock.monotonic().0,
        }
    }
}

impl Reading {
    /// Reads both clocks, a few times: the reading with the least between them counts, as the thread may have been put to
    /// sleep in another.
    fn take(clock: Clock) -> Option<Self> {
        const TRIES: usize = 4;
        let one = || {
            let before = ticks()?;
            let at_us = clock.monotonic().0;
            let gap = ticks()?.saturating_sub(before);
            Some((gap, Self { ticks: before + gap / 2, at_us }))
        };
        (0..TRIES).filter_map(|_| one()).min_by_key(|&(gap, _)| gap).map(|(_, reading)| reading)
    }
}

/// Microseconds per tick, if the two are far enough from each other and both clocks went forward.
fn speed(first: Reading, now: Reading) -> Option<u64> {
    let elapsed_us = now.at_us.checked_sub(first.at_us).filter(|&us| us >= FIRST_INTERVAL_US)?;
    let elapsed_ticks = now.ticks.checked_sub(first.ticks).filter(|&ticks| ticks > 0)?;
    u64::try_from((u128::from(elapsed_us) << FRACTION_BITS) / u128::from(elapsed_ticks)).ok()
}

#[inline]
fn extrapolate(set: Reading, speed: u64, ticks: u64) -> u64 {
    let since = u128::from(ticks.saturating_sub(set.ticks)) * u128::from(speed);
    set.at_us + (since >> FRACTION_BITS) as u64
}

/// The processor's counter, if it has one that is cheap to read.
#[inline]
fn ticks() -> Option<u64> {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every processor of this architecture has the counter, and reading it changes nothing.
    return Some(unsafe { std::arch::x86_64::_rdtsc() });
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_microseconds() {
        // 2.5 GHz.
        let first = Reading { ticks: 1_000_000_000, at_us: 5_000_000 };
        assert_eq!(speed(first, Reading { ticks: 1_000_250_000, at_us: 5_000_100 }), None, "too early");
        assert_eq!(speed(first, Reading { ticks: 999_999_999, at_us: 9_000_000 }), None, "it went backwards");
        let later = Reading { ticks: 3_500_000_000, at_us: 6_000_000 };
        let speed = speed(first, later).unwrap();
        for elapsed_us in [0, 1, 99, 1_000_000, 3_600_000_000_u64] {
            let read = extrapolate(later, speed, later.ticks + elapsed_us * 2500);
            assert!(
                read.abs_diff(later.at_us + elapsed_us) <= 1 + elapsed_us / 1_000_000,
                "{elapsed_us}: {read}"
            );
        }
        assert_eq!(extrapolate(later, speed, 0), later.at_us, "never before what it was set to");
    }

    #[test]
    fn it_goes_with_the_clock() {
        let clock = Clock::new();
        let mut stopwatch = Stopwatch::new(clock);
        let began = clock.monotonic().0;
        while clock.monotonic().0 < began + FIRST_INTERVAL_US + 1000 {
            stopwatch.set();
            let before = clock.monotonic().0;
            let read = stopwatch.read_us();
            let after = clock.monotonic().0;
            assert!((before - 1..=after + 1).contains(&read), "{before} {read} {after}");
        }
    }
}
