//! Moving many slots: at once (CLUSTER MIGRATESLOTS) where both ends can do that, several pairs of nodes at a time, and slot by
//! slot with MIGRATE otherwise.
//!
//! ```text
//!  waiting ── both can, and there is room ──▶ running ── success ──▶ done
//!     └────── one cannot, or refuses ───────▶ slot by slot ────────▶ done
//! ```

use super::client::{CallError, Cluster};
use super::log::{Level, log};
use super::moving::MoveOptions;
use super::node::ranges;
use super::patience::Deadline;
use super::planned;
use super::progress::Progress;
use super::slot_plan::Transfer;
use crate::console::{self, out};
use crate::exit::{Exit, Step};
use crate::options::Options;
use shoal_protocol::value::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the nodes are asked how far they are.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// What a node says that has as many migrations as it takes.
const NO_ROOM: &str = "Too many slot migrations";
/// How a failure begins that the target gave before anything was sent: the slots can be moved the other way.
const REFUSED: &str = "Received error during handshake to target";

/// Groups single moves by their nodes; the order of the first slots stays.
pub(super) fn group(moves: impl IntoIterator<Item = (usize, usize, u16)>) -> Vec<Transfer> {
    let mut transfers: Vec<Transfer> = Vec::new();
    for (source, target, slot) in moves {
        let same = |transfer: &&mut Transfer| transfer.source == source && transfer.target == target;
        match transfers.iter_mut().find(same) {
            Some(transfer) => transfer.slots.push(slot),
            None => transfers.push(Transfer { source, target, slots: vec![slot] }),
        }
    }
    transfers
}

fn sorted_ranges(slots: &[u16]) -> Vec<(u16, u16)> {
    let mut slots = slots.to_vec();
    slots.sort_unstable();
    ranges(&slots)
}

/// Ranges as nodes show them in CLUSTER GETSLOTMIGRATIONS.
fn shown(ranges: &[(u16, u16)]) -> String {
    ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect::<Vec<_>>().join(" ")
}

/// Who hears of each transfer that is done, and whether that was at once; slot by slot, it has been shown already.
pub(super) type Done<'a> = &'a mut dyn FnMut(&Cluster, &Transfer, bool);

/// How a batch stands.
enum Stage {
    Waiting,
    Running { name: String, sign_of_life: (String, String), since: Instant, reached: Reached },
    Done,
}

/// How far a migration is, as its source says.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    percent: u64,
    keys: u64,
    bytes: u64,
}

/// Moves all batches. `done` hears of each when it is done, in any order.
pub(super) fn carry_out(
    cluster: &mut Cluster,
    batches: &[Transfer],
    moving: MoveOptions,
    options: &Options,
    done: Done<'_>,
) -> Step {
    let interrupted = Arc::new(AtomicBool::new(false));
    let registered = signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupted));
    let outcome = run(cluster, batches, moving, options, done, &interrupted);
    if let Ok(id) = registered {
        signal_hook::low_level::unregister(id);
    }
    outcome
}

fn run(
    cluster: &mut Cluster,
    batches: &[Transfer],
    moving: MoveOptions,
    options: &Options,
    done: Done<'_>,
    interrupted: &AtomicBool,
) -> Step {
    let able: Vec<bool> = (0..cluster.members.len()).map(|index| can_move_at_once(cluster, index)).collect();
    let mut stages: Vec<Stage> = batches.iter().map(|_| Stage::Waiting).collect();
    let all = batches.iter().map(|batch| batch.slots.len()).sum();
    let progress = Progress::of_slots("Moving", all, options);
    while stages.iter().any(|stage| !matches!(stage, Stage::Done)) {
        if interrupted.load(Ordering::Relaxed) {
            cancel(cluster, batches, &stages);
            log(Level::Error, "*** Interrupted: the migrations under way were cancelled.\n");
            return Err(Exit(1));
        }
        let is_any_running =
            |stages: &[Stage]| stages.iter().any(|stage| matches!(stage, Stage::Running { .. }));
        for (batch, stage) in batches.iter().zip(&mut stages) {
            if !matches!(stage, Stage::Waiting) {
                continue;
            }
            let started =
                if able[batch.source] && able[batch.target] { start(cluster, batch)? } else { Started::No };
            match started {
                Started::Yes(name) => {
                    *stage = Stage::Running {
                        name,
                        sign_of_life: Default::default(),
                        since: Instant::now(),
                        reached: Reached::default(),
                    };
                }
                Started::Later => {}
                Started::No => {
                    one_by_one(cluster, batch, moving, options, &progress)?;
                    progress.aside(|| done(cluster, batch, false));
                    *stage = Stage::Done;
                }
            }
        }
        if is_any_running(&stages) {
            std::thread::sleep(POLL_INTERVAL);
        }
        for index in 0..batches.len() {
            let is_over = look(cluster, &batches[index], &mut stages[index], moving, options, &progress)
                .inspect_err(|_| cancel(cluster, batches, &stages));
            let is_at_once = match is_over? {
                Outcome::Goes => continue,
                Outcome::Moved => true,
                Outcome::MovedOneByOne => false,
            };
            note_moved(cluster, &batches[index]);
            progress.aside(|| done(cluster, &batches[index], is_at_once));
            stages[index] = Stage::Done;
        }
        show_reached(&progress, batches, &stages);
    }
    wait_for_agreement(cluster, batches, options)
}

