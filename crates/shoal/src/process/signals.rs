//! Signals, as flags that the loop looks at.
//!
//! TERM, INT and QUIT ask for a clean stop, HUP for reading the log file, certificates and users anew; PIPE is
//! ignored. A second INT while the server is stopping ends it at once. Whatever arrives also makes a socket
//! readable, so that a waiting loop wakes up.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::{flag, low_level};

/// A signal that asks for a clean stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// Ctrl-C.
    Interrupt,
    /// The usual one.
    Terminate,
    /// Ctrl-\, and what systemd units of old send.
    Quit,
}

impl StopSignal {
    /// What the log says when it arrives.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Interrupt => "Received SIGINT scheduling shutdown...",
            Self::Terminate => "Received SIGTERM scheduling shutdown...",
            Self::Quit => "Received shutdown signal, scheduling shutdown...",
        }
    }
}

/// The signals that arrived.
#[derive(Debug, Clone)]
pub struct Signals {
    /// The number of the last stop signal that arrived and was not taken yet; 0 for none.
    stop: Arc<AtomicUsize>,
    hangup: Arc<AtomicBool>,
    /// A stop signal has arrived, and the server is stopping.
    is_stopping: Arc<AtomicBool>,
}

impl Signals {
    /// Takes over the signals. The socket becomes readable whenever one arrives; the loop reads it empty and then
    /// asks [`Self::take_stop`] and [`Self::take_hangup`].
    ///
    /// # Errors
    /// The operating system's.
    pub fn install() -> io::Result<(Self, UnixStream)> {
        let (wakes, waker) = UnixStream::pair()?;
        wakes.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        let signals = Self {
            stop: Arc::new(AtomicUsize::new(0)),
            hangup: Arc::new(AtomicBool::new(false)),
            is_stopping: Arc::clone(&is_stopping),
        };
        // The order counts: a first INT must find the flag unset, and the waker must come after the flags.
        super::crash::exit_on_second_interrupt(&is_stopping)?;
        for signal in [SIGINT, SIGTERM, SIGQUIT] {
            flag::register(signal, Arc::clone(&is_stopping))?;
            flag::register_usize(signal, Arc::clone(&signals.stop), usize::try_from(signal).unwrap_or(0))?;
            low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        flag::register(SIGHUP, Arc::clone(&signals.hangup))?;
        low_level::pipe::register(SIGHUP, waker)?;
        // PIPE needs nothing: the Rust runtime ignores it from the start.
        Ok((signals, wakes))
    }

    /// The stop signal that arrived since the last call.
    pub fn take_stop(&self) -> Option<StopSignal> {
        match i32::try_from(self.stop.swap(0, Ordering::SeqCst)) {
            Ok(SIGINT) => Some(StopSignal::Interrupt),
            Ok(SIGTERM) => Some(StopSignal::Terminate),
            Ok(SIGQUIT) => Some(StopSignal::Quit),
            _ => None,
        }
    }

    /// The server goes on after all: the next INT is a first one again.
    pub fn stop_was_aborted(&self) {
        self.is_stopping.store(false, Ordering::SeqCst);
    }

    /// Whether a HUP arrived since the last call.
    pub fn take_hangup(&self) -> bool {
        self.hangup.swap(false, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn signals_raise_flags_and_wake_the_loop() {
        let (signals, mut wakes) = Signals::install().unwrap();
        assert_eq!(signals.take_stop(), None);
        assert!(!signals.take_hangup());
        for (number, expected) in [(SIGQUIT, StopSignal::Quit), (SIGTERM, StopSignal::Terminate)] {
            low_level::raise(number).unwrap();
            assert_eq!(signals.take_stop(), Some(expected));
            assert_eq!(signals.take_stop(), None);
        }
        low_level::raise(SIGHUP).unwrap();
        assert!(signals.take_hangup());
        let mut bytes = [0; 8];
        assert_eq!(wakes.read(&mut bytes).unwrap(), 3);
    }
}
