//! The `yunque` program.

use std::process::ExitCode;

/// Requests are many small allocations on several threads, and large bodies come and go: this one is
/// faster with the first and gives the memory of the second back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    yunque::cli::main()
}
