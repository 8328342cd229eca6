//! Several nodes in one process, whose bytes are carried to and fro in pieces of any size.

use crate::action::Action;
use crate::clients::Handle;
use crate::host::{SnapshotReport, SnapshotTarget};
use crate::testing::Fixture;
use shoal_machine::Rng;
use shoal_protocol::request::{Limits, RequestReader};
use shoal_session::{Close, Identity};

/// Rounds after which the nodes ought to have nothing more to say to each other.
const ROUNDS_MAX: usize = 20_000;

/// A connection between a replica and its primary.
struct Wire {
    replica: usize,
    primary: usize,
    at_replica: Handle,
    at_primary: Handle,
    reader: RequestReader,
    /// It is the snapshot's connection of two.
    is_channel: bool,
}

/// A snapshot that a node's shell is writing.
struct Writing {
    target: SnapshotTarget,
    image: Vec<u8>,
    sent: usize,
}

/// A snapshot file that is being sent.
struct Sending {
    to: Handle,
    sent: usize,
}

struct Member {
    fixture: Fixture,
    port: u16,
    is_reachable: bool,
    writing: Option<Writing>,
    file: Vec<u8>,
    sending: Vec<Sending>,
}

/// Nodes on the ports from 7000 on.
pub struct Net {
    members: Vec<Member>,
    wires: Vec<Wire>,
    rng: Rng,
    /// No piece is larger.
    pub largest_piece: usize,
    /// Snapshots do not proceed.
    pub are_snapshots_held: bool,
    /// Connections carry nothing.
    pub are_wires_dead: bool,
}

impl Net {
    /// `count` nodes with these directives.
    pub fn new(count: usize, directives: &[(&str, &str)], seed: u64) -> Self {
        let mut members: Vec<Member> = Vec::new();
        for index in 0..count {
            let port = 7000 + index as u16;
            let port_text = port.to_string();
            let mut all = vec![("port", port_text.as_str())];
            all.extend_from_slice(directives);
            let mut fixture = Fixture::with_configuration_and_seed(&all, seed * 100 + index as u64);
            fixture.host.clock = members.first().map_or(fixture.host.clock, |first| first.fixture.host.clock);
            members.push(Member {
                fixture,
                port,
                is_reachable: true,
                writing: None,
                file: Vec::new(),
                sending: Vec::new(),
            });
        }
        Self {
            members,
            wires: Vec::new(),
            rng: Rng::new(seed),
            largest_piece: 30_000,
            are_snapshots_held: false,
            are_wires_dead: false,
        }
    }

    pub fn node(&mut self, index: usize) -> &mut Fixture {
        &mut self.members[index].fixture
    }

    /// Runs a line on a node, then lets everything settle.
    #[track_caller]
    pub fn run(&mut self, index: usize, line: &str) -> String {
        let answer = self.node(index).run(line);
        self.settle();
        answer
    }

    /// Runs a line on a node and compares the answer.
    #[track_caller]
    pub fn check(&mut self, index: usize, line: &str, expected: &str) {
        let answer = self.run(index, line);
        assert_eq!(answer, expected, "node {index}, in answer to: {line}");
    }

    /// A field of INFO replication.
    pub fn info(&mut self, index: usize, field: &str) -> String {
        self.info_of(index, "replication", field)
    }

    /// A field of INFO stats.
    pub fn statistic(&mut self, index: usize, field: &str) -> String {
        self.info_of(index, "stats", field)
    }

    fn info_of(&mut self, index: usize, section: &str, field: &str) -> String {
        let text = self.node(index).text(&format!("INFO {section}"));
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
    }

    /// Lets the first node follow the second, and all settle.
    pub fn follow(&mut self, replica: usize, primary: usize) {
        self.check(replica, &format!("REPLICAOF 127.0.0.1 {}", 7000 + primary), "+OK");
        self.pass_s(8);
    }

    /// The snapshot file that a node wrote last.
    pub fn file(&mut self, index: usize) -> Vec<u8> {
        self.members[index].file.clone()
    }

