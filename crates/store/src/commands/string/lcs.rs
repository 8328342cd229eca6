//! LCS: the longest common subsequence of two strings, by the table of all prefixes (Wagner and Fischer, 1974).

use crate::call::{Call, Outcome};
use shoal_protocol::{Arguments, ErrorReply, errors};

/// LCS has words of its own for a key of another type.
const NOT_STRINGS: ErrorReply = ErrorReply::new("ERR The specified keys must contain string values");
const LENGTH_OR_INDEX: ErrorReply =
    ErrorReply::new("ERR If you want both the length and indexes, please just use IDX.");
const TABLE_TOO_LARGE: ErrorReply =
    ErrorReply::new("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
const NO_MEMORY: ErrorReply =
    ErrorReply::new("ERR Insufficient memory, failed allocating transient memory for LCS");

#[derive(Default)]
struct Options {
    length_only: bool,
    index: bool,
    with_match_length: bool,
    shortest_match: i64,
}

impl Options {
    fn parse(arguments: &mut Arguments<'_>) -> Result<Self, ErrorReply> {
        let mut options = Self::default();
        while !arguments.is_empty() {
            if arguments.take_keyword("IDX") {
                options.index = true;
            } else if arguments.take_keyword("LEN") {
                options.length_only = true;
            } else if arguments.take_keyword("WITHMATCHLEN") {
                options.with_match_length = true;
            } else if arguments.take_keyword("MINMATCHLEN") && !arguments.is_empty() {
                options.shortest_match = arguments.take_i64()?.max(0);
            } else {
                return Err(errors::SYNTAX);
            }
        }
        if options.length_only && options.index { Err(LENGTH_OR_INDEX) } else { Ok(options) }
    }
}

pub(super) fn lcs(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    // Both keys are looked up, and both misses told, before the types are looked at.
    let (first, second) = (string_of(call, arguments.take()?), string_of(call, arguments.take()?));
    let (Some(first), Some(second)) = (first, second) else { return Err(NOT_STRINGS) };
    let options = Options::parse(&mut arguments)?;
    let table = Table::fill(&first, &second, call.options.max_string_bytes)?;
    let length = table.at(first.len(), second.len());
    if options.length_only {
        call.reply.integer(i64::from(length));
        return Ok(());
    }
    let (common, ranges) = table.walk_back(&first, &second);
    if options.index {
        reply_ranges(call, &ranges, length, &options);
    } else {
        call.reply.bulk(&common);
    }
    Ok(())
}

/// The text of a key, empty if there is none; nothing for a key of another type.
fn string_of(call: &mut Call<'_, '_>, key: &[u8]) -> Option<Vec<u8>> {
    match call.find_for_read(key) {
        Some(found) => Some(call.string(found).ok()?.text().to_vec()),
        None => Some(Vec::new()),
    }
}

/// Bytes that both strings have in one piece: where it begins in each, and how long it is.
struct Range {
    first: usize,
    second: usize,
    length: usize,
}

fn reply_ranges(call: &mut Call<'_, '_>, ranges: &[Range], length: u32, options: &Options) {
    call.reply.map(2);
    call.reply.bulk(b"matches");
    let long_enough = |range: &&Range| range.length as i64 >= options.shortest_match;
    call.reply.array(ranges.iter().filter(long_enough).count());
    for range in ranges.iter().filter(long_enough) {
        call.reply.array(2 + usize::from(options.with_match_length));
        for start in [range.first, range.second] {
            call.reply.array(2);
            call.reply.integer(start as i64);
            call.reply.integer((start + range.length - 1) as i64);
        }
        if options.with_match_length {
            call.reply.integer(range.length as i64);
        }
    }
    call.reply.bulk(b"len");
    call.reply.integer(i64::from(length));
}

/// The length of the longest common subsequence for each pair of prefixes.
struct Table {
    cells: Vec<u32>,
    width: usize,
}

impl Table {
    fn fill(first: &[u8], second: &[u8], max_bytes: usize) -> Result<Self, ErrorReply> {
        let width = second.len() + 1;
        let count = (first.len() + 1).checked_mul(width).ok_or(NO_MEMORY)?;
        let bytes = count.checked_mul(size_of::<u32>()).ok_or(NO_MEMORY)?;
        if bytes > max_bytes {
            return Err(TABLE_TOO_LARGE);
        }
        let mut cells = Vec::new();
        cells.try_reserve_exact(count).map_err(|_| NO_MEMORY)?;
        cells.resize(count, 0);
        let mut table = Self { cells, width };
        for (row, byte) in first.iter().enumerate() {
            for (column, other) in second.iter().enumerate() {
                let longest = if byte == other {
                    table.at(row, column) + 1
                } else {
                    table.at(row, column + 1).max(table.at(row + 1, column))
                };
                table.cells[(row + 1) * width + column + 1] = longest;
            }
        }
        Ok(table)
    }

    fn at(&self, first: usize, second: usize) -> u32 {
        self.cells[first * self.width + second]
    }

    /// The subsequence itself, and its pieces from the last to the first.
    fn walk_back(&self, first: &[u8], second: &[u8]) -> (Vec<u8>, Vec<Range>) {
        let mut common = Vec::new();
        let mut ranges = Vec::new();
        let mut open: Option<Range> = None;
        let (mut row, mut column) = (first.len(), second.len());
        while row > 0 && column > 0 {
            if first[row - 1] == second[column - 1] {
                common.push(first[row - 1]);
                row -= 1;
                column -= 1;
                // A match always follows the one before it here: any other step closes the piece.
                let length = open.take().map_or(1, |range| range.length + 1);
                open = Some(Range { first: row, second: column, length });
            } else {
                if self.at(row - 1, column) > self.at(row, column - 1) {
                    row -= 1;
                } else {
                    column -= 1;
                }
                ranges.extend(open.take());
            }
        }
        ranges.extend(open);
        common.reverse();
        (common, ranges)
    }
}
