//! What is combined: family, key policy, what the key slot holds at the start, whether the cloud takes a new key, and
//! whether a device that boots has the time to make a key of its own.

use std::{fmt, sync::Arc, time::Duration};

use keyrack::{
    cli::rig::{Options, Rig, Stored},
    edge::Entropy,
    model::{DeviceId, Platform, recipe::KeyPolicy},
    sim::{
        clock::VirtualClock,
        device::{Press, Timing},
        world::{World, scenario::Scenario},
    },
};

use crate::witness::Seeded;

/// One combination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) platform: Platform,
    pub(crate) policy: KeyPolicy,
    pub(crate) key: StartKey,
    pub(crate) cloud: Cloud,
    pub(crate) boots: Boots,
}

/// What the key slot holds at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartKey {
    Good,
    Blank,
    Corrupt,
    AllZero,
}

/// What the cloud does with uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cloud {
    /// It takes them.
    Takes,
    /// It refuses every key but the one that the device was made with.
    RefusesNew,
}

/// What a device with a blank slot does when it boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boots {
    /// It makes a key at once. It is met in DFU mode, so that a blank slot is still blank then.
    AndMakesKey,
    /// It is back in DFU mode before it comes to that.
    AndWaits,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {:?} {:?} {:?}",
            self.platform, self.policy, self.key, self.cloud, self.boots
        )
    }
}

impl Case {
    /// Every combination that makes sense.
    pub(crate) fn all() -> Vec<Case> {
        let mut cases = Vec::new();
        for platform in [Platform::Photon, Platform::Argon, Platform::P2] {
            for policy in [KeyPolicy::Read, KeyPolicy::Generate, KeyPolicy::ReadOrGenerate] {
                for key in [StartKey::Good, StartKey::Blank, StartKey::Corrupt, StartKey::AllZero] {
                    let case = |cloud, boots| Case {
                        platform,
                        policy,
                        key,
                        cloud,
                        boots,
                    };
                    cases.push(case(Cloud::Takes, Boots::AndMakesKey));
                    if key == StartKey::Blank {
                        cases.push(case(Cloud::Takes, Boots::AndWaits));
                    }
                    let makes = policy == KeyPolicy::Generate || policy == KeyPolicy::ReadOrGenerate && key != StartKey::Good;
                    if makes && key != StartKey::AllZero {
                        cases.push(case(Cloud::RefusesNew, Boots::AndMakesKey));
                    }
                }
            }
        }
        cases
    }

    /// The rack of this combination, ready to be set up again and again.
    pub(crate) fn prepare(&self, seed: u64) -> Prepared {
        let key = match self.key {
            StartKey::Good => "good",
            StartKey::Blank => "blank",
            StartKey::Corrupt => "corrupt",
            StartKey::AllZero => "all-zero",
        };
        let platform = self.platform;
        let text = format!(
            "about = \"a crash\"\nseed = {seed}\n[[slot]]\nnumber = 1\nplatform = \"{platform}\"\nkey = \"{key}\"\n\
             [[expect]]\nslot = 1\nverdict = \"PASS\"\nkey = \"present-valid\"\nuploads = 1\n"
        );
        let scenario = Scenario::parse(&text).unwrap();
        let ms = Duration::from_millis;
        let timing = Timing {
            // Long enough to be cut in the middle.
            dct_write: ms(2),
            cloud_init: if self.boots == Boots::AndMakesKey { ms(1) } else { ms(60_000) },
            ..Timing::instant()
        };
        let options = Options {
            keys: self.policy,
            firmware: false,
            prove: false,
            timing: Some(timing),
            ..Options::default()
        };
        let entropy: Arc<dyn Entropy> = Arc::new(Seeded::new(seed));
        VirtualClock::run(|clock| {
            let rig = Rig::build(scenario, World::on_virtual_clock(clock), Arc::clone(&entropy), &options).unwrap();
            let (device, start) = rig.start.iter().next().map(|(id, start)| (*id, start.clone())).unwrap();
            Prepared {
                device,
                dct: start.dct,
                spki: start.spki,
                rack: rig.store(),
                seed,
            }
        })
    }
}

/// A rack that is ready to be set up.
pub(crate) struct Prepared {
    pub(crate) rack: Stored,
    pub(crate) device: DeviceId,
    pub(crate) dct: Vec<u8>,
    pub(crate) spki: Option<Vec<u8>>,
    pub(crate) seed: u64,
}

impl Case {
    /// Brings a fresh world to where the run begins.
    pub(crate) fn begin(&self, world: &World, device: DeviceId) {
        if self.key == StartKey::Blank && self.boots == Boots::AndMakesKey {
            let now = world.clock().now();
            world.with_device(device, |device| device.press(now, Press::Dfu));
        }
    }
}
