//! How a run ends: from its last step, or from what stopped it, to its verdict. Owns which verdict a key slot in doubt
//! allows, when an undo copy is over, what an ended run still owes, and the clean-up before the verdict.

use crate::{
    edge::Attached,
    model::{
        Code, Fact, RunId, SlotNo, StepError, StepKind, Verdict,
        diagnosis::Flow,
        outbox::{Errand, ItemId, ItemState},
        platform::UsbMode,
        verdict::Blame,
    },
};

use super::{
    Effect,
    choice::left_out,
    moving::old_product,
    repair::is_keyless,
    run::{Run, StepState},
    slot::{Doing, Slot},
    turn::{TRIES, Turn, mode_of},
    upload::Entry,
};

/// A verdict that waits for the clean-up.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sentence {
    verdict: Verdict,
    code: Option<Code>,
    why: String,
}

impl Turn {
    /// Every step ended well: the verdict.
    pub(super) fn complete(&mut self, slot: SlotNo, attached: &Attached, run: &Run) {
        let owed = self.rack.outbox.owes(run.id);
        let (verdict, code, why) = if owed {
            let why = match self.lacking(run.id) {
                Some(what) => format!("the device is done; it is still {what}"),
                None => "the device is done; its key is still owed to the cloud".to_owned(),
            };
            (Verdict::Owed, Some(Code::CloudUnreachable), why)
        } else if run.keys.agreed() || is_keyless(run) {
            match left_out(run) {
                Some(why) => (Verdict::Aborted, Some(Code::StepLeftOut), why),
                None => (Verdict::Pass, None, summary(run)),
            }
        } else {
            let why = "every step ended, and yet the cloud is not known to hold the key of the device".to_owned();
            (Verdict::Quarantined, Some(Code::StateUnknown), why)
        };
        self.judge(slot, Some(attached.clone()), run.id, verdict, code, why);
    }

    /// The run ends because a step failed for good.
    pub(super) fn fail(&mut self, slot: SlotNo, attached: Option<Attached>, run: RunId, error: &StepError) {
        let verdict = match error.blame() {
            _ if matches!(error.code, Code::StateUnknown | Code::MoveLost) => Verdict::Quarantined,
            Blame::Device => Verdict::Fail,
            Blame::Station => Verdict::Fault,
        };
        self.judge(slot, attached, run, verdict, Some(error.code), error.to_string());
    }

    /// The run comes to its end. While the device is there it is cleaned up first: the bench network does not leave the
    /// bench.
    pub(super) fn judge(
        &mut self,
        slot: SlotNo,
        attached: Option<Attached>,
        id: RunId,
        verdict: Verdict,
        code: Option<Code>,
        why: String,
    ) {
        // A device that could not change its mode for its clean-up has its verdict already.
        if self.rack.sentences.contains_key(&id) {
            self.add_to_sentence(id, &why);
            return self.pronounce_sentence(slot, attached, id);
        }
        self.rack.sentences.insert(id, Sentence { verdict, code, why });
        match attached {
            Some(attached) => self.conclude(slot, &attached, id),
            None => self.pronounce_sentence(slot, None, id),
        }
    }

    /// Takes a run whose verdict waits to what has to be cleaned up still, or to its end.
    pub(super) fn conclude(&mut self, slot: SlotNo, attached: &Attached, id: RunId) {
        let Some(run) = self.run(id) else { return };
        if to_clean_up(&run).is_some() && mode_of(attached) == Some(UsbMode::Normal) {
            self.clean_up(slot, attached, &run, 1);
        } else if run.open {
            self.protect(slot, attached, &run, 1);
        } else {
            self.pronounce_sentence(slot, Some(attached.clone()), id);
        }
    }

    pub(super) fn add_to_sentence(&mut self, id: RunId, more: &str) {
        if let Some(sentence) = self.rack.sentences.get_mut(&id) {
            sentence.why = format!("{}; {more}", sentence.why);
        }
    }

    fn clean_up(&mut self, slot: SlotNo, attached: &Attached, run: &Run, tries: u8) {
        let (Some(step), Some(prepared)) = (run.index(StepKind::ForgetNetwork), self.rack.setting.book.by_hash(run.recipe))
        else {
            return self.pronounce_sentence(slot, Some(attached.clone()), run.id);
        };
        let limit = prepared.recipe.timeouts.step;
        self.begin_step(run, step);
        self.work(
            slot,
            attached,
            run,
            StepKind::ForgetNetwork,
            false,
            Doing::CleanUp { step, tries },
            limit,
        );
    }

