//! Snapshots and append-only files change hands between both kinds of servers; digests stay equal.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::fs;

use crate::support::data::{change_collections, describe_collections, fill_collections};
use crate::support::{Kind, LATER, Server, Setup, eventually};

/// Who writes, and who reads it; then the first again.
const WAYS: [[Kind; 3]; 3] = [
    [Kind::Shoal, Kind::Redis, Kind::Shoal],
    [Kind::Redis, Kind::Shoal, Kind::Redis],
    [Kind::Shoal, Kind::Shoal, Kind::Shoal],
];

/// A server whose files a Redis 7.0 can read.
fn start(kind: Kind, lines: &str) -> Server {
    let mut server = Setup::new(kind).conf("rdb-version-compat 10").conf(lines).prepare();
    hand_over(&mut server, kind);
    server
}

/// Everything that is compared, in lines.
fn contents(server: &Server) -> Vec<String> {
    let mut connection = server.connect();
    let mut lines = Vec::new();
    for database in ["0", "9"] {
        connection.text(&["SELECT", database]);
        lines.extend(
            describe_collections(&mut connection).into_iter().map(|line| format!("{database} {line}")),
        );
    }
    lines.push(connection.text(&["DEBUG", "DIGEST"]));
    lines
}

/// The first line that is another is the one to look at.
#[track_caller]
fn assert_unchanged(server: &Server, before: &[String], what: &str) {
    let now = contents(server);
    for (line, before) in now.iter().zip(before) {
        assert_eq!(line, before, "{what}");
    }
    assert_eq!(now.len(), before.len(), "{what}");
}

fn fill(server: &Server) {
    let mut connection = server.connect();
    for database in ["0", "9"] {
        connection.text(&["SELECT", database]);
        fill_collections(&mut connection);
        for number in 0..50 {
            connection.text(&["SET", &format!("string:{number}"), &number.to_string().repeat(number)]);
        }
    }
}

fn change(server: &Server) {
    let mut connection = server.connect();
    connection.text(&["SELECT", "9"]);
    change_collections(&mut connection);
    for words in [&["MULTI"][..], &["INCR", "counter"], &["SPOP", "set:union", "3"], &["EXEC"]] {
        connection.text(words);
    }
}

/// Lets the next kind of server go on with the files.
fn hand_over(server: &mut Server, kind: Kind) {
    server.change_kind(kind);
    server.start();
}

#[test]
fn snapshots_change_hands() {
    for [first, second, third] in WAYS {
        let mut server = start(first, "");
        fill(&server);
        for kind in [second, third] {
            assert_eq!(server.call(&["SAVE"]), "OK");
            let before = contents(&server);
            server.kill();
            hand_over(&mut server, kind);
            assert_unchanged(&server, &before, &format!("{kind:?} after {first:?}"));
            change(&server);
        }
        let before = contents(&server);
        assert_eq!(server.call(&["DEBUG", "RELOAD"]), "OK");
        assert_unchanged(&server, &before, &format!("{third:?} reloads"));
    }
}

/// As version 11, for ourselves: sets and streams in their own layouts.
#[test]
fn snapshots_of_our_own_version() {
    let server = Server::shoal("");
    fill(&server);
    for _ in 0..2 {
        let before = contents(&server);
        assert_eq!(server.call(&["DEBUG", "RELOAD"]), "OK");
        assert_unchanged(&server, &before, "the same");
        change(&server);
    }
    assert!(fs::read(server.path("dump.rdb")).unwrap().starts_with(b"REDIS0011"));
}

#[test]
fn append_only_files_change_hands() {
    for [first, second, third] in WAYS {
        for policy in ["always", "everysec"] {
            let aof = format!("appendonly yes\nappendfsync {policy}\nauto-aof-rewrite-percentage 0");
            let mut server = start(first, &aof);
            fill(&server);
            for kind in [second, third] {
                change(&server);
                let before = contents(&server);
                // What was answered is in the system's hands.
                server.kill();
                hand_over(&mut server, kind);
                assert_unchanged(&server, &before, &format!("{kind:?} after {first:?}"));
            }
            assert_eq!(server.call(&["DEBUG", "LOADAOF"]), "OK");
            rewrite(&server);
            change(&server);
            let before = contents(&server);
            server.stop();
            hand_over(&mut server, first);
            assert_unchanged(&server, &before, &format!("{first:?} after a rewrite by {third:?}"));
        }
    }
}

/// Rewrites the file and waits for the end. What was before is gone then.
fn rewrite(server: &Server) {
    let list = || fs::read_to_string(server.path("appendonlydir/appendonly.aof.manifest")).unwrap();
    let before = list();
    let reply = server.call(&["BGREWRITEAOF"]);
    assert!(reply.starts_with("Background append only file rewriting"), "{reply}");
    eventually(LATER, "the end of the rewrite", || {
        let names = |text: &str| text.lines().filter(|line| line.ends_with("type b")).count();
        let now = list();
        now != before && names(&now) == 1 && now.lines().count() == 2 && !now.contains("type h")
    });
    assert_eq!(server.info("persistence", "aof_last_bgrewrite_status").as_deref(), Some("ok"));
    eventually(LATER, "the old files are deleted", || {
        fs::read_dir(server.path("appendonlydir")).unwrap().count() == 3
    });
}

#[test]
fn switched_on_while_clients_write() {
    for kind in [Kind::Shoal, Kind::Redis] {
        let mut server = start(Kind::Shoal, "");
        fill(&server);
        assert_eq!(server.call(&["CONFIG", "SET", "appendonly", "yes"]), "OK");
        change(&server);
        server.wait_for_info("persistence", "aof_rewrite_in_progress", "0");
        eventually(LATER, "the file is in use", || {
            server.info("persistence", "aof_rewrite_scheduled").as_deref() == Some("0")
                && server.path("appendonlydir/appendonly.aof.manifest").exists()
        });
        server.call(&["SET", "after", "1"]);
        let before = contents(&server);
        server.kill();
        let conf = fs::read_to_string(server.path("server.conf")).unwrap();
        server.change_kind(kind);
        let is_known = |line: &&str| kind == Kind::Shoal || !line.starts_with("rdb-version-compat");
        let conf: Vec<&str> = conf.lines().filter(is_known).chain(["appendonly yes"]).collect();
        fs::write(server.path("server.conf"), conf.join("\n")).unwrap();
        server.start();
        assert_unchanged(&server, &before, &format!("{kind:?}"));
    }
}

/// The process is killed in the middle of writing: what is left of the last command is cut off.
#[test]
fn a_torn_append_only_file_is_loaded() {
    let mut server = Server::shoal("appendonly yes");
    server.call(&["SET", "a", "1"]);
    let before = contents(&server);
    server.call(&["SET", "b", "2"]);
    server.kill();
    let path = server.path("appendonlydir/appendonly.aof.1.incr.aof");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    server.start();
    assert_unchanged(&server, &before, "the same");
    server.call(&["SET", "b", "2"]);
    server.stop();
    assert_eq!(fs::read(&path).unwrap().len(), whole.len() + "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n".len());
    fs::write(&path, b"nonsense\r\n").unwrap();
    server.spawn();
    assert_ne!(server.wait_for_end().code(), Some(0));
    server.wait_for_log("Bad file format reading the append only file appendonly.aof.1.incr.aof");
    assert_eq!(fs::read(&path).unwrap(), b"nonsense\r\n");
}
