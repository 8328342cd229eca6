//! `--latency-dist`: the time of PING as a spectrum, for terminals of 256 colours.

use super::call_reconnecting;
use super::latency::SAMPLE_INTERVAL;
use crate::console::{self, out};
use crate::exit::Step;
use crate::session::Session;
use std::time::{Duration, Instant};

/// Length of a line's period.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Lines between two legends.
const LEGEND_EVERY: u64 = 20;
/// Colours from no samples to all samples.
const COLORS: &[u8] =
    &[0, 233, 234, 235, 237, 239, 241, 243, 245, 247, 144, 143, 142, 184, 226, 214, 208, 202, 196];
/// The same in shades of grey.
const GREYS: &[u8] = &[0, 233, 234, 235, 237, 239, 241, 243, 245, 247, 249, 251, 253];

/// The longest time of each bucket, in microseconds, and its sign; what takes longer goes into one more, `?`.
const BUCKETS: &[(u128, char)] = &[
    (10, '.'),
    (125, '-'),
    (250, '*'),
    (500, '#'),
    (1_000, '1'),
    (2_000, '2'),
    (3_000, '3'),
    (4_000, '4'),
    (5_000, '5'),
    (6_000, '6'),
    (7_000, '7'),
    (8_000, '8'),
    (9_000, '9'),
    (10_000, 'A'),
    (20_000, 'B'),
    (30_000, 'C'),
    (40_000, 'D'),
    (50_000, 'E'),
    (100_000, 'F'),
    (200_000, 'G'),
    (300_000, 'H'),
    (400_000, 'I'),
    (500_000, 'J'),
    (1_000_000, 'K'),
    (2_000_000, 'L'),
    (4_000_000, 'M'),
    (8_000_000, 'N'),
    (16_000_000, 'O'),
    (30_000_000, 'P'),
    (60_000_000, 'Q'),
    (u128::MAX, '?'),
];

/// Measures until interrupted.
pub(super) fn run(session: &mut Session) -> Step {
    let palette = if session.options.monochrome { GREYS } else { COLORS };
    let interval =
        if session.options.interval.is_zero() { INTERVAL_DEFAULT } else { session.options.interval };
    let mut counts = [0u64; BUCKETS.len()];
    let mut lines = 0;
    let mut start = Instant::now();
    loop {
        let sent = Instant::now();
        call_reconnecting(session, &["PING"])?;
        counts[bucket(sent.elapsed().as_micros())] += 1;
        if start.elapsed() > interval {
            if lines % LEGEND_EVERY == 0 {
                print_legend(palette);
            }
            lines += 1;
            out!("{}", spectrum(&counts, palette));
            console::flush();
            counts = [0; BUCKETS.len()];
            start = Instant::now();
        }
        std::thread::sleep(SAMPLE_INTERVAL);
    }
}

fn bucket(microseconds: u128) -> usize {
    BUCKETS.iter().position(|(longest, _)| microseconds <= *longest).unwrap_or(BUCKETS.len() - 1)
}

/// One line: the sign of each bucket on a background that says how many of the samples are in it.
fn spectrum(counts: &[u64; BUCKETS.len()], palette: &[u8]) -> String {
    let total = counts.iter().sum::<u64>().max(1);
    let mut line = "\x1b[38;5;0m".to_owned();
    for (count, (_, sign)) in counts.iter().zip(BUCKETS) {
        let steps = (palette.len() - 1) as u64;
        let color = palette[(count * steps).div_ceil(total) as usize];
        line.push_str(&format!("\x1b[48;5;{color}m{sign}"));
    }
    line.push_str("\x1b[0m\n");
    line
}

fn print_legend(palette: &[u8]) {
    let shades: String = palette.iter().map(|color| format!("\x1b[48;5;{color}m ")).collect();
    out!(
        "---------------------------------------------\n\
         . - * #          .01 .125 .25 .5 milliseconds\n\
         1,2,3,...,9      from 1 to 9     milliseconds\n\
         A,B,C,D,E        10,20,30,40,50  milliseconds\n\
         F,G,H,I,J        .1,.2,.3,.4,.5       seconds\n\
         K,L,M,N,O,P,Q,?  1,2,4,8,16,30,60,>60 seconds\n\
         From 0 to 100%: {shades}\x1b[0m\n\
         ---------------------------------------------\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_fall_into_buckets() {
        for (microseconds, sign) in
            [(0, '.'), (10, '.'), (11, '-'), (9_001, 'A'), (60_000_000, 'Q'), (60_000_001, '?')]
        {
            assert_eq!(BUCKETS[bucket(microseconds)].1, sign, "{microseconds}");
        }
    }

    #[test]
    fn all_samples_in_one_bucket_give_the_last_color() {
        let mut counts = [0; BUCKETS.len()];
        counts[0] = 7;
        let line = spectrum(&counts, COLORS);
        assert!(line.starts_with("\x1b[38;5;0m\x1b[48;5;196m.\x1b[48;5;0m-"), "{line:?}");
    }
}
