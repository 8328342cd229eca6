//! CONFIG SET, GET and REWRITE compared with an installed redis-server 7.0, for every directive that both know.

// A failed unwrap is a failed test, and this test waits for a process, which the crate itself must not.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use shoal_config::{Config, Flags, Mode, SetContext, Surroundings};

const DEADLINE: Duration = Duration::from_secs(20);

/// What every directive is set to. The shared values reach the borders of all types.
const VALUES: &[&str] = &[
    "yes",
    "no",
    "YES",
    "maybe",
    "",
    "0",
    "1",
    "-1",
    "2",
    "5",
    "007",
    "+3",
    " 4",
    "10",
    "99",
    "100",
    "127",
    "128",
    "500",
    "1000",
    "1024",
    "65535",
    "65536",
    "1048576",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "1k",
    "1kb",
    "3mb",
    "2gb",
    "1.5gb",
    "1tb",
    "5%",
    "100%",
    "101%",
    "-5%",
    "b",
    "nonsense",
    "1 2 3",
    "-1 0 2000",
    "-2001 0 1",
    "900 1 300 10",
    "900",
    "0 5",
    "normal 1mb 2mb 3",
    "slave 0 0 0 pubsub 1 1 1",
    "master 1 1 1",
    "normal 1 1",
    "normal a 1 1",
    "normal 1 1 -1",
    "KEA",
    "Kg$lshzxetdm",
    "Ex",
    "Q",
    "50 99.9",
    "99.12345678",
    "100.1",
    "a",
    "default",
    "save",
    "nosave now",
    "save nosave",
    "force now save",
    "noeviction",
    "allkeys-lru",
    "volatile-TTL",
    "everysec",
    "always",
    "verbose",
    "debug",
    "swapdb",
    "disabled",
    "hostname",
    "clients",
    "local",
    "resetchannels",
    "panic",
    "absolute",
    "x.rdb",
    "a/b",
    "host-1.example",
    "bad_host",
    "{title} {port}",
    "{foo}",
    "{title",
    "text with  spaces",
    "\u{e9}",
];

/// Directives with consequences that a test does not want, or that were never the same in 7.0 and 7.2.
const LEFT_OUT: &[&str] = &[
    // These act on the process or its sockets.
    "bind",
    "port",
    "tls-port",
    "maxclients",
    "dir",
    "appendonly",
    "maxmemory",
    "maxmemory-clients",
    "watchdog-period",
    "oom-score-adj",
    "oom-score-adj-values",
    "repl-backlog-size",
    "activedefrag",
    "jemalloc-bg-thread",
    "proto-max-bulk-len",
    "client-query-buffer-limit",
    "requirepass",
    "bind-source-addr",
    "crash-log-enabled",
    "lazyfree-lazy-server-del",
    "client-output-buffer-limit",
    "timeout",
    "enable-debug-command",
    // 7.2 has another word for these, or knows more of them.
    "loglevel",
    "propagation-error-behavior",
    // Redis takes a number that is too large as the largest one; here it is refused.
    "cluster-link-sendbuf-limit",
];

struct Redis {
    child: Child,
    directory: PathBuf,
}

