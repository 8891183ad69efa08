//! A stand-in cloud with a shop in it: a product with its team, customers and devices, and a raw client.

use std::sync::Arc;

use keyrack::{
    edge::entropy::SystemEntropy,
    model::{DeviceId, Secret},
    sim::{
        clock::VirtualClock,
        cloud::{
            BENCH_CLIENT_SECRET, BENCH_PASSWORD, BENCH_PRODUCT, BENCH_USER, ClientSetup, CustomerSetup, DeviceSetup, Fault,
            Moved, ProductSetup, Role, Setup, StandIn, UserSetup, WireRequest, WireResponse,
        },
    },
};
use p256::{
    SecretKey,
    elliptic_curve::Generate,
    pkcs8::{EncodePublicKey, LineEnding},
};
use serde_json::{Value, json};

/// The shop's product for Borons, by number and by slug.
pub(crate) const PRODUCT: u32 = BENCH_PRODUCT + 13;
pub(crate) const SLUG: &str = "bench-13";
/// Another product of the shop.
pub(crate) const OTHER: u32 = 901;
/// A product of somebody else.
pub(crate) const FOREIGN: u32 = 902;
/// The customer who has [`ANNS`]. A plus in the address is a plus.
pub(crate) const ANN: &str = "ann+home@example.test";
pub(crate) const SECOND: &str = "second@bench.test";
/// A customer's device with a name, notes and groups.
pub(crate) const ANNS: &str = "e00fce680000000000000001";
/// Nobody's device, in no product.
pub(crate) const NEW: &str = "e00fce680000000000000002";
/// Nobody's device in [`OTHER`], with a name and groups.
pub(crate) const ELSEWHERE: &str = "e00fce680000000000000003";

/// The cloud, and the token of an administrator of the shop.
pub(crate) struct Shop {
    pub(crate) cloud: StandIn,
    pub(crate) token: String,
}

/// A device id.
pub(crate) fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

/// A key pair of a device, and its public half in PEM.
pub(crate) fn key() -> (SecretKey, String) {
    let key = SecretKey::generate();
    let pem = key.public_key().to_public_key_pem(LineEnding::LF).unwrap();
    (key, pem)
}

