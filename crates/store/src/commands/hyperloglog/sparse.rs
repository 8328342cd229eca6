//! Sparse registers: runs of equal ones, in the order of the registers.
//!
//! ```text
//! 00llllll            ZERO    1 to 64 registers of value 0
//! 01llllll llllllll   XZERO   1 to 16384 registers of value 0
//! 1vvvvvll            VAL     1 to 4 registers of value 1 to 32
//! ```
//!
//! Lengths and values are kept less one. Where several sequences would tell the same, ours is the one that Redis arrives
//! at: a run is split where a register rises, and runs of equal values around that place are joined as far as they fit.

use super::sketch::{Corrupted, HEADER_BYTES, REGISTERS};

/// The most registers in a ZERO.
const ZERO_MAX: usize = 64;
/// The most registers in a VAL.
const VALUE_RUN_MAX: usize = 4;
/// The highest value of a VAL.
const VALUE_MAX: u8 = 32;
const XZERO_BIT: u8 = 0x40;
const VALUE_BIT: u8 = 0x80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opcode {
    /// Its length in bytes.
    bytes: usize,
    /// How many registers it tells of.
    run: usize,
    /// Their value.
    value: u8,
}

impl Opcode {
    /// The opcode at a place; `None` behind the last one. The second byte of an XZERO reads as zero if it is missing.
    fn at(bytes: &[u8], place: usize) -> Option<Self> {
        let first = *bytes.get(place)?;
        Some(if first & VALUE_BIT != 0 {
            Self { bytes: 1, run: usize::from(first & 3) + 1, value: (first >> 2 & 31) + 1 }
        } else if first & XZERO_BIT != 0 {
            let second = bytes.get(place + 1).copied().unwrap_or(0);
            Self { bytes: 2, run: usize::from(u16::from_be_bytes([first & 0x3f, second])) + 1, value: 0 }
        } else {
            Self { bytes: 1, run: usize::from(first) + 1, value: 0 }
        })
    }

    fn end(self, place: usize, bytes: &[u8]) -> usize {
        (place + self.bytes).min(bytes.len())
    }
}

/// Appends a run of zeros; `run` is 1 to 16384.
pub fn push_zeros(bytes: &mut Vec<u8>, run: usize) {
    if run > ZERO_MAX {
        let [high, low] = ((run - 1) as u16).to_be_bytes();
        bytes.extend([high | XZERO_BIT, low]);
    } else {
        bytes.push((run - 1) as u8);
    }
}

fn value_opcode(value: u8, run: usize) -> u8 {
    VALUE_BIT | (value - 1) << 2 | (run - 1) as u8
}

fn push_run(bytes: &mut Vec<u8>, value: u8, run: usize) {
    match (run, value) {
        (0, _) => {}
        (_, 0) => push_zeros(bytes, run),
        _ => bytes.push(value_opcode(value, run)),
    }
}

/// Gives `visit` the first register, the length and the value of every run of a sparse sketch.
///
/// # Errors
/// The runs do not tell of each register once. What was visited before lies inside.
pub fn runs(bytes: &[u8], mut visit: impl FnMut(usize, usize, u8)) -> Result<(), Corrupted> {
    let (mut place, mut first) = (HEADER_BYTES, 0);
    while let Some(opcode) = Opcode::at(bytes, place) {
        if first + opcode.run > REGISTERS {
            return Err(Corrupted);
        }
        visit(first, opcode.run, opcode.value);
        first += opcode.run;
        place += opcode.bytes;
    }
    if first == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

/// The runs as `PFDEBUG DECODE` shows them.
pub fn describe(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let mut place = HEADER_BYTES;
    while let Some(opcode) = Opcode::at(bytes, place) {
        let separator = if text.is_empty() { "" } else { " " };
        let _ = match opcode {
            Opcode { value: 0, bytes: 1, run } => write!(text, "{separator}z:{run}"),
            Opcode { value: 0, run, .. } => write!(text, "{separator}Z:{run}"),
            Opcode { value, run, .. } => write!(text, "{separator}v:{value},{run}"),
        };
        place += opcode.bytes;
    }
    text
}

/// What became of a register that was to rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was as high already.
    None,
    /// It rose.
    Raised,
    /// Sparse registers cannot tell of it, or not in so few bytes; nothing has changed.
    DoesNotFit,
}

/// A place in a sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Where the opcode is.
    at: usize,
    /// The first register that it tells of.
    first: usize,
    /// Where the opcode before it is.
    before: Option<usize>,
}

/// Where the search for a register begins. It may be used again for higher registers of the same sketch.
#[derive(Clone, Copy, Debug)]
pub struct Cursor(Place);

impl Default for Cursor {
    fn default() -> Self {
        Self(Place { at: HEADER_BYTES, first: 0, before: None })
    }
}

/// Raises a register to `value`, unless it is as high.
///
/// # Errors
/// There is no such register.
pub fn raise(
    bytes: &mut Vec<u8>,
    index: usize,
    value: u8,
    max_bytes: usize,
    cursor: &mut Cursor,
) -> Result<Change, Corrupted> {
    if value > VALUE_MAX {
        return Ok(Change::DoesNotFit);
    }
    let mut place = cursor.0;
    let opcode = loop {
        let opcode = Opcode::at(bytes, place.at).ok_or(Corrupted)?;
        if index < place.first + opcode.run {
            break opcode;
        }
        // The opcode before the one that is found stays where it is, whatever happens.
        cursor.0 = place;
        place =
            Place { at: place.at + opcode.bytes, first: place.first + opcode.run, before: Some(place.at) };
    };
    if opcode.value >= value {
        return Ok(Change::None);
    }
    if opcode.run == 1 && opcode.bytes == 1 {
        bytes[place.at] = value_opcode(value, 1);
    } else {
        let mut parts = Vec::with_capacity(5);
        push_run(&mut parts, opcode.value, index - place.first);
        push_run(&mut parts, value, 1);
        push_run(&mut parts, opcode.value, place.first + opcode.run - 1 - index);
        if parts.len() > opcode.bytes && bytes.len() + parts.len() - opcode.bytes > max_bytes {
            return Ok(Change::DoesNotFit);
        }
        let end = opcode.end(place.at, bytes);
        bytes.splice(place.at..end, parts);
    }
    join(bytes, place.before.unwrap_or(HEADER_BYTES));
    Ok(Change::Raised)
}

/// Joins neighbouring runs of equal values, from a place on where one of the next opcodes has changed.
fn join(bytes: &mut Vec<u8>, mut place: usize) {
    /// As many opcodes can a change concern: the one before, three parts, the one behind.
    const STEPS: usize = 5;
    for _ in 0..STEPS {
        let Some(opcode) = Opcode::at(bytes, place) else { return };
        let next = place + opcode.bytes;
        let fits = |next: &Opcode| next.value == opcode.value && next.run + opcode.run <= VALUE_RUN_MAX;
        match Opcode::at(bytes, next).filter(|_| opcode.value > 0).filter(fits) {
            Some(other) => {
                bytes[next] = value_opcode(opcode.value, opcode.run + other.run);
                bytes.remove(place);
            }
            None => place = next,
        }
    }
}
