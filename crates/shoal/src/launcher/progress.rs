//! What the user sees while waiting, and Ctrl-C.

use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::Failure;
use crate::process::signals::Signals;

/// Progress on the standard error: one line that changes on a terminal, one line per phase elsewhere.
#[derive(Debug)]
pub(super) struct Progress {
    is_terminal: bool,
    phase: String,
    is_line_open: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), phase: String::new(), is_line_open: false }
    }

    /// Says what is going on, and how far it is.
    pub(super) fn show(&mut self, phase: &str, detail: &str) {
        let is_new = self.phase != phase;
        if is_new {
            self.end();
            self.phase = phase.into();
        }
        let mut err = io::stderr().lock();
        let _ = match (self.is_terminal, is_new) {
            (true, _) => {
                self.is_line_open = true;
                write!(err, "\r\x1b[K{phase}… {detail}").and_then(|()| err.flush())
            }
            (false, true) => writeln!(err, "{phase}…"),
            (false, false) => Ok(()),
        };
    }

    /// Ends the line that changes.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.is_line_open) {
            let _ = writeln!(io::stderr());
        }
        self.phase.clear();
    }
}

/// Ctrl-C and TERM, noticed while waiting.
#[derive(Debug)]
pub(super) struct Interrupt {
    signals: Signals,
    wakes: UnixStream,
}

impl Interrupt {
    pub(super) fn install() -> Result<Self, Failure> {
        let installed = Signals::install().and_then(|(signals, wakes)| {
            wakes.set_nonblocking(false)?;
            Ok(Self { signals, wakes })
        });
        installed.map_err(|error| Failure::new(format!("cannot take over the signals: {error}")))
    }

    /// Waits for that long or until a stop is asked for; whether one was.
    pub(super) fn wait(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            if self.signals.take_stop().is_some() {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.wakes.set_read_timeout(Some(left)).is_err() {
                return false;
            }
            let _ = self.wakes.read(&mut [0; 64]);
        }
    }

    /// Waits as [`Self::wait`] does; a stop is a failure.
    pub(super) fn pause(&mut self, time: Duration) -> Result<(), Failure> {
        if self.wait(time) { Err(Failure::new("interrupted; the nodes are being stopped.")) } else { Ok(()) }
    }
}
