//! Digests of data, as `DEBUG DIGEST` and `DEBUG DIGEST-VALUE` print them: equal data gives equal digests, here and in
//! Redis, whatever the order of keys and the encodings of values.
//!
//! Two operations build them: *exclusive or* with the SHA-1 of some bytes, whose order does not matter, and *mixing*,
//! which takes the SHA-1 of the outcome, too, so that order does matter.

use crate::database::{Database, Found};
use crate::entry::{Entry, Value};
use crate::keyspace::Keyspace;
use crate::table::Item;
use sha1_smol::Sha1;
use std::fmt;

/// The number that stands for strings.
const TYPE_STRING: u32 = 0;
/// What stands for the fact that a key expires.
const EXPIRES: &[u8] = b"!!expire!!";

/// A digest of 160 bits. It prints as 40 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub [u8; 20]);

impl Digest {
    fn xor(&mut self, bytes: &[u8]) {
        let hash = Sha1::from(bytes).digest().bytes();
        self.0.iter_mut().zip(hash).for_each(|(byte, other)| *byte ^= other);
    }

    fn mix(&mut self, bytes: &[u8]) {
        self.xor(bytes);
        self.0 = Sha1::from(self.0).digest().bytes();
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The digest of everything.
pub fn keyspace_digest(keyspace: &Keyspace) -> Digest {
    let mut whole = Digest::default();
    for (index, database) in keyspace.databases().enumerate().filter(|(_, database)| !database.is_empty()) {
        whole.mix(&(index as u32).to_be_bytes());
        database.for_each(|entry| {
            let mut digest = Digest::default();
            digest.mix(entry.key());
            mix_value(&mut digest, entry);
            whole.xor(&digest.0);
        });
    }
    whole
}

/// The digest of one value, without its key. That of a missing key is all zeros.
pub fn value_digest(database: &Database, found: Option<Found>) -> Digest {
    let mut digest = Digest::default();
    if let Some(found) = found {
        mix_value(&mut digest, &database.entry(found));
    }
    digest
}

fn mix_value(digest: &mut Digest, entry: &Entry) {
    digest.mix(&TYPE_STRING.to_be_bytes());
    match entry.value() {
        Value::Integer(integer) => digest.mix(itoa::Buffer::new().format(integer).as_bytes()),
        Value::Bytes(bytes) => digest.mix(bytes),
        Value::Shared(bytes) => digest.mix(bytes),
    }
    if entry.expiry_ms().is_some() {
        digest.xor(EXPIRES);
    }
}
