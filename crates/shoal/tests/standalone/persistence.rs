//! Data over the end of the process, clean or not, and the crash report.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use crate::support::{SOON, Server, Setup, eventually, eventually_some, field};

fn populate(server: &Server) -> String {
    let mut connection = server.connect();
    assert_eq!(connection.text(&["DEBUG", "POPULATE", "1000", "key", "50"]), "OK");
    assert_eq!(connection.text(&["SET", "number", "12345"]), "OK");
    assert_eq!(connection.text(&["SET", "fleeting", "x", "PX", "600000"]), "OK");
    assert_eq!(connection.text(&["SELECT", "3"]), "OK");
    assert_eq!(connection.text(&["SET", "elsewhere", &"long ".repeat(1000)]), "OK");
    server.call(&["DEBUG", "DIGEST"])
}

#[test]
fn clients_are_told_while_data_are_loaded() {
    // A thousand keys in pieces of a kilobyte, two milliseconds each.
    let slow = "key-load-delay 2000\nloading-process-events-interval-bytes 1024\nsave 3600 1";
    let mut server = Setup::shoal().conf(slow).start();
    let digest = populate(&server);
    server.stop();
    let file = fs::read(server.path("dump.rdb")).unwrap();
    let loading = "LOADING Redis is loading the dataset in memory";

    server.spawn();
    let mut connection = eventually_some(SOON, "a connection", || server.try_connect());
    assert_eq!(connection.text(&["PING"]), loading);
    assert_eq!(connection.text(&["GET", "key:1"]), loading);
    let info = connection.text(&["INFO", "persistence"]);
    assert_eq!(field(&info, "loading").as_deref(), Some("1"));
    assert_eq!(field(&info, "loading_total_bytes"), Some(file.len().to_string()));
    assert!(field(&info, "loading_eta_seconds").is_some(), "{info}");
    // A stop meanwhile leaves the file as it is.
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(fs::read(server.path("dump.rdb")).unwrap(), file);

    server.start();
    eventually(SOON, "the data are loaded", || server.call(&["PING"]) == "PONG");
    assert_eq!(server.call(&["DEBUG", "DIGEST"]), digest);
    assert_eq!(server.info("persistence", "loading").as_deref(), Some("0"));
    let log = server.log();
    let loaded = log.rfind("Done loading RDB").unwrap();
    assert!(log[loaded..].contains("Ready to accept connections"), "{log}");
}

#[test]
fn a_stop_by_signal_keeps_the_data() {
    let mut server = Setup::shoal().conf("save 3600 1").start();
    let mut digest = populate(&server);
    for (signal, message) in [
        ("TERM", "Received SIGTERM scheduling shutdown..."),
        ("INT", "Received SIGINT scheduling shutdown..."),
        ("QUIT", ""),
    ] {
        server.signal(signal);
        assert_eq!(server.wait_for_end().code(), Some(0), "{signal}");
        let log = server.log();
        assert!(log.contains(message), "{signal}: {log}");
        assert!(log.contains("DB saved on disk"), "{signal}: {log}");
        fs::remove_file(server.path("log")).unwrap();
        server.start();
        assert_eq!(server.call(&["DEBUG", "DIGEST"]), digest, "{signal}");
        assert_eq!(server.call(&["INCR", "number"]).parse::<u32>().unwrap() / 10, 1234);
        digest = server.call(&["DEBUG", "DIGEST"]);
    }
    let ttl: i64 = server.call(&["PTTL", "fleeting"]).parse().unwrap();
    assert!((1..=600_000).contains(&ttl), "{ttl}");
}

#[test]
fn shutdown_without_saving_forgets() {
    let mut server = Setup::shoal().conf("save 3600 1").start();
    assert_eq!(server.call(&["SET", "a", "1"]), "OK");
    assert_eq!(server.call(&["SAVE"]), "OK");
    assert_eq!(server.call(&["SET", "a", "2"]), "OK");
    server.connect().try_call(&["SHUTDOWN", "NOSAVE"]);
    assert!(server.wait_for_end().success());
    server.start();
    assert_eq!(server.call(&["GET", "a"]), "1");
}

