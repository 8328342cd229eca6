//! Loading a snapshot or an append-only file at start-up.
//!
//! The shell feeds the files piece by piece and serves clients in between: until it is loaded they may run only the few
//! commands that need no data, and orders of the cluster machine that concern data or role wait.

use crate::aof::AofLoad;
use crate::host::{Host, LogLevel};
use crate::node::Node;
use crate::replication::LoadKind;
use shoal_formats::rdb::module_name;
use shoal_machine::Now;
use shoal_protocol::number;
use shoal_store::snapshot::{BuildOptions, LoadError, LoadOptions, Loaded, Loader};

/// Data on their way into the empty keyspace.
#[derive(Debug)]
pub(crate) struct StartupLoad {
    source: Source,
    began: Now,
    total_bytes: u64,
    loaded_bytes: u64,
}

/// Where they come from.
#[derive(Debug)]
enum Source {
    Snapshot(Box<Loader>),
    Aof(Box<AofLoad>),
}

impl StartupLoad {
    fn loader(&self) -> Option<&Loader> {
        match &self.source {
            Source::Snapshot(loader) => Some(loader),
            Source::Aof(load) => load.loader(),
        }
    }
}

/// How far loading has come, for INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoadProgress {
    /// When it began, in seconds since 1970.
    pub began_unix_s: u64,
    /// The size of the file.
    pub total_bytes: u64,
    /// The bytes that have been loaded.
    pub loaded_bytes: u64,
    /// The memory that the data took when they were saved, as the file says.
    pub saved_memory_bytes: u64,
}

impl LoadProgress {
    /// The share that is loaded, in percent.
    pub fn percent(&self) -> f64 {
        self.loaded_bytes as f64 * 100.0 / self.total_bytes.max(1) as f64
    }

    /// How many seconds it will probably go on; as Redis does, one until more is known.
    pub fn remaining_s(&self, now: Now) -> u64 {
        let elapsed_s = now.unix_s().saturating_sub(self.began_unix_s);
        let remaining_bytes = self.total_bytes.saturating_sub(self.loaded_bytes);
        let estimate = u128::from(elapsed_s) * u128::from(remaining_bytes);
        let seconds = estimate.checked_div(u128::from(self.loaded_bytes)).unwrap_or(1);
        if elapsed_s == 0 { 1 } else { u64::try_from(seconds).unwrap_or(u64::MAX) }
    }
}

impl Node {
    /// Begins to load a snapshot of this size into the empty keyspace.
    pub fn begin_startup_load(&mut self, now: Now, total_bytes: u64) {
        self.is_loading = true;
        let options = LoadOptions { file_bytes: total_bytes, ..self.load_options(now) };
        let source = Source::Snapshot(Box::new(Loader::new(options)));
        self.startup_load = Some(StartupLoad { source, began: now, total_bytes, loaded_bytes: 0 });
    }

    /// Begins to load the append-only file into the empty keyspace. False if there is nothing to load.
    ///
    /// # Errors
    /// The files cannot be used: the reason.
    pub fn begin_startup_aof(&mut self, now: Now, host: &mut dyn Host) -> Result<bool, String> {
        let Some(load) = self.begin_aof_load(now, host)? else { return Ok(false) };
        self.is_loading = true;
        let total_bytes = load.total_bytes;
        let source = Source::Aof(Box::new(load));
        self.startup_load = Some(StartupLoad { source, began: now, total_bytes, loaded_bytes: 0 });
        Ok(true)
    }

    /// Loads up to as many bytes as `buffer` holds. True after the last file.
    ///
    /// # Errors
    /// The files cannot be loaded: the reason.
    pub fn load_startup_aof(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        buffer: &mut [u8],
    ) -> Result<bool, String> {
        let Some(mut load) = self.startup_load.take() else { return Ok(true) };
        let outcome = match &mut load.source {
            Source::Aof(files) => self.load_aof_piece(now, host, files, buffer),
            Source::Snapshot(_) => Ok(true),
        };
        if let Source::Aof(files) = &load.source {
            load.loaded_bytes = files.loaded_bytes;
        }
        self.startup_load = Some(load);
        outcome
    }

