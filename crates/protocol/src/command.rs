//! The command table of Redis 7.2, with some commands of 7.4: one row per command and subcommand.
//!
//! Routing, ACL, documentation and checks derive from these rows. The data is generated from `commands.json`; the
//! rows say nothing about which commands this program implements.

use std::fmt;

/// A set of command flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

/// A set of ACL categories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Categories(pub u32);

/// A set of flags of one key specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFlags(pub u32);

/// Declares the members of a bit set and the names that Redis prints for them, in the order in which it prints them.
macro_rules! bit_set {
    ($set:ident { $($member:ident = $bit:literal, $name:literal;)* }) => {
        #[allow(missing_docs)]
        impl $set {
            $(pub const $member: $set = $set(1 << $bit);)*

            /// Whether every member of `other` is in this set.
            pub const fn contains(self, other: $set) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any member of `other` is in this set.
            pub const fn intersects(self, other: $set) -> bool {
                self.0 & other.0 != 0
            }

            /// The names of the members, as Redis prints them.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                const NAMES: &[(u32, &str)] = &[$((1 << $bit, $name)),*];
                NAMES.iter().filter(move |(bit, _)| self.0 & bit != 0).map(|(_, name)| *name)
            }
        }
    };
}

bit_set!(Flags {
    WRITE = 0, "write";
    READONLY = 1, "readonly";
    DENYOOM = 2, "denyoom";
    ADMIN = 3, "admin";
    PUBSUB = 4, "pubsub";
    NOSCRIPT = 5, "noscript";
    BLOCKING = 6, "blocking";
    LOADING = 7, "loading";
    STALE = 8, "stale";
    SKIP_MONITOR = 9, "skip_monitor";
    SKIP_SLOWLOG = 10, "skip_slowlog";
    ASKING = 11, "asking";
    FAST = 12, "fast";
    NO_AUTH = 13, "no_auth";
    MOVABLEKEYS = 14, "movablekeys";
    ALLOW_BUSY = 15, "allow_busy";
    NO_MULTI = 16, "no_multi";
    NO_ASYNC_LOADING = 17, "no_async_loading";
    NO_MANDATORY_KEYS = 18, "no_mandatory_keys";
});

bit_set!(Categories {
    KEYSPACE = 0, "@keyspace";
    READ = 1, "@read";
    WRITE = 2, "@write";
    SET = 3, "@set";
    SORTEDSET = 4, "@sortedset";
    LIST = 5, "@list";
    HASH = 6, "@hash";
    STRING = 7, "@string";
    BITMAP = 8, "@bitmap";
    HYPERLOGLOG = 9, "@hyperloglog";
    GEO = 10, "@geo";
    STREAM = 11, "@stream";
    PUBSUB = 12, "@pubsub";
    ADMIN = 13, "@admin";
    FAST = 14, "@fast";
    SLOW = 15, "@slow";
    BLOCKING = 16, "@blocking";
    DANGEROUS = 17, "@dangerous";
    CONNECTION = 18, "@connection";
    TRANSACTION = 19, "@transaction";
    SCRIPTING = 20, "@scripting";
});

bit_set!(KeyFlags {
    RO = 0, "RO";
    RW = 1, "RW";
    OW = 2, "OW";
    RM = 3, "RM";
    ACCESS = 4, "access";
    UPDATE = 5, "update";
    INSERT = 6, "insert";
    DELETE = 7, "delete";
    NOT_KEY = 8, "not_key";
    INCOMPLETE = 9, "incomplete";
    VARIABLE_FLAGS = 10, "variable_flags";
});

/// Where the keys of a specification begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginSearch {
    /// At this argument; the command's name is argument 0.
    Index(i32),
    /// After this keyword, looked for from argument `start_from` on (backwards from the end if negative).
    Keyword {
        /// The word, compared without regard to case.
        keyword: &'static str,
        /// The first argument to look at.
        start_from: i32,
    },
    /// Nobody can tell without running the command.
    Unknown,
}

/// Which arguments after the beginning are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindKeys {
    /// From the beginning to `last_key`.
    Range {
        /// Relative to the beginning, or from the end if negative.
        last_key: i32,
        /// Distance from key to key.
        key_step: i32,
        /// With a negative `last_key`: 2 stops at the half of the rest, 3 at a third; 0 and 1 mean no limit.
        limit: i32,
    },
    /// As many as an argument says.
    Count {
        /// Where the count stands, relative to the beginning.
        count_index: i32,
        /// Where the first key stands, relative to the beginning.
        first_key: i32,
        /// Distance from key to key.
        key_step: i32,
    },
    /// Nobody can tell without running the command.
    Unknown,
}

