//! Where a run can be cut: it counts the points of a run, and cuts at one of them. At every write to a key store it also
//! checks what must be on disk before.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use keyrack::{
    edge::{Http, HttpError, Request, Response, http::Body},
    model::{DeviceId, Fact, Fingerprint, Record, RunId, StepKind},
    sim::{
        clock::Group,
        cloud::{DirectHttp, StandIn},
        world::{Cut, Moment, POWER_CUT, Phase, TransferPoint, World},
    },
    store::Reader,
};
use sha2::{Digest, Sha256};

/// A place where a run can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Point {
    /// After the transaction that ends with this record, before anything is done because of it.
    Record(u64),
    /// A wire transfer of the key steps, counted from 0.
    Transfer(u32, When),
    /// A cloud call of the key steps, counted from 0.
    Call(u32, When),
}

/// Where in a transfer or call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum When {
    Before,
    During,
    After,
}

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Way {
    Station,
    Devices,
    Both,
    /// Both, and the station starts again only after the devices had run for a while.
    BothLate,
}

impl Way {
    pub(crate) fn station(self) -> bool {
        self != Way::Devices
    }

    fn cut(self) -> Cut {
        match self {
            Way::Station => Cut::Station,
            Way::Devices => Cut::Devices,
            Way::Both | Way::BothLate => Cut::Both,
        }
    }
}

/// A point that a traced run came by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    pub point: Point,
    /// True if the transfer writes to the key store.
    pub writes: bool,
    /// True if nothing was written, put on record or sent to the cloud since the point before, which was of a transfer.
    pub follows: bool,
}

/// What a station does wrong, to prove that it is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It takes a key as accepted that never reached the cloud.
    UploadsNothing,
    /// Its undo copies do not stay.
    LosesUndo,
    /// It leaves undo copies behind.
    KeepsUndo,
    /// It writes private bytes beside the ledger.
    KeepsPrivateKey,
}

/// Watches one run.
pub(crate) struct Probe {
    pub world: World,
    pub cloud: StandIn,
    pub device: DeviceId,
    pub ledger: PathBuf,
    pub undo: PathBuf,
    pub group: Arc<Group>,
    pub cut: Option<(Point, Way)>,
    pub broken: Option<Broken>,
    /// The only key that the cloud takes, if it refuses others.
    pub takes: Option<Option<Vec<u8>>>,
    pub state: Mutex<State>,
    /// One connection for all questions of a run.
    pub reader: Mutex<Option<Reader>>,
    /// The keys of slots that were asked before: deriving one takes longer than all the rest.
    pub derived: Mutex<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
}

/// What it saw.
#[derive(Default)]
pub(crate) struct State {
    /// The key steps are under way.
    open: bool,
    plan: Vec<StepKind>,
    transfers: u32,
    calls: u32,
    quiet: bool,
    /// The cut was made.
    pub done: bool,
    pub passed: Vec<Passed>,
    pub wrong: Vec<String>,
}

impl Probe {
    fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn wrong(&self, what: String) {
        self.with(|state| state.wrong.push(what));
    }

    /// True if this is the point to cut at, which it is once.
    fn reach(&self, point: Point, writes: bool) -> Option<Way> {
        self.with(|state| {
            if state.done {
                return None;
            }
            let follows = state.quiet;
            state.quiet = matches!(point, Point::Transfer(..)) && !writes;
            state.passed.push(Passed { point, writes, follows });
            let (_, way) = self.cut.filter(|(wanted, _)| *wanted == point)?;
            state.done = true;
            Some(way)
        })
    }

    /// Cuts here and now, from a thread of the station.
    fn strike(&self, way: Way) {
        if way.cut() != Cut::Station {
            self.world.power_cut(None, POWER_CUT);
        }
        if way.station() {
            self.group.kill();
        }
    }

    /// Does what a broken station would do.
    fn spoil(&self, fact: &Fact) {
        match (self.broken, fact) {
            (Some(Broken::LosesUndo), Fact::UndoSealed { run, device, .. }) => {
                std::fs::remove_file(self.undo.join(format!("{run}.{device}.undo"))).unwrap();
            }
            (Some(Broken::KeepsUndo), Fact::RunEnded { run, device, .. }) => {
                std::fs::write(
                    self.undo
                        .join(format!("{}.{device}.undo", RunId(uuid::Uuid::from_u128(run.0.as_u128() + 1)))),
                    "",
                )
                .unwrap();
            }
            (Some(Broken::KeepsPrivateKey), Fact::KeyRead { .. }) => {
                let dct = self.world.with_device(self.device, |device| device.dct().to_vec()).unwrap();
                std::fs::write(self.ledger.join("trace.log"), dct).unwrap();
            }
            _ => {}
        }
    }

    /// Shown each record by the bench.
    pub(crate) fn record(&self, record: &Record) {
        self.spoil(&record.fact);
        self.with(|state| match &record.fact {
            Fact::RunStarted { plan, .. } => state.plan.clone_from(plan),
            Fact::StepStarted { step, .. } => match state.plan.get(usize::from(*step)) {
                Some(StepKind::ReadKey) => state.open = true,
                Some(StepKind::Boot) => state.open = false,
                _ => {}
            },
            Fact::RunEnded { .. } => state.open = false,
            _ => {}
        });
        if self.with(|state| state.done) {
            return;
        }
        // All of a transaction are on disk when the first of them is shown: only the last one is a place of its own.
        let last = match self.cut {
            Some((wanted, _)) => wanted == Point::Record(record.seq),
            None => self.ask(|reader| reader.records(record.seq, 1).unwrap().is_empty()),
        };
        if !last {
            self.with(|state| state.quiet = false);
        } else if let Some(way) = self.reach(Point::Record(record.seq), false) {
            self.strike(way);
        }
    }

