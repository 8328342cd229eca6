//! GEOPOS, GEODIST and GEOHASH.

use super::{take_unit, write_distance, write_point};
use crate::call::{Call, Outcome};
use crate::geohash::Point;
use crate::types::SortedSet;
use shoal_protocol::{Arguments, Reply, errors};

pub(super) fn geopos(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    for_each_place(call, arguments, |reply, point| match point {
        Some(point) => write_point(reply, point),
        None => reply.null_array(),
    })
}

pub(super) fn geohash(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    for_each_place(call, arguments, |reply, point| match point {
        Some(point) => reply.bulk(&point.to_text()),
        None => reply.null(),
    })
}

fn for_each_place(
    call: &mut Call<'_, '_>,
    mut arguments: Arguments<'_>,
    write: impl Fn(&mut Reply<'_>, Option<Point>),
) -> Outcome {
    let found = call.find_collection::<SortedSet>(arguments.take()?)?;
    let set = found.map(|found| call.keyspace.collection::<SortedSet>(call.database_index, found));
    call.reply.array(arguments.remaining());
    for member in arguments.rest() {
        let score = set.as_ref().and_then(|set| set.score(member));
        write(call.reply, score.map(Point::from_score));
    }
    Ok(())
}

pub(super) fn geodist(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, from, to) = (arguments.take()?, arguments.take()?, arguments.take()?);
    if arguments.remaining() > 1 {
        return Err(errors::SYNTAX);
    }
    let unit_m = if arguments.is_empty() { 1.0 } else { take_unit(&mut arguments)? };
    let found = call.find_collection::<SortedSet>(key)?;
    let set = found.map(|found| call.keyspace.collection::<SortedSet>(call.database_index, found));
    let point = |member| set.as_ref().and_then(|set| set.score(member)).map(Point::from_score);
    match (point(from), point(to)) {
        (Some(from), Some(to)) => write_distance(call.reply, from.distance_m(to) / unit_m),
        _ => call.reply.null(),
    }
    Ok(())
}
