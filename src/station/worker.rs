//! A worker: the one thread of a slot that touches its device. It does what it is told, once, and reports.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use crate::{
    device::Cancel,
    edge::{Attached, Clock},
    model::{Code, Fact, SlotNo, StepError, fact::Identity},
    rack::{CommitReply, Order, Report, Ticket, Work},
    steps::{self, Cx},
};

use super::{
    Shelf, Stimulus, World,
    countersign::{Ask, OverUplink},
    inbox::Inbox,
    mailbox::Mailbox,
};

/// The station's end of a worker.
pub(super) struct Worker {
    orders: Mailbox<Option<(Order, Cancel)>>,
    commits: Mailbox<Option<(Ticket, CommitReply)>>,
    cancel: Cancel,
}

/// What a worker says.
pub(super) enum Said {
    /// Who is in the slot.
    Identified {
        /// The address of the attachment that was asked.
        address: u16,
        /// What it told.
        result: Result<Identity, StepError>,
    },
    /// It wants a fact on disk.
    Commit {
        /// Of which attempt.
        ticket: Ticket,
        /// The fact.
        fact: Fact,
    },
    /// It finished an order.
    Report {
        /// Of which attempt.
        ticket: Ticket,
        /// How it went.
        result: Result<Report, StepError>,
    },
}

impl Worker {
    /// Starts the thread.
    pub(super) fn start(
        slot: SlotNo,
        world: &World,
        shelf: &Arc<Shelf>,
        inbox: &Inbox,
        questions: &Mailbox<Option<Ask>>,
    ) -> Self {
        let worker = Self {
            orders: Mailbox::new(),
            commits: Mailbox::new(),
            cancel: Cancel::new(),
        };
        let hand = Hand {
            slot,
            world: world.clone(),
            shelf: Arc::clone(shelf),
            inbox: inbox.clone(),
            commits: worker.commits.clone(),
            questions: questions.clone(),
        };
        let orders = worker.orders.clone();
        // Nobody joins it: one that hangs in a transfer must not keep the station from ending.
        drop(
            world
                .clock
                .spawn(&format!("slot-{slot}"), Box::new(move || hand.work(&orders))),
        );
        worker
    }

    /// Hands over an order.
    pub(super) fn order(&mut self, order: Order) {
        self.cancel = Cancel::new();
        self.orders.send(Some((order, self.cancel.clone())));
    }

    /// Tells it that its fact is on disk, or must not be.
    pub(super) fn committed(&self, ticket: Ticket, reply: CommitReply) {
        self.commits.send(Some((ticket, reply)));
    }

    /// Asks it to end its order at the next safe point.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Lets the thread end. A fact that it waits for will not be on disk.
    pub(super) fn stop(&self) {
        self.commits.send(None);
        self.orders.send(None);
    }
}

struct Hand {
    slot: SlotNo,
    world: World,
    shelf: Arc<Shelf>,
    inbox: Inbox,
    commits: Mailbox<Option<(Ticket, CommitReply)>>,
    /// For the uplink.
    questions: Mailbox<Option<Ask>>,
}

impl Hand {
    fn work(&self, orders: &Mailbox<Option<(Order, Cancel)>>) {
        while let Some(Some((order, cancel))) = orders.receive(&*self.world.clock, None) {
            match order {
                Order::Identify { attached } => {
                    let address = attached.address;
                    let result = guarded(|| steps::identify(&*self.world.bus, &self.world.clock, &attached, &cancel));
                    self.say(Said::Identified { address, result });
                }
                Order::Change {
                    ticket,
                    attached,
                    device,
                    to,
                    guarded: protects,
                } => {
                    let result = guarded(|| {
                        steps::change_mode(&*self.world.bus, &self.world.clock, &attached, device, to, protects, &cancel)
                    });
                    self.say(Said::Report { ticket, result });
                }
                Order::Step { ticket, attached, work } => {
                    let result = guarded(|| self.step(ticket, &attached, &work, &cancel));
                    self.say(Said::Report { ticket, result });
                }
            }
        }
    }

    fn step(&self, ticket: Ticket, attached: &Attached, work: &Work, cancel: &Cancel) -> Result<Report, StepError> {
        let gone = || StepError::new(Code::RecipeGone, "find the recipe of the run");
        let prepared = self.shelf.book.by_hash(work.recipe).ok_or_else(gone)?;
        let given = work.keys.given.as_ref();
        let cx = Cx {
            clock: &self.world.clock,
            entropy: &*self.world.entropy,
            bus: &*self.world.bus,
            undo: &*self.world.undo,
            recipe: &prepared.recipe,
            pieces: self.shelf.pieces(work.recipe, work.serviced),
            given: given.and_then(|key| self.world.pairs.pair(key.fingerprint)),
            escrow: self.world.pairs.escrow(),
            work,
            countersign: &|patience| {
                Box::new(OverUplink {
                    questions: self.questions.clone(),
                    clock: Arc::clone(&self.world.clock),
                    cancel: cancel.clone(),
                    device: work.device,
                    product: work.product.clone(),
                    patience,
                })
            },
            cancel,
            commit: &|fact| self.commit(ticket, fact),
            progress: &|done, of| self.inbox.progress(self.slot, done, of),
        };
        steps::perform(&cx, attached)
    }

    /// Returns when the fact is on disk. An attempt that is no longer wanted ends here.
    fn commit(&self, ticket: Ticket, fact: Fact) -> Result<(), StepError> {
        self.say(Said::Commit { ticket, fact });
        let clock: &dyn Clock = &*self.world.clock;
        loop {
            match self.commits.receive(clock, None).flatten() {
                Some((answered, _)) if answered != ticket => {}
                Some((_, CommitReply::OnDisk)) => return Ok(()),
                Some((_, CommitReply::Duplicate(other))) => {
                    return Err(StepError::new(
                        Code::KeyDuplicate,
                        format!("compare with the ledger: device {other} has the same key"),
                    ));
                }
                Some((_, CommitReply::Stale)) | None => {
                    return Err(StepError::new(Code::Stopped, "go on: the attempt is no longer wanted"));
                }
            }
        }
    }

    fn say(&self, said: Said) {
        self.inbox.send(Stimulus::Worker(self.slot, said));
    }
}

/// A panic in a step is a defect of this program in one slot; the others go on.
pub(super) fn guarded<T>(body: impl FnOnce() -> Result<T, StepError>) -> Result<T, StepError> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => match words(&*payload) {
            Some(words) => Err(StepError::new(Code::Internal, format!("perform the step: {words}"))),
            // Not a panic with a message: somebody ends this thread, as the simulator does for a power cut.
            None => resume_unwind(payload),
        },
    }
}

fn words(payload: &(dyn Any + Send)) -> Option<String> {
    payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
}
