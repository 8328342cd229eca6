//! What a crash leaves: the real server under load, killed at a random moment, and its data compared afterwards.
//!
//! ```text
//!   load ──▶ server ──▶ disk:  the real one          kill -9; the page cache survives
//!     │                        RecordingDisk         kill -9; journal ──▶ what a power cut may leave ──▶ a directory
//!     │                        FaultyDisk            errors on demand
//!     ▼
//!   history ────────────────────────── compare ◀──── server, started again in what is left
//! ```
//!
//! Each client has keys of its own and waits for every reply, so what it finds after a crash must be the state after some
//! number of its commands: at least those that had to be safe, at most those that it sent.

pub mod faults;
pub mod faulty;
pub mod journal;
pub mod load;
pub mod model;
pub mod power;
pub mod recording;
pub mod run;
pub mod server;

/// What a run can fail with: a text that says what is missing.
pub type Outcome<T> = Result<T, String>;
