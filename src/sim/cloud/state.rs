//! What the cloud remembers, in a form that can be written to a file and read again.
//!
//! Passwords and tokens are kept as hashes; the server's private keys and the secrets of second factors are not, so
//! the file must be readable by its owner only.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    audit::Audit,
    setup::{Role, Setup},
    spki::{self, Algorithm},
};
use crate::model::{DeviceId, Wall};

/// Everything.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    /// Version of this form.
    pub(super) version: u32,
    pub(super) users: BTreeMap<String, User>,
    pub(super) products: BTreeMap<u32, Product>,
    pub(super) clients: BTreeMap<String, Client>,
    pub(super) customers: Vec<Customer>,
    pub(super) devices: BTreeMap<DeviceId, Device>,
    pub(super) sims: BTreeMap<String, Sim>,
    /// Access tokens by the SHA-256 of the token.
    pub(super) tokens: BTreeMap<String, Token>,
    /// Refresh tokens by the SHA-256 of the token.
    pub(super) refresh: BTreeMap<String, Refresh>,
    /// Sign-ins that wait for their second factor, by the SHA-256 of the `mfa_token`.
    pub(super) pending: BTreeMap<String, Pending>,
    /// Challenges of unprotect flows under way.
    pub(super) unprotect: BTreeMap<DeviceId, Vec<u8>>,
    pub(super) audit: Audit,
    pub(super) server: ServerKeys,
    pub(super) import_limit: Option<usize>,
}

