//! Entries for fuzzing: one function per decoder, which any input may be given to.
//!
//! Each checks more than the absence of panics where there is more to check: input in pieces gives what the whole gives,
//! and what was decoded survives being encoded again. `corpus/NAME` holds small inputs to start from, among them every
//! input that once failed; the tests replay them all.

mod aof_files;
pub mod memory;
mod mutate;
mod targets;
mod values;

pub use mutate::Mutator;
pub use targets::{TARGETS, Target};

use std::path::PathBuf;

/// The inputs kept for a target, with their file names, sorted.
///
/// # Errors
/// The directory or a file in it cannot be read.
pub fn corpus(target: &Target) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        inputs.push((name, std::fs::read(&path)?));
    }
    inputs.sort();
    Ok(inputs)
}
