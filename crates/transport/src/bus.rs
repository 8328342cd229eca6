//! The cluster bus: a thread that drives the cluster machine, its links and nodes.conf.
//!
//! ```text
//!  executor ── ToBus, wakes the bus's poll ──▶ bus thread ── links ──▶ other nodes
//!           ◀── BusEvent, wakes the executor's poll ──      ── saver thread ──▶ nodes.conf
//! ```
//!
//! While the executor runs commands it cannot send messages. It marks that in [`Shared`], and the bus thread reports
//! progress in its place; DEBUG SLEEP takes the mark away, as a hang would.

use crate::clock::Clock;
use crate::connection::connect_from;
use crate::disk::SharedDisk;
use crate::listener::Listeners;
use crate::saver::Saver;
use crate::server::Log;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use shoal_cluster::interface::LinkId;
use shoal_cluster::machine::ClusterMachine;
use shoal_cluster::messages::Message;
use shoal_cluster::nodes_conf::NodesConf;
use shoal_cluster::wire::{Decoder, Encoder};
use shoal_cluster::{
    ClusterCommand, ClusterConfig, CommandResult, Input, MachineMessage, NodeMessage, Output,
};
use shoal_machine::{Machine, Rng};
use shoal_node::{ClusterAnswer, LinkBuffer, LogLevel};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const WAKER: Token = Token(0);
const FIRST_LISTENER: usize = 1;
const FIRST_LINK: usize = 64;
/// Bytes read from a link at once.
const READ_BYTES: usize = 64 * 1024;
/// Reads from one link in one turn.
const READS_PER_TURN: usize = 16;
/// Links accepted in one turn, as Redis bounds it.
const ACCEPTS_PER_TURN: usize = 1000;
/// Bytes that may wait on one link when `cluster-link-sendbuf-limit` sets no bound.
const OUTPUT_MAX_BYTES: usize = 1 << 30;
/// How long a CLUSTER command may take.
const COMMAND_DEADLINE: Duration = Duration::from_secs(5);
/// How often progress is reported while the executor runs a long command.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);

/// What the bus starts with.
pub struct BusSettings {
    /// The configuration.
    pub config: ClusterConfig,
    /// The listening sockets of the bus port.
    pub listeners: Listeners,
    /// Where nodes.conf is.
    pub nodes_conf: PathBuf,
    /// The disk that it is saved on.
    pub disk: SharedDisk,
    /// What it said at start-up; `None` for a new node.
    pub saved: Option<NodesConf>,
    /// The seed of the machine's random numbers.
    pub seed: u64,
    /// The address that outgoing connections leave from; empty for any.
    pub source_address: String,
    /// `cluster-link-sendbuf-limit`, 0 for none.
    pub send_buffer_limit_bytes: u64,
}

/// What the bus thread tells the executor.
#[derive(Debug)]
pub enum BusEvent {
    /// A message of the machine.
    ToNode(MachineMessage),
    /// The answer to a command.
    Reply(u64, CommandResult),
}

enum ToBus {
    Message(NodeMessage),
    Command(u64, ClusterCommand),
    LinkBuffers(Sender<BTreeMap<LinkId, LinkBuffer>>),
    /// What became of saving nodes.conf.
    Saved(Input),
    Stop,
}

/// What both threads look at without messages.
#[derive(Debug, Default)]
struct Shared {
    /// The executor is running commands.
    is_in_command: AtomicBool,
    /// It pretends to hang.
    is_hanging: AtomicBool,
    /// Bytes in the send buffers of all links.
    link_bytes: AtomicU64,
    /// Bytes that may wait on one link.
    link_max_bytes: AtomicUsize,
}

/// The executor's end.
pub struct BusHandle {
    to_bus: Sender<ToBus>,
    from_bus: Receiver<BusEvent>,
    bus_waker: Arc<Waker>,
    shared: Arc<Shared>,
    next_ticket: u64,
    /// Until when a command may take.
    deadline: Instant,
    thread: Option<JoinHandle<()>>,
}

