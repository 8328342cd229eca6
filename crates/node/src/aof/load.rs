//! Loading an append-only file: its base, then the commands since, carried out as if the primary had sent them.

use super::Node;
use crate::clients::Handle;
use crate::host::{Host, LogLevel};
use shoal_formats::aof::{CommandReader, MalformedCommand, Manifest};
use shoal_machine::{Monotonic, Now};
use shoal_protocol::OwnedRequest;
use shoal_session::{ClientKind, Identity, Session};
use shoal_store::snapshot::{LoadOptions, Loader};
use std::collections::VecDeque;

/// What an RDB file begins with.
const SIGNATURE: &[u8] = b"REDIS";
/// The place of the session that carries out the commands; no client ever stands there.
const NOBODY: Handle = Handle(u32::MAX);

/// What a disk writes or does not write as a whole, at least.
const SECTOR_BYTES: u64 = 512;
/// What a power cut may have left unsynced: with more behind it, damage is something else.
const TORN_END_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How much of a command that cannot be read is searched for lost sectors.
const LOST_SECTORS_SOUGHT_BYTES: u64 = 1024 * 1024;

/// Files on their way into the keyspace.
pub(crate) struct AofLoad {
    /// Those that are not loaded yet, the current one first.
    files: VecDeque<String>,
    /// Bytes of the current one that were read.
    position: u64,
    part: Part,
    session: Box<Session>,
    /// The end of the last command of the current file that is not inside a transaction.
    valid_bytes: u64,
    file_began: Monotonic,
    /// The size of them all.
    pub total_bytes: u64,
    pub loaded_bytes: u64,
    base_bytes: u64,
}

/// What the current file is, as far as that is known.
enum Part {
    Unknown(Vec<u8>),
    Base(Box<Loader>),
    Commands(CommandReader),
}

impl std::fmt::Debug for AofLoad {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AofLoad").field("files", &self.files).finish_non_exhaustive()
    }
}

impl AofLoad {
    fn begin_file(&mut self, now: Now) {
        self.position = 0;
        self.valid_bytes = 0;
        self.part = Part::Unknown(Vec::new());
        self.file_began = now.monotonic;
        self.session.transaction = None;
        self.session.database = 0;
    }

    /// The snapshot among the files, while it is being loaded.
    pub(crate) fn loader(&self) -> Option<&Loader> {
        match &self.part {
            Part::Base(loader) => Some(loader),
            _ => None,
        }
    }
}

impl Node {
    /// Reads the list of files; `None` if there is nothing to load.
    ///
    /// # Errors
    /// The list or a file of it cannot be used: the reason.
    pub(crate) fn begin_aof_load(
        &mut self,
        now: Now,
        host: &mut dyn Host,
    ) -> Result<Option<AofLoad>, String> {
        let name = self.manifest_name();
        let manifest = match host.read_aof_file(&name)? {
            Some(text) => Manifest::parse(&text)
                .map_err(|error| format!("Reading the manifest file {name}, {error}"))?,
            None => Manifest::default(),
        };
        self.aof.manifest = manifest;
        self.take_over_old_file(host)?;
        let mut files = VecDeque::new();
        let (mut total_bytes, mut base_bytes) = (0, 0);
        for file in self.aof.manifest.files() {
            let size = host.aof_file_size(&file.name)?;
            if self.aof.manifest.base.as_ref().is_some_and(|base| base.name == file.name) {
                base_bytes = size;
            }
            total_bytes += size;
            files.push_back(file.name.clone());
        }
        if total_bytes == 0 {
            return Ok(None);
        }
        let mut session = Box::new(Session::new(0, Identity::default(), now));
        session.kind = ClientKind::Primary;
        session.is_authenticated = true;
        session.is_internal = true;
        Ok(Some(AofLoad {
            files,
            position: 0,
            part: Part::Unknown(Vec::new()),
            session,
            valid_bytes: 0,
            file_began: now.monotonic,
            total_bytes,
            loaded_bytes: 0,
            base_bytes,
        }))
    }

    /// A file of Redis 6 and before, which stands beside the directory, becomes the base.
    fn take_over_old_file(&mut self, host: &mut dyn Host) -> Result<(), String> {
        let name = self.config.appendfilename.clone();
        let manifest = &self.aof.manifest;
        let was_interrupted = manifest.increments.is_empty()
            && manifest.base.as_ref().is_some_and(|base| base.name == name)
            && host.aof_file_size(&name).is_err();
        if !manifest.is_empty() && !was_interrupted || !host.has_old_aof_file(&name) {
            return Ok(());
        }
        let text = format!("file {name} seq 1 type b\n");
        let manifest = Manifest::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        self.save_manifest(host, manifest)?;
        host.move_old_aof_file(&name)?;
        let text = format!("Successfully migrated an old-style AOF file ({name}) into the AOF directory.");
        host.log(LogLevel::Notice, &text);
        Ok(())
    }

