//! The layout of a cluster: which node is what. Pure.

/// How many hash slots there are.
pub(super) const SLOT_COUNT: u32 = 16384;
/// How far a node's bus port is from its port.
pub(super) const BUS_PORT_OFFSET: u16 = 10000;
/// Fewer primaries cannot elect a replica when one of them is lost.
const PRIMARIES_MIN: u16 = 3;
/// More nodes than this on one machine are a slip.
const NODES_MAX: u16 = 1000;

/// A cluster on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// The port of the first node; the others follow.
    pub port: u16,
    /// How many nodes there are.
    pub nodes: u16,
    /// How many replicas each primary has at least.
    pub replicas: u16,
}

impl Plan {
    /// Checks that such a cluster can be.
    ///
    /// # Errors
    /// Why it cannot, and what could.
    pub(super) fn new(port: u16, nodes: u16, replicas: u16) -> Result<Self, String> {
        let plan = Self { port, nodes, replicas };
        if nodes > NODES_MAX {
            return Err(format!("--nodes {nodes} is more than the {NODES_MAX} that fit one machine."));
        }
        if plan.primaries() < PRIMARIES_MIN {
            let needed = u32::from(PRIMARIES_MIN) * (u32::from(replicas) + 1);
            return Err(format!(
                "{nodes} nodes with {replicas} replicas per primary make {} primaries; a cluster needs \
                 {PRIMARIES_MIN} at least to survive the loss of one. Use --nodes {needed} or more, or fewer --replicas.",
                plan.primaries()
            ));
        }
        let last = u32::from(port) + u32::from(nodes) - 1 + u32::from(BUS_PORT_OFFSET);
        if port == 0 || last > u32::from(u16::MAX) {
            let highest = u32::from(u16::MAX) - u32::from(BUS_PORT_OFFSET) - u32::from(nodes) + 1;
            return Err(format!(
                "--port {port} leaves no room: each node uses its port and its port + {BUS_PORT_OFFSET}. \
                 Choose one from 1 to {highest}."
            ));
        }
        Ok(plan)
    }

    /// How many of the nodes begin as primaries: the first ones.
    pub(super) const fn primaries(&self) -> u16 {
        (self.nodes as u32 / (self.replicas as u32 + 1)) as u16
    }

    /// The ports of all nodes, primaries first.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        self.port..self.port.saturating_add(self.nodes)
    }

    /// The ports of the primaries, each with its first and last slot.
    pub(super) fn primary_slots(&self) -> Vec<(u16, u32, u32)> {
        let count = u32::from(self.primaries());
        let first_of = |index: u32| (index * SLOT_COUNT + count / 2) / count;
        let ports = self.ports().zip(0..count);
        ports.map(|(port, index)| (port, first_of(index), first_of(index + 1) - 1)).collect()
    }

    /// The ports of the replicas, each with that of its primary; nodes left over go round in turn.
    pub(super) fn replica_pairs(&self) -> Vec<(u16, u16)> {
        let primaries: Vec<u16> = self.ports().take(usize::from(self.primaries())).collect();
        self.ports().skip(primaries.len()).zip(primaries.iter().copied().cycle()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_one_owner() {
        for (nodes, replicas) in [(6, 1), (3, 0), (7, 0), (9, 2), (100, 1), (1000, 0)] {
            let plan = Plan::new(1000, nodes, replicas).unwrap();
            let mut next = 0;
            for (_, first, last) in plan.primary_slots() {
                assert_eq!(first, next);
                assert!(last >= first);
                next = last + 1;
            }
            assert_eq!(next, SLOT_COUNT, "{nodes} {replicas}");
        }
    }

    #[test]
    fn three_primaries_are_split_as_redis_splits_them() {
        let plan = Plan::new(30001, 6, 1).unwrap();
        assert_eq!(plan.primary_slots(), [(30001, 0, 5460), (30002, 5461, 10922), (30003, 10923, 16383)]);
        assert_eq!(plan.replica_pairs(), [(30004, 30001), (30005, 30002), (30006, 30003)]);
    }

    #[test]
    fn nodes_left_over_are_replicas() {
        let plan = Plan::new(1, 8, 1).unwrap();
        assert_eq!(plan.primaries(), 4);
        let plan = Plan::new(1, 7, 1).unwrap();
        assert_eq!(plan.replica_pairs(), [(4, 1), (5, 2), (6, 3), (7, 1)]);
    }

    #[test]
    fn impossible_plans_say_what_to_do() {
        assert!(Plan::new(30001, 4, 1).unwrap_err().contains("--nodes 6"));
        assert!(Plan::new(30001, 6, 65535).unwrap_err().contains("--nodes"));
        assert!(Plan::new(55531, 6, 1).unwrap_err().contains("1 to 55530"));
        assert!(Plan::new(55530, 6, 1).is_ok());
        assert!(Plan::new(0, 6, 1).is_err());
        assert!(Plan::new(1, 1001, 1).is_err());
    }
}
