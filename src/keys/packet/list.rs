//! The list of a batch of packets: `device,file[,product]` as CSV, as a spreadsheet writes it. It names files; whoever
//! reads them decides which.
//!
//! The first line may be a header with these names in any order. Fields may be quoted, with a doubled quote for one
//! inside; lines end with LF, CRLF or CR; a byte order mark is no part of the first field; lines without anything in
//! them do not count.

use std::{collections::BTreeMap, fmt};

use crate::{
    keys::PrivateForm,
    model::{DeviceId, ProductId},
};

/// A line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands, from 1.
    pub line: usize,
    /// The device.
    pub device: DeviceId,
    /// The file of its public key, as written.
    pub file: String,
    /// The product, where the list names one.
    pub product: Option<ProductId>,
}

/// Why a list is not taken. Nothing of it is taken then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A private key is in it. Nothing of it was kept.
    #[error("there is a PRIVATE key in this list: {form}; nothing of it was kept or sent")]
    Private {
        /// In which form.
        form: PrivateForm,
    },
    /// It is not text in UTF-8.
    #[error("this is not a text in UTF-8")]
    NotText,
    /// There is no device in it.
    #[error("there is no device in this list")]
    Empty,
    /// More devices than are taken at once.
    #[error("there are more than {MOST_ENTRIES} devices in this list")]
    TooLong,
    /// Lines that cannot be used.
    #[error("{}", lines(.0))]
    Lines(Vec<Mistake>),
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Which, from 1.
    pub line: usize,
    /// What, in words.
    pub what: String,
}

impl ListError {
    /// The one next action.
    pub const fn next(&self) -> &'static str {
        match self {
            Self::Private { .. } => {
                "have every copy of this file destroyed and ask for public keys: whoever has the private one can be the device"
            }
            Self::NotText => "save the table as CSV in UTF-8, with commas between the fields",
            Self::Empty => "write a line device,file for each device",
            Self::TooLong => "split the list",
            Self::Lines(_) => "correct the list: device,file or device,file,product, with commas between the fields",
        }
    }
}

/// Reads a list. A device may stand in it once.
pub fn read(file: &[u8]) -> Result<Vec<Entry>, ListError> {
    if let Some(form) = PrivateForm::of(file) {
        return Err(ListError::Private { form });
    }
    let text = str::from_utf8(file).map_err(|_| ListError::NotText)?;
    if text.contains('\0') {
        return Err(ListError::NotText);
    }
    let mut mistakes = Vec::new();
    let mut rows = rows(text.strip_prefix('\u{feff}').unwrap_or(text), &mut mistakes)
        .into_iter()
        .peekable();
    let columns = match rows.peek() {
        Some((line, fields)) if is_header(fields) => {
            let columns = Columns::of(fields).map_err(|what| ListError::Lines(vec![Mistake { line: *line, what }]))?;
            rows.next();
            columns
        }
        _ => Columns::USUAL,
    };
    let (mut entries, mut seen) = (Vec::new(), BTreeMap::new());
    for (line, fields) in rows {
        if entries.len() == MOST_ENTRIES {
            return Err(ListError::TooLong);
        }
        match columns.entry(line, &fields) {
            Ok(entry) => match seen.insert(entry.device, line) {
                Some(before) => mistakes.push(Mistake {
                    line,
                    what: format!("device {} stands on line {before}, too", entry.device),
                }),
                None => entries.push(entry),
            },
            Err(what) => mistakes.push(Mistake { line, what }),
        }
    }
    mistakes.sort_by_key(|mistake| mistake.line);
    match (mistakes.is_empty(), entries.is_empty()) {
        (false, _) => Err(ListError::Lines(mistakes)),
        (true, true) => Err(ListError::Empty),
        (true, false) => Ok(entries),
    }
}

/// Which column is where.
struct Columns {
    device: usize,
    file: usize,
    product: Option<usize>,
    /// As many fields as a line may have.
    most: usize,
}

impl Columns {
    const USUAL: Self = Self {
        device: 0,
        file: 1,
        product: Some(2),
        most: 3,
    };

    fn of(header: &[String]) -> Result<Self, String> {
        let names: Vec<_> = header.iter().map(|name| name.trim().to_lowercase()).collect();
        let at = |wanted: &str| names.iter().position(|name| name == wanted);
        if let Some(unknown) = names
            .iter()
            .find(|name| !["device", "file", "product"].contains(&name.as_str()))
        {
            return Err(format!(
                "there is a column {}: device, file and product are known",
                shown(unknown)
            ));
        }
        let (Some(device), Some(file)) = (at("device"), at("file")) else {
            return Err("the header needs the columns device and file".to_owned());
        };
        let columns = Self {
            device,
            file,
            product: at("product"),
            most: names.len(),
        };
        let known = 2 + usize::from(columns.product.is_some());
        if known == names.len() {
            Ok(columns)
        } else {
            Err("a column stands in the header twice".to_owned())
        }
    }

