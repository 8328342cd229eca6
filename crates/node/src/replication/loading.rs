//! Loading a snapshot while it arrives.

use shoal_machine::Now;
use shoal_store::Keyspace;
use shoal_store::snapshot::{self, BuildOptions, LoadOptions, Loader};

/// A snapshot that is being loaded beside the data in use.
#[derive(Debug)]
pub(super) struct Loading {
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
    pub fn new(now: Now, like: &Keyspace, build: BuildOptions, is_lfu: bool) -> Self {
        let options = LoadOptions { drop_expired: false, lfu: is_lfu, ..LoadOptions::new(now, build) };
        Self { keyspace: like.empty_like(), loader: Loader::new(options) }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What is wrong with them, as a text for the log.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.loader.feed(&mut self.keyspace, bytes).map(|_| ()).map_err(|error| error.to_string())
    }

    /// All bytes have arrived.
    ///
    /// # Errors
    /// What is wrong, as a text for the log.
    pub fn finish(self) -> Result<Loaded, String> {
        if !self.loader.is_done() {
            return Err(format!("it ends at offset {}", self.loader.offset()));
        }
        let file = self.loader.loaded().clone();
        let point = file.replication();
        let database = point.and_then(|point| usize::try_from(point.stream_database).ok());
        Ok(Loaded { keyspace: self.keyspace, stream_database: database.unwrap_or(0), file })
    }
}
