//! The `yunque` program.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Requests begin on one thread and end on another; glibc's allocator then waits for locks.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    yunque::cli::main()
}
