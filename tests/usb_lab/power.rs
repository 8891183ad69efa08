//! One stretch of work between two power cuts of the whole machine. `scripts/usb-lab power` boots the guest with the ledger on
//! a disk of its own and runs this; in the middle of it the kernel is made to restart at once, and what was not synced is lost.
//! The next boot goes on. World and cloud live on: at the instant of a cut they are stored on the host, devices without power.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use keyrack::{
    cli::rig::{Options, Rig},
    cloud::{HttpConfig, ReqwestHttp},
    edge::entropy::SystemEntropy,
    model::{DeviceId, Fact, Fingerprint, Verdict, outbox::Answer},
    sim::{
        cloud::{
            StandIn,
            https::{self, Server},
        },
        world::{
            Cut, Moment, Phase, World,
            scenario::Scenario,
            vhci::{self, Attachments, Controllers},
        },
    },
    store::{Reader, UndoVault},
};
use serde_json::Value;

use super::{
    lab::{CLOCK, CLOUD, PLATFORM_DEVICES},
    process::{Program, text},
};

/// Where the power is cut, in this order, over as many racks as it takes.
const MOMENTS: [When; 22] = [
    When::Fact("run-started"),
    When::Wire(Phase::FlashWrite, Moment::During),
    When::Fact("step-ended"),
    When::Fact("key-read"),
    When::Wire(Phase::DctRead, Moment::During),
    When::Fact("item-queued"),
    When::Fact("item-sent"),
    When::Fact("item-answered"),
    When::Fact("undo-sealed"),
    When::Fact("key-intended"),
    When::Wire(Phase::KeyWrite, Moment::Before),
    When::Wire(Phase::KeyWrite, Moment::During),
    When::Wire(Phase::KeyWrite, Moment::After),
    When::Fact("key-written"),
    When::Fact("item-sent"),
    When::Fact("item-answered"),
    When::Wire(Phase::DctWrite, Moment::During),
    When::Wire(Phase::Leave, Moment::After),
    When::Fact("step-started"),
    When::Wire(Phase::Status, Moment::After),
    When::Wire(Phase::Request, Moment::During),
    When::Fact("run-ended"),
];

#[derive(Clone, Copy, Debug)]
enum When {
    /// The station says that this is on disk.
    Fact(&'static str),
    /// A transfer of this phase is at this moment.
    Wire(Phase, Moment),
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fact(kind) => write!(f, "when {kind} is on disk"),
            Self::Wire(phase, Moment::Before) => write!(f, "before {phase:?}"),
            Self::Wire(phase, Moment::During) => write!(f, "in the middle of {phase:?}"),
            Self::Wire(phase, Moment::After) => write!(f, "after {phase:?}"),
        }
    }
}

