//! Mistakes in a configuration file: where, what, and what is allowed instead.

use std::{fmt, io};

/// All mistakes in one file, in the order of their lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file's name as it was given.
    pub file: String,
    /// The mistakes; at least one.
    pub errors: Vec<ConfigError>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Line, from 1; 0 if it is about the file as a whole.
    pub line: usize,
    /// Path of the key, such as `recipe[0].wifi.ssid`; empty where no key can be named.
    pub key: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The file cannot be read.
    Unreadable {
        /// The operating system's reason.
        why: String,
    },
    /// The line is not TOML.
    Syntax {
        /// The parser's message.
        message: String,
    },
    /// A key that has no meaning here. Its value is not shown: it may be a secret in a place where none belongs.
    Unknown {
        /// The keys that have one.
        known: Vec<&'static str>,
    },
    /// A key that must be there.
    Missing {
        /// What to write.
        allowed: String,
    },
    /// A value that is not allowed.
    Value {
        /// The value as written, shortened; empty if it must not be shown.
        value: String,
        /// What is allowed.
        allowed: String,
    },
}

impl ConfigErrors {
    pub(super) fn new(file: &str, mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        Self {
            file: file.to_owned(),
            errors,
        }
    }

    pub(super) fn unreadable(file: &str, error: &io::Error) -> Self {
        let problem = Problem::Unreadable { why: error.to_string() };
        Self::new(
            file,
            vec![ConfigError {
                line: 0,
                key: String::new(),
                problem,
            }],
        )
    }
}

impl fmt::Display for ConfigErrors {
    /// One line for each mistake: `file:line: key = value: what is allowed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.file)?;
            if error.line > 0 {
                write!(f, ":{}", error.line)?;
            }
            write!(f, ": {error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.problem {
            Problem::Unreadable { why } => write!(f, "cannot be read: {why}"),
            Problem::Syntax { message } => write!(f, "not TOML: {message}"),
            Problem::Unknown { known } => write!(f, "{key}: unknown key; known here: {}", known.join(", ")),
            Problem::Missing { allowed } => write!(f, "{key} is missing: {allowed}"),
            Problem::Value { value, allowed } if value.is_empty() => write!(f, "{key}: {allowed}"),
            Problem::Value { value, allowed } => write!(f, "{key} = {value}: {allowed}"),
        }
    }
}

impl std::error::Error for ConfigErrors {}