    /// Asked by the world at each moment of each transfer.
    pub(crate) fn transfer(&self, at: &TransferPoint) -> Cut {
        let key = at.phase == Some(Phase::KeyWrite);
        let writes = key || at.phase == Some(Phase::DctWrite);
        if writes {
            match at.moment {
                Moment::Before => self.before_write(key),
                Moment::During => {}
                Moment::After => self.after_write(),
            }
        }
        let point = self.with(|state| {
            let open = state.open;
            let when = match at.moment {
                Moment::Before => When::Before,
                Moment::During => When::During,
                Moment::After => When::After,
            };
            if open && when == When::Before {
                state.transfers += 1;
            }
            (open && state.transfers > 0 && (when != When::During || writes)).then(|| Point::Transfer(state.transfers - 1, when))
        });
        let way = point.and_then(|point| self.reach(point, writes));
        way.map_or(Cut::None, Way::cut)
    }

    /// Asks the disk.
    pub(crate) fn ask<R>(&self, question: impl FnOnce(&Reader) -> R) -> R {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        question(reader.get_or_insert_with(|| Reader::open(&self.ledger).expect("a ledger")))
    }

    /// The key that the slot holds now.
    pub(crate) fn slot_key(&self) -> Option<Vec<u8>> {
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        let dct = self
            .world
            .with_device(self.device, |device| device.dct()[..SLOTS_END].to_vec())
            .unwrap();
        let derive = || self.world.with_device(self.device, |device| device.key_spki()).unwrap();
        derived.entry(dct).or_insert_with(derive).clone()
    }

    /// True if the ledger has this key of the device.
    pub(crate) fn in_ledger(&self, spki: &[u8]) -> bool {
        let rows = self.ask(|reader| reader.key_rows(fingerprint(spki)).unwrap());
        rows.iter().any(|row| row.device == self.device)
    }

    /// Nothing is written to a key store before the old state is accounted for.
    fn before_write(&self, key: bool) {
        let kept = self.ask(|reader| reader.kept_undo_copies().unwrap());
        let kept = kept.into_iter().find(|row| row.device == self.device);
        let Some(kept) = kept else {
            return self.wrong("I4: a write to the key store without an undo copy on record".to_owned());
        };
        let path = self.undo.join(format!("{}.{}.undo", kept.run, self.device));
        let sealed = std::fs::read(&path).unwrap_or_default();
        if Sha256::digest(&sealed)[..] != kept.sha256.0 {
            self.wrong("I4: a write to the key store without its undo copy on disk".to_owned());
        }
        let Some(spki) = self.slot_key() else { return };
        if !self.in_ledger(&spki) {
            self.wrong("I3: a write to the key store while the slot holds a key that the ledger does not know".to_owned());
        }
        let rows = self.ask(|reader| reader.key_rows(fingerprint(&spki)).unwrap());
        let made_here = rows.iter().any(|row| row.origin == keyrack::store::Origin::Made);
        let accepted = self
            .cloud
            .uploads(self.device)
            .iter()
            .any(|upload| upload.accepted && upload.spki == spki);
        // One that the device made after a write had lost its key store is worth less than the key of before.
        let stopgap = self
            .world
            .with_device(self.device, |device| {
                device.counters().torn > 0 && device.counters().keys_made > 0
            })
            .unwrap();
        if key && !made_here && !accepted && !stopgap {
            self.wrong("I4: a key that the cloud never accepted is overwritten".to_owned());
        }
    }

    /// Whatever was written is in the ledger since before.
    fn after_write(&self) {
        if let Some(spki) = self.slot_key()
            && !self.in_ledger(&spki)
        {
            self.wrong("I3: a key was written that the ledger does not know".to_owned());
        }
    }
}

/// The way to the cloud, with a cut before and after each call.
pub(crate) struct Line {
    pub inner: DirectHttp,
    pub probe: Arc<Probe>,
}

impl Http for Line {
    fn call(&self, request: &Request) -> Result<Response, HttpError> {
        let number = self.probe.with(|state| {
            state.calls += u32::from(state.open);
            state.open.then(|| state.calls - 1)
        });
        let at = |when| {
            if let Some(way) = number.and_then(|n| self.probe.reach(Point::Call(n, when), false)) {
                self.probe.strike(way);
            }
        };
        at(When::Before);
        let result = match &self.probe.takes {
            Some(only) if uploaded(request).is_some_and(|key| Some(&key) != only.as_ref()) => Ok(refusal()),
            _ if self.probe.broken == Some(Broken::UploadsNothing) && uploaded(request).is_some() => Ok(Response {
                status: 200,
                headers: Vec::new(),
                body: br#"{"ok":true}"#.to_vec(),
            }),
            _ => self.inner.call(request),
        };
        at(When::After);
        result
    }
}

/// The key that a request uploads, if it does.
fn uploaded(request: &Request) -> Option<Vec<u8>> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let Body::Form(fields) = &request.body else { return None };
    let (_, pem) = fields.iter().find(|(name, _)| name == "publicKey")?;
    let text: String = pem.expose().lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(text).ok()
}

fn refusal() -> Response {
    Response {
        status: 400,
        headers: Vec::new(),
        body: br#"{"ok":false,"error":"this key will not do"}"#.to_vec(),
    }
}

pub(crate) fn fingerprint(spki: &[u8]) -> Fingerprint {
    Fingerprint(Sha256::digest(spki).into())
}

/// The private key slots of both transports end before this (device-protocol.md 4.1).
const SLOTS_END: usize = 3298;
