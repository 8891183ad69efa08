//! A word in letters five rows high, to be read from three metres.

use ratatui::text::Line;

use crate::tui::theme::{Look, Theme};

/// So many rows.
pub(super) const HEIGHT: u16 = 5;

/// The word of a state in large letters, as wide as there is room for; the number of the slot in front.
pub(super) fn lines(number: &str, look: &Look, proved: bool, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let word = if proved { "PROVED" } else { look.word }.to_uppercase();
    let style = if look.filling.is_some() {
        theme.filled(look.tone)
    } else {
        theme.text(look.tone)
    };
    let mut text = format!("{number} {word}");
    let width = usize::from(width);
    if text.chars().count() * (COLUMNS + 1) + 2 > width {
        text = word;
    }
    let twice = text.chars().count() * (COLUMNS + 1) * 2 + 2 <= width;
    (0..usize::from(HEIGHT))
        .map(|row| {
            let mut line = String::from("  ");
            for c in text.chars() {
                let pixels = letter(c)[row];
                for column in 0..=COLUMNS {
                    let lit = column < COLUMNS && pixels >> (COLUMNS - 1 - column) & 1 == 1;
                    let pixel = if lit { '█' } else { ' ' };
                    line.push(pixel);
                    if twice {
                        line.push(pixel);
                    }
                }
            }
            let used = line.chars().count();
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
            Line::styled(line, style)
        })
        .collect()
}

/// Five rows of five pixels, the leftmost in the highest bit.
const fn letter(c: char) -> [u8; 5] {
    match c {
        'A' => [0b01110, 0b10001, 0b11111, 0b10001, 0b10001],
        'B' => [0b11110, 0b10001, 0b11110, 0b10001, 0b11110],
        'C' => [0b01111, 0b10000, 0b10000, 0b10000, 0b01111],
        'D' => [0b11110, 0b10001, 0b10001, 0b10001, 0b11110],
        'E' => [0b11111, 0b10000, 0b11110, 0b10000, 0b11111],
        'F' => [0b11111, 0b10000, 0b11110, 0b10000, 0b10000],
        'G' => [0b01111, 0b10000, 0b10011, 0b10001, 0b01111],
        'I' => [0b01110, 0b00100, 0b00100, 0b00100, 0b01110],
        'J' => [0b00111, 0b00010, 0b00010, 0b10010, 0b01100],
        'K' => [0b10001, 0b10010, 0b11100, 0b10010, 0b10001],
        'L' => [0b10000, 0b10000, 0b10000, 0b10000, 0b11111],
        'N' => [0b10001, 0b11001, 0b10101, 0b10011, 0b10001],
        'O' => [0b01110, 0b10001, 0b10001, 0b10001, 0b01110],
        'P' => [0b11110, 0b10001, 0b11110, 0b10000, 0b10000],
        'Q' => [0b01110, 0b10001, 0b10101, 0b10010, 0b01101],
        'R' => [0b11110, 0b10001, 0b11110, 0b10010, 0b10001],
        'S' => [0b01111, 0b10000, 0b01110, 0b00001, 0b11110],
        'T' => [0b11111, 0b00100, 0b00100, 0b00100, 0b00100],
        'U' => [0b10001, 0b10001, 0b10001, 0b10001, 0b01110],
        'V' => [0b10001, 0b10001, 0b10001, 0b01010, 0b00100],
        'W' => [0b10001, 0b10001, 0b10101, 0b11011, 0b10001],
        'Y' => [0b10001, 0b01010, 0b00100, 0b00100, 0b00100],
        '-' => [0b00000, 0b00000, 0b11111, 0b00000, 0b00000],
        '0' => [0b01110, 0b10011, 0b10101, 0b11001, 0b01110],
        '1' => [0b00100, 0b01100, 0b00100, 0b00100, 0b01110],
        '2' => [0b11110, 0b00001, 0b01110, 0b10000, 0b11111],
        '3' => [0b11110, 0b00001, 0b01110, 0b00001, 0b11110],
        '4' => [0b10010, 0b10010, 0b11111, 0b00010, 0b00010],
        '5' => [0b11111, 0b10000, 0b11110, 0b00001, 0b11110],
        '6' => [0b01110, 0b10000, 0b11110, 0b10001, 0b01110],
        '7' => [0b11111, 0b00010, 0b00100, 0b01000, 0b01000],
        '8' => [0b01110, 0b10001, 0b01110, 0b10001, 0b01110],
        '9' => [0b01110, 0b10001, 0b01111, 0b00001, 0b01110],
        _ => [0; 5],
    }
}

const COLUMNS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Verdict,
        rack::view::Awaits,
        tui::theme::{Depth, look, verdict_look},
    };

    #[test]
    fn every_word_has_its_letters_and_fits_eighty_columns() {
        let states = [
            Awaits::Device,
            Awaits::Settling,
            Awaits::Identity,
            Awaits::Step,
            Awaits::Return,
            Awaits::Cloud,
            Awaits::Set,
            Awaits::Line,
            Awaits::Rejected,
        ];
        let looks = states.map(look).into_iter().chain(Verdict::ALL.map(verdict_look));
        for look in looks {
            for c in look.word.to_uppercase().chars().chain("PROVED 0123456789".chars()) {
                assert!(c == ' ' || letter(c) != [0; 5], "{c}");
            }
            for width in [80, 160] {
                let lines = lines("120", &look, false, width, Theme::new(Depth::Mono));
                assert!(lines.iter().all(|line| line.width() == usize::from(width)), "{}", look.word);
            }
        }
    }
}
