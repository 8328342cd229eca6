//! The entry of the fuzz target for snapshots, payloads and compressed strings.

use super::{RdbReader, ValueReader};
use crate::dump_payload;
use crate::lzf;

/// The first byte chooses the size of the pieces, the rest is read as a file, as a payload and as compressed data. No
/// input may panic, and pieces must give what the whole gives.
pub fn fuzz_rdb(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let piece = usize::from(first).max(1);
    assert_eq!(outline(data, data.len().max(1)), outline(data, piece), "pieces give the same as the whole");
    let _ = dump_payload::read(data, true);
    let mut value = ValueReader::new(data);
    while let Ok(Some(_)) = value.next() {}
    let _ = lzf::decompress(data, usize::from(first) * 100, &mut Vec::new());
}

/// How many events there are, and how they end.
fn outline(data: &[u8], piece: usize) -> (usize, Option<super::RdbError>) {
    let mut reader = RdbReader::new(false);
    let mut count = 0;
    for bytes in data.chunks(piece) {
        reader.feed(bytes);
        loop {
            match reader.next() {
                Ok(Some(_)) => count += 1,
                Ok(None) => break,
                Err(error) => return (count, Some(error)),
            }
        }
    }
    (count, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn anything_is_read_safely(
            tail in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..4, 0xc0u8..0xc4, 0xf4u8..=0xff], 0..80),
            piece in 0u8..9,
        ) {
            let mut data = vec![piece];
            data.extend_from_slice(b"REDIS0011");
            data.extend_from_slice(&tail);
            fuzz_rdb(&data);
            fuzz_rdb(&tail);
        }
    }
}
