//! CLUSTER: what changes state goes to the machine, what reads comes from the view.

use crate::call::{NodeBody, NodeCall};
use crate::cluster::{endpoint, onlooker};
use shoal_cluster::command::{self, NodeName, SetSlotAction};
use shoal_cluster::view::NodeFacts;
use shoal_cluster::{
    ClusterCommand, ClusterView, CommandReply, EndpointKind, FailoverKind, NodeFlags, Onlooker, ResetKind,
};
use shoal_protocol::number::parse_i64;
use shoal_protocol::slot::{SLOT_COUNT, key_slot};
use shoal_protocol::{Arguments, CommandId, ErrorReply, Reply, errors};
use shoal_store::Outcome;
use shoal_store::table::Item;
use std::sync::Arc;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::ClusterAddslots, add_slots),
    (CommandId::ClusterAddslotsrange, add_slots_range),
    (CommandId::ClusterBumpepoch, bump_epoch),
    (CommandId::ClusterCountFailureReports, count_failure_reports),
    (CommandId::ClusterCountkeysinslot, count_keys_in_slot),
    (CommandId::ClusterDelslots, delete_slots),
    (CommandId::ClusterDelslotsrange, delete_slots_range),
    (CommandId::ClusterFailover, failover),
    (CommandId::ClusterFlushslots, flush_slots),
    (CommandId::ClusterForget, forget),
    (CommandId::ClusterGetkeysinslot, keys_in_slot),
    (CommandId::ClusterHelp, help),
    (CommandId::ClusterInfo, info),
    (CommandId::ClusterKeyslot, key_slot_of),
    (CommandId::ClusterLinks, links),
    (CommandId::ClusterMeet, meet),
    (CommandId::ClusterMyid, my_id),
    (CommandId::ClusterMyshardid, my_shard_id),
    (CommandId::ClusterNodes, nodes),
    (CommandId::ClusterReplicas, replicas),
    (CommandId::ClusterReplicate, replicate),
    (CommandId::ClusterReset, reset),
    (CommandId::ClusterSaveconfig, save_config),
    (CommandId::ClusterSetConfigEpoch, set_config_epoch),
    (CommandId::ClusterSetslot, set_slot),
    (CommandId::ClusterShards, shards),
    (CommandId::ClusterSlaves, replicas),
    (CommandId::ClusterSlots, slots),
];

/// The view, or the error of a server that is no cluster node.
fn view(call: &NodeCall<'_>) -> Result<Arc<ClusterView>, ErrorReply> {
    let side = call.node.cluster.as_ref().ok_or(ErrorReply::new(command::CLUSTER_DISABLED))?;
    side.view.clone().ok_or(errors::CLUSTER_DOWN)
}

/// A view with exact times and counts: the machine is asked for it.
fn fresh_view(call: &mut NodeCall<'_>) -> Result<Arc<ClusterView>, ErrorReply> {
    view(call)?;
    // An old view is better than none.
    let _ = call.node.run_cluster_command(call.now, call.host, ClusterCommand::Refresh);
    view(call)
}

/// Carries out a command and replies.
fn run(call: &mut NodeCall<'_>, command: ClusterCommand) -> Outcome {
    view(call)?;
    match call.node.run_cluster_command(call.now, call.host, command) {
        Ok(CommandReply::Ok) => call.reply().ok(),
        Ok(CommandReply::Text(text)) => call.reply().simple(&text),
        Err(text) => return Err(ErrorReply(text)),
    }
    Ok(())
}

fn parse_slot(word: &[u8]) -> Result<u16, ErrorReply> {
    parse_i64(word)
        .and_then(|slot| u16::try_from(slot).ok())
        .filter(|&slot| slot < SLOT_COUNT)
        .ok_or(ErrorReply::new(command::INVALID_SLOT))
}

fn node_name(word: &[u8]) -> NodeName {
    Arc::from(word)
}

fn slot_list(arguments: &mut Arguments<'_>) -> Result<Vec<u16>, ErrorReply> {
    arguments.rest().map(parse_slot).collect()
}

/// Pairs of first and last slots, spelt out.
fn slot_ranges(call: &NodeCall<'_>, arguments: &mut Arguments<'_>) -> Result<Vec<u16>, ErrorReply> {
    if !arguments.remaining().is_multiple_of(2) {
        return Err(errors::wrong_arity(call.command.name));
    }
    let mut slots = Vec::new();
    while let (Some(first), Some(last)) = (arguments.take_optional(), arguments.take_optional()) {
        let (first, last) = (parse_slot(first)?, parse_slot(last)?);
        if first > last {
            return Err(command::range_error(first, last).into());
        }
        slots.extend(first..=last);
        // Twice the slots there are is enough to see that one is named twice.
        if slots.len() > 2 * usize::from(SLOT_COUNT) {
            break;
        }
    }
    Ok(slots)
}

