//! 3.1 to 3.4: the DFU state machine of each family, request by request.

use keyrack::{edge::UsbError, sim::device::Spec};

use crate::{
    rig::{
        ALL, ARGON, B5SOM, BORON, DNBUSY, DNLOAD_IDLE, DNLOAD_SYNC, ELECTRON, ERROR, GEN2, IDLE, MANIFEST, MSOM, NRF, P2, PHOTON,
        RTL, Rig, UPLOAD_IDLE, spec,
    },
    wire::hex,
};

const ERR_TARGET: u8 = 1;

pub(crate) const ERR_VENDOR: u8 = 0x0b;

pub(crate) const ERR_UNKNOWN: u8 = 0x0e;

/// Flash of each family that an application may be written to: the user part's place.
pub(crate) fn user_part(platform: u16) -> u32 {
    match platform {
        PHOTON => 0x080a_0000,
        ELECTRON => 0x0808_0000,
        P2 | MSOM => 0x085f_0000,
        _ => 0xb_4000,
    }
}

/// nRF and RTL, whose bootloaders share their state machine.
pub(crate) fn later() -> impl Iterator<Item = u16> {
    NRF.into_iter().chain(RTL)
}

#[test]
fn it_starts_idle() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        assert_eq!(
            rig.packet("a1 03 00 00 00 00 06 00").unwrap(),
            hex("00 00 00 00 02 00"),
            "{platform}"
        );
        assert_eq!(rig.state(), IDLE);
    }
}

#[test]
fn a_command_runs_in_the_status_stage_of_the_first_getstatus() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        let pointer = [vec![0x21], user_part(platform).to_le_bytes().to_vec()].concat();
        rig.dnload(0, &pointer).unwrap();
        assert_eq!(rig.state(), DNLOAD_SYNC, "{platform}: GETSTATE moves nothing");
        assert_eq!(rig.state(), DNLOAD_SYNC);
        let busy = rig.status().unwrap();
        assert_eq!((busy.status, busy.state), (0, DNBUSY), "{platform}");
        rig.wait_ms(u64::from(busy.poll));
        let idle = rig.status().unwrap();
        assert_eq!((idle.status, idle.state, idle.text), (0, DNLOAD_IDLE, 0), "{platform}");
        rig.abort().unwrap();
        assert_eq!(rig.state(), IDLE);
    }
}

#[test]
fn nothing_happens_before_the_first_getstatus() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        let at = user_part(platform);
        let old = rig.device.flash(at, 16);
        let erase = [vec![0x41], at.to_le_bytes().to_vec()].concat();
        rig.dnload(0, &erase).unwrap();
        rig.wait_ms(10_000);
        assert_eq!(rig.device.flash(at, 16), old, "{platform}");
        rig.settle().unwrap();
        assert_eq!(rig.device.flash(at, 16), [0xff; 16], "{platform}");
    }
}

#[test]
fn erase_write_read_back() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        let at = user_part(platform);
        let image: Vec<u8> = (0..10_000u32).map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes()[3]).collect();
        let step = if GEN2.contains(&platform) { 128 << 10 } else { 4096 };
        for sector in (0..10_000).step_by(step) {
            let status = rig.erase(at + u32::try_from(sector).unwrap()).unwrap();
            assert_eq!((status.status, status.state), (0, DNLOAD_IDLE));
        }
        assert_eq!(rig.write(at, &image).unwrap().state, DNLOAD_IDLE, "{platform}");
        assert_eq!(rig.device.flash(at, image.len()), image);
        assert_eq!(rig.read(at, image.len()).unwrap(), image);
    }
}

#[test]
fn addresses_count_4096_for_each_block_whatever_is_sent() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        let at = user_part(platform);
        for page in 0..3 {
            rig.erase(at + page * 4096).unwrap();
            if GEN2.contains(&platform) {
                break;
            }
        }
        rig.point(at);
        for (block, byte) in [(2, 0x11), (3, 0x22), (4, 0x33)] {
            rig.dnload(block, &[byte; 64]).unwrap();
            assert_eq!(rig.settle().unwrap().state, DNLOAD_IDLE, "{platform}");
        }
        for (page, byte) in [(0, 0x11), (1, 0x22), (2, 0x33)] {
            assert_eq!(rig.device.flash(at + page * 4096, 64), [byte; 64], "{platform}");
            assert_eq!(rig.device.flash(at + page * 4096 + 64, 64), [0xff; 64], "{platform}");
        }
        rig.abort().unwrap();
        assert_eq!(
            rig.upload(4, 32).unwrap(),
            [0x33; 32],
            "{platform}: the pointer survives ABORT, and UPLOAD counts alike"
        );
    }
}

