//! A station out of its configuration: bus, cloud, ledger, recipes with their firmware. Nothing of it is touched but the
//! ledger's lock.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Context,
    cloud::{Access, CloudArgs},
    error::CliError,
    places,
    repair::{Job, Server},
    rig::private_folder,
};
use crate::{
    cloud::{Api, Metered, client_file, limits::TokenBucket},
    config::{self, recipe_from_text},
    device::UsbBus,
    edge::{
        Attached, Bus, BusError, Clock, Entropy, Http, HttpError, Pipe, Request, Response, Signal, UsbError, clock::SystemClock,
        entropy::SystemEntropy,
    },
    keys::seal::StationKey,
    model::{Fact, ProductId, Secret, SlotNo, recipe::WorkOrder, scan::Patterns},
    rack::{Rules, Setting},
    sim::world::remote::RemoteBus,
    station::{
        Clients, Pairs, Pins, Shelf, Tuning, World,
        shelf::prepare,
        undo::{MemoryUndo, NoCopies, SealedUndo},
    },
    steps::UndoCopies,
    store::{EngineersFile, Options, Store, UndoVault, station_key},
    tui::Place,
};

/// What the command line says otherwise than the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    /// Who is at the station.
    pub(super) operator: Option<String>,
    /// What was ordered.
    pub(super) work_order: Option<WorkOrder>,
    /// Where the cloud is, and the token for it.
    pub(super) cloud: CloudArgs,
    /// The socket of a simulated world, in place of the USB ports of this machine.
    pub(super) world: Option<PathBuf>,
    /// A repair in place of what the recipes say.
    pub(super) job: Option<Job>,
    /// The only slots that count; none are all.
    pub(super) slots: Vec<SlotNo>,
    /// Nothing is done with devices: there are neither slots nor ports, and no recipe but those of runs under way.
    pub(super) no_devices: bool,
    /// Private halves that a person hands over.
    pub(super) pairs: Pairs,
}

/// All that [`crate::station::Station::start`] takes.
pub(super) struct Parts {
    /// Everything outside of us.
    pub(super) world: World,
    /// The ledger, open and locked.
    pub(super) store: Store,
    /// What the core is told.
    pub(super) setting: Setting,
    /// Recipes and firmware.
    pub(super) shelf: Shelf,
    /// How the station works.
    pub(super) tuning: Tuning,
    /// Where each slot is on the rack.
    pub(super) places: Vec<Place>,
    /// How badges and work orders look.
    pub(super) patterns: Patterns,
}

