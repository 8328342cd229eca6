//! `--cluster fix`: closes open slots, covers uncovered ones, and leaves every slot with one owner.
//!
//! What cannot be done without a guess is asked, or refused.

use super::check::{self, Findings};
use super::client::Cluster;
use super::fix_guess::{self, Verdict};
use super::info::KeyCounts;
use super::log::{Level, log};
use super::moving::MoveOptions;
use super::node::format_slots;
use crate::console::out;
use crate::exit::{Exit, Step};
use crate::options::Options;
use shoal_protocol::slot::SLOT_COUNT;
use std::collections::{BTreeMap, BTreeSet};

/// Moves that only carry keys, with a line for each.
const COLD: MoveOptions = MoveOptions { verbose: true, cold: true, fix: true };
/// Moves that open and close the slot, with a line for each.
const WARM: MoveOptions = MoveOptions { verbose: true, cold: false, fix: true };

/// Checks a cluster and mends what it finds.
pub(super) fn run(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let mut cluster = super::load(arguments, options)?;
    KeyCounts::collect(&mut cluster)?.print(&cluster);
    check::print_headline(&cluster);
    cluster.members.iter().for_each(|member| out!("{}\n", member.node.describe(cluster.style)));
    let views = check::views(&mut cluster.members);
    let mut findings = check::diagnose(&cluster.nodes(), &views);
    let mut is_sound = findings.consistent;
    check::print_agreement(&findings);
    check::print_open_slots(&findings);
    let mut are_open_fixed = true;
    for slot in open_slots(&findings) {
        require_reachable(&cluster, "open slots", options)?;
        are_open_fixed = fix_open_slot(&mut cluster, slot, options)?;
        is_sound = are_open_fixed;
        if !is_sound {
            break;
        }
    }
    let covered: BTreeSet<u16> =
        cluster.members.iter().flat_map(|member| member.node.slots.iter().copied()).collect();
    findings.uncovered = (0..SLOT_COUNT).filter(|slot| !covered.contains(slot)).collect();
    check::print_coverage(&findings);
    if !findings.uncovered.is_empty() {
        require_reachable(&cluster, "slots coverage", options)?;
        let count = findings.uncovered.len();
        is_sound = cover(&mut cluster, &findings.uncovered, options)? == count && are_open_fixed;
    }
    if options.cluster.search_multiple_owners {
        is_sound = fix_multiple_owners(&mut cluster, options)? && is_sound;
    }
    Ok(i32::from(!is_sound))
}

fn open_slots(findings: &Findings) -> BTreeSet<u16> {
    let nodes = findings.migrating.iter().chain(&findings.importing);
    nodes.flat_map(|(_, slots)| slots.iter().copied()).collect()
}

/// Without the primaries that cannot be reached, what they hold looks as if it were lost.
fn require_reachable(cluster: &Cluster, what: &str, options: &Options) -> Step {
    let count = cluster.unreachable_primaries;
    if count == 0 || options.cluster.fix_with_unreachable_primaries {
        return Ok(());
    }
    let text = format!(
        "*** Fixing {what} with {count} unreachable masters is dangerous: redis-cli will assume that slots about masters that \
         are not reachable are not covered, and will try to reassign them to the reachable nodes. This can cause data loss \
         and is rarely what you want to do. If you really want to proceed use the --cluster-fix-with-unreachable-masters \
         option.\n"
    );
    log(Level::Warning, &text);
    Err(Exit(1))
}

/// The nodes that have to do with an open slot.
#[derive(Debug, Default)]
struct Parties {
    /// They own it or hold keys of it.
    owners: Vec<usize>,
    migrating: Vec<usize>,
    importing: Vec<usize>,
}

