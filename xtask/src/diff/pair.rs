//! Shoal and a real server side by side, and what they have been told.

use super::compare::{Verdict, compare, is_named};
use super::generate::{Operation, all_keys};
use super::peer::{Answer, CLIENTS, Peer};
use crate::Outcome;
use shoal_protocol::value::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longer than the shortest time to live, one millisecond, on both servers.
const EXPIRY_PAUSE: Duration = Duration::from_millis(4);
/// Directives that commands may have changed, and what they are set to at the start of every sequence.
const SETTINGS: &[(&str, &str)] = &[
    ("maxmemory-policy", "noeviction"),
    ("notify-keyspace-events", ""),
    ("slowlog-max-len", "128"),
    ("hz", "10"),
    ("lazyfree-lazy-user-del", "no"),
    ("lfu-log-factor", "10"),
    ("tcp-keepalive", "300"),
    ("maxmemory-samples", "5"),
    ("proto-max-bulk-len", "512mb"),
    ("lua-time-limit", "5000"),
];

/// Why a sequence does not go on.
pub enum Problem {
    /// The two servers differ.
    Different(String),
    /// Something else went wrong.
    Broken(String),
}

/// The two servers.
pub struct Pair {
    ours: Peer,
    theirs: Peer,
    /// Commands queued on each connection since MULTI.
    queued: [Option<Vec<Vec<Vec<u8>>>>; CLIENTS],
    /// Replies that were errors, on both sides.
    pub errors: u64,
    /// How often each rule was needed.
    accepted: BTreeMap<&'static str, u64>,
}

impl Pair {
    /// Starts both.
    pub fn start(binary: &str) -> Outcome<Self> {
        // What leaves the node shall be as the other one writes it.
        let ours = Peer::start("shoal", &[binary, "server", "--rdb-version-compat", "10"])?;
        let theirs = Peer::start("redis", &["redis-server"])?;
        let mut pair =
            Self { ours, theirs, queued: Default::default(), errors: 0, accepted: BTreeMap::new() };
        pair.reset().map_err(|problem| problem.to_string())?;
        Ok(pair)
    }

    /// Empties both and connects anew.
    pub fn reset(&mut self) -> Result<(), Problem> {
        self.connect()?;
        let mut commands = vec![vec!["FLUSHALL"], vec!["DEBUG", "SET-ACTIVE-EXPIRE", "0"]];
        commands.extend(SETTINGS.iter().map(|&(name, value)| vec!["CONFIG", "SET", name, value]));
        for command in commands {
            let words: Vec<Vec<u8>> = command.iter().map(|word| word.as_bytes().to_vec()).collect();
            for peer in [&mut self.ours, &mut self.theirs] {
                let answer = peer.call(0, &words);
                if answer != Answer::Value(Value::Simple(b"OK".to_vec())) {
                    return Err(Problem::Broken(format!("{}: {answer:?}", command.join(" "))));
                }
            }
        }
        Ok(())
    }

    /// Runs a command on both. Gives the payload if it was a DUMP.
    pub fn run(&mut self, operation: &Operation) -> Result<Option<Vec<u8>>, Problem> {
        let Operation { client, words } = operation;
        if is_named(words, "randomkey") && !self.delete_expired(*client) {
            return Ok(None);
        }
        let ours = self.ours.call(*client, words);
        let theirs = self.theirs.call(*client, words);
        let queued = match self.queued.get_mut(*client) {
            Some(queued) => follow(queued, words, &theirs),
            None => Vec::new(),
        };
        match compare(words, &queued, &ours, &theirs) {
            Verdict::Equal => {}
            Verdict::Accepted(rule) => *self.accepted.entry(rule).or_default() += 1,
            Verdict::Different => {
                let text =
                    format!("{}\n  shoal: {}\n  redis: {}", shown(operation), short(&ours), short(&theirs));
                return Err(Problem::Different(text));
            }
        }
        if theirs == Answer::Closed || is_named(words, "quit") {
            self.connect()?;
        }
        if has_shortest_expiry(words) {
            std::thread::sleep(EXPIRY_PAUSE);
        }
        self.errors += u64::from(matches!(&theirs, Answer::Value(value) if value.is_error()));
        match theirs {
            Answer::Value(Value::Bulk(payload)) if is_named(words, "dump") => Ok(Some(payload)),
            _ => Ok(None),
        }
    }

