//! Two nodes, of which the first moves slots to the second; the link is carried by hand, step by step.

use crate::action::Action;
use crate::clients::Handle;
use crate::host::{SnapshotReport, SnapshotTarget};
use crate::testing::{Fixture, cluster_view};
use shoal_cluster::view::{NodeKey, SlotOwners, ViewRole};
use shoal_cluster::{
    ClusterCommand, ClusterView, CommandReply, MachineMessage, NodeId, NodeMessage, NodeOrder, SlotRanges,
};
use shoal_protocol::request::{Limits, RequestReader};
use shoal_protocol::slot::key_slot;
use shoal_session::Identity;
use std::sync::Arc;

const SOURCE: NodeKey = NodeKey(0);
const TARGET: NodeKey = NodeKey(1);
/// The slot of `{a}`, which moves.
const SLOT: u16 = 15_495;
const TARGET_NAME: &str = "1111111111111111111111111111111111111111";

fn view(myself: NodeKey, owner: NodeKey) -> ClusterView {
    let mut owners = SlotOwners::none();
    owners.set(SLOT, Some(owner));
    owners.set(key_slot(b"b"), Some(SOURCE));
    owners.set(key_slot(b"c"), Some(TARGET));
    let mut view = cluster_view(2, owners);
    view.myself = myself;
    view
}

fn show(fixture: &mut Fixture, mut view: ClusterView, orders: Vec<NodeOrder>) {
    view.published_at = fixture.host.clock.monotonic;
    let message = MachineMessage::View { view: Arc::new(view), orders };
    fixture.node.cluster_message(fixture.host.clock, &mut fixture.host, message);
    fixture.settle();
}

struct Pair {
    source: Fixture,
    target: Fixture,
    /// The link at the source, and at the target.
    ends: Option<(Handle, Handle)>,
    reader: RequestReader,
}

impl Pair {
    fn new() -> Self {
        assert_eq!(key_slot(b"a"), SLOT);
        let node = |myself| {
            let directives = [("cluster-enabled", "yes"), ("cluster-node-timeout", "3600000")];
            let mut fixture = Fixture::with_configuration(&directives);
            show(&mut fixture, view(myself, SOURCE), Vec::new());
            fixture.host.cluster_result = Ok(CommandReply::Text("0".to_owned()));
            fixture
        };
        Self { source: node(SOURCE), target: node(TARGET), ends: None, reader: RequestReader::new() }
    }

    fn begin(&mut self) {
        let line = format!("CLUSTER MIGRATESLOTS SLOTSRANGE {SLOT} {SLOT} NODE {TARGET_NAME}");
        self.source.check(&line, "+OK");
        self.connect();
    }

    fn connect(&mut self) {
        let Some(Action::ConnectTarget { ticket, host, port }) = self.source.actions.pop() else {
            panic!("the source does not connect")
        };
        assert_eq!((host.as_str(), port), ("127.0.0.1", 7001));
        let Fixture { node, host, .. } = &mut self.source;
        let mine = node.target_connected(host.clock, host, ticket, Identity::default());
        let theirs = self.target.connect();
        self.ends = Some((mine, theirs));
        self.reader = RequestReader::new();
    }

    /// Carries what waits at the source to the target. False if there was nothing.
    fn forth(&mut self) -> bool {
        let Some((mine, theirs)) = self.ends else { return false };
        let Some(output) = self.source.node.output_mut(mine) else { return false };
        let bytes = output.to_vec();
        output.consume(bytes.len());
        self.reader.feed(&bytes);
        let limits = Limits { max_bulk_bytes: 1 << 20, max_buffer_bytes: 1 << 20, authenticated: true };
        while let Some(request) = self.reader.next(&limits).unwrap() {
            let words: Vec<Vec<u8>> = request.iter().map(<[u8]>::to_vec).collect();
            self.target.send_as(theirs, &words);
        }
        self.agree();
        !bytes.is_empty()
    }

    /// Carries what the target says to the source.
    fn back(&mut self) -> bool {
        let Some((mine, theirs)) = self.ends else { return false };
        let Some(output) = self.target.node.output_mut(theirs) else { return false };
        let bytes = output.to_vec();
        output.consume(bytes.len());
        let Fixture { node, host, .. } = &mut self.source;
        node.target_input(host.clock, host, mine, &bytes);
        self.source.settle();
        !bytes.is_empty()
    }

