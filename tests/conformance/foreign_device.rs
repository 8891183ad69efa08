//! A DFU device of other people's making, the crate usbd-dfu on usb-device, against the station's DFU protocol.
//!
//! It stands for no Particle device: its transfers have 128 bytes, its blocks lie 128 bytes apart, and it has neither keys nor
//! Particle's commands. Whatever the protocol takes for granted beyond DfuSe would show.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use keyrack::{
    device::{Cancel, Dfu, Link, dfu::Left},
    edge::{Clock, Pipe, Setup, Signal, UsbError},
    model::{Mono, Platform, Wall, platform::UsbMode},
};
use usb_device::{
    UsbDirection,
    bus::{PollResult, UsbBus, UsbBusAllocator},
    endpoint::{EndpointAddress, EndpointType},
    prelude::*,
};
use usbd_dfu::{DFUClass, DFUManifestationError, DFUMemError, DFUMemIO};

use crate::wire::{hex, set_interface};

const START: u32 = 0xb_4000;
const PAGE: usize = 4096;
const PAGES: usize = 4;
const TRANSFER: usize = 128;
const PACKET: usize = 64;

/// What the host and the device's controller see of endpoint 0.
#[derive(Default)]
struct Wires {
    setup: Option<[u8; 8]>,
    out: VecDeque<Vec<u8>>,
    input: VecDeque<Vec<u8>>,
    sent: bool,
    stalled: bool,
}

/// A USB controller with one endpoint.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Wires>>);

impl UsbBus for Wire {
    fn alloc_ep(
        &mut self,
        direction: UsbDirection,
        address: Option<EndpointAddress>,
        _: EndpointType,
        _: u16,
        _: u8,
    ) -> usb_device::Result<EndpointAddress> {
        Ok(address.unwrap_or(EndpointAddress::from_parts(1, direction)))
    }

    fn enable(&mut self) {}
    fn reset(&self) {}
    fn suspend(&self) {}
    fn resume(&self) {}
    fn set_device_address(&self, _: u8) {}

    fn write(&self, _: EndpointAddress, bytes: &[u8]) -> usb_device::Result<usize> {
        let mut wires = self.0.lock().unwrap();
        wires.input.push_back(bytes.to_vec());
        wires.sent = true;
        Ok(bytes.len())
    }

    fn read(&self, _: EndpointAddress, buffer: &mut [u8]) -> usb_device::Result<usize> {
        let mut wires = self.0.lock().unwrap();
        let packet = match wires.setup.take() {
            Some(setup) => setup.to_vec(),
            None => wires.out.pop_front().ok_or(usb_device::UsbError::WouldBlock)?,
        };
        buffer[..packet.len()].copy_from_slice(&packet);
        Ok(packet.len())
    }

    fn set_stalled(&self, _: EndpointAddress, stalled: bool) {
        self.0.lock().unwrap().stalled |= stalled;
    }

    fn is_stalled(&self, _: EndpointAddress) -> bool {
        self.0.lock().unwrap().stalled
    }

    fn poll(&self) -> PollResult {
        let mut wires = self.0.lock().unwrap();
        let sent = std::mem::take(&mut wires.sent);
        let (setup, out) = (wires.setup.is_some(), !wires.out.is_empty());
        if !(setup || out || sent) {
            return PollResult::None;
        }
        PollResult::Data {
            ep_out: u16::from(out),
            ep_in_complete: u16::from(sent),
            ep_setup: u16::from(setup),
        }
    }
}

/// What the memory went through.
#[derive(Clone)]
struct Memory {
    bytes: Arc<Mutex<Vec<u8>>>,
    erases: Arc<Mutex<Vec<u32>>>,
    left: Arc<Mutex<bool>>,
    buffer: Vec<u8>,
    /// An address whose programming is silently lost.
    rotten: Option<u32>,
}

impl Memory {
    fn new() -> Self {
        Self {
            bytes: Arc::new(Mutex::new(vec![0x5a; PAGE * PAGES])),
            erases: Arc::default(),
            left: Arc::default(),
            buffer: Vec::new(),
            rotten: None,
        }
    }

    fn place(address: u32, length: usize) -> Option<std::ops::Range<usize>> {
        let from = usize::try_from(address.checked_sub(START)?).ok()?;
        (from + length <= PAGE * PAGES).then_some(from..from + length)
    }
}

impl DFUMemIO for Memory {
    const INITIAL_ADDRESS_POINTER: u32 = START;
    const MEM_INFO_STRING: &'static str = "@Internal Flash   /0x000B4000/04*004Kg";
    const PROGRAM_TIME_MS: u32 = 8;
    const ERASE_TIME_MS: u32 = 50;
    const FULL_ERASE_TIME_MS: u32 = 500;
    const MANIFESTATION_TOLERANT: bool = false;
    const TRANSFER_SIZE: u16 = 128;

