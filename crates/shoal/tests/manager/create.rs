//! Clusters are made: by the launcher's script, from compose files, and of nodes that belonged to another before.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::driver::{Driver, run, text};
use crate::support::{ClusterSlot, Connection, Kind, LATER, Port, SHOAL, Server, eventually, field};

crate::scenarios! {
    /// FLUSHALL and CLUSTER RESET; what a node that is not empty, or not in cluster mode, is refused with.
    reset_for_reuse,
    /// The document's template, script and compose file; its services as processes instead of containers.
    compose_cluster,
}

fn reset_for_reuse(driver: &Driver) {
    let cluster = driver.six();
    let addresses: Vec<String> = cluster.nodes.iter().map(Server::address).collect();
    let create = || {
        let mut line = vec!["--cluster", "create"];
        line.extend(addresses.iter().map(String::as_str));
        line.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        driver.run(&line, "")
    };
    let refusal = format!(
        "[ERR] Node {} is not empty. Either the node already knows other nodes (check with CLUSTER NODES) or contains some \
         key in database 0.\n",
        addresses[0]
    );
    assert_eq!(cluster.nodes[0].connect().text(&["SET", "{a}", "1"]).split(' ').next(), Some("MOVED"));
    let key = crate::support::cluster::key_of(0, 3, 0);
    assert_eq!(cluster.nodes[0].call(&["SET", &key, "1"]), "OK");
    let (refused, code) = create();
    assert!(refused.contains(&refusal) && code == 1, "{refused}");
    let keys = "ERR CLUSTER RESET can't be called with master nodes containing keys";
    assert_eq!(cluster.nodes[0].call(&["CLUSTER", "RESET"]), keys);
    for (index, node) in cluster.nodes.iter().enumerate() {
        let is_replica = cluster.role(index).as_deref() == Some("slave");
        // A replica is emptied by its primary, or by the reset.
        assert!(is_replica || node.call(&["FLUSHALL"]) == "OK");
        assert_eq!(node.call(&["CLUSTER", "RESET"]), "OK");
    }
    // Messages on their way may have introduced some to each other again.
    eventually(LATER, "every node is alone", || {
        let alone = |index: usize| {
            let is_alone = cluster.table(index).len() == 1;
            is_alone || cluster.nodes[index].call(&["CLUSTER", "RESET"]) != "OK"
        };
        (0..6).all(alone) && (0..6).all(|index| cluster.table(index).len() == 1)
    });
    let plain = driver.setup().start();
    let (refused, code) =
        driver.run(&["--cluster", "create", &addresses[0], &plain.address(), &addresses[1]], "");
    let wanted = format!("[ERR] Node {} is not configured as a cluster node.\n", plain.address());
    assert!(refused.contains(&wanted) && code == 1, "{refused}");
    let (created, code) = create();
    assert!(created.ends_with("[OK] All 16384 slots covered.\n") && code == 0, "{created}");
    cluster.wait_until_settled();
}

/// The document's `redis-cluster.tmpl`.
const TEMPLATE: &str = "\
port ${PORT}
protected-mode no
cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout 5000
appendonly yes
";

/// The document's `redis-cluster-config.sh`, with other ports.
const SCRIPT: &str = r#"#!/bin/bash

for port in `seq FIRST LAST`; do \
  mkdir -p ./redis-cluster/${port}/conf
  PORT=${port} envsubst < ./redis-cluster.tmpl > ./redis-cluster/${port}/conf/redis.conf
  chmod 666 ./redis-cluster/${port}/conf/redis.conf
  mkdir -p ./redis-cluster/${port}/data
done
"#;

/// One service of the document's compose file.
const SERVICE: &str = r#"  redisPORT:
    image: redis:alpine
    container_name: redisPORT
    command: "redis-server /usr/local/etc/redis/redis.conf"
    network_mode: host
    volumes:
      - ./redis-cluster/PORT/conf:/usr/local/etc/redis
      - ./redis-cluster/PORT/data:/data
"#;

/// What a compose file says of a service.
#[derive(Default)]
struct Service {
    command: Vec<String>,
    /// Directories of the container, and what they are outside.
    volumes: BTreeMap<String, PathBuf>,
}

