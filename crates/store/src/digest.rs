//! Digests of data, as `DEBUG DIGEST` and `DEBUG DIGEST-VALUE` print them: equal data gives equal digests, here and in
//! Redis, whatever the order of keys and the encodings of values.
//!
//! Two operations build them: *exclusive or* with the SHA-1 of some bytes, whose order does not matter, and *mixing*,
//! which takes the SHA-1 of the outcome, too, so that order does matter.

use crate::database::{Database, Found};
use crate::entry::{Entry, Value};
use crate::keyspace::Keyspace;
use crate::table::Item;
use crate::types::{Collection, Type};
use sha1_smol::Sha1;
use std::fmt;

/// The number that stands for a type.
const fn type_number(kind: Type) -> u32 {
    match kind {
        Type::String => 0,
        Type::List => 1,
        Type::Set => 2,
        Type::SortedSet => 3,
        Type::Hash => 4,
        Type::Stream => 6,
    }
}

/// What stands for the fact that a key expires.
const EXPIRES: &[u8] = b"!!expire!!";

/// A digest of 160 bits. It prints as 40 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub [u8; 20]);

impl Digest {
    /// Takes the bytes in; the order in which this is done does not matter.
    pub fn xor(&mut self, bytes: &[u8]) {
        let hash = Sha1::from(bytes).digest().bytes();
        self.0.iter_mut().zip(hash).for_each(|(byte, other)| *byte ^= other);
    }

    /// Takes the bytes in; the order in which this is done matters.
    pub fn mix(&mut self, bytes: &[u8]) {
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
    let value = entry.value();
    digest.mix(&type_number(value.kind()).to_be_bytes());
    match value {
        Value::String(text) => text.with_bytes(|bytes| digest.mix(bytes)),
        Value::List(list) => list.mix_into(digest),
        Value::Set(set) => set.mix_into(digest),
        Value::Hash(hash) => hash.mix_into(digest),
        Value::SortedSet(set) => set.mix_into(digest),
        Value::Stream(stream) => stream.mix_into(digest),
    }
    if entry.expiry_ms().is_some() {
        digest.xor(EXPIRES);
    }
}
