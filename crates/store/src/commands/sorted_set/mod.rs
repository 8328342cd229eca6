//! Commands on sorted sets.

mod add;
mod combine;
mod pop;
mod query;
mod random;
mod range;
mod remove;
mod scan;

pub(super) use add::{AddOptions, add_members};

use super::{Body, reply_with_element};
use crate::call::{Call, EventClass};
use crate::database::Found;
use crate::entry::{Entry, NewValue};
use crate::types::sorted_set::{Interval, LexBound, LexRange, ScoreBound, ScoreRange};
use crate::types::{Collection, SortedSet};
use shoal_formats::listpack::Element;
use shoal_protocol::{CommandId, ErrorReply, Reply, number};
use std::ops::Range;

pub(super) const BODIES: &[(CommandId, Body)] = &[
    (CommandId::Bzmpop, pop::bzmpop),
    (CommandId::Bzpopmax, pop::bzpopmax),
    (CommandId::Bzpopmin, pop::bzpopmin),
    (CommandId::Zadd, add::zadd),
    (CommandId::Zcard, query::zcard),
    (CommandId::Zcount, query::zcount),
    (CommandId::Zdiff, combine::zdiff),
    (CommandId::Zdiffstore, combine::zdiffstore),
    (CommandId::Zincrby, add::zincrby),
    (CommandId::Zinter, combine::zinter),
    (CommandId::Zintercard, combine::zintercard),
    (CommandId::Zinterstore, combine::zinterstore),
    (CommandId::Zlexcount, query::zlexcount),
    (CommandId::Zmpop, pop::zmpop),
    (CommandId::Zmscore, query::zmscore),
    (CommandId::Zpopmax, pop::zpopmax),
    (CommandId::Zpopmin, pop::zpopmin),
    (CommandId::Zrandmember, random::zrandmember),
    (CommandId::Zrange, range::zrange),
    (CommandId::Zrangebylex, range::zrangebylex),
    (CommandId::Zrangebyscore, range::zrangebyscore),
    (CommandId::Zrangestore, range::zrangestore),
    (CommandId::Zrank, query::zrank),
    (CommandId::Zrem, remove::zrem),
    (CommandId::Zremrangebylex, remove::zremrangebylex),
    (CommandId::Zremrangebyrank, remove::zremrangebyrank),
    (CommandId::Zremrangebyscore, remove::zremrangebyscore),
    (CommandId::Zrevrange, range::zrevrange),
    (CommandId::Zrevrangebylex, range::zrevrangebylex),
    (CommandId::Zrevrangebyscore, range::zrevrangebyscore),
    (CommandId::Zrevrank, query::zrevrank),
    (CommandId::Zscan, scan::zscan),
    (CommandId::Zscore, query::zscore),
    (CommandId::Zunion, combine::zunion),
    (CommandId::Zunionstore, combine::zunionstore),
];

const NOT_A_SCORE_RANGE: ErrorReply = ErrorReply::new("ERR min or max is not a float");
const NOT_A_LEX_RANGE: ErrorReply = ErrorReply::new("ERR min or max not valid string range item");

/// Scores between two words.
fn score_interval<'q>(min: &[u8], max: &[u8]) -> Result<Interval<'q>, ErrorReply> {
    let bound = |word: &[u8]| -> Result<ScoreBound, ErrorReply> {
        let (exclusive, number) = match word {
            [b'(', rest @ ..] => (true, rest),
            _ => (false, word),
        };
        let score = number::parse_f64_leniently(number).ok_or(NOT_A_SCORE_RANGE)?;
        Ok(ScoreBound { score, exclusive })
    };
    Ok(Interval::Score(ScoreRange { min: bound(min)?, max: bound(max)? }))
}

/// Members between two words.
fn lex_interval<'q>(min: &'q [u8], max: &'q [u8]) -> Result<Interval<'q>, ErrorReply> {
    let bound = |word: &'q [u8]| match word {
        b"-" => Ok(LexBound::Lowest),
        b"+" => Ok(LexBound::Highest),
        [b'(', member @ ..] => Ok(LexBound::Exclusive(member)),
        [b'[', member @ ..] => Ok(LexBound::Inclusive(member)),
        _ => Err(NOT_A_LEX_RANGE),
    };
    Ok(Interval::Lex(LexRange { min: bound(min)?, max: bound(max)? }))
}

/// The indexes from `first` to `last`, of which negative ones count from the end.
fn index_range(first: i64, last: i64, length: usize) -> Range<usize> {
    let length = length as i64;
    let from_start = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    let (first, last) = (from_start(first).max(0), from_start(last).min(length - 1));
    if first > last { 0..0 } else { first as usize..last as usize + 1 }
}

/// The beginning of an array of members, with or without their scores.
fn begin_members(reply: &mut Reply<'_>, length: usize, with_scores: bool) {
    let is_flat = with_scores && !reply.is_resp3();
    reply.array(if is_flat { length.saturating_mul(2) } else { length });
}

/// Replies with a member, with or without its score: in RESP3 the two are an array.
#[inline]
fn write_scored(reply: &mut Reply<'_>, member: Element<'_>, score: f64, with_score: bool) {
    if with_score && reply.is_resp3() {
        reply.array(2);
    }
    reply_with_element(reply, member);
    if with_score {
        reply.double(score);
    }
}

/// Notes several changes of a key.
fn changed_times(call: &mut Call<'_, '_>, key: &[u8], times: u64) {
    call.changed(key);
    call.effects.dirty += times.saturating_sub(1);
}

/// Takes out the members with these indexes, and the key if none are left. The caller has noted the event of its own.
fn remove_indexes(call: &mut Call<'_, '_>, found: Found, key: &[u8], range: Range<usize>) {
    let settings = call.settings();
    let mut set = call.keyspace.collection_mut::<SortedSet>(call.database_index, found);
    if range.len() == set.len() {
        // The whole set goes at once, and is freed elsewhere if it is large.
        drop(set);
        call.remove(found);
        call.event(EventClass::Generic, "del", key);
    } else {
        set.remove_range(range, settings);
    }
}

/// Puts a sorted set in the place of whatever a key holds, and replies with its length; an empty one removes the key.
pub(super) fn store(call: &mut Call<'_, '_>, key: &[u8], set: SortedSet, event: &'static str) {
    let found = call.find_for_write_in(call.database_index, key);
    let length = set.len();
    match found {
        Some(found) if length == 0 => {
            call.remove(found);
            call.changed(key);
            call.event(EventClass::Generic, "del", key);
        }
        None if length == 0 => {}
        found => {
            match found {
                Some(found) => {
                    let mut entry = Entry::new(key, NewValue::from(set), None);
                    entry.set_access(call.initial_access());
                    let before = call.database_mut().replace(found, entry);
                    call.keyspace.discard_entry(before);
                }
                None => {
                    call.insert(key, NewValue::from(set), None);
                }
            }
            call.changed(key);
            call.event(EventClass::SortedSet, event, key);
        }
    }
    call.reply.integer(length as i64);
}

#[cfg(test)]
mod tests;
