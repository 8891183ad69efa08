//! Puts back from the undo copy what an interrupted write to the key store lost: some devices lose all of it then
//! (device-protocol.md 9). Never anything else: bytes that are there stay as they are.

use std::ops::Range;

use crate::{
    device::{DeviceError, Dfu, KeyStore},
    model::{
        Code, Fact, Platform, Secret, StepError,
        key::SlotContent,
        platform::{KeySegments, Segment},
    },
};

use super::{
    Cx,
    key_slot::{self, Held},
    open::failed,
};

/// Puts back what a write of this run that was cut has lost: the key, if nothing was to take its place, and what was around
/// it. Tells what is there then, and puts a key that is back on record.
pub(super) fn mend(cx: &Cx<'_>, dfu: &mut Dfu<'_>, held: Held) -> Result<Held, StepError> {
    if cx.work.keys.undo.is_none() || matches!(held.content, SlotContent::Unreadable { .. }) {
        return Ok(held);
    }
    if key(cx, &held) {
        put_back(cx, dfu, &held)?;
    } else {
        surroundings(cx, dfu, &held)?;
    }
    let now = key_slot::read(dfu, cx.recipe.platform)?;
    if now.content != held.content {
        (cx.commit)(Fact::KeyRead {
            run: cx.work.run,
            device: cx.work.device,
            content: now.content.clone(),
        })?;
    }
    Ok(now)
}

/// True if a write of this run lost a valid key that nothing was to take the place of. `held` is what is there now.
fn key(cx: &Cx<'_>, held: &Held) -> bool {
    let keys = &cx.work.keys;
    let before = keys.before.as_ref().and_then(SlotContent::key).map(|key| key.fingerprint);
    let gone = matches!(held.content, SlotContent::Blank | SlotContent::Corrupt { .. });
    gone && keys.undo.is_some() && keys.intended.is_none() && before.is_some() && keys.present() == before
}

/// Puts the key back, and what was around it, the key last: while it is missing, this is not done.
pub(super) fn put_back(cx: &Cx<'_>, dfu: &mut Dfu<'_>, held: &Held) -> Result<(), StepError> {
    let undo = undo(cx)?;
    around(dfu, cx.recipe.platform, undo.expose(), held.whole.expose())?;
    let private = key_slot::segments(cx.recipe.platform).0.private;
    let slot = key_slot::slice(undo.expose(), private.offset, private.len);
    write(dfu, private.offset, slot)
}

/// Puts back what was around the key slot, by the undo copy of the run if there is one.
pub(super) fn surroundings(cx: &Cx<'_>, dfu: &mut Dfu<'_>, held: &Held) -> Result<(), StepError> {
    if cx.work.keys.undo.is_none() {
        return Ok(());
    }
    around(dfu, cx.recipe.platform, undo(cx)?.expose(), held.whole.expose())
}

/// Puts back what was around the key slot in `old` and is lost in `now`. Each write is read back.
fn around(dfu: &mut Dfu<'_>, platform: Platform, old: &[u8], now: &[u8]) -> Result<(), StepError> {
    missing(platform, old, now)
        .into_iter()
        .try_for_each(|piece| write(dfu, u32::try_from(piece.start).unwrap_or(u32::MAX), &old[piece]))
}

/// As [`surroundings`], by what this very step read before it wrote.
pub(super) fn since(dfu: &mut Dfu<'_>, platform: Platform, before: &Held) -> Result<(), StepError> {
    let now = key_slot::read(dfu, platform)?;
    around(dfu, platform, before.whole.expose(), now.whole.expose())
}

/// Refuses a key store in which something that was around the key slot is still lost, by the undo copy of the run.
pub(super) fn nothing(cx: &Cx<'_>, held: &Held) -> Result<(), StepError> {
    if cx.work.keys.undo.is_none() {
        return Ok(());
    }
    refuse(cx.recipe.platform, undo(cx)?.expose(), held.whole.expose())
}

/// As [`nothing`], by what this very step read before it wrote.
pub(super) fn nothing_since(platform: Platform, before: &Held, now: &Held) -> Result<(), StepError> {
    refuse(platform, before.whole.expose(), now.whole.expose())
}

