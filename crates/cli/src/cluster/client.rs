//! The connections of the manager: one per node.

use super::log::{Level, hint, log};
use super::node::{Node, parse_nodes};
use super::patience::{Deadline, milliseconds, reply_limit, shown};
use crate::connection::{Address, Connection, ConnectionError};
use crate::console::{self, err};
use crate::exit::{Exit, Step};
use crate::modes::statistics::info_number;
use crate::options::{ManagerStyle, Options};
use shoal_protocol::value::Value;
use std::time::Duration;

/// A node and the connection to it.
pub(super) struct Member {
    pub node: Node,
    pub connection: Connection,
    /// How long the answer to any command but MIGRATE may take, and the answer to MIGRATE.
    limits: (Duration, Duration),
    /// An answer has not come in time: whatever comes now would be taken for the answer to something else.
    is_late: bool,
}

/// All nodes of a cluster that can be reached, the one asked first at the front.
pub(super) struct Cluster {
    pub members: Vec<Member>,
    /// How it is shown.
    pub style: ManagerStyle,
    /// Primaries with slots that others know and that could not be reached.
    pub unreachable_primaries: usize,
}

/// Why a member did not do what it was asked.
pub(super) enum CallError {
    /// It answered with an error.
    Refused(String),
    /// It did not answer.
    Connection(ConnectionError),
    /// It did not answer within its time.
    Late(Duration),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(text) => formatter.write_str(text),
            Self::Connection(error) => error.fmt(formatter),
            Self::Late(limit) => write!(
                formatter,
                "no answer within {} (--cluster-reply-timeout). Is the process stopped, or busy with a long command?",
                shown(*limit)
            ),
        }
    }
}

/// Says what can be done about an error, for errors of which that is known.
fn give_hint_on(error: &str) {
    let hints = [
        (
            "is not configured as a cluster node",
            "Set cluster-enabled yes in its configuration and restart it.",
        ),
        ("NOAUTH", "Give the password with -a, or in REDISCLI_AUTH; with ACLs also --user."),
        (
            "WRONGPASS",
            "The password or the user of -a and --user is wrong for this node; all nodes need the same.",
        ),
        (
            "ERR AUTH <password> called without any password",
            "This node has no password: leave -a out, or set requirepass.",
        ),
        (
            "NOPERM",
            "The user needs the commands of the manager: CLUSTER, INFO, MIGRATE, RESTORE, DUMP, SYNC.",
        ),
        ("LOADING", "The node is reading its data: give the command again when INFO says loading:0."),
        ("BUSY ", "A script is running there: wait, or end it with SCRIPT KILL."),
        (
            "MISCONF",
            "The node cannot save: look at its log and disk, or CONFIG SET stop-writes-on-bgsave-error no.",
        ),
        ("DENIED", "The node is in protected mode: set a password or protected-mode no."),
        ("OOM ", "The node has no memory left: raise its maxmemory."),
    ];
    if let Some((_, text)) = hints.iter().find(|(beginning, _)| error.contains(beginning)) {
        hint(text);
    }
}

impl Member {
    /// Connects and authenticates. Prints why that was impossible.
    pub(super) fn connect(node: Node, options: &Options) -> Step<Self> {
        let address = Address::Tcp { host: node.host.clone(), port: node.port };
        let limit = milliseconds(options.cluster.connect_timeout_ms);
        let connection = match Connection::open_within(&address, Some(limit)) {
            Ok(connection) => connection,
            Err(error) => {
                err!("Could not connect to Redis at {address}: {}", console::error_text(&error));
                return Err(Exit(1));
            }
        };
        let limits = (reply_limit(None, options), reply_limit(Some(b"MIGRATE"), options));
        let mut member = Self { node, connection, limits, is_late: false };
        member.limit_waiting(limits.0);
        if let Some(password) = &options.password {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            words.extend(options.user.as_deref());
            words.push(password);
            member.call_or_complain(&words)?;
        }
        Ok(member)
    }

    /// Makes reading give up after a time. The socket is our own: it refuses nothing but zero.
    fn limit_waiting(&self, limit: Duration) {
        let _ = self.connection.limit_waiting(Some(limit.max(Duration::from_millis(1))));
    }

    /// Sends a command; an error reply is an error.
    pub(super) fn call(&mut self, words: &[impl AsRef<[u8]>]) -> Result<Value, CallError> {
        let (limit, of_migrate) = self.limits;
        if words.first().is_some_and(|name| name.as_ref().eq_ignore_ascii_case(b"MIGRATE")) {
            self.limit_waiting(of_migrate);
            let outcome = self.call_within(of_migrate, words);
            self.limit_waiting(limit);
            outcome
        } else {
            self.call_within(limit, words)
        }
    }

    fn call_within(&mut self, limit: Duration, words: &[impl AsRef<[u8]>]) -> Result<Value, CallError> {
        if self.is_late {
            return Err(CallError::Late(limit));
        }
        match self.connection.call(words) {
            Ok(Value::Error(text)) => Err(CallError::Refused(crate::text::lossy(&text).into_owned())),
            Ok(value) => Ok(value),
            Err(error) => Err(self.failure(error, limit)),
        }
    }

    /// The next answer to what was queued.
    pub(super) fn receive(&mut self) -> Result<Value, CallError> {
        if self.is_late {
            return Err(CallError::Late(self.limits.0));
        }
        let limit = self.limits.0;
        self.connection.receive().map_err(|error| self.failure(error, limit))
    }

    fn failure(&mut self, error: ConnectionError, limit: Duration) -> CallError {
        if error.is_timeout() {
            self.is_late = true;
            CallError::Late(limit)
        } else {
            CallError::Connection(error)
        }
    }

