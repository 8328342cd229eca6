//! Values and remarks of modules. There are no modules: their data are passed over, which the format makes possible.
//!
//! ```text
//! id  (kind value)…  0        each value with its kind: an integer, a float, a double or a string
//! ```

use super::RdbProblem;
use super::cursor::{Cursor, Stop};
use super::length::read_length;
use super::string::read_string;

const END: u64 = 0;
const SIGNED: u64 = 1;
const UNSIGNED: u64 = 2;
const FLOAT: u64 = 3;
const DOUBLE: u64 = 4;
const STRING: u64 = 5;

/// The characters of a type's name, six bits each.
const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// How many there are; the ten bits behind them are the version of the type's encoding.
const NAME_CHARACTERS: u32 = 9;
const VERSION_BITS: u32 = 10;

/// The name of a module's type, by which its users know it.
pub fn module_name(id: u64) -> String {
    let character = |index: u32| {
        let bits = id >> (VERSION_BITS + 6 * (NAME_CHARACTERS - 1 - index)) & 0x3f;
        char::from(CHARACTERS[bits as usize])
    };
    (0..NAME_CHARACTERS).map(character).collect()
}

/// Passes over data that belong to no key; gives the module.
pub(super) fn skip_aux(cursor: &mut Cursor<'_>) -> Result<u64, Stop> {
    let id = read_length(cursor)?;
    // First of all they say when they are to be loaded.
    if read_length(cursor)? != UNSIGNED {
        return Err(RdbProblem::MalformedModuleData.into());
    }
    read_length(cursor)?;
    skip_values(cursor)?;
    Ok(id)
}

/// Passes over the value of a key behind the module's id.
pub(super) fn skip_values(cursor: &mut Cursor<'_>) -> Result<(), Stop> {
    loop {
        match read_length(cursor)? {
            END => return Ok(()),
            SIGNED | UNSIGNED => drop(read_length(cursor)?),
            FLOAT => drop(cursor.take(4)?),
            DOUBLE => drop(cursor.take(8)?),
            STRING => drop(read_string(cursor)?),
            _ => return Err(RdbProblem::MalformedModuleData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::module_name;

    #[test]
    fn names_are_unpacked() {
        let id = b"ReJSON-RL".iter().fold(0u64, |id, character| {
            let at = super::CHARACTERS.iter().position(|known| known == character).unwrap();
            id << 6 | at as u64
        });
        assert_eq!(module_name(id << 10 | 3), "ReJSON-RL");
        assert_eq!(module_name(0), "AAAAAAAAA");
        assert_eq!(module_name(u64::MAX), "_________");
    }
}
