//! 5.1 to 5.6 and 8.5: modules that the devices must take and apply, made here and of the vendor's.

use std::path::{Path, PathBuf};

use keyrack::sim::device::{Forge, Spec, StartKey};
use p256::pkcs8::{DecodePublicKey, EncodePublicKey};
use sha2::{Digest, Sha256};

use crate::{
    rig::{ARGON, BORON, ELECTRON, P2, PHOTON, Rig, spec},
    server,
    wire::{Fields, Message, hex},
};

/// START, DATA, FINISH: the first error or 0.
fn push(rig: &mut Rig, image: &[u8]) -> i32 {
    let (result, body) = rig.request(250, &Message::new().int(1, image.len() as u64).done());
    if result != 0 {
        return result;
    }
    let chunk = usize::try_from(Fields::parse(&body).int(1)).unwrap();
    for piece in image.chunks(chunk) {
        let (result, _) = rig.request(253, &Message::new().bytes(1, piece).done());
        if result != 0 {
            return result;
        }
    }
    rig.request(251, &[]).0
}

/// Waits for whatever the device does with an update.
fn until_applied(rig: &mut Rig) {
    rig.wait_ms(5_000);
    rig.until_attached();
    rig.wait_ms(60_000);
    rig.until_attached();
}

fn module(rig: &mut Rig, kind: u64, index: u64) -> Option<Fields> {
    let (result, body) = rig.request(90, &[]);
    assert_eq!(result, 0);
    let modules = Fields::parse(&body).messages(2);
    modules
        .into_iter()
        .find(|m| (m.int(1), m.int(2), m.int(4)) == (kind, index, 0))
}

const ASSET: &str = "000000007a0000000001000000000900000000000000000068656c6c6f1000260000202cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e7304\
                     3362938b982411000900612e74787401000a00ffffffffffff000041151db1223f9324dd05c6adbbe69d5789490c7cd7ffd5a4ecd3976084db0be65d\
                     002d7845b6";
const COMPRESSED_ASSET: &str = "0000000084000000000300000000090000000000000000000800000005000000cb48cdc9c907001000260000202cf24dba5fb0a30e26e83b2ac5b9e2\
                                9e1b161e5c1fa7425e73043362938b982411000900612e74787401000a00ffffffffffff0000c16483f7e63646e80225a71d589d8a0b9d7d5c7b0ac0\
                                340e6bbed2c0c97a6c2a5d00df58ff82";

#[test]
fn the_golden_asset_modules() {
    for platform in [BORON, P2] {
        for golden in [ASSET, COMPRESSED_ASSET] {
            let mut rig = Rig::normal(platform);
            assert_eq!(push(&mut rig, &hex(golden)), 0, "{platform}");
            until_applied(&mut rig);
            let (result, body) = rig.request(91, &[]);
            assert_eq!(result, 0);
            let available = Fields::parse(&body).messages(1);
            assert_eq!(available.len(), 1, "{platform}");
            assert_eq!(available[0].text(2), "a.txt");
            assert_eq!(available[0].bytes(1).unwrap(), Sha256::digest(b"hello").as_slice());
            assert_eq!(available[0].int(3), 5, "the original size");
        }
    }
    let mut torn = hex(ASSET);
    torn[25] ^= 1;
    assert!(push(&mut Rig::normal(BORON), &torn) < 0);
}

fn bootloader(protects: bool, version: u16) -> Vec<u8> {
    Forge {
        combined: false,
        platform: BORON,
        function: 2,
        index: 0,
        version,
        needs: Vec::new(),
        start: 0xf_4000,
        length: 0xb800,
        product: (0xffff, 0xffff),
        protects,
        seed: 21,
    }
    .build()
}

#[test]
fn a_bootloader_goes_through_the_update_path() {
    let mut rig = Rig::normal(BORON);
    let image = bootloader(false, 3_200);
    assert_eq!(push(&mut rig, &image), 0);
    until_applied(&mut rig);
    assert_eq!(rig.device.flash(0xf_4000, image.len()), image);
    assert_eq!(module(&mut rig, 2, 0).unwrap().int(3), 3_200);
}

#[test]
fn a_protecting_bootloader_protects_from_the_next_boot_on() {
    // 2.9: the mode is decided at boot, by the extension in the suffix of the bootloader.
    let mut rig = Rig::boot(Spec {
        server: server::protected(BORON).server,
        ..spec(BORON)
    });
    assert_eq!(push(&mut rig, &bootloader(true, 3_200)), 0);
    until_applied(&mut rig);
    assert!(rig.device.is_protected());
    assert_eq!(rig.request(90, &[]).0, -1801);
    server::open(&mut rig);
    let security = module(&mut rig, 2, 0).unwrap().messages(12).remove(0);
    assert_eq!(security.int(1), 1, "PROTECTED");
    assert_eq!(push(&mut rig, &bootloader(false, 3_201)), 0);
    until_applied(&mut rig);
    assert!(!rig.device.is_protected(), "and an open one opens");
}

#[test]
fn ncp_firmware_on_an_argon() {
    let mut rig = Rig::normal(ARGON);
    let before = module(&mut rig, 7, 0).map(|m| m.int(3));
    let image = Forge {
        combined: false,
        platform: ARGON,
        function: 7,
        index: 0,
        version: 9,
        needs: Vec::new(),
        start: 0,
        length: 64 << 10,
        product: (0xffff, 0xffff),
        protects: false,
        seed: 2,
    }
    .build();
    assert_eq!(push(&mut rig, &image), 0);
    until_applied(&mut rig);
    assert_eq!(module(&mut rig, 7, 0).map(|m| m.int(3)), Some(9), "it was {before:?}");
}

// The vendor's files.

