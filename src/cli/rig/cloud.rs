//! The stand-in cloud of a rig: what a scenario says of accounts, products, customers and owners, as a [`Setup`].

use std::collections::{BTreeMap, BTreeSet};

use super::spec;
use crate::{
    cloud::OauthClient,
    keys::{parse_public, public_pem},
    model::Secret,
    sim::{
        cloud::{
            BENCH_CLIENT, BENCH_CLIENT_SECRET, BENCH_PRODUCT, ClientSetup, CustomerSetup, DeviceSetup, Fault, ProductSetup, Role,
            Setup, UserSetup,
        },
        device::{Device, StartServer, Timing, key_before},
        world::scenario::{self, RegisteredKey, Scenario, Slot},
    },
};

/// The stand-in cloud as a scenario wants it at the start.
pub(super) fn setup(scenario: &Scenario, password: &Secret<String>) -> Setup {
    let products = products(scenario);
    let own = |slot: &Slot| own_product(&products, slot.platform.number());
    let customers = scenario.cloud.customers.iter().flat_map(|email| {
        products.iter().map(|product| CustomerSetup {
            email: email.clone(),
            product: product.id,
        })
    });
    let clients = products.iter().map(|product| ClientSetup {
        id: client_of(product),
        secret: Secret::new(BENCH_CLIENT_SECRET.to_owned()),
        product: product.id,
        two_legged: true,
    });
    Setup {
        customers: customers.collect(),
        clients: clients.collect(),
        users: vec![UserSetup {
            name: scenario.cloud.owner.clone(),
            password: password.clone(),
            mfa: None,
            recovery_codes: Vec::new(),
            query_token: false,
            sso: false,
        }],
        devices: scenario
            .slots
            .values()
            .map(|slot| DeviceSetup {
                serial: slot.serial.clone(),
                mobile_secret: slot.mobile_secret.clone(),
                owner: slot.owner.clone(),
                product: slot.in_product.or_else(|| own(slot).filter(|_| slot.imported)),
                quarantine: own(slot).filter(|_| slot.quarantined),
                denied: slot.denied,
                name: slot.name.clone(),
                notes: slot.notes.clone(),
                groups: slot.groups.clone(),
                protected: slot.protected,
                public_key: slot.registered.map(|which| registered(scenario, slot, which)),
                ..DeviceSetup::new(slot.id, slot.platform.number())
            })
            .collect(),
        products,
        ..Setup::default()
    }
}

/// The two-legged clients of a scenario's products.
pub(super) fn clients(scenario: &Scenario) -> Vec<(u32, OauthClient)> {
    let client = |product: ProductSetup| {
        let client = OauthClient {
            id: client_of(&product),
            secret: Secret::new(BENCH_CLIENT_SECRET.to_owned()),
        };
        (product.id, client)
    };
    products(scenario).into_iter().map(client).collect()
}

fn client_of(product: &ProductSetup) -> String {
    format!("{BENCH_CLIENT}-{}", product.id)
}

/// The public key of a device that the cloud holds at first, in PEM.
fn registered(scenario: &Scenario, slot: &Slot, which: RegisteredKey) -> String {
    let spec = spec(scenario, slot, &StartServer::Blank);
    let spki = match which {
        RegisteredKey::Present => Device::new(spec, Timing::instant())
            .key_spki()
            .expect("a scenario registers a key that is one"),
        RegisteredKey::Before => key_before(&spec),
    };
    public_pem(&parse_public(&spki).expect("the simulator makes keys that are ones"))
}

/// The number of the product that the recipe of a platform is for.
pub(super) fn recipe_product(scenario: &Scenario, platform: u16) -> Option<u32> {
    own_product(&products(scenario), platform)
}

/// The faults that a scenario names for its cloud, in the stand-in's own words.
pub(super) fn faults(scenario: &Scenario) -> Vec<Fault> {
    let known = |fault: toml::Table| fault.try_into().expect("a scenario names faults that the stand-in knows");
    scenario.cloud.faults.iter().cloned().map(known).collect()
}

