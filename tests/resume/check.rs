//! What must hold at the instant of a cut, and at the end of every run.

use keyrack::{
    model::{Verdict, recipe::KeyPolicy},
    store::{DeviceRow, Standing},
};

use crate::{
    bench::{Bench, Ended},
    case::{Case, Cloud, Prepared, StartKey},
    probe::{Probe, Way},
    witness::{Secrets, Witness, fingerprint, private_slot},
};

/// What is asked after the station was cut, with nothing but the disk left of it.
pub(crate) fn at_cut(case: &Case, prepared: &Prepared, bench: &Bench, seen: &Witness, secrets: &mut Secrets) {
    note_secrets(case, prepared, seen, secrets);
    seen.at_cut(bench, prepared.spki.as_deref(), secrets);
}

/// What is asked when everything is at rest. `calm` is the verdict of the run without a cut.
pub(crate) fn at_end(
    case: &Case,
    prepared: &Prepared,
    bench: &Bench,
    probe: &Probe,
    secrets: &mut Secrets,
    end: Ended,
    calm: Option<Verdict>,
) {
    let seen = &probe.witness;
    let wrong = |what: String| seen.wrong(what);
    let device = prepared.device;
    note_secrets(case, prepared, seen, secrets);
    if end != Ended::Idle {
        wrong(format!("I1: it ended {end:?}"));
    }
    let Some(row) = seen.ask(|reader| reader.device(device).unwrap()) else {
        return wrong("I1: the ledger does not know the device".to_owned());
    };
    let Some(verdict) = row.last_verdict else {
        return wrong("I1: the device has no verdict".to_owned());
    };
    let way = probe.cut.map(|(_, way)| way);
    if !allowed(case, calm, way).contains(&verdict) {
        wrong(format!("I1: {verdict} ({:?}) where {calm:?} was to come", row.last_code));
    }
    let history = seen.ask(|reader| reader.history(device).unwrap().expect("the device is known"));
    if history.runs.iter().any(|run| run.verdict.is_none()) {
        wrong("I1: a run is open".to_owned());
    }
    keys(case, prepared, bench, seen, &row, verdict);
    writes(case, prepared, seen);
    around(case, prepared, seen, verdict);
    seen.undo(verdict);
    seen.at_large(bench, secrets, "");
    imports(bench, seen, &row, verdict);
    seen.journal(bench);
}

fn allowed(case: &Case, calm: Option<Verdict>, way: Option<Way>) -> Vec<Verdict> {
    let Some(calm) = calm else { return Verdict::ALL.to_vec() };
    let booted = way.is_some_and(|way| way != Way::Station);
    let mut allowed = vec![calm];
    match calm {
        // A device that booted may have made a key: then there is one to read.
        Verdict::Fail if booted && case.key == StartKey::Blank && case.cloud == Cloud::Takes => allowed.push(Verdict::Pass),
        Verdict::Fail | Verdict::RolledBack if case.cloud == Cloud::RefusesNew && way.is_some() => {
            // The cloud may have taken the key that the cut hid the answer for; and a key of the device's own is refused, too.
            allowed.extend([Verdict::Quarantined, Verdict::Fail, Verdict::Fault, Verdict::RolledBack]);
        }
        _ => {}
    }
    allowed
}

