//! Both ends, input by input.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use super::*;
use shoal_machine::Monotonic;

const TIMEOUT_MS: u64 = 60_000;

fn at(ms: u64) -> Monotonic {
    Monotonic::from_ms(ms)
}

fn view(slots_of: SlotsOf) -> ExportInput {
    ExportInput::View { slots_of, epoch: 7, is_target_gone: false, is_primary: true }
}

/// An export that has taken these inputs, and the outputs of the last one.
fn export(inputs: &[ExportInput]) -> (Export, Vec<ExportOutput>) {
    let mut outputs = Vec::new();
    let mut export = Export::new(at(0), TIMEOUT_MS, &mut outputs);
    assert_eq!(outputs, [ExportOutput::Connect]);
    for input in inputs {
        outputs.clear();
        export.handle(at(1), input.clone(), &mut outputs);
    }
    (export, outputs)
}

/// The inputs of an export up to a state of this name.
fn way_to(state: &str) -> Vec<ExportInput> {
    let ok = || ExportInput::Reply(Ok("OK".to_owned()));
    let way = [
        ("connecting", view(SlotsOf::Mine)),
        ("reading-auth-response", ExportInput::Connected { sends_auth: true }),
        ("reading-establish-response", ok()),
        ("waiting-to-snapshot", ok()),
        ("snapshotting", ExportInput::SnapshotBegan),
        ("replicating", ExportInput::SnapshotSent),
        ("waiting-to-pause", ExportInput::Message(LinkMessage::RequestPause)),
        ("failover-paused", ExportInput::Waiting(PAUSE_AT_MOST_BYTES)),
        ("failover-granted", ExportInput::Message(LinkMessage::RequestFailover)),
        ("success", view(SlotsOf::Target)),
    ];
    let end = way.iter().position(|(name, _)| *name == state).unwrap();
    way[..=end].iter().map(|(_, input)| input.clone()).collect()
}

const STATES: [&str; 9] = [
    "connecting",
    "reading-auth-response",
    "reading-establish-response",
    "waiting-to-snapshot",
    "snapshotting",
    "replicating",
    "waiting-to-pause",
    "failover-paused",
    "failover-granted",
];

#[test]
fn an_export_goes_its_way() {
    use ExportOutput::{
        BeginSnapshot, Close, Ended, PauseAll, PauseWrites, Release, Send, SendAuth, SendEstablish,
    };
    for (state, expected) in [
        ("reading-auth-response", vec![SendAuth]),
        ("reading-establish-response", vec![SendEstablish]),
        ("waiting-to-snapshot", vec![Send(LinkMessage::Ack), BeginSnapshot]),
        ("snapshotting", vec![]),
        ("replicating", vec![Send(LinkMessage::SnapshotEof)]),
        ("waiting-to-pause", vec![]),
        ("failover-paused", vec![PauseWrites, Send(LinkMessage::Paused)]),
        ("failover-granted", vec![PauseAll]),
        ("success", vec![Release, Close, Ended(Outcome::Success, String::new())]),
    ] {
        let (export, outputs) = export(&way_to(state));
        assert_eq!((export.state_word(), outputs), (state, expected));
    }
}

#[test]
fn too_much_to_send_puts_the_pause_off() {
    let (mut export, _) = export(&way_to("waiting-to-pause"));
    let mut outputs = Vec::new();
    export.handle(at(1), ExportInput::Waiting(PAUSE_AT_MOST_BYTES + 1), &mut outputs);
    assert_eq!((export.state_word(), outputs.len()), ("waiting-to-pause", 0));
}

/// Before the grant a lost link, a cancellation and a loss of the slots end a job at once, and clients go on.
#[test]
fn an_export_ends_at_once_before_the_grant() {
    for state in STATES.iter().filter(|state| **state != "failover-granted") {
        for (input, outcome) in [
            (ExportInput::LinkLost, Outcome::Failed),
            (ExportInput::Cancel, Outcome::Cancelled),
            (ExportInput::Abort("Data was flushed"), Outcome::Failed),
            (view(SlotsOf::Others), Outcome::Failed),
            (ExportInput::Message(LinkMessage::GaveUp), Outcome::Failed),
        ] {
            let mut way = way_to(state);
            way.push(input.clone());
            let (export, outputs) = export(&way);
            assert_eq!(export.state(), ExportState::Ended(outcome), "{state} {input:?}");
            let has = |wanted: &ExportOutput| outputs.contains(wanted);
            assert!(has(&ExportOutput::Close));
            assert_eq!(has(&ExportOutput::Release), *state == "failover-paused", "{state}");
            let has_child = matches!(*state, "snapshotting" | "waiting-to-snapshot");
            assert_eq!(has(&ExportOutput::CancelSnapshot), has_child, "{state}");
        }
    }
}

