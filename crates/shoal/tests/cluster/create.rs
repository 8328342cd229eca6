//! A cluster from stock configuration files, and from the manager.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::driver::plain;
use crate::support::{
    Cluster, Connection, Kind, LATER, Port, SHOAL, SOON, eventually, eventually_some, signal,
};

/// The directives that the stock configuration of Redis 5.0 sets, and those it shows commented out that a cluster
/// needs.
const STOCK_5_0: &str = "\
# A comment, as in the stock file.
bind 127.0.0.1
protected-mode yes
port 6379
tcp-backlog 511
timeout 0
tcp-keepalive 300
daemonize no
supervised no
pidfile /var/run/redis_6379.pid
loglevel notice
logfile \"\"
databases 16
always-show-logo yes
save 900 1
save 300 10
save 60 10000
stop-writes-on-bgsave-error yes
rdbcompression yes
rdbchecksum yes
dbfilename dump.rdb
dir ./
replica-serve-stale-data yes
replica-read-only yes
repl-diskless-sync no
repl-diskless-sync-delay 5
repl-disable-tcp-nodelay no
replica-priority 100
lazyfree-lazy-eviction no
lazyfree-lazy-expire no
lazyfree-lazy-server-del no
replica-lazy-flush no
appendonly no
appendfilename \"appendonly.aof\"
appendfsync everysec
no-appendfsync-on-rewrite no
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 64mb
aof-load-truncated yes
aof-use-rdb-preamble yes
lua-time-limit 5000
# cluster-enabled yes
# cluster-config-file nodes-6379.conf
# cluster-node-timeout 15000
# cluster-replica-validity-factor 10
# cluster-migration-barrier 1
# cluster-require-full-coverage yes
# cluster-replica-no-failover no
slowlog-log-slower-than 10000
slowlog-max-len 128
latency-monitor-threshold 0
notify-keyspace-events \"\"
hash-max-ziplist-entries 512
hash-max-ziplist-value 64
list-max-ziplist-size -2
list-compress-depth 0
set-max-intset-entries 512
zset-max-ziplist-entries 128
zset-max-ziplist-value 64
hll-sparse-max-bytes 3000
stream-node-max-bytes 4096
stream-node-max-entries 100
activerehashing yes
client-output-buffer-limit normal 0 0 0
client-output-buffer-limit replica 256mb 64mb 60
client-output-buffer-limit pubsub 32mb 8mb 60
hz 10
dynamic-hz yes
aof-rewrite-incremental-fsync yes
rdb-save-incremental-fsync yes
";

/// A process that left its starter.
struct Daemon {
    port: Port,
    pid: u32,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-9", &self.pid.to_string()]).status();
    }
}

