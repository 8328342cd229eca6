//! The EXPIRE and TTL families.

use crate::call::{Call, EventClass, Outcome};
use crate::commands::expiry::{ExpiryUnit, is_already_past};
use shoal_protocol::{Arguments, ErrorReply, errors};

const NX_WITH_OTHERS: ErrorReply =
    ErrorReply::new("ERR NX and XX, GT or LT options at the same time are not compatible");
const GT_WITH_LT: ErrorReply = ErrorReply::new("ERR GT and LT options at the same time are not compatible");

pub(super) fn expire(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    set_expiry(call, arguments, ExpiryUnit::Seconds, "expire")
}

pub(super) fn pexpire(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    set_expiry(call, arguments, ExpiryUnit::Milliseconds, "pexpire")
}

pub(super) fn expireat(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    set_expiry(call, arguments, ExpiryUnit::UnixSeconds, "expireat")
}

pub(super) fn pexpireat(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    set_expiry(call, arguments, ExpiryUnit::UnixMilliseconds, "pexpireat")
}

/// When an expiry is set.
#[derive(Clone, Copy, Default)]
struct Conditions {
    /// Only if there is none.
    none: bool,
    /// Only if there is one.
    some: bool,
    /// Only if it is later than the present one.
    later: bool,
    /// Only if it is earlier than the present one.
    earlier: bool,
}

impl Conditions {
    fn parse(mut arguments: Arguments<'_>) -> Result<Self, ErrorReply> {
        let mut conditions = Self::default();
        while let Some(word) = arguments.take_optional() {
            let condition = match word.to_ascii_uppercase().as_slice() {
                b"NX" => &mut conditions.none,
                b"XX" => &mut conditions.some,
                b"GT" => &mut conditions.later,
                b"LT" => &mut conditions.earlier,
                _ => {
                    let word = String::from_utf8_lossy(word);
                    return Err(ErrorReply::from(format!("ERR Unsupported option {word}")));
                }
            };
            *condition = true;
        }
        if conditions.none && (conditions.some || conditions.later || conditions.earlier) {
            return Err(NX_WITH_OTHERS);
        }
        if conditions.later && conditions.earlier { Err(GT_WITH_LT) } else { Ok(conditions) }
    }

    /// A key that does not expire counts as one that expires later than any other.
    fn allow(self, present: Option<u64>, wanted: i64) -> bool {
        let present_ms = present.map_or(i64::MAX, |at| at as i64);
        !(self.none && present.is_some()
            || self.some && present.is_none()
            || self.later && (present.is_none() || wanted <= present_ms)
            || self.earlier && present.is_some() && wanted >= present_ms)
    }
}

fn set_expiry(
    call: &mut Call<'_, '_>,
    mut arguments: Arguments<'_>,
    unit: ExpiryUnit,
    name: &'static str,
) -> Outcome {
    let key = arguments.take()?;
    let number = arguments.take();
    let conditions = Conditions::parse(arguments)?;
    let number = shoal_protocol::number::parse_i64(number?).ok_or(errors::NOT_AN_INTEGER)?;
    let wanted = unit.to_unix_ms(number, call.now).ok_or_else(|| errors::invalid_expire(name))?;
    let Some(found) = call.find_for_write(key) else {
        call.reply.integer(0);
        return Ok(());
    };
    if !conditions.allow(call.database().entry(found).expiry_ms(), wanted) {
        call.reply.integer(0);
        return Ok(());
    }
    if is_already_past(call, wanted) {
        call.remove(found);
        let name = if call.options.lazy_expire { b"UNLINK".as_slice() } else { b"DEL" };
        call.propagate_instead([name, key]);
        call.event(EventClass::Generic, "del", key);
    } else {
        // A time before 1970 only comes from a primary or a file, and means the same as 1970.
        let expiry_ms = u64::try_from(wanted).unwrap_or(0);
        call.database_mut().set_expiry(found, Some(expiry_ms));
        let digits = itoa::Buffer::new().format(wanted).to_owned();
        call.propagate_instead([b"PEXPIREAT".as_slice(), key, digits.as_bytes()]);
        call.event(EventClass::Generic, "expire", key);
    }
    call.changed(key);
    call.reply.integer(1);
    Ok(())
}

pub(super) fn persist(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let found = call.find_for_write(key);
    let expiring = found.filter(|found| call.database().entry(*found).expiry_ms().is_some());
    if let Some(found) = expiring {
        call.database_mut().set_expiry(found, None);
        call.event(EventClass::Generic, "persist", key);
        call.changed(key);
    }
    call.reply.integer(i64::from(expiring.is_some()));
    Ok(())
}

pub(super) fn ttl(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_expiry(call, arguments, |at, now| to_seconds(at.saturating_sub(now)))
}

pub(super) fn pttl(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_expiry(call, arguments, |at, now| at.saturating_sub(now))
}

pub(super) fn expiretime(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_expiry(call, arguments, |at, _| to_seconds(at))
}

pub(super) fn pexpiretime(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_expiry(call, arguments, |at, _| at)
}

fn to_seconds(milliseconds: u64) -> u64 {
    milliseconds.saturating_add(500) / 1000
}

/// Replies with what `measure` makes of expiry and present time; -1 for a key that does not expire, -2 for no key.
fn reply_expiry(
    call: &mut Call<'_, '_>,
    mut arguments: Arguments<'_>,
    measure: impl FnOnce(u64, u64) -> u64,
) -> Outcome {
    let value = match call.peek(arguments.take()?) {
        None => -2,
        Some(found) => match call.database().entry(found).expiry_ms() {
            None => -1,
            Some(at) => measure(at, call.now.unix_ms()) as i64,
        },
    };
    call.reply.integer(value);
    Ok(())
}
