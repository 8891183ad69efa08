//! The DFU state machine, seen from the host: single requests, and what the answers to GETSTATUS mean.
//!
//! Owns when an operation counts as done, how the device is brought back to its idle state, and what an error of the device is
//! called. Which operations follow each other is for the other files.

use std::time::Duration;

use crate::{
    device::{LinkError, descriptor, link::TRANSFER_TIMEOUT},
    edge::Setup,
};

use super::{
    BLOCK, Dfu, DfuError, Doing, INTERFACE,
    status::{DfuStatus, State, Status},
};

impl Dfu<'_> {
    /// Sets the address pointer.
    pub(super) fn point(&mut self, address: u32) -> Result<(), DfuError> {
        self.command(&command(SET_ADDRESS, address), Doing::Point(address))
    }

    /// Erases the sector at an address. On Gen 2 this moves the address pointer too.
    pub(super) fn erase(&mut self, address: u32) -> Result<(), DfuError> {
        self.command(&command(ERASE, address), Doing::Erase(address))
    }

    /// A DNLOAD to block 0 with its status. A stall is tried again some times, as the field does.
    pub(super) fn command(&mut self, bytes: &[u8], doing: Doing) -> Result<(), DfuError> {
        for _ in 1..COMMAND_TRIES {
            match self.download(0, bytes, doing) {
                Err(DfuError::Transfer { source, .. }) if source.is_stall() => {
                    // Says why, if it can: what is refused for good is not tried again.
                    let status = self.status(doing)?;
                    if status.status == Status::Vendor {
                        return Err(self.refusal(status, doing));
                    }
                    self.idle()?;
                    self.link.sleep(COMMAND_PAUSE);
                }
                Err(error) => return Err(error),
                Ok(()) => return self.finish(doing),
            }
        }
        match self.download(0, bytes, doing) {
            Err(DfuError::Transfer { source, .. }) if source.is_stall() => Err(self.explain_stall(doing)),
            Err(error) => Err(error),
            Ok(()) => self.finish(doing),
        }
    }

    /// Writes one block at the address pointer.
    pub(super) fn block(&mut self, block: u16, bytes: &[u8], doing: Doing) -> Result<(), DfuError> {
        match self.download(block, bytes, doing) {
            Err(DfuError::Transfer { source, .. }) if source.is_stall() => Err(self.explain_stall(doing)),
            Err(error) => Err(error),
            Ok(()) => self.finish(doing),
        }
    }

    /// Asks for the status until the operation has ended.
    pub(super) fn finish(&mut self, doing: Doing) -> Result<(), DfuError> {
        let deadline = self.link.now() + OPERATION_LIMIT;
        for answers in 1_u32.. {
            let status = self.status(doing)?;
            if status.failed() {
                return Err(self.refusal(status, doing));
            }
            match status.state {
                // What the first answer says was composed before the operation ran.
                State::DownloadIdle if answers > 1 => return Ok(()),
                State::DownloadIdle | State::DownloadBusy | State::DownloadSync => {}
                state => return Err(DfuError::WrongState { doing, state }),
            }
            if self.link.now() >= deadline {
                break;
            }
            let least = if answers > 1 { LEAST_PAUSE } else { Duration::ZERO };
            self.pause(status.poll, least);
        }
        Err(DfuError::Timeout { doing })
    }

    /// Brings the device to dfuIDLE: CLRSTATUS in dfuERROR and nowhere else, ABORT everywhere else.
    pub(super) fn idle(&mut self) -> Result<(), DfuError> {
        let doing = Doing::Idle;
        let mut last = State::Idle;
        for _ in 0..IDLE_TRIES {
            let status = match self.status(doing) {
                // A device that was left in dfuDNBUSY stalls once and is then in dfuERROR; no write hangs on this answer.
                Err(DfuError::Stalled { .. }) => continue,
                answer => answer?,
            };
            last = status.state;
            match status.state {
                State::Idle => return Ok(()),
                State::Error => self.request(CLRSTATUS, doing)?,
                State::DownloadBusy => self.pause(status.poll, LEAST_PAUSE),
                State::Manifest | State::ManifestWaitReset => break,
                _ => self.request(ABORT, doing)?,
            }
        }
        Err(DfuError::WrongState { doing, state: last })
    }

    /// Waits as long as the device asks for, within limits.
    pub(super) fn pause(&self, poll: Duration, least: Duration) {
        self.link.sleep(poll.clamp(least, POLL_MAX));
    }

    pub(super) fn abort(&mut self, doing: Doing) -> Result<(), DfuError> {
        self.request(ABORT, doing)
    }

    pub(super) fn status(&mut self, doing: Doing) -> Result<DfuStatus, DfuError> {
        match self.link.fetch(setup_in(GETSTATUS, 0, 6), TRANSFER_TIMEOUT) {
            Ok(bytes) => DfuStatus::parse(&bytes).ok_or(DfuError::ShortAnswer { doing, len: bytes.len() }),
            Err(source) if source.is_stall() => Err(DfuError::Stalled { doing }),
            Err(source) => Err(DfuError::Transfer { doing, source }),
        }
    }

    pub(super) fn request(&mut self, request: u8, doing: Doing) -> Result<(), DfuError> {
        self.link
            .send(setup_out(request, 0), &[], TRANSFER_TIMEOUT)
            .map_err(|source| DfuError::Transfer { doing, source })
    }

    pub(super) fn download(&mut self, block: u16, bytes: &[u8], doing: Doing) -> Result<(), DfuError> {
        debug_assert!(bytes.len() <= BLOCK as usize, "a device's buffer has {BLOCK} bytes");
        self.link
            .send(setup_out(DNLOAD, block), bytes, TRANSFER_TIMEOUT)
            .map_err(|source| DfuError::Transfer { doing, source })
    }

    pub(super) fn upload(&mut self, block: u16, length: u16, doing: Doing) -> Result<Vec<u8>, DfuError> {
        match self.link.fetch(setup_in(UPLOAD, block, length), TRANSFER_TIMEOUT) {
            Ok(bytes) if !bytes.is_empty() => Ok(bytes),
            Ok(bytes) => {
                let status = self.status(doing)?;
                if status.failed() {
                    return Err(self.refusal(status, doing));
                }
                Ok(bytes)
            }
            Err(source) if source.is_stall() => Err(self.explain_stall(doing)),
            Err(source) => Err(DfuError::Transfer { doing, source }),
        }
    }

    /// Makes an error of a stall, with the device's reason where it gives one.
    pub(super) fn explain_stall(&mut self, doing: Doing) -> DfuError {
        match self.status(doing) {
            Ok(status) if status.status == Status::Ok => DfuError::Stalled { doing },
            Ok(status) => self.refusal(status, doing),
            Err(error) if error.link().is_some_and(LinkError::is_final) => error,
            Err(_) => DfuError::Stalled { doing },
        }
    }

    /// Makes an error of a status that reports one. The vendor's own error is that of protection, unless the device
    /// says something else (in Service Mode it refuses some writes in the same way).
    pub(super) fn refusal(&mut self, status: DfuStatus, doing: Doing) -> DfuError {
        let text = match status.string {
            0 => None,
            index => descriptor::string(self.link, index)
                .ok()
                .map(|t| t.trim_end_matches('\0').to_owned()),
        };
        let text = text.filter(|t| !t.is_empty());
        let protected = text.as_deref().map_or_else(
            || status.status == Status::Vendor,
            |t| t.to_ascii_lowercase().contains("protected"),
        );
        if protected {
            return DfuError::Protected { doing };
        }
        DfuError::Refused {
            doing,
            status: status.status,
            text,
        }
    }
}

