//! Texts that fit: wrapped, cut, and times.

use crate::model::Wall;

/// Breaks a text into lines of at most this width, between words where it can. Nothing is lost.
pub(super) fn wrap(text: &str, width: u16) -> Vec<String> {
    let width = usize::from(width.max(1));
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        while word.len() > width {
            lines.push(word.drain(..width).collect());
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        used += word.len();
        line.extend(word);
    }
    if used > 0 {
        lines.push(line);
    }
    lines
}

/// The text, or its beginning and a mark that something is missing.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Day and time in UTC, without what nobody reads on a screen.
pub(super) fn moment(at: Wall) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..19)) {
        (Some(day), Some(time)) => format!("{day} {time}"),
        _ => text,
    }
}

/// Minutes and seconds.
pub(super) fn clock(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..=5999 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{} h {:02}", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_loses_nothing_and_keeps_the_width() {
        let text = "a device id 0123456789abcdef0123456789abcdef and a ünïcödé word, then the rest of it";
        for width in 1..40 {
            let lines = wrap(text, width);
            assert!(lines.iter().all(|line| line.chars().count() <= usize::from(width)), "{width}");
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            assert_eq!(letters(&lines.concat()), letters(text), "{width}");
        }
        assert_eq!(wrap("one two", 7), ["one two"]);
        assert_eq!(wrap("", 7), Vec::<String>::new());
    }

    #[test]
    fn times_read_as_clocks() {
        assert_eq!(
            (clock(0), clock(61_999), clock(7_260_000)),
            ("0:00".to_owned(), "1:01".to_owned(), "2 h 01".to_owned())
        );
        assert_eq!((cut("abcdef", 4), cut("abcd", 4)), ("abc…".to_owned(), "abcd".to_owned()));
    }
}
