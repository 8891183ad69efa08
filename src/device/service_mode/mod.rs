//! Service Mode: the way in with the help of the cloud, the way out, and the proof that the protection is back
//! (device-protocol.md 2.9, 3.6).
//!
//! Owns the exchange on an open device. It does not know how the cloud is asked ([`Countersign`]), it does not wait for a
//! device to come back, and it repeats nothing by itself. What is done in Service Mode must leave the power alone, and count
//! resets: see [`ServiceBudget`].

pub mod error;

use crate::model::{Fingerprint, ServiceBudget, fact::Protection, platform::UsbMode, service::CONFIRM_WITHIN};

use super::{
    Control, ControlError, Dfu, DfuError, Link, ResultCode, dfu::Left, messages::config::PrepareReply, protection, state_string,
};

pub use error::{NoHelp, ServiceError};

/// The cloud's half of the exchange, for one device.
pub trait Countersign {
    /// A fresh nonce of the server.
    ///
    /// # Errors
    /// If the cloud does not give one.
    fn nonce(&mut self) -> Result<Nonce, NoHelp>;

    /// The server's signature over what the device said.
    ///
    /// # Errors
    /// If the cloud does not sign.
    fn sign(&mut self, prepared: &Prepared) -> Result<Countersigned, NoHelp>;
}

/// 32 random bytes of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(pub [u8; 32]);

/// What the device said: its half of the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The server's nonce that it answers.
    pub server_nonce: Nonce,
    /// Its own nonce.
    pub device_nonce: Nonce,
    /// ECDSA signature in DER by the device's key.
    pub signature: Vec<u8>,
    /// The device's public key: also of a device whose key store cannot be read.
    pub key: Fingerprint,
}

/// The server's half of the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Countersigned {
    /// ECDSA signature in DER by the server's key.
    pub signature: Vec<u8>,
    /// The server's public key.
    pub server_key: Fingerprint,
}

/// How the way into Service Mode ended, where it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// The device is not a protected one: nothing had to be done.
    NotProtected,
    /// It was in Service Mode already; how much is left of it is not known.
    Already,
    /// It is in Service Mode now.
    Opened {
        /// The device's public key, as it told it.
        key: Fingerprint,
        /// What there is of Service Mode.
        budget: ServiceBudget,
    },
}

/// Brings a device in normal mode into Service Mode. After a failure it is as protected as before; only if the device went
/// away during the last request it has to be looked at again.
///
/// # Errors
/// [`ServiceError::ContextLost`] and [`NoHelp::NoAnswer`] may be tried again from the start; the rest is final.
pub fn enter(control: &mut Control<'_>, cloud: &mut dyn Countersign) -> Result<Entered, ServiceError> {
    match protection::state(control)? {
        Protection::Open => return Ok(Entered::NotProtected),
        Protection::Service => return Ok(Entered::Already),
        Protection::Protected => {}
    }
    let server_nonce = cloud.nonce().map_err(|source| ServiceError::NoHelp { key: None, source })?;
    let began = control.link().now();
    let Some(reply) = protection::prepare(control, server_nonce.0).map_err(refused)? else {
        return Ok(Entered::NotProtected);
    };
    let prepared = prepared(server_nonce, reply)?;
    let key = prepared.key;
    let signed = cloud
        .sign(&prepared)
        .map_err(|source| ServiceError::NoHelp { key: Some(key), source })?;
    let lost = |control: &mut Control<'_>| ServiceError::ContextLost {
        after: control.link().now().since(began),
    };
    if control.link().now().since(began) >= CONFIRM_WITHIN {
        return Err(lost(control));
    }
    let server = signed.server_key;
    match protection::confirm(control, signed.signature, server.0) {
        Ok(()) => {}
        Err(ControlError::Refused { code, .. }) if code == ResultCode::KEY_MISMATCH => {
            return Err(ServiceError::ServerKey { server });
        }
        Err(ControlError::Refused { code, .. }) if code == ResultCode::INVALID_SIGNATURE => return Err(ServiceError::Signature),
        Err(ControlError::Refused { code, .. }) if [ResultCode::TIMEOUT, ResultCode::INVALID_STATE].contains(&code) => {
            return Err(lost(control));
        }
        Err(error) => return Err(refused(error)),
    }
    let budget = ServiceBudget::entered(control.link().now());
    match protection::state(control)? {
        Protection::Service => Ok(Entered::Opened { key, budget }),
        state => Err(ServiceError::NotOpened { state }),
    }
}

