//! What a scanned or typed text is: a badge, a work order, the label of a device, or something to look for. Only the form
//! counts: the patterns of badges and work orders are the station's, the form of labels is the vendor's.

use std::str::FromStr;

/// What a text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// A badge: somebody is at the station.
    Badge(String),
    /// A work order, and how many devices are ordered, if it says so.
    Order {
        /// Its number or name.
        id: String,
        /// How many devices.
        quantity: Option<u32>,
    },
    /// The data-matrix label of a device. Its second part is a secret, and is left behind here.
    Label {
        /// The serial number.
        serial: String,
    },
    /// An id, a serial number, an ICCID, or the beginning or end of one: to look for.
    Text(String),
}

/// The patterns of badges and work orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns {
    /// Of badges.
    pub badges: Vec<Pattern>,
    /// Of work orders.
    pub orders: Vec<Pattern>,
}

/// A pattern: text that has to be there as written, and parts in braces that stand for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// This text; case does not count.
    Text(String),
    /// `{name}` or `{id}`: at least one character.
    Name,
    /// `{quantity}`: a whole number above 0.
    Quantity,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pattern has {{name}} or {{id}} once, {{quantity}} at most once, and text between the two")]
pub struct BadPattern;

impl Default for Patterns {
    fn default() -> Self {
        let parse = |text: &str| text.parse().expect("a pattern of our own making");
        Self {
            badges: vec![parse("OP-{name}")],
            orders: vec![parse("WO-{id}/{quantity}"), parse("WO-{id}")],
        }
    }
}

impl Patterns {
    /// Says what a text is. Control characters of scanners count as spaces between its words.
    pub fn read(&self, text: &str) -> Scanned {
        let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
        // A name may have spaces in it; nothing else may.
        if let Some(found) = self.badges.iter().find_map(|pattern| pattern.find(text)) {
            return Scanned::Badge(found.name.to_owned());
        }
        if let Some(found) = self.orders.iter().find_map(|pattern| pattern.find(text)) {
            return Scanned::Order {
                id: format!("{}{}", found.before, found.name),
                quantity: found.quantity,
            };
        }
        let mut words = text
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|word| !word.is_empty());
        let first = words.next().unwrap_or("");
        match (words.next(), words.next()) {
            (Some(secret), None) if is_serial(first) && is_secret(secret) => Scanned::Label {
                serial: first.to_ascii_uppercase(),
            },
            // What comes after the first word of anything else may be a secret just as well.
            _ => Scanned::Text(first.to_owned()),
        }
    }
}

/// True for texts that can be a serial number: fifteen letters and digits, not digits alone, which an IMEI has.
pub fn is_serial(text: &str) -> bool {
    text.len() == SERIAL && text.bytes().all(|b| b.is_ascii_alphanumeric()) && text.bytes().any(|b| b.is_ascii_alphabetic())
}

fn is_secret(text: &str) -> bool {
    text.len() == SERIAL && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The parts of a text that fits.
struct Fits<'t> {
    before: &'t str,
    name: &'t str,
    quantity: Option<u32>,
}

impl Pattern {
    fn find<'t>(&self, text: &'t str) -> Option<Fits<'t>> {
        let mut fits = Fits {
            before: "",
            name: "",
            quantity: None,
        };
        let mut rest = text;
        let mut parts = self.0.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Text(wanted) => {
                    let (here, after) = rest.split_at_checked(wanted.len())?;
                    if !here.eq_ignore_ascii_case(wanted) {
                        return None;
                    }
                    rest = after;
                }
                Part::Name | Part::Quantity => {
                    // Up to the last place where what comes next can begin.
                    let end = match parts.peek() {
                        Some(Part::Text(next)) => last_of(rest, next)?,
                        _ => rest.len(),
                    };
                    let (here, after) = rest.split_at(end);
                    match part {
                        Part::Quantity => {
                            let digits = here.bytes().all(|b| b.is_ascii_digit());
                            fits.quantity = Some(here.parse().ok().filter(|n: &u32| digits && *n > 0)?);
                        }
                        _ if here.trim().is_empty() || here.chars().count() > LONGEST => return None,
                        _ => {
                            // What stands before it at the beginning belongs to the name of an order.
                            if fits.quantity.is_none() {
                                fits.before = &text[..text.len() - rest.len()];
                            }
                            fits.name = here.trim();
                        }
                    }
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some(fits)
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let open = rest.find('{').unwrap_or(rest.len());
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let Some(inner) = rest.get(open + 1..) else { break };
            let close = inner.find('}').ok_or(BadPattern)?;
            parts.push(match &inner[..close] {
                "name" | "id" => Part::Name,
                "quantity" => Part::Quantity,
                _ => return Err(BadPattern),
            });
            rest = &inner[close + 1..];
        }
        let names = parts.iter().filter(|part| **part == Part::Name).count();
        let quantities = parts.iter().filter(|part| **part == Part::Quantity).count();
        let touch = parts
            .windows(2)
            .any(|two| !two.iter().any(|part| matches!(part, Part::Text(_))));
        // Without any text of its own a pattern would fit every serial number.
        let bare = !parts.iter().any(|part| matches!(part, Part::Text(_)));
        if names != 1 || quantities > 1 || touch || bare || text.contains('\u{0}') {
            return Err(BadPattern);
        }
        Ok(Self(parts))
    }
}

