//! The conversation with a server: connecting, authenticating, sending commands and printing what comes back.
//!
//! ```text
//!   prompt, command line, --eval
//!            |
//!         issue ──► connect (AUTH, SELECT, HELLO) ──► send ──► read ──► print
//!            ▲                                                  |
//!            └──────────── -MOVED and -ASK with -c ◄────────────┘
//! ```

use crate::connection::{Address, Connection, ConnectionError};
use crate::console::{self, err, out};
use crate::exit::{Exit, Step};
use crate::format::{OutputFormat, format_reply, raw, tty};
use crate::options::{Options, ProtocolChoice};
use crate::text::{leading_integer, lossy};
use shoal_protocol::value::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a wait for messages looks whether it was interrupted.
const INTERRUPT_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A command is sent on from node to node this often; then the nodes send it in a circle.
const REDIRECTIONS_MAX: u32 = 16;
/// More redirections than these are followed with a pause: the nodes may come to agree, after a failover.
const REDIRECTIONS_AT_ONCE: u32 = 5;
const REDIRECTION_DELAY: Duration = Duration::from_millis(100);

/// A command could not be carried out to its end; the reason has been printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// Whether to complain when a connection cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complaints {
    Print,
    Keep,
}

/// The state of the conversation.
pub(crate) struct Session {
    pub options: Options,
    pub connection: Option<Connection>,
    /// The database in use on this connection.
    pub database: i64,
    /// Between MULTI and EXEC.
    pub in_transaction: bool,
    /// Commands come from the prompt.
    pub interactive: bool,
    /// Ctrl-C was pressed while messages were being read.
    pub interrupted: Arc<AtomicBool>,
    /// While set, Ctrl-C ends the program.
    pub interrupt_ends: Arc<AtomicBool>,
    database_before_transaction: i64,
    redirected: bool,
    send_asking: bool,
    shutting_down: bool,
    last_reply: ReplyKind,
}

/// As much of a reply as later decisions need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyKind {
    Error,
    Null,
    Other,
}

/// What became of reading one reply.
enum Read {
    Printed,
    /// Ctrl-C ended the wait.
    Interrupted,
    /// The server is gone, and that was to be expected.
    Gone,
}

