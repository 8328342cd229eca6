//! Hashes in files: a listpack or one of its forerunners, or field by field.

use super::build::{BadValue, BuildOptions, WRONG_PART, listpack};
use super::emit::ValueSink;
use crate::types::hash::EXPIRY_MAX_MS;
use crate::types::{Collection, Hash};
use shoal_formats::listpack::{Element as ListpackElement, Listpack};
use shoal_formats::rdb::{Element, RdbElement, RdbValue, VERSION, ValueLayout};
use shoal_formats::ziplist::Ziplist;
use shoal_formats::zipmap::Zipmap;

// The log's readers know these texts from Redis.
const MALFORMED: BadValue = BadValue::Malformed("Hash listpack integrity check failed");
const MALFORMED_ZIPLIST: BadValue = BadValue::Malformed("Hash ziplist integrity check failed");
const MALFORMED_ZIPMAP: BadValue = BadValue::Malformed("Zipmap integrity check failed");
const MALFORMED_TIMED: BadValue = BadValue::Malformed("Hash listpackex integrity check failed");
const BAD_EXPIRY: BadValue = BadValue::Malformed("invalid expireAt time of a hash field");
const TWICE: BadValue = BadValue::Malformed("Hash integrity check failed: a field is there twice");

pub(super) fn emit(value: &Hash, rdb_version: u16, sink: &mut impl ValueSink) {
    if let Some(first_ms) = value.first_expiry_ms().filter(|_| keeps_expiries(rdb_version)) {
        sink.open_timed_hash(first_ms, value.len() as u64);
        for (name, value_of_name) in value.iter() {
            name.with_text(|name| {
                let expiry_ms = value.expiry_ms(name);
                value_of_name.with_text(|value| {
                    sink.element(&Element::TimedField { name, value, expiry_ms });
                });
            });
        }
        return;
    }
    match value {
        Hash::Packed(listpack) => {
            sink.value(RdbValue::Packed { layout: ValueLayout::HashListpack, bytes: listpack.as_bytes() });
        }
        Hash::Table(_) | Hash::Timed(_) => {
            sink.open(ValueLayout::Hash, value.len() as u64);
            for (name, value) in value.iter() {
                name.with_text(|name| {
                    value.with_text(|value| sink.element(&Element::Field { name, value }));
                });
            }
        }
    }
}

/// Whether a file of this version may tell when fields expire: what has to fit Redis 7.0 may not.
pub(super) fn keeps_expiries(rdb_version: u16) -> bool {
    rdb_version >= VERSION
}

/// One that comes in parts.
#[derive(Debug)]
pub(super) struct Builder {
    hash: Hash,
    options: BuildOptions,
}

impl Builder {
    pub(super) fn new(options: &BuildOptions) -> Self {
        Self { hash: Hash::default(), options: *options }
    }

    pub(super) fn element(&mut self, element: &RdbElement<'_>) -> Result<(), BadValue> {
        match element {
            Element::Field { name, value } => self.set(name, value),
            Element::TimedField { name, value, expiry_ms } => self.set_timed(name, value, *expiry_ms),
            _ => Err(WRONG_PART),
        }
    }

    fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadValue> {
        if self.hash.set(name, value, self.options.settings()) { Ok(()) } else { Err(TWICE) }
    }

    fn set_timed(&mut self, name: &[u8], value: &[u8], expiry_ms: Option<u64>) -> Result<(), BadValue> {
        if expiry_ms.is_some_and(|at| at > EXPIRY_MAX_MS) {
            return Err(BAD_EXPIRY);
        }
        self.set(name, value)?;
        if expiry_ms.is_some() {
            self.hash.set_expiry(name, expiry_ms, self.options.settings());
        }
        Ok(())
    }

