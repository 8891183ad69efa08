//! The uplink: a few threads that make the calls which the core asked for, each once. They
//! decide nothing: whatever comes back goes to the core.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    cloud::answer::withheld,
    model::{
        fact::Protection,
        outbox::{Answer, Attempt, Errand, ItemId, Looked},
        survey::Survey,
    },
    rack::{Admitted, Book, Call, Input, Outbox, Rack, Reply},
};

use super::{
    World,
    admission::Products,
    countersign::Ask,
    custody::{Custody, Taking},
    inbox::Inbox,
    mailbox::Mailbox,
    worker::guarded,
};

/// What the threads are handed.
pub(super) enum Job {
    /// A call of the core, and whether a device waits for it in its slot.
    Call {
        /// The call.
        call: Call,
        /// True if one does.
        awaited: bool,
    },
    /// A question of a worker.
    Ask(Ask),
}

/// The threads that talk to the cloud.
pub(super) struct Uplink {
    jobs: Mailbox<Option<Job>>,
    threads: u16,
}

impl Uplink {
    /// Starts the threads. What they hear goes to `inbox`.
    pub(super) fn start(world: &World, book: &Arc<Book>, threads: u16, inbox: &Inbox) -> Self {
        let jobs: Mailbox<Option<Job>> = Mailbox::new();
        let products = Arc::new(Products::default());
        let custody = Arc::new(Custody::default());
        for n in 0..threads {
            let line = Line {
                world: world.clone(),
                book: Arc::clone(book),
                products: Arc::clone(&products),
                custody: Arc::clone(&custody),
                inbox: inbox.clone(),
            };
            let jobs = jobs.clone();
            // Nobody joins them: a call under way at the end is one whose answer is not on record, as after a cut.
            drop(world.clock.spawn(&format!("uplink-{n}"), Box::new(move || line.work(&jobs))));
        }
        Self { jobs, threads }
    }

    /// Hands over a call. One that brings a device nearer to its owner does not wait for those of others: until then
    /// anybody may claim it. One for which a device is held in its slot goes before all that nobody waits for: after a
    /// start a thousand looks of what is owed may be there.
    pub(super) fn call(&self, call: Call, rack: &Rack) {
        let nearer = hurries(&call, rack.outbox());
        let awaited = nearer || rack.waits_for(&call);
        let job = Some(Job::Call { call, awaited });
        if nearer {
            return self.jobs.hurry(job);
        }
        let yields = |other: &Option<Job>| awaited && matches!(other, Some(Job::Call { awaited: false, .. }));
        self.jobs.send_before(job, yields);
    }

    /// The queue, for the questions of workers.
    pub(super) fn jobs(&self) -> &Mailbox<Option<Job>> {
        &self.jobs
    }

    /// Lets the threads end after what they have been handed.
    pub(super) fn stop(&self) {
        for _ in 0..self.threads {
            self.jobs.send(None);
        }
    }
}

struct Line {
    world: World,
    book: Arc<Book>,
    products: Arc<Products>,
    custody: Arc<Custody>,
    inbox: Inbox,
}

impl Line {
    fn work(&self, jobs: &Mailbox<Option<Job>>) {
        while let Some(Some(job)) = jobs.receive(&*self.world.clock, None) {
            match job {
                Job::Call { call, .. } => {
                    for reply in self.answer(call) {
                        self.inbox.send(super::Stimulus::Core(Input::Cloud(reply)));
                    }
                }
                // One that panics has no answer: whoever waits for it does so for a limited time.
                Job::Ask(ask) => {
                    let _ = guarded(|| {
                        ask.make(&self.world.api);
                        Ok(())
                    });
                }
            }
        }
    }

    /// Makes a call. One that panics has an answer all the same: an item without one would be waited for without end.
    fn answer(&self, call: Call) -> Vec<Reply> {
        let lost = lost(&call);
        guarded(|| Ok(self.make(call))).unwrap_or(lost)
    }

