//! Connections between nodes, and what becomes of messages on them.

use crate::scenario::FaultRates;
use shoal_cluster::LinkId;
use shoal_machine::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    pub node: usize,
    pub incarnation: u32,
    pub link: LinkId,
}

/// How the network is at the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quality {
    pub loss_ppm: u64,
    pub duplicates_ppm: u64,
    pub refused_ppm: u64,
    pub min_delay_us: u64,
    pub max_delay_us: u64,
    pub reorder: bool,
}

impl Quality {
    pub(crate) fn of(rates: &FaultRates) -> Self {
        Self {
            loss_ppm: rates.loss_ppm,
            duplicates_ppm: rates.duplicates_ppm,
            reorder: rates.reorder,
            ..Self::good()
        }
    }

    pub(crate) fn good() -> Self {
        Self {
            loss_ppm: 0,
            duplicates_ppm: 0,
            refused_ppm: 0,
            min_delay_us: 50,
            max_delay_us: 3000,
            reorder: false,
        }
    }
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Network {
    pub quality: Quality,
    /// Directions in which everything is lost, with how many partitions want it so.
    blocked: BTreeMap<(usize, usize), u32>,
    /// By node, the other end of each of its ends, and when the last message in that direction arrives.
    peers: Vec<BTreeMap<LinkId, (End, u64)>>,
}

impl Network {
    pub(crate) fn new() -> Self {
        Self { quality: Quality::good(), blocked: BTreeMap::new(), peers: Vec::new() }
    }

    pub(crate) fn delay_us(&self, rng: &mut Rng) -> u64 {
        let Quality { min_delay_us, max_delay_us, .. } = self.quality;
        min_delay_us + rng.below(max_delay_us - min_delay_us + 1)
    }

    pub(crate) fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked.contains_key(&(from, to))
    }

    /// Begins (or ends) a partition between a group and others.
    pub(crate) fn partition(
        &mut self,
        group: &BTreeSet<usize>,
        others: &BTreeSet<usize>,
        one_way: bool,
        begins: bool,
    ) {
        for inside in group.iter().copied() {
            for outside in others.difference(group).copied() {
                self.block(inside, outside, begins);
                if !one_way {
                    self.block(outside, inside, begins);
                }
            }
        }
    }

    fn block(&mut self, from: usize, to: usize, begins: bool) {
        let count = self.blocked.entry((from, to)).or_default();
        *count = if begins { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.blocked.remove(&(from, to));
        }
    }

    pub(crate) fn heal(&mut self) {
        self.blocked.clear();
        self.quality = Quality::good();
    }

    pub(crate) fn join(&mut self, first: End, second: End) {
        self.peers_of(first.node).insert(first.link, (second, 0));
        self.peers_of(second.node).insert(second.link, (first, 0));
    }

    fn peers_of(&mut self, node: usize) -> &mut BTreeMap<LinkId, (End, u64)> {
        if self.peers.len() <= node {
            self.peers.resize_with(node + 1, BTreeMap::new);
        }
        &mut self.peers[node]
    }

    /// Where a message sent over `link` arrives, and when; nowhere if it is lost, twice if it is doubled.
    pub(crate) fn carry(&mut self, now_us: u64, from: usize, link: LinkId, rng: &mut Rng) -> Vec<(u64, End)> {
        let quality = self.quality;
        let delays = [self.delay_us(rng), self.delay_us(rng)];
        let Some((peer, last_us)) = self.peers.get_mut(from).and_then(|peers| peers.get_mut(&link)) else {
            return Vec::new();
        };
        let peer_end = *peer;
        if self.blocked.contains_key(&(from, peer_end.node)) || rng.chance(quality.loss_ppm, 1_000_000) {
            return Vec::new();
        }
        let copies = if rng.chance(quality.duplicates_ppm, 1_000_000) { 2 } else { 1 };
        let mut arrivals = Vec::with_capacity(copies);
        for delay_us in delays.into_iter().take(copies) {
            let mut at_us = now_us + delay_us;
            if !quality.reorder {
                at_us = at_us.max(*last_us);
                *last_us = at_us;
            }
            arrivals.push((at_us, peer_end));
        }
        arrivals
    }

    /// The other end of a connection.
    pub(crate) fn peer(&self, node: usize, link: LinkId) -> Option<End> {
        self.peers.get(node)?.get(&link).map(|&(peer, _)| peer)
    }

    /// Forgets a connection at one end; the other end, to be told, if it still is there.
    pub(crate) fn close(&mut self, node: usize, link: LinkId) -> Option<(u64, End)> {
        let (peer, last_us) = self.peers.get_mut(node)?.remove(&link)?;
        Some((last_us, peer))
    }

    /// Forgets all connections of a node that crashed, and returns their other ends.
    pub(crate) fn close_all(&mut self, node: usize) -> Vec<End> {
        std::mem::take(self.peers_of(node)).into_values().map(|(peer, _)| peer).collect()
    }
}