fn command(first: u8, address: u32) -> [u8; 5] {
    let [a, b, c, d] = address.to_le_bytes();
    [first, a, b, c, d]
}

const fn setup_in(request: u8, value: u16, length: u16) -> Setup {
    Setup {
        request_type: 0xa1,
        request,
        value,
        index: INTERFACE as u16,
        length,
    }
}

const fn setup_out(request: u8, value: u16) -> Setup {
    Setup {
        request_type: 0x21,
        request,
        value,
        index: INTERFACE as u16,
        length: 0,
    }
}

const DNLOAD: u8 = 1;
const UPLOAD: u8 = 2;
const GETSTATUS: u8 = 3;
const CLRSTATUS: u8 = 4;
const ABORT: u8 = 6;

const SET_ADDRESS: u8 = 0x21;
const ERASE: u8 = 0x41;

/// How often a command that stalls is sent, and how far apart (device-protocol.md 3.4).
const COMMAND_TRIES: u32 = 5;
const COMMAND_PAUSE: Duration = Duration::from_secs(1);

/// The way to dfuIDLE is two steps from anywhere; the rest is for a device that is still busy.
const IDLE_TRIES: u32 = 8;

/// The longest that one erase or write may take: a 128 KiB sector of an STM32F2 takes up to 4 s.
const OPERATION_LIMIT: Duration = Duration::from_secs(30);