    /// A clean-up failed: again, if that may help. Its failure changes no verdict.
    pub(super) fn clean_up_failed(&mut self, slot: SlotNo, attached: Attached, id: RunId, tries: u8, error: &StepError) {
        match self.run(id) {
            Some(run) if error.transient() && tries < TRIES => self.clean_up(slot, &attached, &run, tries + 1),
            _ => self.cleaned_up(slot, Some(attached), id),
        }
    }

    /// The bench network is away, or could not be taken away: on to what else the verdict waits for.
    pub(super) fn cleaned_up(&mut self, slot: SlotNo, attached: Option<Attached>, id: RunId) {
        match attached {
            Some(attached) => self.conclude(slot, &attached, id),
            None => self.pronounce_sentence(slot, None, id),
        }
    }

    /// The clean-up is over, well or not: the verdict that waited for it.
    pub(super) fn pronounce_sentence(&mut self, slot: SlotNo, attached: Option<Attached>, id: RunId) {
        if let Some(Sentence { verdict, code, why }) = self.rack.sentences.remove(&id) {
            self.pronounce(slot, attached, id, verdict, code, why);
        }
    }

    /// The run ends here and now. The slot shows the verdict until its device leaves.
    ///
    /// A run that may have replaced a valid key with one that the cloud has not accepted ends in no other way than
    /// QUARANTINED, whatever stopped it: what it owes stays owed, and its undo copy is kept. So does one whose device could
    /// not be opened again after a write was cut.
    pub(super) fn pronounce(
        &mut self,
        slot: SlotNo,
        attached: Option<Attached>,
        id: RunId,
        verdict: Verdict,
        code: Option<Code>,
        mut why: String,
    ) {
        let Some(run) = self.run(id) else { return };
        let (verdict, code) = if run.keys.unsettled() && verdict != Verdict::Quarantined {
            why.push_str("; the cloud has not accepted the new key that the device holds or may hold");
            (Verdict::Quarantined, Some(Code::StateUnknown))
        } else {
            (verdict, code)
        };
        let (verdict, code) = if run.awaits_service() && server_key_open(&run) && verdict != Verdict::Quarantined {
            why.push_str("; nobody could look at what the write that was cut has left in its key store");
            (Verdict::Quarantined, Some(Code::StateUnknown))
        } else {
            (verdict, code)
        };
        let (verdict, code) = Self::alarm(&run, verdict, code, &mut why);
        if to_clean_up(&run).is_some() || run.step(StepKind::ForgetNetwork).is_some_and(failed) {
            why.push_str("; the bench network may still be on the device");
        }
        if !matches!(verdict, Verdict::Owed | Verdict::Quarantined) {
            let kept = self.owe_no_more(&run, verdict, code);
            if kept {
                why.push_str("; its key is good and still owed to the cloud");
            }
            if let Some(what) = self.lacking(id) {
                why.push_str(&format!("; the device is still {what}"));
            }
        }
        if run.keys.undo.is_some() && undo_is_over(&run) {
            self.destroy_undo(&run);
        }
        self.fact(Fact::RunEnded {
            run: id,
            device: run.device,
            verdict,
            code,
            why,
            proved: verdict == Verdict::Pass && run.handshake.is_some(),
        });
        self.stop_the_line(&run);
        // What could not be given back ended its custody, as far as it may end.
        if !self.rack.is_lost(id) {
            self.end_custody(id);
        }
        match attached {
            Some(attached) => self.set(
                slot,
                Slot::Judged {
                    attached,
                    run: id,
                    device: run.device,
                    verdict,
                },
            ),
            None => self.settle_found(slot),
        }
    }

