//! The invariant: what a replica holds at an offset of a history is what its primary held there.
//!
//! A history is a name and the digests of the data at its offsets, as whoever wrote it had them. A history begins where
//! another ended (a promotion, a restart), or with nothing. The bytes between two notes change no data, or are the
//! beginning of what the second note is about, so that the data at an offset are those of the last note up to it.

use std::collections::BTreeMap;

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
    digests: BTreeMap<u64, String>,
}

impl Histories {
    /// A primary is here. `before` is the history that this one went on from, and where.
    ///
    /// # Errors
    /// The same place was noted with other data.
    pub fn note(&mut self, point: &Point, before: Option<(String, u64)>) -> Result<(), String> {
        let history = self.all.entry(point.id.clone()).or_default();
        if history.before.is_none() {
            history.before = before;
        }
        match history.digests.insert(point.offset, point.digest.clone()) {
            Some(other) if other != point.digest => {
                Err(format!("{}:{} has been written twice, with different data", point.id, point.offset))
            }
            _ => Ok(()),
        }
    }

    /// A replica is here.
    ///
    /// # Errors
    /// Its data are not those of its primary at this offset.
    pub fn check(&self, point: &Point) -> Result<(), String> {
        match self.digest(&point.id, point.offset) {
            Some(digest) if *digest == point.digest => Ok(()),
            Some(_) => {
                Err(format!("the data at {}:{} are not those of its primary", point.id, point.offset))
            }
            None => Err(format!("nobody has written {}:{}", point.id, point.offset)),
        }
    }

    fn digest(&self, id: &str, offset: u64) -> Option<&String> {
        let mut id = id;
        // Each step goes to an older history; there are no circles, as names are new.
        for _ in 0..=self.all.len() {
            let history = self.all.get(id)?;
            if let Some((_, digest)) = history.digests.range(..=offset).next_back() {
                return Some(digest);
            }
            id = &history.before.as_ref()?.0;
        }
        None
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
        histories.note(&point("a", 0, "nothing"), None).unwrap();
        histories.note(&point("a", 30, "x"), None).unwrap();
        histories.note(&point("b", 40, "y"), Some(("a".to_owned(), 36))).unwrap();
        for (at, digest) in [(("a", 0), "nothing"), (("a", 29), "nothing"), (("a", 31), "x")] {
            histories.check(&point(at.0, at.1, digest)).unwrap();
        }
        histories.check(&point("b", 35, "x")).unwrap();
        histories.check(&point("b", 41, "y")).unwrap();
        assert!(histories.check(&point("b", 41, "x")).is_err());
        assert!(histories.check(&point("c", 1, "x")).is_err());
        assert!(histories.note(&point("a", 30, "z"), None).is_err());
    }
}
