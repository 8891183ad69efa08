//! Where a run can be cut: it counts the points of a run, and cuts at one of them.

use std::sync::{Arc, Mutex, PoisonError};

use keyrack::{
    edge::{Http, HttpError, Request, Response, http::Body},
    model::{Fact, Record, RunId, StepKind},
    sim::{
        clock::Group,
        cloud::DirectHttp,
        world::{Cut, Moment, POWER_CUT, TransferPoint},
    },
};

use crate::witness::Witness;

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
    pub(crate) point: Point,
    /// True if the transfer writes to the key store.
    pub(crate) writes: bool,
    /// True if nothing was written, put on record or sent to the cloud since the point before, which was of a transfer.
    pub(crate) follows: bool,
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
    pub(crate) witness: Witness,
    pub(crate) group: Arc<Group>,
    pub(crate) cut: Option<(Point, Way)>,
    pub(crate) broken: Option<Broken>,
    /// The only key that the cloud takes, if it refuses others.
    pub(crate) takes: Option<Option<Vec<u8>>>,
    pub(crate) state: Mutex<State>,
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
    pub(crate) done: bool,
    pub(crate) passed: Vec<Passed>,
}

impl Probe {
    fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
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
            self.witness.world.power_cut(None, POWER_CUT);
        }
        if way.station() {
            self.group.kill();
        }
    }

    /// Does what a broken station would do.
    fn spoil(&self, fact: &Fact) {
        match (self.broken, fact) {
            (Some(Broken::LosesUndo), Fact::UndoSealed { run, device, .. }) => {
                std::fs::remove_file(self.witness.undo.join(format!("{run}.{device}.undo"))).unwrap();
            }
            (Some(Broken::KeepsUndo), Fact::RunEnded { run, device, .. }) => {
                std::fs::write(
                    self.witness
                        .undo
                        .join(format!("{}.{device}.undo", RunId(uuid::Uuid::from_u128(run.0.as_u128() + 1)))),
                    "",
                )
                .unwrap();
            }
            (Some(Broken::KeepsPrivateKey), Fact::KeyRead { .. }) => {
                std::fs::write(self.witness.ledger.join("trace.log"), self.witness.dct()).unwrap();
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
            None => self.witness.ask(|reader| reader.records(record.seq, 1).unwrap().is_empty()),
        };
        if !last {
            self.with(|state| state.quiet = false);
        } else if let Some(way) = self.reach(Point::Record(record.seq), false) {
            self.strike(way);
        }
    }

    /// Asked by the world at each moment of each transfer.
    pub(crate) fn transfer(&self, at: &TransferPoint) -> Cut {
        let writes = self.witness.transfer(at);
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
}

/// The way to the cloud, with a cut before and after each call.
pub(crate) struct Line {
    pub(crate) inner: DirectHttp,
    pub(crate) probe: Arc<Probe>,
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
