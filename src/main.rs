//! The `yunque` program.

use std::process::ExitCode;

/// Requests begin on one thread and end on another; glibc's allocator then waits for locks.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    yunque::cli::main()
}