    /// The source notices that the target has closed the link.
    fn notice_end(&mut self) {
        if let Some((mine, theirs)) = self.ends
            && !self.target.is_connected(theirs)
        {
            self.source.disconnect(mine);
            self.source.settle();
            self.ends = None;
        }
    }

    /// The machine of the target has the epochs agreed on that it was asked for.
    fn agree(&mut self) {
        let Fixture { node, host, .. } = &mut self.target;
        for message in std::mem::take(&mut host.cluster_messages) {
            if let NodeMessage::AgreeOnEpoch { ticket, .. } = message {
                node.cluster_message(host.clock, host, MachineMessage::EpochAgreed { ticket, epoch: 3 });
            }
        }
        self.target.settle();
    }

    /// Carries bytes and time on until nothing more happens.
    fn run(&mut self) {
        for _ in 0..20 {
            let (forth, back) = (self.forth(), self.back());
            self.source.advance_ms(1);
            self.target.advance_ms(1);
            if !forth && !back {
                return;
            }
        }
    }

    /// Begins a migration and carries it to where writes wait at the source.
    fn go_to_the_pause(&mut self) {
        self.begin();
        self.run();
        self.snapshot();
        self.forth();
        self.source.advance_ms(1);
        self.back();
        self.source.advance_ms(1);
    }

    /// Lets the child write, and end.
    fn snapshot(&mut self) {
        assert_eq!(self.source.host.snapshots.last(), Some(&SnapshotTarget::Slots));
        let image = self.source.host.images.pop().unwrap();
        let Fixture { node, host, .. } = &mut self.source;
        assert!(node.wants_snapshot_bytes());
        node.snapshot_chunk(host.clock, host, &image);
        self.source.end_snapshot(Ok(SnapshotReport::default()));
    }

    /// The machine of the target is going to say that it has the slots.
    fn expect_claim(&mut self) {
        let view = Arc::new(view(TARGET, TARGET));
        self.target.host.cluster_answers.push_back(MachineMessage::View { view, orders: Vec::new() });
    }

    fn lose_link(&mut self) {
        let (mine, theirs) = self.ends.take().unwrap();
        self.source.disconnect(mine);
        self.source.settle();
        self.target.disconnect(theirs);
        self.target.settle();
    }

    fn drop_keys(fixture: &mut Fixture) {
        while fixture.node.has_keys_to_drop() {
            fixture.node.drop_keys(fixture.host.clock, &mut fixture.host);
        }
        fixture.settle();
    }

    /// The machine of the source carries out what it was told.
    fn machine_reclaims(&mut self) {
        let Fixture { node, host, .. } = &mut self.source;
        for message in std::mem::take(&mut host.cluster_messages) {
            if let NodeMessage::Reclaim { slots, .. } = message {
                node.cluster_message(host.clock, host, MachineMessage::Reclaimed { slots });
            }
        }
        self.source.settle();
    }

    /// Up to the grant; the claim is made by the next [`Pair::forth`].
    fn up_to_grant(&mut self) {
        self.begin();
        self.run();
        self.snapshot();
        for _ in 0..10 {
            self.forth();
            self.source.advance_ms(1);
            self.target.advance_ms(1);
            self.back();
            if state(&mut self.source) == "failover-granted" {
                return;
            }
        }
        panic!("no grant: {}", state(&mut self.source));
    }
}

/// The state of the newest migration.
fn state(fixture: &mut Fixture) -> String {
    let text = fixture.run("CLUSTER GETSLOTMIGRATIONS");
    let rest = text.split("\"state\", \"").nth(1).unwrap_or_default();
    rest.split('"').next().unwrap_or_default().to_owned()
}

