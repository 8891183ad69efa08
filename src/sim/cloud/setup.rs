//! What the cloud holds when it starts: accounts, products, clients, customers and the devices that the vendor made.
//!
//! Everything here can be written in TOML, so that a scenario or the demo describes its cloud in a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{DeviceId, Secret};

/// The cloud at its start.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Setup {
    /// Accounts of people.
    pub users: Vec<UserSetup>,
    /// Products.
    pub products: Vec<ProductSetup>,
    /// OAuth clients of products.
    pub clients: Vec<ClientSetup>,
    /// Customers of products.
    pub customers: Vec<CustomerSetup>,
    /// Devices that were made: the cloud knows no others.
    pub devices: Vec<DeviceSetup>,
    /// The most identifiers in one import; more are refused. The documents name no number.
    pub import_limit: Option<usize>,
    /// The RSA-2048 private key of the server, PKCS#1 DER in base64; without it one is made when first needed.
    #[serde(deserialize_with = "secret_option")]
    pub server_rsa: Option<Secret<String>>,
}

/// One account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserSetup {
    /// E-mail address.
    pub name: String,
    /// Password.
    #[serde(deserialize_with = "secret")]
    pub password: Secret<String>,
    /// Secret of the second factor in base32, if the account has one.
    #[serde(default, deserialize_with = "secret_option")]
    pub mfa: Option<Secret<String>>,
    /// Recovery codes of the second factor.
    #[serde(default)]
    pub recovery_codes: Vec<String>,
    /// True for an account made before December 2024, which may put its token in the query.
    #[serde(default)]
    pub query_token: bool,
    /// True for an account that signs on elsewhere: the password grant is refused.
    #[serde(default)]
    pub sso: bool,
}

/// One product.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProductSetup {
    /// Number.
    pub id: u32,
    /// Name in addresses.
    pub slug: String,
    /// Platform number of its devices.
    pub platform: u16,
    /// Members and their roles.
    #[serde(default)]
    pub team: BTreeMap<String, Role>,
    /// True if protected devices may belong to it.
    #[serde(default)]
    pub device_protection: bool,
}

/// What a member of a team may do (cloud-api.md 3.2), from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Look.
    #[serde(rename = "View-only")]
    ViewOnly,
    /// Look, ping, call.
    Support,
    /// Work on devices, keys, customers, clients.
    Developer,
    /// All of that and the team.
    Administrator,
}

/// One OAuth client of a product.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientSetup {
    /// Client id.
    pub id: String,
    /// Client secret.
    #[serde(deserialize_with = "secret")]
    pub secret: Secret<String>,
    /// Its product.
    pub product: u32,
    /// True for a two-legged (server) client: the only kind that may use `client_credentials`.
    #[serde(default)]
    pub two_legged: bool,
}

/// One customer of a product.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CustomerSetup {
    /// E-mail address or another unique name.
    pub email: String,
    /// Its product.
    pub product: u32,
}

/// One device as the vendor made and sold it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeviceSetup {
    /// Device id.
    pub id: DeviceId,
    /// Platform number.
    pub platform: u16,
    /// Serial number as on the label.
    #[serde(default)]
    pub serial: Option<String>,
    /// Mobile secret as on the label.
    #[serde(default)]
    pub mobile_secret: Option<String>,
    /// Number of its SIM.
    #[serde(default)]
    pub iccid: Option<String>,
    /// Number of its modem.
    #[serde(default)]
    pub imei: Option<String>,
    /// Who claimed it: a user, a customer of its product, or a name that is neither (a stranger).
    #[serde(default)]
    pub owner: Option<String>,
    /// The product that it is in.
    #[serde(default)]
    pub product: Option<u32>,
    /// The product in whose quarantine it is.
    #[serde(default)]
    pub quarantine: Option<u32>,
    /// True if its bootloader is a protected one.
    #[serde(default)]
    pub protected: bool,
    /// True if a person denied it to its product.
    #[serde(default)]
    pub denied: bool,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its notes.
    #[serde(default)]
    pub notes: Option<String>,
    /// Its groups; the product has them, too.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The public key that the factory registered: SubjectPublicKeyInfo in PEM.
    #[serde(default)]
    pub public_key: Option<String>,
}

