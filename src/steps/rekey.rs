//! Accounts for the key store, makes a new pair, writes it and verifies it: one permanent step, because a private key
//! never crosses a step.
//!
//! The order is that of ARCHITECTURE.md 4: the old state is accounted for and its undo copy is on disk; the new public
//! key is on disk as a held item; then the slot is written, read back, and parsed as the device does; only the fact that
//! the read-back derives the new key releases the item. After a cut the journal says what may be in the slot, and
//! [`settle`] finds out what is.

use crate::{
    device::{Cancel, DeviceError, Dfu, KeyStore},
    keys::{self, PrivateKey},
    model::{
        Code, Fact, Outcome, PublicKey, StepError, StepKind,
        key::{KeyLayout, SlotContent},
        outbox::Item,
        platform::Platform,
        recipe::KeyPolicy,
    },
};

use super::{
    Bench, Cx, Report, Step,
    key_slot::{self, Held},
    lost,
    open::failed,
    stays,
};

/// The step.
pub(super) struct Rekey;

impl Step for Rekey {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let platform = cx.recipe.platform;
        let mut dfu = bench.dfu(DOING)?;
        let mut held = key_slot::read(&mut dfu, platform)?;
        if let SlotContent::Unreadable { why } = &held.content {
            return Err(StepError::new(Code::KeyUnreadable, format!("{DOING}: {why}")));
        }
        lost::surroundings(cx, &mut dfu, &held)?;
        if let Some(outcome) = settle(cx, &held)? {
            return Ok(stays(outcome));
        }
        permit(cx, &held.content)?;
        let given = given(cx, &mut dfu, &held)?;
        key_slot::account(cx, &held)?;
        // The last safe point: from here to the verified read-back nothing stops this step but a cut.
        if cx.cancel.is_cancelled() {
            return Err(StepError::new(Code::Stopped, format!("{DOING}: nothing was written yet")));
        }
        dfu.link().set_cancel(Cancel::new());
        if let Some(pair) = given {
            write(cx, &mut dfu, &held, pair)?;
            return Ok(stays(Outcome::Done));
        }
        let pair = match held.private.take() {
            // The same pair in the layout that the device reads: the cloud need not learn anything.
            Some(pair) if misread(&held.content) && cx.recipe.keys != KeyPolicy::Generate => pair,
            _ => PrivateKey::generate(platform.key_kind(), cx.entropy),
        };
        write(cx, &mut dfu, &held, &pair)?;
        Ok(stays(Outcome::Done))
    }
}

/// Finds out what became of a write that was announced before. `None` means that a new pair is to be written.
fn settle(cx: &Cx<'_>, held: &Held) -> Result<Option<Outcome>, StepError> {
    let (run, device) = (cx.work.run, cx.work.device);
    let Some(intended) = &cx.work.keys.intended else {
        return Ok(None);
    };
    let before = cx
        .work
        .keys
        .before
        .as_ref()
        .and_then(SlotContent::key)
        .map(|key| key.fingerprint);
    let abandon = |why: &str| {
        (cx.commit)(Fact::KeyAbandoned {
            run,
            device,
            fingerprint: intended.fingerprint,
            why: why.to_owned(),
        })
    };
    match held.content.key() {
        Some(key) if key.fingerprint == intended.fingerprint && !misread(&held.content) => {
            if cx.work.keys.written != Some(intended.fingerprint) {
                (cx.commit)(Fact::KeyWritten {
                    run,
                    device,
                    fingerprint: intended.fingerprint,
                })?;
            }
            Ok(Some(Outcome::Done))
        }
        Some(key) if Some(key.fingerprint) == before => {
            abandon("the old key is still in the slot")?;
            Ok(None)
        }
        Some(_) => {
            abandon("the device holds a third key, made or restored by itself")?;
            (cx.commit)(Fact::KeyRead {
                run,
                device,
                content: held.content.clone(),
            })?;
            let why = "the device made or restored a key of its own; that one is registered".to_owned();
            Ok(Some(Outcome::Warned { why }))
        }
        None => {
            abandon(&format!("the write was torn: the slot is {}", held.content.word()))?;
            Ok(None)
        }
    }
}

