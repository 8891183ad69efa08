//! Recipes with the firmware that they need, parsed, checked and put in order before the first device is plugged in.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    firmware::{Bundle, BundleError, Module, ModuleError, Piece, Plan, PlanError, Skipped, Way, plan::Target},
    model::{
        StepKind,
        fact::Protection,
        module::Dependency,
        platform::UsbMode,
        recipe::{ProtectedPolicy, Recipe, Sha256},
    },
    rack::{Book, Prepared},
};

/// Recipes and their firmware, ready to use.
#[derive(Debug, Default)]
pub struct Shelf {
    /// The recipes.
    pub book: Book,
    pieces: BTreeMap<Sha256, Pieces>,
}

/// The firmware of a recipe.
#[derive(Debug)]
struct Pieces {
    plain: Vec<Piece>,
    /// The same for protected devices: with the bootloader that keeps them protected.
    protected: Vec<Piece>,
}

/// A recipe that is ready, with what is worth saying about it.
#[derive(Debug)]
pub struct Ready {
    prepared: Prepared,
    pieces: Pieces,
    /// Modules of its files that are left out, and why.
    pub skipped: Vec<Skipped>,
}

/// Why the firmware of a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The file of a recipe is not the one that it names.
    #[error("firmware file {name} has SHA-256 {found}, the recipe names {wanted}")]
    OtherFile {
        /// The file.
        name: String,
        /// Its hash.
        found: Sha256,
        /// The recipe's.
        wanted: Sha256,
    },
    /// A file of the recipe was not given.
    #[error("firmware file {name} is missing")]
    Missing {
        /// The file.
        name: String,
    },
    /// A file is no module.
    #[error("could not read firmware file {name}")]
    Module {
        /// The file.
        name: String,
        /// Why.
        #[source]
        source: ModuleError,
    },
    /// A file is no bundle.
    #[error("could not read firmware bundle {name}")]
    Bundle {
        /// The file.
        name: String,
        /// Why.
        #[source]
        source: Box<BundleError>,
    },
    /// The modules do not go together, or do not fit the platform.
    #[error("the firmware of recipe {recipe} cannot be flashed")]
    Plan {
        /// The recipe.
        recipe: String,
        /// Why.
        #[source]
        source: Box<PlanError>,
    },
    /// More pieces than a plan can number.
    #[error("recipe {recipe} has {count} pieces of firmware; at most 200 are possible")]
    TooMany {
        /// The recipe.
        recipe: String,
        /// How many.
        count: usize,
    },
}

impl Shelf {
    /// Offers a recipe for new runs.
    pub fn offer(&mut self, ready: Ready) {
        self.pieces.insert(ready.prepared.recipe.hash, ready.pieces);
        self.book.offer(ready.prepared);
    }

    /// Offers a recipe that an engineer can choose.
    pub fn offer_standby(&mut self, ready: Ready) {
        self.pieces.insert(ready.prepared.recipe.hash, ready.pieces);
        self.book.offer_standby(ready.prepared);
    }

    /// Offers a recipe for repairs that a person asks for.
    pub fn offer_repair(&mut self, ready: Ready) {
        self.pieces.insert(ready.prepared.recipe.hash, ready.pieces);
        self.book.offer_repair(ready.prepared);
    }

    /// Keeps a recipe for runs under way.
    pub fn keep(&mut self, ready: Ready) {
        self.pieces.insert(ready.prepared.recipe.hash, ready.pieces);
        self.book.keep(ready.prepared);
    }

    /// The pieces of a recipe, in order: for a protected device that it lets into Service Mode, or for any other.
    pub fn pieces(&self, recipe: Sha256, serviced: bool) -> &[Piece] {
        self.pieces.get(&recipe).map_or(&[], |pieces| match serviced {
            true => &pieces.protected,
            false => &pieces.plain,
        })
    }
}

/// Makes a recipe ready. `files` are the bytes of its firmware files, by name.
///
/// # Errors
/// [`ShelfError`]: nothing of it may be flashed.
pub fn prepare(recipe: Recipe, files: &BTreeMap<String, Arc<[u8]>>) -> Result<Ready, ShelfError> {
    let mut modules = Vec::new();
    for file in &recipe.firmware {
        let name = || file.name.clone();
        let bytes = files.get(&file.name).ok_or_else(|| ShelfError::Missing { name: name() })?;
        let found = crate::firmware::sha256_of(bytes);
        if found != file.sha256 {
            return Err(ShelfError::OtherFile {
                name: name(),
                found,
                wanted: file.sha256,
            });
        }
        if bytes.starts_with(ZIP) {
            let bundle = Bundle::parse(bytes).map_err(|e| ShelfError::Bundle {
                name: name(),
                source: Box::new(e),
            })?;
            modules.extend(bundle.modules().cloned());
        } else {
            let module = Module::parse(Arc::clone(bytes)).map_err(|source| ShelfError::Module { name: name(), source })?;
            module
                .verify()
                .map_err(|source| ShelfError::Module { name: name(), source })?;
            modules.push(module);
        }
    }
    let plan_for = |protection| {
        let target = Target {
            platform: recipe.platform,
            protection,
            mode: UsbMode::Normal,
        };
        Plan::new(target, &modules, None).map_err(|e| ShelfError::Plan {
            recipe: recipe.name.clone(),
            source: Box::new(e),
        })
    };
    let plan = plan_for(Protection::Open)?;
    // The same modules in the same order; only the bytes of the bootloader differ.
    let protected = match recipe.protected {
        ProtectedPolicy::SetAside => Vec::new(),
        ProtectedPolicy::ServiceMode => plan_for(Protection::Protected)?.pieces,
    };
    let needs: Vec<Dependency> = plan.unchecked.iter().map(|unchecked| unchecked.needs).collect();
    let firmware = plan
        .pieces
        .iter()
        .enumerate()
        .map(|(i, piece)| {
            let file = u8::try_from(i).ok().filter(|file| *file < MOST_PIECES)?;
            Some(match piece.way {
                Way::Dfu { .. } => StepKind::Flash { file },
                Way::Update => StepKind::Update { file },
            })
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| ShelfError::TooMany {
            recipe: recipe.name.clone(),
            count: plan.pieces.len(),
        })?;
    let prepared = Prepared {
        recipe: Arc::new(recipe),
        firmware,
        needs,
    };
    Ok(Ready {
        prepared,
        pieces: Pieces {
            plain: plan.pieces,
            protected,
        },
        skipped: plan.skipped,
    })
}

/// How a bundle begins: it is a zip file.
const ZIP: &[u8] = b"PK\x03\x04";
/// Steps are numbered in a byte, and a run has others than these.
const MOST_PIECES: u8 = 200;