impl BusHandle {
    /// Starts the thread. `executor_waker` wakes the executor's poll.
    ///
    /// # Errors
    /// The system's.
    pub fn start(
        settings: BusSettings,
        clock: Clock,
        log: Arc<dyn Log>,
        executor_waker: Arc<Waker>,
    ) -> io::Result<Self> {
        let (to_bus, receiver) = channel();
        let (sender, from_bus) = channel();
        let poll = Poll::new()?;
        let bus_waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let shared = Arc::new(Shared::default());
        let report = {
            let (to_bus, waker) = (to_bus.clone(), Arc::clone(&bus_waker));
            move |input| {
                if to_bus.send(ToBus::Saved(input)).is_ok() {
                    let _ = waker.wake();
                }
            }
        };
        let saver = Saver::start(settings.disk.clone(), settings.nodes_conf.clone(), report)?;
        let mut bus = Bus::new(
            settings,
            clock,
            log,
            poll,
            receiver,
            sender,
            executor_waker,
            Arc::clone(&shared),
            saver,
        )?;
        let thread = std::thread::Builder::new().name("bus".to_owned()).spawn(move || bus.run())?;
        Ok(Self {
            to_bus,
            from_bus,
            bus_waker,
            shared,
            next_ticket: 1,
            deadline: Instant::now(),
            thread: Some(thread),
        })
    }

    /// The next message for the node, if there is one.
    pub fn try_event(&mut self) -> Option<MachineMessage> {
        loop {
            match self.from_bus.try_recv() {
                Ok(BusEvent::ToNode(message)) => return Some(message),
                // The answer to a command that was given up.
                Ok(BusEvent::Reply(..)) => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits for the first message for the node.
    pub fn first_event(&mut self, longest: Duration) -> Option<MachineMessage> {
        match self.from_bus.recv_timeout(longest) {
            Ok(BusEvent::ToNode(message)) => Some(message),
            _ => None,
        }
    }

    /// Tells the machine something.
    pub fn tell(&self, message: NodeMessage) {
        if self.to_bus.send(ToBus::Message(message)).is_ok() {
            let _ = self.bus_waker.wake();
        }
    }

    /// Hands a command to the machine. Its answer comes through [`BusHandle::wait`].
    pub fn begin(&mut self, command: ClusterCommand) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.deadline = Instant::now() + COMMAND_DEADLINE;
        if self.to_bus.send(ToBus::Command(ticket, command)).is_ok() {
            let _ = self.bus_waker.wake();
        }
        ticket
    }

    /// Waits for the answer to a command, or for a message that the node has to handle first.
    pub fn wait(&mut self, ticket: u64) -> ClusterAnswer {
        loop {
            match self.from_bus.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
                Ok(BusEvent::ToNode(message)) => return ClusterAnswer::First(Box::new(message)),
                Ok(BusEvent::Reply(answered, result)) if answered == ticket => {
                    return ClusterAnswer::Done(result);
                }
                // The answer to a command that was given up.
                Ok(BusEvent::Reply(..)) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return ClusterAnswer::Done(Err("CLUSTERDOWN The cluster bus does not answer".into()));
                }
            }
        }
    }

    /// The executor is about to run commands.
    pub fn command_begins(&self) {
        self.shared.is_in_command.store(true, Ordering::Relaxed);
    }

    /// The executor has run commands.
    pub fn command_ended(&self) {
        self.shared.is_in_command.store(false, Ordering::Relaxed);
    }

    /// The executor seems to hang until the result is dropped.
    pub fn pretend_to_hang(&self) -> Hang {
        self.shared.is_hanging.store(true, Ordering::Relaxed);
        Hang(Arc::clone(&self.shared))
    }

    /// Bytes that wait to be sent on the links.
    pub fn link_bytes(&self) -> u64 {
        self.shared.link_bytes.load(Ordering::Relaxed)
    }

    /// Sets `cluster-link-sendbuf-limit`; 0 for none.
    pub fn limit_send_buffers(&self, limit_bytes: u64) {
        self.shared.link_max_bytes.store(link_max_bytes(limit_bytes), Ordering::Relaxed);
    }

    /// What waits on each link; nothing if the thread does not answer soon.
    pub fn link_buffers(&self) -> BTreeMap<LinkId, LinkBuffer> {
        const PATIENCE: Duration = Duration::from_secs(1);
        let (sender, receiver) = channel();
        if self.to_bus.send(ToBus::LinkBuffers(sender)).is_err() {
            return BTreeMap::new();
        }
        let _ = self.bus_waker.wake();
        receiver.recv_timeout(PATIENCE).unwrap_or_default()
    }
}

