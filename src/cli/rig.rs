//! A simulated rack with everything that a station on it needs: what the demo, the scenario tests and the crash tests
//! share. It only puts together; what happens is up to the station and the simulated world.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    cloud::{Api, login},
    edge::{Entropy, Http},
    firmware::{Extension, Module, ModuleBuilder, sha256_of},
    model::{
        DeviceId, Platform, PortPath, ProductId, Secret, SlotNo, StationId,
        module::ModuleFunction,
        platform::{Family, Transport},
        recipe::{FirmwareFile, KeyPolicy, Recipe, ServerPolicy, ServerSettings, Timeouts, Wifi},
    },
    rack::{Book, Setting},
    sim::{
        cloud::{BENCH_PRODUCT, DeviceSetup, Fault, ProductSetup, Role, Setup, StandIn, UserSetup},
        device::{Device, StartServer, Timing},
        world::{
            World, hubs,
            scenario::{self, Scenario},
        },
    },
    station::{
        Shelf,
        shelf::{ShelfError, prepare},
    },
};

/// How the recipes of a rig differ from the usual.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do with keys.
    pub keys: KeyPolicy,
    /// Set the server key to the stand-in's.
    pub server: bool,
    /// Flash an application, and a bootloader where the platform takes one through its system.
    pub firmware: bool,
    /// Bytes of the application.
    pub application: usize,
    /// Wait for a handshake.
    pub prove: bool,
    /// Let devices go with their key owed.
    pub finish_owed: bool,
    /// How long devices take; `None` leaves that to the scenario.
    pub timing: Option<Timing>,
    /// Limits of the recipes.
    pub timeouts: Timeouts,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keys: KeyPolicy::ReadOrGenerate,
            server: true,
            firmware: true,
            application: 48 << 10,
            prove: true,
            finish_owed: false,
            timing: None,
            timeouts: Timeouts::default(),
        }
    }
}

/// A simulated rack, its cloud, and the recipes for it.
pub struct Rig {
    /// What it was made from.
    pub scenario: Scenario,
    /// The devices and their ports.
    pub world: World,
    /// The cloud.
    pub cloud: StandIn,
    /// What the devices held at the start: key store and public key.
    pub start: BTreeMap<DeviceId, Start>,
    recipes: Vec<Recipe>,
    files: BTreeMap<String, Arc<[u8]>>,
    password: Secret<String>,
}

/// What a device held at the start.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its slot.
    pub slot: SlotNo,
    /// The whole key store.
    pub dct: Vec<u8>,
    /// The public half of its key, if it held one.
    pub spki: Option<Vec<u8>>,
}

impl Rig {
    /// Builds the world of a scenario: devices plugged in, cloud ready, mishaps armed.
    ///
    /// # Panics
    /// If the scenario contradicts itself: scenarios are checked when they are parsed.
    pub fn build(scenario: Scenario, world: World, entropy: Arc<dyn Entropy>, options: &Options) -> Self {
        let mut random = [0; 16];
        entropy.fill(&mut random);
        let password = Secret::new(hex(&random));
        let cloud = StandIn::new(world.clock(), Arc::clone(&entropy), cloud_setup(&scenario, &password));
        world.set_cloud(Arc::new(cloud.clone()));
        let mut start = BTreeMap::new();
        let timing = options.timing.clone().unwrap_or_else(|| scenario.pace.timing());
        for (number, slot) in &scenario.slots {
            let tcp = slot.platform.tcp();
            let stand_in = StartServer::Set {
                spki: cloud.server_spki(tcp),
                host: cloud.server_host(tcp),
            };
            let device = Device::new(slot.spec(scenario.seed, &stand_in), timing.clone());
            start.insert(
                slot.id,
                Start {
                    slot: SlotNo(*number),
                    dct: device.dct().to_vec(),
                    spki: device.key_spki(),
                },
            );
            world
                .plug(&slot.port, device)
                .expect("the slots of a scenario have ports of their own");
        }
        let mut rig = Self {
            scenario,
            world,
            cloud,
            start,
            recipes: Vec::new(),
            files: BTreeMap::new(),
            password,
        };
        rig.write_recipes(options);
        rig
    }

    /// From here on things go wrong as the scenario says. The station has its token by now.
    pub fn begin(&self) {
        for fault in faults(&self.scenario) {
            self.cloud.add_fault(fault);
        }
        self.world.arm(self.scenario.mishaps.clone());
    }

