//! One client connection, without its socket.

use crate::subscriptions::Subscriptions;
use shoal_machine::{Monotonic, Now};
use shoal_protocol::{Command, OutputBuffer, OwnedRequest, Reply};

/// What a queued command costs beside its words.
pub const QUEUED_COMMAND_OVERHEAD_BYTES: usize = 64;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// An ordinary client, or one that subscribes or monitors.
    Normal,
    /// A replica that this node feeds.
    Replica,
    /// The primary that feeds this node.
    Primary,
    /// A primary that moves slots here.
    Import,
    /// A primary that slots are moved to.
    Export,
}

/// Which replies a client wants (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// All but that of the next command.
    SkipNext,
    /// All but that of this command.
    SkipThis,
}

/// Whether and how a connection is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Close {
    /// It goes on.
    #[default]
    No,
    /// When what waits has been sent.
    AfterReply,
    /// At once.
    Now,
}

/// The addresses of a connection, as texts that users see.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The peer: `address:port`, or the path of the Unix socket with `:0`.
    pub address: String,
    /// The local end.
    pub local_address: String,
    /// The peer is on this machine: loopback or a Unix socket.
    pub is_local: bool,
    /// It came in over the Unix socket.
    pub is_unix_socket: bool,
    /// The number of the file descriptor, for `CLIENT LIST`.
    pub descriptor: i32,
}

/// A transaction that is being collected.
#[derive(Debug, Default)]
pub struct Transaction {
    /// The queued commands.
    pub queue: Vec<(&'static Command, OwnedRequest)>,
    /// A command was refused: EXEC will be, too.
    pub is_spoilt: bool,
    /// Memory of the queue.
    pub size_bytes: usize,
    /// One of the queued commands writes.
    pub has_write: bool,
    /// One of the queued commands is refused when memory is used up.
    pub denies_oom: bool,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    /// Unique for the life of the process.
    pub id: u64,
    /// Who it is.
    pub identity: Identity,
    /// What it is.
    pub kind: ClientKind,
    /// It is the server itself, which reads commands from a file: nobody counts or watches them.
    pub is_internal: bool,
    /// When it connected.
    pub created_at: Now,
    /// When it last sent something.
    pub last_input_at: Monotonic,
    /// What it called itself.
    pub name: Vec<u8>,
    /// `CLIENT SETINFO lib-name`.
    pub library_name: Vec<u8>,
    /// `CLIENT SETINFO lib-ver`.
    pub library_version: Vec<u8>,
    /// The selected database.
    pub database: usize,
    /// It speaks RESP3.
    pub is_resp3: bool,
    /// It may run commands.
    pub is_authenticated: bool,
    /// What waits to be sent.
    pub output: OutputBuffer,
    /// It stands in the list of clients with output; kept by the owner of the list.
    pub has_pending_output: bool,
    /// Commands between MULTI and EXEC.
    pub transaction: Option<Transaction>,
    /// Watched keys with their databases.
    pub watched: Vec<(usize, Vec<u8>)>,
    /// Memory of the watched keys.
    pub watched_bytes: usize,
    /// Those of the watched keys that had expired already.
    pub watched_expired: Vec<Vec<u8>>,
    /// A watched key has changed.
    pub is_watch_broken: bool,
    /// What it is subscribed to.
    pub subscriptions: Subscriptions,
    /// Which replies it wants.
    pub reply_mode: ReplyMode,
    /// How it is to end.
    pub close: Close,
    /// `CLIENT NO-EVICT`.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH`.
    pub no_touch: bool,
    /// `READONLY`: it reads from replicas of a cluster.
    pub is_readonly: bool,
    /// `ASKING`: the next command may go to an importing slot.
    pub is_asking: bool,
    /// It watches every command.
    pub is_monitor: bool,
    /// A command of it waits for something; its input is left alone meanwhile.
    pub is_blocked: bool,
    /// Its next command is put off by CLIENT PAUSE; it will be tried again.
    pub is_postponed: bool,
    /// The command it ran last.
    pub last_command: Option<&'static Command>,
    /// Bytes of input that wait, told by the shell.
    pub input_bytes: usize,
    /// Space of the input buffer that is free, told by the shell.
    pub input_free_bytes: usize,
    /// Since when its output has been over the soft limit.
    pub over_soft_limit_since: Option<Monotonic>,
    /// The offset of the replication stream after its last write, for WAIT.
    pub last_write_offset: u64,
    /// How long the append-only file was after its last write, for WAITAOF.
    pub last_aof_position: u64,
    /// The memory that it was counted with last, for `maxmemory-clients`.
    pub counted_bytes: usize,
}

impl Session {
    /// The state of a fresh connection.
    pub fn new(id: u64, identity: Identity, now: Now) -> Self {
        Self {
            id,
            identity,
            kind: ClientKind::Normal,
            is_internal: false,
            created_at: now,
            last_input_at: now.monotonic,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            database: 0,
            is_resp3: false,
            is_authenticated: false,
            output: OutputBuffer::new(),
            has_pending_output: false,
            transaction: None,
            watched: Vec::new(),
            watched_bytes: 0,
            watched_expired: Vec::new(),
            is_watch_broken: false,
            subscriptions: Subscriptions::default(),
            reply_mode: ReplyMode::On,
            close: Close::No,
            no_evict: false,
            no_touch: false,
            is_readonly: false,
            is_asking: false,
            is_monitor: false,
            is_blocked: false,
            is_postponed: false,
            last_command: None,
            input_bytes: 0,
            input_free_bytes: 0,
            over_soft_limit_since: None,
            last_write_offset: 0,
            last_aof_position: 0,
            counted_bytes: 0,
        }
    }

    /// A writer of replies in this client's protocol.
    pub fn reply(&mut self) -> Reply<'_> {
        Reply::new(&mut self.output, self.is_resp3)
    }

    /// Only commands of Pub/Sub are allowed now: it has subscriptions and speaks RESP2.
    pub fn is_subscriber_only(&self) -> bool {
        !self.is_resp3 && !self.subscriptions.is_empty()
    }

    /// Spoils the transaction that is being collected, if there is one.
    pub fn spoil_transaction(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.is_spoilt = true;
        }
    }

    /// The letters of `CLIENT LIST`'s field `flags`.
    pub fn flag_letters(&self) -> String {
        let letters = [
            (self.kind == ClientKind::Replica && !self.is_monitor, 'S'),
            (self.is_monitor, 'O'),
            (self.kind == ClientKind::Primary, 'M'),
            (!self.subscriptions.is_empty(), 'P'),
            (self.transaction.is_some(), 'x'),
            (self.is_blocked, 'b'),
            (self.is_watch_broken, 'd'),
            (self.close == Close::AfterReply, 'c'),
            (self.close == Close::Now, 'A'),
            (self.identity.is_unix_socket, 'U'),
            (self.is_readonly, 'r'),
            (self.no_evict, 'e'),
            (self.no_touch, 'T'),
        ];
        let text: String = letters.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| *letter).collect();
        if text.is_empty() { "N".to_owned() } else { text }
    }
}
