//! `check-rdb` beside the real one: the same text for the same file.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

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

/// Runs a program that checks append-only files in a directory, and answers its question.
fn check_aof(program: &[&str], directory: &Path, words: &[&str], answer: &str) -> (String, Option<i32>) {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args(words).current_dir(directory);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // A program that asks nothing has closed its end.
    let _ = child.stdin.take().unwrap().write_all(answer.as_bytes());
    let output = child.wait_with_output().unwrap();
    (text(&output), output.status.code())
}

/// The same files for both programs; what they say, and what they leave of the files.
fn both_check_aof(files: &[(&str, Vec<u8>)], words: &[&str], answer: &str) {
    let run = |program: &[&str]| {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        let said = check_aof(program, directory.path(), words, answer);
        let left: Vec<Vec<u8>> =
            files.iter().map(|(name, _)| fs::read(directory.path().join(name)).unwrap()).collect();
        (said, left)
    };
    let real = run(&["redis-check-aof"]);
    assert_eq!(run(&[SHOAL, "check-aof"]), real, "{words:?} of {files:?}");
}

const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";

#[test]
fn check_aof_says_what_the_real_one_says() {
    let stamped = format!("#TS:1000\r\n{SET}#TS:2000\r\n{SET}#TS:3000\r\n{SET}");
    // A file that ends inside a line with a number is left out: the real one shows what is in memory behind it.
    for end in [
        "",
        "*3\r\n$3\r\nSET",
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nv\r\n",
        "*2\r\n$100000000\r\nxy",
        "*1\r\n$-5\r\n",
        "*1\r\n$4\r\nPINGxx",
        "*1\r\n:4\r\nPING\r\n",
        "*1\r\n$4\nPING\r\n",
        "*x\r\n",
        "PING\r\n",
        "\0\0\0\0",
        "*1\r\n$5\r\nMULTI\r\n",
        "*1\r\n$5\r\nMULTI\r\n*1\r\n$5\r\nmulti\r\n",
        "*1\r\n$4\r\nEXEC\r\n",
        "*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*1\r\n$4\r\nEXEC\r\n*1\r\n$5\r\nMULTI\r\n*3\r\n",
        "# a remark\r\n",
        "*-1\r\n",
        "*0\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
    ] {
        let file = [("a.aof", format!("{SET}{end}").into_bytes())];
        both_check_aof(&file, &["a.aof"], "");
        both_check_aof(&file, &["--fix", "a.aof"], "y\n");
        both_check_aof(&file, &["--fix", "a.aof"], "n\n");
        both_check_aof(&file, &["--truncate-to-timestamp", "1", "a.aof"], "");
        let manifest = b"file a.aof seq 1 type b\nfile i1 seq 1 type i\nfile i2 seq 2 type i\n".to_vec();
        let parts = [
            ("list.manifest", manifest.clone()),
            ("a.aof", stamped.clone().into_bytes()),
            ("i1", Vec::new()),
            ("i2", format!("{SET}{end}").into_bytes()),
        ];
        both_check_aof(&parts, &["list.manifest"], "");
        both_check_aof(&parts, &["--fix", "list.manifest"], "Y\n");
        let parts = [
            ("list.manifest", manifest),
            ("a.aof", file[0].1.clone()),
            ("i1", b"x".to_vec()),
            ("i2", vec![]),
        ];
        both_check_aof(&parts, &["--fix", "list.manifest"], "y\n");
    }
    for timestamp in ["500", "1000", "1500", "2500", "9999", "x"] {
        both_check_aof(
            &[("a", stamped.clone().into_bytes())],
            &["--truncate-to-timestamp", timestamp, "a"],
            "",
        );
        let parts = [
            ("list", b"file a seq 1 type b\nfile i1 seq 1 type i\n".to_vec()),
            ("a", SET.into()),
            ("i1", stamped.clone().into_bytes()),
        ];
        both_check_aof(&parts, &["--truncate-to-timestamp", timestamp, "list"], "");
        let parts = [
            ("list", b"file a seq 1 type b\nfile i1 seq 1 type i\n".to_vec()),
            ("a", stamped.clone().into()),
            ("i1", SET.into()),
        ];
        both_check_aof(&parts, &["--truncate-to-timestamp", timestamp, "list"], "");
    }
    both_check_aof(&[("a", Vec::new())], &["a"], "");
    both_check_aof(&[], &["nothing"], "");
    both_check_aof(&[("list", b"file a seq 1 type b\n".to_vec())], &["list"], "");
}

#[test]
fn check_aof_reads_snapshots_and_gives_json() {
    let (_server, snapshot) = snapshot(Kind::Shoal);
    for end in ["", SET, "*3\r\n$3\r\nSET", "x"] {
        let file = [("a.aof", [&snapshot, end.as_bytes()].concat())];
        both_check_aof(&file, &["a.aof"], "");
        both_check_aof(&file, &["--fix", "a.aof"], "y\n");
        let list = ("list", b"file a.aof seq 1 type b\nfile i1 seq 1 type i\n".to_vec());
        both_check_aof(&[list, file[0].clone(), ("i1", SET.into())], &["list"], "");
    }
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a"), format!("{SET}*3\r\n")).unwrap();
    let (said, code) = check_aof(&[SHOAL, "check-aof"], directory.path(), &["--json", "a"], "");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((report["ok"].as_bool(), code), (Some(false), Some(1)));
    assert_eq!(
        (&report["files"][0]["ok_up_to"], &report["files"][0]["size"]),
        (&SET.len().into(), &31.into())
    );
}
