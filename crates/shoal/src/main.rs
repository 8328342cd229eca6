//! The `shoal` binary: one program under many names.

#[global_allocator]
static ALLOCATOR: shoal_server::allocator::Jemalloc = shoal_server::allocator::Jemalloc;

fn main() {
    std::process::exit(shoal_server::links::run(std::env::args_os().collect()));
}
