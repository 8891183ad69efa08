//! `keyrack check`: everything that is wrong, all at once, before anything is touched. Nothing here writes or changes
//! anything, here or in the cloud.

mod cloud;
mod disk;
mod recipe;
mod usb;

use clap::Args;
use serde::Serialize;

use super::{
    Context,
    cloud::CloudArgs,
    error::{CliError, Problem},
    exit::ExitCode,
    help, places,
    print::{Paint, Printer, Text},
};
use crate::{
    config,
    edge::{Clock, clock::SystemClock},
    model::sentence,
};

/// Find everything that is wrong, before anything is touched
///
/// Looks at the configuration, the firmware files of every recipe, the directories and their permissions, the disk, the
/// token, the cloud (token, products, role, platform) and the USB ports. Nothing is changed anywhere. Each finding says
/// what to do. The exit code is the lowest of those of the errors that were found.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack check", "before a shift"),
        ("keyrack check --offline --config line-2.toml", "a configuration that is being written, without the cloud"),
    ],
    &[ExitCode::Passed, ExitCode::Usage, ExitCode::Fault, ExitCode::Cloud, ExitCode::Ledger],
))]
pub(super) struct CheckArgs {
    /// Do not ask the cloud
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    cloud: CloudArgs,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    /// It is as it should be.
    Fine,
    /// The station can work, but somebody should know.
    Warning,
    /// The station cannot work, or not for some device.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    event: &'static str,
    level: Level,
    /// What was looked at: `configuration`, `firmware`, `disk`, ...
    about: &'static str,
    /// What was found.
    what: String,
    /// The one next action.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip)]
    exit: ExitCode,
}

impl Finding {
    fn fine(about: &'static str, what: impl Into<String>) -> Self {
        Self {
            event: "finding",
            level: Level::Fine,
            about,
            what: what.into(),
            next: None,
            exit: ExitCode::Passed,
        }
    }

    fn warning(about: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            next: Some(next.into()),
            ..Self::fine(about, what)
        }
    }

    fn error(about: &'static str, what: impl Into<String>, next: impl Into<String>, exit: ExitCode) -> Self {
        Self {
            level: Level::Error,
            exit,
            ..Self::warning(about, what, next)
        }
    }

    /// An error as a finding, with its causes.
    fn of(about: &'static str, error: &dyn std::error::Error, next: impl Into<String>, exit: ExitCode) -> Self {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            what = format!("{what}: {inner}");
            cause = inner.source();
        }
        Self::error(about, what, next, exit)
    }
}

#[derive(Serialize)]
struct Checked {
    event: &'static str,
    errors: usize,
    warnings: usize,
}

pub(super) fn run(args: &CheckArgs, context: &Context) -> Result<ExitCode, CliError> {
    let findings = look(args, context);
    report(&findings, &context.printer);
    let errors: Vec<&Finding> = findings.iter().filter(|finding| finding.level == Level::Error).collect();
    match errors.iter().map(|finding| finding.exit).min() {
        None => Ok(ExitCode::Passed),
        Some(exit) => Err(CliError::Findings {
            errors: errors.len(),
            exit,
        }),
    }
}

fn look(args: &CheckArgs, context: &Context) -> Vec<Finding> {
    let (mut findings, station) = configuration(context);
    let state = places::state(
        context.globals.state.as_deref(),
        station.as_ref().and_then(|station| station.state.as_deref()),
        &context.environment,
    );
    match &state {
        Ok(state) => findings.extend(disk::look(state, station.as_ref())),
        Err(error) => findings.push(Finding::of("disk", error, error.next().unwrap_or_default(), error.exit())),
    }
    let recipes = match &station {
        Some(station) => {
            let (recipes, found) = recipe::look(station);
            findings.extend(found);
            recipes
        }
        None => Vec::new(),
    };
    let now = SystemClock::new().wall();
    findings.extend(cloud::look(args, station.as_ref(), &recipes, context, now));
    findings.extend(usb::look(&usb::Roots::default(), station.as_ref()));
    findings
}

/// Every mistake in the configuration.
fn configuration(context: &Context) -> (Vec<Finding>, Option<config::Station>) {
    const ABOUT: &str = "configuration";
    let path = match places::config(&context.globals, &context.environment) {
        Ok(path) => path,
        Err(error) => {
            return (
                vec![Finding::of(ABOUT, &error, error.next().unwrap_or_default(), error.exit())],
                None,
            );
        }
    };
    match config::load(&path) {
        Ok(station) => {
            let what = format!(
                "\"{}\": station {}, {}, {}",
                path.display(),
                station.id,
                sentence::count(station.slots.len(), "slot"),
                sentence::count(station.recipes.len(), "recipe")
            );
            (vec![Finding::fine(ABOUT, what)], Some(station))
        }
        Err(errors) => (mistakes(ABOUT, &errors), None),
    }
}

/// The mistakes in a file as findings.
fn mistakes(about: &'static str, errors: &config::ConfigErrors) -> Vec<Finding> {
    Problem::of(errors)
        .into_iter()
        .map(|problem| {
            Finding::error(
                about,
                format!("{}: {}", problem.at, problem.what),
                "correct the configuration, or put the file there that it names",
                ExitCode::Usage,
            )
        })
        .collect()
}

fn report(findings: &[Finding], printer: &Printer) {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    if printer.is_json() {
        findings.iter().for_each(|finding| printer.object(finding));
        return printer.object(&Checked {
            event: "checked",
            errors,
            warnings,
        });
    }
    for finding in findings {
        let (word, paint) = match finding.level {
            Level::Fine => ("ok     ", Paint::Good),
            Level::Warning => ("warning", Paint::Warn),
            Level::Error => ("error  ", Paint::Bad),
        };
        printer.line(
            Text::new()
                .paint(paint, word)
                .paint(Paint::Bold, format!("  {:<13} ", finding.about))
                .then(&finding.what),
        );
        if let Some(next) = &finding.next {
            printer.line(
                Text::new()
                    .paint(Paint::Busy, "         next:")
                    .then(format!("         {next}")),
            );
        }
    }
    if errors == 0 {
        printer.line(match warnings {
            0 => Text::new().paint(Paint::Good, "ready"),
            n => Text::new()
                .paint(Paint::Good, "ready")
                .then(format!(", with {}", sentence::count(n, "warning"))),
        });
    }
}
