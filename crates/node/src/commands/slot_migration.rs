//! CLUSTER MIGRATESLOTS and its kin, with the replies of Valkey 9; and CLUSTER SYNCSLOTS, by which two nodes speak about it.

use crate::call::{NodeBody, NodeCall};
use crate::slot_migration::{EpochBounds, JobFacts};
use shoal_cluster::command::{CLUSTER_DISABLED, INVALID_SLOT};
use shoal_cluster::node_id::NODE_ID_LENGTH;
use shoal_cluster::slot_migration::JobName;
use shoal_cluster::view::{NodeKey, ViewRole};
use shoal_cluster::{ClusterView, NodeFlags, NodeId, SlotRanges, SlotSet};
use shoal_protocol::number::parse_i64;
use shoal_protocol::slot::SLOT_COUNT;
use shoal_protocol::{Arguments, CommandId, ErrorReply, errors};
use shoal_session::ClientKind;
use shoal_store::Outcome;
use std::sync::Arc;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::ClusterCancelslotmigrations, cancel),
    (CommandId::ClusterGetslotmigrations, list),
    (CommandId::ClusterMigrateslots, migrate),
    (CommandId::ClusterSyncslots, sync),
];

/// The longest reason that the primary of a replica gives.
const MESSAGE_MAX_BYTES: usize = 4096;

fn error(text: &str) -> ErrorReply {
    ErrorReply::from(format!("ERR {text}"))
}

fn view(call: &NodeCall<'_>) -> Result<Arc<ClusterView>, ErrorReply> {
    let side = call.node.cluster.as_ref().ok_or(ErrorReply::new(CLUSTER_DISABLED))?;
    side.view.clone().ok_or(errors::CLUSTER_DOWN)
}

/// Whether slots may begin to move here.
fn check_can_start(view: &ClusterView) -> Result<(), ErrorReply> {
    let text = if view.role != ViewRole::Primary {
        "Slot migration can only be used on primary nodes."
    } else if !view.importing.is_empty() {
        "Slots are being manually imported"
    } else if !view.migrating.is_empty() {
        "Slots are being manually migrated"
    } else {
        return Ok(());
    };
    Err(error(text))
}

/// Slots that one node serves, as an operator or a source gives them.
struct Parsed {
    slots: SlotRanges,
    set: SlotSet,
    owner: Option<NodeKey>,
}

/// Pairs of first and last slots, up to the first word that is no number. With a view, all of them must have one owner.
fn parse_ranges(arguments: &mut Arguments<'_>, view: Option<&ClusterView>) -> Result<Parsed, ErrorReply> {
    let slot = |word: &[u8]| {
        let slot = parse_i64(word).and_then(|slot| u16::try_from(slot).ok());
        slot.filter(|&slot| slot < SLOT_COUNT).ok_or(ErrorReply::new(INVALID_SLOT))
    };
    let mut parsed = Parsed { slots: SlotRanges::default(), set: SlotSet::empty(), owner: None };
    while let Some(word) = arguments.peek().filter(|word| parse_i64(word).is_some()) {
        let first = slot(word)?;
        let _ = arguments.take();
        let last = arguments.take_optional().ok_or_else(|| error("No end slot for final slot range"))?;
        let last = slot(last)?;
        if first > last {
            let text = format!("Start slot number {first} is greater than end slot number {last}.");
            return Err(error(&text));
        }
        for slot in first..=last {
            if let Some(view) = view {
                let owner = view.owners.get(slot);
                let owner = owner.ok_or_else(|| error(&format!("Slot {slot} has no node served.")))?;
                if *parsed.owner.get_or_insert(owner) != owner {
                    return Err(error("Requested slots span multiple shards"));
                }
            }
            if !parsed.set.insert(slot) {
                return Err(error(&format!("Slot range {first}-{last} overlaps with a previous range.")));
            }
        }
    }
    if parsed.set.is_empty() {
        return Err(error("No slot ranges specified"));
    }
    parsed.slots = parsed.set.ranges();
    Ok(parsed)
}

