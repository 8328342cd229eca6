//! nodes.conf: what a node remembers of the cluster across restarts.
//!
//! One line per node as CLUSTER NODES prints it, then `vars currentEpoch N lastVoteEpoch N`. Reads the files of Redis
//! 3.0 (no `@bus-port`) to 7.2 (auxiliary fields after the host name: `shard-id=`, `nodename=`, `tcp-port=`,
//! `tls-port=`). Writes that of 7.2, or that of 7.0, which would read the auxiliary fields as a part of the host name.

use crate::config::BUS_PORT_OFFSET;
use crate::view::{NodeLine, node_line};
use crate::{ClientAddress, NodeFlags, NodeId, SlotSet};
use shoal_protocol::slot::SLOT_COUNT;
use std::fmt;
use std::sync::Arc;

/// A nodes.conf with more nodes than this is refused.
pub const MAX_NODES: usize = 16_384;

/// Shoal's own variable: slots that this node has given away. Redis passes over variables that it does not know.
const GIVEN_SLOTS: &str = "givenSlots";
/// Shoal's own variable, too: slots that are bound to another node which does not claim them.
const UNCLAIMED_SLOTS: &str = "unclaimedSlots";

/// Votes for replicas whose elections may have been won, as `primary:replica` with commas between.
const VOTED_AGAINST: &str = "votedAgainst";

/// And another one: 1 if this replica has never been in step with its primary.
const NEVER_IN_STEP: &str = "neverInStep";

/// The contents of a nodes.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodesConf {
    /// The greatest epoch seen.
    pub current_epoch: u64,
    /// The epoch of the last vote given.
    pub last_vote_epoch: u64,
    /// The nodes; exactly one has [`NodeFlags::MYSELF`].
    pub nodes: Vec<SavedNode>,
    /// Slots of this node that move away.
    pub migrating: Vec<(u16, NodeId)>,
    /// Slots that come to this node.
    pub importing: Vec<(u16, NodeId)>,
    /// Slots that were this node's and belong to others now: keys of them that an old file brings back are of no use.
    pub given: SlotSet,
    /// Slots of other nodes that these do not claim any more, while nobody else is known to do so. Without this a restart would
    /// take them for claimed again, with whatever epoch their old owner has come to since, and tell their new owner so.
    pub unclaimed: SlotSet,
    /// This node is a replica, and has not had the data of its primary since it was told to follow it.
    pub never_in_step: bool,
    /// For which replica this node has voted in the place of which primary, if it does not know what has come of it.
    pub voted_against: Vec<(NodeId, NodeId)>,
    /// Whether to write the auxiliary fields of 7.2.
    pub auxiliary: bool,
}

/// A node in nodes.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedNode {
    /// Its name.
    pub id: NodeId,
    /// Its address; empty if unknown.
    pub host: Arc<str>,
    /// Its client port.
    pub port: u16,
    /// Its bus port.
    pub bus_port: u16,
    /// Its announced host name.
    pub hostname: Option<Arc<str>>,
    /// Its name for people (7.2).
    pub human_name: Option<Arc<str>>,
    /// The address that it tells clients, if it is another one (Valkey 8 and 9).
    pub client: Option<Arc<ClientAddress>>,
    /// Its shard (7.2).
    pub shard_id: Option<NodeId>,
    /// Its flags.
    pub flags: NodeFlags,
    /// Its primary.
    pub primary: Option<NodeId>,
    /// When the unanswered ping left, in milliseconds since 1970, 0 for none.
    pub ping_sent_ms: u64,
    /// When the last pong came, in milliseconds since 1970, 0 for none.
    pub pong_received_ms: u64,
    /// Its config epoch.
    pub config_epoch: u64,
    /// Whether there was a link to it.
    pub connected: bool,
    /// Its slots.
    pub slots: Arc<SlotSet>,
}

/// Why a nodes.conf cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub reason: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for ParseError {}