#[test]
fn a_silent_target_is_given_up_and_a_pause_ends() {
    for state in STATES.iter().filter(|state| !matches!(**state, "snapshotting" | "failover-granted")) {
        let (mut export, _) = export(&way_to(state));
        let mut outputs = Vec::new();
        let patience_ms = if *state == "failover-paused" { PAUSE_MAX_MS } else { TIMEOUT_MS };
        export.tick(at(patience_ms), &mut outputs);
        assert!(!export.has_ended(), "{state}");
        export.tick(at(patience_ms + 2), &mut outputs);
        assert!(export.has_ended(), "{state}");
    }
}

/// After the grant nothing is served before it is known what the target has done.
#[test]
fn a_grant_holds_until_it_is_known_what_has_happened() {
    let granted = way_to("failover-granted");
    let run = |more: &[ExportInput]| export(&[granted.as_slice(), more].concat());
    for input in [
        ExportInput::LinkLost,
        ExportInput::Cancel,
        ExportInput::Abort("x"),
        ExportInput::Unreachable("x".to_owned()),
        ExportInput::Reply(Err("LOADING".to_owned())),
        ExportInput::Reply(Ok("in-progress".to_owned())),
        ExportInput::Reply(Ok("success".to_owned())),
        view(SlotsOf::Mine),
    ] {
        let (export, outputs) = run(std::slice::from_ref(&input));
        assert_eq!(export.state_word(), "failover-granted", "{input:?}");
        assert!(!outputs.contains(&ExportOutput::Release), "{input:?}");
    }
    let (mut export, _) = run(&[ExportInput::LinkLost]);
    let mut outputs = Vec::new();
    export.tick(at(ASK_INTERVAL_MS), &mut outputs);
    assert_eq!(outputs, []);
    export.tick(at(ASK_INTERVAL_MS + 1), &mut outputs);
    assert_eq!(outputs, [ExportOutput::Connect]);
    outputs.clear();
    export.handle(at(300), ExportInput::Connected { sends_auth: true }, &mut outputs);
    assert_eq!(outputs, [ExportOutput::SendAuth, ExportOutput::SendStatus]);
    for (input, revokes) in [
        (ExportInput::Reply(Ok("failed".to_owned())), false),
        (ExportInput::Reply(Ok("unknown".to_owned())), false),
        (ExportInput::Message(LinkMessage::GaveUp), false),
        (view(SlotsOf::Others), false),
        (
            ExportInput::View { slots_of: SlotsOf::Mine, epoch: 7, is_target_gone: true, is_primary: true },
            true,
        ),
    ] {
        let (export, outputs) = run(&[ExportInput::LinkLost, input.clone()]);
        assert_eq!(export.state(), ExportState::Ended(Outcome::Failed), "{input:?}");
        let revoke = ExportOutput::Revoke { epoch_max: 7 + EPOCHS_GRANTED };
        let place = |wanted: &ExportOutput| outputs.iter().position(|output| output == wanted);
        assert_eq!(place(&revoke).is_some(), revokes, "{input:?}");
        assert!(
            place(&ExportOutput::Release) > place(&revoke),
            "{input:?}: first the epoch, then the clients"
        );
    }
}

fn import(messages: &[LinkMessage]) -> (Import, Vec<ImportOutput>) {
    let mut import = Import::new(at(0), TIMEOUT_MS);
    let mut outputs = Vec::new();
    for message in messages {
        outputs.clear();
        import.handle(at(1), ImportInput::Message(*message), &mut outputs);
    }
    (import, outputs)
}

#[test]
fn an_import_goes_its_way() {
    use ImportOutput::{AgreeOnEpoch, Claim, Close, Ended, Send, WaitForReplicas};
    let (mut import, outputs) = import(&[LinkMessage::Ack, LinkMessage::SnapshotEof]);
    assert_eq!((import.state_word(), outputs), ("waiting-for-paused", vec![AgreeOnEpoch { above: 0 }]));
    let mut take = |input| {
        let mut outputs = Vec::new();
        import.handle(at(2), input, &mut outputs);
        outputs
    };
    assert_eq!(take(ImportInput::EpochAgreed(8)), [Send(LinkMessage::RequestPause)]);
    assert_eq!(take(ImportInput::Message(LinkMessage::Paused)), [WaitForReplicas]);
    assert_eq!(take(ImportInput::ReplicasInStep), [Send(LinkMessage::RequestFailover)]);
    let granted = LinkMessage::FailoverGranted { epoch_max: 9, above: 7 };
    assert_eq!(take(ImportInput::Message(granted)), [Claim { epoch: 8, epoch_max: 9 }]);
    // The source has seen the claim already, and closed the link: that must not undo it.
    for input in
        [ImportInput::LinkLost, ImportInput::Abort("x".to_owned()), ImportInput::Message(LinkMessage::Ack)]
    {
        assert_eq!(take(input), []);
    }
    assert_eq!(take(ImportInput::Claimed(Ok(()))), [Close, Ended(Outcome::Success, String::new())]);
    assert_eq!(import.status_word(), "success");
}

