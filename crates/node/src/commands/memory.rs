//! MEMORY: what memory is used for.

use crate::call::{NodeBody, NodeCall};
use crate::info::MemoryUse;
use shoal_protocol::{Arguments, CommandId, Reply};
use shoal_store::Outcome;
use std::fmt::Write as _;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::MemoryStats, stats),
    (CommandId::MemoryDoctor, doctor),
    (CommandId::MemoryMallocStats, malloc_stats),
    (CommandId::MemoryPurge, purge),
    (CommandId::MemoryHelp, help),
];

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn stats(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let found = call.node.memory_use(call.host, call.session);
    let databases: Vec<(usize, usize)> = call
        .node
        .keyspace
        .databases()
        .enumerate()
        .filter(|(_, database)| !database.is_empty())
        .map(|(index, database)| (index, database.table_bytes()))
        .collect();
    let key_count = call.node.keyspace.len() as u64;
    let mut reply = call.reply();
    reply.map(10 + databases.len() + 17);
    let integer = |reply: &mut Reply<'_>, name: &str, value: u64| {
        reply.bulk(name.as_bytes());
        reply.integer(value.cast_signed());
    };
    integer(&mut reply, "peak.allocated", found.peak_bytes);
    integer(&mut reply, "total.allocated", found.process.used_memory_bytes);
    integer(&mut reply, "startup.allocated", found.startup_bytes);
    integer(&mut reply, "replication.backlog", found.backlog_bytes);
    integer(&mut reply, "clients.slaves", found.replica_client_bytes);
    integer(&mut reply, "clients.normal", found.normal_client_bytes);
    for name in ["cluster.links", "aof.buffer", "lua.caches", "functions.caches"] {
        integer(&mut reply, name, 0);
    }
    for (index, table_bytes) in databases {
        reply.bulk(format!("db.{index}").as_bytes());
        reply.map(3);
        integer(&mut reply, "overhead.hashtable.main", table_bytes as u64);
        // Tables mark the keys that expire, and slots have tables of their own.
        integer(&mut reply, "overhead.hashtable.expires", 0);
        integer(&mut reply, "overhead.hashtable.slot-to-keys", 0);
    }
    write_totals(&mut reply, &found, key_count);
    Ok(())
}

fn write_totals(reply: &mut Reply<'_>, found: &MemoryUse, key_count: u64) {
    let process = &found.process;
    let used = process.used_memory_bytes;
    let integer = |reply: &mut Reply<'_>, name: &str, value: i64| {
        reply.bulk(name.as_bytes());
        reply.integer(value);
    };
    let double = |reply: &mut Reply<'_>, name: &str, value: f64| {
        reply.bulk(name.as_bytes());
        reply.double(value);
    };
    let net = used.saturating_sub(found.startup_bytes);
    integer(reply, "overhead.total", found.overhead_bytes.cast_signed());
    integer(reply, "keys.count", key_count.cast_signed());
    integer(reply, "keys.bytes-per-key", net.checked_div(key_count).unwrap_or(0).cast_signed());
    integer(reply, "dataset.bytes", found.dataset_bytes.cast_signed());
    double(reply, "dataset.percentage", found.dataset_percent());
    double(reply, "peak.percentage", ratio(used, found.peak_bytes) * 100.0);
    integer(reply, "allocator.allocated", used.cast_signed());
    integer(reply, "allocator.active", process.allocator_active_bytes.cast_signed());
    integer(reply, "allocator.resident", process.allocator_resident_bytes.cast_signed());
    for (ratio_name, bytes_name, part, whole) in [
        (
            "allocator-fragmentation.ratio",
            "allocator-fragmentation.bytes",
            process.allocator_active_bytes,
            used,
        ),
        (
            "allocator-rss.ratio",
            "allocator-rss.bytes",
            process.allocator_resident_bytes,
            process.allocator_active_bytes,
        ),
        (
            "rss-overhead.ratio",
            "rss-overhead.bytes",
            process.resident_bytes,
            process.allocator_resident_bytes,
        ),
        ("fragmentation", "fragmentation.bytes", process.resident_bytes, used),
    ] {
        double(reply, ratio_name, ratio(part, whole));
        integer(reply, bytes_name, part.cast_signed().wrapping_sub(whole.cast_signed()));
    }
}

/// With less memory in use, what its parts are to each other says nothing.
const DOCTOR_FROM_BYTES: u64 = 5 * 1024 * 1024;
/// From here on the peak is worth mentioning.
const PEAK_RATIO: f64 = 1.5;
/// From here on fragmentation is worth mentioning.
const FRAGMENTATION_RATIO: f64 = 1.4;
/// An average client beyond this is worth mentioning.
const CLIENT_BYTES: u64 = 200 * 1024;

