//! Access clocks: least recently used by seconds, least frequently used by a logarithmic counter.

use crate::call::StoreOptions;
use shoal_machine::{Now, Rng};

/// The clock's 24 bits.
const CLOCK_MASK: u64 = 0x00ff_ffff;
/// The counter of a new entry, so that it is not evicted before it had a chance.
const LFU_INITIAL: u32 = 5;

/// Seconds since 1970, 24 bits of them.
pub fn lru_clock(now: Now) -> u32 {
    (now.unix_s() & CLOCK_MASK) as u32
}

/// Seconds since an entry was accessed.
pub fn lru_idle_s(access: u32, now: Now) -> u64 {
    u64::from(lru_clock(now).wrapping_sub(access)) & CLOCK_MASK
}

fn minutes(now: Now) -> u32 {
    (now.unix_s() / 60) as u32 & 0xffff
}

/// The clock of a new entry under LFU: 16 bits of minutes, 8 bits of counter.
pub fn lfu_initial(now: Now) -> u32 {
    minutes(now) << 8 | LFU_INITIAL
}

/// The counter of an entry, decayed by the time since it was last looked at.
pub fn lfu_counter(access: u32, now: Now, options: &StoreOptions) -> u32 {
    let elapsed = minutes(now).wrapping_sub(access >> 8) & 0xffff;
    let periods = elapsed.checked_div(options.lfu_decay_minutes).unwrap_or(0);
    (access & 0xff).saturating_sub(periods)
}

/// The clock after an access: decayed, then raised with a probability that falls as the counter grows.
pub fn lfu_after_access(access: u32, now: Now, options: &StoreOptions, rng: &mut Rng) -> u32 {
    let counter = lfu_counter(access, now, options);
    let above = u64::from(counter.saturating_sub(LFU_INITIAL));
    let raise = counter < 255 && rng.chance(1, above * u64::from(options.lfu_log_factor) + 1);
    minutes(now) << 8 | (counter + u32::from(raise))
}

/// The clock of an entry that comes from a file or payload: what that says of it if the policy in force can use it, else
/// that of a new entry.
pub fn restored(now: Now, lfu: bool, idle_s: Option<u64>, frequency: Option<u8>) -> u32 {
    match (lfu, idle_s, frequency) {
        (true, _, Some(frequency)) => minutes(now) << 8 | u32::from(frequency),
        (true, _, None) => lfu_initial(now),
        (false, Some(idle_s), _) => {
            lru_clock(now).wrapping_sub((idle_s.min(CLOCK_MASK)) as u32) & CLOCK_MASK as u32
        }
        (false, None, _) => lru_clock(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_machine::Monotonic;

    fn at_s(seconds: u64) -> Now {
        Now::new(Monotonic(0), seconds * 1_000_000)
    }

    #[test]
    fn idle_time_wraps_with_the_clock() {
        let clock = lru_clock(at_s(0x0100_0005));
        assert_eq!(lru_idle_s(clock, at_s(0x0100_0009)), 4);
        assert_eq!(lru_idle_s(0x00ff_ffff, at_s(0x0200_0001)), 2);
    }

    #[test]
    fn counters_rise_slowly_and_decay() {
        let options = StoreOptions::default();
        let mut rng = Rng::new(1);
        let mut access = lfu_initial(at_s(600));
        for _ in 0..1000 {
            access = lfu_after_access(access, at_s(600), &options, &mut rng);
        }
        let counter = lfu_counter(access, at_s(600), &options);
        assert!((10..40).contains(&counter), "{counter}");
        assert_eq!(lfu_counter(access, at_s(600 + 180), &options), counter - 3);
    }
}