/// The target may have given a part to a third node before this one hears of the rest: that is not served here again.
#[test]
fn a_part_that_went_on_does_not_end_a_grant() {
    for (state, slots_of, expected) in [
        ("failover-granted", SlotsOf::Partly, "failover-granted"),
        ("failover-granted", SlotsOf::Others, "failed"),
        ("failover-granted", SlotsOf::Target, "success"),
        ("failover-paused", SlotsOf::Partly, "failed"),
    ] {
        let (mut export, _) = export(&way_to(state));
        let mut outputs = Vec::new();
        export.handle(at(1), view(slots_of), &mut outputs);
        assert_eq!(export.state_word(), expected, "{slots_of:?} in {state}");
    }
}

/// The target is told how great an epoch the claims may have that the source has sent last.
#[test]
fn a_grant_says_between_which_epochs() {
    let (mut export, _) = export(&way_to("failover-granted"));
    for (config_epoch, epoch_max) in [(5, 7 + EPOCHS_GRANTED), (20, 20 + EPOCHS_GRANTED)] {
        let mut outputs = Vec::new();
        export.handle(at(1), ExportInput::GrantMade { config_epoch }, &mut outputs);
        let granted = LinkMessage::FailoverGranted { epoch_max, above: config_epoch };
        assert_eq!(outputs, [ExportOutput::Send(granted)]);
    }
}

/// The source has come to a greater epoch than the one that was agreed on: another one is.
#[test]
fn an_epoch_that_is_too_small_is_not_claimed_with() {
    let granted_at = |above| {
        let (mut import, _) = import(&[LinkMessage::Ack, LinkMessage::SnapshotEof]);
        let granted = LinkMessage::FailoverGranted { epoch_max: 70, above };
        let mut outputs = Vec::new();
        for input in [
            ImportInput::EpochAgreed(8),
            ImportInput::Message(LinkMessage::Paused),
            ImportInput::ReplicasInStep,
            ImportInput::Message(granted),
        ] {
            outputs.clear();
            import.handle(at(2), input, &mut outputs);
        }
        (import, outputs)
    };
    assert_eq!(granted_at(7).1, [ImportOutput::Claim { epoch: 8, epoch_max: 70 }]);
    let (mut import, mut outputs) = granted_at(8);
    assert_eq!(outputs, [ImportOutput::AgreeOnEpoch { above: 8 }]);
    outputs.clear();
    // The source serves nothing meanwhile, and asks.
    import.handle(at(3), ImportInput::LinkLost, &mut outputs);
    assert_eq!((outputs.as_slice(), import.status_word()), (&[][..], "in-progress"));
    import.handle(at(3), ImportInput::EpochAgreed(11), &mut outputs);
    assert_eq!(outputs, [ImportOutput::Claim { epoch: 11, epoch_max: 70 }]);
    // Without a majority it gives up, and can take nothing any more.
    let (mut import, _) = granted_at(8);
    outputs.clear();
    import.tick(at(2 + AGREEMENT_MAX_MS), &mut outputs);
    assert_eq!(
        outputs,
        [ImportOutput::Send(LinkMessage::GaveUp), ImportOutput::Close, ImportOutput::CleanUp]
    );
    outputs.clear();
    import.handle(at(20_000), ImportInput::EpochAgreed(11), &mut outputs);
    assert_eq!((outputs.as_slice(), import.status_word()), (&[][..], "failed"));
    assert_eq!(granted_at(70).0.status_word(), "failed");
}

/// The target has come to a greater epoch than the one that was agreed on, by another import: it asks again.
#[test]
fn a_claim_with_an_old_epoch_is_made_anew() {
    let (mut import, _) = import(&[LinkMessage::Ack, LinkMessage::SnapshotEof]);
    let mut outputs = Vec::new();
    for (input, expected) in [
        (ImportInput::EpochAgreed(8), ImportOutput::Send(LinkMessage::RequestPause)),
        (ImportInput::Message(LinkMessage::Paused), ImportOutput::WaitForReplicas),
        (ImportInput::EpochIsOld { epoch_max: 70 }, ImportOutput::WaitForReplicas),
        (ImportInput::ReplicasInStep, ImportOutput::Send(LinkMessage::RequestFailover)),
        (
            ImportInput::Message(LinkMessage::FailoverGranted { epoch_max: 70, above: 7 }),
            ImportOutput::Claim { epoch: 8, epoch_max: 70 },
        ),
        (ImportInput::EpochIsOld { epoch_max: 70 }, ImportOutput::AgreeOnEpoch { above: 0 }),
        (ImportInput::EpochAgreed(12), ImportOutput::Claim { epoch: 12, epoch_max: 70 }),
    ] {
        import.handle(at(2), input, &mut outputs);
        assert_eq!(outputs.last(), Some(&expected));
    }
    assert_eq!(outputs.len(), 6);
}

