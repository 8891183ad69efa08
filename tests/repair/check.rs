//! What must hold at the instant of a cut, and at the end of every repair.

use std::fs;

use keyrack::{
    keys::ServerFound,
    model::{
        Code, Fact, Outcome, Verdict,
        diagnosis::Flow,
        platform::{Segment, Transport},
        recipe::ServerSettings,
    },
    sim::cloud::Moved,
    store::{Standing, UndoVault},
};

use crate::{
    bench::{Bench, Ended},
    case::{Case, Hands, NEW_PRODUCT, OLD_PRODUCT, Prepared},
    doom::Doom,
    expect::Ends,
    harm::{Harm, Ill, Kind, Sent, Way},
    witness::{Secrets, Witness, fingerprint, private_slot},
};

/// What is asked after the station was cut, with nothing but the disk left of it.
pub(crate) fn at_cut(case: &Case, prepared: &Prepared, bench: &Bench, seen: &Witness, secrets: &mut Secrets) {
    secrets.note(case.platform, &seen.dct());
    let read = bench.facts(prepared.device).iter().any(|f| matches!(f, Fact::KeyRead { .. }));
    if let Some(spki) = seen.slot_key() {
        let untouched = prepared.spki.as_ref() == Some(&spki) && !read || made_by_device(seen);
        let known = || seen.ledger.exists() && seen.in_ledger(&spki);
        if !untouched && !known() {
            seen.wrong("I3: at the cut the slot holds a key that the ledger does not know".to_owned());
        }
    }
    for secret in secrets.leaked(bench) {
        seen.wrong(format!("I6: at the cut, {secret}"));
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
    // The same pair in another layout takes no place but its own: there is nothing to go back to.
    undo(seen, verdict, code, case.has_key() && !case.calm().keeps_key);
    for secret in secrets.leaked(bench) {
        wrong(format!("I6: {secret}"));
    }
    journal(bench, seen);
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
    let read = bench.facts(prepared.device).iter().any(|f| matches!(f, Fact::KeyRead { .. }));
    let untouched = prepared.spki == slot && !read || made_by_device(seen) && verdict != Verdict::Pass;
    if let Some(spki) = &slot
        && !seen.in_ledger(spki)
        && !untouched
    {
        wrong("I3: the slot holds a key that the ledger does not know".to_owned());
    }
    if let Some(start) = &prepared.spki
        && slot.as_ref() != Some(start)
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
    let powerless = matches!(doom.harm(), Some(Harm::Record(_, Way::Both | Way::Away)));
    if (calm.keeps_key || verdict == Verdict::RolledBack) && case.has_key() && slot != prepared.spki && !powerless {
        wrong("I1: a good key was replaced".to_owned());
    }
    let kept = |dct: &[u8]| {
        let segments = case.platform.key_segments(case.platform.row().transport);
        [segments.private, segments.server_key, segments.server_address].map(|segment| part(dct, segment).to_vec())
    };
    if calm.verdict != Verdict::Pass && kept(&seen.dct()) != kept(&prepared.dct) && !powerless && !made_by_device(seen) {
        wrong("R9: the key store was written to, and nothing may be mended here".to_owned());
    }
    let in_step = verdict == Verdict::Pass || row.last_code == Some(Code::NotKeys);
    if !in_step {
        let agreed = row.standing == Standing::Agreed;
        if registered.is_some() && registered != slot && agreed {
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
    for difference in server_differences(case, bench, seen) {
        wrong(format!("I2: PASS with a wrong server: {difference}"));
    }
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
                matches!(case.calm().flow, None | Some(Flow::ServerKey | Flow::Rewrite)) || case.hands == Hands::Stranger
            }
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

fn undo(seen: &Witness, verdict: Verdict, code: Option<&str>, replaces_key: bool) {
    let files = UndoVault::open(&seen.undo).unwrap().list().unwrap();
    let kept = seen.ask(|reader| reader.kept_undo_copies().unwrap());
    let kept: Vec<_> = kept.into_iter().map(|row| (row.run, row.device)).collect();
    let files: Vec<_> = files.into_iter().map(|file| (file.run, file.device)).collect();
    if matches!(verdict, Verdict::Pass | Verdict::RolledBack) && !files.is_empty() {
        seen.wrong(format!("I7: {verdict}, and {} undo copies are left", files.len()));
    }
    if verdict == Verdict::Quarantined && code == Some("state-unknown") && replaces_key && files.is_empty() {
        seen.wrong("I7: nobody can tell, and the undo copy is gone".to_owned());
    }
    if files != kept {
        seen.wrong(format!("I7: {} undo copies on disk, {} on record", files.len(), kept.len()));
    }
}

/// The journal is what the station said, names nobody, and gives the tables that are there.
fn journal(bench: &Bench, seen: &Witness) {
    let on_disk = seen.ask(|reader| reader.records(0, u32::MAX).unwrap());
    if !on_disk.ends_with(&bench.records.lock().unwrap()) {
        seen.wrong("I8: the journal is not what the station said".to_owned());
    }
    let told = on_disk.iter().map(|record| serde_json::to_string(&record.fact).unwrap());
    for fact in told.filter(|fact| fact.contains('@') || fact.contains("kitchen")) {
        seen.wrong(format!("I9: a fact names a person: {fact}"));
    }
    for difference in seen.ask(|reader| reader.verify(&mut |_| {}).unwrap()) {
        seen.wrong(format!("I8: {difference}"));
    }
}

fn server_differences(case: &Case, bench: &Bench, seen: &Witness) -> Vec<String> {
    let transport = case.platform.row().transport;
    let segments = case.platform.key_segments(transport);
    let dct = seen.dct();
    let tcp = transport == Transport::Tcp;
    let wanted = ServerSettings {
        spki: bench.rig.cloud.server_spki(tcp),
        host: bench.rig.cloud.server_host(tcp),
        port: None,
    };
    let found = ServerFound::read(
        part(&dct, segments.server_key),
        part(&dct, segments.server_address),
        transport,
    );
    let differences = found.differences(&wanted, transport);
    differences.iter().map(ToString::to_string).collect()
}

fn part(dct: &[u8], segment: Segment) -> &[u8] {
    &dct[segment.offset as usize..(segment.offset + segment.len) as usize]
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

fn made_by_device(seen: &Witness) -> bool {
    seen.world.with_device(seen.device, |d| d.counters().keys_made).unwrap() > 0
}
