//! One thread of the load: many connections on one poll, each with one batch of requests in flight.
//!
//! ```text
//!   start ──► write ──► read replies ──► all there? ──► start
//!     |                                       └──► without keep-alive: connect anew
//!     └──► enough requests issued: the connection rests
//! ```
//! Sockets are registered once, for both directions and by edge: a batch costs one poll, one read and one write.

use super::cluster::Primary;
use super::histogram::Histogram;
use super::request::Template;
use super::scanner::{Reply, Scanner};
use crate::connection::Address;
use crate::console::error_text;
use crate::text::lossy;
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Events, Interest, Poll, Registry, Token};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes read at once.
const READ_LENGTH: usize = 64 * 1024;
/// Events taken from one poll.
const EVENTS_PER_POLL: usize = 1024;
/// How often a waiting thread looks whether it is to stop.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Connections opened before a pause, and the pause: queues of connections that wait to be accepted are short.
const CONNECT_BURST: usize = 64;
const CONNECT_PAUSE: Duration = Duration::from_millis(5);

/// Where connections go to, resolved.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Target {
    /// Looks a name up, IPv4 first.
    pub(super) fn resolve(address: &Address) -> io::Result<Self> {
        match address {
            Address::Unix(path) => Ok(Self::Unix(path.clone())),
            Address::Tcp { host, port } => {
                let port = u16::try_from(*port).map_err(|_| io::Error::other("no such port"))?;
                let mut addresses: Vec<_> = (host.as_str(), port).to_socket_addrs()?.collect();
                addresses.sort_by_key(SocketAddr::is_ipv6);
                addresses.first().copied().map(Self::Tcp).ok_or_else(|| io::Error::other("no such host"))
            }
        }
    }
}

/// What all threads share.
pub(super) struct Shared<'a> {
    pub template: &'a Template,
    /// Where to connect: one target, or one per primary.
    pub targets: &'a [Target],
    /// The primaries, in cluster mode.
    pub primaries: &'a [Primary],
    pub requests: u64,
    pub pipeline: u32,
    /// Random keys are numbers below this.
    pub key_count: u64,
    pub keep_alive: bool,
    pub idle: bool,
    pub precision: u32,
    pub issued: AtomicU64,
    pub finished: AtomicU64,
    pub latency_sum_us: AtomicU64,
    pub stop: AtomicBool,
    /// Asks who owns which slot now; false if that failed.
    pub refresh: &'a (dyn Fn() -> bool + Sync),
}

/// Why a thread gave up; the text is for the user.
pub(super) struct LoadError(pub String);

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self(format!("Error: {}", error_text(&error)))
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
struct Client {
    stream: Stream,
    target: usize,
    /// What is being written: the prefix of a new connection, then the batch.
    buffer: Vec<u8>,
    /// Length of the prefix in `buffer`.
    prefix_length: usize,
    written: usize,
    /// Replies to come, and how many of these answer the prefix.
    pending: u32,
    pending_prefix: u32,
    sent_at: Instant,
    latency_us: Option<u64>,
    scanner: Scanner,
    /// A request is being sent or answered.
    busy: bool,
}

/// One thread's part of the load.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    poll: Poll,
    clients: Vec<Client>,
    histogram: Histogram,
    random: fastrand::Rng,
    chunk: Vec<u8>,
}

impl<'a> Worker<'a> {
    /// Opens `count` connections; client `index` of all goes to target `index` modulo their number.
    pub(super) fn new(
        shared: &'a Shared<'a>,
        client_indexes: impl Iterator<Item = usize>,
    ) -> Result<Self, LoadError> {
        let mut worker = Self {
            shared,
            poll: Poll::new()?,
            clients: Vec::new(),
            histogram: Histogram::new(shared.precision),
            random: fastrand::Rng::new(),
            chunk: vec![0; READ_LENGTH],
        };
        for (count, index) in client_indexes.enumerate() {
            let target = index % shared.targets.len();
            let mut client = Client::connect(shared, target)?;
            client.stream.source().register(worker.poll.registry(), Token(count), BOTH)?;
            worker.clients.push(client);
            if count % CONNECT_BURST == CONNECT_BURST - 1 {
                std::thread::sleep(CONNECT_PAUSE);
            }
        }
        Ok(worker)
    }

