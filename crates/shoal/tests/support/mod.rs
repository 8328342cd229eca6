//! What the end-to-end tests share: servers of both kinds, clusters of them, and waiting.
//!
//! Every server lives in a directory of its own, on a port nobody else uses, and is killed when its value is dropped.
//! Each test binary uses only a part of this.

#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::print_stderr)] // A failed unwrap is a failed test.

pub mod cluster;
pub mod connection;
pub mod data;
pub mod driver;
pub mod ports;
pub mod server;

use std::time::{Duration, Instant};

pub use cluster::{Cluster, FAILOVER};
pub use connection::Connection;
pub use ports::{ClusterSlot, Port};
pub use server::{Kind, Server, Setup};

/// The binary under test.
pub const SHOAL: &str = env!("CARGO_BIN_EXE_shoal");

/// How long anything may take that is expected to happen at once.
pub const SOON: Duration = Duration::from_secs(20);
/// How long a cluster may take to agree on something, on a machine with other work to do.
pub const LATER: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Polls until `probe` is true; fails the test when that takes longer than `deadline`.
pub fn eventually(deadline: Duration, what: &str, mut probe: impl FnMut() -> bool) {
    eventually_some(deadline, what, || probe().then_some(()));
}

/// Polls until `probe` gives something; fails the test when that takes longer than `deadline`.
pub fn eventually_some<T>(deadline: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Polls for the whole of `period` and fails the test as soon as `probe` is false.
pub fn always(period: Duration, what: &str, mut probe: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < period {
        assert!(probe(), "did not stay so for {period:?}: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Sends a signal (`TERM`, `KILL`, `STOP` …) to a process that this test started.
pub fn signal(process: u32, name: &str) {
    let done = std::process::Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(done.unwrap().success(), "kill -s {name} {process}");
}

/// The value of `name:` in a text of such lines (INFO, CLUSTER INFO).
pub fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_string()))
}
