//! The client and the benchmark on their own, for the tests of this crate; users get them from the `shoal` binary.

use std::ffi::OsStr;

fn main() {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let code = if arguments.first().is_some_and(|first| first == OsStr::new("benchmark")) {
        shoal_cli::benchmark_main(arguments.split_off(1))
    } else {
        shoal_cli::cli_main(arguments)
    };
    std::process::exit(code);
}
