//! Does one harm in one run: it counts the points of the run, harms one of them, keeps a list of all calls, and looks at
//! those that take a device from its owner or give it back.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use keyrack::{
    edge::{
        Clock, Http, HttpError, Method, Request, Response,
        http::{Auth, Body},
    },
    model::{Fact, Mono, PortPath, Record, Secret},
    sim::{
        clock::{Group, VirtualClock},
        cloud::{BENCH_CLIENT, BENCH_CLIENT_SECRET, DirectHttp},
        world::{Cut, Moment, POWER_CUT, TransferPoint},
    },
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    bench::Bench,
    case::{ACCOUNT, OTHER},
    harm::{Harm, Ill, Kind, Point, Sent, Way},
    prepare::Prepared,
    witness::Witness,
};

/// Harms one run.
pub(crate) struct Doom {
    pub(crate) witness: Witness,
    harm: Option<Harm>,
    owner: Option<String>,
    product: Option<u32>,
    port: PortPath,
    clock: VirtualClock,
    login: Secret<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    station: usize,
    group: Option<Arc<Group>>,
    calls: u32,
    writes: u32,
    struck: bool,
    /// Until when everything ends badly.
    until: Option<Mono>,
    /// What the cloud refuses from now on.
    refused: Option<Kind>,
    /// The token that is not accepted.
    spent: Option<String>,
    /// Somebody else has the device.
    taken: bool,
    /// The device had been released when the harm was done.
    released: bool,
    over: bool,
    passed: Vec<Point>,
    sent: Vec<Sent>,
}

impl Doom {
    pub(crate) fn new(bench: &Bench, prepared: &Prepared, harm: Option<Harm>) -> Arc<Self> {
        let inner = DirectHttp::new(bench.rig.cloud.clone());
        Arc::new(Self {
            witness: Witness::new(bench, prepared.device),
            harm,
            owner: prepared.place.1.clone(),
            product: prepared.place.0,
            port: bench.rig.scenario.slots[&1].port.clone(),
            clock: bench.clock.clone(),
            login: bench.rig.log_in(&inner).unwrap().secret,
            state: Mutex::default(),
        })
    }

