//! Bodies that take their time: event streams and slow answers.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Bytes, HttpBody};
use http_body::Frame;
use tokio::time::{Instant, Interval, Sleep};

use super::super::Subscription;

/// An event stream: `:ok`, then events, and a comment now and then to keep the connection alive.
pub(super) struct Events {
    subscription: Subscription,
    begun: bool,
    cut: Option<Pin<Box<Sleep>>>,
    alive: Interval,
}

impl Events {
    pub(super) fn new(subscription: Subscription) -> Self {
        let cut = subscription.cut_after.map(|time| Box::pin(tokio::time::sleep(time)));
        let alive = tokio::time::interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        Self {
            subscription,
            begun: false,
            cut,
            alive,
        }
    }
}

type Piece = Poll<Option<Result<Frame<Bytes>, Infallible>>>;

fn piece(bytes: impl Into<Bytes>) -> Piece {
    Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Piece {
        let this = self.get_mut();
        if !this.begun {
            this.begun = true;
            return piece(":ok\n\n");
        }
        if this.cut.as_mut().is_some_and(|cut| cut.as_mut().poll(context).is_ready()) {
            return Poll::Ready(None);
        }
        match this.subscription.poll_next(context) {
            Poll::Ready(Some(event)) => return piece(event.to_wire()),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        match this.alive.poll_tick(context) {
            Poll::Ready(_) => piece("\n"),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A body in pieces over a time.
pub(super) struct Trickle {
    pieces: VecDeque<Bytes>,
    pause: Duration,
    next: Pin<Box<Sleep>>,
}

impl Trickle {
    pub(super) fn new(body: Vec<u8>, time: Duration) -> Self {
        let body = Bytes::from(body);
        let size = body.len().div_ceil(PIECES).max(1);
        let pieces: VecDeque<Bytes> = (0..body.len())
            .step_by(size)
            .map(|at| body.slice(at..body.len().min(at + size)))
            .collect();
        let pause = time / u32::try_from(pieces.len()).unwrap_or(1).max(1);
        Self {
            pieces,
            pause,
            next: Box::pin(tokio::time::sleep(pause)),
        }
    }
}

impl HttpBody for Trickle {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Piece {
        let this = self.get_mut();
        if this.pieces.is_empty() {
            return Poll::Ready(None);
        }
        if this.next.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        this.next.as_mut().reset(Instant::now() + this.pause);
        match this.pieces.pop_front() {
            Some(bytes) => piece(bytes),
            None => Poll::Ready(None),
        }
    }
}

/// The documents promise a sign of life at least every 60 s; clients take 15 s of silence for a dead stream.
const KEEP_ALIVE: Duration = Duration::from_secs(9);
/// In how many pieces a slow body comes.
const PIECES: usize = 8;
