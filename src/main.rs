//! The keyrack program: see the library for the map.

fn main() {}
