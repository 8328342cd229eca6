//! Loading a snapshot at start-up.

use crate::node::Node;
use shoal_machine::Now;
use shoal_store::snapshot::{LoadError, LoadOptions, Loader};

/// A snapshot on its way into a node that has no clients yet.
#[derive(Debug)]
pub struct StartupLoad {
    loader: Loader,
    began: Now,
}

impl Node {
    /// Begins to load a snapshot into the empty keyspace.
    pub fn begin_startup_load(&mut self, now: Now) -> StartupLoad {
        let mut options = LoadOptions::new(now);
        options.drop_expired = !self.is_replica();
        options.lfu = self.options.lfu;
        options.check_checksum = self.config.rdbchecksum;
        StartupLoad { loader: Loader::new(options), began: now }
    }

    /// Takes the next bytes of the file. True when the file has ended; what follows is ignored.
    ///
    /// # Errors
    /// The bytes are no snapshot that can be loaded; the keys so far are to be dropped together with the node.
    pub fn feed_startup_load(&mut self, load: &mut StartupLoad, bytes: &[u8]) -> Result<bool, LoadError> {
        load.loader.feed(&mut self.keyspace, bytes)
    }

    /// Ends loading: the log says what was loaded.
    ///
    /// # Errors
    /// The file ended too early: the offset where more was expected.
    pub fn finish_startup_load(&mut self, load: &StartupLoad, host_now: Now) -> Result<Vec<String>, u64> {
        if !load.loader.is_done() {
            return Err(load.loader.offset());
        }
        let loaded = load.loader.loaded();
        self.persistence.loaded_keys = loaded.keys;
        self.persistence.loaded_expired_keys = loaded.expired;
        let mut lines = Vec::new();
        if let Some(version) = loaded.aux_value("redis-ver") {
            lines.push(format!("Loading RDB produced by version {}", String::from_utf8_lossy(version)));
        }
        lines.push(format!(
            "Done loading RDB, keys loaded: {}, keys expired: {}.",
            loaded.keys, loaded.expired
        ));
        let seconds = host_now.monotonic.since(load.began.monotonic).as_secs_f64();
        lines.push(format!("DB loaded from disk: {seconds:.3} seconds"));
        Ok(lines)
    }
}
