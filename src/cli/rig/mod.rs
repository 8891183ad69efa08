//! A simulated rack with everything that a station on it needs: what the demo, the scenario tests and the crash tests
//! share. It only puts together; what happens is up to the station and the simulated world.

mod cloud;
mod firmware;
mod folder;
mod judge;

pub(super) use folder::private_folder;

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use crate::{
    cloud::login,
    edge::{Entropy, Http},
    firmware::sha256_of,
    model::{
        DeviceId, Platform, PortPath, ProductId, Secret, SlotNo, StationId,
        platform::{Network, Transport},
        recipe::{
            Aim, FirmwareFile, KeyPolicy, ProtectedPolicy, Recipe, Repair, ServerPolicy, ServerSettings, Timeouts, Wifi,
            WorkOrder,
        },
    },
    rack::{Book, Rules, Setting},
    sim::{
        cloud::StandIn,
        device::{Device, DeviceMishap, Spec, StartKey, StartServer, Timing},
        world::{
            World,
            scenario::{self, Scenario, Slot},
        },
    },
    station::{
        Clients, Shelf,
        shelf::{ShelfError, prepare},
    },
};

/// How the recipes of a rig differ from the usual.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the runs are for, unless the scenario says it. A repair flashes nothing, and finds the product by itself
    /// unless devices are moved to it; that of a scenario is for the product of its platform.
    pub aim: Aim,
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
    /// What to do with protected devices.
    pub protected: ProtectedPolicy,
    /// Real modules in place of generated ones, where this folder has some that go together.
    pub real_firmware: Option<PathBuf>,
    /// How long devices take; `None` leaves that to the scenario.
    pub timing: Option<Timing>,
    /// Limits of the recipes.
    pub timeouts: Timeouts,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            aim: Aim::Provision,
            keys: KeyPolicy::ReadOrGenerate,
            server: true,
            firmware: true,
            application: 48 << 10,
            prove: true,
            finish_owed: false,
            protected: ProtectedPolicy::SetAside,
            real_firmware: None,
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
    /// What is worth saying about how it was built.
    pub notes: Vec<String>,
}

/// A rack as it stands, apart from any world: a crash test makes thousands of equal ones from it, and keys take time.
#[derive(Clone)]
pub struct Stored {
    scenario: Scenario,
    devices: Vec<(PortPath, Device)>,
    cloud: String,
    start: BTreeMap<DeviceId, Start>,
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
    /// # Errors
    /// If a folder with real firmware cannot be read.
    ///
    /// # Panics
    /// If the scenario contradicts itself: scenarios are checked when they are parsed.
    pub fn build(scenario: Scenario, world: World, entropy: Arc<dyn Entropy>, options: &Options) -> io::Result<Self> {
        let mut scenario = scenario;
        if options.real_firmware.is_some() {
            // The real system part for Argon lies where systems before 6.2.0 do; there is no way back from 6.2.0 over DFU.
            let argons = scenario
                .slots
                .values_mut()
                .filter(|slot| slot.platform.number() == Platform::Argon.id());
            argons.for_each(|slot| slot.os = DEVICE_OS_5_5);
        }
        let mut random = [0; 16];
        entropy.fill(&mut random);
        let password = Secret::new(hex(&random));
        let cloud = StandIn::new(world.clock(), Arc::clone(&entropy), cloud::setup(&scenario, &password));
        world.set_cloud(Arc::new(cloud.clone()));
        let mut start = BTreeMap::new();
        let timing = options.timing.clone().unwrap_or_else(|| scenario.pace.timing());
        for (number, slot) in &scenario.slots {
            let tcp = slot.platform.tcp();
            let stand_in = StartServer::Set {
                spki: cloud.server_spki(tcp),
                host: cloud.server_host(tcp),
            };
            let mut device = Device::new(spec(&scenario, slot, &stand_in), timing.clone());
            if let Some(other) = slot.shows_id_of.and_then(|n| scenario.slots.get(&n)) {
                device.inject(DeviceMishap::ReturnsAsOtherId(other.id));
            }
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
            notes: Vec::new(),
        };
        rig.write_recipes(options)?;
        Ok(rig)
    }

    /// The rack as it stands: devices in their ports, and what the cloud remembers.
    pub fn store(&self) -> Stored {
        let devices = self.world.devices().into_iter();
        Stored {
            scenario: self.scenario.clone(),
            devices: devices
                .filter_map(|(id, port)| Some((port?, self.world.with_device(id, |device| device.clone())?)))
                .collect(),
            cloud: self.cloud.to_json(),
            start: self.start.clone(),
            recipes: self.recipes.clone(),
            files: self.files.clone(),
            password: self.password.clone(),
        }
    }

    /// From here on things go wrong as the scenario says. The station has its token by now.
    pub fn begin(&self) {
        for fault in cloud::faults(&self.scenario) {
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
            work_order: self.scenario.ordered.map(|quantity| WorkOrder {
                id: "scenario".to_owned(),
                product: None,
                quantity,
            }),
            import_chunk: 500,
            rules: Rules::default(),
        }
    }

    /// The ports of the rack: those of the devices, and the empty slots beside them, where one may be plugged in later.
    fn ports(&self) -> BTreeMap<SlotNo, PortPath> {
        let most = self.scenario.slots.keys().max().copied().unwrap_or(0).max(LEAST_SLOTS);
        let slots = (1..=most).map(|n| {
            (
                SlotNo(n),
                self.scenario
                    .slots
                    .get(&n)
                    .map_or_else(|| self.scenario.topology.port(n), |slot| slot.port.clone()),
            )
        });
        slots.collect()
    }

