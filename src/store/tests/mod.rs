//! The ledger as a whole, grouped by what is proved: facts become rows, nothing is half written, damage is found.

mod damage;
mod durable;
mod large;
mod open;
mod projected;
mod random;
mod sample;
