//! CLUSTER SLOT-STATS and CLUSTER EVENTS.

use crate::call::{NodeBody, NodeCall};
use crate::slot_stats::SlotCost;
use shoal_cluster::command;
use shoal_protocol::number::parse_i64;
use shoal_protocol::slot::SLOT_COUNT;
use shoal_protocol::{Arguments, CommandId, ErrorReply, errors};
use shoal_store::Outcome;

pub(super) const BODIES: &[(CommandId, NodeBody)] =
    &[(CommandId::ClusterSlotStats, slot_stats), (CommandId::ClusterEvents, events)];

/// Keys of a slot whose size is looked at; the others are taken to be like them.
const SAMPLED_KEYS: usize = 4;
/// Elements of a collection that are looked at.
const SAMPLED_ELEMENTS: usize = 2;
/// Events shown if nobody says how many.
const EVENTS_SHOWN: usize = 10;

/// A figure by its name in the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    Keys,
    Memory,
    Cpu,
    Received,
    Sent,
}

/// The metrics in the order of the reply; the last three need `cluster-slot-stats-enabled`.
const METRICS: &[(Metric, &str)] = &[
    (Metric::Keys, "key-count"),
    (Metric::Memory, "memory-bytes"),
    (Metric::Cpu, "cpu-usec"),
    (Metric::Received, "network-bytes-in"),
    (Metric::Sent, "network-bytes-out"),
];
/// Metrics that need no counting.
const ALWAYS_KNOWN: usize = 2;

fn metrics(call: &NodeCall<'_>) -> &'static [(Metric, &'static str)] {
    match call.node.config.cluster_slot_stats_enabled {
        true => METRICS,
        false => METRICS.get(..ALWAYS_KNOWN).unwrap_or_default(),
    }
}

fn slot_stats(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let side = call.node.cluster.as_ref().ok_or(ErrorReply::new(command::CLUSTER_DISABLED))?;
    let view = side.view.clone().ok_or(errors::CLUSTER_DOWN)?;
    let known = metrics(call);
    let slots: Vec<u16> = if arguments.take_keyword("slotsrange") {
        let (first, last) = (take_slot(&mut arguments)?, take_slot(&mut arguments)?);
        arguments.finish()?;
        if first > last {
            let text = format!("ERR Start slot number {first} is greater than end slot number {last}");
            return Err(ErrorReply::from(text));
        }
        (first..=last).filter(|&slot| view.owns(slot)).collect()
    } else if arguments.take_keyword("orderby") {
        let name = arguments.take()?;
        let metric = known.iter().find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name));
        let (metric, _) = *metric.ok_or(ErrorReply::new("ERR Unrecognized sort metric for ORDERBY."))?;
        let (limit, is_ascending) = take_order(&mut arguments)?;
        let mut slots: Vec<(u64, u16)> = (0..SLOT_COUNT)
            .filter(|&slot| view.owns(slot))
            .map(|slot| (figure(call, slot, metric), slot))
            .collect();
        slots.sort_unstable_by(|one, other| {
            let order = one.0.cmp(&other.0);
            if is_ascending { order } else { order.reverse() }.then(one.1.cmp(&other.1))
        });
        slots.into_iter().take(limit).map(|(_, slot)| slot).collect()
    } else {
        return Err(errors::SYNTAX);
    };
    reply_slots(call, &slots, known);
    Ok(())
}

fn take_slot(arguments: &mut Arguments<'_>) -> Result<u16, ErrorReply> {
    let slot = parse_i64(arguments.take()?).and_then(|slot| u16::try_from(slot).ok());
    slot.filter(|&slot| slot < SLOT_COUNT).ok_or(ErrorReply::new(command::INVALID_SLOT))
}

/// `[LIMIT n] [ASC | DESC]`, each at most once.
fn take_order(arguments: &mut Arguments<'_>) -> Result<(usize, bool), ErrorReply> {
    let (mut limit, mut direction) = (None, None);
    while !arguments.is_empty() {
        if limit.is_none() && arguments.take_keyword("limit") {
            let bad =
                ErrorReply::new("ERR Limit has to lie in between 1 and 16384 (maximum number of slots).");
            let count =
                parse_i64(arguments.take()?).filter(|count| (1..=i64::from(SLOT_COUNT)).contains(count));
            limit = Some(count.ok_or(bad)? as usize);
        } else if direction.is_none() && arguments.take_keyword("asc") {
            direction = Some(true);
        } else if direction.is_none() && arguments.take_keyword("desc") {
            direction = Some(false);
        } else {
            return Err(errors::SYNTAX);
        }
    }
    Ok((limit.unwrap_or(usize::from(SLOT_COUNT)), direction.unwrap_or(false)))
}

