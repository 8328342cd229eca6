//! A snapshot that arrives from the primary, and how it is loaded.
//!
//! ```text
//!                    ┌ beside the old data ─────────────────────────┐
//! bytes ── framing ──┤                                              ├──▶ the new data
//!                    └ into a file ─▶ old data dropped ─▶ file read ┘
//! ```
//!
//! Beside the old data, it takes the place of these when it is complete, and is forgotten if the link breaks. That needs
//! room for both; so with `repl-diskless-load disabled` it goes by way of a file if there are old data.

use crate::host::{Host, LogLevel};
use shoal_config::DisklessLoad;
use shoal_machine::Now;
use shoal_replication::{Framing, Received, ReplicationId, Transfer};
use shoal_store::Keyspace;
use shoal_store::snapshot::{self, BuildOptions, LoadOptions, Loader};

/// Bytes of a file that are loaded at once: a millisecond or two, for which clients wait.
const FILE_PIECE_BYTES: usize = 256 * 1024;

/// What clients notice of data that are being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadKind {
    /// Nothing: the old data are in use.
    Hidden,
    /// There are no data meanwhile: commands get `-LOADING`.
    Blocking,
    /// The old data, of the same history, are in use; what would disturb gets `-LOADING`.
    Async,
}

/// A snapshot that is arriving.
#[derive(Debug)]
pub(crate) struct Arriving {
    /// The stream after the snapshot: its name, and the offset of the last byte before it; `None` if the primary knows
    /// no offsets.
    pub origin: Option<(ReplicationId, u64)>,
    transfer: Transfer,
    sink: Sink,
    kind: LoadKind,
    /// When it began.
    pub began: Now,
    /// The size, if it is known.
    pub total_bytes: Option<u64>,
    /// What has arrived.
    pub read_bytes: u64,
    /// `key-load-delay`.
    key_delay_us: i32,
}

/// Where the bytes go.
#[derive(Debug)]
enum Sink {
    /// They are loaded as they arrive.
    Beside(Box<Loading>),
    /// They are written to a file.
    File,
    /// The file is complete, and is being loaded; this much of it has been read.
    FromFile(Box<Loading>, u64),
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// More has to come.
    Incomplete,
    /// All has arrived; the old data are to be dropped, and [`Arriving::load_piece`] goes on.
    InFile,
    /// All has arrived and is loaded: [`Arriving::finish`].
    Loaded,
}

/// How a snapshot is to be loaded.
pub(super) struct Choice<'a> {
    pub framing: Framing,
    pub origin: Option<(ReplicationId, u64)>,
    /// The name of the history of the data in use.
    pub own_id: ReplicationId,
    pub mode: DisklessLoad,
    pub keyspace: &'a Keyspace,
    pub build: BuildOptions,
    pub is_lfu: bool,
    pub key_delay_us: i32,
}

impl Choice<'_> {
    /// What clients notice, or `None` for a file.
    fn kind(&self) -> Option<LoadKind> {
        let is_empty = self.keyspace.is_empty();
        let has_own_history = self.origin.is_some_and(|(id, _)| id == self.own_id);
        match self.mode {
            DisklessLoad::SwapDatabase if has_own_history => Some(LoadKind::Async),
            DisklessLoad::SwapDatabase => Some(LoadKind::Blocking),
            DisklessLoad::OnEmptyDatabase if is_empty => Some(LoadKind::Blocking),
            // Without old data a file would save nothing.
            DisklessLoad::Disabled if is_empty => Some(LoadKind::Hidden),
            DisklessLoad::OnEmptyDatabase | DisklessLoad::Disabled => None,
        }
    }
}