/// Six directories, each with a stock file edited as the document does, each started as a daemon.
#[test]
fn cluster_from_redis_conf() {
    let _turn = crate::support::ClusterSlot::take();
    let root = TempDir::with_prefix("shoal-test-").unwrap();
    let nodes: Vec<Daemon> = (0..6).map(|_| start_daemon(root.path(), Port::take())).collect();
    for node in &nodes {
        for port in [node.port.number(), node.port.bus()] {
            assert!(TcpStream::connect(("127.0.0.1", port)).is_ok(), "{port} listens");
        }
        let title = fs::read(format!("/proc/{}/cmdline", node.pid)).unwrap();
        let title = String::from_utf8_lossy(&title).trim_end_matches(['\0', ' ']).to_string();
        let expected = format!(" 127.0.0.1:{} [cluster]", node.port.number());
        assert!(title.ends_with(&expected), "{title:?}");
    }

    let addresses: Vec<String> =
        nodes.iter().map(|node| format!("127.0.0.1:{}", node.port.number())).collect();
    let created = Command::new("timeout")
        .args(["120", "redis-cli", "--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "1", "--cluster-yes"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&created.stdout);
    assert!(created.status.success() && text.contains("[OK] All 16384 slots covered."), "{text}");

    let mut first = Connection::open("127.0.0.1", nodes[0].port.number()).unwrap();
    let third = &addresses[2];
    eventually(LATER, "a write", || first.text(&["SET", "hello", "ahri"]) == "OK");
    assert_eq!(first.text(&["SET", "k1", "v1"]), format!("MOVED 12706 {third}"));
    eventually(LATER, "two roles of three nodes each in every file", || {
        nodes.iter().all(|node| {
            let port = node.port.number();
            let saved = fs::read_to_string(root.path().join(format!("{port}/nodes-{port}.conf"))).unwrap();
            saved.matches("slave ").count() == 3 && saved.matches("master ").count() == 3
        })
    });
    for name in ["cluster-node-timeout", "cluster-replica-validity-factor", "cluster-migration-barrier"] {
        let reply = first.call(&["CONFIG", "GET", name]);
        let expected = match name {
            "cluster-node-timeout" => "15000",
            "cluster-migration-barrier" => "1",
            _ => "10",
        };
        assert_eq!(reply.field(name).unwrap().as_text().unwrap(), expected, "{name}");
    }
}

/// The manager, the real one and ours, with the document's dialogue.
#[test]
fn cluster_create_manager() {
    for program in [&["redis-cli"][..], &[SHOAL, "cli"]] {
        let cluster = Cluster::start((0..6).map(|_| Cluster::setup(Kind::Shoal)).collect());
        let created = cluster.manage_all(program, "create", &["--cluster-replicas", "1", "--cluster-yes"]);
        let text = plain(&created.stdout);
        assert!(created.status.success(), "{program:?}: {text}");
        assert_dialogue(&text, &cluster);
        cluster.wait_until_settled();

        for checker in [&["redis-cli"][..], &[SHOAL, "cli"]] {
            let output = Command::new("timeout")
                .arg("60")
                .args(checker)
                .args(["--cluster", "check", &cluster.nodes[5].address()])
                .output()
                .unwrap();
            let text = plain(&output.stdout);
            assert!(output.status.success(), "{checker:?}: {text}");
            assert!(text.contains("[OK] All nodes agree about slots configuration."), "{text}");
            assert!(text.contains("[OK] All 16384 slots covered."), "{text}");
            assert!(!text.contains("[ERR]") && !text.contains("[WARNING]"), "{text}");
            assert_eq!(text.matches("1 additional replica(s)").count(), 3, "{text}");
        }
        // A node that is taken is refused by name.
        let again = cluster.manage_all(program, "create", &["--cluster-yes"]);
        let refusal = format!("[ERR] Node {} is not empty.", cluster.nodes[0].address());
        let text = plain(&again.stdout) + &plain(&again.stderr);
        assert!(!again.status.success() && text.contains(&refusal), "{text}");
    }
}

/// What `--cluster create` says for six nodes on one machine.
fn assert_dialogue(text: &str, cluster: &Cluster) {
    let address = |index: usize| cluster.nodes[index].address();
    let id = |index: usize| cluster.id(index);
    let lines = [
        ">>> Performing hash slots allocation on 6 nodes...".to_string(),
        "Master[0] -> Slots 0 - 5460".into(),
        "Master[1] -> Slots 5461 - 10922".into(),
        "Master[2] -> Slots 10923 - 16383".into(),
        format!("Adding replica {} to {}", address(4), address(0)),
        format!("Adding replica {} to {}", address(5), address(1)),
        format!("Adding replica {} to {}", address(3), address(2)),
        ">>> Trying to optimize slaves allocation for anti-affinity".into(),
        "[WARNING] Some slaves are in the same host as their master".into(),
        format!("M: {} {}", id(0), address(0)),
        "   slots:[0-5460] (5461 slots) master".into(),
        format!("M: {} {}", id(1), address(1)),
        "   slots:[5461-10922] (5462 slots) master".into(),
        format!("M: {} {}", id(2), address(2)),
        "   slots:[10923-16383] (5461 slots) master".into(),
        format!("S: {} {}", id(3), address(3)),
        ">>> Nodes configuration updated".into(),
        ">>> Assign a different config epoch to each node".into(),
        ">>> Sending CLUSTER MEET messages to join the cluster".into(),
        "Waiting for the cluster to join".into(),
        format!(">>> Performing Cluster Check (using node {})", address(0)),
        "[OK] All nodes agree about slots configuration.".into(),
        ">>> Check for open slots...".into(),
        ">>> Check slots coverage...".into(),
        "[OK] All 16384 slots covered.".into(),
    ];
    let mut rest = text.lines();
    for wanted in lines {
        assert!(rest.any(|line| line.trim_end() == wanted), "{wanted:?} missing or out of order in\n{text}");
    }
}

fn start_daemon(root: &Path, port: Port) -> Daemon {
    let number = port.number();
    let dir = root.join(number.to_string());
    fs::create_dir(&dir).unwrap();
    let conf = dir.join("redis.conf");
    let pidfile = dir.join("redis.pid");
    fs::write(&conf, edit(STOCK_5_0, number, &dir, &pidfile)).unwrap();
    let started = Command::new(SHOAL).arg("server").arg(&conf).output().unwrap();
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stdout));
    let pid =
        eventually_some(SOON, "a process id", || fs::read_to_string(&pidfile).ok()?.trim().parse().ok());
    let daemon = Daemon { port, pid };
    eventually(SOON, "the daemon answers", || {
        let connection = Connection::open("127.0.0.1", number);
        connection.and_then(|mut connection| connection.try_call(&["PING"])).is_some()
    });
    signal(pid, "CONT"); // It is there, and ours to signal.
    daemon
}

/// The document's edits: address, port, daemon, files, and the lines for clusters without their comment sign.
fn edit(stock: &str, port: u16, dir: &Path, pidfile: &Path) -> String {
    let mut text = String::new();
    for line in stock.lines() {
        let line = line.strip_prefix("# ").filter(|line| line.starts_with("cluster-")).unwrap_or(line);
        let edited = match line.split(' ').next().unwrap() {
            "port" => format!("port {port}"),
            "daemonize" => "daemonize yes".into(),
            "pidfile" => format!("pidfile {}", pidfile.display()),
            "dir" => format!("dir {}", dir.display()),
            "cluster-config-file" => format!("cluster-config-file nodes-{port}.conf"),
            _ => line.to_string(),
        };
        text.push_str(&edited);
        text.push('\n');
    }
    text
}
