//! The keyed hash of all tables.

use siphasher::sip::SipHasher13;
use std::hash::Hasher as _;

/// SipHash-1-3 with a secret key, so that clients cannot choose keys that collide.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    key0: u64,
    key1: u64,
}

impl Hasher {
    /// A hasher with this key; the shell draws it from the system at start-up.
    pub const fn new(key0: u64, key1: u64) -> Self {
        Self { key0, key1 }
    }

    /// The hash of a key.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.key0, self.key1);
        hasher.write(bytes);
        hasher.finish()
    }
}
