//! The configuration: directives, their types and defaults, redis.conf text in and out.
//!
//! ```text
//! redis.conf ─┐                                   ┌─> fields: config.maxmemory_bytes, config.port …
//! stdin ──────┼─> load ──> Config (one row each) ─┼─> CONFIG GET    Config::matching
//! --name … ───┘              ^                    └─> CONFIG REWRITE  Config::rewrite
//!                            └── CONFIG SET  Config::set
//! ```
//!
//! One row of [`directives`](Config::directives) describes a directive: its name and historic alias, type, bounds,
//! default and flags. Parsing, CONFIG GET, SET and REWRITE, and the documentation all derive from that row. Names,
//! types, bounds, defaults and error texts are those of Redis 7.2, and every name that the stock redis.conf files of
//! 4.0, 5.0 and 7.0 use is known.
//!
//! The crate is pure: included files and changes of directory go through [`Surroundings`], and carrying out what a
//! changed directive means (listening on another port, say) is up to the caller, who can take the change back with
//! [`Config::restore`].

mod change;
mod choices;
mod command_line;
mod composite;
mod directives;
mod documentation;
mod kind;
mod load;
mod lookup;
mod number;
mod rewrite;
mod value;

pub use change::{Change, SetContext, SetError};
pub use choices::{
    AclPubsubDefault, AppendFsync, AuthClients, DisklessLoad, EndpointType, LogLevel, MaxmemoryPolicy,
    OomScoreAdjust, PropagationErrorBehavior, ProtectedAction, SanitizePayload, Supervised, SyslogFacility,
};
pub use command_line::{Invocation, RunOptions};
pub use composite::{
    BindAddresses, ClientClass, Directory, KeyspaceEvents, MemoryLimit, OomScoreValues, OutputBufferLimit,
    OutputBufferLimits, Percentiles, ReplicaOf, SavePoint, SavePoints, ShutdownOptions,
};
pub use directives::{Config, Directive};
pub use kind::{Flags, Kind};
pub use load::{FileDirectives, LoadError, Mode, RenamedCommand, SentinelLine, Surroundings};
pub use number::{format_memory, parse_memory};

/// The version of Redis that clients and tools are told.
pub const REDIS_VERSION: &str = "7.2.4";
