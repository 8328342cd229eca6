//! From registers to a count.
//!
//! The estimator is that of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017,
//! arXiv:1702.01284), section 4. Its steps are computed in the same order as in Redis, so that the counts agree to the last
//! digit.

use super::sketch::{REGISTERS, RUN_BITS, Registers};

/// How many registers have each value. Foreign bytes can hold values that no hash gives.
#[derive(Clone, Copy, Debug)]
pub struct Histogram([u32; 64]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl std::ops::Index<usize> for Histogram {
    type Output = u32;

    fn index(&self, value: usize) -> &u32 {
        &self.0[value]
    }
}

impl std::ops::IndexMut<usize> for Histogram {
    fn index_mut(&mut self, value: usize) -> &mut u32 {
        &mut self.0[value]
    }
}

/// The histogram of registers.
pub fn of_registers(registers: &Registers) -> Histogram {
    let mut histogram = Histogram::default();
    for &value in registers {
        histogram[usize::from(value)] += 1;
    }
    histogram
}

/// The estimate of the number of different elements.
pub fn count(histogram: &Histogram) -> u64 {
    /// 1 / (2 ln 2).
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    /// What is told of registers that no elements can have led to; Redis tells the same.
    const BEYOND_MEASURE: u64 = 1 << 63;
    let registers = REGISTERS as f64;
    let highest = RUN_BITS as usize + 1;
    let mut sum = registers * tau((registers - f64::from(histogram[highest])) / registers);
    for value in (1..highest).rev() {
        sum += f64::from(histogram[value]);
        sum *= 0.5;
    }
    sum += registers * sigma(f64::from(histogram[0]) / registers);
    let estimate = (ALPHA * registers * registers / sum).round();
    if estimate.is_finite() { estimate as u64 } else { BEYOND_MEASURE }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let mut weight = 1.0;
    let mut sum = x;
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if before == sum {
            return sum;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let mut weight = 1.0;
    let mut sum = 1.0 - x;
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if before == sum {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_scale() {
        let mut histogram = Histogram::default();
        histogram[0] = REGISTERS as u32;
        assert_eq!(count(&histogram), 0);
        histogram[0] = 0;
        histogram[63] = REGISTERS as u32;
        assert_eq!(count(&histogram), 1 << 63);
        histogram[63] = 0;
        (histogram[0], histogram[1]) = (REGISTERS as u32 - 1, 1);
        assert_eq!(count(&histogram), 1);
    }
}
