//! The server as a process: command line, daemon, title, log, supervisor, signals.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SHOAL: &str = env!("CARGO_BIN_EXE_shoal");
const DEADLINE: Duration = Duration::from_secs(20);

/// A directory of this test's own that goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("shoal-process-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Polls until `probe` gives something.
fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "no {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn wait_for_text(path: &Path, text: &str) {
    wait_for(text, || fs::read_to_string(path).ok().filter(|log| log.contains(text)));
}

fn send(process: u32, signal: &str) {
    assert!(Command::new("kill").args(["-s", signal, &process.to_string()]).status().unwrap().success());
}

fn run(arguments: &[&str]) -> Output {
    Command::new(SHOAL).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server in the foreground that is ended with the test.
struct Server {
    child: Child,
}

impl Server {
    fn start(scratch: &Scratch, program: &Path, text: &str) -> Self {
        let conf = scratch.path("server.conf");
        let log = scratch.path("log");
        let dir = scratch.0.display();
        fs::write(&conf, format!("port {}\ndir {dir}\nlogfile {}\n{text}\n", free_port(), log.display()))
            .unwrap();
        let child = Command::new(program).arg(&conf).stdin(Stdio::null()).spawn().unwrap();
        let server = Self { child };
        wait_for_text(&log, "Server initialized");
        server
    }

    fn stop(mut self, signal: &str) -> Option<i32> {
        send(self.child.id(), signal);
        wait_for("exit", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A link called redis-server.
fn redis_server(scratch: &Scratch) -> PathBuf {
    let bin = scratch.path("bin");
    let output = run(&["install-links", bin.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    bin.join("redis-server")
}

#[test]
fn questions_and_mistakes_are_answered() {
    let cases: &[(&[&str], i32, &str, &str)] = &[
        (&["server", "-v"], 0, "Redis server v=7.2.4 ", ""),
        (&["server", "--help"], 1, "", "Usage: ./redis-server"),
        (
            &["server", "--port", "x"],
            1,
            "",
            "\n*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\nReading the configuration file, at line 2\n>>> 'port \"x\"'\n\
          argument couldn't be parsed into an integer\n",
        ),
        (
            &["server", "/nonexistent.conf"],
            1,
            "Fatal error, can't open config file '/nonexistent.conf': No such file or directory",
            "",
        ),
        (
            &["server", "--logfile", "/nonexistent/log"],
            1,
            "",
            "Can't open the log file: No such file or directory",
        ),
        (&["--version"], 0, "shoal ", ""),
        (&["sentinel"], 2, "", "not part of Shoal"),
        (&["nonsense"], 2, "", "no program 'nonsense'"),
        (&[], 2, "", "Usage: shoal"),
    ];
    for (arguments, code, out, err) in cases {
        let output = run(arguments);
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {stdout}{stderr}");
        assert!(stdout.contains(out), "{arguments:?}: {stdout}");
        assert!(stderr.contains(err), "{arguments:?}: {stderr}");
    }
}

#[test]
fn an_error_in_an_included_file_names_its_line() {
    let scratch = Scratch::new("include");
    fs::write(scratch.path("a.conf"), "\ninclude b-*.conf\n").unwrap();
    fs::write(scratch.path("b-1.conf"), "port 1\n\nnonsense yes\n").unwrap();
    let output = Command::new(SHOAL).args(["server", "a.conf"]).current_dir(&scratch.0).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("at line 3\n>>> 'nonsense yes'\n"), "{stderr}");
}

#[test]
fn the_title_shows_address_and_mode() {
    let scratch = Scratch::new("title");
    let program = redis_server(&scratch);
    let server = Server::start(
        &scratch,
        &program,
        "bind 127.0.0.1\nproc-title-template \"{title} {listen-addr} <{config-file}> and a title that is longer than the arguments were\"",
    );
    let path = format!("/proc/{}/cmdline", server.child.id());
    let conf = scratch.path("server.conf");
    let text = fs::read_to_string(&conf).unwrap();
    let port = text.split_whitespace().nth(1).unwrap();
    let expected = format!(
        "{} 127.0.0.1:{port} <{}> and a title that is longer than the arguments were",
        program.display(),
        conf.display()
    );
    wait_for(&expected, || {
        let title = fs::read(&path).unwrap();
        let title = String::from_utf8_lossy(&title).trim_end_matches('\0').to_string();
        (title == expected).then_some(())
    });
    assert_eq!(server.stop("TERM"), Some(0));
}

#[test]
fn a_daemon_leaves_its_pid_and_ends_cleanly() {
    let scratch = Scratch::new("daemon");
    let program = redis_server(&scratch);
    let (pid_file, log) = (scratch.path("redis.pid"), scratch.path("log"));
    let status = Command::new(&program)
        .args(["--daemonize", "yes", "--port", &free_port().to_string(), "--save", "--pidfile"])
        .args([&pid_file, Path::new("--dir"), &scratch.0, Path::new("--logfile"), &log])
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0), "the parent ends at once");
    wait_for_text(&log, "Server initialized");
    let process: u32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert_ne!(process, 0);
    let start = fs::read_to_string(&log).unwrap();
    for text in [
        format!("{process}:C "),
        " * oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo".into(),
        format!("Redis version=7.2.4, bits=64, commit=00000000, modified=0, pid={process}, just started"),
        " * Configuration loaded".into(),
        format!("{process}:M "),
        "Running mode=standalone, port=".into(),
    ] {
        assert!(start.contains(&text), "{text}: {start}");
    }
    send(process, "QUIT");
    wait_for_text(&log, "ready to exit, bye bye...");
    wait_for("end", || (!Path::new(&format!("/proc/{process}/exe")).exists()).then_some(()));
    assert!(!pid_file.exists());
}

#[test]
fn systemd_hears_of_start_and_stop_and_keeps_the_server_in_the_foreground() {
    let scratch = Scratch::new("systemd");
    let notify = UnixDatagram::bind(scratch.path("notify")).unwrap();
    notify.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut child = Command::new(SHOAL)
        .args(["server", "--port", &free_port().to_string(), "--save", "", "--dir"])
        .arg(&scratch.0)
        .args(["--daemonize", "yes", "--supervised", "systemd", "--logfile", "log"])
        .env("NOTIFY_SOCKET", scratch.path("notify"))
        .stdin(Stdio::null())
        .current_dir(&scratch.0)
        .spawn()
        .unwrap();
    let hear = |wanted: &str| {
        let mut buffer = [0; 500];
        loop {
            let length = notify.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}"));
            if String::from_utf8_lossy(&buffer[..length]).contains(wanted) {
                return;
            }
        }
    };
    hear("READY=1");
    assert!(child.try_wait().unwrap().is_none(), "it must not go to the background");
    send(child.id(), "TERM");
    hear("STOPPING=1");
    assert_eq!(wait_for("exit", || child.try_wait().unwrap()).code(), Some(0));
}

#[test]
fn hup_opens_the_log_anew() {
    let scratch = Scratch::new("hup");
    let server = Server::start(&scratch, &redis_server(&scratch), "");
    let log = scratch.path("log");
    wait_for_text(&log, "Ready to accept connections");
    fs::rename(&log, scratch.path("log.1")).unwrap();
    send(server.child.id(), "HUP");
    wait_for("new log", || log.exists().then_some(()));
    assert_eq!(server.stop("INT"), Some(0));
    assert!(fs::read_to_string(&log).unwrap().contains("bye bye"));
}

#[test]
fn the_logo_names_process_and_port() {
    let scratch = Scratch::new("logo");
    let server = Server::start(&scratch, &redis_server(&scratch), "always-show-logo yes");
    let log = fs::read_to_string(scratch.path("log")).unwrap();
    assert!(log.contains(&format!(" PID: {}\n", server.child.id())), "{log}");
    assert!(log.contains("Port: "), "{log}");
    assert_eq!(server.stop("TERM"), Some(0));
}
