//! Routing against hand-made views: three nodes, of which number 0 is the one under test. Slot `{a}` is its own, slot
//! `{b}` is that of node 1, slot `{n}` is nobody's.

use crate::testing::{Fixture, cluster_view};
use shoal_cluster::view::{NodeKey, SlotOwners, ViewRole};
use shoal_cluster::{ClientAddress, ClusterView, EndpointKind, MachineMessage};
use shoal_protocol::slot::key_slot;
use std::collections::BTreeMap;
use std::sync::Arc;

const ME: NodeKey = NodeKey(0);
const OTHER: NodeKey = NodeKey(1);

fn slot(tag: &str) -> u16 {
    key_slot(tag.as_bytes())
}

fn view() -> ClusterView {
    let mut owners = SlotOwners::none();
    owners.set(slot("a"), Some(ME));
    owners.set(slot("b"), Some(OTHER));
    cluster_view(3, owners)
}

/// A cluster node with this view.
fn node_with(view: ClusterView) -> Fixture {
    node_configured(view, &[])
}

fn node_configured(view: ClusterView, directives: &[(&str, &str)]) -> Fixture {
    let mut all = vec![("cluster-enabled", "yes")];
    all.extend_from_slice(directives);
    let mut fixture = Fixture::with_configuration(&all);
    show(&mut fixture, view);
    fixture
}

fn show(fixture: &mut Fixture, mut view: ClusterView) {
    view.published_at = fixture.host.clock.monotonic;
    let message = MachineMessage::View { view: Arc::new(view), orders: Vec::new() };
    fixture.node.cluster_message(fixture.host.clock, &mut fixture.host, message);
}

/// Slot `{a}` on the way from node 0 to node 1.
fn migrating() -> ClusterView {
    ClusterView { migrating: Arc::new(BTreeMap::from([(slot("a"), OTHER)])), ..view() }
}

/// Slot `{b}` on the way from node 1 to node 0.
fn importing() -> ClusterView {
    ClusterView { importing: Arc::new(BTreeMap::from([(slot("b"), OTHER)])), ..view() }
}

/// Node 0 follows node 1.
fn as_replica() -> ClusterView {
    ClusterView { role: ViewRole::Replica(Some(OTHER)), ..view() }
}

const MOVED_B: &str = "-MOVED 3300 127.0.0.1:7001";
const ASK_A: &str = "-ASK 15495 127.0.0.1:7001";
const ASK_LATER: &str = "-TRYAGAIN Multiple keys request during rehashing of slot";
const CROSSES: &str = "-CROSSSLOT Keys in request don't hash to the same slot";
const UNBOUND: &str = "-CLUSTERDOWN Hash slot not served";
const DOWN: &str = "-CLUSTERDOWN The cluster is down";

