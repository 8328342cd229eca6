//! Slots that move: what is on its way, what a restart brings back, and who may not speak for a slot.

use super::*;

/// A primary's header with other slots and another epoch.
fn claim(bench: &Bench, node: usize, config_epoch: u64, slots: SlotSet) -> Header {
    Header { config_epoch, current_epoch: 20, slots: Arc::new(slots), ..bench.header(node) }
}

fn without(slots: SlotSet, slot: u16) -> SlotSet {
    slots.iter().filter(|&other| other != slot).collect()
}

fn with(slots: SlotSet, slot: u16) -> SlotSet {
    slots.iter().chain([slot]).collect()
}

fn owner(bench: &Bench, slot: u16) -> Option<NodeId> {
    bench.machine.table.owner(slot).and_then(|key| bench.machine.table.get(key)).map(|node| node.id)
}

fn pong_with(bench: &mut Bench, node: usize, header: Header) -> Vec<Output> {
    bench.receive(node, header, Body::Pong(Gossip::default()))
}

fn updates(outputs: &[Output]) -> Vec<(NodeId, u64, bool)> {
    let update = |message: &Arc<Message>| match &message.body {
        Body::Update { node, config_epoch, slots } => Some((*node, *config_epoch, slots.contains(1))),
        _ => None,
    };
    messages(outputs).iter().filter_map(update).collect()
}

/// Node 1 has granted slot 1 and come to epoch 9. A node that knows this and starts anew must not tell the new owner, with its
/// smaller epoch, that the slot is node 1's.
#[test]
fn a_restart_does_not_bring_back_what_nobody_claims() {
    let mut bench = Bench::new(0);
    let header = claim(&bench, 1, 9, without(slots_of(1), 1));
    let outputs = pong_with(&mut bench, 1, header);
    let saved = outputs.iter().find_map(|output| match output {
        Output::Persist { contents, .. } => Some(contents.to_string()),
        _ => None,
    });
    let saved = NodesConf::parse(&saved.unwrap()).unwrap();
    let config = ClusterConfig { node_timeout_ms: TIMEOUT_MS, ..ClusterConfig::default() };
    let mut bench = Bench::start(config, saved.as_ref(), bench.ids.clone());
    assert_eq!(owner(&bench, 1), Some(bench.ids[1]), "requests are still redirected there");
    let header = claim(&bench, 2, 8, with(slots_of(2), 1));
    let outputs = pong_with(&mut bench, 2, header);
    assert_eq!(updates(&outputs), []);
    assert_eq!(owner(&bench, 1), Some(bench.ids[2]));
}

/// Only messages whose slots are looked at bring a config epoch; else an old set of slots stands with a new epoch.
#[test]
fn an_epoch_comes_with_its_slots() {
    let mut bench = Bench::new(0);
    let fail = Body::Fail { node: bench.ids[5] };
    let header = claim(&bench, 1, 9, without(slots_of(1), 1));
    bench.receive(1, header, fail);
    let header = claim(&bench, 2, 8, with(slots_of(2), 1));
    let outputs = pong_with(&mut bench, 2, header);
    assert_eq!((owner(&bench, 1), updates(&outputs)), (Some(bench.ids[2]), Vec::new()));
}

/// A message that a later one has overtaken does not bring a claim back.
#[test]
fn what_was_overtaken_claims_nothing_again() {
    let mut bench = Bench::new(0);
    let header = claim(&bench, 1, 9, without(slots_of(1), 1));
    pong_with(&mut bench, 1, header);
    let header = bench.header(1);
    pong_with(&mut bench, 1, header);
    let header = claim(&bench, 2, 8, with(slots_of(2), 1));
    let outputs = pong_with(&mut bench, 2, header);
    assert_eq!((owner(&bench, 1), updates(&outputs)), (Some(bench.ids[2]), Vec::new()));
    // Nor does it take one away.
    let header = bench.header(2);
    pong_with(&mut bench, 2, header);
    assert!(!bench.machine.table.is_unclaimed(1));
}

/// A granted slot is the target's to take, not a former owner's who comes back with an old claim; that one is corrected.
#[test]
fn a_granted_slot_is_not_given_to_who_slept() {
    let mut bench = Bench::new(1);
    let grant = ClusterCommand::GrantSlots { slots: [1].into_iter().collect() };
    let outputs = bench.give(Input::Command { ticket: 7, command: grant });
    let reply = outputs.iter().find_map(|output| match output {
        Output::CommandReply { ticket: 7, result } => result.as_ref().ok(),
        _ => None,
    });
    assert_eq!(reply.and_then(CommandReply::number), Some(2), "the epoch with which it was claimed");
    let header = claim(&bench, 0, 1, with(slots_of(0), 1));
    let outputs = pong_with(&mut bench, 0, header);
    assert_eq!(owner(&bench, 1), Some(bench.ids[1]));
    assert_eq!(updates(&outputs), [(bench.ids[1], 2, true)]);
    // This node may come to a greater epoch meanwhile: the claim of the target counts nevertheless.
    bench.command(ClusterCommand::BumpEpoch);
    let header = claim(&bench, 2, 5, with(slots_of(2), 1));
    let outputs = pong_with(&mut bench, 2, header);
    assert_eq!(owner(&bench, 1), Some(bench.ids[2]));
    assert_eq!(orders(&outputs), [NodeOrder::HideSlots { slots: [1].into_iter().collect() }]);
}

fn drops(outputs: &[Output]) -> bool {
    orders(outputs).contains(&NodeOrder::DropSlots { slots: [1].into_iter().collect() })
}