    /// Loads up to as many bytes as `buffer` holds. True after the last file.
    ///
    /// # Errors
    /// The files cannot be loaded: the reason.
    pub(crate) fn load_aof_piece(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        load: &mut AofLoad,
        buffer: &mut [u8],
    ) -> Result<bool, String> {
        let Some(name) = load.files.front().cloned() else { return Ok(true) };
        let count = host
            .read_aof_piece(&name, load.position, buffer)
            .map_err(|reason| format!("Unrecoverable error reading the append only file {name}: {reason}"))?;
        if count == 0 {
            self.end_aof_file(now, host, load, &name)?;
            load.files.pop_front();
            load.begin_file(host.now());
            return Ok(load.files.is_empty());
        }
        load.position += count as u64;
        load.loaded_bytes += count as u64;
        self.load_aof_bytes(now, host, load, &name, &buffer[..count])?;
        Ok(false)
    }

    fn load_aof_bytes(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        load: &mut AofLoad,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), String> {
        let mut rest: Vec<u8>;
        let mut bytes = bytes;
        loop {
            match &mut load.part {
                Part::Unknown(start) => {
                    start.extend_from_slice(bytes);
                    if start.len() < SIGNATURE.len() && SIGNATURE.starts_with(start) {
                        return Ok(());
                    }
                    rest = std::mem::take(start);
                    load.part = if rest.starts_with(SIGNATURE) {
                        host.log(LogLevel::Notice, "Reading RDB base file on AOF loading...");
                        // What has expired is deleted by a command that follows.
                        let options = LoadOptions {
                            drop_expired: false,
                            lfu: self.options.lfu,
                            check_checksum: self.config.rdbchecksum,
                            ..LoadOptions::new(now, self.build_options())
                        };
                        Part::Base(Box::new(Loader::new(options)))
                    } else {
                        Part::Commands(CommandReader::new(0))
                    };
                    bytes = &rest;
                }
                Part::Base(loader) => {
                    let is_done = loader.feed(&mut self.keyspace, bytes).map_err(|error| {
                        format!("Error reading the RDB base file {name}, AOF loading aborted: {error}")
                    })?;
                    if !is_done {
                        return Ok(());
                    }
                    // Files of Redis 4 to 6 go on with commands.
                    load.valid_bytes = loader.offset();
                    rest = loader.take_rest();
                    self.note_loaded_base(host, loader);
                    load.part = Part::Commands(CommandReader::new(load.valid_bytes));
                    bytes = &rest;
                }
                Part::Commands(reader) => {
                    reader.feed(bytes);
                    while let Some(request) = match reader.next() {
                        Ok(request) => request,
                        Err(error) => return self.cut_lost_sectors(host, load, name, &error),
                    } {
                        apply(self, now, host, &mut load.session, &request, name)?;
                        if load.session.transaction.is_none() {
                            load.valid_bytes = reader.offset();
                        }
                    }
                    return Ok(());
                }
            }
        }
    }

    fn note_loaded_base(&mut self, host: &mut dyn Host, loader: &Loader) {
        let loaded = loader.loaded();
        self.persistence.loaded_keys = loaded.keys;
        self.persistence.loaded_expired_keys = loaded.expired;
        self.keep_beside_keys(host, loaded, false);
        let text = format!("Done loading RDB, keys loaded: {}, keys expired: 0.", loaded.keys);
        host.log(LogLevel::Notice, &text);
    }

    /// The current file has been read to its end.
    fn end_aof_file(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        load: &mut AofLoad,
        name: &str,
    ) -> Result<(), String> {
        let is_whole = match &load.part {
            Part::Unknown(start) => start.is_empty(),
            Part::Base(_) => {
                let text =
                    format!("Error reading the RDB base file {name}, AOF loading aborted: it ends too early");
                return Err(text);
            }
            Part::Commands(reader) => reader.is_at_boundary() && load.session.transaction.is_none(),
        };
        let is_base = self.aof.manifest.base.as_ref().is_some_and(|base| base.name == name);
        if !is_whole {
            self.cut_torn_file(host, load, name)?;
        }
        let seconds = now.monotonic.since(load.file_began).as_secs_f64();
        let kind = if is_base { "base" } else { "incr" };
        host.log(LogLevel::Notice, &format!("DB loaded from {kind} file {name}: {seconds:.3} seconds"));
        Ok(())
    }

