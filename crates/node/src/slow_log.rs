//! SLOWLOG's memory: the commands that took long.

use crate::monitor::{REDACTED, secret_words};
use shoal_machine::Now;
use shoal_protocol::{Command, Request};
use shoal_session::Session;
use std::collections::VecDeque;

/// Words of a request that an entry keeps; the last says how many more there were.
const WORDS_MAX: usize = 32;
/// Bytes of a word that an entry keeps.
const WORD_BYTES_MAX: usize = 128;

/// One slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlowCommand {
    /// Counted from the start of the process.
    pub id: u64,
    /// When it ran, in seconds since 1970.
    pub at_s: u64,
    /// How long it ran.
    pub duration_us: u64,
    /// Its words, long ones and late ones cut.
    pub words: Vec<Vec<u8>>,
    /// The client's address.
    pub address: String,
    /// The client's name.
    pub name: Vec<u8>,
}

/// The slow commands, newest first.
#[derive(Debug, Default)]
pub(crate) struct SlowLog {
    entries: VecDeque<SlowCommand>,
    next_id: u64,
}

impl SlowLog {
    /// Adds a command; the oldest ones beyond `capacity` go.
    pub(crate) fn add(
        &mut self,
        now: Now,
        session: &Session,
        command: &Command,
        request: &Request<'_>,
        duration_us: u64,
        capacity: usize,
    ) {
        self.entries.push_front(SlowCommand {
            id: self.next_id,
            at_s: now.unix_s(),
            duration_us,
            words: shortened(command, request),
            address: session.identity.address.clone(),
            name: session.name.clone(),
        });
        self.next_id += 1;
        self.entries.truncate(capacity);
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The newest entries first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &SlowCommand> {
        self.entries.iter()
    }

    /// Forgets all entries; numbers go on.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

fn shortened(command: &Command, request: &Request<'_>) -> Vec<Vec<u8>> {
    let secrets = secret_words(command, request);
    let count = request.len();
    let kept = if count > WORDS_MAX { WORDS_MAX - 1 } else { count };
    let mut words: Vec<Vec<u8>> = Vec::with_capacity(kept + 1);
    for (index, word) in request.iter().take(kept).enumerate() {
        if secrets.contains(&index) {
            words.push(REDACTED.to_vec());
        } else if word.len() > WORD_BYTES_MAX {
            let mut cut = word[..WORD_BYTES_MAX].to_vec();
            cut.extend_from_slice(format!("... ({} more bytes)", word.len() - WORD_BYTES_MAX).as_bytes());
            words.push(cut);
        } else {
            words.push(word.to_vec());
        }
    }
    if count > kept {
        words.push(format!("... ({} more arguments)", count - kept).into_bytes());
    }
    words
}
