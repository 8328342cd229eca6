//! The invariant: what a replica holds at an offset of a history is what its primary held there.
//!
//! A history is a name and the digests of the data at its offsets, as whoever wrote it had them. A history begins where
//! another ended (a promotion, a restart), or with nothing. The bytes between two notes change no data, or are the
//! beginning of what the second note is about, so that the data at an offset are those of the last note up to it. Between
//! notes of which the second tells of several changes at once, nobody knows the data.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// The name of its history.
    pub id: String,
    /// How far it is.
    pub offset: u64,
    /// The digest of its data.
    pub digest: String,
}

/// All histories of a run.
#[derive(Debug, Default)]
pub(super) struct Histories {
    all: BTreeMap<String, History>,
}

#[derive(Debug, Default)]
struct History {
    /// The history before, and the first offset that does not belong to it.
    before: Option<(String, u64)>,
    digests: BTreeMap<u64, Note>,
}

#[derive(Debug)]
struct Note {
    digest: String,
    /// Since the note before, the data have changed at most once.
    is_single: bool,
}

impl Histories {
    /// A primary is here. `before` is the history that this one went on from, and where; `is_single` says that the data have
    /// changed at most once since the last note.
    ///
    /// # Errors
    /// The same place was noted with other data.
    pub fn note(
        &mut self,
        point: &Point,
        before: Option<(String, u64)>,
        is_single: bool,
    ) -> Result<(), String> {
        let history = self.all.entry(point.id.clone()).or_default();
        if history.before.is_none() {
            history.before = before;
        }
        let digest = point.digest.clone();
        match history.digests.entry(point.offset) {
            Entry::Vacant(entry) => {
                entry.insert(Note { digest, is_single });
                Ok(())
            }
            Entry::Occupied(entry) if entry.get().digest == digest => Ok(()),
            Entry::Occupied(_) => {
                Err(format!("{}:{} has been written twice, with different data", point.id, point.offset))
            }
        }
    }

    /// A replica is here. False if nobody knows what it should hold.
    ///
    /// # Errors
    /// Its data are not those of its primary at this offset.
    pub fn check(&self, point: &Point) -> Result<bool, String> {
        let (mut id, mut offset) = (&point.id, point.offset);
        let mut is_known = true;
        // Each step goes to an older history; there are no circles, as names are new.
        for _ in 0..=self.all.len() {
            let Some(history) = self.all.get(id) else { break };
            let next = history.digests.range(offset.saturating_add(1)..).next();
            is_known &= next.is_none_or(|(_, note)| note.is_single);
            match history.digests.range(..=offset).next_back() {
                Some((_, note)) if note.digest == point.digest => return Ok(true),
                Some((&at, _)) if is_known || at == point.offset => {
                    let next = next.map_or(0, |(&next, _)| next);
                    return Err(format!(
                        "the data at {}:{} are not those that its primary had there, by the notes of {id} at {at} and \
                         {next}",
                        point.id, point.offset
                    ));
                }
                Some(_) => return Ok(false),
                None => {}
            }
            let Some((older, end)) = &history.before else { break };
            (id, offset) = (older, offset.min(end.saturating_sub(1)));
        }
        if is_known { Err(format!("nobody has written {}:{}", point.id, point.offset)) } else { Ok(false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(id: &str, offset: u64, digest: &str) -> Point {
        Point { id: id.to_owned(), offset, digest: digest.to_owned() }
    }

    #[test]
    fn places_and_data() {
        let mut histories = Histories::default();
        histories.note(&point("a", 0, "nothing"), None, true).unwrap();
        histories.note(&point("a", 30, "x"), None, true).unwrap();
        histories.note(&point("a", 45, "z"), None, true).unwrap();
        histories.note(&point("b", 40, "y"), Some(("a".to_owned(), 36)), true).unwrap();
        for (at, digest) in [(("a", 0), "nothing"), (("a", 29), "nothing"), (("a", 31), "x")] {
            assert_eq!(histories.check(&point(at.0, at.1, digest)), Ok(true));
        }
        assert_eq!(histories.check(&point("b", 35, "x")), Ok(true));
        assert_eq!(histories.check(&point("b", 41, "y")), Ok(true));
        for (at, digest) in [(("b", 41), "x"), (("c", 1), "x"), (("a", 29), "x"), (("b", 37), "z")] {
            assert!(histories.check(&point(at.0, at.1, digest)).is_err(), "{at:?}");
        }
        assert!(histories.note(&point("a", 30, "z"), None, true).is_err());
    }

    #[test]
    fn several_changes_at_once() {
        let mut histories = Histories::default();
        histories.note(&point("a", 10, "x"), None, true).unwrap();
        histories.note(&point("a", 30, "y"), None, false).unwrap();
        assert_eq!(histories.check(&point("a", 20, "between")), Ok(false));
        assert_eq!(histories.check(&point("a", 20, "x")), Ok(true));
        for offset in [10, 30, 31] {
            assert!(histories.check(&point("a", offset, "between")).is_err(), "{offset}");
        }
        histories.note(&point("b", 60, "y"), Some(("a".to_owned(), 41)), false).unwrap();
        assert_eq!(histories.check(&point("b", 50, "between")), Ok(false));
        assert!(histories.check(&point("b", 60, "between")).is_err());
        assert!(histories.check(&point("b", 30, "between")).is_err());
    }
}
