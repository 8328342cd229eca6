//! BITOP: logic on whole strings.

use crate::call::{Call, EventClass, Outcome};
use crate::commands::string::store_raw;
use shoal_protocol::{Arguments, ErrorReply, errors};

const TOO_MANY_SOURCES: ErrorReply =
    ErrorReply::new("ERR BITOP NOT must be called with a single source key.");

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn parse(word: &[u8]) -> Option<Self> {
        let known = [("AND", Self::And), ("OR", Self::Or), ("XOR", Self::Xor), ("NOT", Self::Not)];
        let found = known.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, operation)| *operation)
    }

    /// Takes a further source into the result, which is at least as long. What a source lacks is zeros.
    fn combine(self, result: &mut [u8], source: &[u8]) {
        let (common, beyond) = result.split_at_mut(source.len());
        match self {
            Self::And => {
                common.iter_mut().zip(source).for_each(|(result, byte)| *result &= byte);
                beyond.fill(0);
            }
            Self::Or => common.iter_mut().zip(source).for_each(|(result, byte)| *result |= byte),
            Self::Xor => common.iter_mut().zip(source).for_each(|(result, byte)| *result ^= byte),
            Self::Not => common.iter_mut().zip(source).for_each(|(result, byte)| *result = !byte),
        }
    }
}

pub(super) fn bitop(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let operation = Operation::parse(arguments.take()?).ok_or(errors::SYNTAX)?;
    let target = arguments.take()?;
    let sources = arguments.rest();
    if operation == Operation::Not && sources.len() != 1 {
        return Err(TOO_MANY_SOURCES);
    }
    let mut found = Vec::with_capacity(sources.len());
    let mut length = 0;
    for source in sources {
        let place = call.find_for_read(source);
        if let Some(place) = place {
            length = length.max(call.string(place)?.text().len());
        }
        found.push(place);
    }
    let mut result = vec![0; length];
    for (index, place) in found.iter().enumerate() {
        let first_of_several = index == 0 && operation != Operation::Not;
        let combination = if first_of_several { Operation::Or } else { operation };
        match place {
            None => combination.combine(&mut result, b""),
            Some(place) => {
                let string = call.keyspace.string(call.database_index, *place);
                string.text().with_bytes(|bytes| combination.combine(&mut result, bytes));
            }
        }
    }
    store_result(call, target, result);
    call.reply.integer(length as i64);
    Ok(())
}

/// Puts the result into the target, whatever that was; nothing is left of it if the result is empty.
fn store_result(call: &mut Call<'_, '_>, target: &[u8], result: Vec<u8>) {
    let found = call.find_for_write(target);
    match found {
        None if result.is_empty() => {}
        Some(found) if result.is_empty() => {
            call.remove(found);
            call.event(EventClass::Generic, "del", target);
            call.changed(target);
        }
        found => {
            if let Some(found) = found {
                call.database_mut().set_expiry(found, None);
            }
            store_raw(call, found, target, result);
            call.event(EventClass::String, "set", target);
            call.changed(target);
        }
    }
}
