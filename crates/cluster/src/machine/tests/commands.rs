//! The CLUSTER commands that change state.

use super::*;

#[test]
fn commands_answer_as_redis_does() {
    let name = |bench: &Bench, node: usize| -> Arc<[u8]> { bench.ids[node].as_bytes()[..].into() };
    let mut primary = Bench::new(0);
    let unknown: Arc<[u8]> = b"nobody"[..].into();
    let (me, other, replica) = (name(&primary, 0), name(&primary, 1), name(&primary, 3));
    let set = |slot, action, keys_in_slot| ClusterCommand::SetSlot { slot, action, keys_in_slot };
    let meet = |host: &str, port| ClusterCommand::Meet { host: host.into(), port, bus_port: None };
    let replicate =
        |node: &Arc<[u8]>| ClusterCommand::Replicate { node: node.clone(), database_is_empty: true };
    let forget = |node: &Arc<[u8]>| ClusterCommand::Forget { node: node.clone() };
    for (command, reply) in [
        (meet("nonsense", 1), Err("ERR Invalid node address specified: nonsense:1")),
        (meet("127.0.0.1", 60_000), Err("ERR Invalid node address specified: 127.0.0.1:60000")),
        (meet("10.9.9.9", 7000), Ok("OK")),
        (ClusterCommand::AddSlots { slots: vec![1] }, Err("ERR Slot 1 is already busy")),
        (ClusterCommand::DeleteSlots { slots: vec![1, 1] }, Err("ERR Slot 1 specified multiple times")),
        (ClusterCommand::DeleteSlots { slots: vec![1, 4] }, Ok("OK")),
        (ClusterCommand::DeleteSlots { slots: vec![1] }, Err("ERR Slot 1 is already unassigned")),
        (ClusterCommand::AddSlots { slots: vec![1, 1] }, Err("ERR Slot 1 specified multiple times")),
        (ClusterCommand::AddSlots { slots: vec![1, 4] }, Ok("OK")),
        (
            ClusterCommand::FlushSlots { database_is_empty: false },
            Err("ERR DB must be empty to perform CLUSTER FLUSHSLOTS."),
        ),
        (set(2, SetSlotAction::Migrating(other.clone()), 0), Err("ERR I'm not the owner of hash slot 2")),
        (set(0, SetSlotAction::Importing(other.clone()), 0), Err("ERR I'm already the owner of hash slot 0")),
        (set(0, SetSlotAction::Migrating(unknown.clone()), 0), Err("ERR I don't know about node nobody")),
        (set(0, SetSlotAction::Migrating(replica.clone()), 0), Err("ERR Target node is not a master")),
        (set(0, SetSlotAction::Migrating(other.clone()), 0), Ok("OK")),
        (set(0, SetSlotAction::Node(unknown.clone()), 0), Err("ERR Unknown node nobody")),
        (
            set(0, SetSlotAction::Node(other.clone()), 3),
            Err(
                "ERR Can't assign hashslot 0 to a different node while I still hold keys for this hash slot.",
            ),
        ),
        (set(0, SetSlotAction::Node(other.clone()), 0), Ok("OK")),
        (replicate(&unknown), Err("ERR Unknown node nobody")),
        (replicate(&me), Err("ERR Can't replicate myself")),
        (replicate(&replica), Err("ERR I can only replicate a master, not a replica.")),
        (replicate(&other), Err("ERR To set a master the node must be empty and without assigned slots.")),
        (forget(&unknown), Err("ERR Unknown node nobody")),
        (forget(&me), Err("ERR I tried hard but I can't forget myself...")),
        (forget(&replica), Ok("OK")),
        (forget(&replica), Ok("OK")),
        (
            ClusterCommand::Failover { kind: FailoverKind::Force },
            Err("ERR You should send CLUSTER FAILOVER to a replica"),
        ),
        (ClusterCommand::SetConfigEpoch { epoch: -1 }, Err("ERR Invalid config epoch specified: -1")),
        (
            ClusterCommand::SetConfigEpoch { epoch: 1 },
            Err("ERR The user can assign a config epoch only when the node does not know any other node."),
        ),
        (ClusterCommand::BumpEpoch, Ok("BUMPED 7")),
        (ClusterCommand::BumpEpoch, Ok("STILL 7")),
        (ClusterCommand::SaveConfig, Ok("OK")),
        (ClusterCommand::Refresh, Ok("OK")),
        (
            ClusterCommand::Reset { kind: ResetKind::Soft, database_is_empty: false },
            Err("ERR CLUSTER RESET can't be called with master nodes containing keys"),
        ),
        (ClusterCommand::Reset { kind: ResetKind::Hard, database_is_empty: true }, Ok("OK")),
        (ClusterCommand::SetConfigEpoch { epoch: 5 }, Ok("OK")),
        (ClusterCommand::SetConfigEpoch { epoch: 5 }, Err("ERR Node config epoch is already non-zero")),
    ] {
        let text = format!("{command:?}");
        let expected = reply.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(primary.command(command), Some(expected), "{text}");
    }
    assert_ne!(primary.machine.id(), primary.ids[0]);
    assert_eq!(last_view(&primary).nodes.len(), 1);
}

