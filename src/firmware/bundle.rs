//! Bundles: a .zip with an application, its assets and perhaps environment variables (device-protocol.md 5.3).
//!
//! Layout: one `.bin` in the root, raw files in `assets/`, optionally `env/env-vars.json`. Everything is read with limits:
//! an archive is not trusted.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
};

use zip::{ZipArchive, result::ZipError};

use super::{Module, ModuleError, asset, sha256_of};
use crate::model::{module::ModuleFunction, recipe::Sha256};

/// Why a bundle is refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not a .zip, or a broken one.
    #[error("the bundle cannot be opened as a .zip archive")]
    Archive(#[source] ZipError),
    /// A file in it cannot be read.
    #[error("\"{name}\" in the bundle cannot be read")]
    Unreadable {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// More than keyrack reads.
    #[error("the bundle is too large: more than {limit} {unit}")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
    /// A file that does not belong into a bundle.
    #[error("\"{name}\" does not belong into a bundle")]
    Unexpected {
        /// Its name.
        name: String,
    },
    /// No application in the root.
    #[error("the bundle has no application: one .bin in its root")]
    NoApplication,
    /// More than one application.
    #[error("the bundle has two applications, \"{first}\" and \"{second}\"")]
    TwoApplications {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// The application is not good.
    #[error("the application \"{name}\" is not a good module")]
    Application {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: ModuleError,
    },
    /// The module is something else.
    #[error("\"{name}\" is no application but {module}")]
    NotApplication {
        /// Its name.
        name: String,
        /// What it is.
        module: String,
    },
    /// An asset cannot be wrapped.
    #[error("the asset \"{name}\" cannot be made into a module")]
    Asset {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: ModuleError,
    },
    /// The application needs an asset that is not there.
    #[error("the application needs the asset \"{name}\", which is not in the bundle")]
    MissingAsset {
        /// Its name.
        name: String,
    },
    /// The application does not know an asset.
    #[error("the asset \"{name}\" is in the bundle, but the application does not name it")]
    UndeclaredAsset {
        /// Its name.
        name: String,
    },
    /// An asset has other content than the application names.
    #[error("the asset \"{name}\" has SHA-256 {found}, the application names {wanted}")]
    AssetDiffers {
        /// Its name.
        name: String,
        /// As the application names it.
        wanted: Sha256,
        /// As it is.
        found: Sha256,
    },
    /// The environment variables are not an object of strings with valid names.
    #[error("env/env-vars.json is not an object of strings with names of A-Z, 0-9 and _, at most 128 long and 16 KiB in all")]
    EnvVars,
    /// The variables are there only as text, without the asset that a device reads.
    #[error("env/env-vars.json has no asset \"{ENV_ASSET}\" beside it that carries it to the device")]
    EnvVarsNotEncoded,
}

/// An application with what it brings along. Every part is checked.
#[derive(Debug)]
pub struct Bundle {
    /// The application.
    pub application: Module,
    /// Its assets as modules, by name.
    pub assets: Vec<Module>,
    /// Environment variables, as readable text; a device gets them as the asset "env-vars".
    pub env_vars: Option<BTreeMap<String, String>>,
}

impl Bundle {
    /// Opens a bundle, wraps its assets into modules and compares them with what the application names.
    ///
    /// # Errors
    /// When it is not a bundle, or its parts do not belong together.
    pub fn parse(file: &[u8]) -> Result<Self, BundleError> {
        let files = Files::read(file)?;
        let (name, bytes) = files.application.ok_or(BundleError::NoApplication)?;
        let application = Module::parse(bytes)
            .and_then(|module| module.verify().map(|()| module))
            .map_err(|source| BundleError::Application {
                name: name.clone(),
                source,
            })?;
        if !matches!(
            application.header().function,
            ModuleFunction::UserPart | ModuleFunction::Monolithic
        ) {
            return Err(BundleError::NotApplication {
                name,
                module: application.to_string(),
            });
        }
        let mut assets = Vec::with_capacity(files.assets.len());
        for (name, content) in &files.assets {
            let asset = as_asset(name, content).map_err(|source| BundleError::Asset {
                name: name.clone(),
                source,
            })?;
            check_declared(&application, name, content, &asset)?;
            assets.push(asset);
        }
        if let Some(missing) = application
            .asset_dependencies()
            .find(|wanted| !files.assets.contains_key(&wanted.name))
        {
            return Err(BundleError::MissingAsset {
                name: missing.name.clone(),
            });
        }
        let env_vars = files.env_vars.map(|json| read_env_vars(&json)).transpose()?;
        if env_vars.is_some() && !files.assets.contains_key(ENV_ASSET) {
            return Err(BundleError::EnvVarsNotEncoded);
        }
        Ok(Self {
            application,
            assets,
            env_vars,
        })
    }

    /// The application, then its assets.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        std::iter::once(&self.application).chain(&self.assets)
    }
}

/// The raw files of a bundle.
#[derive(Default)]
struct Files {
    application: Option<(String, Vec<u8>)>,
    assets: BTreeMap<String, Vec<u8>>,
    env_vars: Option<Vec<u8>>,
}

impl Files {
    fn read(file: &[u8]) -> Result<Self, BundleError> {
        let mut archive = ZipArchive::new(Cursor::new(file)).map_err(BundleError::Archive)?;
        if archive.len() > MAX_FILES {
            return Err(BundleError::TooLarge {
                limit: MAX_FILES,
                unit: "files",
            });
        }
        let mut files = Self::default();
        let mut room = MAX_BYTES;
        for i in 0..archive.len() {
            let entry = archive.by_index(i).map_err(BundleError::Archive)?;
            let name = entry.name().to_owned();
            if entry.is_dir() {
                continue;
            }
            let mut bytes = Vec::new();
            // What the directory of the archive says of sizes is not believed: so much is decompressed and no more.
            entry
                .take(room as u64 + 1)
                .read_to_end(&mut bytes)
                .map_err(|source| BundleError::Unreadable {
                    name: name.clone(),
                    source,
                })?;
            room = room.checked_sub(bytes.len()).ok_or(BundleError::TooLarge {
                limit: MAX_BYTES,
                unit: "bytes of content",
            })?;
            files.sort_in(name, bytes)?;
        }
        Ok(files)
    }

    fn sort_in(&mut self, name: String, bytes: Vec<u8>) -> Result<(), BundleError> {
        match name.split_once('/') {
            None if name.ends_with(".bin") => match self.application.take() {
                None => self.application = Some((name, bytes)),
                Some((first, _)) => return Err(BundleError::TwoApplications { first, second: name }),
            },
            Some(("assets", asset)) if is_plain_name(asset) && !self.assets.contains_key(asset) => {
                self.assets.insert(asset.to_owned(), bytes);
            }
            Some(("env", "env-vars.json")) if self.env_vars.is_none() => self.env_vars = Some(bytes),
            _ => return Err(BundleError::Unexpected { name }),
        }
        Ok(())
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "." && name != ".."
}

/// The environment comes as a finished asset module, everything else as a raw file.
fn as_asset(name: &str, content: &[u8]) -> Result<Module, ModuleError> {
    let finished = Module::parse(content).ok().filter(|module| {
        module.verify().is_ok() && !module.is_combined() && module.asset().is_some_and(|asset| asset.name == name)
    });
    finished.map_or_else(|| asset::wrap(name, content), Ok)
}

fn check_declared(application: &Module, name: &str, content: &[u8], asset: &Module) -> Result<(), BundleError> {
    let Some(wanted) = application.asset_dependencies().find(|wanted| wanted.name == name) else {
        return Err(BundleError::UndeclaredAsset { name: name.to_owned() });
    };
    let found = sha256_of(content);
    if wanted.hash == found || asset.asset().is_some_and(|asset| asset.hash == wanted.hash) {
        return Ok(());
    }
    Err(BundleError::AssetDiffers {
        name: name.to_owned(),
        wanted: wanted.hash,
        found,
    })
}

fn read_env_vars(json: &[u8]) -> Result<BTreeMap<String, String>, BundleError> {
    let vars: BTreeMap<String, String> = serde_json::from_slice(json).map_err(|_| BundleError::EnvVars)?;
    let name_ok = |name: &String| {
        name.len() <= MAX_ENV_NAME
            && name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && name
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let size: usize = vars.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MAX_ENV_BYTES || !vars.keys().all(name_ok) {
        return Err(BundleError::EnvVars);
    }
    Ok(vars)
}

/// An application and as many assets as the largest store for assets has blocks.
const MAX_FILES: usize = 520;
/// The largest application and the largest store for assets, with room to spare.
const MAX_BYTES: usize = 8 * 1024 * 1024;
const ENV_ASSET: &str = "env-vars";
const MAX_ENV_NAME: usize = 128;
const MAX_ENV_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;
    use crate::{
        firmware::{AssetRef, Extension, ModuleBuilder},
        model::Platform,
    };

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn application(assets: &[(&str, &[u8])]) -> Vec<u8> {
        let named = assets.iter().map(|(name, content)| {
            Extension::AssetDependency(AssetRef {
                name: (*name).to_owned(),
                hash: sha256_of(content),
            })
        });
        let builder = ModuleBuilder::new(ModuleFunction::UserPart, 2, 6)
            .platform(Platform::Argon)
            .start(0xb_4000);
        builder.suffix_extensions(named).build().unwrap().bytes().to_vec()
    }

    #[test]
    fn application_and_assets_must_belong_together() {
        let app = application(&[("cat", b"meow")]);
        let parse = |files: &[(&str, &[u8])]| Bundle::parse(&archive(files));
        let good = parse(&[("app.bin", &app), ("assets/cat", b"meow")]).unwrap();
        assert_eq!(good.modules().count(), 2);
        assert!(matches!(parse(&[("app.bin", &app)]), Err(BundleError::MissingAsset { .. })));
        assert!(matches!(
            parse(&[("app.bin", &app), ("assets/cat", b"woof")]),
            Err(BundleError::AssetDiffers { .. })
        ));
        let extra = parse(&[("app.bin", &app), ("assets/cat", b"meow"), ("assets/dog", b"woof")]);
        assert!(matches!(extra, Err(BundleError::UndeclaredAsset { .. })));
        assert!(matches!(parse(&[("assets/cat", b"meow")]), Err(BundleError::NoApplication)));
        assert!(matches!(
            parse(&[("a.bin", &app), ("b.bin", &app)]),
            Err(BundleError::TwoApplications { .. })
        ));
        for name in ["readme.txt", "assets/../x", "assets/a/b", "other/x", "env/x.json", "/app.bin"] {
            assert!(
                matches!(parse(&[(name, b"x")]), Err(BundleError::Unexpected { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn the_application_must_be_good_and_an_application() {
        let mut broken = application(&[]);
        broken[30] ^= 1;
        assert!(matches!(
            Bundle::parse(&archive(&[("app.bin", &broken)])),
            Err(BundleError::Application { .. })
        ));
        let system = ModuleBuilder::new(ModuleFunction::SystemPart, 1, 1).build().unwrap();
        let system = archive(&[("app.bin", system.bytes())]);
        assert!(matches!(Bundle::parse(&system), Err(BundleError::NotApplication { .. })));
        assert!(matches!(Bundle::parse(b"PK"), Err(BundleError::Archive(_))));
    }

    #[test]
    fn environment_variables_come_with_the_asset_that_carries_them() {
        let env = asset::wrap(ENV_ASSET, b"encoded").unwrap();
        let app = application(&[(ENV_ASSET, env.bytes())]);
        let json: &[u8] = br#"{"A_1": "x"}"#;
        let carried = ("assets/env-vars", env.bytes());
        let bundle = Bundle::parse(&archive(&[("app.bin", &app), carried, ("env/env-vars.json", json)])).unwrap();
        assert_eq!(bundle.env_vars.unwrap()["A_1"], "x");
        assert_eq!(bundle.assets[0].bytes(), env.bytes(), "not wrapped twice");
        let alone = application(&[]);
        let uncarried = Bundle::parse(&archive(&[("app.bin", &alone), ("env/env-vars.json", json)]));
        assert!(matches!(uncarried, Err(BundleError::EnvVarsNotEncoded)));
        for bad in [&b"[]"[..], br#"{"a": "x"}"#, br#"{"A": 1}"#, b"{"] {
            let found = Bundle::parse(&archive(&[("app.bin", &app), carried, ("env/env-vars.json", bad)]));
            assert!(matches!(found, Err(BundleError::EnvVars)));
        }
    }

    #[test]
    fn a_bomb_is_cut_off() {
        let zeros = vec![0u8; MAX_BYTES + 1];
        let bomb = archive(&[("app.bin", &zeros)]);
        assert!(bomb.len() < 100_000);
        assert!(matches!(
            Bundle::parse(&bomb),
            Err(BundleError::TooLarge {
                unit: "bytes of content",
                ..
            })
        ));
        let names: Vec<String> = (0..=MAX_FILES).map(|i| format!("assets/{i}")).collect();
        let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
        assert!(matches!(
            Bundle::parse(&archive(&many)),
            Err(BundleError::TooLarge { unit: "files", .. })
        ));
    }
}
