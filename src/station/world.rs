//! Everything outside of the station in one struct: what the tests and the demo replace, and nothing else.

use std::sync::Arc;

use crate::{
    cloud::Api,
    edge::{Bus, Clock, Entropy},
    steps::UndoCopies,
};

use super::{Clients, Pairs, Pins};

/// The outside world, as the station reaches it.
#[derive(Clone)]
pub struct World {
    /// Time and threads.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The USB ports.
    pub bus: Arc<dyn Bus>,
    /// The cloud.
    pub api: Arc<Api>,
    /// Where undo copies are kept.
    pub undo: Arc<dyn UndoCopies>,
    /// Where restore data are kept: as undo copies are, beside them.
    pub restore: Arc<dyn UndoCopies>,
    /// The OAuth clients by which customers' tokens are asked for.
    pub clients: Clients,
    /// Private halves that a person handed over.
    pub pairs: Pairs,
    /// The PINs of the engineers.
    pub pins: Pins,
}
