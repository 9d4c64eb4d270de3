//! The `yunque` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    yunque::cli::main()
}
