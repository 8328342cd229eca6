//! What the six nodes of `shoal up` cost while nobody asks them anything.

use super::Size;
use super::report::Row;
use super::server::cpu_of;
use crate::{Outcome, process};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const NODES: u16 = 6;
/// Most percent of one core, all nodes together.
const LIMIT_PERCENT: f64 = 2.0;
/// The beginning is not idle: replicas settle, logs are written.
const SETTLE: Duration = Duration::from_secs(5);

/// Brings the cluster up in a directory of its own, waits, and brings it down.
pub fn measure(binary: &str, size: Size) -> Outcome<Vec<Row>> {
    let port = (31000..40000)
        .step_by(10)
        .find(|&base| (base..base + NODES).all(|port| is_free(port) && is_free(port + 10000)))
        .ok_or("no free ports")?;
    let directory = std::env::temp_dir().join(format!("shoal-idle-{}", std::process::id()));
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let launcher = |verb: &[&str]| {
        let mut command = Command::new(binary);
        command.args(verb).current_dir(&directory).stdin(Stdio::null()).stdout(Stdio::null());
        process::run(&mut command)
    };
    // The nodes may use every core, as a user's do: the launcher does not inherit the core of the load.
    let everywhere = std::process::id().to_string();
    let cores = std::thread::available_parallelism().map_or(1, usize::from).max(2) - 1;
    let _ = process::output(Command::new("taskset").args(["-p", "-c", &format!("0-{cores}"), &everywhere]));
    let percent = launcher(&["up", "--detach", "--port", &port.to_string()])
        .and_then(|()| percent_of_core(&directory, port, size.idle_seconds));
    let down = launcher(&["down"]);
    let _ = std::fs::remove_dir_all(&directory);
    let percent = percent?;
    down?;
    Ok(vec![Row::alone("six idle nodes of `shoal up`".to_owned(), "% of a core", percent, LIMIT_PERCENT)])
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn percent_of_core(directory: &Path, port: u16, seconds: u64) -> Outcome<f64> {
    let pids: Vec<u32> = (port..port + NODES)
        .filter_map(|port| {
            let path = directory.join(format!("shoal-data/{port}/redis.pid"));
            std::fs::read_to_string(path).ok()?.trim().parse().ok()
        })
        .collect();
    if pids.len() != usize::from(NODES) {
        return Err(format!("{} of {NODES} nodes have a file with their pid", pids.len()));
    }
    let cpu = || pids.iter().map(|&pid| cpu_of(pid)).sum::<Duration>();
    std::thread::sleep(SETTLE);
    let (before, began) = (cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    Ok((cpu() - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0)
}
