//! Counting and searching bits in a part of a string.

/// Bits of a string from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitRange {
    /// The first bit.
    pub first: u64,
    /// The last bit, not below the first.
    pub last: u64,
}

impl BitRange {
    /// The range that two indexes choose of `length` units of `bits_per_unit` bits; negative ones count from the end.
    /// `None` if it is empty.
    pub fn of_indexes(start: i64, end: i64, length: usize, bits_per_unit: u64) -> Option<Self> {
        let length = length as i64;
        let from_front = |index: i64| if index < 0 { (index + length).max(0) } else { index };
        let (start, end) = (from_front(start), from_front(end).min(length - 1));
        (start <= end).then(|| Self {
            first: start as u64 * bits_per_unit,
            last: end as u64 * bits_per_unit + bits_per_unit - 1,
        })
    }

    /// The bytes of the range, and which bits of the first and of the last of them belong to it.
    fn parts(self) -> (std::ops::RangeInclusive<usize>, u8, u8) {
        let bytes = (self.first / 8) as usize..=(self.last / 8) as usize;
        (bytes, 0xff >> (self.first % 8), !(0x7f_u8 >> (self.last % 8)))
    }
}

/// Counts the set bits of bytes.
fn count_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let in_words: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    let in_rest: u64 = rest.iter().map(|byte| u64::from(byte.count_ones())).sum();
    in_words + in_rest
}

/// Counts the set bits in a range that ends inside `bytes`.
pub fn count(bytes: &[u8], range: BitRange) -> u64 {
    let (indexes, first_mask, last_mask) = range.parts();
    let bytes = &bytes[indexes];
    let left_out = match bytes {
        [] => 0,
        [only] => (only & !(first_mask & last_mask)).count_ones(),
        [first, .., last] => (first & !first_mask).count_ones() + (last & !last_mask).count_ones(),
    };
    count_bytes(bytes) - u64::from(left_out)
}

/// Finds the first bit with this value in a range that ends inside `bytes`.
pub fn find(bytes: &[u8], wanted: bool, range: BitRange) -> Option<u64> {
    let (indexes, first_mask, last_mask) = range.parts();
    let (start, end) = (*indexes.start(), *indexes.end());
    // Bytes are looked at as if set bits were searched.
    let invert = if wanted { 0 } else { 0xff };
    let masked = |index: usize| {
        let first = if index == start { first_mask } else { 0xff };
        let last = if index == end { last_mask } else { 0xff };
        (bytes[index] ^ invert) & first & last
    };
    let position = |index: usize, byte: u8| index as u64 * 8 + u64::from(byte.leading_zeros());
    let first = masked(start);
    if first != 0 {
        return Some(position(start, first));
    }
    if start == end {
        return None;
    }
    let inner = &bytes[start + 1..end];
    let (words, _) = inner.as_chunks::<8>();
    let blank = u64::from_ne_bytes([invert; 8]);
    let skipped = words.iter().position(|word| u64::from_ne_bytes(*word) != blank).unwrap_or(words.len()) * 8;
    let found = inner[skipped..].iter().position(|byte| *byte != invert);
    let index = found.map_or(end, |further| start + 1 + skipped + further);
    let byte = masked(index);
    (byte != 0).then(|| position(index, byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bit(bytes: &[u8], index: u64) -> bool {
        bytes[(index / 8) as usize] & (0x80 >> (index % 8)) != 0
    }

    proptest! {
        #[test]
        fn ranges_are_counted_and_searched_bit_by_bit(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 1..60),
                prop::collection::vec(prop_oneof![Just(0_u8), Just(0_u8), Just(1_u8)], 1..60),
                prop::collection::vec(prop_oneof![Just(255_u8), Just(255_u8), Just(254_u8)], 1..60),
            ],
            ends in any::<(u64, u64)>(),
        ) {
            let bits = bytes.len() as u64 * 8;
            let (one, other) = (ends.0 % bits, ends.1 % bits);
            let range = BitRange { first: one.min(other), last: one.max(other) };
            let all = range.first..=range.last;
            let counted = all.clone().filter(|&index| bit(&bytes, index)).count() as u64;
            prop_assert_eq!(count(&bytes, range), counted);
            for wanted in [false, true] {
                let first = all.clone().find(|&index| bit(&bytes, index) == wanted);
                prop_assert_eq!(find(&bytes, wanted, range), first);
            }
        }
    }

    #[test]
    fn indexes_choose_ranges() {
        let range = |start, end, unit| {
            BitRange::of_indexes(start, end, 4, unit).map(|range| (range.first, range.last))
        };
        assert_eq!(range(0, -1, 8), Some((0, 31)));
        assert_eq!(range(-2, 100, 8), Some((16, 31)));
        assert_eq!(range(-100, -100, 8), Some((0, 7)));
        assert_eq!(range(2, 1, 8), None);
        assert_eq!(range(4, 9, 1), None);
        assert_eq!(range(1, 2, 1), Some((1, 2)));
        assert_eq!(BitRange::of_indexes(0, -1, 0, 8), None);
        assert_eq!(BitRange::of_indexes(i64::MIN, i64::MAX, 1, 1), Some(BitRange { first: 0, last: 0 }));
    }
}
