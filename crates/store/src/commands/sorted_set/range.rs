//! ZRANGE, the commands it replaces, and ZRANGESTORE.

use super::{begin_members, index_range, lex_interval, score_interval, store, write_scored};
use crate::call::{Call, Outcome};
use crate::types::sorted_set::Interval;
use crate::types::{Collection, SortedSet};
use shoal_protocol::{Arguments, ErrorReply, errors, number};
use std::ops::Range;

const LIMIT_BY_RANK: ErrorReply =
    ErrorReply::new("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
const SCORES_BY_LEX: ErrorReply =
    ErrorReply::new("ERR syntax error, WITHSCORES not supported in combination with BYLEX");
/// The limit that is none.
const UNLIMITED: i64 = -1;

/// What the two bounds are.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// Which members, as the client says.
struct Query<'q> {
    bounds: Bounds<'q>,
    backwards: bool,
    with_scores: bool,
    offset: i64,
    limit: i64,
}

#[derive(Clone, Copy)]
enum Bounds<'q> {
    Ranks(i64, i64),
    Interval(Interval<'q>),
}

/// What the command's name says already.
#[derive(Clone, Copy, Default)]
struct Preset {
    by: Option<By>,
    backwards: Option<bool>,
    stores: bool,
}

impl<'q> Query<'q> {
    fn take(arguments: &mut Arguments<'q>, preset: Preset) -> Result<Self, ErrorReply> {
        let (first, second) = (arguments.take()?, arguments.take()?);
        let (mut by, mut backwards) = (preset.by, preset.backwards);
        let (mut with_scores, mut offset, mut limit) = (false, 0, UNLIMITED);
        while !arguments.is_empty() {
            if !preset.stores && arguments.take_keyword("WITHSCORES") {
                with_scores = true;
            } else if arguments.remaining() > 2 && arguments.take_keyword("LIMIT") {
                (offset, limit) = (arguments.take_i64()?, arguments.take_i64()?);
            } else if backwards.is_none() && arguments.take_keyword("REV") {
                backwards = Some(true);
            } else if by.is_none() && arguments.take_keyword("BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && arguments.take_keyword("BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(errors::SYNTAX);
            }
        }
        let (by, backwards) = (by.unwrap_or(By::Rank), backwards.unwrap_or(false));
        if limit != UNLIMITED && by == By::Rank {
            return Err(LIMIT_BY_RANK);
        }
        if with_scores && by == By::Lex {
            return Err(SCORES_BY_LEX);
        }
        let (min, max) = if backwards { (second, first) } else { (first, second) };
        let rank = |word| number::parse_i64(word).ok_or(errors::NOT_AN_INTEGER);
        let bounds = match by {
            By::Rank => Bounds::Ranks(rank(first)?, rank(second)?),
            By::Score => Bounds::Interval(score_interval(min, max)?),
            By::Lex => Bounds::Interval(lex_interval(min, max)?),
        };
        Ok(Self { bounds, backwards, with_scores, offset, limit })
    }

    /// The indexes of the members, from the set's beginning.
    fn indexes(&self, set: &SortedSet) -> Range<usize> {
        let interval = match &self.bounds {
            Bounds::Ranks(first, last) => {
                let range = index_range(*first, *last, set.len());
                return match self.backwards {
                    true if !range.is_empty() => set.len() - range.end..set.len() - range.start,
                    _ => range,
                };
            }
            Bounds::Interval(interval) => interval,
        };
        let Ok(offset) = usize::try_from(self.offset) else { return 0..0 };
        let range = set.interval(interval, self.backwards, offset);
        let count = usize::try_from(self.limit).map_or(range.len(), |limit| limit.min(range.len()));
        if self.backwards { range.end - count..range.end } else { range.start..range.start + count }
    }
}

pub(super) fn zrange(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_with_range(call, arguments, Preset::default())
}

pub(super) fn zrevrange(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    old_range(call, arguments, By::Rank, true)
}

pub(super) fn zrangebyscore(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    old_range(call, arguments, By::Score, false)
}

pub(super) fn zrevrangebyscore(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    old_range(call, arguments, By::Score, true)
}

pub(super) fn zrangebylex(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    old_range(call, arguments, By::Lex, false)
}

pub(super) fn zrevrangebylex(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    old_range(call, arguments, By::Lex, true)
}

fn old_range(call: &mut Call<'_, '_>, arguments: Arguments<'_>, by: By, backwards: bool) -> Outcome {
    let preset = Preset { by: Some(by), backwards: Some(backwards), stores: false };
    reply_with_range(call, arguments, preset)
}

fn reply_with_range(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>, preset: Preset) -> Outcome {
    let key = arguments.take()?;
    let query = Query::take(&mut arguments, preset)?;
    let Some(found) = call.find_collection::<SortedSet>(key)? else {
        call.reply.array(0);
        return Ok(());
    };
    let set = call.keyspace.collection::<SortedSet>(call.database_index, found);
    let range = query.indexes(&set);
    let reply = &mut *call.reply;
    begin_members(reply, range.len(), query.with_scores);
    let members = set.range(range);
    if query.backwards {
        members.rev().for_each(|(member, score)| write_scored(reply, member, score, query.with_scores));
    } else {
        members.for_each(|(member, score)| write_scored(reply, member, score, query.with_scores));
    }
    Ok(())
}

pub(super) fn zrangestore(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (destination, source) = (arguments.take()?, arguments.take()?);
    let query = Query::take(&mut arguments, Preset { stores: true, ..Preset::default() })?;
    let settings = call.settings();
    let mut result = SortedSet::default();
    if let Some(found) = call.find_collection::<SortedSet>(source)? {
        let set = call.keyspace.collection::<SortedSet>(call.database_index, found);
        let range = query.indexes(&set);
        result = SortedSet::with_expected(range.len(), 0, settings);
        for (member, score) in set.range(range) {
            member.with_text(|member| result.insert(member, score, settings));
        }
    }
    store(call, destination, result, "zrangestore");
    Ok(())
}
