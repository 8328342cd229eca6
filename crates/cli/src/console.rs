//! Standard output and standard error.

use std::cell::RefCell;
use std::fmt::{Arguments, Write as _};
use std::io::{IsTerminal, Write, stderr, stdin, stdout};

/// Writes to standard output, formatted as by `format!`, without a line end of its own.
macro_rules! out {
    ($($argument:tt)*) => { $crate::console::write_out(format_args!($($argument)*)) };
}

/// Writes a line to standard error, formatted as by `format!`.
macro_rules! err {
    ($($argument:tt)*) => { $crate::console::write_error_line(format_args!($($argument)*)) };
}
pub(crate) use {err, out};

thread_local! {
    /// What this thread prints meanwhile, from the outermost capture to the innermost.
    static CAPTURED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what this thread prints, on either stream, until [`end_capture`].
pub(crate) fn capture() {
    CAPTURED.with_borrow_mut(|captured| captured.push(String::new()));
}

/// Ends the innermost capture and gives what was printed meanwhile.
pub(crate) fn end_capture() -> String {
    CAPTURED.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Whether the text was captured.
fn is_captured(text: Arguments<'_>) -> bool {
    CAPTURED.with_borrow_mut(|captured| captured.last_mut().is_some_and(|kept| kept.write_fmt(text).is_ok()))
}

/// Writes formatted text to standard output.
pub(crate) fn write_out(text: Arguments<'_>) {
    if is_captured(text) {
        return;
    }
    end_if_closed(stdout().lock().write_fmt(text));
}

/// Writes bytes to standard output.
pub(crate) fn write_out_bytes(bytes: &[u8]) {
    if is_captured(format_args!("{}", String::from_utf8_lossy(bytes))) {
        return;
    }
    end_if_closed(stdout().lock().write_all(bytes));
}

/// Hands what was written to the reader of standard output.
pub(crate) fn flush() {
    end_if_closed(stdout().lock().flush());
}

/// Writes a line to standard error. There is nobody left to tell when that fails.
pub(crate) fn write_error_line(text: Arguments<'_>) {
    if is_captured(format_args!("{text}\n")) {
        return;
    }
    let mut stderr = stderr().lock();
    let _ = stderr.write_fmt(text).and_then(|()| stderr.write_all(b"\n"));
}

/// Whether standard output is a terminal, or pretended to be one by `FAKETTY`.
pub(crate) fn is_output_terminal() -> bool {
    stdout().is_terminal() || std::env::var_os("FAKETTY").is_some()
}

/// Whether standard input is a terminal.
pub(crate) fn is_input_terminal() -> bool {
    stdin().is_terminal()
}

/// Whether the terminal shows colours.
pub(crate) fn has_colors() -> bool {
    std::env::var("TERM").is_ok_and(|terminal| terminal.contains("xterm"))
}

/// The text of an I/O error as C programs print it, without Rust's remark on its number.
pub(crate) fn error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text.to_owned(),
    }
}

/// A reader that has gone away (`shoal cli … | head`) ends the program, as SIGPIPE ends others.
fn end_if_closed(result: std::io::Result<()>) {
    if result.is_err() {
        std::process::exit(1);
    }
}
