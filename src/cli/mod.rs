//! The command line: flags to options, printing, exit codes. One file for each group of commands.

pub mod rig;
