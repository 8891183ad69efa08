//! Every style of the screen, and what each state of a slot looks like: a word, a glyph, a filling and a colour.
//!
//! The colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart; without colour the
//! glyphs and fillings say the same. Nothing else on the screen names a colour.

use ratatui::style::{Color, Modifier, Style};

use crate::{
    model::Verdict,
    rack::view::{Awaits, Registration},
};

/// How many colours the terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// 24 bits.
    True,
    /// The 256 of xterm.
    Indexed,
    /// The sixteen of old, whatever they are set to.
    Basic,
    /// None: weight, inversion and glyphs do it alone.
    Mono,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// What matters most beside it.
    Strong,
    /// Details.
    Dim,
    /// Under way.
    Busy,
    /// All is well.
    Good,
    /// The device is bad.
    Bad,
    /// The station, the cloud or a cable is bad.
    Fault,
    /// Worth a look.
    Warn,
    /// A person has to decide.
    Hold,
    /// Something is still owed.
    Owed,
}

impl Tone {
    /// Every tone.
    pub const ALL: [Tone; 10] = [
        Self::Plain,
        Self::Strong,
        Self::Dim,
        Self::Busy,
        Self::Good,
        Self::Bad,
        Self::Fault,
        Self::Warn,
        Self::Hold,
        Self::Owed,
    ];

    /// The tone of a verdict.
    pub const fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Good,
            Verdict::Fail => Self::Bad,
            Verdict::Fault => Self::Fault,
            Verdict::RolledBack => Self::Warn,
            Verdict::Quarantined => Self::Hold,
            Verdict::Aborted => Self::Dim,
            Verdict::Owed => Self::Owed,
        }
    }

    const fn ink(self) -> Ink {
        match self {
            Self::Plain => Ink::new((222, 222, 222), 253, Color::White),
            Self::Strong => Ink::new((255, 255, 255), 231, Color::White),
            Self::Dim => Ink::new((158, 158, 158), 247, Color::Gray),
            Self::Busy => Ink::new((86, 180, 233), 74, Color::LightCyan),
            Self::Good => Ink::new((0, 158, 115), 36, Color::LightGreen),
            Self::Bad => Ink::new((213, 94, 0), 166, Color::LightRed),
            Self::Fault => Ink::new((204, 121, 167), 175, Color::LightMagenta),
            Self::Warn => Ink::new((230, 159, 0), 214, Color::Yellow),
            Self::Hold => Ink::new((240, 228, 66), 227, Color::LightYellow),
            Self::Owed => Ink::new((86, 180, 233), 74, Color::Cyan),
        }
    }
}

/// One colour for each depth.
#[derive(Clone, Copy, Debug)]
struct Ink {
    rgb: (u8, u8, u8),
    index: u8,
    basic: Color,
}

impl Ink {
    const fn new(rgb: (u8, u8, u8), index: u8, basic: Color) -> Self {
        Self { rgb, index, basic }
    }

    const fn at(self, depth: Depth) -> Color {
        match depth {
            Depth::True => Color::Rgb(self.rgb.0, self.rgb.1, self.rgb.2),
            Depth::Indexed => Color::Indexed(self.index),
            Depth::Basic => self.basic,
            Depth::Mono => Color::Reset,
        }
    }
}

/// The styles for one kind of terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    depth: Depth,
}

impl Theme {
    /// The styles for so many colours.
    pub const fn new(depth: Depth) -> Self {
        Self { depth }
    }

    /// What everything stands on: a ground of our own, so that contrast does not depend on the terminal's.
    pub const fn ground(self) -> Style {
        self.on(Tone::Plain, GROUND)
    }

    /// The ground of header and key bar.
    pub const fn raised(self, tone: Tone) -> Style {
        match self.depth {
            Depth::Mono => self.text(tone),
            _ => self.on(tone, RAISED),
        }
    }

    /// Text on the ground.
    pub const fn text(self, tone: Tone) -> Style {
        let style = self.on(tone, GROUND);
        match tone {
            Tone::Strong | Tone::Bad | Tone::Fault | Tone::Hold => style.add_modifier(Modifier::BOLD),
            Tone::Dim if matches!(self.depth, Depth::Mono) => style.add_modifier(Modifier::DIM),
            _ => style,
        }
    }