    /// How far loading at start-up has come.
    pub(crate) fn load_progress(&self) -> Option<LoadProgress> {
        let Some(load) = self.startup_load.as_ref() else { return self.synchronisation_progress() };
        let memory = load.loader().and_then(|loader| loader.loaded().aux_value("used-mem"));
        let memory = memory.and_then(number::parse_i64);
        Some(LoadProgress {
            began_unix_s: load.began.unix_s(),
            total_bytes: load.total_bytes,
            loaded_bytes: load.loaded_bytes,
            saved_memory_bytes: memory.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
        })
    }

    /// How far loading a primary's snapshot has come, if clients notice it.
    fn synchronisation_progress(&self) -> Option<LoadProgress> {
        let arriving = self.replication.upstream.as_ref()?.arriving()?;
        (arriving.kind() != LoadKind::Hidden).then(|| LoadProgress {
            began_unix_s: arriving.began.unix_s(),
            total_bytes: arriving.total_bytes.unwrap_or(0),
            loaded_bytes: arriving.loaded_bytes(),
            saved_memory_bytes: 0,
        })
    }

    /// How values of files are built.
    pub(crate) fn build_options(&self) -> BuildOptions {
        BuildOptions::new(&self.options, self.keyspace.hasher())
    }

    fn load_options(&self, now: Now) -> LoadOptions {
        LoadOptions {
            // A node of a cluster does not know yet whether it is a replica; a primary deletes them soon.
            drop_expired: !self.is_replica() && self.cluster.is_none(),
            lfu: self.options.lfu,
            check_checksum: self.config.rdbchecksum,
            ..LoadOptions::new(now, self.build_options())
        }
    }

    /// Takes the next bytes of the file. True when the file has ended; what follows is ignored.
    ///
    /// # Errors
    /// The bytes are no snapshot that can be loaded; the keys so far are to be dropped together with the node.
    pub fn feed_startup_load(&mut self, bytes: &[u8]) -> Result<bool, LoadError> {
        let Some(load) = &mut self.startup_load else { return Ok(true) };
        load.loaded_bytes += bytes.len() as u64;
        match &mut load.source {
            Source::Snapshot(loader) => loader.feed(&mut self.keyspace, bytes),
            Source::Aof(_) => Ok(true),
        }
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
        if !loader.is_done() {
            return Err("the file ends too early".to_owned());
        }
        self.keep_beside_keys(host, loader.loaded(), replace);
        Ok(())
    }

    /// Keeps what a file says beside its keys: function libraries, which replace those that are there or join them.
    pub(crate) fn keep_beside_keys(&mut self, host: &mut dyn Host, loaded: &Loaded, joins: bool) {
        self.follow_imports_of(host, loaded, joins);
        if !joins {
            self.functions.clear();
        }
        for code in &loaded.functions {
            if !self.functions.contains(code) {
                self.functions.push(code.clone());
            }
        }
        for key in &loaded.empty_keys {
            let key = String::from_utf8_lossy(key);
            host.log(LogLevel::Notice, &format!("Loading the RDB: skipping empty key: {key}"));
        }
        for module in &loaded.modules {
            let name = module_name(*module);
            host.log(
                LogLevel::Warning,
                &format!("Passed over AUX data of module '{name}': there are no modules"),
            );
        }
    }

    /// Keys that had expired in the file are deleted at replicas, too.
    fn tell_expired(&mut self, names: &[(usize, Box<[u8]>)]) {
        let word: &[u8] = if self.options.lazy_expire { b"UNLINK" } else { b"DEL" };
        for (database, key) in names {
            self.propagate_own(*database, [word, key]);
        }
    }

