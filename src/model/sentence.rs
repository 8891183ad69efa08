//! Facts as sentences, for people who follow a run or read the journal: the same on paper, in a pipe and on the screen.

use super::{
    Code, Fact, Outcome, SlotNo,
    key::SlotContent,
    outbox::{Answer, Errand, Item, ItemId},
    packet::Voucher,
    survey::Survey,
};

/// What happened, in words, without saying to whom.
pub fn sentence(fact: &Fact) -> String {
    match fact {
        Fact::StationStarted { version } => format!("station started, keyrack {version}"),
        Fact::RecipeRecorded { hash, name, .. } => format!("recipe {name} recorded ({})", hash.short()),
        Fact::DeviceSeen { identity, port, .. } => {
            let mut text = format!("seen at {port}: {}, {:?} mode", identity.platform, identity.mode).to_lowercase();
            if let Some(version) = &identity.os_version {
                text += &format!(", Device OS {version}");
            }
            if let Some(serial) = &identity.serial {
                text += &format!(", serial {serial}");
            }
            text
        }
        Fact::RunStarted {
            plan,
            recipe,
            operator,
            work_order,
            reference,
            ..
        } => {
            let mut text = format!("run begins: {}, recipe {}", count(plan.len(), "step"), recipe.short());
            if let Some(operator) = operator {
                text += &format!(", operator {operator}");
            }
            if let Some(order) = work_order {
                text += &format!(", work order {}", order.id);
            }
            if let Some(reference) = reference {
                text += &format!(", reference {reference}");
            }
            text
        }
        Fact::RunInterrupted { code, .. } => format!("run interrupted: {code}: {}", lower(code.what())),
        Fact::RunResumed { slot, .. } => format!("run goes on in slot {slot}"),
        Fact::StepStarted { step, attempt, .. } => format!("step {} begins{}", step + 1, again(u32::from(*attempt))),
        Fact::StepEnded {
            step, outcome, took_ms, ..
        } => {
            format!("step {} ended after {}: {}", step + 1, took(*took_ms), outcome_words(outcome))
        }
        Fact::StepFailed {
            step, error, attempt, ..
        } => format!(
            "step {} failed{}: {}: {error}",
            step + 1,
            again(u32::from(*attempt)),
            error.code
        ),
        Fact::KeyRead { content, .. } => format!("key slot read: {}", content_words(content)),
        Fact::UndoSealed { .. } => "undo copy sealed and read back".to_owned(),
        Fact::UndoDestroyed { .. } => "undo copy destroyed".to_owned(),
        Fact::KeyIntended { key, .. } => format!("new {} key {} is about to be written", key.kind, key.fingerprint.short()),
        Fact::KeyWritten { fingerprint, .. } => format!("new key {} written and read back", fingerprint.short()),
        Fact::KeyAbandoned { fingerprint, why, .. } => format!("new key {} given up: {why}", fingerprint.short()),
        Fact::KeyRestored { fingerprint, .. } => format!("old key {} is back, read back and equal", fingerprint.short()),
        Fact::ItemQueued { item } => format!("owed: {}", errand(item)),
        Fact::ItemSent { item, attempt } => format!("{} sent{}", kind(item), again(*attempt)),
        Fact::ItemAnswered { item, answer, .. } => format!("{}: {}", kind(item), answer_words(answer)),
        Fact::ItemWithdrawn { item, why } => format!("{} is no longer owed: {why}", kind(item)),
        Fact::CloudSeen { handshake_at, .. } => match handshake_at {
            Some(at) => format!("the cloud saw it last at {at}"),
            None => "the cloud has not seen it yet".to_owned(),
        },
        Fact::HandshakeSeen { at, .. } => format!("new handshake at {at}"),
        Fact::RunEnded {
            verdict,
            code,
            why,
            proved,
            ..
        } => {
            let mut text = verdict.word().to_owned();
            if *proved {
                text += " (proved)";
            }
            if let Some(code) = code {
                text += &format!(" {code}");
            }
            if why.is_empty() { text } else { format!("{text}: {why}") }
        }
        Fact::Surveyed { survey, .. } => match survey {
            Survey::Seen(shown) => format!("the cloud shows it; owner: {}", shown.owner),
            Survey::Unseen => "the cloud does not show it".to_owned(),
            Survey::Failed(answer) => answer_words(answer),
        },
        Fact::Questioned { state, .. } => format!("it says: {state}"),
        Fact::Examined { server, .. } => match server {
            Some(exam) => exam.finding.to_string(),
            None => "key store examined".to_owned(),
        },
        Fact::Diagnosed { diagnosis, .. } => {
            let flow = diagnosis.flow.map(|flow| format!(" Proposed: {flow}.")).unwrap_or_default();
            format!("diagnosis: {diagnosis}{flow}")
        }
        Fact::PacketSigned { manifest, .. } => {
            format!("packet signed by {} key {}", manifest.kind, manifest.fingerprint.short())
        }
        Fact::KeyGiven { key, .. } => format!("{} key {} was given for it", key.kind, key.fingerprint.short()),
        Fact::KeyEscrowed {
            fingerprint, recipients, ..
        } => format!("a copy of key {} is sealed to {}", fingerprint.short(), recipients.join(", ")),
        Fact::PacketTaken {
            key,
            proof,
            product,
            voucher,
            ..
        } => {
            let mut text = format!("packet taken: {} key {}", key.kind, key.fingerprint.short());
            if let Some(product) = product {
                text += &format!(" for product {product}");
            }
            if let Some(manifest) = &proof.manifest {
                text += &format!(", signed in hand of {} at {}", manifest.station, manifest.at);
            }
            if let Some(Voucher { reference, by }) = voucher {
                text += &format!(", {by} stands for it under {reference}");
            }
            for unchecked in &proof.unchecked {
                text += &format!("; not checked: {}", unchecked.words());
            }
            text
        }
        Fact::PacketEnded { end, code, why, .. } => {
            let code = code.map(|code| format!(" {code}")).unwrap_or_default();
            format!("packet: {}{code}: {why}", end.word())
        }
        Fact::RestoreSealed { .. } => "what it must get back is sealed and read back".to_owned(),
        Fact::RestoreDestroyed { .. } => "what was kept to give it back is destroyed".to_owned(),
        Fact::ServiceOpened { key: Some(key), .. } => format!("it is let into Service Mode; it signed with key {}", key.short()),
        Fact::ServiceOpened { key: None, .. } => "it is in Service Mode".to_owned(),
        Fact::ProtectedAgain { .. } => "it shows that it is protected".to_owned(),
        Fact::QuarantineReleased { by, why, .. } => format!("released from QUARANTINED by {by}: {why}"),
        Fact::OperatorNamed { operator } => match operator {
            Some(name) => format!("{name} is at the station"),
            None => "nobody is named at the station".to_owned(),
        },
        Fact::WorkOrderNamed { work_order } => match work_order {
            Some(order) => format!("work order {}, {}", order.id, count(order.quantity as usize, "device")),
            None => "no work order".to_owned(),
        },
        Fact::LabelBound { serial, .. } => format!("label {serial} is that of this device"),
        Fact::LabelRefused { serial, why, .. } => format!("label {serial} refused: {why}"),
        Fact::EngineerCame { name, until } => format!("engineer {name} until {until}"),
        Fact::EngineerLeft { name } => format!("engineer {name} no longer"),
        Fact::PinRefused {} => "wrong PIN".to_owned(),
        Fact::LineStopped { code, devices } => stopped(*code, devices.len()),
        Fact::LineReleased { by, why } => format!("line released by {by}: {why}"),
        Fact::RepairAsked { by, .. } => format!("its next run is a repair{}", asked_by(by.as_deref())),
        Fact::RecipeChosen {
            platform, name, by, why, ..
        } => format!("new runs of {platform} are under recipe {name}, by {by}: {why}"),
        Fact::StepLeftOut { step, by, why, .. } => {
            format!("step {} is left out by {by}: {why}", u16::from(*step) + 1)
        }
        Fact::RetryAsked { items, by } => format!(
            "{} not to wait any longer{}",
            count(items.len(), "item"),
            asked_by(by.as_deref())
        ),
    }
}

