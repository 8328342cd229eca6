//! Configuration texts, good and bad.

use super::*;
use crate::{AppendFsync, SavePoint};
use proptest::prelude::*;

/// Files of a made-up disk.
struct Disk(Vec<(&'static str, &'static str)>);

impl Surroundings for Disk {
    fn include(&mut self, pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        let found: Vec<_> =
            self.0.iter().filter(|(path, _)| path.starts_with(pattern.trim_end_matches('*'))).collect();
        if found.is_empty() && !pattern.ends_with('*') {
            return Err(format!("can't open {pattern}"));
        }
        Ok(found.into_iter().map(|(path, text)| (path.to_string(), text.as_bytes().to_vec())).collect())
    }

    fn enter_directory(&mut self, path: &str) -> Result<String, String> {
        if path == "/missing" { Err("No such file or directory".into()) } else { Ok(format!("/base/{path}")) }
    }
}

fn load(text: &str) -> Result<Config, LoadError> {
    let disk = [
        ("conf.d/a.conf", "timeout 1\nmaxmemory 1mb"),
        ("conf.d/b.conf", "timeout 2"),
        ("bad", "\nport x"),
        ("loop", "include loop"),
    ];
    let mut config = Config::default();
    config.load(text.as_bytes(), Mode::Server, &mut Disk(disk.into())).map(|()| config)
}

