//! Receiving a snapshot.
//!
//! ```text
//! $1024\r\n<1024 bytes>commands…                      the length is known
//! $EOF:<mark>\r\n<bytes…><mark>commands…              it is not: 40 random characters end it
//! ```

use memchr::memmem;

/// The length of the mark that ends a snapshot of unknown length.
pub const MARK_BYTES: usize = 40;

/// How the end of a snapshot is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It has this many bytes.
    Length(u64),
    /// This mark follows it.
    Mark([u8; MARK_BYTES]),
}

/// A snapshot that is arriving.
#[derive(Debug)]
pub enum Transfer {
    /// The rest of a snapshot of known length.
    Length {
        /// Bytes still to come.
        remaining: u64,
    },
    /// A snapshot that a mark ends.
    Mark {
        /// The mark.
        mark: [u8; MARK_BYTES],
        /// The last bytes, which may be the beginning of the mark; fewer than [`MARK_BYTES`].
        held: Vec<u8>,
    },
}

/// What [`Transfer::receive`] made of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// How many of the bytes belong to the transfer; what follows them are commands.
    pub consumed: usize,
    /// The snapshot is complete.
    pub is_complete: bool,
}

impl Transfer {
    /// A transfer of which nothing has arrived.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(remaining) => Self::Length { remaining },
            Framing::Mark(mark) => Self::Mark { mark, held: Vec::new() },
        }
    }

    /// Takes bytes; hands the snapshot's own on to `payload`, in order.
    pub fn receive(&mut self, bytes: &[u8], payload: &mut dyn FnMut(&[u8])) -> Received {
        match self {
            Self::Length { remaining } => {
                let count = usize::try_from(*remaining).unwrap_or(usize::MAX).min(bytes.len());
                *remaining -= count as u64;
                if count > 0 {
                    payload(&bytes[..count]);
                }
                Received { consumed: count, is_complete: *remaining == 0 }
            }
            Self::Mark { mark, held } => receive_marked(mark, held, bytes, payload),
        }
    }
}

/// The mark can begin in the bytes held back, or in the new ones.
fn receive_marked(
    mark: &[u8; MARK_BYTES],
    held: &mut Vec<u8>,
    bytes: &[u8],
    payload: &mut dyn FnMut(&[u8]),
) -> Received {
    let old = held.len();
    // The seam holds every position at which a mark can begin in the bytes held back.
    held.extend_from_slice(&bytes[..bytes.len().min(MARK_BYTES - 1)]);
    let seam = std::mem::take(held);
    if let Some(at) = memmem::find(&seam, mark) {
        if at > 0 {
            payload(&seam[..at]);
        }
        return Received { consumed: at + MARK_BYTES - old, is_complete: true };
    }
    if let Some(at) = memmem::find(bytes, mark) {
        payload(&seam[..old]);
        payload(&bytes[..at]);
        return Received { consumed: at + MARK_BYTES, is_complete: true };
    }
    let kept = (old + bytes.len()).min(MARK_BYTES - 1);
    if bytes.len() >= kept {
        if old > 0 {
            payload(&seam[..old]);
        }
        let (ready, rest) = bytes.split_at(bytes.len() - kept);
        if !ready.is_empty() {
            payload(ready);
        }
        held.extend_from_slice(rest);
    } else {
        // Few new bytes: all of them stand in the seam.
        let (ready, rest) = seam.split_at(seam.len() - kept);
        if !ready.is_empty() {
            payload(ready);
        }
        held.extend_from_slice(rest);
    }
    Received { consumed: bytes.len(), is_complete: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_machine::Rng;

    /// Feeds bytes in pieces; returns the payload and what is left.
    fn run(framing: Framing, bytes: &[u8], piece: &mut dyn FnMut() -> usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut transfer = Transfer::new(framing);
        let mut payload = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + piece().max(1)).min(bytes.len());
            let received = transfer.receive(&bytes[at..end], &mut |part| payload.extend_from_slice(part));
            assert!(received.consumed <= end - at);
            at += received.consumed;
            if received.is_complete {
                return Some((payload, bytes[at..].to_vec()));
            }
        }
        None
    }

    #[test]
    fn any_split_gives_the_same_snapshot() {
        let mut rng = Rng::new(3);
        let mark = rng.hex_id();
        for size in [0, 1, 38, 39, 40, 41, 79, 80, 200, 5000] {
            // The payload is full of beginnings of the mark.
            let body: Vec<u8> = (0..size).map(|index| mark[index % 39]).collect();
            for follow in [&b""[..], b"*1\r\n$4\r\nPING\r\n"] {
                let marked = [&body, &mark[..], follow].concat();
                let counted = [&body, follow].concat();
                for piece in [1, 2, 7, 39, 40, 41, 100, 100_000] {
                    let expected = Some((body.clone(), follow.to_vec()));
                    assert_eq!(run(Framing::Mark(mark), &marked, &mut || piece), expected, "{size} {piece}");
                    if size > 0 {
                        let framing = Framing::Length(size as u64);
                        assert_eq!(run(framing, &counted, &mut || piece), expected, "{size} {piece}");
                    }
                }
                for _ in 0..20 {
                    let expected = Some((body.clone(), follow.to_vec()));
                    assert_eq!(run(Framing::Mark(mark), &marked, &mut || rng.index(60)), expected);
                }
            }
        }
    }

    #[test]
    fn an_unfinished_snapshot_is_not_complete() {
        let mark = [b'm'; MARK_BYTES];
        assert_eq!(run(Framing::Mark(mark), &[b'm'; 39], &mut || 5), None);
        assert_eq!(run(Framing::Length(10), &[0; 9], &mut || 4), None);
    }
}