impl Drop for BusHandle {
    fn drop(&mut self) {
        if self.to_bus.send(ToBus::Stop).is_ok() {
            let _ = self.bus_waker.wake();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A time in which the executor seems to hang.
pub struct Hang(Arc<Shared>);

impl Drop for Hang {
    fn drop(&mut self) {
        self.0.is_hanging.store(false, Ordering::Relaxed);
    }
}

struct Link {
    stream: TcpStream,
    id: LinkId,
    decoder: Decoder,
    encoder: Encoder,
    output: Vec<u8>,
    sent: usize,
    is_connecting: bool,
}

struct Bus {
    machine: ClusterMachine,
    clock: Clock,
    log: Arc<dyn Log>,
    poll: Poll,
    receiver: Receiver<ToBus>,
    sender: Sender<BusEvent>,
    executor_waker: Arc<Waker>,
    shared: Arc<Shared>,
    listeners: Listeners,
    saver: Saver,
    source_address: String,
    links: HashMap<usize, Link>,
    tokens: BTreeMap<LinkId, usize>,
    next_token: usize,
    next_accepted: u64,
    outputs: Vec<Output>,
    buffer: Vec<u8>,
    is_stopped: bool,
}

impl Bus {
    #[allow(clippy::too_many_arguments)]
    fn new(
        settings: BusSettings,
        clock: Clock,
        log: Arc<dyn Log>,
        poll: Poll,
        receiver: Receiver<ToBus>,
        sender: Sender<BusEvent>,
        executor_waker: Arc<Waker>,
        shared: Arc<Shared>,
        saver: Saver,
    ) -> io::Result<Self> {
        let mut listeners = settings.listeners;
        for (index, listener) in listeners.tcp.iter_mut().enumerate() {
            poll.registry().register(listener, Token(FIRST_LISTENER + index), Interest::READABLE)?;
        }
        let machine = ClusterMachine::new(
            clock.now(),
            Rng::new(settings.seed),
            Arc::new(settings.config),
            settings.saved.as_ref(),
        );
        shared.link_max_bytes.store(link_max_bytes(settings.send_buffer_limit_bytes), Ordering::Relaxed);
        Ok(Self {
            machine,
            clock,
            log,
            poll,
            receiver,
            sender,
            executor_waker,
            shared,
            listeners,
            saver,
            source_address: settings.source_address,
            links: HashMap::new(),
            tokens: BTreeMap::new(),
            next_token: FIRST_LINK,
            next_accepted: 0,
            outputs: Vec::new(),
            buffer: vec![0; READ_BYTES],
            is_stopped: false,
        })
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(256);
        self.timers();
        while !self.is_stopped {
            match self.poll.poll(&mut events, Some(self.timeout())) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("the cluster bus cannot wait for events: {error}"),
                Ok(()) => {}
            }
            self.take_messages();
            for event in &events {
                match event.token() {
                    WAKER => {}
                    Token(token) if token < FIRST_LINK => self.accept(token - FIRST_LISTENER),
                    Token(token) => {
                        if event.is_writable() {
                            self.writable(token);
                        }
                        if event.is_readable() || event.is_read_closed() || event.is_error() {
                            self.readable(token);
                        }
                    }
                }
            }
            let in_command = self.shared.is_in_command.load(Ordering::Relaxed);
            if in_command && !self.shared.is_hanging.load(Ordering::Relaxed) {
                self.give(Input::FromNode(NodeMessage::Progress));
            }
            self.timers();
        }
    }

    fn timeout(&self) -> Duration {
        let deadline = self.machine.next_deadline().map(|at| at.since(self.clock.monotonic()));
        let longest = if self.shared.is_in_command.load(Ordering::Relaxed) {
            PROGRESS_INTERVAL
        } else {
            Duration::from_secs(1)
        };
        deadline.map_or(longest, |deadline| deadline.min(longest)) + Duration::from_micros(200)
    }

    fn timers(&mut self) {
        let now = self.clock.now();
        if self.machine.next_deadline().is_some_and(|at| at <= now.monotonic) {
            let mut outputs = std::mem::take(&mut self.outputs);
            self.machine.handle_timers(now, &mut outputs);
            self.outputs = outputs;
            self.carry_out();
        }
    }

    fn give(&mut self, input: Input) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.machine.handle(self.clock.now(), input, &mut outputs);
        self.outputs = outputs;
        self.carry_out();
    }

    fn take_messages(&mut self) {
        while let Ok(message) = self.receiver.try_recv() {
            match message {
                ToBus::Message(message) => self.give(Input::FromNode(message)),
                ToBus::Command(ticket, command) => self.give(Input::Command { ticket, command }),
                ToBus::LinkBuffers(sender) => {
                    let _ = sender.send(self.link_buffers());
                }
                ToBus::Saved(input) => self.give(input),
                ToBus::Stop => self.is_stopped = true,
            }
        }
    }

    fn link_buffers(&self) -> BTreeMap<LinkId, LinkBuffer> {
        let of = |link: &Link| LinkBuffer {
            allocated_bytes: link.output.capacity() as u64,
            used_bytes: (link.output.len() - link.sent) as u64,
        };
        self.links.values().map(|link| (link.id, of(link))).collect()
    }

    /// Carries out what the machine wants, and what it wants in consequence.
    fn carry_out(&mut self) {
        while !self.outputs.is_empty() {
            for output in std::mem::take(&mut self.outputs) {
                self.carry_out_one(output);
            }
        }
    }

    fn carry_out_one(&mut self, output: Output) {
        match output {
            Output::Connect { link, host, port } => self.connect(link, &host, port),
            Output::Close { link } => {
                if let Some(token) = self.tokens.get(&link).copied() {
                    self.drop_link(token);
                }
            }
            Output::Send { link, message } => {
                if let Some(token) = self.tokens.get(&link).copied() {
                    self.send(token, &message);
                }
            }
            Output::Persist { ticket, is_durable, contents } => {
                self.saver.save(ticket, is_durable, contents.to_string());
            }
            Output::ToNode(message) => self.tell_executor(BusEvent::ToNode(message)),
            Output::CommandReply { ticket, result } => self.tell_executor(BusEvent::Reply(ticket, result)),
            Output::Log { level, text } => self.log.write(log_level(level), &text),
            Output::Fatal { text } => {
                self.log.write(LogLevel::Warning, &text);
                crate::snapshot::exit_at_once(1);
            }
        }
    }

    /// Feeds an input that a consequence of an output is; its outputs follow those that are being carried out.
    fn handle_later(&mut self, input: Input) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.machine.handle(self.clock.now(), input, &mut outputs);
        self.outputs = outputs;
    }