/// Node 1 has lost slot 1 to node 2.
fn giver() -> Bench {
    let mut bench = Bench::new(1);
    let header = claim(&bench, 2, 5, with(slots_of(2), 1));
    let outputs = pong_with(&mut bench, 2, header);
    assert_eq!(orders(&outputs), [NodeOrder::HideSlots { slots: [1].into_iter().collect() }]);
    bench
}

/// The replica of node 1 could be elected, and bring slot 1 back: it is to have the keys then.
#[test]
fn keys_are_not_deleted_before_all_replicas_know_the_new_owner() {
    let mut bench = giver();
    let outputs = bench.after(100);
    assert!(sent(&bench, &outputs).contains(&("ping", 4)), "the replica is asked");
    let outputs = bench.pong(4);
    assert!(!drops(&outputs));
    assert_eq!(updates(&outputs), [(bench.ids[2], 5, true)], "and told");
    let another = Header { primary: Some(bench.ids[2]), ..bench.header(5) };
    assert!(!drops(&pong_with(&mut bench, 5, another)), "a replica of another node");
    // It has not heard of all that node 1 has claimed: it may come to know of slot 1 only then.
    let early = Header { config_epoch: 1, ..claim(&bench, 4, 2, without(slots_of(1), 1)) };
    assert!(!drops(&pong_with(&mut bench, 4, early)));
    let aware = claim(&bench, 4, 2, without(slots_of(1), 1));
    let outputs = pong_with(&mut bench, 4, aware);
    assert!(drops(&outputs));
    let outputs = bench.after(100);
    assert!(!sent(&bench, &outputs).contains(&("ping", 4)), "it is all done");
}

#[test]
fn keys_are_not_kept_for_replicas_that_have_failed() {
    let mut bench = giver();
    assert!(!drops(&bench.after(100)));
    let (header, node) = (bench.header(2), bench.ids[4]);
    let mut outputs = bench.receive(2, header, Body::Fail { node });
    outputs.extend(bench.after(100));
    assert!(drops(&outputs));
}

/// What has come back, or is to be filled by hand, the executor empties at once: what is there later has come since.
#[test]
fn keys_of_slots_that_come_back_are_not_deleted_later() {
    for by_hand in [false, true] {
        let mut bench = giver();
        let node = bench.ids[2].as_bytes()[..].into();
        let command = if by_hand {
            let action = SetSlotAction::Importing(node);
            ClusterCommand::SetSlot { slot: 1, action, keys_in_slot: 0 }
        } else {
            let (slots, from) = ([1].into_iter().collect(), bench.ids[2]);
            ClusterCommand::TakeSlots { slots, from, epoch: 7, epoch_max: 50 }
        };
        assert_eq!(bench.command(command), Some(Ok("OK".to_owned())));
        let epoch = bench.machine.me().config_epoch;
        let aware = claim(&bench, 4, epoch, without(slots_of(1), 1));
        assert!(!drops(&pong_with(&mut bench, 4, aware)));
        assert!(!drops(&bench.after(300)));
    }
}

/// The claim after a grant counts against any epoch of a source that does not claim the slots; not against one that does again.
#[test]
fn slots_are_taken_from_a_source_that_does_not_claim_them() {
    for (is_claimed, epoch, epoch_max, expected) in
        [(false, 8, 50, true), (true, 8, 50, false), (true, 10, 50, true), (false, 8, 7, false)]
    {
        let mut bench = Bench::new(0);
        let slots = if is_claimed { slots_of(1) } else { without(slots_of(1), 1) };
        let header = claim(&bench, 1, 9, slots);
        pong_with(&mut bench, 1, header);
        let (slots, from) = ([1].into_iter().collect(), bench.ids[1]);
        let take = ClusterCommand::TakeSlots { slots, from, epoch, epoch_max };
        bench.give(Input::Command { ticket: 7, command: take });
        let is_mine = owner(&bench, 1) == Some(bench.ids[0]);
        assert_eq!(is_mine, expected, "claimed: {is_claimed}, epoch {epoch} of {epoch_max}");
    }
}

/// A replica that never had the data of its primary is not elected in its place, not even after a restart.
#[test]
fn data_of_somebody_else_keep_from_election() {
    // The link may have broken before anybody told that it was up.
    let in_step = Input::FromNode(NodeMessage::Status(NodeStatus {
        replication_offset: 50,
        primary_link: PrimaryLink::Down { since_ms: 10 },
        has_been_in_step: true,
    }));
    for (is_in_step, restarts) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut bench = Bench::new(3);
        let node = bench.ids[1].as_bytes()[..].into();
        bench.command(ClusterCommand::Replicate { node, database_is_empty: true });
        if is_in_step {
            bench.give(in_step.clone());
        }
        if restarts {
            let saved = bench.outputs.iter().rev().find_map(|output| match output {
                Output::Persist { contents, .. } => Some(contents.to_string()),
                _ => None,
            });
            let saved = NodesConf::parse(&saved.unwrap()).unwrap();
            let config = ClusterConfig { node_timeout_ms: TIMEOUT_MS, ..ClusterConfig::default() };
            bench = Bench::start(config, saved.as_ref(), bench.ids.clone());
            [0, 2].into_iter().for_each(|node| drop(bench.pong(node)));
        }
        bench.fail(1);
        let outputs = bench.after(TIMEOUT_MS * 3);
        let asks = messages(&outputs).iter().any(|message| message.body == Body::AuthRequest);
        assert_eq!(asks, is_in_step, "in step: {is_in_step}, started anew: {restarts}");
    }
}
