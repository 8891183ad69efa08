//! The whole of `station.toml`.

use std::path::{Component, Path, PathBuf};

use super::{
    cloud::{self, Cloud},
    document::{Document, Table},
    error::ConfigErrors,
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
    /// The folder of the ledger.
    pub state: PathBuf,
    /// What becomes of the old key store while a new key is written.
    pub undo: Undo,
    /// The cloud.
    pub cloud: Cloud,
    /// The rack, by slot number.
    pub slots: Vec<RackSlot>,
    /// The recipes, at most one for each platform.
    pub recipes: Vec<RecipeSpec>,
    /// Who is at the station, until somebody says otherwise.
    pub operator: Option<String>,
    /// What was ordered, until somebody says otherwise.
    pub work_order: Option<WorkOrder>,
}

/// What becomes of the old key store while a new key is written (ARCHITECTURE.md 4.2, 4.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// A copy is sealed on disk, so that also a crash can be undone.
    Sealed {
        /// Folder of the copies.
        folder: PathBuf,
        /// File of the key that seals them.
        key_file: PathBuf,
    },
    /// It is kept in memory alone: after a crash the only way is forward.
    Memory,
}

impl Station {
    /// The ledger's file.
    pub fn ledger(&self) -> PathBuf {
        self.state.join("ledger.db")
    }

    /// The recipe for a platform.
    pub fn recipe_for(&self, platform: Platform) -> Option<&RecipeSpec> {
        self.recipes.iter().find(|recipe| recipe.platform == platform)
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

/// Reads a station file; relative paths start from `folder`.
pub(super) fn read(name: &str, folder: &Path, text: &str) -> Result<Station, ConfigErrors> {
    Document::read(name, text, |root| {
        let station = own_table(root, folder);
        let cloud = cloud::read(root);
        let slots = slot::read_all(root);
        let recipes = recipe::read_all(root, name);
        let operator = operator(root);
        let work_order = work_order(root);
        let (id, state, undo) = station?;
        let cloud = cloud?;
        Some(Station {
            folder: folder.to_owned(),
            id,
            state,
            undo,
            cloud: Cloud {
                token_file: cloud.token_file.map(|path| folder.join(path)),
                ca_file: cloud.ca_file.map(|path| folder.join(path)),
                ..cloud
            },
            slots: slots?,
            recipes: recipes?,
            operator: operator?,
            work_order: work_order?,
        })
    })
}

fn own_table(root: &Table<'_>, folder: &Path) -> Option<(StationId, PathBuf, Undo)> {
    let table = root
        .need("station", "a table [station] with id, state and undo")?
        .table("must be a table [station]")?;
    let id = table
        .need("id", ID)
        .and_then(|value| value.text(ID, |text| is_name(text, 32).then(|| StationId(text.to_owned()))));
    let state = table
        .need("state", STATE)
        .and_then(|value| value.path())
        .map(|path| folder.join(path));
    let undo = undo(&table, folder, state.as_deref());
    table.end();
    Some((id?, state?, undo?))
}

fn undo(table: &Table<'_>, folder: &Path, state: Option<&Path>) -> Option<Undo> {
    let sealed = table.get_or("undo", true, |value| value.choice(&[("sealed", true), ("memory", false)]));
    let (undo_folder, key_file) = (table.get("undo_folder"), table.get("undo_key"));
    if sealed == Some(false) {
        for value in [undo_folder, key_file].into_iter().flatten() {
            value.refuse::<()>("has no effect with undo = \"memory\": remove one of the two");
        }
        return Some(Undo::Memory);
    }
    let undo_folder = match undo_folder {
        Some(value) => value.path().map(|path| folder.join(path)),
        None => state.map(|state| state.join("undo")),
    };
    if key_file.is_none() && sealed.is_some() {
        table.need("undo_key", UNDO_KEY);
    }
    let key_file = key_file.and_then(|value| {
        let path = folder.join(value.path()?);
        let inside = |outer: &Path| plain(&path).starts_with(plain(outer));
        // A copy of the ledger's folder would have the key and what it seals.
        if state.is_some_and(inside) || undo_folder.as_deref().is_some_and(inside) {
            return value.refuse("must lie outside of the folders of the ledger (state) and of the undo copies");
        }
        Some(path)
    });
    sealed?;
    Some(Undo::Sealed {
        folder: undo_folder?,
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

/// The path without `.` and `..`, as far as that can be told without looking at the disk.
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
const STATE: &str = "the folder of the ledger, such as \"/var/lib/keyrack\"";
const UNDO_KEY: &str = "the file of the key that seals undo copies, outside of the ledger's folder; or undo = \"memory\"";