/// One key specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// What the command does with these keys.
    pub flags: KeyFlags,
    /// A remark for readers of `COMMAND INFO`; may be empty.
    pub notes: &'static str,
    /// Where they begin.
    pub begin: BeginSearch,
    /// Which ones they are.
    pub find: FindKeys,
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ArgumentKind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    Oneof,
    Block,
}

impl ArgumentKind {
    /// The name that `COMMAND DOCS` prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::Oneof => "oneof",
            Self::Block => "block",
        }
    }
}

/// One argument in the syntax of a command.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgumentKind,
    /// What help shows for it; may be empty.
    pub display_text: &'static str,
    /// The word that introduces it or that it is.
    pub token: Option<&'static str>,
    /// The key specification that finds it.
    pub key_spec_index: Option<i32>,
    /// The version that brought it; empty if the command's own.
    pub since: &'static str,
    /// The version that deprecated it, or empty.
    pub deprecated_since: &'static str,
    /// May be left out.
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
    /// Repeats together with its token.
    pub multiple_token: bool,
    /// The parts of a block or the choices of a oneof.
    pub arguments: &'static [Argument],
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Command {
    /// Its identity in code.
    pub id: CommandId,
    /// Lower case; `container|subcommand` for a subcommand.
    pub name: &'static str,
    /// The container, for a subcommand.
    pub parent: Option<CommandId>,
    /// The number of words; at least as many if negative.
    pub arity: i16,
    /// Its flags.
    pub flags: Flags,
    /// Its ACL categories.
    pub categories: Categories,
    /// The first key's argument, 0 if there is none (the form older than key specifications).
    pub first_key: i16,
    /// The last key's argument, from the end if negative.
    pub last_key: i16,
    /// Distance from key to key.
    pub key_step: i16,
    /// Hints for clients of a cluster.
    pub tips: &'static [&'static str],
    /// The version that brought it.
    pub since: &'static str,
    /// The group in the documentation.
    pub group: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Its cost.
    pub complexity: &'static str,
    /// `deprecated`, `syscmd`.
    pub doc_flags: &'static [&'static str],
    /// The version that deprecated it, or empty.
    pub deprecated_since: &'static str,
    /// What to use instead, or empty.
    pub replaced_by: &'static str,
    /// How many of the following rows are its subcommands.
    pub subcommand_count: u16,
    /// Where its keys are.
    pub key_specs: &'static [KeySpec],
    /// Its syntax.
    pub arguments: &'static [Argument],
}

impl fmt::Debug for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Command").field(&self.name).finish()
    }
}

include!(concat!(env!("OUT_DIR"), "/commands.rs"));

impl CommandId {
    /// How many commands and subcommands the table holds.
    pub const COUNT: usize = COMMANDS.len();

    /// The row of this command.
    pub fn row(self) -> &'static Command {
        &COMMANDS[self as usize]
    }
}

impl Command {
    /// Finds a command by its name, without regard to case; never a subcommand.
    #[inline]
    pub fn lookup(name: &[u8]) -> Option<&'static Command> {
        if let Some(folded) = fold_short(name) {
            let mut slot = short_slot(folded);
            while let &(candidate, index) = &SHORT_NAMES[slot]
                && candidate != 0
            {
                if candidate == folded {
                    return COMMANDS.get(usize::from(index));
                }
                slot = (slot + 1) % SHORT_NAMES.len();
            }
        }
        Self::lookup_any(name)
    }

    /// Finds a command whose name is long or holds more than letters.
    fn lookup_any(name: &[u8]) -> Option<&'static Command> {
        let mut slot = name_hash(name) as usize % NAME_SLOTS.len();
        loop {
            let command = COMMANDS.get(usize::from(NAME_SLOTS[slot]))?;
            if command.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(command);
            }
            slot = (slot + 1) % NAME_SLOTS.len();
        }
    }

    /// Finds one of this container's subcommands by its own name, without regard to case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        self.subcommands().iter().find(|command| command.own_name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// This container's subcommands.
    pub fn subcommands(&self) -> &'static [Command] {
        let first = self.id as usize + 1;
        &COMMANDS[first..first + usize::from(self.subcommand_count)]
    }

    /// The name without the container: `get` for `config|get`.
    pub fn own_name(&self) -> &'static str {
        self.name.rsplit('|').next().unwrap_or(self.name)
    }

    /// Whether `count` words, the name included, fit the arity.
    pub const fn arity_fits(&self, count: usize) -> bool {
        if self.arity >= 0 {
            count == self.arity as usize
        } else {
            count >= self.arity.unsigned_abs() as usize
        }
    }

    /// All commands that are not subcommands, in the order of the table.
    pub fn top_level() -> impl Iterator<Item = &'static Command> {
        COMMANDS.iter().filter(|command| command.parent.is_none())
    }
}

