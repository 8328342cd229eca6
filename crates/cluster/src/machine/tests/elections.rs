//! Who stands first, and when elections are held again.

use super::*;

/// Nodes 3 and 4 are replicas of node 0; the machine is node 3. `priorities` are theirs, `offsets` too.
fn siblings(priorities: [u32; 2], offsets: [u64; 2], is_shoal: bool) -> Bench {
    let mut bench = Bench::new(3);
    let mut config = (*bench.machine.config).clone();
    config.replica_priority = priorities[0];
    bench.give(Input::FromNode(NodeMessage::ConfigChanged(Arc::new(config))));
    let status = just_cut_off(offsets[0]);
    bench.give(Input::FromNode(NodeMessage::Status(status)));
    let primary = Some(bench.ids[0]);
    let shoal_version = u8::from(is_shoal);
    let header = Header { primary, replication_offset: offsets[1], shoal_version, ..bench.header(4) };
    let extensions =
        Extensions { replica_priority: Some(priorities[1]).filter(|_| is_shoal), ..Extensions::default() };
    bench.receive(4, header, Body::Pong(Gossip { entries: Vec::new(), extensions }));
    bench.fail(0);
    bench
}

#[test]
fn a_lower_priority_stands_first() {
    // Priorities and offsets of this replica and the other, whether the other is Shoal, and this one's rank and whether it is
    // spared the delay.
    let cases = [
        ([100, 100], [100, 100], true, (0, true)),
        ([50, 100], [100, 500], true, (0, true)),
        ([100, 50], [500, 100], true, (1, false)),
        ([100, 100], [100, 500], true, (1, false)),
        // Who has no data comes last.
        ([50, 100], [0, 500], true, (1, false)),
        // Redis ranks by data alone, and gets its usual delay.
        ([50, 100], [100, 500], false, (1, false)),
        ([100, 50], [500, 100], false, (0, false)),
    ];
    for (priorities, offsets, is_shoal, expected) in cases {
        let bench = siblings(priorities, offsets, is_shoal);
        let Election::Scheduled { at, rank, is_first, .. } = bench.machine.election else { panic!() };
        assert_eq!((rank, is_first), expected, "{priorities:?} {offsets:?} {is_shoal}");
        let delay_ms = at.ms_since(bench.now().monotonic);
        let expected_ms = if is_first { 100..101 } else { 500 + rank * 1000..1000 + rank * 1000 };
        assert!(expected_ms.contains(&delay_ms), "{delay_ms} {priorities:?} {offsets:?}");
    }
}

#[test]
fn priority_zero_never_stands_by_itself() {
    let mut bench = siblings([0, 100], [100, 100], true);
    assert!(bench.flags(3).has(NodeFlags::NO_FAILOVER), "the others leave it out");
    assert_eq!(elections(&bench.after(20_000)), 0);
    // The other way round: this one need not wait for it.
    let mut bench = Bench::new(3);
    let flags = NodeFlags::REPLICA | NodeFlags::NO_FAILOVER;
    let header = Header { primary: Some(bench.ids[0]), flags, replication_offset: 900, ..bench.header(4) };
    bench.receive(4, header, Body::Pong(Gossip::default()));
    bench.fail(0);
    assert!(matches!(bench.machine.election, Election::Scheduled { rank: 0, is_first: true, .. }));
    // An operator may still have it take over.
    let mut bench = siblings([0, 100], [100, 100], true);
    bench.command(ClusterCommand::Failover { kind: FailoverKind::Force }).unwrap().unwrap();
    bench.after(200);
    assert_eq!(elections(&bench.outputs), 1);
}

#[test]
fn priority_is_told_to_shoal_only() {
    let mut bench = Bench::new(3);
    let mut config = (*bench.machine.config).clone();
    config.replica_priority = 7;
    bench.give(Input::FromNode(NodeMessage::ConfigChanged(Arc::new(config))));
    for (shoal_version, expected) in [(1, Some(7)), (0, None)] {
        let header = Header { shoal_version, ..bench.header(1) };
        bench.receive(1, header.clone(), Body::Pong(Gossip::default()));
        let outputs = bench.receive(1, header, Body::Ping(Gossip::default()));
        let message = messages(&outputs).pop().unwrap();
        assert_eq!(message.body.gossip().unwrap().extensions.replica_priority, expected);
    }
}

/// In how many epochs votes are asked for.
fn elections(outputs: &[Output]) -> usize {
    let requests = messages(outputs).into_iter().filter(|message| message.body == Body::AuthRequest);
    requests.map(|message| message.header.current_epoch).collect::<std::collections::BTreeSet<u64>>().len()
}

/// How often votes are asked for within a second when nobody answers.
fn requests(voter_is_shoal: bool) -> usize {
    let mut bench = Bench::new(3);
    for node in [1, 2] {
        let header = Header { shoal_version: u8::from(voter_is_shoal), ..bench.header(node) };
        bench.receive(node, header, Body::Pong(Gossip::default()));
    }
    let status = just_cut_off(100);
    bench.give(Input::FromNode(NodeMessage::Status(status)));
    bench.fail(0);
    elections(&bench.after(1800))
}

#[test]
fn an_election_is_held_again_soon_only_where_voters_vote_again() {
    assert_eq!(requests(false), 1);
    assert!((2..=6).contains(&requests(true)), "{}", requests(true));
}

/// A dead shard whose primary nobody can replace, or that failed long ago, holds nobody up.
#[test]
fn shards_of_one_failure_stand_one_after_the_other() {
    let delay_ms = |other_fails: bool, replica_fails: bool, ago_ms: u64| {
        let mut bench = Bench::new(4);
        let status = just_cut_off(100);
        bench.give(Input::FromNode(NodeMessage::Status(status)));
        let (header, ids) = (bench.header(2), bench.ids.clone());
        if replica_fails {
            bench.receive(2, header.clone(), Body::Fail { node: ids[3] });
        }
        if other_fails {
            bench.receive(2, header.clone(), Body::Fail { node: ids[0] });
            bench.after(ago_ms);
        }
        bench.receive(2, header, Body::Fail { node: ids[1] });
        let Election::Scheduled { at, is_first: true, .. } = bench.machine.election else { panic!() };
        at.ms_since(bench.now().monotonic)
    };
    assert_eq!(delay_ms(false, false, 0), 100);
    assert_eq!(delay_ms(true, false, 0), 120);
    assert_eq!(delay_ms(true, true, 0), 100);
    assert_eq!(delay_ms(true, false, 4 * TIMEOUT_MS + 100), 100);
}
