//! What every client-facing program keeps per connection.

mod session;
mod subscriptions;

pub use session::{
    ClientKind, Close, Identity, QUEUED_COMMAND_OVERHEAD_BYTES, ReplyMode, Session, Transaction,
};
pub use subscriptions::{Channel, Subscribers, Subscriptions};
