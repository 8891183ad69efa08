//! Recipes as they are written: one for each platform, with paths in place of contents.

use std::path::PathBuf;

use super::{
    aim,
    document::{Document, Table},
    error::ConfigErrors,
    slot::Unique,
    value::{Value, is_name},
};
use crate::{
    keys::ServerAddress,
    model::{
        Platform, ProductId,
        platform::Network,
        recipe::{Aim, KeyPolicy, ProtectedPolicy, Repair, Sha256, Timeouts},
    },
};

/// A recipe as written: [`RecipeSpec::resolve`] makes a [`Recipe`](crate::model::recipe::Recipe) of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeSpec {
    /// Its name.
    pub name: String,
    /// The platform that it is for.
    pub platform: Platform,
    /// True if it counts only when an engineer chooses it, in place of the usual one of its platform.
    pub standby: bool,
    /// What its runs are for.
    pub aim: Aim,
    /// The product; `None` for development devices of the station's own account, or, under a repair, for the product in
    /// which the cloud shows the device.
    pub product: Option<ProductId>,
    /// Also activate the SIM at import.
    pub activate_sim: bool,
    /// Firmware files.
    pub firmware: Vec<FirmwareSpec>,
    /// What to do with the key pair.
    pub keys: KeyPolicy,
    /// What to do with the server key.
    pub server: ServerSpec,
    /// What to do with a protected device.
    pub protected: ProtectedPolicy,
    /// The bench network.
    pub wifi: Option<WifiSpec>,
    /// Wait for a handshake as proof.
    pub prove: bool,
    /// Let a device go with its key owed.
    pub finish_owed: bool,
    /// Limits.
    pub timeouts: Timeouts,
    /// Where it is written.
    pub place: Place,
    /// The text from which it was read again; `None` if it comes from a station file.
    pub(super) recorded: Option<String>,
}

/// A firmware file as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareSpec {
    /// Its path as written.
    pub file: PathBuf,
    /// The SHA-256 that it must have.
    pub sha256: Sha256,
    /// Where it is written.
    pub place: Place,
}

/// What to do with the server key, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerSpec {
    /// Leave it.
    Keep,
    /// The vendor's production cloud.
    Production,
    /// The cloud with the key in this file.
    File {
        /// PEM or DER file of the server's public key.
        key: PathBuf,
        /// Host name or IPv4 address.
        host: String,
        /// Port, if not the default one.
        port: Option<u16>,
        /// Where the key is written.
        place: Place,
    },
    /// The cloud with this key: only in recorded recipes, which must not depend on a file.
    Key {
        /// SubjectPublicKeyInfo DER.
        spki: Vec<u8>,
        /// Host name or IPv4 address.
        host: String,
        /// Port, if not the default one.
        port: Option<u16>,
        /// Where the key is written.
        place: Place,
    },
}

/// The bench network as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WifiSpec {
    /// Network name.
    pub ssid: String,
    /// File of the password; `None` for an open network.
    pub password_file: Option<PathBuf>,
    /// Where it is written.
    pub place: Place,
}

/// Where something is written, for errors that show later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, or the name of the recorded recipe.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Key path.
    pub key: String,
}

impl RecipeSpec {
    /// A repair that no file describes: for a command that has everything from its options.
    pub fn repair(platform: Platform, product: Option<ProductId>, repair: Repair, server: ServerSpec) -> Self {
        let work = aim::word(repair.work);
        let keys = match repair.work {
            work if work.writes_key() => KeyPolicy::Generate,
            _ => KeyPolicy::ReadOrGenerate,
        };
        Self {
            name: format!("{work}-{}", platform.name()),
            platform,
            standby: false,
            aim: Aim::Repair(repair),
            product,
            activate_sim: false,
            firmware: Vec::new(),
            keys,
            server,
            protected: ProtectedPolicy::SetAside,
            wifi: None,
            prove: true,
            finish_owed: false,
            timeouts: Timeouts::default(),
            place: Self::of_options("recipe"),
            recorded: None,
        }
    }

    /// The place of what options say.
    pub fn of_options(key: &str) -> Place {
        Place {
            file: "the options of this command".to_owned(),
            line: 0,
            key: key.to_owned(),
        }
    }
}

/// Reads a recipe again from the text that the ledger has of it: a run under way keeps its recipe, whatever has become
/// of `station.toml`. Paths are as they were written.
///
/// # Errors
/// If the text is not a recipe; it is named `recipe` in them.
pub fn recipe_from_text(text: &str) -> Result<RecipeSpec, ConfigErrors> {
    let mut recipe = Document::read("recipe", text, |root| read(root, "recipe", None))?;
    recipe.recorded = Some(text.to_owned());
    Ok(recipe)
}

