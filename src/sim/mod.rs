//! The simulated world at wire level: device models, buses, a stand-in cloud, a virtual clock and mishaps.

pub mod clock;
pub mod cloud;
pub mod device;
pub mod world;
