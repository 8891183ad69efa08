//! The Particle cloud API: calls, wire types, typed answers and limits, on top of [`crate::edge::Http`].
//!
//! It owns what is sent to the cloud and how its replies are read. It must not start a thread, queue or try again: the outbox in the core decides when something goes out, and what an [`Answer`](crate::model::outbox::Answer)
//! means for a run. Nothing here reads a clock or the environment.
//!
//! | file | owns |
//! |---|---|
//! | [`api`] | the one place where a request leaves; whose token; no private key goes out |
//! | [`route`] | paths |
//! | [`answer`], [`words`] | what a reply means; the cloud's own words |
//! | [`upload`], [`import`], [`removal`], [`owner`], [`attributes`], [`unprotect`] | the calls that change something |
//! | [`look`], [`survey`], [`product`], [`account`], [`customer`] | the looks; a customer's token |
//! | `standing` | the look before a doubtful call |
//! | `device_object` | the device object and the pages of its lists, read leniently |
//! | [`login`], [`token`], [`client_file`] | getting and keeping a token; an OAuth client's file |
//! | `secret_file` | files that are their owner's alone |
//! | [`admission`] | the pure rule over what was looked up |
//! | [`limits`], [`metered`] | the documented rate limits; holding every request to them |
//! | [`http`] | the only reqwest |

pub mod account;
pub mod admission;
pub mod answer;
pub mod api;
pub mod attributes;
pub mod client_file;
pub mod customer;
mod device_object;
pub mod http;
pub mod import;
pub mod limits;
pub mod login;
pub mod look;
pub mod metered;
pub mod owner;
pub mod product;
pub mod removal;
pub mod route;
#[cfg(test)]
mod scripted;
mod secret_file;
mod standing;
pub mod survey;
pub mod token;
pub mod unprotect;
pub mod upload;
pub mod words;

pub use api::Api;
pub use customer::{Custody, CustomerToken};
pub use http::{HttpConfig, ReqwestHttp};
pub use login::OauthClient;
pub use metered::Metered;
pub use owner::{Claimant, TokenSpent};
pub use product::CloudProduct;
pub use survey::Surveyed;
pub use unprotect::{DeviceProof, ServerProof};
