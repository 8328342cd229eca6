//! The connections to the primary: one for all, or another one for a snapshot alone.

use super::{CONNECTING, CONNECTING_CHANNEL, READS_PER_TURN, Server};
use crate::connection::{Connection, Purpose, Stream};
use mio::Interest;
use mio::net::TcpStream;
use shoal_machine::Now;
use shoal_node::{Handle, Host, Node};
use shoal_session::Identity;
use std::io;
use std::net::ToSocketAddrs;

/// What can become of a connection that is being made.
pub(super) enum Connecting {
    /// It still is.
    Unfinished,
    /// It cannot be made.
    Failed(io::Error),
    /// It is made, with this peer.
    Made(Identity),
}

impl Server {
    pub(super) fn read_primary(&mut self, connection: &mut Connection) {
        for _ in 0..READS_PER_TURN {
            if !self.node.wants_primary_input(connection.handle) {
                return;
            }
            self.read_link(connection, Node::primary_input);
            if connection.is_ended || !connection.may_have_input {
                return;
            }
        }
    }

    /// Reads once from a connection that this server has made, and gives `take` what has come.
    pub(super) fn read_link(
        &mut self,
        connection: &mut Connection,
        take: fn(&mut Node, Now, &mut dyn Host, Handle, &[u8]),
    ) {
        match connection.stream.read(&mut self.shared_buffer) {
            Ok(0) => {
                connection.is_ended = true;
                connection.may_have_input = false;
            }
            Ok(count) => {
                connection.may_have_input = count == self.shared_buffer.len() || connection.is_read_closed;
                let now = self.host.clock.now();
                take(&mut self.node, now, &mut self.host, connection.handle, &self.shared_buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                connection.may_have_input = false;
                connection.is_ended = error.kind() != io::ErrorKind::WouldBlock;
            }
        }
    }

    pub(super) fn connect_primary(&mut self, ticket: u64, name: &str, port: u16, is_channel: bool) {
        match self.begin_to_connect(name, port) {
            Ok(stream) => {
                let mut stream = Stream::Tcp(stream);
                let interests = Interest::READABLE | Interest::WRITABLE;
                let token = if is_channel { CONNECTING_CHANNEL } else { CONNECTING };
                if self.host.registry.register(stream.source(), token, interests).is_ok() {
                    *self.connecting_mut(is_channel) = Some((ticket, stream));
                }
            }
            Err(error) => self.primary_unreachable(ticket, is_channel, &error),
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

    fn connecting_mut(&mut self, is_channel: bool) -> &mut Option<(u64, Stream)> {
        if is_channel { &mut self.connecting_channel } else { &mut self.connecting }
    }

    fn primary_unreachable(&mut self, ticket: u64, is_channel: bool, error: &io::Error) {
        let (now, reason) = (self.host.clock.now(), describe(error));
        if is_channel {
            self.node.snapshot_channel_unreachable(now, &mut self.host, ticket, &reason);
        } else {
            self.node.primary_unreachable(now, &mut self.host, ticket, &reason);
        }
    }

    pub(super) fn finish_connecting(&mut self, is_channel: bool) {
        let Some((ticket, mut stream)) = self.connecting_mut(is_channel).take() else { return };
        match self.outcome_of(&mut stream) {
            Connecting::Unfinished => *self.connecting_mut(is_channel) = Some((ticket, stream)),
            Connecting::Failed(error) => self.primary_unreachable(ticket, is_channel, &error),
            Connecting::Made(identity) => {
                let now = self.host.clock.now();
                let handle = if is_channel {
                    self.node.snapshot_channel_connected(now, &mut self.host, ticket, identity)
                } else {
                    self.node.primary_connected(now, &mut self.host, ticket, identity)
                };
                // An attempt that has been given up meanwhile is closed.
                if let Some(handle) = handle {
                    self.add_connection(stream, handle, Purpose::Primary);
                }
            }
        }
    }

    /// What has become of a connection that was being made. One that is not any more is left to its new owner: it is not
    /// watched under its old token.
    pub(super) fn outcome_of(&mut self, stream: &mut Stream) -> Connecting {
        let failure = match (stream.take_error(), &*stream) {
            (Ok(Some(error)) | Err(error), _) => Some(error),
            (Ok(None), Stream::Tcp(tcp)) => tcp.peer_addr().err(),
            (Ok(None), Stream::Unix(_)) => None,
        };
        if failure.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::NotConnected) {
            return Connecting::Unfinished;
        }
        let _ = self.host.registry.deregister(stream.source());
        if let Some(error) = failure {
            return Connecting::Failed(error);
        }
        stream.configure(self.node.config().tcp_keepalive_seconds);
        Connecting::Made(stream.identity(&self.unix_path))
    }

    pub(super) fn disconnect_primary(&mut self) {
        for (_, stream) in [self.connecting.take(), self.connecting_channel.take()].iter_mut().flatten() {
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

/// A reason without the system's error number.
pub(super) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
