//! A TOML document that is read key by key, and remembers every mistake and every key that nobody asked for.

use std::{cell::RefCell, ops::Range};

use toml::de::DeTable;

use super::{
    error::{ConfigError, ConfigErrors, Problem},
    value::Value,
};

/// One document under reading.
pub(super) struct Document<'s> {
    source: &'s str,
    errors: RefCell<Vec<ConfigError>>,
}

/// One table of it.
pub(super) struct Table<'d> {
    doc: &'d Document<'d>,
    /// Key path of the table; empty for the document itself.
    path: String,
    span: Range<usize>,
    entries: &'d DeTable<'d>,
    known: RefCell<Vec<&'static str>>,
}

impl<'s> Document<'s> {
    /// Reads a document with `read`, which must report a mistake wherever it returns `None`.
    pub(super) fn read<T>(name: &str, source: &'s str, read: impl FnOnce(&Table<'_>) -> Option<T>) -> Result<T, ConfigErrors> {
        let (root, syntax) = DeTable::parse_recoverable(source);
        let doc = Document {
            source,
            errors: RefCell::default(),
        };
        for error in &syntax {
            let problem = Problem::Syntax {
                message: error.message().to_owned(),
            };
            doc.report(error.span().unwrap_or(0..0), String::new(), problem);
        }
        // What is read from a broken document would only be repeated as further mistakes.
        let value = if syntax.is_empty() {
            let table = Table::new(&doc, String::new(), 0..0, root.get_ref());
            let value = read(&table);
            table.end();
            value
        } else {
            None
        };
        match (doc.errors.into_inner(), value) {
            (errors, Some(value)) if errors.is_empty() => Ok(value),
            (errors, value) => {
                assert!(
                    !errors.is_empty() || value.is_some(),
                    "whatever could not be read was reported"
                );
                Err(ConfigErrors::new(name, errors))
            }
        }
    }

    pub(super) fn report(&self, span: Range<usize>, key: String, problem: Problem) {
        let line = self.line(&span);
        self.errors.borrow_mut().push(ConfigError { line, key, problem });
    }

    /// The line, from 1, on which a span begins.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let before = &self.source.as_bytes()[..span.start.min(self.source.len())];
        1 + before.iter().filter(|b| **b == b'\n').count()
    }

    /// What stands at a span, shortened to one line of at most 60 characters.
    pub(super) fn excerpt(&self, span: &Range<usize>) -> String {
        let text = self.source.get(span.clone()).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let mut excerpt: String = line.chars().take(MOST_SHOWN).collect();
        if excerpt.len() < text.len() {
            excerpt.push('…');
        }
        excerpt
    }
}

impl<'d> Table<'d> {
    pub(super) fn new(doc: &'d Document<'d>, path: String, span: Range<usize>, entries: &'d DeTable<'d>) -> Self {
        Self {
            doc,
            path,
            span,
            entries,
            known: RefCell::default(),
        }
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'d>> {
        self.known.borrow_mut().push(key);
        let (_, value) = self.entries.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Value::new(self.doc, self.path(key), value))
    }

    /// The value of a key that must be there; `allowed` says what to write.
    pub(super) fn need(&self, key: &'static str, allowed: &str) -> Option<Value<'d>> {
        let value = self.get(key);
        if value.is_none() {
            let problem = Problem::Missing {
                allowed: allowed.to_owned(),
            };
            self.doc.report(self.span.clone(), self.path(key), problem);
        }
        value
    }

    /// The value of a key as `read` understands it, or `default` if it is not there. `None` if it is wrong.
    pub(super) fn get_or<T>(&self, key: &'static str, default: T, read: impl FnOnce(Value<'d>) -> Option<T>) -> Option<T> {
        match self.get(key) {
            None => Some(default),
            Some(value) => read(value),
        }
    }

    /// The value of a key that may be absent. `None` if it is there and wrong.
    pub(super) fn optional<T>(&self, key: &'static str, read: impl FnOnce(Value<'d>) -> Option<T>) -> Option<Option<T>> {
        self.get_or(key, None, |value| read(value).map(Some))
    }

    /// Where the table begins.
    pub(super) fn line(&self) -> usize {
        self.doc.line(&self.span)
    }

    /// Key path of the table.
    pub(super) fn key(&self) -> &str {
        &self.path
    }

    /// Reports every key that was not asked for. To be called when all of the table was read.
    pub(super) fn end(self) {
        let known = self.known.into_inner();
        for (name, _) in self
            .entries
            .iter()
            .filter(|(name, _)| !known.iter().any(|k| name.get_ref() == k))
        {
            let key = join(&self.path, name.get_ref());
            self.doc.report(name.span(), key, Problem::Unknown { known: known.clone() });
        }
    }

    fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Characters of a value that an error shows.
const MOST_SHOWN: usize = 60;
