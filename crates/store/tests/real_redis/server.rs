//! A `redis-server` process of the test's own.

use shoal_protocol::value::{Decoder, Value, encode_request};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STARTUP_LIMIT: Duration = Duration::from_secs(20);

pub struct Server {
    process: Child,
    stream: TcpStream,
    decoder: Decoder,
    directory: PathBuf,
}

impl Server {
    /// Starts a server in an empty directory; `prepare` may put files there before.
    pub fn start(options: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = std::env::temp_dir().join(format!("shoal-store-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        prepare(&directory);
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--save", "", "--daemonize", "no"])
            .args(["--enable-debug-command", "yes", "--bind", "127.0.0.1", "--dir"])
            .arg(&directory)
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let started = Instant::now();
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(error) => {
                    assert!(started.elapsed() < STARTUP_LIMIT, "redis-server does not start: {error}");
                }
            }
            std::thread::yield_now();
        };
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(STARTUP_LIMIT)).unwrap();
        let mut server = Self { process, stream, decoder: Decoder::new(), directory };
        while matches!(server.call(&["PING"]), Value::Error(_)) {
            assert!(started.elapsed() < STARTUP_LIMIT, "redis-server does not finish loading");
        }
        server
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs a command.
    pub fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Value {
        let mut bytes = Vec::new();
        encode_request(words, &mut bytes);
        self.stream.write_all(&bytes).unwrap();
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if let Some(value) = self.decoder.next_value().unwrap() {
                return value;
            }
            let count = self.stream.read(&mut chunk).unwrap();
            assert!(count > 0, "redis-server closed the connection");
            self.decoder.feed(&chunk[..count]);
        }
    }

    /// Runs a command whose reply is a string.
    pub fn text<W: AsRef<[u8]>>(&mut self, words: &[W]) -> String {
        let reply = self.call(words);
        reply.as_text().unwrap_or_else(|| panic!("a string, not {reply:?}")).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
