//! [`Http`] without sockets: requests become the bytes that a real client would send, and dead connections become the
//! errors that it would see.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::{End, StandIn, WireRequest, fields};
use crate::edge::{
    Http, HttpError, Request, Response,
    http::{Auth, Body},
};

/// The way to a [`StandIn`] in this process. It waits on the stand-in's clock.
#[derive(Clone)]
pub struct DirectHttp {
    stand_in: StandIn,
    peer: IpAddr,
}

impl DirectHttp {
    /// A client at 127.0.0.1.
    pub fn new(stand_in: StandIn) -> Self {
        Self::from_address(stand_in, IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// A client at another address: limits are per address.
    pub fn from_address(stand_in: StandIn, peer: IpAddr) -> Self {
        Self { stand_in, peer }
    }
}

impl Http for DirectHttp {
    fn call(&self, request: &Request) -> Result<Response, HttpError> {
        let outcome = self.stand_in.handle(&encode(request, self.peer));
        let clock = &self.stand_in.inner.clock;
        let slow = || HttpError::Lost("no answer in time".to_owned());
        let mut left = request.timeout;
        let mut spend = |time: Duration| {
            clock.sleep(time.min(left));
            let enough = time < left;
            left = left.saturating_sub(time);
            if enough { Ok(()) } else { Err(slow()) }
        };
        if !outcome.delay.is_zero() {
            spend(outcome.delay)?;
        }
        match outcome.end {
            End::Response(response) => {
                if let Some(trickle) = response.trickle {
                    spend(trickle)?;
                }
                let headers = response
                    .headers
                    .into_iter()
                    .map(|(name, value)| (name.to_ascii_lowercase(), value))
                    .collect();
                Ok(Response {
                    status: response.status,
                    headers,
                    body: response.body,
                })
            }
            End::Unreachable => Err(HttpError::Unreachable("connection refused".to_owned())),
            // A client cannot tell the two apart once it has sent its request.
            End::ResetBefore | End::ResetAfter => Err(HttpError::Lost("connection reset by peer".to_owned())),
            // An exchange is over when its body is; this body does not end.
            End::Stream(_stream) => {
                spend(request.timeout)?;
                Err(slow())
            }
        }
    }
}

/// The request as it would be on the wire.
fn encode(request: &Request, peer: IpAddr) -> WireRequest {
    let mut headers = Vec::new();
    match &request.auth {
        Auth::None => {}
        Auth::Bearer(token) => headers.push(("authorization".to_owned(), format!("Bearer {}", token.expose()))),
        Auth::Basic { id, secret } => {
            let text = BASE64.encode(format!("{id}:{}", secret.expose()));
            headers.push(("authorization".to_owned(), format!("Basic {text}")));
        }
    }
    let (content_type, body) = match &request.body {
        Body::Empty => (None, Vec::new()),
        Body::Form(pairs) => {
            let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.expose().as_str()));
            (
                Some("application/x-www-form-urlencoded".to_owned()),
                fields::encode_form(pairs).into_bytes(),
            )
        }
        Body::Json(value) => (Some("application/json".to_owned()), value.to_string().into_bytes()),
        Body::File(content) => {
            let head = format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\nContent-Type: application/octet-stream\r\n\r\n"
            );
            let body = [head.as_bytes(), content, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat();
            (Some(format!("multipart/form-data; boundary={BOUNDARY}")), body)
        }
    };
    headers.extend(content_type.map(|kind| ("content-type".to_owned(), kind)));
    headers.push(("content-length".to_owned(), body.len().to_string()));
    let query = fields::encode_form(request.query.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    WireRequest {
        method: request.method.as_str().to_owned(),
        path: request.path.clone(),
        query,
        headers,
        body,
        peer,
    }
}

const BOUNDARY: &str = "stand-in-7c1f6d0e5b2a49c8";
