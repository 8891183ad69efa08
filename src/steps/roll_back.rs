//! Puts the old key back after the cloud refused the new one for good, and what an interrupted write lost around it.

use crate::{
    device::Cancel,
    model::{Code, Fact, Outcome, StepError, StepKind, key::SlotContent},
};

use super::{Bench, Cx, Report, Step, key_slot, lost, stays};

/// The step.
pub(super) struct RollBack;

impl Step for RollBack {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let (run, device) = (cx.work.run, cx.work.device);
        let old = cx.work.keys.before.as_ref().and_then(SlotContent::key);
        let old = old.ok_or_else(|| StepError::new(Code::Internal, format!("{DOING}: there was no valid key")))?;
        let mut dfu = bench.dfu(DOING)?;
        let mut held = key_slot::read(&mut dfu, cx.recipe.platform)?;
        match &held.content {
            SlotContent::Unreadable { why } => {
                return Err(StepError::new(Code::KeyUnreadable, format!("{DOING}: {why}")));
            }
            // A device that lost its key store makes a key when it starts: on record before it is written over.
            content if content.key() != Some(old) && content.key() != cx.work.keys.intended.as_ref() => {
                (cx.commit)(Fact::KeyRead {
                    run,
                    device,
                    content: content.clone(),
                })?;
            }
            _ => {}
        }
        // From here on nothing but a cut stops it: half of it would be worse than all of it.
        dfu.link().set_cancel(Cancel::new());
        if held.content.key() == Some(old) {
            lost::surroundings(cx, &mut dfu, &held)?;
        } else {
            lost::put_back(cx, &mut dfu, &held)?;
        }
        held = key_slot::read(&mut dfu, cx.recipe.platform)?;
        if held.content.key() != Some(old) {
            return Err(StepError::new(
                Code::KeyWrite,
                format!("{DOING}: what was read back is {}, not the old key", held.content.word()),
            ));
        }
        lost::nothing(cx, &held)?;
        (cx.commit)(Fact::KeyRestored {
            run,
            device,
            fingerprint: old.fingerprint,
        })?;
        Ok(stays(Outcome::Done))
    }
}

const DOING: &str = StepKind::RollBack.label();
