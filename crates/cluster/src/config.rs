//! What the configuration says to the cluster machine.

use crate::ClientAddress;
use std::sync::Arc;

/// The bus port without `cluster-port` is the client port plus this.
pub const BUS_PORT_OFFSET: u16 = 10_000;

/// `replica-priority` if nobody says otherwise.
pub const DEFAULT_PRIORITY: u32 = 100;

/// Which of a node's addresses clients are told (`cluster-preferred-endpoint-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointKind {
    /// The IP address.
    #[default]
    Ip,
    /// The announced host name.
    Hostname,
    /// None: the client goes on with the address it used.
    Unknown,
}

/// The directives the machine needs; a changed one arrives as a whole new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// `port`.
    pub port: u16,
    /// `tls-port`, 0 if there is none.
    pub tls_port: u16,
    /// `tls-cluster`.
    pub tls_cluster: bool,
    /// `cluster-port`, 0 for the client port plus 10000.
    pub bus_port: u16,
    /// `cluster-announce-ip`.
    pub announce_host: Option<Arc<str>>,
    /// `cluster-announce-port`, 0 if not set.
    pub announce_port: u16,
    /// `cluster-announce-tls-port`, 0 if not set.
    pub announce_tls_port: u16,
    /// `cluster-announce-bus-port`, 0 if not set.
    pub announce_bus_port: u16,
    /// `cluster-announce-hostname`.
    pub announce_hostname: Option<Arc<str>>,
    /// `cluster-announce-human-nodename`.
    pub announce_human_name: Option<Arc<str>>,
    /// `cluster-announce-client-ipv4`, `-ipv6`, `-port` and `-tls-port`; nothing if none is set.
    pub announce_client: Option<Arc<ClientAddress>>,
    /// `cluster-preferred-endpoint-type`.
    pub preferred_endpoint: EndpointKind,
    /// `cluster-node-timeout` in milliseconds.
    pub node_timeout_ms: u64,
    /// `cluster-ping-interval` in milliseconds: how often some node is pinged even if nothing calls for it.
    pub ping_interval_ms: u64,
    /// `cluster-replica-validity-factor`; 0 lets a replica with data of any age stand for election.
    pub replica_validity_factor: u64,
    /// `repl-ping-replica-period` in seconds.
    pub replication_ping_period_s: u64,
    /// `cluster-migration-barrier`.
    pub migration_barrier: usize,
    /// `cluster-allow-replica-migration`.
    pub allow_replica_migration: bool,
    /// `cluster-require-full-coverage`.
    pub require_full_coverage: bool,
    /// `cluster-replica-no-failover`.
    pub replica_no_failover: bool,
    /// `cluster-allow-reads-when-down`.
    pub allow_reads_when_down: bool,
    /// `cluster-allow-pubsubshard-when-down`.
    pub allow_shard_publish_when_down: bool,
    /// Writes nodes.conf as Redis 7.0 does, without the fields 7.2 added (`rdb-version-compat 10`).
    pub nodes_conf_without_auxiliary: bool,
    /// `cluster-fast-failure-detection`.
    pub fast_failure_detection: bool,
    /// `replica-priority`: of replicas that are all Shoal the one with the least stands for election first; 0: never by itself.
    pub replica_priority: u32,
    /// The node shows its peers that it is Shoal, so that what only Shoal does is done; without it, it keeps to what Redis
    /// does. For comparisons in simulations.
    pub announces_shoal: bool,
    /// `DEBUG DROP-CLUSTER-PACKET-FILTER`: the type number of messages to ignore, -1 for none, -2 for all.
    pub drop_packet_filter: i32,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            port: 6379,
            tls_port: 0,
            tls_cluster: false,
            bus_port: 0,
            announce_host: None,
            announce_port: 0,
            announce_tls_port: 0,
            announce_bus_port: 0,
            announce_hostname: None,
            announce_human_name: None,
            announce_client: None,
            preferred_endpoint: EndpointKind::Ip,
            node_timeout_ms: 15_000,
            ping_interval_ms: 1000,
            replica_validity_factor: 10,
            replication_ping_period_s: 10,
            migration_barrier: 1,
            allow_replica_migration: true,
            require_full_coverage: true,
            replica_no_failover: false,
            allow_reads_when_down: false,
            allow_shard_publish_when_down: true,
            nodes_conf_without_auxiliary: false,
            fast_failure_detection: true,
            replica_priority: DEFAULT_PRIORITY,
            announces_shoal: true,
            drop_packet_filter: -1,
        }
    }
}

/// The ports a node announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnouncedPorts {
    /// The client port (TLS under `tls-cluster`).
    pub port: u16,
    /// The other client port, 0 if there is none.
    pub other_port: u16,
    /// The bus port.
    pub bus_port: u16,
}

/// Machine and executor do not suspect each other of hanging earlier than after this, however small node-timeout is:
/// both speak ten times a second at most.
const MIN_SILENCE_MS: u64 = 500;

impl ClusterConfig {
    /// Whether this node, as a replica, replaces a failed primary without having been told to.
    pub fn stands_by_itself(&self) -> bool {
        !self.replica_no_failover && self.replica_priority != 0
    }

    /// How long, in milliseconds, the executor may make no progress before the bus says nothing for it: a quarter of
    /// node-timeout. Silence alone harms nobody; the others wait for the whole node timeout, and then take over hardly later
    /// than from a Redis, which is silent as soon as it hangs.
    pub fn silent_after_ms(&self) -> u64 {
        (self.node_timeout_ms / 4).max(MIN_SILENCE_MS)
    }

    /// How long, in milliseconds, the machine may say nothing before the executor takes it to be stuck, and serves nothing:
    /// half of node-timeout.
    pub fn stuck_after_ms(&self) -> u64 {
        (self.node_timeout_ms / 2).max(MIN_SILENCE_MS)
    }

    /// The port the bus listens on.
    pub fn bus_listen_port(&self) -> u16 {
        if self.bus_port != 0 { self.bus_port } else { self.client_port().saturating_add(BUS_PORT_OFFSET) }
    }

    /// The ports to announce, computed as Redis does.
    pub fn announced_ports(&self) -> AnnouncedPorts {
        let mut ports = AnnouncedPorts {
            port: self.client_port(),
            other_port: if self.tls_cluster { self.port } else { 0 },
            bus_port: self.bus_listen_port(),
        };
        if self.tls_cluster && self.announce_tls_port != 0 {
            ports.port = self.announce_tls_port;
            ports.other_port = self.announce_port;
        } else if self.announce_port != 0 {
            ports.port = self.announce_port;
        }
        if self.announce_bus_port != 0 {
            ports.bus_port = self.announce_bus_port;
        }
        ports
    }

    fn client_port(&self) -> u16 {
        if self.tls_cluster { self.tls_port } else { self.port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_ports() {
        let mut config = ClusterConfig { port: 7000, ..ClusterConfig::default() };
        let ports = |config: &ClusterConfig| {
            let ports = config.announced_ports();
            (ports.port, ports.other_port, ports.bus_port)
        };
        assert_eq!(ports(&config), (7000, 0, 17000));
        config.announce_port = 1;
        config.announce_bus_port = 2;
        assert_eq!(ports(&config), (1, 0, 2));
        config.tls_cluster = true;
        config.tls_port = 7001;
        config.announce_tls_port = 3;
        assert_eq!(ports(&config), (3, 1, 2));
    }
}