/// A name of up to eight bytes in one word, the case bit set in each byte. For names of letters, which are all in
/// [`SHORT_NAMES`], two words are equal if and only if the names are, without regard to case.
#[inline]
pub fn fold_short(name: &[u8]) -> Option<u64> {
    let count = name.len();
    let word = match *name {
        [] => return None,
        [only] => u64::from(only),
        // The two halves overlap in bytes that are the same in both.
        [_, _] | [_, _, _] => {
            let (first, last) = (name.first_chunk::<2>()?, name.last_chunk::<2>()?);
            u64::from(u16::from_le_bytes(*first)) | u64::from(u16::from_le_bytes(*last)) << (8 * (count - 2))
        }
        _ if count <= 8 => {
            let (first, last) = (name.first_chunk::<4>()?, name.last_chunk::<4>()?);
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (count - 4))
        }
        _ => return None,
    };
    Some(word | 0x2020_2020_2020_2020 >> (64 - 8 * count))
}

/// Where to look for a folded name first: by its product with 2⁶⁴ / φ, as the generated table was built.
#[inline]
fn short_slot(folded: u64) -> usize {
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % SHORT_NAMES.len()
}

/// FNV-1a over the name with the case bit set, as the generated table was built.
fn name_hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte | 0x20)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete() {
        // Those of 7.2, and nine of 7.4.
        assert_eq!(Command::top_level().count(), 241 + 9);
        // Subcommands of 7.2, and six of CLUSTER: slots that move at once, statistics of slots, events.
        assert_eq!(COMMANDS.len(), 241 + 9 + 129 + 6);
        for (index, command) in COMMANDS.iter().enumerate() {
            assert_eq!(command.id as usize, index);
        }
    }

    #[test]
    fn every_name_is_found_in_any_case() {
        for command in Command::top_level() {
            assert_eq!(Command::lookup(command.name.as_bytes()).map(|found| found.id), Some(command.id));
            assert_eq!(
                Command::lookup(command.name.to_uppercase().as_bytes()).map(|found| found.id),
                Some(command.id)
            );
            for subcommand in command.subcommands() {
                assert_eq!(subcommand.parent, Some(command.id));
                let found = command.subcommand(subcommand.own_name().to_uppercase().as_bytes());
                assert_eq!(found.map(|found| found.id), Some(subcommand.id));
            }
        }
        assert!(Command::lookup(b"nosuch").is_none());
        // Bytes that differ from letters by the case bit alone, or that would pass for no byte at all.
        for name in
            [b"ge\x14".as_slice(), b"get\0", b"get\x20", b"\0", b"g\x45t\0\0\0\0\0", b"set\0\0\0\0\0\0"]
        {
            assert!(Command::lookup(name).is_none(), "{}", name.escape_ascii());
        }
        assert!(Command::lookup(b"").is_none());
    }

    #[test]
    fn rows_carry_the_facts() {
        let set = Command::lookup(b"SET").unwrap();
        assert_eq!(set.arity, -3);
        assert!(set.flags.contains(Flags::WRITE) && set.flags.contains(Flags::DENYOOM));
        assert!(set.arity_fits(3) && set.arity_fits(9) && !set.arity_fits(2));
        assert_eq!(set.categories.names().collect::<Vec<_>>(), ["@write", "@string", "@slow"]);
        let get = Command::lookup(b"get").unwrap();
        assert!(get.arity_fits(2) && !get.arity_fits(3));
        assert_eq!(get.key_specs[0].begin, BeginSearch::Index(1));
    }
}
