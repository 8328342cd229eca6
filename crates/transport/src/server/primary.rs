//! The connections to the primary: one for all, or another one for a snapshot alone.

use super::{CONNECTING, CONNECTING_CHANNEL, READS_PER_TURN, Server};
use crate::connection::{Connection, Purpose, Stream};
use mio::Interest;
use mio::net::TcpStream;
use std::io;
use std::net::ToSocketAddrs;

impl Server {
    pub(super) fn read_primary(&mut self, connection: &mut Connection) {
        for _ in 0..READS_PER_TURN {
            if !self.node.wants_primary_input(connection.handle) {
                return;
            }
            match connection.stream.read(&mut self.shared_buffer) {
                Ok(0) => {
                    connection.is_ended = true;
                    connection.may_have_input = false;
                    return;
                }
                Ok(count) => {
                    connection.may_have_input =
                        count == self.shared_buffer.len() || connection.is_read_closed;
                    let now = self.host.clock.now();
                    let bytes = &self.shared_buffer[..count];
                    self.node.primary_input(now, &mut self.host, connection.handle, bytes);
                    if !connection.may_have_input {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    connection.may_have_input = false;
                    connection.is_ended = error.kind() != io::ErrorKind::WouldBlock;
                    return;
                }
            }
        }
    }

    pub(super) fn connect_primary(&mut self, name: &str, port: u16, is_channel: bool) {
        match self.begin_to_connect(name, port) {
            Ok(stream) => {
                let mut stream = Stream::Tcp(stream);
                let interests = Interest::READABLE | Interest::WRITABLE;
                let token = if is_channel { CONNECTING_CHANNEL } else { CONNECTING };
                if self.host.registry.register(stream.source(), token, interests).is_ok() {
                    *self.connecting_mut(is_channel) = Some(stream);
                }
            }
            Err(error) => self.primary_unreachable(is_channel, &error),
        }
    }

    /// Begins to connect to another server, from the configured address.
    pub(super) fn begin_to_connect(&self, name: &str, port: u16) -> io::Result<TcpStream> {
        let source = &self.node.config().bind_source_address;
        let address = (name, port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        if source.is_empty() {
            return TcpStream::connect(address);
        }
        crate::connection::connect_from(source, address)
    }

    fn connecting_mut(&mut self, is_channel: bool) -> &mut Option<Stream> {
        if is_channel { &mut self.connecting_channel } else { &mut self.connecting }
    }

    fn primary_unreachable(&mut self, is_channel: bool, error: &io::Error) {
        let (now, reason) = (self.host.clock.now(), describe(error));
        if is_channel {
            self.node.snapshot_channel_unreachable(now, &mut self.host, &reason);
        } else {
            self.node.primary_unreachable(now, &mut self.host, &reason);
        }
    }

    pub(super) fn finish_connecting(&mut self, is_channel: bool) {
        let Some(mut stream) = self.connecting_mut(is_channel).take() else { return };
        let now = self.host.clock.now();
        match failure_of(&stream) {
            Some(error) if error.kind() == io::ErrorKind::NotConnected => {
                *self.connecting_mut(is_channel) = Some(stream);
            }
            Some(error) => {
                let _ = self.host.registry.deregister(stream.source());
                self.primary_unreachable(is_channel, &error);
            }
            None => {
                let _ = self.host.registry.deregister(stream.source());
                stream.configure(self.node.config().tcp_keepalive_seconds);
                let identity = stream.identity(&self.unix_path);
                let handle = if is_channel {
                    self.node.snapshot_channel_connected(now, &mut self.host, identity)
                } else {
                    self.node.primary_connected(now, &mut self.host, identity)
                };
                self.add_connection(stream, handle, Purpose::Primary);
            }
        }
    }

    pub(super) fn disconnect_primary(&mut self) {
        for stream in [self.connecting.take(), self.connecting_channel.take()].iter_mut().flatten() {
            let _ = self.host.registry.deregister(stream.source());
        }
        // The node has forgotten the connection already.
        for place in &mut self.connections {
            if let Some(connection) = place.take_if(|connection| connection.purpose == Purpose::Primary) {
                let mut connection = connection;
                let _ = self.host.registry.deregister(connection.stream.source());
            }
        }
    }

    /// Goes on with loading what has come from the primary. It counts as a command: the bus reports that the executor is
    /// alive.
    pub(super) fn load_snapshot_piece(&mut self) {
        if !self.node.has_snapshot_to_load() {
            return;
        }
        if let Some(bus) = &self.host.bus {
            bus.command_begins();
        }
        let now = self.host.clock.now();
        self.node.load_snapshot_piece(now, &mut self.host);
        if let Some(bus) = &self.host.bus {
            bus.command_ended();
        }
    }
}

/// Why a connection that was being made cannot be used; [`io::ErrorKind::NotConnected`] if it is still being made.
pub(super) fn failure_of(stream: &Stream) -> Option<io::Error> {
    match (stream.take_error(), stream) {
        (Ok(Some(error)) | Err(error), _) => Some(error),
        (Ok(None), Stream::Tcp(tcp)) => tcp.peer_addr().err(),
        (Ok(None), Stream::Unix(_)) => None,
    }
}

/// A reason without the system's error number.
pub(super) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
