//! Commands that only look.

use super::{index_of, range_of, take_count};
use crate::call::{Call, Outcome};
use crate::types::list::{End, Needle};
use crate::types::{Collection, List};
use shoal_protocol::{Arguments, ErrorReply, errors};
use std::ops::ControlFlow;

pub(super) fn llen(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let length = match call.find_collection::<List>(arguments.take()?)? {
        Some(found) => call.keyspace.collection::<List>(call.database_index, found).len(),
        None => 0,
    };
    call.reply.integer(length as i64);
    Ok(())
}

pub(super) fn lindex(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let Some(found) = call.find_collection::<List>(key)? else {
        call.reply.null();
        return Ok(());
    };
    let index = arguments.take_i64()?;
    let list = call.keyspace.collection::<List>(call.database_index, found);
    let index = index_of(index, list.len());
    if index.and_then(|index| list.get(index, |text| text.write_to(call.reply))).is_none() {
        call.reply.null();
    }
    Ok(())
}

pub(super) fn lrange(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let (start, stop) = (arguments.take_i64()?, arguments.take_i64()?);
    let Some(found) = call.find_collection::<List>(key)? else {
        call.reply.array(0);
        return Ok(());
    };
    let list = call.keyspace.collection::<List>(call.database_index, found);
    let (first, count) = range_of(start, stop, list.len()).unwrap_or((0, 0));
    call.reply.array(count);
    list.visit_range(first, count, End::Tail, |text| text.write_to(call.reply));
    Ok(())
}

/// What LPOS looks for.
struct Search {
    /// The first match that counts, the first being 1.
    rank: usize,
    /// From which end matches and elements are counted.
    from: End,
    /// How many matches are wanted (0: all); `None` asks for one that is not in an array.
    count: Option<usize>,
    /// How many elements are compared at most; 0 compares all.
    max_length: usize,
}

impl Search {
    fn take(arguments: &mut Arguments<'_>) -> Result<Self, ErrorReply> {
        const RANK_IS_ZERO: ErrorReply = ErrorReply::new(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
             or use negative to start from the end of the list",
        );
        const RANK_OUT_OF_RANGE: ErrorReply = ErrorReply::new(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        );
        let mut search = Self { rank: 1, from: End::Head, count: None, max_length: 0 };
        while !arguments.is_empty() {
            if arguments.remaining() < 2 {
                return Err(errors::SYNTAX);
            }
            if arguments.take_keyword("RANK") {
                let rank = arguments.take_i64()?;
                search.from = if rank < 0 { End::Tail } else { End::Head };
                search.rank = match rank {
                    0 => return Err(RANK_IS_ZERO),
                    i64::MIN => return Err(RANK_OUT_OF_RANGE),
                    rank => rank.unsigned_abs() as usize,
                };
            } else if arguments.take_keyword("COUNT") {
                search.count = Some(take_count(arguments, 0, "ERR COUNT can't be negative")?);
            } else if arguments.take_keyword("MAXLEN") {
                search.max_length = take_count(arguments, 0, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(errors::SYNTAX);
            }
        }
        Ok(search)
    }

    /// Gives `use_index` the index of each match that is wanted.
    fn run(&self, list: &List, needle: Needle<'_>, mut use_index: impl FnMut(i64)) {
        let length = list.len();
        let first = if self.from == End::Head { 0 } else { length.saturating_sub(1) };
        let wanted = match self.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => count,
        };
        let (mut compared, mut matches, mut used) = (0, 0, 0);
        let _ = list.walk(first, self.from.other(), |text| {
            if needle.is(text) {
                matches += 1;
                if matches >= self.rank {
                    used += 1;
                    let index = if self.from == End::Head { compared } else { length - compared - 1 };
                    use_index(index as i64);
                }
            }
            compared += 1;
            if used == wanted || compared == self.max_length {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
    }
}

pub(super) fn lpos(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, element) = (arguments.take()?, arguments.take()?);
    let search = Search::take(&mut arguments)?;
    let Some(found) = call.find_collection::<List>(key)? else {
        match search.count {
            Some(_) => call.reply.array(0),
            None => call.reply.null(),
        }
        return Ok(());
    };
    let list = call.keyspace.collection::<List>(call.database_index, found);
    let needle = Needle::new(element);
    if search.count.is_some() {
        let length = call.reply.deferred();
        let mut count = 0;
        search.run(&list, needle, |index| {
            call.reply.integer(index);
            count += 1;
        });
        call.reply.finish_array(length, count);
    } else {
        let mut position = None;
        search.run(&list, needle, |index| position = Some(index));
        match position {
            Some(index) => call.reply.integer(index),
            None => call.reply.null(),
        }
    }
    Ok(())
}