#[test]
fn commands_of_a_replica() {
    let mut bench = Bench::new(3);
    let primary: Arc<[u8]> = bench.ids[0].as_bytes()[..].into();
    let set = ClusterCommand::SetSlot { slot: 0, action: SetSlotAction::Stable, keys_in_slot: 0 };
    assert_eq!(bench.command(set), Some(Err("ERR Please use SETSLOT only with masters.".to_owned())));
    let forget = ClusterCommand::Forget { node: primary };
    assert_eq!(bench.command(forget), Some(Err("ERR Can't forget my master!".to_owned())));
    bench.fail(0);
    let failover = ClusterCommand::Failover { kind: FailoverKind::Coordinated };
    let refusal = "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE".to_owned();
    assert_eq!(bench.command(failover), Some(Err(refusal)));

    let outputs = bench.give(Input::Command {
        ticket: 7,
        command: ClusterCommand::Failover { kind: FailoverKind::Takeover },
    });
    assert_eq!(orders(&outputs), [NodeOrder::BecomePrimary]);
    assert!(names(&bench, &outputs).contains(&"pong"));
    assert_eq!(bench.machine.me().config_epoch, 7);
    let reset = ClusterCommand::Reset { kind: ResetKind::Soft, database_is_empty: true };
    assert_eq!(bench.command(reset), Some(Ok("OK".to_owned())));
}

#[test]
fn a_reply_waits_for_the_save_and_comes_after_the_view() {
    let mut bench = Bench::new(0);
    bench.persists = false;
    let command = ClusterCommand::DeleteSlots { slots: vec![0] };
    let outputs = bench.give(Input::Command { ticket: 9, command });
    assert!(!outputs.iter().any(|output| matches!(output, Output::CommandReply { .. })));
    assert!(!last_view(&bench).owns(0));
    let ticket = saves(&outputs)[0];
    let outputs = bench.give(Input::Persisted { ticket });
    assert!(matches!(outputs[..], [Output::CommandReply { ticket: 9, result: Ok(CommandReply::Ok) }]));
}

#[test]
fn a_failed_save_ends_the_process_unless_it_was_asked_for() {
    let mut bench = Bench::new(0);
    bench.persists = false;
    let failed = |ticket| Input::PersistFailed { ticket, reason: "disk full".to_owned() };
    let outputs = bench.give(Input::Command { ticket: 9, command: ClusterCommand::SaveConfig });
    let outputs = bench.give(failed(saves(&outputs)[0]));
    let Output::CommandReply { result: Err(text), .. } = &outputs[0] else { panic!("{outputs:?}") };
    assert_eq!(text, "ERR error saving the cluster node config: disk full");
    let outputs = bench.give(Input::Command { ticket: 9, command: ClusterCommand::BumpEpoch });
    let outputs = bench.give(failed(saves(&outputs)[0]));
    assert!(outputs.iter().any(|output| matches!(output, Output::Fatal { .. })));
}