fn add_slots(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    view(call)?;
    let slots = slot_list(&mut arguments)?;
    run(call, ClusterCommand::AddSlots { slots })
}

fn add_slots_range(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    view(call)?;
    let slots = slot_ranges(call, &mut arguments)?;
    run(call, ClusterCommand::AddSlots { slots })
}

fn delete_slots(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    view(call)?;
    let slots = slot_list(&mut arguments)?;
    run(call, ClusterCommand::DeleteSlots { slots })
}

fn delete_slots_range(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    view(call)?;
    let slots = slot_ranges(call, &mut arguments)?;
    run(call, ClusterCommand::DeleteSlots { slots })
}

fn flush_slots(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let database_is_empty = call.node.keyspace.database(0).is_empty();
    run(call, ClusterCommand::FlushSlots { database_is_empty })
}

fn set_slot(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    view(call)?;
    let slot = parse_slot(arguments.take()?)?;
    let word = arguments.take()?;
    let name = arguments.take_optional().map(node_name);
    let is = |known: &str| word.eq_ignore_ascii_case(known.as_bytes());
    let action = match name {
        Some(name) if is("migrating") => SetSlotAction::Migrating(name),
        Some(name) if is("importing") => SetSlotAction::Importing(name),
        Some(name) if is("node") => SetSlotAction::Node(name),
        None if is("stable") => SetSlotAction::Stable,
        _ => return Err(ErrorReply::new(command::INVALID_SETSLOT)),
    };
    let keys_in_slot = call.node.keyspace.database(0).slot_len(slot) as u64;
    run(call, ClusterCommand::SetSlot { slot, action, keys_in_slot })
}

fn bump_epoch(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    run(call, ClusterCommand::BumpEpoch)
}

fn save_config(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    run(call, ClusterCommand::SaveConfig)
}

fn set_config_epoch(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    view(call)?;
    let epoch = arguments.take_i64()?;
    run(call, ClusterCommand::SetConfigEpoch { epoch })
}

fn meet(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    view(call)?;
    let host = String::from_utf8_lossy(arguments.take()?).into_owned();
    let port_word = arguments.take()?;
    let invalid = |what: &str, word: &[u8]| {
        ErrorReply::from(format!("ERR Invalid {what} specified: {}", String::from_utf8_lossy(word)))
    };
    let port = parse_i64(port_word).ok_or_else(|| invalid("base port", port_word))?;
    let bus_port = match arguments.take_optional() {
        None => None,
        Some(word) => Some(parse_i64(word).ok_or_else(|| invalid("bus port", word))?),
    };
    arguments.finish()?;
    run(call, ClusterCommand::Meet { host: host.into(), port, bus_port })
}

fn forget(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let node = node_name(arguments.take()?);
    run(call, ClusterCommand::Forget { node })
}

fn replicate(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let node = node_name(arguments.take()?);
    let database_is_empty = call.node.keyspace.database(0).is_empty();
    run(call, ClusterCommand::Replicate { node, database_is_empty })
}

fn failover(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let kind = if arguments.is_empty() {
        FailoverKind::Coordinated
    } else if arguments.take_keyword("force") {
        FailoverKind::Force
    } else if arguments.take_keyword("takeover") {
        FailoverKind::Takeover
    } else {
        return Err(errors::SYNTAX);
    };
    arguments.finish()?;
    run(call, ClusterCommand::Failover { kind })
}

fn reset(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let kind = if arguments.take_keyword("hard") {
        ResetKind::Hard
    } else if arguments.is_empty() || arguments.take_keyword("soft") {
        ResetKind::Soft
    } else {
        return Err(errors::SYNTAX);
    };
    arguments.finish()?;
    let database_is_empty = call.node.keyspace.database(0).is_empty();
    run(call, ClusterCommand::Reset { kind, database_is_empty })
}

fn my_id(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let view = view(call)?;
    let id = view.my_facts().map(|node| node.id).ok_or(errors::CLUSTER_DOWN)?;
    call.reply().bulk(id.as_bytes());
    Ok(())
}

fn my_shard_id(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let view = view(call)?;
    let id = view.my_facts().map(|node| node.shard_id).ok_or(errors::CLUSTER_DOWN)?;
    call.reply().bulk(id.as_bytes());
    Ok(())
}

