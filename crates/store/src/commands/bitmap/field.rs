//! BITFIELD and BITFIELD_RO: integers of 1 to 64 bits anywhere in a string.

use super::take_offset;
use crate::call::{Call, EventClass, Outcome};
use crate::commands::string::edit_bytes_up_to;
use shoal_protocol::{Arguments, ErrorReply, errors, number};

const BAD_TYPE: ErrorReply = ErrorReply::new(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
);
const BAD_OVERFLOW: ErrorReply = ErrorReply::new("ERR Invalid OVERFLOW type specified");
const READ_ONLY: ErrorReply = ErrorReply::new("ERR BITFIELD_RO only supports the GET subcommand");

/// The type of a field: u1 to u63, i1 to i64.
#[derive(Clone, Copy, Debug)]
struct Kind {
    is_signed: bool,
    bits: u32,
}

impl Kind {
    fn parse(word: &[u8]) -> Option<Self> {
        let (is_signed, digits) = match word {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return None,
        };
        let bits = u32::try_from(number::parse_i64(digits)?).ok()?;
        let most = if is_signed { 64 } else { 63 };
        (1..=most).contains(&bits).then_some(Self { is_signed, bits })
    }

    /// The lowest and the highest value.
    fn bounds(self) -> (i128, i128) {
        if self.is_signed {
            (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1)
        } else {
            (0, (1 << self.bits) - 1)
        }
    }

    /// The lower bits of a number as a value of this type.
    fn truncate(self, value: i128) -> i64 {
        let unused = 64 - self.bits;
        let shifted = (value as u64) << unused;
        if self.is_signed { shifted.cast_signed() >> unused } else { (shifted >> unused).cast_signed() }
    }
}

/// What happens to values that do not fit.
#[derive(Clone, Copy, Debug)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

impl Overflow {
    fn parse(word: &[u8]) -> Option<Self> {
        let known = [("WRAP", Self::Wrap), ("SAT", Self::Saturate), ("FAIL", Self::Fail)];
        let found = known.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, overflow)| *overflow)
    }

    /// What is stored for `value`; nothing if it does not fit and the operation fails. `is_above` says to which side it
    /// leaves the range, if it does.
    fn fit(self, kind: Kind, value: i128, is_above: bool) -> Option<i64> {
        let (lowest, highest) = kind.bounds();
        if (lowest..=highest).contains(&value) {
            return Some(value as i64);
        }
        match self {
            Self::Wrap => Some(kind.truncate(value)),
            Self::Saturate => Some(if is_above { highest } else { lowest } as i64),
            Self::Fail => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

#[derive(Clone, Copy, Debug)]
struct Step {
    action: Action,
    kind: Kind,
    /// The field's first bit.
    offset: u64,
    overflow: Overflow,
}

impl Step {
    /// The bytes of a string that the field's bits lie in.
    fn bytes(&self) -> std::ops::Range<usize> {
        let last = self.offset + u64::from(self.kind.bits) - 1;
        (self.offset / 8) as usize..(last / 8) as usize + 1
    }

    /// The bits of the string behind the field, in its last byte.
    fn bits_behind(&self) -> u32 {
        (8 - (self.offset + u64::from(self.kind.bits)) % 8) as u32 % 8
    }

    /// The field's value. A string that is too short goes on with zeros.
    fn read(&self, string: &[u8]) -> i64 {
        let byte_of = |index: usize| u128::from(string.get(index).copied().unwrap_or(0));
        let word = self.bytes().fold(0, |word, index| word << 8 | byte_of(index));
        self.kind.truncate((word >> self.bits_behind()) as i128)
    }

    /// Stores a value in a string that is long enough.
    fn write(&self, string: &mut [u8], value: i64) {
        let bytes = &mut string[self.bytes()];
        let mask = (u128::from(u64::MAX >> (64 - self.kind.bits))) << self.bits_behind();
        let word = bytes.iter().fold(0, |word, byte| word << 8 | u128::from(*byte));
        let mut word = word & !mask | (value as u128) << self.bits_behind() & mask;
        for byte in bytes.iter_mut().rev() {
            *byte = word as u8;
            word >>= 8;
        }
    }

    /// Carries out a step on a string that is long enough for what it writes. Returns the reply, and whether the value
    /// changed.
    fn apply(&self, string: &mut [u8]) -> (Option<i64>, Written) {
        let before = self.read(string);
        let (value, is_above) = match self.action {
            Action::Get => return (Some(before), Written::Nothing),
            Action::Increment(by) => (i128::from(before) + i128::from(by), by > 0),
            Action::Set(value) if self.kind.is_signed => {
                // Redis measures the distance to the highest value in 64 bits: numbers so low that it does not fit
                // count as too high.
                let (_, highest) = self.kind.bounds();
                let wraps = highest - i128::from(value) > i128::from(i64::MAX);
                (i128::from(value), value > 0 || wraps)
            }
            // Negative numbers are huge ones without a sign.
            Action::Set(value) => (i128::from(value.cast_unsigned()), true),
        };
        let Some(after) = self.overflow.fit(self.kind, value, is_above) else {
            return (None, Written::Nothing);
        };
        self.write(string, after);
        let reply = if matches!(self.action, Action::Set(_)) { before } else { after };
        (Some(reply), if before == after { Written::Same } else { Written::Other })
    }
}

/// What a step has left in its field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Nothing,
    Same,
    Other,
}

fn take_steps(call: &Call<'_, '_>, arguments: &mut Arguments<'_>) -> Result<Vec<Step>, ErrorReply> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    while let Some(name) = arguments.take_optional() {
        let is = |keyword: &str, words: usize| {
            name.eq_ignore_ascii_case(keyword.as_bytes()) && arguments.remaining() >= words
        };
        let (is_get, is_set, is_increment) = (is("GET", 2), is("SET", 3), is("INCRBY", 3));
        if is("OVERFLOW", 1) {
            overflow = Overflow::parse(arguments.take()?).ok_or(BAD_OVERFLOW)?;
            continue;
        }
        if !is_get && !is_set && !is_increment {
            return Err(errors::SYNTAX);
        }
        let kind = Kind::parse(arguments.take()?).ok_or(BAD_TYPE)?;
        let offset = take_offset(call, arguments, Some(kind.bits))?;
        let action = if is_get {
            Action::Get
        } else if is_set {
            Action::Set(arguments.take_i64()?)
        } else {
            Action::Increment(arguments.take_i64()?)
        };
        steps.push(Step { action, kind, offset, overflow });
    }
    Ok(steps)
}

