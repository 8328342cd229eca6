//! A server process of our own with connections to it.

use crate::Outcome;
use shoal_protocol::value::{Decoder, Value, encode_request};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start or to answer.
pub const LIMIT: Duration = Duration::from_secs(20);
/// Connections to each server: two that work, one that may wait, one that hears of events, one for ourselves.
pub const CLIENTS: usize = 5;

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
    /// The limit that is set on the socket.
    limit: Duration,
    /// What the server calls it.
    id: i64,
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
        match self.send(client, words) {
            true => self.answer(client, LIMIT),
            false => Answer::Closed,
        }
    }

    /// Sends a command; false if the connection is closed.
    pub fn send(&mut self, client: usize, words: &[Vec<u8>]) -> bool {
        let mut bytes = Vec::new();
        encode_request(words, &mut bytes);
        self.clients.get_mut(client).is_some_and(|connection| connection.stream.write_all(&bytes).is_ok())
    }

    /// The next answer, if it comes in time.
    pub fn answer(&mut self, client: usize, limit: Duration) -> Answer {
        self.clients.get_mut(client).map_or(Answer::Closed, |connection| connection.answer(limit))
    }

    /// What was published to a connection until now.
    pub fn messages(&mut self, client: usize) -> Vec<Value> {
        let mut messages = Vec::new();
        if !self.send(client, &[b"PING".to_vec()]) {
            return messages;
        }
        loop {
            match self.answer(client, LIMIT) {
                Answer::Value(Value::Array(parts))
                    if parts.first().and_then(Value::as_bytes) == Some(b"pong") =>
                {
                    return messages;
                }
                Answer::Value(message) => messages.push(message),
                Answer::Closed | Answer::Silent => return messages,
            }
        }
    }

    /// Whether a client waits in a blocking command.
    pub fn has_waiting_client(&mut self) -> bool {
        let answer = self.call(CLIENTS - 1, &[b"INFO".to_vec(), b"clients".to_vec()]);
        let Answer::Value(Value::Bulk(text) | Value::Verbatim { text, .. }) = answer else { return false };
        String::from_utf8_lossy(&text)
            .lines()
            .any(|line| line.trim_end().strip_prefix("blocked_clients:").is_some_and(|count| count != "0"))
    }

    /// Calls a connection back that waits in a blocking command.
    pub fn unblock(&mut self, client: usize) {
        let id = self.clients.get(client).map_or(0, |connection| connection.id);
        self.call(CLIENTS - 1, &[b"CLIENT".to_vec(), b"UNBLOCK".to_vec(), id.to_string().into_bytes()]);
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
                    let (decoder, limit) = (Decoder::new(), Duration::ZERO);
                    self.clients.push(Connection { stream, decoder, limit, id: 0 });
                }
                Err(error) if began.elapsed() > LIMIT => {
                    return Err(format!("{} does not start: {error}\n{}", self.name, self.log()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        for client in 0..CLIENTS {
            let answer = self.call(client, &[b"CLIENT".to_vec(), b"ID".to_vec()]);
            if let (Answer::Value(Value::Integer(id)), Some(connection)) =
                (answer, self.clients.get_mut(client))
            {
                connection.id = id;
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
    fn answer(&mut self, limit: Duration) -> Answer {
        let mut chunk = [0; 16384];
        // Zero would mean to wait forever.
        let limit = limit.max(Duration::from_micros(1));
        if limit != self.limit {
            if self.stream.set_read_timeout(Some(limit)).is_err() {
                return Answer::Closed;
            }
            self.limit = limit;
        }
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
                // A tester that was stopped and goes on.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
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
