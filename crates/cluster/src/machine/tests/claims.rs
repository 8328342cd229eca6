//! Votes on claims of slots: who gets them, and what is done with them.

use super::*;
use crate::SlotRanges;
use crate::messages::ClaimRequest;
use crate::slot_migration::AGREEMENT_MAX_MS;
use crate::wire::SHOAL_VERSION;

/// The slot that moves: of node 2 to begin with.
const SLOT: u16 = 2;

fn header(bench: &Bench, node: usize) -> Header {
    Header { shoal_version: SHOAL_VERSION, ..bench.header(node) }
}

fn pong_with(bench: &mut Bench, node: usize, header: Header) -> Vec<Output> {
    bench.receive(node, header, Body::Pong(Gossip::default()))
}

/// Node 1 asks for a vote: it is to claim [`SLOT`] of node 2 with this epoch.
fn ask(bench: &mut Bench, epoch: u64) -> Vec<Output> {
    let slots = Arc::new([SLOT].into_iter().collect());
    let claim = ClaimRequest { epoch, source: bench.ids[2], source_epoch: 3, slots };
    let extensions = Extensions { claims: vec![claim], ..Extensions::default() };
    let header = header(bench, 1);
    bench.receive(1, header, Body::Ping(Gossip { entries: Vec::new(), extensions }))
}

/// No election that was voted in is under way any more.
fn pass_time(bench: &mut Bench) {
    bench.after(2 * TIMEOUT_MS);
    bench.open_links();
}

/// The epochs of votes for node 1.
fn votes(bench: &Bench, outputs: &[Output]) -> Vec<u64> {
    let link = bench.link(1);
    let vote = |output: &Output| match output {
        Output::Send { link: to, message } if *to == link && message.body == Body::AuthAck => {
            Some(message.header.current_epoch)
        }
        _ => None,
    };
    outputs.iter().filter_map(vote).collect()
}

/// The replica of `primary` asks for a vote, and gets it.
fn elect_replica_of(bench: &mut Bench, primary: usize) {
    bench.fail(primary);
    let header = Header { current_epoch: 7, ..header(bench, primary + 3) };
    let outputs = bench.receive(primary + 3, header, Body::AuthRequest);
    assert!(names(bench, &outputs).contains(&"auth-ack"));
}

#[test]
fn one_vote_in_each_epoch_and_not_before_it_is_saved() {
    let mut bench = Bench::new(0);
    bench.persists = false;
    let outputs = ask(&mut bench, 9);
    assert_eq!(votes(&bench, &outputs), [], "it is not saved");
    bench.persists = true;
    let ticket = *saves(&outputs).last().unwrap();
    let outputs = bench.give(Input::Persisted { ticket });
    assert_eq!(votes(&bench, &outputs), [9]);
    assert_eq!(bench.machine.last_vote_epoch, 9);
    let outputs = ask(&mut bench, 9);
    assert_eq!(votes(&bench, &outputs), [9], "the vote may have been lost");
    let outputs = ask(&mut bench, 8);
    assert_eq!(votes(&bench, &outputs), [], "an election may have been won in that epoch");
    // Nor does a replica get a vote in the epoch.
    bench.fail(2);
    let request = Header { current_epoch: 9, ..header(&bench, 5) };
    let outputs = bench.receive(5, request, Body::AuthRequest);
    assert!(!names(&bench, &outputs).contains(&"auth-ack"));
    let outputs = ask(&mut bench, 10);
    assert_eq!(votes(&bench, &outputs), [10]);
}

/// A claimant or a source that was replaced, and has not heard of it, takes nothing from who was elected.
#[test]
fn no_vote_against_who_was_elected() {
    for primary in [1, 2] {
        let mut bench = Bench::new(0);
        elect_replica_of(&mut bench, primary);
        let outputs = ask(&mut bench, 9);
        assert_eq!(votes(&bench, &outputs), [], "of node {primary}");
        let said = header(&bench, primary + 3);
        pong_with(&mut bench, primary + 3, said.clone());
        pass_time(&mut bench);
        let outputs = ask(&mut bench, 9);
        assert_eq!(votes(&bench, &outputs), [], "it may have been elected since, and cut off");
        pong_with(&mut bench, primary + 3, said);
        let outputs = ask(&mut bench, 9);
        assert_eq!(votes(&bench, &outputs), [9], "the election has come to nothing");

        // Its claim is known by now.
        let mut bench = Bench::new(0);
        let elected = Header {
            primary: None,
            config_epoch: 7,
            flags: NodeFlags::PRIMARY,
            ..header(&bench, primary + 3)
        };
        pong_with(&mut bench, primary + 3, elected);
        let outputs = ask(&mut bench, 9);
        assert_eq!(votes(&bench, &outputs), [], "of node {primary}, which is known to be replaced");
    }
}

