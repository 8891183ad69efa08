//! Event streams: what devices publish and who listens (cloud-api.md 3.14). Missed events are not replayed.

use std::{net::IpAddr, time::Duration};

use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    call::{Call, owns},
    limits::OPEN_STREAMS,
    reply::Reply,
    setup::Role,
    state::{Actor, Owner},
};
use crate::model::{DeviceId, Wall};

/// One event of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name, such as `spark/status`.
    pub name: String,
    /// Its data, such as `online`.
    pub data: String,
    /// When it was published.
    pub at: Wall,
    /// The device that published it.
    pub device: DeviceId,
    product: Option<u32>,
    owner: Option<Owner>,
}

impl Event {
    pub(super) fn new(name: &str, data: &str, at: Wall, device: DeviceId, product: Option<u32>, owner: Option<Owner>) -> Self {
        Self {
            name: name.to_owned(),
            data: data.to_owned(),
            at,
            device,
            product,
            owner,
        }
    }

    /// As it is in the stream.
    pub fn to_wire(&self) -> String {
        let data = json!({ "data": self.data, "ttl": 60, "published_at": self.at.to_string(), "coreid": self.device });
        format!("event: {}\ndata: {data}\n\n", self.name)
    }
}

/// An open stream. It ends when the stand-in cuts it or is dropped.
#[derive(Debug)]
pub struct Subscription {
    receiver: UnboundedReceiver<Event>,
    /// A mishap ends the stream after this time.
    pub cut_after: Option<Duration>,
}

impl Subscription {
    /// The next event that is here already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }

    /// The next event; `None` when the stream was cut.
    pub async fn next(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }

    /// The same for use in a poll function.
    pub(super) fn poll_next(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Option<Event>> {
        self.receiver.poll_recv(context)
    }
}

/// All listeners.
#[derive(Default)]
pub(super) struct Hub {
    listeners: Vec<Listener>,
}

struct Listener {
    peer: IpAddr,
    filter: Filter,
    sender: UnboundedSender<Event>,
}

/// Which events a listener gets.
pub(super) struct Filter {
    whose: Whose,
    prefix: String,
}

enum Whose {
    Actor(Actor),
    Device(DeviceId),
    Product(u32),
}

impl Hub {
    /// Opens a stream, or refuses one too many.
    pub(super) fn listen(&mut self, peer: IpAddr, filter: Filter) -> Result<Subscription, Reply> {
        self.listeners.retain(|listener| !listener.sender.is_closed());
        if self.listeners.iter().filter(|listener| listener.peer == peer).count() >= OPEN_STREAMS {
            return Err(Reply::error(429, "Too many open event streams"));
        }
        let (sender, receiver) = unbounded_channel();
        self.listeners.push(Listener { peer, filter, sender });
        Ok(Subscription {
            receiver,
            cut_after: None,
        })
    }

    pub(super) fn publish(&mut self, event: &Event) {
        self.listeners
            .retain(|listener| !listener.filter.passes(event) || listener.sender.send(event.clone()).is_ok());
    }

    /// Ends all streams.
    pub(super) fn cut(&mut self) {
        self.listeners.clear();
    }
}

impl Filter {
    fn passes(&self, event: &Event) -> bool {
        let mine = match &self.whose {
            Whose::Actor(actor) => owns(actor, event.owner.as_ref()),
            Whose::Device(device) => *device == event.device,
            Whose::Product(product) => Some(*product) == event.product,
        };
        mine && event.name.starts_with(&self.prefix)
    }
}

/// Tells whether the path is that of an event stream and which events it asks for. `None`: another path.
pub(super) fn filter(call: &Call, path: &[&str]) -> Option<Result<Filter, Reply>> {
    if call.request.method != "GET" {
        return None;
    }
    Some(match path {
        ["v1", "events"] => call.actor().and(Err(Reply::error(400, "event prefix filter is required"))),
        ["v1", "events", prefix @ ..] | ["v1", "devices", "events", prefix @ ..] => call.actor().map(|actor| Filter {
            whose: Whose::Actor(actor),
            prefix: prefix.join("/"),
        }),
        ["v1", "devices", id, "events", prefix @ ..] => {
            call.device_of(id, Role::ViewOnly, Some("events:get")).map(|(_, id)| Filter {
                whose: Whose::Device(id),
                prefix: prefix.join("/"),
            })
        }
        ["v1", "products", product, "events", prefix @ ..] => {
            call.on_product(product, Role::ViewOnly, Some("events:get"))
                .map(|(_, product)| Filter {
                    whose: Whose::Product(product),
                    prefix: prefix.join("/"),
                })
        }
        _ => return None,
    })
}
