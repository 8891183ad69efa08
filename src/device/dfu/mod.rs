//! DFU with ST's and Particle's extensions (device-protocol.md 3).
//!
//! Owns the state machine: an operation is a DNLOAD or UPLOAD and the GETSTATUS answers that follow it. Its success is
//! visible only in an answer *after* the one during which it ran, so at least two are always asked for. A GETSTATUS that
//! stalls after a write is the only sign of a failed write on Gen 2, where the next one would say OK: it is never repeated.
//!
//! Writing is not public here: images go through [`Dfu::write_image`], which knows what may be written, and keys
//! through [`super::KeyStore`].

pub mod error;
pub mod image;
pub mod layout;
pub mod read;
pub mod status;

#[cfg(test)]
pub(in crate::device) mod target;

use std::time::Duration;

use crate::{
    edge::Setup,
    model::{
        Platform,
        fact::Protection,
        platform::{Family, UsbMode},
    },
};

use super::{
    Link, LinkError,
    descriptor::{self, DescriptorError, DfuInterface},
    link::TRANSFER_TIMEOUT,
};

pub use error::{DfuError, Doing, PlanError};
use layout::BadLayout;
pub use layout::Layout;
pub use read::ReadBack;
use status::{DfuStatus, State, Status};

/// How a device left DFU mode, as far as it can be seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It said that it restarts.
    Confirmed,
    /// It stopped answering, or stalled, in the middle. That it appears again is the proof.
    Unconfirmed,
}

/// A device in DFU mode.
#[derive(Debug)]
pub struct Dfu<'l> {
    link: &'l mut Link,
    interface: DfuInterface,
    layouts: Vec<(u8, Result<Layout, BadLayout>)>,
    alternate: u8,
}

impl<'l> Dfu<'l> {
    /// Claims the DFU interface and learns what the device offers.
    ///
    /// # Errors
    /// If the interface is held by others, or the descriptors make no sense. A layout that cannot be read is an error
    /// only once its alternate setting is used.
    pub fn open(link: &'l mut Link) -> Result<Self, DfuError> {
        let doing = Doing::Select(0);
        let transfer = |source| DfuError::Transfer { doing, source };
        link.claim(INTERFACE).map_err(transfer)?;
        link.set_alternate(INTERFACE, 0).map_err(transfer)?;
        let interface = DfuInterface::read(link).map_err(|source| DfuError::Descriptor { source })?;
        let mut layouts = Vec::with_capacity(interface.alternates.len());
        for (alternate, index) in interface.alternates.clone() {
            let text = match descriptor::string(link, index) {
                Ok(text) => text,
                Err(DescriptorError::Malformed { .. }) => String::new(),
                Err(source) => return Err(DfuError::Descriptor { source }),
            };
            layouts.push((alternate, Layout::parse(&text)));
        }
        Ok(Self {
            link,
            interface,
            layouts,
            alternate: 0,
        })
    }

    /// The link.
    pub fn link(&mut self) -> &mut Link {
        self.link
    }

    /// The platform.
    pub fn platform(&self) -> Platform {
        self.link.platform()
    }

    /// The memory layout of an alternate setting.
    pub fn layout(&self, alternate: u8) -> Result<&Layout, DfuError> {
        let (_, layout) = self
            .layouts
            .iter()
            .find(|(number, _)| *number == alternate)
            .ok_or(DfuError::NoAlternate { alternate })?;
        layout.as_ref().map_err(|source| DfuError::Layout {
            alternate,
            source: source.clone(),
        })
    }

    /// Selects an alternate setting and brings the device to dfuIDLE.
    pub fn select(&mut self, alternate: u8) -> Result<(), DfuError> {
        self.layout(alternate)?;
        if self.alternate != alternate {
            let doing = Doing::Select(alternate);
            self.link
                .set_alternate(INTERFACE, alternate)
                .map_err(|source| DfuError::Transfer { doing, source })?;
            self.alternate = alternate;
        }
        self.idle()
    }

    /// The state of Device Protection: from the state string, or from the layout where an older bootloader has no such
    /// string. In the latter case Service Mode cannot be told from open.
    ///
    /// # Errors
    /// A transfer that fails in any way but a stall is an error, never taken for an answer.
    pub fn protection(&mut self) -> Result<Protection, DfuError> {
        match descriptor::string(self.link, STATE_STRING) {
            Ok(text) => match parse_state(&text) {
                Some(protection) => return Ok(protection),
                None => {}
            },
            Err(DescriptorError::Malformed { .. }) => {}
            Err(DescriptorError::Transfer { source, .. }) if source.is_stall() => {}
            Err(source) => return Err(DfuError::Descriptor { source }),
        }
        Ok(if self.looks_protected() {
            Protection::Protected
        } else {
            Protection::Open
        })
    }