#[test]
fn no_vote_when_the_source_has_taken_a_grant_back() {
    for (config_epoch, expected) in [(8, vec![9]), (80, Vec::new())] {
        let mut bench = Bench::new(0);
        let source = Header { config_epoch, ..header(&bench, 2) };
        pong_with(&mut bench, 2, source);
        let outputs = ask(&mut bench, 9);
        assert_eq!(votes(&bench, &outputs), expected);
    }
}

/// A vote outlives the voter: whoever it was for may have been elected and cut off.
#[test]
fn a_vote_against_a_primary_is_remembered() {
    for forgets in [false, true] {
        let mut bench = Bench::new(0);
        elect_replica_of(&mut bench, 2);
        let saved = NodesConf::parse(&bench.machine.nodes_conf().to_string()).unwrap();
        let config = ClusterConfig { node_timeout_ms: TIMEOUT_MS, ..ClusterConfig::default() };
        let mut bench = Bench::start(config, saved.as_ref(), bench.ids.clone());
        pass_time(&mut bench);
        let outputs = ask(&mut bench, 9);
        assert_eq!(votes(&bench, &outputs), []);
        if forgets {
            let node = bench.ids[5].as_bytes()[..].into();
            assert_eq!(bench.command(ClusterCommand::Forget { node }), Some(Ok("OK".to_owned())));
        } else {
            let said = header(&bench, 5);
            pong_with(&mut bench, 5, said);
        }
        let outputs = ask(&mut bench, 9);
        assert_eq!(votes(&bench, &outputs), [9], "forgets: {forgets}");
        assert_eq!(bench.machine.nodes_conf().voted_against, []);
    }
}

/// Whom it has voted for before it was started anew a node of an older version does not know; whether it may have mattered it does.
#[test]
fn a_voter_that_has_just_started_is_careful() {
    for (last_vote, expected) in [(3, vec![9]), (4, Vec::new())] {
        let bench = Bench::new(0);
        let mut saved = bench.machine.nodes_conf();
        saved.last_vote_epoch = last_vote;
        let config = ClusterConfig { node_timeout_ms: TIMEOUT_MS, ..ClusterConfig::default() };
        let mut bench = Bench::start(config, Some(&saved), bench.ids.clone());
        let outputs = ask(&mut bench, 9);
        assert_eq!(votes(&bench, &outputs), expected, "the last vote was in epoch {last_vote}");
        pass_time(&mut bench);
        let outputs = ask(&mut bench, 10);
        assert_eq!(votes(&bench, &outputs), [10]);
    }
}

/// The machine is node 0, which is to take [`SLOT`] of node 2; the others are of this version.
fn claimant(shoal_version: u8) -> (Bench, Vec<Output>) {
    let mut bench = Bench::new(0);
    for node in [1, 2] {
        let header = Header { shoal_version, ..bench.header(node) };
        pong_with(&mut bench, node, header);
    }
    let outputs = agree(&mut bench, 5);
    (bench, outputs)
}

fn agree(bench: &mut Bench, ticket: u64) -> Vec<Output> {
    let slots: SlotRanges = [SLOT].into_iter().collect();
    let source = bench.ids[2];
    bench.give(Input::FromNode(NodeMessage::AgreeOnEpoch { ticket, above: 0, source, slots }))
}

/// The epochs for which votes are asked, with the node that is asked.
fn requests(bench: &Bench, outputs: &[Output]) -> Vec<(usize, u64)> {
    let asked = |output: &Output| {
        let Output::Send { link, message } = output else { return Vec::new() };
        let node = (0..6).find(|&node| node != 0 && bench.link(node) == *link);
        let claims = message.body.gossip().map(|gossip| gossip.extensions.claims.clone()).unwrap_or_default();
        claims.into_iter().filter_map(|claim| Some((node?, claim.epoch))).collect()
    };
    outputs.iter().flat_map(asked).collect()
}

fn agreed(outputs: &[Output]) -> Vec<(u64, u64)> {
    let agreed = |output: &Output| match output {
        Output::ToNode(MachineMessage::EpochAgreed { ticket, epoch }) => Some((*ticket, *epoch)),
        _ => None,
    };
    outputs.iter().filter_map(agreed).collect()
}

fn vote(bench: &mut Bench, node: usize, epoch: u64) -> Vec<(u64, u64)> {
    let header = Header { current_epoch: epoch, ..header(bench, node) };
    let outputs = bench.receive(node, header, Body::AuthAck);
    agreed(&outputs)
}

