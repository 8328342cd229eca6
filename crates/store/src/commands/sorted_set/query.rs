//! Commands that ask for counts, scores and ranks.

use super::{lex_interval, score_interval};
use crate::call::{Call, Outcome};
use crate::types::sorted_set::Interval;
use crate::types::{Collection, SortedSet};
use shoal_protocol::{Arguments, errors};

pub(super) fn zcard(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let found = call.find_collection::<SortedSet>(arguments.take()?)?;
    let length =
        found.map_or(0, |found| call.keyspace.collection::<SortedSet>(call.database_index, found).len());
    call.reply.integer(length as i64);
    Ok(())
}

pub(super) fn zcount(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let interval = score_interval(arguments.take()?, arguments.take()?)?;
    count(call, key, &interval)
}

pub(super) fn zlexcount(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let interval = lex_interval(arguments.take()?, arguments.take()?)?;
    count(call, key, &interval)
}

fn count(call: &mut Call<'_, '_>, key: &[u8], interval: &Interval<'_>) -> Outcome {
    let found = call.find_collection::<SortedSet>(key)?;
    let count = found.map_or(0, |found| {
        call.keyspace.collection::<SortedSet>(call.database_index, found).interval(interval, false, 0).len()
    });
    call.reply.integer(count as i64);
    Ok(())
}

pub(super) fn zscore(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let found = call.find_collection::<SortedSet>(arguments.take()?)?;
    let member = arguments.take()?;
    let score = found
        .and_then(|found| call.keyspace.collection::<SortedSet>(call.database_index, found).score(member));
    match score {
        Some(score) => call.reply.double(score),
        None => call.reply.null(),
    }
    Ok(())
}

pub(super) fn zmscore(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let found = call.find_collection::<SortedSet>(arguments.take()?)?;
    let set = found.map(|found| call.keyspace.collection::<SortedSet>(call.database_index, found));
    call.reply.array(arguments.remaining());
    for member in arguments.rest() {
        match set.as_ref().and_then(|set| set.score(member)) {
            Some(score) => call.reply.double(score),
            None => call.reply.null(),
        }
    }
    Ok(())
}

pub(super) fn zrank(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    rank(call, arguments, false)
}

pub(super) fn zrevrank(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    rank(call, arguments, true)
}

fn rank(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>, from_end: bool) -> Outcome {
    let (key, member) = (arguments.take()?, arguments.take()?);
    if arguments.remaining() > 1 {
        return Err(errors::wrong_arity(if from_end { "zrevrank" } else { "zrank" }));
    }
    let with_score = arguments.take_keyword("WITHSCORE");
    arguments.finish()?;
    let found = call.find_collection::<SortedSet>(key)?;
    let rank = found.and_then(|found| {
        let set = call.keyspace.collection::<SortedSet>(call.database_index, found);
        let (rank, score) = set.rank(member)?;
        Some((if from_end { set.len() - 1 - rank } else { rank }, score))
    });
    match rank {
        Some((rank, score)) if with_score => {
            call.reply.array(2);
            call.reply.integer(rank as i64);
            call.reply.double(score);
        }
        Some((rank, _)) => call.reply.integer(rank as i64),
        None if with_score => call.reply.null_array(),
        None => call.reply.null(),
    }
    Ok(())
}