impl NodesConf {
    /// Reads the text of a nodes.conf; `Ok(None)` for an empty one, which Redis makes before it writes the first.
    pub fn parse(text: &str) -> Result<Option<Self>, ParseError> {
        let mut conf = Self { auxiliary: true, ..Self::default() };
        for (index, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let at_line = |reason| ParseError { line: index + 1, reason };
            match words.first() {
                None => {}
                Some(first) if first.eq_ignore_ascii_case("vars") => {
                    conf.parse_variables(&words).map_err(at_line)?;
                }
                Some(_) if conf.nodes.len() >= MAX_NODES => return Err(at_line("too many nodes")),
                Some(_) => conf.parse_node(&words).map_err(at_line)?,
            }
        }
        if conf.nodes.is_empty() && text.trim().is_empty() {
            return Ok(None);
        }
        match conf.nodes.iter().filter(|node| node.flags.has(NodeFlags::MYSELF)).count() {
            1 => {}
            0 => return Err(ParseError { line: 0, reason: "no node is marked as myself" }),
            _ => return Err(ParseError { line: 0, reason: "several nodes are marked as myself" }),
        }
        let greatest = conf.nodes.iter().map(|node| node.config_epoch).max().unwrap_or(0);
        conf.current_epoch = conf.current_epoch.max(greatest);
        Ok(Some(conf))
    }

    fn parse_variables(&mut self, words: &[&str]) -> Result<(), &'static str> {
        if words.len().is_multiple_of(2) {
            return Err("a variable without a value");
        }
        let (pairs, _) = words.get(1..).unwrap_or_default().as_chunks::<2>();
        for [name, value] in pairs {
            if name.eq_ignore_ascii_case(GIVEN_SLOTS) {
                self.given = self.parse_slots(&value.split(',').collect::<Vec<_>>())?;
                continue;
            }
            if name.eq_ignore_ascii_case(UNCLAIMED_SLOTS) {
                self.unclaimed = self.parse_slots(&value.split(',').collect::<Vec<_>>())?;
                continue;
            }
            if name.eq_ignore_ascii_case(VOTED_AGAINST) {
                self.voted_against = parse_votes(value)?;
                continue;
            }
            let value = value.parse().map_err(|_| "a variable that is no number")?;
            if name.eq_ignore_ascii_case("currentEpoch") {
                self.current_epoch = value;
            } else if name.eq_ignore_ascii_case(NEVER_IN_STEP) {
                self.never_in_step = value != 0;
            } else if name.eq_ignore_ascii_case("lastVoteEpoch") {
                self.last_vote_epoch = value;
            }
        }
        Ok(())
    }

    fn parse_node(&mut self, words: &[&str]) -> Result<(), &'static str> {
        let [id, address, flags, primary, ping_sent, pong_received, config_epoch, link, slots @ ..] = words
        else {
            return Err("fewer than eight fields");
        };
        let id = NodeId::parse(id.as_bytes()).ok_or("not a node name")?;
        if self.nodes.iter().any(|node| node.id == id) {
            return Err("the same node twice");
        }
        let address = Address::parse(address)?;
        let mut node_flags = NodeFlags::NONE;
        for word in flags.split(',') {
            node_flags.set(NodeFlags::from_word(word).ok_or("an unknown flag")?);
        }
        let primary = match *primary {
            "-" => None,
            name => Some(NodeId::parse(name.as_bytes()).ok_or("not a node name")?),
        };
        let config_epoch = config_epoch.parse().map_err(|_| "a config epoch that is no number")?;
        let is_replica = node_flags.has(NodeFlags::REPLICA) && primary.is_some();
        let slots = Arc::new(self.parse_slots(slots)?);
        self.nodes.push(SavedNode {
            id,
            host: address.host,
            port: address.port,
            bus_port: address.bus_port,
            hostname: address.hostname,
            human_name: address.human_name,
            client: address.client.if_any(),
            shard_id: address.shard_id,
            flags: node_flags,
            primary,
            ping_sent_ms: ping_sent.parse().map_err(|_| "a time that is no number")?,
            pong_received_ms: pong_received.parse().map_err(|_| "a time that is no number")?,
            config_epoch: if is_replica { 0 } else { config_epoch },
            connected: *link == "connected",
            slots,
        });
        Ok(())
    }

    fn parse_slots(&mut self, words: &[&str]) -> Result<SlotSet, &'static str> {
        let mut set = SlotSet::empty();
        for word in words {
            if let Some(open) = word.strip_prefix('[') {
                self.parse_open_slot(open)?;
                continue;
            }
            let (first, last) = match word.split_once('-') {
                Some((first, last)) => (parse_slot(first)?, parse_slot(last)?),
                None => (parse_slot(word)?, parse_slot(word)?),
            };
            for slot in first..=last {
                set.insert(slot);
            }
        }
        Ok(set)
    }

    /// `93->-NODE]` or `77-<-NODE]`.
    fn parse_open_slot(&mut self, text: &str) -> Result<(), &'static str> {
        let text = text.strip_suffix(']').ok_or("an open slot without its bracket")?;
        let (slot, rest) = text.split_once('-').ok_or("an open slot without a direction")?;
        let slot = parse_slot(slot)?;
        let (direction, node) = rest.split_once('-').ok_or("an open slot without a node")?;
        let node = NodeId::parse(node.as_bytes()).ok_or("not a node name")?;
        match direction {
            ">" => self.migrating.push((slot, node)),
            "<" => self.importing.push((slot, node)),
            _ => return Err("an open slot without a direction"),
        }
        Ok(())
    }
}