/// Where a text stands in another one for the last time; case does not count.
fn last_of(text: &str, wanted: &str) -> Option<usize> {
    text.to_ascii_lowercase().rfind(&wanted.to_ascii_lowercase())
}

/// Characters of a serial number, and of a mobile secret (cloud-api.md 3.12).
const SERIAL: usize = 15;
/// The longest name, in characters.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn badge(name: &str) -> Scanned {
        Scanned::Badge(name.to_owned())
    }

    fn order(id: &str, quantity: Option<u32>) -> Scanned {
        Scanned::Order {
            id: id.to_owned(),
            quantity,
        }
    }

    #[test]
    fn badges_orders_labels_and_the_rest_are_told_apart() {
        let patterns = Patterns::default();
        for (text, is) in [
            ("OP-eva", badge("eva")),
            ("op-Eva Maria\r", badge("Eva Maria")),
            ("WO-17/500", order("WO-17", Some(500))),
            ("WO-17", order("WO-17", None)),
            ("wo-a/b/9", order("wo-a/b", Some(9))),
            ("WO-17/0", order("WO-17/0", None)),
            ("OP-", Scanned::Text("OP-".to_owned())),
        ] {
            assert_eq!(patterns.read(text), is, "{text}");
        }
    }

    #[test]
    fn a_label_is_its_serial_number_and_its_secret_is_left_behind() {
        let patterns = Patterns::default();
        let label = Scanned::Label {
            serial: "P046AF450V9AB12".to_owned(),
        };
        for text in [
            "P046AF450V9AB12 ABCDEFGHJKLMNPQ",
            "p046af450v9ab12\u{1d}abcdefghjklmnpq\u{4}",
            " P046AF450V9AB12  123456789012345",
        ] {
            assert_eq!(patterns.read(text), label);
        }
        let text = |text: &str| Scanned::Text(text.to_owned());
        assert_eq!(patterns.read("P046AF450V9AB12"), text("P046AF450V9AB12"));
        assert_eq!(patterns.read("P046AF450V9AB12 SHORT"), text("P046AF450V9AB12"));
        assert_eq!(patterns.read("e00fce68 something else"), text("e00fce68"));
        assert!(is_serial("P046AF450V9AB12") && !is_serial("351901234567890") && !is_serial("P046"));
    }

    #[test]
    fn patterns_of_a_station_count() {
        let parse = |text: &str| text.parse::<Pattern>();
        let patterns = Patterns {
            badges: vec![parse("%{name}%").unwrap()],
            orders: vec![parse("{quantity} of {id}.").unwrap()],
        };
        assert_eq!(patterns.read("%004711%"), badge("004711"));
        assert_eq!(patterns.read("OP-eva"), Scanned::Text("OP-eva".to_owned()));
        assert_eq!(patterns.read("20 of lot 7."), order("lot 7", Some(20)));
        for bad in [
            "",
            "{name}",
            "OP-",
            "OP-{who}",
            "OP-{name",
            "{id}{quantity}",
            "a{id}b{name}",
            "{quantity}-",
        ] {
            assert_eq!(parse(bad), Err(BadPattern), "{bad}");
        }
    }
}
