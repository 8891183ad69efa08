//! The thread that reads the ledger for the screen: a question that grows with the ledger never keeps a key waiting.

use std::{
    path::PathBuf,
    sync::mpsc::{self, Sender},
};

use crate::{
    edge::Clock,
    model::Verdict,
    store::{Reader, StoreError, read::RunFilter},
};

use super::app::Event;

/// The way to the thread.
pub(super) struct Ledger(Sender<Question>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Order,
    Took,
}

impl Ledger {
    /// Starts the thread; it ends with the way to it. Answers come as events.
    pub(super) fn start(folder: PathBuf, order: Option<String>, clock: &dyn Clock, events: Sender<Event>) -> Self {
        let (questions, asked) = mpsc::channel();
        let body = move || {
            let mut reader = None;
            while let Ok(first) = asked.recv() {
                let mut wanted = vec![first];
                // Of several equal questions that wait, one answer is enough.
                for more in asked.try_iter() {
                    if !wanted.contains(&more) {
                        wanted.push(more);
                    }
                }
                if reader.is_none() {
                    reader = Reader::open(&folder).ok();
                }
                let Some(reader) = &reader else { continue };
                for question in wanted {
                    let answer = match question {
                        Question::Order => passed(reader, order.as_deref()),
                        Question::Took => took(reader),
                    };
                    // What cannot be read is not shown; the station itself tells of a broken ledger.
                    if let Ok(Some(event)) = answer
                        && events.send(event).is_err()
                    {
                        return;
                    }
                }
            }
        };
        // It ends by itself when the screen has ended.
        drop(clock.spawn("screen-ledger", Box::new(body)));
        Self(questions)
    }

    /// Asks how far the work order is.
    pub(super) fn order(&self) {
        self.ask(Question::Order);
    }

    /// Asks how long runs took.
    pub(super) fn took(&self) {
        self.ask(Question::Took);
    }

    fn ask(&self, question: Question) {
        // The thread is there as long as this is.
        let _ = self.0.send(question);
    }
}

fn passed(reader: &Reader, order: Option<&str>) -> Result<Option<Event>, StoreError> {
    let Some(order) = order else { return Ok(None) };
    Ok(Some(Event::Order(reader.order(order)?.map_or(0, |progress| progress.passed))))
}

fn took(reader: &Reader) -> Result<Option<Event>, StoreError> {
    let filter = RunFilter {
        verdict: Some(Verdict::Pass),
        ..RunFilter::default()
    };
    let runs = reader.runs(&filter, None, RECENT)?;
    let took = runs.into_iter().filter_map(|run| {
        let took = run.ended?.millis() - run.started.millis();
        Some((run.recipe, u64::try_from(took).ok()?))
    });
    Ok(Some(Event::Took(took.collect())))
}

/// So many runs tell how long the next one takes.
const RECENT: u32 = 100;