#[test]
fn upload_states() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        rig.point(user_part(platform));
        assert_eq!(
            rig.upload(2, 4096),
            Err(UsbError::Stall),
            "{platform}: not after a download without ABORT"
        );
        rig.idle();
        rig.point(user_part(platform));
        rig.abort().unwrap();
        assert_eq!(rig.upload(2, 4096).unwrap().len(), 4096);
        assert_eq!(rig.state(), UPLOAD_IDLE, "{platform}");
        assert_eq!(rig.upload(3, 4096).unwrap().len(), 4096);
        assert_eq!(
            rig.dnload(2, &[0; 4]),
            Err(UsbError::Stall),
            "{platform}: no download from here"
        );
        rig.idle();
    }
}

#[test]
fn unexpected_requests() {
    for platform in later() {
        // Stall, dfuERROR, errUNKNOWN; CLRSTATUS gets out of it.
        let mut rig = Rig::dfu(platform);
        assert_eq!(rig.clear(), Err(UsbError::Stall), "{platform}: CLRSTATUS in dfuIDLE");
        let status = rig.status().unwrap();
        assert_eq!((status.status, status.state), (ERR_UNKNOWN, ERROR), "{platform}");
        rig.clear().unwrap();
        assert_eq!(rig.state(), IDLE);
        assert_eq!(rig.put(0x21, 9, 0, 0, &[]), Err(UsbError::Stall), "no such request");
        rig.idle();
        rig.point(user_part(platform));
        assert_eq!(rig.clear(), Err(UsbError::Stall), "{platform}: CLRSTATUS in dfuDNLOAD_IDLE");
        assert_eq!(rig.state(), ERROR);
    }
    for platform in GEN2 {
        let mut rig = Rig::dfu(platform);
        assert_eq!(rig.clear(), Ok(Vec::new()), "{platform}: accepted without a word");
        let status = rig.status().unwrap();
        assert_eq!((status.status, status.state), (ERR_UNKNOWN, ERROR));
        assert_eq!(rig.clear(), Ok(Vec::new()));
        assert_eq!(rig.state(), IDLE);
        assert_eq!(rig.abort(), Ok(Vec::new()));
    }
}

#[test]
fn wrong_commands() {
    // What a DNLOAD to block 0 holds, and the status that it ends in on nRF and RTL.
    let commands: [(&[u8], u8); 4] = [
        (&[0x21, 0, 0, 0, 0, 0], ERR_UNKNOWN), // SET_ADDRESS of another length
        (&[0x21], ERR_UNKNOWN),
        (&[0x41], ERR_TARGET), // mass erase
        (&[0x92], ERR_UNKNOWN),
    ];
    for platform in later() {
        for (bytes, wanted) in commands {
            let mut rig = Rig::dfu(platform);
            let erases = rig.device.counters().erases;
            let _ = rig.dnload(0, bytes);
            let status = rig.settle().unwrap();
            assert_eq!((status.status, status.state), (wanted, ERROR), "{platform}: {bytes:02x?}");
            assert_eq!(rig.device.counters().erases, erases);
            rig.idle();
        }
    }
}

#[test]
fn block_1_is_invalid() {
    for platform in later() {
        let mut rig = Rig::dfu(platform);
        rig.point(user_part(platform));
        let _ = rig.dnload(1, &[0; 16]);
        let status = rig.settle().unwrap();
        assert_eq!(status.state, ERROR, "{platform}");
        assert!(matches!(status.status, ERR_TARGET | ERR_UNKNOWN), "{platform}: {status:?}");
        rig.idle();
        assert_eq!(rig.upload(1, 16), Err(UsbError::Stall), "{platform}");
        assert_eq!(rig.state(), ERROR);
    }
}