    /// A listpack of fields, values and expiries by turns; 0 stands for none.
    fn set_from(&mut self, listpack: &Listpack) -> Result<(), BadValue> {
        let mut elements = listpack.iter();
        while let Some(name) = elements.next() {
            let value = elements.next().ok_or(MALFORMED_TIMED)?;
            let expiry_ms = match elements.next().ok_or(MALFORMED_TIMED)? {
                ListpackElement::Integer(at) => u64::try_from(at).map_err(|_| BAD_EXPIRY)?,
                ListpackElement::Bytes(_) => return Err(BAD_EXPIRY),
            };
            let expiry_ms = Some(expiry_ms).filter(|at| *at > 0);
            name.with_text(|name| value.with_text(|value| self.set_timed(name, value, expiry_ms)))?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Hash, BadValue> {
        if self.hash.is_empty() { Err(BadValue::Empty) } else { Ok(self.hash) }
    }
}

/// One that is one string of the file.
pub(super) fn packed(layout: ValueLayout, bytes: &[u8], options: &BuildOptions) -> Result<Hash, BadValue> {
    let mut builder = Builder::new(options);
    match layout {
        ValueLayout::HashListpack => {
            let listpack = listpack(bytes).map_err(|_| MALFORMED)?;
            if !listpack.len().is_multiple_of(2) {
                return Err(MALFORMED);
            }
            let hash = Hash::from_listpack(listpack, options.check_duplicates, options.settings());
            builder.hash = hash.ok_or(TWICE)?;
        }
        ValueLayout::TimedHashListpack | ValueLayout::TimedHashListpackPreview => {
            builder.set_from(&listpack(bytes).map_err(|_| MALFORMED_TIMED)?)?;
        }
        ValueLayout::HashZiplist => {
            let ziplist = Ziplist::new(bytes).map_err(|_| MALFORMED_ZIPLIST)?;
            let mut elements = ziplist.iter();
            while let Some(name) = elements.next() {
                let value = elements.next().ok_or(MALFORMED_ZIPLIST)?;
                name.with_text(|name| value.with_text(|value| builder.set(name, value)))?;
            }
        }
        ValueLayout::HashZipmap => {
            let zipmap = Zipmap::new(bytes).map_err(|_| MALFORMED_ZIPMAP)?;
            zipmap.iter().try_for_each(|(name, value)| builder.set(name, value))?;
            // No version ever left an empty one behind.
            if builder.hash.is_empty() {
                return Err(MALFORMED_ZIPMAP);
            }
        }
        _ => return Err(MALFORMED),
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::StoreOptions;
    use crate::hasher::Hasher;

    fn options() -> BuildOptions {
        BuildOptions::new(&StoreOptions::default(), Hasher::new(1, 2))
    }

    fn shown(hash: &Hash) -> Vec<(String, String)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        hash.iter().map(|(name, value)| (text(name.to_vec()), text(value.to_vec()))).collect()
    }

    #[test]
    fn forerunners_of_the_listpack_are_read() {
        // As Redis 2.4 and 6.2 kept a hash of two fields.
        let zipmap = b"\x02\x01a\x01\x00b\x05field\x02\x0042\xff";
        let ziplist = b"\x1b\0\0\0\x17\0\0\0\x04\0\0\x01a\x03\x01b\x03\x05field\x07\xfe\x2a\xff";
        for (layout, bytes) in
            [(ValueLayout::HashZipmap, &zipmap[..]), (ValueLayout::HashZiplist, &ziplist[..])]
        {
            let hash = packed(layout, bytes, &options()).unwrap();
            assert_eq!(hash.encoding(), "listpack");
            let expected = [("a", "b"), ("field", "42")].map(|(name, value)| (name.into(), value.into()));
            assert_eq!(shown(&hash), expected);
            assert!(packed(layout, &bytes[..bytes.len() - 1], &options()).is_err());
        }
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let listpack =
            |words: &[&'static str]| words.iter().map(|word| word.as_bytes()).collect::<Listpack>();
        for (words, problem) in
            [(&["a"][..], MALFORMED), (&["a", "1", "a", "2"], TWICE), (&[], BadValue::Empty)]
        {
            let mut options = options();
            options.check_duplicates = true;
            let refused = packed(ValueLayout::HashListpack, listpack(words).as_bytes(), &options);
            assert_eq!(refused.map(|_| ()).unwrap_err(), problem);
        }
        let mut builder = Builder::new(&options());
        let field = Element::Field { name: &b"a"[..], value: &b"1"[..] };
        assert_eq!(builder.element(&field), Ok(()));
        assert_eq!(builder.element(&field), Err(TWICE));
        assert_eq!(builder.element(&Element::Member(&b"a"[..])), Err(WRONG_PART));
        assert!(matches!(Builder::new(&options()).finish(), Err(BadValue::Empty)));
    }
}