fn figure(call: &NodeCall<'_>, slot: u16, metric: Metric) -> u64 {
    let cost = || -> SlotCost {
        let stats = call.node.cluster.as_ref().and_then(|side| side.slot_stats.as_ref());
        stats.map(|stats| stats.of(slot)).unwrap_or_default()
    };
    match metric {
        Metric::Keys => call.node.keyspace.database(0).slot_len(slot) as u64,
        Metric::Memory => memory_bytes(call, slot),
        Metric::Cpu => cost().cpu_us,
        Metric::Received => cost().received_bytes,
        Metric::Sent => cost().sent_bytes,
    }
}

/// What the keys of a slot take, estimated from the first few.
fn memory_bytes(call: &NodeCall<'_>, slot: u16) -> u64 {
    let database = call.node.keyspace.database(0);
    let (mut bytes, mut seen) = (0, 0);
    database.slot_entries(slot, SAMPLED_KEYS, |entry| {
        bytes += entry.size_bytes(SAMPLED_ELEMENTS) as u64;
        seen += 1;
    });
    match seen {
        0 => 0,
        seen => bytes * database.slot_len(slot) as u64 / seen,
    }
}

fn reply_slots(call: &mut NodeCall<'_>, slots: &[u16], known: &[(Metric, &str)]) {
    call.reply().array(slots.len());
    for &slot in slots {
        let figures: Vec<u64> = known.iter().map(|(metric, _)| figure(call, slot, *metric)).collect();
        let mut reply = call.reply();
        reply.array(2);
        reply.integer(i64::from(slot));
        reply.map(known.len());
        for ((_, name), figure) in known.iter().zip(figures) {
            reply.bulk(name.as_bytes());
            reply.integer(figure.cast_signed());
        }
    }
}