fn keys(case: &Case, prepared: &Prepared, bench: &Bench, seen: &Witness, row: &DeviceRow, verdict: Verdict) {
    let wrong = |what: String| seen.wrong(what);
    let slot = seen.slot_key();
    let registered = bench.rig.cloud.registered(prepared.device);
    let uploads = bench.rig.cloud.uploads(prepared.device);
    let print = slot.as_deref().map(fingerprint);
    if let Some(spki) = &slot
        && !seen.in_ledger(spki)
        && !(case.key == StartKey::Blank && verdict != Verdict::Pass && seen.made_by_device())
        && verdict != Verdict::Fault
    {
        wrong("I3: the slot holds a key that the ledger does not know".to_owned());
    }
    if verdict == Verdict::Pass {
        if slot.is_none() {
            wrong("I2: PASS without a valid key".to_owned());
        }
        if registered != slot {
            wrong("I2: PASS, and the cloud has another key than the device".to_owned());
        }
        if row.key_accepted != print {
            wrong("I2: PASS, and the ledger has another key as accepted".to_owned());
        }
        if row.standing != Standing::Agreed {
            wrong(format!("I2: PASS, and the standing is {:?}", row.standing));
        }
        seen.server(case.platform, bench);
    }
    if registered.is_some() && registered != slot && row.standing == Standing::Agreed {
        wrong(format!(
            "I5: {verdict}, device and cloud are out of step, and the ledger says that they agree"
        ));
    }
    if let Some(start) = &prepared.spki
        && slot.as_ref() != Some(start)
        && !uploads.iter().any(|upload| upload.accepted && upload.spki == *start)
    {
        wrong("I4: the key of the start is gone, and the cloud never had it".to_owned());
    }
    if case.policy != KeyPolicy::Generate && case.key == StartKey::Good && slot != prepared.spki {
        let lost = seen.world.with_device(prepared.device, |d| d.counters().torn).unwrap() > 0;
        if !(lost && seen.made_by_device()) {
            wrong(format!("I9: {} replaced a valid key", case.policy));
        }
    }
}

fn writes(case: &Case, prepared: &Prepared, seen: &Witness) {
    let counters = seen.world.with_device(prepared.device, |d| d.counters().clone()).unwrap();
    if case.key == StartKey::AllZero && counters.dct_writes > 0 {
        seen.wrong(format!(
            "I9: {} writes to a key store that cannot be read",
            counters.dct_writes
        ));
    }
    if case.policy == KeyPolicy::Read && counters.key_writes > counters.keys_made {
        let (slot, start) = (
            private_slot(case.platform, &seen.dct()),
            private_slot(case.platform, &prepared.dct),
        );
        if counters.torn == 0 || slot != start {
            seen.wrong("I9: a recipe that only reads wrote to the key slot".to_owned());
        }
    }
}

/// Nothing around the key slot is lost but what a recipe writes over.
fn around(case: &Case, prepared: &Prepared, seen: &Witness, verdict: Verdict) {
    if !matches!(verdict, Verdict::Pass | Verdict::RolledBack) {
        return;
    }
    let segments = case.platform.key_segments(case.platform.row().transport);
    let written = [segments.private, segments.server_key, segments.server_address];
    let dct = seen.dct();
    let lost = prepared.dct.iter().zip(&dct).enumerate().filter(|(at, (start, now))| {
        let written = written.iter().any(|s| (s.offset..s.offset + s.len).contains(&(*at as u32)));
        !written && **start != 0xff && **now == 0xff
    });
    if let Some((at, _)) = lost.clone().next() {
        seen.wrong(format!(
            "I10: {verdict}, and {} bytes around the key slot are lost, the first at {at}",
            lost.count()
        ));
    }
}

fn imports(bench: &Bench, seen: &Witness, row: &DeviceRow, verdict: Verdict) {
    use keyrack::sim::cloud::ImportList;
    let imports = bench.rig.cloud.imports(seen.device);
    let joined = imports.iter().filter(|import| import.list == ImportList::Updated).count();
    let place = bench.rig.cloud.place(seen.device).and_then(|(product, _)| product);
    if verdict == Verdict::Pass && place.is_none() {
        seen.wrong("I8: PASS, and the device is in no product".to_owned());
    }
    if joined > 1 || imports.iter().any(|import| Some(import.product) != place && place.is_some()) {
        seen.wrong(format!("I8: the device joined {joined} times: {imports:?}"));
    }
    if verdict == Verdict::Pass && row.accepted_product.as_ref().map(|p| p.0.clone()) != place.map(|p| p.to_string()) {
        seen.wrong(format!(
            "I8: the ledger says product {:?}, the cloud {place:?}",
            row.accepted_product
        ));
    }
}

fn note_secrets(case: &Case, prepared: &Prepared, seen: &Witness, secrets: &mut Secrets) {
    secrets.note(case.platform, &prepared.dct);
    secrets.note(case.platform, &seen.dct());
}
