//! What must hold at the instant of a cut, and at the end of every repair.

use std::fs;

use keyrack::{
    model::{Code, Fact, Outcome, Verdict, diagnosis::Flow},
    sim::cloud::Moved,
    store::{Reader, Standing},
};

use crate::{
    bench::{Bench, Ended},
    case::{Case, Guard, Hands, NEW_PRODUCT, OLD_PRODUCT, Start},
    doom::Doom,
    expect::Ends,
    harm::{Harm, Ill, Kind, Sent, Way},
    prepare::Prepared,
    witness::{Secrets, Witness, fingerprint, part, private_slot},
};

/// What is asked after the station was cut, with nothing but the disk left of it.
pub(crate) fn at_cut(case: &Case, prepared: &Prepared, bench: &Bench, seen: &Witness, secrets: &mut Secrets) {
    secrets.note(case.platform, &seen.dct());
    seen.at_cut(bench, prepared.spki.as_deref(), secrets);
    if case.guard == Guard::Serviced && !is_protected(seen) && !seen.ask(|reader| is_open(reader, seen)) {
        seen.wrong("G1: at the cut it is open, and the ledger does not say so".to_owned());
    }
}

/// What is asked when everything is at rest.
pub(crate) fn at_end(
    case: &Case,
    prepared: &Prepared,
    bench: &Bench,
    doom: &Doom,
    secrets: &mut Secrets,
    end: Ended,
    ends: &Ends,
) {
    let (seen, device) = (&doom.witness, prepared.device);
    let wrong = |what: String| seen.wrong(what);
    secrets.note(case.platform, &seen.dct());
    if end != Ended::Idle {
        wrong(format!("R0: it ended {end:?}"));
    }
    let Some(row) = seen.ask(|reader| reader.device(device).unwrap()) else {
        return wrong("R0: the ledger does not know the device".to_owned());
    };
    let Some(verdict) = row.last_verdict else {
        return wrong("R0: the device has no verdict".to_owned());
    };
    let code = row.last_code.map(|code| code.text());
    if !ends.how.contains(&(verdict, code)) {
        wrong(format!("R0: {verdict} {code:?} where {:?} was to come", ends.how));
    }
    in_words(bench, seen);
    keys(case, prepared, bench, doom, &row, verdict);
    in_the_cloud(case, prepared, bench, doom, ends, verdict);
    custody(doom, verdict, code);
    protection(case, seen, code);
    given(case, prepared, doom, ends.again, verdict, code);
    // The same pair in another layout takes no place but its own: there is nothing to go back to.
    let replaces_key = case.has_key() && !case.calm().keeps_key;
    if !seen.undo(verdict) && verdict == Verdict::Quarantined && code == Some("state-unknown") && replaces_key {
        wrong("I7: nobody can tell, and the undo copy is gone".to_owned());
    }
    seen.at_large(bench, secrets, "");
    seen.journal(bench);
    no_person_is_named(seen);
}

/// A device that was protected is protected, and the ledger says so.
fn protection(case: &Case, seen: &Witness, code: Option<&str>) {
    let (protected, open) = (is_protected(seen), seen.ask(|reader| is_open(reader, seen)));
    if (case.guard != Guard::Open) != protected {
        seen.wrong(format!("G2: {code:?}, protected: {protected}"));
    }
    if open != (code == Some("not-protected-again")) {
        seen.wrong(format!("G2: {code:?}, may be open in the ledger: {open}"));
    }
}

fn is_protected(seen: &Witness) -> bool {
    seen.world.with_device(seen.device, |device| device.is_protected()).unwrap()
}

fn is_open(reader: &Reader, seen: &Witness) -> bool {
    let row = reader.device(seen.device).unwrap();
    row.is_some_and(|row| row.unprotected_since.is_some())
}

/// What is given is on the device, or the device has what it had.
fn given(case: &Case, prepared: &Prepared, doom: &Doom, again: bool, verdict: Verdict, code: Option<&str>) {
    let (Some(given), seen) = (&prepared.given, &doom.witness) else {
        return;
    };
    let slot = private_slot(case.platform, &seen.dct());
    if verdict == Verdict::Pass && slot != *given {
        seen.wrong("K1: PASS, and it does not hold the pair that was given".to_owned());
    }
    // A torn slot that held no key before stays as it is: there is nothing to put back.
    let torn = matches!(doom.harm(), Some(Harm::Write(..))) && !case.has_key();
    // Met again after PASS, it has what was given, and nobody gives it another one.
    let done = again && slot == *given;
    if code == Some("given-key-absent") && slot != private_slot(case.platform, &prepared.dct) && !torn && !done {
        seen.wrong("K2: the pair has to be given again, and the old one is not there".to_owned());
    }
}

