//! One server process, ours or a real one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use tempfile::TempDir;

use super::{Connection, LATER, Port, SHOAL, SOON, eventually, eventually_some, field, signal};

/// The longest that one call of an outside client may take, in seconds.
const CLIENT_TIMEOUT_S: &str = "60";

/// Whose server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The binary under test.
    Shoal,
    /// The installed `redis-server`.
    Redis,
}

/// How a server is to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    kind: Kind,
    host: String,
    configuration: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    password: Option<String>,
}

impl Setup {
    /// A server of this kind on 127.0.0.1 that saves nothing.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            host: "127.0.0.1".into(),
            configuration: "save \"\"\nenable-debug-command yes\n".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            password: None,
        }
    }

    /// The binary under test.
    pub fn shoal() -> Self {
        Self::new(Kind::Shoal)
    }

    /// The installed `redis-server`.
    pub fn redis() -> Self {
        Self::new(Kind::Redis)
    }

    /// Binds to this address instead.
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    /// Adds lines to the configuration file, after `port`, `bind`, `dir` and `logfile`.
    pub fn conf(mut self, lines: &str) -> Self {
        self.configuration.push_str(lines);
        self.configuration.push('\n');
        self
    }

    /// Adds words to the command line, after the configuration file.
    pub fn arguments(mut self, words: &[&str]) -> Self {
        self.arguments.extend(words.iter().map(ToString::to_string));
        self
    }

    /// Sets a variable of the environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts the server through another program (`ip netns exec NAME`), which must replace itself by it.
    pub fn through(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(ToString::to_string).collect();
        self
    }

    /// Requires this password, and gives it with every call.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self.conf(&format!("requirepass {password}\nmasterauth {password}"))
    }

    /// Starts the server and waits until it answers.
    pub fn start(self) -> Server {
        let mut server = self.prepare();
        server.start();
        server
    }

    /// Makes directory and configuration without starting anything.
    pub fn prepare(self) -> Server {
        let directory = TempDir::with_prefix("shoal-test-").unwrap();
        Server { setup: self, port: Port::take(), directory, child: None }
    }
}

/// A server with its directory; both end with this value.
pub struct Server {
    setup: Setup,
    port: Port,
    directory: TempDir,
    child: Option<Child>,
}

impl Server {
    /// Starts the binary under test with these lines of configuration.
    pub fn shoal(lines: &str) -> Self {
        Setup::shoal().conf(lines).start()
    }

    /// Starts the installed `redis-server` with these lines of configuration.
    pub fn redis(lines: &str) -> Self {
        Setup::redis().conf(lines).start()
    }