    /// What an ended run never sent is not owed any more, but for a key with which the device was let go: it holds that
    /// key whatever else is wrong with it, and only the cloud does not know it yet. Tells whether there is one.
    fn owe_no_more(&mut self, run: &Run, verdict: Verdict, code: Option<Code>) -> bool {
        let let_go = code != Some(Code::KeyDuplicate)
            && run
                .step(StepKind::Register)
                .is_some_and(|step| matches!(step.state, StepState::Ended(_)));
        // A device that was taken is given back whatever became of its run, and gets what else it had.
        let (taken, lacks) = (self.rack.outbox.taken(run.id), self.rack.outbox.lacks(run.id));
        let back = |e: &Entry| lacks || taken && matches!(e.item.errand, Errand::Restore { .. } | Errand::Confirm { .. });
        let open = self.rack.outbox.open().filter(|e| e.item.run == run.id && !back(e));
        let (kept, unsent): (Vec<_>, Vec<_>) = open
            .filter(|e| !e.ambiguous && e.state != ItemState::Sent)
            .map(|e| {
                (
                    let_go && e.key().is_some() && e.key() == run.keys.present(),
                    e.item.id.clone(),
                )
            })
            .partition(|(kept, _)| *kept);
        for (_, item) in unsent {
            self.fact(Fact::ItemWithdrawn {
                item,
                why: format!("the run ended {verdict}"),
            });
        }
        !kept.is_empty()
    }

    /// What a device that was taken still lacks, in words.
    fn lacking(&self, run: RunId) -> Option<&'static str> {
        let outbox = &self.rack.outbox;
        let claimed = outbox.get(&ItemId::claim(run)).is_some_and(|claim| !claim.settled());
        outbox.lacks(run).then_some(if claimed {
            "to be given back to its owner in the cloud"
        } else {
            "to be put into its product in the cloud"
        })
    }

    /// Has an undo copy destroyed, after the fact is on disk.
    pub(super) fn destroy_undo(&mut self, run: &Run) {
        let (run, device) = (run.id, run.device);
        self.fact(Fact::UndoDestroyed { run, device });
        self.effects.push(Effect::DestroyUndo { run, device });
    }
}

/// True if the undo copy of a run serves nothing any more: the cloud accepted the key that the device holds, the old key
/// is back or still there, there was no valid key to go back to, or nothing was written after all.
pub(super) fn undo_is_over(run: &Run) -> bool {
    let keys = &run.keys;
    let nothing_valid = keys.before.as_ref().is_some_and(|content| content.key().is_none());
    let untouched = keys.intended.is_none() && keys.read == keys.before;
    // Written, or torn with nothing to write any more: the pair that was given is gone.
    let settled = keys.written.is_some() || keys.intended.is_none();
    !server_key_open(run) && (keys.restored || keys.holds_old() || untouched || keys.agreed() || (nothing_valid && settled))
}

/// True if the server settings of the device may be half written.
fn server_key_open(run: &Run) -> bool {
    run.step(StepKind::ServerKey)
        .is_some_and(|s| matches!(s.state, StepState::Started | StepState::Failed(_)))
}

/// The index of the step that takes the bench network away again, if the network may be on the device.
fn to_clean_up(run: &Run) -> Option<u8> {
    let joined = run.joined() == Some(true);
    let forget = run.step(StepKind::ForgetNetwork)?;
    let open = matches!(forget.state, StepState::Pending | StepState::Started);
    (joined && open).then(|| run.index(StepKind::ForgetNetwork)).flatten()
}

fn failed(step: &super::run::Step) -> bool {
    matches!(step.state, StepState::Failed(_))
}

fn summary(run: &Run) -> String {
    let mut parts = Vec::new();
    if let (Some(Flow::Move), Some(old), Some(new)) = (run.flow(), old_product(run), &run.product) {
        parts.push(format!("moved from product {old} to {new}"));
    } else if let Some(diagnosis) = &run.diagnosis {
        parts.push(diagnosis.trouble.to_string());
    } else if run.steps.iter().all(|s| s.kind != StepKind::Admit) {
        parts.push("already done under this recipe; checked".to_owned());
    }
    parts.push(match (run.keys.written, run.keys.before.as_ref()) {
        (Some(_), Some(before)) => format!("new key, the slot was {}", before.word()),
        (Some(_), None) => "new key".to_owned(),
        _ => "key as found".to_owned(),
    });
    if run.keys.accepted.is_some() {
        parts.push("registered".to_owned());
    } else if run.diagnosis.is_some() && run.keys.agreed() {
        parts.push("registered in an earlier run".to_owned());
    } else if run.diagnosis.is_some() && run.handshake.is_none() {
        parts.push("nothing says that the cloud does not know it".to_owned());
    }
    if run.handshake.is_some() {
        parts.push("proved by a handshake".to_owned());
    }
    parts.join(", ")
}
