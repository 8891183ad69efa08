//! The operator's screen: the only ratatui and crossterm.
//!
//! It shows a [`RackView`](crate::rack::RackView) and what the facts tell, and hands what a person asks for to one sink, as an [`Asked`]. It
//! decides nothing about devices and touches none; the ledger is read on a thread of its own.
//!
//! | file | what it owns |
//! |---|---|
//! | `app.rs`, `app/` | the state of the screen, and the one function that changes it; what is asked, what a scan means |
//! | `keymap.rs` | every key; key bar and help screen are made from it |
//! | `theme.rs` | every style, and what each state of a slot looks like |
//! | `view/` | painting: one file for each region, pure |
//! | `story.rs` | what the facts tell: times, attempts, counts, log |
//! | `grid.rs` | where each slot is |
//! | `scan.rs` | the scan line |
//! | `paint.rs` | the loop: one channel in, at most twenty pictures a second out |
//! | `term.rs` | the terminal, taken and given back |
//! | `measure.rs` | how long painting takes |
//! | `ledger.rs` | the thread that reads the ledger |

pub mod app;
pub mod grid;
pub mod keymap;
pub mod ledger;
pub mod measure;
mod paint;
pub mod scan;
pub mod story;
mod term;
pub mod theme;
pub mod view;

pub use app::{App, Asked, Event, Pace, Pin, Station};
pub use grid::Place;
pub use paint::{Screen, Setup, Sink};
pub use story::Story;
pub use term::restore;
pub use theme::{Depth, Theme};
