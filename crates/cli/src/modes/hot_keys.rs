//! `--hotkeys`: the keys with the highest access counters.

use super::connection;
use super::scan::survey;
use crate::console::{err, out};
use crate::exit::{Step, fail};
use crate::session::Session;
use crate::text::lossy;
use shoal_protocol::quoting::quote;
use shoal_protocol::value::Value;

/// How many keys are listed in the end.
const LISTED_KEYS: usize = 16;

/// The hottest keys so far, the coldest of them first.
#[derive(Default)]
struct Hottest {
    keys: Vec<(i64, String)>,
}

impl Hottest {
    /// Takes a key in if it is hotter than the coldest of a full list. Returns whether it was.
    fn offer(&mut self, counter: i64, key: &[u8]) -> bool {
        if counter <= 0 {
            return false;
        }
        // An equal counter goes below those that were there before.
        let place = self.keys.iter().take_while(|(other, _)| counter > *other).count();
        if self.keys.len() < LISTED_KEYS {
            self.keys.insert(place, (counter, quote(key)));
            return true;
        }
        if place == 0 {
            return false;
        }
        self.keys.insert(place, (counter, quote(key)));
        self.keys.remove(0);
        true
    }
}

/// Looks at every key.
pub(super) fn run(session: &mut Session) -> Step {
    let mut hottest = Hottest::default();
    survey(session, "hot", |session, keys, progress| {
        for (key, counter) in keys.iter().zip(counters_of(session, keys)?) {
            progress.count();
            if hottest.offer(counter, key) {
                let percent = progress.percent;
                out!("[{percent:05.2}%] Hot key '{}' found so far with counter {counter}\n", quote(key));
            }
        }
        Ok(())
    })?;
    for (counter, key) in hottest.keys.iter().rev() {
        out!("hot key found with counter: {counter}\tkeyname: {key}\n");
    }
    Ok(())
}

fn counters_of(session: &mut Session, keys: &[Vec<u8>]) -> Step<Vec<i64>> {
    let connection = connection(session)?;
    keys.iter().for_each(|key| connection.queue(&[b"OBJECT", b"FREQ".as_slice(), key]));
    let mut counters = Vec::with_capacity(keys.len());
    for key in keys {
        counters.push(match connection.receive() {
            Ok(Value::Integer(counter)) => counter,
            Ok(Value::Error(error)) => fail!("Error: {}", lossy(&error)),
            Ok(_) => {
                err!("Warning: OBJECT freq on '{}' failed (may have been deleted)", quote(key));
                0
            }
            Err(error) => fail!("Error getting freq for key '{}' ({error})", quote(key)),
        });
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hottest_are_kept() {
        let mut hottest = Hottest::default();
        assert!(!hottest.offer(0, b"cold"));
        for counter in 1..=20 {
            assert!(hottest.offer(counter, b"k"));
        }
        assert!(!hottest.offer(5, b"late"));
        assert_eq!(hottest.keys.len(), LISTED_KEYS);
        assert_eq!(hottest.keys.first().map(|(counter, _)| *counter), Some(5));
        assert_eq!(hottest.keys.last().map(|(counter, _)| *counter), Some(20));
    }
}
