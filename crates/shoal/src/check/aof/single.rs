//! One file of commands, with a snapshot before them or without.

use super::{Aborted, Finding, Repair, Report, reason};
use crate::check::rdb;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// How much of the file is read at once.
const READ_BYTES: usize = 256 * 1024;
/// A line that holds a number, its end included.
const NUMBER_LINE_MAX_BYTES: u64 = 127;
/// A line with a remark, its end included.
const REMARK_MAX_BYTES: u64 = 1023;
/// Of the words only the commands around transactions are of interest.
const WORD_KEPT_BYTES: usize = 8;

/// A file to be checked.
pub(super) struct Target<'a> {
    pub name: &'a str,
    pub path: &'a Path,
    /// Nothing is loaded after it, so its end may be cut off.
    pub is_last: bool,
    /// It begins with a snapshot.
    pub has_preamble: bool,
}

/// Checks the files of a list, one after the other.
pub(super) struct Checker {
    pub repair: Repair,
    /// Lines are counted through all files.
    line: u64,
    /// Where the last thing began that was read.
    began: u64,
    error: Option<String>,
}

/// Why commands are not read on.
enum Stop {
    /// The file is at its end.
    End,
    /// What comes is no command; the reason stands in [`Checker::error`].
    Damaged,
    /// It is cut off here: what comes is too young.
    TooYoung(u64),
}

impl Checker {
    pub(super) fn new(repair: Repair) -> Self {
        Self { repair, line: 1, began: 0, error: None }
    }

    /// Checks a file, and repairs it if that is wanted and possible.
    pub(super) fn check(&mut self, report: &mut Report, target: &Target<'_>) -> Result<Finding, Aborted> {
        let path = target.path.display();
        let opened = OpenOptions::new().read(true).write(true).open(target.path);
        let opened = opened.and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = opened.map_err(|error| {
            report.abort(&format!("Cannot open file {path}: {}, aborting...", reason(&error)))
        })?;
        if size == 0 {
            return Ok(Finding::Empty);
        }
        let start = if target.has_preamble { check_preamble(report, target, &file)? } else { 0 };
        let failed = |report: &mut Report| {
            report.abort(&format!("Failed to read from AOF {}, aborting...", target.name))
        };
        let mut source = Source::new(&file, start).map_err(|_| failed(report))?;
        let mut is_in_transaction = 0_i64;
        let mut sound_bytes = start;
        let stop = loop {
            if is_in_transaction == 0 {
                sound_bytes = source.position;
            }
            let next = match source.peek().map_err(|_| failed(report))? {
                None => Some(Stop::End),
                Some(b'#') => self.remark(report, target, &mut source)?,
                Some(b'*') => {
                    self.command(target, &mut source, &mut is_in_transaction).map_err(|_| failed(report))?
                }
                Some(_) => {
                    report.say(&format!("AOF {} format error", target.name));
                    Some(Stop::Damaged)
                }
            };
            if let Some(stop) = next {
                break stop;
            }
        };
        match stop {
            Stop::TooYoung(offset) => return self.cut_at_timestamp(report, target, &file, offset, size),
            Stop::End if is_in_transaction != 0 && self.error.is_none() => {
                self.complain("Reached EOF before reading EXEC for MULTI");
            }
            Stop::End | Stop::Damaged => {}
        }
        if let Some(error) = &self.error {
            report.say(error);
        }
        self.conclude(report, target, &file, size, sound_bytes)
    }

    /// Notes what is wrong with what was read last.
    fn complain(&mut self, problem: &str) {
        self.error = Some(format!("0x{:16x}: {problem}", self.began));
    }

    /// A line that begins with `#`.
    fn remark(
        &mut self,
        report: &mut Report,
        target: &Target<'_>,
        source: &mut Source<'_>,
    ) -> Result<Option<Stop>, Aborted> {
        self.began = source.position;
        let Ok(line) = source.line(REMARK_MAX_BYTES) else {
            let path = target.path.display();
            return Err(report.abort(&format!("Failed to read annotations from AOF {path}, aborting...")));
        };
        let Some((wanted, text)) = self.repair.to_timestamp.zip(line.strip_prefix(b"#TS:")) else {
            return Ok(None);
        };
        let written = text.strip_suffix(b"\r\n").and_then(|text| std::str::from_utf8(text).ok());
        let Some(written) = written.and_then(|text| text.parse::<i64>().ok()) else {
            return Err(report.abort("Invalid timestamp annotation"));
        };
        if written <= wanted {
            return Ok(None);
        }
        let path = target.path.display();
        if self.began == 0 {
            let text = format!("AOF {path} has nothing before timestamp {wanted}, aborting...");
            return Err(report.abort(&text));
        }
        if !target.is_last {
            report.say(&format!(
                "Failed to truncate AOF {path} to timestamp {wanted} to offset {} because it is not the last file.",
                self.began
            ));
            return Err(report.abort(
                "If you insist, please delete all files after this file according to the manifest file and delete the \
                 corresponding records in manifest file manually. Then re-run redis-check-aof.",
            ));
        }
        Ok(Some(Stop::TooYoung(self.began)))
    }