    fn make(&self, call: Call) -> Vec<Reply> {
        let api = &self.world.api;
        match call {
            Call::Admit {
                run,
                device,
                recipe,
                serviced,
            } => {
                let result = match self.book.by_hash(recipe) {
                    Some(prepared) => {
                        let protection = if serviced { Protection::Protected } else { Protection::Open };
                        self.products
                            .admit(api, &prepared.recipe, device, protection, self.world.clock.now())
                    }
                    None => Admitted::No {
                        code: crate::model::Code::RecipeGone,
                        reason: "the recipe of the run is not here".to_owned(),
                    },
                };
                vec![Reply::Admitted { run, result }]
            }
            Call::Survey {
                run,
                device,
                product,
                from,
            } => vec![Reply::Surveyed {
                run,
                survey: api.survey(device, product.as_ref(), &from).survey,
            }],
            Call::Secure {
                run,
                device,
                product,
                owner,
                to,
            } => vec![Reply::Secured {
                run,
                result: self.custody.secure(
                    &self.world,
                    &self.products,
                    &Taking {
                        run,
                        device,
                        product: product.as_ref(),
                        owner,
                        to: to
                            .and_then(|recipe| self.book.by_hash(recipe))
                            .map(|prepared| &*prepared.recipe),
                    },
                ),
            }],
            Call::EndCustody { run, device, destroy } => {
                self.custody.end(&self.world, run, device, destroy);
                Vec::new()
            }
            Call::Errand {
                item,
                attempt,
                device,
                product,
                errand,
                doubtful,
            } => {
                let known = if doubtful { Attempt::Doubtful } else { Attempt::Fresh };
                let answer = match item.run() {
                    Some(run) => self
                        .custody
                        .perform(&self.world, run, device, product.as_ref(), &errand, known)
                        .unwrap_or_else(|answer| answer),
                    None => withheld("an item of no run"),
                };
                vec![Reply::Item { item, attempt, answer }]
            }
            Call::Import {
                product,
                activate_sim,
                items,
            } => {
                // A look does not show whether a SIM was activated: that import is repeated.
                let in_doubt = items.iter().filter(|out| out.doubtful && !activate_sim);
                let mut answers: BTreeMap<_, _> = in_doubt
                    .filter_map(|out| Some((out.device, api.import_in_doubt(&product, out.device)?)))
                    .collect();
                let left = items
                    .iter()
                    .map(|out| out.device)
                    .filter(|device| !answers.contains_key(device));
                answers.extend(api.import(&product, &left.collect::<Vec<_>>(), activate_sim));
                let unsaid = || Answer::Ambiguous {
                    why: "the cloud's answer does not name the device".to_owned(),
                };
                items
                    .into_iter()
                    .map(|out| Reply::Item {
                        answer: answers.remove(&out.device).unwrap_or_else(unsaid),
                        item: out.item,
                        attempt: out.attempt,
                    })
                    .collect()
            }
            Call::Upload {
                item,
                attempt,
                device,
                product,
                key,
            } => {
                let order = self.world.clock.wall().millis();
                vec![Reply::Item {
                    item,
                    attempt,
                    answer: api.upload_key(device, &key, product.as_ref(), order),
                }]
            }
            Call::Look { about, device, product } => vec![Reply::Looked {
                about,
                found: api.glance(device, product.as_ref()),
            }],
        }
    }
}

/// True if the call is for a device that was taken and lacks its owner or its product.
fn hurries(call: &Call, outbox: &Outbox) -> bool {
    let lacks = |item: &ItemId| item.run().is_some_and(|run| outbox.lacks(run));
    match call {
        // With this one it begins.
        Call::Errand {
            errand: Errand::Release { .. },
            ..
        } => false,
        Call::Errand { item, .. } | Call::Upload { item, .. } => lacks(item),
        Call::Import { items, .. } => items.iter().any(|out| lacks(&out.item)),
        _ => false,
    }
}

/// What is known of a call that ended without an answer: it may have been done.
fn lost(call: &Call) -> Vec<Reply> {
    let answer = || Answer::Ambiguous {
        why: "the call failed inside of this program".to_owned(),
    };
    let item = |item: &ItemId, attempt: u32| Reply::Item {
        item: item.clone(),
        attempt,
        answer: answer(),
    };
    match call {
        Call::Admit { run, .. } => vec![Reply::Admitted {
            run: *run,
            result: Admitted::Failed(answer()),
        }],
        Call::Import { items, .. } => items.iter().map(|out| item(&out.item, out.attempt)).collect(),
        Call::Upload { item: id, attempt, .. } | Call::Errand { item: id, attempt, .. } => vec![item(id, *attempt)],
        Call::Survey { run, .. } => vec![Reply::Surveyed {
            run: *run,
            survey: Survey::Failed(answer()),
        }],
        Call::Secure { run, .. } => vec![Reply::Secured {
            run: *run,
            result: Err(answer()),
        }],
        Call::EndCustody { .. } => Vec::new(),
        Call::Look { about, .. } => vec![Reply::Looked {
            about: about.clone(),
            found: Looked::Failed(answer()),
        }],
    }
}
