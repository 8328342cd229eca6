//! Clusters of both kinds of nodes change while clients use them: slots move between the kinds, and every node of a real
//! cluster is replaced by one of ours. Clients see redirections, and no error.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use shoal_protocol::slot::key_slot;

use crate::support::driver::Driver;
use crate::support::{Cluster, Connection, Kind, LATER, Server, eventually};

/// Keys that the client writes again and again, in all shards.
const KEYS: usize = 60;
/// Redirections of one request that a client follows.
const REDIRECTIONS_MAX: usize = 10;

/// A client that knows the owner of each slot as far as it has been told.
struct Client {
    connections: BTreeMap<String, Connection>,
    owners: BTreeMap<u16, String>,
    first: String,
}

impl Client {
    fn new(first: String) -> Self {
        Self { connections: BTreeMap::new(), owners: BTreeMap::new(), first }
    }

    /// Sends a request about a key, and follows where it is sent. The reply must be no error.
    fn call(&mut self, key: &str, words: &[&str]) -> String {
        let slot = key_slot(key.as_bytes());
        let mut address = self.owners.get(&slot).unwrap_or(&self.first).clone();
        let mut is_asking = false;
        for _ in 0..REDIRECTIONS_MAX {
            let connection = self.connections.entry(address.clone()).or_insert_with(|| {
                let (host, port) = address.rsplit_once(':').unwrap();
                Connection::open(host, port.parse().unwrap()).unwrap()
            });
            if std::mem::take(&mut is_asking) {
                assert_eq!(connection.text(&["ASKING"]), "OK");
            }
            let reply = connection.call(words);
            let Some(error) = reply.as_error() else {
                return reply.as_text().unwrap_or_default().into_owned();
            };
            let parts: Vec<&str> = error.split(' ').collect();
            match parts[..] {
                ["MOVED", _, target] => {
                    target.clone_into(&mut address);
                    self.owners.insert(slot, address.clone());
                }
                ["ASK", _, target] => {
                    target.clone_into(&mut address);
                    is_asking = true;
                }
                _ => panic!("{address} answered {error} to {words:?}"),
            }
        }
        panic!("{words:?} is sent around");
    }
}

/// Slots with keys move from a real primary to one of ours and back, by our manager and by `redis-cli`.
#[test]
fn reshard_both_ways() {
    let kinds = [Kind::Redis, Kind::Shoal, Kind::Redis, Kind::Shoal];
    let setup = |kind| match kind {
        Kind::Redis => Cluster::setup(kind),
        Kind::Shoal => Cluster::setup(kind).conf("rdb-version-compat 10"),
    };
    let cluster = Cluster::start(kinds.into_iter().map(setup).collect());
    cluster.join(4);
    let mut client = Client::new(cluster.nodes[0].address());
    let mut values = BTreeMap::new();
    for number in 0..1000 {
        let (key, value) = (format!("key:{number}"), number.to_string());
        assert_eq!(client.call(&key, &["SET", &key, &value]), "OK");
        values.insert(key, value);
    }
    let address = cluster.nodes[0].address();
    let ids = [cluster.id(0), cluster.id(1)];
    for driver in [Driver::OURS_ON_REDIS, Driver::REDIS_CLI] {
        for (from, to) in [(0, 1), (1, 0)] {
            let options = ["--cluster-from", &ids[from], "--cluster-to", &ids[to], "--cluster-slots", "500"];
            driver.manage("reshard", &[&[&*address][..], &options, &["--cluster-yes"]].concat());
            cluster.wait_until_settled();
            for (key, value) in &values {
                assert_eq!(client.call(key, &["GET", key]), *value);
            }
        }
    }
    let total: usize =
        cluster.nodes.iter().map(|node| node.call(&["DBSIZE"]).parse::<usize>().unwrap()).sum();
    assert_eq!(total, values.len());
}

#[test]
fn rolling_replacement() {
    let driver = Driver::OURS_ON_REDIS;
    let mut cluster = driver.six();
    let is_done = AtomicBool::new(false);
    let first = cluster.nodes[0].address();
    let (written, mut client) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = Client::new(first);
            let mut written = BTreeMap::new();
            let mut number = 0_usize;
            while !is_done.load(Ordering::Relaxed) {
                let (key, value) = (format!("live:{}", number % KEYS), number.to_string());
                assert_eq!(client.call(&key, &["SET", &key, &value]), "OK");
                written.insert(key, value);
                number += 1;
            }
            (written, client)
        });
        for shard in 0..3 {
            if writer.is_finished() {
                break;
            }
            replace_shard(&driver, &mut cluster, shard);
        }
        is_done.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    assert!(cluster.nodes.iter().all(|node| node.kind() == Kind::Shoal) && cluster.nodes.len() == 6);
    cluster.wait_until_settled();
    assert_eq!(written.len(), KEYS);
    for (key, value) in &written {
        assert_eq!(client.call(key, &["GET", key]), *value);
    }
    let checked = driver.manage("check", &[&cluster.nodes[0].address()]);
    assert!(checked.contains("[OK] All 16384 slots covered."), "{checked}");
}

/// Two of ours join the shard of the first real primary that is left; one takes over, and the two real nodes leave.
fn replace_shard(driver: &Driver, cluster: &mut Cluster, shard: usize) {
    let real = |cluster: &Cluster, is_primary: bool, of: Option<&str>| {
        (0..cluster.nodes.len()).find(|&index| {
            let line = cluster.line(index, index).unwrap();
            cluster.nodes[index].kind() == Kind::Redis
                && line.has("master") == is_primary
                && of.is_none_or(|primary| line.primary == primary)
        })
    };
    let primary = real(cluster, true, None).unwrap();
    let id = cluster.id(primary);
    let asked = cluster.nodes[primary].address();
    for _ in 0..2 {
        let node = ours();
        let words = [&*node.address(), &asked, "--cluster-slave", "--cluster-master-id", &id];
        driver.manage("add-node", &words);
        cluster.nodes.push(node);
    }
    cluster.wait_until_settled();
    let successor = cluster.nodes.len() - 1;
    assert_eq!(cluster.nodes[successor].call(&["CLUSTER", "FAILOVER"]), "OK");
    cluster.wait_for_promotion(successor);
    cluster.wait_until_settled();
    // The client writes every key several times in the meantime: it has been told of the new owner.
    let new = cluster.id(successor);
    eventually(LATER, "the old nodes follow the new one", || {
        (0..cluster.nodes.len()).filter(|&index| cluster.line(index, index).unwrap().primary == new).count()
            == 3
    });
    let asked = cluster.nodes[successor].address();
    for _ in 0..2 {
        let leaving = real(cluster, false, Some(&new)).unwrap();
        let id = cluster.id(leaving);
        driver.manage("del-node", &[&asked, &id]);
        // The process ends only when the connections of the test have.
        let gone = cluster.nodes.remove(leaving);
        drop(gone);
        cluster.wait_until_settled();
    }
    let kinds = cluster.nodes.iter().filter(|node| node.kind() == Kind::Shoal).count();
    assert_eq!(kinds, 2 * (shard + 1));
}

/// A node of ours whose snapshots a Redis 7.0 can read.
fn ours() -> Server {
    let setup = Cluster::setup(Kind::Shoal).conf("rdb-version-compat 10");
    setup.conf("cluster-enabled yes\nrepl-diskless-sync-delay 0").start()
}
