//! `--rdb` and `--functions-rdb`: an RDB file by way of replication.

use super::{connection, sync};
use crate::connection::Connection;
use crate::console::{self, err};
use crate::exit::{Exit, Step, fail};
use crate::session::Session;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Fetches the file.
pub(super) fn run(session: &mut Session) -> Step {
    let Some(path) = session.options.rdb_file.clone() else { return Err(Exit(1)) };
    sync::configure(session, "capa", "eof")?;
    sync::configure(session, "rdb-only", "1")?;
    if session.options.functions_only && !sync::configure(session, "rdb-filter-only", "functions")? {
        fail!("Failed requesting functions only RDB from server, aborting");
    }
    fetch(connection(session)?, &path, &mut |_, _| ())?;
    session.connection = None;
    Ok(())
}

/// Asks a server for a snapshot and writes it to a file, or to standard output if that is `-`. The connection is of no
/// more use. `watch` hears how many bytes have come, and how many there are if the server says so.
pub(crate) fn fetch(
    connection: &mut Connection,
    path: &Path,
    watch: &mut dyn FnMut(u64, Option<u64>),
) -> Step {
    let payload = sync::start(connection)?;
    let name = path.display();
    match payload {
        sync::Payload::Length(length) => err!("SYNC sent to master, writing {length} bytes to '{name}'"),
        sync::Payload::Mark(_) => {
            err!("SYNC sent to master, writing bytes of bulk transfer until EOF marker to '{name}'");
        }
    }
    let to_output = path == Path::new("-");
    let mut file = None;
    if !to_output {
        match File::create(path) {
            Ok(created) => file = Some(created),
            Err(error) => fail!("Error opening '{name}': {}", console::error_text(&error)),
        }
    }
    let length = if let sync::Payload::Length(length) = payload { Some(length) } else { None };
    let mut arrived = 0;
    let count = sync::transfer(connection, payload, |bytes| {
        arrived += bytes.len() as u64;
        watch(arrived, length);
        match &mut file {
            None => console::write_out_bytes(bytes),
            Some(file) => {
                if let Err(error) = file.write_all(bytes) {
                    fail!("Error writing data to file: {}", console::error_text(&error));
                }
            }
        }
        Ok(())
    })?;
    match payload {
        sync::Payload::Length(_) => err!("Transfer finished with success."),
        sync::Payload::Mark(_) => err!("Transfer finished with success after {count} bytes"),
    }
    console::flush();
    if let Some(Err(error)) = file.map(|file| file.sync_all()) {
        fail!("Fail to fsync '{name}': {}", console::error_text(&error));
    }
    Ok(())
}
