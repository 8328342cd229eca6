//! A real `redis-server` to talk to, and the two clients side by side.

#![allow(dead_code, reason = "each test uses its own part")]
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to answer its first PING, and a client to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server of its own directory and port; killed when dropped.
pub struct Server {
    pub port: u16,
    pub directory: PathBuf,
    child: Child,
}

impl Server {
    pub fn start(arguments: &[&str]) -> Self {
        // Another process may take the port between the look and the start: then look again.
        for _ in 0..5 {
            if let Some(server) = Self::try_start(arguments) {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    fn try_start(arguments: &[&str]) -> Option<Self> {
        // Cluster nodes also listen 10000 ports higher, which must exist.
        let port = (0..200).find_map(|_| {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let port = if port > 50_000 { port - 15_000 } else { port };
            let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
            (free(port) && free(port + 10_000)).then_some(port)
        })?;
        let directory = std::env::temp_dir().join(format!("shoal-cli-test-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let child = Command::new("redis-server")
            .args(["--save", "", "--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"])
            .args(["--unixsocket", "socket", "--enable-debug-command", "yes", "--dir"])
            .arg(&directory)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let mut server = Self { port, directory, child };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if server.child.try_wait().unwrap().is_some() {
                return None;
            }
            if server.answers() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = [0; 1];
        stream.write_all(b"PING\r\n").is_ok() && stream.read(&mut answer).is_ok_and(|count| count == 1)
    }

    /// Sends commands and waits for their replies, whatever they are.
    pub fn send(&self, commands: &[&[&str]]) {
        let mut request = Vec::new();
        // The answer of a server without a password is an error, which does no harm.
        for command in
            [["AUTH", "secret"].as_slice()]
                .iter()
                .chain(commands)
                .chain(&[["ECHO", "all-commands-done"].as_slice()])
        {
            shoal_protocol::value::encode_request(command, &mut request);
        }
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&request).unwrap();
        let mut replies = Vec::new();
        let mut chunk = [0; 4096];
        while !replies.ends_with(b"all-commands-done\r\n") {
            let count = stream.read(&mut chunk).unwrap();
            assert!(count > 0, "the server closed the connection");
            replies.extend_from_slice(&chunk[..count]);
        }
    }

    pub fn socket(&self) -> String {
        self.directory.join("socket").display().to_string()
    }

    pub fn real(&self, words: &[&str]) -> String {
        let output = run(real_client(), &[&["-p", &self.port.to_string()], words].concat(), b"", &[]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub fn real_client() -> Command {
    Command::new("redis-cli")
}

pub fn our_client() -> Command {
    Command::new(env!("CARGO_BIN_EXE_shoal-cli"))
}

/// Runs a client to its end.
pub fn run(mut command: Command, arguments: &[&str], input: &[u8], environment: &[(&str, &str)]) -> Output {
    command.args(arguments).env_remove("REDISCLI_AUTH").env("TERM", "dumb").env("HOME", "/nonexistent");
    command.envs(environment.iter().copied());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("client starts");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A client that does not read its input closes it: that is no failure of the test.
        let _ = stdin.write_all(&input);
    });
    let (done, ended) = std::sync::mpsc::channel();
    let id = child.id();
    let watchdog = std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE).is_err() {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        }
    });
    let output = child.wait_with_output().unwrap();
    let _ = done.send(());
    writer.join().unwrap();
    watchdog.join().unwrap();
    output
}

/// Runs a client that asks: each answer is given when the output ends with its question. Returns the output.
pub fn converse(mut command: Command, arguments: &[&str], answers: &[(&str, &str)]) -> (String, Option<i32>) {
    let mut child = command
        .args(arguments)
        .env_remove("REDISCLI_AUTH")
        .env("TERM", "dumb")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("client starts");
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (send, pieces) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = stdout.read(&mut buffer) {
            if count == 0 || send.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    let mut output = String::new();
    let deadline = Instant::now() + PATIENCE;
    let mut questions = answers.iter();
    let mut next = questions.next();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match pieces.recv_timeout(left) {
            Ok(piece) => output.push_str(&String::from_utf8_lossy(&piece)),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            Err(_) => {
                let _ = child.kill();
                panic!("no {next:?} in {output}");
            }
        }
        if let Some((_, answer)) = next.filter(|(question, _)| output.ends_with(question)) {
            stdin.write_all(format!("{answer}\n").as_bytes()).unwrap();
            output.push('\n');
            next = questions.next();
        }
    }
    reader.join().unwrap();
    assert_eq!(next, None, "in {output}");
    (output, child.wait().unwrap().code())
}

/// Standard error, but for what can be done about an error: that is said only by ours, beside what the real client says.
pub fn error_without_hints(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    error.split_inclusive('\n').filter(|line| !line.starts_with("Hint: ")).collect()
}
