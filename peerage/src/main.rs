//! The program.

use std::process::ExitCode;

fn main() -> ExitCode {
    peerage::cli::main()
}
