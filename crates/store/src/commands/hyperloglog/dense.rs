//! Dense registers: six bits each, the first in the lowest bits of the first byte. Four registers fill three bytes.

use super::estimate::Histogram;
use super::sketch::REGISTERS;

const REGISTER_BITS: usize = 6;
const REGISTER_MASK: u32 = (1 << REGISTER_BITS) - 1;
/// Bytes of all registers.
pub const REGISTER_BYTES: usize = REGISTERS * REGISTER_BITS / 8;

/// Gives `visit` the number and the value of each register.
pub fn for_each(bytes: &[u8], mut visit: impl FnMut(usize, u8)) {
    let (groups, _) = bytes.as_chunks::<3>();
    for (group, &[low, middle, high]) in groups.iter().enumerate() {
        let word = u32::from_le_bytes([low, middle, high, 0]);
        for within in 0..4 {
            visit(group * 4 + within, (word >> (within * REGISTER_BITS) & REGISTER_MASK) as u8);
        }
    }
}

/// How many registers have each value.
pub fn histogram(bytes: &[u8]) -> Histogram {
    let mut histogram = Histogram::default();
    for_each(bytes, |_, value| histogram[usize::from(value)] += 1);
    histogram
}

/// Raises a register to `value`, unless it is as high. True if it rose.
pub fn raise(bytes: &mut [u8], index: usize, value: u8) -> bool {
    let group = &mut bytes[index / 4 * 3..][..3];
    let shift = index % 4 * REGISTER_BITS;
    let word = u32::from_le_bytes([group[0], group[1], group[2], 0]);
    if word >> shift & REGISTER_MASK >= u32::from(value) {
        return false;
    }
    let word = word & !(REGISTER_MASK << shift) | u32::from(value) << shift;
    group.copy_from_slice(&word.to_le_bytes()[..3]);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_machine::Rng;

    #[test]
    fn registers_do_not_disturb_each_other() {
        let mut rng = Rng::new(5);
        let mut bytes = vec![0; REGISTER_BYTES];
        let mut model = vec![0_u8; REGISTERS];
        for _ in 0..100_000 {
            let (index, value) = (rng.index(REGISTERS), rng.below(64) as u8);
            assert_eq!(raise(&mut bytes, index, value), value > model[index]);
            model[index] = model[index].max(value);
        }
        let mut seen = 0;
        for_each(&bytes, |index, value| {
            assert_eq!((index, value), (seen, model[index]));
            seen += 1;
        });
        assert_eq!(seen, REGISTERS);
    }
}
