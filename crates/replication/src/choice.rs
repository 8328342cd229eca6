//! What a primary answers to PSYNC.

use crate::id::ReplicationId;

/// What a node knows of its stream.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// The name of its history.
    pub id: ReplicationId,
    /// The name that the history had before, and the first offset that does not belong to it any more.
    pub second: Option<(ReplicationId, u64)>,
    /// The oldest offset that can be sent, if anything has been kept.
    pub first: Option<u64>,
    /// The offset of the next byte.
    pub end: u64,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The stream goes on from this offset.
    Partial(u64),
    /// A snapshot first.
    Full(Refusal),
}

/// Why a stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The replica asked for a snapshot.
    Wanted,
    /// The replica's data has another history.
    OtherHistory,
    /// The replica went on with the second history after this node had left it at the offset given here.
    LeftBehind(u64),
    /// The bytes are not kept any more.
    TooOld,
    /// The offset has not been reached yet.
    Ahead,
}

/// Decides about `PSYNC id offset`.
pub fn choose(history: &History, id: &[u8], offset: i64) -> Choice {
    if !history.id.matches(id) {
        match history.second {
            Some((second, valid_before)) if second.matches(id) => {
                if offset > 0 && offset.unsigned_abs() > valid_before {
                    return Choice::Full(Refusal::LeftBehind(valid_before));
                }
            }
            _ if id.first() == Some(&b'?') => return Choice::Full(Refusal::Wanted),
            _ => return Choice::Full(Refusal::OtherHistory),
        }
    }
    let Ok(offset) = u64::try_from(offset) else { return Choice::Full(Refusal::TooOld) };
    match history.first {
        _ if offset > history.end => Choice::Full(Refusal::Ahead),
        Some(first) if offset >= first => Choice::Partial(offset),
        _ => Choice::Full(Refusal::TooOld),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_psync() {
        let id = |byte: u8| ReplicationId::parse(&[byte; 40]).unwrap();
        let history = History { id: id(b'a'), second: Some((id(b'b'), 120)), first: Some(100), end: 150 };
        let cases: [(&[u8], i64, Choice); 14] = [
            (&[b'a'; 40], 100, Choice::Partial(100)),
            (&[b'A'; 40], 150, Choice::Partial(150)),
            (&[b'a'; 40], 99, Choice::Full(Refusal::TooOld)),
            (&[b'a'; 40], 151, Choice::Full(Refusal::Ahead)),
            (&[b'a'; 40], -1, Choice::Full(Refusal::TooOld)),
            (&[b'a'; 40], i64::MIN, Choice::Full(Refusal::TooOld)),
            (&[b'b'; 40], 120, Choice::Partial(120)),
            (&[b'b'; 40], 121, Choice::Full(Refusal::LeftBehind(120))),
            (&[b'b'; 40], 99, Choice::Full(Refusal::TooOld)),
            (&[b'c'; 40], 120, Choice::Full(Refusal::OtherHistory)),
            (b"?", -1, Choice::Full(Refusal::Wanted)),
            (b"?", 120, Choice::Full(Refusal::Wanted)),
            (b"", 120, Choice::Full(Refusal::OtherHistory)),
            (&[b'a'; 41], 120, Choice::Full(Refusal::OtherHistory)),
        ];
        for (asked, offset, expected) in cases {
            assert_eq!(choose(&history, asked, offset), expected, "{asked:?} {offset}");
        }
        let nothing_kept = History { first: None, ..history };
        assert_eq!(choose(&nothing_kept, &[b'a'; 40], 150), Choice::Full(Refusal::TooOld));
        let one_history = History { second: None, ..history };
        assert_eq!(choose(&one_history, &[b'b'; 40], 110), Choice::Full(Refusal::OtherHistory));
    }
}