    /// The next station begins, in this group.
    pub(crate) fn begin(&self, group: &Arc<Group>) {
        let mut state = self.state();
        if state.group.replace(Arc::clone(group)).is_some() {
            state.station += 1;
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn lift(&self) {
        let mut state = self.state();
        (state.over, state.refused, state.spent, state.until) = (true, None, None, None);
    }

    pub(crate) fn harm(&self) -> Option<Harm> {
        self.harm
    }

    /// The harm was done.
    pub(crate) fn struck(&self) -> bool {
        self.state().struck
    }

    /// Somebody else has the device.
    pub(crate) fn taken(&self) -> bool {
        self.state().taken
    }

    /// The device had been released when the harm was done.
    pub(crate) fn late(&self) -> bool {
        self.state().released
    }

    pub(crate) fn passed(&self) -> Vec<Point> {
        self.state().passed.clone()
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.state().sent.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self) {
        let group = self.state().group.clone().unwrap();
        group.kill();
    }

    /// True if this is the point to harm, which it is once.
    fn strikes(&self, is: impl Fn(Harm) -> bool) -> bool {
        let mut state = self.state();
        let strikes = !state.struck && !state.over && self.harm.is_some_and(is);
        if strikes {
            state.struck = true;
            state.released = state
                .sent
                .iter()
                .any(|sent| matches!(sent.kind, Kind::Release | Kind::Remove) && sent.done);
        }
        strikes
    }

    /// Shown each record by the bench.
    pub(crate) fn record(&self, record: &Record) {
        if self.state().station > 0 {
            return;
        }
        // All of a transaction are on disk when the first of them is shown: only the last one is a place of its own.
        let last = match self.harm {
            Some(Harm::Record(wanted, _)) => wanted == record.seq,
            Some(Harm::Call(..) | Harm::Write(..)) => return,
            None => self.witness.ask(|reader| reader.records(record.seq, 1).unwrap().is_empty()),
        };
        if !last || matches!(record.fact, Fact::StationStarted { .. }) {
            return;
        }
        self.state().passed.push(Point::Record(record.seq));
        let Some(Harm::Record(_, way)) = self.harm else { return };
        if !self.strikes(|harm| harm == Harm::Record(record.seq, way)) {
            return;
        }
        match way {
            Way::Station | Way::Anew => self.kill(),
            Way::Both => {
                self.witness.world.power_cut(None, POWER_CUT);
                self.kill();
            }
            Way::Away => {
                let device = self.witness.world.unplug(&self.port).unwrap();
                let (world, clock, port) = (self.witness.world.clone(), self.clock.clone(), self.port.clone());
                let back = move || {
                    clock.sleep(AWAY);
                    world.plug(&port, device).unwrap();
                };
                drop(self.clock.spawn("hands", Box::new(back)));
            }
            Way::Device => self.witness.world.power_cut(None, POWER_CUT),
        }
    }

    /// Asked by the world at each moment of each transfer.
    pub(crate) fn transfer(&self, at: &TransferPoint) -> Cut {
        if !self.witness.transfer(at) || at.moment != Moment::During {
            return Cut::None;
        }
        let number = {
            let mut state = self.state();
            if state.station > 0 || state.over {
                return Cut::None;
            }
            state.writes += 1;
            let number = state.writes - 1;
            state.passed.push(Point::Write(number));
            number
        };
        match self.harm {
            Some(Harm::Write(at, Way::Device, _)) if at == number && self.strikes(|_| true) => Cut::Devices,
            Some(Harm::Write(at, ..)) if at == number && self.strikes(|_| true) => Cut::Both,
            _ => Cut::None,
        }
    }

    /// A request on its way to the cloud, and its answer on its way back.
    fn call(&self, http: &DirectHttp, request: &Request) -> Result<Response, HttpError> {
        let kind = Kind::of(request);
        let number = {
            let mut state = self.state();
            let counts = state.station == 0 && kind != Kind::LogIn && !state.over;
            state.calls += u32::from(counts);
            let number = state.calls.wrapping_sub(1);
            if counts {
                state.passed.push(Point::Call(number, kind));
            }
            counts.then_some(number)
        };
        let ill = match self.harm {
            Some(Harm::Call(at, ill)) if number == Some(at) && self.strikes(|_| true) => Some(ill),
            _ => None,
        };
        self.fall_ill(http, ill, request, kind);
        match kind {
            Kind::Release => self.before_release(),
            Kind::Remove
                if self
                    .witness
                    .cloud
                    .place(self.witness.device)
                    .is_some_and(|place| place.1.is_some()) =>
            {
                self.witness.wrong("R1: a removal of a device that somebody owns".to_owned());
            }
            _ => {}
        }
        let effect = ill != Some(Ill::LostBefore);
        let answer = match self.verdict(request, kind) {
            Some(bad) => bad,
            None if effect => http.call(request),
            None => Err(lost()),
        };
        self.note(request, kind, &answer);
        match ill {
            Some(Ill::Cut) => {
                self.kill();
                answer
            }
            Some(Ill::LostAfter) => Err(lost()),
            Some(Ill::LostThenRefused) => {
                self.state().refused = Some(kind);
                Err(lost())
            }
            _ => answer,
        }
    }

    /// What begins with this call.
    fn fall_ill(&self, http: &DirectHttp, ill: Option<Ill>, request: &Request, kind: Kind) {
        let now = self.clock.now();
        match ill {
            Some(Ill::Refused) => self.state().refused = Some(kind),
            Some(Ill::TooMany | Ill::Unavailable) => self.state().until = Some(now + STORM),
            Some(Ill::Outage) => self.state().until = Some(now + OUTAGE),
            Some(Ill::Spent) => self.state().spent = bearer(request),
            Some(Ill::Snatched)
                if self
                    .witness
                    .cloud
                    .place(self.witness.device)
                    .is_some_and(|place| place.1.is_none()) =>
            {
                self.hand_over(http);
            }
            Some(Ill::PassedOn) if self.owner.is_some() => {
                let own = self.owner.as_deref();
                if self
                    .witness
                    .cloud
                    .place(self.witness.device)
                    .is_some_and(|place| place.1.as_deref() == own)
                {
                    let product = self.product.unwrap();
                    let path = format!("/v1/products/{product}/devices/{}/owner", self.witness.device);
                    self.by_others(http, Method::Delete, &path, &self.login, Body::Empty);
                    self.hand_over(http);
                }
            }
            _ => {}
        }
    }

    /// The other customer claims the device, by the calls that anybody may make.
    fn hand_over(&self, http: &DirectHttp) {
        let ask = Request {
            auth: Auth::Basic {
                id: format!("{BENCH_CLIENT}-{}", self.product.unwrap()),
                secret: Secret::new(BENCH_CLIENT_SECRET.to_owned()),
            },
            body: Body::Form(vec![
                ("grant_type".to_owned(), Secret::new("client_credentials".to_owned())),
                ("scope".to_owned(), Secret::new(format!("customer={OTHER}"))),
            ]),
            ..Request::new(Method::Post, "/oauth/token")
        };
        let token = token_in(&http.call(&ask).unwrap()).unwrap();
        let claim = Body::Json(json!({ "id": self.witness.device.to_string() }));
        self.by_others(http, Method::Post, "/v1/devices", &token, claim);
        self.by_others(http, Method::Delete, "/v1/access_tokens/current", &token, Body::Empty);
        self.state().taken = true;
    }

    fn by_others(&self, http: &DirectHttp, method: Method, path: &str, token: &Secret<String>, body: Body) {
        let request = Request {
            auth: Auth::Bearer(token.clone()),
            body,
            ..Request::new(method, path)
        };
        let status = http.call(&request).unwrap().status;
        assert!(status < 300, "{request:?}: {status}");
    }

    /// The answer in place of the right one.
    fn verdict(&self, request: &Request, kind: Kind) -> Option<Result<Response, HttpError>> {
        let now = self.clock.now();
        let state = self.state();
        if state.until.is_some_and(|until| now < until) {
            return Some(match self.harm {
                Some(Harm::Call(_, Ill::Outage)) => Err(HttpError::Unreachable("no route to host".to_owned())),
                Some(Harm::Call(_, Ill::TooMany)) => Ok(reply(429, "Too many requests")),
                _ => Ok(Response {
                    body: Vec::new(),
                    ..reply(503, "")
                }),
            });
        }
        if state.spent.is_some() && state.spent == bearer(request) {
            return Some(Ok(Response {
                body: br#"{"error":"invalid_token","error_description":"The access token provided has expired."}"#.to_vec(),
                ..reply(401, "")
            }));
        }
        (state.refused == Some(kind)).then(|| {
            Ok(match kind {
                Kind::CustomerToken => Response {
                    body: br#"{"error":"invalid_client","error_description":"Client credentials are invalid"}"#.to_vec(),
                    ..reply(400, "")
                },
                Kind::Claim => reply(403, "That belongs to someone else."),
                _ => reply(403, "Permission Denied"),
            })
        })
    }

    /// A device is taken from its owner only when it can be given back (ARCHITECTURE.md 4.9).
    fn before_release(&self) {
        let (station, device) = (self.state().station, self.witness.device);
        let owner = self.witness.cloud.place(device).and_then(|place| place.1);
        let holds = |sent: &Sent| sent.station == station && sent.obtained.is_some() && sent.obtained == owner;
        if owner.is_some() && !self.state().sent.iter().any(holds) {
            self.witness
                .wrong("R2: a release before there was a token of the customer".to_owned());
        }
        let records = self.witness.ask(|reader| reader.records(0, u32::MAX).unwrap());
        let sealed = records.iter().rev().find_map(|record| match &record.fact {
            Fact::RestoreSealed { run, sha256, .. } => Some((*run, *sha256)),
            _ => None,
        });
        let kept = sealed.is_some_and(|(run, sha256)| {
            let path = self.witness.undo.join("restore").join(format!("{run}.{device}.undo"));
            Sha256::digest(std::fs::read(path).unwrap_or_default())[..] == sha256.0
        });
        if !kept {
            self.witness
                .wrong("R2: a release before what the device must get back was on disk".to_owned());
        }
    }

    fn note(&self, request: &Request, kind: Kind, answer: &Result<Response, HttpError>) {
        let good = answer.as_ref().ok().filter(|response| response.status < 300);
        let log_in = (kind == Kind::LogIn && good.is_some()).then(|| ACCOUNT.to_owned());
        let customer = (kind == Kind::CustomerToken && good.is_some()).then(|| match &request.body {
            Body::Form(fields) => fields
                .iter()
                .find_map(|(_, value)| value.expose().strip_prefix("customer="))
                .unwrap_or_default()
                .to_owned(),
            _ => String::new(),
        });
        let obtained = log_in.or(customer);
        let token = match (kind, good) {
            (Kind::CustomerToken | Kind::LogIn, Some(response)) => token_in(response).map(|token| token.expose().clone()),
            _ => bearer(request),
        };
        let mut state = self.state();
        let station = state.station;
        if kind == Kind::Claim {
            self.claims(&state.sent, request, token.as_deref());
        }
        state.sent.push(Sent {
            station,
            kind,
            what: format!("{request:?}"),
            token,
            obtained,
            done: good.is_some(),
        });
    }

    /// A claim is made by nobody but the owner of before, and never asks for a transfer.
    fn claims(&self, sent: &[Sent], request: &Request, token: Option<&str>) {
        let by = sent
            .iter()
            .rev()
            .find(|one| one.obtained.is_some() && one.token.as_deref() == token)
            .and_then(|one| one.obtained.clone());
        // Whoever had it when it was taken gets it back: the other one only if the owner passed it on before.
        let passed_on = matches!(self.harm, Some(Harm::Call(_, Ill::PassedOn)));
        let may = [self.owner.as_deref(), passed_on.then_some(OTHER)];
        if by.is_none() || !may.contains(&by.as_deref()) {
            self.witness
                .wrong(format!("R1: a claim with the wrong token, that of {by:?}"));
        }
        let text = match &request.body {
            Body::Json(body) => body.to_string(),
            Body::Form(fields) => format!("{:?}", fields.iter().map(|(name, _)| name).collect::<Vec<_>>()),
            _ => String::new(),
        };
        if text.contains("transfer") || request.query.iter().any(|(name, _)| name.contains("transfer")) {
            self.witness.wrong("R1: a request for the transfer of the device".to_owned());
        }
    }
}

/// The way to the cloud, with all that befalls it.
pub(crate) struct Line {
    pub(crate) inner: DirectHttp,
    pub(crate) doom: Arc<Doom>,
}

impl Http for Line {
    fn call(&self, request: &Request) -> Result<Response, HttpError> {
        self.doom.call(&self.inner, request)
    }
}

fn bearer(request: &Request) -> Option<String> {
    match &request.auth {
        Auth::Bearer(token) => Some(token.expose().clone()),
        _ => None,
    }
}

fn token_in(response: &Response) -> Option<Secret<String>> {
    let body: serde_json::Value = serde_json::from_slice(&response.body).ok()?;
    body["access_token"].as_str().map(|token| Secret::new(token.to_owned()))
}

fn lost() -> HttpError {
    HttpError::Lost("connection reset by peer".to_owned())
}

fn reply(status: u16, error: &str) -> Response {
    Response {
        status,
        headers: Vec::new(),
        body: json!({ "ok": false, "error": error }).to_string().into_bytes(),
    }
}

/// How long a device is out of its slot.
pub(crate) const AWAY: Duration = Duration::from_secs(300);
/// How long the cloud is busy.
const STORM: Duration = Duration::from_secs(40);
/// Longer than a device is waited with.
const OUTAGE: Duration = Duration::from_secs(1500);