/// The longest that a bwPollTimeout is honoured; real ones are at most 500 ms.
const POLL_MAX: Duration = Duration::from_secs(5);

/// A device that stays busy without asking for a pause gets one.
pub(super) const LEAST_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device::{
            Link,
            script::{Script, hex},
        },
        edge::UsbError,
        model::{Platform, platform::UsbMode},
    };

    const STATUS: [u8; 8] = [0xa1, 3, 0, 0, 0, 0, 6, 0];
    const ABORTING: [u8; 8] = [0x21, 6, 0, 0, 0, 0, 0, 0];
    const CLEARING: [u8; 8] = [0x21, 4, 0, 0, 0, 0, 0, 0];
    const COMMAND: [u8; 8] = [0x21, 1, 0, 0, 0, 0, 5, 0];
    const IDLE: &str = "000000000200";
    const BUSY: &str = "000000000400";
    const DOWNLOAD_IDLE: &str = "000000000500";
    const UNKNOWN: &str = "0e0000000a00";

    fn with<T>(script: &Script, platform: Platform, act: impl FnOnce(&mut Dfu<'_>) -> T) -> T {
        script.boron();
        let mut link: Link = script.link(platform, UsbMode::Dfu);
        let mut dfu = Dfu::open(&mut link).unwrap();
        script.play();
        let outcome = act(&mut dfu);
        script.done();
        outcome
    }

    #[test]
    fn frozen_commands() {
        // device-protocol.md 8.4
        for (address, bytes) in [(0xc22, "21220c0000"), (3298, "21e20c0000"), (0x2_8000, "2100800200")] {
            let script = Script::new();
            script.out(COMMAND, &hex(bytes));
            script.get(STATUS, &hex(BUSY));
            script.get(STATUS, &hex(DOWNLOAD_IDLE));
            with(&script, Platform::Boron, |dfu| dfu.point(address)).unwrap();
        }
        let script = Script::new();
        script.out(COMMAND, &hex("4100000a08"));
        script.get(STATUS, &hex(BUSY));
        script.get(STATUS, &hex(DOWNLOAD_IDLE));
        with(&script, Platform::Boron, |dfu| dfu.erase(0x080a_0000)).unwrap();
    }

    #[test]
    fn success_is_never_taken_from_the_first_answer() {
        let script = Script::new();
        script.out([0x21, 1, 2, 0, 0, 0, 1, 0], &[7]);
        script.get(STATUS, &hex(DOWNLOAD_IDLE));
        script.get(STATUS, &hex(UNKNOWN));
        let doing = Doing::Write(0);
        let error = with(&script, Platform::Boron, |dfu| dfu.block(2, &[7], doing)).unwrap_err();
        let expected = DfuError::Refused {
            doing,
            status: Status::Unknown,
            text: None,
        };
        assert_eq!(error, expected);
    }

    #[test]
    fn a_status_that_stalls_after_a_write_is_not_asked_for_again() {
        let script = Script::new();
        script.out([0x21, 1, 2, 0, 0, 0, 1, 0], &[7]);
        script.get(STATUS, &hex(BUSY));
        script.fail(STATUS, &[], UsbError::Stall);
        let doing = Doing::Write(0);
        let error = with(&script, Platform::Photon, |dfu| dfu.block(2, &[7], doing)).unwrap_err();
        assert_eq!(error, DfuError::Stalled { doing });
    }

    #[test]
    fn the_poll_time_is_kept_and_capped() {
        let script = Script::new();
        script.out(COMMAND, &hex("4100000208"));
        script.get(STATUS, &hex("00f401000400"));
        script.get(STATUS, &hex("00ffffff0400"));
        script.get(STATUS, &hex(DOWNLOAD_IDLE));
        with(&script, Platform::Photon, |dfu| dfu.erase(0x0802_0000)).unwrap();
        assert_eq!(script.elapsed(), Duration::from_millis(500) + POLL_MAX);
    }

    #[test]
    fn a_device_that_stays_busy_is_given_up() {
        let script = Script::new();
        script.out(COMMAND, &hex("4100000208"));
        for _ in 0..7 {
            script.get(STATUS, &hex("00ffffff0400"));
        }
        let doing = Doing::Erase(0x0802_0000);
        let error = with(&script, Platform::Photon, |dfu| dfu.erase(0x0802_0000)).unwrap_err();
        assert_eq!(error, DfuError::Timeout { doing });
    }

    #[test]
    fn clrstatus_is_for_the_error_state_alone() {
        let script = Script::new();
        script.get(STATUS, &hex(UNKNOWN));
        script.out(CLEARING, &[]);
        script.get(STATUS, &hex(IDLE));
        script.get(STATUS, &hex("000000000900"));
        script.out(ABORTING, &[]);
        script.get(STATUS, &hex(IDLE));
        script.get(STATUS, &hex(IDLE));
        with(&script, Platform::Boron, |dfu| {
            for _ in 0..3 {
                dfu.idle().unwrap();
            }
        });
    }

    #[test]
    fn a_wedged_device_is_freed_and_a_leaving_one_is_let_go() {
        let script = Script::new();
        script.get(STATUS, &hex(BUSY));
        script.fail(STATUS, &[], UsbError::Stall);
        script.get(STATUS, &hex(UNKNOWN));
        script.out(CLEARING, &[]);
        script.get(STATUS, &hex(IDLE));
        with(&script, Platform::Boron, |dfu| dfu.idle()).unwrap();

        let script = Script::new();
        script.get(STATUS, &hex("000000000700"));
        let error = with(&script, Platform::Boron, |dfu| dfu.idle()).unwrap_err();
        assert!(matches!(
            error,
            DfuError::WrongState {
                state: State::Manifest,
                ..
            }
        ));
    }

    #[test]
    fn a_command_that_stalls_is_sent_five_times() {
        let script = Script::new();
        for i in 0..5 {
            script.fail(COMMAND, &hex("2100000000"), UsbError::Stall);
            script.get(STATUS, &hex(UNKNOWN));
            if i < 4 {
                script.get(STATUS, &hex(UNKNOWN));
                script.out(CLEARING, &[]);
                script.get(STATUS, &hex(IDLE));
            }
        }
        let error = with(&script, Platform::Boron, |dfu| dfu.point(0)).unwrap_err();
        assert!(matches!(error, DfuError::Refused { .. }), "{error:?}");
        assert_eq!(script.elapsed(), COMMAND_PAUSE * 4);
    }

    #[test]
    fn protection_is_told_by_the_status_and_its_string() {
        let text = |text: &str| {
            let units = text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
            [vec![units.len() as u8 + 2, 3], units].concat()
        };
        let string = [0x80, 6, 10, 3, 9, 4, 255, 0];
        let doing = Doing::Point(0);
        let refused = |answer: Option<&str>| {
            let script = Script::new();
            script.out(COMMAND, &hex("2100000000"));
            script.get(STATUS, &hex("0b0000000a0a"));
            match answer {
                Some(words) => script.get(string, &text(words)),
                None => script.fail(string, &[], UsbError::Stall),
            }
            with(&script, Platform::Boron, |dfu| dfu.point(0)).unwrap_err()
        };
        assert_eq!(refused(Some("Device is in protected mode")), DfuError::Protected { doing });
        assert_eq!(refused(None), DfuError::Protected { doing });
        let other = DfuError::Refused {
            doing,
            status: Status::Vendor,
            text: Some("module version".into()),
        };
        assert_eq!(refused(Some("module version")), other);
    }

    #[test]
    fn short_answers_are_errors() {
        let script = Script::new();
        script.get(STATUS, &[0, 0, 0]);
        let error = with(&script, Platform::Boron, |dfu| dfu.idle()).unwrap_err();
        assert!(matches!(error, DfuError::ShortAnswer { len: 3, .. }));
    }
}
