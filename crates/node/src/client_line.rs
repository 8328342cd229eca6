//! What `CLIENT LIST` and `CLIENT INFO` say of a client, and the types by which clients are chosen.

use shoal_config::ClientClass;
use shoal_machine::Now;
use shoal_protocol::Command;
use shoal_protocol::reply::KEPT_BYTES;
use shoal_session::{Channel, ClientKind, Session};
use std::fmt::Write as _;

/// The type of a client, as `CLIENT LIST TYPE` and `CLIENT KILL TYPE` choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientType {
    /// Neither of the others; also one that monitors.
    Normal,
    /// A replica of this node.
    Replica,
    /// A client with subscriptions.
    Pubsub,
    /// The primary of this node.
    Primary,
}

impl ClientType {
    /// The type of this name, in any case.
    pub(crate) fn parse(word: &[u8]) -> Option<Self> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Some(Self::Normal),
            b"slave" | b"replica" => Some(Self::Replica),
            b"pubsub" => Some(Self::Pubsub),
            b"master" => Some(Self::Primary),
            _ => None,
        }
    }

    /// The type of a client.
    pub(crate) fn of(session: &Session) -> Self {
        match session.kind {
            ClientKind::Primary => Self::Primary,
            ClientKind::Replica if !session.is_monitor => Self::Replica,
            _ if !session.subscriptions.is_empty() => Self::Pubsub,
            _ => Self::Normal,
        }
    }

    /// The class whose output limits hold.
    pub(crate) fn class(self) -> ClientClass {
        match self {
            Self::Normal | Self::Primary => ClientClass::Normal,
            Self::Replica => ClientClass::Replica,
            Self::Pubsub => ClientClass::Pubsub,
        }
    }
}

/// Memory of a session beside its buffers.
const SESSION_BYTES: usize = size_of::<Session>();

/// Memory that a client may cost at any time: [`held_bytes`], and what a buffer of its size may hold on to.
pub(crate) fn memory_bytes(session: &Session) -> usize {
    held_bytes(session) + KEPT_BYTES.saturating_sub(session.output.capacity_bytes())
}

/// Memory that a client costs now.
pub(crate) fn held_bytes(session: &Session) -> usize {
    let queued = session.transaction.as_ref().map_or(0, |transaction| transaction.size_bytes);
    SESSION_BYTES
        + session.output.capacity_bytes()
        + session.input_bytes
        + session.input_free_bytes
        + session.subscriptions.size_bytes()
        + session.watched_bytes
        + queued
}

/// Appends the line of a client, in the form of Redis 7.2, with a line end. `running` is the command that it is
/// running, with the size of its words, if it is the client that asks.
pub(crate) fn write_line(out: &mut String, session: &Session, now: Now, running: Option<(&Command, usize)>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let seconds = |since| now.monotonic.ms_since(since) / 1000;
    let count = |kind| session.subscriptions.of(kind).len();
    let (queued, queue_bytes) = session
        .transaction
        .as_ref()
        .map_or((-1, 0), |transaction| (transaction.queue.len() as i64, transaction.size_bytes));
    let command = running.map(|(command, _)| command).or(session.last_command);
    let output = &session.output;
    let in_blocks = if output.is_contiguous() { 0 } else { output.len() };
    let is_output_waiting = session.has_pending_output && !output.is_empty();
    let user = if session.kind == ClientKind::Primary { "(superuser)" } else { "default" };
    let _ = writeln!(
        out,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={queued} \
         qbuf={} qbuf-free={} argv-mem={} multi-mem={queue_bytes} rbs={} rbp={} obl={} oll={} omem={in_blocks} \
         tot-mem={} events={} cmd={} user={user} redir=-1 resp={} lib-name={} lib-ver={}",
        session.id,
        session.identity.address,
        session.identity.local_address,
        session.identity.descriptor,
        text(&session.name),
        seconds(session.created_at.monotonic),
        seconds(session.last_input_at),
        session.flag_letters(),
        session.database,
        count(Channel::Plain),
        count(Channel::Pattern),
        count(Channel::Shard),
        session.input_bytes,
        session.input_free_bytes,
        running.map_or(0, |(_, bytes)| bytes),
        output.capacity_bytes() - in_blocks.min(output.capacity_bytes()),
        output.capacity_bytes() - in_blocks.min(output.capacity_bytes()),
        output.len() - in_blocks,
        output.block_count(),
        memory_bytes(session),
        if is_output_waiting { "rw" } else { "r" },
        command.map_or("NULL", |command| command.name),
        if session.is_resp3 { 3 } else { 2 },
        text(&session.library_name),
        text(&session.library_version),
    );
}
