//! Has the key that the device holds sign a packet for it: the proof, for whoever registers the public half elsewhere,
//! that the device had it; and has a copy of the private half sealed, if that is wanted. Changes nothing.

use crate::{
    keys::{escrow, packet},
    model::{Code, Fact, Outcome, StepError, StepKind, key::SlotContent},
};

use super::{Bench, Cx, Report, Step, key_slot, stays};

/// The step.
pub(super) struct SignPacket;

impl Step for SignPacket {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let (run, device, platform) = (cx.work.run, cx.work.device, cx.recipe.platform);
        let held = key_slot::read(&mut bench.dfu(DOING)?, platform)?;
        (cx.commit)(Fact::KeyRead {
            run,
            device,
            content: held.content.clone(),
        })?;
        let Some(private) = held.private else {
            return Err(without_key(&held.content));
        };
        if let Some(escrow) = cx.escrow {
            let sealed = escrow::seal(&private, device, &escrow.recipients, cx.entropy);
            (escrow.keep)(device, &sealed)
                .map_err(|error| StepError::caused(Code::EscrowWrite, "write the sealed copy of the private key", &error))?;
            (cx.commit)(Fact::KeyEscrowed {
                run,
                device,
                fingerprint: private.public().fingerprint,
                recipients: escrow.recipients.iter().map(ToString::to_string).collect(),
            })?;
        }
        let manifest = packet::sign(&private, device, platform, cx.work.station.clone(), cx.clock.wall());
        (cx.commit)(Fact::PacketSigned { run, device, manifest })?;
        Ok(stays(Outcome::Done))
    }
}

fn without_key(content: &SlotContent) -> StepError {
    let (code, why) = match content {
        SlotContent::Blank => (Code::KeyBlank, "the key slot is blank".to_owned()),
        SlotContent::Corrupt { why } => (Code::KeyCorrupt, format!("the key slot holds no key: {why}")),
        SlotContent::Unreadable { why } => (Code::KeyUnreadable, why.clone()),
        SlotContent::Valid { .. } => (Code::Internal, "the key in the slot was not kept".to_owned()),
    };
    StepError::new(code, format!("{DOING}: {why}"))
}

const DOING: &str = StepKind::SignPacket.label();
