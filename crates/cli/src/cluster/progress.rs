//! How far something long is: a bar with rate and time left on standard error, if that is a terminal. Otherwise nothing: the
//! lines on standard output tell of each step.

use crate::console;
use crate::options::Options;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// How often the rate and the time left are shown anew although nothing has happened.
const REDRAW_INTERVAL: Duration = Duration::from_millis(500);
const SLOTS: &str = "{prefix} [{bar:30}] {pos}/{len} slots, {per_sec}, {eta} left{msg}";
const KEYS: &str = "{prefix} [{bar:30}] {pos}/{len} keys, {per_sec}, {eta} left{msg}";
const BYTES: &str = "{prefix} [{bar:30}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left{msg}";
const BYTES_WITHOUT_END: &str = "{prefix} {spinner} {bytes}, {bytes_per_sec}{msg}";

/// A bar, which goes when it is dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Slots that move.
    pub(super) fn of_slots(what: &str, count: usize, options: &Options) -> Self {
        Self::new(what, count as u64, SLOTS, options)
    }

    /// Keys that move.
    pub(super) fn of_keys(what: &str, count: u64, options: &Options) -> Self {
        Self::new(what, count, KEYS, options)
    }

    /// Bytes that are read or written; how many there will be need not be known.
    pub(super) fn of_bytes(what: &str, count: Option<u64>, options: &Options) -> Self {
        let template = if count.is_some() { BYTES } else { BYTES_WITHOUT_END };
        Self::new(what, count.unwrap_or(0), template, options)
    }

    fn new(what: &str, count: u64, template: &'static str, options: &Options) -> Self {
        let target = if super::wants_json(options) {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(count), target);
        // The templates are our own; one that is wrong would be seen by the test.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what.to_owned());
        if !bar.is_hidden() {
            bar.enable_steady_tick(REDRAW_INTERVAL);
        }
        Self(bar)
    }

    /// So much is done; `remark` comes after the rest.
    pub(super) fn reach(&self, done: u64, remark: impl FnOnce() -> String) {
        self.0.set_position(done);
        if !self.0.is_hidden() {
            self.0.set_message(remark());
        }
    }

    /// So much more is done.
    pub(super) fn advance(&self, count: u64) {
        self.0.inc(count);
    }

    /// Prints lines without a bar between them.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(|| {
            let outcome = print();
            console::flush();
            outcome
        })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_can_be_read() {
        for template in [SLOTS, KEYS, BYTES, BYTES_WITHOUT_END] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