impl Session {
    /// A session without a connection yet.
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            connection: None,
            database: 0,
            in_transaction: false,
            interactive: false,
            interrupted: Arc::default(),
            interrupt_ends: Arc::new(AtomicBool::new(true)),
            database_before_transaction: 0,
            redirected: false,
            send_asking: false,
            shutting_down: false,
            last_reply: ReplyKind::Other,
        }
    }

    /// The prompt: address, database, transaction.
    pub(crate) fn prompt(&self) -> String {
        if self.connection.is_none() {
            return "not connected> ".to_owned();
        }
        let mut prompt = match self.options.address() {
            Address::Unix(path) => format!("redis {}", path.display()),
            Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port } => format!("{host}:{port}"),
        };
        if self.database != 0 {
            prompt.push_str(&format!("[{}]", self.database));
        }
        if self.in_transaction {
            prompt.push_str("(TX)");
        }
        prompt.push_str("> ");
        prompt
    }

    /// Connects anew, then authenticates, selects the database and the protocol. When one of these is refused the
    /// connection stays, as it may still be of use.
    pub(crate) fn connect(&mut self, complaints: Complaints) -> Result<(), Failed> {
        if self.connection.take().is_some() {
            self.database = 0;
            self.in_transaction = false;
        }
        // A redirection names a port, even where the first server was reached by a socket.
        let address = if self.redirected {
            Address::Tcp { host: self.options.host.clone(), port: self.options.port }
        } else {
            self.options.address()
        };
        match Connection::open(&address) {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => {
                if complaints == Complaints::Print {
                    err!("Could not connect to Redis at {address}: {}", console::error_text(&error));
                }
                return Err(Failed);
            }
        }
        self.authenticate()?;
        self.select_database()?;
        self.select_protocol()
    }

    /// Sends a command and reads its reply; pushes are dropped. Prints why that was impossible.
    fn ask(&mut self, words: &[&[u8]]) -> Result<Value, Failed> {
        let connection = self.connection.as_mut().ok_or(Failed)?;
        connection.call(words).map_err(|_| {
            err!("\nI/O error");
            Failed
        })
    }

    fn authenticate(&mut self) -> Result<(), Failed> {
        let Some(password) = self.options.password.clone() else { return Ok(()) };
        let reply = match self.options.user.clone() {
            Some(user) => self.ask(&[b"AUTH", &user, &password])?,
            None => self.ask(&[b"AUTH", &password])?,
        };
        match reply.as_error() {
            Some(error) => {
                err!("AUTH failed: {error}");
                Err(Failed)
            }
            None => Ok(()),
        }
    }

    fn select_database(&mut self) -> Result<(), Failed> {
        let wanted = self.options.database;
        if wanted == self.database {
            return Ok(());
        }
        let reply = self.ask(&[b"SELECT", wanted.to_string().as_bytes()])?;
        if let Some(error) = reply.as_error() {
            err!("SELECT {wanted} failed: {error}");
            return Err(Failed);
        }
        self.database = wanted;
        Ok(())
    }

    fn select_protocol(&mut self) -> Result<(), Failed> {
        if self.options.protocol == ProtocolChoice::Default || self.options.resp2 {
            return Ok(());
        }
        let reply = self.ask(&[b"HELLO", b"3"])?;
        if let Some(error) = reply.as_error() {
            err!("HELLO 3 failed: {error}");
            if self.options.protocol == ProtocolChoice::Resp3 {
                return Err(Failed);
            }
        }
        Ok(())
    }

    /// Carries a command out `repeat` times, connecting and following redirections as needed.
    ///
    /// # Errors
    /// The program is to end, which only happens when not interactive.
    pub(crate) fn issue(&mut self, words: &[Vec<u8>], repeat: i64) -> Step<Result<(), Failed>> {
        if words.first().is_some_and(|word| word.eq_ignore_ascii_case(b"help") || word == b"?") {
            crate::repl::help::print(&words[1..], self.connection.as_mut());
            return Ok(Ok(()));
        }
        let mut redirections = 0;
        loop {
            if (self.redirected || self.connection.is_none()) && self.connect(Complaints::Print).is_err() {
                self.redirected = false;
                return Ok(Err(Failed));
            }
            self.redirected = false;
            if std::mem::take(&mut self.send_asking) {
                let Ok(reply) = self.ask(&[b"ASKING"]) else { return Ok(Err(Failed)) };
                if let Some(error) = reply.as_error() {
                    err!("ASKING failed: {error}");
                    return Ok(Err(Failed));
                }
            }
            if self.send(words, repeat)?.is_err() {
                self.connection = None;
                return Ok(Err(Failed));
            }
            if !self.redirected {
                return Ok(Ok(()));
            }
            redirections += 1;
            if redirections >= REDIRECTIONS_MAX {
                self.give_up_redirections();
                return Ok(Err(Failed));
            }
            if redirections > REDIRECTIONS_AT_ONCE {
                std::thread::sleep(REDIRECTION_DELAY);
            }
        }
    }

    /// The nodes send the command to and fro.
    fn give_up_redirections(&mut self) {
        (self.redirected, self.send_asking) = (false, false);
        let (host, port) = (&self.options.host, self.options.port);
        err!(
            "Error: redirected {REDIRECTIONS_MAX} times, now to {host}:{port}. The nodes do not agree on who has the slot:"
        );
        err!("shoal cli --cluster check {host}:{port} shows what each of them says.");
        // The next command begins at the node that was named last.
        self.connection = None;
    }

    fn send(&mut self, words: &[Vec<u8>], repeat: i64) -> Step<Result<(), Failed>> {
        let verbatim = is_shown_raw(words);
        let command = words.first().map(|word| word.to_ascii_lowercase()).unwrap_or_default();
        self.shutting_down = command == b"shutdown";
        let mut left = repeat;
        while left != 0 {
            left -= i64::from(left > 0);
            let Some(connection) = self.connection.as_mut() else { return Ok(Err(Failed)) };
            connection.queue(words);
            match command.as_slice() {
                b"monitor" => return self.read_messages(verbatim, false),
                b"subscribe" | b"psubscribe" | b"ssubscribe" => {
                    if self.options.format != OutputFormat::Raw {
                        out!("Reading messages... (press Ctrl-C to quit)\n");
                    }
                    if self.read_messages(verbatim, true)?.is_err() {
                        return Ok(Err(Failed));
                    }
                    continue;
                }
                b"sync" | b"psync" => {
                    out!("Entering replica output mode...  (press Ctrl-C to quit)\n");
                    crate::modes::replica::follow(self)?;
                    return Ok(Err(Failed));
                }
                _ => {}
            }
            match self.read_reply(verbatim)? {
                Ok(Read::Printed) => self.note_effect(&command, words),
                Ok(_) => return Ok(Ok(())),
                Err(Failed) => return Ok(Err(Failed)),
            }
            if self.redirected {
                break;
            }
            std::thread::sleep(self.options.interval);
            console::flush();
        }
        Ok(Ok(()))
    }

    /// Prints messages until there is an error or, at the prompt, Ctrl-C.
    fn read_messages(&mut self, verbatim: bool, pushes_are_replies: bool) -> Step<Result<(), Failed>> {
        self.interrupted.store(false, Ordering::Relaxed);
        self.interrupt_ends.store(!self.interactive, Ordering::Relaxed);
        let result = loop {
            match self.read(verbatim, pushes_are_replies)? {
                Err(Failed) => break Err(Failed),
                Ok(Read::Printed) if self.last_reply == ReplyKind::Error => break Ok(()),
                Ok(Read::Printed) => console::flush(),
                Ok(Read::Interrupted) => break self.connect(Complaints::Print),
                Ok(Read::Gone) => break Ok(()),
            }
        };
        self.interrupt_ends.store(true, Ordering::Relaxed);
        Ok(result)
    }

    /// Prints everything that comes until the connection breaks.
    ///
    /// # Errors
    /// It broke, and this is not the prompt.
    pub(crate) fn print_until_lost(&mut self) -> Step {
        while self.read(false, true)?.is_ok() {}
        Ok(())
    }

    fn read_reply(&mut self, verbatim: bool) -> Step<Result<Read, Failed>> {
        self.read(verbatim, false)
    }

    /// Reads one reply and prints it, and before it any pushes.
    fn read(&mut self, verbatim: bool, pushes_are_replies: bool) -> Step<Result<Read, Failed>> {
        let value = loop {
            match self.receive() {
                Ok(Some(Value::Push(elements))) if !pushes_are_replies => {
                    self.print_push(Value::Push(elements));
                }
                Ok(Some(value)) => break value,
                Ok(None) => return Ok(Ok(Read::Interrupted)),
                Err(error) => return self.lost(&error),
            }
        };
        self.last_reply = match &value {
            Value::Error(_) => ReplyKind::Error,
            Value::Null(_) => ReplyKind::Null,
            _ => ReplyKind::Other,
        };
        if let Value::Error(text) = &value {
            if self.options.cluster_mode
                && let Some(redirection) = Redirection::parse(text)
            {
                self.redirect(redirection);
                return Ok(Ok(Read::Printed));
            }
            if !self.interactive && self.options.error_code {
                err!("{}", lossy(text));
                return Err(Exit(1));
            }
        }
        self.print(&value, verbatim);
        Ok(Ok(Read::Printed))
    }

    /// The next value; `None` if Ctrl-C was pressed at the prompt while waiting for messages.
    fn receive(&mut self) -> Result<Option<Value>, ConnectionError> {
        let connection = self.connection.as_mut().ok_or(ConnectionError::Closed)?;
        if self.interrupt_ends.load(Ordering::Relaxed) {
            return connection.receive_any().map(Some);
        }
        connection.limit_waiting(Some(INTERRUPT_CHECK_INTERVAL))?;
        let result = loop {
            if self.interrupted.load(Ordering::Relaxed) {
                break Ok(None);
            }
            match connection.receive_any() {
                Err(error) if error.is_timeout() => {}
                result => break result.map(Some),
            }
        };
        connection.limit_waiting(None)?;
        result
    }

    /// The connection broke: after SHUTDOWN as it should; at the prompt the next command connects again.
    fn lost(&mut self, error: &ConnectionError) -> Step<Result<Read, Failed>> {
        if self.shutting_down {
            self.connection = None;
            return Ok(Ok(Read::Gone));
        }
        err!("Error: {error}");
        if self.interactive && error.is_disconnect() { Ok(Err(Failed)) } else { Err(Exit(1)) }
    }

    fn redirect(&mut self, redirection: Redirection) {
        // A node that does not know its own address leaves it out: it is the one just asked.
        if !redirection.host.is_empty() {
            self.options.host = redirection.host;
        }
        self.options.port = redirection.port;
        if self.interactive {
            let (host, port) = (&self.options.host, self.options.port);
            out!("-> Redirected to slot [{}] located at {host}:{port}\n", redirection.slot);
        }
        self.redirected = true;
        self.send_asking = redirection.ask;
    }

    /// Prints a value in the chosen format; `verbatim` prints it as it is.
    pub(crate) fn print(&self, value: &Value, verbatim: bool) {
        let text = if verbatim {
            let mut text = Vec::new();
            raw::write(value, &self.options.delimiters.element, &mut text);
            text
        } else {
            format_reply(value, self.options.format, &self.options.delimiters)
        };
        console::write_out_bytes(&text);
        console::flush();
    }

    fn print_push(&self, push: Value) {
        if !self.options.show_pushes {
            return;
        }
        if self.options.format == OutputFormat::Tty
            && let Value::Push(elements) = &push
            && let [name, Value::Array(keys)] = elements.as_slice()
            && name.as_bytes() == Some(b"invalidate")
        {
            let mut text = Vec::new();
            tty::write_invalidation(keys, &mut text);
            console::write_out_bytes(&text);
            return;
        }
        self.print(&push, false);
    }

    /// Remembers what a command changed about the connection.
    fn note_effect(&mut self, command: &[u8], words: &[Vec<u8>]) {
        let failed = self.last_reply == ReplyKind::Error;
        match (command, words.len()) {
            (b"select", 2) if !failed => {
                self.options.database = leading_integer(&words[1]);
                self.database = self.options.database;
            }
            (b"auth", 2 | 3) => {
                // A server that wanted the password first has refused the database until now.
                let _ = self.select_database();
            }
            (b"multi", 1) if !failed => {
                self.in_transaction = true;
                self.database_before_transaction = self.database;
            }
            (b"exec", 1) if self.in_transaction => {
                self.in_transaction = false;
                if failed || self.last_reply == ReplyKind::Null {
                    self.database = self.database_before_transaction;
                    self.options.database = self.database;
                }
            }
            (b"discard", 1) if !failed => {
                self.in_transaction = false;
                self.database = self.database_before_transaction;
                self.options.database = self.database;
            }
            (b"reset", 1) if !failed => {
                self.in_transaction = false;
                self.database = 0;
                self.options.database = 0;
                self.options.protocol = ProtocolChoice::Default;
            }
            _ => {}
        }
    }
}