/// Reads all `[[recipe]]` tables. No two may have the same name, and no two the same platform but those on standby.
pub(super) fn read_all(root: &Table<'_>, file: &str) -> Option<Vec<RecipeSpec>> {
    let all = root.need("recipe", "a station needs at least one [[recipe]] with name and platform")?;
    let elements = all.elements(TABLES)?;
    if elements.is_empty() {
        return all.refuse("a station needs at least one [[recipe]] with name and platform");
    }
    let mut taken = Taken {
        names: Unique::new("name"),
        platforms: Unique::new("platform"),
    };
    let recipes: Vec<_> = elements
        .iter()
        .map(|element| {
            let table = element.table(TABLES)?;
            let recipe = read(&table, file, Some(&mut taken));
            table.end();
            recipe
        })
        .collect();
    recipes.into_iter().collect()
}

struct Taken {
    names: Unique<String>,
    platforms: Unique<Platform>,
}

/// Reads one recipe. `taken` is absent for a recorded one, which may hold its server key itself.
fn read(table: &Table<'_>, file: &str, mut taken: Option<&mut Taken>) -> Option<RecipeSpec> {
    let recorded = taken.is_none();
    let name = table.need("name", NAME).and_then(|value| {
        let name = value.text(NAME, |text| is_name(text, 64).then(|| text.to_owned()))?;
        taken
            .as_mut()
            .is_none_or(|taken| taken.names.claim(&value, name.clone()))
            .then_some(name)
    });
    let standby = table.get_or("standby", false, |value| value.truth());
    let platform = table.need("platform", PLATFORM).and_then(|value| {
        let platform = value.text(PLATFORM, |text| text.parse::<Platform>().ok())?;
        taken
            .as_mut()
            .is_none_or(|taken| standby == Some(true) || taken.platforms.claim(&value, platform))
            .then_some(platform)
    });
    let product = table.optional("product", |value| value.product());
    let aim = aim::read(table, product.as_ref().and_then(Option::as_ref));
    let repairs = matches!(aim, Some(Aim::Repair(_)));
    let activate_sim = table.get_or("activate_sim", false, |value| {
        let activate = value.truth()?;
        let cellular = platform.is_none_or(|platform| platform.row().network == Network::Cellular);
        match (activate, cellular, &product) {
            (true, false, _) => value.refuse("must be false: this platform has no SIM"),
            (true, true, Some(None)) => value.refuse("needs a product: SIMs are activated at import into one"),
            _ => Some(activate),
        }
    });
    let firmware = table.get_or("firmware", Vec::new(), |value| firmware(&value, file));
    let keys = aim::keys(table, aim.as_ref());
    // Whoever repairs a device wants it in the vendor's cloud, unless another is named.
    let usual = if repairs { ServerSpec::Production } else { ServerSpec::Keep };
    let server = table.get_or("server", usual, |value| server(&value, file, recorded));
    let protected = table.get_or("protected", ProtectedPolicy::SetAside, |value| {
        let words = [ProtectedPolicy::SetAside, ProtectedPolicy::ServiceMode].map(|policy| (policy.to_string(), policy));
        let policy = value.choice(&words.each_ref().map(|(word, policy)| (word.as_str(), *policy)))?;
        if policy == ProtectedPolicy::ServiceMode && platform.is_some_and(|platform| !platform.row().protection) {
            return value.refuse("must be \"set-aside\", or be left out: no device of this platform is protected");
        }
        Some(policy)
    });
    let wifi = table.optional("wifi", |value| {
        if platform.is_some_and(|platform| platform.row().network != Network::Wifi) {
            return value.refuse("must be absent: this platform has no Wi-Fi");
        }
        wifi(&value, file)
    });
    let prove = table.get_or("prove", true, |value| value.truth());
    let finish_owed = table.get_or("finish_owed", false, |value| value.truth());
    let timeouts = table.get_or("timeouts", Timeouts::default(), |value| timeouts(&value));
    Some(RecipeSpec {
        name: name?,
        platform: platform?,
        standby: standby?,
        aim: aim?,
        product: product?,
        activate_sim: activate_sim?,
        firmware: firmware?,
        keys: keys?,
        server: server?,
        protected: protected?,
        wifi: wifi?,
        prove: prove?,
        finish_owed: finish_owed?,
        timeouts: timeouts?,
        place: Place {
            file: file.to_owned(),
            line: table.line(),
            key: table.key().to_owned(),
        },
        recorded: None,
    })
}