    fn tell_executor(&self, event: BusEvent) {
        if self.sender.send(event).is_ok() {
            let _ = self.executor_waker.wake();
        }
    }

    // Links

    fn connect(&mut self, link: LinkId, host: &str, port: u16) {
        let attempt = || -> io::Result<TcpStream> {
            let address: IpAddr = host.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
            let source = &self.source_address;
            if source.is_empty() {
                TcpStream::connect((address, port).into())
            } else {
                connect_from(source, (address, port).into())
            }
        };
        if let Err(error) = attempt().and_then(|stream| self.add_link(stream, link, true)) {
            self.handle_later(Input::LinkRefused { link, by_peer: is_refusal(&error) });
        }
    }

    fn add_link(&mut self, mut stream: TcpStream, id: LinkId, is_connecting: bool) -> io::Result<()> {
        let token = self.next_token;
        self.next_token += 1;
        self.poll.registry().register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        let _ = stream.set_nodelay(true);
        self.tokens.insert(id, token);
        let link = Link {
            stream,
            id,
            decoder: Decoder::new(),
            encoder: Encoder::default(),
            output: Vec::new(),
            sent: 0,
            is_connecting,
        };
        self.links.insert(token, link);
        Ok(())
    }

    fn drop_link(&mut self, token: usize) -> Option<LinkId> {
        let mut link = self.links.remove(&token)?;
        self.tokens.remove(&link.id);
        self.shared.link_bytes.fetch_sub(link.output.len() as u64, Ordering::Relaxed);
        let _ = self.poll.registry().deregister(&mut link.stream);
        Some(link.id)
    }

    fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.tcp.get(index) else { return };
            let Ok((stream, peer)) = listener.accept() else { return };
            let local = stream.local_addr().map(|address| address.ip().to_canonical().to_string());
            let link = LinkId::accepted(self.next_accepted);
            self.next_accepted += 1;
            if self.add_link(stream, link, false).is_ok() {
                let peer = peer.ip().to_canonical().to_string();
                self.give(Input::Accepted {
                    link,
                    peer: peer.into(),
                    local: local.unwrap_or_default().into(),
                });
            }
        }
    }

    fn writable(&mut self, token: usize) {
        let Some(link) = self.links.get_mut(&token) else { return };
        if link.is_connecting {
            let id = link.id;
            let connected = match link.stream.take_error() {
                Ok(None) => link.stream.peer_addr().map(drop),
                Ok(Some(error)) | Err(error) => Err(error),
            };
            match connected {
                Ok(()) => {
                    link.is_connecting = false;
                    self.give(Input::LinkOpened { link: id });
                }
                Err(error) => {
                    self.drop_link(token);
                    self.give(Input::LinkRefused { link: id, by_peer: is_refusal(&error) });
                    return;
                }
            }
        }
        self.flush(token);
    }

    fn send(&mut self, token: usize, message: &Message) {
        let Some(link) = self.links.get_mut(&token) else { return };
        let bytes = link.encoder.encode(message, link.decoder.peer_takes_light());
        if link.output.len() - link.sent + bytes.len() > self.shared.link_max_bytes.load(Ordering::Relaxed) {
            self.close_broken(token, true);
            return;
        }
        link.output.extend_from_slice(&bytes);
        self.shared.link_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if !link.is_connecting {
            self.flush(token);
        }
    }

    fn flush(&mut self, token: usize) {
        let Some(link) = self.links.get_mut(&token) else { return };
        while link.sent < link.output.len() {
            match link.stream.write(&link.output[link.sent..]) {
                Ok(count) => link.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.close_broken(token, false);
                    return;
                }
            }
        }
        // What has been sent is cut off once it is most of the buffer, so that each byte moves at most once.
        if link.sent * 2 >= link.output.len() {
            self.shared.link_bytes.fetch_sub(link.sent as u64, Ordering::Relaxed);
            link.output.drain(..link.sent);
            link.sent = 0;
        }
    }

    fn readable(&mut self, token: usize) {
        for _ in 0..READS_PER_TURN {
            let Some(link) = self.links.get_mut(&token) else { return };
            if link.is_connecting {
                // The error of a refused connection comes with the writable event as well.
                return;
            }
            match link.stream.read(&mut self.buffer) {
                Ok(0) => return self.close_broken(token, false),
                Ok(count) => {
                    link.decoder.push(&self.buffer[..count]);
                    if !self.take_link_messages(token) {
                        return;
                    }
                    if count < self.buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.close_broken(token, false),
            }
        }
        // More may wait, and there will be no further event for it.
        if let Some(link) = self.links.get_mut(&token) {
            let interests = Interest::READABLE | Interest::WRITABLE;
            let _ = self.poll.registry().reregister(&mut link.stream, Token(token), interests);
        }
    }

    /// Gives the machine what the link has decoded; false if the link is gone.
    fn take_link_messages(&mut self, token: usize) -> bool {
        loop {
            let Some(link) = self.links.get_mut(&token) else { return false };
            let id = link.id;
            match link.decoder.next_message() {
                Ok(Some(message)) => self.give(Input::Message { link: id, message: Arc::new(message) }),
                Ok(None) => return true,
                Err(error) => {
                    self.log.write(LogLevel::Warning, &format!("Bad message on the cluster bus: {error}"));
                    self.close_broken(token, false);
                    return false;
                }
            }
        }
    }

    fn close_broken(&mut self, token: usize, over_limit: bool) {
        if let Some(link) = self.drop_link(token) {
            self.handle_later(Input::LinkClosed { link, over_limit });
            self.carry_out();
        }
    }
}

/// Whether the other system says that nobody listens there. Silence, and routes that are missing, say nothing about the
/// process.
fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

fn link_max_bytes(limit_bytes: u64) -> usize {
    let limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    if limit_bytes == 0 { OUTPUT_MAX_BYTES } else { limit_bytes }
}

fn log_level(level: shoal_cluster::interface::LogLevel) -> LogLevel {
    use shoal_cluster::interface::LogLevel as Level;
    match level {
        Level::Debug => LogLevel::Debug,
        Level::Verbose => LogLevel::Verbose,
        Level::Notice => LogLevel::Notice,
        Level::Warning => LogLevel::Warning,
    }
}
