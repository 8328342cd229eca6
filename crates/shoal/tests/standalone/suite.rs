//! What the upstream test suite needs of a server before it can drive it at all.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{SHOAL, SOON, Server, Setup, eventually, signal};

/// The directives that the suite writes for every server.
const SUITE: &str = "always-show-logo yes\nnotify-keyspace-events KEA\ndaemonize no\npidfile /var/run/redis.pid\n\
    timeout 0\nloglevel verbose\nlogfile ''\ndatabases 16\nlatency-monitor-threshold 1\nrepl-diskless-sync-delay 0\n\
    save ''\nrdbcompression yes\ndbfilename dump.rdb\nslave-serve-stale-data yes\nappendonly no\nappendfsync everysec\n\
    no-appendfsync-on-rewrite no\nactiverehashing yes\nenable-protected-configs yes\nenable-debug-command yes\n\
    enable-module-command yes\npropagation-error-behavior panic\nshutdown-on-sigterm default\nunixsocket socket";

#[test]
fn a_server_as_the_suite_starts_it() {
    let mut server = Setup::shoal().conf(SUITE).start();
    let process = server.pid();
    // With `logfile ''` everything is on standard output: pid, then "Server initialized", then "Ready to accept", once.
    let output = || fs::read_to_string(server.path("output")).unwrap();
    eventually(SOON, "readiness", || output().contains("Ready to accept"));
    let text = output();
    let places: Vec<_> =
        [format!(" PID: {process}\n"), "Server initialized".into(), "Ready to accept".into()]
            .iter()
            .map(|wanted| text.find(wanted.as_str()))
            .collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {text}");
    assert_eq!(text.matches("Ready to accept").count(), 1, "{text}");

    let mut connection = server.connect();
    connection.send_raw(b"PING\r\n\n");
    assert_eq!(connection.read().as_text().as_deref(), Some("PONG"));
    assert_eq!(connection.text(&["SELECT", "9"]), "OK");
    assert_eq!(connection.text(&["DEBUG", "SLEEP", "0"]), "OK");
    assert_eq!(server.info("server", "process_id"), Some(process.to_string()));

    let mut unix = UnixStream::connect(server.path("socket")).unwrap();
    unix.set_read_timeout(Some(SOON)).unwrap();
    unix.write_all(b"SET a b\r\nGET a\r\n").unwrap();
    let mut reply = [0; 12];
    unix.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+OK\r\n$1\r\nb\r\n");

    // It survives being stopped and continued.
    server.signal("STOP");
    server.signal("CONT");
    assert_eq!(connection.text(&["PING"]), "PONG");
    server.signal("TERM");
    assert!(server.wait_for_end().success());
    assert!(!server.path("socket").exists(), "the socket file goes with the server");
    assert!(server.log().contains("ready to exit, bye bye"));
}

#[test]
fn starts_that_fail_say_why() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = |words: &[&str]| {
        let output = Command::new(SHOAL).arg("server").args(words).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (log, _) = run(&["--port", &port, "--bind", "127.0.0.1", "--save", ""]);
    assert!(log.contains(&format!("Failed listening on port {port} (tcp), aborting.")), "{log}");
    assert!(log.contains("Address already in use"), "{log}");
    let (_, error) = run(&["--no-such-directive", "1"]);
    assert!(error.contains("*** FATAL CONFIG FILE ERROR"), "{error}");
}

/// Restarted in place with the same file, as the suite does, the server serves the same port again.
#[test]
fn a_restart_in_place() {
    let mut server = Setup::shoal().conf("save 900 1").start();
    let client = server.connect();
    for number in ["1", "2", "3"] {
        assert_eq!(server.call(&["INCR", "starts"]), number);
        assert!(server.stop().success());
        server.start();
    }
    drop(client);
    assert_eq!(server.call(&["GET", "starts"]), "3");
}

/// A stopped replica or client does not keep the server from ending within its time.
#[test]
fn the_end_does_not_wait_for_ever() {
    let mut primary = Setup::shoal().conf("shutdown-timeout 1\nrepl-diskless-sync-delay 0").start();
    let replica = Setup::shoal().conf(&format!("replicaof 127.0.0.1 {}", primary.port())).start();
    replica.wait_for_info("replication", "master_link_status", "up");
    signal(replica.pid(), "STOP");
    assert_eq!(primary.call(&["SET", "a", &"x".repeat(100_000)]), "OK");
    let began = std::time::Instant::now();
    let status = primary.stop();
    signal(replica.pid(), "CONT");
    assert!(status.success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let log = primary.log();
    assert!(log.contains("Waiting for replicas before shutting down."), "{log}");
    assert!(Server::try_connect(&primary).is_none());
}
