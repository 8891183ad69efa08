//! `keyrack repair --lights`: what a device that is not on USB says by its lights.

use serde::Serialize;

use crate::{
    cli::{
        error::CliError,
        print::{Paint, Printer, Text},
    },
    model::lights::{self, KeysSuspected, Light},
};

#[derive(Serialize)]
struct LightEvent<'a> {
    event: &'static str,
    #[serde(flatten)]
    light: &'a Light,
}

/// Prints the signal with this name, those in which the text occurs, or all.
///
/// # Errors
/// If the text fits none.
pub(super) fn print(name: Option<&str>, printer: &Printer) -> Result<(), CliError> {
    let found = named(name.unwrap_or_default());
    if found.is_empty() {
        return Err(CliError::UnknownLight {
            name: name.unwrap_or_default().to_owned(),
        });
    }
    for light in found {
        if printer.is_json() {
            printer.object(&LightEvent { event: "light", light });
            continue;
        }
        let paint = match light.keys {
            KeysSuspected::Likely => Paint::Bad,
            KeysSuspected::Possible => Paint::Warn,
            KeysSuspected::No => Paint::Dim,
        };
        let head = Text::new().paint(Paint::Bold, light.name).then(format!("  {}: ", light.seen));
        printer.line(head.paint(paint, light.keys));
        printer.line(format!("  {}", light.means));
        printer.line(Text::new().paint(Paint::Busy, "  next: ").then(light.action));
    }
    Ok(())
}

fn named(text: &str) -> Vec<&'static Light> {
    if let Some(light) = lights::find(text) {
        return vec![light];
    }
    let text = text.to_lowercase();
    let fits = |light: &&Light| light.name.contains(&text) || light.seen.to_lowercase().contains(&text);
    lights::all().iter().filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_signal_and_a_text_all_in_which_it_occurs() {
        assert_eq!(named("Cyan-Red-1").len(), 1);
        assert_eq!(named("").len(), lights::all().len());
        let cyan = named("CYAN");
        assert!(
            cyan.len() > 3
                && cyan
                    .iter()
                    .all(|light| light.seen.contains("cyan") || light.name.contains("cyan"))
        );
        assert!(named("octarine").is_empty());
    }
}
