//! The DFU state machine of the bootloaders, with what the families do differently (device-protocol.md 3.1 to 3.6).
//!
//! It decides states, status and when an operation runs; the operations themselves are `memory`'s.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::edge::{Setup, UsbError};

use super::{
    Blob,
    memory::{Failure, Memory},
    mishap::DeviceMishap,
    platform::Family,
};

/// DFU states as on the wire.
mod state {
    pub(super) const IDLE: u8 = 2;
    pub(super) const DNLOAD_SYNC: u8 = 3;
    pub(super) const DNBUSY: u8 = 4;
    pub(super) const DNLOAD_IDLE: u8 = 5;
    pub(super) const MANIFEST_SYNC: u8 = 6;
    pub(super) const MANIFEST: u8 = 7;
    pub(super) const UPLOAD_IDLE: u8 = 9;
    pub(super) const ERROR: u8 = 10;
}

/// The state of one bootloader.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Dfu {
    state: u8,
    status: u8,
    string: u8,
    pub(super) alt: u8,
    pointer: u32,
    waiting: Option<Operation>,
    /// A mishap keeps it in dfuDNBUSY.
    stuck: bool,
    /// The way out leads to safe mode.
    safe: bool,
    /// Service Mode: the system part may be written.
    pub(super) system_allowed: bool,
}

/// What a DNLOAD asked for; it runs in the status stage of the next GETSTATUS.
#[derive(Clone, Serialize, Deserialize)]
enum Operation {
    SetAddress(u32),
    Erase(u32),
    Program(u32, Blob),
    /// 0xFA.
    EnterSafeMode,
    /// 0xFB.
    ClearOverride,
    /// A DNLOAD of 0x00, which no bootloader finishes.
    Commands,
    /// Fails with this status.
    Wrong(u8),
}

/// How this bootloader differs from others.
#[derive(Clone, Copy)]
pub(super) struct Manners {
    pub(super) family: Family,
    /// The answer to UPLOAD of block 0.
    pub(super) commands: &'static [u8],
    /// Protected and not in Service Mode.
    pub(super) enforced: bool,
    /// Index of the string that explains a refusal by protection.
    pub(super) error_string: u8,
}

/// What the rest of the device must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Reset to the application in a while.
    Leave,
    /// Reset to safe mode in a while.
    LeaveSafe,
    /// Leave the bus and come back.
    Detach,
    /// End Service Mode.
    ClearOverride,
    /// The receive buffer was overrun: the bootloader is beyond help.
    Crash,
}

/// The answer to one request.
pub(super) struct Answer {
    pub(super) result: Result<Vec<u8>, UsbError>,
    /// Time for memory, beyond that of the transfer.
    pub(super) takes: Duration,
    pub(super) after: Option<After>,
}

impl Answer {
    fn bytes(bytes: Vec<u8>) -> Self {
        Self {
            result: Ok(bytes),
            takes: Duration::ZERO,
            after: None,
        }
    }

    fn stall() -> Self {
        Self {
            result: Err(UsbError::Stall),
            ..Self::bytes(Vec::new())
        }
    }

    fn after(after: After) -> Self {
        Self {
            after: Some(after),
            ..Self::bytes(Vec::new())
        }
    }
}

impl Dfu {
    /// As after reset: idle, alternate setting 0.
    pub(super) const fn new() -> Self {
        Self {
            state: state::IDLE,
            status: 0,
            string: 0,
            alt: 0,
            pointer: 0,
            waiting: None,
            stuck: false,
            safe: false,
            system_allowed: false,
        }
    }

    /// It hangs in dfuDNBUSY until it is reset.
    pub(super) const fn is_stuck(&self) -> bool {
        self.stuck && self.state == state::DNBUSY
    }

    /// Makes it hang.
    pub(super) const fn crash(&mut self) {
        self.stuck = true;
        self.state = state::DNBUSY;
    }

    /// Handles one class request to interface 0.
    pub(super) fn request(&mut self, setup: Setup, data: &[u8], memory: &mut Memory<'_>, manners: Manners) -> Answer {
        if self.is_stuck() {
            return match (setup.request_type, setup.request) {
                (0xa1, 3) => Answer::bytes(self.record(0)),
                (0xa1, 5) => Answer::bytes(vec![self.state]),
                _ => Answer::stall(),
            };
        }
        match (setup.request_type, setup.request) {
            (0x21, 0) => Answer::after(After::Detach),
            (0x21, 1) => self.download(setup, data, memory, manners),
            (0xa1, 2) => self.upload(setup, memory, manners),
            (0xa1, 3) => self.get_status(memory, manners),
            (0x21, 4) => self.clear_status(manners),
            (0xa1, 5) => Answer::bytes(vec![self.state]),
            (0x21, 6) => self.abort(manners),
            _ => self.unexpected(manners),
        }
    }

