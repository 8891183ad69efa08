//! The station's calls of a repair against the stand-in cloud: each flow, and each of its calls failing before and after
//! its effect.

use std::sync::{Arc, Mutex};

use keyrack::{
    cloud::{Api, Claimant, Custody, CustomerToken, DeviceProof, OauthClient, Surveyed, TokenSpent},
    edge::{Http, HttpError, Request, Response},
    model::{
        Code, DeviceId, Fingerprint, KeyKind, ProductId, PublicKey, RestoreData, Secret,
        outbox::{Answer, Attempt},
        survey::{Membership, OwnerKind, Shown, Survey},
    },
    sim::cloud::{Attributes, BENCH_CLIENT_SECRET, BENCH_USER, DirectHttp, Effect, Fault, Moved, SNATCHER},
};
use p256::{SecretKey, ecdsa::signature::Signer, pkcs8::EncodePublicKey};
use sha2::{Digest, Sha256};

use crate::model_cloud_shop::{ANN, ANNS, ELSEWHERE, FOREIGN, NEW, OTHER, PRODUCT, SECOND, SLUG, Shop, id, key};

/// The way to the cloud, with a count of what went over it.
struct Counted(DirectHttp, Arc<Mutex<Vec<String>>>);

impl Http for Counted {
    fn call(&self, request: &Request) -> Result<Response, HttpError> {
        self.1.lock().unwrap().push(format!("{request:?}"));
        self.0.call(request)
    }
}

struct Desk {
    shop: Shop,
    api: Api,
    sent: Arc<Mutex<Vec<String>>>,
}

impl Desk {
    fn at(shop: Shop) -> Self {
        let sent = Arc::<Mutex<Vec<String>>>::default();
        let http = Counted(DirectHttp::new(shop.cloud.clone()), Arc::clone(&sent));
        let api = Api::new(Arc::new(http), Secret::new(shop.token.clone()));
        api.set_account(BENCH_USER);
        Self { shop, api, sent }
    }

    fn survey(&self, device: &str, product: Option<&ProductId>) -> (Shown, RestoreData) {
        match self.api.survey(id(device), product, &[]) {
            Surveyed {
                survey: Survey::Seen(shown),
                restore: Some(restore),
            } => (shown, restore),
            other => panic!("{other:?}"),
        }
    }

    fn token(&self, customer: &Secret<String>) -> CustomerToken {
        let client = OauthClient {
            id: SLUG.into(),
            secret: Secret::new(BENCH_CLIENT_SECRET.into()),
        };
        self.api.customer_token(&client, customer).unwrap()
    }

    /// Makes a call as the outbox does: once, and once more as a doubtful one after an unclear end.
    fn settle(&self, mut call: impl FnMut(Attempt) -> Answer) -> Answer {
        match call(Attempt::Fresh) {
            Answer::Ambiguous { .. } | Answer::Later { .. } => call(Attempt::Doubtful),
            answer => answer,
        }
    }

    /// The two-legged flow on [`ANNS`], up to the end or the first refusal.
    fn give_a_new_key(&self, public: &PublicKey) -> Result<(), Answer> {
        let product = product();
        let (_, before) = self.survey(ANNS, Some(&product));
        let customer = match self.api.custody(&product, before.owner_name.as_ref().unwrap(), before.device) {
            Ok(Custody::Holds { customer }) => customer,
            other => panic!("{other:?}"),
        };
        let mut token = self.token(&customer);
        let back = Claimant::Customer(&token);
        accepted(self.settle(|attempt| self.api.release(&product, &before, back, attempt)))?;
        let key = self.settle(|_| self.api.upload_key(before.device, public, Some(&product), 1));
        let claim = self.settle(|attempt| {
            let ask = |token: &CustomerToken| self.api.claim(&product, &before, Claimant::Customer(token), attempt);
            match ask(&token) {
                Ok(answer) => answer,
                Err(TokenSpent { .. }) => {
                    token = self.token(&customer);
                    ask(&token).unwrap()
                }
            }
        });
        accepted(claim)?;
        accepted(self.settle(|_| self.api.restore_attributes(&product, &before)))?;
        accepted(self.settle(|_| self.api.revoke(&token)))?;
        accepted(key)
    }
}

