//! Names of nodes and shards.

use shoal_machine::Rng;
use std::fmt;

/// The length of a node's name.
pub const NODE_ID_LENGTH: usize = 40;

/// The name of a node or of a shard: 40 characters `a`–`z`, `0`–`9` (Redis makes only hexadecimal ones, and accepts
/// these).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; NODE_ID_LENGTH]);

impl NodeId {
    /// A new random name.
    pub fn random(rng: &mut Rng) -> Self {
        Self(rng.hex_id())
    }

    /// The name in these bytes; `None` unless they are exactly 40 of the allowed characters.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let name: [u8; NODE_ID_LENGTH] = bytes.try_into().ok()?;
        name.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()).then_some(Self(name))
    }

    /// The characters.
    pub fn as_bytes(&self) -> &[u8; NODE_ID_LENGTH] {
        &self.0
    }

    /// The characters as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str().get(..8).unwrap_or(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forty_allowed_characters() {
        assert!(NodeId::parse(&[b'a'; 40]).is_some());
        assert!(NodeId::parse(&[b'z'; 40]).is_some());
        for wrong in [&[b'a'; 39][..], &[b'a'; 41], &[b'A'; 40], &[0; 40], &[b'-'; 40]] {
            assert_eq!(NodeId::parse(wrong), None);
        }
    }
}
