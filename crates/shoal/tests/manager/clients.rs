//! Clients from outside, in the versions that the documents use, on clusters that a manager made.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::driver::{Driver, run, text};
use crate::support::{Cluster, Kind, Server};

/// Where what is fetched and built stays for the next run.
const CACHE: &str = env!("CARGO_TARGET_TMPDIR");

crate::scenarios! {
    /// The document's program with redis-py-cluster, and today's redis-py.
    client_redis_py_cluster,
    /// The document's program with go-redis v8.
    client_go_redis_v8,
}

/// The document's program, and what else its client does; it prints what the document shows.
const REDIS_PY_CLUSTER: &str = r#"
import sys
from rediscluster import StrictRedisCluster
redis_nodes = [{'host': '127.0.0.1', 'port': int(port)} for port in sys.argv[1:]]
redisconn = StrictRedisCluster(startup_nodes=redis_nodes, decode_responses=True)
for number in range(200):
    assert redisconn.set('key:%d' % number, number)
assert [redisconn.get('key:%d' % number) for number in range(200)] == [str(number) for number in range(200)]
pipe = redisconn.pipeline()
for number in range(50):
    pipe.get('key:%d' % number)
assert pipe.execute() == [str(number) for number in range(50)]
assert redisconn.mset({'a': 1, 'b': 2, 'c': 3}) and redisconn.mget('a', 'b', 'c') == ['1', '2', '3']
assert sum(redisconn.dbsize().values()) >= 203
print(redisconn.get('hello'))
"#;

/// The same with redis-py's own client of clusters.
const REDIS_PY: &str = r#"
import sys
from redis.cluster import RedisCluster, ClusterNode
nodes = [ClusterNode('127.0.0.1', int(port)) for port in sys.argv[1:]]
client = RedisCluster(startup_nodes=nodes, decode_responses=True)
assert [client.get('key:%d' % number) for number in range(200)] == [str(number) for number in range(200)]
print(client.get('hello'))
"#;

fn client_redis_py_cluster(driver: &Driver) {
    let cluster = created(driver);
    let owner = cluster.owner("hello");
    assert_eq!(cluster.nodes[owner].call(&["SET", "hello", "ahri"]), "OK");
    let ports: Vec<String> = cluster.nodes.iter().map(|node| node.port().to_string()).collect();
    for (program, path) in [(REDIS_PY_CLUSTER, Some(redis_py_cluster())), (REDIS_PY, None)] {
        let mut command = Command::new("timeout");
        command.args(["100", "/usr/bin/python3", "-W", "ignore", "-c", program]).args(&ports);
        if let Some(path) = path {
            command.env("PYTHONPATH", path);
        }
        let output = command.output().unwrap();
        assert_eq!(text(&output), "ahri\n");
    }
}

fn client_go_redis_v8(driver: &Driver) {
    let program = go_program();
    let cluster = created(driver);
    let mut line = vec![program.to_str().unwrap()];
    let addresses: Vec<String> =
        cluster.nodes.iter().map(|node| format!("localhost:{}", node.port())).collect();
    line.extend(addresses.iter().map(String::as_str));
    let output = run(Path::new("."), &line, "");
    match driver.kind {
        Kind::Shoal => assert!(output.status.success() && text(&output) == "bar\n", "{}", text(&output)),
        // Why ours leaves an element out: this client reads no cluster of Redis 7.
        Kind::Redis => {
            let refusal = "got 4 elements in cluster info address, expected 2 or 3";
            assert!(text(&output).contains(refusal), "{}", text(&output));
        }
    }
}

/// Six nodes that the manager made a cluster.
fn created(driver: &Driver) -> Cluster {
    let cluster = driver.nodes(6);
    let addresses: Vec<String> = cluster.nodes.iter().map(Server::address).collect();
    let mut words: Vec<&str> = addresses.iter().map(String::as_str).collect();
    words.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    driver.manage("create", &words);
    cluster.wait_until_settled();
    cluster
}

/// The directory with the client that still had `StrictRedisCluster`.
fn redis_py_cluster() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = Path::new(CACHE).join("redis-py-cluster-1.3.6");
        if !directory.join("rediscluster").exists() {
            let path = directory.to_str().unwrap();
            let line = ["/usr/bin/python3", "-m", "pip", "install", "--quiet", "--target", path];
            let output =
                run(Path::new("."), &[&line[..], &["redis-py-cluster==1.3.6", "redis==2.10.6"]].concat(), "");
            assert!(output.status.success(), "{}", text(&output));
        }
        directory
    })
}

/// The program with go-redis v8, built.
fn go_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manager/go_redis_v8");
        let program = Path::new(CACHE).join("go-redis-v8");
        let mut command = Command::new("timeout");
        command.args(["600", "go", "build", "-buildvcs=false", "-mod=readonly", "-o"]).arg(&program).arg(".");
        let output = command.current_dir(source).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        program
    })
}
