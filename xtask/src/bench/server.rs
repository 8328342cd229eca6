//! A server to measure: its process, its CPU time and its memory.

use super::loader::Client;
use crate::Outcome;
use crate::process::output;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a server may take to load its data.
const LOADING_LIMIT: Duration = Duration::from_secs(300);

/// Where a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// Where the load comes from.
    Load,
    /// The other one.
    Server,
    /// Any.
    Any,
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Shoal,
    /// The installed one.
    Redis,
}

/// A running server without persistence.
pub struct Server {
    process: Child,
    /// Which.
    pub kind: Kind,
    core: Core,
    /// Where it listens.
    pub port: u16,
    directory: PathBuf,
    /// Further arguments.
    arguments: Vec<String>,
}

impl Server {
    /// Starts one, alone on its core if there are two.
    pub fn start(kind: Kind, binary: &str) -> Outcome<Self> {
        Self::start_on(kind, binary, Core::Server)
    }

    /// Starts one on this core, if there are two.
    pub fn start_on(kind: Kind, binary: &str, core: Core) -> Outcome<Self> {
        Self::start_with(kind, binary, core, &[])
    }

    /// Starts one with further arguments.
    pub fn start_with(kind: Kind, binary: &str, core: Core, arguments: &[&str]) -> Outcome<Self> {
        let (port, bus_port) = free_ports()?;
        let mut arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        arguments.extend(["--cluster-port".to_owned(), bus_port.to_string()]);
        let directory = std::env::temp_dir().join(format!("shoal-bench-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let process = spawn(kind, binary, core, port, &directory, &arguments)?;
        let server = Self { process, kind, core, port, directory, arguments };
        server.wait_until_it_listens()?;
        Ok(server)
    }

    /// Kills it and starts it again where it was; it has loaded its snapshot when this returns.
    pub fn restart(&mut self, binary: &str) -> Outcome<()> {
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.process = spawn(self.kind, binary, self.core, self.port, &self.directory, &self.arguments)?;
        self.wait_until_it_listens()?;
        let mut client = Client::connect(self.port).map_err(|error| error.to_string())?;
        let began = Instant::now();
        while client.expect("+PONG", &["PING"]).is_err() {
            if began.elapsed() > LOADING_LIMIT {
                return Err(format!("{:?} does not load its data", self.kind));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn wait_until_it_listens(&self) -> Outcome<()> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if began.elapsed() > START_LIMIT {
                return Err(format!("{:?} does not start", self.kind));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The size of one of its files, in bytes.
    pub fn file_bytes(&self, name: &str) -> f64 {
        std::fs::metadata(self.directory.join(name)).map_or(f64::NAN, |metadata| metadata.len() as f64)
    }

    /// CPU time of all its threads so far.
    pub fn cpu(&self) -> Duration {
        cpu_of(self.process.id())
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Two ports that nobody uses.
fn free_ports() -> Outcome<(u16, u16)> {
    let bind = || TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string());
    let (first, second) = (bind()?, bind()?);
    let port = |listener: &TcpListener| listener.local_addr().map_err(|error| error.to_string());
    Ok((port(&first)?.port(), port(&second)?.port()))
}

fn spawn(
    kind: Kind,
    binary: &str,
    core: Core,
    port: u16,
    directory: &Path,
    arguments: &[String],
) -> Outcome<Child> {
    let has_cores =
        std::fs::read_to_string("/sys/devices/system/cpu/online").is_ok_and(|text| text.trim() != "0");
    let program = if kind == Kind::Shoal { binary } else { "redis-server" };
    let mut command = Command::new(if has_cores { "taskset" } else { program });
    if has_cores {
        let cores = match core {
            Core::Load => "0",
            Core::Server => "1",
            Core::Any => "0,1",
        };
        command.args(["-c", cores, program]);
    }
    if kind == Kind::Shoal {
        command.arg("server");
    }
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--repl-diskless-sync-delay", "0", "--dir"]).arg(directory);
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|error| format!("{kind:?}: {error}"))
}

/// CPU time of all threads of a process so far, as the scheduler counts it: in nanoseconds.
pub fn cpu_of(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// The versions of both, for the report.
pub fn versions(binary: &str) -> String {
    let first_line = |program: &str, arguments: &[&str]| {
        let text = output(Command::new(program).args(arguments)).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    };
    format!("{}; {}", first_line(binary, &["server", "-v"]), first_line("redis-server", &["--version"]))
}