fn accepted(answer: Answer) -> Result<(), Answer> {
    match answer {
        Answer::Accepted { .. } => Ok(()),
        answer => Err(answer),
    }
}

fn product() -> ProductId {
    ProductId(PRODUCT.to_string())
}

fn public(key: &SecretKey) -> PublicKey {
    let spki = key.public_key().to_public_key_der().unwrap().into_vec();
    PublicKey {
        kind: KeyKind::P256,
        fingerprint: Fingerprint(Sha256::digest(&spki).into()),
        spki,
    }
}

fn attributes() -> Attributes {
    Attributes {
        name: Some("kitchen".into()),
        notes: Some("two\nlines".into()),
        groups: vec!["eu".into(), "beta".into()],
    }
}

/// The same groups, in whatever order.
fn sorted(mut attributes: Attributes) -> Attributes {
    attributes.groups.sort();
    attributes
}

fn in_product(id: u32) -> Membership {
    Membership::Product { id: id.into() }
}

#[test]
fn a_survey_tells_the_owners_apart() {
    for (owner, kind) in [
        (None, OwnerKind::Nobody),
        (Some(BENCH_USER), OwnerKind::Account),
        (Some(SECOND), OwnerKind::Team),
        (Some(ANN), OwnerKind::Customer),
        (Some("who@where.test"), OwnerKind::Stranger),
    ] {
        for by_number in [false, true] {
            let desk = Desk::at(Shop::with(|setup| setup.devices[0].owner = owner.map(str::to_owned)));
            if by_number {
                desk.shop.cloud.add_fault(Fault::new("GET /v1/products/*", Effect::ByNumber));
            }
            for product in [
                None,
                Some(product()),
                Some(ProductId(SLUG.into())),
                Some(ProductId("other".into())),
            ] {
                let (shown, restore) = desk.survey(ANNS, product.as_ref());
                assert_eq!(
                    (shown.owner, shown.membership, shown.in_reach),
                    (kind, in_product(PRODUCT), true),
                    "{product:?}"
                );
                assert_eq!(restore.owner_name.as_ref().map(|name| name.expose().as_str()), owner);
                assert_eq!(restore.product, Some(self::product()));
                assert_eq!(restore.name.unwrap().expose(), "kitchen");
                assert_eq!(restore.groups.unwrap().len(), 2);
                assert_eq!(shown.protection.as_deref(), Some("disabled"));
            }
        }
    }
}

#[test]
fn a_survey_tells_where_a_device_is() {
    let desk = Desk::at(Shop::with(|setup| {
        setup.devices[1].owner = Some(BENCH_USER.into());
        setup.devices[2].protected = true;
    }));
    let (shown, restore) = desk.survey(NEW, Some(&product()));
    assert_eq!((shown.membership, shown.owner), (Membership::Development, OwnerKind::Account));
    assert!(!shown.in_reach && restore.product.is_none());
    let (shown, _) = desk.survey(ELSEWHERE, Some(&product()));
    assert_eq!((shown.membership, shown.owner), (in_product(OTHER), OwnerKind::Nobody));
    assert_eq!(shown.protection.as_deref(), Some("active"));
    let unseen = |desk: &Desk, device| matches!(desk.api.survey(id(device), None, &[]).survey, Survey::Unseen);
    assert!(unseen(&desk, "ffffffffffffffffffffffff"));

    let desk = Desk::at(Shop::with(|setup| {
        setup.devices[1].product = Some(FOREIGN);
        setup.devices[2].product = Some(FOREIGN);
        setup.devices[2].owner = Some(BENCH_USER.into());
    }));
    assert!(unseen(&desk, NEW), "somebody else's");
    let (shown, restore) = desk.survey(ELSEWHERE, None);
    assert_eq!(
        (shown.membership, shown.in_reach, shown.owner),
        (in_product(FOREIGN), false, OwnerKind::Unknown),
        "ours by claim, and the cloud names owners in products only"
    );
    assert_eq!(restore.product, Some(ProductId(FOREIGN.to_string())));

    let desk = Desk::at(Shop::with(|setup| {
        setup.devices[1].quarantine = Some(PRODUCT);
        setup.devices[1].owner = Some("who@where.test".into());
    }));
    let (shown, _) = desk.survey(NEW, Some(&product()));
    assert_eq!((shown.quarantined, shown.owner), (Some(true), OwnerKind::Stranger));
}

