//! The stand-in's mishaps: switches per route that scenario files name as data (cloud-api.md 6.4).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{reply::Reply, wire::WireRequest};
use crate::model::DeviceId;

/// One switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// Method and path, such as `POST /v1/provisioning/:id`. `*` as method is any; a piece that starts with `:` is any
    /// one piece; `*` as last piece is any rest.
    pub route: String,
    /// Only requests whose path or body names this device.
    #[serde(default)]
    pub device: Option<DeviceId>,
    /// What happens.
    pub effect: Effect,
    /// How many matching requests pass unharmed first.
    #[serde(default)]
    pub after: u32,
    /// How many are harmed then; all without it.
    #[serde(default)]
    pub count: Option<u32>,
    /// How long the server waits before anything is seen, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// For effects that replace the reply: the request has its effect all the same.
    #[serde(default)]
    pub committed: bool,
}

/// What a switch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Nothing but the delay.
    Delay,
    /// There is no connection at all. A real server cannot know the route of a request that it does not get, so over
    /// sockets this is [`Effect::ResetBefore`].
    Unreachable,
    /// The connection is reset before the request has any effect.
    ResetBefore,
    /// The connection is reset after it: the reply is lost.
    ResetAfter,
    /// The connection is reset, and the request takes a long way: it has its effect this many milliseconds later, and
    /// by then perhaps after a newer one.
    Late(u64),
    /// 408 `timed out`.
    TimedOut,
    /// 429, with `Retry-After` in seconds if given.
    TooMany(Option<u32>),
    /// 500 with a body in HTML, as a proxy sends it.
    HtmlError,
    /// 503 without a body.
    Unavailable,
    /// An error with this status and a reason; 401 is that of a token that is not accepted.
    Refused(u16),
    /// 200 with `ok:false`.
    OkFalse,
    /// The request has its effect and the answer is 200 without a body.
    EmptyOk,
    /// The right answer, its body over this many milliseconds.
    SlowBody(u64),
    /// Devices are shown as online whether they are or not.
    StaleOnline,
    /// Owners who are customers are shown by their number, whom only `customers` joins with a name.
    ByNumber,
    /// The right answer, and once a device has no owner any more [`SNATCHER`] claims it.
    Snatched,
    /// The right answer, and the device's name, notes and groups are lost.
    Forgotten,
    /// An event stream ends after this many milliseconds.
    CutStream(u64),
}

impl Fault {
    /// A switch that harms every matching request at once.
    pub fn new(route: &str, effect: Effect) -> Self {
        Self {
            route: route.to_owned(),
            device: None,
            effect,
            after: 0,
            count: None,
            delay_ms: 0,
            committed: false,
        }
    }

    /// The same, for so many requests.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self {
            count: Some(count),
            ..self
        }
    }

    /// How long the server waits.
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }

    fn matches(&self, request: &WireRequest) -> bool {
        let (method, pattern) = self.route.split_once(' ').unwrap_or(("*", &self.route));
        if method != "*" && method != request.method {
            return false;
        }
        let path = request.segments();
        let mut pattern = pattern.split('/').filter(|piece| !piece.is_empty());
        for piece in &path {
            match pattern.next() {
                Some("*") => return self.names(request),
                Some(expected) if expected.starts_with(':') || expected == piece => {}
                _ => return false,
            }
        }
        matches!(pattern.next(), None | Some("*")) && self.names(request)
    }

    fn names(&self, request: &WireRequest) -> bool {
        let Some(device) = self.device else { return true };
        let id = device.to_string();
        request.path.contains(&id) || request.query.contains(&id) || String::from_utf8_lossy(&request.body).contains(&id)
    }
}

/// Who claims what [`Effect::Snatched`] leaves without an owner.
pub const SNATCHER: &str = "quick@elsewhere.test";