/// Brings a protected device out of DFU mode, where there is no exchange: into safe mode, so that its application does not
/// run, or to a plain start where the bootloader cannot do that.
///
/// # Errors
/// If the device stays where it is.
pub fn leave_dfu(link: &mut Link) -> Result<Left, ServiceError> {
    match Dfu::open(link)?.enter_safe_mode() {
        Ok(Left::Confirmed) => return Ok(Left::Confirmed),
        Ok(Left::Unconfirmed) => {}
        // Early bootloaders of protected devices do not do it (device-protocol.md 9.3).
        Err(DfuError::Unsupported { .. } | DfuError::Refused { .. } | DfuError::Protected { .. } | DfuError::Stalled { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let went = |error: DfuError| match error {
        // It was on its way out.
        DfuError::WrongState { .. } => Ok(Left::Unconfirmed),
        error if error.link().is_some_and(|l| l.usb().is_some()) => Ok(Left::Unconfirmed),
        error => Err(error.into()),
    };
    match Dfu::open(link) {
        Ok(dfu) => dfu.leave().or_else(went),
        Err(error) => went(error),
    }
}

/// Ends Service Mode of a device in either mode, and proves that it is protected again.
///
/// # Errors
/// [`DfuError::Unsupported`] for a bootloader that cannot end it: normal mode can. [`ServiceError::NotProtectedAgain`] and
/// [`ServiceError::NotShown`] are alarms: the device may be open to everybody.
pub fn end(link: &mut Link) -> Result<(), ServiceError> {
    match link.mode() {
        UsbMode::Normal => protection::restore(&mut Control::open(link)?)?,
        UsbMode::Dfu => Dfu::open(link)?.clear_override()?,
    }
    verify_protected(link)
}

/// Proves that a device is protected: by the string in which it tells its state, or in normal mode by asking it, where it has
/// no such string yet. A layout of DFU mode that shows no readable memory is proof as well.
///
/// # Errors
/// As [`end`].
pub fn verify_protected(link: &mut Link) -> Result<(), ServiceError> {
    let told = state_string::read(link).map_err(ServiceError::Descriptor)?;
    let state = match (told, link.mode()) {
        (Some(state), _) => state,
        (None, UsbMode::Normal) => protection::state(&mut Control::open(link)?)?,
        (None, UsbMode::Dfu) => match Dfu::open(link)?.protection()? {
            Protection::Protected => Protection::Protected,
            // From the layout, Service Mode cannot be told from open.
            Protection::Open | Protection::Service => return Err(ServiceError::NotShown),
        },
    };
    match state {
        Protection::Protected => Ok(()),
        state => Err(ServiceError::NotProtectedAgain { state }),
    }
}

/// The results by which a device says that it has no exchange to offer.
fn refused(error: ControlError) -> ServiceError {
    match error {
        ControlError::Refused { code, .. } => match code {
            ResultCode::NOT_SUPPORTED | ResultCode::PROTOCOL => ServiceError::Unsupported,
            ResultCode::CRYPTO => ServiceError::NoOwnKey,
            _ => ServiceError::Control(error),
        },
        error => ServiceError::Control(error),
    }
}

fn prepared(server_nonce: Nonce, reply: PrepareReply) -> Result<Prepared, ControlError> {
    let nonsense = |what| ControlError::Nonsense {
        request: super::RequestType::SetProtectedState,
        what,
    };
    Ok(Prepared {
        server_nonce,
        device_nonce: reply
            .device_nonce
            .try_into()
            .map(Nonce)
            .map_err(|_| nonsense("its nonce has not 32 bytes"))?,
        key: reply
            .device_public_key_fingerprint
            .try_into()
            .map(Fingerprint)
            .map_err(|_| nonsense("the fingerprint of its key has not 32 bytes"))?,
        signature: reply.device_signature,
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{
        super::{
            Cancel, LinkError,
            dfu::target::Target,
            script::{Script, TestClock, hex},
        },
        *,
    };
    use crate::{
        edge::{Clock, UsbError},
        model::{Code, Platform},
    };

    /// A cloud that answers what it is told to, after some time.
    struct Scripted {
        nonce: Result<Nonce, NoHelp>,
        signed: Result<Countersigned, NoHelp>,
        takes: Duration,
        clock: Arc<TestClock>,
        asked: Vec<&'static str>,
    }

    impl Countersign for Scripted {
        fn nonce(&mut self) -> Result<Nonce, NoHelp> {
            self.asked.push("nonce");
            self.nonce.clone()
        }
        fn sign(&mut self, prepared: &Prepared) -> Result<Countersigned, NoHelp> {
            self.asked.push("sign");
            assert_eq!(
                (prepared.server_nonce, prepared.device_nonce),
                (Nonce([7; 32]), Nonce([8; 32]))
            );
            assert_eq!(
                (prepared.key, prepared.signature.as_slice()),
                (Fingerprint([9; 32]), &[1, 2, 3][..])
            );
            self.clock.sleep(self.takes);
            self.signed.clone()
        }
    }

    fn cloud(script: &Script) -> Scripted {
        Scripted {
            nonce: Ok(Nonce([7; 32])),
            signed: Ok(Countersigned {
                signature: vec![4, 5],
                server_key: Fingerprint([6; 32]),
            }),
            takes: Duration::from_secs(1),
            clock: Arc::clone(&script.clock),
            asked: Vec::new(),
        }
    }

    fn opening() -> Script {
        let script = Script::new();
        script.opening("6.2.0");
        script.request(76, &[], Ok(&hex("0801")));
        script
    }

    fn prepare(script: &Script, outcome: Result<&[u8], i32>) {
        script.request(77, &[hex("080112220a20"), vec![7; 32]].concat(), outcome);
    }

    fn reply() -> Vec<u8> {
        [hex("0a490a20"), vec![8; 32], hex("1203010203"), hex("1a20"), vec![9; 32]].concat()
    }

    fn confirm(script: &Script, outcome: Result<&[u8], i32>) {
        script.request(77, &[hex("08021a260a020405"), hex("1220"), vec![6; 32]].concat(), outcome);
    }

    fn entered(script: &Script, cloud: &mut Scripted) -> Result<Entered, ServiceError> {
        let mut link = script.link(Platform::P2, UsbMode::Normal);
        let outcome = enter(&mut Control::open(&mut link).unwrap(), cloud);
        script.done();
        outcome
    }

    #[test]
    fn the_whole_exchange() {
        let script = opening();
        prepare(&script, Ok(&reply()));
        confirm(&script, Ok(&[]));
        script.request(76, &[], Ok(&hex("1001")));
        let mut cloud = cloud(&script);
        let Ok(Entered::Opened { key, budget }) = entered(&script, &mut cloud) else {
            panic!("opened");
        };
        assert_eq!((key, budget.resets_left()), (Fingerprint([9; 32]), 19));
        assert_eq!(cloud.asked, ["nonce", "sign"]);
    }

    #[test]
    fn a_device_that_needs_no_exchange_costs_the_cloud_nothing() {
        for (state, expected) in [("", Entered::NotProtected), ("1001", Entered::Already)] {
            let script = Script::new();
            script.opening("6.2.0");
            script.request(76, &[], Ok(&hex(state)));
            let mut cloud = cloud(&script);
            assert_eq!(entered(&script, &mut cloud), Ok(expected));
            assert!(cloud.asked.is_empty());
        }
        // It says so only when it is asked to prepare.
        let script = opening();
        prepare(&script, Ok(&[]));
        assert_eq!(entered(&script, &mut cloud(&script)), Ok(Entered::NotProtected));
    }

    #[test]
    fn each_way_in_which_the_cloud_does_not_help() {
        let reason = || "Device public key was not found".to_owned();
        for (why, code) in [
            (NoHelp::KeyUnknown { reason: reason() }, Code::ServiceKeyUnknown),
            (NoHelp::Refused { reason: reason() }, Code::ServiceRefused),
            (NoHelp::NoToken { reason: reason() }, Code::CloudAuth),
            (NoHelp::NoAnswer { reason: reason() }, Code::CloudUnreachable),
        ] {
            let script = opening();
            let mut early = Scripted {
                nonce: Err(why.clone()),
                ..cloud(&script)
            };
            let error = entered(&script, &mut early).unwrap_err();
            assert_eq!(
                (error.code(), &error),
                (
                    code,
                    &ServiceError::NoHelp {
                        key: None,
                        source: why.clone()
                    }
                )
            );
            let script = opening();
            prepare(&script, Ok(&reply()));
            let mut late = Scripted {
                signed: Err(why.clone()),
                ..cloud(&script)
            };
            let error = entered(&script, &mut late).unwrap_err();
            assert_eq!(error.code(), code);
            assert!(
                matches!(error, ServiceError::NoHelp { key: Some(_), .. }),
                "by then its key is known"
            );
        }
    }

    #[test]
    fn each_way_in_which_the_device_refuses() {
        for (code, expected) in [
            (
                -1802,
                ServiceError::ServerKey {
                    server: Fingerprint([6; 32]),
                },
            ),
            (-1803, ServiceError::Signature),
            (
                -160,
                ServiceError::ContextLost {
                    after: Duration::from_millis(1_050),
                },
            ),
            (
                -210,
                ServiceError::ContextLost {
                    after: Duration::from_millis(1_050),
                },
            ),
        ] {
            let script = opening();
            prepare(&script, Ok(&reply()));
            confirm(&script, Err(code));
            let error = entered(&script, &mut cloud(&script)).unwrap_err();
            match (&error, &expected) {
                (ServiceError::ContextLost { .. }, ServiceError::ContextLost { .. }) => {}
                _ => assert_eq!(error, expected, "{code}"),
            }
        }
        for (code, expected) in [
            (-120, ServiceError::Unsupported),
            (-240, ServiceError::Unsupported),
            (-1400, ServiceError::NoOwnKey),
        ] {
            let script = opening();
            prepare(&script, Err(code));
            assert_eq!(entered(&script, &mut cloud(&script)), Err(expected), "{code}");
        }
        for bad in [hex("0a060a0101120102"), hex("0a00")] {
            let script = opening();
            prepare(&script, Ok(&bad));
            let error = entered(&script, &mut cloud(&script)).unwrap_err();
            assert!(
                matches!(error, ServiceError::Control(ControlError::Nonsense { .. })),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_slow_cloud_is_not_confirmed_in_vain() {
        let script = opening();
        prepare(&script, Ok(&reply()));
        let mut slow = Scripted {
            takes: Duration::from_secs(60),
            ..cloud(&script)
        };
        let error = entered(&script, &mut slow).unwrap_err();
        assert!(matches!(error, ServiceError::ContextLost { after } if after >= CONFIRM_WITHIN));
        assert_eq!(error.code(), Code::ServiceLost);
    }

    #[test]
    fn a_device_that_only_says_so_is_not_believed() {
        let script = opening();
        prepare(&script, Ok(&reply()));
        confirm(&script, Ok(&[]));
        script.request(76, &[], Ok(&hex("0801")));
        let error = entered(&script, &mut cloud(&script)).unwrap_err();
        assert_eq!(
            error,
            ServiceError::NotOpened {
                state: Protection::Protected
            }
        );
    }

    #[test]
    fn the_end_is_proved_in_normal_mode() {
        const STRING: [u8; 8] = [0x80, 6, 0xfa, 3, 9, 4, 255, 0];
        let state = |letter: u8| [vec![10, 3], [b's', b'm', b'=', letter].iter().flat_map(|b| [*b, 0]).collect()].concat();
        for (letter, expected) in [
            (b'p', Ok(())),
            (
                b's',
                Err(ServiceError::NotProtectedAgain {
                    state: Protection::Service,
                }),
            ),
            (b'o', Err(ServiceError::NotProtectedAgain { state: Protection::Open })),
        ] {
            let script = Script::new();
            script.opening("6.2.0");
            script.request(77, &[], Ok(&[]));
            script.get(STRING, &state(letter));
            let mut link = script.link(Platform::P2, UsbMode::Normal);
            assert_eq!(end(&mut link), expected);
            script.done();
        }
        // Without the string it is asked.
        let script = Script::new();
        script.fail(STRING, &[], UsbError::Stall);
        script.opening("6.1.1");
        script.request(76, &[], Ok(&hex("0801")));
        assert_eq!(verify_protected(&mut script.link(Platform::P2, UsbMode::Normal)), Ok(()));
        script.done();
    }

    #[test]
    fn the_end_is_proved_in_dfu_mode() {
        for (string, letters, expected) in [
            (Some("sm=p"), true, Ok(())),
            (
                Some("sm=s"),
                false,
                Err(ServiceError::NotProtectedAgain {
                    state: Protection::Service,
                }),
            ),
            (None, true, Ok(())),
            (None, false, Err(ServiceError::NotShown)),
        ] {
            let target = Target::new(Platform::Argon);
            target.inside().state_string = string;
            target.inside().protected = letters;
            assert_eq!(end(&mut target.link()), expected, "{string:?}");
        }
        assert_eq!(ServiceError::NotShown.code(), Code::NotProtectedAgain);
    }

    #[test]
    fn a_stop_ends_it_like_everything_else() {
        let script = opening();
        let cancel = Cancel::new();
        let mut link = script.link(Platform::P2, UsbMode::Normal);
        link.set_cancel(cancel.clone());
        let mut control = Control::open(&mut link).unwrap();
        cancel.cancel();
        let error = enter(&mut control, &mut cloud(&script)).unwrap_err();
        assert_eq!((error.code(), error.link()), (Code::Stopped, Some(&LinkError::Cancelled)));
    }
}