#[test]
fn a_customer_is_cross_checked_on_whatever_page() {
    let desk = Desk::at(Shop::open());
    let custody = |customer: &str, device| {
        let customer = Secret::new(customer.to_owned());
        desk.api.custody(&product(), &customer, id(device)).unwrap()
    };
    assert!(matches!(custody("Ann+Home@example.test", ANNS), Custody::Holds { customer } if customer.expose() == ANN));
    assert!(matches!(custody(ANN, NEW), Custody::Without));
    assert!(matches!(custody("nobody@example.test", ANNS), Custody::NoCustomer));
}

#[test]
fn a_customers_device_gets_its_key_and_goes_back_in_few_calls() {
    let desk = Desk::at(Shop::open());
    let (private, _) = key();
    desk.give_a_new_key(&public(&private)).unwrap();
    assert_eq!(desk.shop.place(ANNS), (Some(PRODUCT), Some(ANN.into())));
    assert_eq!(desk.shop.cloud.registered(id(ANNS)), Some(public(&private).spki));
    assert_eq!(desk.shop.cloud.attributes(id(ANNS)), Some(attributes()));
    assert_eq!(desk.shop.cloud.customer_tokens(), 0, "revoked");
    assert_eq!(
        desk.shop.moves(ANNS),
        [Moved::Unclaimed(ANN.into()), Moved::Claimed(ANN.into())]
    );
    let sent = desk.sent.lock().unwrap().clone();
    let window = sent.iter().position(|call| call.ends_with("/owner")).unwrap();
    assert_eq!(
        sent[window..window + 3],
        [
            format!("DELETE /v1/products/{PRODUCT}/devices/{ANNS}/owner"),
            format!("POST /v1/provisioning/{ANNS}"),
            "POST /v1/devices".to_owned(),
        ],
        "nobody's for three calls"
    );
    assert_eq!(sent.len(), 11, "{sent:#?}");
    assert!(!sent.concat().contains('@'), "no address is ever in a path");
}

/// How a call may end that is not as it should be, and whether it has its effect.
fn ends() -> Vec<Fault> {
    let committed = |effect| Fault {
        committed: true,
        ..Fault::new("* /*", effect)
    };
    let plain = |effect| Fault::new("* /*", effect);
    vec![
        plain(Effect::Unreachable),
        plain(Effect::ResetBefore),
        plain(Effect::ResetAfter),
        plain(Effect::TimedOut),
        committed(Effect::TimedOut),
        plain(Effect::HtmlError),
        committed(Effect::HtmlError),
        plain(Effect::Unavailable),
        plain(Effect::TooMany(Some(1))),
        plain(Effect::EmptyOk),
    ]
}

#[test]
fn no_lost_reply_loses_the_customer_the_key_or_the_attributes() {
    for route in [
        "DELETE /v1/products/:p/devices/:id/owner",
        "POST /v1/provisioning/:id",
        "POST /v1/devices",
        "DELETE /v1/access_tokens/current",
        "PUT /v1/products/:p/devices/:id",
    ] {
        for end in ends() {
            let desk = Desk::at(Shop::open());
            let forgets = Fault::new("POST /v1/provisioning/:id", Effect::Forgotten);
            let fault = Fault {
                route: route.to_owned(),
                ..end
            };
            desk.shop.once(fault.clone());
            // What is written about the device is lost on the way, so that there is something to put back.
            desk.shop.cloud.add_fault(forgets);
            let (private, _) = key();
            desk.give_a_new_key(&public(&private))
                .unwrap_or_else(|answer| panic!("{fault:?}: {answer:?}"));
            assert_eq!(desk.shop.cloud.fired()[0].1, 1, "{fault:?}");
            assert_eq!(desk.shop.place(ANNS), (Some(PRODUCT), Some(ANN.into())), "{fault:?}");
            assert_eq!(desk.shop.cloud.registered(id(ANNS)), Some(public(&private).spki), "{fault:?}");
            assert_eq!(
                desk.shop.cloud.attributes(id(ANNS)).map(sorted),
                Some(sorted(attributes())),
                "{fault:?}"
            );
            assert_eq!(desk.shop.cloud.customer_tokens(), 0, "{fault:?}");
            assert_eq!(
                desk.shop.moves(ANNS),
                [Moved::Unclaimed(ANN.into()), Moved::Claimed(ANN.into())],
                "{fault:?}"
            );
        }
    }
}