/// Mends a slot that is leaving or arriving somewhere. False if it cannot be done.
fn fix_open_slot(cluster: &mut Cluster, slot: u16, options: &Options) -> Step<bool> {
    log(Level::Information, &format!(">>> Fixing open slot {slot}\n"));
    let mut parties = find_parties(cluster, slot)?;
    let single = if let [owner] = parties.owners[..] { Some(owner) } else { None };
    find_states(cluster, slot, single, &mut parties)?;
    let shown = (addresses(cluster, &parties.migrating), addresses(cluster, &parties.importing));
    if !shown.0.is_empty() {
        out!("Set as migrating in: {}\n", shown.0);
    }
    if !shown.1.is_empty() {
        out!("Set as importing in: {}\n", shown.1);
    }
    let owner = match single {
        Some(owner) => owner,
        None => match choose_owner(cluster, slot, &mut parties, options)? {
            Some(owner) => owner,
            None => return Ok(false),
        },
    };
    if parties.owners.len() > 1 {
        depose_others(cluster, slot, owner, &mut parties)?;
    }
    if single.is_none() && parties.owners.len() > 1 {
        fix_guess::wait_until_served(cluster, &parties.owners, options)?;
    }
    match (&parties.migrating[..], &parties.importing[..]) {
        (&[source], &[target]) => {
            let (from, to) = (address(cluster, source), address(cluster, target));
            log(Level::Information, &format!(">>> Case 1: Moving slot {slot} from {from} to {to}\n"));
            cluster.move_slot(slot, source, target, WARM, options)?;
            Ok(true)
        }
        ([], importing) if !importing.is_empty() => {
            let importing = importing.to_vec();
            bring_keys_home(cluster, slot, owner, &importing, options)?;
            Ok(true)
        }
        (&[source], importing) if importing.len() > 1 => {
            let importing = importing.to_vec();
            finish_or_close(cluster, slot, source, &importing, owner, &shown, options)
        }
        (&[source], []) if source == owner || cluster.count_keys(source, slot)? == 0 => {
            let text = format!(">>> Case 4: Closing slot {slot} on {}\n", address(cluster, source));
            log(Level::Information, &text);
            cluster.set_stable(source, slot)?;
            Ok(true)
        }
        _ => Ok(cannot_fix(cluster, owner, &shown)),
    }
}

fn cannot_fix(cluster: &Cluster, owner: usize, shown: &(String, String)) -> bool {
    let text = format!(
        "[ERR] Sorry, redis-cli can't fix this slot yet (work in progress). Slot is set as migrating in {}, as importing in \
         {}, owner is {}\n",
        shown.0,
        shown.1,
        address(cluster, owner)
    );
    log(Level::Error, &text);
    false
}

fn find_parties(cluster: &mut Cluster, slot: u16) -> Step<Parties> {
    let mut parties = Parties::default();
    for index in primaries(cluster) {
        if cluster.members[index].node.slots.binary_search(&slot).is_ok() {
            parties.owners.push(index);
        } else if cluster.count_keys(index, slot)? > 0 {
            let text =
                format!("*** Found keys about slot {slot} in non-owner node {}!\n", address(cluster, index));
            log(Level::Warning, &text);
            parties.owners.push(index);
        }
    }
    Ok(parties)
}

/// Who says that the slot is leaving or arriving. Whoever just holds keys of it counts as one where it is arriving.
fn find_states(cluster: &mut Cluster, slot: u16, owner: Option<usize>, parties: &mut Parties) -> Step {
    for index in primaries(cluster) {
        let node = &cluster.members[index].node;
        if node.migrating.contains_key(&slot) {
            parties.migrating.push(index);
        } else if node.importing.contains_key(&slot) {
            parties.importing.push(index);
        } else if Some(index) != owner && cluster.count_keys(index, slot)? > 0 {
            let text = format!("*** Found keys about slot {slot} in node {}!\n", address(cluster, index));
            log(Level::Warning, &text);
            parties.importing.push(index);
        }
    }
    Ok(())
}

/// Makes the primary with the most keys of a slot its owner, or the one that the options tell where that is a guess.
fn choose_owner(
    cluster: &mut Cluster,
    slot: u16,
    parties: &mut Parties,
    options: &Options,
) -> Step<Option<usize>> {
    let verdict = fix_guess::judge(cluster, slot, options)?;
    let owner = match verdict {
        Verdict::Refused => return Ok(None),
        Verdict::Told(owner) => Some(owner),
        Verdict::Clear => {
            let text = ">>> No single clear owner for the slot, selecting an owner by # of keys...\n";
            log(Level::Information, text);
            let all = primaries(cluster);
            with_most_keys(cluster, &all, slot)?
        }
    };
    let Some(owner) = owner else {
        log(Level::Error, "[ERR] Can't select a slot owner. Impossible to fix.\n");
        return Ok(None);
    };
    log(Level::Warning, &format!("*** Configuring {} as the slot owner\n", address(cluster, owner)));
    cluster.set_stable(owner, slot)?;
    set_owner(cluster, owner, slot, false)?;
    parties.migrating.retain(|index| *index != owner);
    parties.importing.retain(|index| *index != owner);
    Ok(Some(owner))
}