    fn store_write_buffer(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.buffer = bytes.to_vec();
        Ok(())
    }

    fn read(&mut self, address: u32, length: usize) -> Result<&[u8], DFUMemError> {
        let place = Self::place(address, length).ok_or(DFUMemError::Address)?;
        self.buffer = self.bytes.lock().unwrap()[place].to_vec();
        Ok(&self.buffer)
    }

    fn program(&mut self, address: u32, length: usize) -> Result<(), DFUMemError> {
        let place = Self::place(address, length).ok_or(DFUMemError::Address)?;
        if self.rotten.is_some_and(|at| (address..address + 128).contains(&at)) {
            return Ok(());
        }
        let mut bytes = self.bytes.lock().unwrap();
        for (cell, byte) in bytes[place].iter_mut().zip(&self.buffer) {
            *cell &= byte;
        }
        Ok(())
    }

    fn erase(&mut self, address: u32) -> Result<(), DFUMemError> {
        let place = Self::place(address, 1).ok_or(DFUMemError::Address)?;
        let page = place.start / PAGE * PAGE;
        self.erases.lock().unwrap().push(address);
        self.bytes.lock().unwrap()[page..page + PAGE].fill(0xff);
        Ok(())
    }

    fn erase_all(&mut self) -> Result<(), DFUMemError> {
        panic!("nobody may send a mass erase")
    }

    fn manifestation(&mut self) -> Result<(), DFUManifestationError> {
        *self.left.lock().unwrap() = true;
        Ok(())
    }
}

/// The device with the host controller's side of its endpoint 0.
struct Foreign {
    wire: Wire,
    device: UsbDevice<'static, Wire>,
    class: DFUClass<Wire, Memory>,
}

impl Foreign {
    fn new(memory: Memory) -> Self {
        let wire = Wire::default();
        // The crate wants the bus to outlive the device; a test may leak it.
        let allocator: &'static UsbBusAllocator<Wire> = Box::leak(Box::new(UsbBusAllocator::new(wire.clone())));
        let class = DFUClass::new(allocator, memory);
        let device = UsbDeviceBuilder::new(allocator, UsbVidPid(0x2b04, 0xd00c))
            .strings(&[StringDescriptors::default()
                .manufacturer("Somebody")
                .product("Something")
                .serial_number("e00fce680123456789abcdef")])
            .unwrap()
            .max_packet_size_0(64)
            .unwrap()
            .build();
        let mut foreign = Self { wire, device, class };
        foreign.device.force_reset().ok();
        for setup in ["00 05 05 00 00 00 00 00", "00 09 01 00 00 00 00 00"] {
            let bytes = hex(setup);
            foreign
                .transfer(Setup::from_bytes(bytes.try_into().unwrap()), &[])
                .expect("address and configuration");
        }
        foreign
    }

    fn poll(&mut self) {
        while self.device.poll(&mut [&mut self.class]) {}
    }

    fn stalled(&self) -> bool {
        self.wire.0.lock().unwrap().stalled
    }

    fn transfer(&mut self, setup: Setup, data: &[u8]) -> Result<Vec<u8>, UsbError> {
        *self.wire.0.lock().unwrap() = Wires {
            setup: Some(setup.to_bytes()),
            ..Wires::default()
        };
        self.poll();
        let mut answer = Vec::new();
        if setup.is_in() {
            while !self.stalled() && answer.len() < usize::from(setup.length) {
                let packet = self.wire.0.lock().unwrap().input.pop_front();
                let Some(packet) = packet else { break };
                answer.extend(&packet);
                if packet.len() < PACKET {
                    break;
                }
                self.poll();
            }
            self.wire.0.lock().unwrap().out.push_back(Vec::new());
        } else {
            for packet in data.chunks(PACKET) {
                self.wire.0.lock().unwrap().out.push_back(packet.to_vec());
                self.poll();
            }
        }
        if self.stalled() {
            return Err(UsbError::Stall);
        }
        self.poll();
        Ok(answer)
    }
}

impl Pipe for Foreign {
    fn control(&mut self, setup: Setup, data: &[u8], _: Duration) -> Result<Vec<u8>, UsbError> {
        self.transfer(setup, data)
    }

    fn claim(&mut self, _: u8) -> Result<(), UsbError> {
        Ok(())
    }

    fn set_alternate(&mut self, interface: u8, alternate: u8) -> Result<(), UsbError> {
        self.transfer(set_interface(interface, alternate), &[]).map(drop)
    }
}

