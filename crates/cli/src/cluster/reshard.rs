//! `--cluster reshard`: slots move from some primaries to another one.

use super::atomic_moves;
use super::check;
use super::client::Cluster;
use super::log::{Level, log};
use super::moving::MoveOptions;
use super::slot_plan::{Move, Transfer, share_out};
use crate::console::{self, err, out};
use crate::exit::{Exit, Step, fail};
use crate::options::Options;
use crate::text::leading_integer;
use serde_json::json;
use shoal_protocol::slot::SLOT_COUNT;

/// Loads, checks, asks what is not given as an option, shows the plan and carries it out.
pub(super) fn run(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let mut cluster = super::load(arguments, options)?;
    let is_json = super::wants_json(options);
    let findings =
        if is_json { check::check_quietly(&mut cluster, false)? } else { check::check(&mut cluster, false)? };
    if !findings.is_clean() {
        console::flush();
        fail!("*** Please fix your cluster problems before resharding");
    }
    let count = match options.cluster.slots {
        0 => ask_count()?,
        count => usize::try_from(count).unwrap_or(0),
    };
    let target_id = match &options.cluster.to {
        Some(id) => id.clone(),
        None => ask("What is the receiving node ID? ")?,
    };
    let Some(target) = primary_with_id(&cluster, &target_id) else { return Ok(1) };
    let sources = match &options.cluster.from {
        Some(ids) => sources_of(&cluster, ids.split(','), target)?,
        None => ask_sources(&cluster, target)?,
    };
    if sources.is_empty() {
        fail!("*** No source nodes given, operation aborted.");
    }
    let slots: Vec<(usize, &[u16])> =
        sources.iter().map(|&source| (source, &cluster.members[source].node.slots[..])).collect();
    let moves = share_out(&slots, count);
    if is_json {
        return carry_out_quietly(&mut cluster, &moves, target, options);
    }
    show(&cluster, count, &sources, target, &moves);
    if !options.cluster.yes
        && ask("Do you want to proceed with the proposed reshard plan (yes/no)? ")? != "yes"
    {
        return Ok(1);
    }
    let moving = MoveOptions { verbose: true, ..MoveOptions::default() };
    let transfers = atomic_moves::group(moves.iter().map(|one| (one.source, target, one.slot)));
    atomic_moves::carry_out(
        &mut cluster,
        &transfers,
        moving,
        options,
        &mut |cluster, transfer, is_at_once| {
            if is_at_once {
                atomic_moves::print_moved(cluster, transfer);
            }
        },
    )?;
    Ok(0)
}

/// What a resharding that is wholly given by options would move.
pub(super) fn transfers_of_options(cluster: &Cluster, options: &Options) -> Step<Vec<Transfer>> {
    let (Some(from), Some(to), Ok(count @ 1..)) =
        (&options.cluster.from, &options.cluster.to, usize::try_from(options.cluster.slots))
    else {
        fail!("[ERR] Say --cluster-from, --cluster-to and --cluster-slots.");
    };
    let target = primary_with_id(cluster, to).ok_or(Exit(1))?;
    let sources = sources_of(cluster, from.split(','), target)?;
    let slots: Vec<(usize, &[u16])> =
        sources.iter().map(|&source| (source, &cluster.members[source].node.slots[..])).collect();
    let moves = share_out(&slots, count);
    let of_source = |source: usize| {
        let slots = moves.iter().filter(|one| one.source == source).map(|one| one.slot).collect();
        Transfer { source, target, slots }
    };
    Ok(sources.into_iter().map(of_source).filter(|transfer| !transfer.slots.is_empty()).collect())
}

