//! Puts the old key back after the cloud refused the new one for good.

use crate::{
    device::{Cancel, DeviceError, KeyStore},
    model::{Code, Fact, Outcome, StepError, StepKind, key::SlotContent},
};

use super::{Bench, Cx, Report, Step, key_slot, open::failed, stays};

/// The step.
pub(super) struct RollBack;

impl Step for RollBack {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let (run, device) = (cx.work.run, cx.work.device);
        let (segments, _) = key_slot::segments(cx.recipe.platform);
        let old = cx.work.keys.before.as_ref().and_then(SlotContent::key);
        let old = old.ok_or_else(|| StepError::new(Code::Internal, format!("{DOING}: there was no valid key")))?;
        let sha256 = cx
            .work
            .keys
            .undo
            .ok_or_else(|| StepError::new(Code::KeyUndo, format!("{DOING}: there is no undo copy")))?;
        let undo = cx
            .undo
            .fetch(run, device, sha256)
            .map_err(|e| StepError::caused(Code::KeyUndo, DOING, &e))?;
        let mut dfu = bench.dfu(DOING)?;
        // From here on nothing but a cut stops it: half of it would be worse than all of it.
        dfu.link().set_cancel(Cancel::new());
        let slot = key_slot::slice(undo.expose(), segments.private.offset, segments.private.len);
        KeyStore::new(&mut dfu)
            .write(segments.private.offset, slot)
            .map_err(|e| failed(DOING, &DeviceError::from(e)))?;
        let held = key_slot::read(&mut dfu, cx.recipe.platform)?;
        if held.content.key() != Some(old) {
            return Err(StepError::new(
                Code::KeyWrite,
                format!("{DOING}: what was read back is {}, not the old key", held.content.word()),
            ));
        }
        (cx.commit)(Fact::KeyRestored {
            run,
            device,
            fingerprint: old.fingerprint,
        })?;
        Ok(stays(Outcome::Done))
    }
}

const DOING: &str = StepKind::RollBack.label();