/// All that claim a slot but its owner give it up, and count as those where it is arriving: their keys move next.
fn depose_others(cluster: &mut Cluster, slot: u16, owner: usize, parties: &mut Parties) -> Step {
    for index in parties.owners.clone().into_iter().filter(|index| *index != owner) {
        delete_slot(cluster, index, slot)?;
        cluster.set_slot(index, slot, "node", owner)?;
        cluster.set_slot(index, slot, "importing", owner)?;
        parties.migrating.retain(|other| *other != index);
        parties.importing.retain(|other| *other != index);
        parties.importing.push(index);
    }
    Ok(())
}

/// Moves the keys that nodes hold of a slot to its owner.
fn bring_keys_home(
    cluster: &mut Cluster,
    slot: u16,
    owner: usize,
    importing: &[usize],
    options: &Options,
) -> Step {
    let text =
        format!(">>> Case 2: Moving all the {slot} slot keys to its owner {}\n", address(cluster, owner));
    log(Level::Information, &text);
    for &index in importing.iter().filter(|index| **index != owner) {
        cluster.move_slot(slot, index, owner, COLD, options)?;
        log(Level::Information, &format!(">>> Setting {slot} as STABLE in {}\n", address(cluster, index)));
        cluster.set_stable(index, slot)?;
    }
    for index in primaries(cluster).into_iter().filter(|index| *index != owner) {
        cluster.set_slot(index, slot, "NODE", owner)?;
    }
    Ok(())
}

/// One node is giving a slot, several say that it is arriving: it goes where the first sends it, or stays.
fn finish_or_close(
    cluster: &mut Cluster,
    slot: u16,
    source: usize,
    importing: &[usize],
    owner: usize,
    shown: &(String, String),
    options: &Options,
) -> Step<bool> {
    let target_id = cluster.members[source].node.migrating.get(&slot).cloned().unwrap_or_default();
    for &index in importing {
        if cluster.count_keys(index, slot)? > 0 {
            return Ok(cannot_fix(cluster, owner, shown));
        }
    }
    let target = importing.iter().copied().find(|&index| cluster.members[index].node.id == target_id);
    let Some(target) = target else {
        let text = format!(">>> Case 3: Closing slot {slot} on both migrating and importing nodes.\n");
        log(Level::Information, &text);
        cluster.set_stable(source, slot)?;
        importing.iter().try_for_each(|&index| cluster.set_stable(index, slot))?;
        return Ok(true);
    };
    let text = format!(
        ">>> Case 3: Moving slot {slot} from {} to {} and closing it on all the other importing nodes.\n",
        address(cluster, source),
        address(cluster, target)
    );
    log(Level::Information, &text);
    cluster.move_slot(slot, source, target, WARM, options)?;
    let others = importing.iter().filter(|index| **index != target);
    others.into_iter().try_for_each(|&index| cluster.set_stable(index, slot))?;
    Ok(true)
}

