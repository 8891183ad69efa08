//! A small DFU target for the tests of this module: enough of the state machine to refuse what real devices refuse.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::layout::{Layout, tests as layouts};
use crate::{
    device::{Cancel, Link, script::TestClock},
    edge::{Pipe, Setup, UsbError},
    model::{
        Platform,
        platform::{Family, UsbMode},
    },
};

/// What the target did, and how it misbehaves.
#[derive(Default)]
pub(in crate::device) struct Inside {
    family: Option<Family>,
    strings: Vec<String>,
    pub(in crate::device) memory: BTreeMap<u8, Vec<u8>>,
    alternate: u8,
    pointer: u32,
    state: u8,
    status: u8,
    pending: Option<(u16, Vec<u8>)>,
    /// Setup packets in order.
    pub(in crate::device) seen: Vec<Setup>,
    /// Addresses of erases in order.
    pub(in crate::device) erased: Vec<u32>,
    /// Number of SET_ADDRESS commands.
    pub(in crate::device) pointed: usize,
    /// A write to this address fails.
    pub(in crate::device) bad_write: Option<u32>,
    /// Writes to this address are lost without a word.
    pub(in crate::device) lost_write: Option<u32>,
    /// Reads from this address on fail: an error, or zeros on Gen 2.
    pub(in crate::device) bad_read: Option<u32>,
    /// How many UPLOADs fail before the first that works.
    pub(in crate::device) failing_uploads: usize,
    pub(in crate::device) transfer_size: u16,
    pub(in crate::device) state_string: Option<&'static str>,
    pub(in crate::device) protected: bool,
    /// Cancelled when the first data block arrives.
    pub(in crate::device) cancel_on_write: Option<Cancel>,
}

/// A DFU target; clones are the same one.
#[derive(Clone)]
pub(in crate::device) struct Target {
    inside: Arc<Mutex<Inside>>,
    platform: Platform,
    pub(in crate::device) cancel: Cancel,
}

impl Target {
    pub(in crate::device) fn new(platform: Platform) -> Self {
        let family = platform.family();
        let strings = match family {
            Family::Stm32f2 => vec![layouts::GEN2, "@DCT Flash   /0x00000000/01*016Kg"],
            Family::Rtl872x => vec![layouts::RTL, layouts::DCT],
            _ => vec![layouts::NRF, layouts::DCT, "@External Flash   /0x80000000/1024*004Kg"],
        };
        let mut inside = Inside {
            family: Some(family),
            state: 2,
            transfer_size: 4096,
            ..Inside::default()
        };
        for (i, text) in strings.into_iter().enumerate().take(2) {
            let layout = Layout::parse(text).unwrap();
            let size = layout.segments.last().unwrap().end() - u64::from(layout.segments[0].start);
            inside.memory.insert(i as u8, vec![0xff; size as usize]);
            inside.strings.push(text.to_owned());
        }
        Self {
            inside: Arc::new(Mutex::new(inside)),
            platform,
            cancel: Cancel::new(),
        }
    }

    pub(in crate::device) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    pub(in crate::device) fn link(&self) -> Link {
        let clock = Arc::new(TestClock::default());
        Link::new(
            Box::new(self.clone()),
            clock,
            self.cancel.clone(),
            self.platform,
            UsbMode::Dfu,
        )
    }
}

impl Inside {
    fn gen2(&self) -> bool {
        self.family == Some(Family::Stm32f2)
    }

    fn base(&self) -> u32 {
        match (self.alternate, self.family) {
            (0, Some(Family::Stm32f2 | Family::Rtl872x)) => 0x0800_0000,
            _ => 0,
        }
    }

    fn refuse(&mut self, status: u8) -> Result<Vec<u8>, UsbError> {
        (self.state, self.status) = (10, status);
        Err(UsbError::Stall)
    }

    fn descriptor(&self, value: u16) -> Result<Vec<u8>, UsbError> {
        let text = match value {
            0x0200 => {
                let mut all = vec![9, 2, 0, 0, 1, 1, 4, 0xc0, 0x32];
                for i in 0..self.strings.len() as u8 {
                    all.extend([9, 4, 0, i, 0, 0xfe, 1, 2, 6 + i]);
                }
                let [low, high] = self.transfer_size.to_le_bytes();
                all.extend([9, 0x21, 0x0b, 0xff, 0, low, high, 0x1a, 1]);
                all[2] = all.len() as u8;
                return Ok(all);
            }
            0x0100 => return Ok(vec![18, 1, 0, 2, 0, 0, 0, 64, 4, 0x2b, 0, 0, 0, 0, 1, 2, 3, 1]),
            0x0303 => "e00fce680123456789abcdef".to_owned(),
            0x030a => "Device is in protected mode".to_owned(),
            0x03fa => self.state_string.ok_or(UsbError::Stall)?.to_owned(),
            _ => {
                let index = (value - 0x0306) as usize;
                let text = self.strings.get(index).ok_or(UsbError::Stall)?;
                if self.protected {
                    text.replace("4Ka", "4Kb").replace("4Kg", "4Kb").replace("Ke", "Kb")
                } else {
                    text.clone()
                }
            }
        };
        let mut all = vec![2 + 2 * text.len() as u8, 3];
        all.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        Ok(all)
    }