fn migrate(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let view = view(call)?;
    check_can_start(&view)?;
    let mut all = SlotSet::empty();
    let mut wanted: Vec<(SlotRanges, NodeId)> = Vec::new();
    while !arguments.is_empty() {
        if !arguments.take_keyword("SLOTSRANGE") {
            return Err(errors::SYNTAX);
        }
        let parsed = parse_ranges(&mut arguments, Some(&view))?;
        if parsed.owner != Some(view.myself) {
            return Err(error("Slots are not served by this node."));
        }
        for slot in parsed.set.iter() {
            if call.node.migrations.is_exporting(slot) {
                return Err(error(&format!("I am already migrating slot {slot}.")));
            }
            if !all.insert(slot) {
                return Err(error("Slot ranges in migrations overlap"));
            }
        }
        if !arguments.take_keyword("NODE") {
            return Err(errors::SYNTAX);
        }
        let name = arguments.take_optional().ok_or(errors::SYNTAX)?;
        wanted.push((parsed.slots, target(&view, name)?));
    }
    if !call.node.migrations.has_room(wanted.len()) {
        return Err(error("Too many slot migrations are under way"));
    }
    for (slots, target) in wanted {
        call.node.begin_export(call.now, call.host, slots, target);
    }
    call.reply().ok();
    Ok(())
}

fn target(view: &ClusterView, name: &[u8]) -> Result<NodeId, ErrorReply> {
    let text = String::from_utf8_lossy(name);
    if name.len() != NODE_ID_LENGTH {
        return Err(error(&format!("Invalid node name: {text}")));
    }
    let node = view.node_by_name(name).ok_or_else(|| error(&format!("Unknown node name: {text}")))?;
    if node.key == view.myself {
        return Err(error("Target node can not be this node."));
    }
    if !node.flags.has(NodeFlags::PRIMARY) {
        return Err(error("Target node is not a master"));
    }
    if !node.takes_slots {
        return Err(error("Target node does not support atomic slot migration"));
    }
    Ok(node.id)
}

fn cancel(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    view(call)?;
    if !call.node.cancel_exports(call.now, call.host) {
        return Err(error("No migrations ongoing"));
    }
    call.reply().ok();
    Ok(())
}

fn list(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    view(call)?;
    let facts: Vec<JobFacts> = call.node.migrations.facts().cloned().collect();
    let now = call.now.monotonic;
    let mut reply = call.reply();
    reply.array(facts.len());
    for facts in facts {
        let is_elsewhere = facts.source.is_none();
        // Valkey's fields, then our own.
        reply.map(if is_elsewhere { 9 } else { 11 } + 5);
        let operation = if facts.is_import { "IMPORT" } else { "EXPORT" };
        let mut text = |name: &str, value: &str| {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        };
        text("name", facts.name.as_str());
        text("operation", operation);
        text("slot_ranges", &facts.slots_text());
        if !is_elsewhere {
            text("target_node", facts.target.as_ref().map_or("", NodeId::as_str));
            text("source_node", facts.source.as_ref().map_or("", NodeId::as_str));
        }
        let mut number = |name: &str, value: u64| {
            reply.bulk(name.as_bytes());
            reply.integer(value.cast_signed());
        };
        number("create_time", facts.created_s);
        number("last_update_time", facts.updated_s);
        number("last_ack_time", facts.acknowledged_s);
        let mut text = |name: &str, value: &str| {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        };
        text("state", facts.state);
        text("message", &facts.message);
        let mut number = |name: &str, value: i64| {
            reply.bulk(name.as_bytes());
            reply.integer(value);
        };
        let progress = facts.progress;
        number("cow_size", facts.copied_bytes.cast_signed());
        number("keys_total", progress.keys_total.cast_signed());
        number("keys_sent", progress.keys.cast_signed());
        number("bytes", progress.bytes.cast_signed());
        number("progress_percent", progress.percent().cast_signed());
        number("remaining_ms", progress.remaining_ms(now).map_or(-1, u64::cast_signed));
    }
    Ok(())
}

fn sync(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let is_elsewhere = call.session.kind == ClientKind::Primary;
    if !is_elsewhere {
        view(call)?;
    }
    let word = arguments.take()?;
    if word.eq_ignore_ascii_case(b"ESTABLISH") {
        return if is_elsewhere { follow(call, arguments) } else { establish(call, arguments) };
    }
    if word.eq_ignore_ascii_case(b"FINISH") {
        return finish(call, arguments);
    }
    if is_elsewhere {
        return Ok(());
    }
    if word.eq_ignore_ascii_case(b"STATUS") {
        if !arguments.take_keyword("NAME") {
            return Err(errors::SYNTAX);
        }
        let name = JobName::parse(arguments.take()?).ok_or(errors::SYNTAX)?;
        let status = call.node.import_status(name);
        call.reply().simple(status);
        return Ok(());
    }
    // Nothing of what Valkey may say here is needed yet.
    if word.eq_ignore_ascii_case(b"CAPA") {
        return Ok(());
    }
    let mut epoch_after = |keyword| match arguments.take_keyword(keyword) {
        true => u64::try_from(arguments.take_i64()?).map(Some).map_err(|_| errors::SYNTAX),
        false => Ok(None),
    };
    let (epoch_max, above) = (epoch_after("EPOCH")?, epoch_after("ABOVE")?.unwrap_or(0));
    let bounds = epoch_max.map(|epoch_max| EpochBounds { epoch_max, above });
    let own = (call.handle, &mut *call.session);
    if !call.node.import_message(call.now, call.host, own, word, bounds) {
        let word = String::from_utf8_lossy(word).to_uppercase();
        let text = format!("CLUSTER SYNCSLOTS {word} should only be used by slot migration clients");
        return Err(error(&text));
    }
    Ok(())
}