    /// Runs until all requests are answered. Returns what was measured.
    pub(super) fn run(mut self) -> Result<Histogram, LoadError> {
        let mut resting = 0;
        if !self.shared.idle {
            for index in 0..self.clients.len() {
                resting += usize::from(!self.start(index)?);
            }
        }
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        while resting < self.clients.len() && !self.shared.stop.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, Some(STOP_CHECK_INTERVAL)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                let Token(index) = event.token();
                if event.is_writable() && self.clients[index].has_unsent() {
                    self.clients[index].write()?;
                }
                if (event.is_readable() || event.is_error() || event.is_read_closed()) && self.read(index)? {
                    resting += usize::from(!self.start(index)?);
                }
            }
        }
        Ok(self.histogram)
    }

    /// Begins the next batch. False if enough requests have been issued.
    fn start(&mut self, index: usize) -> Result<bool, LoadError> {
        let shared = self.shared;
        let client = &mut self.clients[index];
        let pipeline = u64::from(shared.pipeline);
        if shared.issued.fetch_add(pipeline, Ordering::Relaxed) >= shared.requests {
            client.busy = false;
            return Ok(false);
        }
        let body = &mut client.buffer[client.prefix_length..];
        shared.template.randomize(body, shared.key_count, &mut self.random);
        if let Some(primary) = shared.primaries.get(client.target)
            && shared.template.has_tags()
        {
            shared.template.set_tag(body, primary.tag(&mut self.random));
        }
        client.written = 0;
        client.pending = shared.pipeline + client.pending_prefix;
        client.busy = true;
        client.latency_us = None;
        client.sent_at = Instant::now();
        client.write()?;
        Ok(true)
    }

    /// Reads what is there. True if the batch is answered and the client ready for the next one.
    fn read(&mut self, index: usize) -> Result<bool, LoadError> {
        loop {
            let client = &mut self.clients[index];
            let count = match client.stream.read(&mut self.chunk) {
                Ok(0) => return Err(LoadError("Error: Server closed the connection".to_owned())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            // Reading and counting replies is not the server's time.
            let latency_us =
                *client.latency_us.get_or_insert_with(|| client.sent_at.elapsed().as_micros() as u64);
            let (mut replies, mut error) = (0u32, None);
            let result = client.scanner.feed(&self.chunk[..count], |reply| {
                replies += 1;
                if let Reply::Error(text) = reply
                    && error.is_none()
                {
                    error = Some(lossy(text).into_owned());
                }
            });
            if result.is_err() {
                return Err(LoadError("Error: the server does not speak RESP".to_owned()));
            }
            if let Some(error) = error {
                self.bear(index, &error)?;
            }
            if self.count(index, replies, latency_us)? {
                return Ok(true);
            }
            // A short read has emptied the socket; what comes later raises an event of its own.
            if count < READ_LENGTH {
                return Ok(false);
            }
        }
    }

    /// Counts replies. True if the batch is answered.
    fn count(&mut self, index: usize, replies: u32, latency_us: u64) -> Result<bool, LoadError> {
        let client = &mut self.clients[index];
        if !client.busy || replies > client.pending {
            return Err(LoadError("Error: the server sent a reply that nobody asked for".to_owned()));
        }
        let of_prefix = replies.min(client.pending_prefix);
        client.pending_prefix -= of_prefix;
        client.pending -= replies;
        let counted = u64::from(replies - of_prefix);
        if counted > 0 {
            let before = self.shared.finished.fetch_add(counted, Ordering::Relaxed);
            let measured = counted.min(self.shared.requests.saturating_sub(before));
            self.histogram.record(latency_us, measured);
            self.shared.latency_sum_us.fetch_add(latency_us * counted, Ordering::Relaxed);
        }
        if client.pending > 0 {
            return Ok(false);
        }
        if self.shared.keep_alive {
            client.buffer.drain(..client.prefix_length);
            client.prefix_length = 0;
        } else {
            let target = client.target;
            client.stream.source().deregister(self.poll.registry())?;
            let mut fresh = Client::connect(self.shared, target)?;
            fresh.stream.source().register(self.poll.registry(), Token(index), BOTH)?;
            self.clients[index] = fresh;
        }
        Ok(true)
    }

    /// An error ends the run, as its figures would mean nothing; but a cluster may change while it is measured.
    fn bear(&self, index: usize, error: &str) -> Result<(), LoadError> {
        if self.shared.primaries.is_empty() {
            return Err(LoadError(format!("Error from server: {error}")));
        }
        let moved = ["MOVED", "ASK", "CLUSTERDOWN"].iter().any(|code| error.starts_with(code));
        let target = self.clients[index].target;
        let address =
            self.shared.primaries.get(target).map(|primary| primary.address.to_string()).unwrap_or_default();
        if !moved || !self.shared.template.has_tags() {
            return Err(LoadError(format!("Error from server {address}: {error}")));
        }
        if (self.shared.refresh)() {
            Ok(())
        } else {
            Err(LoadError("Failed to update cluster slots configuration".to_owned()))
        }
    }
}

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

impl Client {
    fn connect(shared: &Shared<'_>, target: usize) -> Result<Self, LoadError> {
        let stream = match &shared.targets[target] {
            Target::Tcp(address) => {
                let stream = TcpStream::connect(*address)?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Target::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        let template = shared.template;
        Ok(Self {
            stream,
            target,
            buffer: [template.prefix.as_slice(), &template.body].concat(),
            prefix_length: template.prefix.len(),
            written: 0,
            pending: 0,
            pending_prefix: template.prefix_replies,
            sent_at: Instant::now(),
            latency_us: None,
            scanner: Scanner::default(),
            busy: false,
        })
    }

    fn has_unsent(&self) -> bool {
        self.busy && self.written < self.buffer.len()
    }

    /// Writes as much as the socket takes; the rest waits for an event.
    fn write(&mut self) -> Result<(), LoadError> {
        while self.written < self.buffer.len() {
            match self.stream.write(&self.buffer[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Not connected yet, or the socket is full.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Stream {
    fn source(&mut self) -> SourceOf<'_> {
        SourceOf(self)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buffer),
            Self::Unix(stream) => stream.write(buffer),
        }
    }
}

/// A stream of either kind as something to poll.
struct SourceOf<'a>(&'a mut Stream);

impl SourceOf<'_> {
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self.0 {
            Stream::Tcp(stream) => stream.register(registry, token, interest),
            Stream::Unix(stream) => stream.register(registry, token, interest),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self.0 {
            Stream::Tcp(stream) => stream.deregister(registry),
            Stream::Unix(stream) => stream.deregister(registry),
        }
    }
}
