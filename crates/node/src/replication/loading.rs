//! Loading a snapshot while it arrives.

use shoal_store::Keyspace;

/// A snapshot that is being loaded beside the data in use.
#[derive(Debug)]
pub(super) struct Loading {
    keyspace: Keyspace,
}

/// A snapshot that has been loaded.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The data.
    pub keyspace: Keyspace,
    /// The database that the stream after the snapshot is in.
    pub stream_database: usize,
}

impl Loading {
    /// Begins with an empty keyspace of the same shape as `like`.
    pub fn new(like: &Keyspace) -> Self {
        Self { keyspace: like.empty_like() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What is wrong with them, as a text for the log.
    pub fn feed(&mut self, _bytes: &[u8]) -> Result<(), String> {
        Err("snapshots cannot be loaded yet".to_owned())
    }

    /// All bytes have arrived.
    ///
    /// # Errors
    /// What is wrong, as a text for the log.
    pub fn finish(self) -> Result<Loaded, String> {
        Ok(Loaded { keyspace: self.keyspace, stream_database: 0 })
    }
}
