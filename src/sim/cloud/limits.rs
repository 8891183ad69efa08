//! The limits of cloud-api.md 4.2, counted in windows that start with the first request.
//!
//! They live in memory: a stand-in that starts again has forgotten who asked too often.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use super::reply::Reply;
use crate::model::Mono;

/// All counts.
#[derive(Default)]
pub(super) struct Limits {
    windows: HashMap<(Scope, String), (Mono, u32)>,
    failures: HashMap<IpAddr, u32>,
    blocked: HashMap<IpAddr, Mono>,
    /// So much shorter is every window, with so many fewer requests in it; 0 and 1 are the documented limits.
    pub(super) scale: u32,
}

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// Every request of an address.
    Everything,
    /// `POST /oauth/token` of an address.
    Token,
    /// Deleting tokens, of an address.
    TokenList,
    /// Opening event streams, of an address.
    Streams,
    /// `GET /v1/serial_numbers/:sn` of an account.
    SerialNumbers,
}

impl Scope {
    /// How many requests in which time.
    const fn allowance(self) -> (u32, Duration) {
        const FIVE_MINUTES: Duration = Duration::from_secs(300);
        match self {
            Scope::Everything => (10_000, FIVE_MINUTES),
            Scope::Token | Scope::TokenList | Scope::Streams => (100, FIVE_MINUTES),
            Scope::SerialNumbers => (50, Duration::from_secs(3600)),
        }
    }
}

impl Limits {
    /// Counts one request, or refuses it with 429.
    pub(super) fn count(&mut self, scope: Scope, who: &str, now: Mono) -> Result<(), Reply> {
        let scale = self.scale.max(1);
        let (most, window) = scope.allowance();
        let (most, window) = (most / scale, window / scale);
        let (start, count) = self.windows.entry((scope, who.to_owned())).or_insert((now, 0));
        if now.since(*start) >= window {
            (*start, *count) = (now, 0);
        }
        if *count >= most {
            return Err(match scope {
                Scope::Token => Reply::oauth("rate_limit_exceeded", "Too many requests"),
                _ => Reply::error(429, "Too many requests"),
            });
        }
        *count += 1;
        Ok(())
    }

    /// Refuses an address that failed to sign in too often.
    pub(super) fn blocked(&self, who: IpAddr, now: Mono) -> Result<(), Reply> {
        match self.blocked.get(&who) {
            Some(until) if now < *until => Err(Reply::oauth(
                "rate_limit_exceeded",
                "Too many failed attempts, try again later",
            )),
            _ => Ok(()),
        }
    }

    /// Counts how `/oauth/token` ended. A demand for the second factor is neither a success nor a failure.
    pub(super) fn signed_in(&mut self, who: IpAddr, status: u16, now: Mono) {
        match status {
            200 => {
                self.failures.remove(&who);
            }
            400 | 401 => {
                let failures = self.failures.entry(who).or_default();
                *failures += 1;
                if *failures >= FAILURES {
                    *failures = 0;
                    self.blocked.insert(who, now + BLOCK);
                }
            }
            _ => {}
        }
    }
}

/// Event streams that one address may hold open at the same time.
pub(super) const OPEN_STREAMS: usize = 100;
/// Failures in a row that block an address.
const FAILURES: u32 = 10;
/// How long the block lasts.
const BLOCK: Duration = Duration::from_secs(1800);
