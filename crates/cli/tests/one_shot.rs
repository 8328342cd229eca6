//! Commands from the command line: our output must be equal to that of the real client, byte for byte.

#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use support::{Server, our_client, real_client, run};

struct Case {
    /// Options and command; `PORT` and `SOCKET` are replaced.
    line: &'static [&'static str],
    input: &'static [u8],
    environment: &'static [(&'static str, &'static str)],
}

const fn case(line: &'static [&'static str]) -> Case {
    Case { line, input: b"", environment: &[] }
}

const fn with_input(line: &'static [&'static str], input: &'static [u8]) -> Case {
    Case { line, input, environment: &[] }
}

const fn with_environment(
    line: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
) -> Case {
    Case { line, input: b"", environment }
}

const SEED: &[&[&str]] = &[
    &["FLUSHALL"],
    &["SCRIPT", "FLUSH"],
    &["SET", "text", "a \"quoted\"\tvalue\\ with ümlaut"],
    &["SET", "number", "41"],
    &["RPUSH", "list", "a", "b", "c"],
    &["HSET", "hash", "field", "value", "other", "1"],
    &["SADD", "set", "only"],
    &["ZADD", "zset", "1.5", "one", "inf", "two"],
    &["XADD", "stream", "1-1", "k", "v", "l", "w"],
];

const NESTED: &str = "return {1, 'a', {2, {'b', {}}, false}, redis.status_reply('fine')}";
const RESP3: &str = "redis.setresp(3); return {{map={a={1,2},b={map={c={double=1.5}}}}}, {set={x=true}}, true, {double=0.25}, {big_number=1}}";

const OUTPUTS: &[&[&str]] = &[
    &[],
    &["--raw"],
    &["--no-raw"],
    &["--csv"],
    &["--json"],
    &["--quoted-json"],
    &["-3", "--no-raw"],
    &["-2", "--json"],
    &["-3", "--csv"],
    &["-3", "--raw"],
];

const COMMANDS: &[&[&str]] = &[
    &["PING"],
    &["GET", "text"],
    &["GET", "missing"],
    &["INCR", "number"],
    &["LRANGE", "list", "0", "-1"],
    &["LRANGE", "missing", "0", "-1"],
    &["HGETALL", "hash"],
    &["HGETALL", "missing"],
    &["SMEMBERS", "set"],
    &["SMEMBERS", "missing"],
    &["ZRANGE", "zset", "0", "-1", "WITHSCORES"],
    &["ZSCORE", "zset", "one"],
    &["XRANGE", "stream", "-", "+"],
    &["XINFO", "STREAM", "stream", "FULL"],
    &["NOSUCH", "command"],
    &["GET"],
    &["INCR", "text"],
    &["EVAL", NESTED, "0"],
    &["EVAL", RESP3, "0"],
    &["CONFIG", "GET", "maxmemory*"],
    &["COMMAND", "INFO", "get", "nosuch"],
    &["CLIENT", "NO-EVICT", "off"],
    &["CLUSTER", "INFO"],
    &["LATENCY", "DOCTOR"],
    &["EXISTS", "text"],
    &["SELECT", "3"],
    &["AUTH", "nobody", "x"],
    &["LOLWUT", "VERSION", "1"],
];

