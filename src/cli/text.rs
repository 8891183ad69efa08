//! A line of text with what its parts mean. Text from devices and from the cloud gets in only without its control
//! characters, so that nothing that they say can steer a terminal.

use std::fmt;

use crate::model::{Verdict, sentence::harmless};

/// What a piece of text means; with colours it is shown in its own (after Okabe and Ito, fit for colour-blind eyes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// Nothing special.
    #[default]
    Plain,
    /// Headings.
    Bold,
    /// Details.
    Dim,
    /// All is well.
    Good,
    /// The device is bad, or an error.
    Bad,
    /// The station is at fault.
    Fault,
    /// Worth a look.
    Warn,
    /// Under way.
    Busy,
}

impl Paint {
    /// The paint of a verdict.
    pub const fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Good,
            Verdict::Fail => Self::Bad,
            Verdict::Fault | Verdict::Quarantined => Self::Fault,
            Verdict::RolledBack | Verdict::Owed => Self::Warn,
            Verdict::Aborted => Self::Dim,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "1;38;5;36",
            Self::Bad => "1;38;5;166",
            Self::Fault => "1;38;5;175",
            Self::Warn => "38;5;214",
            Self::Busy => "38;5;74",
        }
    }
}

/// Text with its paints: one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(Vec<(Paint, String)>);

impl Text {
    /// An empty line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds plain text.
    pub fn then(self, text: impl fmt::Display) -> Self {
        self.paint(Paint::Plain, text)
    }

    /// Adds text with a meaning. Control characters in it are replaced.
    pub fn paint(mut self, paint: Paint, text: impl fmt::Display) -> Self {
        self.0.push((paint, harmless(&text.to_string())));
        self
    }

    /// Adds another text.
    pub fn join(mut self, other: Text) -> Self {
        self.0.extend(other.0);
        self
    }

    /// How many columns it takes.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    pub(super) fn render(&self, colors: bool) -> String {
        let mut line = String::new();
        for (paint, text) in &self.0 {
            if colors && *paint != Paint::Plain && !text.is_empty() {
                line += &format!("\x1b[{}m{text}\x1b[0m", paint.code());
            } else {
                line += text;
            }
        }
        line
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::new().then(text)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new().then(text)
    }
}
