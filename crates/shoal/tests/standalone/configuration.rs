//! Configuration from files, the command line and standard input, and what it changes from outside.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Connection, Port, SHOAL, SOON, Server, Setup, eventually, eventually_some};

const STOCK: &[(&str, &str)] = &[
    ("4.0", include_str!("stock/redis-4.0.conf")),
    ("5.0", include_str!("stock/redis-5.0.conf")),
    ("7.0", include_str!("stock/redis-7.0.conf")),
];

/// Starts a server on a file that differs from a stock one by its port only.
fn start_stock(version: &str, text: &str) -> Server {
    let mut server = Setup::shoal().prepare();
    let text = text.replace("\nport 6379\n", &format!("\nport {}\n", server.port()));
    let text = text.replace("pidfile /var/run/redis_6379.pid", "pidfile redis.pid");
    fs::write(server.path("server.conf"), text).unwrap();
    server.start();
    assert!(server.path("redis.pid").exists(), "{version}");
    server
}

#[test]
fn stock_files_start_the_server() {
    for (version, text) in STOCK {
        let server = start_stock(version, text);
        assert_eq!(server.call(&["SET", "a", "b"]), "OK", "{version}");
        // All three rename CONFIG, as their remarks propose.
        let config = "b840fc02d524045429941cc15f59e41cb7be6c52";
        assert!(
            server.call(&["CONFIG", "GET", "port"]).starts_with("ERR unknown command 'CONFIG'"),
            "{version}"
        );
        for (name, value) in [
            ("maxmemory-policy", "noeviction"),
            ("hash-max-listpack-entries", "512"),
            ("zset-max-ziplist-value", "64"),
            ("repl-backlog-size", "1048576"),
            ("auto-aof-rewrite-min-size", "67108864"),
            ("slave-priority", "100"),
            ("min-replicas-max-lag", "10"),
            (
                "client-output-buffer-limit",
                "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
            ),
        ] {
            assert_eq!(server.cli(&[config, "GET", name]), format!("{name}\n{value}"), "{version}");
        }
    }
}

/// The file that the installed package brings, if there is one, is read as it is.
#[test]
fn the_installed_file_starts_the_server() {
    let Ok(text) = fs::read_to_string("/etc/redis/redis.conf") else { return };
    let mut server = Setup::shoal().prepare();
    let changed = [
        ("port ", format!("port {}", server.port())),
        ("daemonize ", "daemonize no".into()),
        ("pidfile ", "pidfile redis.pid".into()),
        ("logfile ", "logfile log".into()),
        ("dir ", "dir .".into()),
    ];
    let lines = text.lines().map(|line| {
        let new = changed.iter().find(|(name, _)| line.starts_with(name));
        new.map_or(line, |(_, new)| new)
    });
    fs::write(server.path("server.conf"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    server.start();
    assert_eq!(server.cli(&["PING"]), "PONG");
}

#[test]
fn mistakes_name_their_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("redis.conf");
    for (text, line, shown, reason) in [
        ("port 6379\nnonsense 1\n", 2, "nonsense 1", "Bad directive or wrong number of arguments"),
        ("port abc", 1, "port abc", "argument couldn't be parsed into an integer"),
        ("\n\nport 70000", 3, "port 70000", "argument must be between 0 and 65535 inclusive"),
        ("maxmemory 1xb", 1, "maxmemory 1xb", "argument must be a memory value"),
        ("appendonly perhaps", 1, "appendonly perhaps", "argument must be 'yes' or 'no'"),
        ("save 1", 1, "save 1", "Invalid save parameters"),
        ("requirepass \"abc", 1, "requirepass \"abc", "Unbalanced quotes in configuration line"),
        ("dir /nonexistent/there", 1, "dir /nonexistent/there", "No such file or directory"),
        ("loglevel loud", 1, "loglevel loud", "argument(s) must be one of the following: "),
        ("port 1 # remark", 1, "port 1 # remark", "wrong number of arguments"),
        ("rename-command NOTHING x", 1, "rename-command NOTHING x", "No such command in rename-command"),
    ] {
        fs::write(&path, text).unwrap();
        let output = Command::new(SHOAL).arg("server").arg(&path).stdin(Stdio::null()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}: {error}");
        assert!(error.starts_with("\n*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\n"), "{text}: {error}");
        let place = format!("Reading the configuration file, at line {line}\n>>> '{shown}'\n");
        assert!(error.contains(&place), "{text}: {error}");
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn configuration_from_standard_input_and_arguments() {
    let port = Port::take();
    let directory = tempfile::tempdir().unwrap();
    let conf = directory.path().join("redis.conf");
    fs::write(&conf, "port 1\nhz 20\ntimeout 5\nsave \"\"\n").unwrap();
    let mut child = Command::new(SHOAL)
        .arg("server")
        .arg(&conf)
        .args(["--port", &port.number().to_string(), "--timeout", "6", "-"])
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"timeout 7\nmaxmemory 100mb\n").unwrap();
    let mut connection =
        eventually_some(SOON, "the server listens", || Connection::open("127.0.0.1", port.number()));
    // Later sources win: the file, standard input, arguments.
    for (name, value) in [("hz", "20"), ("maxmemory", "104857600"), ("timeout", "6")] {
        let reply = connection.call(&["CONFIG", "GET", name]);
        let shown =
            reply.as_elements().and_then(|pair| pair.get(1)?.as_text().map(std::borrow::Cow::into_owned));
        assert_eq!(shown.as_deref(), Some(value), "{name}");
    }
    connection.try_call(&["SHUTDOWN", "NOSAVE"]);
    assert!(eventually_some(SOON, "the end", || child.try_wait().unwrap()).success());
}

#[test]
fn unix_socket_alone_with_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let mut server = Setup::shoal().conf("port 0\nunixsocket s\nunixsocketperm 750").prepare();
    server.spawn();
    let socket = server.path("s");
    eventually(SOON, "the socket", || socket.exists());
    let cli = |words: &[&str]| {
        let output = Command::new("redis-cli").arg("-s").arg(&socket).args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    };
    eventually(SOON, "an answer", || cli(&["ping"]) == "PONG");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o750);
    let list = cli(&["client", "list"]);
    assert!(list.contains(&format!("{}:0", Path::new("s").display())), "{list}");
    assert!(list.contains("flags=U"), "{list}");
    server.stop();
    assert!(!socket.exists());
}

