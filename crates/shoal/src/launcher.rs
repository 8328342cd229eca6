//! `shoal up`, `down` and `status`: a cluster on this machine.

use std::ffi::OsString;
use std::io::{self, Write};

/// `shoal up`.
pub fn up_main(_arguments: Vec<OsString>) -> i32 {
    not_yet()
}

/// `shoal down`.
pub fn down_main(_arguments: Vec<OsString>) -> i32 {
    not_yet()
}

/// `shoal status`.
pub fn status_main(_arguments: Vec<OsString>) -> i32 {
    not_yet()
}

fn not_yet() -> i32 {
    let _ = io::stderr().write_all(b"shoal: the launcher is not part of this version yet.\n");
    2
}
