//! Strings.

use super::Body;
use crate::call::{Call, EventClass, Outcome};
use shoal_protocol::{Arguments, CommandId};

pub(super) const BODIES: &[(CommandId, Body)] = &[(CommandId::Get, get)];

fn get(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    match call.find_for_read(key) {
        Some(found) => {
            call.string(found)?;
            call.reply_value(found);
        }
        None => call.reply.null(),
    }
    let _ = EventClass::String;
    Ok(())
}