/// Time that passes only in sleeps.
#[derive(Default)]
struct Hand(Mutex<Duration>);

impl Clock for Hand {
    fn now(&self) -> Mono {
        Mono(*self.0.lock().unwrap())
    }

    fn wall(&self) -> Wall {
        Wall::from_millis(1_700_000_000_000).unwrap()
    }

    fn sleep(&self, duration: Duration) {
        *self.0.lock().unwrap() += duration;
    }

    fn wait(&self, signal: &Signal, _: u64, deadline: Option<Mono>) -> u64 {
        if let Some(deadline) = deadline {
            *self.0.lock().unwrap() = deadline.0;
        }
        signal.raised()
    }

    fn spawn(&self, _: &str, body: Box<dyn FnOnce() + Send>) -> keyrack::edge::clock::Joiner {
        body();
        Box::new(|| Ok(()))
    }
}

fn link(memory: &Memory) -> (Link, Arc<Hand>) {
    let clock = Arc::new(Hand::default());
    let pipe = Box::new(Foreign::new(memory.clone()));
    let link = Link::new(pipe, clock.clone(), Cancel::new(), Platform::Argon, UsbMode::Dfu);
    (link, clock)
}

#[test]
fn layout_erase_write_read_back_and_leave() {
    let memory = Memory::new();
    let (mut link, clock) = link(&memory);
    let mut dfu = Dfu::open(&mut link).expect("its descriptors");
    let layout = dfu.layout(0).expect("its layout").clone();
    assert_eq!(layout.sectors(0xb_4000..0xb_8000).unwrap().len(), PAGES);
    assert_eq!(dfu.commands().unwrap(), [0x00, 0x21, 0x41]);

    let image: Vec<u8> = (0..10_000u32).map(|i| i.wrapping_mul(0x9e37_79b1).to_le_bytes()[3]).collect();
    dfu.write_image(0, START, &image, true, &mut |_, _| {})
        .expect("write and read back");
    assert_eq!(memory.bytes.lock().unwrap()[..image.len()], image);
    assert_eq!(*memory.erases.lock().unwrap(), [0xb_4000, 0xb_5000, 0xb_6000]);
    assert_eq!(memory.bytes.lock().unwrap()[3 * PAGE..], [0x5a; PAGE], "no page more");
    assert_eq!(*dfu.read(0, START, 10_000).unwrap().bytes.expose(), image);

    // The poll timeouts were honoured: 3 erases and 79 blocks, at least.
    let slept = clock.now().0.as_millis();
    assert!(slept >= 3 * 50 + 79 * 8, "{slept} ms");

    assert_eq!(dfu.leave().unwrap(), Left::Confirmed);
    assert!(*memory.left.lock().unwrap());
}

#[test]
fn a_read_that_does_not_begin_at_the_pointer() {
    let memory = Memory::new();
    for (i, byte) in memory.bytes.lock().unwrap().iter_mut().enumerate() {
        *byte = (i % 251).to_le_bytes()[0];
    }
    let (mut link, _) = link(&memory);
    let mut dfu = Dfu::open(&mut link).unwrap();
    for (offset, length) in [(0, 1), (1, TRANSFER), (77, 3 * TRANSFER + 5), (PAGE - 1, 2)] {
        let read = dfu
            .read(0, START + u32::try_from(offset).unwrap(), u32::try_from(length).unwrap())
            .unwrap();
        assert_eq!(*read.bytes.expose(), memory.bytes.lock().unwrap()[offset..offset + length]);
    }
}

#[test]
fn a_lost_block_is_found_by_reading_back() {
    let memory = Memory {
        rotten: Some(START + 5_000),
        ..Memory::new()
    };
    let (mut link, _) = link(&memory);
    let mut dfu = Dfu::open(&mut link).unwrap();
    let error = dfu.write_image(0, START, &[0x11; 8_192], true, &mut |_, _| {}).unwrap_err();
    assert!(
        matches!(error, keyrack::device::DfuError::Verify { address } if address == START + 5_000 / 128 * 128),
        "{error:?}"
    );
}

#[test]
fn beyond_its_memory() {
    let memory = Memory::new();
    let (mut link, _) = link(&memory);
    let mut dfu = Dfu::open(&mut link).unwrap();
    let error = dfu
        .write_image(0, START + 0x3000, &[0; PAGE + 1], true, &mut |_, _| {})
        .unwrap_err();
    assert!(matches!(error, keyrack::device::DfuError::Plan(_)), "{error:?}");
    assert!(memory.erases.lock().unwrap().is_empty(), "refused before the first erase");
    assert!(dfu.read(0, START + 0x4000, 16).is_err());
}
