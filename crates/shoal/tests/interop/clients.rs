//! `redis-cli`, `redis-benchmark`, a Python client, and IPv6.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::process::{Command, Stdio};

use crate::support::cluster::key_of;
use crate::support::{Cluster, Kind, LATER, SHOAL, eventually};

/// What today's redis-py does on a cluster; it prints `done` when all of it was right.
const PYTHON: &str = r#"
import sys
from redis.cluster import RedisCluster, ClusterNode
nodes = [ClusterNode('127.0.0.1', int(port)) for port in sys.argv[1:]]
client = RedisCluster(startup_nodes=nodes, decode_responses=True)
for number in range(200):
    assert client.set('hello:%d' % number, 'ahri %d' % number)
for number in range(200):
    assert client.get('hello:%d' % number) == 'ahri %d' % number
assert client.mset_nonatomic({'a': 1, 'b': 2, 'c': 3})
assert client.mget_nonatomic('a', 'b', 'c') == ['1', '2', '3']
assert client.exists('a', 'b', 'c', 'd') == 3
assert client.incr('counter', 41) == 41 and client.incr('counter') == 42
assert client.expire('counter', 100) and 0 < client.ttl('counter') <= 100
pipe = client.pipeline()
for number in range(50):
    pipe.get('hello:%d' % number)
assert pipe.execute() == ['ahri %d' % number for number in range(50)]
assert len(client.keys('hello:*', target_nodes=RedisCluster.PRIMARIES)) == 200
assert len(list(client.scan_iter('hello:*', count=100))) == 200
assert client.cluster_info(target_nodes=RedisCluster.RANDOM)['cluster_state'] == 'ok'
assert len(client.cluster_nodes()) == 6
assert len(client.get_primaries()) == 3 and len(client.get_replicas()) == 3
reader = RedisCluster(startup_nodes=nodes, decode_responses=True, read_from_replicas=True)
assert reader.get('a') in ('1', None)
print('done')
"#;

#[test]
fn outside_clients_on_our_cluster() {
    let cluster = Cluster::of_six("");
    let first = &cluster.nodes[0];

    for index in 0..3 {
        let key = key_of(index, 3, 5);
        assert!(first.cli(&["-c", "set", &key, "through redis-cli"]).ends_with("OK"));
        assert!(cluster.nodes[5].cli(&["-c", "get", &key]).ends_with("through redis-cli"));
    }

    for program in [&["redis-benchmark"][..], &[SHOAL, "benchmark"]] {
        let output = Command::new("timeout")
            .arg("100")
            .args(program)
            .args(["--cluster", "-h", first.host(), "-p", &first.port().to_string()])
            .args(["-t", "set,get,incr,mset", "-n", "20000", "-r", "10000", "-c", "20", "-P", "4", "-q"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program:?}: {text}");
        assert!(!text.to_lowercase().contains("error"), "{program:?}: {text}");
        assert!(text.matches("requests per second").count() >= 4, "{program:?}: {text}");
    }
    for index in 0..3 {
        let keys = cluster.nodes[index].connect().call(&["DBSIZE"]).as_integer().unwrap();
        assert!(keys > 1000, "node {index} has {keys} keys");
    }

    let ports: Vec<String> = cluster.nodes.iter().map(|node| node.port().to_string()).collect();
    let output = Command::new(python()).args(["-c", PYTHON]).args(&ports).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "done\n", "{}", String::from_utf8_lossy(&output.stderr));
}

/// A cluster on `::1`: made by the manager, with redirects and a failover.
#[test]
fn cluster_on_ipv6() {
    let setups = (0..6).map(|_| Cluster::setup(Kind::Shoal).host("::1")).collect();
    let mut cluster = Cluster::start(setups);
    let created = cluster.manage_all(&["redis-cli"], "create", &["--cluster-replicas", "1", "--cluster-yes"]);
    let text = String::from_utf8_lossy(&created.stdout);
    assert!(created.status.success() && text.contains("All 16384 slots covered"), "{text}");
    cluster.wait_until_settled();

    let third = cluster.nodes[2].port();
    assert_eq!(cluster.nodes[0].cli(&["set", "k1", "v1"]), format!("MOVED 12706 ::1:{third}"));
    for program in [&["redis-cli"][..], &[SHOAL, "cli"]] {
        let port = cluster.nodes[0].port().to_string();
        let output = Command::new(program[0])
            .args(&program[1..])
            .args(["-c", "-h", "::1", "-p", &port, "set", "k1", "v1"])
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).ends_with("OK\n"), "{program:?}: {output:?}");
    }
    assert!(cluster.line(0, 2).unwrap().address.starts_with(&format!("::1:{third}@")));
    assert_eq!(cluster.nodes[2].call(&["WAIT", "1", "10000"]), "1");

    let owner = cluster.owner("k1");
    cluster.nodes[owner].kill();
    eventually(LATER, "a replica takes over", || cluster.nodes[0].cli(&["-c", "get", "k1"]).ends_with("v1"));
    cluster.nodes[owner].start();
    eventually(LATER, "it came back as replica", || cluster.role(owner).as_deref() == Some("slave"));
    cluster.wait_until_settled();
}

/// The interpreter that has the client: the first in the path may be another than the one whose packages the system
/// manages.
fn python() -> &'static str {
    let has_client = |program: &&str| {
        let probe = Command::new(program).args(["-c", "import redis.cluster"]).stderr(Stdio::null()).status();
        probe.is_ok_and(|status| status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(has_client).expect("a Python with redis-py")
}
