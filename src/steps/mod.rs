//! The steps: one file each, inspect then run.
