//! Connections between simulated executors: what is sent arrives in order, until the network or a process breaks them.

use crate::keys::Writes;
use crate::world::{Event, World};
use shoal_cluster::slot_migration::{JobName, LinkMessage};
use shoal_cluster::{NodeId, SlotRanges};

/// How long a broken connection may look whole, in microseconds.
const UNNOTICED_MAX_US: u64 = 3_000_000;

/// One side of a connection between two executors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub node: usize,
    pub incarnation: u32,
}

/// A connection between two executors.
#[derive(Debug)]
pub(crate) struct PeerLink {
    pub source: Peer,
    pub target: Peer,
    pub last_us: u64,
    pub is_broken: bool,
}

/// What goes over it.
#[derive(Clone, Debug)]
pub(crate) enum PeerMessage {
    Establish { name: JobName, source: NodeId, slots: SlotRanges },
    Status(JobName),
    Reply(Result<String, String>),
    Link(LinkMessage),
    Keys { slot: u16, writes: Writes },
    Change { slot: u16, write: u64 },
    Closed,
}

impl World {
    pub(crate) fn send_peer(&mut self, link: Option<u64>, from: usize, message: PeerMessage) {
        let delay_us = self.network.delay_us(&mut self.rng);
        let now_us = self.now_us;
        let Some(number) = link else { return };
        let Some(link) = self.peer_links.get_mut(&number) else { return };
        if link.is_broken {
            return;
        }
        let to_target = link.source.node == from;
        let other = if to_target { link.target.node } else { link.source.node };
        if self.network.is_blocked(from, other) {
            self.break_link(number);
            return;
        }
        let at_us = link.last_us.max(now_us + delay_us);
        link.last_us = at_us;
        self.queue.schedule(at_us, Event::Peer { link: number, to_target, message });
    }

    /// Nothing more arrives; each side notices some time.
    pub(crate) fn break_link(&mut self, number: u64) {
        let Some(link) = self.peer_links.get_mut(&number) else { return };
        if std::mem::replace(&mut link.is_broken, true) {
            return;
        }
        for to_target in [true, false] {
            let at_us = self.now_us + self.rng.below(UNNOTICED_MAX_US);
            self.queue.schedule(at_us, Event::Peer { link: number, to_target, message: PeerMessage::Closed });
        }
    }

    pub(crate) fn close_peer(&mut self, link: Option<u64>, from: usize) {
        self.send_peer(link, from, PeerMessage::Closed);
    }

    /// A process has ended: so have its connections.
    pub(crate) fn break_links_of(&mut self, node: usize) {
        let of_node = |link: &PeerLink| link.source.node == node || link.target.node == node;
        let numbers: Vec<u64> =
            self.peer_links.iter().filter(|(_, link)| of_node(link)).map(|(&number, _)| number).collect();
        numbers.into_iter().for_each(|number| self.break_link(number));
    }
}
