//! MIGRATE: moves keys to another server. Everybody waits until the target has answered, as in Redis; a key is deleted
//! here only when the target has said that it has it.
//!
//! ```text
//!  source                                   target
//!    │ AUTH …, SELECT n, RESTORE k … (×keys)  │      all in one piece
//!    │───────────────────────────────────────▶│
//!    │◀────────────── a reply to each ────────│
//!    │ DEL of what it has taken               │
//! ```

use crate::call::{NodeBody, NodeCall};
use crate::host::{Exchange, ExchangeFailure, Exchanged};
use shoal_protocol::number::parse_i64;
use shoal_protocol::value::encode_request;
use shoal_protocol::{Arguments, CommandId, ErrorReply, OwnedRequest, errors};
use shoal_store::call::EventClass;
use shoal_store::snapshot::dump;
use shoal_store::{Call, Outcome};
use std::collections::BTreeMap;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[(CommandId::Migrate, migrate)];

/// The timeout of a client that does not care.
const DEFAULT_TIMEOUT_MS: u64 = 1000;
/// Targets whose selected database is remembered; as many as the shell keeps connections.
pub const TARGETS_MAX: usize = 64;

const KEY_AND_KEYS: ErrorReply =
    ErrorReply::new("ERR When using MIGRATE KEYS option, the key argument must be set to the empty string");
const NOT_CONNECTED: ErrorReply = ErrorReply::new("IOERR error or timeout connecting to the client");
const NOT_WRITTEN: ErrorReply = ErrorReply::new("IOERR error or timeout writing to target instance");
const NOT_READ: ErrorReply = ErrorReply::new("IOERR error or timeout reading to target instance");

/// What the node remembers of the servers it has moved keys to.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    /// The database that is selected on the connection to each.
    databases: BTreeMap<String, i64>,
}

impl Targets {
    fn select(&mut self, name: &str, database: i64) {
        if self.databases.len() >= TARGETS_MAX {
            // To select once too often does no harm.
            self.databases.clear();
        }
        self.databases.insert(name.to_owned(), database);
    }
}

/// MIGRATE's arguments.
struct Order<'a> {
    host: String,
    port: &'a [u8],
    database: i64,
    timeout_ms: u64,
    copy: bool,
    replace: bool,
    /// The words of AUTH.
    credentials: Vec<&'a [u8]>,
    keys: Vec<&'a [u8]>,
}

impl<'a> Order<'a> {
    fn parse(mut arguments: Arguments<'a>) -> Result<Self, ErrorReply> {
        let host = String::from_utf8_lossy(arguments.take()?).into_owned();
        let (port, key) = (arguments.take()?, arguments.take()?);
        let (database, timeout) = (arguments.take()?, arguments.take()?);
        let mut order = Self {
            host,
            port,
            database: 0,
            timeout_ms: DEFAULT_TIMEOUT_MS,
            copy: false,
            replace: false,
            credentials: Vec::new(),
            keys: vec![key],
        };
        while !arguments.is_empty() {
            if arguments.take_keyword("COPY") {
                order.copy = true;
            } else if arguments.take_keyword("REPLACE") {
                order.replace = true;
            } else if arguments.take_keyword("AUTH") {
                order.credentials = vec![b"AUTH", arguments.take()?];
            } else if arguments.take_keyword("AUTH2") {
                order.credentials = vec![b"AUTH", arguments.take()?, arguments.take()?];
            } else if arguments.take_keyword("KEYS") {
                if !key.is_empty() {
                    return Err(KEY_AND_KEYS);
                }
                order.keys = arguments.rest().collect();
                break;
            } else {
                return Err(errors::SYNTAX);
            }
        }
        let timeout_ms = parse_i64(timeout).ok_or(errors::NOT_AN_INTEGER)?;
        order.timeout_ms = u64::try_from(timeout_ms).ok().filter(|&ms| ms > 0).unwrap_or(DEFAULT_TIMEOUT_MS);
        order.database = parse_i64(database).ok_or(errors::NOT_AN_INTEGER)?;
        Ok(order)
    }

    /// The target as it is remembered.
    fn target(&self) -> String {
        format!("{}:{}", self.host, String::from_utf8_lossy(self.port))
    }
}

/// What is sent in one go.
struct Batch {
    bytes: Vec<u8>,
    /// Replies that come before those to RESTORE.
    preamble_count: usize,
    selects: bool,
    /// The keys that are restored, in this order.
    keys: Vec<Vec<u8>>,
}

fn migrate(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    let order = Order::parse(arguments)?;
    let wanted = order.keys.clone();
    let keys: Vec<&[u8]> = call
        .with_store(|store| wanted.into_iter().filter(|key| store.find_for_read(key).is_some()).collect());
    if keys.is_empty() {
        call.reply().simple("NOKEY");
        return Ok(());
    }
    // A connection of an earlier exchange may have ended since: what fails on it is tried once more on a new one.
    match attempt(call, &order, &keys) {
        Err(Failed { may_retry: true, .. }) => attempt(call, &order, &keys),
        outcome => outcome,
    }
    .map_err(|failed| failed.error)
}