    fn download(&mut self, setup: Setup, data: &[u8], memory: &mut Memory<'_>, manners: Manners) -> Answer {
        if data.len() > TRANSFER_SIZE {
            // The nRF52840 bootloader does not check wLength against its buffer.
            return if manners.family == Family::Nrf {
                Answer {
                    result: Err(UsbError::Timeout),
                    ..Answer::after(After::Crash)
                }
            } else {
                self.unexpected(manners)
            };
        }
        if !matches!(self.state, state::IDLE | state::DNLOAD_IDLE) {
            return self.unexpected(manners);
        }
        if data.is_empty() {
            self.state = state::MANIFEST_SYNC;
            return Answer::bytes(Vec::new());
        }
        self.waiting = Some(match setup.value {
            0 => command(data, manners),
            1 if manners.family == Family::Gen2 => Operation::Wrong(Failure::UNKNOWN.0),
            1 => Operation::Wrong(Failure::TARGET.0),
            block => Operation::Program(self.address(block), data.to_vec().into()),
        });
        self.state = state::DNLOAD_SYNC;
        self.stuck = memory
            .mishaps
            .take(memory.counters, |m| *m == DeviceMishap::WedgeDnbusy)
            .is_some();
        Answer::bytes(Vec::new())
    }

    fn upload(&mut self, setup: Setup, memory: &mut Memory<'_>, manners: Manners) -> Answer {
        let length = usize::from(setup.length);
        if !matches!(self.state, state::IDLE | state::UPLOAD_IDLE) || length > TRANSFER_SIZE {
            return self.unexpected(manners);
        }
        if manners.enforced {
            self.fail(Failure::VENDOR, manners);
            return Answer::bytes(Vec::new());
        }
        let gen2 = manners.family == Family::Gen2;
        match setup.value {
            0 => {
                self.state = if gen2 && length > 3 { state::IDLE } else { state::UPLOAD_IDLE };
                let mut list = manners.commands.to_vec();
                list.truncate(length);
                Answer::bytes(list)
            }
            1 => {
                self.fail(if gen2 { Failure::UNKNOWN } else { Failure::TARGET }, manners);
                Answer::stall()
            }
            block => {
                self.state = state::UPLOAD_IDLE;
                match memory.read(self.alt, self.address(block), length) {
                    Ok(bytes) => Answer::bytes(bytes),
                    Err(_) if gen2 => Answer::bytes(vec![0; length]),
                    Err(failure) => {
                        self.fail(failure, manners);
                        Answer::stall()
                    }
                }
            }
        }
    }

    fn get_status(&mut self, memory: &mut Memory<'_>, manners: Manners) -> Answer {
        match self.state {
            state::DNLOAD_SYNC => match self.waiting.take() {
                Some(operation) => self.perform(&operation, memory, manners),
                None => {
                    self.state = state::DNLOAD_IDLE;
                    Answer::bytes(self.record(0))
                }
            },
            state::DNBUSY => self.unexpected(manners),
            state::MANIFEST_SYNC => {
                self.state = state::MANIFEST;
                let mut record = self.record(0);
                if manners.family == Family::Gen2 {
                    record[4] = state::DNLOAD_IDLE;
                }
                Answer {
                    after: Some(if self.safe { After::LeaveSafe } else { After::Leave }),
                    ..Answer::bytes(record)
                }
            }
            _ => Answer::bytes(self.record(0)),
        }
    }