/// The slot that a fact names, if it does.
pub fn slot(fact: &Fact) -> Option<SlotNo> {
    match fact {
        Fact::DeviceSeen { slot, .. }
        | Fact::RunStarted { slot, .. }
        | Fact::RunResumed { slot, .. }
        | Fact::LabelBound { slot, .. }
        | Fact::LabelRefused { slot, .. } => Some(*slot),
        _ => None,
    }
}

/// That the line is stopped, and why.
pub fn stopped(code: Code, devices: usize) -> String {
    format!("LINE STOPPED: {} in a row failed with {code}", count(devices, "device"))
}

/// What an outcome is, with the evidence.
pub fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Warned { why } => format!("done, with a warning: {why}"),
        Outcome::Skipped { why } => format!("not needed: {why}"),
    }
}

/// What the cloud answered.
pub fn answer_words(answer: &Answer) -> String {
    match answer {
        Answer::Accepted { note: None, .. } => "accepted".to_owned(),
        Answer::Accepted { note: Some(note), .. } => format!("accepted: {note}"),
        Answer::Refused { code, reason } => format!("refused ({code}): {reason}"),
        Answer::Later { why, .. } => format!("not now: {why}"),
        Answer::Auth { reason } => format!("the token is not accepted: {reason}"),
        Answer::Ambiguous { why } => format!("it is not known whether it arrived: {why}"),
    }
}

