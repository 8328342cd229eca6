//! Fingerprints of the data, as DEBUG DIGEST of Redis computes them: the same data gives the same digest in both.
//!
//! A digest is 20 bytes. *Adding* something is XOR with its SHA-1, so that order does not matter; *mixing* is adding
//! and taking the SHA-1 of the result, so that it does.

use shoal_store::table::Item;
use shoal_store::{Entry, Keyspace, Value};

/// The number by which digests know the type string.
const TYPE_STRING: u32 = 0;

/// A fingerprint in the making.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest([u8; 20]);

impl Digest {
    /// The fingerprint of all keys of all databases.
    pub(crate) fn of_keyspace(keyspace: &Keyspace) -> Self {
        let mut all = Self::default();
        for (index, database) in keyspace.databases().enumerate() {
            if database.is_empty() {
                continue;
            }
            all.mix(&(index as u32).to_be_bytes());
            database.for_each(|entry| {
                let mut digest = Self::default();
                digest.mix(entry.key());
                digest.mix_entry(entry);
                all.add(&digest.0);
            });
        }
        all
    }

    /// The fingerprint of a value, without its key.
    pub(crate) fn of_value(entry: &Entry) -> Self {
        let mut digest = Self::default();
        digest.mix_entry(entry);
        digest
    }

    fn mix_entry(&mut self, entry: &Entry) {
        self.mix(&TYPE_STRING.to_be_bytes());
        match entry.value() {
            Value::Integer(integer) => self.mix(integer.to_string().as_bytes()),
            Value::Bytes(bytes) => self.mix(bytes),
            Value::Shared(bytes) => self.mix(bytes),
        }
        if entry.expiry_ms().is_some() {
            self.add(b"!!expire!!");
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        let hash = sha1_smol::Sha1::from(bytes).digest().bytes();
        self.0.iter_mut().zip(hash).for_each(|(byte, other)| *byte ^= other);
    }

    fn mix(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = sha1_smol::Sha1::from(self.0).digest().bytes();
    }

    /// 40 hexadecimal characters.
    pub(crate) fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
