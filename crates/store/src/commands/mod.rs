//! The bodies of data commands, one file or folder per family.

mod bitmap;
mod expiry;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod list;
mod random;
mod set;
mod sorted_set;
mod stream;
mod string;
mod timeout;

use crate::call::{Call, Outcome};
use shoal_formats::listpack::Element;
use shoal_protocol::{Arguments, CommandId, Reply};

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
    // One line per family, so that those who add one do not get into each other's way.
    #[rustfmt::skip]
    let families: &[&[(CommandId, Body)]] = &[
        bitmap::BODIES,
        generic::BODIES,
        geo::BODIES,
        hash::BODIES,
        hyperloglog::BODIES,
        list::BODIES,
        set::BODIES,
        sorted_set::BODIES,
        stream::BODIES,
        string::BODIES,
    ];
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

/// Replies with an element of a collection.
fn reply_with_element(reply: &mut Reply<'_>, element: Element<'_>) {
    match element {
        Element::Integer(integer) => reply.bulk_integer(integer),
        Element::Bytes(bytes) => reply.bulk(bytes),
    }
}
