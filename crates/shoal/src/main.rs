//! The `shoal` binary: one program under many names.

fn main() {
    std::process::exit(shoal_server::links::run(std::env::args_os().collect()));
}