    /// Runs an operation in the status stage of the GETSTATUS that says dfuDNBUSY.
    fn perform(&mut self, operation: &Operation, memory: &mut Memory<'_>, manners: Manners) -> Answer {
        let free = matches!(operation, Operation::EnterSafeMode | Operation::ClearOverride);
        if manners.enforced && !free {
            self.fail(Failure::VENDOR, manners);
            return Answer::bytes(self.record(0));
        }
        self.state = state::DNBUSY;
        let busy = self.record(poll_timeout(operation, self.alt, manners));
        if self.stuck {
            return Answer::bytes(busy);
        }
        let mut after = None;
        let done = match operation {
            Operation::SetAddress(address) => {
                self.pointer = *address;
                Ok(Duration::ZERO)
            }
            Operation::Erase(address) => {
                if manners.family == Family::Gen2 {
                    self.pointer = *address;
                }
                memory.erase(self.alt, *address)
            }
            Operation::Program(address, data) => memory.program(self.alt, *address, data),
            Operation::EnterSafeMode => {
                self.safe = true;
                Ok(Duration::ZERO)
            }
            Operation::ClearOverride => {
                after = Some(After::ClearOverride);
                Ok(Duration::ZERO)
            }
            Operation::Commands if manners.family != Family::Gen2 => return Answer::bytes(busy),
            Operation::Commands => Ok(Duration::ZERO),
            Operation::Wrong(status) => Err(Failure(*status)),
        };
        let write = matches!(operation, Operation::Erase(_) | Operation::Program(..));
        match done {
            Ok(takes) => {
                self.state = if self.safe { state::MANIFEST_SYNC } else { state::DNLOAD_SYNC };
                Answer {
                    takes,
                    after,
                    ..Answer::bytes(busy)
                }
            }
            Err(_) if write && manners.family == Family::Gen2 => {
                // The only sign of a failed write: afterwards the state goes on as if it had worked.
                self.state = state::DNLOAD_SYNC;
                Answer::stall()
            }
            Err(failure) => {
                self.fail(failure, manners);
                Answer::bytes(busy)
            }
        }
    }

    fn clear_status(&mut self, manners: Manners) -> Answer {
        if self.state == state::ERROR {
            self.idle();
            return Answer::bytes(Vec::new());
        }
        self.fail(Failure::UNKNOWN, manners);
        if manners.family == Family::Gen2 {
            Answer::bytes(Vec::new())
        } else {
            Answer::stall()
        }
    }

    fn abort(&mut self, manners: Manners) -> Answer {
        match self.state {
            state::IDLE | state::DNLOAD_SYNC | state::DNLOAD_IDLE | state::MANIFEST_SYNC | state::UPLOAD_IDLE => {
                self.idle();
                Answer::bytes(Vec::new())
            }
            _ if manners.family == Family::Gen2 => Answer::bytes(Vec::new()),
            _ => self.unexpected(manners),
        }
    }

    /// A request that does not belong into this state.
    fn unexpected(&mut self, manners: Manners) -> Answer {
        if manners.family != Family::Gen2 {
            self.fail(Failure::UNKNOWN, manners);
        }
        Answer::stall()
    }

    fn idle(&mut self) {
        self.state = state::IDLE;
        self.status = 0;
        self.string = 0;
        self.waiting = None;
        self.safe = false;
    }

    fn fail(&mut self, failure: Failure, manners: Manners) {
        self.state = state::ERROR;
        self.status = failure.0;
        self.string = if failure == Failure::VENDOR && manners.enforced {
            manners.error_string
        } else {
            0
        };
        self.waiting = None;
    }

    fn record(&self, poll: u16) -> Vec<u8> {
        let [low, high] = poll.to_le_bytes();
        vec![self.status, low, high, 0, self.state, self.string]
    }

    const fn address(&self, block: u16) -> u32 {
        self.pointer.wrapping_add((block as u32).wrapping_sub(2).wrapping_mul(4096))
    }
}

/// The command in a DNLOAD of block 0.
fn command(data: &[u8], manners: Manners) -> Operation {
    let knows = |command: u8| manners.commands.contains(&command);
    match *data {
        [0x21, a, b, c, d] => Operation::SetAddress(u32::from_le_bytes([a, b, c, d])),
        [0x41, a, b, c, d] => Operation::Erase(u32::from_le_bytes([a, b, c, d])),
        [0x41] if manners.family != Family::Gen2 => Operation::Wrong(Failure::TARGET.0),
        [0x00] => Operation::Commands,
        [0xfa] if knows(0xfa) => Operation::EnterSafeMode,
        [0xfb] | [0xfb, _, _, _, _] if knows(0xfb) => Operation::ClearOverride,
        _ => Operation::Wrong(Failure::UNKNOWN.0),
    }
}

/// bwPollTimeout while busy. Gen 2 takes the DCT's figures (erase 1 ms, program 500 ms) the wrong way round.
fn poll_timeout(operation: &Operation, alt: u8, manners: Manners) -> u16 {
    match (manners.family, alt, operation) {
        (Family::Gen2, 1, Operation::Erase(_)) => 500,
        (Family::Gen2, 1, _) => 1,
        _ => 0,
    }
}

/// wTransferSize of all bootloaders.
pub(super) const TRANSFER_SIZE: usize = 4096;
