//! Which crate may use which. Pure crates use pure crates and a few small libraries; see ARCHITECTURE.md.

use super::Finding;
use crate::workspace;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A crate of ours: whether it is pure, and the crates of ours it may use.
struct Layer {
    name: &'static str,
    is_pure: bool,
    may_use: &'static [&'static str],
}

const fn pure(name: &'static str, may_use: &'static [&'static str]) -> Layer {
    Layer { name, is_pure: true, may_use }
}

const fn shell(name: &'static str, may_use: &'static [&'static str]) -> Layer {
    Layer { name, is_pure: false, may_use }
}

/// Every crate; a new one needs a line here.
const LAYERS: &[Layer] = &[
    pure("machine", &[]),
    pure("protocol", &[]),
    pure("config", &["protocol"]),
    pure("formats", &["protocol"]),
    pure("store", &["machine", "protocol", "formats"]),
    pure("session", &["machine", "protocol"]),
    pure("replication", &["machine", "protocol", "formats"]),
    pure("cluster", &["machine", "protocol", "formats"]),
    pure("node", &["machine", "protocol", "config", "formats", "store", "session", "replication", "cluster"]),
    shell(
        "transport",
        &["machine", "protocol", "config", "formats", "store", "session", "replication", "cluster", "node"],
    ),
    shell(
        "fuzz",
        &[
            "machine",
            "protocol",
            "config",
            "formats",
            "store",
            "session",
            "replication",
            "cluster",
            "node",
            "simulator",
        ],
    ),
    shell("cli", &["machine", "protocol", "config", "formats", "cluster"]),
    shell(
        "simulator",
        &["machine", "protocol", "config", "formats", "store", "session", "replication", "cluster", "node"],
    ),
    shell(
        "shoal",
        &[
            "machine",
            "protocol",
            "config",
            "formats",
            "store",
            "session",
            "replication",
            "cluster",
            "node",
            "transport",
            "cli",
        ],
    ),
    // Its nodes are processes of the binary: it links nothing of them.
    shell("chaos", &["machine", "protocol", "probe"]),
    shell("probe", &["protocol"]),
    // It is the server on another disk, so it links what the server links.
    shell(
        "crash",
        &[
            "machine",
            "protocol",
            "probe",
            "config",
            "formats",
            "store",
            "session",
            "replication",
            "cluster",
            "node",
            "transport",
            "cli",
            "shoal",
        ],
    ),
];

/// Libraries pure crates may link: none of them knows a clock, a socket, a file or a thread.
const PURE_LIBRARIES: &[&str] =
    &["arrayvec", "fastrand", "itoa", "memchr", "num-bigint", "sha1", "sha1_smol", "sha2", "siphasher"];

/// The list of banned functions that all pure crates share.
const PURE_CLIPPY: &str = "crates/pure-clippy.toml";

/// Edges that are not allowed, also over other crates, and pure crates without their list of banned functions.
pub fn check(metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let graph = Graph::new(metadata);
    for name in graph.ours() {
        let place =
            if name == "fuzz" { "fuzz/Cargo.toml".to_owned() } else { format!("crates/{name}/Cargo.toml") };
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
            findings.push(Finding::new(place, "not in the list of layers of xtask/src/tidy/edges.rs"));
            continue;
        };
        for used in graph.reachable(name) {
            if !layer.may_use.contains(&used.as_str()) {
                findings.push(Finding::new(&place, format!("{name} may not use {used}")));
            }
        }
        if layer.is_pure {
            for library in graph.libraries(name).filter(|library| !PURE_LIBRARIES.contains(library)) {
                findings.push(Finding::new(&place, format!("{name} is pure and may not link {library}")));
            }
            findings.extend(check_clippy(name));
        }
    }
    findings
}

fn check_clippy(name: &str) -> Option<Finding> {
    let path = format!("crates/{name}/clippy.toml");
    let read = |path: &str| std::fs::read_to_string(workspace::root().join(path)).ok();
    let text = format!("must be a copy of {PURE_CLIPPY}");
    (read(&path).is_none() || read(&path) != read(PURE_CLIPPY)).then(|| Finding::new(path, text))
}

/// What crates of ours link, tests and build scripts not counted.
struct Graph {
    links: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn new(metadata: &Value) -> Self {
        let mut links = BTreeMap::new();
        for package in metadata.get("packages").and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = package.get("name").and_then(Value::as_str).and_then(our_name) else { continue };
            let dependencies = package.get("dependencies").and_then(Value::as_array).into_iter().flatten();
            let linked = dependencies.filter(|dependency| dependency.get("kind").is_none_or(Value::is_null));
            let names = linked.filter_map(|dependency| dependency.get("name").and_then(Value::as_str));
            links.insert(name.to_owned(), names.map(str::to_owned).collect());
        }
        Self { links }
    }

    fn ours(&self) -> impl Iterator<Item = &str> {
        self.links.keys().map(String::as_str)
    }

    fn libraries<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.links.get(name).into_iter().flatten().map(String::as_str).filter(|name| our_name(name).is_none())
    }

    /// Crates of ours that are linked, directly or through others.
    fn reachable(&self, name: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![name.to_owned()];
        while let Some(name) = waiting.pop() {
            let ours = self.links.get(&name).into_iter().flatten().filter_map(|name| our_name(name));
            for used in ours.map(str::to_owned) {
                if reached.insert(used.clone()) {
                    waiting.push(used);
                }
            }
        }
        reached
    }
}

/// The name of a crate of ours without its prefix; the program has none.
fn our_name(package: &str) -> Option<&str> {
    if package == "shoal" { Some(package) } else { package.strip_prefix("shoal-") }
}

#[cfg(test)]
mod tests {
    use super::check;
    use serde_json::json;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> serde_json::Value {
        let dependencies: Vec<_> =
            dependencies.iter().map(|(name, kind)| json!({"name": name, "kind": kind})).collect();
        json!({"name": name, "dependencies": dependencies})
    }

    #[test]
    fn forbidden_edges_are_found_also_through_others() {
        let cli = package("shoal-cli", &[("shoal-config", None), ("shoal-store", Some("dev"))]);
        let config =
            package("shoal-config", &[("shoal-store", None), ("mio", None), ("proptest", Some("dev"))]);
        let metadata = json!({"packages": [cli, config, package("mio", &[])]});
        let texts: Vec<String> = check(&metadata).into_iter().map(|finding| finding.text).collect();
        let expected =
            ["cli may not use store", "config may not use store", "config is pure and may not link mio"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_new_crate_needs_a_layer() {
        let metadata = json!({"packages": [package("shoal-novelty", &[])]});
        assert_eq!(check(&metadata).len(), 1);
    }
}
