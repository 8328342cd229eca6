//! How values of the simple types are read, shown and rewritten.

use shoal_protocol::quoting::quote;

use crate::kind::Kind;
use crate::number::{format_memory, parse_integer, parse_memory};

/// Where new arguments come from; `save` alone minds the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A line of a configuration file or of the command line.
    File,
    /// CONFIG SET.
    Command,
}

/// One line that CONFIG REWRITE writes for a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RewrittenLine {
    /// The line without its end.
    pub text: String,
    /// Whether it is added when the old file has no line for the directive.
    pub is_forced: bool,
}

/// A value that a directive can have.
pub(crate) trait Value: Clone + PartialEq {
    /// Takes new arguments; on an error the value stays as it was and the text says why.
    fn assign(&mut self, kind: &Kind, arguments: &[Vec<u8>], source: Source) -> Result<(), String>;

    /// The value as CONFIG GET prints it.
    fn show(&self, kind: &Kind) -> Vec<u8>;

    /// The lines that CONFIG REWRITE writes; none if the directive is to vanish from the file.
    fn rewrite(&self, name: &str, default: &Self, kind: &Kind) -> Vec<RewrittenLine> {
        vec![RewrittenLine {
            text: format!("{name} {}", String::from_utf8_lossy(&self.show(kind))),
            is_forced: self != default,
        }]
    }
}

/// The only argument.
pub(crate) fn single(arguments: &[Vec<u8>]) -> Result<&[u8], String> {
    match arguments {
        [argument] => Ok(argument),
        _ => Err("wrong number of arguments".into()),
    }
}

impl Value for bool {
    fn assign(&mut self, _kind: &Kind, arguments: &[Vec<u8>], _source: Source) -> Result<(), String> {
        *self = match single(arguments)?.to_ascii_lowercase().as_slice() {
            b"yes" => true,
            b"no" => false,
            _ => return Err("argument must be 'yes' or 'no'".into()),
        };
        Ok(())
    }

    fn show(&self, _kind: &Kind) -> Vec<u8> {
        if *self { b"yes".to_vec() } else { b"no".to_vec() }
    }
}

impl Value for Vec<u8> {
    fn assign(&mut self, kind: &Kind, arguments: &[Vec<u8>], _source: Source) -> Result<(), String> {
        let argument = single(arguments)?;
        if let Kind::Text(check) | Kind::OptionalText(check) = kind {
            check(argument)?;
        }
        *self = argument.to_vec();
        Ok(())
    }

    fn show(&self, _kind: &Kind) -> Vec<u8> {
        self.clone()
    }

    fn rewrite(&self, name: &str, default: &Self, kind: &Kind) -> Vec<RewrittenLine> {
        if self.is_empty() && matches!(kind, Kind::OptionalText(_)) {
            return Vec::new();
        }
        vec![RewrittenLine { text: format!("{name} {}", quote(self)), is_forced: self != default }]
    }
}

impl Value for String {
    fn assign(&mut self, kind: &Kind, arguments: &[Vec<u8>], source: Source) -> Result<(), String> {
        let mut bytes = Vec::new();
        bytes.assign(kind, arguments, source)?;
        *self = String::from_utf8(bytes).map_err(|_| "argument must be valid UTF-8 text")?;
        Ok(())
    }

    fn show(&self, _kind: &Kind) -> Vec<u8> {
        self.clone().into_bytes()
    }

    fn rewrite(&self, name: &str, default: &Self, kind: &Kind) -> Vec<RewrittenLine> {
        self.clone().into_bytes().rewrite(name, &default.clone().into_bytes(), kind)
    }
}

/// Reads a number of one of the numeric kinds and checks its bounds.
fn parse_number(kind: &Kind, argument: &[u8]) -> Result<i128, String> {
    let parsed = match kind {
        Kind::Memory { .. } => {
            parse_memory(argument).map(i128::from).ok_or("argument must be a memory value")
        }
        Kind::Octal { .. } => std::str::from_utf8(argument)
            .ok()
            .and_then(|text| i64::from_str_radix(text, 8).ok())
            .map(i128::from)
            .ok_or("argument couldn't be parsed as an octal number"),
        _ => parse_integer(argument).map(i128::from).ok_or("argument couldn't be parsed into an integer"),
    };
    let number = parsed?;
    match kind {
        Kind::Integer { lower, upper } | Kind::Memory { lower, upper }
            if number < *lower || number > *upper =>
        {
            Err(format!("argument must be between {lower} and {upper} inclusive"))
        }
        Kind::Octal { lower, upper } if number < *lower || number > *upper => {
            Err(format!("argument must be between {lower:o} and {upper:o} inclusive"))
        }
        _ => Ok(number),
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Value for $number {
            fn assign(&mut self, kind: &Kind, arguments: &[Vec<u8>], _source: Source) -> Result<(), String> {
                let number = parse_number(kind, single(arguments)?)?;
                // The bounds of every row lie within its type: a test goes through all of them.
                *self = <$number>::try_from(number).map_err(|_| "argument is out of range")?;
                Ok(())
            }

            fn show(&self, kind: &Kind) -> Vec<u8> {
                match kind {
                    Kind::Octal { .. } => format!("{self:o}"),
                    _ => self.to_string(),
                }
                .into_bytes()
            }

            fn rewrite(&self, name: &str, default: &Self, kind: &Kind) -> Vec<RewrittenLine> {
                let shown = match (kind, u64::try_from(*self)) {
                    (Kind::Memory { .. }, Ok(bytes)) => format_memory(bytes),
                    (Kind::Octal { .. }, _) => format!("{self:o}"),
                    _ => self.to_string(),
                };
                vec![RewrittenLine { text: format!("{name} {shown}"), is_forced: self != default }]
            }
        }
    )*};
}

numbers!(u16, u32, u64, i32, i64);
