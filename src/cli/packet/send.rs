//! Keys from afar on their way to the cloud: checked, shown, taken by a station without devices, sent, each with its
//! result. What is taken is on disk first, and goes on at the next start of any station on the ledger.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use clap::Args;
use serde::Serialize;

use super::{
    find::Found,
    judge::{self, Fate, Judged, Why},
    show,
};
use crate::{
    cli::{
        Context,
        assemble::{self, Overrides, Parts},
        cloud::CloudArgs,
        error::CliError,
        events::Events,
        exit::ExitCode,
        places,
        print::{Paint, Printer, Text},
        release,
        signals::Signals,
    },
    edge::{Clock, clock::SystemClock},
    model::{
        Code, DeviceId, Fact, Fingerprint, ProductId, RunId,
        packet::{PacketEnd, Proof, Voucher},
        sentence::count,
        verdict::Blame,
    },
    rack::{Command, Ending, Offer, Taken},
    station::{Event, Remote, Station},
    store::{Reader, StoreError},
};

/// Options of commands that register keys from afar.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct SendArgs {
    /// The product in which the keys are registered [default: the one in the list, else where the cloud shows the device]
    #[arg(long, value_name = "P", value_parser = super::product)]
    product: Option<ProductId>,
    /// Under which the devices were returned: a key that replaces another one needs it
    #[arg(long, value_name = "RMA-NO", requires = "operator", value_parser = release::words)]
    reference: Option<String>,
    /// Who stands for it; not an e-mail address
    #[arg(long, value_name = "NAME", value_parser = release::words)]
    operator: Option<String>,
    #[command(flatten)]
    cloud: CloudArgs,
}

impl SendArgs {
    fn voucher(&self) -> Option<Voucher> {
        let (reference, by) = self.reference.clone().zip(self.operator.clone())?;
        Some(Voucher { reference, by })
    }
}

/// A packet with its result.
#[derive(Serialize)]
struct ResultEvent<'a> {
    event: &'static str,
    packet: RunId,
    device: DeviceId,
    fingerprint: Option<Fingerprint>,
    end: PacketEnd,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'static str>,
    done: usize,
    of: usize,
}

/// What a batch came to.
#[derive(Serialize)]
struct Batch {
    event: &'static str,
    fits: usize,
    repeated: usize,
    /// Not taken: nothing of them is on record.
    refused: usize,
    left_alone: usize,
    #[serde(flatten)]
    sent: Option<Sent>,
}

/// What became of the packets that were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Sent {
    registered: usize,
    /// Refused by the cloud, or for what it shows.
    not_registered: usize,
    /// Nobody can tell, or a device is not its owner's any more.
    alarms: usize,
    owed: usize,
    #[serde(skip)]
    by_station: usize,
    #[serde(skip)]
    interrupted: bool,
}

/// Checks and shows what was found; then registers what fits, unless it is a dry run.
///
/// # Errors
/// What is refused by the rules, the ledger's, or what the station stopped for.
pub(in crate::cli) fn go(found: Found, args: &SendArgs, dry_run: bool, context: &Context) -> Result<ExitCode, CliError> {
    let left_alone = found.left_alone;
    let ledger = ledger(context)?;
    let mut all = judge::all(found, args.product.as_ref(), args.voucher().is_some(), ledger.as_ref())?;
    show::batch(&all, &context.printer);
    let known = ledger.is_some();
    drop(ledger);
    let fits = all.iter().any(|judged| matches!(judged.fate, Fate::Fits(_)));
    let sent = match dry_run || !fits {
        true => None,
        false => Some(send(&mut all, args, context)?),
    };
    sum_up(&all, left_alone, known || sent.is_some(), sent, &context.printer)
}