    /// Text on a filled bar: what is over and has an end to it.
    pub const fn filled(self, tone: Tone) -> Style {
        match self.depth {
            Depth::Mono => Style::new().add_modifier(Modifier::REVERSED).add_modifier(Modifier::BOLD),
            depth => Style::new()
                .fg(BLACK.at(depth))
                .bg(tone.ink().at(depth))
                .add_modifier(Modifier::BOLD),
        }
    }

    const fn on(self, tone: Tone, ground: Ink) -> Style {
        match self.depth {
            Depth::Mono => Style::new(),
            depth => Style::new().fg(tone.ink().at(depth)).bg(ground.at(depth)),
        }
    }
}

/// What a state looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The word, short enough for a tile.
    pub word: &'static str,
    /// The glyph in front of it.
    pub glyph: char,
    /// The colour.
    pub tone: Tone,
    /// What fills the bar behind the word of a state that is over; a state under way has no filled bar, so that a FAIL
    /// never looks like something that is still going on.
    pub filling: Option<char>,
}

/// What a state of a slot looks like.
pub const fn look(awaits: Awaits) -> Look {
    match awaits {
        Awaits::Device => under_way("vacant", '·', Tone::Dim),
        Awaits::Settling => under_way("settling", '…', Tone::Busy),
        Awaits::Identity => under_way("identifying", '?', Tone::Busy),
        Awaits::Step => under_way("running", '►', Tone::Busy),
        Awaits::Return => under_way("restarting", '~', Tone::Busy),
        Awaits::Cloud => under_way("cloud", '≈', Tone::Busy),
        Awaits::Set => under_way("take out", '▲', Tone::Warn),
        Awaits::Line => under_way("line stopped", '‖', Tone::Warn),
        Awaits::Rejected => over("rejected", '/', Tone::Fault),
        Awaits::Removal(verdict) => verdict_look(verdict),
    }
}

/// What a verdict looks like.
pub const fn verdict_look(verdict: Verdict) -> Look {
    let (glyph, filling) = match verdict {
        Verdict::Pass => ('✓', ' '),
        Verdict::Fail => ('✗', '✗'),
        Verdict::Fault => ('!', '!'),
        Verdict::RolledBack => ('◄', '◄'),
        Verdict::Quarantined => ('■', '■'),
        Verdict::Aborted => ('-', '-'),
        Verdict::Owed => ('±', '±'),
    };
    Look {
        word: verdict.word(),
        glyph,
        tone: Tone::of(verdict),
        filling: Some(filling),
    }
}

/// What the cloud said, in a word and a glyph.
pub const fn registration(state: Registration) -> (&'static str, char, Tone) {
    match state {
        Registration::Queued => ("queued", '+', Tone::Warn),
        Registration::Asked => ("asked", '≈', Tone::Busy),
        Registration::Registered => ("registered", '✓', Tone::Good),
        Registration::Refused => ("refused", '✗', Tone::Bad),
    }
}

const fn under_way(word: &'static str, glyph: char, tone: Tone) -> Look {
    Look {
        word,
        glyph,
        tone,
        filling: None,
    }
}

const fn over(word: &'static str, glyph: char, tone: Tone) -> Look {
    Look {
        word,
        glyph,
        tone,
        filling: Some(glyph),
    }
}

