//! A connection that waits in a blocking command until another connection brings what it waits for.
//!
//! Both servers answer in their own time: whenever one has answered, the other gets a while to follow.

use super::compare::{Verdict, compare, is_named};
use super::generate::{Operation, WAITER};
use super::pair::Problem;
use super::peer::{Answer, LIMIT, Peer};
use super::shown::{short, shown};
use shoal_protocol::value::Value;
use std::time::{Duration, Instant};

/// How long the slower server may take to answer when the other one has.
const PATIENCE: Duration = Duration::from_millis(1500);
/// So many commands of the others later a client that still waits is called back.
const COMMANDS_MAX: u32 = 30;
/// A look, not a wait.
const GLANCE: Duration = Duration::from_micros(1);

/// What waits.
#[derive(Default)]
pub struct Waiter {
    waiting: Option<Operation>,
    commands: u32,
}

impl Waiter {
    /// Begins to wait on both servers, unless something waits already.
    pub fn begin(&mut self, peers: &mut [Peer; 2], operation: &Operation) -> Result<(), Problem> {
        if self.waiting.is_some() {
            return Ok(());
        }
        for peer in peers.iter_mut() {
            if !peer.send(WAITER, &operation.words) {
                return Err(Problem::Broken("the connection that waits is closed".to_owned()));
            }
        }
        self.waiting = Some(operation.clone());
        self.commands = 0;
        // The next command must find both waiting.
        let began = Instant::now();
        while self.waiting.is_some() && !peers.iter_mut().all(Peer::has_waiting_client) {
            self.look(peers)?;
            if began.elapsed() > LIMIT {
                return Err(Problem::Broken(format!("not everybody waits: {}", shown(operation))));
            }
        }
        Ok(())
    }

    /// Looks for answers after a command of another connection.
    pub fn after_command(&mut self, peers: &mut [Peer; 2]) -> Result<(), Problem> {
        if self.waiting.is_none() {
            return Ok(());
        }
        self.look(peers)?;
        self.commands += 1;
        if self.commands > COMMANDS_MAX { self.call_back(peers) } else { Ok(()) }
    }

    /// Ends the wait with CLIENT UNBLOCK.
    pub fn call_back(&mut self, peers: &mut [Peer; 2]) -> Result<(), Problem> {
        if self.waiting.is_none() {
            return Ok(());
        }
        for peer in peers.iter_mut() {
            peer.unblock(WAITER);
        }
        let [ours, theirs] = peers;
        let answers = (ours.answer(WAITER, LIMIT), theirs.answer(WAITER, LIMIT));
        self.finish(&answers.0, &answers.1)
    }

    /// Forgets what waits: the connections are new.
    pub fn forget(&mut self) {
        self.waiting = None;
    }

    fn look(&mut self, peers: &mut [Peer; 2]) -> Result<(), Problem> {
        let [ours, theirs] = peers;
        let mut answers = (ours.answer(WAITER, GLANCE), theirs.answer(WAITER, GLANCE));
        match answers {
            (Answer::Silent, Answer::Silent) => return Ok(()),
            (Answer::Silent, _) => answers.0 = ours.answer(WAITER, PATIENCE),
            (_, Answer::Silent) => answers.1 = theirs.answer(WAITER, PATIENCE),
            _ => {}
        }
        let waits_on = answers.0 == Answer::Silent && tells_of_no_entries(&answers.1);
        if waits_on && self.waiting.as_ref().is_some_and(|operation| is_named(&operation.words, "xread")) {
            ours.unblock(WAITER);
            ours.answer(WAITER, LIMIT);
            self.waiting = None;
            return Ok(());
        }
        self.finish(&answers.0, &answers.1)
    }

    /// Compares what both have said in the end.
    fn finish(&mut self, ours: &Answer, theirs: &Answer) -> Result<(), Problem> {
        let Some(operation) = self.waiting.take() else { return Ok(()) };
        match compare(&operation.words, &[], ours, theirs) {
            Verdict::Different => Err(Problem::Different(format!(
                "{} (it waited)\n  shoal: {}\n  redis: {}",
                shown(&operation),
                short(ours),
                short(theirs)
            ))),
            _ => Ok(()),
        }
    }
}

/// Rule `trimmed-entry`: 7.0 serves who waits for a stream when an entry has come, even if that has been trimmed away at once;
/// 7.2 looks for entries, finds none, and lets the client wait.
fn tells_of_no_entries(answer: &Answer) -> bool {
    let Answer::Value(Value::Array(streams)) = answer else { return false };
    let is_empty = |stream: &Value| {
        matches!(stream, Value::Array(parts)
            if matches!(parts.as_slice(), [_, Value::Array(entries)] if entries.is_empty()))
    };
    !streams.is_empty() && streams.iter().all(is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_streams_without_entries_are_excused() {
        let text = |text: &str| Value::Bulk(text.as_bytes().to_vec());
        let stream = |entries: Vec<Value>| Value::Array(vec![text("stream:2"), Value::Array(entries)]);
        let answer = |streams: Vec<Value>| Answer::Value(Value::Array(streams));
        assert!(tells_of_no_entries(&answer(vec![stream(vec![])])));
        assert!(!tells_of_no_entries(&answer(vec![stream(vec![text("1-1")])])));
        assert!(!tells_of_no_entries(&answer(vec![])));
        assert!(!tells_of_no_entries(&Answer::Silent));
    }
}