/// The products of a scenario; one of the bench's for each platform where it names none.
fn products(scenario: &Scenario) -> Vec<ProductSetup> {
    let role = match scenario.cloud.role {
        scenario::Role::Administrator => Role::Administrator,
        scenario::Role::Developer => Role::Developer,
        scenario::Role::ViewOnly => Role::ViewOnly,
        scenario::Role::Support => Role::Support,
    };
    let others = scenario.cloud.team.iter().map(|name| (name.clone(), Role::Developer));
    let team: BTreeMap<_, _> = others.chain([(scenario.cloud.owner.clone(), role)]).collect();
    let product = |id, slug: String, platform, device_protection| ProductSetup {
        id,
        slug,
        platform,
        team: team.clone(),
        device_protection,
    };
    if scenario.cloud.products.is_empty() {
        let numbers: BTreeSet<u16> = scenario.slots.values().map(|slot| slot.platform.number()).collect();
        return numbers
            .into_iter()
            .map(|n| product(BENCH_PRODUCT + u32::from(n), format!("bench-{n}"), n, false))
            .collect();
    }
    let named = scenario.cloud.products.iter().map(|p| {
        let mut product = product(p.id, p.slug.clone(), p.platform.number(), p.protected);
        if p.foreign {
            product.team.clear();
        }
        product
    });
    named.collect()
}

/// The product that the recipe of a platform is for: the first in which the station has a role.
fn own_product(products: &[ProductSetup], platform: u16) -> Option<u32> {
    let mut own = products.iter().filter(|product| !product.team.is_empty());
    own.find(|product| product.platform == platform).map(|product| product.id)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        edge::entropy::SystemEntropy,
        sim::{clock::VirtualClock, cloud::StandIn},
    };

    const FILE: &str = r#"
about = "Somebody else's, a customer's and a team member's."
seed = 1
[[slot]]
number = 1
platform = "boron"
imported = true
owner = "eva@example.test"
name = "kitchen"
notes = "n"
groups = ["eu"]
[[slot]]
number = 2
platform = "boron"
in-product = 902
owner = "who@where.test"
[[cloud.product]]
id = 902
slug = "theirs"
platform = "boron"
foreign = true
[[cloud.product]]
id = 901
slug = "ours"
platform = "boron"
[[cloud.product]]
id = 903
slug = "ours-too"
platform = "boron"
[cloud]
team = ["second@bench.test"]
customers = ["eva@example.test"]
[[expect]]
slot = 1
verdict = "PASS"
key = "same"
uploads = 1
[[expect]]
slot = 2
verdict = "PASS"
key = "same"
uploads = 1
"#;

    #[test]
    fn the_cloud_is_as_the_scenario_says() {
        let scenario = Scenario::parse(FILE).unwrap();
        assert_eq!(recipe_product(&scenario, 13), Some(901), "the first that is ours");
        assert_eq!(recipe_product(&scenario, 6), None);
        let setup = setup(&scenario, &Secret::new("p".into()));
        let team = |id: u32| setup.products.iter().find(|p| p.id == id).unwrap().team.len();
        assert_eq!([team(901), team(902), team(903)], [2, 0, 2]);
        assert_eq!(setup.clients.len(), 3);
        let cloud = StandIn::new(Arc::new(VirtualClock::new()), Arc::new(SystemEntropy), setup);
        let (first, second) = (scenario.slots[&1].id, scenario.slots[&2].id);
        assert_eq!(cloud.place(first), Some((Some(901), Some("eva@example.test".into()))));
        assert_eq!(cloud.place(second), Some((Some(902), Some("who@where.test".into()))));
        let attributes = cloud.attributes(first).unwrap();
        assert_eq!(
            (attributes.name.as_deref(), attributes.groups),
            (Some("kitchen"), vec!["eu".into()])
        );
    }
}
