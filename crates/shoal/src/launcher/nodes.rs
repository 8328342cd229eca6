//! The nodes as processes: starting, finding and stopping them.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::Failure;
use super::client::{Client, ClientError};
use super::directory::DataDirectory;
use super::options::UpOptions;
use super::plan::{BUS_PORT_OFFSET, Plan};
use super::progress::{Interrupt, Progress};
use crate::process::system;

/// How long nodes may take to answer; loading a large data set is part of it.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a node in the background may take to write its process id.
const PID_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nodes may take to save and stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How many lines of a log are shown when its node does not start.
const LOG_TAIL_LINES: usize = 8;

/// The nodes of a cluster that is being brought up.
pub(super) struct Nodes<'a> {
    directory: &'a DataDirectory,
    plan: Plan,
    is_detached: bool,
    server_binary: Option<PathBuf>,
    missing: Vec<u16>,
    children: Vec<(u16, Child)>,
}

/// The nodes that run, with their process ids.
pub(super) fn running(directory: &DataDirectory, plan: &Plan) -> Vec<(u16, i32)> {
    plan.ports().filter_map(|port| Some((port, process_of(directory, port)?))).collect()
}

/// The process of one node, if it runs. A process id may have been given to another process since it was written, so
/// the process must work in the node's directory.
pub(super) fn process_of(directory: &DataDirectory, port: u16) -> Option<i32> {
    let process: i32 = fs::read_to_string(directory.pid_path(port)).ok()?.trim().parse().ok()?;
    let works_in = fs::read_link(format!("/proc/{process}/cwd")).ok()?;
    (works_in == directory.node_path(port).canonicalize().ok()?).then_some(process)
}

/// Asks all nodes that run to stop, and waits until they have; gives those that have not. `nodes` are the children
/// among them, whose ends must be fetched.
pub(super) fn stop_all(
    directory: &DataDirectory,
    plan: &Plan,
    nodes: Option<&mut Nodes<'_>>,
) -> Vec<(u16, i32)> {
    let all: Vec<u16> = plan.ports().collect();
    stop(directory, &all, nodes)
}

