//! `--lru-test`: a load with which 20 % of the keys get 80 % of the requests, to see what a cache keeps.

use super::connection;
use crate::console::{self, err, out};
use crate::exit::{Step, fail};
use crate::session::Session;
use crate::text::lossy;
use shoal_protocol::value::Value;
use std::time::{Duration, Instant};

/// Time between two lines of output.
const CYCLE: Duration = Duration::from_secs(1);
/// Requests in flight.
const PIPELINE_LENGTH: usize = 250;
/// With this exponent the power law follows the 80-20 rule.
const POWER_LAW_EXPONENT: f64 = 6.2;
/// Bytes of a value.
const VALUE_LENGTH: usize = 5;

/// Writes and reads until interrupted.
pub(super) fn run(session: &mut Session) -> Step {
    let keys = session.options.lru_keys.max(1);
    loop {
        let start = Instant::now();
        let (mut hits, mut misses) = (0u64, 0u64);
        while start.elapsed() < CYCLE {
            let connection = connection(session)?;
            for _ in 0..PIPELINE_LENGTH {
                let value: String = std::iter::repeat_with(fastrand::alphabetic).take(VALUE_LENGTH).collect();
                connection.queue(&["SET", &random_key(keys), &value]);
            }
            for _ in 0..PIPELINE_LENGTH {
                connection.queue(&["GET", &random_key(keys)]);
            }
            for index in 0..2 * PIPELINE_LENGTH {
                match connection.receive() {
                    Ok(Value::Error(error)) => err!("{}", lossy(&error)),
                    Ok(_) if index < PIPELINE_LENGTH => {}
                    Ok(Value::Null(_)) => misses += 1,
                    Ok(_) => hits += 1,
                    Err(_) => fail!("I/O error during LRU test"),
                }
            }
        }
        let total = hits + misses;
        let percent = |part: u64| part as f64 / total.max(1) as f64 * 100.0;
        out!(
            "{total} Gets/sec | Hits: {hits} ({:.2}%) | Misses: {misses} ({:.2}%)\n",
            percent(hits),
            percent(misses)
        );
        console::flush();
    }
}

fn random_key(keys: i64) -> String {
    format!("lru:{}", power_law(fastrand::f64(), keys))
}

/// A number from 1 to `maximum`, low ones far more often than high ones. `random` is from 0 to 1.
fn power_law(random: f64, maximum: i64) -> i64 {
    let power = POWER_LAW_EXPONENT + 1.0;
    let top = (maximum + 1) as f64;
    let value = ((top.powf(power) - 1.0) * random + 1.0).powf(1.0 / power);
    (maximum - value as i64 + 1).clamp(1, maximum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_keys_are_frequent() {
        let samples = 10_000;
        let low = (0..samples)
            .filter(|index| power_law(f64::from(*index) / f64::from(samples), 1000) <= 200)
            .count();
        assert!((7_500..8_500).contains(&low), "{low}");
        assert_eq!(power_law(1.0, 10), 1);
        assert_eq!(power_law(0.0, 10), 10);
    }
}