/// Every end and every diagnosis says in words what is and what to do.
fn in_words(bench: &Bench, seen: &Witness) {
    for fact in bench.facts(seen.device) {
        match fact {
            Fact::RunEnded { verdict, code, why, .. } => {
                if why.is_empty() || (code.is_none() != (verdict == Verdict::Pass)) {
                    seen.wrong(format!("R8: {verdict} {code:?} {why:?} does not say what is"));
                }
                if code.is_some_and(|code| code.next_action().is_empty() || code.what().is_empty()) {
                    seen.wrong(format!("R8: {code:?} does not say what to do"));
                }
                if code.is_some_and(|code| {
                    matches!(code.text(), "claim-lost" | "move-lost") && !code.next_action().starts_with("ALARM")
                }) {
                    seen.wrong("R8: a device without its owner, and no alarm".to_owned());
                }
            }
            Fact::Diagnosed { diagnosis, .. } if diagnosis.evidence.is_empty() => {
                seen.wrong(format!("R8: {diagnosis} rests on nothing"));
            }
            _ => {}
        }
    }
}

fn keys(case: &Case, prepared: &Prepared, bench: &Bench, doom: &Doom, row: &keyrack::store::DeviceRow, verdict: Verdict) {
    let seen = &doom.witness;
    let wrong = |what: String| seen.wrong(what);
    // The model reads as the device does, and misreads some good keys.
    let unwritten = private_slot(case.platform, &seen.dct()) == private_slot(case.platform, &prepared.dct);
    let slot = if unwritten { prepared.spki.clone() } else { seen.slot_key() };
    let registered = bench.rig.cloud.registered(prepared.device);
    let untouched = prepared.spki == slot && !seen.was_read(bench) || seen.made_by_device() && verdict != Verdict::Pass;
    if let Some(spki) = &slot
        && !seen.in_ledger(spki)
        && !untouched
    {
        wrong("I3: the slot holds a key that the ledger does not know".to_owned());
    }
    if let Some(start) = &prepared.spki
        && slot.as_ref() != Some(start)
        && case.calm().flow != Some(Flow::Restore)
        // Nobody knew a pair that its device misreads: one that is torn while its layout is changed is replaced.
        && !(case.start == Start::Misread && matches!(doom.harm(), Some(Harm::Write(..))))
        && prepared.registered.as_ref() != Some(start)
        && !bench
            .rig
            .cloud
            .uploads(prepared.device)
            .iter()
            .any(|u| u.accepted && u.spki == *start)
    {
        wrong("I4: the key of the start is gone, and the cloud never had it".to_owned());
    }
    let calm = case.calm();
    let powerless = matches!(doom.harm(), Some(Harm::Record(_, Way::Both | Way::Away) | Harm::Write(..)));
    if (calm.keeps_key || verdict == Verdict::RolledBack) && case.has_key() && slot != prepared.spki && !powerless {
        wrong("I1: a good key was replaced".to_owned());
    }
    let kept = |dct: &[u8]| {
        let segments = case.platform.key_segments(case.platform.row().transport);
        [segments.private, segments.server_key, segments.server_address].map(|segment| part(dct, segment).to_vec())
    };
    if calm.verdict != Verdict::Pass && kept(&seen.dct()) != kept(&prepared.dct) && !powerless && !seen.made_by_device() {
        wrong("R9: the key store was written to, and nothing may be mended here".to_owned());
    }
    let in_step = verdict == Verdict::Pass || row.last_code == Some(Code::NotKeys);
    if !in_step {
        // A slot that nobody could read again says nothing: that is what the quarantine is for.
        let torn = slot.is_none() && verdict == Verdict::Quarantined && matches!(doom.harm(), Some(Harm::Write(..)));
        let agreed = row.standing == Standing::Agreed && !torn;
        if seen.was_read(bench) && registered.is_some() && registered != slot && agreed {
            wrong("I5: device and cloud are out of step, and the ledger says that they agree".to_owned());
        }
        return;
    }
    if slot.is_none() || registered != slot {
        wrong("I2: PASS, and the cloud has another key than the device".to_owned());
    }
    if calm.flow != Some(Flow::ServerKey) {
        if row.key_accepted != slot.as_deref().map(fingerprint) || row.standing != Standing::Agreed {
            wrong(format!(
                "I2: PASS, and the ledger has another key as accepted: {:?}",
                row.standing
            ));
        }
        if !calm.keeps_key && slot == prepared.spki {
            wrong("I2: PASS, and no new key".to_owned());
        }
    }
    seen.server(case.platform, bench);
}