    /// Ends loading: the log says what was loaded.
    ///
    /// # Errors
    /// The file ended too early: the offset where more was expected.
    pub fn finish_startup_load(&mut self, now: Now, host: &mut dyn Host) -> Result<(), u64> {
        let Some(load) = self.startup_load.take() else { return Ok(()) };
        let loader = match load.source {
            Source::Snapshot(loader) => loader,
            Source::Aof(files) => {
                self.is_loading = false;
                self.note_aof_loaded(&files);
                let seconds = now.monotonic.since(load.began.monotonic).as_secs_f64();
                let text = format!("DB loaded from append only file: {seconds:.3} seconds");
                host.log(LogLevel::Notice, &text);
                return Ok(());
            }
        };
        if !loader.is_done() {
            return Err(loader.offset());
        }
        self.is_loading = false;
        let loaded = loader.loaded();
        self.persistence.loaded_keys = loaded.keys;
        self.persistence.loaded_expired_keys = loaded.expired;
        self.keep_beside_keys(host, loaded, false);
        // Keys that were left out are still at the replicas: without their names these have to begin anew.
        let point = loaded.replication().filter(|_| loaded.has_all_expired_names());
        let expired_names = loaded.expired_names.clone();
        if let Some(version) = loaded.aux_value("redis-ver") {
            let version = String::from_utf8_lossy(version);
            host.log(LogLevel::Notice, &format!("Loading RDB produced by version {version}"));
        }
        if let Some(written_s) = loaded.aux_value("ctime").and_then(number::parse_i64) {
            let age_s = now.unix_s().saturating_sub(written_s.unsigned_abs());
            host.log(LogLevel::Notice, &format!("RDB age {age_s} seconds"));
        }
        if let Some(bytes) = loaded.aux_value("used-mem").and_then(number::parse_i64) {
            let megabytes = bytes as f64 / (1024.0 * 1024.0);
            host.log(LogLevel::Notice, &format!("RDB memory usage when created {megabytes:.2} Mb"));
        }
        let (keys, expired) = (loaded.keys, loaded.expired);
        let mut text = format!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}");
        if loaded.empty > 0 {
            text.push_str(&format!(", empty keys skipped: {}", loaded.empty));
        }
        text.push('.');
        host.log(LogLevel::Notice, &text);
        let seconds = now.monotonic.since(load.began.monotonic).as_secs_f64();
        host.log(LogLevel::Notice, &format!("DB loaded from disk: {seconds:.3} seconds"));
        if let Some(point) = point {
            self.restore_replication(now, &point);
            self.tell_expired(&expired_names);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Fixture;

    /// A snapshot of three keys.
    fn image() -> Vec<u8> {
        let mut fixture = Fixture::new();
        fixture.run("MSET a 1 b 2 c 3");
        fixture.run("BGSAVE");
        fixture.host.images.remove(0)
    }

    #[test]
    fn clients_wait_while_data_are_loaded() {
        let image = image();
        let mut fixture = Fixture::new();
        fixture.node.begin_startup_load(fixture.host.clock, image.len() as u64);
        let (first, second) = image.split_at(image.len() / 2);
        assert_eq!(fixture.node.feed_startup_load(first), Ok(false));
        fixture.advance_ms(10_000);
        let loading = "-LOADING Redis is loading the dataset in memory";
        fixture.check_all(&[("PING", loading), ("GET a", loading), ("SET a 1", loading), ("MULTI", "+OK")]);
        fixture.check_all(&[("GET a", loading), ("DISCARD", "+OK"), ("CLIENT ID", ":1")]);
        let info = fixture.text("INFO persistence");
        let eta_s = 10 * second.len() / first.len();
        for line in [
            "loading:1".to_owned(),
            format!("loading_total_bytes:{}", image.len()),
            format!("loading_loaded_bytes:{}", first.len()),
            format!("loading_eta_seconds:{eta_s}"),
        ] {
            assert!(info.contains(&format!("\r\n{line}\r\n")), "{line} in {info}");
        }
        assert_eq!(fixture.node.feed_startup_load(second), Ok(true));
        assert_eq!(fixture.node.finish_startup_load(fixture.host.clock, &mut fixture.host), Ok(()));
        fixture.check_all(&[("PING", "+PONG"), ("GET a", "\"1\""), ("DBSIZE", ":3")]);
        assert!(!fixture.text("INFO persistence").contains("loading_total_bytes"));
        assert!(fixture.host.has_logged("Done loading RDB, keys loaded: 3, keys expired: 0."));
    }

    #[test]
    fn a_stop_while_loading_saves_nothing() {
        let image = image();
        let mut fixture = Fixture::with_configuration(&[("save", "60 1")]);
        fixture.node.begin_startup_load(fixture.host.clock, image.len() as u64);
        fixture.check("SHUTDOWN SAVE", "");
        assert_eq!(fixture.actions.len(), 1);
        assert!(fixture.host.saves.is_empty());
    }

    /// The code of the function libraries of a snapshot.
    fn functions_of(image: &[u8]) -> Vec<Vec<u8>> {
        let mut reader = shoal_formats::rdb::RdbReader::new(true);
        reader.feed(image);
        let mut functions = Vec::new();
        while let Some(event) = reader.next().unwrap() {
            if let shoal_formats::rdb::RdbEvent::Function(code) = event {
                functions.push(code.to_vec());
            }
        }
        functions
    }

    #[test]
    fn function_libraries_stay_from_file_to_file() {
        let image = b"REDIS0010\xf5\x06#!lua1\xf6\x01n\x01e\x00\x01c\xf7\x05\x02\x01\x00\xff\0\0\0\0\0\0\0\0";
        let mut fixture = Fixture::new();
        fixture.node.begin_startup_load(fixture.host.clock, image.len() as u64);
        assert_eq!(fixture.node.feed_startup_load(image), Ok(true));
        assert_eq!(fixture.node.finish_startup_load(fixture.host.clock, &mut fixture.host), Ok(()));
        assert!(fixture.host.has_logged("Passed over AUX data of module 'AAAAAAAAA'"));
        let libraries = [b"#!lua1".to_vec(), b"#!e name=n\nc".to_vec()];
        fixture.run("FLUSHALL");
        fixture.run("DEBUG RELOAD");
        fixture.run("DEBUG RELOAD NOFLUSH MERGE");
        fixture.run("BGSAVE");
        assert_eq!(functions_of(fixture.host.images.last().unwrap()), libraries);
    }

    #[test]
    fn torn_files_are_noticed() {
        let image = image();
        let mut fixture = Fixture::new();
        fixture.node.begin_startup_load(fixture.host.clock, image.len() as u64);
        assert_eq!(fixture.node.feed_startup_load(&image[..image.len() - 9]), Ok(false));
        let end = fixture.node.finish_startup_load(fixture.host.clock, &mut fixture.host);
        assert!(end.is_err_and(|offset| offset <= image.len() as u64));
    }

    #[test]
    fn orders_of_the_cluster_wait_for_the_data() {
        use crate::testing::cluster_view;
        use shoal_cluster::view::SlotOwners;
        use shoal_cluster::{MachineMessage, NodeMessage, NodeOrder};
        let mut fixture = Fixture::with_configuration(&[("cluster-enabled", "yes")]);
        let image = image();
        fixture.node.begin_startup_load(fixture.host.clock, image.len() as u64);
        let view = std::sync::Arc::new(cluster_view(2, SlotOwners::none()));
        let orders = vec![NodeOrder::DropAllKeys];
        let message = MachineMessage::View { view, orders };
        fixture.node.cluster_message(fixture.host.clock, &mut fixture.host, message);
        assert_eq!(fixture.node.feed_startup_load(&image), Ok(true));
        fixture.node.finish_startup_load(fixture.host.clock, &mut fixture.host).unwrap();
        assert_eq!(fixture.node.keyspace().len(), 3);
        fixture.node.cluster_data_loaded(fixture.host.clock, &mut fixture.host);
        assert_eq!(fixture.node.keyspace().len(), 0);
        let last = fixture.host.cluster_messages.last();
        assert!(matches!(last, Some(NodeMessage::Loaded { slots_with_keys }) if slots_with_keys.is_empty()));
    }
}
