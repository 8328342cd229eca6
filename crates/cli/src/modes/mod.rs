//! What the client does instead of running commands: one file per mode.

mod hot_keys;
mod intrinsic_latency;
mod keys;
mod latency;
mod latency_distribution;
mod lru_test;
mod pipe;
pub(crate) mod rdb;
pub(crate) mod replica;
mod scan;
pub(crate) mod statistics;
mod sync;

use crate::connection::{Connection, ConnectionError};
use crate::console::{self, out};
use crate::exit::{Exit, Step, fail};
use crate::options::{Mode, Options};
use crate::session::{Complaints, Session};
use shoal_protocol::value::Value;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Time between two attempts to connect again.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// Runs a mode to its end.
pub(crate) fn run(mode: Mode, options: Options) -> Step {
    if mode == Mode::IntrinsicLatency {
        return intrinsic_latency::run(&options);
    }
    let mut session = Session::new(options);
    if session.connect(Complaints::Print).is_err() {
        return Err(Exit(1));
    }
    match mode {
        Mode::Latency => latency::run(&mut session),
        Mode::LatencyDistribution => latency_distribution::run(&mut session),
        Mode::Replica => replica::run(&mut session),
        Mode::Rdb => rdb::run(&mut session),
        Mode::Pipe => pipe::run(&mut session),
        Mode::BigKeys => keys::run(&mut session, keys::Measure::Elements),
        Mode::MemoryKeys => {
            let samples = session.options.memory_samples;
            keys::run(&mut session, keys::Measure::Memory { samples })
        }
        Mode::HotKeys => hot_keys::run(&mut session),
        Mode::Statistics => statistics::run(&mut session),
        Mode::Scan => scan::run(&mut session),
        Mode::LruTest => lru_test::run(&mut session),
        Mode::IntrinsicLatency => Ok(()),
    }
}

/// A flag that Ctrl-C sets, instead of ending the program.
fn interrupt_flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    // Where no handler can be installed, Ctrl-C ends the program without a summary.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGINT, flag.clone());
    flag
}

/// The session's connection, for modes that need one all the time.
fn connection(session: &mut Session) -> Step<&mut Connection> {
    session.connection.as_mut().ok_or(Exit(1))
}

/// The reply to one command; a broken connection ends the program.
fn call(session: &mut Session, words: &[&[u8]]) -> Step<Value> {
    match connection(session)?.call(words) {
        Ok(value) => Ok(value),
        Err(_) => fail!("\nI/O error"),
    }
}

/// The reply to one command, connecting again for as long as it takes.
fn call_reconnecting(session: &mut Session, words: &[&str]) -> Step<Value> {
    let mut attempts = 0;
    loop {
        let result = match session.connection.as_mut() {
            Some(connection) => connection.call(words),
            None => Err(ConnectionError::Closed),
        };
        match result {
            Ok(value) => {
                if attempts > 0 {
                    out!("\r\x1b[0K");
                }
                return Ok(value);
            }
            Err(error @ ConnectionError::Protocol(_)) => fail!("Error: {error}"),
            Err(_) => {
                attempts += 1;
                out!("\r\x1b[0KReconnecting... {attempts}\r");
                console::flush();
                // A failure shows in the next round.
                let _ = session.connect(Complaints::Keep);
                std::thread::sleep(RECONNECT_INTERVAL);
            }
        }
    }
}
