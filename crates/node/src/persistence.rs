//! Snapshots of the data: when they are made by themselves, and how they went.

use shoal_machine::{Monotonic, Now};

/// What the node knows of its snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Persistence {
    /// When the last good snapshot was made, in seconds since 1970; at first, when the node started.
    pub last_save_unix_s: u64,
    /// Whether the last one in the background went well.
    pub is_last_good: bool,
    /// How long the last one in the background took.
    pub last_duration_s: Option<u64>,
    /// Since when one is being made in the background.
    pub running_since: Option<Monotonic>,
    /// How many went well.
    pub saves: u64,
    /// Memory that the last one copied because it was written to meanwhile.
    pub last_copied_bytes: u64,
    /// Keys that were loaded at the start.
    pub loaded_keys: u64,
    /// Keys that were left out at the start because they had expired.
    pub loaded_expired_keys: u64,
}

impl Persistence {
    /// Nothing saved yet.
    pub(crate) fn new(now: Now) -> Self {
        Self {
            last_save_unix_s: now.unix_s(),
            is_last_good: true,
            last_duration_s: None,
            running_since: None,
            saves: 0,
            last_copied_bytes: 0,
            loaded_keys: 0,
            loaded_expired_keys: 0,
        }
    }
}
