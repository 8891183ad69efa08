//! Repairs on the simulated rack. Each flow, on a device of each family, open or protected, in each starting state and in
//! each kind of hands, with keys of its own or one that is given, goes wrong at every point: the station is cut, the device
//! leaves, or loses its power in the middle of a write, a call of the cloud fails before its effect or after, is refused for
//! good, or finds the cloud busy, gone, or another owner. In the end device and cloud hold the same key or
//! it is said that they do not, no key is lost, and whoever owned the device owns it, or there is an alarm
//! (ARCHITECTURE.md 4).
//!
//! Each case runs once without harm, which gives the list of its points; then once for each point and each harm. How it
//! must end is written by hand, in `repair/case.rs` and `repair/expect.rs`. Of all points a part is tried: see
//! `repair/matrix.rs` for others, and for all of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "this test judges by itself")]
mod bench;
#[path = "repair/case.rs"]
mod case;
#[path = "repair/check.rs"]
mod check;
#[path = "repair/doom.rs"]
mod doom;
#[path = "repair/expect.rs"]
mod expect;
#[path = "repair/harm.rs"]
mod harm;
#[path = "repair/matrix.rs"]
mod matrix;
#[path = "repair/prepare.rs"]
mod prepare;
#[path = "repair/run.rs"]
mod run;
mod witness;

use std::sync::Mutex;

use case::Case;
use keyrack::edge::{Clock, clock::SystemClock};
use matrix::{Total, matrix, wish};
use witness::{on_all_processors, report};

#[test]
fn whatever_goes_wrong_a_repair_loses_neither_key_nor_owner() {
    let clock = SystemClock::new();
    let only = wish("KEYRACK_REPAIR");
    let mut cases = Case::all();
    cases.retain(|case| only.as_ref().is_none_or(|only| case.to_string().contains(only)));
    let total: Mutex<Total> = Mutex::default();
    on_all_processors(&cases, |case, turn| matrix(case, turn, &total));
    let total = total.into_inner().unwrap();
    println!("{} cases, {total}, {} s", cases.len(), clock.now().0.as_secs());
    println!(
        "crash_points {}\ncrash_points_left_out {}\ncrash_points_lost {}",
        total.points,
        total.left_out,
        total.wrong.len()
    );
    assert!(
        total.wrong.is_empty(),
        "{} repairs went wrong:\n{}",
        total.wrong.len(),
        report(&total.wrong)
    );
}