/// Whether a node knows CLUSTER MIGRATESLOTS.
fn can_move_at_once(cluster: &mut Cluster, index: usize) -> bool {
    let reply = cluster.members[index].call(&["COMMAND", "INFO", "cluster|migrateslots"]);
    let rows = reply.ok().and_then(|reply| Some(reply.as_elements()?.first()?.as_elements()?.len()));
    rows.is_some_and(|words| words > 0)
}

enum Started {
    /// Under this name.
    Yes(String),
    /// The source has no room for more.
    Later,
    /// It has to be done another way.
    No,
}

fn start(cluster: &mut Cluster, batch: &Transfer) -> Step<Started> {
    let (ranges, target) = (sorted_ranges(&batch.slots), cluster.members[batch.target].node.id.clone());
    let mut words = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE"].map(str::to_owned).to_vec();
    words.extend(ranges.iter().flat_map(|(first, last)| [first.to_string(), last.to_string()]));
    words.extend(["NODE".to_owned(), target.clone()]);
    match cluster.members[batch.source].call(&words) {
        Ok(_) => {}
        Err(CallError::Refused(text)) if text.contains(NO_ROOM) => return Ok(Started::Later),
        // Slots that are being moved by hand, or a target that has become another program meanwhile.
        Err(CallError::Refused(_)) => return Ok(Started::No),
        Err(error) => return complain(cluster, batch.source, &error.to_string()),
    }
    let shown = shown(&ranges);
    let jobs = jobs_of(cluster, batch.source)?;
    let is_ours = |job: &&Value| {
        text(job, "slot_ranges") == shown
            && text(job, "target_node") == target
            && text(job, "operation") == "EXPORT"
    };
    let name = jobs.iter().find(is_ours).map(|job| text(job, "name"));
    match name {
        Some(name) => Ok(Started::Yes(name)),
        None => complain(cluster, batch.source, "the migration is not shown by CLUSTER GETSLOTMIGRATIONS"),
    }
}

fn jobs_of(cluster: &mut Cluster, index: usize) -> Step<Vec<Value>> {
    let reply = cluster.members[index].call_or_complain(&["CLUSTER", "GETSLOTMIGRATIONS"])?;
    Ok(reply.as_elements().unwrap_or_default().to_vec())
}

fn text(job: &Value, field: &str) -> String {
    job.field(field).and_then(Value::as_text).unwrap_or_default().into_owned()
}

/// How far a migration is.
enum Outcome {
    Goes,
    Moved,
    MovedOneByOne,
}

/// Looks how far a migration is. One that the target refuses is done slot by slot.
fn look(
    cluster: &mut Cluster,
    batch: &Transfer,
    stage: &mut Stage,
    moving: MoveOptions,
    options: &Options,
    progress: &Progress,
) -> Step<Outcome> {
    let Stage::Running { name, sign_of_life, since, reached } = stage else { return Ok(Outcome::Goes) };
    let jobs = jobs_of(cluster, batch.source)?;
    let Some(job) = jobs.iter().find(|job| text(job, "name") == *name) else {
        return complain(
            cluster,
            batch.source,
            "the node has forgotten the migration; it may have been restarted",
        );
    };
    let message = text(job, "message");
    match text(job, "state").as_str() {
        "success" => return Ok(Outcome::Moved),
        "failed" if message.starts_with(REFUSED) => {
            one_by_one(cluster, batch, moving, options, progress)?;
            return Ok(Outcome::MovedOneByOne);
        }
        "failed" | "cancelled" => {
            let reason = if message.is_empty() { "somebody has cancelled the migration" } else { &message };
            return complain(cluster, batch.source, reason);
        }
        _ => {}
    }
    let number =
        |field| job.field(field).and_then(Value::as_integer).and_then(|number| u64::try_from(number).ok());
    let figure = |field| number(field).unwrap_or(0);
    *reached =
        Reached { percent: figure("progress_percent"), keys: figure("keys_sent"), bytes: figure("bytes") };
    let sign = (text(job, "state"), reached.bytes.to_string());
    if *sign_of_life != sign {
        *sign_of_life = sign;
        *since = Instant::now();
    }
    let patience = Duration::from_millis(options.cluster.timeout_ms.try_into().unwrap_or(u64::MAX));
    if since.elapsed() > patience {
        return complain(cluster, batch.source, "the migration makes no progress");
    }
    Ok(Outcome::Goes)
}

