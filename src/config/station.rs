//! The whole of `station.toml`.

use std::path::{Component, Path, PathBuf};

use super::{
    cloud::{self, ClientSpec, Cloud},
    document::{Document, Table},
    error::ConfigErrors,
    house::{self, House},
    recipe::{self, RecipeSpec},
    slot::{self, RackSlot},
    value::is_name,
};
use crate::model::{Platform, PortPath, StationId, recipe::WorkOrder};

/// A station as `station.toml` describes it. Paths are as usable from where the program runs, except those inside of
/// recipes: see [`Station::path`].
#[derive(Clone, Debug)]
pub struct Station {
    /// The folder of `station.toml`.
    pub folder: PathBuf,
    /// The station's name in records.
    pub id: StationId,
    /// The folder of everything that the station keeps; `None` leaves it to the system. The ledger has a folder of its
    /// own in it, [`LEDGER`].
    pub state: Option<PathBuf>,
    /// What becomes of the old key store while a new key is written.
    pub undo: Undo,
    /// The cloud.
    pub cloud: Cloud,
    /// The rack, by slot number.
    pub slots: Vec<RackSlot>,
    /// The recipes: at most one for each platform, and those on standby.
    pub recipes: Vec<RecipeSpec>,
    /// Who is at the station, until somebody says otherwise.
    pub operator: Option<String>,
    /// What was ordered, until somebody says otherwise.
    pub work_order: Option<WorkOrder>,
    /// The rules of the house.
    pub house: House,
}

/// What becomes of the old key store while a new key is written (ARCHITECTURE.md 4.2, 4.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// A copy is sealed on disk, so that also a crash can be undone.
    Sealed {
        /// Folder of the copies; `None` for `undo` in the state folder.
        folder: Option<PathBuf>,
        /// File of the key that seals them; `None` for `station.key` in the state folder.
        key_file: Option<PathBuf>,
    },
    /// It is kept in memory alone: after a crash the only way is forward.
    Memory,
}

impl Station {
    /// The usual recipe for a platform.
    pub fn recipe_for(&self, platform: Platform) -> Option<&RecipeSpec> {
        self.recipes
            .iter()
            .find(|recipe| recipe.platform == platform && !recipe.standby)
    }

    /// The slot at a port.
    pub fn slot_at(&self, port: &PortPath) -> Option<&RackSlot> {
        self.slots.iter().find(|slot| slot.port == *port)
    }

    /// Where a path of a recipe leads: recipes keep their paths as they are written, relative to `station.toml`.
    pub fn path(&self, written: &Path) -> PathBuf {
        self.folder.join(written)
    }
}

impl Undo {
    /// Folder of the copies and file of their key, when the station keeps its state in `state`; `None` if nothing is
    /// kept on disk.
    pub fn places(&self, state: &Path) -> Option<(PathBuf, PathBuf)> {
        match self {
            Undo::Sealed { folder, key_file } => Some((
                folder.clone().unwrap_or_else(|| state.join("undo")),
                key_file.clone().unwrap_or_else(|| state.join("station.key")),
            )),
            Undo::Memory => None,
        }
    }
}

/// The ledger's folder in the state folder. A backup is a copy of this folder: undo copies and their key lie elsewhere.
pub const LEDGER: &str = "ledger";

/// Reads a station file; relative paths start from `folder`.
pub(super) fn read(name: &str, folder: &Path, text: &str) -> Result<Station, ConfigErrors> {
    Document::read(name, text, |root| {
        let station = own_table(root, folder);
        let cloud = cloud::read(root);
        let slots = slot::read_all(root);
        let recipes = recipe::read_all(root, name);
        let operator = operator(root);
        let work_order = work_order(root);
        let house = house::read(root);
        let (id, state, undo) = station?;
        let (cloud, house) = (cloud?, house?);
        Some(Station {
            folder: folder.to_owned(),
            id,
            state,
            undo,
            cloud: Cloud {
                token_file: cloud.token_file.map(|path| folder.join(path)),
                ca_file: cloud.ca_file.map(|path| folder.join(path)),
                clients: cloud
                    .clients
                    .into_iter()
                    .map(|client| ClientSpec {
                        file: folder.join(client.file),
                        ..client
                    })
                    .collect(),
                ..cloud
            },
            slots: slots?,
            recipes: recipes?,
            operator: operator?,
            work_order: work_order?,
            house: House {
                engineers: house.engineers.map(|path| folder.join(path)),
                ..house
            },
        })
    })
}

