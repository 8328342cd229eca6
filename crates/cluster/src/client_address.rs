//! The address that a node tells clients, where it is not the one by which nodes reach each other (NAT, containers).
//!
//! The directives `cluster-announce-client-*`, the extensions of the bus and the fields of nodes.conf have the names of
//! Valkey 8 and 9.

use crate::view::NodeFacts;
use std::sync::Arc;

/// What a node announces for clients; what is not set is as for nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientAddress {
    /// For clients that are connected by IPv4.
    pub ipv4: Option<Arc<str>>,
    /// For clients that are connected by IPv6.
    pub ipv6: Option<Arc<str>>,
    /// The port without TLS, 0 if not set.
    pub port: u16,
    /// The port with TLS, 0 if not set.
    pub tls_port: u16,
}

/// How the client that asks is connected: that decides which address of a node it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Onlooker {
    /// By IPv6.
    pub is_ipv6: bool,
    /// By TLS.
    pub is_tls: bool,
}

impl ClientAddress {
    /// Nothing, if nothing is announced.
    pub fn if_any(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }
}

impl NodeFacts {
    /// The address to tell a client.
    pub fn host_for(&self, onlooker: Onlooker) -> &str {
        let announced = self.client.as_ref().and_then(|client| {
            if onlooker.is_ipv6 { client.ipv6.as_deref() } else { client.ipv4.as_deref() }
        });
        announced.unwrap_or(&self.host)
    }

    /// The client port to tell a client: the plain one for a client without TLS in a cluster with TLS.
    pub fn port_for(&self, onlooker: Onlooker, is_tls_cluster: bool) -> u16 {
        let announced = self
            .client
            .as_ref()
            .map_or(0, |client| if onlooker.is_tls { client.tls_port } else { client.port });
        if announced != 0 { announced } else { self.client_port(onlooker.is_tls != is_tls_cluster) }
    }
}