/// Why an attempt came to nothing, and whether nothing can have happened by it.
struct Failed {
    error: ErrorReply,
    may_retry: bool,
}

fn attempt(call: &mut NodeCall<'_>, order: &Order<'_>, keys: &[&[u8]]) -> Result<(), Failed> {
    let final_error = |error| Failed { error, may_retry: false };
    let target = order.target();
    let port = parse_i64(order.port).and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0);
    let port = port.ok_or(final_error(NOT_CONNECTED))?;
    let is_new = call.host.open_exchange(&order.host, port, order.timeout_ms);
    match is_new {
        Ok(true) => {
            call.node.targets.databases.remove(&target);
        }
        Ok(false) => {}
        Err(_) => return Err(final_error(NOT_CONNECTED)),
    }
    // Connecting may have taken long; a time to live goes on meanwhile.
    call.now = call.host.now();
    let selects = call.node.targets.databases.get(&target) != Some(&order.database);
    let batch = put_together(call, order, keys, selects);
    let Exchanged { replies, failure } = call.host.exchange(Exchange {
        host: &order.host,
        port,
        requests: &batch.bytes,
        reply_count: batch.preamble_count + batch.keys.len(),
        timeout_ms: order.timeout_ms,
    });
    if failure.is_some() {
        call.host.close_exchange(&order.host, port);
        call.node.targets.databases.remove(&target);
    }
    let (preamble, answers) = replies.split_at(batch.preamble_count.min(replies.len()));
    if let Some(failure) = failure
        && answers.is_empty()
    {
        let ExchangeFailure { was_writing, is_timeout } = failure;
        let error = if was_writing { NOT_WRITTEN } else { NOT_READ };
        return Err(Failed { error, may_retry: !is_timeout });
    }
    let refusal = preamble.iter().find_map(|reply| reply.as_error());
    let mut first_error = refusal.as_deref().map(str::to_owned);
    let mut moved = Vec::new();
    for (key, answer) in batch.keys.into_iter().zip(answers) {
        let error = refusal.clone().or_else(|| answer.as_error());
        match error {
            Some(error) => first_error = first_error.or_else(|| Some(error.into_owned())),
            None => moved.push(key),
        }
    }
    if !order.copy {
        delete(call, moved);
    }
    if let Some(error) = first_error {
        call.node.targets.databases.remove(&target);
        let text = format!("ERR Target instance replied with error: {error}");
        return Err(final_error(ErrorReply::from(text)));
    }
    if failure.is_some() {
        return Err(final_error(NOT_READ));
    }
    if batch.selects {
        call.node.targets.select(&target, order.database);
    }
    call.reply().ok();
    Ok(())
}

/// The requests for all keys that have not expired meanwhile.
fn put_together(call: &mut NodeCall<'_>, order: &Order<'_>, keys: &[&[u8]], selects: bool) -> Batch {
    let is_clustered = call.node.cluster.is_some();
    let mut batch = Batch { bytes: Vec::new(), preamble_count: 0, selects, keys: Vec::new() };
    if !order.credentials.is_empty() {
        encode_request(&order.credentials, &mut batch.bytes);
        batch.preamble_count += 1;
    }
    let mut digits = itoa::Buffer::new();
    if selects {
        encode_request(&[b"SELECT", digits.format(order.database).as_bytes()], &mut batch.bytes);
        batch.preamble_count += 1;
    }
    let restore: &[u8] = if is_clustered { b"RESTORE-ASKING" } else { b"RESTORE" };
    let (now_ms, options) = (call.now.unix_ms(), call.node.options);
    let database = call.node.keyspace.database(call.session.database);
    for &key in keys {
        let Some(found) = database.find(key) else { continue };
        let entry = database.entry(found);
        let ttl_ms = match entry.expiry_ms() {
            None => 0,
            Some(at) if at < now_ms => continue,
            Some(at) => (at - now_ms).max(1),
        };
        let payload = dump(entry.value(), &options);
        let mut words: Vec<&[u8]> = vec![restore, key, digits.format(ttl_ms).as_bytes(), &payload];
        if order.replace {
            words.push(b"REPLACE");
        }
        encode_request(&words, &mut batch.bytes);
        batch.keys.push(key.to_vec());
    }
    batch
}

/// Deletes what the target has taken; replicas hear of a DEL.
fn delete(call: &mut NodeCall<'_>, keys: Vec<Vec<u8>>) {
    if keys.is_empty() {
        return;
    }
    call.with_store(|store: &mut Call<'_, '_>| {
        let mut request = OwnedRequest::new([b"DEL"]);
        for key in &keys {
            let database = store.keyspace.database(store.database_index);
            if let Some(found) = database.find(key) {
                store.remove(found);
            }
            store.changed(key);
            store.event(EventClass::Generic, "del", key);
            request.push(key);
        }
        if !store.effects.skip_propagation {
            store.propagate_request_instead(request);
        }
    });
}

#[cfg(test)]
#[path = "migrate_tests.rs"]
mod tests;
