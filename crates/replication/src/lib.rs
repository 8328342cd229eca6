//! Handshake, backlog, offsets and the choice between full and partial synchronisation.

mod stream;

pub use stream::Stream;
