//! `--intrinsic-latency`: how long the system keeps a process waiting that only computes. The longest of many short runs
//! shows what no server on this machine can be better than.

use super::interrupt_flag;
use crate::console::{self, out};
use crate::exit::Step;
use crate::options::Options;
use std::hint::black_box;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Steps of one run: a few microseconds on any machine of today.
const RUN_STEPS: u32 = 1000;

/// Measures for the time in the options.
pub(super) fn run(options: &Options) -> Step {
    let duration = Duration::from_secs(options.intrinsic_latency_s.max(0).unsigned_abs());
    let interrupted = interrupt_flag();
    let start = Instant::now();
    let (mut longest_us, mut runs) = (0, 0u64);
    loop {
        let before = Instant::now();
        black_box(compute(black_box(RUN_STEPS)));
        let latency_us = before.elapsed().as_micros();
        runs += 1;
        if latency_us > longest_us {
            longest_us = latency_us;
            out!("Max latency so far: {longest_us} microseconds.\n");
            console::flush();
        }
        if interrupted.load(Ordering::Relaxed) || start.elapsed() > duration {
            break;
        }
    }
    let average_us = start.elapsed().as_micros() as f64 / runs as f64;
    out!(
        "\n{runs} total runs (avg latency: {average_us:.4} microseconds / {:.2} nanoseconds per run).\n",
        average_us * 1000.0
    );
    out!("Worst run took {:.0}x longer than the average latency.\n", longest_us as f64 / average_us);
    Ok(())
}

/// Work that needs nothing but the processor: some steps of a xorshift generator.
fn compute(steps: u32) -> u64 {
    let mut state = 88_172_645_463_325_252u64;
    for _ in 0..steps {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}
