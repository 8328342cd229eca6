//! The connections to nodes that slots are moved to.

use super::primary::{describe, failure_of};
use super::{READS_PER_TURN, Server};
use crate::connection::{Connection, Purpose, Stream};
use crate::host::{FIRST_CONNECTION, FIRST_TARGET};
use mio::{Interest, Token};
use std::io;

/// Connections that may be in the making; as many as there are tokens for.
const CONNECTING_MAX: usize = FIRST_CONNECTION - FIRST_TARGET;

/// Connections that are being made, each with the node's name for it.
#[derive(Debug, Default)]
pub(super) struct Targets {
    places: [Option<(u64, Stream)>; CONNECTING_MAX],
}

impl Server {
    pub(super) fn connect_target(&mut self, ticket: u64, name: &str, port: u16) {
        let outcome = self.begin_to_connect(name, port).and_then(|stream| {
            let mut stream = Stream::Tcp(stream);
            let mut places = self.targets.places.iter_mut().enumerate();
            let free = places.find(|(_, place)| place.is_none());
            let (index, place) = free.ok_or(io::ErrorKind::OutOfMemory)?;
            let interests = Interest::READABLE | Interest::WRITABLE;
            self.host.registry.register(stream.source(), Token(FIRST_TARGET + index), interests)?;
            *place = Some((ticket, stream));
            Ok(())
        });
        if let Err(error) = outcome {
            self.target_unreachable(ticket, &error);
        }
    }

    fn target_unreachable(&mut self, ticket: u64, error: &io::Error) {
        let now = self.host.clock.now();
        self.node.target_unreachable(now, &mut self.host, ticket, &describe(error));
    }

    pub(super) fn finish_connecting_target(&mut self, token: usize) {
        let Some(place) = self.targets.places.get_mut(token - FIRST_TARGET) else { return };
        let Some((ticket, mut stream)) = place.take() else { return };
        match failure_of(&stream) {
            Some(error) if error.kind() == io::ErrorKind::NotConnected => *place = Some((ticket, stream)),
            Some(error) => {
                let _ = self.host.registry.deregister(stream.source());
                self.target_unreachable(ticket, &error);
            }
            None => {
                let _ = self.host.registry.deregister(stream.source());
                stream.configure(self.node.config().tcp_keepalive_seconds);
                let (now, identity) = (self.host.clock.now(), stream.identity(&self.unix_path));
                let handle = self.node.target_connected(now, &mut self.host, ticket, identity);
                self.add_connection(stream, handle, Purpose::Target);
            }
        }
    }

    pub(super) fn read_target(&mut self, connection: &mut Connection) {
        for _ in 0..READS_PER_TURN {
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
                    self.node.target_input(now, &mut self.host, connection.handle, bytes);
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
}
