//! The environment variables that keyrack heeds. Nothing else reads any.

use std::{env, ffi::OsString, path::PathBuf};

/// What the environment says, read once at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// `NO_COLOR` is set to something, or the terminal is `dumb`.
    pub(crate) no_color: bool,
    /// `COLORTERM` promises 24 bits of colour.
    pub(crate) true_color: bool,
    /// `TERM` names a terminal with 256 colours.
    pub(crate) indexed_color: bool,
    /// `TERM` names a terminal that can be painted on.
    pub(crate) paintable: bool,
    /// `HOME`.
    pub(crate) home: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub(crate) state_home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub(crate) config_home: Option<PathBuf>,
    /// `STATE_DIRECTORY`: where the service manager wants the state of a service.
    pub(crate) state_directory: Option<PathBuf>,
    /// `CREDENTIALS_DIRECTORY`: where the service manager puts credentials of a service.
    pub(crate) credentials_directory: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process.
    pub(crate) fn of_process() -> Self {
        Self::read(&|name| env::var_os(name))
    }

    fn read(var: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        // The specification of XDG says that a path that is not absolute is to be ignored.
        let path = |name: &str| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let first = |name: &str| {
            let value = set(name)?.into_string().ok()?;
            value.split(':').next().map(PathBuf::from).filter(|path| path.is_absolute())
        };
        Self {
            no_color: set("NO_COLOR").is_some() || set("TERM").is_some_and(|term| term == "dumb"),
            true_color: set("COLORTERM").is_some_and(|value| value == "truecolor" || value == "24bit"),
            indexed_color: set("TERM").is_some_and(|term| term.to_string_lossy().contains("256color")),
            paintable: set("TERM").is_some_and(|term| term != "dumb"),
            home: path("HOME"),
            state_home: path("XDG_STATE_HOME"),
            config_home: path("XDG_CONFIG_HOME"),
            state_directory: first("STATE_DIRECTORY"),
            credentials_directory: path("CREDENTIALS_DIRECTORY"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_relative_values_count_as_absent() {
        let read = |pairs: &'static [(&str, &str)]| {
            Environment::read(&move |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
        };
        assert_eq!(
            read(&[("NO_COLOR", ""), ("XDG_STATE_HOME", "state"), ("HOME", "")]),
            Environment::default()
        );
        let full = read(&[
            ("NO_COLOR", "1"),
            ("HOME", "/home/eva"),
            ("STATE_DIRECTORY", "/var/lib/keyrack:/x"),
        ]);
        assert!(full.no_color);
        assert_eq!(full.home, Some("/home/eva".into()));
        assert_eq!(full.state_directory, Some("/var/lib/keyrack".into()));
        assert!(read(&[("TERM", "dumb")]).no_color);
        let tmux = read(&[("TERM", "screen-256color"), ("COLORTERM", "truecolor")]);
        assert!(tmux.true_color && tmux.indexed_color && tmux.paintable && !tmux.no_color);
        assert!(!read(&[("TERM", "dumb")]).paintable && !read(&[]).paintable);
    }
}
