//! How values are laid out: what the byte before a key says.

use super::RdbProblem;

/// The layout of a value. Which type it belongs to follows from it, the other way round it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueLayout {
    /// A string.
    String,
    /// A list, element by element; written before Redis 3.2.
    List,
    /// A set, member by member.
    Set,
    /// A sorted set with scores as text; written before Redis 4.0.
    SortedSetText,
    /// A hash, field by field.
    Hash,
    /// A sorted set with binary scores.
    SortedSet,
    /// A hash in one zipmap; written before Redis 2.6.
    HashZipmap,
    /// A list in one ziplist; written before Redis 3.2.
    ListZiplist,
    /// A set of integers in one intset.
    SetIntset,
    /// A sorted set in one ziplist; written before Redis 7.0.
    SortedSetZiplist,
    /// A hash in one ziplist; written before Redis 7.0.
    HashZiplist,
    /// A list of ziplists; written before Redis 7.0.
    Quicklist,
    /// A stream of listpacks; written before Redis 7.0.
    Stream,
    /// A hash in one listpack.
    HashListpack,
    /// A sorted set in one listpack.
    SortedSetListpack,
    /// A list of listpacks and plain nodes.
    Quicklist2,
    /// A stream that knows what was added and deleted; written by Redis 7.0.
    Stream2,
    /// A set in one listpack; since Redis 7.2.
    SetListpack,
    /// A stream whose consumers know when they were active; since Redis 7.2.
    Stream3,
    /// A hash, field by field, each with its expiry; written by previews of Redis 7.4.
    TimedHashPreview,
    /// A hash in one listpack of fields, values and expiries; written by previews of Redis 7.4.
    TimedHashListpackPreview,
    /// A hash, field by field, each with its expiry counted from that of the first; since Redis 7.4.
    TimedHash,
    /// A hash in one listpack of fields, values and expiries, before it the first expiry; since Redis 7.4.
    TimedHashListpack,
}

use ValueLayout as L;

const BYTES: [(u8, ValueLayout); 23] = [
    (0, L::String),
    (1, L::List),
    (2, L::Set),
    (3, L::SortedSetText),
    (4, L::Hash),
    (5, L::SortedSet),
    (9, L::HashZipmap),
    (10, L::ListZiplist),
    (11, L::SetIntset),
    (12, L::SortedSetZiplist),
    (13, L::HashZiplist),
    (14, L::Quicklist),
    (15, L::Stream),
    (16, L::HashListpack),
    (17, L::SortedSetListpack),
    (18, L::Quicklist2),
    (19, L::Stream2),
    (20, L::SetListpack),
    (21, L::Stream3),
    (22, L::TimedHashPreview),
    (23, L::TimedHashListpackPreview),
    (24, L::TimedHash),
    (25, L::TimedHashListpack),
];

impl ValueLayout {
    /// The layout that a type byte stands for.
    ///
    /// # Errors
    /// The byte is none, or stands for a layout that cannot be read.
    pub fn from_byte(byte: u8) -> Result<Self, RdbProblem> {
        let known = BYTES.iter().find(|(known, _)| *known == byte);
        known.map(|(_, layout)| *layout).ok_or(match byte {
            6 | 7 => RdbProblem::UnsupportedType("module"),
            _ => RdbProblem::UnknownType(byte),
        })
    }

    /// The byte that stands for it.
    pub const fn byte(self) -> u8 {
        match self {
            L::String => 0,
            L::List => 1,
            L::Set => 2,
            L::SortedSetText => 3,
            L::Hash => 4,
            L::SortedSet => 5,
            L::HashZipmap => 9,
            L::ListZiplist => 10,
            L::SetIntset => 11,
            L::SortedSetZiplist => 12,
            L::HashZiplist => 13,
            L::Quicklist => 14,
            L::Stream => 15,
            L::HashListpack => 16,
            L::SortedSetListpack => 17,
            L::Quicklist2 => 18,
            L::Stream2 => 19,
            L::SetListpack => 20,
            L::Stream3 => 21,
            L::TimedHashPreview => 22,
            L::TimedHashListpackPreview => 23,
            L::TimedHash => 24,
            L::TimedHashListpack => 25,
        }
    }

    /// The name of its type, as `TYPE` prints it.
    pub const fn type_name(self) -> &'static str {
        match self {
            L::String => "string",
            L::List | L::ListZiplist | L::Quicklist | L::Quicklist2 => "list",
            L::Set | L::SetIntset | L::SetListpack => "set",
            L::SortedSetText | L::SortedSet | L::SortedSetZiplist | L::SortedSetListpack => "zset",
            L::Hash
            | L::HashZipmap
            | L::HashZiplist
            | L::HashListpack
            | L::TimedHashPreview
            | L::TimedHashListpackPreview
            | L::TimedHash
            | L::TimedHashListpack => "hash",
            L::Stream | L::Stream2 | L::Stream3 => "stream",
        }
    }

    /// Whether the value is one string of the file, beside being a string.
    pub const fn is_packed(self) -> bool {
        matches!(
            self,
            L::HashZipmap
                | L::ListZiplist
                | L::SetIntset
                | L::SortedSetZiplist
                | L::HashZiplist
                | L::HashListpack
                | L::SortedSetListpack
                | L::SetListpack
                | L::TimedHashListpackPreview
                | L::TimedHashListpack
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        for byte in 0..=255 {
            match ValueLayout::from_byte(byte) {
                Ok(layout) => assert_eq!(layout.byte(), byte),
                Err(RdbProblem::UnsupportedType(_)) => assert!(matches!(byte, 6 | 7)),
                Err(problem) => assert_eq!(problem, RdbProblem::UnknownType(byte)),
            }
        }
        let known = (0..=255).filter(|byte| ValueLayout::from_byte(*byte).is_ok()).count();
        assert_eq!(known, BYTES.len());
    }
}