#[test]
fn command_lists() {
    let list = |platform: u16, os_version: u16| {
        let mut rig = Rig::boot_dfu(Spec {
            os_version,
            ..spec(platform)
        });
        rig.upload(0, 16).unwrap()
    };
    for platform in later() {
        assert_eq!(list(platform, 6200), hex("00 21 41 fa fb"), "{platform}");
    }
    for platform in [ARGON, BORON, B5SOM] {
        assert_eq!(list(platform, 6101), hex("00 21 41 fa"), "{platform}: 6.1.1");
        assert_eq!(list(platform, 4100), hex("00 21 41"), "{platform}: older");
    }
    for platform in GEN2 {
        let mut rig = Rig::dfu(platform);
        assert_eq!(rig.upload(0, 16).unwrap(), hex("00 21 41"));
        assert_eq!(rig.state(), IDLE, "more than 3 were asked");
        assert_eq!(rig.upload(0, 3).unwrap(), hex("00 21 41"));
        assert_eq!(rig.state(), UPLOAD_IDLE, "3 were asked");
    }
}

#[test]
fn poll_timeouts() {
    for platform in later() {
        let mut rig = Rig::dfu(platform);
        for (alternate, address) in [(0, user_part(platform)), (1, 3106)] {
            rig.alternate(alternate);
            rig.point(address);
            rig.dnload(2, &[0xff; 4]).unwrap();
            assert_eq!(rig.status().unwrap().poll, 0, "{platform}");
            rig.settle().unwrap();
            rig.abort().unwrap();
        }
    }
    for platform in GEN2 {
        let mut rig = Rig::dfu(platform);
        let at = user_part(platform);
        rig.dnload(0, &[vec![0x41], at.to_le_bytes().to_vec()].concat()).unwrap();
        assert_eq!(rig.status().unwrap().poll, 0, "{platform}: internal flash");
        rig.settle().unwrap();
        rig.alternate(1);
        rig.idle();
        rig.point(3106);
        rig.dnload(2, &[0xff; 4]).unwrap();
        assert_eq!(rig.status().unwrap().poll, 1, "{platform}: DCT write, looked up as an erase");
        rig.settle().unwrap();
        rig.dnload(0, &[0x41, 0, 0, 0, 0]).unwrap();
        assert_eq!(rig.status().unwrap().poll, 500, "{platform}: DCT erase, looked up as a write");
        rig.wait_ms(500);
        rig.settle().unwrap();
    }
}

#[test]
fn leaving() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        rig.dnload(2, &[]).unwrap();
        let mut states = Vec::new();
        while let Ok(status) = rig.status() {
            states.push(status.state);
            assert!(states.len() < 10, "{platform}: {states:?}");
            if matches!(status.state, MANIFEST | DNLOAD_IDLE) {
                break;
            }
        }
        let wanted = if GEN2.contains(&platform) { DNLOAD_IDLE } else { MANIFEST };
        assert_eq!(states.last(), Some(&wanted), "{platform}: {states:?}");
        let said = rig.now;
        while rig.device.attachment().is_some() {
            rig.wait_ms(1);
            assert!(rig.now.since(said).as_millis() < 1_000, "{platform}");
        }
        assert!(
            (450..=600).contains(&rig.now.since(said).as_millis()),
            "{platform}: about 500 ms"
        );
        rig.until_attached();
        assert!(!rig.is_dfu());
    }
}

#[test]
fn leaving_from_dnload_idle_is_allowed_and_from_upload_idle_not() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        rig.point(user_part(platform));
        rig.leave();
        assert!(!rig.is_dfu(), "{platform}");
        rig.enter_dfu();
        rig.point(user_part(platform));
        rig.abort().unwrap();
        rig.upload(2, 16).unwrap();
        assert_eq!(rig.dnload(2, &[]), Err(UsbError::Stall), "{platform}");
    }
}

#[test]
fn safe_mode_command() {
    for platform in later() {
        let mut rig = Rig::dfu(platform);
        rig.dnload(0, &[0xfa]).unwrap();
        for _ in 0..5 {
            if rig.status().is_ok_and(|s| s.state == MANIFEST) {
                break;
            }
        }
        rig.until_reattached();
        assert!(!rig.is_dfu() && rig.device.in_safe_mode(), "{platform}");
    }
}

#[test]
fn no_upload_gives_more_than_4096_bytes() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        rig.point(user_part(platform));
        rig.abort().unwrap();
        if let Ok(bytes) = rig.upload(2, 8192) {
            assert!(bytes.len() <= 4096, "{platform}: {}", bytes.len());
        }
    }
}

#[test]
fn a_bus_reset_begins_anew() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        rig.point(user_part(platform));
        let now = rig.now;
        rig.device.bus_reset(now);
        assert!(rig.is_dfu(), "{platform}");
        assert_eq!(rig.state(), IDLE);
    }
}