fn events(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let side = call.node.cluster.as_ref().ok_or(ErrorReply::new(command::CLUSTER_DISABLED))?;
    let mut count = EVENTS_SHOWN;
    if arguments.take_keyword("count") {
        let wanted = parse_i64(arguments.take()?).and_then(|count| usize::try_from(count).ok());
        count = wanted.ok_or(ErrorReply::new("ERR COUNT must be a number of 0 or more"))?;
    }
    arguments.finish()?;
    let events: Vec<_> = side.events.newest().take(count).cloned().collect();
    let mut reply = call.reply();
    reply.array(events.len());
    for event in events {
        reply.map(6);
        reply.bulk(b"id");
        reply.integer(event.id.cast_signed());
        reply.bulk(b"time");
        reply.integer(event.at_ms.cast_signed());
        let texts: [(&str, &[u8]); 4] = [
            ("event", event.kind.as_bytes()),
            ("node", event.node.as_bytes()),
            ("what", event.what.as_bytes()),
            ("why", event.why.as_bytes()),
        ];
        for (name, text) in texts {
            reply.bulk(name.as_bytes());
            reply.bulk(text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Fixture, cluster_view};
    use shoal_cluster::view::{NodeKey, SlotOwners};
    use shoal_cluster::{ClusterView, MachineMessage, NodeFlags};
    use shoal_protocol::slot::key_slot;
    use std::sync::Arc;

    /// Three nodes; number 0, under test, has the slots of these tags.
    fn view(tags: &[&str]) -> ClusterView {
        let mut owners = SlotOwners::none();
        tags.iter().for_each(|tag| owners.set(key_slot(tag.as_bytes()), Some(NodeKey(0))));
        cluster_view(3, owners)
    }

    fn show(fixture: &mut Fixture, mut view: ClusterView) {
        view.published_at = fixture.host.clock.monotonic;
        let message = MachineMessage::View { view: Arc::new(view), orders: Vec::new() };
        fixture.node.cluster_message(fixture.host.clock, &mut fixture.host, message);
    }

    #[test]
    fn figures_of_slots() {
        let mut fixture = Fixture::with_configuration(&[("cluster-enabled", "yes")]);
        // {a} is slot 15495, {b} 3300, {c} 7365.
        show(&mut fixture, view(&["a", "b", "c"]));
        fixture.run("SET {a}1 v");
        fixture.run("SET {a}2 v");
        fixture.run("SET {b}1 v");
        let keys = |fixture: &mut Fixture, words: &str| {
            let shown = fixture.run(&format!("CLUSTER SLOT-STATS {words}"));
            let slots = shown.split("[:").skip(1).map(|part| part.split(',').next().unwrap().to_owned());
            slots.collect::<Vec<_>>()
        };
        assert_eq!(keys(&mut fixture, "ORDERBY key-count"), ["15495", "3300", "7365"]);
        assert_eq!(keys(&mut fixture, "ORDERBY key-count ASC LIMIT 2"), ["7365", "3300"]);
        assert_eq!(keys(&mut fixture, "ORDERBY memory-bytes LIMIT 1"), ["15495"]);
        assert_eq!(keys(&mut fixture, "SLOTSRANGE 3300 8000"), ["3300", "7365"]);
        assert!(fixture.run("CLUSTER SLOT-STATS SLOTSRANGE 15495 15495").contains("\"key-count\", :2"));
        assert!(!fixture.run("CLUSTER SLOT-STATS SLOTSRANGE 15495 15495").contains("cpu-usec"));
        fixture.check_all(&[
            ("CLUSTER SLOT-STATS ORDERBY cpu-usec", "-ERR Unrecognized sort metric for ORDERBY."),
            (
                "CLUSTER SLOT-STATS ORDERBY key-count LIMIT 0",
                "-ERR Limit has to lie in between 1 and 16384 (maximum number of slots).",
            ),
            ("CLUSTER SLOT-STATS ORDERBY key-count ASC DESC", "-ERR syntax error"),
            (
                "CLUSTER SLOT-STATS SLOTSRANGE 2 1",
                "-ERR Start slot number 2 is greater than end slot number 1",
            ),
            ("CLUSTER SLOT-STATS SLOTSRANGE 2 16384", "-ERR Invalid or out of range slot"),
            ("CLUSTER SLOT-STATS OTHER 1", "-ERR syntax error"),
            ("CONFIG SET cluster-slot-stats-enabled yes", "+OK"),
            ("GET {b}1", "\"v\""),
        ]);
        let shown = fixture.run("CLUSTER SLOT-STATS SLOTSRANGE 3300 3300");
        // *2 $3 GET $4 {b}1, and $1 v.
        assert!(shown.contains("\"network-bytes-in\", :23, \"network-bytes-out\", :7"), "{shown}");
        fixture.run("CONFIG RESETSTAT");
        let shown = fixture.run("CLUSTER SLOT-STATS SLOTSRANGE 3300 3300");
        assert!(shown.contains("\"network-bytes-in\", :0"), "{shown}");
    }

    #[test]
    fn changes_are_events() {
        let mut fixture = Fixture::with_configuration(&[("cluster-enabled", "yes")]);
        show(&mut fixture, view(&["a", "b"]));
        fixture.check("CLUSTER EVENTS", "[]");
        let mut next = view(&["a"]);
        Arc::make_mut(&mut next.owners).set(key_slot(b"b"), Some(NodeKey(1)));
        next.nodes[2].flags.set(NodeFlags::FAILED);
        next.nodes[1].config_epoch += 7;
        next.is_ok = !next.is_ok;
        show(&mut fixture, next.clone());
        let shown = fixture.run("CLUSTER EVENTS");
        for part in ["\"failed\"", "1 slots from ", "\"epoch\"", "\"state\""] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert_eq!(shown.matches("\"why\"").count(), 4, "{shown}");
        next.nodes.pop();
        show(&mut fixture, next);
        let newest = fixture.run("CLUSTER EVENTS COUNT 1");
        assert!(newest.contains("\"left\"") && newest.matches("\"why\"").count() == 1, "{newest}");
        fixture.check("CLUSTER EVENTS COUNT x", "-ERR COUNT must be a number of 0 or more");
    }
}
