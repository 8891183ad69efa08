//! Events as `--json` prints them: one object a line, each with its `event`.

use std::time::Duration;

use serde::Serialize;

use crate::{
    cli::ask::desk::LineStopped,
    model::{Code, DeviceId, Fact, Record, RunId, SlotNo, StationId, StepKind, Wall},
    rack::{Ordered, view::SlotView},
};

/// A record as an event: the same from a running station and from `replay`.
#[derive(Serialize)]
pub(in crate::cli) struct FactEvent<'a> {
    event: &'static str,
    seq: u64,
    at: Wall,
    station: &'a StationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<SlotNo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<DeviceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    fact: &'a Fact,
}

impl<'a> FactEvent<'a> {
    /// With the slot and the device that it is about, as far as is known.
    pub(in crate::cli) fn new(record: &'a Record, slot: Option<SlotNo>, device: Option<DeviceId>) -> Self {
        Self {
            event: "fact",
            seq: record.seq,
            at: record.at,
            station: &record.station,
            slot,
            device,
            run: record.fact.run(),
            fact: &record.fact,
        }
    }
}

#[derive(Serialize)]
pub(super) struct LineEvent<'a> {
    pub(super) event: &'static str,
    pub(super) stopped: Option<&'a LineStopped>,
}

#[derive(Serialize)]
pub(super) struct ProgressEvent {
    pub(super) event: &'static str,
    pub(super) slot: SlotNo,
    pub(super) device: DeviceId,
    pub(super) step: u8,
    pub(super) steps: usize,
    #[serde(flatten)]
    pub(super) kind: Option<StepKind>,
    pub(super) done: u64,
    pub(super) of: u64,
    pub(super) percent: u64,
}

#[derive(Serialize)]
pub(super) struct SlotEvent<'a> {
    event: &'static str,
    slot: SlotNo,
    state: &'static str,
    device: Option<DeviceId>,
    step: Option<StepKind>,
    code: Option<Code>,
    why: &'a str,
    next: Option<&'static str>,
}

impl<'a> SlotEvent<'a> {
    pub(super) fn new(view: &'a SlotView) -> Self {
        Self {
            event: "slot",
            slot: view.slot,
            state: view.word,
            device: view.device,
            step: view.step,
            code: view.code,
            why: &view.why,
            next: view.code.map(Code::next_action),
        }
    }
}

#[derive(Serialize)]
pub(super) struct LockEvent<'a> {
    pub(super) event: &'static str,
    pub(super) locked: Option<&'a str>,
}

/// How far the work order is.
#[derive(Serialize)]
pub(super) struct OrderEvent<'a> {
    event: &'static str,
    id: &'a str,
    quantity: u64,
    done: u64,
    under_way: u64,
    left: u64,
}

impl<'a> OrderEvent<'a> {
    pub(super) fn new(order: &'a Ordered) -> Self {
        Self {
            event: "order",
            id: &order.id,
            quantity: order.quantity,
            done: order.done,
            under_way: order.under_way,
            left: order.left(),
        }
    }
}

/// How long facts waited for the disk: one for each commit.
#[derive(Serialize)]
pub(super) struct DurableEvent {
    event: &'static str,
    facts: usize,
    waited_us: u64,
}

impl DurableEvent {
    /// So many facts in one commit, and how long the first of them waited.
    pub(super) fn new(facts: usize, waited: Duration) -> Self {
        Self {
            event: "durable",
            facts,
            waited_us: u64::try_from(waited.as_micros()).unwrap_or(u64::MAX),
        }
    }
}
