//! Sockets that accept clients.

use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What keeps a server from listening.
#[derive(Debug)]
pub struct ListenError {
    /// The address or path.
    pub address: String,
    /// Why.
    pub reason: std::io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.address, self.reason)
    }
}

impl std::error::Error for ListenError {}

/// The listening sockets of one kind of service (clients, or the cluster bus).
#[derive(Debug, Default)]
pub struct Listeners {
    /// The TCP sockets.
    pub tcp: Vec<TcpListener>,
    /// The Unix socket.
    pub unix: Option<UnixListener>,
    unix_path: Option<PathBuf>,
    /// The addresses that are listened on, as they were given.
    pub addresses: Vec<String>,
}

impl Listeners {
    /// Listens on a port at each of the addresses. `*` and `::*` stand for all of IPv4 and IPv6; one that begins with `-`
    /// may be missing on this machine.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub fn bind_tcp(&mut self, addresses: &[String], port: u16, backlog: u32) -> Result<(), ListenError> {
        for given in addresses {
            let (address, is_optional) = match given.strip_prefix('-') {
                Some(address) => (address, true),
                None => (given.as_str(), false),
            };
            match listen(address, port, backlog) {
                Ok(sockets) => {
                    self.tcp.extend(sockets);
                    self.addresses.push(given.clone());
                }
                Err(reason) if is_optional && is_missing(&reason) => {}
                Err(reason) => return Err(ListenError { address: format!("{address}:{port}"), reason }),
            }
        }
        Ok(())
    }

    /// Listens on a Unix socket; an old file in its place is replaced. `permissions` of 0 leaves them to the umask.
    ///
    /// # Errors
    /// The path cannot be listened on.
    pub fn bind_unix(&mut self, path: &str, permissions: u32) -> Result<(), ListenError> {
        let attempt = || -> std::io::Result<UnixListener> {
            let _ = std::fs::remove_file(path);
            let listener = UnixListener::bind(path)?;
            if permissions != 0 {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(permissions))?;
            }
            Ok(listener)
        };
        self.unix = Some(attempt().map_err(|reason| ListenError { address: path.to_owned(), reason })?);
        self.unix_path = Some(Path::new(path).to_path_buf());
        Ok(())
    }

    /// The descriptors of the sockets. A forked child closes them, so that nobody finds the port taken when this process
    /// has ended.
    pub fn descriptors(&self) -> Vec<RawFd> {
        let unix = self.unix.iter().map(AsRawFd::as_raw_fd);
        self.tcp.iter().map(AsRawFd::as_raw_fd).chain(unix).collect()
    }

    /// Closes the sockets and removes the Unix socket's file.
    pub fn close(&mut self) {
        self.tcp.clear();
        self.unix = None;
        if let Some(path) = self.unix_path.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether the machine simply has no such address or protocol.
fn is_missing(reason: &std::io::Error) -> bool {
    let missing = [libc::EADDRNOTAVAIL, libc::EAFNOSUPPORT, libc::EPROTONOSUPPORT, libc::ESOCKTNOSUPPORT];
    reason.raw_os_error().is_some_and(|code| missing.contains(&code))
}

fn listen(address: &str, port: u16, backlog: u32) -> std::io::Result<Vec<TcpListener>> {
    let resolved: Vec<SocketAddr> = match address {
        "*" => vec![SocketAddr::from(([0, 0, 0, 0], port))],
        "::*" => vec![SocketAddr::from(([0u16; 8], port))],
        name => (name, port).to_socket_addrs()?.collect(),
    };
    resolved.into_iter().map(|address| listen_at(address, backlog)).collect()
}

fn listen_at(address: SocketAddr, backlog: u32) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(TcpListener::from_std(socket.into()))
}