impl Arriving {
    /// Nothing has arrived yet.
    ///
    /// # Errors
    /// There can be no file: a text for the log.
    pub(super) fn begin(now: Now, host: &mut dyn Host, choice: Choice<'_>) -> Result<Self, String> {
        let kind = choice.kind();
        let place = if kind.is_some() { "parser" } else { "disk" };
        let (total_bytes, text) = match choice.framing {
            Framing::Mark(_) => (
                None,
                format!("MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF to {place}"),
            ),
            Framing::Length(length) => {
                let text =
                    format!("MASTER <-> REPLICA sync: receiving {length} bytes from master to {place}");
                (Some(length), text)
            }
        };
        host.log(LogLevel::Notice, &text);
        let sink = match kind {
            Some(_) => {
                Sink::Beside(Box::new(Loading::new(now, choice.keyspace, choice.build, choice.is_lfu)))
            }
            None => {
                host.sync_file().begin().map_err(|reason| {
                    format!("Opening the temp file needed for MASTER <-> REPLICA synchronization: {reason}")
                })?;
                Sink::File
            }
        };
        Ok(Self {
            origin: choice.origin,
            transfer: Transfer::new(choice.framing),
            sink,
            kind: kind.unwrap_or(LoadKind::Hidden),
            began: now,
            total_bytes,
            read_bytes: 0,
            key_delay_us: choice.key_delay_us,
        })
    }

    /// What clients notice.
    pub fn kind(&self) -> LoadKind {
        self.kind
    }

    /// Whether all bytes have arrived.
    pub fn has_arrived(&self) -> bool {
        matches!(self.sink, Sink::FromFile(..))
    }

    /// Bytes that have been loaded.
    pub fn loaded_bytes(&self) -> u64 {
        if let Sink::FromFile(_, offset) = self.sink { offset } else { self.read_bytes }
    }

    /// Whether a mark ends it: the primary sends nothing more until it knows that all has arrived.
    pub fn is_marked(&self) -> bool {
        matches!(self.transfer, Transfer::Mark { .. })
    }

    /// Takes bytes. Says how many belonged to the snapshot, and how far it has come.
    ///
    /// # Errors
    /// It cannot be loaded or written: a text for the log.
    pub(super) fn receive(
        &mut self,
        host: &mut dyn Host,
        bytes: &[u8],
    ) -> Result<(Received, Arrival), String> {
        let Self { transfer, sink, read_bytes, .. } = self;
        let keys_before = sink.loaded_keys();
        let mut outcome = Ok(());
        let received = transfer.receive(bytes, &mut |payload| {
            *read_bytes += payload.len() as u64;
            if outcome.is_ok() {
                outcome = match sink {
                    Sink::Beside(loading) => loading.feed(payload).map_err(|reason| {
                        format!(
                            "Failed trying to load the MASTER synchronization DB from socket, check server logs: \
                             {reason}"
                        )
                    }),
                    Sink::File => host.sync_file().append(payload).map_err(|reason| {
                        format!(
                            "Write error or short write writing to the DB dump file needed for MASTER <-> REPLICA \
                             synchronization: {reason}"
                        )
                    }),
                    Sink::FromFile(..) => Ok(()),
                };
            }
        });
        outcome?;
        delay_loading(host, self.key_delay_us, self.sink.loaded_keys() - keys_before);
        let arrival = match (&self.sink, received.is_complete) {
            (_, false) => Arrival::Incomplete,
            (Sink::Beside(_), true) => Arrival::Loaded,
            (Sink::File | Sink::FromFile(..), true) => Arrival::InFile,
        };
        Ok((received, arrival))
    }

    /// The file is complete: it takes the place of the snapshot file, and its bytes go into an empty keyspace.
    ///
    /// # Errors
    /// The file cannot be kept: a text for the log.
    pub(super) fn begin_file(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        like: &Keyspace,
        build: BuildOptions,
        is_lfu: bool,
    ) -> Result<(), String> {
        let size = host.sync_file().finish().map_err(|reason| {
            format!(
                "Failed trying to rename the temp DB into the final one in MASTER <-> REPLICA sync: {reason}"
            )
        })?;
        self.sink = Sink::FromFile(Box::new(Loading::new(now, like, build, is_lfu)), 0);
        self.kind = LoadKind::Blocking;
        self.total_bytes = Some(size);
        Ok(())
    }

