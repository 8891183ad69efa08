//! The flows of repair that are measured: for each a device that needs it, in the words of scenarios.

use std::path::Path;

use super::{
    super::error::CliError,
    handed::Handed,
    rehearsal::{Played, Rehearsal},
};
use crate::{
    cli::rig::Options,
    model::{
        Verdict,
        recipe::{Aim, KeyPolicy, ProtectedPolicy, Repair, Work},
    },
    sim::{device::Timing, world::scenario::Scenario},
};

/// A device that needs one flow, in the words of scenarios.
#[derive(Clone, Copy)]
pub(super) struct Flow {
    pub(super) name: &'static str,
    platform: &'static str,
    device: &'static str,
    work: Work,
    /// It is moved to another product.
    moves: bool,
    /// What the station knows and has before.
    handed: Handed,
}

/// One device for each flow.
pub(super) const FLOWS: [Flow; 11] = [
    Flow {
        name: "server_key",
        device: "imported = true\nregistered = \"present\"\nserver = \"other-key\"\nowner = \"ann@home.test\"\n",
        ..ARGON
    },
    Flow {
        name: "development",
        device: "owner = \"operator@bench.test\"\n",
        ..ARGON
    },
    Flow {
        name: "product_account",
        device: "imported = true\nowner = \"operator@bench.test\"\n",
        ..ARGON
    },
    Flow {
        name: "product_unclaimed",
        device: "imported = true\n",
        ..ARGON
    },
    Flow {
        name: "new_key",
        device: "imported = true\nowner = \"operator@bench.test\"\n",
        work: Work::NewKey,
        ..ARGON
    },
    Flow {
        name: "move",
        device: "in-product = 902\n",
        moves: true,
        ..ARGON
    },
    Flow {
        name: "customer",
        device: "imported = true\nowner = \"ann@home.test\"\nname = \"kitchen\"\nnotes = \"n\"\ngroups = [\"eu\"]\n",
        ..ARGON
    },
    Flow {
        name: "rewrite",
        platform: "photon",
        device: "imported = true\nkey = \"misread\"\n",
        handed: Handed::Known,
        ..ARGON
    },
    Flow {
        name: "service_mode",
        device: "imported = true\nprotected = true\nregistered = \"present\"\nserver = \"elsewhere\"\n",
        ..ARGON
    },
    Flow {
        name: "given_key",
        device: "imported = true\n",
        work: Work::GivenKey,
        handed: Handed::Pair,
        ..ARGON
    },
    Flow {
        name: "restore",
        device: "imported = true\n",
        work: Work::GivenKey,
        handed: Handed::KnownPair,
        ..ARGON
    },
];

/// A device that nobody owns, with a key that the cloud does not know.
const ARGON: Flow = Flow {
    name: "",
    platform: "argon",
    device: "",
    work: Work::Mend,
    moves: false,
    handed: Handed::Nothing,
};

impl Flow {
    fn named(name: &str) -> Self {
        FLOWS.into_iter().find(|flow| flow.name == name).unwrap_or(ARGON)
    }

    pub(super) fn customers() -> Self {
        Self::named("customer")
    }

    pub(super) fn new_keys() -> Self {
        Self::named("new_key")
    }

    pub(super) fn accounts() -> Self {
        Self::named("product_account")
    }

    /// Plays one device.
    pub(super) fn play(self, folder: &Path) -> Result<Played, CliError> {
        self.play_many(folder, 1, 1, &Timing::default(), 1)
    }

    /// Plays so many devices on so many slots. All of them must pass, or nothing was measured.
    pub(super) fn play_many(
        self,
        folder: &Path,
        devices: u16,
        slots: u16,
        timing: &Timing,
        scale: u32,
    ) -> Result<Played, CliError> {
        let played = Rehearsal {
            scenario: self.scenario(devices)?,
            options: self.options(timing.clone()),
            slots,
            scale,
            handed: self.handed,
            folder,
        }
        .play()?;
        let astray = if self.moves { 0 } else { played.astray };
        let passed = played
            .runs()
            .values()
            .filter(|(_, verdict)| *verdict == Some(Verdict::Pass))
            .count();
        match astray + usize::from(devices) - passed {
            0 => Ok(played),
            found => Err(CliError::World { found }),
        }
    }

    fn scenario(self, devices: u16) -> Result<Scenario, CliError> {
        use std::fmt::Write as _;
        let mut text = String::from("about = \"Devices that need one flow, all alike.\"\nseed = 1\n");
        for slot in 1..=devices {
            let server = if self.device.contains("server") {
                ""
            } else {
                "server = \"stand-in\"\n"
            };
            let _ = write!(
                text,
                "\n[[slot]]\nnumber = {slot}\nplatform = \"{}\"\nwifi = \"bench\"\n{server}{}\
                 \n[[expect]]\nslot = {slot}\nverdict = \"PASS\"\nkey = \"present-valid\"\nuploads = 1\n",
                self.platform, self.device
            );
        }
        if devices > 1 || self.moves {
            // As on a pallet: the recipe names the product.
            let work = serde_json::to_value(self.work).map_or_else(|_| String::new(), |work| work.to_string());
            let _ = writeln!(text, "[repair]\nwork = {work}");
        }
        if self.moves {
            text.push_str("from = [902]\n");
            for (id, slug) in [(901, "new"), (902, "old")] {
                let _ = writeln!(
                    text,
                    "[[cloud.product]]\nid = {id}\nslug = \"{slug}\"\nplatform = \"{}\"",
                    self.platform
                );
            }
        }
        text.push_str("[cloud]\nowner = \"operator@bench.test\"\ncustomers = [\"ann@home.test\"]\n");
        Ok(Scenario::parse(&text)?)
    }

    fn options(self, timing: Timing) -> Options {
        Options {
            aim: Aim::Repair(Repair {
                work: self.work,
                from: Vec::new(),
                reference: None,
            }),
            keys: match self.work {
                Work::NewKey | Work::GivenKey => KeyPolicy::Generate,
                _ => KeyPolicy::ReadOrGenerate,
            },
            protected: ProtectedPolicy::ServiceMode,
            firmware: false,
            timing: Some(timing),
            ..Options::default()
        }
    }
}
