//! The protocols that Particle devices speak over USB, on top of [`crate::edge::Pipe`].
//!
//! Owns: control requests and their messages, DFU with its extensions, the key store (DCT) as DFU shows it, and what a
//! device tells of itself. It must not wait for a device to re-enumerate, decide what a run does, know what a key or a
//! firmware module is, or take time from anywhere but [`crate::edge::Clock`].
//!
//! One [`Link`] is one open device. [`Control`] and [`Dfu`] borrow it, so a link outlives every error, keeps its transfer
//! count, and can still show its trace. Facts and numbers are those of device-protocol.md; its section numbers are cited.

pub mod cloud_state;
pub mod control;
pub mod descriptor;
pub mod dfu;
pub mod error;
pub mod identify;
pub mod keystore;
pub mod link;
pub mod messages;
pub mod mode;
pub mod modules;
pub mod network;
pub mod protection;
pub mod raw;
pub mod reply;
pub mod request;
pub mod result_code;
pub mod service_mode;
pub mod state_string;
pub mod update;
pub mod usb;

#[cfg(test)]
mod failures;
#[cfg(test)]
mod noise;
#[cfg(test)]
mod script;

pub use control::{Control, ControlError};
pub use dfu::{Dfu, DfuError};
pub use error::DeviceError;
pub use identify::identify;
pub use keystore::{KeyStore, KeyStoreError};
pub use link::{Cancel, Link, LinkError};
pub use request::RequestType;
pub use result_code::ResultCode;
pub use update::UpdateError;
pub use usb::UsbBus;
