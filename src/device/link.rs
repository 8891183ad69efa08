//! An open device: one pipe, the clock, and the wish to stop.
//!
//! Owns the rules that hold for every control transfer: one at a time, bounded in time, counted, traced without its
//! payload, and not begun once the worker was told to cancel. It knows nothing of what a transfer means.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    edge::{Attached, Bus, Clock, Pipe, Setup, UsbError},
    model::{
        Code, Mono, Platform,
        platform::{UsbId, UsbMode},
    },
};

use super::DeviceError;

/// The wish to stop what a device is being used for. Clones are the same wish.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop: no further transfer begins, except where a torn write would be the price.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// True once it was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Why a transfer gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The transfer failed.
    #[error("control transfer [{setup:?}] failed")]
    Usb {
        /// Its setup packet.
        setup: Setup,
        /// How it failed.
        #[source]
        source: UsbError,
    },
    /// The transfer was not begun, because the worker was told to stop.
    #[error("told to stop")]
    Cancelled,
}

impl LinkError {
    /// How the transfer failed, unless it was not begun.
    pub const fn usb(&self) -> Option<UsbError> {
        match self {
            Self::Usb { source, .. } => Some(*source),
            Self::Cancelled => None,
        }
    }

    /// True if the device answered with a STALL.
    pub const fn is_stall(&self) -> bool {
        matches!(self.usb(), Some(UsbError::Stall))
    }

    /// True if nothing more can come of this link: the device is gone, held by others, or we were told to stop.
    pub const fn is_final(&self) -> bool {
        matches!(self.usb(), None | Some(UsbError::Gone | UsbError::Access | UsbError::Busy))
    }

    /// The code that a step reports, if the transfer itself is what went wrong.
    pub const fn code(&self) -> Code {
        match self {
            Self::Usb { source, .. } => usb_code(*source),
            Self::Cancelled => Code::Stopped,
        }
    }
}

/// The code for a plain USB failure.
pub(super) const fn usb_code(error: UsbError) -> Code {
    match error {
        UsbError::Gone => Code::DeviceLost,
        UsbError::Busy => Code::UsbBusy,
        UsbError::Access => Code::UsbAccess,
        UsbError::Stall | UsbError::Timeout | UsbError::Io => Code::UsbTransfer,
    }
}

/// One transfer of the trace: never its payload, which may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    /// When it began.
    pub at: Mono,
    /// Its setup packet.
    pub setup: Setup,
    /// How many bytes an IN transfer gave (0 for OUT), or how it failed.
    pub answer: Result<usize, UsbError>,
}

impl fmt::Display for Traced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.3} s  {:?}  ", self.at.0.as_secs_f64(), self.setup)?;
        match self.answer {
            Ok(len) => write!(f, "{len} B"),
            Err(error) => write!(f, "{error}"),
        }
    }
}

/// An open device.
pub struct Link {
    pipe: Box<dyn Pipe>,
    clock: Arc<dyn Clock>,
    cancel: Cancel,
    platform: Platform,
    mode: UsbMode,
    transfers: u64,
    trace: VecDeque<Traced>,
    shielded: bool,
}

impl Link {
    /// Opens what is attached.
    ///
    /// # Errors
    /// If its USB identity is not one of the platform table, or the bus does not open it.
    pub fn open(bus: &dyn Bus, attached: &Attached, clock: Arc<dyn Clock>, cancel: Cancel) -> Result<Self, DeviceError> {
        let id = UsbId {
            vendor: attached.vendor,
            product: attached.product,
        };
        let (platform, mode) = Platform::from_usb(id).ok_or(DeviceError::UnknownPlatform {
            vendor: id.vendor,
            product: id.product,
        })?;
        let pipe = bus.open(attached).map_err(|source| DeviceError::Open { source })?;
        Ok(Self::new(pipe, clock, cancel, platform, mode))
    }

    /// A link over a pipe that is already open, to a device of this platform in this mode.
    pub fn new(pipe: Box<dyn Pipe>, clock: Arc<dyn Clock>, cancel: Cancel, platform: Platform, mode: UsbMode) -> Self {
        Self {
            pipe,
            clock,
            cancel,
            platform,
            mode,
            transfers: 0,
            trace: VecDeque::with_capacity(TRACE_LEN),
            shielded: false,
        }
    }

