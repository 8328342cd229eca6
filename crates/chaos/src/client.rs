//! A client of the cluster that tells what it knows of each request: done, not done, or nobody knows.

use crate::network::address;
use shoal_machine::Rng;
use shoal_protocol::slot::key_slot;
use shoal_protocol::value::{Decoder, Value, encode_request};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Where nodes listen.
pub const PORT: u16 = 7000;
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
/// How long a reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_millis(1000);
/// Redirections of one request.
const REDIRECTIONS_MAX: usize = 5;

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// This is the reply.
    Reply(Value),
    /// It was refused: nothing has been done.
    Refused(String),
    /// The connection ended or took too long: it may have been done, or will be.
    Unknown,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects; `None` if nobody answers in time.
    pub fn open(target: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&target, CONNECT_TIMEOUT).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT)).ok()?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT)).ok()?;
        Some(Self { stream, decoder: Decoder::new(), buffer: vec![0; 64 * 1024] })
    }

    /// Sends a request and waits for its reply; `None` if none comes.
    pub fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Option<Value> {
        let mut request = Vec::new();
        encode_request(words, &mut request);
        self.stream.write_all(&request).ok()?;
        loop {
            if let Some(value) = self.decoder.next_value().ok()? {
                return Some(value);
            }
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return None,
                Ok(count) => self.decoder.feed(&self.buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// The reply as text, errors included; `None` if none comes.
    pub fn text(&mut self, words: &[&str]) -> Option<String> {
        match self.call(words)? {
            Value::Integer(number) => Some(number.to_string()),
            value => Some(value.as_text().map(|text| text.into_owned()).unwrap_or_default()),
        }
    }
}

/// Asks a node one thing on a connection of its own.
pub fn ask(node: usize, words: &[&str]) -> Option<String> {
    Connection::open(SocketAddr::new(address(node).into(), PORT))?.text(words)
}

/// A client that follows redirections.
#[derive(Debug)]
pub struct Client {
    nodes: usize,
    rng: Rng,
    connections: BTreeMap<SocketAddr, Connection>,
    owners: BTreeMap<u16, SocketAddr>,
}

impl Client {
    /// A client of a cluster of so many nodes.
    pub fn new(nodes: usize, rng: Rng) -> Self {
        Self { nodes, rng, connections: BTreeMap::new(), owners: BTreeMap::new() }
    }

    /// Carries out a request for a key. The second value names the connection, for [`Client::wait`].
    pub fn call(&mut self, key: &str, words: &[&str]) -> (Answer, Option<SocketAddr>) {
        let slot = key_slot(key.as_bytes());
        let anyone = SocketAddr::new(address(self.rng.index(self.nodes)).into(), PORT);
        let mut target = self.owners.get(&slot).copied().unwrap_or(anyone);
        let mut is_asking = false;
        for _ in 0..REDIRECTIONS_MAX {
            let Some(connection) = self.connection(target) else {
                self.owners.remove(&slot);
                return (Answer::Refused("nobody listens".to_owned()), None);
            };
            if is_asking && connection.call(&["ASKING"]).is_none() {
                self.connections.remove(&target);
                return (Answer::Refused("the connection has ended".to_owned()), None);
            }
            let Some(reply) = connection.call(words) else {
                self.connections.remove(&target);
                self.owners.remove(&slot);
                return (Answer::Unknown, None);
            };
            let Value::Error(error) = &reply else { return (Answer::Reply(reply), Some(target)) };
            let error = String::from_utf8_lossy(error).into_owned();
            let Some(next) = redirection(&error) else {
                self.owners.remove(&slot);
                return (Answer::Refused(error), None);
            };
            is_asking = error.starts_with("ASK ");
            if !is_asking {
                self.owners.insert(slot, next);
            }
            target = next;
        }
        (Answer::Refused("too many redirections".to_owned()), None)
    }

    /// How many replicas have confirmed what was written on this connection; zero if nobody can tell.
    pub fn wait(&mut self, target: SocketAddr, replicas: usize, timeout: Duration) -> usize {
        let words = ["WAIT", &replicas.to_string(), &timeout.as_millis().to_string()];
        let reply = self.connections.get_mut(&target).and_then(|connection| connection.call(&words));
        match reply {
            Some(Value::Integer(count)) => usize::try_from(count).unwrap_or(0),
            Some(_) => 0,
            None => {
                self.connections.remove(&target);
                0
            }
        }
    }

    fn connection(&mut self, target: SocketAddr) -> Option<&mut Connection> {
        if let std::collections::btree_map::Entry::Vacant(entry) = self.connections.entry(target) {
            entry.insert(Connection::open(target)?);
        }
        self.connections.get_mut(&target)
    }
}

/// Where an error sends the client: `MOVED 1234 10.77.0.1:7000`.
fn redirection(error: &str) -> Option<SocketAddr> {
    let mut words = error.split(' ');
    matches!(words.next(), Some("MOVED" | "ASK")).then_some(())?;
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_name_an_address() {
        let target = Some("10.77.0.3:7000".parse().unwrap());
        assert_eq!(redirection("MOVED 12 10.77.0.3:7000"), target);
        assert_eq!(redirection("ASK 12 10.77.0.3:7000"), target);
        for other in ["MOVED 12", "MOVED 12 :0", "CLUSTERDOWN Hash slot not served", "ERR no"] {
            assert_eq!(redirection(other), None, "{other}");
        }
    }
}
