//! The flags of a node, as they stand in bus messages and in nodes.conf.

use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

/// A set of flags; the bits are those of the bus (Redis 7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeFlags(pub u16);

impl NodeFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Serves slots, or may.
    pub const PRIMARY: Self = Self(1);
    /// Copies a primary.
    pub const REPLICA: Self = Self(2);
    /// This node cannot reach it (`fail?`).
    pub const SUSPECTED: Self = Self(4);
    /// A majority of the primaries cannot reach it (`fail`).
    pub const FAILED: Self = Self(8);
    /// This node itself.
    pub const MYSELF: Self = Self(16);
    /// Not yet known by its real name.
    pub const HANDSHAKE: Self = Self(32);
    /// No address is known.
    pub const NO_ADDRESS: Self = Self(64);
    /// The first message to it is MEET.
    pub const MEET: Self = Self(128);
    /// A primary that replicas may migrate to.
    pub const MIGRATE_TO: Self = Self(256);
    /// A replica that does not stand for election.
    pub const NO_FAILOVER: Self = Self(512);

    /// What a gossip entry may say about a node that was unknown so far.
    pub const FROM_GOSSIP: Self = Self(1 | 2 | 4 | 8 | 256 | 512);

    /// Whether any flag of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Sets the flags of `other`.
    pub fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Clears the flags of `other`.
    pub fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// The words of CLUSTER NODES, comma separated; `noflags` if there are none.
    pub fn text(self) -> String {
        let words: Vec<&str> =
            WORDS.iter().filter(|(flag, _)| self.has(*flag)).map(|&(_, word)| word).collect();
        if words.is_empty() { "noflags".to_owned() } else { words.join(",") }
    }

    /// The flag a word of nodes.conf stands for, in any case of letters; `None` if the word is unknown.
    pub fn from_word(word: &str) -> Option<Self> {
        if word.eq_ignore_ascii_case("noflags") {
            return Some(Self::NONE);
        }
        WORDS.iter().find(|(_, known)| known.eq_ignore_ascii_case(word)).map(|&(flag, _)| flag)
    }
}

impl BitOr for NodeFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for NodeFlags {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for NodeFlags {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl BitOrAssign for NodeFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The words in the order in which CLUSTER NODES prints them.
const WORDS: [(NodeFlags, &str); 8] = [
    (NodeFlags::MYSELF, "myself"),
    (NodeFlags::PRIMARY, "master"),
    (NodeFlags::REPLICA, "slave"),
    (NodeFlags::SUSPECTED, "fail?"),
    (NodeFlags::FAILED, "fail"),
    (NodeFlags::HANDSHAKE, "handshake"),
    (NodeFlags::NO_ADDRESS, "noaddr"),
    (NodeFlags::NO_FAILOVER, "nofailover"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_both_ways() {
        assert_eq!(NodeFlags::NONE.text(), "noflags");
        assert_eq!((NodeFlags::MYSELF | NodeFlags::PRIMARY).text(), "myself,master");
        assert_eq!((NodeFlags::REPLICA | NodeFlags::FAILED | NodeFlags::MEET).text(), "slave,fail");
        assert_eq!(NodeFlags::from_word("fail?"), Some(NodeFlags::SUSPECTED));
        assert_eq!(NodeFlags::from_word("NoFlags"), Some(NodeFlags::NONE));
        assert_eq!(NodeFlags::from_word("what"), None);
    }
}
