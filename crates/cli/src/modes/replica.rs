//! `--replica`, and SYNC as a command: prints what a primary sends its replicas.

use super::{connection, sync};
use crate::console::err;
use crate::exit::Step;
use crate::format::OutputFormat;
use crate::session::Session;
use std::time::Duration;

/// How long to wait before the primary is told that the payload has arrived: it looks only now and then whether its
/// child has ended.
const ONLINE_DELAY: Duration = Duration::from_secs(1);

/// Follows a primary until the connection breaks.
pub(super) fn run(session: &mut Session) -> Step {
    sync::configure(session, "capa", "eof")?;
    sync::configure(session, "rdb-filter-only", "")?;
    follow(session)
}

/// Starts replication on the session's connection and prints the commands that come.
pub(crate) fn follow(session: &mut Session) -> Step {
    let connection = connection(session)?;
    let payload = sync::start(connection)?;
    match payload {
        sync::Payload::Length(length) => {
            err!("SYNC with master, discarding {length} bytes of bulk transfer...");
        }
        sync::Payload::Mark(_) => {
            err!("SYNC with master, discarding bytes of bulk transfer until EOF marker...");
        }
    }
    let count = sync::transfer(connection, payload, |_| Ok(()))?;
    match payload {
        sync::Payload::Length(_) => err!("SYNC done. Logging commands from master."),
        sync::Payload::Mark(mark) => {
            err!("SYNC done after {} bytes. Logging commands from master.", count + mark.len() as u64);
            std::thread::sleep(ONLINE_DELAY);
            err!("sending REPLCONF ACK 0");
            // The primary answers nothing to this.
            connection.queue(&["REPLCONF", "ACK", "0"]);
        }
    }
    let format = std::mem::replace(&mut session.options.format, OutputFormat::Csv);
    let result = session.print_until_lost();
    session.options.format = format;
    result
}