#[test]
fn a_majority_of_votes_is_an_agreement() {
    let (mut bench, outputs) = claimant(SHOAL_VERSION);
    assert_eq!(requests(&bench, &outputs), [(1, 7), (2, 7)]);
    assert_eq!(bench.machine.last_vote_epoch, 7, "it has voted itself");
    assert_eq!(vote(&mut bench, 4, 7), [], "a replica has no vote");
    assert_eq!(vote(&mut bench, 1, 6), [], "an older epoch");
    // Nobody answers: another epoch, and votes of both count.
    let outputs = bench.after(100);
    assert!(requests(&bench, &outputs).contains(&(2, 8)));
    assert_eq!(vote(&mut bench, 1, 7), [(5, 7)]);
    assert_eq!(vote(&mut bench, 2, 7), [], "only once");
    // It does not ask for ever.
    agree(&mut bench, 6);
    bench.after(AGREEMENT_MAX_MS);
    let epoch = bench.machine.current_epoch();
    assert!(epoch < 40, "{epoch} epochs were used up");
    let outputs = bench.after(5000);
    assert_eq!((requests(&bench, &outputs), bench.machine.current_epoch()), (Vec::new(), epoch));
}

/// Its own vote is as good as others': it knows that it has voted for a replica of the source.
#[test]
fn an_own_vote_may_not_count() {
    let mut bench = Bench::new(0);
    for node in [1, 2] {
        let header = header(&bench, node);
        pong_with(&mut bench, node, header);
    }
    elect_replica_of(&mut bench, 2);
    let outputs = agree(&mut bench, 5);
    let epoch = requests(&bench, &outputs)[0].1;
    assert_eq!(vote(&mut bench, 1, epoch), []);
    assert_eq!(vote(&mut bench, 2, epoch), [(5, epoch)]);
}

/// Redis does not vote on claims: a majority is to know the next epoch.
#[test]
fn without_votes_a_majority_is_to_know_the_next_epoch() {
    let (mut bench, outputs) = claimant(0);
    assert_eq!(requests(&bench, &outputs), []);
    assert_eq!(vote(&mut bench, 1, 7), []);
    let mut known = |epoch| {
        let header = Header { current_epoch: epoch, shoal_version: 0, ..bench.header(1) };
        agreed(&pong_with(&mut bench, 1, header))
    };
    assert_eq!(known(7), []);
    assert_eq!(known(8), [(5, 7)]);
}

/// A node that has just started has heard of nobody who votes; that is no reason to go without votes.
#[test]
fn votes_are_waited_for_before_it_is_known_who_gives_them() {
    let mut bench = Bench::new(0);
    agree(&mut bench, 5);
    let (header, node) = (Header { current_epoch: 20, ..header(&bench, 1) }, bench.ids[5]);
    assert_eq!(agreed(&bench.receive(1, header.clone(), Body::Fail { node })), []);
    pong_with(&mut bench, 1, header);
    let outputs = bench.after(100);
    assert!(!requests(&bench, &outputs).is_empty());
    assert_eq!(agreed(&outputs), []);
}

/// An own epoch that has risen since is not one that anybody has voted for.
#[test]
fn a_claim_with_an_old_epoch_is_refused() {
    for (epoch, expected) in [(9, true), (8, false)] {
        let mut bench = Bench::new(0);
        bench.machine.me_mut().config_epoch = 9;
        let (slots, from) = ([SLOT].into_iter().collect(), bench.ids[2]);
        let result = bench.command(ClusterCommand::TakeSlots { slots, from, epoch, epoch_max: 50 });
        let is_old = result == Some(Err(crate::slot_migration::EPOCH_IS_OLD.to_owned()));
        assert_eq!(
            (bench.machine.table.owner(SLOT) == Some(bench.machine.myself), is_old),
            (expected, !expected)
        );
    }
}

/// What a node has granted is not that of one that claims it with a smaller epoch than it did.
#[test]
fn a_granted_slot_is_claimed_above_the_epoch_it_was_claimed_with() {
    for (epoch, expected) in [(3, 2), (4, 1)] {
        let mut bench = Bench::new(0);
        let others: SlotSet = slots_of(2).iter().filter(|&slot| slot != SLOT).collect();
        let source = Header { config_epoch: 9, slots: Arc::new(others), ..header(&bench, 2) };
        pong_with(&mut bench, 2, source);
        let all: SlotSet = slots_of(1).iter().chain([SLOT]).collect();
        let claim = Header { config_epoch: epoch, slots: Arc::new(all), ..header(&bench, 1) };
        pong_with(&mut bench, 1, claim);
        let owner = bench.machine.table.owner(SLOT);
        assert_eq!(owner, Some(bench.key(expected)), "claimed with {epoch}");
    }
}

