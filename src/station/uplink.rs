//! The uplink: a few threads that make the calls which the core hands over, each once. They decide nothing, not even the
//! order: whatever comes back goes to the core.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    cloud::answer::withheld,
    model::{
        fact::Protection,
        outbox::{Answer, Attempt, ItemId, Looked},
        survey::Survey,
    },
    rack::{Admitted, Book, Call, Input, Line, Reply},
};

use super::{
    Stimulus, World,
    admission::Products,
    countersign::Ask,
    custody::{Custody, Taking},
    inbox::Inbox,
    mailbox::Mailbox,
    worker::guarded,
};

/// The threads that talk to the cloud: one for each line of the core, which hands over one call at a time, and some for the
/// questions of workers, which are few and short, and must not stand in the way of a device that was taken from its owner.
pub(super) struct Uplink {
    lines: Vec<Mailbox<Option<Call>>>,
    questions: Mailbox<Option<Ask>>,
}

impl Uplink {
    /// Starts the threads. What they hear goes to `inbox`.
    pub(super) fn start(world: &World, book: &Arc<Book>, lines: u16, inbox: &Inbox) -> Self {
        let (products, custody) = (Arc::new(Products::default()), Arc::new(Custody::default()));
        // Nobody joins them: a call under way at the end is one whose answer is not on record, as after a cut.
        let begin = |name: String, body: Box<dyn FnOnce() + Send>| drop(world.clock.spawn(&name, body));
        let start = |n| {
            let calls: Mailbox<Option<Call>> = Mailbox::new();
            let work = Work {
                line: Line(n),
                world: world.clone(),
                book: Arc::clone(book),
                products: Arc::clone(&products),
                custody: Arc::clone(&custody),
                inbox: inbox.clone(),
            };
            let mailbox = calls.clone();
            begin(format!("uplink-{n}"), Box::new(move || work.through(&mailbox)));
            calls
        };
        let lines = (0..lines.max(1)).map(start).collect();
        let questions: Mailbox<Option<Ask>> = Mailbox::new();
        for n in 0..ASKERS {
            let (world, questions) = (world.clone(), questions.clone());
            begin(format!("asker-{n}"), Box::new(move || answer_all(&world, &questions)));
        }
        Self { lines, questions }
    }

    /// Hands over a call on a line that the core knows to be free.
    pub(super) fn call(&self, Line(line): Line, call: Call) {
        if let Some(line) = self.lines.get(usize::from(line)) {
            line.send(Some(call));
        }
    }

    /// The queue for the questions of workers.
    pub(super) fn questions(&self) -> &Mailbox<Option<Ask>> {
        &self.questions
    }

    /// Lets the threads end after what they have been handed.
    pub(super) fn stop(&self) {
        self.lines.iter().for_each(|line| line.send(None));
        (0..ASKERS).for_each(|_| self.questions.send(None));
    }
}

/// Answers the questions of workers. One that panics has no answer: whoever waits for it does so for a limited time.
fn answer_all(world: &World, questions: &Mailbox<Option<Ask>>) {
    while let Some(Some(ask)) = questions.receive(&*world.clock, None) {
        let _ = guarded(|| {
            ask.make(&world.api);
            Ok(())
        });
    }
}

/// The work of one line.
struct Work {
    line: Line,
    world: World,
    book: Arc<Book>,
    products: Arc<Products>,
    custody: Arc<Custody>,
    inbox: Inbox,
}

impl Work {
    /// Makes every call that comes. Each has one end, whatever became of it: the core waits for that before the next one.
    fn through(&self, calls: &Mailbox<Option<Call>>) {
        while let Some(Some(call)) = calls.receive(&*self.world.clock, None) {
            let replies = self.answer(call);
            self.inbox.send(Stimulus::Core(Input::Cloud(self.line, replies)));
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

/// So many questions of workers are asked at once.
const ASKERS: u16 = 2;
