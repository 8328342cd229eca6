//! Replies as text: one module per form of output.

pub(crate) mod csv;
pub(crate) mod json;
pub(crate) mod raw;
pub(crate) mod tty;

use shoal_protocol::value::Value;

/// The forms in which replies are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    /// For people: numbered, quoted, typed.
    Tty,
    /// The bytes as they came.
    Raw,
    /// Comma-separated values.
    Csv,
    /// JSON; bytes that are not ASCII pass through.
    Json,
    /// JSON in ASCII only; other bytes are escaped as in [`OutputFormat::Tty`].
    QuotedJson,
}

/// What stands between the parts of raw output.
#[derive(Clone, Debug)]
pub(crate) struct Delimiters {
    /// Between the elements of one reply (`-d`).
    pub element: Vec<u8>,
    /// After each reply (`-D`).
    pub reply: Vec<u8>,
}

impl Default for Delimiters {
    fn default() -> Self {
        Self { element: b"\n".to_vec(), reply: b"\n".to_vec() }
    }
}

/// Writes a reply with whatever ends it.
pub(crate) fn format_reply(value: &Value, format: OutputFormat, delimiters: &Delimiters) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        OutputFormat::Tty => tty::write(value, "", &mut out),
        OutputFormat::Raw => {
            raw::write(value, &delimiters.element, &mut out);
            out.extend_from_slice(&delimiters.reply);
        }
        OutputFormat::Csv => {
            csv::write(value, &mut out);
            out.push(b'\n');
        }
        OutputFormat::Json | OutputFormat::QuotedJson => {
            json::write(value, json::Strings::of(format), &mut out);
            out.push(b'\n');
        }
    }
    out
}
