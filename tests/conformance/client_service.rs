//! The station's way into Service Mode and out of it, with a server that holds the key which the models pin.

use std::time::Duration;

use keyrack::{
    device::{
        Control, ControlError, Dfu, DfuError, KeyStore,
        dfu::Left,
        mode, protection,
        service_mode::{self, Countersign, Countersigned, Entered, NoHelp, Nonce, Prepared, ServiceError},
    },
    model::{Code, Fingerprint, ServiceBudget, fact::Protection, service::ServiceEnd},
    sim::device::{Press, Spec, StartKey},
};

use crate::{
    bench::Bench,
    rig::{ARGON, BORON, MSOM, P2, PHOTON, TRACKER, spec},
    server,
};

/// What happens while the cloud signs.
enum Meanwhile {
    Nothing,
    Time(Duration),
    Restart,
    WrongSignature,
}

/// The server of the tests, as the station sees a cloud.
struct Server {
    bench: Bench,
    meanwhile: Meanwhile,
    asked: usize,
}

impl Server {
    fn new(bench: &Bench) -> Self {
        Self {
            bench: bench.clone(),
            meanwhile: Meanwhile::Nothing,
            asked: 0,
        }
    }

    fn but(bench: &Bench, meanwhile: Meanwhile) -> Self {
        Self {
            meanwhile,
            ..Self::new(bench)
        }
    }
}

impl Countersign for Server {
    fn nonce(&mut self) -> Result<Nonce, NoHelp> {
        self.asked += 1;
        Ok(Nonce(server::NONCE))
    }

    fn sign(&mut self, prepared: &Prepared) -> Result<Countersigned, NoHelp> {
        self.asked += 1;
        let mut rig = self.bench.rig();
        let said = server::Prepared {
            nonce: prepared.device_nonce.0.to_vec(),
            signature: prepared.signature.clone(),
            fingerprint: prepared.key.0.to_vec(),
        };
        let spki = rig.device.key_spki().unwrap();
        server::verify(&rig, &said, &spki);
        let mut signature = server::signature(&rig, &said);
        match self.meanwhile {
            Meanwhile::Nothing => {}
            Meanwhile::Time(time) => rig.wait(time),
            Meanwhile::Restart => {
                let now = rig.now;
                rig.device.press(now, Press::Reset);
                rig.until_attached();
            }
            Meanwhile::WrongSignature => {
                signature = server::signature(
                    &rig,
                    &server::Prepared {
                        nonce: vec![0; 32],
                        ..said
                    },
                )
            }
        }
        Ok(Countersigned {
            signature,
            server_key: Fingerprint(server::fingerprint(&server::spki())),
        })
    }
}

fn enter(bench: &Bench, cloud: &mut Server) -> Result<Entered, ServiceError> {
    let mut link = bench.link();
    service_mode::enter(&mut Control::open(&mut link).unwrap(), cloud)
}

fn opened(bench: &Bench) -> ServiceBudget {
    match enter(bench, &mut Server::new(bench)) {
        Ok(Entered::Opened { key, budget }) => {
            let spki = bench.rig().device.key_spki().unwrap();
            assert_eq!(key.0, server::fingerprint(&spki));
            budget
        }
        other => panic!("{other:?}"),
    }
}

/// Restarts into DFU mode, counted.
fn to_dfu(bench: &Bench, budget: &mut ServiceBudget) {
    let mut link = bench.link();
    mode::enter_dfu(&mut Control::open(&mut link).unwrap()).unwrap();
    bench.rig().until_reattached();
    budget.count_reset();
}

/// Writes the key slot over with itself: what only Service Mode allows.
fn work(bench: &Bench) -> Result<(), keyrack::device::KeyStoreError> {
    let mut link = bench.link();
    let mut dfu = Dfu::open(&mut link).unwrap();
    let mut store = KeyStore::new(&mut dfu);
    let whole = store.read_twice()?;
    store.write(3106, &whole.expose()[3106..3298])
}

