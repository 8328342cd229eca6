//! RDB, the snapshot format of Redis: what it is made of, a writer and an incremental reader.
//!
//! ```text
//! REDIS0011                                  nine bytes: magic and version
//! FA name value                              AUX: a remark about the file, any number of them
//! F5 code                                    FUNCTION2: a function library
//! FE n                                       SELECTDB: what follows is in database n
//! FB keys expiring                           RESIZEDB: how much that is
//! F4 slot keys expiring                      SLOT_INFO: the same of a hash slot
//! [FC ms | FD s] [F8 idle | F9 frequency]    what is known of the next key beside its value
//! type key value                             a key
//! F7 module …                                MODULE_AUX: data of a module
//! FF checksum                                EOF: CRC-64 of everything before, eight bytes
//! ```
//!
//! Source of the format: files that Redis 7.0, 7.2 and 7.4 write, versions 10 to 12. Files of newer servers, versions 13
//! and 80, are read as far as they hold nothing that is new in them.

mod cursor;
mod element;
mod fuzz;
mod layout;
pub mod length;
mod module;
mod place;
mod reader;
pub mod string;
mod value_reader;
mod writer;

pub use element::{Element, RdbElement, StreamHistory, StreamMeta};
pub use fuzz::fuzz_rdb;
pub use layout::ValueLayout;
pub use module::module_name;
pub use reader::{RdbEntry, RdbEvent, RdbOpen, RdbReader};
pub use string::RdbString;
pub use value_reader::{ValueEvent, ValueReader};
pub use writer::{EntryNotes, RdbWriter};

pub(crate) use element::write_element;
pub(crate) use place::Place;
pub(crate) use writer::write_value;

use std::fmt;

/// The newest version of a payload that is read.
pub const VERSION_MAX: u16 = 12;
/// Newer versions of files that are read as far as they hold nothing new: 13 of Redis 8, 80 of Valkey 9.
const VERSIONS_AHEAD: [u16; 2] = [13, 80];
/// From this version on it is Valkey's own: types from 22 on are others than Redis's.
const VALKEY_VERSION_MIN: u16 = 80;
/// The first type whose meaning depends on who wrote the file.
const DISPUTED_TYPE_MIN: u8 = 22;
/// The version that is written, unless an older one is asked for.
pub const VERSION: u16 = 11;
/// The first version in which fields of hashes expire; written if there are such.
pub const VERSION_TIMED_HASHES: u16 = 12;
/// The longest string. A longer one is taken for damage.
pub const STRING_MAX_BYTES: u64 = 1 << 32;

/// Bytes of magic and version.
pub(crate) const HEADER_BYTES: usize = 9;
/// The first version with a checksum at the end.
pub(crate) const CHECKSUM_SINCE: u16 = 5;

/// What the bytes before values mean.
pub mod opcode {
    /// Size of a hash slot.
    pub const SLOT_INFO: u8 = 244;
    /// A function library.
    pub const FUNCTION2: u8 = 245;
    /// A function library of a preview of Redis 7.0.
    pub const FUNCTION_PREVIEW: u8 = 246;
    /// Data of a module that belongs to no key.
    pub const MODULE_AUX: u8 = 247;
    /// Seconds since the next key was accessed.
    pub const IDLE: u8 = 248;
    /// How often the next key was accessed.
    pub const FREQUENCY: u8 = 249;
    /// A remark about the file.
    pub const AUX: u8 = 250;
    /// Size of the database.
    pub const RESIZE_DATABASE: u8 = 251;
    /// Expiry of the next key in milliseconds.
    pub const EXPIRY_MS: u8 = 252;
    /// Expiry of the next key in seconds.
    pub const EXPIRY_S: u8 = 253;
    /// The database of what follows.
    pub const SELECT_DATABASE: u8 = 254;
    /// The end.
    pub const END: u8 = 255;
}

/// A value that is one string of the file. Others come in parts, see [`Element`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RdbValue<'a> {
    /// A string.
    String(RdbString<'a>),
    /// A whole collection: a listpack, an intset, or one of their forerunners. Nobody has looked at the bytes.
    Packed {
        /// What it is; [`ValueLayout::is_packed`].
        layout: ValueLayout,
        /// The collection.
        bytes: &'a [u8],
    },
}

impl RdbValue<'_> {
    /// How it is laid out.
    pub const fn layout(&self) -> ValueLayout {
        match self {
            Self::String(_) => ValueLayout::String,
            Self::Packed { layout, .. } => *layout,
        }
    }
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RdbProblem {
    /// It does not begin with `REDIS` and four digits.
    WrongSignature,
    /// A version that is not known.
    UnsupportedVersion(u16),
    /// A byte where a type or opcode is expected.
    UnknownType(u8),
    /// A value of a type that cannot be loaded.
    UnsupportedType(&'static str),
    /// A value of a module; there are none.
    ModuleValue(u64),
    /// A length in a form that is not known.
    MalformedLength,
    /// A string that is longer than any can be.
    StringTooLong,
    /// A string in a form that is not known, or badly compressed.
    MalformedString,
    /// A score that is no number.
    MalformedScore,
    /// A list's node of a kind that is not known.
    MalformedNode,
    /// An id of a stream that is not 16 bytes long.
    MalformedStreamId,
    /// Data of a module that does not follow the rules for such data.
    MalformedModuleData,
    /// The checksum at the end is another.
    WrongChecksum {
        /// The checksum at the end.
        stored: u64,
        /// The checksum of the bytes.
        computed: u64,
    },
}

impl fmt::Display for RdbProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongSignature => formatter.write_str("wrong signature"),
            Self::UnsupportedVersion(version) => write!(formatter, "cannot read RDB version {version}"),
            Self::UnknownType(byte) => {
                write!(formatter, "unknown type or opcode {byte}: damage, or a file of a newer server")
            }
            Self::UnsupportedType(name) => write!(formatter, "cannot load a value of type {name}"),
            Self::ModuleValue(id) => {
                let name = module_name(*id);
                write!(formatter, "the value of a module, and there is no module with type '{name}'")
            }
            Self::MalformedLength => formatter.write_str("malformed length"),
            Self::StringTooLong => formatter.write_str("a string is too long"),
            Self::MalformedString => formatter.write_str("malformed string"),
            Self::MalformedScore => formatter.write_str("malformed score"),
            Self::MalformedNode => formatter.write_str("malformed node of a list"),
            Self::MalformedStreamId => formatter.write_str("malformed stream id"),
            Self::MalformedModuleData => formatter.write_str("malformed module data"),
            Self::WrongChecksum { stored, computed } => {
                write!(
                    formatter,
                    "wrong checksum (RDB CRC error): the file says {stored:016x}, its bytes give {computed:016x}"
                )
            }
        }
    }
}

/// What is wrong, and where: the offset of the record in which it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdbError {
    /// Bytes before the record.
    pub offset: u64,
    /// What is wrong.
    pub problem: RdbProblem,
}

impl fmt::Display for RdbError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at offset {}", self.problem, self.offset)
    }
}

impl std::error::Error for RdbError {}