/// A source announces a migration to this node.
fn establish(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let view = view(call)?;
    check_can_start(&view)?;
    if call.session.kind != ClientKind::Normal || call.session.transaction.is_some() {
        return Err(errors::SYNTAX);
    }
    let (mut name, mut source, mut slots) = (None, None, None);
    while !arguments.is_empty() {
        if arguments.take_keyword("SOURCE") && source.is_none() {
            let node = view.node_by_name(arguments.take_optional().ok_or(errors::SYNTAX)?);
            let node = node.ok_or_else(|| error("Target node does not know the source node"))?;
            if node.key == view.myself {
                return Err(error("Source node is target node itself"));
            }
            source = Some(node);
        } else if arguments.take_keyword("NAME") && name.is_none() {
            name =
                Some(JobName::parse(arguments.take_optional().ok_or(errors::SYNTAX)?).ok_or(errors::SYNTAX)?);
        } else if arguments.take_keyword("SLOTSRANGE") && slots.is_none() {
            slots = Some(parse_ranges(&mut arguments, Some(&view))?);
        } else {
            return Err(errors::SYNTAX);
        }
    }
    let (Some(name), Some(source), Some(parsed)) = (name, source, slots) else { return Err(errors::SYNTAX) };
    if parsed.set.iter().any(|slot| call.node.migrations.is_importing(slot)) {
        return Err(error("Slot is already being imported on the target by a different migration"));
    }
    if parsed.owner != Some(source.key) {
        return Err(error("Target node does not agree about current slot ownership"));
    }
    if view.replicas_of(view.myself).any(|replica| !replica.takes_slots) {
        return Err(error("A replica of the target node does not know slot migrations"));
    }
    if !call.node.migrations.has_room(1) {
        return Err(error("Too many slot migrations are under way"));
    }
    call.reply().ok();
    let own = (call.handle, &mut *call.session);
    call.node.begin_import(call.now, call.host, own, (name, source.id), parsed.slots);
    Ok(())
}

/// The primary, or a file, tells that an import has begun.
fn follow(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let (mut name, mut slots) = (None, None);
    while !arguments.is_empty() {
        if arguments.take_keyword("SOURCE") {
            let _ = arguments.take();
        } else if arguments.take_keyword("NAME") && name.is_none() {
            name = arguments.take_optional().and_then(JobName::parse);
        } else if arguments.take_keyword("SLOTSRANGE") && slots.is_none() {
            slots = Some(parse_ranges(&mut arguments, None)?.slots);
        } else {
            return Err(errors::SYNTAX);
        }
    }
    let (Some(name), Some(slots)) = (name, slots) else { return Err(errors::SYNTAX) };
    call.node.follow_import(call.now, call.host, name, slots);
    call.reply().ok();
    Ok(())
}

/// The primary, or a file, tells that an import has ended.
fn finish(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    if call.session.kind != ClientKind::Primary {
        return Err(error("CLUSTER SYNCSLOTS FINISH should only be used by slot migration clients"));
    }
    let (mut name, mut is_success, mut message) = (None, None, String::new());
    while !arguments.is_empty() {
        if arguments.take_keyword("STATE") && is_success.is_none() {
            is_success = match arguments.take_optional().ok_or(errors::SYNTAX)? {
                word if word.eq_ignore_ascii_case(b"success") => Some(true),
                word if word.eq_ignore_ascii_case(b"failed") => Some(false),
                _ => return Err(errors::SYNTAX),
            };
        } else if arguments.take_keyword("NAME") && name.is_none() {
            name = arguments.take_optional().and_then(JobName::parse);
        } else if arguments.take_keyword("MESSAGE") {
            let text = arguments.take_optional().ok_or(errors::SYNTAX)?;
            message = String::from_utf8_lossy(&text[..text.len().min(MESSAGE_MAX_BYTES)]).into_owned();
        } else {
            return Err(errors::SYNTAX);
        }
    }
    let (Some(name), Some(is_success)) = (name, is_success) else { return Err(errors::SYNTAX) };
    // One that this node has not heard of may have begun before it followed this primary.
    call.node.import_finished(call.now, call.host, name, is_success, message);
    call.reply().ok();
    Ok(())
}