/// A `-MOVED` or `-ASK` error.
#[derive(Debug, PartialEq, Eq)]
struct Redirection {
    ask: bool,
    slot: i64,
    host: String,
    port: i64,
}

impl Redirection {
    fn parse(error: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(error).ok()?;
        let mut words = text.split(' ');
        let ask = match words.next()? {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let slot = words.next()?.parse().ok()?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        Some(Self { ask, slot, host: host.to_owned(), port: port.parse().ok()? })
    }
}

/// Replies that are texts for people, which are printed without quotes in every format: the command, its subcommand
/// and the bounds of its number of words.
const SHOWN_RAW: &[(&str, Option<&str>, usize, usize)] = &[
    ("info", None, 1, usize::MAX),
    ("lolwut", None, 1, usize::MAX),
    ("debug", Some("htstats"), 2, usize::MAX),
    ("debug", Some("htstats-key"), 2, usize::MAX),
    ("debug", Some("client-eviction"), 2, usize::MAX),
    ("memory", Some("malloc-stats"), 2, usize::MAX),
    ("memory", Some("doctor"), 2, usize::MAX),
    ("cluster", Some("nodes"), 2, 2),
    ("cluster", Some("info"), 2, 2),
    ("client", Some("list"), 2, usize::MAX),
    ("client", Some("info"), 2, usize::MAX),
    ("latency", Some("graph"), 3, 3),
    ("latency", Some("doctor"), 2, 2),
    ("proxy", Some("info"), 2, usize::MAX),
];

fn is_shown_raw(words: &[Vec<u8>]) -> bool {
    let matches = |word: Option<&Vec<u8>>, name: &str| {
        word.is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    };
    SHOWN_RAW.iter().any(|(command, subcommand, minimum, maximum)| {
        matches(words.first(), command)
            && subcommand.is_none_or(|subcommand| matches(words.get(1), subcommand))
            && (*minimum..=*maximum).contains(&words.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_are_read() {
        let parse = |text: &str| Redirection::parse(text.as_bytes());
        let expected =
            |ask, slot, host: &str, port| Some(Redirection { ask, slot, host: host.to_owned(), port });
        assert_eq!(parse("MOVED 3999 127.0.0.1:6381"), expected(false, 3999, "127.0.0.1", 6381));
        assert_eq!(parse("ASK 1 ::1:7000"), expected(true, 1, "::1", 7000));
        assert_eq!(parse("MOVED 1 :7000"), expected(false, 1, "", 7000));
        for other in ["ERR no", "MOVED", "MOVED x y", "ASK 1 host", "MOVED 1 h:p"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn some_replies_are_texts() {
        let raw = |line: &str| {
            is_shown_raw(&line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
        };
        assert!(raw("INFO") && raw("info server") && raw("Cluster Nodes") && raw("client list type normal"));
        assert!(!raw("get info") && !raw("cluster info x") && !raw("latency graph") && !raw("client id"));
    }
}