fn shown(text: &str, name: &str) -> String {
    let config = load(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    String::from_utf8(config.value_of(name.as_bytes()).unwrap()).unwrap()
}

#[test]
fn lines_are_read() {
    let cases: &[(&str, &str, &str)] = &[
        ("", "port", "6379"),
        ("# remark\n\n  PORT 7000 \r\n", "port", "7000"),
        ("port 1\nport 2", "port", "2"),
        ("port \"7001\"", "port", "7001"),
        ("maxmemory 2gb", "maxmemory", "2147483648"),
        ("requirepass \"a b\\x63\"", "requirepass", "a bc"),
        ("save 900 1\nsave 300 10", "save", "900 1 300 10"),
        ("save 900 1 300 10", "save", "900 1 300 10"),
        ("save \"900 1\"", "save", "900 1"),
        ("save \"\"", "save", ""),
        ("save 900 1\nsave \"\"", "save", ""),
        ("save \"\"\nsave 5 6", "save", "5 6"),
        (
            "client-output-buffer-limit slave 256mb 64mb 60",
            "client-output-buffer-limit",
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        ),
        (
            "client-output-buffer-limit \"normal 1 2 3\"",
            "client-output-buffer-limit",
            "normal 1 2 3 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        ),
        ("bind 10.0.0.1 -::1", "bind", "10.0.0.1 -::1"),
        ("slaveof 10.0.0.1 6380", "replicaof", "10.0.0.1 6380"),
        ("replicaof no one", "replicaof", ""),
        ("slave-read-only no", "replica-read-only", "no"),
        ("hash-max-ziplist-entries 7", "hash-max-listpack-entries", "7"),
        ("lua-time-limit 9", "busy-reply-threshold", "9"),
        ("list-max-ziplist-entries 512\nglueoutputbuf yes", "port", "6379"),
        ("hz 100000", "hz", "500"),
        ("dir data", "dir", "/base/data"),
        ("include conf.d/*", "timeout", "2"),
        ("include conf.d/*", "maxmemory", "1048576"),
        ("include nothing/*", "port", "6379"),
        ("sentinel", "port", "6379"),
        ("unixsocketperm 755", "unixsocketperm", "755"),
        ("shutdown-on-sigint nosave now", "shutdown-on-sigint", "nosave now"),
    ];
    for (text, name, expected) in cases {
        assert_eq!(shown(text, name), *expected, "{text}");
    }
}

#[test]
fn bad_lines_are_refused_with_their_number() {
    let cases: &[(&str, usize, &str)] = &[
        ("port 1\nnonsense 2", 2, "Bad directive or wrong number of arguments"),
        ("port 1 # remark", 1, "wrong number of arguments"),
        ("port", 1, "wrong number of arguments"),
        ("port 65536", 1, "argument must be between 0 and 65535 inclusive"),
        ("requirepass \"open", 1, "Unbalanced quotes in configuration line"),
        ("masteraut secret", 1, "Bad directive or wrong number of arguments"),
        ("loadmodule /a/b.so", 1, "Modules are not supported: remove the loadmodule directive"),
        ("sentinel monitor a b 1 2", 1, "sentinel directive while not in sentinel mode"),
        ("rename-command nonsense x", 1, "No such command in rename-command"),
        ("rename-command get set", 1, "Target command name already exists"),
        ("rename-command get \"\"\nrename-command get x", 2, "No such command in rename-command"),
        ("include bad", 2, "argument couldn't be parsed into an integer"),
        ("include loop", 1, "Too many levels of include"),
        ("\n\ninclude missing", 3, "can't open missing"),
        ("dir /missing", 1, "No such file or directory"),
        ("replicaof a 70000", 1, "Invalid master port"),
        ("appendfsync", 1, "wrong number of arguments"),
        (
            "shutdown-on-sigint",
            1,
            "argument(s) must be one of the following: default, save, nosave, now, force",
        ),
    ];
    for (text, number, message) in cases {
        let error = load(text).err().unwrap_or_else(|| panic!("{text} is accepted"));
        assert_eq!(
            (error.line.as_ref().map(|(number, _)| *number), error.message.as_str()),
            (Some(*number), *message)
        );
    }
    let error = load("cluster-enabled yes\nreplicaof a 1").unwrap_err();
    assert_eq!(error, LoadError::without_line("replicaof directive not allowed in cluster mode"));
}

#[test]
fn the_error_is_printed_as_redis_prints_it() {
    let expected = "\n*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\nReading the configuration file, at line 2\n\
                    >>> 'port x'\nargument couldn't be parsed into an integer\n";
    assert_eq!(load("\nport x").unwrap_err().to_string(), expected);
}

#[test]
fn what_stands_in_files_only_is_kept() {
    let config = load(
        "rename-command GET fetch\nrename-command set \"\"\nrename-command fetch set\nuser alice on >p\n",
    )
    .unwrap();
    let names: Vec<_> =
        config.file.renamed_commands.iter().map(|r| (r.name.as_slice(), r.new_name.as_slice())).collect();
    assert_eq!(names, [(&b"GET"[..], &b"fetch"[..]), (b"set", b""), (b"fetch", b"set")]);
    assert_eq!(config.file.users, [[b"alice".to_vec(), b"on".to_vec(), b">p".to_vec()]]);
    let mut config = Config::default();
    config.load(b"port 1\nsentinel myid  abc", Mode::Sentinel, &mut Disk(Vec::new())).unwrap();
    assert_eq!(config.file.sentinel_lines[0].number, 2);
    assert_eq!(config.file.sentinel_lines[0].arguments, [b"myid".to_vec(), b"abc".to_vec()]);
    assert_eq!(config.file.sentinel_lines[0].text, b"sentinel myid  abc");
}

/// The directives of the stock files of Redis 4.0, 5.0 and 7.0, with their lines that are remarks there made real.
#[test]
fn stock_files_are_read() {
    for text in [
        include_str!("../../testdata/redis-4.0.conf"),
        include_str!("../../testdata/redis-5.0.conf"),
        include_str!("../../testdata/redis-7.0.conf"),
    ] {
        let config = load(text).unwrap();
        assert_eq!(config.appendfsync, AppendFsync::EverySecond);
        assert_eq!(config.save.0[0], SavePoint { seconds: config.save.0[0].seconds, changes: 1 });
        assert_eq!(config.client_output_buffer_limit, Config::default().client_output_buffer_limit);
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "([a-z-]{0,20} [ -~]{0,20}\n){0,5}") {
        let _ = load(&text);
    }
}