#[test]
fn a_killed_server_has_what_bgsave_wrote() {
    let mut server = Server::shoal("");
    let digest = populate(&server);
    assert_eq!(server.call(&["BGSAVE"]), "Background saving started");
    server.wait_for_info("persistence", "rdb_bgsave_in_progress", "0");
    assert_eq!(server.info("persistence", "rdb_last_bgsave_status").as_deref(), Some("ok"));
    assert_eq!(server.call(&["SET", "later", "lost"]), "OK");
    server.kill();
    server.start();
    assert_eq!(server.call(&["DEBUG", "DIGEST"]), digest);
}

/// The file is Redis's: a real server loads it, and ours loads what that one writes.
#[test]
fn snapshot_files_are_exchanged_with_a_real_server() {
    let ours = Setup::shoal().conf("rdb-version-compat 10").start();
    let digest = populate(&ours);
    assert_eq!(ours.call(&["SAVE"]), "OK");
    let mut real = Setup::redis().prepare();
    fs::copy(ours.path("dump.rdb"), real.path("dump.rdb")).unwrap();
    real.start();
    assert_eq!(real.call(&["DEBUG", "DIGEST"]), digest);
    assert_eq!(real.call(&["SAVE"]), "OK");
    let mut again = Setup::shoal().prepare();
    fs::copy(real.path("dump.rdb"), again.path("dump.rdb")).unwrap();
    again.start();
    assert_eq!(again.call(&["DEBUG", "DIGEST"]), digest);
}

/// Libraries of functions, which a real server has made, come back to it from ours: by file, after a reload, and by way of
/// a replica and of the base of an append-only file.
#[test]
fn function_libraries_come_back_to_a_real_server() {
    let code = "#!lua name=lib\nredis.register_function('f', function() return 'from f' end)";
    let real = Setup::redis().start();
    assert_eq!(real.call(&["FUNCTION", "LOAD", code]), "lib");
    assert_eq!(real.call(&["SET", "k", "v"]), "OK");
    assert_eq!(real.call(&["SAVE"]), "OK");

    let lines = "rdb-version-compat 10\nenable-debug-command yes\nrepl-diskless-sync-delay 0";
    let mut ours = Setup::shoal().conf(lines).prepare();
    fs::copy(real.path("dump.rdb"), ours.path("dump.rdb")).unwrap();
    ours.start();
    assert_eq!(ours.call(&["FLUSHALL"]), "OK");
    assert_eq!(ours.call(&["DEBUG", "RELOAD"]), "OK");
    let replica = Setup::shoal().conf(lines).start();
    assert_eq!(replica.call(&["REPLICAOF", "127.0.0.1", &ours.port().to_string()]), "OK");
    eventually(SOON, "the replica has the data", || {
        replica.info("replication", "master_link_status").as_deref() == Some("up")
    });
    for server in [&ours, &replica] {
        assert_eq!(server.call(&["SAVE"]), "OK");
        let mut again = Setup::redis().prepare();
        fs::copy(server.path("dump.rdb"), again.path("dump.rdb")).unwrap();
        again.start();
        assert_eq!(again.call(&["FCALL", "f", "0"]), "from f");
    }
}

/// A file as old servers wrote them: of version 3, without a checksum, its expiry in seconds and its collections in the forms
/// of Redis 2.4.
#[test]
fn a_file_of_an_old_server_is_loaded() {
    let mut file = b"REDIS0003\xfe\x00".to_vec();
    // A string that expires in 2100.
    file.extend_from_slice(b"\xfd\x80\xdc\x48\x7a\x00\x05timed\xc0\x07");
    // A hash in a zipmap, a list in a ziplist, a set and a list element by element, scores as text.
    file.extend_from_slice(b"\x09\x04hash\x0f\x02\x01a\x01\x00b\x03key\x02\x0042\xff");
    file.extend_from_slice(b"\x0a\x04list\x11\x11\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xfe\x2a\xff");
    file.extend_from_slice(b"\x02\x03set\x02\x01x\xc0\x05");
    file.extend_from_slice(b"\x01\x05plain\x02\x01x\x01y");
    file.extend_from_slice(b"\x03\x04zset\x02\x01m\x031.5\x01n\xff");
    file.push(0xff);
    let mut server = Setup::shoal().prepare();
    fs::write(server.path("dump.rdb"), &file).unwrap();
    let mut real = Setup::redis().prepare();
    fs::write(real.path("dump.rdb"), &file).unwrap();
    server.start();
    real.start();
    assert_eq!(server.call(&["DBSIZE"]), "6");
    assert_eq!(server.call(&["EXPIRETIME", "timed"]), "2051595392");
    assert_eq!(server.call(&["HGET", "hash", "key"]), "42");
    assert_eq!(server.call(&["LINDEX", "list", "1"]), "42");
    assert_eq!(server.call(&["ZSCORE", "zset", "n"]), "-inf");
    assert_eq!(server.call(&["DEBUG", "DIGEST"]), real.call(&["DEBUG", "DIGEST"]));
}