#[test]
fn from_normal_mode_and_back_with_the_end_in_dfu_mode() {
    for platform in [ARGON, BORON, TRACKER, P2, MSOM] {
        let bench = Bench::boot(server::protected(platform));
        let mut budget = opened(&bench);
        to_dfu(&bench, &mut budget);
        work(&bench).unwrap();
        service_mode::end(&mut bench.link()).unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        assert!(bench.rig().device.is_protected());
        assert!(work(&bench).is_err(), "{platform}: closed again");
        let _ = Dfu::open(&mut bench.link()).unwrap().leave().unwrap();
        bench.rig().until_reattached();
        service_mode::verify_protected(&mut bench.link()).unwrap();
    }
}

#[test]
fn from_dfu_mode_through_safe_mode_with_the_end_in_normal_mode() {
    for platform in [BORON, P2] {
        let bench = Bench::new(server::protected_in_dfu(platform));
        assert_eq!(service_mode::leave_dfu(&mut bench.link()), Ok(Left::Confirmed), "{platform}");
        bench.rig().until_reattached();
        assert!(bench.rig().device.in_safe_mode(), "{platform}: its application does not run");
        let mut budget = opened(&bench);
        to_dfu(&bench, &mut budget);
        work(&bench).unwrap();
        let _ = Dfu::open(&mut bench.link()).unwrap().leave().unwrap();
        bench.rig().until_reattached();
        budget.count_reset();
        assert_eq!(budget.resets_left(), 17);
        let error = service_mode::verify_protected(&mut bench.link()).unwrap_err();
        assert_eq!(
            error,
            ServiceError::NotProtectedAgain {
                state: Protection::Service
            },
            "{platform}: not by itself"
        );
        assert_eq!(error.code(), Code::NotProtectedAgain);
        service_mode::end(&mut bench.link()).unwrap();
        assert!(bench.rig().device.is_protected());
    }
}

#[test]
fn a_bootloader_that_can_neither_go_to_safe_mode_nor_end_service_mode() {
    // 6.1.1: 0xFA and no 0xFB, no string with the state.
    let spec = |os_version| Spec {
        os_version,
        ..server::protected(BORON)
    };
    let bench = Bench::boot(spec(6101));
    let mut budget = opened(&bench);
    to_dfu(&bench, &mut budget);
    let error = service_mode::end(&mut bench.link()).unwrap_err();
    assert!(matches!(error, ServiceError::Dfu(DfuError::Unsupported { .. })), "{error:?}");
    assert_eq!(
        service_mode::verify_protected(&mut bench.link()),
        Err(ServiceError::NotShown),
        "its layout does not tell Service Mode from open"
    );
    let _ = Dfu::open(&mut bench.link()).unwrap().leave().unwrap();
    bench.rig().until_reattached();
    service_mode::end(&mut bench.link()).unwrap();
    assert!(bench.rig().device.is_protected());
    let now = bench.rig().now;
    bench.rig().device.press(now, Press::Dfu);
    bench.rig().until_attached();
    assert_eq!(
        service_mode::verify_protected(&mut bench.link()),
        Ok(()),
        "a layout without memory is proof"
    );
    // 6.0.0: nothing of that, and no exchange either.
    let bench = Bench::boot(spec(6000));
    assert_eq!(enter(&bench, &mut Server::new(&bench)), Err(ServiceError::Unsupported));
    let now = bench.rig().now;
    bench.rig().device.press(now, Press::Dfu);
    bench.rig().until_attached();
    assert_eq!(service_mode::leave_dfu(&mut bench.link()), Ok(Left::Confirmed));
    bench.rig().until_reattached();
    assert!(
        !bench.rig().is_dfu() && !bench.rig().device.in_safe_mode(),
        "by a plain start"
    );
}

#[test]
fn what_needs_no_exchange() {
    for platform in [BORON, P2, PHOTON] {
        let bench = Bench::normal(platform);
        let mut cloud = Server::new(&bench);
        assert_eq!(enter(&bench, &mut cloud), Ok(Entered::NotProtected));
        assert_eq!(cloud.asked, 0);
        let shown = service_mode::verify_protected(&mut bench.link()).unwrap_err();
        assert_eq!(
            shown,
            ServiceError::NotProtectedAgain { state: Protection::Open },
            "{platform}"
        );
    }
    let bench = Bench::boot(server::protected(BORON));
    opened(&bench);
    let mut cloud = Server::new(&bench);
    assert_eq!((enter(&bench, &mut cloud), cloud.asked), (Ok(Entered::Already), 0));
}

