//! Sending effects to replicas and files.

use crate::node::Node;
use shoal_protocol::{Command, CommandId, OwnedRequest, Request};
use shoal_store::call::Propagation;

/// Commands that take effect together: those of one client command, or of a whole transaction.
#[derive(Debug, Default)]
pub struct Unit {
    /// A transaction is running; its effects are collected.
    pub is_open: bool,
    /// What has been collected.
    pub collected: Vec<(usize, OwnedRequest)>,
    /// The database that the stream has selected last.
    pub selected_database: Option<usize>,
    /// Where encoded commands are put together.
    scratch: Vec<u8>,
}

impl Node {
    /// Whether anybody wants effects.
    pub(crate) fn has_consumers(&self) -> bool {
        self.replication_is_active() || self.aof.takes_effects() || self.migrations.takes_changes()
    }

    /// Passes on what the last command did, if somebody is to have it. `request` is what the client sent.
    #[inline]
    pub(crate) fn propagate_effects(
        &mut self,
        database: usize,
        command: &'static Command,
        request: &Request<'_>,
    ) {
        self.changes_since_save += self.effects.dirty;
        if self.has_consumers() && (self.effects.dirty > 0 || !self.effects.before.is_empty()) {
            self.pass_on_effects(database, command, request);
        }
    }

    fn pass_on_effects(&mut self, database: usize, command: &'static Command, request: &Request<'_>) {
        let is_verbatim = matches!(self.effects.propagation, Propagation::Verbatim);
        if !self.unit.is_open && self.effects.before.is_empty() && is_verbatim {
            self.feed(database, request);
            return;
        }
        let mut collected = std::mem::take(&mut self.unit.collected);
        collected.append(&mut self.effects.before);
        if self.effects.dirty > 0 {
            match std::mem::take(&mut self.effects.propagation) {
                Propagation::Verbatim => collected.push((database, OwnedRequest::copy(request))),
                Propagation::Instead(requests) => {
                    collected.extend(requests.into_iter().map(|request| (database, request)));
                }
            }
        }
        if !self.unit.is_open && matches!(command.id, CommandId::Scan | CommandId::Randomkey) {
            // Expired keys that they came by have nothing to do with each other.
            for (database, request) in &collected {
                self.feed(*database, &request.as_request());
            }
            return;
        }
        self.unit.collected = collected;
        if !self.unit.is_open {
            self.close_unit();
        }
    }

    /// Passes on what has been collected, as a transaction if it is more than one command.
    pub(crate) fn close_unit(&mut self) {
        self.unit.is_open = false;
        let collected = std::mem::take(&mut self.unit.collected);
        let Some(&(database, _)) = collected.first() else { return };
        let is_transaction = collected.len() > 1;
        if is_transaction {
            self.feed(database, &OwnedRequest::new(["MULTI"]).as_request());
        }
        for (database, request) in &collected {
            self.feed(*database, &request.as_request());
        }
        if is_transaction {
            let (database, _) = collected[collected.len() - 1];
            self.feed(database, &OwnedRequest::new(["EXEC"]).as_request());
        }
    }

    /// Passes on one command that no client sent.
    pub(crate) fn propagate_own<I>(&mut self, database: usize, words: I)
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        if self.has_consumers() {
            let request = OwnedRequest::new(words);
            if self.unit.is_open {
                self.unit.collected.push((database, request));
            } else {
                self.feed(database, &request.as_request());
            }
        }
    }

    /// Appends a command to the stream, and to the append-only file. Each has its own selected database.
    fn feed(&mut self, database: usize, request: &Request<'_>) {
        let mut bytes = std::mem::take(&mut self.unit.scratch);
        bytes.clear();
        let is_streaming = self.replication_is_active();
        if is_streaming && self.unit.selected_database != Some(database) {
            self.unit.selected_database = Some(database);
            encode(&OwnedRequest::new(["SELECT", &database.to_string()]).as_request(), &mut bytes);
        }
        let start = bytes.len();
        encode(request, &mut bytes);
        if is_streaming {
            self.feed_stream(&bytes);
        }
        if self.aof.takes_effects() {
            self.aof.append(database, &bytes[start..]);
        }
        if self.migrations.takes_changes() {
            self.feed_exports(request, &bytes[start..]);
        }
        if bytes.capacity() <= SCRATCH_KEPT_BYTES {
            self.unit.scratch = bytes;
        }
    }
}

/// Capacity that the scratch buffer keeps.
const SCRATCH_KEPT_BYTES: usize = 64 * 1024;

/// Appends a command in the form in which clients send it.
pub(crate) fn encode(request: &Request<'_>, bytes: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    bytes.push(b'*');
    bytes.extend_from_slice(digits.format(request.len()).as_bytes());
    bytes.extend_from_slice(b"\r\n");
    for word in request.iter() {
        bytes.push(b'$');
        bytes.extend_from_slice(digits.format(word.len()).as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
}