impl DeviceSetup {
    /// A device that nobody claimed and no product holds.
    pub fn new(id: DeviceId, platform: u16) -> Self {
        Self {
            id,
            platform,
            serial: None,
            mobile_secret: None,
            iccid: None,
            imei: None,
            owner: None,
            product: None,
            quarantine: None,
            protected: false,
            denied: false,
            name: None,
            notes: None,
            groups: Vec::new(),
            public_key: None,
        }
    }
}

impl Setup {
    /// A cloud for tests: the account [`BENCH_USER`] with [`BENCH_PASSWORD`] is administrator of one product for each
    /// platform among the devices, numbered [`BENCH_PRODUCT`] plus the platform's number, with a two-legged client
    /// [`BENCH_CLIENT`]`-PLATFORM`. The devices are known to the cloud and in no product.
    pub fn bench(devices: impl IntoIterator<Item = (DeviceId, u16)>) -> Self {
        let mut setup = Setup {
            users: vec![UserSetup {
                name: BENCH_USER.to_owned(),
                password: Secret::new(BENCH_PASSWORD.to_owned()),
                mfa: None,
                recovery_codes: Vec::new(),
                query_token: false,
                sso: false,
            }],
            ..Setup::default()
        };
        for (id, platform) in devices {
            if !setup.products.iter().any(|product| product.platform == platform) {
                let number = BENCH_PRODUCT + u32::from(platform);
                setup.products.push(ProductSetup {
                    id: number,
                    slug: format!("bench-{platform}"),
                    platform,
                    team: BTreeMap::from([(BENCH_USER.to_owned(), Role::Administrator)]),
                    device_protection: false,
                });
                setup.clients.push(ClientSetup {
                    id: format!("{BENCH_CLIENT}-{platform}"),
                    secret: Secret::new(BENCH_CLIENT_SECRET.to_owned()),
                    product: number,
                    two_legged: true,
                });
            }
            // Serial numbers have 15 characters (cloud-api.md 3.12); these are made from the end of the id.
            let tail = id.to_string()[16..].to_ascii_uppercase();
            setup.devices.push(DeviceSetup {
                serial: Some(format!("BNCH{:03}{tail}", platform)),
                ..DeviceSetup::new(id, platform)
            });
        }
        setup
    }
}

/// The account of [`Setup::bench`].
pub const BENCH_USER: &str = "operator@bench.test";
/// Its password.
pub const BENCH_PASSWORD: &str = "bench password";
/// The number of the bench product for platform 0.
pub const BENCH_PRODUCT: u32 = 12_000;
/// How client ids of the bench start.
pub const BENCH_CLIENT: &str = "bench";
/// The secret of the bench's clients.
pub const BENCH_CLIENT_SECRET: &str = "bench-client-secret";

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(from).map(Secret::new)
}

fn secret_option<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret<String>>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Secret::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_is_written_in_toml_and_unknown_keys_are_refused() {
        let text = r#"
            [[users]]
            name = "a@b.test"
            password = "p"
            mfa = "JBSWY3DPEHPK3PXP"
            [[products]]
            id = 7
            slug = "seven"
            platform = 12
            team = { "a@b.test" = "View-only" }
            [[devices]]
            id = "E00FCE680000000000000001"
            platform = 12
            protected = true
        "#;
        let setup: Setup = toml::from_str(text).unwrap();
        assert_eq!(setup.products[0].team["a@b.test"], Role::ViewOnly);
        assert_eq!(setup.devices[0].id.to_string(), "e00fce680000000000000001");
        assert!(!format!("{setup:?}").contains("JBSWY"), "secrets are not shown");
        assert!(toml::from_str::<Setup>("colour = 1").is_err());
    }
}
