//! keyrack: a provisioning station for a rack of USB-attached Particle devices.
//!
//! It flashes firmware, reads or generates key pairs, keeps the public keys in a local ledger, and registers devices
//! and keys with the cloud for each product. It does a whole rack at once, never loses a key, and survives a power cut
//! at any instant.
//!
//! # Words
//!
//! One word per concept, in code, journal, screen and documents:
//!
//! | word | meaning |
//! |---|---|
//! | station | this machine with this program and its `station.toml` |
//! | rack, slot | the fixture; one numbered position: a USB [port path](model::PortPath) |
//! | device | a Particle device, known by its [id](model::DeviceId); a run belongs to a device, never to a slot |
//! | recipe, step | the ordered work for one product; one typed piece of it |
//! | run, attempt | one go at provisioning one device; one try of one step |
//! | fact, record | something that happened and must survive a power cut; its numbered row in the journal |
//! | outcome, verdict | how a step ended; how a run ended |
//! | defect / fault | the *device* is bad / the *station* (or cloud, cable, disk) is bad |
//! | ledger | the local store of devices, public keys and runs |
//! | outbox | what is owed to the cloud, in the ledger |
//! | aim | what runs under a recipe are for: to provision, or to repair |
//! | survey, examination | what the cloud, and what the device itself, says of a device to be repaired |
//! | diagnosis, flow | the one thing that is wrong, and the one way to put it right |
//! | chain | items of the outbox that go one after the other |
//! | mishap | a fault that the simulator injects |
//!
//! # Layers
//!
//! ```text
//! main -> cli -> { tui, station, sim }
//! tui     -> rack::view, model, store::read        never device, cloud, station
//! station -> rack, steps, store, cloud, device     the shell; does not know sim
//! steps   -> device, firmware, keys, model         device, cloud -> edge, model
//! sim     -> implements the traits of edge; of ours only edge and model's ids
//! rack, config, firmware, keys -> model            pure: no I/O, no clock, no threads
//! edge -> model; model -> nothing of ours
//! ```
//!
//! `tests/layers.rs` enforces these directions.

pub mod cli;
pub mod cloud;
pub mod config;
pub mod device;
pub mod edge;
pub mod firmware;
pub mod keys;
pub mod model;
pub mod rack;
pub mod sim;
pub mod station;
pub mod steps;
pub mod store;
pub mod tui;