/// Gives uncovered slots to primaries, after asking. Returns how many.
fn cover(cluster: &mut Cluster, uncovered: &[u16], options: &Options) -> Step<usize> {
    log(Level::Information, ">>> Fixing slots coverage...\n");
    let mut holders: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for &slot in uncovered {
        let mut nodes = Vec::new();
        for index in primaries(cluster) {
            if cluster.count_keys(index, slot)? > 0 {
                nodes.push(index);
            }
        }
        holders.insert(slot, nodes);
    }
    let with = |wanted: fn(usize) -> bool| -> Vec<u16> {
        holders.iter().filter(|(_, nodes)| wanted(nodes.len())).map(|(slot, _)| *slot).collect()
    };
    let (none, single, several) =
        (with(|count| count == 0), with(|count| count == 1), with(|count| count > 1));
    let mut fixed = 0;
    if ask(
        cluster,
        "The following uncovered slots have no keys across the cluster:",
        &none,
        "Fix these slots by covering with a random node?",
        options,
    ) {
        let candidates = primaries(cluster);
        for slot in none {
            let Some(&owner) = fastrand::choice(&candidates) else { break };
            log(Level::Information, &format!(">>> Covering slot {slot} with {}\n", address(cluster, owner)));
            set_owner(cluster, owner, slot, false)?;
            fixed += 1;
        }
    }
    if ask(
        cluster,
        "The following uncovered slots have keys in just one node:",
        &single,
        "Fix these slots by covering with those nodes?",
        options,
    ) {
        for slot in single {
            let owner = holders[&slot][0];
            log(Level::Information, &format!(">>> Covering slot {slot} with {}\n", address(cluster, owner)));
            set_owner(cluster, owner, slot, false)?;
            fixed += 1;
        }
    }
    fixed += gather_in_one_place(cluster, several, &holders, options)?;
    Ok(fixed)
}

/// Uncovered slots of which several nodes have keys: those whose owner is told, if the answer is yes. Returns how many.
fn gather_in_one_place(
    cluster: &mut Cluster,
    slots: Vec<u16>,
    holders: &BTreeMap<u16, Vec<usize>>,
    options: &Options,
) -> Step<usize> {
    let mut targets = BTreeMap::new();
    for slot in slots {
        if let Verdict::Told(owner) = fix_guess::judge(cluster, slot, options)? {
            targets.insert(slot, owner);
        }
    }
    let slots: Vec<u16> = targets.keys().copied().collect();
    let headline = "The following uncovered slots have keys in multiple nodes:";
    if !ask(cluster, headline, &slots, "Fix these slots by moving keys into a single node?", options) {
        return Ok(0);
    }
    for (&slot, &target) in &targets {
        set_owner(cluster, target, slot, true)?;
        for &source in holders[&slot].iter().filter(|index| **index != target) {
            cluster.set_slot(source, slot, "NODE", target)?;
        }
    }
    let involved: BTreeSet<usize> =
        targets.iter().flat_map(|(slot, target)| holders[slot].iter().chain([target])).copied().collect();
    fix_guess::wait_until_served(cluster, &involved.into_iter().collect::<Vec<_>>(), options)?;
    for (slot, target) in targets {
        gather_keys(cluster, slot, target, &holders[&slot], options)?;
    }
    Ok(slots.len())
}

/// The new owner of a slot gets the keys that others hold of it.
fn gather_keys(
    cluster: &mut Cluster,
    slot: u16,
    target: usize,
    holders: &[usize],
    options: &Options,
) -> Step {
    let text = format!(">>> Covering slot {slot} moving keys to {}\n", address(cluster, target));
    log(Level::Information, &text);
    for &source in holders.iter().filter(|index| **index != target) {
        // A slot that is arriving is not redirected: so MIGRATE finds its keys.
        cluster.set_slot(source, slot, "IMPORTING", target)?;
        cluster.move_slot(slot, source, target, COLD, options)?;
        cluster.set_stable(source, slot)?;
    }
    Ok(())
}