    /// Starts a node anew, with the data of a snapshot.
    pub fn restart(&mut self, index: usize, directives: &[(&str, &str)], image: &[u8]) {
        let port = self.members[index].port.to_string();
        let mut all = vec![("port", port.as_str())];
        all.extend_from_slice(directives);
        let mut fixture = Fixture::with_configuration_and_seed(&all, self.rng.next_u64());
        fixture.host.clock = self.members[index].fixture.host.clock;
        let Fixture { node, host, .. } = &mut fixture;
        node.begin_startup_load(host.clock, image.len() as u64);
        node.feed_startup_load(image).expect("the image can be loaded");
        node.finish_startup_load(host.clock, host).expect("the image is complete");
        self.members[index].fixture = fixture;
    }

    /// Cuts a replica's connection to its primary; the next attempts fail while the primary is not reachable.
    pub fn cut(&mut self, replica: usize) {
        while let Some(at) = self.wires.iter().position(|wire| wire.replica == replica) {
            self.cut_wire(at);
        }
    }

    /// Cuts the snapshot's connection of a replica, or else the main one.
    pub fn cut_one(&mut self, replica: usize, is_channel: bool) {
        let is_it = |wire: &Wire| wire.replica == replica && wire.is_channel == is_channel;
        let at = self.wires.iter().position(is_it).expect("there is such a connection");
        self.cut_wire(at);
    }

    fn cut_wire(&mut self, at: usize) {
        let wire = self.wires.remove(at);
        self.end(wire.replica, wire.at_replica);
        self.end(wire.primary, wire.at_primary);
    }

    /// Whether connections to a node can be made.
    pub fn set_reachable(&mut self, index: usize, is_reachable: bool) {
        self.members[index].is_reachable = is_reachable;
    }

    /// Carries one piece each way on every connection, and does nothing more.
    pub fn carry_once(&mut self) {
        for index in (0..self.wires.len()).rev() {
            self.carry(index);
        }
    }

    /// Goes on until a field of INFO replication has this value.
    pub fn carry_until(&mut self, index: usize, field: &str, expected: &str) {
        for _ in 0..ROUNDS_MAX {
            if self.info(index, field) == expected {
                return;
            }
            self.step();
        }
        panic!("{field} does not become {expected}");
    }

    /// Runs a line on a node and compares the answer; nothing else happens meanwhile.
    #[track_caller]
    pub fn check_at_once(&mut self, index: usize, line: &str, expected: &str) {
        self.node(index).check(line, expected);
    }

    /// Lets two seconds pass on all nodes, without carrying anything.
    pub fn pass_one_tick(&mut self) {
        for member in &mut self.members {
            member.fixture.advance_ms(2000);
        }
    }