impl Redis {
    fn start(name: &str, text: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("shoal-config-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let conf = directory.join("redis.conf");
        std::fs::write(&conf, text).unwrap();
        let child = Command::new("redis-server")
            .arg(&conf)
            .args([
                "--port",
                "0",
                "--unixsocket",
                "s",
                "--daemonize",
                "no",
                "--logfile",
                "log",
                "--unixsocketperm",
                "700",
            ])
            .current_dir(&directory)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let redis = Self { child, directory };
        let start = Instant::now();
        while !redis.socket().exists() || redis.ask(&["PING".into()]).is_empty() {
            assert!(start.elapsed() < DEADLINE, "redis-server does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("s")
    }

    /// The replies to some commands, one line of JSON each.
    fn ask(&self, commands: &[String]) -> Vec<Value> {
        let mut cli = Command::new("redis-cli")
            .arg("-s")
            .arg(self.socket())
            .args(["-3", "--json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = cli.stdin.take().unwrap();
        let text = commands.join("\n") + "\n";
        let writer = std::thread::Builder::new().spawn(move || stdin.write_all(text.as_bytes())).unwrap();
        let output = cli.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        lines
            .lines()
            .filter_map(|line| serde_json::from_str(line.strip_prefix("error:").unwrap_or(line)).ok())
            .collect()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

struct Nowhere;

impl Surroundings for Nowhere {
    fn include(&mut self, pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        Err(pattern.into())
    }

    fn enter_directory(&mut self, path: &str) -> Result<String, String> {
        Ok(path.into())
    }
}

fn quoted(text: &str) -> String {
    shoal_protocol::quoting::quote(text.as_bytes())
}

#[test]
fn every_directive_takes_and_refuses_what_redis_does() {
    let redis = Redis::start("set", "");
    let names: Vec<&str> = Config::directives()
        .iter()
        .filter(|row| !row.flags.contains(Flags::IMMUTABLE))
        .flat_map(|row| row.names())
        // Without certificates Redis takes no change of TLS back or forth.
        .filter(|name| !LEFT_OUT.contains(name) && !name.starts_with("tls-"))
        .collect();
    let known = redis.ask(&names.iter().map(|name| format!("CONFIG GET {name}")).collect::<Vec<_>>());
    let names: Vec<&str> = names
        .iter()
        .zip(&known)
        .filter(|(_, reply)| reply.as_object().is_some_and(|map| !map.is_empty()))
        .map(|(name, _)| *name)
        .collect();
    assert!(names.len() > 90, "{names:?}");
    let mut config = Config::default();
    let context = SetContext { is_loading: false, is_local_client: true };
    let mut differences = Vec::new();
    for name in names {
        let commands: Vec<String> = VALUES
            .iter()
            .flat_map(|value| [format!("CONFIG SET {name} {}", quoted(value)), format!("CONFIG GET {name}")])
            .collect();
        let replies = redis.ask(&commands);
        assert_eq!(replies.len(), commands.len(), "{name}");
        for (value, pair) in VALUES.iter().zip(replies.chunks(2)) {
            let ours = match config.set(&[name, value], context) {
                Ok(_) => "OK".to_string(),
                Err(error) => error.to_string(),
            };
            let theirs = pair[0].as_str().map_or_else(|| pair[0].to_string(), str::to_string);
            let our_value = String::from_utf8_lossy(&config.value_of(name.as_bytes()).unwrap()).into_owned();
            let their_value = pair[1][name].as_str().unwrap_or("?").to_string();
            if (&ours, &our_value) != (&theirs, &their_value) {
                differences
                    .push(format!("{name} {value:?}: {ours} {our_value:?}, Redis: {theirs} {their_value:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn a_file_is_rewritten_as_redis_does() {
    let texts = [
        "",
        "# remark\n\nport 0\n\n\n\n# another\nmaxmemory 104857600\nsave 900 1\nsave 300 10\n",
        "SLAVE-priority 50\nhash-max-ziplist-entries 512\nlist-max-ziplist-entries 512\n\ttimeout 0  \nsave \"\"\nsave 5 6\n",
        "rename-command KEYS \"\"\nmasterauth 'a b'\nnotify-keyspace-events \"\"\nclient-output-buffer-limit slave 1mb 1kb 0\n",
        "maxmemory-policy noeviction\nmaxmemory-policy allkeys-lru\nslowlog-max-len 5\n# Generated by CONFIG REWRITE\nlfu-decay-time 1\n",
        "user default on nopass ~* &* +@all\nlatency-tracking-info-percentiles 50 75.5\nproto-max-bulk-len 536870912\nhz 20\n",
        "maxmemory-clients 5%\nshutdown-on-sigterm nosave now\nproc-title-template \"{title} {port}\"\nbind 127.0.0.1",
    ];
    for text in texts {
        let redis = Redis::start("rewrite", text);
        let conf = redis.directory.join("redis.conf");
        assert_eq!(redis.ask(&["CONFIG REWRITE".into()]), ["OK"]);
        let mut config = Config::default();
        let joined = format!(
            "{text}\nport 0\nunixsocket s\nlogfile log\nunixsocketperm 700\ndir {}\n",
            Path::new(".").canonicalize().map(|_| redis.directory.display().to_string()).unwrap()
        );
        config.load(joined.as_bytes(), Mode::Server, &mut Nowhere).unwrap();
        let users = ["default on nopass ~* &* +@all".to_string()];
        let ours = config.rewrite(text.as_bytes(), &users);
        let theirs = std::fs::read(&conf).unwrap();
        assert_eq!(arranged(&ours), arranged(&theirs), "{text}");
    }
}

/// The lines with those that were added in order: Redis adds them in the order of a hash table. The lines of a
/// directive of several lines stay as they are among themselves only if they sort so, which is enough here.
fn arranged(text: &[u8]) -> Vec<String> {
    // How a user is described is a matter of the access control list.
    let text = String::from_utf8_lossy(text).replace(" sanitize-payload", "");
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    if let Some(mark) = lines.iter().position(|line| line == "# Generated by CONFIG REWRITE") {
        lines[mark..].sort();
    }
    lines
}