/// Owner, product and what people wrote, and the way that the device went through the cloud.
fn in_the_cloud(case: &Case, prepared: &Prepared, bench: &Bench, doom: &Doom, ends: &Ends, verdict: Verdict) {
    let seen = &doom.witness;
    let place = seen.cloud.place(prepared.device).unwrap();
    if place.1 != ends.owner {
        seen.wrong(format!(
            "R3: {verdict}, its owner is {:?}, {:?} was to be it",
            place.1, ends.owner
        ));
    }
    let moved = [Some(NEW_PRODUCT), Some(OLD_PRODUCT)];
    let right = match verdict {
        Verdict::Pass if case.moves() => place.0 == moved[0],
        // In one of the two it is, whatever became of it, or there is an alarm.
        Verdict::Quarantined if case.moves() && ends.owner.is_none() => true,
        _ if case.moves() => moved.contains(&place.0),
        _ => place.0 == prepared.place.0,
    };
    if !right {
        seen.wrong(format!(
            "R3: it is in product {:?}, it was in {:?}",
            place.0, prepared.place.0
        ));
    }
    // What could not be put back is said.
    let said = bench.facts(seen.device).iter().any(warns) || verdict == Verdict::Quarantined;
    if seen.cloud.attributes(prepared.device).as_ref() != Some(&prepared.attributes) && !(said && case.moves()) {
        seen.wrong("R4: name, notes or groups are others than before".to_owned());
    }
    let sent = doom.sent();
    for (n, one) in sent.iter().enumerate() {
        let alien = match one.kind {
            Kind::Remove | Kind::Import | Kind::Attributes | Kind::Other | Kind::CustomerToken | Kind::Revoke if case.moves() => {
                false
            }
            Kind::Remove | Kind::Import | Kind::Other => true,
            // Met again, its key may be one that the ledger knows nothing of.
            _ if ends.again => false,
            Kind::Release | Kind::Claim | Kind::CustomerToken | Kind::Revoke | Kind::Attributes => !case.releases(),
            Kind::Upload => {
                let torn = matches!(doom.harm(), Some(Harm::Write(..)));
                let none = [Flow::ServerKey, Flow::Rewrite, Flow::Restore].into_iter();
                let none: Vec<_> = none.filter(|flow| *flow != Flow::Rewrite || !torn).collect();
                case.calm().flow.is_none_or(|flow| none.contains(&flow)) || case.hands == Hands::Stranger
            }
            Kind::Unprotect => case.guard != Guard::Serviced,
            _ => false,
        };
        if alien {
            seen.wrong(format!("R5: a call that this repair has no need of: {n} {}", one.what));
        }
    }
    for moved in seen.cloud.moves(prepared.device) {
        let removed = matches!(moved.what, Moved::Removed(OLD_PRODUCT)) && case.moves();
        if matches!(moved.what, Moved::TransferRequested | Moved::Removed(_)) && !removed {
            seen.wrong(format!("R1: {:?}", moved.what));
        }
    }
}

/// Customers' tokens are revoked, and what was kept to give a device back is destroyed unless a person needs it.
fn custody(doom: &Doom, verdict: Verdict, code: Option<&str>) {
    let seen = &doom.witness;
    let sent = doom.sent();
    let last = sent.last().map_or(0, |one| one.station);
    let at_revoke = |ill| matches!((doom.harm(), ill), (Some(Harm::Call(_, is)), wanted) if is == wanted);
    let obtained = |one: &&Sent| one.kind == Kind::CustomerToken && one.obtained.is_some();
    for one in sent.iter().filter(|one| one.station == last).filter(obtained) {
        let mut later = sent
            .iter()
            .filter(|later| later.kind == Kind::Revoke && later.token == one.token);
        // One that the cloud did not accept any more, or could not be asked about, ends by itself.
        let excused = at_revoke(Ill::Spent) || at_revoke(Ill::LostAfter) || at_revoke(Ill::Outage);
        if later.next().is_none() && !excused {
            seen.wrong("R6: a customer's token was not revoked".to_owned());
        }
    }
    let records = seen.ask(|reader| reader.records(0, u32::MAX).unwrap());
    let mut kept: Vec<String> = Vec::new();
    for record in &records {
        match &record.fact {
            Fact::RestoreSealed { run, device, .. } => kept.push(format!("{run}.{device}.undo")),
            Fact::RestoreDestroyed { run, device } => kept.retain(|name| *name != format!("{run}.{device}.undo")),
            _ => {}
        }
    }
    let folder = fs::read_dir(seen.undo.join("restore")).unwrap();
    let mut files: Vec<String> = folder
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    files.sort();
    if files != kept {
        seen.wrong(format!("R7: restore data on disk {files:?}, on record {kept:?}"));
    }
    let needed = verdict == Verdict::Quarantined && matches!(code, Some("claim-lost" | "move-lost"));
    if needed == files.is_empty() {
        seen.wrong(format!("R7: {verdict}, and {} files of restore data", files.len()));
    }
}

fn no_person_is_named(seen: &Witness) {
    let records = seen.ask(|reader| reader.records(0, u32::MAX).unwrap());
    let told = records.iter().map(|record| serde_json::to_string(&record.fact).unwrap());
    for fact in told.filter(|fact| fact.contains('@') || fact.contains("kitchen")) {
        seen.wrong(format!("I9: a fact names a person: {fact}"));
    }
}

fn warns(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::StepEnded {
            outcome: Outcome::Warned { .. },
            ..
        }
    )
}
