//! Changes inputs at random.

use shoal_machine::Rng;

/// Longest input that is made.
const LENGTH_MAX: usize = 8192;
/// Most changes of one input.
const CHANGES_MAX: u64 = 6;
/// Words of the formats, and numbers at their limits.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"*",
    b"$",
    b"*-1\r\n",
    b"$-1\r\n",
    b"*3\r\n",
    b"$2147483648\r\n",
    b"%",
    b"~",
    b">",
    b"=",
    b"(",
    b"|",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"4294967296",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\0\0\0\0\0\0\0\0",
    b"\x80",
    b"\x81",
    b"\xc3",
    b"RCmb",
    b"REDIS0011",
    b"REDIS9999",
    b"FULLRESYNC",
    b"CONTINUE",
    b"EOF:",
    b"include ",
    b"\"",
    b"'",
    b"\\x",
    b" - ",
    b"[",
    b"-<-",
    b"->-",
    b"myself,",
    b"master",
    b"slave",
    b"16383",
    b"65536",
    b"@",
    b",",
    b"=",
];

/// Draws changed inputs from a seed.
pub struct Mutator {
    rng: Rng,
}

impl Mutator {
    /// The same seed gives the same changes.
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed) }
    }

    /// One of the inputs, changed in a few places.
    pub fn draw(&mut self, inputs: &[(String, Vec<u8>)]) -> Vec<u8> {
        let any = |rng: &mut Rng| rng.choose(inputs).map_or(Vec::new(), |(_, bytes)| bytes.clone());
        let mut bytes = any(&mut self.rng);
        for _ in 0..=self.rng.below(CHANGES_MAX) {
            let at = self.rng.index(bytes.len() + 1);
            let length = self.rng.index((bytes.len() - at + 1).min(64));
            match self.rng.below(8) {
                0 => {
                    let bit = self.rng.below(8);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << bit;
                    }
                }
                1 => {
                    let value = self.rng.below(256) as u8;
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = value;
                    }
                }
                2 => drop(bytes.drain(at..at + length)),
                3 => {
                    let copy = bytes.get(at..at + length).unwrap_or_default().to_vec();
                    bytes.splice(at..at, copy);
                }
                4 => {
                    let word = self.rng.choose(WORDS).copied().unwrap_or_default();
                    bytes.splice(at..at, word.iter().copied());
                }
                5 => {
                    let word = self.rng.choose(WORDS).copied().unwrap_or_default();
                    let end = (at + word.len()).min(bytes.len());
                    bytes.splice(at..end, word.iter().copied());
                }
                6 => bytes.truncate(at),
                _ => {
                    let other = any(&mut self.rng);
                    let from = self.rng.index(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend(other.get(from..).unwrap_or_default());
                }
            }
            bytes.truncate(LENGTH_MAX);
        }
        bytes
    }
}
