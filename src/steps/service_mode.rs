//! Lets a protected device into Service Mode, with the help of the cloud. What may open the device is on record before
//! it is said.

use crate::{
    device::service_mode::{self, Countersign, Countersigned, Entered, NoHelp, Nonce, Prepared, ServiceError},
    keys::exchange,
    model::{Code, Fact, Fingerprint, Found, Outcome, PublicKey, StepError, StepKind, fact::Protection, platform::UsbMode},
    rack::After,
};

use super::{
    Bench, Cx, Report, Step,
    protect_again::{Shown, refused, shown},
    stays,
};

/// The step.
pub(super) struct ServiceMode;

impl Step for ServiceMode {
    fn inspect(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Found, StepError> {
        let evidence = match shown(bench.link(), DOING)? {
            Shown::Told(Protection::Protected) => return Ok(Found::NotDone),
            Shown::Told(Protection::Open) => return Err(unguarded()),
            Shown::Told(Protection::Service) => "the device says that it is in Service Mode",
            Shown::Memory => "the device is a protected one and shows its memory: it is in Service Mode",
        };
        opened(cx, None)?;
        Ok(Found::AlreadyDone(evidence.to_owned()))
    }

    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        if bench.mode() == UsbMode::Dfu {
            // There is no exchange.
            return Ok(Report {
                outcome: Outcome::Done,
                after: After::Needs(UsbMode::Normal),
            });
        }
        let mut control = bench.control(DOING)?;
        let mut cloud = Announced {
            cx,
            cloud: (cx.countersign)(cx.recipe.timeouts.cloud / TRIES),
            stop: None,
            new_key: false,
        };
        let entered = service_mode::enter(&mut control, &mut cloud);
        match (entered, cloud.stop) {
            (_, Some(stop)) => Err(stop),
            (Ok(Entered::Opened { .. } | Entered::Already), None) => Ok(stays(Outcome::Done)),
            (Ok(Entered::NotProtected), None) => Err(unguarded()),
            (Err(ServiceError::NoHelp { .. }), None) if cloud.new_key => Ok(Report {
                outcome: Outcome::Done,
                after: After::NeedsUpload,
            }),
            (Err(_), None) if cx.cancel.is_cancelled() => Err(StepError::new(Code::Stopped, DOING)),
            (Err(error), None) => Err(refused(DOING, &error)),
        }
    }
}

/// The cloud's half of the exchange, with a record before the device hears the end of it.
struct Announced<'c, 'x> {
    cx: &'c Cx<'x>,
    cloud: Box<dyn Countersign + 'x>,
    /// The record could not be made: the exchange ends.
    stop: Option<StepError>,
    /// The device proved that it holds the new key of this run, which the cloud does not know yet.
    new_key: bool,
}

impl Countersign for Announced<'_, '_> {
    fn nonce(&mut self) -> Result<Nonce, NoHelp> {
        self.cloud.nonce()
    }

    fn sign(&mut self, prepared: &Prepared) -> Result<Countersigned, NoHelp> {
        let signed = self.cloud.sign(prepared);
        let recorded = match &signed {
            Ok(_) => opened(self.cx, Some(prepared.key)),
            Err(NoHelp::KeyUnknown { .. }) => holds_new_key(self.cx, prepared).map(|proved| self.new_key = proved),
            Err(_) => Ok(()),
        };
        match recorded {
            Ok(()) => signed,
            Err(error) => {
                let reason = error.to_string();
                self.stop = Some(error);
                Err(NoHelp::NoAnswer { reason })
            }
        }
    }
}

/// The cloud does not know the device's key. If that is the key that this run was about to write when its device lost its
/// power, or had just written, the device has just proved that it holds it: once it is registered the cloud knows it.
fn holds_new_key(cx: &Cx<'_>, prepared: &Prepared) -> Result<bool, StepError> {
    let (run, device, keys) = (cx.work.run, cx.work.device, &cx.work.keys);
    let proved = |key: &&PublicKey| {
        let (nonce, server) = (&prepared.device_nonce.0, &prepared.server_nonce.0);
        key.fingerprint == prepared.key && exchange::signed(key, device, nonce, server, &prepared.signature)
    };
    let Some(key) = keys.intended.as_ref().filter(proved) else {
        return Ok(false);
    };
    if keys.written.is_none() {
        (cx.commit)(Fact::KeyWritten {
            run,
            device,
            fingerprint: key.fingerprint,
        })?;
    }
    Ok(true)
}

/// From here on the device may be open.
fn opened(cx: &Cx<'_>, key: Option<Fingerprint>) -> Result<(), StepError> {
    let (run, device) = (cx.work.run, cx.work.device);
    (cx.commit)(Fact::ServiceOpened { run, device, key })
}

/// A device that was protected when it came has no protection at all.
fn unguarded() -> StepError {
    StepError::new(
        Code::NotProtectedAgain,
        format!("{DOING}: the device was protected and shows no protection any more"),
    )
}

/// So often the exchange is begun: together the tries wait as long for the cloud as any step that waits for it.
const TRIES: u32 = 3;
const DOING: &str = StepKind::ServiceMode.label();