    /// The commands that the bootloader has, by their first byte.
    ///
    /// # Errors
    /// [`DfuError::Protected`] on a protected device: it does not tell.
    pub fn commands(&mut self) -> Result<Vec<u8>, DfuError> {
        let doing = Doing::Commands;
        self.idle()?;
        let commands = self.upload(0, 16, doing)?;
        self.abort(doing)?;
        if commands.is_empty() {
            return Err(DfuError::ShortAnswer { doing, len: 0 });
        }
        Ok(commands)
    }

    /// Ends DFU mode: the device restarts about half a second later.
    ///
    /// # Errors
    /// If the device cannot be brought to a state in which it takes the request. What happens afterwards is no error:
    /// the proof is that the device appears again.
    pub fn leave(mut self) -> Result<Left, DfuError> {
        let doing = Doing::Leave;
        let status = self.status(doing);
        if !status.is_ok_and(|s| !s.failed() && matches!(s.state, State::Idle | State::DownloadIdle)) {
            self.idle()?;
        }
        match self.download(FIRST_BLOCK, &[], doing) {
            Ok(()) => Ok(self.watch_it_go()),
            // Protected devices stall here and restart all the same (particle-cli 3.48.0), and others are gone already.
            Err(error) if error.link().is_some_and(|l| l.usb().is_some()) => Ok(Left::Unconfirmed),
            Err(error) => Err(error),
        }
    }

    /// Restarts the device into safe mode; allowed on a protected device.
    pub fn enter_safe_mode(mut self) -> Result<Left, DfuError> {
        self.need_command(ENTER_SAFE_MODE, Doing::SafeMode)?;
        self.idle()?;
        self.download(0, &[ENTER_SAFE_MODE], Doing::SafeMode)?;
        Ok(self.watch_it_go())
    }

    /// Ends Service Mode; allowed on a protected device.
    pub fn clear_override(&mut self) -> Result<(), DfuError> {
        self.need_command(CLEAR_OVERRIDE, Doing::ClearOverride)?;
        self.idle()?;
        self.command(&[CLEAR_OVERRIDE, 0, 0, 0, 0], Doing::ClearOverride)
    }

    /// Sets the address pointer.
    fn point(&mut self, address: u32) -> Result<(), DfuError> {
        self.command(&command(SET_ADDRESS, address), Doing::Point(address))
    }

    /// Erases the sector at an address. On Gen 2 this moves the address pointer too.
    fn erase(&mut self, address: u32) -> Result<(), DfuError> {
        self.command(&command(ERASE, address), Doing::Erase(address))
    }

    /// A DNLOAD to block 0 with its status. A stall is tried again some times, as the field does.
    fn command(&mut self, bytes: &[u8], doing: Doing) -> Result<(), DfuError> {
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
    fn block(&mut self, block: u16, bytes: &[u8], doing: Doing) -> Result<(), DfuError> {
        match self.download(block, bytes, doing) {
            Err(DfuError::Transfer { source, .. }) if source.is_stall() => Err(self.explain_stall(doing)),
            Err(error) => Err(error),
            Ok(()) => self.finish(doing),
        }
    }

    /// Asks for the status until the operation has ended.
    fn finish(&mut self, doing: Doing) -> Result<(), DfuError> {
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
            self.link.sleep(status.poll.clamp(least, POLL_MAX));
        }
        Err(DfuError::Timeout { doing })
    }