#[test]
fn a_snapshot_in_the_background_shows_its_progress() {
    let server = Setup::shoal().conf("rdb-key-save-delay 100\nrdbcompression no").start();
    assert_eq!(server.call(&["DEBUG", "POPULATE", "20000", "key", "100"]), "OK");
    assert_eq!(server.call(&["BGSAVE"]), "Background saving started");
    let number =
        |name: &str| server.info("persistence", name).and_then(|text| text.parse::<f64>().ok()).unwrap();
    assert_eq!(number("current_save_keys_total"), 20000.0);
    eventually(SOON, "some of the keys are written", || {
        let keys = number("current_save_keys_processed");
        keys > 0.0 && keys < 20000.0 && number("current_fork_perc") > 0.0 && number("current_cow_size") > 0.0
    });
    eventually(SOON, "the snapshot is written", || number("rdb_bgsave_in_progress") == 0.0);
    assert!(number("rdb_last_cow_size") > 0.0);
    assert_eq!(number("current_save_keys_processed"), 0.0);
    assert!(server.log().contains("Fork CoW for RDB: current "));
}

/// A file that is damaged stops the start, with offset and reason, and stays as it is.
#[test]
fn a_damaged_snapshot_is_refused() {
    let mut server = Server::shoal("");
    populate(&server);
    assert_eq!(server.call(&["SAVE"]), "OK");
    server.kill();
    let good = fs::read(server.path("dump.rdb")).unwrap();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x55;
    for (what, bytes) in [("flipped bit", flipped), ("cut", good[..good.len() / 2].to_vec())] {
        fs::write(server.path("dump.rdb"), &bytes).unwrap();
        server.spawn();
        assert_eq!(server.wait_for_end().code(), Some(1), "{what}");
        assert_eq!(fs::read(server.path("dump.rdb")).unwrap(), bytes, "{what}: the file is left alone");
        let log = server.log();
        assert!(log.contains("Cannot load dump.rdb"), "{what}: {log}");
        assert!(
            log.contains("[info] ") && log.contains("Terminating server after rdb file reading failure."),
            "{log}"
        );
    }
    fs::write(server.path("dump.rdb"), good).unwrap();
    server.start();
}

#[test]
fn a_crash_leaves_a_report() {
    let mut server = Server::shoal("");
    let mut other = server.connect();
    other.call(&["PING"]);
    server.connect().try_call(&["DEBUG", "SEGFAULT"]);
    let status = server.wait_for_end();
    assert_eq!(status.signal(), Some(libc_sigsegv()), "{status}");
    let log = server.log();
    let start = log.find("=== REDIS BUG REPORT START: Cut & paste starting from here ===");
    let end = log.find("=== REDIS BUG REPORT END.");
    assert!(start.is_some() && start < end, "{log}");
    let described = [
        "crashed by signal: 11",
        "STACK TRACE",
        "CURRENT CLIENT INFO",
        "argv[0]: \"DEBUG\"\nargv[1]: \"SEGFAULT\"",
        "# Server\nredis_version:",
        "# Keyspace",
        "cmd=ping",
    ];
    for text in described {
        assert!(log.contains(text), "{text}: {log}");
    }

    // From outside too; and the next start is an ordinary one.
    server.start();
    server.signal("ABRT");
    assert!(!server.wait_for_end().success());
    assert!(server.log().contains("crashed by signal: 6"));
    server.start();
    eventually(SOON, "an answer", || server.call(&["PING"]) == "PONG");
}

const fn libc_sigsegv() -> i32 {
    11
}