fn firmware(value: &Value<'_>, file: &str) -> Option<Vec<FirmwareSpec>> {
    let elements = value.elements(FIRMWARE)?;
    if elements.len() > MOST_FILES {
        return value.refuse(format!("must have at most {MOST_FILES} files"));
    }
    let mut paths = Unique::new("file");
    let files: Vec<_> = elements
        .iter()
        .map(|element| {
            let table = element.table(FIRMWARE)?;
            let path = table.need("file", "the path of a firmware file").and_then(|value| {
                let path = value.path()?;
                paths.claim(&value, path.clone()).then_some(path)
            });
            let sha256 = table
                .need("sha256", SHA256)
                .and_then(|value| value.text(SHA256, |text| text.parse().ok()));
            table.end();
            Some(FirmwareSpec {
                file: path?,
                sha256: sha256?,
                place: Place::of(element, file),
            })
        })
        .collect();
    files.into_iter().collect()
}

fn server(value: &Value<'_>, file: &str, recorded: bool) -> Option<ServerSpec> {
    if value.is_text() {
        return value.text(SERVER, |text| match text {
            "keep" => Some(ServerSpec::Keep),
            "production" => Some(ServerSpec::Production),
            _ => None,
        });
    }
    let table = value.table(SERVER)?;
    let host = table
        .need("host", HOST)
        .and_then(|value| value.text(HOST, |text| ServerAddress::new(text, None).ok().map(|_| text.to_owned())));
    let port = table.optional("port", |value| value.number(1..=65534u16));
    let place = Place::of(value, file);
    let spki = if recorded {
        table.optional("spki", |value| {
            use base64::{Engine, engine::general_purpose::STANDARD};
            value.text("must be a public key in base64", |text| STANDARD.decode(text).ok())
        })
    } else {
        Some(None)
    };
    let spec = match spki? {
        Some(spki) => host.and_then(|host| {
            Some(ServerSpec::Key {
                spki,
                host,
                port: port?,
                place,
            })
        }),
        None => {
            let key = table
                .need("key", "the file of the server's public key, PEM or DER")
                .and_then(|value| value.path());
            (|| {
                Some(ServerSpec::File {
                    key: key?,
                    host: host?,
                    port: port?,
                    place,
                })
            })()
        }
    };
    table.end();
    spec
}

fn wifi(value: &Value<'_>, file: &str) -> Option<WifiSpec> {
    const ALLOWED: &str = "must be a table { ssid = \"…\", password_file = \"…\" }";
    if !value.is_table() {
        // Somebody may have thought that the password belongs here.
        return value.refuse_unseen(ALLOWED);
    }
    let table = value.table(ALLOWED)?;
    let ssid = table.need("ssid", SSID).and_then(|value| {
        value.text(SSID, |text| {
            ((1..=32).contains(&text.len()) && !text.chars().any(char::is_control)).then(|| text.to_owned())
        })
    });
    let password_file = table.optional("password_file", |value| value.path());
    table.end();
    Some(WifiSpec {
        ssid: ssid?,
        password_file: password_file?,
        place: Place::of(value, file),
    })
}

fn timeouts(value: &Value<'_>) -> Option<Timeouts> {
    let table = value.table("must be a table of times")?;
    let default = Timeouts::default();
    let read = |key, default| table.get_or(key, default, |value| value.duration());
    let (reappear, apply, flash) = (
        read("reappear", default.reappear),
        read("apply", default.apply),
        read("flash", default.flash),
    );
    let (step, cloud, handshake) = (
        read("step", default.step),
        read("cloud", default.cloud),
        read("handshake", default.handshake),
    );
    table.end();
    Some(Timeouts {
        reappear: reappear?,
        apply: apply?,
        flash: flash?,
        step: step?,
        cloud: cloud?,
        handshake: handshake?,
    })
}

impl Place {
    fn of(value: &Value<'_>, file: &str) -> Self {
        Self {
            file: file.to_owned(),
            line: value.line(),
            key: value.key().to_owned(),
        }
    }
}

const TABLES: &str = "must be [[recipe]] tables, each with name and platform";
const NAME: &str = "must be a name of 1 to 64 letters, digits and -_., such as \"boron-tracker\"";
const PLATFORM: &str = "must be a platform such as \"argon\", \"boron\", \"photon\" or \"p2\"";
const FIRMWARE: &str = "must be a list of { file = \"…\", sha256 = \"…\" }";
const SHA256: &str = "must be the SHA-256 of the file, 64 hexadecimal digits";
const SERVER: &str = "must be \"keep\", \"production\" or { key = \"server.pub.pem\", host = \"…\", port = … }";
const HOST: &str = "must be a host name of at most 63 characters ($id stands for the device id) or an IPv4 address";
const SSID: &str = "must be a network name of 1 to 32 bytes";
/// A recipe has a handful of files; steps count them in one byte.
const MOST_FILES: usize = 32;
