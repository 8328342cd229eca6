//! Commands that give keys whole values.

use super::{ValueArgument, reply_with_string};
use crate::call::{Call, EventClass, Outcome};
use crate::commands::expiry::{ExpiryArgument, ExpiryUnit};
use shoal_protocol::{Arguments, ErrorReply, OwnedRequest, errors};

/// What stands behind the value in SET.
#[derive(Default)]
struct Options<'q> {
    only_if_missing: bool,
    only_if_there: bool,
    get: bool,
    keep_expiry: bool,
    expiry: Option<ExpiryArgument<'q>>,
}

impl<'q> Options<'q> {
    fn parse(arguments: &mut Arguments<'q>) -> Result<Self, ErrorReply> {
        let mut options = Self::default();
        while let Some(word) = arguments.take_optional() {
            if word.eq_ignore_ascii_case(b"NX") && !options.only_if_there {
                options.only_if_missing = true;
            } else if word.eq_ignore_ascii_case(b"XX") && !options.only_if_missing {
                options.only_if_there = true;
            } else if word.eq_ignore_ascii_case(b"GET") {
                options.get = true;
            } else if word.eq_ignore_ascii_case(b"KEEPTTL") && options.expiry.is_none() {
                options.keep_expiry = true;
            } else {
                let unit = ExpiryUnit::from_option(word).ok_or(errors::SYNTAX)?;
                let other_unit = options.expiry.is_some_and(|before| before.unit != unit);
                if options.keep_expiry || other_unit {
                    return Err(errors::SYNTAX);
                }
                options.expiry = Some(ExpiryArgument { unit, number: arguments.take()? });
            }
        }
        Ok(options)
    }
}

/// What is replied when a value was set, and when it was not.
#[derive(Clone, Copy)]
enum Replies {
    OkOrNull,
    OneOrZero,
}

pub(super) fn set(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let value = ValueArgument::take(&mut arguments)?;
    let options = if arguments.is_empty() { Options::default() } else { Options::parse(&mut arguments)? };
    let is_set = set_with(call, key, value, &options, "set", Replies::OkOrNull)?;
    let is_rewritten = options.expiry.is_some();
    if is_set && options.get && !is_rewritten {
        // Replicas have no use for the reply, and must not fail on a type that was there before.
        let words = arguments.request().iter().enumerate();
        let without_get = words
            .filter(|(index, word)| *index < 3 || !word.eq_ignore_ascii_case(b"GET"))
            .map(|(_, word)| word);
        call.propagate_instead(without_get);
    }
    Ok(())
}

pub(super) fn setnx(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let value = ValueArgument::take(&mut arguments)?;
    let options = Options { only_if_missing: true, ..Options::default() };
    set_with(call, key, value, &options, "setnx", Replies::OneOrZero).map(|_| ())
}

pub(super) fn setex(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    set_expiring(call, arguments, ExpiryUnit::Seconds, "setex")
}

pub(super) fn psetex(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    set_expiring(call, arguments, ExpiryUnit::Milliseconds, "psetex")
}

fn set_expiring(
    call: &mut Call<'_, '_>,
    mut arguments: Arguments<'_>,
    unit: ExpiryUnit,
    name: &'static str,
) -> Outcome {
    let key = arguments.take()?;
    let expiry = ExpiryArgument { unit, number: arguments.take()? };
    let value = ValueArgument::take(&mut arguments)?;
    let options = Options { expiry: Some(expiry), ..Options::default() };
    set_with(call, key, value, &options, name, Replies::OkOrNull).map(|_| ())
}

/// Sets a key if the options allow it. True if they did.
fn set_with(
    call: &mut Call<'_, '_>,
    key: &[u8],
    value: ValueArgument<'_>,
    options: &Options<'_>,
    name: &'static str,
    replies: Replies,
) -> Result<bool, ErrorReply> {
    let expiry_ms = match options.expiry {
        Some(expiry) => Some(expiry.to_unix_ms(call.now, name)?),
        None => None,
    };
    if options.get {
        reply_with_string(call, key)?;
    }
    let found = call.find_for_write(key);
    if (options.only_if_missing && found.is_some()) || (options.only_if_there && found.is_none()) {
        match replies {
            Replies::OneOrZero => call.reply.integer(0),
            Replies::OkOrNull if !options.get => call.reply.null(),
            Replies::OkOrNull => {}
        }
        return Ok(false);
    }
    call.store(found, key, value.to_value(), if options.keep_expiry { None } else { Some(expiry_ms) });
    call.changed(key);
    call.event(EventClass::String, "set", key);
    if let Some(expiry_ms) = expiry_ms {
        call.event(EventClass::Generic, "expire", key);
        propagate_with_expiry(call, key, value, expiry_ms);
    }
    match replies {
        Replies::OneOrZero => call.reply.integer(1),
        Replies::OkOrNull if !options.get => call.reply.ok(),
        Replies::OkOrNull => {}
    }
    Ok(true)
}

/// A point in time is the same wherever and whenever the command is carried out again.
fn propagate_with_expiry(call: &mut Call<'_, '_>, key: &[u8], value: ValueArgument<'_>, expiry_ms: u64) {
    if call.effects.skip_propagation {
        return;
    }
    let mut request = OwnedRequest::new([b"SET".as_slice(), key]);
    match value.shared {
        Some(shared) => request.push_shared(shared),
        None => request.push(value.bytes),
    }
    request.push(b"PXAT");
    request.push(itoa::Buffer::new().format(expiry_ms).as_bytes());
    call.propagate_request_instead(request);
}

pub(super) fn getset(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let value = ValueArgument::take(&mut arguments)?;
    reply_with_string(call, key)?;
    let found = call.find_for_write(key);
    call.store(found, key, value.to_value(), Some(None));
    call.changed(key);
    call.event(EventClass::String, "set", key);
    call.propagate_instead([b"SET".as_slice(), key, value.bytes]);
    Ok(())
}

pub(super) fn mset(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    check_pairs(&arguments, "mset")?;
    set_all(call, arguments)?;
    call.reply.ok();
    Ok(())
}

pub(super) fn msetnx(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    check_pairs(&arguments, "msetnx")?;
    for key in arguments.rest().step_by(2) {
        if call.find_for_write(key).is_some() {
            call.reply.integer(0);
            return Ok(());
        }
    }
    set_all(call, arguments)?;
    call.reply.integer(1);
    Ok(())
}

fn check_pairs(arguments: &Arguments<'_>, name: &str) -> Outcome {
    if arguments.remaining().is_multiple_of(2) { Ok(()) } else { Err(errors::wrong_arity(name)) }
}

fn set_all(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    while let Some(key) = arguments.take_optional() {
        let value = ValueArgument::take(&mut arguments)?;
        let found = call.find_for_write(key);
        call.store(found, key, value.to_value(), Some(None));
        call.changed(key);
        call.event(EventClass::String, "set", key);
    }
    Ok(())
}
