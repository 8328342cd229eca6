//! A server process that is going to be killed.

use crate::Outcome;
use shoal_probe::{Client, eventually};
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Names the disk that `shoal-crash server` works on.
pub const DISK_VARIABLE: &str = "SHOAL_CRASH_DISK";
/// How long a start may take, loading included.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long anything else may take that is expected to happen.
pub const SOON: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A server, and where it works.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Its port.
    pub port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts `program server` in `directory` with these words of configuration, and waits until it has loaded its data.
    ///
    /// # Errors
    /// It ends at once, or does not answer: what its log says last.
    pub fn start(program: &Path, directory: &Path, disk: Option<&str>, words: &[String]) -> Outcome<Self> {
        let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        drop(listener);
        let log = directory.with_extension("log");
        let output = File::options().append(true).create(true).open(&log).map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["server", "--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(directory);
        command.args(words).env_remove(DISK_VARIABLE).envs(disk.map(|disk| (DISK_VARIABLE, disk)));
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(failed)?).stderr(output);
        // In a group of its own, so that a power cut takes its children along.
        let child = command.process_group(0).spawn().map_err(failed)?;
        let mut server = Self { child, port, log };
        server.wait_until_loaded()?;
        Ok(server)
    }

    fn wait_until_loaded(&mut self) -> Outcome<()> {
        let began = Instant::now();
        loop {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if let Some(status) = ended {
                return Err(format!("the server refuses to start ({status}):\n{}", self.log_end()));
            }
            if Client::open(self.port).is_some_and(|mut client| client.text(&["PING"]) == "PONG") {
                return Ok(());
            }
            if began.elapsed() > START_LIMIT {
                return Err(format!("the server does not answer:\n{}", self.log_end()));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// A connection.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn client(&self) -> Outcome<Client> {
        Client::open(self.port).ok_or_else(|| format!("nobody listens:\n{}", self.log_end()))
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        const LINES: usize = 15;
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].iter().map(|line| format!("    {line}\n")).collect()
    }

    /// Kills the server, and its children if `with_children`.
    pub fn kill(&mut self, with_children: bool) {
        if with_children {
            self.signal_group("KILL");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if with_children {
            // Children of a killed server belong to the system's first process, which waits for them.
            let _ = eventually("the end of the children", SOON, || (!self.signal_group("0")).then_some(()));
        }
    }

    /// Waits until the server has ended by itself.
    ///
    /// # Errors
    /// It does not.
    pub fn wait(&mut self) -> Outcome<ExitStatus> {
        eventually("the end of the server", SOON, || self.child.try_wait().ok().flatten())
    }

    /// Whether somebody in the server's group could be signalled.
    fn signal_group(&self, signal: &str) -> bool {
        let group = format!("-{}", self.child.id());
        let mut kill = Command::new("kill");
        kill.args(["-s", signal, "--", &group]).stdout(Stdio::null()).stderr(Stdio::null());
        kill.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill(true);
    }
}

/// Whether a process was killed rather than ended by itself.
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal().is_some()
}
