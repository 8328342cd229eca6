//! The manager's messages, coloured where the terminal shows colours.

use crate::console::{err, has_colors, out};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// A step begins.
    Information,
    Warning,
    Error,
    Success,
}

/// Prints a message as it is: whoever wants a line end writes one.
pub(super) fn log(level: Level, message: &str) {
    if !has_colors() {
        out!("{message}");
        return;
    }
    let color = match level {
        Level::Information => "29;1m",
        Level::Warning => "33;1m",
        Level::Error => "31;1m",
        Level::Success => "32;1m",
    };
    out!("\x1b[{color}{message}\x1b[0m");
}

/// Prints what can be done about the message before. Redis's manager says nothing of it, so that it goes to standard error: standard
/// output is as scripts expect it.
pub(super) fn hint(text: &str) {
    err!("Hint: {text}");
}