impl Shop {
    pub(crate) fn open() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::bench([(id(ANNS), 13), (id(NEW), 13), (id(ELSEWHERE), 13)]);
        setup.users.push(UserSetup {
            name: SECOND.into(),
            ..setup.users[0].clone()
        });
        setup.products[0].team.insert(SECOND.into(), Role::Developer);
        for (number, slug, ours) in [(OTHER, "other", true), (FOREIGN, "foreign", false)] {
            let mut product = ProductSetup {
                id: number,
                slug: slug.into(),
                ..setup.products[0].clone()
            };
            if !ours {
                product.team.clear();
            }
            setup.products.push(product);
            setup.clients.push(ClientSetup {
                id: format!("client-{number}"),
                product: number,
                ..setup.clients[0].clone()
            });
        }
        // More than one page of them, and Ann on the last.
        let names = (0..130).map(|n| format!("c{n}@example.test"));
        setup.customers = names
            .chain([ANN.to_owned()])
            .map(|email| CustomerSetup { email, product: PRODUCT })
            .collect();
        let anns = &mut setup.devices[0];
        anns.product = Some(PRODUCT);
        anns.owner = Some(ANN.into());
        about(anns);
        let elsewhere = &mut setup.devices[2];
        elsewhere.product = Some(OTHER);
        about(elsewhere);
        change(&mut setup);
        let cloud = StandIn::new(Arc::new(VirtualClock::new()), Arc::new(SystemEntropy), setup);
        let token = sign_in(&cloud, BENCH_USER);
        Self { cloud, token }
    }

    /// One request of the shop.
    pub(crate) fn send(&self, request: WireRequest) -> (u16, Value) {
        self.send_as(&self.token, request)
    }

    pub(crate) fn send_as(&self, token: &str, request: WireRequest) -> (u16, Value) {
        let response = self.cloud.handle(&request.bearer(token)).response();
        (response.status, response.json())
    }

    /// Asks for a customer's token with a client, the form as it is on the wire.
    pub(crate) fn grant(&self, client: &str, secret: &str, form: &str) -> WireResponse {
        let mut request = WireRequest::new("POST", "/oauth/token").form(&[]);
        request.body = format!("client_id={client}&client_secret={}&{form}", secret.replace(' ', "%20")).into_bytes();
        self.cloud.handle(&request).response()
    }

    /// A token that acts for Ann.
    pub(crate) fn anns_token(&self) -> String {
        let form = format!(
            "grant_type=client_credentials&scope=customer%3D{}",
            ANN.replace('+', "%2B").replace('@', "%40")
        );
        let response = self.grant(SLUG, BENCH_CLIENT_SECRET, &form);
        assert_eq!(response.status, 200, "{}", response.json());
        response.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// Uploads a key as the vendor's tool does, for a product or none; the status.
    pub(crate) fn upload(&self, device: &str, pem: &str, product: Option<&str>) -> u16 {
        let mut form = vec![
            ("deviceID", device),
            ("publicKey", pem),
            ("filename", "cli"),
            ("order", "manual_1"),
            ("algorithm", "ecc"),
        ];
        form.extend(product.map(|product| ("product_id", product)));
        self.send(WireRequest::new("POST", &format!("/v1/provisioning/{device}")).form(&form))
            .0
    }

    /// Imports a device into the shop's product.
    pub(crate) fn import(&self, device: &str) -> (u16, Value) {
        self.send(WireRequest::new("POST", &format!("/v1/products/{SLUG}/devices")).form(&[("id", device)]))
    }

    /// Releases a device from its owner.
    pub(crate) fn release(&self, device: &str) {
        let path = format!("{}/owner", member(device));
        assert_eq!(self.send(WireRequest::new("DELETE", &path)).0, 200);
    }

    /// Product and owner as the cloud has them.
    pub(crate) fn place(&self, device: &str) -> (Option<u32>, Option<String>) {
        self.cloud.place(id(device)).unwrap()
    }

    /// Everything that became of a device's place, in words.
    pub(crate) fn moves(&self, device: &str) -> Vec<Moved> {
        self.cloud.moves(id(device)).into_iter().map(|moved| moved.what).collect()
    }

    /// The devices that the list of customers gives to Ann, whatever page she is on.
    pub(crate) fn anns_devices(&self) -> Value {
        let path = format!("/v1/products/{SLUG}/customers?perPage=1000");
        let (_, body) = self.send(WireRequest::new("GET", &path));
        let customers = body["customers"].as_array().unwrap();
        customers.iter().find(|c| c["username"] == json!(ANN)).unwrap()["devices"].clone()
    }

    pub(crate) fn once(&self, fault: Fault) {
        self.cloud.add_fault(fault.times(1));
    }
}

/// The path of a device in the shop's product.
pub(crate) fn member(device: &str) -> String {
    format!("/v1/products/{SLUG}/devices/{device}")
}

/// A claim.
pub(crate) fn claim(device: &str) -> WireRequest {
    WireRequest::new("POST", "/v1/devices").json(&json!({ "id": device }))
}

fn about(device: &mut DeviceSetup) {
    device.name = Some("kitchen".into());
    device.notes = Some("two\nlines".into());
    device.groups = vec!["eu".into(), "beta".into()];
}

fn sign_in(cloud: &StandIn, user: &str) -> String {
    let password: Secret<String> = Secret::new(BENCH_PASSWORD.to_owned());
    let form = [
        ("grant_type", "password"),
        ("username", user),
        ("password", password.expose()),
        ("client_id", "particle"),
        ("client_secret", "particle"),
    ];
    let response = cloud.handle(&WireRequest::new("POST", "/oauth/token").form(&form)).response();
    response.json()["access_token"].as_str().unwrap().to_owned()
}
