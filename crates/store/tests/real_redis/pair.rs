//! A real server and the store side by side.

use crate::server::Server;
use shoal_protocol::value::{Decoder, Value};
use shoal_store::digest::keyspace_digest;
use shoal_store::testing::{Fixture, show};

/// The same commands go to a server and to the store.
pub struct Pair {
    pub server: Server,
    pub fixture: Fixture,
}

impl Pair {
    pub fn new() -> Self {
        Self::with_options(&[])
    }

    /// The server has these options beside those that every test's server has.
    pub fn with_options(options: &[&str]) -> Self {
        Self { server: Server::start(options, |_| {}), fixture: Fixture::default() }
    }

    /// Runs a command on both and compares. Returns the reply.
    #[track_caller]
    pub fn check<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Value {
        self.check_as(words, show)
    }

    /// As [`Pair::check`], but only what `comparable` makes of the replies is compared.
    #[track_caller]
    pub fn check_as<W: AsRef<[u8]>>(&mut self, words: &[W], comparable: fn(&Value) -> String) -> Value {
        let mut decoder = Decoder::new();
        decoder.feed(&self.fixture.run_words(words));
        let ours = decoder.next_value().unwrap().unwrap();
        let theirs = self.server.call(words);
        let shown: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word.as_ref())).collect();
        assert_eq!(comparable(&ours), comparable(&theirs), "{}", shown.join(" "));
        ours
    }

    /// Compares all data.
    #[track_caller]
    pub fn check_digests(&mut self) {
        let theirs = self.server.text(&["DEBUG", "DIGEST"]);
        assert_eq!(keyspace_digest(&self.fixture.keyspace).to_string(), theirs);
    }
}

/// A reply whose elements are in no order.
pub fn unordered(reply: &Value) -> String {
    match reply {
        Value::Array(elements) => {
            let mut shown: Vec<String> = elements.iter().map(unordered).collect();
            shown.sort();
            format!("[{}]", shown.join(" "))
        }
        other => show(other),
    }
}

/// A reply of pairs that are in no order.
pub fn unordered_pairs(reply: &Value) -> String {
    match reply {
        Value::Array(elements) => {
            let mut shown: Vec<String> =
                elements.chunks(2).map(|pair| pair.iter().map(show).collect::<Vec<_>>().join(" ")).collect();
            shown.sort();
            format!("[{}]", shown.join(" "))
        }
        other => show(other),
    }
}
