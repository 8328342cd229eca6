//! Loading data at start-up: a piece of the file in each turn of the loop, so that clients get answers meanwhile.

use super::{EVENTS_PER_TURN, Server};
use mio::Events;
use shoal_node::Host;
use shoal_store::snapshot::LoadError;
use std::io::{self, Read};
use std::time::Duration;

/// Bytes of a snapshot that are loaded in one turn at start-up: a millisecond or two, for which clients wait.
const LOADED_PER_TURN_BYTES: usize = 256 * 1024;

/// Why data could not be loaded.
#[derive(Debug)]
pub enum LoadFailure {
    /// The source cannot be read.
    Read(io::Error),
    /// What stands in it is no snapshot that can be loaded.
    Malformed(String),
    /// It ends at this offset, in the middle of the data.
    Torn(u64),
    /// Waiting for events fails.
    Poll(io::Error),
}

impl Server {
    /// Loads a snapshot of `total_bytes`, and serves clients meanwhile as far as that goes without data.
    /// [`Server::run`] is to follow; it returns at once if the server is to stop.
    ///
    /// # Errors
    /// See [`LoadFailure`].
    pub fn load(&mut self, source: &mut dyn Read, total_bytes: u64) -> Result<(), LoadFailure> {
        // The cluster's first orders may already concern the data, so loading begins before they come.
        self.node.begin_startup_load(self.host.clock.now(), total_bytes);
        self.wait_for_cluster();
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut buffer = vec![0; LOADED_PER_TURN_BYTES];
        while self.stop.is_none() {
            if self.load_piece(source, &mut buffer)? {
                let now = self.host.clock.now();
                return self.node.finish_startup_load(now, &mut self.host).map_err(LoadFailure::Torn);
            }
            match self.poll.poll(&mut events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(LoadFailure::Poll)?,
            }
            self.turn(&events);
        }
        Ok(())
    }

    /// Loads the append-only file, and serves clients meanwhile as [`Server::load`] does.
    ///
    /// # Errors
    /// The reason: the files cannot be loaded.
    pub fn load_aof(&mut self) -> Result<(), String> {
        let now = self.host.clock.now();
        if !self.node.begin_startup_aof(now, &mut self.host)? {
            return Ok(());
        }
        self.wait_for_cluster();
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut buffer = vec![0; LOADED_PER_TURN_BYTES];
        while self.stop.is_none() {
            if self.load_aof_piece(&mut buffer)? {
                let now = self.host.clock.now();
                let finished = self.node.finish_startup_load(now, &mut self.host);
                return finished.map_err(|offset| format!("it ends at byte {offset}"));
            }
            match self.poll.poll(&mut events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(|error| format!("Waiting for events failed: {error}"))?,
            }
            self.turn(&events);
        }
        Ok(())
    }

    /// Opens the append-only file, if there is to be one: what was loaded is all there is.
    ///
    /// # Errors
    /// The reason.
    pub fn open_aof(&mut self) -> Result<(), String> {
        let now = self.host.clock.now();
        self.node.open_aof(now, &mut self.host)
    }

    fn load_aof_piece(&mut self, buffer: &mut [u8]) -> Result<bool, String> {
        if let Some(bus) = &self.host.bus {
            bus.command_begins();
        }
        let wanted = self.node.config().loading_process_events_interval_bytes as usize;
        let (_, piece) = buffer.split_at_mut(buffer.len().saturating_sub(wanted));
        let before = self.node.keyspace().len();
        let now = self.host.clock.now();
        let is_done = self.node.load_startup_aof(now, &mut self.host, piece)?;
        self.delay_loading(self.node.keyspace().len().saturating_sub(before));
        if let Some(bus) = &self.host.bus {
            bus.command_ended();
        }
        Ok(is_done)
    }

    /// Loads one piece; true after the last. It counts as a command: the bus reports that the executor is alive.
    fn load_piece(&mut self, source: &mut dyn Read, buffer: &mut [u8]) -> Result<bool, LoadFailure> {
        if let Some(bus) = &self.host.bus {
            bus.command_begins();
        }
        let wanted = self.node.config().loading_process_events_interval_bytes as usize;
        let (_, piece) = buffer.split_at_mut(buffer.len().saturating_sub(wanted));
        let count = loop {
            match source.read(piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(LoadFailure::Read)?,
            }
        };
        let before = self.node.keyspace().len();
        let malformed = |error: LoadError| LoadFailure::Malformed(error.to_string());
        let is_done = count == 0 || self.node.feed_startup_load(&piece[..count]).map_err(malformed)?;
        self.delay_loading(self.node.keyspace().len().saturating_sub(before));
        if let Some(bus) = &self.host.bus {
            bus.command_ended();
        }
        Ok(is_done)
    }

    /// `key-load-delay`, a debugging aid: microseconds per key, or keys per microsecond if negative.
    fn delay_loading(&mut self, keys: usize) {
        let (delay_us, keys) = (self.node.config().key_load_delay_us, keys as u64);
        let per_unit = u64::from(delay_us.unsigned_abs());
        match delay_us {
            0 => {}
            1.. => self.host.sleep_us(keys * per_unit, true),
            ..0 => self.host.sleep_us(keys / per_unit, true),
        }
    }
}
