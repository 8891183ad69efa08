//! Puts back from the undo copy what an interrupted write to the key store lost: some devices lose all of it then
//! (device-protocol.md 9). Never anything else: bytes that are there stay as they are.

use std::ops::Range;

use crate::{
    device::{DeviceError, Dfu, KeyStore},
    model::{Code, Secret, StepError, key::SlotContent},
};

use super::{
    Cx,
    key_slot::{self, Held},
    open::failed,
};

/// True if a write of this run lost a valid key that nothing was to take the place of. `held` is what is there now.
pub(super) fn key(cx: &Cx<'_>, held: &Held) -> bool {
    let keys = &cx.work.keys;
    let before = keys.before.as_ref().and_then(SlotContent::key).map(|key| key.fingerprint);
    let gone = matches!(held.content, SlotContent::Blank | SlotContent::Corrupt { .. });
    gone && keys.undo.is_some() && keys.intended.is_none() && before.is_some() && keys.present() == before
}

/// Puts the key back, and what was around it, the key last: while it is missing, this is not done.
pub(super) fn put_back(cx: &Cx<'_>, dfu: &mut Dfu<'_>, held: &Held) -> Result<(), StepError> {
    surroundings(cx, dfu, held)?;
    let undo = undo(cx)?;
    let private = key_slot::segments(cx.recipe.platform).0.private;
    let slot = key_slot::slice(undo.expose(), private.offset, private.len);
    write(dfu, private.offset, slot)
}

/// Puts back what was around the key slot.
pub(super) fn surroundings(cx: &Cx<'_>, dfu: &mut Dfu<'_>, held: &Held) -> Result<(), StepError> {
    if cx.work.keys.undo.is_none() {
        return Ok(());
    }
    let undo = undo(cx)?;
    let private = key_slot::segments(cx.recipe.platform).0.private;
    let slot = private.offset as usize..(private.offset + private.len) as usize;
    for piece in pieces(&slot, undo.expose().len()) {
        let (old, now) = (undo.expose().get(piece.clone()), held.whole.expose().get(piece.clone()));
        if let (Some(old), Some(now)) = (old, now)
            && is_lost(old, now)
        {
            write(dfu, u32::try_from(piece.start).unwrap_or(u32::MAX), old)?;
        }
    }
    Ok(())
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

/// What is around the slot, in pieces that are one write each.
fn pieces(slot: &Range<usize>, len: usize) -> Vec<Range<usize>> {
    let around = [0..slot.start, slot.end..len];
    let cut = |range: Range<usize>| {
        let end = range.end;
        range.step_by(BLOCK).map(move |from| from..end.min(from + BLOCK))
    };
    around.into_iter().flat_map(cut).collect()
}

const DOING: &str = "put back what an interrupted write lost";
/// The most that one DFU block carries (device-protocol.md 1.5).
const BLOCK: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_all_but_the_slot_once() {
        for (slot, len) in [
            (3106..3298, 8391),
            (34..1250, 8391),
            (0..10, 10),
            (0..1, 4097),
            (4096..4097, 8193),
        ] {
            let mut seen = vec![0; len];
            for piece in pieces(&slot, len) {
                assert!(!piece.is_empty() && piece.len() <= BLOCK);
                seen[piece].iter_mut().for_each(|n| *n += 1);
            }
            assert!(seen.iter().enumerate().all(|(at, n)| *n == usize::from(!slot.contains(&at))));
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
