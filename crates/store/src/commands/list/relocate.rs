//! Commands that move an element from one list to another.

use super::{popped, shrink, take_end};
use crate::call::{Call, EventClass, Outcome};
use crate::database::Found;
use crate::entry::{NewValue, Text};
use crate::types::List;
use crate::types::list::{End, NewElement};
use shoal_protocol::{Arguments, SharedBytes};

pub(super) fn lmove(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (source, destination) = (arguments.take()?, arguments.take()?);
    let (from, to) = (take_end(&mut arguments)?, take_end(&mut arguments)?);
    move_or_null(call, source, destination, from, to)
}

pub(super) fn rpoplpush(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (source, destination) = (arguments.take()?, arguments.take()?);
    move_or_null(call, source, destination, End::Tail, End::Head)
}

fn move_or_null(call: &mut Call<'_, '_>, source: &[u8], destination: &[u8], from: End, to: End) -> Outcome {
    match call.find_collection_for_write::<List>(source)? {
        Some(found) => move_element(call, found, source, destination, from, to),
        None => {
            call.reply.null();
            Ok(())
        }
    }
}

/// Moves an element and replies with it. Source and destination may be the same list.
pub(super) fn move_element(
    call: &mut Call<'_, '_>,
    found: Found,
    source: &[u8],
    destination: &[u8],
    from: End,
    to: End,
) -> Outcome {
    // The other key is looked at before anything changes: it may hold another type.
    let target = call.find_collection_for_write::<List>(destination)?;
    let index = call.database_index;
    // If the destination had expired, its deletion may have moved the source.
    let found = call.find(source).unwrap_or(found);
    let (bytes, shared) = take_out(&mut call.keyspace.collection_mut::<List>(index, found), from);
    let element = match &shared {
        Some(shared) => NewElement { bytes: shared, shared: Some(shared) },
        None => NewElement::new(&bytes),
    };
    let target = target.unwrap_or_else(|| call.insert(destination, NewValue::from(List::default()), None));
    let limits = &call.options.limits;
    let mut list = call.keyspace.collection_mut::<List>(index, target);
    list.make_room(1, element.bytes.len(), limits);
    list.push(to, element, limits);
    drop(list);
    call.touched_in(index, destination);
    call.event(EventClass::List, to.push_event(), destination);
    match &shared {
        Some(shared) => call.reply.bulk_shared(shared),
        None => call.reply.bulk(&bytes),
    }
    // If the destination is new, its insertion may have moved the source.
    if let Some(found) = call.find(source) {
        let mut list = call.keyspace.collection_mut::<List>(index, found);
        let is_empty = shrink(&mut list, &call.options.limits);
        drop(list);
        popped(call, (found, is_empty), source, from, 1);
    }
    Ok(())
}

/// Takes the element at an end out: its bytes, or the block of a long one.
fn take_out(list: &mut List, end: End) -> (Vec<u8>, Option<SharedBytes>) {
    let taken = list.pop(end, |text| match text {
        Text::Shared(bytes) => (Vec::new(), Some(bytes.clone())),
        text => (text.to_vec(), None),
    });
    taken.unwrap_or_default()
}