fn own_table(root: &Table<'_>, folder: &Path) -> Option<(StationId, Option<PathBuf>, Undo)> {
    let table = root
        .need("station", "a table [station] with id")?
        .table("must be a table [station]")?;
    let id = table
        .need("id", ID)
        .and_then(|value| value.text(ID, |text| is_name(text, 32).then(|| StationId(text.to_owned()))));
    let state = table.optional("state", |value| value.path().map(|path| folder.join(path)));
    let undo = undo(&table, folder, state.as_ref().and_then(|state| state.as_deref()));
    table.end();
    Some((id?, state?, undo?))
}

fn undo(table: &Table<'_>, folder: &Path, state: Option<&Path>) -> Option<Undo> {
    let sealed = table.get_or("undo", true, |value| value.choice(&[("sealed", true), ("memory", false)]));
    let (copies, key_file) = (table.get("undo_folder"), table.get("undo_key"));
    if sealed == Some(false) {
        for value in [copies, key_file].into_iter().flatten() {
            value.refuse::<()>("has no effect with undo = \"memory\": remove one of the two");
        }
        return Some(Undo::Memory);
    }
    let ledger = state.map(|state| state.join(LEDGER));
    // Whoever gets a copy of the ledger must get neither the undo copies nor their key with it.
    let with_ledger = |path: &Path| ledger.as_deref().is_some_and(|ledger| lies_in(path, ledger));
    let copies = copies.map_or(Some(None), |value| {
        let path = folder.join(value.path()?);
        if with_ledger(&path) {
            return value.refuse("must lie outside of the ledger's folder, which is \"ledger\" in the folder of state");
        }
        Some(Some(path))
    });
    let beside = || state.map(|state| state.join("undo"));
    let copies_at = copies.as_ref().and_then(|copies| copies.clone().or_else(beside));
    let key_file = key_file.map_or(Some(None), |value| {
        let path = folder.join(value.path()?);
        if with_ledger(&path) {
            return value.refuse("must lie outside of the ledger's folder, which is \"ledger\" in the folder of state");
        }
        if copies_at.is_some_and(|copies| lies_in(&path, &copies)) {
            return value.refuse("must lie outside of the folder of the undo copies, which it seals");
        }
        Some(Some(path))
    });
    sealed?;
    Some(Undo::Sealed {
        folder: copies?,
        key_file: key_file?,
    })
}

fn operator(root: &Table<'_>) -> Option<Option<String>> {
    let Some(value) = root.get("operator") else {
        return Some(None);
    };
    let table = value.table("must be a table [operator] with name")?;
    let name = table.need("name", "who is at the station").and_then(|value| value.words(64));
    table.end();
    name.map(Some)
}

fn work_order(root: &Table<'_>) -> Option<Option<WorkOrder>> {
    let Some(value) = root.get("work_order") else {
        return Some(None);
    };
    let table = value.table("must be a table [work_order] with id and quantity")?;
    let id = table
        .need("id", "the number or name of the order")
        .and_then(|value| value.words(64));
    let product = table.optional("product", |value| value.product());
    let quantity = table
        .need("quantity", "how many devices are ordered")
        .and_then(|value| value.number(1..=1_000_000u32));
    table.end();
    Some(Some(WorkOrder {
        id: id?,
        product: product?,
        quantity: quantity?,
    }))
}

/// True if a path leads into a folder, as far as that can be told without looking at the disk: a path from the root and
/// one from here are not compared.
fn lies_in(path: &Path, folder: &Path) -> bool {
    let (path, folder) = (plain(path), plain(folder));
    let above = |path: &Path| path.starts_with("..");
    path.is_absolute() == folder.is_absolute() && path.starts_with(&folder) && (!above(&path) || above(&folder))
}

/// The path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

const ID: &str = "must be a name of 1 to 32 letters, digits and -_., such as \"line-1\"";
