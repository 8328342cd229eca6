//! The server as a service: systemd's unit and the production configuration.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::fs;
use std::os::unix::net::UnixDatagram;

use crate::support::{SOON, Server, Setup, eventually};

/// systemd as the server sees it: a socket to which it says how it is.
struct Systemd {
    socket: UnixDatagram,
    _directory: tempfile::TempDir,
    address: String,
}

impl Systemd {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = directory.path().join("notify");
        let socket = UnixDatagram::bind(&address).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, address: address.to_str().unwrap().to_string(), _directory: directory }
    }

    /// Waits for a message that holds this text.
    fn hear(&self, wanted: &str) {
        let mut buffer = [0; 1024];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}"));
            if String::from_utf8_lossy(&buffer[..length]).contains(wanted) {
                return;
            }
        }
    }
}

/// The unit's ExecStart is `redis-server redis.conf --supervised systemd` with `Type=notify`; the file says
/// `daemonize yes`. ExecReload sends HUP, ExecStop sends QUIT.
#[test]
fn systemd_unit() {
    for stop in ["QUIT", "TERM"] {
        let systemd = Systemd::new();
        let mut server = Setup::shoal()
            .conf("daemonize yes\nsave 900 1")
            .arguments(&["--supervised", "systemd"])
            .environment("NOTIFY_SOCKET", &systemd.address)
            .start();
        systemd.hear("READY=1");
        server.wait_for_log("Ready to accept connections");
        let process = server.pid().to_string();
        assert_eq!(server.info("server", "process_id"), Some(process), "it stays in the foreground");
        assert_eq!(server.call(&["SET", "kept", "yes"]), "OK");

        // Reload: the log is opened anew, the server goes on.
        fs::rename(server.path("log"), server.path("log.1")).unwrap();
        server.signal("HUP");
        eventually(SOON, "a new log", || server.path("log").exists());
        assert_eq!(server.call(&["GET", "kept"]), "yes");

        server.signal(stop);
        systemd.hear("STOPPING=1");
        assert!(server.wait_for_end().success(), "{stop}");
        let log = server.log();
        assert!(log.contains("User requested shutdown..."), "{log}");
        assert!(log.contains("is now ready to exit, bye bye..."), "{log}");
        server.start();
        assert_eq!(server.call(&["GET", "kept"]), "yes", "{stop} saves the data");
    }
}

/// The production lines of the unit's redis.conf: `supervised systemd` beside `daemonize yes`, one save point, passwords,
/// many clients, a memory limit; and what the log says of the machine at the start.
#[test]
fn redis_conf_production() {
    let systemd = Systemd::new();
    let lines = "daemonize yes\nsupervised systemd\nsave 5 1\nstop-writes-on-bgsave-error no\nmasterauth 111111\n\
        requirepass 111111\nmaxclients 65535\nmaxmemory 1024000000";
    let mut server = Setup::shoal()
        .password("111111")
        .conf(lines)
        .through(&["prlimit", "--nofile=1024:"])
        .environment("NOTIFY_SOCKET", &systemd.address)
        .start();
    systemd.hear("READY=1");
    assert!(server.cli(&["PING"]).contains("PONG"));
    let bare =
        std::process::Command::new("redis-cli").args(["-p", &server.port().to_string(), "ping"]).output();
    assert_eq!(String::from_utf8_lossy(&bare.unwrap().stdout).trim(), "NOAUTH Authentication required.");
    for (name, value) in [
        ("maxmemory", "1024000000"),
        ("save", "5 1"),
        ("stop-writes-on-bgsave-error", "no"),
        ("supervised", "systemd"),
        ("masterauth", "111111"),
    ] {
        assert_eq!(server.cli(&["CONFIG", "GET", name]), format!("{name}\n{value}"));
    }

    let log = server.log();
    check_file_limit(&server, &log);
    check_warnings(&log);

    // `save 5 1`: the change is on disk after 5 seconds without anybody asking.
    assert_eq!(server.call(&["SET", "k", "v"]), "OK");
    server.wait_for_log("1 changes in 5 seconds. Saving...");
    server.wait_for_log("Background saving terminated with success");
    server.kill();
    server.start();
    assert_eq!(server.call(&["GET", "k"]), "v");
}

/// The limit of open files, 1024 before, is raised to what `maxclients 65535` needs, or as far as the machine lets it;
/// then the number of clients follows.
fn check_file_limit(server: &Server, log: &str) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let limit: u32 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
    let clients = server.cli(&["CONFIG", "GET", "maxclients"]);
    if limit == 65_567 {
        let text = "* Increased maximum number of open files to 65567 (it was originally set to 1024).";
        assert!(log.contains(text), "{log}");
        assert_eq!(clients, "maxclients\n65535");
    } else {
        assert!(limit > 1024, "it is raised at least as far as possible: {limit}");
        let text =
            format!("# Current maximum open files is {limit}. maxclients has been reduced to {}", limit - 32);
        assert!(log.contains(&text), "{log}");
        assert_eq!(clients, format!("maxclients\n{}", limit - 32));
    }
}

/// Each warning stands in the log if the machine deserves it, and only then.
fn check_warnings(log: &str) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let overcommit = read("/proc/sys/vm/overcommit_memory");
    assert_eq!(
        log.contains("# WARNING Memory overcommit must be enabled!"),
        overcommit != "1",
        "overcommit {overcommit}: {log}"
    );
    let backlog: u32 = read("/proc/sys/net/core/somaxconn").parse().unwrap();
    assert_eq!(
        log.contains("# WARNING: The TCP backlog setting of 511 cannot be enforced"),
        backlog < 511,
        "{log}"
    );
    // `disable-thp yes` is the default, and then there is nothing to warn of.
    assert!(!log.contains("Transparent Huge Pages"), "{log}");
    let order =
        ["Redis is starting", "Configuration loaded", "Running mode=standalone", "Server initialized"];
    let places: Vec<_> = order.iter().map(|text| log.find(text)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {log}");
}

/// Without systemd the same file makes an ordinary daemon.
#[test]
fn a_daemon_without_its_supervisor() {
    let mut server = Setup::shoal().conf("daemonize yes\nsupervised systemd\npidfile redis.pid").prepare();
    server.spawn();
    assert!(server.wait_for_end().success(), "the first process ends at once");
    server.wait_for_log("systemd supervision requested or auto-detected, but NOTIFY_SOCKET not found!");
    server.wait_for_log("Ready to accept connections");
    let process: u32 = fs::read_to_string(server.path("redis.pid")).unwrap().trim().parse().unwrap();
    crate::support::signal(process, "TERM");
    server.wait_for_log("bye bye");
    eventually(SOON, "the end of the daemon", || Server::try_connect(&server).is_none());
    eventually(SOON, "no pid file", || !server.path("redis.pid").exists());
}