    /// Starts the process (again) and waits until it answers. The configuration file is written the first time only, so
    /// that what CONFIG REWRITE wrote stays.
    pub fn start(&mut self) {
        self.spawn();
        eventually(SOON, "the server answers", || {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait().unwrap()
            {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            self.is_answering()
        });
    }

    /// Starts the process (again) and does not wait.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "already running");
        let conf = self.path("server.conf");
        if !conf.exists() {
            fs::write(&conf, self.configuration()).unwrap();
        }
        let program = match self.setup.kind {
            Kind::Shoal => SHOAL,
            Kind::Redis => "redis-server",
        };
        let mut words: Vec<&str> = self.setup.wrapper.iter().map(String::as_str).collect();
        words.push(program);
        if self.setup.kind == Kind::Shoal {
            words.push("server");
        }
        let output = File::options().create(true).append(true).open(self.path("output")).unwrap();
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg(&conf)
            .args(&self.setup.arguments)
            .envs(self.setup.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// Whose server this is.
    pub fn kind(&self) -> Kind {
        self.setup.kind
    }

    /// Lets the other kind of server go on in the same directory, from the next start on. Lines of
    /// configuration that only ours knows are left out for the real one.
    pub fn change_kind(&mut self, kind: Kind) {
        assert!(self.child.is_none(), "still running");
        self.setup.kind = kind;
        let mut text = self.configuration();
        if kind == Kind::Redis {
            let is_known = |line: &&str| !line.starts_with("rdb-version-compat");
            text = text.lines().filter(is_known).collect::<Vec<_>>().join("\n");
        }
        fs::write(self.path("server.conf"), text).unwrap();
    }

    /// The address it listens on.
    pub fn host(&self) -> &str {
        &self.setup.host
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The port of the cluster bus.
    pub fn bus_port(&self) -> u16 {
        self.port.bus()
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host(), self.port())
    }

    /// A file in the server's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The server's directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The log so far, and what was written to standard output and error before it.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read(self.path(name)).unwrap_or_default();
        let mut bytes = read("output");
        bytes.extend(read("log"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the log holds a text.
    pub fn wait_for_log(&self, text: &str) {
        self.wait_for_log_count(text, 1);
    }

    /// Waits until the log holds a text this many times.
    pub fn wait_for_log_count(&self, text: &str, count: usize) {
        eventually(SOON, &format!("{text:?} in the log"), || self.log().matches(text).count() >= count);
    }

    /// The process; fails the test when none runs.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Whether it was started and not yet ended by this value.
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Ends the process with SIGKILL; `start` starts it again.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends the process with SIGTERM and waits for it.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_for_end()
    }

    /// Waits until the process has ended by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        eventually_some(LATER, "end of the process", || child.try_wait().unwrap())
    }

    /// Connects.
    pub fn connect(&self) -> Connection {
        self.try_connect().unwrap_or_else(|| panic!("no connection to {}", self.address()))
    }

    /// Connects, if somebody listens.
    pub fn try_connect(&self) -> Option<Connection> {
        let mut connection = Connection::open(self.host(), self.port())?;
        if let Some(password) = &self.setup.password {
            connection.try_call(&["AUTH", password])?;
        }
        Some(connection)
    }

    /// Sends one request on a connection of its own; the reply as text.
    pub fn call(&self, words: &[&str]) -> String {
        self.connect().text(words)
    }

    /// What `redis-cli -h HOST -p PORT …` prints, without the last line end.
    pub fn cli(&self, words: &[&str]) -> String {
        let output = self.client("redis-cli", words);
        String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_string()
    }

    /// Runs a client with `-h HOST -p PORT` and these words.
    pub fn client(&self, program: &str, words: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.args([CLIENT_TIMEOUT_S, program, "-h", self.host(), "-p", &self.port().to_string()]);
        if let Some(password) = &self.setup.password {
            command.args(["-a", password]);
        }
        command.args(words).stdin(Stdio::null()).output().unwrap()
    }

    /// One field of INFO.
    pub fn info(&self, section: &str, name: &str) -> Option<String> {
        let text = self.try_connect()?.try_call(&["INFO", section])?;
        field(&text.as_text()?, name)
    }

    /// Waits until a field of INFO has a value.
    pub fn wait_for_info(&self, section: &str, name: &str, value: &str) {
        eventually(LATER, &format!("{name}:{value} at {}", self.address()), || {
            self.info(section, name).as_deref() == Some(value)
        });
    }

    fn is_answering(&self) -> bool {
        let reply = self.try_connect().and_then(|mut connection| connection.try_call(&["PING"]));
        reply.is_some_and(|reply| !reply.as_text().is_some_and(|text| text.starts_with("LOADING")))
    }

    fn configuration(&self) -> String {
        let (dir, log) = (self.directory.path().display(), self.path("log"));
        format!(
            "port {}\nbind {}\ndir {dir}\nlogfile {}\n{}",
            self.port(),
            self.host(),
            log.display(),
            self.setup.configuration
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("=== log of {:?} {}:\n{}", self.kind(), self.address(), tail(&self.log()));
        }
        self.kill();
    }
}

/// The end of a log, long enough to see what went wrong.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
