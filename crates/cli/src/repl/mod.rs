//! The prompt: reads lines, knows a few words of its own, and sends everything else to the server.

mod editor;
pub(crate) mod help;
mod history;

use crate::console::{self, out};
use crate::exit::{Exit, Step};
use crate::format::OutputFormat;
use crate::session::{Complaints, Session};
use crate::text::{leading_integer, lossy};
use editor::{Assistant, new_editor};
use history::{HistoryFile, dot_file, is_sensitive};
use rustyline::Editor;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use shoal_protocol::quoting::split_arguments;
use std::io::BufRead;
use std::time::{Duration, Instant};

/// Commands that take longer have their time printed.
const SLOW_COMMAND: Duration = Duration::from_millis(500);

/// Where lines come from.
enum Lines {
    /// A terminal.
    Terminal { editor: Box<Editor<Assistant, MemHistory>>, file: Option<HistoryFile> },
    /// A pipe or a file: no prompt, no history.
    Pipe,
}

/// What to do after a line.
enum Next {
    Read,
    End,
}

/// Runs the prompt until its end. Returns the exit code.
pub(crate) fn run(mut session: Session) -> Step<i32> {
    session.interactive = true;
    install_interrupt_handler(&session);
    let mut lines = Lines::open()?;
    // Without a connection every command tries again.
    let _ = session.connect(Complaints::Print);
    while let Some(line) = lines.next(&session.prompt())? {
        if let Next::End = carry_out(&line, &mut session, &mut lines)? {
            break;
        }
    }
    Ok(0)
}

/// Asks for a password on the terminal, showing stars; reads a plain line from a pipe.
pub(crate) fn ask_password(prompt: &str) -> Step<Vec<u8>> {
    if !console::is_input_terminal() {
        return Ok(read_plain_line().unwrap_or_default());
    }
    let line =
        new_editor(Assistant { hints: false, masked: true }).and_then(|mut editor| editor.readline(prompt));
    line.map(String::into_bytes).map_err(|_| Exit(1))
}

fn read_plain_line() -> Option<Vec<u8>> {
    let mut line = Vec::new();
    match std::io::stdin().lock().read_until(b'\n', &mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => {
            if line.ends_with(b"\n") {
                line.pop();
            }
            Some(line)
        }
    }
}

/// Ctrl-C ends the program, but for the time in which messages are read.
fn install_interrupt_handler(session: &Session) {
    use signal_hook::consts::SIGINT;
    // Where no handler can be installed, Ctrl-C ends the program at all times.
    let _ = signal_hook::flag::register_conditional_shutdown(SIGINT, 1, session.interrupt_ends.clone());
    let _ = signal_hook::flag::register(SIGINT, session.interrupted.clone());
}

impl Lines {
    fn open() -> Step<Self> {
        if !console::is_input_terminal() {
            return Ok(Self::Pipe);
        }
        let editor = new_editor(Assistant { hints: true, masked: false }).map_err(|error| {
            console::err!("Error: {error}");
            Exit(1)
        })?;
        let mut lines = Self::Terminal { editor: Box::new(editor), file: HistoryFile::find() };
        if let Self::Terminal { editor, file: Some(file) } = &mut lines {
            file.load(editor.history_mut());
        }
        lines.load_preferences();
        Ok(lines)
    }

    /// The next line; `None` at the end of input or after Ctrl-C.
    fn next(&mut self, prompt: &str) -> Step<Option<Vec<u8>>> {
        match self {
            Self::Pipe => Ok(read_plain_line()),
            Self::Terminal { editor, .. } => match editor.readline(prompt) {
                Ok(line) => Ok(Some(line.into_bytes())),
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
                Err(error) => {
                    console::err!("Error: {error}");
                    Err(Exit(1))
                }
            },
        }
    }

    fn remember(&mut self, line: &[u8]) {
        if let Self::Terminal { editor, file } = self {
            // A history that cannot be kept is no reason to stop.
            let _ = editor.add_history_entry(lossy(line));
            if let Some(file) = file {
                file.save(editor.history());
            }
        }
    }