    /// The platform, by its USB identity.
    pub const fn platform(&self) -> Platform {
        self.platform
    }

    /// The mode, by its USB identity.
    pub const fn mode(&self) -> UsbMode {
        self.mode
    }

    /// How many transfers were begun on this link, SET_INTERFACE included.
    pub const fn transfers(&self) -> u64 {
        self.transfers
    }

    /// The last transfers, oldest first, for an error report.
    pub fn trace(&self) -> impl Iterator<Item = &Traced> {
        self.trace.iter()
    }

    /// From now on another wish to stop counts: each attempt of a step has its own, and the link outlives them.
    pub fn set_cancel(&mut self, cancel: Cancel) {
        self.cancel = cancel;
    }

    /// The monotonic time.
    pub fn now(&self) -> Mono {
        self.clock.now()
    }

    /// Waits.
    pub fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration);
    }

    /// The IN transfer that `setup` describes; the answer may be shorter than asked for.
    pub fn fetch(&mut self, setup: Setup, timeout: Duration) -> Result<Vec<u8>, LinkError> {
        debug_assert!(setup.is_in(), "an IN transfer: {setup:?}");
        let mut answer = self.transfer(setup, &[], timeout)?;
        answer.truncate(usize::from(setup.length));
        Ok(answer)
    }

    /// An OUT transfer of `data`; `setup.length` is set from it.
    ///
    /// A device whose OUT transfers never complete without a data stage (RTL in normal mode, device-protocol.md 1.1) gets
    /// one zero byte in place of none.
    ///
    /// # Panics
    /// If `data` has more than 65535 bytes: no caller sends more than one chunk.
    pub fn send(&mut self, setup: Setup, data: &[u8], timeout: Duration) -> Result<(), LinkError> {
        debug_assert!(!setup.is_in(), "an OUT transfer: {setup:?}");
        let data = if data.is_empty() && self.platform.needs_out_data() && self.mode == UsbMode::Normal {
            &[0]
        } else {
            data
        };
        let length = u16::try_from(data.len()).expect("a data stage has at most 65535 bytes");
        self.transfer(Setup { length, ..setup }, data, timeout).map(drop)
    }

    /// Claims an interface.
    pub fn claim(&mut self, interface: u8) -> Result<(), LinkError> {
        self.pipe.claim(interface).map_err(|source| LinkError::Usb {
            setup: set_interface(interface, 0),
            source,
        })
    }

    /// Selects an alternate setting of a claimed interface.
    pub fn set_alternate(&mut self, interface: u8, alternate: u8) -> Result<(), LinkError> {
        let setup = set_interface(interface, alternate);
        self.begin()?;
        let at = self.now();
        let answer = self.pipe.set_alternate(interface, alternate);
        self.note(at, setup, answer.map(|()| 0));
        answer.map_err(|source| LinkError::Usb { setup, source })
    }

    /// While shielded, a wish to stop is not heard: for a write that must not be torn.
    pub(super) fn shield(&mut self, on: bool) {
        self.shielded = on;
    }

    fn transfer(&mut self, setup: Setup, data: &[u8], timeout: Duration) -> Result<Vec<u8>, LinkError> {
        self.begin()?;
        let at = self.now();
        // Zero means "for ever" to libusb.
        let timeout = timeout.clamp(Duration::from_millis(1), TRANSFER_TIMEOUT);
        let answer = self.pipe.control(setup, data, timeout);
        self.note(at, setup, answer.as_ref().map(Vec::len).map_err(|error| *error));
        answer.map_err(|source| LinkError::Usb { setup, source })
    }

    fn begin(&mut self) -> Result<(), LinkError> {
        if self.cancel.is_cancelled() && !self.shielded {
            return Err(LinkError::Cancelled);
        }
        self.transfers += 1;
        Ok(())
    }

    fn note(&mut self, at: Mono, setup: Setup, answer: Result<usize, UsbError>) {
        if self.trace.len() == TRACE_LEN {
            self.trace.pop_front();
        }
        self.trace.push_back(Traced { at, setup, answer });
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({} in {}, {} transfers)", self.platform, self.mode, self.transfers)
    }
}

