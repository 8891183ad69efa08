//! One value of a TOML document, and how it is understood. Every function here reports a mistake where it returns
//! `None`.

use std::{
    ops::{Range, RangeInclusive},
    path::PathBuf,
    time::Duration,
};

use toml::{Spanned, de::DeValue};

use super::{
    document::{Document, Table},
    error::Problem,
};
use crate::model::ProductId;

/// A value with its key path and its place.
#[derive(Clone)]
pub(super) struct Value<'d> {
    doc: &'d Document<'d>,
    key: String,
    span: Range<usize>,
    value: &'d DeValue<'d>,
}

impl<'d> Value<'d> {
    pub(super) fn new(doc: &'d Document<'d>, key: String, value: &'d Spanned<DeValue<'d>>) -> Self {
        Self {
            doc,
            key,
            span: value.span(),
            value: value.get_ref(),
        }
    }

    /// Key path.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Line, from 1.
    pub(super) fn line(&self) -> usize {
        self.doc.line(&self.span)
    }

    /// Reports that the value is not allowed. A table or list is not shown: anything may be in it, a secret, too.
    pub(super) fn refuse<T>(&self, allowed: impl Into<String>) -> Option<T> {
        let value = match self.value {
            DeValue::Table(_) => "{ … }".to_owned(),
            DeValue::Array(_) => "[ … ]".to_owned(),
            _ => self.doc.excerpt(&self.span),
        };
        self.doc.report(
            self.span.clone(),
            self.key.clone(),
            Problem::Value {
                value,
                allowed: allowed.into(),
            },
        );
        None
    }

    /// Reports that the value is not allowed, without showing it.
    pub(super) fn refuse_unseen<T>(&self, allowed: impl Into<String>) -> Option<T> {
        let problem = Problem::Value {
            value: String::new(),
            allowed: allowed.into(),
        };
        self.doc.report(self.span.clone(), self.key.clone(), problem);
        None
    }

    /// True if it is a string.
    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    /// A string that `read` understands.
    pub(super) fn text<T>(&self, allowed: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        match self.value.as_str().and_then(read) {
            Some(value) => Some(value),
            None => self.refuse(allowed),
        }
    }

    /// A string for people: 1 to `most` characters, no line breaks or other control characters.
    pub(super) fn words(&self, most: usize) -> Option<String> {
        self.text(&format!("must be 1 to {most} characters on one line"), |text| {
            let fine = !text.trim().is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control);
            fine.then(|| text.to_owned())
        })
    }

    /// The path of a file or folder.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.text("must be a path", |text| {
            (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
        })
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let (last, others) = words.split_last().expect("a choice has words to choose from");
        self.text(&format!("must be {} or {last}", others.join(", ")), |text| {
            choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
        })
    }

    /// `true` or `false`.
    pub(super) fn truth(&self) -> Option<bool> {
        self.value.as_bool().or_else(|| self.refuse("must be true or false"))
    }

    /// A whole number within limits.
    pub(super) fn number<N: TryFrom<i64> + Into<i64> + Copy>(&self, limits: RangeInclusive<N>) -> Option<N> {
        let (least, most): (i64, i64) = ((*limits.start()).into(), (*limits.end()).into());
        self.integer()
            .filter(|number| (least..=most).contains(number))
            .and_then(|number| N::try_from(number).ok())
            .or_else(|| self.refuse(format!("must be a whole number from {least} to {most}")))
    }

    /// A time span such as `90s`, from one second to one hour.
    pub(super) fn duration(&self) -> Option<Duration> {
        self.text("must be a time from \"1s\" to \"1h\", with the unit ms, s, m or h", |text| {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            let (number, unit) = text.split_at(digits);
            let millis = match unit {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return None,
            };
            let millis = number.parse::<u64>().ok()?.checked_mul(millis)?;
            (1000..=3_600_000).contains(&millis).then(|| Duration::from_millis(millis))
        })
    }

    /// A product: its number, or its slug.
    pub(super) fn product(&self) -> Option<ProductId> {
        let number = self.integer().filter(|number| *number > 0).map(|number| number.to_string());
        let slug = self.value.as_str().filter(|text| is_name(text, 64));
        match number.as_deref().or(slug) {
            Some(product) => Some(ProductId(product.to_owned())),
            None => self.refuse("must be a product's number, or its slug such as \"my-product-v100\""),
        }
    }

    /// True if it is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// A table.
    pub(super) fn table(&self, allowed: &str) -> Option<Table<'d>> {
        match self.value.as_table() {
            Some(entries) => Some(Table::new(self.doc, self.key.clone(), self.span.clone(), entries)),
            None => self.refuse(allowed),
        }
    }

    /// The elements of an array.
    pub(super) fn elements(&self, allowed: &str) -> Option<Vec<Value<'d>>> {
        let Some(array) = self.value.as_array() else {
            return self.refuse(allowed);
        };
        let element = |(i, value)| Value::new(self.doc, format!("{}[{i}]", self.key), value);
        Some(array.iter().enumerate().map(element).collect())
    }

    fn integer(&self) -> Option<i64> {
        let integer = self.value.as_integer()?;
        i64::from_str_radix(integer.as_str(), integer.radix()).ok()
    }
}

/// True for names that can stand in files, on screens and in commands: letters, digits and `-_.`, at most `most`.
pub(super) fn is_name(text: &str, most: usize) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=most).contains(&text.len()) && text.bytes().all(fine)
}
