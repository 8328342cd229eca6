//! KEYS, SCAN and RANDOMKEY, and what SSCAN, HSCAN and ZSCAN share with them.

use crate::call::{Call, Outcome};
use crate::entry::Entry;
use crate::table::Item;
use shoal_protocol::glob::{Case, matches};
use shoal_protocol::slot::key_slot;
use shoal_protocol::{Arguments, ErrorReply, errors};

const INVALID_CURSOR: ErrorReply = ErrorReply::new("ERR invalid cursor");
/// How many keys SCAN looks at if the client does not say.
const DEFAULT_COUNT: usize = 10;
/// How often RANDOMKEY draws again where expired keys stay until the primary deletes them.
const RANDOM_TRIES: usize = 100;

pub(super) fn keys(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let pattern = Pattern(arguments.take()?);
    let length = call.reply.deferred();
    let mut count = 0;
    let database = call.keyspace.database(call.database_index);
    let (reply, now_ms, access) = (&mut *call.reply, call.now.unix_ms(), call.access);
    let visit = |entry: &Entry| {
        let expired = !access.from_primary && entry.expiry_ms().is_some_and(|at| at <= now_ms);
        if !expired && !access.gives_up(reply) && pattern.matches(entry.key()) {
            reply.bulk(entry.key());
            count += 1;
        }
    };
    match pattern.literal_hash_tag().filter(|_| database.layout() == crate::Layout::PerSlot) {
        Some(tag) => database.slot_entries(key_slot(tag), usize::MAX, visit),
        None => database.for_each_visible(visit),
    }
    call.reply.finish_array(length, count);
    Ok(())
}

/// A glob pattern for keys.
#[derive(Clone, Copy)]
struct Pattern<'q>(&'q [u8]);

impl<'q> Pattern<'q> {
    fn matches(self, key: &[u8]) -> bool {
        self.0 == b"*" || matches(self.0, key, Case::Sensitive)
    }

    /// The hash tag that all matching keys have: no special byte stands before its end, so all are in one slot.
    fn literal_hash_tag(self) -> Option<&'q [u8]> {
        let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
        let literal = self.0.iter().position(is_special).unwrap_or(self.0.len());
        let literal = &self.0[..literal];
        let open = literal.iter().position(|byte| *byte == b'{')?;
        let length =
            literal[open + 1..].iter().position(|byte| *byte == b'}').filter(|length| *length > 0)?;
        Some(&literal[open + 1..open + 1 + length])
    }
}

/// What a command of the SCAN family is to look at.
#[derive(Clone, Copy)]
pub(in crate::commands) struct ScanOptions<'q> {
    /// How many elements it looks at, about.
    pub count: usize,
    pattern: Option<Pattern<'q>>,
    type_name: Option<&'q [u8]>,
}

impl<'q> ScanOptions<'q> {
    /// The options of SSCAN, HSCAN and ZSCAN.
    pub fn of_elements(arguments: &mut Arguments<'q>) -> Result<Self, ErrorReply> {
        Self::parse(arguments, false)
    }

    fn parse(arguments: &mut Arguments<'q>, of_keys: bool) -> Result<Self, ErrorReply> {
        let mut options = Self { count: DEFAULT_COUNT, pattern: None, type_name: None };
        while !arguments.is_empty() {
            if arguments.remaining() < 2 {
                return Err(errors::SYNTAX);
            }
            if arguments.take_keyword("COUNT") {
                let count = arguments.take_i64()?;
                options.count =
                    usize::try_from(count).ok().filter(|count| *count > 0).ok_or(errors::SYNTAX)?;
            } else if arguments.take_keyword("MATCH") {
                options.pattern = Some(Pattern(arguments.take()?));
            } else if of_keys && arguments.take_keyword("TYPE") {
                options.type_name = Some(arguments.take()?);
            } else {
                return Err(errors::SYNTAX);
            }
        }
        Ok(options)
    }

    /// Whether a key, member or field is one that the client wants.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| pattern.matches(text))
    }

    fn has_type(&self, entry: &Entry) -> bool {
        self.type_name.is_none_or(|name| name.eq_ignore_ascii_case(entry.type_name().as_bytes()))
    }
}

pub(super) fn scan(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let cursor = take_cursor(&mut arguments)?;
    let options = ScanOptions::parse(&mut arguments, true)?;
    let mut accepted = Texts::default();
    let mut expired = Texts::default();
    let database = call.keyspace.database(call.database_index);
    let next = database.scan(cursor, options.count, |entry| {
        if options.matches(entry.key()) {
            match call.is_expired(entry.expiry_ms()) {
                true => expired.push(entry.key()),
                false if options.has_type(entry) => accepted.push(entry.key()),
                false => {}
            }
        }
    });
    for key in expired.iter() {
        call.find(key);
    }
    reply_with_page(call, next, &accepted);
    Ok(())
}

/// What a command of the SCAN family replies: the cursor to go on with, and what it found.
pub(in crate::commands) fn reply_with_page(call: &mut Call<'_, '_>, next: u64, found: &Texts) {
    call.reply.array(2);
    call.reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    call.reply.array(found.ends.len());
    for text in found.iter() {
        call.reply.bulk(text);
    }
}

/// The next word as a cursor.
pub(in crate::commands) fn take_cursor(arguments: &mut Arguments<'_>) -> Result<u64, ErrorReply> {
    parse_cursor(arguments.take()?).ok_or(INVALID_CURSOR)
}

/// A cursor as `strtoul` reads it: an empty one is zero, a sign is allowed, spaces are not.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let cursor = digits.iter().try_fold(0u64, |cursor, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        cursor.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    Some(if negative { cursor.wrapping_neg() } else { cursor })
}

/// Copies of strings, one behind the other.
#[derive(Default)]
pub(in crate::commands) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    /// Appends a copy of a string.
    pub fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

pub(super) fn randomkey(call: &mut Call<'_, '_>, _: Arguments<'_>) -> Outcome {
    let mut tries = 0;
    loop {
        let database = call.keyspace.database(call.database_index);
        let Some(entry) = database.random(call.rng, false) else {
            call.reply.null();
            return Ok(());
        };
        let expired = call.is_expired(entry.expiry_ms());
        if !expired || tries == RANDOM_TRIES {
            call.reply.bulk(entry.key());
            return Ok(());
        }
        let key = entry.key().to_vec();
        // On a primary this deletes the key, so the loop ends with the keys; elsewhere the tries are counted.
        call.find(&key);
        tries += usize::from(call.access.on_replica);
    }
}