/// The services as processes.
struct Services(Vec<Child>);

impl Drop for Services {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn compose_cluster(driver: &Driver) {
    let _turn = ClusterSlot::take();
    let work = TempDir::with_prefix("shoal-test-").unwrap();
    let ports = Port::take_row(6);
    let (first, last) = (ports[0].number(), ports[5].number());
    let script = SCRIPT.replace("FIRST", &first.to_string()).replace("LAST", &last.to_string());
    let services: String =
        ports.iter().map(|port| SERVICE.replace("PORT", &port.number().to_string())).collect();
    let compose = format!("version: \"3\"\n\nservices:\n{services}");
    fs::write(work.path().join("redis-cluster.tmpl"), TEMPLATE).unwrap();
    fs::write(work.path().join("redis-cluster-config.sh"), script).unwrap();
    let made = run(work.path(), &["bash", "redis-cluster-config.sh"], "");
    assert!(made.status.success(), "{}", text(&made));

    let bin = work.path().join("bin");
    let installed = run(work.path(), &[SHOAL, "install-links", bin.to_str().unwrap()], "");
    assert!(installed.status.success(), "{}", text(&installed));
    let services = read_compose(&compose, work.path());
    assert_eq!(services.len(), 6);
    let programs = if driver.kind == Kind::Shoal { bin } else { PathBuf::from("/usr/bin") };
    let _running = Services(services.iter().map(|service| start(service, &programs)).collect());
    for port in &ports {
        eventually(LATER, "the service answers", || {
            let connection = Connection::open("127.0.0.1", port.number());
            connection.and_then(|mut connection| connection.try_call(&["PING"])).is_some()
        });
    }

    let addresses: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{}", port.number())).collect();
    let mut line = vec!["--cluster", "create"];
    line.extend(addresses.iter().map(String::as_str));
    line.extend(["--cluster-replicas", "1"]);
    let (created, code) = driver.dialogue(&line, &[("(type 'yes' to accept): ", "yes")]);
    assert!(created.ends_with("[OK] All 16384 slots covered.\n") && code == 0, "{created}");
    for port in &ports {
        eventually(LATER, "the cluster is up", || {
            let mut connection = Connection::open("127.0.0.1", port.number()).unwrap();
            field(&connection.text(&["CLUSTER", "INFO"]), "cluster_state").as_deref() == Some("ok")
        });
        let data = work.path().join(format!("redis-cluster/{}/data", port.number()));
        assert!(data.join("nodes.conf").exists() && data.join("appendonlydir").exists());
    }
    let port = first.to_string();
    let set = driver.good(&["-c", "-p", &port, "set", "hello", "ahri"]);
    assert!(set.ends_with("OK\n"), "{set}");
}

/// Reads what these tests need of a compose file: services, their commands and their volumes.
fn read_compose(text: &str, directory: &Path) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        let depth = line.len() - line.trim_start().len();
        if depth == 2 && trimmed.ends_with(':') {
            services.push(Service::default());
        } else if let Some(command) = trimmed.strip_prefix("command: ") {
            let words = command.trim_matches('"').split(' ').map(str::to_owned).collect();
            services.last_mut().unwrap().command = words;
        } else if let Some((outside, inside)) =
            trimmed.strip_prefix("- ").and_then(|volume| volume.split_once(':'))
        {
            let volumes = &mut services.last_mut().unwrap().volumes;
            volumes.insert(inside.to_owned(), directory.join(outside));
        }
    }
    services
}

/// Starts a service where the container would: in `/data`, with its paths turned into those outside.
fn start(service: &Service, programs: &Path) -> Child {
    let words: Vec<String> = service
        .command
        .iter()
        .map(|word| {
            let inside = service.volumes.iter().find(|(inside, _)| word.starts_with(inside.as_str()));
            inside.map_or_else(
                || word.clone(),
                |(inside, outside)| word.replacen(inside.as_str(), outside.to_str().unwrap(), 1),
            )
        })
        .collect();
    Command::new(programs.join(&words[0]))
        .args(&words[1..])
        .current_dir(&service.volumes["/data"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}
