//! Sorted sets in files: a listpack or its forerunner, or member by member.

use super::build::{BadValue, BuildOptions, WRONG_PART, listpack};
use super::emit::ValueSink;
use crate::types::{Collection, SortedSet};
use shoal_formats::listpack::Listpack;
use shoal_formats::rdb::{RdbElement, RdbValue, ValueLayout};
use shoal_formats::ziplist::Ziplist;

const MALFORMED: BadValue = BadValue::Malformed("Zset listpack integrity check failed");
const MALFORMED_ZIPLIST: BadValue = BadValue::Malformed("Zset ziplist integrity check failed");
const NOT_A_NUMBER: BadValue = BadValue::Malformed("Zset with a score that is no number");
const TWICE: BadValue = BadValue::Malformed("Zset integrity check failed: a member is there twice");

pub(super) fn emit(value: &SortedSet, sink: &mut impl ValueSink) {
    if let Some(listpack) = value.as_listpack() {
        sink.value(RdbValue::Packed { layout: ValueLayout::SortedSetListpack, bytes: listpack.as_bytes() });
        return;
    }
    sink.open(ValueLayout::SortedSet, value.len() as u64);
    // From the last to the first, as Redis writes them: its reader is fastest with that.
    for (member, score) in value.iter().rev() {
        member.with_text(|member| sink.element(&RdbElement::Scored { member, score }));
    }
}

/// One that comes in parts.
#[derive(Debug)]
pub(super) struct Builder {
    set: SortedSet,
    options: BuildOptions,
}

impl Builder {
    pub(super) fn new(options: &BuildOptions) -> Self {
        Self { set: SortedSet::default(), options: *options }
    }

    pub(super) fn element(&mut self, element: &RdbElement<'_>) -> Result<(), BadValue> {
        let RdbElement::Scored { member, score } = element else { return Err(WRONG_PART) };
        if score.is_nan() {
            return Err(NOT_A_NUMBER);
        }
        let settings = self.options.settings();
        let before = self.set.insert(member, *score, settings);
        if before.is_some() { Err(TWICE) } else { Ok(()) }
    }

    pub(super) fn finish(self) -> Result<SortedSet, BadValue> {
        if self.set.is_empty() { Err(BadValue::Empty) } else { Ok(self.set) }
    }
}

/// One that is one string of the file.
pub(super) fn packed(
    layout: ValueLayout,
    bytes: &[u8],
    options: &BuildOptions,
) -> Result<SortedSet, BadValue> {
    let (listpack, malformed) = match layout {
        ValueLayout::SortedSetListpack => (listpack(bytes).map_err(|_| MALFORMED)?, MALFORMED),
        ValueLayout::SortedSetZiplist => (from_ziplist(bytes)?, MALFORMED_ZIPLIST),
        _ => return Err(MALFORMED),
    };
    let set = SortedSet::from_listpack(listpack, options.check_duplicates, options.settings());
    set.ok_or(malformed).and_then(|set| if set.is_empty() { Err(BadValue::Empty) } else { Ok(set) })
}

fn from_ziplist(bytes: &[u8]) -> Result<Listpack, BadValue> {
    let ziplist = Ziplist::new(bytes).map_err(|_| MALFORMED_ZIPLIST)?;
    let mut listpack = Listpack::new();
    if !listpack.fits(ziplist.len(), bytes.len()) {
        return Err(MALFORMED_ZIPLIST);
    }
    ziplist.iter().for_each(|element| element.with_text(|text| listpack.push(text)));
    Ok(listpack)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::StoreOptions;
    use crate::hasher::Hasher;
    use shoal_protocol::number::DoubleText;

    fn options() -> BuildOptions {
        let mut options = BuildOptions::new(&StoreOptions::default(), Hasher::new(1, 2));
        options.check_duplicates = true;
        options
    }

    fn shown(set: &SortedSet) -> String {
        let members = set.iter().map(|(member, score)| {
            format!(" {} {:?}", String::from_utf8_lossy(&member.to_vec()), DoubleText::shortest(score))
        });
        format!("{}{}", set.encoding(), members.collect::<String>())
    }

    #[test]
    fn forerunners_of_the_listpack_are_read() {
        // As Redis 6.2 kept the members a with 1.5 and b with 42.
        let ziplist = b"\x19\0\0\0\x15\0\0\0\x04\0\0\x01a\x03\x031.5\x05\x01b\x03\xfe\x2a\xff";
        let set = packed(ValueLayout::SortedSetZiplist, ziplist, &options()).unwrap();
        assert_eq!(shown(&set), "listpack a 1.5 b 42");
        for length in 0..ziplist.len() {
            assert!(packed(ValueLayout::SortedSetZiplist, &ziplist[..length], &options()).is_err());
        }
    }

    #[test]
    fn what_is_no_sorted_set_is_refused() {
        let listpack =
            |words: &[&'static str]| words.iter().map(|word| word.as_bytes()).collect::<Listpack>();
        for (words, problem) in [
            (&["a"][..], MALFORMED),
            (&["a", "1", "a", "2"], MALFORMED),
            (&["a", "x"], MALFORMED),
            (&["a", "nan"], MALFORMED),
            (&[], BadValue::Empty),
        ] {
            let refused = packed(ValueLayout::SortedSetListpack, listpack(words).as_bytes(), &options());
            assert_eq!(refused.map(|_| ()).unwrap_err(), problem, "{words:?}");
        }
    }

    #[test]
    fn parts_become_a_set() {
        let mut options = options();
        options.limits.zset_max_listpack_entries = 2;
        let part = |member: &'static str, score| RdbElement::Scored { member: member.as_bytes(), score };
        let mut builder = Builder::new(&options);
        for (member, score) in [("c", 3.0), ("b", 2.5), ("a", f64::NEG_INFINITY)] {
            assert_eq!(builder.element(&part(member, score)), Ok(()));
        }
        assert_eq!(builder.element(&part("d", f64::NAN)), Err(NOT_A_NUMBER));
        assert_eq!(builder.element(&RdbElement::Member(&b"a"[..])), Err(WRONG_PART));
        assert_eq!(shown(&builder.finish().unwrap()), "skiplist a -inf b 2.5 c 3");
        assert!(matches!(Builder::new(&options).finish(), Err(BadValue::Empty)));
        let mut builder = Builder::new(&options);
        assert_eq!(builder.element(&part("a", 1.0)), Ok(()));
        assert_eq!(builder.element(&part("a", 2.0)), Err(TWICE));
    }
}
