//! What can go wrong in a repair, and where: the station is cut, the device leaves, a call of the cloud ends badly, or
//! somebody else is faster.

use keyrack::edge::{Method, Request, http::Body};

/// One thing that goes wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// After the transaction that ends with this record, before anything is done because of it.
    Record(u64, Way),
    /// At a call of the cloud, counted from 0.
    Call(u32, Ill),
    /// In the middle of a write to the key store, counted from 0. What that leaves behind is drawn by lot: on so many racks.
    Write(u32, Way, u64),
}

/// What is cut at a record, or in a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The station, as `kill -9` does.
    Station,
    /// Station and device lose their power.
    Both,
    /// The device is taken out, and is back after five minutes.
    Away,
    /// The device loses its power for a moment.
    Device,
    /// The station; and the next one is given the pair again.
    Anew,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ill {
    /// The station is cut when it has been done, before the answer is there.
    Cut,
    /// The connection breaks before it has its effect.
    LostBefore,
    /// The connection breaks after it.
    LostAfter,
    /// The cloud understands it and will not do it, now or later; nor others of its kind.
    Refused,
    /// It is done, the connection breaks, and then the cloud refuses it as above.
    LostThenRefused,
    /// For a while the cloud says 429 to everything.
    TooMany,
    /// For a while it says 503 to everything.
    Unavailable,
    /// For much longer than anybody waits there is no way to the cloud.
    Outage,
    /// The cloud does not accept the token of the call any more.
    Spent,
    /// Somebody else claims the device before it, if it is nobody's.
    Snatched,
    /// The owner passes the device on before it.
    PassedOn,
}

impl Ill {
    pub(crate) const ALL: [Ill; 11] = [
        Self::Cut,
        Self::LostBefore,
        Self::LostAfter,
        Self::Refused,
        Self::LostThenRefused,
        Self::TooMany,
        Self::Unavailable,
        Self::Outage,
        Self::Spent,
        Self::Snatched,
        Self::PassedOn,
    ];
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    LogIn,
    /// By the path without a product.
    LookAlone,
    LookInProduct,
    LookInList,
    LookAtCustomers,
    LookAtTeam,
    CustomerToken,
    Release,
    Remove,
    Import,
    Upload,
    Claim,
    Attributes,
    /// Half of the exchange that opens a protected device.
    Unprotect,
    Revoke,
    Other,
}

impl Kind {
    pub(crate) fn of(request: &Request) -> Self {
        let path: Vec<&str> = request.path.split('/').skip(1).collect();
        match (request.method, &path[..]) {
            (Method::Post, ["oauth", "token"]) => match &request.body {
                Body::Form(fields) if fields.iter().any(|(_, value)| value.expose() == "client_credentials") => {
                    Self::CustomerToken
                }
                _ => Self::LogIn,
            },
            (Method::Get, ["v1", "devices", _]) => Self::LookAlone,
            (Method::Get, ["v1", "products", _, "devices", _]) => Self::LookInProduct,
            (Method::Get, ["v1", "products", _, "devices"]) => Self::LookInList,
            (Method::Get, ["v1", "products", _, "customers"]) => Self::LookAtCustomers,
            (Method::Get, ["v1", "products", _, "team"]) => Self::LookAtTeam,
            (Method::Delete, ["v1", "products", _, "devices", _, "owner"] | ["v1", "devices", _]) => Self::Release,
            (Method::Delete, ["v1", "products", _, "devices", _]) => Self::Remove,
            (Method::Post, ["v1", "products", _, "devices"]) => Self::Import,
            (Method::Post, ["v1", "provisioning", _]) => Self::Upload,
            (Method::Post, ["v1", "devices"]) => Self::Claim,
            (Method::Put, ["v1", "products", _, "devices", _]) => Self::Attributes,
            (Method::Put, ["v1", .., "devices", _, "unprotect"]) => Self::Unprotect,
            (Method::Delete, ["v1", "access_tokens", "current"]) => Self::Revoke,
            _ => Self::Other,
        }
    }

    /// True if it changes nothing about the device.
    pub(crate) fn looks(self) -> bool {
        matches!(
            self,
            Self::LookAlone | Self::LookInProduct | Self::LookInList | Self::LookAtCustomers | Self::LookAtTeam
        )
    }
}

/// One call, as it was sent and answered.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// The station that sent it, from 0: each cut is the end of one.
    pub(crate) station: usize,
    pub(crate) kind: Kind,
    pub(crate) what: String,
    /// The token that it came with, or that came back.
    pub(crate) token: Option<String>,
    /// Whose token came back.
    pub(crate) obtained: Option<String>,
    /// It had its effect, whether the station knows or not.
    pub(crate) done: bool,
}

/// A point that a traced run came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    Record(u64),
    Call(u32, Kind),
    Write(u32),
}
