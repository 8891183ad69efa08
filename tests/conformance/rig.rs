//! One simulated device with power and time, and a host that can send it any setup packet.

use std::time::Duration;

use keyrack::{
    edge::{Setup, UsbError},
    model::Mono,
    sim::device::{AccessPoint, Device, Dialled, Happening, Spec, Timing},
};

/// What an IN transfer gave, or how a transfer failed.
pub(crate) type Answer = Result<Vec<u8>, UsbError>;

pub(crate) const ARGON: u16 = 12;
pub(crate) const BORON: u16 = 13;
pub(crate) const B5SOM: u16 = 25;
pub(crate) const TRACKER: u16 = 26;
pub(crate) const PHOTON: u16 = 6;
pub(crate) const ELECTRON: u16 = 10;
pub(crate) const P2: u16 = 32;
pub(crate) const MSOM: u16 = 35;

/// Every platform that is judged here, all families.
pub(crate) const ALL: [u16; 8] = [ARGON, BORON, B5SOM, TRACKER, PHOTON, ELECTRON, P2, MSOM];
pub(crate) const NRF: [u16; 4] = [ARGON, BORON, B5SOM, TRACKER];
pub(crate) const RTL: [u16; 2] = [P2, MSOM];
pub(crate) const GEN2: [u16; 2] = [PHOTON, ELECTRON];

/// How long the host waits for one transfer (2.1).
pub(crate) const HOST_PATIENCE: Duration = Duration::from_secs(5);

/// A device with its power on, and the time.
pub(crate) struct Rig {
    pub(crate) device: Device,
    pub(crate) now: Mono,
    /// What the device did by itself, and when.
    pub(crate) happened: Vec<(Mono, Happening)>,
    /// How a dial is answered; `None` leaves it without answer.
    pub(crate) cloud: Option<Dialled>,
}

/// The default device of a platform. Gen 2 ends with Device OS 3.3.1; the rest runs 6.2.0.
pub(crate) fn spec(platform: u16) -> Spec {
    Spec {
        platform,
        os_version: if GEN2.contains(&platform) { 3301 } else { 6200 },
        ..Spec::default()
    }
}

/// A network on the air; its address ends with its kind of security.
pub(crate) fn access_point(ssid: &str, password: &str, security: u8) -> AccessPoint {
    AccessPoint {
        ssid: ssid.into(),
        password: password.into(),
        bssid: [2, 0, 0, 0, 0, security],
        security,
        channel: 6,
        rssi: -50,
    }
}

impl Rig {
    /// Powers a device and waits until it is on the bus.
    pub(crate) fn boot(spec: Spec) -> Self {
        Self::boot_with(spec, Timing::default())
    }

    pub(crate) fn boot_with(spec: Spec, timing: Timing) -> Self {
        let mut rig = Self {
            device: Device::new(spec, timing),
            now: Mono(Duration::ZERO),
            happened: Vec::new(),
            cloud: None,
        };
        rig.until_attached();
        rig
    }

    /// The device of a platform in normal mode.
    pub(crate) fn normal(platform: u16) -> Self {
        Self::boot(spec(platform))
    }

    /// The device of a platform in DFU mode, by request 50.
    pub(crate) fn dfu(platform: u16) -> Self {
        Self::boot_dfu(spec(platform))
    }

    pub(crate) fn boot_dfu(spec: Spec) -> Self {
        let mut rig = Self::boot(spec);
        // Without a system part the bootloader is in DFU mode by itself.
        if !rig.is_dfu() {
            rig.enter_dfu();
        }
        rig
    }