const CASES: &[Case] = &[
    case(&["-p", "PORT", "-r", "3", "INCR", "number"]),
    case(&["-p", "PORT", "-r", "2", "-i", "0.01", "PING"]),
    case(&["-p", "PORT", "-e", "GET", "list"]),
    case(&["-p", "PORT", "-e", "GET", "number"]),
    case(&["-p", "PORT", "-n", "5", "CLIENT", "NOSUCH"]),
    case(&["-p", "PORT", "-n", "99", "PING"]),
    case(&["-p", "PORT", "-n", "-1", "PING"]),
    case(&["-s", "SOCKET", "PING"]),
    case(&["-s", "/nonexistent/socket", "PING"]),
    case(&["-p", "1", "PING"]),
    case(&["-h", "localhost", "-p", "1", "PING"]),
    case(&["-u", "redis://127.0.0.1:PORT/2", "DBSIZE"]),
    case(&["-u", "redis://nobody:secret@127.0.0.1:PORT", "PING"]),
    case(&["-u", "http://127.0.0.1", "PING"]),
    case(&["-p", "PORT", "-a", "secret", "PING"]),
    case(&["-p", "PORT", "-a", "secret", "--user", "joe", "GET", "number"]),
    case(&["-p", "PORT", "-a", "secret", "--no-auth-warning", "PING"]),
    with_environment(&["-p", "PORT", "PING"], &[("REDISCLI_AUTH", "secret")]),
    with_environment(&["-p", "PORT", "LRANGE", "list", "0", "-1"], &[("FAKETTY", "1")]),
    with_input(&["-p", "PORT", "-x", "SET", "input"], b"from\0input\n"),
    with_input(&["-p", "PORT", "-X", "tag", "SET", "tag", "other"], b"key"),
    with_input(&["-p", "PORT", "-X", "tag", "SET", "key", "other"], b"key"),
    with_input(&["-p", "PORT", "-x", "-X", "tag", "SET", "key"], b""),
    case(&["-p", "PORT", "--quoted-input", "SET", "\"a\\x00b\"", "'c d'"]),
    case(&["-p", "PORT", "--quoted-input", "SET", "\"a", "b"]),
    case(&["-p", "PORT", "-d", "<>", "LRANGE", "list", "0", "-1"]),
    case(&["-p", "PORT", "-D", "", "LRANGE", "list", "0", "-1"]),
    case(&["-p", "PORT", "-D", "|", "-r", "2", "GET", "number"]),
    case(&["-p", "PORT", "-c", "SET", "a", "b"]),
    case(&["-p", "PORT", "-c", "-s", "SOCKET", "PING"]),
    case(&["-2", "-3", "PING"]),
    case(&["--nosuch"]),
    case(&["-p"]),
    case(&["--show-pushes", "maybe", "-p", "PORT", "PING"]),
    case(&["--quoted-pattern", "\"x", "--scan"]),
    case(&["--rdb", "a", "--functions-rdb", "b"]),
    with_input(
        &["-p", "PORT"],
        b"PING\nSET a b\n\nGET a\n2 INCR number\n0 PING\n:set nohints\n:nosuch\nGET \"a\nrestart\n",
    ),
    with_input(
        &["-p", "PORT", "--no-raw"],
        b"MULTI\nSET a 1\nSELECT 3\nEXEC\nMULTI\nDISCARD\nRESET\nGET a\nquit\nPING\n",
    ),
    with_input(&["-p", "PORT", "--no-raw", "-3"], b"CLIENT TRACKING on\nGET a\nSET a 1\nexit\n"),
    with_input(
        &["-p", "PORT", "-3", "--show-pushes", "y", "--csv"],
        b"CLIENT TRACKING on\nGET a\nSET a 1\nGET a\n",
    ),
    Case {
        line: &["-p", "PORT", "-3"],
        input: b"CLIENT TRACKING on\nGET a\nSET a 1\nGET a\n",
        environment: &[("FAKETTY", "1")],
    },
    with_input(&["-p", "PORT", "--no-raw"], b"CLIENT KILL TYPE normal SKIPME no\nPING\nPING\n"),
    with_input(&["-p", "PORT"], b"MONITOR x\nSUBSCRIBE\nPING\nMULTI\nQUIT\n"),
    with_input(&["-p", "PORT", "--askpass", "PING"], b"secret\n"),
    with_input(&["-p", "PORT", "-x", "SET"], b""),
    case(&["-p", "PORT", "-3", "--show-pushes", "y", "DEBUG", "PROTOCOL", "push"]),
    case(&["-p", "PORT", "-3", "DEBUG", "PROTOCOL", "push"]),
    case(&["-p", "PORT", "-3", "--no-raw", "DEBUG", "PROTOCOL", "verbatim"]),
    case(&["-p", "PORT", "--eval", "/dev/null"]),
    with_input(&["-p", "1"], b"PING\nconnect 127.0.0.1 1\n"),
    case(&["-p", "PORT", "--scan", "--pattern", "n*"]),
    case(&["-p", "PORT", "--scan", "--no-raw", "--quoted-pattern", "\"t\\x65xt\""]),
    case(&["-p", "PORT", "SUBSCRIBE"]),
    case(&["-p", "PORT", "SHUTDOWN", "NOSUCH"]),
    case(&["-p", "PORT", "--eval", "/nonexistent", "a"]),
    with_input(&["-p", "PORT", "--pipe"], b"*1\r\n$4\r\nPING\r\nSET piped 1\r\nINCR list\r\nGET piped\r\n"),
    case(&["-p", "PORT", "--bigkeys"]),
    case(&["-p", "PORT", "--memkeys", "--pattern", "number"]),
    case(&["-p", "PORT", "--hotkeys"]),
];

