//! The simulated devices and the station's protocols, judged from outside and by the protocol reference alone.
//!
//! Four kinds of proof. `model_*`: raw setup packets against the simulated devices, family by family. `naive_*`: hosts that
//! make one known mistake each and must suffer the documented consequence. `foreign_*`: a DFU host and a DFU device of other
//! people's making. `client_*`: the station's own protocols against each model.
//!
//! The stand-in cloud has its own: `model_cloud_naive` and `model_cloud_client`, on the shop of `model_cloud_shop`.
//!
//! Section numbers are those of device-protocol.md. Nothing here sleeps: time is a number that the rig moves.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod client_cloud_state;
#[cfg(test)]
mod client_control;
#[cfg(test)]
mod client_dfu;
#[cfg(test)]
mod client_keys;
#[cfg(test)]
mod client_modes;
#[cfg(test)]
mod client_server;
#[cfg(test)]
mod client_service;
#[cfg(test)]
mod client_trouble;
#[cfg(test)]
mod client_vectors;
#[cfg(test)]
mod foreign_device;
#[cfg(test)]
mod foreign_host;
#[cfg(test)]
mod model_boot;
#[cfg(test)]
mod model_cloud;
#[cfg(test)]
mod model_cloud_client;
#[cfg(test)]
mod model_cloud_naive;
#[cfg(test)]
mod model_cloud_shop;
#[cfg(test)]
mod model_descriptors;
#[cfg(test)]
mod model_dfu;
#[cfg(test)]
mod model_firmware;
#[cfg(test)]
mod model_flash;
#[cfg(test)]
mod model_key_errors;
#[cfg(test)]
mod model_key_helper;
#[cfg(test)]
mod model_keys;
#[cfg(test)]
mod model_network;
#[cfg(test)]
mod model_protection;
#[cfg(test)]
mod model_requests;
#[cfg(test)]
mod model_service;
#[cfg(test)]
mod model_update;
#[cfg(test)]
mod naive_dfu;
#[cfg(test)]
mod naive_keys;
#[cfg(test)]
mod naive_service;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod server;
#[cfg(test)]
mod wire;
