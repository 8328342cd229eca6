//! `check-rdb` beside the real one: the same text for the same file.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Kind, SHOAL, Setup};

fn ours(file: &Path) -> Output {
    Command::new(SHOAL).arg("check-rdb").arg(file).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A snapshot of a server with strings that do and do not expire, in two databases.
fn snapshot(kind: Kind) -> (crate::support::Server, Vec<u8>) {
    // The real tool of 7.0 knows the format's version 10.
    let lines = if kind == Kind::Shoal { "rdb-version-compat 10" } else { "" };
    let server = Setup::new(kind).conf(lines).start();
    let mut connection = server.connect();
    for words in [
        &["SET", "text", "hello"][..],
        &["SET", "number", "123", "PX", "1000000"],
        &["SET", "long", &"again and ".repeat(200)],
        &["SELECT", "3"],
        &["SET", "elsewhere", "x"],
        &["SAVE"],
    ] {
        assert_eq!(connection.text(words), "OK", "{words:?}");
    }
    let bytes = fs::read(server.path("dump.rdb")).unwrap();
    (server, bytes)
}

#[test]
fn check_rdb_says_what_the_real_one_says() {
    for kind in [Kind::Shoal, Kind::Redis] {
        let (server, bytes) = snapshot(kind);
        let file = server.path("copy.rdb");
        fs::write(&file, &bytes).unwrap();
        let real = Command::new("redis-check-rdb").arg(&file).output().unwrap();
        let output = ours(&file);
        assert_eq!((text(&output), output.status.code()), (text(&real), Some(0)), "a file of {kind:?}");
        // Damaged files: both refuse, at about the same place.
        fs::write(&file, &bytes[..bytes.len() - 30]).unwrap();
        let output = ours(&file);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains("--- RDB ERROR DETECTED ---"), "{}", text(&output));
        let mut flipped = bytes.clone();
        let last_key = bytes.len() - 12;
        flipped[last_key] ^= 1;
        fs::write(&file, &flipped).unwrap();
        let (output, real) = (ours(&file), Command::new("redis-check-rdb").arg(&file).output().unwrap());
        assert_eq!((output.status.code(), real.status.code()), (Some(1), Some(1)));
        assert!(text(&output).contains("RDB CRC error") && text(&real).contains("RDB CRC error"));
    }
}

#[test]
fn check_rdb_has_help_and_json() {
    let run = |words: &[&str]| Command::new(SHOAL).arg("check-rdb").args(words).output().unwrap();
    assert!(text(&run(&["--help"])).starts_with("Usage: check-rdb"));
    assert!(text(&run(&["--version"])).starts_with("redis-check-rdb 7.2.4"));
    assert_eq!(run(&[]).status.code(), Some(1));
    let missing = run(&["/nonexistent.rdb"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("Cannot read '/nonexistent.rdb'"));
    let (server, _) = snapshot(Kind::Shoal);
    let json = run(&["--json", server.path("dump.rdb").to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (report["ok"].as_bool(), report["keys"].as_u64(), report["expires"].as_u64()),
        (Some(true), Some(4), Some(1))
    );
}