#[test]
fn keys_of_all_types_move_with_what_changes_meanwhile() {
    let mut pair = Pair::new();
    pair.source.run("SET {a}string value");
    pair.source.run("SET {a}number 7");
    pair.source.run("SET {a}expires soon PX 100000");
    pair.source.run("RPUSH {a}list a b c");
    pair.source.run("SADD {a}set 1 2 3");
    pair.source.run("HSET {a}hash f v g w");
    pair.source.run("ZADD {a}sorted 1 one 2.5 two");
    pair.source.run("XADD {a}stream 1-1 f v");
    pair.source.run("SET {b}stays here");
    pair.target.run("SET {c}other there");
    pair.begin();
    pair.run();
    assert_eq!(state(&mut pair.source), "snapshotting");
    assert_eq!(state(&mut pair.target), "receiving-snapshot");
    // What changes while the child writes comes after what the child writes.
    pair.source.run("APPEND {a}string !");
    pair.source.run("SET {b}stays still");
    pair.snapshot();
    pair.source.run("MULTI");
    pair.source.run("INCR {a}number");
    pair.source.run("DEL {a}set");
    pair.source.run("EXEC");
    pair.forth();
    // Nobody sees them before they are this node's.
    pair.target.check_all(&[("DBSIZE", ":1"), ("KEYS *", "[\"{c}other\"]"), ("RANDOMKEY", "\"{c}other\"")]);
    pair.target.check_start("GET {a}string", "-MOVED 15495 127.0.0.1:7000");
    assert!(pair.target.text("INFO keyspace").contains("keys=1,expires=0"));
    pair.expect_claim();
    pair.run();
    assert_eq!(state(&mut pair.target), "success");
    let Some(ClusterCommand::TakeSlots { slots, .. }) = pair.target.host.cluster_commands.last() else {
        panic!("no claim")
    };
    assert_eq!(slots.to_string(), SLOT.to_string());
    pair.target.check_all(&[
        ("GET {a}string", "\"value!\""),
        ("GET {a}number", "\"8\""),
        ("EXISTS {a}set", ":0"),
        ("LRANGE {a}list 0 -1", "[\"a\", \"b\", \"c\"]"),
        ("HGET {a}hash g", "\"w\""),
        ("ZSCORE {a}sorted two", "\"2.5\""),
        ("XLEN {a}stream", ":1"),
        ("DBSIZE", ":8"),
    ]);
    let ttl = pair.target.run("PTTL {a}expires");
    assert!(ttl[1..].parse::<u64>().unwrap() > 90_000, "{ttl}");
    // The source learns of it, and deletes the keys piece by piece.
    assert_eq!(state(&mut pair.source), "failover-granted");
    let slots: SlotRanges = [SLOT].into_iter().collect();
    let count = pair.source.node.keyspace().len();
    for order in [NodeOrder::HideSlots { slots: slots.clone() }, NodeOrder::DropSlots { slots }] {
        let is_hidden_only = matches!(order, NodeOrder::HideSlots { .. });
        show(&mut pair.source, view(SOURCE, TARGET), vec![order]);
        assert_eq!(state(&mut pair.source), "success");
        pair.source.check_start("GET {a}string", "-MOVED 15495 127.0.0.1:7001");
        pair.source.check("DBSIZE", ":1");
        assert_eq!(pair.source.node.keyspace().len(), count);
        Pair::drop_keys(&mut pair.source);
        assert_eq!(pair.source.node.keyspace().len(), if is_hidden_only { count } else { 1 });
    }
}

/// The keys of a slot that was given away are still there when it comes back, or is to be filled by hand.
#[test]
fn old_keys_are_gone_before_a_slot_is_filled_anew() {
    let slots: SlotRanges = [SLOT].into_iter().collect();
    let given = |fixture: &mut Fixture| {
        show(fixture, view(TARGET, TARGET), Vec::new());
        fixture.run("SET {a}old x");
        show(fixture, view(TARGET, SOURCE), vec![NodeOrder::HideSlots { slots: slots.clone() }]);
        assert_eq!(fixture.node.keyspace().len(), 1);
    };
    let mut pair = Pair::new();
    given(&mut pair.target);
    pair.source.run("SET {a}new y");
    pair.begin();
    pair.run();
    pair.snapshot();
    pair.forth();
    // All replicas have heard of it: what is here now are other keys.
    show(&mut pair.target, view(TARGET, SOURCE), vec![NodeOrder::DropSlots { slots: slots.clone() }]);
    Pair::drop_keys(&mut pair.target);
    pair.expect_claim();
    pair.run();
    assert_eq!(state(&mut pair.target), "success");
    pair.target.check_all(&[("GET {a}new", "\"y\""), ("EXISTS {a}old", ":0"), ("DBSIZE", ":1")]);

    for by_hand in [false, true] {
        let mut pair = Pair::new();
        given(&mut pair.target);
        let mut back = view(TARGET, if by_hand { SOURCE } else { TARGET });
        if by_hand {
            back.importing = Arc::new([(SLOT, SOURCE)].into_iter().collect());
        }
        show(&mut pair.target, back, Vec::new());
        assert_eq!(pair.target.node.keyspace().len(), 0, "by hand: {by_hand}");
    }
    // A replica has the keys of its primary.
    let mut pair = Pair::new();
    given(&mut pair.target);
    let primary = NodeId::parse(&[b'0'; 40]).unwrap();
    let follow = NodeOrder::Follow { primary, host: "127.0.0.1".into(), port: 7000 };
    let mut replica = view(TARGET, SOURCE);
    replica.role = ViewRole::Replica(Some(SOURCE));
    show(&mut pair.target, replica, vec![follow]);
    show(&mut pair.target, view(TARGET, TARGET), vec![NodeOrder::BecomePrimary]);
    pair.target.check("EXISTS {a}old", ":1");
}

