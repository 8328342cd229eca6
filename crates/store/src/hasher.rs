//! The keyed hash of all tables.

use siphasher::sip::SipHasher13;
use std::hash::Hasher as _;

/// SipHash-1-3 with a secret key, so that clients cannot choose keys that collide.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    key0: u64,
    key1: u64,
}

impl Hasher {
    /// A hasher with this key; the shell draws it from the system at start-up.
    pub const fn new(key0: u64, key1: u64) -> Self {
        Self { key0, key1 }
    }

    /// The hash of a key, spread as [`spread`] says.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.key0, self.key1);
        hasher.write(bytes);
        spread(hasher.finish())
    }
}

/// Spreads evenly distributed numbers so that the upper end of the range is twice as dense as the lower end.
///
/// The segments of a table own equal ranges of hashes. With even hashes they would all grow and split at the same
/// time, and memory per item would go up and down with every doubling. With this density there are always segments of
/// every size: what one gives back the next one takes, and memory per item is the same at any number of items. (The
/// idea is that of spiral storage, Martin 1979.)
///
/// As fractions of the range: `u` becomes `(4u - u²) / 3`, which grows from 0 to 1 with a slope from 4/3 to 2/3.
#[inline]
pub const fn spread(number: u64) -> u64 {
    let number = number as u128;
    ((4 * number - ((number * number) >> 64)) / 3) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreading_keeps_the_order_and_the_range() {
        let numbers = (0..=1000u64).map(|step| step * (u64::MAX / 1000));
        let spread_numbers: Vec<u64> = numbers.map(spread).collect();
        assert!(spread_numbers.is_sorted());
        assert_eq!(spread_numbers[0], 0);
        assert!(spread(u64::MAX) > u64::MAX - 4);
        let below_the_middle = spread_numbers.iter().filter(|&&number| number < 1 << 63).count();
        assert!((410..440).contains(&below_the_middle), "{below_the_middle} of 1001 in the lower half");
    }
}
