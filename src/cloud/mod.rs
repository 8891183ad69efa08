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
//! | [`upload`], [`import`], [`look`], [`product`], [`account`], [`owner`] | the calls |
//! | [`login`], [`token`] | getting and keeping a token |
//! | [`admission`] | the pure rule over what was looked up |
//! | [`limits`], [`metered`] | the documented rate limits; holding every request to them |
//! | [`http`] | the only reqwest |

pub mod account;
pub mod admission;
pub mod answer;
pub mod api;
pub mod http;
pub mod import;
pub mod limits;
pub mod login;
pub mod look;
pub mod metered;
pub mod owner;
pub mod product;
pub mod route;
#[cfg(test)]
mod scripted;
pub mod token;
pub mod upload;
pub mod words;

pub use api::Api;
pub use http::{HttpConfig, ReqwestHttp};
pub use metered::Metered;
pub use product::CloudProduct;
