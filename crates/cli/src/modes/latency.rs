//! `--latency` and `--latency-history`: the time of PING in milliseconds.

use super::call_reconnecting;
use crate::console::{self, out};
use crate::exit::Step;
use crate::format::OutputFormat;
use crate::session::Session;
use std::time::{Duration, Instant};

/// Time between two samples.
pub(super) const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);
/// Length of a period of `--latency-history`.
const HISTORY_INTERVAL_DEFAULT: Duration = Duration::from_secs(15);
/// How long `--latency` measures when it prints one result only.
const SINGLE_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

/// Samples of one period, in milliseconds.
#[derive(Default)]
struct Samples {
    minimum: u128,
    maximum: u128,
    total: u128,
    count: u64,
}

/// Measures until interrupted, or once when not on a terminal.
pub(super) fn run(session: &mut Session) -> Step {
    let interval = session.options.interval;
    let or = |default: Duration| if interval.is_zero() { default } else { interval };
    let (history, format) = (session.options.latency_history, session.options.format);
    let mut samples = Samples::default();
    let mut start = Instant::now();
    loop {
        let sent = Instant::now();
        call_reconnecting(session, &["PING"])?;
        samples.add(sent.elapsed().as_millis());
        if format == OutputFormat::Tty {
            out!("\x1b[0G\x1b[2K");
            samples.print(format);
            console::flush();
        } else if history {
            samples.print(format);
        } else if start.elapsed() > or(SINGLE_INTERVAL_DEFAULT) {
            samples.print(format);
            return Ok(());
        }
        if history && start.elapsed() > or(HISTORY_INTERVAL_DEFAULT) {
            out!(" -- {:.2} seconds range\n", start.elapsed().as_secs_f64());
            start = Instant::now();
            samples = Samples::default();
        }
        std::thread::sleep(SAMPLE_INTERVAL);
    }
}

impl Samples {
    fn add(&mut self, milliseconds: u128) {
        self.minimum = if self.count == 0 { milliseconds } else { self.minimum.min(milliseconds) };
        self.maximum = self.maximum.max(milliseconds);
        self.total += milliseconds;
        self.count += 1;
    }

    fn print(&self, format: OutputFormat) {
        let Self { minimum, maximum, count, .. } = self;
        let average = self.total as f64 / (*count).max(1) as f64;
        match format {
            OutputFormat::Tty => out!("min: {minimum}, max: {maximum}, avg: {average:.2} ({count} samples)"),
            OutputFormat::Csv => out!("{minimum},{maximum},{average:.2},{count}\n"),
            OutputFormat::Raw => out!("{minimum} {maximum} {average:.2} {count}\n"),
            OutputFormat::Json | OutputFormat::QuotedJson => {
                out!(
                    "{{\"min\": {minimum}, \"max\": {maximum}, \"avg\": {average:.2}, \"count\": {count}}}\n"
                );
            }
        }
    }
}