/// The pair that was given for the device, if the run writes one. After a cut it may not be at hand any more: then the
/// content of before goes back, where a torn write lost it, and nothing else is written.
fn given<'a>(cx: &Cx<'a>, dfu: &mut Dfu<'_>, held: &Held) -> Result<Option<&'a PrivateKey>, StepError> {
    let Some(wanted) = &cx.work.keys.given else {
        return Ok(None);
    };
    if let Some(pair) = cx.given.filter(|pair| pair.public() == *wanted) {
        return Ok(Some(pair));
    }
    let keys = &cx.work.keys;
    let before = keys.before.as_ref().and_then(SlotContent::key);
    let text = format!("{DOING}: key {} has to be given again", wanted.fingerprint.short());
    let absent = StepError::new(Code::GivenKeyAbsent, text);
    let torn = matches!(held.content, SlotContent::Blank | SlotContent::Corrupt { .. });
    if let Some(old) = before.filter(|_| torn && keys.undo.is_some()) {
        dfu.link().set_cancel(Cancel::new());
        lost::put_back(cx, dfu, held)?;
        let back = key_slot::read(dfu, cx.recipe.platform)?;
        if back.content.key() != Some(old) {
            let why = format!("{PUTTING_BACK}: what was read back is {}", back.content.word());
            return Err(StepError::new(Code::StateUnknown, why));
        }
        (cx.commit)(Fact::KeyRead {
            run: cx.work.run,
            device: cx.work.device,
            content: back.content,
        })?;
    }
    Err(absent)
}

/// May what is in the slot be replaced?
fn permit(cx: &Cx<'_>, content: &SlotContent) -> Result<(), StepError> {
    let refuse = |code, why: &str| Err(StepError::new(code, format!("{DOING}: {why}")));
    match (content, cx.recipe.keys) {
        (SlotContent::Unreadable { .. }, _) => refuse(Code::KeyUnreadable, "the slot cannot be read"),
        (_, KeyPolicy::Read) => refuse(Code::Internal, "the recipe does not allow a new key"),
        (SlotContent::Valid { .. }, KeyPolicy::ReadOrGenerate) if misread(content) => Ok(()),
        (SlotContent::Valid { .. }, KeyPolicy::ReadOrGenerate) => {
            refuse(Code::Internal, "the slot holds a valid key, which the recipe keeps")
        }
        (SlotContent::Valid { key, .. }, KeyPolicy::Generate) => {
            // Permission is proved by an act: the cloud accepted the present key in this run.
            let keys = &cx.work.keys;
            let given = keys.given.as_ref().map(|key| key.fingerprint);
            // What the cloud accepted last is not registered again, and needs no permission to be.
            let restored = given.is_some() && given == keys.accepted_before;
            if restored
                || given == Some(key.fingerprint)
                || keys.accepted.is_some_and(|(accepted, _)| accepted == key.fingerprint)
            {
                Ok(())
            } else {
                refuse(Code::Internal, "the present key was not accepted by the cloud in this run")
            }
        }
        (SlotContent::Blank | SlotContent::Corrupt { .. }, _) => Ok(()),
    }
}

