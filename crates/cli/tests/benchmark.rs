//! The load generator against a real server: does it send what it says, and print what scripts read?

#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::process::Command;
use support::{Server, our_client, run};

struct Result {
    out: String,
    error: String,
    code: Option<i32>,
}

fn benchmark(server: &Server, words: &[&str], input: &[u8]) -> Result {
    let port = server.port.to_string();
    let line = [&["benchmark", "-p", &port], words].concat();
    let output = run(our_client(), &line, input, &[]);
    Result {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    }
}

/// How often the server has carried a command out.
fn calls(server: &Server, command: &str) -> u64 {
    let stats = server.real(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

/// The lines of a report with every number replaced, so that only its form is left.
fn form(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.split(['\n', '\r']) {
        let mut line: String =
            line.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
        while line.contains("00") {
            line = line.replace("00", "0");
        }
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        // How many lines a distribution has is chance, as is whether there is time for a line about the progress.
        if !line.is_empty() && !line.contains("rps=") && lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines
}

#[test]
fn reports_have_the_form_of_redis_benchmark() {
    let server = Server::start(&[]);
    for words in [
        &["-n", "2000", "-t", "set,get"][..],
        &["-n", "2000", "-t", "set,get", "-q", "-P", "8"],
        &["-n", "2000", "-t", "ping,incr", "--csv"],
        &["-n", "1000", "-c", "5", "-q", "lpush", "list", "__rand_int__"],
        &["-n", "1000", "--threads", "2", "-t", "mset", "-r", "50"],
    ] {
        let mut real = Command::new("redis-benchmark");
        real.arg("-p").arg(server.port.to_string());
        let real = run(real, words, b"", &[]);
        let ours = benchmark(&server, words, b"");
        assert_eq!(ours.code, Some(0), "{}", ours.error);
        assert_eq!(form(&ours.out), form(&String::from_utf8_lossy(&real.stdout)), "{words:?}");
    }
}

#[test]
fn as_many_requests_are_sent_as_were_asked_for() {
    let server = Server::start(&[]);
    for (words, command, expected) in [
        (&["-n", "1000", "-t", "set", "-q"][..], "set", 1000),
        (&["-n", "1000", "-P", "10", "-t", "get", "-q"], "get", 1000),
        (&["-n", "300", "-k", "0", "-t", "incr", "-q"], "incr", 300),
        (&["-n", "500", "--threads", "3", "-t", "lpush", "-q"], "lpush", 500),
        (&["-n", "200", "-t", "sadd", "-r", "100", "-3", "--dbnum", "3", "-q"], "sadd", 200),
    ] {
        let result = benchmark(&server, words, b"");
        assert_eq!(result.code, Some(0), "{}", result.error);
        assert_eq!(calls(&server, command), expected, "{words:?}");
    }
    assert!(server.real(&["-n", "3", "SCARD", "myset"]).trim().parse::<u64>().unwrap() > 50);
}

#[test]
fn a_command_of_ones_own_may_take_standard_input() {
    let server = Server::start(&[]);
    let result = benchmark(&server, &["-n", "10", "-x", "--json", "set", "key"], b"from input");
    assert_eq!(server.real(&["GET", "key"]), "from input\n");
    let report: serde_json::Value = serde_json::from_str(&result.out).unwrap();
    assert_eq!((&report["test"], &report["requests"]), (&"set key".into(), &10.into()));
}

#[test]
fn errors_end_the_run() {
    let server = Server::start(&["--requirepass", "secret"]);
    let result = benchmark(&server, &["-n", "10", "-t", "set", "-q"], b"");
    assert_eq!(result.code, Some(1));
    assert!(result.error.contains("replied with error:\nNOAUTH"), "{}", result.error);
    let result = benchmark(&server, &["-n", "10", "-a", "secret", "-q", "nosuch"], b"");
    assert_eq!(result.code, Some(1));
    assert!(result.error.starts_with("Error from server: ERR unknown command"), "{}", result.error);
    let socket = server.socket();
    let result = benchmark(&server, &["-n", "10", "-s", &socket, "-a", "secret", "-t", "set", "-q"], b"");
    assert_eq!(result.code, Some(0), "{}", result.error);
    let output = run(our_client(), &["benchmark", "-p", "1", "-n", "1"], b"", &[]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_cluster_is_loaded_evenly() {
    let servers: Vec<_> = (0..3).map(|_| Server::start(&["--cluster-enabled", "yes"])).collect();
    let addresses: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let mut line = vec!["--cluster", "create", "--cluster-yes"];
    line.extend(addresses.iter().map(String::as_str));
    assert_eq!(run(our_client(), &line, b"", &[]).status.code(), Some(0));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !servers.iter().all(|server| server.real(&["CLUSTER", "INFO"]).contains("cluster_state:ok")) {
        assert!(std::time::Instant::now() < deadline, "the cluster does not come up");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let result = benchmark(&servers[0], &["--cluster", "-n", "3000", "-r", "1000", "-t", "set", "-q"], b"");
    assert_eq!(result.code, Some(0), "{}", result.error);
    assert!(result.out.starts_with("Cluster has 3 master nodes:\n\nMaster 0: "), "{}", result.out);
    let counts: Vec<_> = servers.iter().map(|server| calls(server, "set")).collect();
    assert_eq!(counts.iter().sum::<u64>(), 3000, "{counts:?}");
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
}