/// What is known of the devices; nothing if there is no ledger yet.
fn ledger(context: &Context) -> Result<Option<Reader>, CliError> {
    match Reader::open(&places::ledger(&context.state()?)) {
        Ok(reader) => Ok(Some(reader)),
        Err(StoreError::Absent { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Registers what fits, by a station that has no devices.
fn send(all: &mut [Judged], args: &SendArgs, context: &Context) -> Result<Sent, CliError> {
    let config = places::config(&context.globals, &context.environment)?;
    let overrides = Overrides {
        operator: args.operator.clone(),
        cloud: args.cloud.clone(),
        no_devices: true,
        ..Overrides::default()
    };
    let Parts {
        world,
        store,
        setting,
        shelf,
        tuning,
        ..
    } = assemble::station(&config, &overrides, context)?;
    let printer = &context.printer;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut events = Events::new(Arc::clone(printer));
    store.open_records()?.iter().for_each(|record| events.recall(record));
    let signals = Signals::watch(&*clock, Arc::clone(printer), events.held())?;
    let mut station = Station::start(world, store, setting, shelf, &tuning, &mut |event| events.on(&event))?;
    let (offers, of): (Vec<Offer>, Vec<usize>) = offers(all, args.voucher().as_ref()).unzip();
    let mut awaited = Awaited::default();
    for (taken, at) in station.take(&offers, &mut |event| events.on(&event))?.into_iter().zip(of) {
        match taken {
            Ok(Taken::New(packet) | Taken::Before(packet)) => _ = awaited.packets.insert(packet, offers_key(all, at)),
            Err(declined) => {
                all[at].fate = Fate::Refused(Why::Declined(declined));
                show::one(&all[at], printer);
            }
        }
    }
    awaited.of = awaited.packets.len();
    let remote = station.remote();
    signals.connect(remote.clone());
    let patience = Patience::begin(&clock, remote.clone());
    if awaited.packets.is_empty() {
        remote.command(Command::Finish);
    }
    let end = station.run(&mut |event| {
        let told = matches!(&event, Event::Record(record) if awaited.told(&record.fact, printer));
        if printer.is_json() || !told {
            events.on(&event);
        }
        let locked = matches!(&event, Event::View(view) if view.locked.is_some());
        if let Event::View(view) = &event {
            awaited.sent.interrupted |= view.ending == Some(Ending::Quit);
        }
        if told {
            patience.again();
        }
        if (told && awaited.packets.is_empty()) || locked {
            remote.command(Command::Finish);
        }
    });
    patience.end();
    signals.close();
    end?;
    awaited.sent.owed = awaited.packets.len();
    Ok(awaited.sent)
}

/// What fits, with its place in the batch.
fn offers<'a>(all: &'a [Judged], voucher: Option<&'a Voucher>) -> impl Iterator<Item = (Offer, usize)> + 'a {
    all.iter().enumerate().filter_map(move |(at, judged)| {
        let (Some(packet), Fate::Fits(unchecked)) = (&judged.packet, &judged.fate) else {
            return None;
        };
        let offer = Offer {
            device: packet.device,
            key: packet.key.clone(),
            proof: Proof {
                manifest: packet.manifest.clone(),
                unchecked: unchecked.clone(),
            },
            product: judged.product.clone(),
            voucher: voucher.cloned(),
        };
        Some((offer, at))
    })
}

fn offers_key(all: &[Judged], at: usize) -> Option<Fingerprint> {
    all[at].packet.as_ref().map(|packet| packet.key.fingerprint)
}

/// The packets whose result is awaited.
#[derive(Default)]
struct Awaited {
    packets: BTreeMap<RunId, Option<Fingerprint>>,
    of: usize,
    sent: Sent,
}

impl Awaited {
    /// Tells the result of a packet, if the fact is one; true if it was awaited.
    fn told(&mut self, fact: &Fact, printer: &Printer) -> bool {
        let Fact::PacketEnded {
            packet,
            device,
            end,
            code,
            why,
        } = fact
        else {
            return false;
        };
        let Some(fingerprint) = self.packets.remove(packet) else {
            return false;
        };
        let counter = match (end, code) {
            (_, Some(Code::ClaimLost)) | (PacketEnd::Unknown, _) => &mut self.sent.alarms,
            (PacketEnd::Registered, _) => &mut self.sent.registered,
            (PacketEnd::Refused, _) => &mut self.sent.not_registered,
        };
        *counter += 1;
        let refused = *end == PacketEnd::Refused;
        self.sent.by_station += usize::from(refused && code.is_some_and(|code| code.blame() == Blame::Station));
        let done = self.of - self.packets.len();
        if printer.is_json() {
            printer.object(&ResultEvent {
                event: "result",
                packet: *packet,
                device: *device,
                fingerprint,
                end: *end,
                code: *code,
                why,
                next: code.map(Code::next_action),
                done,
                of: self.of,
            });
            return true;
        }
        let paint = match (end, code) {
            (PacketEnd::Registered, None) => Paint::Good,
            (PacketEnd::Refused, _) => Paint::Bad,
            _ => Paint::Fault,
        };
        let progress = if self.of > 1 {
            format!(" ({done} of {})", self.of)
        } else {
            String::new()
        };
        let code_words = code.map(|code| format!(" {code}")).unwrap_or_default();
        let text = Text::new().then(format!("{device}: ")).paint(paint, end.word());
        printer.line(text.then(format!("{code_words}: {why}")).paint(Paint::Dim, progress));
        if let Some(code) = code {
            printer.line(Text::new().paint(Paint::Busy, "  next: ").then(code.next_action()));
        }
        true
    }
}

/// Ends a station that has no result to show for some time: what is owed stays owed.
struct Patience {
    results: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Patience {
    fn begin(clock: &Arc<dyn Clock>, remote: Remote) -> Self {
        let patience = Self {
            results: Arc::default(),
            over: Arc::default(),
        };
        let (results, over, inner) = (Arc::clone(&patience.results), Arc::clone(&patience.over), Arc::clone(clock));
        // Nobody joins it: it ends with the process at the latest.
        drop(clock.spawn(
            "patience",
            Box::new(move || {
                let mut seen = results.load(Ordering::Acquire);
                loop {
                    inner.sleep(PATIENCE);
                    let now = results.load(Ordering::Acquire);
                    if over.load(Ordering::Acquire) {
                        return;
                    }
                    if now == seen {
                        return remote.command(Command::Finish);
                    }
                    seen = now;
                }
            }),
        ));
        patience
    }

    /// There was a result.
    fn again(&self) {
        self.results.fetch_add(1, Ordering::AcqRel);
    }

    fn end(&self) {
        self.over.store(true, Ordering::Release);
    }
}

fn sum_up(all: &[Judged], left_alone: usize, known: bool, sent: Option<Sent>, printer: &Printer) -> Result<ExitCode, CliError> {
    let of = |fits: fn(&Fate) -> bool| all.iter().filter(|judged| fits(&judged.fate)).count();
    let batch = Batch {
        event: "batch",
        fits: of(|fate| matches!(fate, Fate::Fits(_))),
        repeated: of(|fate| matches!(fate, Fate::Repeated)),
        refused: of(|fate| matches!(fate, Fate::Refused(_))),
        left_alone,
        sent,
    };
    if printer.is_json() {
        printer.object(&batch);
    } else {
        printer.line(words(&batch));
        if left_alone > 0 {
            printer.note(format!(
                "{} in the directories: no part of a packet",
                count(left_alone, "other file")
            ));
        }
        if !known {
            printer.note("there is no ledger: nothing is known of these devices here");
        }
    }
    if all.is_empty() {
        return Err(CliError::Missing {
            what: "there is no packet there",
            next: "a packet is ID.pub.pem with ID.packet.json beside it; a key without a manifest needs a list that names its device",
        });
    }
    let sent = batch.sent.unwrap_or_default();
    if sent.alarms + sent.by_station > 0 {
        return Ok(ExitCode::Fault);
    }
    if sent.not_registered > 0 {
        return Ok(ExitCode::Failed);
    }
    if batch.refused > 0 {
        return Err(CliError::PacketsRefused { refused: batch.refused });
    }
    Ok(match (sent.owed, sent.interrupted) {
        (0, _) => ExitCode::Passed,
        (_, true) => ExitCode::Interrupted,
        (_, false) => ExitCode::Cloud,
    })
}

fn words(batch: &Batch) -> String {
    let Some(sent) = &batch.sent else {
        return format!(
            "{} that could be registered, {} refused; nothing was sent",
            count(batch.fits, "key"),
            batch.refused
        );
    };
    let mut text = format!("{} registered", count(sent.registered, "key"));
    for (n, word) in [
        (sent.not_registered, "not registered"),
        (sent.alarms, "need a person now"),
        (batch.refused, "refused here"),
    ] {
        if n > 0 {
            text += &format!(", {n} {word}");
        }
    }
    if sent.owed > 0 {
        text += &format!(
            ", {} still owed: `keyrack run` goes on with them, and so does this command",
            sent.owed
        );
    }
    text
}

/// So long without a result, and the command leaves the rest to the next station.
const PATIENCE: Duration = Duration::from_secs(120);
