//! What a cloud answers that does not go by the book; `None` is the answer by the book.

use super::*;

pub(super) fn by_the_book(_: &Call) -> Option<Answer> {
    None
}

/// The cloud is not reached: to be tried again.
pub(super) fn down() -> Answer {
    Answer::Later {
        why: "down".into(),
        after_ms: None,
    }
}

pub(super) fn refusal() -> Answer {
    Answer::Refused {
        code: Code::CloudRefused,
        reason: "no".into(),
    }
}

/// Every upload is put off.
pub(super) fn put_off_uploads(call: &Call) -> Option<Answer> {
    matches!(call, Call::Upload { .. }).then(down)
}

/// Every upload is refused.
pub(super) fn refuse_uploads(call: &Call) -> Option<Answer> {
    matches!(call, Call::Upload { .. }).then(refusal)
}

/// Every upload of the new key is put off.
pub(super) fn put_off_new_key(call: &Call) -> Option<Answer> {
    uploads_new_key(call).then(down)
}

/// Every upload of the new key is refused.
pub(super) fn refuse_new_key(call: &Call) -> Option<Answer> {
    uploads_new_key(call).then(refusal)
}

/// The first upload of those that are `meant` may have been done; every other one is refused.
pub(super) fn refuse_after_doubt(meant: impl Fn(&Call) -> bool) -> impl FnMut(&Call) -> Option<Answer> {
    let mut first = true;
    move |call| {
        meant(call).then(|| {
            if std::mem::take(&mut first) {
                Answer::Ambiguous { why: "lost".into() }
            } else {
                refusal()
            }
        })
    }
}

/// True if the call uploads the key that the station made.
pub(super) fn uploads_new_key(call: &Call) -> bool {
    matches!(call, Call::Upload { key, .. } if key.fingerprint == Fingerprint([99; 32]))
}