    /// Everything that waits to be sent to a client of a node.
    pub fn drain(&mut self, index: usize, handle: Handle) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let more = self.take_output(index, handle, usize::MAX);
            if more.is_empty() {
                return bytes;
            }
            bytes.extend_from_slice(&more);
        }
    }

    fn end(&mut self, index: usize, handle: Handle) {
        let Fixture { node, host, .. } = &mut self.members[index].fixture;
        node.disconnected(host.clock, host, handle);
    }

    /// Lets seconds pass on all nodes.
    pub fn pass_s(&mut self, seconds: u64) {
        for _ in 0..seconds * 2 {
            for member in &mut self.members {
                member.fixture.advance_ms(500);
            }
            self.settle();
        }
    }

    /// Carries bytes until nobody has anything to say.
    pub fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if !self.step() {
                return;
            }
        }
        panic!("the nodes do not come to rest");
    }

    /// Lets every node and every connection do a little. False if there was nothing to do.
    fn step(&mut self) -> bool {
        let mut is_busy = false;
        for index in 0..self.members.len() {
            is_busy |= self.carry_out_actions(index);
            is_busy |= self.write_snapshot(index);
            is_busy |= self.send_files(index);
            let Fixture { node, host, .. } = &mut self.members[index].fixture;
            if node.has_snapshot_to_load() {
                node.load_snapshot_piece(host.clock, host);
                is_busy = true;
            }
        }
        for index in (0..self.wires.len()).rev() {
            is_busy |= self.carry(index);
        }
        is_busy
    }

    fn carry_out_actions(&mut self, index: usize) -> bool {
        let fixture = &mut self.members[index].fixture;
        fixture.settle();
        let actions = std::mem::take(&mut fixture.actions);
        let is_busy = !actions.is_empty();
        for action in actions {
            match action {
                Action::ConnectPrimary { ticket, port, .. } => self.connect(index, ticket, port, false),
                Action::ConnectSnapshotChannel { ticket, port, .. } => {
                    self.connect(index, ticket, port, true);
                }
                // Pieces are carried as long as they are wanted.
                Action::Resume(_) | Action::DelaySmallPackets(_) => {}
                Action::DisconnectPrimary => {
                    while let Some(at) = self.wires.iter().position(|wire| wire.replica == index) {
                        let wire = self.wires.remove(at);
                        self.end(wire.primary, wire.at_primary);
                    }
                }
                Action::SendSnapshotFile(to) => self.members[index].sending.push(Sending { to, sent: 0 }),
                other => panic!("{other:?}"),
            }
        }
        is_busy
    }

    fn connect(&mut self, replica: usize, ticket: u64, port: u16, is_channel: bool) {
        let identity = |port: u16| Identity {
            address: format!("127.0.0.1:{port}"),
            is_local: true,
            ..Identity::default()
        };
        let primary = self.members.iter().position(|member| member.port == port && member.is_reachable);
        let Fixture { node, host, .. } = &mut self.members[replica].fixture;
        let Some(primary) = primary else {
            if is_channel {
                node.snapshot_channel_unreachable(host.clock, host, ticket, "Connection refused");
            } else {
                node.primary_unreachable(host.clock, host, ticket, "Connection refused");
            }
            return;
        };
        let at_replica = if is_channel {
            node.snapshot_channel_connected(host.clock, host, ticket, identity(port))
        } else {
            node.primary_connected(host.clock, host, ticket, identity(port))
        };
        let Some(at_replica) = at_replica else { return };
        let Fixture { node, host, .. } = &mut self.members[primary].fixture;
        let at_primary = node.connect(host.clock, identity(40_000 + replica as u16)).expect("there is room");
        self.wires.push(Wire {
            replica,
            primary,
            at_replica,
            at_primary,
            reader: RequestReader::new(),
            is_channel,
        });
    }

    fn write_snapshot(&mut self, index: usize) -> bool {
        let piece = self.piece();
        let member = &mut self.members[index];
        let Fixture { node, host, .. } = &mut member.fixture;
        if let (Some(image), Some(target)) = (host.images.pop(), host.snapshots.pop()) {
            member.writing = Some(Writing { target, image, sent: 0 });
        }
        if std::mem::take(&mut host.cancelled_snapshots) > 0 {
            member.writing = None;
            node.snapshot_ended(host.clock, host, Err("cancelled".to_owned()));
        }
        if self.are_snapshots_held {
            return false;
        }
        let Some(writing) = &mut member.writing else { return false };
        if writing.target == SnapshotTarget::Stream && writing.sent < writing.image.len() {
            if node.wants_snapshot_bytes() {
                let end = (writing.sent + piece).min(writing.image.len());
                node.snapshot_chunk(host.clock, host, &writing.image[writing.sent..end]);
                writing.sent = end;
            }
            return true;
        }
        let size_bytes = writing.image.len() as u64;
        member.file = std::mem::take(&mut writing.image);
        member.writing = None;
        node.snapshot_ended(host.clock, host, Ok(SnapshotReport { size_bytes, copied_bytes: 0 }));
        true
    }

    fn send_files(&mut self, index: usize) -> bool {
        let member = &mut self.members[index];
        let Some(mut sending) = member.sending.pop() else { return false };
        let Fixture { node, host, .. } = &mut member.fixture;
        let end = (sending.sent + 1000).min(member.file.len());
        node.file_chunk(sending.to, &member.file[sending.sent..end]);
        sending.sent = end;
        if end == member.file.len() {
            node.file_sent(host.clock, host, sending.to, Ok(()));
        } else {
            member.sending.push(sending);
        }
        true
    }

    /// The size of the next piece that is carried.
    fn piece(&mut self) -> usize {
        let most = self.rng.choose(&[1, 8, 200, 30_000]).copied().unwrap_or(1);
        1 + self.rng.index(most.min(self.largest_piece))
    }

    /// Carries a piece each way.
    fn carry(&mut self, index: usize) -> bool {
        if self.are_wires_dead {
            return self.end_if_closed(index);
        }
        let piece = self.piece();
        let (replica, at_replica) = (self.wires[index].replica, self.wires[index].at_replica);
        let (primary, at_primary) = (self.wires[index].primary, self.wires[index].at_primary);
        let to_primary = self.take_output(replica, at_replica, piece);
        let wants_input = self.members[replica].fixture.node.wants_primary_input(at_replica);
        let to_replica = if wants_input { self.take_output(primary, at_primary, piece) } else { Vec::new() };
        let is_busy = !to_primary.is_empty() || !to_replica.is_empty();
        let wire = &mut self.wires[index];
        let Fixture { node, host, .. } = &mut self.members[primary].fixture;
        wire.reader.feed(&to_primary);
        while let Some(request) = wire.reader.next(&Limits::default()).expect("replicas follow the protocol")
        {
            node.execute(host.clock, host, at_primary, request);
        }
        let Fixture { node, host, .. } = &mut self.members[replica].fixture;
        if !to_replica.is_empty() {
            node.primary_input(host.clock, host, at_replica, &to_replica);
        }
        is_busy | self.end_if_closed(index)
    }

    fn take_output(&mut self, index: usize, handle: Handle, count: usize) -> Vec<u8> {
        let node = &mut self.members[index].fixture.node;
        let mut bytes: Vec<u8> =
            node.output_slices(handle, 3).iter().flat_map(|slice| slice.to_vec()).collect();
        bytes.truncate(count);
        if !bytes.is_empty() {
            node.output_sent(handle, bytes.len());
        }
        bytes
    }

    fn end_if_closed(&mut self, index: usize) -> bool {
        let Some(wire) = self.wires.get(index) else { return false };
        let (replica, at_replica) = (wire.replica, wire.at_replica);
        let (primary, at_primary) = (wire.primary, wire.at_primary);
        let is_closed = |member: &Member, handle| match member.fixture.node.close_of(handle) {
            Close::No => false,
            Close::Now => true,
            Close::AfterReply => !member.fixture.node.has_output(handle),
        };
        let is_ending =
            is_closed(&self.members[replica], at_replica) || is_closed(&self.members[primary], at_primary);
        if is_ending {
            self.wires.remove(index);
            self.end(replica, at_replica);
            self.end(primary, at_primary);
        }
        is_ending
    }
}

/// The last connection to the primary that a node has asked for, as a ticket.
pub fn attempt(fixture: &mut Fixture) -> u64 {
    fixture.settle();
    let mut tickets = std::mem::take(&mut fixture.actions).into_iter().filter_map(|action| match action {
        Action::ConnectPrimary { ticket, .. } | Action::ConnectSnapshotChannel { ticket, .. } => Some(ticket),
        _ => None,
    });
    tickets.next_back().expect("a connection is asked for")
}

/// Makes the last connection to the primary that a node has asked for.
pub fn answer_attempt(fixture: &mut Fixture) -> Handle {
    let ticket = attempt(fixture);
    let Fixture { node, host, .. } = fixture;
    let main = node.primary_connected(host.clock, host, ticket, Identity::default());
    let made =
        main.or_else(|| node.snapshot_channel_connected(host.clock, host, ticket, Identity::default()));
    made.expect("the connection is wanted")
}
