//! The end of every `--help`: examples and exit codes, in one form.

use super::exit::ExitCode;

/// Examples (command line and what it does) and the exit codes that a command can end with.
pub(super) fn after(examples: &[(&str, &str)], codes: &[ExitCode]) -> String {
    let mut text = String::from(if examples.len() == 1 { "Example:\n" } else { "Examples:\n" });
    for (line, what) in examples {
        text += &format!("  {line}\n      {what}\n");
    }
    text += "\nExit codes:\n";
    for code in codes {
        text += &format!("  {:>2}  {}\n", code.number(), code.meaning());
    }
    text
}

/// The exit codes of a command that only reads the ledger.
pub(super) const READING: &[ExitCode] = &[ExitCode::Passed, ExitCode::Usage, ExitCode::Ledger];
