//! A journal once more on the screen, as it happened, faster.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use super::PAGE;
use crate::{
    cli::{Context, assemble, error::CliError, exit::ExitCode, face, places},
    edge::{Clock, clock::SystemClock},
    model::{Fact, Record, SlotNo, StationId, Wall, scan::Patterns, sentence},
    rack::{Command, Past, Setting},
    store::Reader,
    tui::{self, Asked, Pace, Place, Screen, Story},
};

/// Shows the journal from the record after this one, so many times as fast as it happened.
pub(super) fn run(reader: &Reader, after: u64, speed: u32, context: &Context) -> Result<ExitCode, CliError> {
    if !face::terminal(context) {
        return Err(CliError::Missing {
            what: "there is no terminal to show the journal on",
            next: "leave --screen away: the records are printed in lines then",
        });
    }
    let (id, places) = rack(reader, context)?;
    let setting = Setting::to_show(id.clone());
    let slots: Vec<SlotNo> = places.iter().map(|place| place.slot).collect();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let setup = tui::Setup {
        station: tui::Station {
            id,
            places,
            patterns: Patterns::default(),
        },
        story: Story::default(),
        depth: face::depth(context),
        ledger: places::ledger(&context.state()?),
        clock: Arc::clone(&clock),
    };
    let (asked, asking) = mpsc::channel();
    let sink = move |what, _| {
        // The replay may have come to its end already.
        let _ = asked.send(what);
    };
    let screen = Screen::open(setup, Box::new(sink)).map_err(CliError::Screen)?;
    let mut show = Show {
        screen,
        past: Past::new(setting, slots),
        asking,
        speed,
        paused: false,
        jumping: false,
        last: None,
    };
    let end = show.all(reader, after);
    show.screen.close().map_err(CliError::Screen)?;
    end.map(|_| ExitCode::Passed)
}

/// The rack of the configuration, or as many slots as the journal names.
fn rack(reader: &Reader, context: &Context) -> Result<(StationId, Vec<Place>), CliError> {
    if let Some(station) = context.station()? {
        return Ok((station.id, station.slots.iter().map(assemble::place).collect()));
    }
    let (mut slots, mut id, mut after) = (BTreeSet::new(), None, 0);
    loop {
        let page = reader.records(after, PAGE)?;
        slots.extend(page.iter().filter_map(|record| sentence::slot(&record.fact)));
        id = id.or(page.first().map(|record| record.station.clone()));
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = last.seq,
            _ => break,
        }
    }
    let place = |slot| Place {
        slot,
        position: None,
        label: None,
    };
    let id = id.unwrap_or_else(|| StationId("empty".to_owned()));
    Ok((id, slots.into_iter().map(place).collect()))
}

struct Show {
    screen: Screen,
    past: Past,
    asking: Receiver<Asked>,
    speed: u32,
    paused: bool,
    /// To the next verdict without waiting.
    jumping: bool,
    last: Option<Wall>,
}

/// Whether the show goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    On,
    Over,
}

impl Show {
    fn all(&mut self, reader: &Reader, mut after: u64) -> Result<Goes, CliError> {
        self.screen.view(&self.past.view());
        loop {
            let page = reader.records(after, PAGE)?;
            for record in &page {
                if self.until(record) == Goes::Over {
                    return Ok(Goes::Over);
                }
                // Of a journal that is shown from its middle, the beginnings of some runs are missing.
                if self.past.apply(record).is_ok() {
                    self.screen.record(record);
                    self.screen.view(&self.past.view());
                }
                self.jumping &= !matches!(record.fact, Fact::RunEnded { .. });
            }
            match page.last() {
                Some(last) => after = last.seq,
                None => break,
            }
        }
        (self.paused, self.jumping) = (true, false);
        self.screen.replay("REPLAY, at its end".to_owned());
        while let Ok(asked) = self.asking.recv() {
            if over(&asked) {
                break;
            }
        }
        Ok(Goes::Over)
    }

    /// Waits until it is this record's turn.
    fn until(&mut self, record: &Record) -> Goes {
        let apart = self.last.map_or(0, |last| record.at.millis() - last.millis());
        let apart = Duration::from_millis(u64::try_from(apart).unwrap_or(0));
        self.last = Some(record.at);
        self.tell(record.at);
        loop {
            let asked = if self.jumping {
                self.asking.try_recv().ok()
            } else if self.paused {
                match self.asking.recv() {
                    Ok(asked) => Some(asked),
                    Err(_) => return Goes::Over,
                }
            } else {
                match self.asking.recv_timeout((apart / self.speed).min(LONGEST)) {
                    Ok(asked) => Some(asked),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return Goes::Over,
                }
            };
            match asked {
                None => return Goes::On,
                Some(asked) if over(&asked) => return Goes::Over,
                Some(Asked::Replay(pace)) => self.pace(pace),
                Some(Asked::Station(_) | Asked::Pin(_)) => {}
            }
            self.tell(record.at);
        }
    }

    fn pace(&mut self, pace: Pace) {
        match pace {
            Pace::Pause => self.paused = !self.paused,
            Pace::Jump => self.jumping = true,
            Pace::Faster => self.speed = (self.speed * 2).min(10_000),
            Pace::Slower => self.speed = (self.speed / 2).max(1),
        }
    }

    fn tell(&self, at: Wall) {
        let paused = if self.paused { ", stopped" } else { "" };
        let at = at.to_string();
        let at = at.get(..19).unwrap_or(&at).replace('T', " ");
        self.screen.replay(format!("REPLAY {at} UTC ×{}{paused}", self.speed));
    }
}

fn over(asked: &Asked) -> bool {
    matches!(asked, Asked::Station(Command::Quit | Command::Finish))
}

/// Nobody wants to watch a night.
const LONGEST: Duration = Duration::from_secs(2);
