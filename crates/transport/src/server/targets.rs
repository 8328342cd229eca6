//! The connections to nodes that slots are moved to.

use super::primary::{Connecting, describe};
use super::{READS_PER_TURN, Server};
use crate::connection::{Connection, Purpose, Stream};
use crate::host::{FIRST_CONNECTION, FIRST_TARGET};
use mio::{Interest, Token};
use shoal_node::Node;
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
        match self.outcome_of(&mut stream) {
            Connecting::Unfinished => self.targets.places[token - FIRST_TARGET] = Some((ticket, stream)),
            Connecting::Failed(error) => self.target_unreachable(ticket, &error),
            Connecting::Made(identity) => {
                let now = self.host.clock.now();
                let handle = self.node.target_connected(now, &mut self.host, ticket, identity);
                self.add_connection(stream, handle, Purpose::Target);
            }
        }
    }

    pub(super) fn read_target(&mut self, connection: &mut Connection) {
        for _ in 0..READS_PER_TURN {
            self.read_link(connection, Node::target_input);
            if connection.is_ended || !connection.may_have_input {
                return;
            }
        }
    }
}