    /// Waits, while the device does what it does by itself.
    pub(crate) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        self.run_to(until);
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.wait(Duration::from_millis(ms));
    }

    fn run_to(&mut self, until: Mono) {
        while let Some(due) = self.device.due().filter(|due| *due <= until) {
            let at = due.max(self.now);
            self.step(at);
        }
        self.step(until);
    }

    fn step(&mut self, at: Mono) {
        self.now = at;
        for happening in self.device.advance(at) {
            if let (Happening::Dial(_), Some(answer)) = (&happening, &self.cloud) {
                self.device.dialled(at, answer.clone());
            }
            self.happened.push((at, happening));
        }
    }

    /// Waits until the device has left the bus, if it is there, and is on it again.
    pub(crate) fn until_attached(&mut self) {
        let limit = self.now + Duration::from_secs(60);
        while self.device.attachment().is_none() {
            assert!(self.now < limit, "the device does not attach");
            let due = self.device.due().map_or(limit, |due| due.max(self.now)).min(limit);
            self.run_to(due);
        }
    }

    /// Waits until the device has left the bus and come back.
    pub(crate) fn until_reattached(&mut self) {
        let limit = self.now + Duration::from_secs(60);
        while self.device.attachment().is_some() {
            assert!(self.now < limit, "the device stays on the bus");
            let due = self.device.due().map_or(limit, |due| due.max(self.now)).min(limit);
            self.run_to(due);
        }
        self.until_attached();
    }

    /// True while the device shows its DFU product id.
    pub(crate) fn is_dfu(&self) -> bool {
        self.device.attachment().expect("it is attached").product & 0xf000 == 0xd000
    }

    pub(crate) fn enter_dfu(&mut self) {
        assert_eq!(self.request(50, &[]).0, 0, "DFU_MODE");
        self.until_reattached();
        self.happened.clear();
        assert!(self.is_dfu());
    }

    /// One control transfer.
    pub(crate) fn transfer(&mut self, setup: Setup, data: &[u8]) -> Answer {
        let transfer = self.device.control(self.now, setup, data);
        let takes = match transfer.result {
            Err(UsbError::Timeout) => HOST_PATIENCE,
            _ => transfer.takes,
        };
        self.wait(takes);
        if let Ok(bytes) = &transfer.result {
            assert!(bytes.len() <= usize::from(setup.length), "no more than wLength");
            assert!(setup.is_in() || bytes.is_empty(), "an OUT transfer gives nothing");
        }
        transfer.result
    }

    /// An IN transfer written as its eight bytes in hex.
    pub(crate) fn packet(&mut self, hex: &str) -> Answer {
        let bytes = crate::wire::hex(hex);
        let setup = Setup::from_bytes(bytes[..8].try_into().unwrap());
        self.transfer(setup, &bytes[8..])
    }

    pub(crate) fn get(&mut self, request_type: u8, request: u8, value: u16, index: u16, length: u16) -> Answer {
        let setup = Setup {
            request_type,
            request,
            value,
            index,
            length,
        };
        self.transfer(setup, &[])
    }

    pub(crate) fn put(&mut self, request_type: u8, request: u8, value: u16, index: u16, data: &[u8]) -> Answer {
        let setup = Setup {
            request_type,
            request,
            value,
            index,
            length: u16::try_from(data.len()).unwrap(),
        };
        self.transfer(setup, data)
    }

    // Service requests (2.1).

    pub(crate) fn init(&mut self, request: u16, size: u16) -> Answer {
        self.get(0xc0, 1, size, request, 64)
    }

    pub(crate) fn check(&mut self, id: u16) -> Answer {
        self.get(0xc0, 2, 0, id, 64)
    }

    pub(crate) fn send(&mut self, id: u16, chunk: &[u8]) -> Answer {
        self.put(0x40, 3, 0, id, chunk)
    }

    pub(crate) fn recv(&mut self, id: u16, length: u16) -> Answer {
        self.get(0xc0, 4, 0, id, length)
    }

    pub(crate) fn cancel(&mut self, id: u16) -> Answer {
        self.get(0xc0, 5, 0, id, 64)
    }

    /// CHECK every 50 ms until the reply is not PENDING.
    pub(crate) fn check_done(&mut self, id: u16) -> Reply {
        for _ in 0..2_000 {
            let reply = Reply::parse(&self.check(id).expect("CHECK"));
            if reply.status != PENDING {
                return reply;
            }
            self.wait_ms(50);
        }
        panic!("request {id} stays pending");
    }

    /// A whole request, done right: its result and its body.
    pub(crate) fn request(&mut self, request: u16, payload: &[u8]) -> (i32, Vec<u8>) {
        let size = u16::try_from(payload.len()).unwrap();
        let reply = Reply::parse(&self.init(request, size).expect("INIT"));
        let id = reply.id.expect("a request has an id");
        if reply.status == PENDING {
            assert_eq!(self.check_done(id).status, OK, "a buffer");
        } else {
            assert_eq!(reply.status, OK);
        }
        for chunk in payload.chunks(4096) {
            self.send(id, chunk).expect("SEND");
        }
        let done = self.check_done(id);
        assert_eq!(done.status, OK);
        let mut body = Vec::new();
        let mut left = done.size.unwrap_or(0);
        while left > 0 {
            let chunk = left.min(4096);
            body.extend(self.recv(id, u16::try_from(chunk).unwrap()).expect("RECV"));
            left -= chunk;
        }
        (done.result.expect("a finished request has a result"), body)
    }

    // Standard requests.

    pub(crate) fn descriptor(&mut self, kind: u8, index: u8) -> Answer {
        let length = u16::MAX >> 1;
        self.get(0x80, 6, u16::from(kind) << 8 | u16::from(index), 0, length)
    }

    pub(crate) fn string_bytes(&mut self, index: u8) -> Answer {
        self.get(0x80, 6, 0x0300 | u16::from(index), 0x0409, 255)
    }

    /// A string descriptor as text, NULs included.
    pub(crate) fn string(&mut self, index: u8) -> Option<String> {
        let bytes = self.string_bytes(index).ok()?;
        assert_eq!(bytes[1], 3, "a string descriptor");
        let units = bytes[2..].chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        Some(char::decode_utf16(units).map(|unit| unit.unwrap_or('?')).collect())
    }

    pub(crate) fn alternate(&mut self, alternate: u16) {
        self.put(0x01, 11, alternate, 0, &[]).expect("SET_INTERFACE");
    }

    // DFU (3.1).

    pub(crate) fn dnload(&mut self, block: u16, data: &[u8]) -> Answer {
        self.put(0x21, 1, block, 0, data)
    }

    pub(crate) fn upload(&mut self, block: u16, length: u16) -> Answer {
        self.get(0xa1, 2, block, 0, length)
    }

    pub(crate) fn status(&mut self) -> Result<Status, UsbError> {
        self.get(0xa1, 3, 0, 0, 6).map(|bytes| Status::parse(&bytes))
    }

    pub(crate) fn clear(&mut self) -> Answer {
        self.put(0x21, 4, 0, 0, &[])
    }

    pub(crate) fn state(&mut self) -> u8 {
        self.get(0xa1, 5, 0, 0, 1).expect("GETSTATE")[0]
    }

    pub(crate) fn abort(&mut self) -> Answer {
        self.put(0x21, 6, 0, 0, &[])
    }

    /// GETSTATUS until the device is not busy, with the pauses that it asks for.
    pub(crate) fn settle(&mut self) -> Result<Status, UsbError> {
        for _ in 0..100 {
            let status = self.status()?;
            if status.state != DNBUSY {
                return Ok(status);
            }
            self.wait_ms(u64::from(status.poll));
        }
        panic!("the device stays busy");
    }

    /// Brings the device to dfuIDLE in the right way.
    pub(crate) fn idle(&mut self) {
        let status = self.status().expect("GETSTATUS");
        if status.state == ERROR {
            self.clear().expect("CLRSTATUS in dfuERROR");
        } else if status.state != IDLE {
            self.abort().expect("ABORT");
        }
        assert_eq!(self.state(), IDLE);
    }

    pub(crate) fn command(&mut self, command: u8, address: u32) -> Result<Status, UsbError> {
        let mut bytes = vec![command];
        bytes.extend(address.to_le_bytes());
        self.dnload(0, &bytes)?;
        self.settle()
    }

    pub(crate) fn point(&mut self, address: u32) {
        let status = self.command(0x21, address).expect("SET_ADDRESS");
        assert_eq!((status.status, status.state), (0, DNLOAD_IDLE), "SET_ADDRESS");
    }

    pub(crate) fn erase(&mut self, address: u32) -> Result<Status, UsbError> {
        self.command(0x41, address)
    }

    /// Writes, done right, in chunks of 4096 bytes. The sectors must be erased.
    pub(crate) fn write(&mut self, address: u32, bytes: &[u8]) -> Result<Status, UsbError> {
        let mut last = None;
        for (i, chunk) in bytes.chunks(4096).enumerate() {
            self.point(address + u32::try_from(i * 4096).unwrap());
            self.dnload(2, chunk)?;
            let status = self.settle()?;
            last = Some(status);
            if status.state == ERROR {
                break;
            }
        }
        Ok(last.expect("something to write"))
    }

    /// Reads, done right.
    pub(crate) fn read(&mut self, address: u32, length: usize) -> Answer {
        self.idle();
        self.point(address);
        self.abort()?;
        let mut bytes = Vec::new();
        let mut block = 2;
        while bytes.len() < length {
            let chunk = u16::try_from((length - bytes.len()).min(4096)).unwrap();
            let got = self.upload(block, chunk)?;
            let short = got.len() < usize::from(chunk);
            bytes.extend(got);
            block += 1;
            if short {
                break;
            }
        }
        self.abort()?;
        Ok(bytes)
    }

    /// Leaves DFU, done right, and waits for the device to come back.
    pub(crate) fn leave(&mut self) {
        self.dnload(2, &[]).expect("leave");
        for _ in 0..10 {
            let Ok(status) = self.status() else { break };
            if matches!(status.state, MANIFEST | DNLOAD_IDLE) {
                break;
            }
            self.wait_ms(u64::from(status.poll));
        }
        self.until_reattached();
    }
}

