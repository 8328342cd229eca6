//! LZF, the compression of strings in RDB files.
//!
//! A compressed text is a row of pieces:
//!
//! ```text
//! 000lllll  bytes…                 l + 1 literal bytes
//! lllooooo  oooooooo               l + 2 bytes (l = 1…6) that stand o + 1 bytes before
//! 111ooooo  llllllll  oooooooo     l + 9 bytes that stand o + 1 bytes before
//! ```
//!
//! The format is that of LibLZF 3 (Marc Lehmann), as Redis uses it.

use std::fmt;

/// The most literal bytes of one piece.
const LITERAL_MAX: usize = 32;
/// The furthest that a piece refers back.
const DISTANCE_MAX: usize = 1 << 13;
/// The longest piece that refers back.
const MATCH_MAX: usize = 264;
/// The shortest piece that refers back.
const MATCH_MIN: usize = 3;
/// The bytes of the longest piece that refers back, compressed.
const MATCH_PIECE_BYTES: usize = 3;
/// Places remembered, by the hash of the three bytes there: as many as the longest text needs, in these bounds.
const HASH_BITS_MIN: u32 = 10;
const HASH_BITS_MAX: u32 = 14;

/// What is wrong with a compressed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("malformed LZF data")
    }
}

impl std::error::Error for Malformed {}

