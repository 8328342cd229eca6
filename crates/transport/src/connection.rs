//! One connection: its socket and the reader of its requests.

use mio::net::{TcpStream, UnixStream};
use shoal_node::Handle;
use shoal_protocol::RequestReader;
use shoal_session::Identity;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, IoSlice, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// A socket of either kind.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Unix(stream) => stream.write_vectored(slices),
        }
    }

    pub fn source(&mut self) -> &mut dyn mio::event::Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }

    /// The error of a connection that was being made.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
        }
    }

    /// Sets up a fresh TCP connection: no delay, probes when idle.
    pub fn configure(&self, keepalive_seconds: u32) {
        let Self::Tcp(stream) = self else { return };
        let socket = SockRef::from(stream);
        // A socket that refuses an option still works.
        let _ = socket.set_tcp_nodelay(true);
        if keepalive_seconds > 0 {
            let interval = Duration::from_secs(u64::from(keepalive_seconds / 3).max(1));
            let keepalive = TcpKeepalive::new()
                .with_time(Duration::from_secs(u64::from(keepalive_seconds)))
                .with_interval(interval)
                .with_retries(3);
            let _ = socket.set_tcp_keepalive(&keepalive);
        }
    }

    /// Lets the system hold back small packets, to be joined.
    pub fn delay_small_packets(&self) {
        if let Self::Tcp(stream) = self {
            // A socket that refuses the option still works.
            let _ = SockRef::from(stream).set_tcp_nodelay(false);
        }
    }

    /// Who is at the other end.
    pub fn identity(&self, unix_path: &str) -> Identity {
        match self {
            Self::Tcp(stream) => {
                let peer = stream.peer_addr().ok();
                let local = stream.local_addr().ok();
                let text = |address: Option<std::net::SocketAddr>| {
                    address.map_or_else(|| "?:0".to_owned(), |address| address.to_string())
                };
                Identity {
                    is_local: peer.is_some_and(|peer| is_loopback(peer.ip())),
                    address: text(peer),
                    local_address: text(local),
                    is_unix_socket: false,
                    descriptor: stream.as_raw_fd(),
                }
            }
            Self::Unix(stream) => Identity {
                address: format!("{unix_path}:0"),
                local_address: format!("{unix_path}:0"),
                is_local: true,
                is_unix_socket: true,
                descriptor: stream.as_raw_fd(),
            },
        }
    }
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
        }
    }
}

/// Begins to connect from a given local address.
///
/// # Errors
/// The system's, or the address is none.
pub fn connect_from(source: &str, target: std::net::SocketAddr) -> io::Result<TcpStream> {
    let source: IpAddr = source.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(target),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.bind(&socket2::SockAddr::from(std::net::SocketAddr::new(source, 0)))?;
    match socket.connect(&socket2::SockAddr::from(target)) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client, or a replica.
    Client,
    /// The primary that this node follows.
    Primary,
    /// A node that slots are moved to.
    Target,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    pub stream: Stream,
    pub reader: RequestReader,
    pub handle: Handle,
    pub purpose: Purpose,
    /// The last read filled its buffer: more may have arrived.
    pub may_have_input: bool,
    /// The peer sends nothing more: what is there has to be read to its end, no further event will say so.
    pub is_read_closed: bool,
    /// Complete requests may wait in the reader: the bound of a turn was reached, or the client had to wait.
    pub may_have_requests: bool,
    /// It stands in the list of connections to be read in the next turn.
    pub is_queued: bool,
    /// The socket takes no more bytes until it reports so.
    pub is_write_blocked: bool,
    /// The peer has closed its side.
    pub is_ended: bool,
}

impl Connection {
    pub fn new(stream: Stream, handle: Handle, purpose: Purpose) -> Self {
        Self {
            stream,
            reader: RequestReader::new(),
            handle,
            purpose,
            may_have_input: false,
            is_read_closed: false,
            may_have_requests: false,
            is_queued: false,
            is_write_blocked: false,
            is_ended: false,
        }
    }
}