    /// Sends a command, printing what went wrong. A node that loads its data, perhaps because its primary has just changed, is asked
    /// again as long as an answer may take.
    pub(super) fn call_or_complain(&mut self, words: &[impl AsRef<[u8]>]) -> Step<Value> {
        let deadline = Deadline::of_answer(self.limits.0);
        loop {
            match self.call(words) {
                Err(CallError::Refused(text))
                    if text.starts_with("LOADING ") && deadline.allows_another_look() => {}
                outcome => return outcome.map_err(|error| self.complain(&error)),
            }
        }
    }

    fn complain(&self, error: &CallError) -> Exit {
        let text = error.to_string();
        log(Level::Error, &format!("Node {} replied with error:\n{text}\n", self.node.address()));
        give_hint_on(&text);
        Exit(1)
    }

    /// A reply as text, printing what went wrong.
    pub(super) fn text(&mut self, words: &[&str]) -> Step<String> {
        let reply = self.call_or_complain(words)?;
        Ok(reply.as_text().unwrap_or_default().into_owned())
    }

    /// All nodes as this one knows them.
    pub(super) fn known_nodes(&mut self) -> Step<Vec<Node>> {
        let text = self.text(&["CLUSTER", "NODES"])?;
        parse_nodes(&text).ok_or_else(|| {
            err!("Error: invalid CLUSTER NODES reply");
            Exit(1)
        })
    }

    /// Makes sure that the node is in cluster mode.
    pub(super) fn require_cluster_mode(&mut self) -> Step {
        let complaint = match self.call(&["INFO"]) {
            Ok(info) if info_number(&info.as_text().unwrap_or_default(), "cluster_enabled") == 1 => {
                return Ok(());
            }
            Ok(_) => "is not configured as a cluster node.".to_owned(),
            Err(error) => error.to_string(),
        };
        log(Level::Error, &format!("[ERR] Node {} {complaint}\n", self.node.address()));
        give_hint_on(&complaint);
        Err(Exit(1))
    }

    /// Whether it has keys in database 0.
    pub(super) fn has_keys(&mut self) -> Step<bool> {
        Ok(self.text(&["INFO", "keyspace"])?.contains("db0:"))
    }

    /// Whether it has no keys and knows no other node.
    pub(super) fn is_empty(&mut self) -> Step<bool> {
        if self.has_keys()? {
            return Ok(false);
        }
        let info = self.text(&["CLUSTER", "INFO"])?;
        Ok(info_number(&info, "cluster_known_nodes") == 1)
    }

    /// Makes sure that the node has no keys and knows no other node; if not so, says that and what there is to know besides.
    pub(super) fn require_empty(&mut self, remark: &str) -> Step {
        if self.is_empty()? {
            return Ok(());
        }
        let address = self.node.address();
        log(
            Level::Error,
            &format!(
                "[ERR] Node {address} is not empty. Either the node already knows other nodes (check with CLUSTER NODES) or \
                 contains some key in database 0.\n"
            ),
        );
        hint(&format!("FLUSHALL and CLUSTER RESET at {address} empty it. {remark}"));
        Err(Exit(1))
    }

    /// Replaces what is known of the node by what it says about itself. Returns the other nodes it knows.
    pub(super) fn load(&mut self) -> Step<Vec<Node>> {
        let (mut myself, others): (Vec<_>, Vec<_>) =
            self.known_nodes()?.into_iter().partition(|node| node.has_flag("myself"));
        if let Some(loaded) = myself.pop() {
            // The address that led here stays: a node may not know its own.
            let (host, port) = (std::mem::take(&mut self.node.host), self.node.port);
            self.node = Node { host, port, ..loaded };
        }
        Ok(others)
    }
}

impl Cluster {
    /// Loads the cluster that the node at this address belongs to. Nodes that cannot be reached are left out, with a word.
    pub(super) fn load(host: &str, port: i64, options: &Options) -> Step<Self> {
        let mut first = Member::connect(Node::at(host, port), options).inspect_err(|_| {
            hint("Does a server run there, and can it be reached from here? Any other node of the cluster will do as well.");
        })?;
        first.require_cluster_mode()?;
        let others = first.load()?;
        let mut members = vec![first];
        let mut unreachable_primaries = 0;
        for other in others {
            if other.host.is_empty() || other.port == 0 {
                continue;
            }
            let unusable = ["noaddr", "fail"].iter().any(|flag| other.has_flag(flag));
            let counts = other.has_flag("master") && !other.slots.is_empty();
            let Ok(mut member) = Member::connect(other, options) else {
                unreachable_primaries += usize::from(counts);
                continue;
            };
            if member.load().is_err() {
                log(Level::Error, &format!("[ERR] Unable to load info for node {}\n", member.node.address()));
                unreachable_primaries += usize::from(counts);
                continue;
            }
            if !unusable {
                members.push(member);
            }
        }
        let mut cluster = Self { members, style: options.cluster.style, unreachable_primaries };
        cluster.count_replicas();
        Ok(cluster)
    }

    fn count_replicas(&mut self) {
        for index in 0..self.members.len() {
            let Some(primary_id) = self.members[index].node.primary_id.clone() else { continue };
            match self.members.iter_mut().find(|member| member.node.id == primary_id) {
                Some(primary) => primary.node.replica_count += 1,
                None => {
                    let address = self.members[index].node.address();
                    let message = format!(
                        "*** WARNING: {address} claims to be slave of unknown node ID {primary_id}.\n"
                    );
                    log(Level::Warning, &message);
                }
            }
        }
    }

    /// The nodes without their connections.
    pub(super) fn nodes(&self) -> Vec<Node> {
        self.members.iter().map(|member| member.node.clone()).collect()
    }
}
