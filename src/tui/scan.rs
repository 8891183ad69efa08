//! The scan line: everything that is typed or scanned, on whichever screen, comes here and nowhere else.
//!
//! A scanner is a keyboard. What it sends may hold a mobile secret (cloud-api.md, labels: serial number, a space, mobile
//! secret), so nothing behind the first word is ever shown, and the memory is wiped.

use zeroize::Zeroizing;

use super::keymap::BACKSPACE;
use crate::model::sentence::harmless;

/// What is typed and not yet entered.
#[derive(Clone, Debug, Default)]
pub struct ScanLine(Typed);

/// Text that does not show in a debug print.
#[derive(Clone, Default)]
struct Typed(Zeroizing<String>);

impl std::fmt::Debug for Typed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} characters", self.0.chars().count())
    }
}

impl ScanLine {
    /// Adds a character. Enter gives the whole text and empties the line; so does nothing else.
    pub fn add(&mut self, c: char) -> Option<Zeroizing<String>> {
        match c {
            '\r' | '\n' => {
                let text = std::mem::take(&mut self.0.0);
                (!text.trim().is_empty()).then_some(text)
            }
            BACKSPACE => {
                self.0.0.pop();
                None
            }
            // A longer text than any label is no label: what is beyond is dropped.
            _ if self.0.0.len() >= LONGEST => None,
            c => {
                if self.0.0.capacity() == 0 {
                    // Never moved while it grows: no copy of it stays behind.
                    self.0.0.reserve_exact(LONGEST + 4);
                }
                self.0.0.push(c);
                None
            }
        }
    }

    /// Empties the line.
    pub fn clear(&mut self) {
        self.0.0 = Zeroizing::default();
    }

    /// True if nothing is typed.
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }

    /// Takes everything that was typed.
    pub fn take(&mut self) -> Zeroizing<String> {
        std::mem::take(&mut self.0.0)
    }

    /// What was typed after these words, if they were typed, whatever their case.
    pub fn after(&self, words: &str) -> Option<String> {
        let (begin, rest) = self.0.0.trim().split_at_checked(words.len())?;
        let apart = rest.is_empty() || rest.starts_with(char::is_whitespace);
        (begin.eq_ignore_ascii_case(words) && apart).then(|| rest.trim().to_owned())
    }

    /// True if these words were typed, or the beginning of them.
    pub fn fits(&self, words: &str) -> bool {
        let typed = self.0.0.trim_start();
        let length = typed.len().min(words.len());
        match (typed.get(..length), words.get(..length)) {
            (Some(typed), Some(words)) => typed.eq_ignore_ascii_case(words),
            _ => false,
        }
    }

    /// The line with all that is in it: for words that were asked for.
    pub fn open(&self) -> String {
        harmless(&self.0.0)
    }

    /// The line as it may be seen while a PIN is typed: a dot for each character.
    pub fn hidden(&self) -> String {
        "•".repeat(self.0.0.chars().count())
    }

    /// The line as it may be seen: its first word, and a dot for each character after it.
    pub fn shown(&self) -> String {
        let mut first = true;
        let shown = self.0.0.chars().map(|c| {
            first &= !c.is_whitespace() && !c.is_control();
            match c {
                c if first => c,
                ' ' => ' ',
                _ => '•',
            }
        });
        shown.collect()
    }
}

/// The longest text that is taken, in bytes.
const LONGEST: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> ScanLine {
        let mut line = ScanLine::default();
        for c in text.chars() {
            assert_eq!(line.add(c), None);
        }
        line
    }

    #[test]
    fn only_the_first_word_is_shown() {
        let line = typed("P046AF450V9AB12 SECRETSECRET123");
        assert_eq!(line.shown(), "P046AF450V9AB12 •••••••••••••••");
        assert!(!format!("{line:?}").contains("SECRET"));
        assert_eq!(typed("06\u{1d}SECRET").shown(), "06•••••••");
    }

    #[test]
    fn enter_gives_the_text_and_empties_the_line() {
        let mut line = typed("e00f x");
        assert_eq!(line.add(BACKSPACE), None);
        assert_eq!(line.add('\r').as_deref().map(String::as_str), Some("e00f "));
        assert!(line.is_empty());
        assert_eq!(line.add('\r'), None, "an empty line is nothing");
    }

    #[test]
    fn no_text_is_too_long() {
        let mut line = typed(&"9".repeat(LONGEST + 100));
        assert_eq!(line.add('\r').map(|text| text.len()), Some(LONGEST));
    }
}