/// The fields of what a node tells clients, each after a comma.
fn client_fields(client: Option<&ClientAddress>) -> String {
    let Some(client) = client else { return String::new() };
    let port = |port: u16| (port != 0).then(|| port.to_string());
    let fields = [
        ("client-ipv4", client.ipv4.as_deref().map(str::to_owned)),
        ("client-ipv6", client.ipv6.as_deref().map(str::to_owned)),
        ("client-tcp-port", port(client.port)),
        ("client-tls-port", port(client.tls_port)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some(format!(",{name}={}", value?))).collect()
}

fn parse_slot(text: &str) -> Result<u16, &'static str> {
    text.parse().ok().filter(|&slot| slot < SLOT_COUNT).ok_or("not a slot")
}

/// `host:port[@bus-port][,hostname[,name=value]...]`
struct Address {
    host: Arc<str>,
    port: u16,
    bus_port: u16,
    hostname: Option<Arc<str>>,
    human_name: Option<Arc<str>>,
    client: ClientAddress,
    shard_id: Option<NodeId>,
}

impl Address {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut fields = text.split(',');
        let (host, ports) = fields.next().and_then(|address| address.rsplit_once(':')).ok_or("no port")?;
        let (port, bus_port) = match ports.split_once('@') {
            Some((port, bus_port)) => {
                (port.parse().map_err(|_| "not a port")?, bus_port.parse().map_err(|_| "not a port")?)
            }
            None => {
                let port: u16 = ports.parse().map_err(|_| "not a port")?;
                (port, port.saturating_add(BUS_PORT_OFFSET))
            }
        };
        let hostname = fields.next().filter(|hostname| !hostname.is_empty()).map(Arc::from);
        let mut address = Self {
            host: host.into(),
            port,
            bus_port,
            hostname,
            human_name: None,
            client: ClientAddress::default(),
            shard_id: None,
        };
        for field in fields {
            let (name, value) = field.split_once('=').ok_or("an auxiliary field without a value")?;
            match name {
                "shard-id" => {
                    address.shard_id = Some(NodeId::parse(value.as_bytes()).ok_or("not a shard name")?);
                }
                "nodename" => address.human_name = Some(value.into()),
                "client-ipv4" => address.client.ipv4 = Some(value.into()),
                "client-ipv6" => address.client.ipv6 = Some(value.into()),
                "client-tcp-port" => address.client.port = value.parse().map_err(|_| "not a port")?,
                "client-tls-port" => address.client.tls_port = value.parse().map_err(|_| "not a port")?,
                // Ports of the other kind are heard again on the bus.
                _ => {}
            }
        }
        Ok(address)
    }
}