fn write(cx: &Cx<'_>, dfu: &mut Dfu<'_>, held: &Held, pair: &PrivateKey) -> Result<(), StepError> {
    let (run, device) = (cx.work.run, cx.work.device);
    let (segments, _) = key_slot::segments(cx.recipe.platform);
    let key = pair.public();
    let item = Item {
        after: cx.work.after.clone(),
        ..Item::upload(run, device, cx.work.product.clone(), key.clone())
    };
    (cx.commit)(Fact::KeyIntended {
        run,
        device,
        key: key.clone(),
        item,
    })?;
    let slot = keys::encode(pair, segments.private.len as usize);
    let mut last = None;
    for _ in 0..WRITES {
        match KeyStore::new(dfu).write(segments.private.offset, slot.expose()) {
            Ok(()) => match verify(dfu, cx.recipe.platform, held, &key) {
                Ok(()) => {
                    return (cx.commit)(Fact::KeyWritten {
                        run,
                        device,
                        fingerprint: key.fingerprint,
                    });
                }
                Err(error) => last = Some(error),
            },
            Err(error) => {
                let gone = matches!(DeviceError::from(error.clone()).code(), Code::DeviceLost);
                let untouched = !error.may_have_written();
                let error = failed(DOING, &DeviceError::from(error));
                // A device that is gone is settled when it is back.
                if gone {
                    return Err(error);
                }
                last = Some(StepError {
                    code: if untouched { error.code } else { Code::KeyWrite },
                    ..error
                });
                // It may have taken more with it than the slot.
                if let Err(error) = lost::since(dfu, cx.recipe.platform, held) {
                    last = Some(error);
                }
            }
        }
    }
    let error = last.unwrap_or_else(|| StepError::new(Code::KeyWrite, DOING));
    put_back(cx, dfu, held, &key)?;
    Err(error)
}

/// Reads the slot again, as a device does, and compares what it derives; what was around it `before` is there still.
fn verify(dfu: &mut Dfu<'_>, platform: Platform, before: &Held, wanted: &PublicKey) -> Result<(), StepError> {
    let now = key_slot::read(dfu, platform)?;
    match &now.content {
        SlotContent::Valid { key, layout } if key == wanted && *layout == KeyLayout::Device => {
            lost::nothing_since(platform, before, &now)
        }
        SlotContent::Valid { key, .. } if key == wanted => Err(StepError::new(
            Code::KeyWrite,
            format!("{DOING}: the device would misread what was written"),
        )),
        other => Err(StepError::new(
            Code::KeyWrite,
            format!("{DOING}: what was read back is {}, not the new key", other.word()),
        )),
    }
}

/// The new key does not hold: the old content goes back.
fn put_back(cx: &Cx<'_>, dfu: &mut Dfu<'_>, held: &Held, new: &PublicKey) -> Result<(), StepError> {
    let (run, device) = (cx.work.run, cx.work.device);
    let (segments, _) = key_slot::segments(cx.recipe.platform);
    let old = key_slot::slice(held.whole.expose(), segments.private.offset, segments.private.len);
    let unknown = |error: StepError| match error.code {
        // A device that is gone is settled when it is back.
        Code::DeviceLost => error,
        _ => StepError {
            code: Code::StateUnknown,
            ..error
        },
    };
    lost::since(dfu, cx.recipe.platform, held).map_err(unknown)?;
    KeyStore::new(dfu)
        .write(segments.private.offset, old)
        .map_err(|e| unknown(failed(PUTTING_BACK, &DeviceError::from(e))))?;
    let back = key_slot::read(dfu, cx.recipe.platform).map_err(unknown)?;
    if back.content != held.content {
        return Err(StepError::new(
            Code::StateUnknown,
            format!("{PUTTING_BACK}: what was read back is {}", back.content.word()),
        ));
    }
    lost::nothing_since(cx.recipe.platform, held, &back).map_err(unknown)?;
    (cx.commit)(Fact::KeyAbandoned {
        run,
        device,
        fingerprint: new.fingerprint,
        why: "it could not be written; the old content is back".to_owned(),
    })?;
    (cx.commit)(Fact::KeyRead {
        run,
        device,
        content: held.content.clone(),
    })
}

fn misread(content: &SlotContent) -> bool {
    matches!(
        content,
        SlotContent::Valid {
            layout: KeyLayout::MisreadByDevice,
            ..
        }
    )
}

const DOING: &str = StepKind::Rekey.label();
const PUTTING_BACK: &str = "put the old content back after the new key could not be written";
/// How often a slot is written before it is given up.
const WRITES: u8 = 2;
