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
mod machine;
pub mod read;
pub mod status;

#[cfg(test)]
mod failures;
#[cfg(test)]
pub(in crate::device) mod target;

use crate::model::{
    Platform,
    fact::Protection,
    platform::{Family, UsbMode},
};

use super::{
    Link, LinkError,
    descriptor::{self, DescriptorError, DfuInterface},
    state_string,
};

pub use error::{DfuError, Doing, PlanError};
use layout::BadLayout;
pub use layout::Layout;
use machine::LEAST_PAUSE;
pub use read::ReadBack;
use status::State;

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
                Err(error) if error.link().is_some_and(LinkError::is_stall) => String::new(),
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
        let told = state_string::read(self.link).map_err(|source| DfuError::Descriptor { source })?;
        if let Some(protection) = told {
            return Ok(protection);
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
                    _ => self.pause(status.poll, LEAST_PAUSE),
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

const INTERFACE: u8 = 0;

const ENTER_SAFE_MODE: u8 = 0xfa;
const CLEAR_OVERRIDE: u8 = 0xfb;

/// How far apart the addresses of two blocks are, and the most that a device's buffer takes, whatever its descriptor says.
const BLOCK: u32 = 4096;

/// The block that the address pointer stands for; 0 is for commands and 1 is invalid.
const FIRST_BLOCK: u16 = 2;

/// How often a device that leaves is asked for its state.
const LEAVE_ANSWERS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::{target::Target, *};
    use crate::{
        device::script::{Script, hex},
        edge::UsbError,
    };

    const STATUS: [u8; 8] = [0xa1, 3, 0, 0, 0, 0, 6, 0];
    const LEAVING: [u8; 8] = [0x21, 1, 2, 0, 0, 0, 0, 0];

    fn leave_by(platform: Platform, answers: impl FnOnce(&Script)) -> Result<Left, DfuError> {
        let script = Script::new();
        answers(&script);
        script.boron();
        let mut link = script.link(platform, UsbMode::Dfu);
        let dfu = Dfu::open(&mut link).unwrap();
        script.play();
        let left = dfu.leave();
        script.done();
        left
    }

    #[test]
    fn the_frozen_boron_opens() {
        let script = Script::new();
        script.boron();
        let mut link = script.link(Platform::Boron, UsbMode::Dfu);
        let dfu = Dfu::open(&mut link).unwrap();
        assert_eq!(dfu.layout(0).unwrap().name, "Internal Flash");
        assert_eq!(dfu.layout(2).unwrap().segments[0].start, 0x8000_0000);
        assert_eq!(dfu.layout(3), Err(DfuError::NoAlternate { alternate: 3 }));
        script.done();
    }

    #[test]
    fn leaving_is_watched_but_never_waited_for_in_vain() {
        let nrf = leave_by(Platform::Boron, |s| {
            s.get(STATUS, &hex("000000000500"));
            s.out(LEAVING, &[]);
            s.get(STATUS, &hex("000000000600"));
            s.get(STATUS, &hex("000000000700"));
        });
        assert_eq!(nrf, Ok(Left::Confirmed));
        let gen2 = leave_by(Platform::Photon, |s| {
            s.get(STATUS, &hex("000000000200"));
            s.out(LEAVING, &[]);
            s.get(STATUS, &hex("000000000500"));
        });
        assert_eq!(gen2, Ok(Left::Confirmed));
        let silent = leave_by(Platform::Boron, |s| {
            s.get(STATUS, &hex("000000000200"));
            s.out(LEAVING, &[]);
            s.fail(STATUS, &[], UsbError::Gone);
        });
        assert_eq!(silent, Ok(Left::Unconfirmed));
        let protected = leave_by(Platform::Boron, |s| {
            s.get(STATUS, &hex("000000000200"));
            s.fail(LEAVING, &[], UsbError::Stall);
        });
        assert_eq!(protected, Ok(Left::Unconfirmed));
        let gone = leave_by(Platform::Boron, |s| {
            s.fail(STATUS, &[], UsbError::Gone);
            s.fail(STATUS, &[], UsbError::Gone);
        });
        assert!(gone.is_err(), "it was gone before");
    }

    #[test]
    fn an_error_is_cleared_before_leaving() {
        let left = leave_by(Platform::Boron, |s| {
            s.get(STATUS, &hex("0e0000000a00"));
            s.get(STATUS, &hex("0e0000000a00"));
            s.out([0x21, 4, 0, 0, 0, 0, 0, 0], &[]);
            s.get(STATUS, &hex("000000000200"));
            s.out(LEAVING, &[]);
            s.get(STATUS, &hex("000000000800"));
        });
        assert_eq!(left, Ok(Left::Confirmed));
    }

    #[test]
    fn protection_is_read_from_the_string_and_else_from_the_letters() {
        use Protection::{Open, Protected, Service};
        for (text, protected, expected) in [
            (Some("sm=o"), false, Open),
            (Some("sm=p\0\0"), true, Protected),
            (Some("x=1;sm=s;y"), false, Service),
            (Some("x=1"), true, Protected),
            (Some(""), false, Open),
            (None, true, Protected),
            (None, false, Open),
        ] {
            let target = Target::new(Platform::Argon);
            target.inside().state_string = text;
            target.inside().protected = protected;
            let mut link = target.link();
            assert_eq!(Dfu::open(&mut link).unwrap().protection(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn a_failed_transfer_is_no_answer_about_protection() {
        let script = Script::new();
        script.boron();
        let mut link = script.link(Platform::Boron, UsbMode::Dfu);
        let mut dfu = Dfu::open(&mut link).unwrap();
        script.fail([0x80, 6, 0xfa, 3, 9, 4, 255, 0], &[], UsbError::Timeout);
        assert!(dfu.protection().is_err());
    }

    #[test]
    fn safe_mode_and_the_end_of_service_mode() {
        for protected in [false, true] {
            let target = Target::new(Platform::Argon);
            target.inside().protected = protected;
            let mut link = target.link();
            let mut dfu = Dfu::open(&mut link).unwrap();
            dfu.clear_override().unwrap();
            assert_eq!(dfu.enter_safe_mode(), Ok(Left::Confirmed));
        }
    }

    #[test]
    fn an_old_bootloader_is_not_sent_what_it_does_not_know() {
        let script = Script::new();
        script.boron();
        let mut link = script.link(Platform::Photon, UsbMode::Dfu);
        let mut dfu = Dfu::open(&mut link).unwrap();
        script.get(STATUS, &hex("000000000200"));
        script.get([0xa1, 2, 0, 0, 0, 0, 16, 0], &hex("002141"));
        script.out([0x21, 6, 0, 0, 0, 0, 0, 0], &[]);
        let doing = Doing::ClearOverride;
        assert_eq!(dfu.clear_override(), Err(DfuError::Unsupported { doing }));
        script.done();
    }

    #[test]
    fn reads_are_whole_or_errors() {
        let target = Target::new(Platform::Argon);
        let mut link = target.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        assert_eq!(dfu.read(1, 3106, 192).unwrap().bytes.expose().len(), 192);
        assert!(dfu.read(1, 0x3fff, 2).is_err(), "beyond the layout");
        assert!(dfu.read(0, u32::MAX, 2).is_err());
    }
}