#[test]
fn a_spent_token_is_replaced_and_a_refused_key_gives_the_device_back() {
    for (fault, key_stored) in [
        (Fault::new("POST /v1/devices", Effect::Refused(401)), true),
        (Fault::new("POST /v1/provisioning/:id", Effect::Refused(400)), false),
    ] {
        let desk = Desk::at(Shop::open());
        desk.shop.once(fault);
        let (private, _) = key();
        let end = desk.give_a_new_key(&public(&private));
        assert_eq!(end.is_ok(), key_stored, "{end:?}");
        assert_eq!(desk.shop.place(ANNS), (Some(PRODUCT), Some(ANN.into())));
        assert_eq!(desk.shop.cloud.registered(id(ANNS)).is_some(), key_stored);
    }
}

#[test]
fn a_refused_release_changes_nothing() {
    let desk = Desk::at(Shop::open());
    desk.shop
        .once(Fault::new("DELETE /v1/products/:p/devices/:id/owner", Effect::Refused(403)));
    let end = desk.give_a_new_key(&public(&key().0));
    assert!(
        matches!(
            end,
            Err(Answer::Refused {
                code: Code::CloudDenied,
                ..
            })
        ),
        "{end:?}"
    );
    assert!(desk.shop.moves(ANNS).is_empty() && desk.shop.cloud.registered(id(ANNS)).is_none());
}

#[test]
fn who_is_quicker_is_an_alarm_and_never_asked_for_a_transfer() {
    for route in ["DELETE /v1/products/:p/devices/:id/owner", "POST /v1/provisioning/:id"] {
        let desk = Desk::at(Shop::open());
        desk.shop.once(Fault::new(route, Effect::Snatched));
        let end = desk.give_a_new_key(&public(&key().0));
        let Err(Answer::Refused {
            code: Code::OwnerForeign,
            reason,
        }) = end
        else {
            panic!("{end:?}")
        };
        assert!(!reason.contains('@'), "{reason}");
        assert_eq!(
            desk.shop.moves(ANNS),
            [Moved::Unclaimed(ANN.into()), Moved::Claimed(SNATCHER.into())]
        );
    }
}

#[test]
fn a_release_in_doubt_is_not_taken_from_somebody_else() {
    let desk = Desk::at(Shop::open());
    let (_, before) = desk.survey(ANNS, Some(&product()));
    let token = desk.token(before.owner_name.as_ref().unwrap());
    desk.shop
        .once(Fault::new("DELETE /v1/products/:p/devices/:id/owner", Effect::Snatched));
    let release = |attempt| desk.api.release(&product(), &before, Claimant::Customer(&token), attempt);
    accepted(release(Attempt::Fresh)).unwrap();
    assert!(matches!(
        release(Attempt::Doubtful),
        Answer::Refused {
            code: Code::OwnerForeign,
            ..
        }
    ));
    assert_eq!(desk.shop.place(ANNS).1.as_deref(), Some(SNATCHER));
}

