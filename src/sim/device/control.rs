//! The service protocol that carries control requests over endpoint 0 (device-protocol.md 2.1): four slots, ids, chunks.
//!
//! It moves payloads and replies. What a request does is `requests`' affair.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::edge::Setup;

use super::{Act, Blob, Device, DeviceMishap, Transfer, network::Cloud, requests::Reply, stall};

/// The requests that are under way.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Control {
    slots: Vec<Slot>,
    last: u16,
}

#[derive(Clone, Serialize, Deserialize)]
struct Slot {
    id: u16,
    kind: u16,
    size: u16,
    payload: Blob,
    stage: Stage,
}

#[derive(Clone, Serialize, Deserialize)]
enum Stage {
    /// The buffer for a long payload is being found.
    Allocating(Duration),
    /// Payload is awaited.
    Receiving,
    /// The handler runs; when it is done, the reply is there.
    Running(Duration, Answer),
    /// The result was told; this much of the body is still to be fetched from there on.
    Sending(Answer, usize),
    /// The application hangs.
    Forever,
}

#[derive(Clone, Serialize, Deserialize)]
struct Answer {
    result: i32,
    body: Blob,
    act: Option<Act>,
}

impl Control {
    /// Moves its instants to another clock.
    pub(super) fn shift(&mut self, moved: impl Fn(&mut Duration)) {
        for slot in &mut self.slots {
            if let Stage::Allocating(at) | Stage::Running(at, _) = &mut slot.stage {
                moved(at);
            }
        }
    }

    /// Drops all requests. Ids go on from where they were.
    pub(super) fn cancel_all(&mut self) {
        self.slots.clear();
    }

    fn find(&mut self, id: u16) -> Option<(usize, &mut Slot)> {
        self.slots.iter_mut().enumerate().find(|(_, slot)| slot.id == id)
    }
}

impl Device {
    /// Handles one service request.
    pub(super) fn service_request(&mut self, now: Duration, setup: Setup, data: &[u8]) -> Transfer {
        let long_enough = setup.length >= MIN_LENGTH;
        match setup.request {
            1 if long_enough => self.init(now, setup),
            2 if long_enough => self.check(now, setup.index),
            3 => self.send(now, setup.index, data),
            4 => self.receive(now, setup),
            5 if long_enough => self.cancel(setup.index),
            _ => stall(),
        }
    }

    fn init(&mut self, now: Duration, setup: Setup) -> Transfer {
        let (kind, size) = (setup.index, setup.value);
        if self.s.control.slots.len() >= MOST_ACTIVE {
            return status(BUSY, None);
        }
        if size == 0 && matches!(kind, 40 | 41 | 50 | 60 | 70) && !self.enforced() {
            // The interrupt handler frees the system thread from whatever it is trying to connect to.
            self.cloud_disconnect();
        }
        self.s.control.last = self.s.control.last.wrapping_add(1);
        let id = self.s.control.last;
        let stage = if size > POOLED {
            Stage::Allocating(now + self.timing.request)
        } else {
            Stage::Receiving
        };
        let pending = matches!(stage, Stage::Allocating(_));
        self.s.control.slots.push(Slot {
            id,
            kind,
            size,
            payload: Blob::default(),
            stage,
        });
        if size == 0 {
            self.start(now, self.s.control.slots.len() - 1);
        }
        status(if pending { PENDING } else { OK }, Some(id))
    }

    fn check(&mut self, now: Duration, id: u16) -> Transfer {
        let Some((at, slot)) = self.s.control.find(id) else {
            return status(NOT_FOUND, None);
        };
        match &slot.stage {
            Stage::Forever => status(PENDING, None),
            Stage::Allocating(ready) | Stage::Running(ready, _) if now < *ready => status(PENDING, None),
            Stage::Allocating(_) => {
                slot.stage = Stage::Receiving;
                status(OK, None)
            }
            Stage::Receiving => status(OK, None),
            Stage::Running(_, answer) | Stage::Sending(answer, _) => {
                let answer = answer.clone();
                let transfer = done(&answer);
                if answer.body.is_empty() {
                    self.s.control.slots.remove(at);
                    self.fetched(now, answer.act);
                } else {
                    slot.stage = Stage::Sending(answer, 0);
                }
                transfer
            }
        }
    }