#[test]
fn each_refusal_is_told_apart() {
    let refused = |spec: Spec, meanwhile| {
        let bench = Bench::boot(spec);
        let error = enter(&bench, &mut Server::but(&bench, meanwhile)).unwrap_err();
        assert!(bench.rig().device.is_protected(), "{error:?}: as protected as before");
        assert!(Control::open(&mut bench.link()).is_ok(), "and it answers");
        error
    };
    let production = Spec {
        protected: true,
        ..spec(BORON)
    };
    let error = refused(production, Meanwhile::Nothing);
    assert!(matches!(error, ServiceError::ServerKey { .. }), "{error:?}");
    assert_eq!(error.code(), Code::ServiceServerKey);
    assert_eq!(
        refused(server::protected(P2), Meanwhile::WrongSignature),
        ServiceError::Signature
    );
    let late = refused(server::protected(BORON), Meanwhile::Time(Duration::from_secs(61)));
    assert!(
        matches!(late, ServiceError::ContextLost { after } if after.as_secs() >= 61),
        "{late:?}"
    );
    let again = refused(server::protected(BORON), Meanwhile::Restart);
    assert!(matches!(again, ServiceError::ContextLost { .. }), "{again:?}");
    assert!(again.code().transient());
    let bench = Bench::boot(Spec {
        key: StartKey::Corrupt,
        ..server::protected(BORON)
    });
    assert_eq!(enter(&bench, &mut Server::new(&bench)), Err(ServiceError::NoOwnKey));
    // And once more from the start is all that the passing ones need.
    let bench = Bench::boot(server::protected(BORON));
    assert!(enter(&bench, &mut Server::but(&bench, Meanwhile::Time(Duration::from_secs(61)))).is_err());
    opened(&bench);
}

#[test]
fn the_budget_is_that_of_the_device() {
    let bench = Bench::boot(server::protected(BORON));
    let mut budget = opened(&bench);
    while budget.resets_left() > 0 {
        mode::reset(&mut Control::open(&mut bench.link()).unwrap()).unwrap();
        bench.rig().until_reattached();
        budget.count_reset();
        let state = protection::state(&mut Control::open(&mut bench.link()).unwrap());
        assert_eq!(state, Ok(Protection::Service), "{} left", budget.resets_left());
    }
    mode::reset(&mut Control::open(&mut bench.link()).unwrap()).unwrap();
    bench.rig().until_reattached();
    budget.count_reset();
    assert_eq!(service_mode::verify_protected(&mut bench.link()), Ok(()));
    assert_eq!(budget.end(bench.rig().now), ServiceEnd::Resets);

    let bench = Bench::boot(server::protected(BORON));
    let budget = opened(&bench);
    let left = budget.time_left(bench.rig().now);
    bench.rig().wait(left - Duration::from_secs(5));
    assert!(!bench.rig().device.is_protected());
    bench.rig().wait_ms(6_000);
    assert!(bench.rig().device.is_protected());
    assert_eq!(budget.end(bench.rig().now), ServiceEnd::Time);
}

#[test]
fn after_a_power_cut_it_is_protected_and_that_is_told_from_a_refusal() {
    let bench = Bench::boot(server::protected(BORON));
    let mut budget = opened(&bench);
    to_dfu(&bench, &mut budget);
    {
        let mut rig = bench.rig();
        let now = rig.now;
        rig.device.power(now, false);
        rig.wait_ms(2_000);
        let now = rig.now;
        rig.device.power(now, true);
        rig.until_attached();
    }
    let mut link = bench.link();
    let error = mode::enter_dfu(&mut Control::open(&mut link).unwrap()).unwrap_err();
    assert!(matches!(error, ControlError::Protected { .. }));
    assert_eq!(budget.end(bench.rig().now), ServiceEnd::PowerOrOthers);
    opened(&bench);
}
