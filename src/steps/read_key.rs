//! Reads the key store twice, says what the key slot holds, and has the public half on record.

use crate::model::{Code, Fact, Outcome, StepError, StepKind, key::SlotContent, recipe::KeyPolicy};

use super::{Bench, Cx, Report, Step, key_slot, lost, stays};

/// The step.
pub(super) struct ReadKey;

impl Step for ReadKey {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let doing = StepKind::ReadKey.label();
        let mut dfu = bench.dfu(doing)?;
        let held = key_slot::read(&mut dfu, cx.recipe.platform)?;
        (cx.commit)(Fact::KeyRead {
            run: cx.work.run,
            device: cx.work.device,
            content: held.content.clone(),
        })?;
        let held = lost::mend(cx, &mut dfu, held)?;
        let begun = cx.work.keys.intended.is_some();
        match held.content {
            SlotContent::Valid { key, .. } => {
                let expected = cx.work.keys.accepted_before;
                let outcome = match expected {
                    Some(accepted) if accepted != key.fingerprint && Some(key.fingerprint) != cx.work.keys.written => {
                        Outcome::Warned {
                            why: format!(
                                "the cloud accepted key {} last; the device holds {}",
                                accepted.short(),
                                key.fingerprint.short()
                            ),
                        }
                    }
                    _ => Outcome::Done,
                };
                Ok(stays(outcome))
            }
            SlotContent::Unreadable { why } => Err(StepError::new(Code::KeyUnreadable, format!("{doing}: {why}"))),
            // A write of this run that a cut interrupted: the next step puts it right.
            content if begun => Ok(stays(Outcome::Warned {
                why: format!("after the cut the key slot is {}", content.word()),
            })),
            content if cx.recipe.keys == KeyPolicy::Read => {
                let code = if content == SlotContent::Blank {
                    Code::KeyBlank
                } else {
                    Code::KeyCorrupt
                };
                Err(StepError::new(code, format!("{doing}: the slot is {}", said(&content))))
            }
            content => Ok(stays(Outcome::Warned {
                why: format!("the key slot is {}", said(&content)),
            })),
        }
    }
}

fn said(content: &SlotContent) -> String {
    match content {
        SlotContent::Corrupt { why } => format!("corrupt ({why})"),
        content => content.word().to_owned(),
    }
}