/// A script says everything by options, and reads one object.
fn carry_out_quietly(cluster: &mut Cluster, moves: &[Move], target: usize, options: &Options) -> Step<i32> {
    if !options.cluster.yes {
        fail!("--json asks no questions: say --cluster-yes, too.");
    }
    let transfers = atomic_moves::group(moves.iter().map(|one| (one.source, target, one.slot)));
    atomic_moves::carry_out(cluster, &transfers, MoveOptions::default(), options, &mut |_, _, _| ())?;
    let id = |index: usize| cluster.members[index].node.id.clone();
    let moved: Vec<_> =
        moves.iter().map(|one| json!({"slot": one.slot, "from": id(one.source), "to": id(target)})).collect();
    out!("{}\n", json!({"ok": true, "moved": moved}));
    Ok(0)
}

fn show(cluster: &Cluster, count: usize, sources: &[usize], target: usize, moves: &[Move]) {
    let node = |index: usize| {
        let text = cluster.members[index].node.describe(cluster.style);
        text.lines().map(|line| format!("    {line}\n")).collect::<String>()
    };
    out!("\nReady to move {count} slots.\n  Source nodes:\n");
    sources.iter().for_each(|&source| out!("{}", node(source)));
    out!("  Destination node:\n{}  Resharding plan:\n", node(target));
    for Move { source, slot } in moves {
        out!("    Moving slot {slot} from {}\n", cluster.members[*source].node.id);
    }
}

/// The primary with this id; complains if there is none.
fn primary_with_id(cluster: &Cluster, id: &str) -> Option<usize> {
    let found = cluster
        .members
        .iter()
        .position(|member| member.node.id.eq_ignore_ascii_case(id) && !member.node.is_replica());
    if found.is_none() {
        let text = format!("*** The specified node ({id}) is not known or not a master, please retry.\n");
        log(Level::Error, &text);
    }
    found
}

/// A source that a user names; `None` if it is the target, which was said then.
fn source_with_id(cluster: &Cluster, id: &str, target: usize) -> Step<Option<usize>> {
    let source = primary_with_id(cluster, id).ok_or(Exit(1))?;
    if source == target {
        log(Level::Error, "*** It is not possible to use the target node as source node.\n");
        return Ok(None);
    }
    Ok(Some(source))
}

fn all_but(cluster: &Cluster, target: usize) -> Vec<usize> {
    (0..cluster.members.len())
        .filter(|&index| index != target && !cluster.members[index].node.is_replica())
        .collect()
}

fn sources_of<'a>(cluster: &Cluster, ids: impl Iterator<Item = &'a str>, target: usize) -> Step<Vec<usize>> {
    let mut sources = Vec::new();
    for id in ids.filter(|id| !id.is_empty()) {
        if id == "all" {
            return Ok(all_but(cluster, target));
        }
        sources.extend(source_with_id(cluster, id, target)?);
    }
    Ok(sources)
}

fn ask_sources(cluster: &Cluster, target: usize) -> Step<Vec<usize>> {
    out!(
        "Please enter all the source node IDs.\n  Type 'all' to use all the nodes as source nodes for the hash slots.\n  \
         Type 'done' once you entered all the source nodes IDs.\n"
    );
    let mut sources = Vec::new();
    loop {
        let answer = ask(&format!("Source node #{}: ", sources.len() + 1))?;
        match answer.as_str() {
            "done" => return Ok(sources),
            "all" => return Ok(all_but(cluster, target)),
            id => sources.extend(source_with_id(cluster, id, target)?),
        }
    }
}

fn ask_count() -> Step<usize> {
    loop {
        let answer = ask(&format!("How many slots do you want to move (from 1 to {SLOT_COUNT})? "))?;
        let count = leading_integer(answer.as_bytes());
        if (1..=i64::from(SLOT_COUNT)).contains(&count) {
            return Ok(count as usize);
        }
    }
}

/// Asks until there is an answer. The end of the input is none.
fn ask(question: &str) -> Step<String> {
    loop {
        out!("{question}");
        console::flush();
        let mut answer = String::new();
        match std::io::stdin().read_line(&mut answer) {
            Ok(0) | Err(_) => {
                err!("\n*** No answer: the input has ended.");
                return Err(Exit(1));
            }
            Ok(_) if answer.trim().is_empty() => {}
            Ok(_) => return Ok(answer.trim().to_owned()),
        }
    }
}
