//! The bytes of a HyperLogLog, as Redis lays them out.
//!
//! ```text
//! ┌ "HYLL" 4 ┬ encoding 1 ┬ unused 3 ┬ count 8 ┬ registers … ┐
//! ```
//!
//! - There are 16384 registers, chosen by the lower 14 bits of an element's hash. Each keeps the longest run of zeros seen in
//!   the other bits, plus one.
//! - The count is the estimate that was computed last, little endian. The highest bit of its last byte says that it is
//!   out of date.
//! - Encoding 0 is dense (see `dense`), 1 sparse (see `sparse`).
//!
//! The hash is MurmurHash2 in its 64-bit form (Austin Appleby, public domain) with the seed that Redis uses.

use super::{dense, estimate, sparse};
use sparse::{Change, Cursor};

/// The number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Bytes before the registers.
pub const HEADER_BYTES: usize = 16;
/// The length of a dense sketch.
pub const DENSE_BYTES: usize = HEADER_BYTES + dense::REGISTER_BYTES;

/// The value of every register.
pub type Registers = [u8; REGISTERS];

const MAGIC: &[u8] = b"HYLL";
const ENCODING_AT: usize = 4;
const COUNT_AT: usize = 8;
const OUTDATED: u8 = 0x80;
const INDEX_BITS: u32 = 14;
/// Bits of a hash that the runs of zeros are looked for in.
pub const RUN_BITS: u32 = 64 - INDEX_BITS;
const SEED: u64 = 0xadc8_3b19;

/// How the registers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Six bits each.
    Dense,
    /// Runs of equal ones.
    Sparse,
}

/// The registers of a sparse sketch are not what they have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupted;

/// The encoding that the header tells; `None` if the bytes are no sketch.
pub fn encoding(bytes: &[u8]) -> Option<Encoding> {
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
        return None;
    }
    match bytes[ENCODING_AT] {
        0 if bytes.len() == DENSE_BYTES => Some(Encoding::Dense),
        1 => Some(Encoding::Sparse),
        _ => None,
    }
}

/// A sketch of nothing.
pub fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[ENCODING_AT] = 1;
    sparse::push_zeros(&mut bytes, REGISTERS);
    bytes
}

/// The count, if it is up to date.
pub fn known_count(bytes: &[u8]) -> Option<u64> {
    let count = bytes.get(COUNT_AT..)?.first_chunk()?;
    (count[7] & OUTDATED == 0).then(|| u64::from_le_bytes(*count))
}

/// Notes the count.
pub fn note_count(bytes: &mut [u8], count: u64) {
    bytes[COUNT_AT..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
}

/// Notes that the count is out of date.
pub fn forget_count(bytes: &mut [u8]) {
    bytes[HEADER_BYTES - 1] |= OUTDATED;
}

/// Makes sure that a sparse sketch tells of each register once.
///
/// # Errors
/// It does not.
pub fn check_sparse(bytes: &[u8]) -> Result<(), Corrupted> {
    sparse::runs(bytes, |_, _, _| {})
}

/// Estimates the number of different elements.
///
/// # Errors
/// The bytes are not a sound sketch.
pub fn count(bytes: &[u8]) -> Result<u64, Corrupted> {
    let histogram = match encoding(bytes).ok_or(Corrupted)? {
        Encoding::Dense => dense::histogram(&bytes[HEADER_BYTES..]),
        Encoding::Sparse => {
            let mut histogram = estimate::Histogram::default();
            sparse::runs(bytes, |_, run, value| histogram[usize::from(value)] += run as u32)?;
            histogram
        }
    };
    Ok(estimate::count(&histogram))
}

/// Raises each register to what the sketch has there.
///
/// # Errors
/// The bytes are not a sound sketch.
pub fn raise(bytes: &[u8], registers: &mut Registers) -> Result<(), Corrupted> {
    match encoding(bytes).ok_or(Corrupted)? {
        Encoding::Dense => {
            dense::for_each(&bytes[HEADER_BYTES..], |index, value| {
                registers[index] = registers[index].max(value);
            });
            Ok(())
        }
        Encoding::Sparse => sparse::runs(bytes, |first, run, value| {
            if value > 0 {
                for register in &mut registers[first..first + run] {
                    *register = value.max(*register);
                }
            }
        }),
    }
}

/// Makes a sketch dense; the header stays but for the encoding.
///
/// # Errors
/// The bytes are not a sound sketch, and stay as they are.
pub fn make_dense(bytes: &mut Vec<u8>) -> Result<(), Corrupted> {
    if encoding(bytes).ok_or(Corrupted)? == Encoding::Dense {
        return Ok(());
    }
    let mut result = vec![0; DENSE_BYTES];
    sparse::runs(bytes, |first, run, value| {
        for index in first..first + run {
            dense::raise(&mut result[HEADER_BYTES..], index, value);
        }
    })?;
    result[..HEADER_BYTES].copy_from_slice(&bytes[..HEADER_BYTES]);
    result[ENCODING_AT] = 0;
    *bytes = result;
    Ok(())
}

/// Adds an element; a sparse sketch of more than `max_bytes` becomes dense. True if a register rose.
///
/// # Errors
/// The bytes are not a sound sketch.
pub fn add(bytes: &mut Vec<u8>, element: &[u8], max_bytes: usize) -> Result<bool, Corrupted> {
    if bytes[ENCODING_AT] == 0 {
        return Ok(add_to_dense(bytes, element));
    }
    let (index, value) = place(element);
    set(bytes, index, value, max_bytes, &mut Cursor::default())
}

/// Adds an element to a dense sketch. True if a register rose.
pub fn add_to_dense(bytes: &mut [u8], element: &[u8]) -> bool {
    let (index, value) = place(element);
    dense::raise(&mut bytes[HEADER_BYTES..], index, value)
}

/// Raises the registers of a sketch to these.
///
/// # Errors
/// The bytes are not a sound sketch.
pub fn set_registers(bytes: &mut Vec<u8>, registers: &Registers, max_bytes: usize) -> Result<(), Corrupted> {
    let mut cursor = Cursor::default();
    for (index, &value) in registers.iter().enumerate() {
        if value == 0 {
            continue;
        }
        if encoding(bytes).ok_or(Corrupted)? == Encoding::Dense {
            dense::raise(&mut bytes[HEADER_BYTES..], index, value);
        } else {
            set(bytes, index, value, max_bytes, &mut cursor)?;
        }
    }
    Ok(())
}

/// Raises one register of a sparse sketch, which may become dense by that. True if it rose.
fn set(
    bytes: &mut Vec<u8>,
    index: usize,
    value: u8,
    max_bytes: usize,
    cursor: &mut Cursor,
) -> Result<bool, Corrupted> {
    match sparse::raise(bytes, index, value, max_bytes, cursor)? {
        Change::None => Ok(false),
        Change::Raised => Ok(true),
        Change::DoesNotFit => {
            make_dense(bytes)?;
            Ok(dense::raise(&mut bytes[HEADER_BYTES..], index, value))
        }
    }
}

/// The register of an element, and the value that it calls for.
fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element, SEED);
    let run = hash >> INDEX_BITS | 1 << RUN_BITS;
    (hash as usize & (REGISTERS - 1), run.trailing_zeros() as u8 + 1)
}

/// MurmurHash64A, as if on a little-endian machine.
fn murmur(bytes: &[u8], seed: u64) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let (words, tail) = bytes.as_chunks::<8>();
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !tail.is_empty() {
        let word = tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(FACTOR);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(FACTOR);
    hash ^ hash >> SHIFT
}
