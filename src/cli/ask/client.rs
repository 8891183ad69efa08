//! The other end of the socket: whoever asks.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use super::{
    desk,
    wire::{Reply, Request, Status},
};
use crate::{
    cli::{Context, error::CliError},
    model::Secret,
    rack::Told,
};

/// Asks the station of this state.
///
/// # Errors
/// If none runs, or it does not answer.
pub(super) fn ask(request: &Request, secret: Option<&Secret<String>>, context: &Context) -> Result<Told, CliError> {
    match exchange(request, secret, context)? {
        Reply::Told { done, text } => Ok(Told { done, text }),
        Reply::Status(_) => Err(unclear()),
    }
}

/// How the station of this state is.
///
/// # Errors
/// As [`ask`].
pub(super) fn status(context: &Context) -> Result<Status, CliError> {
    match exchange(&Request::Status {}, None, context)? {
        Reply::Status(status) => Ok(*status),
        Reply::Told { .. } => Err(unclear()),
    }
}

fn exchange(request: &Request, secret: Option<&Secret<String>>, context: &Context) -> Result<Reply, CliError> {
    let path = desk::place(&context.state()?);
    let stream = UnixStream::connect(&path).map_err(|_| CliError::Missing {
        what: "no station runs on this state",
        next: "start one with `keyrack run`, or name its state with --state or --config",
    })?;
    let failed = |source: io::Error| CliError::File {
        doing: "ask the station at",
        path: path.clone(),
        source,
    };
    stream.set_read_timeout(Some(LONG)).map_err(failed)?;
    let line = serde_json::to_string(request).map_err(|error| failed(error.into()))?;
    let mut to = &stream;
    to.write_all(line.as_bytes())
        .and_then(|()| to.write_all(b"\n"))
        .and_then(|()| match secret {
            Some(secret) => to.write_all(secret.expose().as_bytes()).and_then(|()| to.write_all(b"\n")),
            None => Ok(()),
        })
        .map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).map_err(failed)?;
    serde_json::from_str(&answer).map_err(|_| unclear())
}

fn unclear() -> CliError {
    CliError::Missing {
        what: "the station's answer was not understood: it may be of another version, or have ended",
        next: "use the keyrack that the station was started with",
    }
}

/// Longer than the station takes.
const LONG: Duration = Duration::from_secs(60);
