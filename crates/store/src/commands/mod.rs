//! The bodies of data commands, one file or folder per family.

mod bitmap;
mod expiry;
mod generic;
mod hyperloglog;
mod list;
mod string;
mod timeout;

use crate::call::{Call, Outcome};
use shoal_protocol::{Arguments, CommandId};

/// The body of a data command. Its arguments stand on the first word after the name (of the subcommand, if it is one).
pub type Body = for<'a, 'r, 'q> fn(&'a mut Call<'_, 'r>, Arguments<'q>) -> Outcome;

/// The body of a command, if the store has it.
#[inline]
pub fn body(id: CommandId) -> Option<Body> {
    BODIES[id as usize]
}

/// Every family declares its rows; the table is built at compile time.
static BODIES: [Option<Body>; CommandId::COUNT] = {
    let mut bodies: [Option<Body>; CommandId::COUNT] = [None; CommandId::COUNT];
    let families: [&[(CommandId, Body)]; 5] =
        [string::BODIES, generic::BODIES, list::BODIES, bitmap::BODIES, hyperloglog::BODIES];
    let mut family = 0;
    while family < families.len() {
        let mut row = 0;
        while row < families[family].len() {
            bodies[families[family][row].0 as usize] = Some(families[family][row].1);
            row += 1;
        }
        family += 1;
    }
    bodies
};
