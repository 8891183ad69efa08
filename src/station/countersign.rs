//! How a worker asks the cloud for its half of the exchange that leads to Service Mode: through threads of the uplink,
//! and with them through the station's one token bucket.
//!
//! The worker waits no longer than it may: a stop or the end of its time ends the waiting, not the call, whose late
//! answer nobody reads. The exchange changes nothing in the cloud: after an unclear end it simply begins again.

use std::{sync::Arc, time::Duration};

use crate::{
    cloud::{Api, DeviceProof, ServerProof},
    device::{
        Cancel,
        service_mode::{Countersign, Countersigned, NoHelp, Nonce, Prepared},
    },
    edge::Clock,
    model::{Code, DeviceId, Fingerprint, Mono, ProductId, outbox::Answer, service::CONFIRM_WITHIN},
};

use super::mailbox::Mailbox;

/// A question of a worker, with the place for its answer.
pub(super) struct Ask {
    device: DeviceId,
    product: Option<ProductId>,
    half: Half,
}

enum Half {
    Prepare(Mailbox<Result<[u8; 32], Answer>>),
    Confirm(Mailbox<Result<ServerProof, Answer>>, DeviceProof),
}

impl Ask {
    /// Makes the call.
    pub(super) fn make(self, api: &Api) {
        let product = self.product.as_ref();
        match self.half {
            Half::Prepare(reply) => reply.send(api.unprotect_prepare(self.device, product)),
            Half::Confirm(reply, proof) => reply.send(api.unprotect_confirm(self.device, product, &proof)),
        }
    }
}

/// The cloud, as the worker of one device sees it.
pub(super) struct OverUplink {
    /// The queue of the uplink for such questions.
    pub(super) questions: Mailbox<Option<Ask>>,
    /// Time.
    pub(super) clock: Arc<dyn Clock>,
    /// Raised when the worker should end.
    pub(super) cancel: Cancel,
    /// The device.
    pub(super) device: DeviceId,
    /// Its product, if it is in one.
    pub(super) product: Option<ProductId>,
    /// The longest that the first half is asked for. The second half has to come within a minute.
    pub(super) patience: Duration,
}

impl Countersign for OverUplink {
    /// Asks until there is a definite answer: each nonce is as good as any other.
    fn nonce(&mut self) -> Result<Nonce, NoHelp> {
        let deadline = self.clock.now() + self.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let (reason, after) = match self.ask(deadline, Half::Prepare) {
                Ok(nonce) => return Ok(Nonce(nonce)),
                Err((NoHelp::NoAnswer { reason }, after)) => (reason, after),
                Err((definite, _)) => return Err(definite),
            };
            let again = self.clock.now() + after.unwrap_or(pause);
            if again >= deadline || self.cancel.is_cancelled() {
                return Err(NoHelp::NoAnswer { reason });
            }
            let _ = self.wait(&Mailbox::<()>::new(), again);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks once: a nonce serves once, so that the whole exchange has to begin again.
    fn sign(&mut self, prepared: &Prepared) -> Result<Countersigned, NoHelp> {
        let proof = DeviceProof {
            server_nonce: prepared.server_nonce.0,
            device_nonce: prepared.device_nonce.0.to_vec(),
            signature: prepared.signature.clone(),
            key_fingerprint: prepared.key.0.to_vec(),
        };
        let deadline = self.clock.now() + CONFIRM_WITHIN;
        let signed = self.ask(deadline, |reply| Half::Confirm(reply, proof));
        let signed = signed.map_err(|(why, _)| why)?;
        let server_key = signed.key_fingerprint.try_into().map(Fingerprint);
        Ok(Countersigned {
            signature: signed.signature,
            server_key: server_key.map_err(|_| NoHelp::Refused {
                reason: "the fingerprint of its key has not 32 bytes".to_owned(),
            })?,
        })
    }
}

impl OverUplink {
    /// Asks once. With a failure comes how long the cloud asked to wait, if it did.
    fn ask<T>(
        &self,
        deadline: Mono,
        half: impl FnOnce(Mailbox<Result<T, Answer>>) -> Half,
    ) -> Result<T, (NoHelp, Option<Duration>)> {
        let reply = Mailbox::new();
        self.questions.send(Some(Ask {
            device: self.device,
            product: self.product.clone(),
            half: half(reply.clone()),
        }));
        let no_answer = |reason: &str| NoHelp::NoAnswer {
            reason: reason.to_owned(),
        };
        let why = match self.wait(&reply, deadline) {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(Answer::Refused {
                code: Code::DeviceKeyUnknown,
                reason,
            })) => NoHelp::KeyUnknown { reason },
            Some(Err(Answer::Refused { reason, .. })) => NoHelp::Refused { reason },
            Some(Err(Answer::Auth { reason })) => NoHelp::NoToken { reason },
            Some(Err(Answer::Later { why, after_ms })) => {
                return Err((NoHelp::NoAnswer { reason: why }, after_ms.map(Duration::from_millis)));
            }
            Some(Err(Answer::Ambiguous { why })) => no_answer(&why),
            Some(Err(Answer::Accepted { .. })) => no_answer("an acceptance without what was asked for"),
            None => no_answer("it came too late, or not at all"),
        };
        Err((why, None))
    }

    /// Waits for an answer, until the deadline or a stop.
    fn wait<T>(&self, reply: &Mailbox<T>, deadline: Mono) -> Option<T> {
        loop {
            let now = self.clock.now();
            if now >= deadline || self.cancel.is_cancelled() {
                return None;
            }
            let look = (now + LOOK).min(deadline);
            if let Some(answer) = reply.receive(&*self.clock, Some(look)) {
                return Some(answer);
            }
        }
    }
}

/// A stop rings no bell: it is looked for this often.
const LOOK: Duration = Duration::from_millis(200);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