const fn set_interface(interface: u8, alternate: u8) -> Setup {
    Setup {
        request_type: 0x01,
        request: 0x0b,
        value: alternate as u16,
        index: interface as u16,
        length: 0,
    }
}

/// The longest that one control transfer may take (device-protocol.md 2.1, 7).
pub const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);

/// How many transfers the trace keeps: a whole control request with its polling, or the end of a page write.
const TRACE_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::{
        super::script::{Script, TestClock},
        *,
    };

    fn out(request: u8, index: u16) -> Setup {
        Setup {
            request_type: 0x40,
            request,
            value: 0,
            index,
            length: 0,
        }
    }

    #[test]
    fn only_rtl_in_normal_mode_gets_the_dummy_byte() {
        for (platform, mode, bytes) in [
            (Platform::P2, UsbMode::Normal, 1),
            (Platform::P2, UsbMode::Dfu, 0),
            (Platform::Argon, UsbMode::Normal, 0),
            (Platform::Trackerm, UsbMode::Normal, 1),
        ] {
            let script = Script::new();
            let setup = [0x40, 0x50, 0, 0, 0x28, 0, bytes, 0];
            script.out(setup, &vec![0; bytes.into()]);
            let mut link = script.link(platform, mode);
            link.send(out(0x50, 40), &[], TRANSFER_TIMEOUT).unwrap();
            script.done();
        }
    }

    #[test]
    fn no_transfer_begins_after_cancel_unless_shielded() {
        let script = Script::new();
        script.out([0x40, 0x50, 0, 0, 1, 0, 0, 0], &[]);
        let cancel = Cancel::new();
        let clock = Arc::new(TestClock::default());
        let mut link = Link::new(script.pipe(), clock, cancel.clone(), Platform::Argon, UsbMode::Normal);
        cancel.cancel();
        assert_eq!(link.send(out(0x50, 1), &[], TRANSFER_TIMEOUT), Err(LinkError::Cancelled));
        link.shield(true);
        link.send(out(0x50, 1), &[], TRANSFER_TIMEOUT).unwrap();
        assert_eq!(link.transfers(), 1, "what was not begun is not counted");
        link.shield(false);
        link.set_cancel(Cancel::new());
        script.out([0x40, 0x50, 0, 0, 1, 0, 0, 0], &[]);
        link.send(out(0x50, 1), &[], TRANSFER_TIMEOUT).unwrap();
        script.done();
    }

    #[test]
    fn timeouts_are_never_zero_and_never_long() {
        let script = Script::new();
        script.out([0x40, 0x50, 0, 0, 1, 0, 0, 0], &[]);
        script.out([0x40, 0x50, 0, 0, 1, 0, 0, 0], &[]);
        let mut link = script.link(Platform::Argon, UsbMode::Normal);
        link.send(out(0x50, 1), &[], Duration::ZERO).unwrap();
        link.send(out(0x50, 1), &[], Duration::MAX).unwrap();
        assert_eq!(script.timeouts(), [Duration::from_millis(1), Duration::from_secs(5)]);
    }

    #[test]
    fn the_trace_is_bounded_and_shows_no_payload() {
        let script = Script::new();
        for _ in 0..40 {
            script.out([0x40, 0x03, 0, 0, 1, 0, 4, 0], &[0xde, 0xad, 0xbe, 0xef]);
        }
        let mut link = script.link(Platform::Argon, UsbMode::Normal);
        for _ in 0..40 {
            link.send(out(3, 1), &[0xde, 0xad, 0xbe, 0xef], TRANSFER_TIMEOUT).unwrap();
        }
        let text: Vec<String> = link.trace().map(Traced::to_string).collect();
        assert_eq!(text.len(), TRACE_LEN);
        assert!(text.iter().all(|line| line.contains("40 03") && !line.contains("de ad")));
    }
}