fn doctor(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let found = call.node.memory_use(call.host, call.session);
    let client_count = call.node.clients.len().max(1) as u64;
    let text = diagnosis(&found, client_count);
    call.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

fn diagnosis(found: &MemoryUse, client_count: u64) -> String {
    let used = found.process.used_memory_bytes;
    if used < DOCTOR_FROM_BYTES {
        return "This instance uses too little memory to say anything about it.\n".to_owned();
    }
    let mut text = String::new();
    let peak_ratio = ratio(found.peak_bytes, used);
    if peak_ratio > PEAK_RATIO {
        let _ = writeln!(
            text,
            "* Peak memory: {peak_ratio:.1} times the memory in use now was in use at some time. The allocator may keep \
             pages for it, so that the process seems larger than its data."
        );
    }
    let fragmentation = ratio(found.process.allocator_resident_bytes, used);
    if fragmentation > FRAGMENTATION_RATIO {
        let _ = writeln!(
            text,
            "* High fragmentation: the allocator holds {fragmentation:.1} times the memory that is in use. Values that \
             change their size often cause this; MEMORY PURGE may help."
        );
    }
    let process = ratio(found.process.resident_bytes, found.process.allocator_resident_bytes);
    if process > FRAGMENTATION_RATIO {
        let _ = writeln!(
            text,
            "* High overhead of the process: it occupies {process:.1} times the memory of its allocator."
        );
    }
    if found.normal_client_bytes / client_count > CLIENT_BYTES {
        text.push_str(
            "* Big client buffers: clients use more than 200 KiB each. CLIENT LIST shows which ones do not read their \
             replies or send large requests.\n",
        );
    }
    if text.is_empty() {
        return "No problems with memory were found.\n".to_owned();
    }
    format!("Something about the memory of this instance may need attention:\n\n{text}")
}

fn malloc_stats(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let facts = call.host.facts();
    let text = format!(
        "allocated: {}\nactive: {}\nresident: {}\n",
        facts.used_memory_bytes, facts.allocator_active_bytes, facts.allocator_resident_bytes
    );
    call.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

fn purge(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.host.purge_memory();
    call.reply().ok();
    Ok(())
}

fn help(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply_help(&[
        "DOCTOR",
        "    What may be wrong with the use of memory.",
        "MALLOC-STATS",
        "    The figures of the allocator.",
        "PURGE",
        "    Ask the allocator to give unused memory back.",
        "STATS",
        "    What memory is used for.",
        "USAGE <key> [SAMPLES <count>]",
        "    About how much memory a key and its value take.",
    ]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;

    #[test]
    fn usage_of_keys() {
        let mut fixture = Fixture::new();
        fixture.run("SET key:000000000001 1");
        let shown = fixture.run("MEMORY USAGE key:000000000001 SAMPLES 0");
        let bytes: usize = shown.trim_start_matches(':').parse().unwrap();
        assert!((16 + 8..64).contains(&bytes), "{bytes} bytes for a key of 16 bytes and an integer");
        fixture.check_all(&[
            ("MEMORY USAGE nothing", "nil"),
            ("MEMORY USAGE k SAMPLES", "-ERR syntax error"),
            ("MEMORY USAGE k SAMPLES -1", "-ERR syntax error"),
            ("MEMORY USAGE k SAMPLES x", "-ERR value is not an integer or out of range"),
            ("MEMORY PURGE", "+OK"),
        ]);
        assert_eq!(fixture.host.purges, 1);
    }

    #[test]
    fn statistics() {
        let mut fixture = Fixture::new();
        fixture.run("HELLO 3");
        fixture.advance_ms(1000);
        fixture.run("DEBUG POPULATE 100");
        fixture.host.facts.used_memory_bytes += 1000;
        let text = fixture.run("MEMORY STATS");
        for part in [
            "\"total.allocated\": :2098152",
            "\"startup.allocated\": :2097152",
            "\"keys.count\": :100, \"keys.bytes-per-key\": :10",
            "\"db.0\": {\"overhead.hashtable.main\": :",
            "\"peak.percentage\": ,100,",
            "\"fragmentation.bytes\": :4193304}",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        fixture.run("HELLO 2");
        assert!(fixture.text("MEMORY MALLOC-STATS").starts_with("allocated: 2098152\n"));
        assert!(fixture.text("MEMORY DOCTOR").contains("too little memory"));
    }

    #[test]
    fn diagnoses() {
        let mut found = MemoryUse::default();
        found.process.used_memory_bytes = 10 << 20;
        found.process.allocator_resident_bytes = 11 << 20;
        found.process.resident_bytes = 12 << 20;
        found.peak_bytes = 10 << 20;
        assert_eq!(diagnosis(&found, 1), "No problems with memory were found.\n");
        found.peak_bytes = 20 << 20;
        found.process.allocator_resident_bytes = 20 << 20;
        found.process.resident_bytes = 40 << 20;
        found.normal_client_bytes = 1 << 20;
        assert_eq!(diagnosis(&found, 1).matches("\n* ").count(), 4);
    }
}