fn one_by_one(
    cluster: &mut Cluster,
    batch: &Transfer,
    moving: MoveOptions,
    options: &Options,
    progress: &Progress,
) -> Step {
    for &slot in &batch.slots {
        let mut move_one = || cluster.move_slot(slot, batch.source, batch.target, moving, options);
        // The line of a slot grows by a dot for each key.
        if moving.verbose { progress.aside(move_one) } else { move_one() }?;
        progress.advance(1);
    }
    Ok(())
}

/// Shows how far all batches are together. Slots that go one by one count themselves.
fn show_reached(progress: &Progress, batches: &[Transfer], stages: &[Stage]) {
    let (mut slots, mut keys, mut bytes) = (0, 0, 0);
    for (batch, stage) in batches.iter().zip(stages) {
        let count = batch.slots.len() as u64;
        match stage {
            Stage::Waiting => {}
            Stage::Running { reached, .. } => {
                slots += count * reached.percent.min(100) / 100;
                keys += reached.keys;
                bytes += reached.bytes;
            }
            Stage::Done => slots += count,
        }
    }
    let remark = || match keys {
        0 => String::new(),
        keys => format!(" ({keys} keys, {} on their way)", planned::shown_bytes(bytes)),
    };
    progress.reach(slots, remark);
}

/// Keeps what is known of the nodes up to date.
fn note_moved(cluster: &mut Cluster, batch: &Transfer) {
    let mut moved = batch.slots.clone();
    moved.sort_unstable();
    cluster.members[batch.source].node.slots.retain(|slot| moved.binary_search(slot).is_err());
    let slots = &mut cluster.members[batch.target].node.slots;
    slots.extend(&batch.slots);
    slots.sort_unstable();
    slots.dedup();
}

fn cancel(cluster: &mut Cluster, batches: &[Transfer], stages: &[Stage]) {
    for (batch, stage) in batches.iter().zip(stages) {
        if matches!(stage, Stage::Running { .. }) {
            // One that is over meanwhile is none to cancel.
            let _ = cluster.members[batch.source].call(&["CLUSTER", "CANCELSLOTMIGRATIONS"]);
        }
    }
}

/// Waits until every node has heard of the new owners, so that the next command finds all nodes of one mind.
fn wait_for_agreement(cluster: &mut Cluster, batches: &[Transfer], options: &Options) -> Step {
    let deadline = Deadline::of_wait(options);
    for index in 0..cluster.members.len() {
        loop {
            let known = cluster.members[index].known_nodes()?;
            let agrees = |batch: &Transfer| {
                let id = &cluster.members[batch.target].node.id;
                let target = known.iter().find(|node| node.id == *id);
                target
                    .is_some_and(|node| batch.slots.iter().all(|slot| node.slots.binary_search(slot).is_ok()))
            };
            if batches.iter().all(agrees) {
                break;
            }
            if !deadline.allows_another_look() {
                let address = cluster.members[index].node.address();
                let missing = format!("node {address} has not heard of the new owners of all slots.");
                let advice =
                    "The slots are moved. `--cluster check` shows whether that node reaches the others.";
                return Err(deadline.complain(&missing, advice));
            }
        }
    }
    Ok(())
}

/// A line per slot, as for slots that were moved one by one.
pub(super) fn print_moved(cluster: &Cluster, transfer: &Transfer) {
    let address = |index: usize| cluster.members[index].node.address();
    let (from, to) = (address(transfer.source), address(transfer.target));
    for slot in &transfer.slots {
        out!("Moving slot {slot} from {from} to {to}: \n");
    }
    console::flush();
}

fn complain<T>(cluster: &Cluster, at: usize, reason: &str) -> Step<T> {
    let address = cluster.members[at].node.address();
    log(Level::Error, &format!("*** Slots cannot be moved. Node {address}: {reason}\n"));
    Err(Exit(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_grouped_by_their_nodes() {
        let transfers = group([(0, 2, 5), (1, 2, 9), (0, 2, 7), (0, 2, 6), (0, 1, 1)]);
        let transfer = |source, target, slots| Transfer { source, target, slots };
        let expected = [transfer(0, 2, vec![5, 7, 6]), transfer(1, 2, vec![9]), transfer(0, 1, vec![1])];
        assert_eq!(transfers, expected);
        assert_eq!(shown(&sorted_ranges(&[5, 7, 6, 9])), "5-7 9-9");
    }
}