fn nodes(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let text = fresh_view(call)?.nodes_text(onlooker(call.session));
    call.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

fn info(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let text = fresh_view(call)?.info_text();
    call.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

fn replicas(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let name = arguments.take()?;
    let view = fresh_view(call)?;
    let node = view.node_by_name(name).ok_or_else(|| ErrorReply(command::unknown_node(name)))?;
    if node.flags.has(NodeFlags::REPLICA) {
        return Err(ErrorReply::new(command::NOT_A_PRIMARY));
    }
    let onlooker = onlooker(call.session);
    let lines: Vec<String> =
        view.replicas_of(node.key).map(|replica| view.node_text(replica, onlooker)).collect();
    let mut reply = call.reply();
    reply.array(lines.len());
    for line in lines {
        reply.bulk(line.as_bytes());
    }
    Ok(())
}

fn count_failure_reports(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let name = arguments.take()?;
    let view = fresh_view(call)?;
    let node = view.node_by_name(name).ok_or_else(|| ErrorReply(command::unknown_node(name)))?;
    call.reply().integer(node.failure_reports as i64);
    Ok(())
}

fn key_slot_of(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    view(call)?;
    let slot = key_slot(arguments.take()?);
    call.reply().integer(i64::from(slot));
    Ok(())
}

fn count_keys_in_slot(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    view(call)?;
    let slot = arguments.take_i64()?;
    let slot = u16::try_from(slot)
        .ok()
        .filter(|&slot| slot < SLOT_COUNT)
        .ok_or(ErrorReply::new("ERR Invalid slot"))?;
    let count = call.node.keyspace.database(0).slot_len(slot);
    call.reply().integer(count as i64);
    Ok(())
}

fn keys_in_slot(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    view(call)?;
    let slot = arguments.take_i64()?;
    let count = arguments.take_i64()?;
    let invalid = || ErrorReply::new("ERR Invalid slot or number of keys");
    let slot = u16::try_from(slot).ok().filter(|&slot| slot < SLOT_COUNT).ok_or_else(invalid)?;
    let count = usize::try_from(count).map_err(|_| invalid())?;
    let mut keys: Vec<Vec<u8>> = Vec::new();
    call.node.keyspace.database(0).slot_entries(slot, count, |entry| keys.push(entry.key().to_vec()));
    let mut reply = call.reply();
    reply.array(keys.len());
    for key in keys {
        reply.bulk(&key);
    }
    Ok(())
}

/// A node in CLUSTER SLOTS: address, port, name, and what else it can be reached by. If there is nothing else, RESP2 has three
/// elements as in Redis 6: clients of that time (go-redis v8) refuse a fourth, whatever is in it.
fn reply_node(reply: &mut Reply<'_>, view: &ClusterView, node: &NodeFacts, onlooker: Onlooker) {
    let mut facts: Vec<(&str, &str)> = Vec::new();
    if view.config.preferred_endpoint != EndpointKind::Ip {
        facts.push(("ip", node.host_for(onlooker)));
    }
    if view.config.preferred_endpoint != EndpointKind::Hostname
        && let Some(hostname) = &node.hostname
    {
        facts.push(("hostname", hostname));
    }
    let has_facts = !facts.is_empty() || reply.is_resp3();
    reply.array(3 + usize::from(has_facts));
    match view.config.preferred_endpoint {
        EndpointKind::Unknown => reply.null(),
        _ => reply.bulk(endpoint(node, view, onlooker).as_bytes()),
    }
    reply.integer(i64::from(node.port_for(onlooker, view.config.tls_cluster)));
    reply.bulk(node.id.as_bytes());
    if !has_facts {
        return;
    }
    reply.map(facts.len());
    for (name, value) in facts {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
}

fn slots(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let view = view(call)?;
    let ranges = view.slots();
    let onlooker = onlooker(call.session);
    let mut reply = call.reply();
    reply.array(ranges.len());
    for range in ranges {
        reply.array(3 + range.replicas.len());
        reply.integer(i64::from(range.first));
        reply.integer(i64::from(range.last));
        reply_node(&mut reply, &view, range.primary, onlooker);
        for replica in range.replicas {
            reply_node(&mut reply, &view, replica, onlooker);
        }
    }
    Ok(())
}

fn shards(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let view = view(call)?;
    let shards = view.shards();
    let onlooker = onlooker(call.session);
    let mut reply = call.reply();
    reply.array(shards.len());
    for shard in shards {
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(shard.slots.as_slice().len() * 2);
        for &(first, last) in shard.slots.as_slice() {
            reply.integer(i64::from(first));
            reply.integer(i64::from(last));
        }
        reply.bulk(b"nodes");
        reply.array(shard.nodes.len());
        for node in shard.nodes {
            reply_shard_node(&mut reply, &view, node, onlooker);
        }
    }
    Ok(())
}

fn reply_shard_node(reply: &mut Reply<'_>, view: &ClusterView, node: &NodeFacts, onlooker: Onlooker) {
    let hostname = node.hostname.as_deref();
    reply.map(7 + usize::from(hostname.is_some()));
    reply.bulk(b"id");
    reply.bulk(node.id.as_bytes());
    reply.bulk(b"port");
    reply.integer(i64::from(node.port_for(onlooker, view.config.tls_cluster)));
    reply.bulk(b"ip");
    reply.bulk(node.host_for(onlooker).as_bytes());
    reply.bulk(b"endpoint");
    match view.config.preferred_endpoint {
        EndpointKind::Unknown => reply.null(),
        _ => reply.bulk(endpoint(node, view, onlooker).as_bytes()),
    }
    if let Some(hostname) = hostname {
        reply.bulk(b"hostname");
        reply.bulk(hostname.as_bytes());
    }
    reply.bulk(b"role");
    reply.bulk(if node.flags.has(NodeFlags::REPLICA) { b"replica" } else { b"master" });
    reply.bulk(b"replication-offset");
    reply.integer(node.replication_offset.cast_signed());
    reply.bulk(b"health");
    reply.bulk(node.health().as_bytes());
}

fn links(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let view = fresh_view(call)?;
    let links: Vec<_> = view
        .nodes
        .iter()
        .flat_map(|node| {
            let to = node.link_to.map(|link| ("to", node.id, link));
            let from = node.link_from.map(|link| ("from", node.id, link));
            to.into_iter().chain(from)
        })
        .collect();
    let buffers = call.host.link_buffers();
    let mut reply = call.reply();
    reply.array(links.len());
    for (direction, id, link) in links {
        reply.map(6);
        reply.bulk(b"direction");
        reply.bulk(direction.as_bytes());
        reply.bulk(b"node");
        reply.bulk(id.as_bytes());
        reply.bulk(b"create-time");
        reply.integer(link.created_ms.cast_signed());
        reply.bulk(b"events");
        reply.bulk(b"rw");
        let buffer = buffers.get(&link.link).copied().unwrap_or_default();
        reply.bulk(b"send-buffer-allocated");
        reply.integer(buffer.allocated_bytes.cast_signed());
        reply.bulk(b"send-buffer-used");
        reply.integer(buffer.used_bytes.cast_signed());
    }
    Ok(())
}

fn help(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply_help(&[
        "ADDSLOTS <slot> [<slot> ...]",
        "    Let this node serve these slots.",
        "ADDSLOTSRANGE <first> <last> [<first> <last> ...]",
        "    Let this node serve all slots of these ranges.",
        "BUMPEPOCH",
        "    Take a new configuration epoch without asking the others.",
        "CANCELSLOTMIGRATIONS",
        "    End the migrations of slots from this node.",
        "COUNT-FAILURE-REPORTS <node-id>",
        "    How many primaries report this node as failing.",
        "COUNTKEYSINSLOT <slot>",
        "    How many keys this node has in a slot.",
        "DELSLOTS <slot> [<slot> ...]",
        "    Forget who serves these slots.",
        "DELSLOTSRANGE <first> <last> [<first> <last> ...]",
        "    Forget who serves the slots of these ranges.",
        "FAILOVER [FORCE|TAKEOVER]",
        "    Make this replica the primary of its shard.",
        "FLUSHSLOTS",
        "    Give up all slots of this node.",
        "FORGET <node-id>",
        "    Remove a node from the cluster.",
        "GETKEYSINSLOT <slot> <count>",
        "    Some keys that this node has in a slot.",
        "GETSLOTMIGRATIONS",
        "    Migrations of slots to and from this node, now and in the past.",
        "INFO",
        "    How the cluster is doing.",
        "KEYSLOT <key>",
        "    The slot of a key.",
        "LINKS",
        "    The connections of the cluster bus.",
        "MEET <ip> <port> [<bus-port>]",
        "    Join this node with another one.",
        "MIGRATESLOTS SLOTSRANGE <first> <last> [<first> <last> ...] NODE <node-id> [SLOTSRANGE ...]",
        "    Give slots of this node with their keys to other primaries.",
        "MYID",
        "    The id of this node.",
        "MYSHARDID",
        "    The id of this node's shard.",
        "NODES",
        "    The nodes as this node sees them: one line each.",
        "REPLICAS <node-id>",
        "    The replicas of a node.",
        "REPLICATE <node-id>",
        "    Make this node a replica of another one.",
        "RESET [HARD|SOFT]",
        "    Leave the cluster and begin anew (SOFT unless told otherwise).",
        "SAVECONFIG",
        "    Write the cluster's configuration to disk.",
        "SET-CONFIG-EPOCH <epoch>",
        "    Set the configuration epoch of a fresh node.",
        "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)",
        "    Change the state of a slot.",
        "SHARDS",
        "    Slots and nodes of each shard.",
        "SLOTS",
        "    Which nodes serve which slots.",
    ]);
    Ok(())
}
