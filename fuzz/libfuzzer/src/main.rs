//! One program for all entries: `SHOAL_FUZZ_TARGET` names the one to run. `cargo xtask fuzz --coverage` calls it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let run = RUN.get_or_init(|| {
        let name = std::env::var("SHOAL_FUZZ_TARGET").unwrap_or_default();
        let target = shoal_fuzz::TARGETS.iter().find(|target| target.name == name);
        target.map(|target| target.run).unwrap_or_else(|| panic!("SHOAL_FUZZ_TARGET names no target"))
    });
    run(data);
});
