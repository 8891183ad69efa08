//! A DFU host of other people's making, the crate dfu-core, against the simulated devices.
//!
//! Its known limits decide what is asserted: it takes its erase steps from the start of the layout whatever the address, has no
//! upload, and expects dfuMANIFEST at the end. Its state machine is driven without its own sleeping.

use std::{cell::RefCell, time::Duration};

use dfu_core::{DfuIo, DfuProtocol, DfuSansIo, State, download, functional_descriptor::FunctionalDescriptor, get_status};
use keyrack::edge::UsbError;

use crate::{
    model_dfu::user_part,
    rig::{ARGON, B5SOM, BORON, ELECTRON, MSOM, P2, PHOTON, Rig},
};

#[derive(Debug, thiserror::Error)]
enum HostError {
    #[error("{0}")]
    Usb(UsbError),
    #[error("{0:?}")]
    Dfu(dfu_core::Error),
}

impl From<dfu_core::Error> for HostError {
    fn from(error: dfu_core::Error) -> Self {
        Self::Dfu(error)
    }
}

/// What that host asks of the machine that it runs on.
struct Io {
    rig: RefCell<Rig>,
    protocol: DfuProtocol<Vec<u32>>,
    functional: FunctionalDescriptor,
}

impl DfuIo for Io {
    type Read = usize;
    type Write = usize;
    type Reset = ();
    type Error = HostError;
    type MemoryLayout = Vec<u32>;

