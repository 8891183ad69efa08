//! The way to the cloud for commands that talk to it: options over configuration over defaults.

use std::{fs, path::PathBuf, sync::Arc};

use clap::Args;

use super::{
    Context,
    error::CliError,
    places::{self, TokenPlace},
};
use crate::{
    cloud::{
        HttpConfig, ReqwestHttp,
        token::{SecretFileError, TokenFile},
    },
    config,
};

/// Options of commands that talk to the cloud.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct CloudArgs {
    #[expect(rustdoc::bare_urls, reason = "shown by --help as it is")]
    /// The cloud's address [default: as configured, else https://api.particle.io]
    #[arg(long, value_name = "URL")]
    pub(super) cloud_url: Option<String>,
    /// Certificate authority of a private cloud, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// The token's file, mode 600 [default: as configured, else ~/.config/keyrack/token]
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

/// Where the cloud is and where the token for it.
#[derive(Debug)]
pub(super) struct Access {
    /// The cloud's address.
    pub(super) url: String,
    /// A private certificate authority.
    pub(super) ca_file: Option<PathBuf>,
    /// The token.
    pub(super) token: TokenPlace,
}

impl Access {
    /// Puts options and configuration together.
    ///
    /// # Errors
    /// If nothing says where the token is.
    pub(super) fn new(args: &CloudArgs, station: Option<&config::Station>, context: &Context) -> Result<Self, CliError> {
        let cloud = station.map(|station| station.cloud.clone()).unwrap_or_default();
        Ok(Self {
            url: args.cloud_url.clone().unwrap_or(cloud.url),
            ca_file: args.ca_file.clone().or(cloud.ca_file),
            token: places::token(args.token_file.as_deref(), cloud.token_file.as_deref(), &context.environment)?,
        })
    }

    /// The way to the cloud; nothing is sent yet.
    ///
    /// # Errors
    /// An address or a certificate authority that cannot be used.
    pub(super) fn http(&self) -> Result<Arc<ReqwestHttp>, CliError> {
        let ca_pem = match &self.ca_file {
            None => None,
            Some(path) => Some(fs::read(path).map_err(|source| CliError::Named {
                what: "the certificate authority",
                path: path.clone(),
                source,
            })?),
        };
        let config = HttpConfig {
            base: self.url.clone(),
            ca_pem,
            allow_plain_loopback: true,
        };
        Ok(Arc::new(ReqwestHttp::new(&config)?))
    }

    /// The token.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub(super) fn token(&self) -> Result<TokenFile, SecretFileError> {
        match &self.token {
            TokenPlace::File(path) => TokenFile::read(path),
            TokenPlace::Credential(path) => TokenFile::read_credential(path),
        }
    }
}