/// Without a password only loopback is served; the address of the machine's own network is refused in words.
#[test]
fn protected_mode_refuses_strangers() {
    let Some(address) = own_address() else { return };
    let server = Setup::shoal().conf(&format!("bind 127.0.0.1 {address}")).start();
    let mut stranger = Connection::open(&address, server.port()).unwrap();
    let answer = stranger.read().as_text().unwrap_or_default().into_owned();
    assert!(answer.starts_with("DENIED Redis is running in protected mode"), "{answer}");
    assert!(stranger.try_read().is_none(), "and then the connection ends");
    assert_eq!(server.call(&["CONFIG", "SET", "protected-mode", "no"]), "OK");
    assert_eq!(Connection::open(&address, server.port()).unwrap().text(&["PING"]), "PONG");
    assert_eq!(server.call(&["CONFIG", "SET", "protected-mode", "yes", "requirepass", "secret"]), "OK");
    let answer = Connection::open(&address, server.port()).unwrap().text(&["PING"]);
    assert_eq!(answer, "NOAUTH Authentication required.");
}

/// An address of this machine that is not loopback.
fn own_address() -> Option<String> {
    let output = Command::new("hostname").arg("-I").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_v4 = |word: &&str| word.parse::<std::net::Ipv4Addr>().is_ok_and(|address| !address.is_loopback());
    text.split_whitespace().find(is_v4).map(str::to_string)
}

#[test]
fn clients_beyond_the_limit_are_refused() {
    let server = Server::shoal("maxclients 3");
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.text(&["PING"]), "PONG");
    }
    let refused = server.connect().read().as_text().unwrap_or_default().into_owned();
    assert_eq!(refused, "ERR max number of clients reached");
    assert_eq!(clients[0].text(&["CONFIG", "SET", "maxclients", "4"]), "OK");
    assert_eq!(server.connect().text(&["PING"]), "PONG");
}

#[test]
fn commands_are_renamed_and_removed() {
    let server = Server::shoal("rename-command FLUSHALL \"\"\nrename-command SET put");
    assert!(server.call(&["FLUSHALL"]).starts_with("ERR unknown command"));
    assert!(server.call(&["SET", "a", "b"]).starts_with("ERR unknown command"));
    assert_eq!(server.call(&["PUT", "a", "b"]), "OK");
    assert_eq!(server.call(&["GET", "a"]), "b");
}

/// CONFIG REWRITE keeps the file's remarks, and the next start has what was set.
#[test]
fn rewritten_configuration_is_read_again() {
    let mut server = Server::shoal("# a remark\nhz 20");
    assert_eq!(server.call(&["CONFIG", "SET", "hz", "30", "maxmemory-samples", "7"]), "OK");
    assert_eq!(server.call(&["CONFIG", "REWRITE"]), "OK");
    let text = fs::read_to_string(server.path("server.conf")).unwrap();
    assert!(text.contains("# a remark\nhz 30\n"), "{text}");
    assert!(server.stop().success());
    server.start();
    assert_eq!(server.cli(&["CONFIG", "GET", "hz"]), "hz\n30");
    assert_eq!(server.cli(&["CONFIG", "GET", "maxmemory-samples"]), "maxmemory-samples\n7");
}