const GROUND: Ink = Ink::new((8, 8, 8), 232, Color::Black);
const RAISED: Ink = Ink::new((24, 24, 24), 233, Color::Black);
const BLACK: Ink = Ink::new((0, 0, 0), 16, Color::Black);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const STATES: [Awaits; 16] = [
        Awaits::Device,
        Awaits::Settling,
        Awaits::Identity,
        Awaits::Step,
        Awaits::Return,
        Awaits::Cloud,
        Awaits::Set,
        Awaits::Line,
        Awaits::Rejected,
        Awaits::Removal(Verdict::Pass),
        Awaits::Removal(Verdict::Fail),
        Awaits::Removal(Verdict::Fault),
        Awaits::Removal(Verdict::RolledBack),
        Awaits::Removal(Verdict::Quarantined),
        Awaits::Removal(Verdict::Aborted),
        Awaits::Removal(Verdict::Owed),
    ];

    /// The colour as a screen shows it; the sixteen as xterm has them.
    fn rgb(color: Color) -> (u8, u8, u8) {
        match color {
            Color::Rgb(r, g, b) => (r, g, b),
            Color::Indexed(n @ 16..=231) => {
                let part = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
                let n = n - 16;
                (part(n / 36), part(n / 6 % 6), part(n % 6))
            }
            Color::Indexed(n @ 232..) => (8 + 10 * (n - 232), 8 + 10 * (n - 232), 8 + 10 * (n - 232)),
            Color::Black => (0, 0, 0),
            Color::White => (255, 255, 255),
            Color::Gray => (229, 229, 229),
            Color::Yellow => (205, 205, 0),
            Color::Cyan => (0, 205, 205),
            Color::LightRed => (255, 0, 0),
            Color::LightGreen => (0, 255, 0),
            Color::LightYellow => (255, 255, 0),
            Color::LightMagenta => (255, 0, 255),
            Color::LightCyan => (0, 255, 255),
            other => panic!("{other:?} is not one of ours"),
        }
    }

    /// Relative luminance (WCAG 2).
    fn luminance((r, g, b): (u8, u8, u8)) -> f64 {
        let part = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.03928 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b)
    }

    fn contrast(style: Style) -> f64 {
        let (a, b) = (luminance(rgb(style.fg.unwrap())), luminance(rgb(style.bg.unwrap())));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_text_has_contrast() {
        for depth in [Depth::True, Depth::Indexed, Depth::Basic] {
            let theme = Theme::new(depth);
            for tone in Tone::ALL {
                for style in [theme.text(tone), theme.raised(tone), theme.filled(tone)] {
                    let found = contrast(style);
                    assert!(found >= 4.5, "{depth:?} {tone:?}: {found:.2}");
                }
            }
        }
    }

    #[test]
    fn every_state_is_itself_without_colour() {
        let looks: Vec<Look> = STATES.map(look).to_vec();
        let glyphs: BTreeSet<char> = looks.iter().map(|look| look.glyph).collect();
        let words: BTreeSet<&str> = looks.iter().map(|look| look.word).collect();
        assert_eq!((glyphs.len(), words.len()), (STATES.len(), STATES.len()));
        let fillings: BTreeSet<char> = looks.iter().filter_map(|look| look.filling).collect();
        assert_eq!(fillings.len(), looks.iter().filter(|look| look.filling.is_some()).count());
    }

    #[test]
    fn what_is_over_never_looks_like_what_goes_on() {
        for state in STATES {
            assert_eq!(
                look(state).filling.is_some(),
                matches!(state, Awaits::Removal(_) | Awaits::Rejected),
                "{state:?}"
            );
        }
        let theme = Theme::new(Depth::Mono);
        assert_ne!(theme.filled(Tone::Bad), theme.text(Tone::Busy));
    }

    #[test]
    fn without_colour_no_colour_is_named() {
        let theme = Theme::new(Depth::Mono);
        for tone in Tone::ALL {
            for style in [theme.text(tone), theme.raised(tone), theme.filled(tone), theme.ground()] {
                assert_eq!((style.fg, style.bg), (None, None));
            }
        }
    }

    #[test]
    fn pass_and_fail_differ_for_every_kind_of_eye() {
        // Linear models of protanopia, deuteranopia and tritanopia (Viénot and others, 1999; Brettel and others, 1997).
        const EYES: [[[f64; 3]; 3]; 3] = [
            [[0.112, 0.888, 0.0], [0.112, 0.888, 0.0], [0.004, -0.004, 1.0]],
            [[0.292, 0.708, 0.0], [0.292, 0.708, 0.0], [-0.022, 0.022, 1.0]],
            [[1.0, 0.128, -0.128], [0.0, 0.874, 0.126], [0.0, 0.806, 0.194]],
        ];
        let seen = |eye: &[[f64; 3]; 3], (r, g, b): (u8, u8, u8)| {
            let light = [f64::from(r), f64::from(g), f64::from(b)];
            eye.map(|row| row.iter().zip(light).map(|(a, b)| a * b).sum::<f64>())
        };
        for eye in &EYES {
            for (a, b) in [
                (Tone::Good, Tone::Bad),
                (Tone::Bad, Tone::Busy),
                (Tone::Good, Tone::Hold),
                (Tone::Bad, Tone::Hold),
            ] {
                let (a, b) = (seen(eye, a.ink().rgb), seen(eye, b.ink().rgb));
                let far: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                assert!(far > 60.0, "{far:.0}");
            }
        }
    }
}