/// The reply that stands in for the right one, and whether the request has its effect.
pub(super) fn replacement(effect: Effect) -> Option<(Reply, bool)> {
    let html = |status: u16, body: &str| Reply {
        status,
        headers: vec![("content-type".to_owned(), "text/html".to_owned())],
        body: body.as_bytes().to_vec(),
    };
    Some(match effect {
        Effect::TimedOut => (Reply::error(408, "timed out"), false),
        Effect::TooMany(after) => {
            let mut reply = Reply::error(429, "Too many requests");
            reply
                .headers
                .extend(after.map(|seconds| ("retry-after".to_owned(), seconds.to_string())));
            (reply, false)
        }
        Effect::HtmlError => (
            html(
                500,
                "<html><head><title>500</title></head><body>Internal Server Error</body></html>",
            ),
            false,
        ),
        Effect::Unavailable => (html(503, ""), false),
        Effect::Refused(401) => (
            Reply::json(
                401,
                &serde_json::json!({ "error": "invalid_token", "error_description": "The access token provided is invalid." }),
            ),
            false,
        ),
        Effect::Refused(status) => (Reply::error(status, "Key error"), false),
        Effect::OkFalse => (
            Reply::json(200, &serde_json::json!({ "ok": false, "error": "something went wrong" })),
            false,
        ),
        Effect::EmptyOk => (
            Reply {
                status: 200,
                headers: Vec::new(),
                body: Vec::new(),
            },
            true,
        ),
        Effect::Delay
        | Effect::Late(_)
        | Effect::Unreachable
        | Effect::ResetBefore
        | Effect::ResetAfter
        | Effect::SlowBody(_)
        | Effect::StaleOnline
        | Effect::ByNumber
        | Effect::Snatched
        | Effect::Forgotten
        | Effect::CutStream(_) => {
            return None;
        }
    })
}

/// All switches with their counters.
#[derive(Default)]
pub(super) struct Faults {
    switches: Vec<Switch>,
}

struct Switch {
    fault: Fault,
    seen: u32,
    fired: u32,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) -> usize {
        self.switches.push(Switch {
            fault,
            seen: 0,
            fired: 0,
        });
        self.switches.len() - 1
    }

    pub(super) fn clear(&mut self) {
        for switch in &mut self.switches {
            switch.fault.count = Some(switch.fired);
        }
    }

    pub(super) fn fired(&self) -> Vec<(Fault, u32)> {
        self.switches
            .iter()
            .map(|switch| (switch.fault.clone(), switch.fired))
            .collect()
    }

    /// The first switch that harms this request. Every matching switch counts it as seen.
    pub(super) fn strike(&mut self, request: &WireRequest) -> Option<Fault> {
        let mut struck = None;
        for switch in self.switches.iter_mut().filter(|switch| switch.fault.matches(request)) {
            switch.seen += 1;
            let due = switch.seen > switch.fault.after && switch.fault.count.is_none_or(|count| switch.fired < count);
            if due && struck.is_none() {
                switch.fired += 1;
                struck = Some(switch.fault.clone());
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_match_by_pieces() {
        let request = WireRequest::new("POST", "/v1/provisioning/00aa");
        for good in [
            "POST /v1/provisioning/:id",
            "* /v1/provisioning/00aa",
            "* /v1/*",
            "/v1/provisioning/:id",
            "POST /*",
        ] {
            assert!(Fault::new(good, Effect::Delay).matches(&request), "{good}");
        }
        for bad in [
            "GET /v1/provisioning/:id",
            "POST /v1/provisioning",
            "POST /v1/provisioning/:id/x",
            "POST /v1/devices/:id",
        ] {
            assert!(!Fault::new(bad, Effect::Delay).matches(&request), "{bad}");
        }
    }

    #[test]
    fn a_switch_waits_fires_and_rests() {
        let mut faults = Faults::default();
        faults.add(Fault {
            after: 1,
            ..Fault::new("* /*", Effect::TimedOut).times(2)
        });
        let request = WireRequest::new("GET", "/v1/devices");
        let struck: Vec<bool> = (0..5).map(|_| faults.strike(&request).is_some()).collect();
        assert_eq!(struck, [false, true, true, false, false]);
        assert_eq!(faults.fired()[0].1, 2);
    }

    #[test]
    fn switches_are_data() {
        let text = r#"
            route = "POST /v1/provisioning/:id"
            device = "e00fce680000000000000001"
            effect = { too-many = 7 }
            count = 3
        "#;
        let fault: Fault = toml::from_str(text).unwrap();
        assert_eq!(fault.effect, Effect::TooMany(Some(7)));
        let bare: Fault = toml::from_str("route = '* /*'\neffect = 'reset-after'").unwrap();
        assert_eq!(bare.effect, Effect::ResetAfter);
    }
}