    fn read_control(&self, request_type: u8, request: u8, value: u16, buffer: &mut [u8]) -> Result<usize, HostError> {
        let length = u16::try_from(buffer.len()).unwrap();
        let mut rig = self.rig.borrow_mut();
        // The direction is for the adapter to set.
        let bytes = rig
            .get(request_type | 0x80, request, value, 0, length)
            .map_err(HostError::Usb)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn write_control(&self, request_type: u8, request: u8, value: u16, buffer: &[u8]) -> Result<usize, HostError> {
        let mut rig = self.rig.borrow_mut();
        rig.put(request_type, request, value, 0, buffer).map_err(HostError::Usb)?;
        Ok(buffer.len())
    }

    fn usb_reset(self) -> Result<(), HostError> {
        panic!("these devices detach by themselves")
    }

    fn protocol(&self) -> &DfuProtocol<Vec<u32>> {
        &self.protocol
    }

    fn functional_descriptor(&self) -> &FunctionalDescriptor {
        &self.functional
    }
}

/// Opens the alternate setting 0 of a device as that host wants it: page sizes from the layout string, letters thrown away.
fn open(mut rig: Rig) -> Io {
    let configuration = rig.descriptor(2, 0).unwrap();
    let string = rig.string(configuration[9 + 8]).unwrap();
    let functional = &configuration[configuration.len() - 9..];
    let mut parts = string.split('/').skip(1);
    let address = u32::from_str_radix(parts.next().unwrap().trim_start_matches("0x"), 16).unwrap();
    let mut pages = Vec::new();
    for segment in parts.next().unwrap().split(',') {
        let (count, size) = segment.split_once('*').unwrap();
        let kib: u32 = size[..size.len() - 2].parse().unwrap();
        pages.extend(vec![kib << 10; count.parse().unwrap()]);
    }
    Io {
        rig: RefCell::new(rig),
        protocol: DfuProtocol::Dfuse {
            address,
            memory_layout: pages,
        },
        functional: FunctionalDescriptor::from_bytes(functional).unwrap().unwrap(),
    }
}

/// GETSTATUS until the state that `command` waits for is reached.
fn wait_status<T>(io: &Io, mut command: get_status::WaitState<T>) -> Result<T, HostError> {
    let mut buffer = [0; 6];
    loop {
        command = match command.next() {
            get_status::Step::Break(next) => return Ok(next),
            get_status::Step::Wait(command, poll) => {
                io.rig.borrow_mut().wait(Duration::from_millis(poll));
                let (command, mut control) = command.get_status(&mut buffer);
                let length = control.execute(io)?;
                command.chain(&buffer[..length])??
            }
        };
    }
}

/// A whole download. `None` takes the address from the layout.
fn download(io: &Io, address: Option<u32>, image: &[u8]) -> Result<(), HostError> {
    let mut machine = DfuSansIo::new(io.functional);
    if let Some(address) = address {
        machine.set_address(address);
    }
    let mut buffer = [0; 6];
    let start = machine.download(&io.protocol, u32::try_from(image.len()).unwrap())?;
    let (command, mut control) = start.get_status(&mut buffer);
    let length = control.execute(io)?;
    let (command, clear) = command.chain(&buffer[..length])?;
    if let Some(clear) = clear {
        clear.execute(io)?;
    }
    let (command, mut control) = command.get_status(&mut buffer);
    let length = control.execute(io)?;
    let mut work = command.chain(&buffer[..length])??;
    let mut rest = image;
    loop {
        work = match work.next() {
            download::Step::Break => return Ok(()),
            download::Step::UsbReset => panic!("these devices detach by themselves"),
            download::Step::Erase(erase) => {
                let (command, control) = erase.erase()?;
                control.execute(io)?;
                wait_status(io, command)?
            }
            download::Step::SetAddress(set) => {
                let (command, control) = set.set_address();
                control.execute(io)?;
                wait_status(io, command)?
            }
            download::Step::DownloadChunk(chunk) => {
                let (now, later) = rest.split_at(rest.len().min(4096));
                let (command, control) = chunk.download(now)?;
                control.execute(io)?;
                rest = later;
                wait_status(io, command)?
            }
        };
    }
}

fn image(length: u32) -> Vec<u8> {
    (0..length).map(|i| i.wrapping_mul(0x0101_4f6b).to_le_bytes()[3]).collect()
}

#[test]
fn it_flashes_nrf_and_rtl_and_leaves() {
    // Every page has 4 KiB, so its steps are right.
    for platform in [ARGON, BORON, B5SOM, P2, MSOM] {
        let io = open(Rig::dfu(platform));
        let (at, image) = (user_part(platform), image(20_000));
        download(&io, Some(at), &image).unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        let mut rig = io.rig.into_inner();
        assert_eq!(rig.device.flash(at, image.len()), image, "{platform}");
        assert_eq!(rig.device.counters().erases, 5);
        rig.until_reattached();
        assert!(!rig.is_dfu(), "{platform}: it left DFU mode");
    }
}

#[test]
fn on_gen_2_it_writes_and_then_misses_the_end() {
    // 3.4: Gen 2 reports dfuDNLOAD_IDLE where the standard wants dfuMANIFEST.
    for platform in [PHOTON, ELECTRON] {
        let io = open(Rig::dfu(platform));
        let (at, image) = (user_part(platform), image(20_000));
        let outcome = download(&io, Some(at), &image);
        assert!(
            matches!(
                outcome,
                Err(HostError::Dfu(dfu_core::Error::InvalidState {
                    got: State::DfuDnloadIdle,
                    ..
                }))
            ),
            "{platform}: {outcome:?}"
        );
        let mut rig = io.rig.into_inner();
        assert_eq!(rig.device.flash(at, image.len()), image, "{platform}: the image is there");
        // Two steps of 16 KiB, of a layout that begins elsewhere: the same sector of 128 KiB twice.
        assert_eq!(rig.device.counters().erases, 2);
        rig.until_reattached();
        assert!(!rig.is_dfu(), "{platform}: and the device left all the same");
    }
}

#[test]
fn on_gen_2_it_cannot_start_from_the_layout() {
    // It throws the letters away, and the first sector is the bootloader.
    let io = open(Rig::dfu(PHOTON));
    let before = io.rig.borrow().device.flash(0x0800_0000, 0x4000);
    let outcome = download(&io, None, &image(4096));
    assert!(outcome.is_err(), "refused by the device: {outcome:?}");
    assert_eq!(io.rig.borrow().device.flash(0x0800_0000, 0x4000), before);
}

#[test]
fn it_begins_with_a_device_in_dfu_error() {
    let mut rig = Rig::dfu(BORON);
    let _ = rig.clear();
    assert_eq!(rig.state(), crate::rig::ERROR);
    let io = open(rig);
    let image = image(4096);
    download(&io, Some(0xb_4000), &image).expect("GETSTATUS, CLRSTATUS, and on");
    assert_eq!(io.rig.borrow().device.flash(0xb_4000, 4096), image);
}
