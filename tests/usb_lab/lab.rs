//! A rack of modelled devices on the machine's virtual USB ports, with its cloud on loopback. Tests change the world in place,
//! as hands and power supplies do.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use keyrack::{
    cli::rig::{Options, Rig},
    cloud::{HttpConfig, ReqwestHttp},
    edge::{Attached, Bus, Clock, clock::SystemClock, entropy::SystemEntropy},
    model::{DeviceId, Mono, PortPath, SlotNo},
    sim::{
        cloud::https::{self, Server},
        device::Device,
        world::{
            World,
            hubs::Topology,
            scenario::Scenario,
            vhci::{self, Attachments, Controllers, Event},
        },
    },
};

/// The clock of all tests: real devices of a real kernel take real time.
pub(crate) static CLOCK: LazyLock<Arc<dyn Clock>> = LazyLock::new(|| Arc::new(SystemClock::new()));

/// A rack on the ports of this machine. Dropping it unplugs everything.
pub(crate) struct Lab {
    /// Devices, cloud, recipes.
    pub(crate) rig: Rig,
    /// The folder for the station: `station.toml` and what belongs to it, and whatever a test leaves.
    pub(crate) folder: tempfile::TempDir,
    /// The cloud's address.
    pub(crate) url: String,
    /// What the kernel refused.
    refused: Arc<Mutex<Vec<String>>>,
    topology: Topology,
    drawer: Mutex<BTreeMap<PortPath, Device>>,
    // First the devices leave, then the world ends.
    attachments: Option<Attachments>,
    _cloud: Server,
}

impl Lab {
    /// A rack with a slot for each text: the platform, then lines of a scenario's slot. All the devices belong to the bench.
    pub(crate) fn of(slots: &[&str]) -> Self {
        Self::scenario(&scenario(slots), &Options::default())
    }

    /// The rack of a scenario.
    pub(crate) fn scenario(text: &str, options: &Options) -> Self {
        let controllers = Controllers::find(Path::new(PLATFORM_DEVICES)).expect("the guest has virtual ports");
        let topology = controllers.topology();
        let scenario = Scenario::parse_on(text, topology).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        let world = World::in_real_time(Arc::clone(&CLOCK));
        let rig = Rig::build(scenario, world, Arc::new(SystemEntropy), options).unwrap();
        let cloud = https::serve(rig.cloud.clone(), CLOUD, false).unwrap();
        let http = ReqwestHttp::new(&HttpConfig {
            base: cloud.url.clone(),
            ca_pem: None,
            allow_plain_loopback: true,
        });
        let token = rig.log_in(&http.unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        rig.write_folder(folder.path(), &cloud.url, None, &token).unwrap();
        let refused = Arc::<Mutex<Vec<String>>>::default();
        let told = Arc::clone(&refused);
        let told = move |event: Event| {
            if let Event::Refused { port, why, .. } = event {
                told.lock().unwrap().push(format!("{port}: {why}"));
            }
        };
        let attachments = vhci::attach(&rig.world, controllers, Arc::clone(&CLOCK), Arc::new(told));
        rig.begin();
        Self {
            url: cloud.url.clone(),
            rig,
            folder,
            refused,
            topology,
            drawer: Mutex::default(),
            attachments: Some(attachments),
            _cloud: cloud,
        }
    }

    /// The world.
    pub(crate) fn world(&self) -> &World {
        &self.rig.world
    }

    /// The port of a slot.
    pub(crate) fn port(&self, slot: u16) -> PortPath {
        self.topology.port(slot)
    }

    /// The device that began in a slot.
    pub(crate) fn device(&self, slot: u16) -> DeviceId {
        self.rig.device_of(SlotNo(slot)).unwrap()
    }

    /// Looks at the model of a device, or changes it.
    pub(crate) fn look<R>(&self, slot: u16, look: impl FnOnce(&mut Device) -> R) -> R {
        self.world().with_device(self.device(slot), look).unwrap()
    }

    /// The station's configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("station.toml")
    }

    /// Pulls everything out but what is in this slot, and puts that in if it is out.
    pub(crate) fn only(&self, slot: u16) {
        let mut drawer = self.drawer.lock().unwrap();
        for (_, port) in self.world().devices() {
            if let Some(port) = port.filter(|port| *port != self.port(slot)) {
                drawer.insert(port.clone(), self.world().unplug(&port).unwrap());
            }
        }
        if let Some(device) = drawer.remove(&self.port(slot)) {
            self.world().plug(&self.port(slot), device).unwrap();
        }
        drop(drawer);
        self.settled(1);
    }

    /// Waits until the kernel shows so many devices, each with its strings, and the world no fewer.
    pub(crate) fn settled(&self, count: usize) {
        until("the kernel shows the devices", || {
            let refused = self.refused.lock().unwrap();
            assert!(refused.is_empty(), "{refused:?}");
            drop(refused);
            shown().len() == count && self.world().bus().list().unwrap().len() == count
        });
        // Foreign clients hear of them from udev, which takes its time.
        let settled = Command::new("udevadm").args(["settle", "--timeout=30"]).status().unwrap();
        assert!(settled.success(), "udev is not done with the devices");
    }

    /// What the world says of the device in a slot; `None` while it is off the bus.
    pub(crate) fn attached(&self, slot: u16) -> Option<Attached> {
        let port = self.port(slot);
        self.world().bus().list().unwrap().into_iter().find(|a| a.port == port)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.attachments.take());
        // The next test finds the ports empty. If they never are, it says so.
        let end = CLOCK.now() + LONGEST;
        while !shown().is_empty() && CLOCK.now() < end {
            CLOCK.sleep(PAUSE);
        }
    }
}

/// A scenario with a slot for each text, as [`Lab::of`] takes them.
pub(crate) fn scenario(slots: &[&str]) -> String {
    let mut text = "about = \"a rack in the lab\"\nseed = 41\n".to_owned();
    for (n, slot) in (1..).zip(slots) {
        let (platform, lines) = slot.split_once('\n').unwrap_or((slot, ""));
        text += &format!("[[slot]]\nnumber = {n}\nplatform = \"{platform}\"\nowner = \"{OWNER}\"\n{lines}\n");
        text += &format!("[[expect]]\nslot = {n}\nverdict = \"PASS\"\nkey = \"present-valid\"\nuploads = 1\n");
    }
    text
}

/// The serial numbers that the kernel shows, by the name that it has for the port.
pub(crate) fn shown() -> BTreeMap<String, String> {
    let entries = fs::read_dir("/sys/bus/usb/devices").unwrap().map_while(Result::ok);
    let devices = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        // A root hub has no port, an interface has a colon.
        let serial = (name.contains('-') && !name.contains(':')).then(|| fs::read_to_string(entry.path().join("serial")))?;
        Some((name, serial.ok()?.trim().to_owned()))
    });
    devices.collect()
}

/// Waits until this is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = CLOCK.now();
    while !is_so() {
        assert!(CLOCK.now().since(begun) < LONGEST, "never: {what}");
        CLOCK.sleep(PAUSE);
    }
    CLOCK.now().since(begun)
}

/// Now, on the clock of the tests.
pub(crate) fn now() -> Mono {
    CLOCK.now()
}

/// Where each cloud is, one after the other: the vendor's CLI remembers the first address that it was given.
pub(crate) const CLOUD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 18080);
/// Where the kernel shows its virtual host controllers.
pub(crate) const PLATFORM_DEVICES: &str = "/sys/devices/platform";
/// The account of the station.
pub(crate) const OWNER: &str = "operator@bench.test";
/// More than the kernel and a device that starts take together in an emulated machine.
const LONGEST: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
