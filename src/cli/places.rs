//! Where things are: the configuration, the state, the token. Pure but for looking whether a file is there.

use std::path::{Path, PathBuf};

use super::{args::Globals, environment::Environment, error::CliError};
use crate::config::LEDGER;

/// The configuration that was named, or the first that is there.
///
/// # Errors
/// [`CliError::NoConfig`] with every place that was looked at. A file that was named is not looked for.
pub(super) fn config(globals: &Globals, environment: &Environment) -> Result<PathBuf, CliError> {
    if let Some(named) = &globals.config {
        return Ok(named.clone());
    }
    let looked: Vec<PathBuf> = [
        Some(PathBuf::from(CONFIG)),
        config_home(environment).map(|dir| dir.join(CONFIG)),
    ]
    .into_iter()
    .flatten()
    .chain([Path::new("/etc/keyrack").join(CONFIG)])
    .collect();
    match looked.iter().find(|path| path.exists()) {
        Some(found) => Ok(found.clone()),
        None => Err(CliError::NoConfig { looked }),
    }
}

/// The state directory: named, else configured, else what the service manager says, else in the home.
///
/// # Errors
/// [`CliError::NoState`] if nothing says where.
pub(super) fn state(named: Option<&Path>, configured: Option<&Path>, environment: &Environment) -> Result<PathBuf, CliError> {
    let home = || Some(environment.home.as_ref()?.join(".local/state"));
    named
        .or(configured)
        .map(Path::to_owned)
        .or_else(|| environment.state_directory.clone())
        .or_else(|| Some(environment.state_home.clone().or_else(home)?.join("keyrack")))
        .ok_or(CliError::NoState)
}

/// The ledger's directory in the state directory. Undo copies and the key that seals them are never in it.
pub(super) fn ledger(state: &Path) -> PathBuf {
    state.join(LEDGER)
}

/// Where a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenPlace {
    /// A file that is its owner's alone.
    File(PathBuf),
    /// A credential that the service manager hands over; it cannot be written.
    Credential(PathBuf),
}

impl TokenPlace {
    /// The file.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Credential(path) => path,
        }
    }
}

/// The token: named, else handed over by the service manager, else configured, else in the home.
///
/// # Errors
/// [`CliError::Missing`] if nothing says where.
pub(super) fn token(named: Option<&Path>, configured: Option<&Path>, environment: &Environment) -> Result<TokenPlace, CliError> {
    if let Some(named) = named {
        return Ok(TokenPlace::File(named.to_owned()));
    }
    let credential = environment.credentials_directory.as_ref().map(|dir| dir.join(CREDENTIAL));
    if let Some(path) = credential.filter(|path| path.exists()) {
        return Ok(TokenPlace::Credential(path));
    }
    configured
        .map(Path::to_owned)
        .or_else(|| Some(config_home(environment)?.join("token")))
        .map(TokenPlace::File)
        .ok_or(CliError::Missing {
            what: "nothing says where the token is: HOME is not set",
            next: "name it with --token-file FILE",
        })
}

fn config_home(environment: &Environment) -> Option<PathBuf> {
    let home = || Some(environment.home.as_ref()?.join(".config"));
    Some(environment.config_home.clone().or_else(home)?.join("keyrack"))
}

const CONFIG: &str = "station.toml";

/// The name of the credential in a unit of the service manager (`LoadCredential=particle-token:...`).
const CREDENTIAL: &str = "particle-token";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_wins_over_what_is_configured_and_that_over_the_home() {
        let home = Environment {
            home: Some("/home/eva".into()),
            ..Environment::default()
        };
        let service = Environment {
            state_directory: Some("/var/lib/keyrack".into()),
            ..home.clone()
        };
        let (named, configured) = (Path::new("/named"), Path::new("/configured"));
        assert_eq!(state(Some(named), Some(configured), &service).unwrap(), named);
        assert_eq!(state(None, Some(configured), &service).unwrap(), configured);
        assert_eq!(state(None, None, &service).unwrap(), Path::new("/var/lib/keyrack"));
        assert_eq!(state(None, None, &home).unwrap(), Path::new("/home/eva/.local/state/keyrack"));
        assert!(matches!(state(None, None, &Environment::default()), Err(CliError::NoState)));
    }

    #[test]
    fn a_credential_of_the_service_manager_is_used_only_if_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment {
            credentials_directory: Some(dir.path().to_owned()),
            config_home: Some("/cfg".into()),
            ..Environment::default()
        };
        assert_eq!(
            token(None, None, &environment).unwrap(),
            TokenPlace::File("/cfg/keyrack/token".into())
        );
        let path = dir.path().join("particle-token");
        std::fs::write(&path, "t").unwrap();
        assert_eq!(token(None, None, &environment).unwrap(), TokenPlace::Credential(path));
        let named = Path::new("/named");
        assert_eq!(
            token(Some(named), None, &environment).unwrap(),
            TokenPlace::File(named.into())
        );
    }

    #[test]
    fn a_missing_configuration_names_every_place() {
        let named = Globals {
            config: Some("/no/such".into()),
            ..Globals::default()
        };
        assert_eq!(config(&named, &Environment::default()).unwrap(), Path::new("/no/such"));
    }
}