/// A replica that has slept does not get what its primary has given away, although that has a greater epoch than the new owner by now;
/// and it is told who has it.
#[test]
fn a_replica_is_not_elected_for_what_was_given_away() {
    for moves in [false, true] {
        let mut bench = Bench::new(0);
        if moves {
            let others: SlotSet = slots_of(2).iter().filter(|&slot| slot != SLOT).collect();
            let all: SlotSet = slots_of(1).iter().chain([SLOT]).collect();
            let claim = Header { config_epoch: 7, slots: Arc::new(all), ..header(&bench, 1) };
            pong_with(&mut bench, 1, claim);
            let source = Header { config_epoch: 9, slots: Arc::new(others), ..header(&bench, 2) };
            pong_with(&mut bench, 2, source);
        }
        bench.fail(2);
        let request = Header { current_epoch: 20, config_epoch: 9, ..header(&bench, 5) };
        let outputs = bench.receive(5, request, Body::AuthRequest);
        assert_eq!(names(&bench, &outputs).contains(&"auth-ack"), !moves);
        let is_told = messages(&outputs).iter().any(|message| match &message.body {
            Body::Update { node, slots, .. } => *node == bench.ids[1] && slots.contains(SLOT),
            _ => false,
        });
        assert_eq!(is_told, moves);
    }
}

/// A node that was elected, and died before its executor had deleted the keys of others' slots, deletes them when it starts anew. It does not
/// take them for slots that are on their way to it.
#[test]
fn keys_of_others_do_not_outlive_an_election() {
    for elected in [false, true] {
        let mut bench = Bench::new(3);
        if elected {
            bench.command(ClusterCommand::Failover { kind: FailoverKind::Takeover });
        }
        let saved = bench.machine.nodes_conf();
        let config = ClusterConfig { node_timeout_ms: TIMEOUT_MS, ..ClusterConfig::default() };
        let mut bench = Bench::start(config, Some(&saved), bench.ids.clone());
        let slots_with_keys = Box::new([0, SLOT].into_iter().collect());
        let outputs = bench.give(Input::FromNode(NodeMessage::Loaded { slots_with_keys }));
        let slots: SlotRanges = [SLOT].into_iter().collect();
        let expected = if elected { vec![NodeOrder::DropSlots { slots }] } else { Vec::new() };
        assert_eq!(orders(&outputs), expected);
        assert!(bench.machine.importing.is_empty());
    }
}

/// A message that was overtaken may show a slot that nobody else has; the epoch that its sender has come to since is not the slot's.
#[test]
fn an_overtaken_claim_has_its_own_epoch() {
    let mut bench = Bench::new(0);
    bench.machine.table.assign(SLOT, None);
    let others: SlotSet = slots_of(2).iter().filter(|&slot| slot != SLOT).collect();
    let later = Header { config_epoch: 9, slots: Arc::new(others), ..header(&bench, 2) };
    pong_with(&mut bench, 2, later);
    let overtaken = header(&bench, 2);
    pong_with(&mut bench, 2, overtaken);
    assert_eq!(bench.machine.table.claim(SLOT), Some((bench.key(2), 3)));
    let all: SlotSet = slots_of(1).iter().chain([SLOT]).collect();
    let claim = Header { config_epoch: 8, slots: Arc::new(all), ..header(&bench, 1) };
    pong_with(&mut bench, 1, claim);
    assert_eq!(bench.machine.table.owner(SLOT), Some(bench.key(1)));
}

/// The machine is node 0. It has granted a slot of its own, and takes it back from a target that has failed.
fn reclaimer() -> (Bench, Vec<Output>) {
    let mut bench = Bench::new(0);
    for node in [1, 2] {
        let header = header(&bench, node);
        pong_with(&mut bench, node, header);
    }
    bench.command(ClusterCommand::GrantSlots { slots: granted() });
    let above_epoch = Some(70);
    let outputs = bench.give(Input::FromNode(NodeMessage::Reclaim { slots: granted(), above_epoch }));
    (bench, outputs)
}

/// A slot of node 0.
const GRANTED: u16 = 0;

fn granted() -> SlotRanges {
    [GRANTED].into_iter().collect()
}

/// Whether the executor is told that it may serve the slot again, if that is its own.
fn is_released(outputs: &[Output]) -> bool {
    let is_told = |output: &Output| matches!(output, Output::ToNode(MachineMessage::Reclaimed { .. }));
    outputs.iter().any(is_told)
}