fn stop(directory: &DataDirectory, ports: &[u16], mut nodes: Option<&mut Nodes<'_>>) -> Vec<(u16, i32)> {
    let find = || -> Vec<(u16, i32)> {
        ports.iter().filter_map(|port| Some((*port, process_of(directory, *port)?))).collect()
    };
    for (_, process) in find() {
        // One that has just ended by itself needs no signal. This one, unlike SIGTERM, asks no replica to take over: all are
        // going to end.
        let _ = system::send_signal(process, libc::SIGINT);
    }
    let start = Instant::now();
    loop {
        if let Some(nodes) = nodes.as_deref_mut() {
            nodes.reap();
        }
        let left = find();
        if left.is_empty() || start.elapsed() > STOP_TIMEOUT {
            return left;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

impl<'a> Nodes<'a> {
    /// Finds out which nodes run already.
    pub(super) fn find(directory: &'a DataDirectory, plan: &Plan, options: &UpOptions) -> Self {
        Self {
            directory,
            plan: *plan,
            is_detached: options.detach,
            server_binary: options.server_binary.clone(),
            missing: plan.ports().filter(|port| process_of(directory, *port).is_none()).collect(),
            children: Vec::new(),
        }
    }

    /// The ports of the nodes that do not run.
    pub(super) fn missing(&self) -> &[u16] {
        &self.missing
    }

    /// Every port that a missing node needs must be free.
    pub(super) fn check_ports(&self) -> Result<(), Failure> {
        let needed = self.missing.iter().flat_map(|port| [*port, port.saturating_add(BUS_PORT_OFFSET)]);
        let taken: Vec<String> = needed
            .filter_map(|port| {
                let error = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).err()?;
                let is_used = error.kind() == io::ErrorKind::AddrInUse;
                Some(if is_used { format!("{port}") } else { format!("{port} ({error})") })
            })
            .collect();
        if taken.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "these ports of 127.0.0.1 are in use by other programs: {}. Stop those (`ss -ltnp` shows them), or choose \
             other ports with --port (a cluster made for other ports needs --dir too).",
            taken.join(", ")
        )))
    }

    /// Starts the missing nodes.
    pub(super) fn start_missing(&mut self, progress: &mut Progress) -> Result<(), Failure> {
        let (program, first_argument) = match &self.server_binary {
            Some(path) => (path.clone(), None),
            None => {
                let own = std::env::current_exe();
                let own = own.map_err(|error| Failure::new(format!("cannot find this binary: {error}")))?;
                (own, Some(OsString::from("server")))
            }
        };
        for (index, port) in self.missing.iter().enumerate() {
            progress.show(&format!("Starting {} nodes", self.missing.len()), &format!("{index} started"));
            // A stale file could be taken for the new process's.
            let _ = fs::remove_file(self.directory.pid_path(*port));
            let mut command = Command::new(&program);
            command.args(&first_argument).arg(self.directory.config_path(*port));
            if self.is_detached {
                command.args(["--daemonize", "yes"]);
            }
            // Ctrl-C in the terminal is for the launcher alone, which then stops the nodes in its own time.
            command.current_dir(self.directory.node_path(*port)).process_group(0).stdin(Stdio::null());
            let child = OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.directory.log_path(*port))
                .and_then(|log| command.stdout(log.try_clone()?).stderr(log).spawn());
            let child = child.map_err(|error| {
                Failure::new(format!("cannot start {} as node {port}: {error}", program.display()))
            })?;
            self.children.push((*port, child));
        }
        Ok(())
    }

    /// Waits until every started node answers.
    pub(super) fn wait_for_answers(
        &mut self,
        progress: &mut Progress,
        interrupt: &mut Interrupt,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        let mut waiting = self.missing.clone();
        loop {
            waiting.retain(|port| !answers(*port));
            let answered = self.missing.len() - waiting.len();
            progress
                .show("Waiting for the nodes to answer", &format!("{answered} of {}", self.missing.len()));
            if let Some((port, how)) = self.reap().into_iter().next() {
                return Err(self.start_failure(port, &how));
            }
            let Some(first) = waiting.first() else { return Ok(()) };
            let waited = start.elapsed();
            if self.is_detached && waited > PID_TIMEOUT && process_of(self.directory, *first).is_none() {
                return Err(self.start_failure(*first, "ended"));
            }
            if waited > START_TIMEOUT {
                return Err(self.start_failure(*first, "does not answer"));
            }
            interrupt.pause(POLL_INTERVAL)?;
        }
    }

    /// The children that have ended since the last call, and how. A child that only went to the background does not
    /// count.
    pub(super) fn reap(&mut self) -> Vec<(u16, String)> {
        let mut ended = Vec::new();
        let is_detached = self.is_detached;
        self.children.retain_mut(|(port, child)| match child.try_wait() {
            Ok(Some(status)) => {
                if !(is_detached && status.success()) {
                    ended.push((*port, describe(status)));
                }
                false
            }
            _ => true,
        });
        ended
    }

    /// Stops the nodes that this launcher started, and only those.
    pub(super) fn stop_started(&mut self) {
        let started = self.missing.clone();
        // A node that was started this moment may not have written its process id yet.
        for (_, child) in &self.children {
            if let Ok(process) = i32::try_from(child.id()) {
                let _ = system::send_signal(process, libc::SIGINT);
            }
        }
        let directory = self.directory;
        stop(directory, &started, Some(self));
    }

    /// The ports of all nodes.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        self.plan.ports()
    }

    fn start_failure(&self, port: u16, how: &str) -> Failure {
        let log = self.directory.log_path(port);
        let text = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_TAIL_LINES)..).unwrap_or_default();
        Failure::new(format!(
            "node 127.0.0.1:{port} {how}. The end of its log, {}:\n\n  {}\n\nWhen the cause is gone, run `shoal up{}` \
             again (`--fresh` if this was its first start).",
            log.display(),
            tail.join("\n  "),
            self.directory.option()
        ))
    }
}

fn answers(port: u16) -> bool {
    let answer = Client::connect(port).and_then(|mut client| client.call(&["PING"]));
    match answer {
        Ok(_) => true,
        Err(ClientError::Refused(error)) => !error.starts_with("LOADING"),
        Err(_) => false,
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "has stopped".into(),
        (Some(code), _) => format!("has ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "has ended".into(),
    }
}