    fn set_preference(&mut self, words: &[Vec<u8>], origin: &str) {
        let word = |index: usize| words.get(index).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
        if word(0) != b":set" || words.len() < 2 {
            out!("{origin}unknown redis-cli internal command '{}'\n", lossy(&words[0]));
            return;
        }
        let hints = match word(1).as_slice() {
            b"hints" => true,
            b"nohints" => false,
            _ => {
                out!("{origin}unknown redis-cli preference '{}'\n", lossy(&words[1]));
                return;
            }
        };
        if let Self::Terminal { editor, .. } = self
            && let Some(assistant) = editor.helper_mut()
        {
            assistant.hints = hints;
        }
    }

    fn load_preferences(&mut self) {
        let Some(text) = dot_file("REDISCLI_RCFILE", ".redisclirc").and_then(|path| std::fs::read(path).ok())
        else {
            return;
        };
        for line in text.split(|byte| *byte == b'\n') {
            match split_arguments(line) {
                Ok(words) if !words.is_empty() => self.set_preference(&words, ".redisclirc: "),
                _ => {}
            }
        }
    }
}

fn carry_out(line: &[u8], session: &mut Session, lines: &mut Lines) -> Step<Next> {
    if line.is_empty() {
        return Ok(Next::Read);
    }
    let Ok(words) = split_arguments(line) else {
        out!("Invalid argument(s)\n");
        lines.remember(line);
        return Ok(Next::Read);
    };
    let Some(first) = words.first() else { return Ok(Next::Read) };
    let (repeat, command) = match repeat_count(&words) {
        None => (1, words.as_slice()),
        Some(repeat) if repeat > 0 => (repeat, &words[1..]),
        Some(_) => {
            out!("Invalid redis-cli repeat command option value.\n");
            return Ok(Next::Read);
        }
    };
    if !is_sensitive(command) {
        lines.remember(line);
    }
    match (first.to_ascii_lowercase().as_slice(), words.len()) {
        (b"quit" | b"exit", _) => return Ok(Next::End),
        ([b':', ..], _) => lines.set_preference(&words, ""),
        (b"restart", _) => out!("Use 'restart' only in Lua debugging mode.\n"),
        (b"connect", 3) => {
            session.options.host = lossy(&words[1]).into_owned();
            session.options.port = leading_integer(&words[2]);
            session.options.socket = None;
            // Without a connection every command tries again.
            let _ = session.connect(Complaints::Print);
        }
        (b"clear", 1) => out!("\x1b[H\x1b[2J"),
        _ => {
            let start = Instant::now();
            // A failure has been printed, and shows in the next prompt.
            let _ = session.issue(command, repeat)?;
            let elapsed = start.elapsed();
            if elapsed >= SLOW_COMMAND && session.options.format == OutputFormat::Tty {
                out!("({:.2}s)\n", elapsed.as_secs_f64());
            }
        }
    }
    console::flush();
    Ok(Next::Read)
}

/// The number before a command that is to be repeated; 0 or less, and a number too large, are no good.
fn repeat_count(words: &[Vec<u8>]) -> Option<i64> {
    let first = words.first()?;
    let digits = first.strip_prefix(b"-").or(first.strip_prefix(b"+")).unwrap_or(first);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    (words.len() > 1 && is_number)
        .then(|| std::str::from_utf8(first).ok().and_then(|text| text.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_before_a_command_repeats_it() {
        let count = |line: &str| repeat_count(&split_arguments(line.as_bytes()).unwrap());
        assert_eq!(count("3 ping"), Some(3));
        assert_eq!(count("-1 ping"), Some(-1));
        assert_eq!(count("99999999999999999999 ping"), Some(0));
        assert_eq!(count("3"), None);
        assert_eq!(count("3x ping"), None);
        assert_eq!(count("get 3"), None);
    }
}