    fn command(
        &mut self,
        target: &Target<'_>,
        source: &mut Source<'_>,
        is_in_transaction: &mut i64,
    ) -> io::Result<Option<Stop>> {
        let words = match self.number(source, b'*')? {
            Ok(words) => words,
            Err(stop) => return Ok(Some(stop)),
        };
        for index in 0..words {
            let word = match self.word(source)? {
                Ok(word) => word,
                Err(stop) => return Ok(Some(stop)),
            };
            if index > 0 {
                continue;
            }
            let path = target.path.display();
            if word.eq_ignore_ascii_case(b"multi") {
                *is_in_transaction += 1;
                if *is_in_transaction != 1 {
                    self.complain(&format!("Unexpected MULTI in AOF {path}"));
                    return Ok(Some(Stop::Damaged));
                }
            } else if word.eq_ignore_ascii_case(b"exec") {
                *is_in_transaction -= 1;
                if *is_in_transaction != 0 {
                    self.complain(&format!("Unexpected EXEC in AOF {path}"));
                    return Ok(Some(Stop::Damaged));
                }
            }
        }
        Ok(None)
    }

    /// A line that holds a number behind a letter.
    fn number(&mut self, source: &mut Source<'_>, prefix: u8) -> io::Result<Result<i64, Stop>> {
        self.began = source.position;
        let line = source.line(NUMBER_LINE_MAX_BYTES)?;
        match line.first() {
            None => return Ok(Err(Stop::End)),
            Some(first) if *first != prefix => {
                let (wanted, found) = (char::from(prefix), char::from(*first));
                self.complain(&format!("Expected prefix '{wanted}', got: '{found}'"));
                return Ok(Err(Stop::Damaged));
            }
            Some(_) => {}
        }
        let (number, rest) = leading_number(&line[1..]);
        Ok(if self.expect_line_end(rest) { Ok(number) } else { Err(Stop::Damaged) })
    }

    fn expect_line_end(&mut self, text: &[u8]) -> bool {
        if text.starts_with(b"\r\n") {
            self.line += 1;
            return true;
        }
        // Characters are signed where this text comes from.
        let byte = |index: usize| i32::from(text.get(index).copied().unwrap_or(0).cast_signed());
        self.complain(&format!("Expected \\r\\n, got: {:02x}{:02x}", byte(0), byte(1)));
        false
    }

    /// A word: as much of it as is of interest.
    fn word(&mut self, source: &mut Source<'_>) -> io::Result<Result<Vec<u8>, Stop>> {
        const END_BYTES: u64 = 2;
        let length = match self.number(source, b'$')? {
            Ok(length) => length,
            Err(stop) => return Ok(Err(stop)),
        };
        let Some(length) = u64::try_from(length).ok().filter(|length| *length <= i64::MAX as u64 - END_BYTES)
        else {
            let text =
                format!("Expected to read string of {length} bytes, which is not in the suitable range");
            self.complain(&text);
            return Ok(Err(Stop::Damaged));
        };
        self.began = source.position;
        let expected = length + END_BYTES;
        let (word, end, count) = source.word(length)?;
        if count != expected {
            self.complain(&format!("Expected to read {expected} bytes, got {count} bytes"));
            return Ok(Err(Stop::Damaged));
        }
        Ok(if self.expect_line_end(&end) { Ok(word) } else { Err(Stop::Damaged) })
    }

