//! ZADD and ZINCRBY.

use super::changed_times;
use crate::call::{Call, EventClass, Outcome};
use crate::entry::NewValue;
use crate::types::SortedSet;
use shoal_protocol::{Arguments, ErrorReply, errors};

const NX_WITH_XX: ErrorReply = ErrorReply::new("ERR XX and NX options at the same time are not compatible");
const GT_LT_NX: ErrorReply =
    ErrorReply::new("ERR GT, LT, and/or NX options at the same time are not compatible");
const ONE_INCREMENT: ErrorReply = ErrorReply::new("ERR INCR option supports a single increment-element pair");
const NOT_A_NUMBER: ErrorReply = ErrorReply::new("ERR resulting score is not a number (NaN)");

/// Which members are changed, and how.
#[derive(Clone, Copy, Default)]
pub(in crate::commands) struct AddOptions {
    /// Only members that are not there.
    pub only_new: bool,
    /// Only members that are there.
    pub only_known: bool,
    /// Members that are there only get a greater score.
    pub only_greater: bool,
    /// Members that are there only get a smaller score.
    pub only_smaller: bool,
    /// The score is added to the one before.
    pub increments: bool,
    /// The reply counts changed scores, too.
    pub count_changed: bool,
}

impl AddOptions {
    fn take(arguments: &mut Arguments<'_>, increments: bool) -> Self {
        let mut options = Self { increments, ..Self::default() };
        while let Some(word) = arguments.peek() {
            let option = match word.to_ascii_uppercase_short() {
                Some([b'N', b'X', 0, 0]) => &mut options.only_new,
                Some([b'X', b'X', 0, 0]) => &mut options.only_known,
                Some([b'C', b'H', 0, 0]) => &mut options.count_changed,
                Some([b'G', b'T', 0, 0]) => &mut options.only_greater,
                Some([b'L', b'T', 0, 0]) => &mut options.only_smaller,
                Some([b'I', b'N', b'C', b'R']) => &mut options.increments,
                _ => break,
            };
            *option = true;
            arguments.take_optional();
        }
        options
    }

    fn check(self, pairs: usize) -> Outcome {
        if self.only_new && self.only_known {
            Err(NX_WITH_XX)
        } else if (self.only_new && (self.only_greater || self.only_smaller))
            || (self.only_greater && self.only_smaller)
        {
            Err(GT_LT_NX)
        } else if self.increments && pairs > 1 {
            Err(ONE_INCREMENT)
        } else {
            Ok(())
        }
    }
}

/// Short words in upper case, padded with zeros.
trait ShortWord {
    fn to_ascii_uppercase_short(&self) -> Option<[u8; 4]>;
}

impl ShortWord for [u8] {
    fn to_ascii_uppercase_short(&self) -> Option<[u8; 4]> {
        let mut short = [0; 4];
        short.get_mut(..self.len())?.copy_from_slice(self);
        short.make_ascii_uppercase();
        Some(short)
    }
}

/// What became of the members.
#[derive(Clone, Copy, Default)]
struct Tally {
    added: u64,
    updated: u64,
    /// The last score, if the options allowed it.
    score: Option<f64>,
    is_nan: bool,
}

impl Tally {
    /// The score that a member is to have; `None` leaves it as it is.
    fn decide(&mut self, options: AddOptions, before: Option<f64>, given: f64) -> Option<f64> {
        self.score = None;
        let Some(before) = before else {
            if options.only_known {
                return None;
            }
            self.added += 1;
            self.score = Some(given);
            return self.score;
        };
        if options.only_new {
            return None;
        }
        let score = if options.increments { before + given } else { given };
        if score.is_nan() {
            self.is_nan = true;
            return None;
        }
        if (options.only_smaller && score >= before) || (options.only_greater && score <= before) {
            return None;
        }
        self.updated += u64::from(score != before);
        self.score = Some(score);
        self.score.filter(|score| *score != before)
    }
}

pub(super) fn zadd(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    add(call, arguments, false)
}

pub(super) fn zincrby(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    add(call, arguments, true)
}

fn add(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>, increments: bool) -> Outcome {
    let key = arguments.take()?;
    let options = AddOptions::take(&mut arguments, increments);
    let pairs = arguments.remaining() / 2;
    if pairs == 0 || !arguments.remaining().is_multiple_of(2) {
        return Err(errors::SYNTAX);
    }
    options.check(pairs)?;
    // All scores are read before anything is changed; a single one needs no list.
    let mut words = arguments;
    let first_score = words.take_f64()?;
    let mut scores = Vec::with_capacity(pairs - 1);
    words.take()?;
    while !words.is_empty() {
        scores.push(words.take_f64()?);
        words.take()?;
    }
    arguments.take()?;
    let first = (first_score, arguments.take()?);
    let others = scores.into_iter().zip(arguments.rest().skip(1).step_by(2));
    add_members(call, key, options, pairs, std::iter::once(first).chain(others))
}

/// Puts members with their scores into a sorted set, and replies. There are `count` of them, one at least.
pub(in crate::commands) fn add_members<'q>(
    call: &mut Call<'_, '_>,
    key: &[u8],
    options: AddOptions,
    count: usize,
    members: impl Iterator<Item = (f64, &'q [u8])>,
) -> Outcome {
    let settings = call.settings();
    let mut members = members.peekable();
    let found = match call.find_collection_for_write::<SortedSet>(key)? {
        Some(found) => Some(found),
        None if options.only_known => None,
        None => {
            let longest_bytes = members.peek().map_or(0, |(_, member)| member.len());
            let set = SortedSet::with_expected(count, longest_bytes, settings);
            Some(call.insert(key, NewValue::from(set), None))
        }
    };
    let mut tally = Tally::default();
    if let Some(found) = found {
        let mut set = call.keyspace.collection_mut::<SortedSet>(call.database_index, found);
        set.expect(count, settings);
        for (score, member) in members {
            set.update(member, settings, |before| tally.decide(options, before, score));
        }
    }
    if tally.is_nan {
        return Err(NOT_A_NUMBER);
    }
    match tally.score {
        Some(score) if options.increments => call.reply.double(score),
        None if options.increments => call.reply.null(),
        _ => {
            let changed = if options.count_changed { tally.updated } else { 0 };
            call.reply.integer((tally.added + changed) as i64);
        }
    }
    if tally.added + tally.updated > 0 {
        changed_times(call, key, tally.added + tally.updated);
        let event = if options.increments { "zincr" } else { "zadd" };
        call.event(EventClass::SortedSet, event, key);
    }
    Ok(())
}