/// What a failed target is granted would have to be taken back at once.
#[test]
fn nothing_is_granted_to_a_target_that_has_failed() {
    for (is_target_gone, expected) in [(false, "failover-granted"), (true, "failed")] {
        let (mut export, _) = export(&way_to("failover-paused"));
        let mut outputs = Vec::new();
        let view = ExportInput::View { slots_of: SlotsOf::Mine, epoch: 7, is_target_gone, is_primary: true };
        export.handle(at(1), view, &mut outputs);
        export.handle(at(1), ExportInput::Message(LinkMessage::RequestFailover), &mut outputs);
        assert_eq!(export.state_word(), expected);
    }
}

#[test]
fn without_a_majority_nothing_is_taken() {
    let (mut import, _) = import(&[LinkMessage::Ack, LinkMessage::SnapshotEof]);
    let mut outputs = Vec::new();
    import.tick(at(AGREEMENT_MAX_MS), &mut outputs);
    assert_eq!(import.state_word(), "waiting-for-paused");
    import.tick(at(AGREEMENT_MAX_MS + 1), &mut outputs);
    assert!(outputs.contains(&ImportOutput::Send(LinkMessage::GaveUp)));
    assert_eq!(import.state_word(), "cleaning-up");
}

#[test]
fn replicas_are_not_waited_for_without_end() {
    let (mut import, _) = import(&[LinkMessage::Ack, LinkMessage::SnapshotEof, LinkMessage::Paused]);
    let mut outputs = Vec::new();
    import.tick(at(REPLICA_WAIT_MS), &mut outputs);
    assert_eq!(import.state_word(), "waiting-for-replicas");
    import.tick(at(REPLICA_WAIT_MS + 1), &mut outputs);
    assert!(outputs.contains(&ImportOutput::Send(LinkMessage::RequestFailover)));
}

/// Whatever ends an import early has its keys deleted, and it cannot take the slots any more.
#[test]
fn an_import_that_fails_cleans_up() {
    let granted = LinkMessage::FailoverGranted { epoch_max: 9, above: 0 };
    let way = [LinkMessage::Ack, LinkMessage::SnapshotEof, LinkMessage::Paused];
    for length in 0..=way.len() {
        for input in [
            ImportInput::LinkLost,
            ImportInput::Abort("x".to_owned()),
            ImportInput::Message(LinkMessage::RequestPause),
        ] {
            let (mut import, _) = import(&way[..length]);
            let mut outputs = Vec::new();
            import.handle(at(2), input.clone(), &mut outputs);
            assert!(outputs.contains(&ImportOutput::CleanUp), "{input:?} after {length}");
            assert_eq!(import.status_word(), "failed");
            outputs.clear();
            import.handle(at(3), ImportInput::Message(granted), &mut outputs);
            assert_eq!(outputs, []);
            import.handle(at(3), ImportInput::CleanedUp, &mut outputs);
            assert!(matches!(outputs.last(), Some(ImportOutput::Ended(Outcome::Failed, _))));
        }
    }
}

#[test]
fn a_replica_follows_an_import() {
    let take = |input: ImportInput| {
        let mut import = Import::elsewhere(at(0), TIMEOUT_MS);
        let mut outputs = Vec::new();
        import.tick(at(TIMEOUT_MS * 2), &mut outputs);
        import.handle(at(1), input, &mut outputs);
        (import.state(), outputs)
    };
    let finished = |is_success| ImportInput::Finished { is_success, message: String::new() };
    assert_eq!(take(finished(true)).0, ImportState::Ended(Outcome::Success));
    let (state, outputs) = take(finished(false));
    assert_eq!(state, ImportState::Ended(Outcome::Failed));
    assert!(!outputs.contains(&ImportOutput::CleanUp), "the primary has deleted the keys");
    let (state, outputs) = take(ImportInput::Promoted { owns_slots: true });
    assert_eq!(state, ImportState::Ended(Outcome::Success));
    assert!(outputs.contains(&ImportOutput::CleanUpOthers), "some may have gone on to others");
    let (state, outputs) = take(ImportInput::Promoted { owns_slots: false });
    assert_eq!(state, ImportState::CleaningUp(Outcome::Failed));
    assert!(outputs.contains(&ImportOutput::CleanUp));
    assert_eq!(take(ImportInput::Abort("x".to_owned())).0, ImportState::OccurringOnPrimary);
}