/// The private keys that the devices' server keys belong to.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct ServerKeys {
    /// PKCS#1 DER of an RSA-2048 key in base64.
    pub(super) rsa: Option<String>,
    /// The scalar of a P-256 key in base64.
    pub(super) ec: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct User {
    pub(super) salt: String,
    pub(super) password: String,
    pub(super) mfa: Option<String>,
    pub(super) recovery_codes: Vec<String>,
    pub(super) query_token: bool,
    pub(super) sso: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Product {
    pub(super) slug: String,
    pub(super) platform: u16,
    pub(super) team: BTreeMap<String, Role>,
    pub(super) api_users: BTreeMap<String, ApiUser>,
    pub(super) device_protection: bool,
    pub(super) groups: Vec<String>,
}

impl Product {
    /// Makes the groups that are not there yet.
    pub(super) fn join(&mut self, groups: &[String]) {
        for group in groups {
            if !self.groups.contains(group) {
                self.groups.push(group.clone());
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct ApiUser {
    pub(super) friendly_name: String,
    pub(super) scopes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Client {
    pub(super) secret: String,
    pub(super) product: u32,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) two_legged: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Customer {
    pub(super) email: String,
    pub(super) product: u32,
    pub(super) id: String,
    pub(super) password: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Sim {
    pub(super) product: Option<u32>,
    pub(super) active: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) actor: Actor,
    pub(super) client: String,
    pub(super) expires: Option<Wall>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Refresh {
    pub(super) actor: Actor,
    pub(super) client: String,
    pub(super) expires: Wall,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) user: String,
    pub(super) client: String,
    pub(super) expires: Wall,
    pub(super) lifetime: Option<i64>,
}

/// In whose name a token acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Actor {
    User(String),
    Customer { email: String, product: u32 },
    Client { id: String, product: u32 },
    ApiUser { name: String, product: u32 },
}

/// Who claimed a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Owner {
    User(String),
    Customer(String),
}

impl Owner {
    pub(super) fn name(&self) -> &str {
        match self {
            Owner::User(name) | Owner::Customer(name) => name,
        }
    }
}

/// The key that was registered for a device. It never leaves through an endpoint.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Registered {
    pub(super) algorithm: Algorithm,
    /// SubjectPublicKeyInfo in base64.
    pub(super) spki: String,
    pub(super) at: Wall,
}

impl Registered {
    pub(super) fn new(algorithm: Algorithm, spki: &[u8], at: Wall) -> Self {
        Self {
            algorithm,
            spki: BASE64.encode(spki),
            at,
        }
    }

    pub(super) fn spki(&self) -> Vec<u8> {
        BASE64.decode(&self.spki).unwrap_or_default()
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Device {
    pub(super) platform: u16,
    pub(super) serial: Option<String>,
    pub(super) mobile_secret: Option<String>,
    pub(super) iccid: Option<String>,
    pub(super) imei: Option<String>,
    pub(super) product: Option<u32>,
    pub(super) quarantine: Option<u32>,
    pub(super) denied: bool,
    pub(super) protected: bool,
    pub(super) owner: Option<Owner>,
    pub(super) name: Option<String>,
    pub(super) notes: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) development: bool,
    pub(super) desired_firmware: Option<i64>,
    pub(super) updates_forced: bool,
    pub(super) key: Option<Registered>,
    pub(super) online: bool,
    /// When the cloud will notice that the device is gone.
    pub(super) missed_at: Option<Wall>,
    pub(super) last_heard: Option<Wall>,
    pub(super) last_handshake_at: Option<Wall>,
    pub(super) os_version: Option<u16>,
    pub(super) firmware_product: Option<u16>,
    pub(super) firmware_version: Option<u16>,
    /// The connection that the cloud would resume, in hexadecimal.
    pub(super) session: Option<String>,
}

impl State {
    /// The state at the start. `random` makes salts and ids.
    pub(super) fn new(setup: Setup, at: Wall, mut random: impl FnMut(usize) -> String) -> Self {
        let mut state = State {
            version: VERSION,
            users: BTreeMap::new(),
            products: BTreeMap::new(),
            clients: BTreeMap::new(),
            customers: Vec::new(),
            devices: BTreeMap::new(),
            sims: BTreeMap::new(),
            tokens: BTreeMap::new(),
            refresh: BTreeMap::new(),
            pending: BTreeMap::new(),
            unprotect: BTreeMap::new(),
            audit: Audit::default(),
            server: ServerKeys {
                rsa: setup.server_rsa.as_ref().map(|key| key.expose().clone()),
                ec: None,
            },
            import_limit: setup.import_limit,
        };
        for user in setup.users {
            let salt = random(8);
            let password = hash_password(&salt, user.password.expose());
            let mfa = user.mfa.map(|secret| secret.expose().clone());
            let (recovery_codes, query_token, sso) = (user.recovery_codes, user.query_token, user.sso);
            state.users.insert(
                user.name,
                User {
                    salt,
                    password,
                    mfa,
                    recovery_codes,
                    query_token,
                    sso,
                },
            );
        }
        for product in setup.products {
            let new = Product {
                slug: product.slug,
                platform: product.platform,
                team: product.team,
                api_users: BTreeMap::new(),
                device_protection: product.device_protection,
                groups: Vec::new(),
            };
            state.products.insert(product.id, new);
        }
        for client in setup.clients {
            let new = Client {
                secret: hash(client.secret.expose()),
                product: client.product,
                name: client.id.clone(),
                kind: "installed".to_owned(),
                two_legged: client.two_legged,
            };
            state.clients.insert(client.id, new);
        }
        for customer in setup.customers {
            let id = random(12);
            state.customers.push(Customer {
                email: customer.email,
                product: customer.product,
                id,
                password: None,
            });
        }
        for device in setup.devices {
            let customer = |name: &String| {
                state
                    .customers
                    .iter()
                    .any(|c| &c.email == name && Some(c.product) == device.product)
            };
            let owner = device.owner.map(|name| {
                if customer(&name) {
                    Owner::Customer(name)
                } else {
                    Owner::User(name)
                }
            });
            if let Some(product) = device.product.and_then(|id| state.products.get_mut(&id)) {
                product.join(&device.groups);
            }
            let key = device.public_key.as_deref().and_then(|pem| spki::parse_pem(pem).ok());
            if let Some(iccid) = &device.iccid {
                state.sims.insert(
                    iccid.clone(),
                    Sim {
                        product: device.product,
                        active: device.product.is_some(),
                    },
                );
            }
            let new = Device {
                platform: device.platform,
                serial: device.serial,
                mobile_secret: device.mobile_secret,
                iccid: device.iccid,
                imei: device.imei,
                product: device.product,
                quarantine: device.quarantine,
                denied: device.denied,
                protected: device.protected,
                owner,
                name: device.name,
                notes: device.notes,
                groups: device.groups,
                development: false,
                desired_firmware: None,
                updates_forced: false,
                key: key.map(|(algorithm, spki)| Registered::new(algorithm, &spki, at)),
                online: false,
                missed_at: None,
                last_heard: None,
                last_handshake_at: None,
                os_version: None,
                firmware_product: None,
                firmware_version: None,
                session: None,
            };
            state.devices.insert(device.id, new);
        }
        state
    }

    /// The product with this number or slug.
    pub(super) fn product_named(&self, name: &str) -> Option<u32> {
        let number = name.parse().ok().filter(|id| self.products.contains_key(id));
        number.or_else(|| {
            self.products
                .iter()
                .find(|(_, product)| product.slug == name)
                .map(|(id, _)| *id)
        })
    }

    /// True if a device may join a product: of its platform, protected only where the product is.
    pub(super) fn fits(&self, device: DeviceId, product: u32) -> bool {
        let product = self.products.get(&product);
        let device = self.devices.get(&device);
        product.zip(device).is_some_and(|(product, device)| {
            product.platform == device.platform && (product.device_protection || !device.protected)
        })
    }

    /// The role of a user in a product.
    pub(super) fn role(&self, user: &str, product: u32) -> Option<Role> {
        self.products.get(&product)?.team.get(user).copied()
    }

    pub(super) fn customer(&self, product: u32, email: &str) -> Option<&Customer> {
        self.customers
            .iter()
            .find(|customer| customer.product == product && customer.email == email)
    }
}

/// The version of the stored form that this code writes and reads.
pub(super) const VERSION: u32 = 1;

/// SHA-256 in hexadecimal: how tokens are kept.
pub(super) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// How passwords are kept. A stand-in's passwords are not worth a slow hash.
pub(super) fn hash_password(salt: &str, password: &str) -> String {
    hash(&format!("{salt}:{password}"))
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `at` moved by a number of milliseconds; `at` itself where the calendar ends.
pub(super) fn later(at: Wall, millis: i64) -> Wall {
    Wall::from_millis(at.millis().saturating_add(millis)).unwrap_or(at)
}
