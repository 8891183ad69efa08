//! The keyrack program: see the library for the map.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyrack::cli::main().into()
}