    /// The recipes and their firmware, ready.
    ///
    /// # Errors
    /// If the firmware does not fit: a defect of this module.
    pub fn shelf(&self) -> Result<Shelf, ShelfError> {
        let mut shelf = Shelf::default();
        for recipe in &self.recipes {
            shelf.offer(prepare(recipe.clone(), &self.files)?);
        }
        Ok(shelf)
    }

    /// What the core of a station on this rack is told.
    pub fn setting(&self, book: &Book) -> Setting {
        Setting {
            station: StationId("rig".to_owned()),
            ports: self.ports(),
            book: book.clone(),
            operator: None,
            work_order: None,
            import_chunk: 500,
        }
    }

    /// The ports of the rack: those of the devices, and the empty slots beside them, where one may be plugged in later.
    fn ports(&self) -> BTreeMap<SlotNo, PortPath> {
        let most = self.scenario.slots.keys().max().copied().unwrap_or(0).max(LEAST_SLOTS);
        let slots = (1..=most).map(|n| (SlotNo(n), self.scenario.slots.get(&n).map_or_else(|| hubs::default_port(n), |slot| slot.port.clone())));
        slots.collect()
    }

    /// Logs in with the station's account.
    ///
    /// # Errors
    /// If the cloud refuses.
    pub fn log_in(&self, http: Arc<dyn Http>) -> Result<Api, login::LoginError> {
        let token = login::password(&*http, &self.scenario.cloud.owner, &self.password, None, &mut || None)?;
        let api = Api::new(http, token.secret);
        api.set_account(self.scenario.cloud.owner.clone());
        Ok(api)
    }

    /// The device that began in a slot.
    pub fn device_of(&self, slot: SlotNo) -> Option<DeviceId> {
        self.start.iter().find(|(_, start)| start.slot == slot).map(|(id, _)| *id)
    }

    /// Writes the firmware files into a folder, for a look.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write_files(&self, folder: &Path) -> std::io::Result<Vec<PathBuf>> {
        self.files
            .iter()
            .map(|(name, bytes)| {
                let path = folder.join(name);
                std::fs::write(&path, bytes).map(|()| path)
            })
            .collect()
    }

    fn write_recipes(&mut self, options: &Options) {
        let keys = self.scenario.keys.as_ref().map_or(options.keys, |text| text.parse().expect("a scenario names a key policy"));
        let platforms: Vec<(Platform, u16)> = platforms(&self.scenario);
        for (platform, os) in platforms {
            let mut firmware = Vec::new();
            if options.firmware {
                for (name, module) in modules(platform, os, options.application) {
                    let bytes: Arc<[u8]> = module.file().into();
                    firmware.push(FirmwareFile {
                        name: name.clone(),
                        sha256: sha256_of(&bytes),
                    });
                    self.files.insert(name, bytes);
                }
            }
            let product = products(&self.scenario).remove(&platform.id());
            let tcp = platform.row().transport == Transport::Tcp;
            let server = if options.server {
                ServerPolicy::Set(ServerSettings {
                    spki: self.cloud.server_spki(tcp),
                    host: self.cloud.server_host(tcp),
                    port: None,
                })
            } else {
                ServerPolicy::Keep
            };
            let text = format!("# {platform} on a simulated rack\nkeys = \"{keys}\"\n");
            self.recipes.push(Recipe {
                name: platform.name().to_owned(),
                hash: sha256_of(text.as_bytes()),
                text,
                platform,
                product: product.map(|p| ProductId(p.id.to_string())),
                activate_sim: true,
                firmware,
                keys,
                server,
                wifi: Some(Wifi {
                    ssid: "bench".to_owned(),
                    password: None,
                }),
                prove: options.prove,
                finish_owed: options.finish_owed,
                timeouts: options.timeouts.clone(),
            });
        }
    }
}

/// The platforms of a scenario with the oldest Device OS of each.
fn platforms(scenario: &Scenario) -> Vec<(Platform, u16)> {
    let mut found: BTreeMap<Platform, u16> = BTreeMap::new();
    for slot in scenario.slots.values() {
        if let Some(platform) = Platform::from_id(slot.platform.number()) {
            let os = found.entry(platform).or_insert(slot.os);
            *os = slot.os.min(*os);
        }
    }
    found.into_iter().collect()
}

