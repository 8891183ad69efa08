//! Counts the control transfers that writing takes, as the simulated devices see them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sim::world::{Cut, Moment, Phase, TransferPoint};

/// Follows the DFU requests to devices. What reading back takes does not count, nor what the key store takes.
#[derive(Clone, Default)]
pub(super) struct Wire(Arc<Mutex<Count>>);

#[derive(Default)]
struct Count {
    /// Requests since the last one that counted: they count as soon as they prove to be for a write.
    pending: u64,
    transfers: u64,
    pages: u64,
    alternate: u16,
    writing: bool,
}

impl Wire {
    /// To be shown each point of each transfer of one device.
    pub(super) fn observer(&self) -> Arc<dyn Fn(&TransferPoint) -> Cut + Send + Sync> {
        let wire = self.clone();
        Arc::new(move |point| {
            if point.moment == Moment::Before {
                wire.lock().transfer(point);
            }
            Cut::None
        })
    }

    /// Transfers for each page of 4 KiB, erasing and status included; none if nothing was written.
    pub(super) fn each_page(&self) -> Option<f64> {
        let count = self.lock();
        (count.pages > 0).then(|| count.transfers as f64 / count.pages as f64)
    }

    /// How many pages were written.
    pub(super) fn pages(&self) -> u64 {
        self.lock().pages
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn transfer(&mut self, point: &TransferPoint) {
        match (point.setup.request_type, point.setup.request) {
            SET_INTERFACE => self.alternate = point.setup.value,
            (0x21 | 0xa1, _) if self.alternate == 0 => self.dfu(point.phase),
            _ => {}
        }
    }

    fn dfu(&mut self, phase: Option<Phase>) {
        self.pending += 1;
        match phase {
            Some(Phase::FlashRead) => (self.pending, self.writing) = (0, false),
            Some(Phase::Erase | Phase::FlashWrite) => {
                self.pages += u64::from(phase == Some(Phase::FlashWrite));
                self.writing = true;
                self.count();
            }
            // Until the next block, further answers belong to the last one.
            Some(Phase::Status) if self.writing => self.count(),
            Some(Phase::Download | Phase::Status) => {}
            _ => self.writing = false,
        }
    }

    fn count(&mut self) {
        self.transfers += std::mem::take(&mut self.pending);
    }
}

/// bmRequestType and bRequest of SET_INTERFACE.
const SET_INTERFACE: (u8, u8) = (0x01, 11);
