//! A node as the manager sees it, read from CLUSTER NODES. Pure: text in, values out.
//!
//! A line of CLUSTER NODES: `id host:port@bus-port[,hostname] flags primary-id ping pong epoch link slot …`, where a slot is
//! `7`, `0-5460`, `[7->-id]` (leaving) or `[7-<-id]` (arriving).

use crate::options::ManagerStyle;
use crate::text::leading_integer;
use shoal_protocol::slot::SLOT_COUNT;
use std::collections::BTreeMap;

/// Slots that are moving: the slot and the id of the node on the other side.
pub(crate) type OpenSlots = BTreeMap<u16, String>;

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    pub id: String,
    pub host: String,
    pub port: i64,
    pub bus_port: i64,
    /// As CLUSTER NODES writes them.
    pub flags: Vec<String>,
    /// The id of the primary, for a replica.
    pub primary_id: Option<String>,
    /// The epoch of its slots.
    pub epoch: u64,
    /// In order, without doubles.
    pub slots: Vec<u16>,
    pub migrating: OpenSlots,
    pub importing: OpenSlots,
    /// How many replicas were found.
    pub replica_count: usize,
}

impl Node {
    /// A node of which only the address is known.
    pub(super) fn at(host: &str, port: i64) -> Self {
        Self { host: host.to_owned(), port, ..Self::default() }
    }

    /// `host:port`.
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether it replicates another node.
    pub(crate) fn is_replica(&self) -> bool {
        self.has_flag("slave")
    }

    /// Whether CLUSTER NODES gave it this flag.
    pub(super) fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|other| other == flag)
    }

    /// The node in two or three lines: `M: id host:port`, its slots, and its replicas or its primary.
    pub(super) fn describe(&self, style: ManagerStyle) -> String {
        let role = if self.is_replica() { 'S' } else { 'M' };
        let flags: Vec<_> = self.flags.iter().filter(|flag| *flag != "myself").map(String::as_str).collect();
        let mut text = format!(
            "{role}: {} {}\n   slots:{} ({} slots) {}",
            self.id,
            self.address(),
            format_slots(&self.slots, style),
            self.slots.len(),
            flags.join(",")
        );
        if let Some(primary) = &self.primary_id {
            text.push_str(&format!("\n   replicates {primary}"));
        } else if self.replica_count > 0 {
            text.push_str(&format!("\n   {} additional replica(s)", self.replica_count));
        }
        text
    }
}

/// Reads `host:port` or `host:port@bus-port`; the host may hold colons, and may stand in brackets if it does.
pub(super) fn parse_address(text: &str) -> Option<(String, i64, i64)> {
    let (address, bus_port) = match text.rsplit_once('@') {
        Some((address, bus_port)) => (address, leading_integer(bus_port.as_bytes())),
        None => (text, 0),
    };
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host.to_owned(), leading_integer(port.as_bytes()), bus_port))
}

/// Reads the reply of CLUSTER NODES; `None` if a line is malformed.
pub(crate) fn parse_nodes(text: &str) -> Option<Vec<Node>> {
    text.lines().filter(|line| !line.is_empty()).map(parse_node).collect()
}

fn parse_node(line: &str) -> Option<Node> {
    let mut words = line.split(' ');
    let id = words.next()?.to_owned();
    let (host, port, bus_port) = parse_address(words.next()?)?;
    let mut flags: Vec<String> = words.next()?.split(',').map(str::to_owned).collect();
    let primary_id = words.next().filter(|id| *id != "-").map(str::to_owned);
    if words.clone().nth(3) == Some("disconnected") {
        flags.push("disconnected".to_owned());
    }
    let epoch = words.clone().nth(2).and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    let mut node = Node { id, host, port, bus_port, flags, primary_id, epoch, ..Node::default() };
    // A primary never has a primary, whatever an old line says.
    if !node.is_replica() {
        node.primary_id = None;
    }
    for word in words.skip(4) {
        parse_slots(word, &mut node);
    }
    node.slots.sort_unstable();
    node.slots.dedup();
    Some(node)
}

fn parse_slots(word: &str, node: &mut Node) {
    let slot = |text: &str| text.parse().ok().filter(|slot| *slot < SLOT_COUNT);
    if let Some(open) = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) {
        let (sign, slots) =
            if open.contains("->-") { ("->-", &mut node.migrating) } else { ("-<-", &mut node.importing) };
        if let Some((number, id)) = open.split_once(sign)
            && let Some(slot) = slot(number)
        {
            slots.insert(slot, id.to_owned());
        }
        return;
    }
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    if let (Some(first), Some(last)) = (slot(first), slot(last)) {
        node.slots.extend(first..=last);
    }
}

