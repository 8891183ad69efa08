//! Mishaps as they are written in scenario files, and what they mean in the world.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::{
    model::{DeviceId, Mono},
    sim::{
        device::{DeviceMishap, Press},
        world::{
            hubs::Topology,
            mishap::{Deed, Mishap, When},
            phase::Phase,
        },
    },
};

use super::{ScenarioError, Slot, millis};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMishap {
    slot: Option<u16>,
    #[serde(default)]
    when: RawWhen,
    #[serde(rename = "do")]
    deed: RawDeed,
}

/// Nothing at all means at once.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawWhen {
    at_ms: Option<u64>,
    transfer: Option<u64>,
    phase: Option<Phase>,
    nth: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum RawDeed {
    Unplug(RawUnplug),
    Swap(RawSwap),
    PowerCut(RawOff),
    HubOff(RawOff),
    ClockJump(RawJump),
    /// One bit of the data of an IN transfer is wrong.
    Garble,
    Press(#[serde(with = "PressForm")] Press),
    Inject(#[serde(with = "InjectForm")] DeviceMishap),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawUnplug {
    back_after_ms: Option<u64>,
    in_slot: Option<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSwap {
    with: u16,
    gap_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawOff {
    off_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawJump {
    by_ms: i64,
}

/// The words for what a person does to the buttons; the compiler compares them with the device model's.
#[derive(Deserialize)]
#[serde(remote = "Press", rename_all = "kebab-case")]
enum PressForm {
    Reset,
    SafeMode,
    Dfu,
    FactoryRestore,
    ClearSettings,
}

/// The words for what goes wrong inside of a device; the compiler compares them with the device model's.
#[derive(Deserialize)]
#[serde(remote = "DeviceMishap", deny_unknown_fields, rename_all = "kebab-case")]
enum InjectForm {
    StallAfter(u32),
    FlashWriteFailsOnce(u32),
    FlashWriteFailsAlways(u32),
    BitFlipOnRead { alt: u8, address: u32 },
    ShortRead,
    WedgeDnbusy,
    VanishAfter(u32),
    RefuseEnterDfu,
    KeyWriteTorn,
    KeyWriteIgnored,
    KeyGarbleOnRead,
    ReturnsAsOtherId(DeviceId),
    NoBoot,
    AppHangs,
    ServiceEndIgnored,
}

impl RawMishap {
    /// The mishap in terms of devices and ports; `index` is its place in the file, from 0.
    pub(super) fn resolve(self, index: usize, slots: &BTreeMap<u16, Slot>, topology: Topology) -> Result<Mishap, ScenarioError> {
        let what = format!("mishap {} ({})", index + 1, self.deed.word());
        let device_in = |slot: u16| {
            let device = slots.get(&slot).map(|s| s.id);
            device.ok_or_else(|| ScenarioError::NoDevice {
                what: what.clone(),
                slot,
            })
        };
        let device = self.slot.map(&device_in).transpose()?;
        let when = self.when.resolve().ok_or_else(|| ScenarioError::When(what.clone()))?;
        let anywhere = matches!(self.deed, RawDeed::ClockJump(_) | RawDeed::PowerCut(_)) && matches!(when, When::At(_));
        if device.is_none() && !anywhere {
            return Err(ScenarioError::NeedsSlot(what));
        }
        let deed = match self.deed {
            RawDeed::Unplug(unplug) => unplug.resolve(&what, slots, topology)?,
            RawDeed::Swap(swap) => Deed::Swap {
                with: device_in(swap.with)?,
                gap: millis(swap.gap_ms),
            },
            RawDeed::PowerCut(off) => Deed::PowerCut { off: off.duration() },
            RawDeed::HubOff(off) => Deed::HubOff { off: off.duration() },
            RawDeed::ClockJump(jump) => Deed::ClockJump(jump.by_ms),
            RawDeed::Garble => Deed::Garble,
            RawDeed::Press(press) => Deed::Press(press),
            RawDeed::Inject(inner) => Deed::Inject(inner),
        };
        let label = self
            .slot
            .map_or_else(|| what.clone(), |slot| format!("{what} in slot {slot}"));
        Ok(Mishap {
            label,
            device,
            when,
            deed,
        })
    }
}

impl RawWhen {
    fn resolve(self) -> Option<When> {
        match (self.at_ms, self.transfer, self.phase, self.nth) {
            (None, None, None, None) => Some(When::At(Mono::default())),
            (Some(at), None, None, None) => Some(When::At(Mono(millis(at)))),
            (None, Some(number @ 1..), None, None) => Some(When::Transfer(number)),
            (None, None, Some(phase), nth @ (None | Some(1..))) => Some(When::Phase {
                phase,
                nth: nth.unwrap_or(1),
            }),
            _ => None,
        }
    }
}

impl RawUnplug {
    fn resolve(self, what: &str, slots: &BTreeMap<u16, Slot>, topology: Topology) -> Result<Deed, ScenarioError> {
        if let Some(slot) = self.in_slot.filter(|slot| slots.contains_key(slot)) {
            let what = what.to_owned();
            return Err(ScenarioError::Occupied { what, slot });
        }
        if let Some(slot) = self.in_slot.filter(|slot| !(1..=super::LAST_SLOT).contains(slot)) {
            return Err(ScenarioError::SlotNumber(slot));
        }
        Ok(Deed::Unplug {
            back_after: self.back_after_ms.map(millis),
            port: self.in_slot.map(|slot| topology.port(slot)),
        })
    }
}

impl RawOff {
    fn duration(&self) -> Duration {
        millis(self.off_ms)
    }
}

impl RawDeed {
    fn word(&self) -> &'static str {
        match self {
            RawDeed::Unplug(_) => "unplug",
            RawDeed::Swap(_) => "swap",
            RawDeed::PowerCut(_) => "power-cut",
            RawDeed::HubOff(_) => "hub-off",
            RawDeed::ClockJump(_) => "clock-jump",
            RawDeed::Garble => "garble",
            RawDeed::Press(_) => "press",
            RawDeed::Inject(inner) => inner.name(),
        }
    }
}