/// The target may have claimed the slots, and a majority may know: the source does not take them back by its own word.
#[test]
fn a_grant_is_taken_back_by_vote() {
    let (mut bench, mut outputs) = reclaimer();
    assert_eq!(
        requests(&bench, &outputs),
        [(1, 71), (2, 71)],
        "above what the target may have claimed them with"
    );
    // It does not give up.
    outputs.extend(bench.after(2 * AGREEMENT_MAX_MS));
    bench.open_links();
    let asked = bench.after(TIMEOUT_MS / 4);
    outputs.extend(asked.clone());
    assert!(!is_released(&outputs));
    assert!(!bench.machine.announced().slots.contains(GRANTED));
    let epoch = bench.machine.current_epoch();
    assert!(requests(&bench, &asked).contains(&(1, epoch)));
    let late = Header { current_epoch: 71, ..header(&bench, 1) };
    assert!(!is_released(&bench.receive(1, late, Body::AuthAck)), "it may have heard of another owner since");
    let header = Header { current_epoch: epoch, ..header(&bench, 1) };
    let outputs = bench.receive(1, header, Body::AuthAck);
    assert!(is_released(&outputs));
    assert_eq!((bench.machine.me().config_epoch, bench.machine.announced().config_epoch), (epoch, epoch));
    assert!(bench.machine.announced().slots.contains(GRANTED));
    let outputs = bench.after(2000);
    assert_eq!(requests(&bench, &outputs), []);
}

/// Somebody has heard the claim of the target, or of an election in the place of the source.
#[test]
fn a_grant_is_not_taken_back_from_who_has_the_slots() {
    for (votes, takes_all) in [(false, false), (false, true), (true, false)] {
        let (mut bench, outputs) = reclaimer();
        let epoch = requests(&bench, &outputs)[0].1;
        let slots = if takes_all { slots_of(0) } else { [GRANTED].into_iter().collect() };
        let update = Body::Update { node: bench.ids[1], config_epoch: 60, slots: Arc::new(slots) };
        if votes {
            // The majority has voted before.
            vote(&mut bench, 2, epoch);
        }
        let header = header(&bench, 2);
        let mut outputs = bench.receive(2, header, update);
        outputs.extend(bench.after(200));
        let owner = bench.machine.table.owner(GRANTED);
        assert_eq!(owner, Some(bench.key(usize::from(!votes))), "voted: {votes}, all: {takes_all}");
        assert_eq!(is_released(&outputs), !votes, "the executor redirects its clients");
        assert_eq!(bench.machine.me().is_replica(), takes_all);
        let outputs = bench.after(500);
        assert_eq!(requests(&bench, &outputs), []);
        vote(&mut bench, 2, epoch);
        assert_eq!(bench.machine.table.owner(GRANTED), owner, "a vote that comes late");
    }
}

/// Who knows that the target has claimed the slots does not vote, and says so.
#[test]
fn no_vote_against_the_claim_of_the_target() {
    for is_claimed in [false, true] {
        let mut bench = Bench::new(0);
        let rest: Arc<SlotSet> = Arc::new(slots_of(2).iter().filter(|&slot| slot != SLOT).collect());
        let source = Header { slots: rest.clone(), ..header(&bench, 2) };
        pong_with(&mut bench, 2, source);
        if is_claimed {
            let all: SlotSet = slots_of(1).iter().chain([SLOT]).collect();
            let claim = Header { config_epoch: 60, slots: Arc::new(all), ..header(&bench, 1) };
            pong_with(&mut bench, 1, claim);
        }
        let slots = Arc::new([SLOT].into_iter().collect());
        let claim = ClaimRequest { epoch: 71, source: bench.ids[2], source_epoch: 3, slots };
        let extensions = Extensions { claims: vec![claim], ..Extensions::default() };
        let asks = Header { slots: rest, ..header(&bench, 2) };
        let outputs = bench.receive(2, asks, Body::Ping(Gossip { entries: Vec::new(), extensions }));
        let to_source = |output: &Output| match output {
            Output::Send { link, message } if *link == bench.link(2) => Some(message.body.clone()),
            _ => None,
        };
        let told: Vec<Body> = outputs.iter().filter_map(to_source).collect();
        assert_eq!(told.contains(&Body::AuthAck), !is_claimed);
        let names_owner = |body: &Body| match body {
            Body::Update { node, config_epoch: 60, slots } => *node == bench.ids[1] && slots.contains(SLOT),
            _ => false,
        };
        assert_eq!(told.iter().any(names_owner), is_claimed);
    }
}