    fn entry(&self, line: usize, fields: &[String]) -> Result<Entry, String> {
        let field = |at: usize| fields.get(at).map(|field| field.trim()).filter(|field| !field.is_empty());
        if fields.len() > self.most {
            return Err(format!("there are {} fields, and {} at most", fields.len(), self.most));
        }
        let device = field(self.device).ok_or("there is no device")?;
        let device = device.parse().map_err(|_| {
            if device.contains(';') || device.contains('\t') {
                format!(
                    "{} is not a device id: the fields are to be separated by commas",
                    shown(device)
                )
            } else {
                format!("{} is not a device id (24 hexadecimal digits)", shown(device))
            }
        })?;
        let file = field(self.file).ok_or("there is no file")?;
        let product = match self.product.and_then(field) {
            None => None,
            Some(text) if is_product(text) => Some(ProductId(text.to_owned())),
            Some(text) => return Err(format!("{} is no product's number or slug", shown(text))),
        };
        Ok(Entry {
            line,
            device,
            file: file.to_owned(),
            product,
        })
    }
}

/// True for the number or the slug of a product.
pub fn is_product(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A header names a device; a line has one.
fn is_header(fields: &[String]) -> bool {
    fields.iter().any(|field| field.trim().eq_ignore_ascii_case("device"))
}

/// The lines with their fields, as far as the quotes are right.
fn rows(text: &str, mistakes: &mut Vec<Mistake>) -> Vec<(usize, Vec<String>)> {
    let mut rows = Vec::new();
    let mut chars = text.chars().peekable();
    let (mut line, mut begun) = (1, 1);
    let (mut fields, mut field) = (Vec::new(), Field::default());
    let mut end = |fields: &mut Vec<String>, field: &mut Field, begun: usize| {
        fields.push(std::mem::take(&mut field.text));
        if std::mem::take(&mut field.wrong) || field.state == State::Inside {
            mistakes.push(Mistake {
                line: begun,
                what: "the quotes are wrong: a field is quoted as a whole, with two for one inside".to_owned(),
            });
        } else if fields.iter().any(|field| !field.trim().is_empty()) {
            rows.push((begun, std::mem::take(fields)));
        }
        fields.clear();
        field.state = State::Before;
    };
    while let Some(c) = chars.next() {
        let inside = field.state == State::Inside;
        match c {
            '"' if inside && chars.peek() == Some(&'"') => {
                chars.next();
                field.text.push('"');
            }
            '"' if inside => field.state = State::Behind,
            '"' if field.state == State::Before && field.text.trim().is_empty() => {
                field.text.clear();
                field.state = State::Inside;
            }
            '"' => field.wrong = true,
            ',' if !inside => {
                fields.push(std::mem::take(&mut field.text));
                field.state = State::Before;
            }
            '\r' | '\n' => {
                if c == '\r' && chars.peek() == Some(&'\n') {
                    chars.next();
                }
                line += 1;
                if inside {
                    field.text.push('\n');
                } else {
                    end(&mut fields, &mut field, begun);
                    begun = line;
                }
            }
            c if field.state == State::Behind => field.wrong |= !c.is_whitespace(),
            c => field.text.push(c),
        }
    }
    end(&mut fields, &mut field, begun);
    rows
}

#[derive(Default)]
struct Field {
    text: String,
    state: State,
    /// A quote where none may be, or text behind the closing one.
    wrong: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Not in quotes.
    #[default]
    Before,
    /// In quotes.
    Inside,
    /// Behind the closing quote.
    Behind,
}

/// Text of a list as an error shows it: short, on one line.
fn shown(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(MOST_SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().count() > MOST_SHOWN {
        short.push('…');
    }
    format!("\"{short}\"")
}

fn lines(mistakes: &[Mistake]) -> String {
    let mut text = String::new();
    for (i, mistake) in mistakes.iter().take(MOST_MISTAKES).enumerate() {
        if i > 0 {
            text.push_str("; ");
        }
        text += &mistake.to_string();
    }
    match mistakes.len().saturating_sub(MOST_MISTAKES) {
        0 => text,
        more => format!("{text}; and {more} more"),
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// More than any delivery has.
pub const MOST_ENTRIES: usize = 10_000;
/// So many mistakes are told in words.
const MOST_MISTAKES: usize = 20;
/// So many characters of a wrong field are shown.
const MOST_SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "e00fce680000000000000001";
    const B: &str = "e00fce680000000000000002";

    fn found(text: &str) -> Vec<(usize, String, String, Option<String>)> {
        let entries = read(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let plain = |e: Entry| (e.line, e.device.to_string(), e.file, e.product.map(|p| p.0));
        entries.into_iter().map(plain).collect()
    }

    fn wrong(text: &str) -> String {
        read(text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn a_list_is_read_in_every_way_in_which_it_is_written() {
        let plain = vec![
            (1, A.to_owned(), "a.pem".to_owned(), None),
            (2, B.to_owned(), "b.pem".to_owned(), None),
        ];
        for text in [
            format!("{A},a.pem\n{B},b.pem\n"),
            format!("{A},a.pem\r\n{B},b.pem"),
            format!("{A},a.pem\r{B},b.pem\r"),
            format!("\u{feff}{A},a.pem\n{B},b.pem\n\n  \n,,\n"),
            format!("\"{A}\" , \"a.pem\",\n {} ,b.pem,\n", B.to_uppercase()),
        ] {
            assert_eq!(found(&text), plain, "{text:?}");
        }
        let headed = format!(
            "Product, Device, FILE\n1234,{A},\"a,\"\"b\"\".pem\"\n,{B},\"two\r\nlines\"\nslug-v1,{},c\n",
            A.replace('1', "3")
        );
        assert_eq!(
            found(&headed),
            [
                (2, A.to_owned(), "a,\"b\".pem".to_owned(), Some("1234".to_owned())),
                (3, B.to_owned(), "two\nlines".to_owned(), None),
                (5, A.replace('1', "3"), "c".to_owned(), Some("slug-v1".to_owned())),
            ],
            "the line counts on through a field of two lines"
        );
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_nothing_is_taken() {
        let text = format!(
            "{A},a.pem\nabc,b.pem\n{B}\n{B},b.pem,1,2\n{B},b.pem,a b\n{B};b.pem\n{A},c.pem\n{B},\"b\"x\n{B},b\"\n{B},\"b"
        );
        let Err(ListError::Lines(mistakes)) = read(text.as_bytes()) else {
            panic!()
        };
        let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 9, "{told:#?}");
        for (line, part) in [
            (2, "\"abc\" is not a device id"),
            (3, "no file"),
            (4, "4 fields"),
            (5, "\"a b\" is no product"),
            (6, "separated by commas"),
            (7, "stands on line 1, too"),
            (8, "quotes"),
            (9, "quotes"),
            (10, "quotes"),
        ] {
            let fits = |text: &&String| text.starts_with(&format!("line {line}: ")) && text.contains(part);
            assert!(told.iter().any(|text| fits(&text)), "{line}: {part}: {told:#?}");
        }
        for (text, part) in [
            ("device\n", "needs the columns device and file"),
            ("device,file,colour\n", "column \"colour\""),
            ("device,file,file\n", "twice"),
            ("", "no device in this list"),
            ("device,file\n", "no device in this list"),
            ("\0", "not a text"),
        ] {
            assert!(wrong(text).contains(part), "{text:?}: {}", wrong(text));
        }
        assert_eq!(read(b"\xff\xfee"), Err(ListError::NotText));
    }

    #[test]
    fn a_private_key_in_a_cell_and_a_list_without_end_are_refused() {
        let cell = format!("{A},\"-----BEGIN PRIVATE KEY-----\nMIIC\"\n");
        assert!(matches!(read(cell.as_bytes()), Err(ListError::Private { .. })));
        let long: String = (0..=MOST_ENTRIES).map(|i| format!("{i:024x},{i}.pem\n")).collect();
        assert_eq!(read(long.as_bytes()), Err(ListError::TooLong));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\"a,\r\n ;]{0,60}", head: bool) {
            let _ = read(format!("{}{text}", if head { "device,file\n" } else { "" }).as_bytes());
        }

        #[test]
        fn what_is_quoted_comes_back(name in "[^\0\r]{1,20}") {
            prop_assume!(!name.trim().is_empty() && PrivateForm::of(name.as_bytes()).is_none());
            let text = format!("{A},\"{}\"\n", name.replace('"', "\"\""));
            prop_assert_eq!(&found(&text)[0].2, name.trim());
        }
    }
}