    /// The last file may end in the middle of a command, if the configuration says so: the server was killed.
    fn cut_torn_file(&self, host: &mut dyn Host, load: &AofLoad, name: &str) -> Result<(), String> {
        if load.session.transaction.is_some() {
            let text = format!("Revert incomplete MULTI/EXEC transaction in AOF file {name}");
            host.log(LogLevel::Warning, &text);
        }
        if !self.config.aof_load_truncated {
            return Err(format!(
                "Unexpected end of file reading the append only file {name}. You can: 1) Make a backup of your AOF file, \
                 then use ./redis-check-aof --fix <filename.manifest>. 2) Alternatively you can set the \
                 'aof-load-truncated' configuration option to yes and restart the server."
            ));
        }
        if load.files.len() > 1 {
            return Err(format!("Fatal error: the truncated file {name} is not the last file"));
        }
        let offset = load.valid_bytes;
        let text = format!("!!! Warning: short read while loading the AOF file {name}!!!");
        host.log(LogLevel::Warning, &text);
        host.log(LogLevel::Warning, &format!("!!! Truncating the AOF {name} at offset {offset} !!!"));
        host.truncate_aof_file(name, offset)
            .map_err(|reason| format!("Error truncating the AOF file {name}: {reason}"))?;
        let text = format!("AOF {name} loaded anyway because aof-load-truncated is enabled");
        host.log(LogLevel::Warning, &text);
        Ok(())
    }

    /// Something stands in the file that is no command. A power cut may leave that behind what was synced: sectors that did
    /// not reach the disk are zeros, while later ones may be there. Such an end is cut off like one that is too short.
    fn cut_lost_sectors(
        &self,
        host: &mut dyn Host,
        load: &mut AofLoad,
        name: &str,
        error: &MalformedCommand,
    ) -> Result<(), String> {
        let refused = format!(
            "Bad file format reading the append only file {name}: make a backup of your AOF file, then use \
             ./redis-check-aof --fix <filename.manifest> ({error})"
        );
        let size = host.aof_file_size(name)?;
        let is_last = load.files.len() == 1
            && self.aof.manifest.increments.last().is_some_and(|file| file.name == name);
        let is_near_end = size.saturating_sub(error.offset) <= TORN_END_MAX_BYTES;
        if !is_last || !is_near_end || !self.config.aof_load_truncated {
            return Err(refused);
        }
        // Up to the end of a sector: zeros may go on behind what is looked at.
        let end = error.position.min(error.offset + LOST_SECTORS_SOUGHT_BYTES).next_multiple_of(SECTOR_BYTES);
        let length = end + SECTOR_BYTES - error.offset;
        let mut bytes = vec![0; length as usize];
        let mut count = 0;
        while count < bytes.len() {
            match host.read_aof_piece(name, error.offset + count as u64, &mut bytes[count..])? {
                0 => break,
                more => count += more,
            }
        }
        if !has_lost_sector(&bytes[..count], error.offset, size) {
            return Err(refused);
        }
        host.log(
            LogLevel::Warning,
            &format!("Sectors of the AOF file {name} never reached the disk ({error})"),
        );
        self.cut_torn_file(host, load, name)?;
        load.position = load.valid_bytes;
        load.session.transaction = None;
        load.part = Part::Commands(CommandReader::new(load.valid_bytes));
        Ok(())
    }

    /// All files have been loaded.
    pub(crate) fn note_aof_loaded(&mut self, load: &AofLoad) {
        self.changes_since_save = 0;
        self.aof.current_size = load.total_bytes;
        self.aof.base_size = load.base_bytes;
    }

    /// DEBUG LOADAOF: loads what the files hold, in the place of the data.
    ///
    /// # Errors
    /// The reason; the data are lost as far as they were not loaded.
    pub(crate) fn load_aof_again(&mut self, now: Now, host: &mut dyn Host) -> Result<(), String> {
        /// Bytes loaded at once.
        const PIECE_BYTES: usize = 1024 * 1024;
        if let Some(mut load) = self.begin_aof_load(now, host)? {
            let mut buffer = vec![0; PIECE_BYTES];
            while !self.load_aof_piece(now, host, &mut load, &mut buffer)? {}
            self.note_aof_loaded(&load);
        }
        Ok(())
    }
}

/// Whether bytes that begin at `offset` of a file of this size hold zeros that go on to the end of a sector, or of the file.
fn has_lost_sector(bytes: &[u8], offset: u64, size: u64) -> bool {
    let ends = |end: usize| {
        let end = offset + end as u64;
        end.is_multiple_of(SECTOR_BYTES) || end == size
    };
    // Words may hold zeros of their own; a few of them at the end of a sector are no sign.
    const ZEROS_MIN: usize = 8;
    let mut zeros = 0;
    bytes.iter().enumerate().any(|(index, byte)| {
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        let is_over = bytes.get(index + 1).is_none_or(|next| *next != 0);
        zeros > 0 && is_over && ends(index + 1) && (zeros >= ZEROS_MIN || zeros == index + 1)
    })
}

/// Carries out a command. Its errors are of no interest: they were the same when it ran first.
fn apply(
    node: &mut Node,
    now: Now,
    host: &mut dyn Host,
    session: &mut Session,
    request: &OwnedRequest,
    name: &str,
) -> Result<(), String> {
    let mark = session.output.mark();
    let known = node.execute_from_file(now, host, NOBODY, session, request.as_request());
    session.output.truncate(mark);
    if known {
        return Ok(());
    }
    let command = String::from_utf8_lossy(request.as_request().argument(0)).into_owned();
    Err(format!("Unknown command '{command}' reading the append only file {name}"))
}