    /// Loads the next piece of the file.
    ///
    /// # Errors
    /// It cannot be loaded: a text for the log.
    pub(super) fn load_piece(&mut self, host: &mut dyn Host) -> Result<Arrival, String> {
        let Sink::FromFile(loading, offset) = &mut self.sink else { return Ok(Arrival::Incomplete) };
        let failed = |reason: String| {
            format!(
                "Failed trying to load the MASTER synchronization DB from disk, check server logs: {reason}"
            )
        };
        let mut buffer = vec![0; FILE_PIECE_BYTES];
        let keys_before = loading.keyspace.len();
        let count = host.sync_file().read(*offset, &mut buffer).map_err(failed)?;
        loading.feed(&buffer[..count.min(FILE_PIECE_BYTES)]).map_err(failed)?;
        delay_loading(host, self.key_delay_us, loading.keyspace.len() - keys_before);
        *offset += count as u64;
        Ok(if count == 0 { Arrival::Loaded } else { Arrival::Incomplete })
    }

    /// The data, when [`Arrival::Loaded`] has been reported.
    ///
    /// # Errors
    /// They are not complete: a text for the log.
    pub(super) fn finish(self) -> Result<Loaded, String> {
        match self.sink {
            Sink::Beside(loading) | Sink::FromFile(loading, _) => loading.finish().map_err(|reason| {
                format!(
                    "Failed trying to load the MASTER synchronization DB from socket, check server logs: {reason}"
                )
            }),
            Sink::File => Err("The snapshot has not been loaded.".to_owned()),
        }
    }

    /// It comes to nothing.
    pub(super) fn discard(self, host: &mut dyn Host) {
        if matches!(self.sink, Sink::File) {
            host.sync_file().discard();
        }
    }
}

impl Sink {
    fn loaded_keys(&self) -> usize {
        match self {
            Self::Beside(loading) | Self::FromFile(loading, _) => loading.keyspace.len(),
            Self::File => 0,
        }
    }
}

/// `key-load-delay`, a debugging aid: microseconds per key, or keys per microsecond if negative.
fn delay_loading(host: &mut dyn Host, delay_us: i32, keys: usize) {
    let (per_unit, keys) = (u64::from(delay_us.unsigned_abs()), keys as u64);
    match delay_us {
        0 => {}
        1.. => host.sleep_us(keys * per_unit, true),
        ..0 => host.sleep_us(keys / per_unit, true),
    }
}

/// A snapshot that is being loaded beside the data in use.
#[derive(Debug)]
struct Loading {
    keyspace: Keyspace,
    loader: Loader,
}

/// A snapshot that has been loaded.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The data.
    pub keyspace: Keyspace,
    /// The database that the stream after the snapshot is in.
    pub stream_database: usize,
    /// What the file says beside the keys.
    pub file: snapshot::Loaded,
}

impl Loading {
    /// Begins with an empty keyspace of the same shape as `like`. Keys that have expired are kept: it is for the
    /// primary to delete them.
    fn new(now: Now, like: &Keyspace, build: BuildOptions, is_lfu: bool) -> Self {
        let options = LoadOptions { drop_expired: false, lfu: is_lfu, ..LoadOptions::new(now, build) };
        Self { keyspace: like.empty_like(), loader: Loader::new(options) }
    }

    /// Takes the next bytes.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.loader.feed(&mut self.keyspace, bytes).map(|_| ()).map_err(|error| error.to_string())
    }

    /// All bytes have arrived.
    fn finish(self) -> Result<Loaded, String> {
        if !self.loader.is_done() {
            return Err(format!("it ends at offset {}", self.loader.offset()));
        }
        let file = self.loader.loaded().clone();
        let point = file.replication();
        let database = point.and_then(|point| usize::try_from(point.stream_database).ok());
        Ok(Loaded { keyspace: self.keyspace, stream_database: database.unwrap_or(0), file })
    }
}
