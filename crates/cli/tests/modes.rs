//! The modes of the client that run until something happens, and the prompt on a terminal.

#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use support::{Server, our_client, real_client, run};

/// How long a line may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that runs until it is killed, and the lines it prints.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(mut client: Command, port: u16, words: &[&str]) -> Self {
        let mut child = client
            .args(["-p", &port.to_string()])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    fn next_line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("another line")
    }

    fn lines(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next_line()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn messages_are_printed_as_they_come() {
    let server = Server::start(&[]);
    for words in [
        &["SUBSCRIBE", "first", "second"][..],
        &["--csv", "SUBSCRIBE", "first"],
        &["--no-raw", "PSUBSCRIBE", "fir*"],
        &["-3", "--no-raw", "SUBSCRIBE", "first"],
        &["--json", "SSUBSCRIBE", "first"],
    ] {
        let clients = [
            Running::start(real_client(), server.port, words),
            Running::start(our_client(), server.port, words),
        ];
        let greeting = usize::from(!words[0].starts_with("SUB"))
            + words.iter().filter(|word| word.ends_with("st")).count();
        let greetings: Vec<_> = clients.iter().map(|client| client.lines(greeting)).collect();
        assert_eq!(greetings[0], greetings[1], "{words:?}");
        let publish = if words.contains(&"SSUBSCRIBE") { "SPUBLISH" } else { "PUBLISH" };
        // The client may not have subscribed yet when its first line is there.
        while server.real(&[publish, "first", "hello \"world\""]) != "2\n" {
            std::thread::sleep(Duration::from_millis(10));
        }
        let seen: Vec<Vec<_>> = clients
            .iter()
            .map(|client| {
                let mut lines = Vec::new();
                while !lines.last().is_some_and(|line: &String| line.contains("hello")) {
                    lines.push(client.next_line());
                }
                lines
            })
            .collect();
        assert!(seen[1].last().unwrap().contains("hello"));
        assert_eq!(seen[0].last(), seen[1].last(), "{words:?}");
    }
}

#[test]
fn monitor_shows_commands() {
    let server = Server::start(&[]);
    let client = Running::start(our_client(), server.port, &["MONITOR"]);
    assert_eq!(client.next_line(), "OK");
    server.send(&[&["SET", "key", "value"]]);
    while !client.next_line().ends_with("\"SET\" \"key\" \"value\"") {}
}

#[test]
fn a_replica_shows_the_stream() {
    let server = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let client = Running::start(our_client(), server.port, &["--replica"]);
    let mut writes = 0;
    loop {
        server.send(&[&["SET", "key", "value"]]);
        writes += 1;
        match client.lines.recv_timeout(Duration::from_millis(200)) {
            Ok(line) if line == "\"SET\",\"key\",\"value\"" => break,
            _ => assert!(writes < 100, "no write arrives"),
        }
    }
}

#[test]
fn rdb_files_are_whole() {
    let server = Server::start(&["--repl-diskless-sync-delay", "0"]);
    server.send(&[&["SET", "key", "value"], &["DEBUG", "POPULATE", "20000"]]);
    for diskless in ["yes", "no"] {
        server.send(&[&["CONFIG", "SET", "repl-diskless-sync", diskless]]);
        let path = server.directory.join("fetched.rdb");
        let port = server.port.to_string();
        let output = run(our_client(), &["-p", &port, "--rdb", path.to_str().unwrap()], b"", &[]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let check = Command::new("redis-check-rdb").arg(&path).output().unwrap();
        let text = String::from_utf8_lossy(&check.stdout);
        assert!(check.status.success() && text.contains("20001 keys read"), "{text}");
        let output = run(our_client(), &["-p", &port, "--functions-rdb", "-"], b"", &[]);
        assert!(output.stdout.starts_with(b"REDIS"));
    }
}

#[test]
fn figures_are_printed() {
    let server = Server::start(&[]);
    let port = server.port.to_string();
    for (format, separator) in [("--raw", ' '), ("--csv", ',')] {
        let output = run(our_client(), &["-p", &port, "--latency", format, "-i", "0.1"], b"", &[]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let fields: Vec<f64> = text.trim().split(separator).map(|field| field.parse().unwrap()).collect();
        assert_eq!(fields.len(), 4, "{text}");
        assert!(fields[3] >= 2.0);
    }
    let output = run(our_client(), &["--intrinsic-latency", "1"], b"", &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("total runs (avg latency: ") && text.contains("Worst run took "), "{text}");
    let statistics = Running::start(our_client(), server.port, &["--stat", "-i", "0.05"]);
    let real = Running::start(real_client(), server.port, &["--stat", "-i", "0.05"]);
    assert_eq!(statistics.lines(2), real.lines(2));
    let columns = |line: String| line.split_whitespace().count();
    assert_eq!(columns(statistics.next_line()), columns(real.next_line()));
    let lru = Running::start(our_client(), server.port, &["--lru-test", "1000"]);
    assert!(lru.next_line().contains("Gets/sec | Hits: "));
    let spectrum = Running::start(our_client(), server.port, &["--latency-dist", "-i", "0.1"]);
    let real = Running::start(real_client(), server.port, &["--latency-dist", "-i", "0.1"]);
    assert_eq!(spectrum.lines(8), real.lines(8));
    let history = Running::start(our_client(), server.port, &["--latency-history", "--no-raw", "-i", "0.1"]);
    assert!(history.next_line().contains(" seconds range"));
}

#[test]
fn hot_keys_are_found() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lfu"]);
    server.send(&[&["SET", "cold", "a"], &["SET", "hot", "b"], &["DEBUG", "POPULATE", "30"]]);
    for _ in 0..300 {
        server.send(&[&["GET", "hot"], &["GET", "hot"]]);
    }
    let output = run(our_client(), &["-p", &server.port.to_string(), "--hotkeys"], b"", &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().find(|line| line.starts_with("hot key found with counter: ")).unwrap();
    assert!(first.ends_with("\tkeyname: \"hot\""), "{text}");
}

#[test]
fn the_prompt_shows_where_one_is() {
    let server = Server::start(&[]);
    let history = server.directory.join("history");
    let client = format!("{} -p {}", env!("CARGO_BIN_EXE_shoal-cli"), server.port);
    let mut terminal = Command::new("script")
        .args(["-q", "-c", &client, "/dev/null"])
        .env("TERM", "xterm")
        .env("REDISCLI_HISTFILE", &history)
        .env("REDISCLI_RCFILE", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is installed");
    let mut input = terminal.stdin.take().unwrap();
    let mut output = terminal.stdout.take().unwrap();
    let (sender, chunks) = channel();
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(count) = std::io::Read::read(&mut output, &mut chunk) {
            if count == 0 || sender.send(chunk[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    let prompt = format!("127.0.0.1:{}", server.port);
    let mut seen = String::new();
    let mut expect = |wanted: &str| {
        while !seen.contains(wanted) {
            match chunks.recv_timeout(PATIENCE) {
                Ok(chunk) => seen.push_str(&String::from_utf8_lossy(&chunk)),
                Err(_) => panic!("{wanted:?} is not in {seen:?}"),
            }
        }
        seen = seen.split_once(wanted).unwrap().1.to_owned();
    };
    expect(&format!("{prompt}> "));
    for (typed, answer) in [
        ("set key value", "OK"),
        ("get key", "\"value\""),
        ("select 2", &format!("{prompt}[2]> ")),
        ("multi", &format!("{prompt}[2](TX)> ")),
        ("discard", &format!("{prompt}[2]> ")),
        ("getd\t key", "(nil)"),
        ("auth hidden", "(error)"),
        ("subscribe channel", "3) (integer) 1"),
        ("\u{3}", &format!("{prompt}[2]> ")),
        ("connect 127.0.0.1 1", "not connected> "),
    ] {
        let line = if typed == "\u{3}" { typed.to_owned() } else { format!("{typed}\r") };
        input.write_all(line.as_bytes()).unwrap();
        expect(answer);
    }
    input.write_all(b"quit\r").unwrap();
    assert!(terminal.wait().unwrap().success());
    let history = std::fs::read_to_string(history).unwrap();
    assert!(history.starts_with("set key value\nget key\n") && history.contains("GETDEL"), "{history}");
    assert!(!history.contains("hidden"), "{history}");
}