/// Compresses texts. It keeps its table of places, so one compressor is to be used for many texts.
#[derive(Debug)]
pub struct Compressor {
    /// Where three bytes with this hash were seen last, plus one, counted over all texts; see `base`.
    places: Vec<u32>,
    /// Places at or below it belong to earlier texts.
    base: u32,
    hash_bits: u32,
    /// Space for a text on its way; kept from one to the next.
    pub(crate) scratch: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor {
    /// A compressor; its table is made with the first text.
    pub const fn new() -> Self {
        Self { places: Vec::new(), base: 0, hash_bits: 0, scratch: Vec::new() }
    }

    /// Appends the compressed form of `input` to `output` if it takes at most `max_bytes`; else leaves `output` as it
    /// was and returns false.
    pub fn compress(&mut self, input: &[u8], max_bytes: usize, output: &mut Vec<u8>) -> bool {
        if input.len() < MATCH_MIN || input.len() >= u32::MAX as usize / 2 {
            return false;
        }
        self.begin(input.len());
        let fits = self.compress_text(input, max_bytes, output);
        self.base += input.len() as u32 + 1;
        fits
    }

    fn compress_text(&mut self, input: &[u8], max_bytes: usize, output: &mut Vec<u8>) -> bool {
        let start = output.len();
        let limit = start + max_bytes;
        let mut literals = 0;
        let mut at = 0;
        while at + MATCH_MIN <= input.len() {
            let found = self.exchange(input, at).filter(|from| at - from <= DISTANCE_MAX);
            let length = found.map_or(0, |from| match_length(input, from, at));
            let Some(from) = found.filter(|_| length >= MATCH_MIN) else {
                at += 1;
                continue;
            };
            write_literals(&input[literals..at], output);
            write_match(at - from - 1, length, output);
            if output.len() > limit {
                output.truncate(start);
                return false;
            }
            // The last places of a match are remembered, the ones before it would cost more than they bring.
            for inside in (at + length).saturating_sub(2)..at + length {
                if inside > at && inside + MATCH_MIN <= input.len() {
                    self.exchange(input, inside);
                }
            }
            at += length;
            literals = at;
        }
        let rest = &input[literals..];
        let fits = output.len() + rest.len() + rest.len().div_ceil(LITERAL_MAX) <= limit;
        if fits {
            write_literals(rest, output);
        } else {
            output.truncate(start);
        }
        fits
    }

    /// Makes sure that the places of a text of this length can be told from those of earlier ones.
    fn begin(&mut self, length: usize) {
        let wanted_bits = (usize::BITS - length.leading_zeros() + 1).clamp(HASH_BITS_MIN, HASH_BITS_MAX);
        if wanted_bits > self.hash_bits {
            self.places = vec![0; 1 << wanted_bits];
            self.hash_bits = wanted_bits;
        }
        if self.base as usize + length + 1 >= u32::MAX as usize {
            self.places.fill(0);
            self.base = 0;
        }
    }

    /// Remembers the place `at`; gives the last one before it with the same hash, if it is in this text.
    fn exchange(&mut self, input: &[u8], at: usize) -> Option<usize> {
        let key = u32::from(input[at]) << 16 | u32::from(input[at + 1]) << 8 | u32::from(input[at + 2]);
        let hash = key.wrapping_mul(0x9e37_79b1) >> (32 - self.hash_bits);
        let place = &mut self.places[hash as usize];
        let before = std::mem::replace(place, self.base + at as u32 + 1);
        before.checked_sub(self.base + 1).map(|before| before as usize)
    }
}

fn match_length(input: &[u8], from: usize, at: usize) -> usize {
    let longest = MATCH_MAX.min(input.len() - at);
    input[from..].iter().zip(&input[at..at + longest]).take_while(|(left, right)| left == right).count()
}

fn write_literals(bytes: &[u8], output: &mut Vec<u8>) {
    for piece in bytes.chunks(LITERAL_MAX) {
        output.push(piece.len() as u8 - 1);
        output.extend_from_slice(piece);
    }
}

fn write_match(offset: usize, length: usize, output: &mut Vec<u8>) {
    let high = (offset >> 8) as u8;
    let length = length - 2;
    if length < 7 {
        output.push((length as u8) << 5 | high);
    } else {
        output.extend_from_slice(&[7 << 5 | high, (length - 7) as u8]);
    }
    output.push(offset as u8);
}

/// Whether `compressed_bytes` can hold a text of `length` bytes. To be asked before anything is reserved.
pub fn is_plausible(compressed_bytes: usize, length: usize) -> bool {
    length <= compressed_bytes.saturating_mul(MATCH_MAX).div_ceil(MATCH_PIECE_BYTES)
}

/// Appends the text behind `input` to `output`. It must have `length` bytes.
///
/// # Errors
/// The input is malformed or gives another length; `output` then holds a part of the text.
pub fn decompress(input: &[u8], length: usize, output: &mut Vec<u8>) -> Result<(), Malformed> {
    if !is_plausible(input.len(), length) {
        return Err(Malformed);
    }
    let start = output.len();
    let end = start + length;
    output.reserve(length);
    let mut rest = input;
    while let [control, after @ ..] = rest {
        rest = after;
        let control = usize::from(*control);
        if control < LITERAL_MAX {
            let (literals, after) = rest.split_at_checked(control + 1).ok_or(Malformed)?;
            output.extend_from_slice(literals);
            rest = after;
        } else {
            let mut count = (control >> 5) + 2;
            if count == 9 {
                let (more, after) = rest.split_first().ok_or(Malformed)?;
                count += usize::from(*more);
                rest = after;
            }
            let (low, after) = rest.split_first().ok_or(Malformed)?;
            rest = after;
            let distance = ((control & 0x1f) << 8 | usize::from(*low)) + 1;
            copy_back(output, start, distance, count)?;
        }
        if output.len() > end {
            return Err(Malformed);
        }
    }
    if output.len() == end { Ok(()) } else { Err(Malformed) }
}

/// Appends `count` bytes that begin `distance` bytes before the end; they may overlap what they make.
fn copy_back(output: &mut Vec<u8>, start: usize, distance: usize, count: usize) -> Result<(), Malformed> {
    let from = output.len().checked_sub(distance).filter(|from| *from >= start).ok_or(Malformed)?;
    if distance >= count {
        output.extend_from_within(from..from + count);
    } else {
        for at in from..from + count {
            output.push(output[at]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(compressor: &mut Compressor, text: &[u8]) -> Option<usize> {
        let mut compressed = vec![1, 2];
        if !compressor.compress(text, text.len(), &mut compressed) {
            assert_eq!(compressed, [1, 2]);
            return None;
        }
        assert!(compressed.len() <= text.len() + 2);
        let mut back = vec![7];
        assert_eq!(decompress(&compressed[2..], text.len(), &mut back), Ok(()));
        assert!(back[1..] == *text);
        Some(compressed.len() - 2)
    }

    #[test]
    fn texts_come_back() {
        let mut compressor = Compressor::new();
        assert_eq!(round_trip(&mut compressor, &[b'x'; 1000]), Some(14));
        assert_eq!(round_trip(&mut compressor, b"abcdefghijklmnopqrstuvw"), None);
        let words = "the same words come again and again ".repeat(300);
        assert!(round_trip(&mut compressor, words.as_bytes()).unwrap() < words.len() / 20);
        let far: Vec<u8> =
            (0..9000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        round_trip(&mut compressor, &[far.clone(), far].concat());
    }

    #[test]
    fn malformed_texts_are_refused() {
        for (input, length) in [
            (&b"\x05ab"[..], 6),
            (b"\x20\x00", 3),
            (b"\x00a\x20\x05", 4),
            (b"\x00a\x20", 4),
            (b"\xe0", 4),
            (b"\x00a", 2),
            (b"\x01ab", 1),
            (b"", 1),
            (b"\x00a", usize::MAX),
        ] {
            assert_eq!(decompress(input, length, &mut Vec::new()), Err(Malformed), "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(texts in prop::collection::vec(prop::collection::vec(0u8..4, 0..600), 1..5)) {
            let mut compressor = Compressor::new();
            for text in &texts {
                round_trip(&mut compressor, text);
            }
        }

        #[test]
        fn any_input_is_read_safely(input in prop::collection::vec(any::<u8>(), 0..200), length in 0usize..5000) {
            let _ = decompress(&input, length, &mut Vec::new());
        }
    }
}
