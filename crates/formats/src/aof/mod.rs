//! The append-only file: a directory with a snapshot, what changed since, and a list of both.
//!
//! ```text
//! appendonlydir/
//!   appendonly.aof.manifest         which files belong together, see [`Manifest`]
//!   appendonly.aof.3.base.rdb       a snapshot (RDB), or commands
//!   appendonly.aof.7.incr.aof       the commands since, see [`CommandReader`]
//! ```
//!
//! Source of the format: what Redis 7.0 writes.

mod commands;
mod manifest;

pub use commands::{CommandReader, MalformedCommand, fuzz_aof};
pub use manifest::{BaseForm, FileKind, Manifest, ManifestError, ManifestFile};
