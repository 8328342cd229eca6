//! GEOADD.

use super::take_point;
use crate::call::{Call, Outcome};
use crate::commands::sorted_set::{AddOptions, add_members};
use shoal_protocol::{Arguments, OwnedRequest, errors};

/// Words of one place: longitude, latitude, name.
const WORDS_PER_PLACE: usize = 3;

pub(super) fn geoadd(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let mut options = AddOptions::default();
    let mut request = OwnedRequest::new([b"ZADD".as_slice(), key]);
    while let Some(word) = arguments.peek() {
        if arguments.take_keyword("NX") {
            options.only_new = true;
        } else if arguments.take_keyword("XX") {
            options.only_known = true;
        } else if arguments.take_keyword("CH") {
            options.count_changed = true;
        } else {
            break;
        }
        request.push(word);
    }
    let count = arguments.remaining() / WORDS_PER_PLACE;
    let contradicts = options.only_new && options.only_known;
    if contradicts || !arguments.remaining().is_multiple_of(WORDS_PER_PLACE) {
        return Err(errors::SYNTAX);
    }
    let mut members = Vec::with_capacity(count);
    for _ in 0..count {
        let score = take_point(&mut arguments)?.to_score();
        let member = arguments.take()?;
        request.push(itoa::Buffer::new().format(score).as_bytes());
        request.push(member);
        members.push((score as f64, member));
    }
    if members.is_empty() {
        return Err(errors::SYNTAX);
    }
    add_members(call, key, options, count, members.into_iter())?;
    if !call.effects.skip_propagation {
        call.propagate_request_instead(request);
    }
    Ok(())
}
