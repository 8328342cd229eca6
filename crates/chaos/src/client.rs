//! A client of the cluster that tells what it knows of each request: done, not done, or nobody knows.

use crate::network::address;
use shoal_machine::Rng;
use shoal_probe::Client as Connection;
use shoal_protocol::slot::key_slot;
use shoal_protocol::value::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
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

/// Connects to a node; `None` if it does not answer in time.
fn connect(target: SocketAddr) -> Option<Connection> {
    Connection::connect(target, CONNECT_TIMEOUT, REPLY_TIMEOUT)
}

/// Asks a node one thing on a connection of its own; `None` if it does not answer.
pub fn ask(node: usize, words: &[&str]) -> Option<String> {
    let text = connect(SocketAddr::new(address(node).into(), PORT))?.text(words);
    Some(text).filter(|text| !text.is_empty())
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
            entry.insert(connect(target)?);
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