fn refuse(platform: Platform, old: &[u8], now: &[u8]) -> Result<(), StepError> {
    match missing(platform, old, now).first() {
        None => Ok(()),
        Some(piece) => Err(StepError::new(
            Code::KeyWrite,
            format!("{DOING}: {} bytes at {} are still missing", piece.len(), piece.start),
        )),
    }
}

/// The pieces around the key slot that are in `old` and lost in `now`.
fn missing(platform: Platform, old: &[u8], now: &[u8]) -> Vec<Range<usize>> {
    let lost = |piece: &Range<usize>| {
        let (old, now) = (old.get(piece.clone()), now.get(piece.clone()));
        old.zip(now).is_some_and(|(old, now)| is_lost(old, now))
    };
    pieces(&key_slot::segments(platform).0, old.len())
        .into_iter()
        .filter(lost)
        .collect()
}

fn undo(cx: &Cx<'_>) -> Result<Secret<Vec<u8>>, StepError> {
    let absent = || StepError::new(Code::KeyUndo, format!("{DOING}: there is no undo copy"));
    let sha256 = cx.work.keys.undo.ok_or_else(absent)?;
    cx.undo
        .fetch(cx.work.run, cx.work.device, sha256)
        .map_err(|e| StepError::caused(Code::KeyUndo, DOING, &e))
}

fn write(dfu: &mut Dfu<'_>, offset: u32, bytes: &[u8]) -> Result<(), StepError> {
    KeyStore::new(dfu)
        .write(offset, bytes)
        .map_err(|e| failed(DOING, &DeviceError::from(e)))
}

/// True if bytes are missing, and none is there that was not there before: a cut may also have come when half of a piece
/// was back.
fn is_lost(old: &[u8], now: &[u8]) -> bool {
    old != now && old.iter().zip(now).all(|(old, now)| now == old || *now == 0xff)
}

/// What is around the slot, in pieces that are one write each. What a device or a step writes as a whole is a piece of its
/// own: it is back or not, and says nothing of its neighbours.
fn pieces(segments: &KeySegments, len: usize) -> Vec<Range<usize>> {
    let range = |segment: &Segment| segment.offset as usize..(segment.offset + segment.len) as usize;
    let slot = range(&segments.private);
    let others = [segments.server_key, segments.server_address];
    let fields = others.iter().chain(&segments.public_copy).map(range).chain([slot.clone()]);
    let mut borders: Vec<usize> = fields.flat_map(|field| [field.start, field.end]).chain([0, len]).collect();
    borders.retain(|at| *at <= len);
    borders.sort_unstable();
    borders.dedup();
    let around = borders.windows(2).map(|pair| pair[0]..pair[1]).filter(|range| *range != slot);
    around
        .flat_map(|range| {
            range
                .clone()
                .step_by(BLOCK)
                .map(move |from| from..range.end.min(from + BLOCK))
        })
        .collect()
}

const DOING: &str = "put back what an interrupted write lost";
/// The most that one DFU block carries (device-protocol.md 1.5).
const BLOCK: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_all_but_the_slot_once() {
        for platform in [Platform::Photon, Platform::Argon, Platform::P2] {
            let segments = key_slot::segments(platform).0;
            let slot = segments.private.offset as usize..(segments.private.offset + segments.private.len) as usize;
            for len in [platform.dct_len() as usize, 4097, 9000] {
                let mut seen = vec![0; len];
                for piece in pieces(&segments, len) {
                    assert!(!piece.is_empty() && piece.len() <= BLOCK);
                    let key = segments.server_key.offset as usize;
                    assert!(piece.start == key || !piece.contains(&key), "{piece:?}");
                    seen[piece].iter_mut().for_each(|n| *n += 1);
                }
                assert!(
                    seen.iter().enumerate().all(|(at, n)| *n == usize::from(!slot.contains(&at))),
                    "{platform} {len}"
                );
            }
        }
    }

    #[test]
    fn only_what_is_missing_is_lost() {
        assert!(is_lost(&[1, 2, 0xff], &[0xff, 0xff, 0xff]));
        assert!(is_lost(&[1, 2, 3], &[1, 0xff, 0xff]), "half of it is back");
        assert!(!is_lost(&[1, 2, 3], &[1, 2, 3]));
        assert!(!is_lost(&[1, 2, 3], &[0xff, 2, 4]), "somebody wrote there since");
        assert!(!is_lost(&[0xff, 0xff], &[0xff, 7]), "nothing was there before");
    }
}
