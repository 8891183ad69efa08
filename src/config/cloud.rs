//! Which cloud the station registers with, and how fast.

use std::{net::IpAddr, path::PathBuf};

use super::{document::Table, slot::Unique, value::Value};
use crate::model::ProductId;

/// The `[cloud]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Base address, `https` (or `http` on loopback), without a slash at its end.
    pub url: String,
    /// Where the access token is; `None` if it comes by systemd credentials or standard input.
    pub token_file: Option<PathBuf>,
    /// Certificates that are trusted in addition to those of the system.
    pub ca_file: Option<PathBuf>,
    /// Requests per second.
    pub requests_per_second: u32,
    /// Devices in one import request.
    pub import_chunk: u32,
    /// OAuth clients of products, by which their customers' devices can be given back after a repair.
    pub clients: Vec<ClientSpec>,
}

/// An OAuth client of a product as it is written: its id and secret are in a file of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSpec {
    /// The product.
    pub product: ProductId,
    /// A file that is its owner's alone.
    pub file: PathBuf,
}

/// Reads the `[cloud]` table, which may be absent.
pub(super) fn read(root: &Table<'_>) -> Option<Cloud> {
    let Some(value) = root.get("cloud") else {
        return Some(Cloud::default());
    };
    let table = value.table("must be a table [cloud]")?;
    let default = Cloud::default();
    let url = table.get_or("url", default.url, |value| url(&value));
    let token_file = table.optional("token_file", |value| token_file(&value));
    let ca_file = table.optional("ca_file", |value| value.path());
    let requests_per_second = table.get_or("requests_per_second", default.requests_per_second, |v| {
        v.number(1..=MOST_REQUESTS)
    });
    let import_chunk = table.get_or("import_chunk", default.import_chunk, |value| value.number(1..=MOST_CHUNK));
    let clients = table.get_or("client", Vec::new(), |value| clients(&value));
    table.end();
    Some(Cloud {
        url: url?,
        token_file: token_file?,
        ca_file: ca_file?,
        requests_per_second: requests_per_second?,
        import_chunk: import_chunk?,
        clients: clients?,
    })
}

impl Default for Cloud {
    fn default() -> Self {
        Self {
            url: "https://api.particle.io".to_owned(),
            token_file: None,
            ca_file: None,
            requests_per_second: 20,
            import_chunk: 500,
            clients: Vec::new(),
        }
    }
}

fn url(value: &Value<'_>) -> Option<String> {
    const ALLOWED: &str = "must be an address such as \"https://api.particle.io\"; http only for this machine itself";
    // An address may have a password or a token in it: not shown then.
    if value.text(ALLOWED, |text| Some(text.contains(['@', '?', '#'])))? {
        return value.refuse_unseen("must be an address without user name, password and query");
    }
    value.text(ALLOWED, |text| {
        let (scheme, rest) = text.split_once("://")?;
        let rest = rest.trim_end_matches('/');
        let authority = rest.split('/').next()?;
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port.strip_prefix(':').or(port.is_empty().then_some("443"))?)
            }
            None => authority.split_once(':').unwrap_or((authority, "443")),
        };
        let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let fine = rest.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\".contains(&b))
            && !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:".contains(&b))
            && port.parse::<u16>().is_ok_and(|port| port > 0)
            && (scheme == "https" || scheme == "http" && local);
        fine.then(|| format!("{scheme}://{rest}"))
    })
}

fn clients(value: &Value<'_>) -> Option<Vec<ClientSpec>> {
    let elements = value.elements(CLIENTS)?;
    let mut products = Unique::new("product");
    let clients: Vec<_> = elements
        .iter()
        .map(|element| {
            if !element.is_table() {
                // Somebody may have thought that id or secret belong here.
                return element.refuse_unseen(CLIENTS);
            }
            let table = element.table(CLIENTS)?;
            let product = table.need("product", "the product of the client").and_then(|value| {
                let product = value.product()?;
                products.claim(&value, product.clone()).then_some(product)
            });
            let file = table
                .need("file", CLIENT_FILE)
                .and_then(|value| secret_file(&value, "the client's id and secret"));
            table.end();
            Some(ClientSpec {
                product: product?,
                file: file?,
            })
        })
        .collect();
    clients.into_iter().collect()
}

fn token_file(value: &Value<'_>) -> Option<PathBuf> {
    secret_file(value, "the token")
}

/// The path of a file that holds `what`.
fn secret_file(value: &Value<'_>, what: &str) -> Option<PathBuf> {
    let path = value.path()?;
    // Access tokens and client secrets have 40 hexadecimal digits (cloud-api.md 1.2, 1.5).
    if path
        .to_str()
        .is_some_and(|text| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return value.refuse_unseen(format!(
            "must be the path of a file that holds {what}, not {what} itself: revoke this one"
        ));
    }
    Some(path)
}

const CLIENTS: &str = "must be [[cloud.client]] tables, each with product and file";
const CLIENT_FILE: &str = "the file with the client's id and secret, which is its owner's alone";
/// The documented limit is 10,000 requests in 5 minutes (cloud-api.md 4.2).
const MOST_REQUESTS: u32 = 33;
/// No limit is documented; a longer list would only lose more if its answer is lost.
const MOST_CHUNK: u32 = 10_000;
