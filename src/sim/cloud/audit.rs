//! The stand-in's own record of effects: what tests count. It is never seen through an endpoint.

use serde::{Deserialize, Serialize};

use crate::model::{DeviceId, Wall};

/// One key upload that reached the cloud, with its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The device in the path.
    pub device: DeviceId,
    /// The SubjectPublicKeyInfo that was sent; empty if what was sent is no public key.
    pub spki: Vec<u8>,
    /// When, by the cloud's clock.
    pub at: Wall,
    /// True if the cloud stored it.
    pub accepted: bool,
    /// The status of the reply (which may have been lost).
    pub status: u16,
    /// The `product_id` that was sent.
    pub product: Option<String>,
    /// The `order` that was sent.
    pub order: Option<String>,
}

/// One identifier of one import, with the list that it came back in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The identifier as it was sent.
    pub text: String,
    /// The device that it means, if any.
    pub device: Option<DeviceId>,
    /// The product.
    pub product: u32,
    /// When, by the cloud's clock.
    pub at: Wall,
    /// The list of the reply.
    pub list: ImportList,
    /// Which request it was: identifiers of one request share a number.
    pub request: u64,
}

/// The lists of an import's reply (cloud-api.md 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportList {
    /// `updatedDeviceIds`: it is in the product now.
    Updated,
    /// `existingDeviceIds`: it was in the product before.
    Existing,
    /// `nonmemberDeviceIds`: it belongs to somebody else.
    Nonmember,
    /// `invalidDeviceIds`: unknown, of another platform, or in another product.
    Invalid,
    /// `protectedDeviceIds`: a protected device and an unprotected product.
    Protected,
}

/// One change of a device's place in the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The device.
    pub device: DeviceId,
    /// What was done.
    pub what: Moved,
    /// When, by the cloud's clock.
    pub at: Wall,
}

/// The kinds of [`Move`]. A request that changes nothing is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moved {
    /// Claimed by this user or customer.
    Claimed(String),
    /// Taken from this owner.
    Unclaimed(String),
    /// Removed from this product.
    Removed(u32),
    /// The owner was mailed a request to transfer the device.
    TransferRequested,
}

/// All records.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Audit {
    pub(super) uploads: Vec<Upload>,
    pub(super) imports: Vec<Import>,
    pub(super) moves: Vec<Move>,
    pub(super) import_requests: u64,
}