#[test]
fn a_device_moves_to_another_product_whatever_reply_is_lost() {
    for owner in [None, Some(BENCH_USER)] {
        for route in [
            "DELETE /v1/products/:p/devices/:id/owner",
            "DELETE /v1/products/:p/devices/:id",
            "POST /v1/products/:p/devices",
            "POST /v1/devices",
            "PUT /v1/products/:p/devices/:id",
        ] {
            for end in ends() {
                let desk = Desk::at(Shop::with(|setup| setup.devices[2].owner = owner.map(str::to_owned)));
                let fault = Fault {
                    route: route.to_owned(),
                    ..end
                };
                desk.shop.once(fault.clone());
                move_to_the_product(&desk).unwrap_or_else(|answer| panic!("{fault:?}: {answer:?}"));
                assert_eq!(
                    desk.shop.place(ELSEWHERE),
                    (Some(PRODUCT), owner.map(str::to_owned)),
                    "{fault:?}"
                );
                assert_eq!(
                    desk.shop.cloud.attributes(id(ELSEWHERE)).map(sorted),
                    Some(sorted(attributes())),
                    "{fault:?}"
                );
                let removals = desk.shop.moves(ELSEWHERE);
                assert_eq!(
                    removals.iter().filter(|m| **m == Moved::Removed(OTHER)).count(),
                    1,
                    "{fault:?}"
                );
            }
        }
    }
}

fn move_to_the_product(desk: &Desk) -> Result<(), Answer> {
    let (old, new) = (ProductId(OTHER.to_string()), product());
    let (_, before) = desk.survey(ELSEWHERE, Some(&new));
    let claimed = before.owner == OwnerKind::Account;
    if claimed {
        accepted(desk.settle(|attempt| desk.api.release(&old, &before, Claimant::Account, attempt)))?;
    }
    accepted(desk.settle(|_| desk.api.remove(&old, &before)))?;
    accepted(desk.settle(|attempt| import(desk, &new, before.device, attempt)))?;
    if claimed {
        accepted(desk.settle(|attempt| desk.api.claim(&new, &before, Claimant::Account, attempt).unwrap()))?;
    }
    accepted(desk.settle(|_| desk.api.restore_attributes(&new, &before)))
}

fn import(desk: &Desk, product: &ProductId, device: DeviceId, attempt: Attempt) -> Answer {
    let known = (attempt == Attempt::Doubtful).then(|| desk.api.import_in_doubt(product, device));
    known
        .flatten()
        .unwrap_or_else(|| desk.api.import(product, &[device], false).remove(&device).unwrap())
}

#[test]
fn a_device_of_another_product_is_not_imported() {
    let desk = Desk::at(Shop::open());
    for attempt in [Attempt::Fresh, Attempt::Doubtful] {
        let answer = import(&desk, &product(), id(ELSEWHERE), attempt);
        assert!(
            matches!(
                answer,
                Answer::Refused {
                    code: Code::ImportInvalid,
                    ..
                }
            ),
            "{answer:?}"
        );
    }
}

#[test]
fn service_mode_takes_the_key_that_the_cloud_knows() {
    let desk = Desk::at(Shop::with(|setup| setup.devices[0].protected = true));
    let (known, other) = (key().0, key().0);
    let spki = public(&known).spki;
    assert!(desk.shop.cloud.made_with(id(ANNS), &spki));
    for product in [None, Some(product())] {
        let confirm = |key: &SecretKey| {
            let server_nonce = desk.api.unprotect_prepare(id(ANNS), product.as_ref()).unwrap();
            let device_nonce = vec![5; 32];
            let mut signed = b"device".to_vec();
            signed.extend(id(ANNS).bytes());
            for part in [&device_nonce[..], &server_nonce[..]] {
                signed.extend(32_u32.to_le_bytes());
                signed.extend(part);
            }
            let signature: p256::ecdsa::Signature = p256::ecdsa::SigningKey::from(key).sign(&signed);
            let proof = DeviceProof {
                server_nonce,
                device_nonce,
                signature: signature.to_der().as_bytes().to_vec(),
                key_fingerprint: public(key).fingerprint.0.to_vec(),
            };
            desk.api.unprotect_confirm(id(ANNS), product.as_ref(), &proof)
        };
        let server = confirm(&known).unwrap();
        assert_eq!(
            server.key_fingerprint,
            Sha256::digest(desk.shop.cloud.server_spki(false)).to_vec()
        );
        assert!(matches!(
            confirm(&other),
            Err(Answer::Refused {
                code: Code::DeviceKeyUnknown,
                ..
            })
        ));
    }
}