    fn conclude(
        &self,
        report: &mut Report,
        target: &Target<'_>,
        file: &File,
        size: u64,
        sound_bytes: u64,
    ) -> Result<Finding, Aborted> {
        let (name, bad_bytes) = (target.name, size.saturating_sub(sound_bytes));
        let note = |report: &mut Report, status: &str| {
            report.files.push(json!({
                "name": name, "size": size, "ok_up_to": sound_bytes, "ok_up_to_line": self.line, "status": status,
                "error": self.error,
            }));
        };
        if let Some(timestamp) = self.repair.to_timestamp.filter(|_| bad_bytes == 0) {
            report.say(&format!("Truncate nothing in AOF {name} to timestamp {timestamp}"));
            note(report, "valid");
            return Ok(Finding::Valid);
        }
        report.say(&format!(
            "AOF analyzed: filename={name}, size={size}, ok_up_to={sound_bytes}, ok_up_to_line={}, diff={bad_bytes}",
            self.line
        ));
        if bad_bytes == 0 {
            note(report, "valid");
            return Ok(Finding::Valid);
        }
        note(report, if self.repair.fix { "damaged, to be cut off" } else { "damaged" });
        if !self.repair.fix {
            let text = format!("AOF {name} is not valid. Use the --fix option to try fixing it.");
            return Err(report.abort(&text));
        }
        if !target.is_last {
            let text = format!("Failed to truncate AOF {name} because it is not the last file");
            return Err(report.abort(&text));
        }
        report.say(&format!(
            "This will shrink the AOF {name} from {size} bytes, with {bad_bytes} bytes, to {sound_bytes} bytes"
        ));
        if !report.ask("Continue? [y/N]: ") {
            return Err(report.abort("Aborting..."));
        }
        cut(file, sound_bytes).map_err(|_| report.abort(&format!("Failed to truncate AOF {name}")))?;
        Ok(Finding::Cut)
    }

    fn cut_at_timestamp(
        &self,
        report: &mut Report,
        target: &Target<'_>,
        file: &File,
        offset: u64,
        size: u64,
    ) -> Result<Finding, Aborted> {
        let wanted = self.repair.to_timestamp.unwrap_or_default();
        let path = target.path.display();
        cut(file, offset)
            .map_err(|_| report.abort(&format!("Failed to truncate AOF {path} to timestamp {wanted}")))?;
        report.files.push(json!({
            "name": target.name, "size": size, "ok_up_to": offset, "ok_up_to_line": self.line,
            "status": "cut off at the timestamp", "error": self.error,
        }));
        Ok(Finding::CutAtTimestamp)
    }
}

fn cut(file: &File, size: u64) -> io::Result<()> {
    file.set_len(size)?;
    file.sync_all()
}

/// Checks the snapshot before the commands; returns where they begin.
fn check_preamble(report: &mut Report, target: &Target<'_>, file: &File) -> Result<u64, Aborted> {
    let checked = rdb::check(file).map_err(|error| {
        let path = target.path.display();
        report.abort(&format!("Cannot open file {path}: {}, aborting...", reason(&error)))
    })?;
    report.say(rdb::to_text(&checked, target.name).trim_end_matches('\n'));
    if checked.damage.is_some() {
        return Err(report.abort("RDB preamble of AOF file is not sane, aborting."));
    }
    report.say("RDB preamble is OK, proceeding with AOF tail...");
    Ok(checked.bytes)
}

/// The number at the beginning, as C's `strtol` reads it, and what comes behind it.
fn leading_number(text: &[u8]) -> (i64, &[u8]) {
    let blanks = text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let (is_negative, signs) = match text.get(blanks) {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    let start = blanks + signs;
    let digits = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return (0, text);
    }
    let magnitude = text[start..start + digits]
        .iter()
        .fold(0_i64, |number, digit| number.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    (if is_negative { -magnitude } else { magnitude }, &text[start + digits..])
}

/// The file, with the place in it.
struct Source<'a> {
    reader: BufReader<&'a File>,
    position: u64,
}

impl<'a> Source<'a> {
    fn new(mut file: &'a File, position: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(position))?;
        Ok(Self { reader: BufReader::with_capacity(READ_BYTES, file), position })
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.reader.fill_buf()?.first().copied())
    }

    /// Up to the end of the line, at most so many bytes.
    fn line(&mut self, max_bytes: u64) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let count = self.reader.by_ref().take(max_bytes).read_until(b'\n', &mut line)?;
        self.position += count as u64;
        Ok(line)
    }

    /// Reads a word of this length and the two bytes behind it; its beginning, those bytes, and how many bytes there were.
    fn word(&mut self, length: u64) -> io::Result<(Vec<u8>, Vec<u8>, u64)> {
        let mut word = Vec::new();
        let kept =
            self.reader.by_ref().take(length.min(WORD_KEPT_BYTES as u64)).read_to_end(&mut word)? as u64;
        let skipped = io::copy(&mut self.reader.by_ref().take(length - kept), &mut io::sink())?;
        let mut end = Vec::new();
        let ended = self.reader.by_ref().take(2).read_to_end(&mut end)? as u64;
        let count = kept + skipped + ended;
        self.position += count;
        Ok((word, end, count))
    }
}