/// Slots as ranges, for people: `[0-5460],[7000]`, or without the brackets. The slots are in order.
pub(super) fn format_slots(slots: &[u16], style: ManagerStyle) -> String {
    let range = |(first, last)| {
        let text = if first == last { format!("{first}") } else { format!("{first}-{last}") };
        if style == ManagerStyle::Trib { text } else { format!("[{text}]") }
    };
    ranges(slots).into_iter().map(range).collect::<Vec<_>>().join(",")
}

/// Slots as ranges, first and last. The slots are in order.
pub(super) fn ranges(slots: &[u16]) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for &slot in slots {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == slot => *last = slot,
            _ => ranges.push((slot, slot)),
        }
    }
    ranges
}

/// What a node believes about the distribution of slots, in a form that can be compared; `None` if it knows of no slots.
pub(super) fn signature(nodes: &[Node]) -> Option<Vec<(&str, &[u16])>> {
    let mut signature: Vec<_> = nodes
        .iter()
        .filter(|node| !node.slots.is_empty())
        .map(|node| (node.id.as_str(), node.slots.as_slice()))
        .collect();
    signature.sort_unstable();
    (!signature.is_empty()).then_some(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
07c37dfeb235213a872192d90877d0cd55635b91 127.0.0.1:30004@31004,host4 slave e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 0 1426238317239 4 connected
67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1 127.0.0.1:30002@31002 master - 0 1426238316232 2 connected 5461-5470 5480
e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca ::1:30001@31001 myself,master - 0 0 1 connected 0-5460 [93-<-67ed] [77->-07c3]
292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f :0@0 master,noaddr - 1426238317000 1426238316232 3 disconnected
";

    #[test]
    fn lines_are_read() {
        let nodes = parse_nodes(NODES).unwrap();
        assert_eq!(nodes.len(), 4);
        assert_eq!((nodes[0].host.as_str(), nodes[0].port, nodes[0].bus_port), ("127.0.0.1", 30004, 31004));
        assert!(nodes[0].is_replica());
        assert_eq!(nodes[0].primary_id.as_deref(), Some("e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca"));
        assert_eq!(format_slots(&nodes[1].slots, ManagerStyle::Cli), "[5461-5470],[5480]");
        assert_eq!(nodes[2].host, "::1");
        assert_eq!(nodes[2].slots.len(), 5461);
        assert_eq!(nodes[2].importing.get(&93).map(String::as_str), Some("67ed"));
        assert_eq!(nodes[2].migrating.get(&77).map(String::as_str), Some("07c3"));
        assert!(nodes[3].has_flag("noaddr") && nodes[3].has_flag("disconnected"));
        assert_eq!(parse_nodes("short\n"), None);
    }

    #[test]
    fn addresses_are_read() {
        for (text, expected) in [
            ("h:1", Some(("h", 1, 0))),
            ("10.0.0.1:7000@17000,name", Some(("10.0.0.1", 7000, 17000))),
            ("::1:7000", Some(("::1", 7000, 0))),
            ("[::1]:7000", Some(("::1", 7000, 0))),
            (":0@0", Some(("", 0, 0))),
            ("host", None),
        ] {
            let parsed = parse_address(text);
            assert_eq!(
                parsed.as_ref().map(|(host, port, bus)| (host.as_str(), *port, *bus)),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn nodes_are_described() {
        let mut nodes = parse_nodes(NODES).unwrap();
        nodes[2].replica_count = 1;
        assert_eq!(
            nodes[2].describe(ManagerStyle::Cli),
            "M: e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca ::1:30001\n   slots:[0-5460] (5461 slots) master\n   \
             1 additional replica(s)"
        );
        assert!(nodes[2].describe(ManagerStyle::Trib).contains("\n   slots:0-5460 (5461 slots) master\n"));
        assert_eq!(
            nodes[0].describe(ManagerStyle::Cli),
            "S: 07c37dfeb235213a872192d90877d0cd55635b91 127.0.0.1:30004\n   slots: (0 slots) slave\n   \
             replicates e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca"
        );
    }

    #[test]
    fn signatures_do_not_depend_on_order() {
        let nodes = parse_nodes(NODES).unwrap();
        let mut reversed = nodes.clone();
        reversed.reverse();
        assert_eq!(signature(&nodes), signature(&reversed));
        reversed[1].slots.pop();
        assert_ne!(signature(&nodes), signature(&reversed));
        assert_eq!(signature(&nodes[3..]), None);
    }
}