    fn send(&mut self, now: Duration, id: u16, data: &[u8]) -> Transfer {
        let Some((at, slot)) = self.s.control.find(id) else {
            return stall();
        };
        let fits = slot.payload.len() + data.len() <= usize::from(slot.size);
        if data.is_empty() || !fits || !matches!(slot.stage, Stage::Receiving) {
            return stall();
        }
        slot.payload.extend(data);
        if slot.payload.len() == usize::from(slot.size) {
            self.start(now, at);
        }
        Transfer {
            result: Ok(Vec::new()),
            takes: Duration::ZERO,
        }
    }

    fn receive(&mut self, now: Duration, setup: Setup) -> Transfer {
        let Some((at, slot)) = self.s.control.find(setup.index) else {
            return stall();
        };
        let Stage::Sending(answer, sent) = &mut slot.stage else {
            return stall();
        };
        let length = usize::from(setup.length);
        let Some(chunk) = answer.body.get(*sent..*sent + length).filter(|c| !c.is_empty()) else {
            return stall();
        };
        let chunk = chunk.to_vec();
        *sent += length;
        if *sent == answer.body.len() {
            let act = answer.act;
            self.s.control.slots.remove(at);
            self.fetched(now, act);
        }
        Transfer {
            result: Ok(chunk),
            takes: Duration::ZERO,
        }
    }

    fn cancel(&mut self, id: u16) -> Transfer {
        if id == 0 {
            self.s.control.cancel_all();
            return status(OK, None);
        }
        let found = self.s.control.find(id).map(|(at, _)| at);
        match found {
            Some(at) => {
                self.s.control.slots.remove(at);
                status(OK, None)
            }
            None => status(NOT_FOUND, None),
        }
    }

    /// Starts the handler of a request whose payload is complete.
    fn start(&mut self, now: Duration, at: usize) {
        let (kind, payload) = (
            self.s.control.slots[at].kind,
            std::mem::take(&mut self.s.control.slots[at].payload),
        );
        let hangs = self.s.mishaps.bites(&mut self.s.counters, |m| *m == DeviceMishap::AppHangs);
        self.s.control.slots[at].stage = if hangs {
            Stage::Forever
        } else {
            let Reply {
                result,
                body,
                takes,
                act,
            } = self.handle(now, kind, &payload);
            let answer = Answer {
                result,
                body: body.into(),
                act,
            };
            Stage::Running(now + takes, answer)
        };
    }

    /// The host has the reply: what was put off until then begins its wait.
    fn fetched(&mut self, now: Duration, act: Option<Act>) {
        if let Some(act) = act {
            self.s.pending = Some((now + self.timing.reset_delay, act));
        }
    }

    /// Gives up connecting and stays away from the cloud.
    pub(super) fn cloud_disconnect(&mut self) {
        self.s.auto_connect = false;
        // What comes before the network goes on: a key is made whether or not the device may connect.
        if !matches!(self.s.cloud, Cloud::Init(_) | Cloud::Key(_)) {
            self.s.cloud = Cloud::Off;
        }
    }
}

fn status(code: u16, id: Option<u16>) -> Transfer {
    let flags: u32 = if id.is_some() { STATUS | ID } else { STATUS };
    let mut record = flags.to_le_bytes().to_vec();
    record.extend(code.to_le_bytes());
    record.extend(id.iter().flat_map(|id| id.to_le_bytes()));
    Transfer {
        result: Ok(record),
        takes: Duration::ZERO,
    }
}

fn done(answer: &Answer) -> Transfer {
    let size = (!answer.body.is_empty()).then(|| u32::try_from(answer.body.len()).expect("replies are short"));
    let flags = STATUS | RESULT | if size.is_some() { SIZE } else { 0 };
    let mut record = flags.to_le_bytes().to_vec();
    record.extend(OK.to_le_bytes());
    record.extend(size.iter().flat_map(|s| s.to_le_bytes()));
    record.extend(answer.result.to_le_bytes());
    Transfer {
        result: Ok(record),
        takes: Duration::ZERO,
    }
}

const STATUS: u32 = 0x01;
const ID: u32 = 0x02;
const SIZE: u32 = 0x04;
const RESULT: u32 = 0x08;
const OK: u16 = 0;
const PENDING: u16 = 2;
const BUSY: u16 = 3;
const NOT_FOUND: u16 = 5;
/// USB_REQUEST_MAX_ACTIVE_COUNT.
const MOST_ACTIVE: usize = 4;
/// MIN_WLENGTH.
const MIN_LENGTH: u16 = 64;
/// A payload up to this long fits a buffer from the pool.
const POOLED: u16 = 64;