fn shared(name: &str) -> Option<Vec<u8>> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let root = std::env::var_os("KEYRACK_SHARED").map_or(own, PathBuf::from);
    let found = std::fs::read(root.join("data").join(name)).ok();
    if found.is_none() {
        println!("not run: ../shared/data is not here");
    }
    found
}

fn flash(rig: &mut Rig, at: u32, image: &[u8], sector: usize) {
    for offset in (0..image.len()).step_by(sector) {
        rig.erase(at + u32::try_from(offset).unwrap()).unwrap();
    }
    rig.write(at, image).unwrap();
}

#[test]
fn tinker_boots_on_each_family() {
    for (platform, name, at, sector) in [
        (ARGON, "firmware/argon-tinker-620.bin", 0xb_4000, 4096),
        (P2, "firmware/p2-tinker-5.0.0.bin", 0x085f_4000, 4096),
        (PHOTON, "firmware/photon-tinker-0.4.5.bin", 0x080a_0000, 128 << 10),
        (ELECTRON, "firmware/electron-tinker.bin", 0x0808_0000, 128 << 10),
    ] {
        let Some(image) = shared(name) else { return };
        let mut rig = Rig::dfu(platform);
        flash(&mut rig, at, &image, sector);
        rig.leave();
        assert!(!rig.is_dfu() && !rig.device.in_safe_mode(), "{name}");
        assert_eq!(rig.device.flash(at, image.len()), image);
    }
}

#[test]
fn the_vendors_bootloader_through_the_update_path() {
    let Some(image) = shared("firmware/argon-bootloader-620.bin") else {
        return;
    };
    let mut rig = Rig::boot(Spec {
        os_version: 6101,
        ..spec(ARGON)
    });
    assert_eq!(push(&mut rig, &image), 0);
    until_applied(&mut rig);
    assert_eq!(rig.device.flash(0xf_4000, image.len()), image);
    assert_eq!(module(&mut rig, 2, 0).unwrap().int(3), 3001);
    assert_eq!(push(&mut Rig::normal(BORON), &image), -1360, "another platform");
}

#[test]
fn the_vendors_older_bootloader_is_too_old_for_6_2_0() {
    // 5.6: 6.2.0 goes with bootloader 3100; a system whose dependency is not met does not start.
    let Some(image) = shared("firmware/argon-bootloader-620.bin") else {
        return;
    };
    let mut rig = Rig::normal(ARGON);
    let needs = rig.device.flash(0x2_8200 + 16, 8);
    let wanted = needs.chunks(4).find(|d| d[0] == 2).map(|d| u16::from_le_bytes([d[2], d[3]]));
    assert!(wanted.is_some_and(|version| version > 3001), "{wanted:?}");
    push(&mut rig, &image);
    until_applied(&mut rig);
    assert!(
        rig.is_dfu() || rig.device.flash(0xf_4000, image.len()) != image,
        "stays in DFU mode, or never took it"
    );
}

#[test]
fn a_system_part_of_4_1_0_starts_at_0x30000() {
    // 5.4: take the address from the header, never from the platform.
    let Some(image) = shared("firmware/argon-system-part1-4.1.0.bin") else {
        return;
    };
    let mut rig = Rig::boot(Spec {
        installed: vec![image.clone()],
        os_version: 4100,
        ..spec(ARGON)
    });
    assert_eq!(rig.device.flash(0x3_0000, image.len()), image);
    assert!(!rig.is_dfu());
    assert_eq!(rig.packet("c0 50 00 00 1e 00 40 00").unwrap(), b"4.1.0");
}

#[test]
fn the_vendors_product_firmware_tells_its_product() {
    let Some(image) = shared("firmware/electron-product-8178-v13.bin") else {
        return;
    };
    let mut rig = Rig::dfu(ELECTRON);
    let at = u32::from_le_bytes(image[..4].try_into().unwrap());
    flash(&mut rig, at, &image, 128 << 10);
    rig.happened.clear();
    rig.leave();
    rig.wait_ms(60_000);
    let dial = rig.happened.iter().find_map(|(_, h)| match h {
        keyrack::sim::device::Happening::Dial(dial) => Some(dial.clone()),
        _ => None,
    });
    let dial = dial.expect("it dials");
    assert_eq!((dial.product_id, dial.product_version), (8178, 13));
}

#[test]
fn key_encodings_that_were_tried_on_device_os() {
    let Some(public) = shared("keys/p256.pub.pem") else { return };
    let public = p256::PublicKey::from_public_key_pem(&String::from_utf8(public).unwrap()).unwrap();
    let spki = public.to_public_key_der().unwrap().as_bytes().to_vec();
    for name in ["keys/p256-sec1-121.der", "keys/p256-sec1-122.der"] {
        let rig = Rig::boot(Spec {
            key: StartKey::Raw(shared(name).unwrap()),
            ..spec(BORON)
        });
        assert_eq!(rig.device.key_spki(), Some(spki.clone()), "{name}: connects");
    }
    let rsa = |name| {
        let rig = Rig::boot(Spec {
            key: StartKey::Raw(shared(name).unwrap()),
            ..spec(PHOTON)
        });
        rig.device.key_spki()
    };
    let pem = String::from_utf8(shared("keys/rsa1024.pub.pem").unwrap()).unwrap();
    let public = rsa::PublicKey::from_public_key_pem(&pem).unwrap();
    let spki = rsa::pkcs8::EncodePublicKey::to_public_key_der(&public).unwrap();
    assert_eq!(
        rsa("keys/rsa1024-device-layout.der").as_deref(),
        Some(spki.as_bytes()),
        "connects"
    );
    assert_eq!(rsa("keys/rsa1024-canonical-misread.der"), None, "never can");
}