/// The output without what differs between any two runs: the real client lists the types of keys in random order, and
/// whether a killed connection is found closed or reset depends on what was under way.
fn comparable(bytes: &[u8], line: &[&str]) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let text = text.replace("Error: Connection reset by peer", "Error: Server closed the connection");
    if !line.iter().any(|word| ["--bigkeys", "--memkeys"].contains(word)) {
        return text;
    }
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn compare(server: &Server, case: &Case, failures: &mut Vec<String>) {
    let port = server.port.to_string();
    let socket = server.socket();
    let line: Vec<String> =
        case.line.iter().map(|word| word.replace("PORT", &port).replace("SOCKET", &socket)).collect();
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let mut outputs = Vec::new();
    for client in [real_client(), our_client()] {
        server.send(SEED);
        let output = run(client, &line, case.input, case.environment);
        outputs.push((
            comparable(&output.stdout, &line),
            comparable(&output.stderr, &line),
            output.status.code(),
        ));
    }
    if outputs[0] != outputs[1] {
        failures.push(format!("{line:?}\n  redis-cli: {:?}\n  ours:      {:?}", outputs[0], outputs[1]));
    }
}

#[test]
fn commands_print_the_same_in_every_format() {
    let server = Server::start(&[]);
    let mut failures = Vec::new();
    for command in COMMANDS {
        for options in OUTPUTS {
            let mut line = vec!["-p", "PORT"];
            line.extend_from_slice(options);
            line.extend_from_slice(command);
            let case = Case { line: Vec::leak(line), input: b"", environment: &[] };
            compare(&server, &case, &mut failures);
        }
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn options_behave_the_same() {
    let server = Server::start(&[]);
    let mut failures = Vec::new();
    for case in CASES {
        compare(&server, case, &mut failures);
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn passwords_behave_the_same() {
    let server = Server::start(&["--requirepass", "secret"]);
    let cases = [
        case(&["-p", "PORT", "PING"]),
        case(&["-p", "PORT", "-a", "secret", "PING"]),
        case(&["-p", "PORT", "-a", "wrong", "PING"]),
        case(&["-p", "PORT", "--pass", "secret", "--user", "default", "PING"]),
        case(&["-u", "redis://default:secret@127.0.0.1:PORT/1", "PING"]),
        case(&["-u", "redis://%73ecret@127.0.0.1:PORT/1", "PING"]),
        with_environment(&["-p", "PORT", "PING"], &[("REDISCLI_AUTH", "secret")]),
        with_environment(&["-p", "PORT", "-a", "wrong", "PING"], &[("REDISCLI_AUTH", "secret")]),
        with_input(&["-p", "PORT", "-n", "2", "--no-raw"], b"PING\nAUTH secret\nCLIENT NO-TOUCH\nDBSIZE\n"),
        case(&["-p", "PORT", "--json", "PING"]),
        case(&["-p", "PORT", "-3", "PING"]),
    ];
    let mut failures = Vec::new();
    for case in &cases {
        compare(&server, case, &mut failures);
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}
