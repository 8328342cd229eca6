//! Loading a snapshot at start-up.

use crate::host::Host;
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
        StartupLoad { loader: Loader::new(self.load_options(now)), began: now }
    }

    fn load_options(&self, now: Now) -> LoadOptions {
        LoadOptions {
            // A node of a cluster does not know yet whether it is a replica; a primary deletes them soon.
            drop_expired: !self.is_replica() && self.cluster.is_none(),
            lfu: self.options.lfu,
            check_checksum: self.config.rdbchecksum,
            ..LoadOptions::new(now)
        }
    }

    /// Takes the next bytes of the file. True when the file has ended; what follows is ignored.
    ///
    /// # Errors
    /// The bytes are no snapshot that can be loaded; the keys so far are to be dropped together with the node.
    pub fn feed_startup_load(&mut self, load: &mut StartupLoad, bytes: &[u8]) -> Result<bool, LoadError> {
        load.loader.feed(&mut self.keyspace, bytes)
    }

    /// Loads the snapshot file into the keyspace as it is. A key that is there already is replaced if `replace`, and an
    /// error otherwise.
    ///
    /// # Errors
    /// What went wrong, as a text; what was loaded before stays.
    pub(crate) fn load_again(&mut self, now: Now, host: &mut dyn Host, replace: bool) -> Result<(), String> {
        let mut loader = Loader::new(LoadOptions { replace, ..self.load_options(now) });
        host.read_snapshot(&mut |bytes| {
            loader.feed(&mut self.keyspace, bytes).map_err(|error| error.to_string())
        })?;
        if loader.is_done() { Ok(()) } else { Err("the file ends too early".to_owned()) }
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
        // Keys that were left out are still at the replicas: these have to begin anew.
        let point = loaded.replication().filter(|_| loaded.expired == 0);
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
        if let Some(point) = point {
            self.restore_replication(host_now, &point);
        }
        Ok(lines)
    }
}
