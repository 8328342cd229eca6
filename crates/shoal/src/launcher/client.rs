//! A small blocking client for one node.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use shoal_protocol::value::{Decoder, Value, encode_request};

/// How long a node may take to accept a connection or to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why a node did not answer as hoped.
#[derive(Debug)]
pub(super) enum ClientError {
    /// It cannot be reached, or the connection broke.
    Connection(io::Error),
    /// It answered with an error.
    Refused(String),
    /// It sent something that is no reply.
    Garbled,
}

impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => write!(formatter, "no connection ({error})"),
            Self::Refused(error) => formatter.write_str(error),
            Self::Garbled => formatter.write_str("an answer that is no Redis reply"),
        }
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

/// A connection to a node of this machine.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    decoder: Decoder,
}

impl Client {
    /// Connects to the node at this port.
    pub(super) fn connect(port: u16) -> Result<Self, ClientError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, decoder: Decoder::new() })
    }

    /// Sends a command and waits for its reply. An error reply is an error.
    pub(super) fn call(&mut self, arguments: &[&str]) -> Result<Value, ClientError> {
        let mut request = Vec::new();
        encode_request(arguments, &mut request);
        self.stream.write_all(&request)?;
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.decoder.next_value() {
                Ok(Some(value)) => {
                    return match value.as_error() {
                        Some(error) => Err(ClientError::Refused(error.into_owned())),
                        None => Ok(value),
                    };
                }
                Ok(None) => {}
                Err(_) => return Err(ClientError::Garbled),
            }
            let length = self.stream.read(&mut buffer)?;
            if length == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.decoder.feed(buffer.get(..length).unwrap_or_default());
        }
    }

    /// Sends a command whose reply is text.
    pub(super) fn text(&mut self, arguments: &[&str]) -> Result<String, ClientError> {
        let reply = self.call(arguments)?;
        reply.as_text().map(std::borrow::Cow::into_owned).ok_or(ClientError::Garbled)
    }
}
