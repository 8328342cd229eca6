//! `DEBUG POPULATE`: many keys at once, for tests and measurements.

use crate::access;
use crate::entry::{Entry, NewValue};
use crate::keyspace::Keyspace;
use shoal_machine::Now;

/// What keys are made: `prefix:0`, `prefix:1`, … with the values `value:0`, `value:1`, …
#[derive(Clone, Copy, Debug)]
pub struct Populate<'a> {
    /// How many.
    pub count: u64,
    /// What stands before the number; `key` if the client says nothing.
    pub prefix: &'a [u8],
    /// The length of the values in bytes, cut or filled with zeros; 0 leaves them as they are.
    pub value_bytes: usize,
}

/// Makes the keys that are not there yet in database `index`. Returns how many it made.
pub fn populate(keyspace: &mut Keyspace, index: usize, now: Now, lfu: bool, keys: Populate<'_>) -> u64 {
    let clock = access::restored(now, lfu, None, None);
    let database = keyspace.database_mut(index);
    let mut made = 0;
    let mut value = Vec::new();
    let mut key = keys.prefix.to_vec();
    key.push(b':');
    let prefix_length = key.len();
    for number in 0..keys.count {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        key.truncate(prefix_length);
        key.extend_from_slice(digits);
        let place = database.place(&key);
        if database.find_at(place, &key).is_some() {
            continue;
        }
        value.clear();
        value.extend_from_slice(b"value:");
        value.extend_from_slice(digits);
        if keys.value_bytes > 0 {
            value.resize(keys.value_bytes, 0);
        }
        let mut entry = Entry::new(&key, NewValue::Bytes(&value), None);
        entry.set_access(clock);
        database.insert(place, entry);
        made += 1;
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;

    #[test]
    fn keys_that_are_there_stay() {
        let mut fixture = Fixture::default();
        fixture.run("SET key:3 mine");
        let now = fixture.now();
        let keys = Populate { count: 5, prefix: b"key", value_bytes: 0 };
        assert_eq!(populate(&mut fixture.keyspace, 0, now, false, keys), 4);
        fixture.check("MGET key:0 key:3 key:4 key:5", "[\"value:0\" \"mine\" \"value:4\" nil]");
        let sized = Populate { count: 1, prefix: b"p", value_bytes: 9 };
        assert_eq!(populate(&mut fixture.keyspace, 0, now, false, sized), 1);
        fixture.check("GET p:0", "\"value:0\\x00\\x00\"");
    }
}