#[test]
fn writes_wait_and_then_everything_waits() {
    let mut pair = Pair::new();
    pair.source.run("SET {a}k v");
    pair.source.run("SET {b}k v");
    pair.go_to_the_pause();
    assert_eq!(state(&mut pair.source), "failover-paused");
    let (writer, reader) = (pair.source.connect(), pair.source.connect());
    pair.source.check_as(writer, "SET {a}k w", "");
    pair.source.check_all(&[("GET {a}k", "\"v\""), ("SET {b}k w", "+OK")]);
    pair.forth();
    pair.target.advance_ms(1);
    pair.back();
    assert_eq!(state(&mut pair.source), "failover-granted");
    pair.source.check_as(reader, "GET {a}k", "");
    pair.source.check("GET {b}k", "\"w\"");
    pair.source.advance_ms(shoal_cluster::slot_migration::PAUSE_MAX_MS * 6 / 5);
    pair.source.check_all(&[("GET {b}k", "\"w\"")]);
    assert_eq!(pair.source.received(reader), Vec::<String>::new(), "however long that takes");
    show(&mut pair.source, view(SOURCE, TARGET), Vec::new());
    let moved = "-MOVED 15495 127.0.0.1:7001";
    assert_eq!(pair.source.received(writer), [moved]);
    assert_eq!(pair.source.received(reader), [moved]);
}

#[test]
fn a_pause_that_nobody_answers_ends() {
    let mut pair = Pair::new();
    pair.source.run("SET {a}k v");
    pair.go_to_the_pause();
    let writer = pair.source.connect();
    pair.source.check_as(writer, "SET {a}k w", "");
    pair.source.advance_ms(shoal_cluster::slot_migration::PAUSE_MAX_MS + 1);
    assert_eq!(state(&mut pair.source), "failed");
    assert_eq!(pair.source.received(writer), ["+OK"]);
}

/// After the grant the link is lost; the target is asked, and has given up, or has taken the slots.
#[test]
fn a_lost_link_after_the_grant_is_made_anew_to_ask() {
    for is_taken in [false, true] {
        let mut pair = Pair::new();
        pair.source.run("SET {a}k v");
        pair.up_to_grant();
        if is_taken {
            pair.expect_claim();
            pair.forth();
        }
        pair.lose_link();
        assert_eq!(state(&mut pair.source), "failover-granted");
        let writer = pair.source.connect();
        pair.source.check_as(writer, "SET {a}k w", "");
        pair.source.advance_ms(1000);
        pair.connect();
        pair.forth();
        pair.back();
        if is_taken {
            assert_eq!(state(&mut pair.source), "failover-granted");
            pair.target.check("GET {a}k", "\"v\"");
            show(&mut pair.source, view(SOURCE, TARGET), Vec::new());
            assert_eq!(pair.source.received(writer), ["-MOVED 15495 127.0.0.1:7001"]);
        } else {
            assert_eq!(state(&mut pair.source), "failed");
            assert_eq!(
                pair.source.received(writer),
                Vec::<String>::new(),
                "not before the machine claims the slots"
            );
            pair.machine_reclaims();
            assert_eq!(pair.source.received(writer), ["+OK"]);
            Pair::drop_keys(&mut pair.target);
            assert_eq!(pair.target.node.keyspace().len(), 0);
        }
    }
}

