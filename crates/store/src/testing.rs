//! A keyspace to try commands on, for tests of this and other crates.

use crate::call::{Access, Call, Effects, Propagation, StoreOptions};
use crate::commands;
use crate::database::Layout;
use crate::hasher::Hasher;
use crate::keyspace::Keyspace;
use shoal_machine::{Monotonic, Now, Rng};
use shoal_protocol::quoting::{quote, split_arguments};
use shoal_protocol::value::{Decoder, Value};
use shoal_protocol::{Arguments, Command, ErrorReply, OutputBuffer, OwnedRequest, Reply, errors};

/// A keyspace with a client of its own, without a node around it.
#[derive(Debug)]
pub struct Fixture {
    /// All databases.
    pub keyspace: Keyspace,
    /// What the last command did.
    pub effects: Effects,
    /// Who is asking.
    pub access: Access,
    /// Settings.
    pub options: StoreOptions,
    /// Randomness.
    pub rng: Rng,
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// The selected database.
    pub database_index: usize,
    /// The client speaks RESP3.
    pub resp3: bool,
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new(Layout::Single)
    }
}

impl Fixture {
    /// When a fixture's time begins.
    pub const START_MS: u64 = 1_700_000_000_000;

    /// Empty databases.
    pub fn new(layout: Layout) -> Self {
        let count = if layout == Layout::Single { 16 } else { 1 };
        Self {
            keyspace: Keyspace::new(count, layout, Hasher::new(1, 2)),
            effects: Effects { track_touched: true, track_events: true, ..Effects::default() },
            access: Access::default(),
            options: StoreOptions::default(),
            rng: Rng::new(7),
            now_ms: Self::START_MS,
            database_index: 0,
            resp3: false,
        }
    }

    /// The fixture's time.
    pub fn now(&self) -> Now {
        Now::new(Monotonic::from_ms(self.now_ms), self.now_ms * 1000)
    }

    /// Runs a command given as words. `SELECT` works, too. Returns the reply's bytes.
    pub fn run_words<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Vec<u8> {
        self.run_request(&OwnedRequest::new(words))
    }

    /// Runs a request. Returns the reply's bytes.
    pub fn run_request(&mut self, request: &OwnedRequest) -> Vec<u8> {
        self.effects.reset();
        let request = request.as_request();
        let mut output = OutputBuffer::new();
        let mut reply = Reply::new(&mut output, self.resp3);
        let mut call = Call {
            now: Now::new(Monotonic::from_ms(self.now_ms), self.now_ms * 1000),
            keyspace: &mut self.keyspace,
            database_index: self.database_index,
            reply: &mut reply,
            effects: &mut self.effects,
            access: self.access,
            options: &self.options,
            rng: &mut self.rng,
        };
        let name = request.argument(0);
        if name.eq_ignore_ascii_case(b"SELECT") {
            let number = std::str::from_utf8(request.argument(1)).unwrap_or_default();
            self.database_index = number.parse().unwrap_or(0);
            return b"+OK\r\n".to_vec();
        }
        let outcome = match resolve(name, request.argument(1), request.len()) {
            Ok((body, first)) => body(&mut call, Arguments::new(request, first)),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            reply.error(&error);
        }
        output.to_vec()
    }

    /// Runs a command line with quotes as in redis-cli. Returns the reply as text, see [`show`].
    ///
    /// # Panics
    /// The line's quotes do not match, or the reply is none.
    pub fn run(&mut self, line: &str) -> String {
        let words = split_arguments(line.as_bytes()).expect("quotes match");
        show_bytes(&self.run_words(&words))
    }

    /// Runs a command line and compares the reply.
    ///
    /// # Panics
    /// The reply is another one.
    #[track_caller]
    pub fn check(&mut self, line: &str, expected: &str) {
        let reply = self.run(line);
        assert_eq!(reply, expected, "reply to {line}");
    }

    /// Runs command lines and compares their replies.
    ///
    /// # Panics
    /// A reply is another one.
    #[track_caller]
    pub fn check_all(&mut self, cases: &[(&str, &str)]) {
        for (line, expected) in cases {
            self.check(line, expected);
        }
    }

    /// How the last command is propagated, as command lines; `line` is the command itself.
    pub fn propagated(&self, line: &str) -> Vec<String> {
        let before = self.effects.before.iter().map(|(_, request)| show_request(request));
        let own = match &self.effects.propagation {
            _ if self.effects.dirty == 0 => Vec::new(),
            Propagation::Verbatim => vec![line.to_owned()],
            Propagation::Instead(requests) => requests.iter().map(show_request).collect(),
        };
        before.chain(own).collect()
    }

    /// The names of the last command's events, with database and key.
    pub fn events(&self) -> Vec<String> {
        let show = |event: &crate::call::KeyEvent| {
            format!("{} {} {}", event.name, event.database, String::from_utf8_lossy(&event.key))
        };
        self.effects.events.iter().map(show).collect()
    }
}

fn resolve(name: &[u8], second: &[u8], count: usize) -> Result<(commands::Body, usize), ErrorReply> {
    let mut command = Command::lookup(name).ok_or_else(|| errors::unknown_command(name, &[]))?;
    let mut first = 1;
    if command.subcommand_count > 0 && count > 1 {
        command =
            command.subcommand(second).ok_or_else(|| errors::unknown_subcommand(command.name, second))?;
        first = 2;
    }
    if !command.arity_fits(count) {
        return Err(errors::wrong_arity(command.name));
    }
    let body = commands::body(command.id).ok_or_else(|| errors::unknown_command(name, &[]))?;
    Ok((body, first))
}

fn show_request(request: &OwnedRequest) -> String {
    let words: Vec<_> =
        request.as_request().iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    words.join(" ")
}

/// The bytes of one reply as text, see [`show`].
///
/// # Panics
/// The bytes are not one reply.
pub fn show_bytes(bytes: &[u8]) -> String {
    let mut decoder = Decoder::new();
    decoder.feed(bytes);
    let value = decoder.next_value().expect("a well-formed reply").expect("a whole reply");
    assert!(decoder.is_at_boundary(), "one reply only: {}", String::from_utf8_lossy(bytes));
    show(&value)
}

/// A reply as text: `+OK`, `-ERR …`, `:1`, `"bulk"`, `nil`, `[a b]`, `{key value}`.
pub fn show(value: &Value) -> String {
    let list = |values: &[Value]| values.iter().map(show).collect::<Vec<_>>().join(" ");
    match value {
        Value::Simple(text) => format!("+{}", String::from_utf8_lossy(text)),
        Value::Error(text) => format!("-{}", String::from_utf8_lossy(text)),
        Value::Integer(number) => format!(":{number}"),
        Value::Bulk(text) => quote(text),
        Value::Null(_) => "nil".to_owned(),
        Value::Array(values) => format!("[{}]", list(values)),
        Value::Set(values) => format!("~[{}]", list(values)),
        Value::Push(values) => format!(">[{}]", list(values)),
        Value::Map(pairs) => {
            let pairs: Vec<_> =
                pairs.iter().map(|(key, value)| format!("{} {}", show(key), show(value))).collect();
            format!("{{{}}}", pairs.join(" "))
        }
        Value::Double(text) | Value::BigNumber(text) => format!(",{text}"),
        Value::Boolean(value) => format!("#{value}"),
        Value::Verbatim { text, .. } => quote(text),
    }
}