    /// Logs in with the station's account.
    ///
    /// # Errors
    /// If the cloud refuses.
    pub fn log_in(&self, http: &dyn Http) -> Result<login::Token, login::LoginError> {
        login::password(http, &self.scenario.cloud.owner, &self.password, None, &mut || None)
    }

    /// The device that began in a slot.
    pub fn device_of(&self, slot: SlotNo) -> Option<DeviceId> {
        self.start.iter().find(|(_, start)| start.slot == slot).map(|(id, _)| *id)
    }

    fn write_recipes(&mut self, options: &Options) -> io::Result<()> {
        let keys = self
            .scenario
            .keys
            .as_ref()
            .map_or(options.keys, |text| text.parse().expect("a scenario names a key policy"));
        let (aim, named) = match &self.scenario.repair {
            Some(repair) => (Aim::Repair(written(repair)), true),
            None => (
                options.aim.clone(),
                !matches!(&options.aim, Aim::Repair(repair) if repair.from.is_empty()),
            ),
        };
        let repairs = aim != Aim::Provision;
        let finish_owed = options.finish_owed || self.scenario.finish_owed;
        let protected = if self.scenario.service_mode {
            ProtectedPolicy::ServiceMode
        } else {
            options.protected
        };
        let without: Vec<u16> = self.scenario.without_recipe.iter().map(|p| p.number()).collect();
        let platforms: Vec<(Platform, u16)> = platforms(&self.scenario);
        for (platform, os) in platforms {
            if without.contains(&platform.id()) {
                continue;
            }
            let mut listed = Vec::new();
            if options.firmware && !repairs {
                let mut files = Vec::new();
                if let Some(folder) = &options.real_firmware {
                    files = firmware::real(folder, platform, &mut self.notes)?;
                    if files.is_empty() {
                        self.notes
                            .push(format!("{platform}: no real firmware there, generated modules are used"));
                    }
                }
                if files.is_empty() {
                    files = firmware::generated(platform, os, options.application);
                }
                for (name, module) in files {
                    let bytes: Arc<[u8]> = module.file().into();
                    listed.push(FirmwareFile {
                        name: name.clone(),
                        sha256: sha256_of(&bytes),
                    });
                    self.files.insert(name, bytes);
                }
            }
            let product = cloud::recipe_product(&self.scenario, platform.id());
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
                aim: aim.clone(),
                product: product.filter(|_| named).map(|number| ProductId(number.to_string())),
                activate_sim: !repairs && platform.row().network == Network::Cellular,
                firmware: listed,
                keys,
                server,
                protected: if platform.row().protection {
                    protected
                } else {
                    ProtectedPolicy::SetAside
                },
                wifi: Some(Wifi {
                    ssid: "bench".to_owned(),
                    password: None,
                }),
                prove: options.prove,
                finish_owed,
                timeouts: options.timeouts.clone(),
            });
        }
        Ok(())
    }
}

impl Rig {
    /// The clients by which tokens of customers are asked for.
    pub fn clients(&self) -> Clients {
        let mut clients = Clients::default();
        for (product, client) in cloud::clients(&self.scenario) {
            clients.insert(ProductId(product.to_string()), client);
        }
        clients
    }
}

impl Stored {
    /// Sets the rack up in an empty world. The devices start anew, as after a power cut.
    ///
    /// # Panics
    /// If the world is not empty.
    pub fn set_up(&self, world: World, entropy: Arc<dyn Entropy>) -> Rig {
        let cloud = StandIn::from_json(world.clock(), entropy, &self.cloud).expect("the stand-in reads what it wrote");
        world.set_cloud(Arc::new(cloud.clone()));
        for (port, device) in &self.devices {
            world
                .plug(port, device.clone())
                .expect("the ports of an empty world are empty");
        }
        Rig {
            scenario: self.scenario.clone(),
            world,
            cloud,
            start: self.start.clone(),
            recipes: self.recipes.clone(),
            files: self.files.clone(),
            password: self.password.clone(),
            notes: Vec::new(),
        }
    }
}

/// What a scenario says of its repairs, as a recipe has it.
fn written(repair: &scenario::Repair) -> Repair {
    let word = serde_json::Value::from(repair.work.as_str());
    Repair {
        work: serde_json::from_value(word).expect("a scenario names a work of recipes"),
        from: repair.from.iter().map(|number| ProductId(number.to_string())).collect(),
        reference: None,
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

/// The device model's view of a device. A copy has the bytes of the key slot that it is a copy of.
fn spec(scenario: &Scenario, slot: &Slot, stand_in: &StartServer) -> Spec {
    let spec = slot.spec(scenario.seed, stand_in);
    let Some(other) = slot.same_key_as.and_then(|n| scenario.slots.get(&n)) else {
        return spec;
    };
    let original = Device::new(other.spec(scenario.seed, stand_in), Timing::instant());
    let key = private_slot(other, original.dct()).to_vec();
    Spec {
        key: StartKey::Raw(key),
        ..spec
    }
}

/// The private key slot of a device, out of its key store.
fn private_slot<'a>(slot: &Slot, dct: &'a [u8]) -> &'a [u8] {
    let platform = Platform::from_id(slot.platform.number()).expect("a platform of the table");
    let private = platform.key_segments(platform.row().transport).private;
    &dct[private.offset as usize..(private.offset + private.len) as usize]
}

/// Device OS 5.5.0 as a module version (device-protocol.md 5.6).
const DEVICE_OS_5_5: u16 = 5501;
/// A rack has at least this many slots.
const LEAST_SLOTS: u16 = 8;

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