/// The firmware of a recipe: an application of `len` bytes in all, and for nRF a bootloader, which goes through the
/// running system.
fn modules(platform: Platform, os: u16, len: usize) -> Vec<(String, Module)> {
    let seed = u64::from(platform.id());
    let application = |content| {
        let builder = |index| ModuleBuilder::new(ModuleFunction::UserPart, index, 2).platform(platform).seeded_content(seed, content);
        match platform.family() {
            Family::Nrf52840 => builder(2).start(0xb_4000).needs(ModuleFunction::SystemPart, 1, os),
            Family::Rtl872x => {
                let start = RTL_END - u32::try_from(len).unwrap_or(0);
                let location = Extension::DynamicLocation { start, dynalib_load: 0, dynalib_start: start };
                builder(1).ends_at(RTL_END).suffix_extensions([location]).needs(ModuleFunction::SystemPart, 1, os)
            }
            Family::Stm32f2 if platform == Platform::Electron => builder(1).start(0x0808_0000).needs(ModuleFunction::SystemPart, 2, os),
            Family::Stm32f2 => builder(1).start(0x080a_0000).needs(ModuleFunction::SystemPart, 2, os),
            Family::Stm32f1 => builder(1).start(0x0800_5000),
        }
    };
    let built = |builder: ModuleBuilder| builder.build().expect("a module of our own making");
    // What header and suffix take: applications of RTL grow to the left from a fixed end and begin with a sector.
    let rest = built(application(1)).bytes().len() - 1;
    let mut all = vec![(format!("{platform}-application.bin"), built(application(len.saturating_sub(rest).max(1))))];
    if platform.family() == Family::Nrf52840 {
        let bootloader = ModuleBuilder::new(ModuleFunction::Bootloader, 0, 3200)
            .platform(platform)
            .start(0xf_4000)
            .vector_table(0x200)
            .seeded_content(seed + 1, 16 << 10);
        all.push((format!("{platform}-bootloader.bin"), built(bootloader)));
    }
    all
}

fn cloud_setup(scenario: &Scenario, password: &Secret<String>) -> Setup {
    let products = products(scenario);
    Setup {
        users: vec![UserSetup {
            name: scenario.cloud.owner.clone(),
            password: password.clone(),
            mfa: None,
            recovery_codes: Vec::new(),
            query_token: false,
            sso: false,
        }],
        devices: scenario
            .slots
            .values()
            .map(|slot| DeviceSetup {
                serial: slot.serial.clone(),
                owner: slot.owner.clone(),
                product: products
                    .get(&slot.platform.number())
                    .filter(|_| slot.imported)
                    .map(|product| product.id),
                protected: slot.protected,
                ..DeviceSetup::new(slot.id, slot.platform.number())
            })
            .collect(),
        products: products.into_values().collect(),
        ..Setup::default()
    }
}

/// The faults that a scenario names for its cloud, in the stand-in's own words.
fn faults(scenario: &Scenario) -> Vec<Fault> {
    let known = |fault: toml::Table| fault.try_into().expect("a scenario names faults that the stand-in knows");
    scenario.cloud.faults.iter().cloned().map(known).collect()
}

/// The products of a scenario by platform number; one of the bench's for each platform where it names none.
fn products(scenario: &Scenario) -> BTreeMap<u16, ProductSetup> {
    let role = match scenario.cloud.role {
        scenario::Role::Administrator => Role::Administrator,
        scenario::Role::Developer => Role::Developer,
        scenario::Role::ViewOnly => Role::ViewOnly,
        scenario::Role::Support => Role::Support,
    };
    let team = BTreeMap::from([(scenario.cloud.owner.clone(), role)]);
    let product = |id, slug: String, platform, device_protection| {
        (
            platform,
            ProductSetup {
                id,
                slug,
                platform,
                team: team.clone(),
                device_protection,
            },
        )
    };
    if scenario.cloud.products.is_empty() {
        let numbers = scenario.slots.values().map(|slot| slot.platform.number());
        return numbers
            .map(|n| product(BENCH_PRODUCT + u32::from(n), format!("bench-{n}"), n, false))
            .collect();
    }
    let named = scenario.cloud.products.iter();
    named
        .map(|p| product(p.id, p.slug.clone(), p.platform.number(), p.protected))
        .collect()
}

/// Applications of RTL devices end here (device-protocol.md 5.4).
const RTL_END: u32 = 0x0860_0000;
/// A rack has at least this many slots.
const LEAST_SLOTS: u16 = 8;

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
