//! `--cluster backup`: a snapshot of every primary, and a file that says what the cluster looked like.

use super::check::{self, Findings};
use super::log::{Level, log};
use super::node::{Node, ranges};
use super::progress::Progress;
use super::report;
use crate::console::{self, error_text};
use crate::exit::Step;
use crate::modes::rdb;
use crate::options::Options;
use crate::options::table::path;
use serde_json::{Value as Json, json};
use std::path::Path;

/// The file that describes the cluster.
pub(super) const NODES_FILE: &str = "nodes.json";
/// The end of the names of snapshots.
pub(super) const SNAPSHOT: &str = "rdb";

/// Writes the backup of the cluster of the first argument into the directory of the second.
pub(super) fn run(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let directory = path(arguments.get(1).map_or(b".", |word| word));
    if let Err(error) = std::fs::create_dir_all(&directory) {
        let text = format!("[ERR] Cannot use directory '{}': {}\n", directory.display(), error_text(&error));
        log(Level::Error, &text);
        return Ok(1);
    }
    let mut cluster = super::load(&arguments[..1], options)?;
    let findings = check::check(&mut cluster, false)?;
    let nodes = cluster.nodes();
    for member in cluster.members.iter_mut().filter(|member| !member.node.is_replica()) {
        let address = member.node.address();
        log(Level::Information, &format!(">>> Node {address} -> Saving RDB...\n"));
        console::flush();
        let mut progress = None;
        rdb::fetch(&mut member.connection, &directory.join(file_name(&member.node)), &mut |done, all| {
            progress
                .get_or_insert_with(|| Progress::of_bytes("Saving", all, options))
                .reach(done, String::new);
        })?;
    }
    let file = directory.join(NODES_FILE);
    log(Level::Information, &format!("Saving cluster configuration to: {}\n", file.display()));
    if !save(&file, &nodes, &findings) {
        log(Level::Error, "[ERR] Failed to back cluster!\n");
        return Ok(1);
    }
    if !findings.is_clean() {
        log(
            Level::Warning,
            "*** Cluster seems to have some problems, please be aware of it if you're going to restore this backup.\n",
        );
    }
    report::note("directory", json!(directory));
    log(Level::Success, &format!("[OK] Backup created into: {}\n", directory.display()));
    Ok(0)
}

/// The name of a primary's snapshot; an IPv6 address has no place in a file name as it is.
fn file_name(node: &Node) -> String {
    format!("redis-node-{}-{}-{}.{SNAPSHOT}", node.host.replace(':', "_"), node.port, node.id)
}

fn save(file: &Path, nodes: &[Node], findings: &Findings) -> bool {
    let nodes: Vec<Json> = nodes.iter().map(|node| describe(node, findings)).collect();
    match std::fs::write(file, format!("{:#}\n", Json::Array(nodes))) {
        Ok(()) => true,
        Err(error) => {
            let text = format!("Could not save nodes to: {}: {}\n", file.display(), error_text(&error));
            log(Level::Error, &text);
            false
        }
    }
}

/// A node with the fields that redis-cli writes.
fn describe(node: &Node, findings: &Findings) -> Json {
    let mut described = json!({
        "name": node.id,
        "host": node.host,
        "port": node.port,
        "replicate": node.primary_id,
        "slots": ranges(&node.slots),
        "slots_count": node.slots.len(),
        "flags": node.flags.iter().filter(|flag| *flag != "myself").cloned().collect::<Vec<_>>().join(","),
        "current_epoch": node.epoch,
    });
    let errors = findings.error_count();
    if errors > 0 {
        described["cluster_errors"] = json!(errors);
    }
    for (name, slots) in [("migrating", &node.migrating), ("importing", &node.importing)] {
        if !slots.is_empty() {
            let pairs = slots.iter().map(|(slot, id)| (slot.to_string(), json!(id)));
            described[name] = Json::Object(pairs.collect());
        }
    }
    described
}