impl fmt::Display for NodesConf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            let mut auxiliary = String::new();
            if self.auxiliary {
                if let Some(shard_id) = node.shard_id {
                    auxiliary.push_str(&format!(",shard-id={shard_id}"));
                }
                if let Some(name) = node.human_name.as_deref().filter(|name| !name.is_empty()) {
                    auxiliary.push_str(&format!(",nodename={name}"));
                }
                auxiliary.push_str(&client_fields(node.client.as_deref()));
            }
            let is_me = node.flags.has(NodeFlags::MYSELF);
            let follows = node.primary.filter(|_| node.flags.has(NodeFlags::REPLICA));
            let shown_epoch = follows
                .and_then(|primary| self.nodes.iter().find(|other| other.id == primary))
                .map_or(node.config_epoch, |primary| primary.config_epoch);
            let line = node_line(&NodeLine {
                id: node.id,
                host: &node.host,
                port: node.port,
                bus_port: node.bus_port,
                hostname: node.hostname.as_deref(),
                auxiliary: &auxiliary,
                flags: node.flags,
                primary: node.primary,
                ping_sent_ms: node.ping_sent_ms,
                pong_received_ms: node.pong_received_ms,
                config_epoch: shown_epoch,
                connected: node.connected,
                slots: node.slots.ranges(),
                migrating: if is_me { self.migrating.clone() } else { Vec::new() },
                importing: if is_me { self.importing.clone() } else { Vec::new() },
            });
            writeln!(formatter, "{line}")?;
        }
        write!(formatter, "vars currentEpoch {} lastVoteEpoch {}", self.current_epoch, self.last_vote_epoch)?;
        for (name, slots) in [(GIVEN_SLOTS, &self.given), (UNCLAIMED_SLOTS, &self.unclaimed)] {
            if !slots.is_empty() {
                write!(formatter, " {name} {}", slots.ranges().to_string().replace(' ', ","))?;
            }
        }
        for (index, (primary, replica)) in self.voted_against.iter().enumerate() {
            let before = if index == 0 { format!(" {VOTED_AGAINST} ") } else { ",".to_owned() };
            write!(formatter, "{before}{primary}:{replica}")?;
        }
        if self.never_in_step {
            write!(formatter, " {NEVER_IN_STEP} 1")?;
        }
        writeln!(formatter)
    }
}