    /// Compares all data.
    pub fn compare_digests(&mut self) -> Result<(), Problem> {
        // In a transaction the command would only be queued.
        let Some(client) = self.queued.iter().position(Option::is_none) else { return Ok(()) };
        let words = [b"DEBUG".to_vec(), b"DIGEST".to_vec()];
        let (ours, theirs) = (self.ours.call(client, &words), self.theirs.call(client, &words));
        match ours == theirs {
            true => Ok(()),
            false => {
                Err(Problem::Different(format!("the data differs: {} and {}", short(&ours), short(&theirs))))
            }
        }
    }

    /// How often rules were needed, as text.
    pub fn accepted(&self) -> String {
        let counts: Vec<String> =
            self.accepted.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
        format!("accepted differences: {}", counts.join(", "))
    }

    /// What our server logged, if it died.
    pub fn log_of_a_crash(&mut self) -> String {
        if self.ours.is_dead() { format!("\n\nshoal died:\n{}", self.ours.log()) } else { String::new() }
    }

    /// RANDOMKEY deletes the expired keys it meets, which are others on each server: here all of them are met first. In a
    /// transaction that cannot be done, and RANDOMKEY is left out.
    fn delete_expired(&mut self, client: usize) -> bool {
        let can = self.queued.get(client).is_some_and(Option::is_none);
        if can {
            let words: Vec<Vec<u8>> = std::iter::once(b"EXISTS".to_vec()).chain(all_keys()).collect();
            self.ours.call(client, &words);
            self.theirs.call(client, &words);
        }
        can
    }

    fn connect(&mut self) -> Result<(), Problem> {
        self.queued = Default::default();
        self.ours.connect().and_then(|()| self.theirs.connect()).map_err(Problem::Broken)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Different(text) | Self::Broken(text) => formatter.write_str(text),
        }
    }
}

/// A command as one would type it, with its connection.
pub fn shown(operation: &Operation) -> String {
    let words: Vec<String> = operation.words.iter().map(|word| quoted(word)).collect();
    format!("client {}: {}", operation.client, words.join(" "))
}

fn quoted(word: &[u8]) -> String {
    let is_plain =
        !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte));
    match is_plain {
        true => String::from_utf8_lossy(word).into_owned(),
        false => format!("\"{}\"", word.escape_ascii()),
    }
}

fn short(answer: &Answer) -> String {
    let text = match answer {
        Answer::Value(value) => shown_value(value),
        other => format!("{other:?}"),
    };
    text.chars().take(600).collect()
}

fn shown_value(value: &Value) -> String {
    let list = |values: &[Value]| values.iter().map(shown_value).collect::<Vec<_>>().join(", ");
    match value {
        Value::Simple(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Error(text) => format!("(error) {}", String::from_utf8_lossy(text)),
        Value::Bulk(text) => format!("\"{}\"", text.escape_ascii()),
        Value::Array(values) => format!("[{}]", list(values)),
        Value::Map(pairs) => {
            let pairs =
                pairs.iter().map(|(name, value)| format!("{}: {}", shown_value(name), shown_value(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

/// Keeps what is queued on a connection; gives the queue that this command has ended.
fn follow(queued: &mut Option<Vec<Vec<Vec<u8>>>>, words: &[Vec<u8>], answer: &Answer) -> Vec<Vec<Vec<u8>>> {
    let is_status = |text: &[u8]| matches!(answer, Answer::Value(Value::Simple(status)) if status == text);
    if is_status(b"QUEUED") {
        queued.get_or_insert_default().push(words.to_vec());
    } else if is_named(words, "multi") && is_status(b"OK") {
        *queued = Some(Vec::new());
    } else if ["exec", "discard", "reset"].iter().any(|name| is_named(words, name)) && words.len() == 1 {
        return queued.take().unwrap_or_default();
    }
    Vec::new()
}

/// Whether a key may end after the shortest time: a millisecond, which must have passed on both sides before the next
/// command.
fn has_shortest_expiry(words: &[Vec<u8>]) -> bool {
    let sets_expiry =
        ["psetex", "pexpire", "set", "getex", "restore", "exec"].iter().any(|name| is_named(words, name));
    sets_expiry && (is_named(words, "exec") || words.iter().any(|word| word == b"1"))
}
