//! The edge of the world: the traits behind which everything outside of the program lives, with their plain types.
//!
//! Each trait has two implementers: the real one and the simulator's. Nothing else in keyrack does I/O on devices,
//! network, time or randomness.

pub mod clock;
pub mod entropy;
pub mod http;
pub mod usb;

pub use clock::{Clock, Signal};
pub use entropy::Entropy;
pub use http::{Http, HttpError, Method, Request, Response};
pub use usb::{Attached, Bus, BusError, Pipe, Setup, UsbError};
