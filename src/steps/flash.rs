//! Writes one piece of firmware over DFU. Everything is checked before the first erase, and read back after.

use crate::{
    device::DeviceError,
    model::{Code, Outcome, StepError, StepKind},
};

use super::{Bench, Cx, Report, Step, open::failed, stays};

/// The step.
pub(super) struct Flash;

impl Step for Flash {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let piece = piece(cx)?;
        let crate::firmware::Way::Dfu { alt, address } = piece.way else {
            return Err(StepError::new(
                Code::Internal,
                format!("{} does not go over DFU", piece.label),
            ));
        };
        let doing = format!("flash {} at {address:#010x}", piece.label);
        bench
            .dfu(&doing)?
            .write_image(alt, address, &piece.bytes, true, &mut |done, of| (cx.progress)(done, of))
            .map_err(|e| failed(&doing, &DeviceError::from(e)))?;
        Ok(stays(Outcome::Done))
    }
}

/// The piece of firmware that the step is about.
pub(super) fn piece<'a>(cx: &Cx<'a>) -> Result<&'a crate::firmware::Piece, StepError> {
    let (StepKind::Flash { file } | StepKind::Update { file }) = cx.work.kind else {
        return Err(StepError::new(Code::Internal, "find the firmware of a step that has none"));
    };
    cx.pieces
        .get(usize::from(file))
        .ok_or_else(|| StepError::new(Code::RecipeGone, format!("find firmware file {}", file + 1)))
}