/// Puts a station together.
///
/// # Errors
/// Everything that is wrong with the configuration at once, or the first thing that is wrong outside of it.
pub(super) fn station(path: &Path, overrides: &Overrides, context: &Context) -> Result<Parts, CliError> {
    let mut config = config::load(path)?;
    if let Some(unknown) = overrides
        .slots
        .iter()
        .find(|slot| config.slots.iter().all(|s| s.number != **slot))
    {
        return Err(CliError::UnknownSlot { slot: *unknown });
    }
    if let Some(job) = &overrides.job {
        config.recipes = job.recipes(&config);
    }
    if overrides.no_devices {
        config.recipes.clear();
        config.slots.clear();
    }
    let counts = |slot: SlotNo| overrides.slots.is_empty() || overrides.slots.contains(&slot);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let bus = match overrides.no_devices {
        true => Arc::new(NoPorts(Signal::new())),
        false => bus(overrides.world.as_deref(), &clock)?,
    };
    // A field bench has neither a token nor a cloud that it may talk to.
    let cloud = overrides.job.as_ref().is_none_or(Job::asks_the_cloud);
    let api = if cloud {
        api(&config, overrides, context, &clock)?
    } else {
        Api::new(Arc::new(NoCloud), Secret::new(String::new()))
    };
    let clients = if cloud { clients(&config, &api)? } else { Clients::default() };
    let state = places::state(
        context.globals.state.as_deref(),
        config.state.as_deref(),
        &context.environment,
    )?;
    let folder = places::ledger(&state);
    private_folder(&state).map_err(|source| CliError::File {
        doing: "make",
        path: state.clone(),
        source,
    })?;
    let store = Store::open(&folder, config.id.clone(), Options::default())?;
    let pins = Pins::new(engineers(&config, &state));
    let Copies { undo, restore } = undo(&config, &state, &folder, &entropy)?;
    let shelf = shelf(&config, &store)?;
    let setting = Setting {
        station: config.id.clone(),
        ports: config
            .slots
            .iter()
            .filter(|slot| counts(slot.number))
            .map(|slot| (slot.number, slot.port.clone()))
            .collect(),
        book: shelf.book.clone(),
        operator: config.operator.clone(),
        work_order: config.work_order.clone(),
        import_chunk: usize::try_from(config.cloud.import_chunk).unwrap_or(usize::MAX),
        rules: Rules {
            // What a command repairs one by one is looked at one by one.
            stop_after: config.house.stop_after.filter(|_| overrides.job.is_none()),
            pins: pins.exist()?,
            engineer_for: config.house.engineer_for,
            operator_now: overrides.operator.clone(),
            work_order_now: overrides.work_order.clone(),
        },
    };
    let places = config.slots.iter().map(place).collect();
    let world = World {
        clock,
        entropy,
        bus,
        api: Arc::new(api),
        undo,
        restore,
        clients,
        pairs: overrides.pairs.clone(),
        pins,
    };
    Ok(Parts {
        world,
        store,
        setting,
        shelf,
        tuning: Tuning::default(),
        places,
        patterns: config.house.patterns,
    })
}

/// The file of the engineers.
pub(super) fn engineers(config: &config::Station, state: &Path) -> EngineersFile {
    EngineersFile::new(config.house.engineers.clone().unwrap_or_else(|| state.join(ENGINEERS)))
}