    /// Brings the device to dfuIDLE: CLRSTATUS in dfuERROR and nowhere else, ABORT everywhere else.
    fn idle(&mut self) -> Result<(), DfuError> {
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
                State::DownloadBusy => self.link.sleep(status.poll.clamp(LEAST_PAUSE, POLL_MAX)),
                State::Manifest | State::ManifestWaitReset => break,
                _ => self.request(ABORT, doing)?,
            }
        }
        Err(DfuError::WrongState { doing, state: last })
    }

    fn abort(&mut self, doing: Doing) -> Result<(), DfuError> {
        self.request(ABORT, doing)
    }

    fn status(&mut self, doing: Doing) -> Result<DfuStatus, DfuError> {
        match self.link.fetch(setup_in(GETSTATUS, 0, 6), TRANSFER_TIMEOUT) {
            Ok(bytes) => DfuStatus::parse(&bytes).ok_or(DfuError::ShortAnswer { doing, len: bytes.len() }),
            Err(source) if source.is_stall() => Err(DfuError::Stalled { doing }),
            Err(source) => Err(DfuError::Transfer { doing, source }),
        }
    }

    fn request(&mut self, request: u8, doing: Doing) -> Result<(), DfuError> {
        self.link
            .send(setup_out(request, 0), &[], TRANSFER_TIMEOUT)
            .map_err(|source| DfuError::Transfer { doing, source })
    }

    fn download(&mut self, block: u16, bytes: &[u8], doing: Doing) -> Result<(), DfuError> {
        debug_assert!(bytes.len() <= BLOCK as usize, "a device's buffer has {BLOCK} bytes");
        self.link
            .send(setup_out(DNLOAD, block), bytes, TRANSFER_TIMEOUT)
            .map_err(|source| DfuError::Transfer { doing, source })
    }

    fn upload(&mut self, block: u16, length: u16, doing: Doing) -> Result<Vec<u8>, DfuError> {
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
    fn explain_stall(&mut self, doing: Doing) -> DfuError {
        match self.status(doing) {
            Ok(status) if status.status == Status::Ok => DfuError::Stalled { doing },
            Ok(status) => self.refusal(status, doing),
            Err(error) if error.link().is_some_and(LinkError::is_final) => error,
            Err(_) => DfuError::Stalled { doing },
        }
    }

    /// Makes an error of a status that reports one. The vendor's own error is that of protection, unless the device
    /// says something else (in Service Mode it refuses some writes in the same way).
    fn refusal(&mut self, status: DfuStatus, doing: Doing) -> DfuError {
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

    /// After a request that restarts the device: asks until it says so or is gone. On nRF the restart begins in the
    /// status stage of this GETSTATUS, so it must be sent.
    fn watch_it_go(&mut self) -> Left {
        for _ in 0..LEAVE_ANSWERS {
            match self.status(Doing::Leave) {
                Ok(status) if status.failed() => return Left::Unconfirmed,
                Ok(status) => match status.state {
                    State::Manifest | State::ManifestWaitReset => return Left::Confirmed,
                    // Gen 2 reports this state on purpose.
                    State::DownloadIdle if self.family() == Family::Stm32f2 => return Left::Confirmed,
                    _ => self.link.sleep(status.poll.clamp(LEAST_PAUSE, POLL_MAX)),
                },
                Err(_) => return Left::Unconfirmed,
            }
        }
        Left::Unconfirmed
    }

    fn need_command(&mut self, wanted: u8, doing: Doing) -> Result<(), DfuError> {
        match self.commands() {
            Ok(commands) if commands.contains(&wanted) => Ok(()),
            Ok(_) => Err(DfuError::Unsupported { doing }),
            // A protected device does not list its commands, and takes these two all the same.
            Err(DfuError::Protected { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn looks_protected(&self) -> bool {
        self.layout(0).is_ok_and(Layout::is_protected)
    }

    fn family(&self) -> Family {
        debug_assert_eq!(self.link.mode(), UsbMode::Dfu);
        self.platform().family()
    }
}

/// `sm=` in the state string: `o` open, `p` protected, `s` Service Mode; other pairs may stand beside it.
fn parse_state(text: &str) -> Option<Protection> {
    let mut pairs = text.trim_end_matches('\0').split(';').filter_map(|pair| pair.split_once('='));
    match pairs.find(|(key, _)| key.trim() == "sm")?.1.trim() {
        "o" => Some(Protection::Open),
        "p" => Some(Protection::Protected),
        "s" => Some(Protection::Service),
        _ => None,
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

const INTERFACE: u8 = 0;

const DNLOAD: u8 = 1;
const UPLOAD: u8 = 2;
const GETSTATUS: u8 = 3;
const CLRSTATUS: u8 = 4;
const ABORT: u8 = 6;

const SET_ADDRESS: u8 = 0x21;
const ERASE: u8 = 0x41;
const ENTER_SAFE_MODE: u8 = 0xfa;
const CLEAR_OVERRIDE: u8 = 0xfb;

/// Index of the string that tells the state of protection (Device OS 6.1.2 and newer).
const STATE_STRING: u8 = 0xfa;

/// How far apart the addresses of two blocks are, and the most that a device's buffer takes, whatever its descriptor says.
const BLOCK: u32 = 4096;

/// The block that the address pointer stands for; 0 is for commands and 1 is invalid.
const FIRST_BLOCK: u16 = 2;

/// How often a command that stalls is sent, and how far apart (device-protocol.md 3.4).
const COMMAND_TRIES: u32 = 5;
const COMMAND_PAUSE: Duration = Duration::from_secs(1);

/// The way to dfuIDLE is two steps from anywhere; the rest is for a device that is still busy.
const IDLE_TRIES: u32 = 8;

/// The longest that a bwPollTimeout is honoured; real ones are at most 500 ms.
const POLL_MAX: Duration = Duration::from_secs(5);

/// A device that stays busy without asking for a pause gets one.
const LEAST_PAUSE: Duration = Duration::from_millis(5);

/// The longest that one erase or write may take: a 128 KiB sector of an STM32F2 takes up to 4 s.
const OPERATION_LIMIT: Duration = Duration::from_secs(30);

/// How often a device that leaves is asked for its state.
const LEAVE_ANSWERS: u32 = 4;