#[test]
fn what_fails_or_is_cancelled_leaves_nothing_behind() {
    type Act = fn(&mut Pair);
    let acts: [(&str, Act); 5] = [
        ("cancelled", |pair| pair.source.check("CLUSTER CANCELSLOTMIGRATIONS", "+OK")),
        ("failed", |pair| pair.lose_link()),
        ("failed", |pair| pair.source.check("FLUSHALL", "+OK")),
        ("failed", |pair| pair.target.check("FLUSHALL", "+OK")),
        ("failed", |pair| {
            let mut replica = view(SOURCE, SOURCE);
            replica.role = ViewRole::Replica(Some(TARGET));
            show(&mut pair.source, replica, Vec::new());
        }),
    ];
    for (number, (expected, act)) in acts.into_iter().enumerate() {
        let mut pair = Pair::new();
        pair.source.run("SET {a}k v");
        pair.begin();
        pair.run();
        pair.snapshot();
        pair.source.run("SET {a}other v");
        pair.forth();
        act(&mut pair);
        pair.notice_end();
        if let Some((mine, theirs)) = pair.ends {
            pair.back();
            if !pair.source.node.close_of(mine).eq(&shoal_session::Close::No) {
                pair.target.disconnect(theirs);
            }
        }
        assert_eq!(state(&mut pair.source), expected, "{number}");
        Pair::drop_keys(&mut pair.target);
        assert_eq!(state(&mut pair.target), "failed", "{number}");
        assert_eq!(pair.target.node.keyspace().len(), 0, "{number}");
        pair.source.check("CLUSTER CANCELSLOTMIGRATIONS", "-ERR No migrations ongoing");
    }
}

#[test]
fn a_command_that_fails_ends_the_import() {
    let mut pair = Pair::new();
    pair.source.run("SET {a}k v");
    pair.begin();
    pair.run();
    pair.snapshot();
    pair.forth();
    let (_, theirs) = pair.ends.unwrap();
    pair.target.send_as(theirs, &["LPUSH", "{a}k", "x"]);
    pair.notice_end();
    assert_eq!(state(&mut pair.source), "failed");
    assert_eq!(state(&mut pair.target), "cleaning-up");
}

/// A replica of the target, or a target that starts anew, knows of the import from the stream, a snapshot or a file.
#[test]
fn whoever_is_promoted_in_the_middle_deletes_the_keys() {
    let name = "f".repeat(40);
    for (owner, left) in [(SOURCE, 0), (TARGET, 1)] {
        let mut pair = Pair::new();
        pair.source.run("SET {a}k v");
        pair.begin();
        pair.run();
        pair.snapshot();
        pair.forth();
        pair.target.run("BGSAVE");
        let image = pair.target.host.images.pop().unwrap();
        let mut fixture = Fixture::with_configuration(&[("cluster-enabled", "yes")]);
        show(&mut fixture, view(TARGET, owner), Vec::new());
        let Fixture { node, host, .. } = &mut fixture;
        node.begin_startup_load(host.clock, image.len() as u64);
        node.feed_startup_load(&image).unwrap();
        node.finish_startup_load(host.clock, host).unwrap();
        assert_eq!(node.keyspace().len(), 1);
        node.cluster_data_loaded(host.clock, host);
        assert_eq!(fixture.node.keyspace().len(), left, "{owner:?}");
        assert_eq!(state(&mut fixture), if left == 0 { "failed" } else { "success" });
    }
    // The commands of the stream.
    let mut fixture = Fixture::with_configuration(&[("cluster-enabled", "yes"), ("appendonly", "yes")]);
    let mut replica = view(TARGET, SOURCE);
    replica.role = ViewRole::Replica(Some(SOURCE));
    show(&mut fixture, replica, Vec::new());
    let lines = format!(
        "CLUSTER SYNCSLOTS ESTABLISH NAME {name} SLOTSRANGE {SLOT} {SLOT}\nSET {{a}}k v\n\
         CLUSTER SYNCSLOTS FINISH STATE failed NAME {name} MESSAGE x"
    );
    let client = fixture.connect();
    fixture.node.clients.session_mut(client).unwrap().kind = shoal_session::ClientKind::Primary;
    for (line, state_after) in lines.lines().zip(["occurring-on-primary", "occurring-on-primary", "failed"]) {
        let words: Vec<&str> = line.split(' ').collect();
        fixture.send_as(client, &words);
        assert_eq!(state(&mut fixture), state_after, "{line}");
    }
}