/// The ports: those of this machine, or of a simulated world.
///
/// # Errors
/// If there are none, or they cannot be used.
pub(super) fn bus(world: Option<&Path>, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Bus>, CliError> {
    Ok(match world {
        Some(socket) => Arc::new(RemoteBus::connect(socket, Arc::clone(clock))?),
        None => Arc::new(UsbBus::start(Arc::clone(clock))?),
    })
}

/// The ports of a station without devices.
struct NoPorts(Signal);

impl Bus for NoPorts {
    fn list(&self) -> Result<Vec<Attached>, BusError> {
        Ok(Vec::new())
    }

    fn changed(&self) -> Signal {
        self.0.clone()
    }

    fn open(&self, _: &Attached) -> Result<Box<dyn Pipe>, UsbError> {
        Err(UsbError::Gone)
    }
}

/// The way to the cloud of a command that has none.
struct NoCloud;

impl Http for NoCloud {
    fn call(&self, _: &Request) -> Result<Response, HttpError> {
        Err(HttpError::Unreachable("this command does not talk to the cloud".to_owned()))
    }
}

/// Where each slot is on the rack, for the screen.
pub(super) fn place(slot: &config::RackSlot) -> Place {
    Place {
        slot: slot.number,
        position: slot.position.map(|at| (u16::from(at.row), u16::from(at.column))),
        label: slot.label.clone(),
    }
}

fn api(config: &config::Station, overrides: &Overrides, context: &Context, clock: &Arc<dyn Clock>) -> Result<Api, CliError> {
    let access = Access::new(&overrides.cloud, Some(config), context)?;
    let token = access.token()?;
    let bucket = TokenBucket::general(config.cloud.requests_per_second);
    let http: Arc<dyn Http> = Arc::new(Metered::new(access.http()?, Arc::clone(clock), bucket));
    let api = Api::new(http, token.token.clone());
    // Whose token it is tells which owner is ours; without an answer the first look of each run says the same.
    match token.username {
        Some(name) => api.set_account(name),
        None => {
            if let Ok(name) = api.user() {
                api.set_account(name);
            }
        }
    }
    Ok(api)
}

/// The OAuth clients, each under both names of its product where the cloud tells them: a recipe may use either, and the
/// cloud tells of a device's product by its number.
fn clients(config: &config::Station, api: &Api) -> Result<Clients, CliError> {
    let mut clients = Clients::default();
    for spec in &config.cloud.clients {
        let client = client_file::read(&spec.file).map_err(|source| CliError::Client {
            product: spec.product.clone(),
            source,
        })?;
        if let Ok(product) = api.product(&spec.product) {
            clients.insert(ProductId(product.id.to_string()), client.clone());
            product
                .slug
                .into_iter()
                .for_each(|slug| clients.insert(ProductId(slug), client.clone()));
        }
        clients.insert(spec.product.clone(), client);
    }
    Ok(clients)
}

/// Undo copies and restore data: of one kind, in a folder each.
struct Copies {
    undo: Arc<dyn UndoCopies>,
    restore: Arc<dyn UndoCopies>,
}

fn undo(config: &config::Station, state: &Path, ledger: &Path, entropy: &Arc<dyn Entropy>) -> Result<Copies, CliError> {
    let Some((folder, key_file)) = config.undo.places(state) else {
        return Ok(Copies {
            undo: Arc::new(MemoryUndo::default()),
            restore: Arc::new(NoCopies),
        });
    };
    let key = station_key(&key_file, ledger, || {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        Secret::new(bytes)
    })?;
    let sealed = |folder: &Path| -> Result<Arc<dyn UndoCopies>, CliError> {
        let key = StationKey::new(key.clone());
        Ok(Arc::new(SealedUndo::new(UndoVault::open(folder)?, key, Arc::clone(entropy))))
    };
    Ok(Copies {
        undo: sealed(&folder)?,
        restore: sealed(&folder.join(RESTORE))?,
    })
}

/// The recipes of the configuration, and those of runs that are still open under another text.
fn shelf(config: &config::Station, store: &Store) -> Result<Shelf, CliError> {
    let read = |path: &Path| fs::read(config.path(path));
    let mut shelf = Shelf::default();
    for spec in &config.recipes {
        let resolved = spec.resolve(&read)?;
        let ready = prepare(resolved.recipe, &resolved.firmware)?;
        if spec.standby {
            shelf.offer_standby(ready);
        } else {
            shelf.offer(ready);
        }
    }
    // What a person can ask for at the screen; a recipe that cannot repair is no reason not to provision.
    for spec in Job::new(None, Server::Usual).recipes(config) {
        let ready = spec.resolve(&read).map_err(CliError::from);
        if let Ok(ready) = ready.and_then(|resolved| Ok(prepare(resolved.recipe, &resolved.firmware)?)) {
            shelf.offer_repair(ready);
        }
    }
    let open = store.open_records()?;
    let hashes = open.iter().filter_map(|record| match record.fact {
        Fact::RunStarted { recipe, .. } => Some(recipe),
        _ => None,
    });
    for hash in hashes.collect::<BTreeSet<_>>() {
        if shelf.book.by_hash(hash).is_some() {
            continue;
        }
        // A run whose firmware is gone is told so when its device is back; the others go on.
        let Some((_, text)) = store.recipe(hash)? else { continue };
        let old = recipe_from_text(&text).and_then(|spec| spec.resolve(&read));
        if let Ok(ready) = old
            .map_err(CliError::from)
            .and_then(|r| prepare(r.recipe, &r.firmware).map_err(CliError::from))
        {
            shelf.keep(ready);
        }
    }
    Ok(shelf)
}

/// The folder of restore data, beside the undo copies.
const RESTORE: &str = "restore";
/// The file of the engineers, in the folder of state.
const ENGINEERS: &str = "engineers";
