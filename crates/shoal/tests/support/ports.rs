//! Ports and turns that tests in several threads and processes share without meeting.
//!
//! Both are locks on files in the directory for temporary files: the system releases them when a test process dies.

use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Ports are taken from here on. Neither these nor their bus ports, 10000 above, are among the ports that the system gives
/// to outgoing connections.
const FIRST: u16 = 12_000;
/// Number of ports to take from.
const COUNT: u16 = 8_000;
/// Distance from the port for clients to the port of the cluster bus.
const BUS_OFFSET: u16 = 10_000;
/// Clusters that run at the same time.
const CLUSTERS_MAX: usize = 2;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that belongs to this value as long as it lives, together with the port 10000 above it.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a port on which, and 10000 above which, nobody listens.
    pub fn take() -> Self {
        // Test binaries that run side by side start at different places.
        let start = (std::process::id() % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let offset = (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
            let number = FIRST + offset;
            let Some(lock) = try_lock(&format!("port-{number}")) else { continue };
            if is_free(number) && is_free(number + BUS_OFFSET) {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port");
    }

    /// Takes so many ports in a row.
    #[allow(dead_code)] // Not every test program needs it.
    pub fn take_row(count: usize) -> Vec<Self> {
        let mut row: Vec<Self> = Vec::new();
        // What does not fit is given back only when the row is complete, so that the same port does not come again.
        let mut others = Vec::new();
        while row.len() < count {
            let port = Self::take();
            if row.last().is_some_and(|last| last.number + 1 != port.number) {
                others.append(&mut row);
            }
            row.push(port);
        }
        row
    }

    /// The port for clients.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The port of the cluster bus.
    pub fn bus(&self) -> u16 {
        self.number + BUS_OFFSET
    }
}

/// The right to run a cluster: a machine with two cores does not bear many at a time.
#[derive(Debug)]
pub struct ClusterSlot {
    _lock: File,
}

impl ClusterSlot {
    /// Waits until fewer than the bounded number of clusters run.
    pub fn take() -> Self {
        loop {
            for index in 0..CLUSTERS_MAX {
                if let Some(lock) = try_lock(&format!("cluster-{index}")) {
                    return Self { _lock: lock };
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("0.0.0.0", port)).is_ok() && TcpListener::bind(("::1", port)).is_ok()
}

fn try_lock(name: &str) -> Option<File> {
    let directory: PathBuf = std::env::temp_dir().join("shoal-test-locks");
    fs::create_dir_all(&directory).unwrap();
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(directory.join(name)).unwrap();
    file.try_lock().is_ok().then_some(file)
}