/// The primary has taken the slots, and given a part of them away again, before this replica heard that the import has ended.
#[test]
fn whoever_is_promoted_keeps_the_keys_of_the_slots_that_are_left() {
    let mut fixture = Fixture::with_configuration(&[("cluster-enabled", "yes")]);
    let mut replica = view(TARGET, TARGET);
    replica.role = ViewRole::Replica(Some(SOURCE));
    show(&mut fixture, replica, Vec::new());
    let client = fixture.connect();
    fixture.node.clients.session_mut(client).unwrap().kind = shoal_session::ClientKind::Primary;
    let (name, gone) = ("f".repeat(40), key_slot(b"b"));
    let begin = format!("CLUSTER SYNCSLOTS ESTABLISH NAME {name} SLOTSRANGE {SLOT} {SLOT} {gone} {gone}");
    for line in [begin.as_str(), "SET {a}k v", "SET {b}k v"] {
        let words: Vec<&str> = line.split(' ').collect();
        fixture.send_as(client, &words);
    }
    assert_eq!(state(&mut fixture), "occurring-on-primary");
    show(&mut fixture, view(TARGET, TARGET), vec![NodeOrder::BecomePrimary]);
    assert_eq!(state(&mut fixture), "success");
    Pair::drop_keys(&mut fixture);
    fixture.check("GET {a}k", "\"v\"");
    assert_eq!(fixture.node.keyspace().len(), 1);
}

#[test]
fn commands_are_checked_as_valkey_does() {
    let mut pair = Pair::new();
    let other = key_slot(b"c");
    let node = format!("NODE {TARGET_NAME}");
    for (line, expected) in [
        ("SLOTSRANGE 1 1 NODE x".to_owned(), "-ERR Slot 1 has no node served."),
        (format!("RANGE {SLOT} {SLOT} {node}"), "-ERR syntax error"),
        (format!("SLOTSRANGE {SLOT} 16384 {node}"), "-ERR Invalid or out of range slot"),
        (format!("SLOTSRANGE {SLOT} {SLOT} {SLOT} {SLOT} {SLOT}"), "-ERR Slot range 15495-15495 overlaps"),
        (
            format!("SLOTSRANGE {SLOT} 3 {node}"),
            "-ERR Start slot number 15495 is greater than end slot number 3.",
        ),
        (format!("SLOTSRANGE {other} {other} {node}"), "-ERR Slots are not served by this node."),
        (
            format!("SLOTSRANGE {SLOT} {SLOT} {other} {other} {node}"),
            "-ERR Requested slots span multiple shards",
        ),
        (format!("SLOTSRANGE {SLOT} {SLOT} NODE abc"), "-ERR Invalid node name: abc"),
        (format!("SLOTSRANGE {SLOT} {SLOT} NODE {}", "9".repeat(40)), "-ERR Unknown node name: 9999"),
        (
            format!("SLOTSRANGE {SLOT} {SLOT} NODE {}", "0".repeat(40)),
            "-ERR Target node can not be this node.",
        ),
    ] {
        pair.source.check_start(&format!("CLUSTER MIGRATESLOTS {line}"), expected);
    }
    pair.begin();
    pair.source.check(
        &format!("CLUSTER MIGRATESLOTS SLOTSRANGE {SLOT} {SLOT} {node}"),
        "-ERR I am already migrating slot 15495.",
    );
    pair.source.check_start(
        "CLUSTER SYNCSLOTS ACK",
        "-ERR CLUSTER SYNCSLOTS ACK should only be used by slot migration clients",
    );
    let mut replica = view(TARGET, SOURCE);
    replica.role = ViewRole::Replica(Some(SOURCE));
    show(&mut pair.target, replica, Vec::new());
    pair.run();
    assert_eq!(state(&mut pair.source), "failed");
    assert!(pair.source.run("CLUSTER GETSLOTMIGRATIONS").contains("can only be used on primary nodes"));
}

#[test]
fn the_rate_is_limited() {
    let mut pair = Pair::new();
    pair.source.configure(&["cluster-slot-migration-max-rate", "1000"]);
    pair.source.run(&format!("SET {{a}}k {}", "x".repeat(5000)));
    pair.begin();
    pair.run();
    let image = pair.source.host.images.pop().unwrap();
    let Fixture { node, host, .. } = &mut pair.source;
    node.snapshot_chunk(host.clock, host, &image);
    assert!(!node.wants_snapshot_bytes());
    pair.source.advance_ms(4000);
    assert!(!pair.source.node.wants_snapshot_bytes());
    pair.source.advance_ms(1500);
    assert!(pair.source.node.wants_snapshot_bytes());
}