    /// The status stage of GETSTATUS: the operation runs here.
    fn operate(&mut self, block: u16, data: &[u8]) -> Result<(), ()> {
        let base = self.base();
        if block == 0 {
            let address = u32::from_le_bytes(data[1..5].try_into().map_err(|_| ())?);
            match data[0] {
                0x21 => {
                    self.pointer = address;
                    self.pointed += 1;
                }
                0x41 => {
                    self.erased.push(address);
                    let layout = Layout::parse(&self.strings[self.alternate as usize]).unwrap();
                    let sector = layout.sector_at(address).unwrap();
                    if sector.access.erasable() && self.alternate == 0 {
                        let from = (sector.start - base) as usize;
                        self.memory.get_mut(&0).unwrap()[from..][..sector.size as usize].fill(0xff);
                    }
                    if self.gen2() {
                        self.pointer = address;
                    }
                }
                _ => return Err(()),
            }
            return Ok(());
        }
        let address = u32::from(block - 2) * 4096 + self.pointer;
        if self.bad_write == Some(address) {
            return Err(());
        }
        if self.lost_write == Some(address) {
            return Ok(());
        }
        let flash = self.alternate == 0;
        let cells = &mut self.memory.get_mut(&self.alternate).unwrap()[(address - base) as usize..];
        for (cell, byte) in cells.iter_mut().zip(data) {
            // Flash only loses ones; the DCT is a file.
            *cell = if flash { *cell & byte } else { *byte };
        }
        Ok(())
    }

    fn get_status(&mut self) -> Result<Vec<u8>, UsbError> {
        if let Some((block, data)) = self.pending.take() {
            if self.protected {
                (self.state, self.status) = (10, 0x0b);
                return Ok(vec![0x0b, 0, 0, 0, 10, 10]);
            }
            self.state = 5;
            if self.operate(block, &data).is_err() {
                if self.gen2() {
                    return Err(UsbError::Stall);
                }
                (self.state, self.status) = (10, 0x0e);
            }
            return Ok(vec![0, 0, 0, 0, 4, 0]);
        }
        if self.state == 6 {
            self.state = 7;
        }
        let string = if self.status == 0x0b { 10 } else { 0 };
        Ok(vec![self.status, 0, 0, 0, self.state, string])
    }

    fn upload(&mut self, block: u16, length: usize) -> Result<Vec<u8>, UsbError> {
        if ![2, 9].contains(&self.state) {
            return self.refuse(0x0e);
        }
        if self.protected {
            (self.state, self.status) = (10, 0x0b);
            return Ok(Vec::new());
        }
        if self.failing_uploads > 0 {
            self.failing_uploads -= 1;
            return self.refuse(0x0e);
        }
        self.state = 9;
        if block == 0 {
            return Ok(vec![0x00, 0x21, 0x41, 0xfa, 0xfb]);
        }
        let address = u32::from(block - 2) * 4096 + self.pointer;
        if self.bad_read.is_some_and(|from| address >= from) {
            return if self.gen2() { Ok(vec![0; length]) } else { self.refuse(0x0e) };
        }
        Ok(self.memory[&self.alternate][(address - self.base()) as usize..][..length].to_vec())
    }
}

impl Pipe for Target {
    fn control(&mut self, setup: Setup, data: &[u8], _timeout: Duration) -> Result<Vec<u8>, UsbError> {
        let mut inside = self.inside();
        inside.seen.push(setup);
        let mut answer = match (setup.request_type, setup.request) {
            (0x80, 6) => inside.descriptor(setup.value),
            (0x21, 1) if ![2, 5].contains(&inside.state) => inside.refuse(0x0e),
            (0x21, 1) if data.is_empty() => {
                inside.state = 6;
                Ok(vec![])
            }
            (0x21, 1) if setup.value == 1 || data.len() > 4096 => inside.refuse(0x0e),
            (0x21, 1) if setup.value == 0 && [0xfa, 0xfb].contains(&data[0]) => {
                inside.state = if data[0] == 0xfa { 6 } else { 5 };
                Ok(vec![])
            }
            (0x21, 1) => {
                if setup.value > 0
                    && let Some(cancel) = inside.cancel_on_write.take()
                {
                    cancel.cancel();
                }
                inside.pending = Some((setup.value, data.to_vec()));
                inside.state = 3;
                Ok(vec![])
            }
            (0xa1, 2) => inside.upload(setup.value, setup.length.into()),
            (0xa1, 3) => inside.get_status(),
            (0x21, 4) if inside.state == 10 => {
                (inside.state, inside.status) = (2, 0);
                Ok(vec![])
            }
            (0x21, 6) if [2, 5, 9].contains(&inside.state) => {
                inside.state = 2;
                Ok(vec![])
            }
            _ => inside.refuse(0x0e),
        }?;
        answer.truncate(setup.length.into());
        Ok(answer)
    }

    fn claim(&mut self, interface: u8) -> Result<(), UsbError> {
        assert_eq!(interface, 0);
        Ok(())
    }

    fn set_alternate(&mut self, _interface: u8, alternate: u8) -> Result<(), UsbError> {
        self.inside().alternate = alternate;
        Ok(())
    }
}