pub(super) fn bitfield(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let steps = take_steps(call, &mut arguments)?;
    match length_for_writes(&steps) {
        None => read_only(call, key, &steps),
        Some(length) => read_and_write(call, key, &steps, length),
    }
}

pub(super) fn bitfield_ro(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let steps = take_steps(call, &mut arguments)?;
    if length_for_writes(&steps).is_some() {
        return Err(READ_ONLY);
    }
    read_only(call, key, &steps)
}

/// How long a string has to be for all that is written to it; `None` if nothing is.
fn length_for_writes(steps: &[Step]) -> Option<usize> {
    let writing = steps.iter().filter(|step| !matches!(step.action, Action::Get));
    writing.map(|step| step.bytes().end).max()
}

fn read_only(call: &mut Call<'_, '_>, key: &[u8], steps: &[Step]) -> Outcome {
    let found = call.find_for_read(key);
    let values: Vec<i64> = match found {
        None => vec![0; steps.len()],
        Some(found) => {
            call.string(found)?.text().with_bytes(|bytes| steps.iter().map(|step| step.read(bytes)).collect())
        }
    };
    call.reply.array(values.len());
    values.iter().for_each(|&value| call.reply.integer(value));
    Ok(())
}

fn read_and_write(call: &mut Call<'_, '_>, key: &[u8], steps: &[Step], length: usize) -> Outcome {
    let found = call.find_for_write(key);
    let length_before = match found {
        Some(found) => Some(call.string(found)?.text().len()),
        None => None,
    };
    let has_grown = length_before.is_none_or(|before| before < length);
    let mut replies = Vec::with_capacity(steps.len());
    let mut changes = 0_u64;
    edit_bytes_up_to(call, found, key, length, |bytes| {
        for step in steps {
            let (reply, written) = step.apply(bytes);
            let is_change = written == Written::Other || written == Written::Same && has_grown;
            changes += u64::from(is_change);
            replies.push(reply);
        }
    });
    // The string is made longer even if all that was to be written does not fit; replicas have to hear of it.
    if has_grown {
        changes = changes.max(1);
    }
    if changes > 0 {
        call.changed(key);
        call.effects.dirty += changes - 1;
        call.event(EventClass::String, "setbit", key);
    }
    call.reply.array(replies.len());
    for reply in replies {
        match reply {
            Some(value) => call.reply.integer(value),
            None => call.reply.null(),
        }
    }
    Ok(())
}
