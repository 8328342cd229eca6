//! What is asked of a server before the load begins.

use super::options::Options;
use crate::connection::{Address, Connection};
use crate::console::{self, err};
use crate::exit::{Exit, Step};
use shoal_protocol::value::Value;

/// How the server keeps its data, for the report: it decides how fast writing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerConfiguration {
    pub save: String,
    pub appendonly: String,
}

impl ServerConfiguration {
    /// Asks the server; `None` if it cannot be reached or does not tell.
    ///
    /// # Errors
    /// It wants a password.
    pub(super) fn fetch(address: &Address, options: &Options) -> Step<Option<Self>> {
        let Some(mut connection) = open(address, options)? else { return Ok(None) };
        let mut setting = |name: &str| -> Step<Option<String>> {
            let Ok(reply) = connection.call(&["CONFIG", "GET", name]) else { return Ok(None) };
            if let Some(error) = reply.as_error().filter(|error| error.starts_with("NOAUTH")) {
                complain(address, &error);
                return Err(Exit(1));
            }
            Ok(reply.field(name).and_then(Value::as_text).map(|text| text.into_owned()))
        };
        let (save, appendonly) = (setting("save")?, setting("appendonly")?);
        Ok(save.zip(appendonly).map(|(save, appendonly)| Self { save, appendonly }))
    }
}

/// Connects and authenticates; `None` if the server cannot be reached, which is printed.
///
/// # Errors
/// The password is wrong.
pub(super) fn open(address: &Address, options: &Options) -> Step<Option<Connection>> {
    let mut connection = match Connection::open(address) {
        Ok(connection) => connection,
        Err(error) => {
            err!("Could not connect to Redis at {address}: {}", console::error_text(&error));
            return Ok(None);
        }
    };
    if let Some(words) = authentication(options) {
        match connection.call(&words) {
            Ok(reply) => {
                if let Some(error) = reply.as_error() {
                    complain(address, &error);
                    return Err(Exit(1));
                }
            }
            Err(_) => {
                err!("ERROR: failed to fetch reply from {address}");
                return Ok(None);
            }
        }
    }
    Ok(Some(connection))
}

/// The AUTH command, if there is a password.
pub(super) fn authentication(options: &Options) -> Option<Vec<&[u8]>> {
    let password = options.password.as_deref()?;
    let mut words: Vec<&[u8]> = vec![b"AUTH"];
    words.extend(options.user.as_deref());
    words.push(password);
    Some(words)
}

fn complain(address: &Address, error: &str) {
    err!("Node {address} replied with error:\n{error}");
}
