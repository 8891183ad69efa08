//! Tests of the device as a whole, by a host that speaks the wire and knows no protocol library.

mod bootloader;
mod boots;
mod helper;
mod keys;
mod mishaps;
mod normal;
mod protected;
mod updates;

use std::time::Duration;

use super::*;

/// A host with one device and its own time.
pub(super) struct Host {
    pub(super) device: Device,
    pub(super) now: Mono,
    pub(super) happened: Vec<Happening>,
}

impl Host {
    pub(super) fn new(spec: Spec) -> Self {
        Self::timed(spec, Timing::instant())
    }

    pub(super) fn timed(spec: Spec, timing: Timing) -> Self {
        let mut host = Self {
            device: Device::new(spec, timing),
            now: Mono::default(),
            happened: Vec::new(),
        };
        host.settle();
        host
    }

    pub(super) fn platform(platform: u16) -> Self {
        Self::new(Spec {
            platform,
            os_version: os_for(platform),
            ..Spec::default()
        })
    }

    /// In DFU mode.
    pub(super) fn dfu(platform: u16) -> Self {
        let mut host = Self::platform(platform);
        host.enter_dfu();
        host
    }

    /// Lets time pass until nothing more happens within ten minutes, but for dials, which stay open.
    pub(super) fn settle(&mut self) {
        while let Some(due) = self.device.due().filter(|due| due.since(self.now) < Duration::from_secs(600)) {
            self.now = self.now.max(due);
            let now = self.now;
            self.happened.extend(self.device.advance(now));
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        let happened = self.device.advance(self.now);
        self.happened.extend(happened);
    }

    pub(super) fn raw(&mut self, setup: [u8; 8], data: &[u8]) -> Result<Vec<u8>, UsbError> {
        let transfer = self.device.control(self.now, Setup::from_bytes(setup), data);
        self.now = self.now + transfer.takes;
        transfer.result
    }

    /// Setup packet in hexadecimal, as the reference writes it.
    pub(super) fn hex(&mut self, setup: &str, data: &[u8]) -> Result<String, UsbError> {
        let bytes = unhex(setup);
        self.raw(bytes.try_into().unwrap(), data).map(|b| hex(&b))
    }

    pub(super) fn download(&mut self, block: u16, data: &[u8]) -> Result<Vec<u8>, UsbError> {
        let [low, high] = block.to_le_bytes();
        let length = u16::try_from(data.len()).unwrap().to_le_bytes();
        self.raw([0x21, 1, low, high, 0, 0, length[0], length[1]], data)
    }

    pub(super) fn upload(&mut self, block: u16, length: u16) -> Result<Vec<u8>, UsbError> {
        let ([low, high], length) = (block.to_le_bytes(), length.to_le_bytes());
        self.raw([0xa1, 2, low, high, 0, 0, length[0], length[1]], &[])
    }

    pub(super) fn status(&mut self) -> Result<String, UsbError> {
        self.hex("a1 03 0000 0000 0600", &[])
    }

    pub(super) fn state(&mut self) -> u8 {
        self.raw([0xa1, 5, 0, 0, 0, 0, 1, 0], &[]).unwrap()[0]
    }

    pub(super) fn abort(&mut self) -> Result<Vec<u8>, UsbError> {
        self.raw([0x21, 6, 0, 0, 0, 0, 0, 0], &[])
    }

    pub(super) fn clear_status(&mut self) -> Result<Vec<u8>, UsbError> {
        self.raw([0x21, 4, 0, 0, 0, 0, 0, 0], &[])
    }

    pub(super) fn alternate(&mut self, alt: u8) {
        self.raw([0x01, 11, alt, 0, 0, 0, 0, 0], &[]).unwrap();
    }

    /// A DNLOAD with its statuses until it is over; the last status.
    pub(super) fn command(&mut self, block: u16, data: &[u8]) -> Result<String, UsbError> {
        self.download(block, data)?;
        self.status()?;
        self.status()
    }

    pub(super) fn point(&mut self, address: u32) {
        let done = self
            .command(0, &[&[0x21], address.to_le_bytes().as_slice()].concat())
            .unwrap();
        assert_eq!(done, IDLE_DNLOAD);
    }

    pub(super) fn erase(&mut self, address: u32) -> Result<String, UsbError> {
        self.command(0, &[&[0x41], address.to_le_bytes().as_slice()].concat())
    }

    /// As a careful client writes: pointer, block 2, statuses.
    pub(super) fn write(&mut self, address: u32, data: &[u8]) -> Result<String, UsbError> {
        self.point(address);
        self.command(2, data)
    }

    /// As a careful client reads; idle afterwards.
    pub(super) fn read(&mut self, address: u32, length: u16) -> Result<Vec<u8>, UsbError> {
        self.point(address);
        self.abort()?;
        let bytes = self.upload(2, length)?;
        self.abort()?;
        Ok(bytes)
    }

    /// Flashes a whole file, sector by sector of 4 KiB.
    pub(super) fn flash(&mut self, file: &[u8], start: u32) {
        let gen2 = self.device.platform.family == platform::Family::Gen2;
        for (i, block) in file.chunks(4096).enumerate() {
            let at = start + u32::try_from(i).unwrap() * 4096;
            if i == 0 || !gen2 {
                assert_eq!(self.erase(at).unwrap(), IDLE_DNLOAD);
            }
            assert_eq!(self.write(at, block).unwrap(), IDLE_DNLOAD);
        }
        self.abort().unwrap();
    }

    pub(super) fn leave(&mut self) {
        self.download(2, &[]).unwrap();
        self.status().unwrap();
        self.settle();
    }

    pub(super) fn enter_dfu(&mut self) {
        assert_eq!(self.request(50, &[]).0, 0);
        self.settle();
        let attached = self.device.attachment().unwrap();
        assert_eq!(attached.product & 0xf000, 0xd000);
    }

    /// A control request from INIT to the last RECV: result and body.
    pub(super) fn request(&mut self, kind: u16, payload: &[u8]) -> (i32, Vec<u8>) {
        let size = u16::try_from(payload.len()).unwrap();
        let id = self.start(kind, size);
        let pending = Duration::from_millis(50);
        if size > 0 {
            while self.check(id)[4] == 2 {
                self.pass(pending);
            }
            let ([low, high], length) = (id.to_le_bytes(), size.to_le_bytes());
            self.raw([0x40, 3, 0, 0, low, high, length[0], length[1]], payload).unwrap();
        }
        loop {
            let reply = self.check(id);
            match (reply[4], reply[0]) {
                (2, _) => self.pass(pending),
                (0, 0x0d) => {
                    let size = u16::from_le_bytes([reply[6], reply[7]]).to_le_bytes();
                    let [low, high] = id.to_le_bytes();
                    let body = self.raw([0xc0, 4, 0, 0, low, high, size[0], size[1]], &[]).unwrap();
                    return (i32::from_le_bytes(reply[10..14].try_into().unwrap()), body);
                }
                (0, 0x09) => return (i32::from_le_bytes(reply[6..10].try_into().unwrap()), Vec::new()),
                other => panic!("{other:?} for request {kind}"),
            }
        }
    }

    pub(super) fn start(&mut self, kind: u16, size: u16) -> u16 {
        let ([k0, k1], [s0, s1]) = (kind.to_le_bytes(), size.to_le_bytes());
        let reply = self.raw([0xc0, 1, s0, s1, k0, k1, 64, 0], &[]).unwrap();
        assert_eq!(reply[0], 3, "{}", hex(&reply));
        u16::from_le_bytes([reply[6], reply[7]])
    }

    fn check(&mut self, id: u16) -> Vec<u8> {
        let [low, high] = id.to_le_bytes();
        self.raw([0xc0, 2, 0, 0, low, high, 64, 0], &[]).unwrap()
    }

    /// The dials since the last call.
    pub(super) fn dials(&mut self) -> Vec<Dial> {
        let all = std::mem::take(&mut self.happened);
        all.into_iter()
            .filter_map(|h| match h {
                Happening::Dial(dial) => Some(dial),
                _ => None,
            })
            .collect()
    }

    pub(super) fn power_cycle(&mut self) {
        self.device.power(self.now, false);
        assert_eq!(self.device.attachment(), None);
        self.device.power(self.now, true);
        self.settle();
    }
}

/// A Device OS that the platform had.
pub(super) fn os_for(platform: u16) -> u16 {
    if matches!(platform, 6 | 8 | 10) { 3301 } else { 6200 }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len() / 2)
        .map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// A file of the shared test data, where it is there.
pub(super) fn shared(path: &str) -> Option<Vec<u8>> {
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let named = std::env::vars().find(|(name, _)| name == "KEYRACK_SHARED");
    let folder = named.map_or(beside, |(_, folder)| std::path::Path::new(&folder).join("data"));
    let file = std::fs::read(folder.join(path)).ok();
    if file.is_none() {
        println!("not run: ../shared/data is not here");
    }
    file
}

pub(super) const IDLE: &str = "000000000200";
pub(super) const IDLE_DNLOAD: &str = "000000000500";
