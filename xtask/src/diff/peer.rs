//! A server process of our own with two connections to it.

use crate::Outcome;
use shoal_protocol::value::{Decoder, Value, encode_request};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start or to answer.
const LIMIT: Duration = Duration::from_secs(20);
/// Connections to each server.
pub const CLIENTS: usize = 2;

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A reply.
    Value(Value),
    /// The connection was closed.
    Closed,
    /// Nothing came in time.
    Silent,
}

/// A server and connections to it.
pub struct Peer {
    name: &'static str,
    command: Vec<String>,
    process: Child,
    port: u16,
    directory: PathBuf,
    clients: Vec<Connection>,
}

/// One connection.
struct Connection {
    stream: TcpStream,
    decoder: Decoder,
}

impl Peer {
    /// Starts a server; `command` is the program with its first words, port and directory are added.
    pub fn start(name: &'static str, command: &[&str]) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        drop(listener);
        let directory = std::env::temp_dir().join(format!("shoal-diff-{name}-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        let process = spawn(&command, port, &directory)?;
        let mut peer = Self { name, command, process, port, directory, clients: Vec::new() };
        peer.connect()?;
        Ok(peer)
    }

    /// Sends a command and waits for its answer.
    pub fn call(&mut self, client: usize, words: &[Vec<u8>]) -> Answer {
        self.clients.get_mut(client).map_or(Answer::Closed, |connection| connection.call(words))
    }

    /// New connections instead of the old ones; a server that has died is started again.
    pub fn connect(&mut self) -> Outcome<()> {
        if self.process.try_wait().map_err(|error| error.to_string())?.is_some() {
            self.process = spawn(&self.command, self.port, &self.directory)?;
        }
        self.clients.clear();
        let began = Instant::now();
        while self.clients.len() < CLIENTS {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(|error| error.to_string())?;
                    stream.set_read_timeout(Some(LIMIT)).map_err(|error| error.to_string())?;
                    self.clients.push(Connection { stream, decoder: Decoder::new() });
                }
                Err(error) if began.elapsed() > LIMIT => {
                    return Err(format!("{} does not start: {error}\n{}", self.name, self.log()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        Ok(())
    }

    /// The end of what the server logged.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.directory.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
    }

    /// Whether the process has ended.
    pub fn is_dead(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Connection {
    fn call(&mut self, words: &[Vec<u8>]) -> Answer {
        let mut bytes = Vec::new();
        encode_request(words, &mut bytes);
        if self.stream.write_all(&bytes).is_err() {
            return Answer::Closed;
        }
        let mut chunk = [0; 16384];
        loop {
            match self.decoder.next_value() {
                Ok(Some(value)) => return Answer::Value(value),
                Ok(None) => {}
                Err(error) => return Answer::Value(Value::Error(format!("no RESP: {error}").into_bytes())),
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Answer::Closed,
                Ok(count) => self.decoder.feed(chunk.get(..count).unwrap_or_default()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Answer::Silent;
                }
                Err(_) => return Answer::Closed,
            }
        }
    }
}

fn spawn(command: &[String], port: u16, directory: &PathBuf) -> Outcome<Child> {
    let (program, first) = command.split_first().ok_or("no program")?;
    let log = directory.join("log");
    Command::new(program)
        .args(first)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
        .args(["--enable-debug-command", "yes", "--rdbcompression", "no", "--maxmemory", "1gb", "--logfile"])
        .arg(&log)
        .arg("--dir")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))
}
