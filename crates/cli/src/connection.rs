//! One blocking connection to a server.

use shoal_protocol::value::{DecodeError, Decoder, Value, encode_request};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How often an idle connection is probed, so that a dead peer is noticed during a long command.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Bytes asked of the socket at once.
const READ_LENGTH: usize = 64 * 1024;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A host name or address, and a port.
    Tcp { host: String, port: i64 },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Self::Unix(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// Why a connection failed while in use.
#[derive(Debug)]
pub(crate) enum ConnectionError {
    /// The socket said no.
    Io(io::Error),
    /// The server closed the connection.
    Closed,
    /// The server sent something that is not RESP.
    Protocol(DecodeError),
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => formatter.write_str(&crate::console::error_text(error)),
            Self::Closed => formatter.write_str("Server closed the connection"),
            Self::Protocol(error) => error.fmt(formatter),
        }
    }
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ConnectionError {
    /// Whether a time limit of [`Connection::limit_waiting`] ran out; the connection is as good as before.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::Io(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    /// Whether the peer has gone away, so that connecting again may help.
    pub(crate) fn is_disconnect(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Io(error) => {
                matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
            }
            Self::Protocol(_) => false,
        }
    }
}

/// The socket itself.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection with its buffers.
pub(crate) struct Connection {
    stream: Stream,
    decoder: Decoder,
    /// Requests not sent yet.
    pending: Vec<u8>,
    chunk: Vec<u8>,
}

impl Connection {
    /// Connects. All addresses of a name are tried, IPv4 first.
    pub(crate) fn open(address: &Address) -> io::Result<Self> {
        Self::open_within(address, None)
    }

    /// Connects; each address of a name may take so long.
    pub(crate) fn open_within(address: &Address, limit: Option<Duration>) -> io::Result<Self> {
        let stream = match address {
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
            Address::Tcp { host, port } => Stream::Tcp(connect_tcp(host, *port, limit)?),
        };
        Ok(Self { stream, decoder: Decoder::new(), pending: Vec::new(), chunk: vec![0; READ_LENGTH] })
    }

    /// Queues a request; [`Connection::flush`] or reading sends it.
    pub(crate) fn queue(&mut self, arguments: &[impl AsRef<[u8]>]) {
        encode_request(arguments, &mut self.pending);
    }

    /// Forgets what was queued and not sent.
    pub(crate) fn forget_queued(&mut self) {
        self.pending.clear();
    }

    /// Sends what was queued.
    pub(crate) fn flush(&mut self) -> Result<(), ConnectionError> {
        let pending = std::mem::take(&mut self.pending);
        self.write_all(&pending)?;
        self.pending = pending;
        self.pending.clear();
        Ok(())
    }

    /// Sends bytes as they are.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// The next value from the server, pushes included.
    pub(crate) fn receive_any(&mut self) -> Result<Value, ConnectionError> {
        if !self.pending.is_empty() {
            self.flush()?;
        }
        loop {
            if let Some(value) = self.decoder.next_value().map_err(ConnectionError::Protocol)? {
                return Ok(value);
            }
            let count = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut self.chunk),
                Stream::Unix(stream) => stream.read(&mut self.chunk),
            };
            match count {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(count) => self.decoder.feed(&self.chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next reply; pushes that arrive before it are dropped.
    pub(crate) fn receive(&mut self) -> Result<Value, ConnectionError> {
        loop {
            match self.receive_any()? {
                Value::Push(_) => {}
                value => return Ok(value),
            }
        }
    }

    /// Sends one request and waits for its reply.
    pub(crate) fn call(&mut self, arguments: &[impl AsRef<[u8]>]) -> Result<Value, ConnectionError> {
        self.queue(arguments);
        self.receive()
    }

    /// Reads bytes that are not RESP; first those that arrived together with the last reply.
    pub(crate) fn read_raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.decoder.is_at_boundary() {
            let rest = self.decoder.take_rest();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            self.decoder.feed(&rest[count..]);
            return Ok(count);
        }
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }

    /// Makes reading give up after `limit`, or wait for ever.
    pub(crate) fn limit_waiting(&self, limit: Option<Duration>) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(limit),
            Stream::Unix(stream) => stream.set_read_timeout(limit),
        }
    }

    /// A second handle of the same socket, for another thread to write to.
    pub(crate) fn clone_writer(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match &self.stream {
            Stream::Tcp(stream) => Box::new(stream.try_clone()?),
            Stream::Unix(stream) => Box::new(stream.try_clone()?),
        })
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

fn connect_tcp(host: &str, port: i64, limit: Option<Duration>) -> io::Result<TcpStream> {
    let port = u16::try_from(port).map_err(|_| io::Error::other("Servname not supported for ai_socktype"))?;
    let mut addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(std::net::SocketAddr::is_ipv6);
    let stream = match limit {
        None => TcpStream::connect(addresses.as_slice())?,
        Some(limit) => connect_to_one(&addresses, limit)?,
    };
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive.with_retries(3))?;
    Ok(stream)
}

fn connect_to_one(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let mut outcome = Err(io::Error::other("the name has no address"));
    for address in addresses {
        outcome = TcpStream::connect_timeout(address, limit);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
