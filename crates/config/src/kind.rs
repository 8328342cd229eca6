//! What a row of the table says about a directive.

use std::ops::BitOr;

/// The type of a directive's value, with its bounds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// One of the listed words, in any case of letters.
    Choice(&'static [&'static str]),
    /// A decimal number.
    Integer {
        /// The smallest value.
        lower: i128,
        /// The largest value.
        upper: i128,
    },
    /// Bytes, with an optional unit: `1k` is 1000, `1kb` 1024, and so for `m` and `g`.
    Memory {
        /// The smallest value.
        lower: i128,
        /// The largest value.
        upper: i128,
    },
    /// Bytes as in [`Kind::Memory`], or a percentage of maxmemory from `0%` to `100%`.
    MemoryOrPercent,
    /// A number in base 8, as file permissions are written.
    Octal {
        /// The smallest value.
        lower: i128,
        /// The largest value.
        upper: i128,
    },
    /// Any text; the empty text is a value like any other.
    Text(Check),
    /// Any text; the empty text stands for "not set", and CONFIG REWRITE then removes the line.
    OptionalText(Check),
    /// A type of its own, described in words.
    Special(&'static str),
}

/// A test that a text has to pass; the error is what the operator reads.
pub type Check = fn(&[u8]) -> Result<(), &'static str>;

/// The check of a text without restrictions.
pub(crate) fn any_text(_text: &[u8]) -> Result<(), &'static str> {
    Ok(())
}

impl Kind {
    /// The type in words, for documentation.
    pub fn describe(&self) -> String {
        match self {
            Self::Bool => "yes or no".into(),
            Self::Choice(names) => names.join(", "),
            Self::Integer { lower, upper } => format!("integer from {lower} to {upper}"),
            Self::Memory { lower, upper } => format!("bytes from {lower} to {upper}, with a unit if wanted"),
            Self::MemoryOrPercent => "bytes, or a percentage of maxmemory".into(),
            Self::Octal { lower, upper } => format!("octal number from {lower:o} to {upper:o}"),
            Self::Text(_) => "text".into(),
            Self::OptionalText(_) => "text, or nothing".into(),
            Self::Special(words) => (*words).into(),
        }
    }
}

/// Properties of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// No property.
    pub const NONE: Self = Self(0);
    /// CONFIG SET refuses it.
    pub const IMMUTABLE: Self = Self(1);
    /// CONFIG GET shows it only when it is asked for by its full name.
    pub const HIDDEN: Self = Self(1 << 1);
    /// CONFIG SET needs `enable-protected-configs`.
    pub const PROTECTED: Self = Self(1 << 2);
    /// The value is a secret: logs, slow log and MONITOR must not show it.
    pub const SENSITIVE: Self = Self(1 << 3);
    /// CONFIG SET refuses it while a data set is being loaded.
    pub const DENIED_WHILE_LOADING: Self = Self(1 << 4);
    /// It takes several arguments; a single one is split at its spaces.
    pub const MULTIPLE: Self = Self(1 << 5);
    /// Accepted and kept, but nothing depends on it (yet).
    pub const WITHOUT_EFFECT: Self = Self(1 << 6);
    /// Setting it to the value it has counts as a change, because the file it names may have changed.
    pub const VOLATILE: Self = Self(1 << 7);

    /// Whether all properties of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of properties; usable in constants.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}