/// A rack with its cloud, new or as the last cut left it.
struct Rack {
    world: World,
    cloud: StandIn,
    folder: PathBuf,
    devices: Vec<DeviceId>,
    start: BTreeMap<String, Fingerprint>,
    _server: Server,
    attachments: Option<Attachments>,
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab power"]
fn one_stretch() {
    let (Some(lasting), Some(disk)) = (std::env::var_os("KEYRACK_LASTING"), std::env::var_os("KEYRACK_DISK")) else {
        panic!("scripts/usb-lab power says where things are");
    };
    let (lasting, disk) = (PathBuf::from(lasting), PathBuf::from(disk));
    let next = count(&lasting.join("next"));
    let number = count(&lasting.join("rack"));
    let state = disk.join(format!("rack-{number}"));
    let rack = Rack::set_up(&lasting.join(format!("rack-{number}")));
    if next > 0 && state.exists() {
        rack.after_a_cut(&state);
    }
    let left = rack.devices.len() - ended(&state).len();
    let config = rack.folder.join("station.toml");
    let arguments = [
        "run",
        "--headless",
        "--config",
        text(&config),
        "--devices",
        &left.to_string(),
        "--state",
        text(&state),
    ];

    let station = Arc::<OnceLock<u32>>::default();
    let cut = {
        let (world, cloud, folder, station) = (
            rack.world.clone(),
            rack.cloud.clone(),
            rack.folder.clone(),
            Arc::clone(&station),
        );
        let once = AtomicBool::new(false);
        move || {
            if once.swap(true, Ordering::SeqCst) {
                return;
            }
            // From here on the station does nothing, and the devices have no power.
            let id = station.wait().to_string();
            assert!(Command::new("kill").args(["-s", "STOP", &id]).status().unwrap().success());
            world.power_cut(None, FOR_GOOD);
            world.save(&folder.join("world")).unwrap();
            fs::write(folder.join("cloud.json"), cloud.to_json()).unwrap();
            fs::write(lasting.join("next"), (next + 1).to_string()).unwrap();
            tell(&folder, &format!("cut {}: rack {number}, {}", next + 1, MOMENTS[next]));
            fs::write("/proc/sysrq-trigger", "b").unwrap();
            CLOCK.sleep(FOR_GOOD);
        }
    };
    let cut = Arc::new(cut);
    let when = MOMENTS.get(next).copied();
    if let Some(When::Wire(phase, moment)) = when {
        let cut = Arc::clone(&cut);
        rack.world.observe(Arc::new(move |point| {
            if point.phase == Some(phase) && point.moment == moment {
                cut();
            }
            Cut::None
        }));
    }
    if left > 0 {
        let mut program = Program::start(&arguments, &rack.folder);
        station.set(program.id()).unwrap();
        let fits = |line: &Value| matches!(when, Some(When::Fact(kind)) if line["fact"]["fact"] == kind);
        if program.wait_for(fits).is_some() {
            cut();
        }
        assert_eq!(program.end().code(), Some(0), "{}", program.complaints());
    }
    // It was through before the next cut came.
    rack.required(&state);
    tell(
        &rack.folder,
        &format!("rack {number} is done: device, cloud and ledger agree"),
    );
    let lasting = rack.folder.parent().unwrap();
    fs::write(lasting.join("rack"), (number + 1).to_string()).unwrap();
}

impl Rack {
    fn set_up(folder: &Path) -> Self {
        let controllers = Controllers::find(Path::new(PLATFORM_DEVICES)).unwrap();
        let world = World::in_real_time(Arc::clone(&CLOCK));
        let stored = folder.join("cloud.json");
        let (cloud, server);
        if stored.exists() {
            let text = fs::read_to_string(&stored).unwrap();
            cloud = StandIn::from_json(Arc::clone(&CLOCK), Arc::new(SystemEntropy), &text).unwrap();
            server = https::serve(cloud.clone(), CLOUD, false).unwrap();
            world.set_cloud(Arc::new(cloud.clone()));
            assert!(world.load(&folder.join("world")).unwrap() > 0);
        } else {
            let scenario = Scenario::parse_on(SCENARIO, controllers.topology()).unwrap();
            // A small application: the power is to fail in all that comes after it, too.
            let options = Options {
                application: 12 << 10,
                ..Options::default()
            };
            let rig = Rig::build(scenario, world.clone(), Arc::new(SystemEntropy), &options).unwrap();
            cloud = rig.cloud.clone();
            server = https::serve(cloud.clone(), CLOUD, false).unwrap();
            let http = ReqwestHttp::new(&HttpConfig {
                base: server.url.clone(),
                ca_pem: None,
                allow_plain_loopback: true,
            });
            let token = rig.log_in(&http.unwrap()).unwrap();
            fs::create_dir_all(folder).unwrap();
            rig.write_folder(folder, &server.url, None, &token).unwrap();
            let start = rig
                .start
                .iter()
                .map(|(id, start)| (id.to_string(), print(start.spki.as_deref().unwrap())));
            let start: BTreeMap<_, _> = start.map(|(id, print)| (id, print.to_string())).collect();
            fs::write(folder.join("start.json"), serde_json::to_vec(&start).unwrap()).unwrap();
        }
        let start: BTreeMap<String, String> = serde_json::from_slice(&fs::read(folder.join("start.json")).unwrap()).unwrap();
        let attachments = vhci::attach(&world, controllers, Arc::clone(&CLOCK), Arc::new(|_| {}));
        Self {
            devices: world.devices().into_iter().map(|(id, _)| id).collect(),
            start: start.into_iter().map(|(id, print)| (id, print.parse().unwrap())).collect(),
            world,
            cloud,
            folder: folder.to_owned(),
            _server: server,
            attachments: Some(attachments),
        }
    }

    fn held(&self, device: DeviceId) -> Option<Fingerprint> {
        self.world
            .with_device(device, |d| d.key_spki())
            .unwrap()
            .as_deref()
            .map(print)
    }

    /// What must hold when the machine has just come up: the power was really cut; the ledger is whole; it has each record that
    /// the station ever said it has; and it knows each key that a device holds and that is not the one it came with.
    fn after_a_cut(&self, state: &Path) {
        let kernel = Command::new("dmesg").output().unwrap().stdout;
        let replayed = String::from_utf8_lossy(&kernel).contains("EXT4-fs (vda): recovery complete");
        assert!(replayed, "the disk of the ledger came up as after an orderly end");
        let ledger = state.join("ledger");
        if !ledger.exists() {
            return;
        }
        let reader = Reader::open(&ledger).unwrap();
        let wrong = reader.verify(&mut |_| {}).unwrap();
        assert!(wrong.is_empty(), "the ledger is not what its journal says: {wrong:?}");
        let records = reader.records(0, u32::MAX).unwrap();
        let facts: BTreeMap<u64, Value> = records
            .iter()
            .map(|record| (record.seq, serde_json::to_value(&record.fact).unwrap()))
            .collect();
        let said = self.said();
        for (seq, fact) in &said {
            assert_eq!(facts.get(seq), Some(fact), "record {seq} was said to be on disk");
        }
        let mut known = 0;
        for device in &self.devices {
            let Some(held) = self.held(*device) else { continue };
            let fits = held == self.start[&device.to_string()] || !reader.key_rows(held).unwrap().is_empty();
            assert!(fits, "{device} holds a key that the ledger does not know");
            known += 1;
        }
        let (all, said) = (records.len(), said.len());
        tell(
            &self.folder,
            &format!("  up again: {all} records, {said} of them announced, all there; {known} keys in devices, all known"),
        );
    }