/// What is owed.
pub fn errand(item: &Item) -> String {
    let product = item
        .product
        .as_ref()
        .map(|product| format!(" of product {product}"))
        .unwrap_or_default();
    match &item.errand {
        Errand::Import { activate_sim } => {
            format!("import{product}{}", if *activate_sim { ", with SIM activation" } else { "" })
        }
        Errand::Release { .. } => format!("release from its owner{product}"),
        Errand::Remove { .. } => format!("removal{}", product.replacen(" of ", " from ", 1)),
        Errand::Claim { .. } => "claim for its owner of before".to_owned(),
        Errand::Confirm { .. } => "look whether its owner still has it".to_owned(),
        Errand::Restore { .. } => format!("name, notes and groups{product}"),
        Errand::Key { key } => format!("upload of {} key {}{product}", key.kind, key.fingerprint.short()),
    }
}

/// A length of time for a person.
pub fn took(millis: u64) -> String {
    match millis {
        0..=99 => format!("{millis} ms"),
        100..=99_999 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        _ => format!("{} min {:02} s", millis / 60_000, millis % 60_000 / 1000),
    }
}

/// The first letter small, no full stop: to stand inside of a sentence.
pub fn lower(sentence: &str) -> String {
    let sentence = sentence.trim_end_matches('.');
    let mut chars = sentence.chars();
    match chars.next() {
        Some(first) if !chars.as_str().starts_with(char::is_uppercase) => first.to_lowercase().chain(chars).collect(),
        _ => sentence.to_owned(),
    }
}

fn content_words(content: &SlotContent) -> String {
    match content {
        SlotContent::Valid { key, .. } => format!("valid {} key {}", key.kind, key.fingerprint.short()),
        SlotContent::Blank => "blank".to_owned(),
        SlotContent::Corrupt { why } => format!("corrupt: {why}"),
        SlotContent::Unreadable { why } => format!("unreadable: {why}"),
    }
}

fn kind(item: &ItemId) -> &'static str {
    match item.0.rsplit('/').next() {
        Some("import") => "import",
        Some("back") => "import back into the old product",
        Some("remove") => "removal from the product",
        Some("release") => "release from its owner",
        Some("claim") => "claim for its owner of before",
        Some("confirm") => "look whether its owner still has it",
        Some("restore") => "name, notes and groups",
        _ => "key upload",
    }
}

fn asked_by(name: Option<&str>) -> String {
    name.map(|name| format!(", {name} says")).unwrap_or_default()
}

fn again(attempt: u32) -> String {
    if attempt > 1 {
        format!(" (attempt {attempt})")
    } else {
        String::new()
    }
}

/// A number with its noun.
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Text without anything that a terminal would obey: what devices and the cloud say is shown, and steers nothing.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || is_direction(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Characters that reverse what is beside them on the screen.
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
