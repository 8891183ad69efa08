//! Tests that a device that answers nonsense gets an error, and never a panic or an endless talk.

use std::{sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::{
    Cancel, Control, Dfu, KeyStore, Link, cloud_state, identify, network,
    script::TestClock,
    service_mode::{self, Countersign, Countersigned, NoHelp, Nonce, Prepared},
    update,
};
use crate::{
    edge::{Attached, Pipe, Setup, UsbError},
    model::{Fingerprint, Platform, platform::UsbMode, recipe::Wifi},
};

/// Plays answers whatever is asked, and is gone at their end.
struct Noise(std::vec::IntoIter<Result<Vec<u8>, UsbError>>);

impl Pipe for Noise {
    fn control(&mut self, setup: Setup, data: &[u8], timeout: Duration) -> Result<Vec<u8>, UsbError> {
        assert!(timeout >= Duration::from_millis(1));
        assert!(setup.is_in() || data.len() == usize::from(setup.length));
        // Longer than asked for, too: a real pipe would not, and nobody should depend on it.
        self.0.next().unwrap_or(Err(UsbError::Gone))
    }
    fn claim(&mut self, _interface: u8) -> Result<(), UsbError> {
        Ok(())
    }
    fn set_alternate(&mut self, _interface: u8, _alternate: u8) -> Result<(), UsbError> {
        Ok(())
    }
}

/// Mostly what could be true, some of it not.
fn answer() -> impl Strategy<Value = Result<Vec<u8>, UsbError>> {
    let usb = prop_oneof![Just(UsbError::Stall), Just(UsbError::Timeout), Just(UsbError::Io)];
    let reply = (0_u8..16, 0_u8..7, 0_u32..70_000, -2000_i32..10).prop_map(|(flags, status, size, result)| {
        let mut bytes = vec![flags | 1, 0, 0, 0, status, 0];
        if flags & 2 != 0 {
            bytes.extend([1, 0]);
        }
        if flags & 4 != 0 {
            bytes.extend(size.to_le_bytes());
        }
        if flags & 8 != 0 {
            bytes.extend(result.to_le_bytes());
        }
        bytes
    });
    let status = (0_u8..17, 0_u8..12, any::<u8>()).prop_map(|(status, state, poll)| vec![status % 3, poll, 0, 0, state, status]);
    prop_oneof![
        3 => reply.prop_map(Ok),
        3 => status.prop_map(Ok),
        1 => vec(any::<u8>(), 0..80).prop_map(Ok),
        1 => Just(Ok(b"E00FCE680123456789ABCDEF".to_vec())),
        1 => Just(Ok(Vec::new())),
        1 => usb.prop_map(Err),
    ]
}

fn link(answers: Vec<Result<Vec<u8>, UsbError>>, platform: Platform, mode: UsbMode) -> Link {
    let pipe = Box::new(Noise(answers.into_iter()));
    Link::new(pipe, Arc::new(TestClock::default()), Cancel::new(), platform, mode)
}

/// The descriptors that let DFU open, with nonsense behind them.
fn opened(noise: Vec<Result<Vec<u8>, UsbError>>) -> Vec<Result<Vec<u8>, UsbError>> {
    let whole = super::script::hex("09021b00010104c0320904000000fe01020609210bff0000101a01");
    let text: Vec<u8> = "@X/0x00000000/256*4Kg".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let string = [&[text.len() as u8 + 2, 3][..], &text].concat();
    let mut all = vec![Ok(whole[..9].to_vec()), Ok(whole), Ok(string)];
    all.extend(noise);
    all
}

/// A cloud that signs whatever it is shown.
struct Careless;

impl Countersign for Careless {
    fn nonce(&mut self) -> Result<Nonce, NoHelp> {
        Ok(Nonce([1; 32]))
    }
    fn sign(&mut self, _: &Prepared) -> Result<Countersigned, NoHelp> {
        Ok(Countersigned {
            signature: vec![2; 70],
            server_key: Fingerprint([3; 32]),
        })
    }
}

proptest! {
    #[test]
    fn identifying_noise(answers in vec(answer(), 0..120), dfu: bool, serial in proptest::option::of("[0-9a-f]{24}|.{0,30}")) {
        let mode = if dfu { UsbMode::Dfu } else { UsbMode::Normal };
        for platform in [Platform::Boron, Platform::Electron, Platform::P2] {
            let attached = Attached {
                port: "pci/1".parse().unwrap(),
                address: 1,
                vendor: 0,
                product: 0,
                serial: serial.clone(),
            };
            let mut link = link(answers.clone(), platform, mode);
            if let Err(error) = identify(&mut link, &attached) {
                prop_assert!(!error.to_string().is_empty() && !error.code().text().is_empty());
            }
        }
    }

    #[test]
    fn writing_to_noise(answers in vec(answer(), 0..200)) {
        for platform in [Platform::Boron, Platform::Photon] {
            let mut link = link(opened(answers.clone()), platform, UsbMode::Dfu);
            let Ok(mut dfu) = Dfu::open(&mut link) else { continue };
            // Nothing that noise says is proof of a write.
            let written = dfu.write_image(0, 0x2_8000, &[0x5a; 9000], true, &mut |_, _| ());
            prop_assert!(written.is_err());
            let _ = dfu.protection();
            let _ = KeyStore::new(&mut dfu).read_twice();
            let _ = dfu.leave();
        }
    }

    #[test]
    fn updating_noise(answers in vec(answer(), 0..200)) {
        let mut link = link(answers, Platform::P2, UsbMode::Normal);
        let Ok(mut control) = Control::open(&mut link) else { return Ok(()) };
        let deadline = control.within(Duration::from_secs(60));
        let _ = update::send(&mut control, &[1; 5000], deadline, &mut |_, _| {});
        let wifi = Wifi { ssid: "net".into(), password: Some("pw".to_owned().into()) };
        let _ = network::set_wifi(&mut control, &wifi);
    }

    #[test]
    fn opening_noise(answers in vec(answer(), 0..120), dfu: bool) {
        let mut running = link(answers.clone(), Platform::P2, UsbMode::Normal);
        if let Ok(mut control) = Control::open(&mut running) {
            let deadline = control.within(Duration::from_secs(20));
            let _ = cloud_state::watch(&mut control, deadline);
            let _ = service_mode::enter(&mut control, &mut Careless);
        }
        let mode = if dfu { UsbMode::Dfu } else { UsbMode::Normal };
        let answers = if dfu { opened(answers) } else { answers };
        let _ = service_mode::end(&mut link(answers.clone(), Platform::Boron, mode));
        let _ = service_mode::verify_protected(&mut link(answers.clone(), Platform::Boron, mode));
        if dfu {
            let _ = service_mode::leave_dfu(&mut link(answers, Platform::Boron, mode));
        }
    }
}