    /// What the stations on this rack announced as being on disk, by the number of the record.
    fn said(&self) -> BTreeMap<u64, Value> {
        let files = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let output = files.filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("stdout-"))
        });
        let text: String = output.map(|path| fs::read_to_string(path).unwrap() + "\n").collect();
        // The last line of one whose power was cut may be half a line.
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["event"] == "fact")
            .map(|mut line| (line["seq"].as_u64().unwrap(), line["fact"].take()))
            .collect()
    }

    /// What an undisturbed run leaves.
    fn required(&self, state: &Path) {
        let reader = Reader::open(&state.join("ledger")).unwrap();
        let wrong = reader.verify(&mut |_| {}).unwrap();
        assert!(wrong.is_empty(), "the ledger is not what its journal says: {wrong:?}");
        assert!(reader.owed(u32::MAX).unwrap().is_empty(), "nothing is owed");
        for device in &self.devices {
            let row = reader.device(*device).unwrap().expect("a row for each device");
            assert_eq!(row.last_verdict, Some(Verdict::Pass), "{device}: {:?}", row.last_code);
            let held = self.held(*device).expect("the device holds a key");
            assert_ne!(held, self.start[&device.to_string()], "{device}: a new key");
            assert_eq!(row.key_accepted, Some(held), "{device}: ledger and device agree");
            let registered = self.cloud.registered(*device).as_deref().map(print);
            assert_eq!(registered, Some(held), "{device}: cloud and device agree");
            let records = reader.device_records(*device, None, u32::MAX).unwrap();
            // One after the other: a station that comes up begins anew only with a device whose run was over, and that is still
            // plugged in.
            let (mut runs, mut open) = (0, false);
            for record in records.iter().rev() {
                match record.fact {
                    Fact::RunStarted { .. } => {
                        assert!(!open, "{device}: a run was begun anew, and not resumed");
                        (runs, open) = (runs + 1, true);
                    }
                    Fact::RunEnded { .. } => open = false,
                    _ => {}
                }
            }
            assert!(runs >= 1 && !open, "{device}: {runs} runs");
            let lost = |fact: &Fact| {
                matches!(
                    fact,
                    Fact::ItemAnswered {
                        answer: Answer::Ambiguous { .. },
                        ..
                    }
                )
            };
            let lost = records.iter().filter(|record| lost(&record.fact)).count();
            let imports = self.cloud.imports(*device).len();
            assert!(
                imports <= runs + lost,
                "{device}: imported {imports} times in {runs} runs, and {lost} answers were lost"
            );
        }
        for folder in ["undo", "undo/restore"] {
            let kept = UndoVault::open(&state.join(folder)).unwrap().list().unwrap().len();
            assert_eq!(kept, 0, "nothing is kept in {folder}");
        }
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        drop(self.attachments.take());
    }
}

/// The devices that have their verdict.
fn ended(state: &Path) -> BTreeSet<DeviceId> {
    let ledger = state.join("ledger");
    if !ledger.exists() {
        return BTreeSet::new();
    }
    let records = Reader::open(&ledger).unwrap().records(0, u32::MAX).unwrap();
    let of = |fact: Fact| {
        if let Fact::RunEnded { device, .. } = fact {
            Some(device)
        } else {
            None
        }
    };
    records.into_iter().filter_map(|record| of(record.fact)).collect()
}

/// Leaves a line for the script that boots the guest.
fn tell(rack: &Path, line: &str) {
    let path = rack.parent().unwrap().join("told");
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    writeln!(file, "{line}").unwrap();
}

fn count(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.trim().parse().unwrap())
}

fn print(spki: &[u8]) -> Fingerprint {
    keyrack::keys::parse_public(spki).unwrap().fingerprint
}

/// Two devices of the families that write keys differently, whose keys are replaced.
const SCENARIO: &str = r#"
about = "Two devices get new keys while the power fails again and again."
seed = 47
keys = "generate"
[[slot]]
number = 1
platform = "argon"
[[slot]]
number = 2
platform = "photon"
os = "2.3.1"
[[expect]]
slot = 1
verdict = "PASS"
key = "new"
uploads = 2
[[expect]]
slot = 2
verdict = "PASS"
key = "new"
uploads = 2
"#;
/// Longer than anything in the lab.
const FOR_GOOD: Duration = Duration::from_secs(3600);
