//! The confirm rule: does what the cloud shows prove that a device connected with the key that was uploaded
//! (cloud-api.md 3.14, ARCHITECTURE.md 4.6)? Pure.

use std::time::Duration;

use crate::model::{Wall, outbox::CloudDevice};

/// What is known before the proof is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// T0: `last_handshake_at` as looked up before the upload; `None` if there was none.
    pub(super) before: Option<Wall>,
    /// The cloud's `Date` of the accepted upload, never the station's own time; `None` if the cloud sent none.
    pub(super) uploaded: Option<Wall>,
    /// True if the device holds another key than at its last session. It then cannot resume that session.
    pub(super) key_changed: bool,
}

/// What a look at the device says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// A new session since the upload, at this instant: device and cloud hold the same key.
    Proved(Wall),
    /// Nothing yet. At the deadline this is no proof.
    NotYet,
    /// The device is said to be online without a new session, and its key did not change: it may have resumed its
    /// old one. At the deadline this is worth a sentence and no failure; `online` can be stale.
    Resumed,
}

/// Applies the rule to one look.
///
/// HTTP dates have whole seconds, so an upload dated 10:00:00 happened somewhere in that second. A session in the same
/// second counts: the device was held in DFU mode during the upload, and a session of before is excluded by T0.
pub(super) fn judge(given: &Given, device: &CloudDevice) -> Proof {
    if let (Some(uploaded), Some(at)) = (given.uploaded, device.last_handshake_at)
        && given.before.is_none_or(|before| at > before)
        && at.millis() >= whole_second(uploaded)
    {
        return Proof::Proved(at);
    }
    if device.online == Some(true) && !given.key_changed {
        return Proof::Resumed;
    }
    Proof::NotYet
}

/// The last session of a device, unless it is known to be older than a reading of its key.
///
/// `before` is T0 as in [`Given`], `read` the station's time of the reading, `now` the station's time of the look and
/// `date` the cloud's: sessions are dated by the cloud, so the reading is dated by it as well. Dates have whole seconds;
/// a session in the second of the reading counts as newer, and so does every new one if the station's clock was set back.
pub(super) fn newer_session(
    before: Option<Wall>,
    read: Wall,
    now: Wall,
    device: &CloudDevice,
    date: Option<Wall>,
) -> Option<Wall> {
    let session = device.last_handshake_at?;
    if before.is_some_and(|before| session <= before) {
        return None;
    }
    let age = now.millis() - read.millis();
    let read_there = whole_second(date.unwrap_or(now)) - age;
    (age < 0 || session.millis() >= read_there.div_euclid(1000) * 1000).then_some(session)
}

/// How long to wait before look number `look` (from 0): 1 s, 2 s, then 5 s each (cloud-api.md 3.14).
pub(super) const fn pause_before(look: u32) -> Duration {
    Duration::from_secs(match look {
        0 => 1,
        1 => 2,
        _ => 5,
    })
}

fn whole_second(at: Wall) -> i64 {
    at.millis().div_euclid(1000) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(text: &str) -> Wall {
        Wall::parse(&format!("2026-11-23T{text}Z")).unwrap()
    }

    fn given(before: Option<&str>, uploaded: Option<&str>, key_changed: bool) -> Given {
        Given {
            before: before.map(wall),
            uploaded: uploaded.map(wall),
            key_changed,
        }
    }

    fn device(handshake: Option<&str>, online: Option<bool>) -> CloudDevice {
        CloudDevice {
            last_handshake_at: handshake.map(wall),
            online,
            ..CloudDevice::default()
        }
    }

    #[test]
    fn only_a_session_newer_than_t0_and_than_the_upload_proves() {
        let upload = Some("10:00:00");
        for (before, uploaded, handshake, proved) in [
            (Some("09:00:00"), upload, Some("10:00:07.250"), true),
            (None, upload, Some("10:00:07"), true),
            (Some("09:00:00"), upload, Some("10:00:00.999"), true),
            (Some("09:00:00"), upload, Some("10:00:00"), true),
            (Some("09:00:00"), upload, Some("09:59:59.999"), false),
            (Some("09:00:00"), upload, Some("09:00:00"), false),
            (Some("10:00:00.500"), upload, Some("10:00:00.500"), false),
            (Some("10:00:00.500"), upload, Some("10:00:00.501"), true),
            (Some("10:05:00"), upload, Some("10:04:00"), false),
            (Some("09:00:00"), upload, None, false),
            (None, None, Some("10:00:07"), false),
            (None, Some("10:00:00.400"), Some("10:00:00.300"), true),
        ] {
            let proof = judge(&given(before, uploaded, true), &device(handshake, Some(true)));
            let expected = match handshake {
                Some(at) if proved => Proof::Proved(wall(at)),
                _ => Proof::NotYet,
            };
            assert_eq!(proof, expected, "{before:?} {uploaded:?} {handshake:?}");
        }
    }

    #[test]
    fn online_alone_is_no_proof_and_only_an_unchanged_key_may_resume() {
        let old = Some("09:00:00");
        let same = given(old, Some("10:00:00"), false);
        let changed = given(old, Some("10:00:00"), true);
        assert_eq!(judge(&same, &device(old, Some(true))), Proof::Resumed);
        assert_eq!(judge(&changed, &device(old, Some(true))), Proof::NotYet);
        assert_eq!(judge(&same, &device(old, Some(false))), Proof::NotYet);
        assert_eq!(judge(&same, &device(old, None)), Proof::NotYet);
        assert!(matches!(
            judge(&same, &device(Some("10:00:09"), Some(true))),
            Proof::Proved(_)
        ));
    }

    #[test]
    fn a_session_counts_as_newer_than_a_reading_by_the_clock_of_the_cloud() {
        // Read at 10:00:00 and looked at 10:10:00 by the station; the cloud is an hour ahead of it.
        let (read, now, date) = (wall("10:00:00.500"), wall("10:10:00.500"), Some(wall("11:10:00")));
        for (before, session, newer) in [
            (None, None, false),
            (None, Some("10:59:59.999"), false),
            (None, Some("11:00:00.000"), true),
            (None, Some("11:00:01"), true),
            (Some("11:00:01"), Some("11:00:01"), false),
            (Some("09:00:00"), Some("11:00:01"), true),
            (Some("09:00:00"), Some("10:30:00"), false),
        ] {
            let found = newer_session(before.map(wall), read, now, &device(session, None), date);
            assert_eq!(found, session.filter(|_| newer).map(wall), "{before:?} {session:?}");
        }
        let back = newer_session(
            Some(wall("08:00:00")),
            read,
            wall("09:00:00"),
            &device(Some("08:30:00"), None),
            None,
        );
        assert!(back.is_some(), "a clock that was set back proves nothing");
        let at_once = newer_session(None, read, read, &device(Some("08:30:00"), None), None);
        assert_eq!(at_once, None, "a clock that stands still was not set back");
    }

    #[test]
    fn looks_become_rarer() {
        let pauses: Vec<_> = (0..5).map(|n| pause_before(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 5, 5, 5]);
    }
}