fn parse_votes(text: &str) -> Result<Vec<(NodeId, NodeId)>, &'static str> {
    let vote = |pair: &str| {
        let (primary, replica) = pair.split_once(':')?;
        Some((NodeId::parse(primary.as_bytes())?, NodeId::parse(replica.as_bytes())?))
    };
    text.split(',').map(|pair| vote(pair).ok_or("a vote without two node names")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: &str = "07c37dfeb235213a872192d90877d0cd55635b91";
    const OTHER: &str = "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1";

    fn parse(text: &str) -> NodesConf {
        NodesConf::parse(text).unwrap().unwrap()
    }

    #[test]
    fn files_of_all_versions() {
        let of_3_0 = parse(&format!(
            "{ME} 127.0.0.1:7000 myself,master - 0 0 3 connected 0-5460 5470 [93->-{OTHER}] [77-<-{OTHER}]\n\
             {OTHER} 127.0.0.1:7001 slave {ME} 0 1426238317239 4 disconnected\n\n\
             vars currentEpoch 6 lastVoteEpoch 5\n"
        ));
        let other = NodeId::parse(OTHER.as_bytes()).unwrap();
        assert_eq!((of_3_0.current_epoch, of_3_0.last_vote_epoch), (6, 5));
        assert_eq!(of_3_0.nodes[0].bus_port, 17000);
        assert_eq!(of_3_0.nodes[0].slots.ranges().to_string(), "0-5460 5470");
        assert_eq!((of_3_0.migrating, of_3_0.importing), (vec![(93, other)], vec![(77, other)]));
        assert_eq!((of_3_0.nodes[1].config_epoch, of_3_0.nodes[1].connected), (0, false));

        let of_7_0 = parse(&format!("{ME} ::1:7000@1,name.example myself,master - 0 0 9 connected\n"));
        assert_eq!((&*of_7_0.nodes[0].host, of_7_0.nodes[0].bus_port), ("::1", 1));
        assert_eq!(of_7_0.nodes[0].hostname.as_deref(), Some("name.example"));
        assert_eq!(of_7_0.current_epoch, 9, "raised to the greatest config epoch");

        let of_7_2 = parse(&format!(
            "{ME} 127.0.0.1:7000@17000,,tls-port=0,shard-id={OTHER},nodename=blue myself,master - 0 0 0 connected\n"
        ));
        assert_eq!(of_7_2.nodes[0].shard_id, Some(other));
        assert_eq!(of_7_2.nodes[0].human_name.as_deref(), Some("blue"));
        assert_eq!(of_7_2.nodes[0].hostname, None);
    }

    #[test]
    fn writes_what_it_reads() {
        let text = format!(
            "{ME} 127.0.0.1:7000@17000,,shard-id={OTHER},nodename=blue myself,master - 0 0 3 connected 0-5460 \
             [77-<-{OTHER}] [93->-{OTHER}]\n\
             {OTHER} :0@0,host,shard-id={OTHER} slave,fail,noaddr {ME} 7 8 3 disconnected\n\
             vars currentEpoch 6 lastVoteEpoch 5 givenSlots 1-3,9 unclaimedSlots 7,20-22 \
             votedAgainst {ME}:{OTHER},{OTHER}:{ME} neverInStep 1\n"
        );
        let mut conf = parse(&text);
        assert_eq!(conf.to_string(), text);
        let fields =
            ",client-ipv4=192.0.2.7,client-ipv6=2001:db8::7,client-tcp-port=6407,client-tls-port=6507";
        let announced = text.replace(",nodename=blue", &format!(",nodename=blue{fields}"));
        assert_eq!(parse(&announced).nodes[0].client.as_ref().map(|client| client.tls_port), Some(6507));
        assert_eq!(parse(&announced).to_string(), announced);
        conf.auxiliary = false;
        assert!(conf.to_string().starts_with(&format!("{ME} 127.0.0.1:7000@17000 myself,master - 0 0 3")));
        assert!(conf.to_string().contains(&format!("\n{OTHER} :0@0,host slave,fail,noaddr")));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        assert_eq!(NodesConf::parse(""), Ok(None));
        assert_eq!(NodesConf::parse("\n\n"), Ok(None));
        let good = format!("{ME} h:1@2 myself,master - 0 0 0 connected");
        for bad in [
            "vars currentEpoch 1 lastVoteEpoch".to_owned(),
            "vars currentEpoch x".to_owned(),
            "vars currentEpoch 1".to_owned(),
            "abc h:1@2 myself,master - 0 0 0 connected".to_owned(),
            format!("{ME} h:1@2 master - 0 0 0 connected"),
            format!("{ME} h:1@2 myself,master - 0 0 0"),
            format!("{ME} h myself,master - 0 0 0 connected"),
            format!("{ME} h:99999 myself,master - 0 0 0 connected"),
            format!("{ME} h:1@2 myself,mister - 0 0 0 connected"),
            format!("{ME} h:1@2 myself,master x 0 0 0 connected"),
            format!("{good} 16384"),
            format!("{good} 1-x"),
            format!("{good} [1->-{OTHER}"),
            format!("{good} [1-{OTHER}]"),
            format!("{good} [1-?-{OTHER}]"),
            format!("{good}\n{good}"),
            format!("{good}\n{OTHER} h:1@2 myself,master - 0 0 0 connected"),
        ] {
            assert!(NodesConf::parse(&bad).is_err(), "{bad}");
        }
    }
}