#[test]
fn settled_slots() {
    let mut fixture = node_with(view());
    fixture.check_all(&[
        ("SET {a}1 v", "+OK"),
        ("MSET {a}1 v {a}2 w", "+OK"),
        ("GET {b}1", MOVED_B),
        ("GET {n}1", UNBOUND),
        ("MGET {a}1 {b}1", CROSSES),
        ("MGET {b}1 {a}1", CROSSES),
        // The first key decides before the others are looked at.
        ("MGET {n}1 {a}1", UNBOUND),
        ("MGET {a}1 {n}1", CROSSES),
        ("MGET {a}1 {a}1", "[\"v\", \"v\"]"),
        ("PING", "+PONG"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("SPUBLISH {b}c m", MOVED_B),
        ("SPUBLISH {a}c m", ":0"),
        ("SSUBSCRIBE {a}c {b}c", CROSSES),
        // ASKING has no meaning for a slot that is not on its way, and neither has READONLY on a primary.
        ("ASKING", "+OK"),
        ("GET {b}1", MOVED_B),
        ("READONLY", "+OK"),
        ("GET {b}1", MOVED_B),
        ("MIGRATE h 1 {b}1 0 10", MOVED_B),
    ]);
}

#[test]
fn transactions() {
    let mut fixture = node_with(view());
    fixture.check_all(&[
        ("MULTI", "+OK"),
        ("SET {a}1 v", "+QUEUED"),
        ("SET {b}1 v", MOVED_B),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("MULTI", "+OK"),
        ("SET {a}1 v", "+QUEUED"),
        ("GET {a}2", "+QUEUED"),
        ("EXEC", "[+OK, nil]"),
        ("WATCH {a}1", "+OK"),
        ("MULTI", "+OK"),
        ("SET {a}1 v", "+QUEUED"),
    ]);
    // The slot is lost between queuing and EXEC: the error comes as it is, and the transaction is over.
    let mut lost = view();
    let owners = Arc::make_mut(&mut lost.owners);
    owners.set(slot("a"), Some(OTHER));
    show(&mut fixture, lost);
    fixture.check_all(&[
        ("EXEC", "-MOVED 15495 127.0.0.1:7001"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("MULTI", "+OK"),
        ("PING", "+QUEUED"),
        ("EXEC", "[+PONG]"),
    ]);
}

#[test]
fn transactions_over_two_slots() {
    let mut owners = SlotOwners::none();
    owners.set(slot("a"), Some(ME));
    owners.set(slot("b"), Some(ME));
    let mut fixture = node_with(cluster_view(3, owners));
    fixture.check_all(&[
        ("MULTI", "+OK"),
        ("SET {a}1 v", "+QUEUED"),
        ("SET {b}1 v", "+QUEUED"),
        ("EXEC", CROSSES),
        ("EXISTS {a}1", ":0"),
    ]);
}

#[test]
fn slots_on_their_way_out() {
    let mut fixture = node_with(view());
    fixture.run("MSET {a}1 v {a}2 w");
    fixture.run("SET {a}gone v PX 1");
    show(&mut fixture, migrating());
    fixture.advance_ms(1);
    fixture.check_all(&[
        ("GET {a}1", "\"v\""),
        ("GET {a}3", ASK_A),
        ("SET {a}3 v", ASK_A),
        ("MGET {a}1 {a}2", "[\"v\", \"w\"]"),
        ("MGET {a}1 {a}3", ASK_LATER),
        ("MGET {a}3 {a}1", ASK_LATER),
        ("MGET {a}3 {a}4", ASK_A),
        ("MGET {a}3 {a}3", ASK_A),
        // What has expired is not here, though it has not been deleted yet.
        ("GET {a}gone", ASK_A),
        ("MGET {a}gone {a}1", ASK_LATER),
        ("GET {b}1", MOVED_B),
        // Channels stay until the slot is moved as a whole.
        ("SPUBLISH {a}c m", ":0"),
        // MIGRATE itself finds nothing, and says so.
        ("MIGRATE 127.0.0.1 7001 {a}3 0 10", "+NOKEY"),
        ("MULTI", "+OK"),
        ("GET {a}1", "+QUEUED"),
        ("GET {a}2", "+QUEUED"),
        ("EXEC", "[\"v\", \"w\"]"),
    ]);
    fixture.check_all(&[("MULTI", "+OK"), ("GET {a}1", "+QUEUED"), ("GET {a}2", "+QUEUED")]);
    let other = fixture.connect();
    fixture.check_as(other, "DEL {a}2", ":1");
    fixture.check("EXEC", ASK_LATER);
    fixture.check_all(&[("MULTI", "+OK"), ("GET {a}3", ASK_A), ("DISCARD", "+OK")]);
}

#[test]
fn slots_on_their_way_in() {
    let mut fixture = node_with(importing());
    fixture.check_all(&[
        ("GET {b}1", MOVED_B),
        ("ASKING", "+OK"),
        ("SET {b}1 v", "+OK"),
        ("GET {b}1", MOVED_B),
        ("ASKING", "+OK"),
        ("GET {b}2", "nil"),
        ("ASKING", "+OK"),
        ("MGET {b}1 {b}2", ASK_LATER),
        // The refused command has used ASKING up.
        ("GET {b}1", MOVED_B),
        ("ASKING", "+OK"),
        ("MGET {b}2 {b}2", "[nil, nil]"),
        ("ASKING", "+OK"),
        ("MSET {b}1 v {b}1 w", "+OK"),
        ("ASKING", "+OK"),
        ("ASKING", "+OK"),
        ("GET {b}1", "\"w\""),
        // RESTORE-ASKING needs no ASKING before it; MIGRATE may work at this end, too.
        ("RESTORE-ASKING {b}3 0 x", "-ERR DUMP payload version or checksum are wrong"),
        ("RESTORE {b}3 0 x", MOVED_B),
        ("MIGRATE 127.0.0.1 7001 {b}3 0 10", "+NOKEY"),
        ("SPUBLISH {b}c m", MOVED_B),
        // One ASKING holds for a whole transaction.
        ("ASKING", "+OK"),
        ("MULTI", "+OK"),
        ("GET {b}1", "+QUEUED"),
        ("SET {b}1 x", "+QUEUED"),
        ("EXEC", "[\"w\", +OK]"),
        ("GET {b}1", MOVED_B),
    ]);
}

#[test]
fn replicas() {
    let mut fixture = node_with(as_replica());
    let channels = fixture.connect();
    fixture.check_as(channels, "SSUBSCRIBE {b}c", ">[\"ssubscribe\", \"{b}c\", :1]".trim_start_matches('>'));
    fixture.check_all(&[
        ("GET {b}1", MOVED_B),
        ("READONLY", "+OK"),
        ("GET {b}1", "nil"),
        ("SET {b}1 v", MOVED_B),
        ("MULTI", "+OK"),
        ("GET {b}1", "+QUEUED"),
        ("EXEC", "[nil]"),
        ("MULTI", "+OK"),
        ("GET {b}1", "+QUEUED"),
        ("SET {b}1 v", MOVED_B),
        ("DISCARD", "+OK"),
        ("READWRITE", "+OK"),
        ("GET {b}1", MOVED_B),
        ("MULTI", "+OK"),
        ("GET {b}1", MOVED_B),
    ]);
}

#[test]
fn clusters_that_are_down() {
    let down = || ClusterView { is_ok: false, ..view() };
    let mut fixture = node_with(down());
    fixture.check_all(&[
        ("GET {a}1", DOWN),
        ("GET {b}1", DOWN),
        ("GET {n}1", UNBOUND),
        ("SPUBLISH {a}c m", ":0"),
        ("PING", "+PONG"),
    ]);
    let reads = [("cluster-allow-reads-when-down", "yes"), ("cluster-allow-pubsubshard-when-down", "no")];
    let mut fixture = node_configured(down(), &reads);
    let read_only = "-CLUSTERDOWN The cluster is down and only accepts read commands";
    fixture.check_all(&[
        ("GET {a}1", "nil"),
        ("GET {b}1", MOVED_B),
        ("SET {a}1 v", read_only),
        ("SPUBLISH {a}c m", DOWN),
    ]);
    show(&mut fixture, view());
    fixture.check_all(&[("MULTI", "+OK"), ("SET {a}1 v", "+QUEUED")]);
    show(&mut fixture, down());
    fixture.check("EXEC", read_only);
}

#[test]
fn silent_machines() {
    let mut fixture = node_with(view());
    fixture.check("GET {a}1", "nil");
    fixture.advance_ms(60_000);
    fixture.check_all(&[("GET {a}1", DOWN), ("PING", "+PONG")]);
    show(&mut fixture, view());
    fixture.check("GET {a}1", "nil");
}

#[test]
fn announced_names() {
    let with = |preferred_endpoint, hostname: Option<&str>| {
        let mut view = view();
        let config = Arc::make_mut(&mut view.config);
        config.preferred_endpoint = preferred_endpoint;
        for node in &mut view.nodes {
            node.hostname = hostname.map(Arc::from);
        }
        view
    };
    let id = "1".repeat(40);
    for (preferred, hostname, moved, node) in [
        (EndpointKind::Ip, None, "127.0.0.1", "\"127.0.0.1\", :7001, \"ID\""),
        (
            EndpointKind::Ip,
            Some("n.example"),
            "127.0.0.1",
            "\"127.0.0.1\", :7001, \"ID\", [\"hostname\", \"n.example\"]",
        ),
        (
            EndpointKind::Hostname,
            Some("n.example"),
            "n.example",
            "\"n.example\", :7001, \"ID\", [\"ip\", \"127.0.0.1\"]",
        ),
        (EndpointKind::Hostname, None, "?", "\"?\", :7001, \"ID\", [\"ip\", \"127.0.0.1\"]"),
        (
            EndpointKind::Unknown,
            Some("n.example"),
            "",
            "nil, :7001, \"ID\", [\"ip\", \"127.0.0.1\", \"hostname\", \"n.example\"]",
        ),
    ] {
        let mut fixture = node_with(with(preferred, hostname));
        fixture.check("GET {b}1", &format!("-MOVED 3300 {moved}:7001"));
        let slots = fixture.run("CLUSTER SLOTS");
        let expected = format!("[:3300, :3300, [{}]]", node.replace("ID", &id));
        assert!(slots.contains(&expected), "{expected} in {slots}");
        let shards = fixture.run("CLUSTER SHARDS");
        let has_hostname = shards.contains("\"hostname\", \"n.example\"");
        assert_eq!(has_hostname, hostname.is_some(), "{shards}");
    }
}

/// Clients are told the addresses that are announced for clients, each by the family of its own connection.
#[test]
fn addresses_for_clients() {
    let with = |client: ClientAddress| {
        let mut view = view();
        let client = client.if_any();
        view.nodes.iter_mut().for_each(|node| node.client = client.clone());
        view
    };
    let ipv4 = Some(Arc::from("192.0.2.7"));
    let both = ClientAddress {
        ipv4: ipv4.clone(),
        ipv6: Some(Arc::from("2001:db8::7")),
        port: 6407,
        tls_port: 6507,
    };
    for (client, by_ipv4, by_ipv6) in [
        (ClientAddress::default(), ("127.0.0.1", 7001), ("127.0.0.1", 7001)),
        (ClientAddress { ipv4, ..ClientAddress::default() }, ("192.0.2.7", 7001), ("127.0.0.1", 7001)),
        (ClientAddress { port: 6407, ..ClientAddress::default() }, ("127.0.0.1", 6407), ("127.0.0.1", 6407)),
        (
            ClientAddress { tls_port: 6407, ..ClientAddress::default() },
            ("127.0.0.1", 7001),
            ("127.0.0.1", 7001),
        ),
        (both, ("192.0.2.7", 6407), ("2001:db8::7", 6407)),
    ] {
        let mut fixture = node_with(with(client));
        let over_ipv4 = fixture.first();
        let over_ipv6 = fixture.connect_from("[2001:db8::99]:50000", true).unwrap();
        for (handle, (host, port)) in [(over_ipv4, by_ipv4), (over_ipv6, by_ipv6)] {
            fixture.check_as(handle, "GET {b}1", &format!("-MOVED 3300 {host}:{port}"));
            for (command, expected) in [
                ("CLUSTER SLOTS", format!("\"{host}\", :{port}, ")),
                (
                    "CLUSTER SHARDS",
                    format!("\"port\", :{port}, \"ip\", \"{host}\", \"endpoint\", \"{host}\""),
                ),
                ("CLUSTER NODES", format!(" {host}:{port}@")),
            ] {
                let shown = fixture.run_as(handle, command);
                assert!(shown.contains(&expected), "{expected} in {command}: {shown}");
            }
        }
    }
}