/// Leaves every slot with one owner. False if a slot could not be mended.
fn fix_multiple_owners(cluster: &mut Cluster, options: &Options) -> Step<bool> {
    log(Level::Information, ">>> Check for multiple slot owners...\n");
    let several = check::find_multiple_owners(cluster)?;
    for (slot, owners) in &several {
        log(Level::Error, &format!("[WARNING] Slot {slot} has {} owners:\n", owners.len()));
        owners.iter().for_each(|node| log(Level::Error, &format!("    {node}\n")));
        log(Level::Information, &format!(">>> Fixing multiple owners for slot {slot}...\n"));
        let candidates: Vec<usize> = primaries(cluster)
            .into_iter()
            .filter(|&index| owners.contains(&address(cluster, index)))
            .collect();
        let owner = match fix_guess::judge(cluster, *slot, options)? {
            Verdict::Refused => return Ok(false),
            Verdict::Told(owner) => Some(owner),
            Verdict::Clear => with_most_keys(cluster, &candidates, *slot)?,
        };
        let Some(owner) = owner else { return Ok(false) };
        let text = format!(">>> Setting slot {slot} owner: {}\n", address(cluster, owner));
        log(Level::Information, &text);
        set_owner(cluster, owner, *slot, false)?;
        for index in primaries(cluster).into_iter().filter(|index| *index != owner) {
            let keys = cluster.count_keys(index, *slot)?;
            delete_slot(cluster, index, *slot)?;
            cluster.set_slot(index, *slot, "node", owner)?;
            if keys > 0 {
                cluster.move_slot(*slot, index, owner, COLD, options)?;
            }
        }
    }
    log(Level::Success, "[OK] No multiple owners found.\n");
    Ok(true)
}

/// Makes a node the owner of a slot, with an epoch of its own, in one transaction.
fn set_owner(cluster: &mut Cluster, owner: usize, slot: u16, close: bool) -> Step {
    let number = slot.to_string();
    let member = &mut cluster.members[owner];
    member.call_or_complain(&["MULTI"])?;
    member.call_or_complain(&["CLUSTER", "DELSLOTS", &number])?;
    member.call_or_complain(&["CLUSTER", "ADDSLOTS", &number])?;
    if close {
        member.call_or_complain(&["CLUSTER", "SETSLOT", &number, "STABLE"])?;
    }
    member.call_or_complain(&["CLUSTER", "BUMPEPOCH"])?;
    let reply = member.call_or_complain(&["EXEC"])?;
    /// The place of ADDSLOTS; that the others may fail does no harm.
    const ADDSLOTS_INDEX: usize = 1;
    let added = reply.as_elements().and_then(|replies| replies.get(ADDSLOTS_INDEX));
    if let Some(error) = added.and_then(|reply| reply.as_error()) {
        let address = member.node.address();
        log(Level::Error, &format!("Node {address} replied with error:\n{error}\n"));
        return Err(Exit(1));
    }
    if let Err(place) = member.node.slots.binary_search(&slot) {
        member.node.slots.insert(place, slot);
    }
    Ok(())
}

/// Takes a slot from a node; one that it does not have is no error.
fn delete_slot(cluster: &mut Cluster, at: usize, slot: u16) -> Step {
    let member = &mut cluster.members[at];
    if let Err(error) = member.call(&["CLUSTER", "DELSLOTS", &slot.to_string()])
        && member.known_nodes()?.iter().any(|node| node.slots.binary_search(&slot).is_ok())
    {
        let address = member.node.address();
        log(Level::Error, &format!("Node {address} replied with error:\n{error}\n"));
        return Err(Exit(1));
    }
    member.node.slots.retain(|other| *other != slot);
    Ok(())
}

fn with_most_keys(cluster: &mut Cluster, candidates: &[usize], slot: u16) -> Step<Option<usize>> {
    let mut best: Option<(usize, i64)> = None;
    for &index in candidates {
        let keys = cluster.count_keys(index, slot)?;
        if best.is_none_or(|(_, most)| keys > most) {
            best = Some((index, keys));
        }
    }
    Ok(best.map(|(index, _)| index))
}

fn primaries(cluster: &Cluster) -> Vec<usize> {
    (0..cluster.members.len()).filter(|&index| !cluster.members[index].node.is_replica()).collect()
}

fn address(cluster: &Cluster, index: usize) -> String {
    cluster.members[index].node.address()
}

fn addresses(cluster: &Cluster, indexes: &[usize]) -> String {
    indexes.iter().map(|&index| address(cluster, index)).collect::<Vec<_>>().join(",")
}

/// Shows slots and asks what to do with them; whatever the options say, this wants a yes.
fn ask(cluster: &Cluster, headline: &str, slots: &[u16], question: &str, options: &Options) -> bool {
    if slots.is_empty() {
        return false;
    }
    out!("{headline}\n{}\n", format_slots(slots, cluster.style));
    super::confirm_in_any_case(question, options)
}