pub(crate) const OK: u16 = 0;
pub(crate) const PENDING: u16 = 2;
pub(crate) const BUSY: u16 = 3;
pub(crate) const NOT_FOUND: u16 = 5;

/// A service reply, read by 2.1 and checked for length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) id: Option<u16>,
    pub(crate) size: Option<u32>,
    pub(crate) result: Option<i32>,
}

impl Reply {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let flags = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        assert_eq!(flags & 1, 1, "STATUS is mandatory");
        let mut rest = &bytes[4..];
        let mut take = |present: bool, length: usize| {
            present.then(|| {
                let (field, tail) = rest.split_at(length);
                rest = tail;
                let mut wide = [0; 4];
                wide[..length].copy_from_slice(field);
                u32::from_le_bytes(wide)
            })
        };
        let reply = Self {
            status: u16::try_from(take(true, 2).unwrap()).unwrap(),
            id: take(flags & 2 != 0, 2).map(|id| u16::try_from(id).unwrap()),
            size: take(flags & 4 != 0, 4),
            result: take(flags & 8 != 0, 4).map(u32::cast_signed),
        };
        assert!(rest.is_empty(), "nothing behind the fields");
        reply
    }
}

pub(crate) const IDLE: u8 = 2;
pub(crate) const DNLOAD_SYNC: u8 = 3;
pub(crate) const DNBUSY: u8 = 4;
pub(crate) const DNLOAD_IDLE: u8 = 5;
pub(crate) const MANIFEST: u8 = 7;
pub(crate) const UPLOAD_IDLE: u8 = 9;
pub(crate) const ERROR: u8 = 10;

/// The record of GETSTATUS (3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) status: u8,
    /// Milliseconds.
    pub(crate) poll: u32,
    pub(crate) state: u8,
    /// Index of a string that says what is wrong; 0 for none.
    pub(crate) text: u8,
}

impl Status {
    fn parse(bytes: &[u8]) -> Self {
        assert_eq!(bytes.len(), 6);
        Self {
            status: bytes[0],
            poll: u32::from_le_bytes([bytes[1], bytes[2], bytes[3], 0]),
            state: bytes[4],
            text: bytes[5],
        }
    }
}
