//! 1.1 to 1.5 and 8.4: what each family says of itself in both modes.

use crate::{
    rig::{ALL, ARGON, B5SOM, BORON, ELECTRON, GEN2, NRF, P2, PHOTON, RTL, Rig, TRACKER, spec},
    server,
    wire::hex,
};
use keyrack::sim::device::Spec;

/// Splits a configuration into its descriptors.
fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some(&length) = bytes.first() {
        let (part, rest) = bytes.split_at(length.into());
        parts.push(part);
        bytes = rest;
    }
    parts
}

#[test]
fn product_ids_follow_the_rule() {
    for platform in ALL {
        let mut rig = Rig::normal(platform);
        let normal = rig.device.attachment().unwrap();
        assert_eq!((normal.vendor, normal.product), (0x2b04, 0xc000 | platform));
        rig.enter_dfu();
        let dfu = rig.device.attachment().unwrap();
        assert_eq!((dfu.vendor, dfu.product), (0x2b04, 0xd000 | platform));
        assert_eq!(normal.serial, rig.device.id().to_string());
        assert_eq!(normal.serial, dfu.serial);
        assert!(normal.serial.len() == 24 && normal.serial.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
    }
}

#[test]
fn device_descriptor_in_normal_mode() {
    for platform in ALL {
        let mut rig = Rig::normal(platform);
        let device = rig.descriptor(1, 0).unwrap();
        assert_eq!(device.len(), 18);
        assert_eq!(device[4..7], [0xef, 2, 1], "{platform}: composite");
        let release = u16::from_le_bytes([device[12], device[13]]);
        let wanted = if GEN2.contains(&platform) { 0x0250 } else { 0x0251 };
        assert_eq!(release, wanted, "{platform}");
        assert_eq!(u16::from_le_bytes([device[10], device[11]]), 0xc000 | platform);
        assert_eq!(rig.string(device[16]).unwrap(), rig.device.id().to_string());
    }
}

#[test]
fn device_descriptor_in_dfu_mode() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        let device = rig.descriptor(1, 0).unwrap();
        assert_eq!(device[2..4], [0x00, 0x02], "bcdUSB 2.00");
        assert_eq!(device[4..7], [0, 0, 0]);
        let release = u16::from_le_bytes([device[12], device[13]]);
        let wanted = match platform {
            p if GEN2.contains(&p) => 0x0250,
            p if NRF.contains(&p) => 0x0251,
            _ => 0x0252,
        };
        assert_eq!(release, wanted, "{platform}");
        assert_eq!(device[14..17], [1, 2, 3], "manufacturer, product, serial");
        assert_eq!(rig.string(1).unwrap(), "Particle");
        assert!(rig.string(2).unwrap().ends_with("DFU Mode"));
        assert_eq!(rig.string(3).unwrap(), rig.device.id().to_string());
    }
}

#[test]
fn control_interface_is_found_by_its_class_not_its_number() {
    for platform in ALL {
        let mut rig = Rig::normal(platform);
        let configuration = rig.descriptor(2, 0).unwrap();
        assert_eq!(
            usize::from(u16::from_le_bytes([configuration[2], configuration[3]])),
            configuration.len()
        );
        let found: Vec<u8> = split(&configuration)
            .into_iter()
            .filter(|d| d[1] == 4 && d[4] == 0 && d[5..8] == [0xff, 0xff, 0xff])
            .map(|d| d[2])
            .collect();
        assert_eq!(found, [if RTL.contains(&platform) { 0 } else { 2 }], "{platform}");
        let index = split(&configuration)
            .into_iter()
            .find(|d| d[1] == 4 && d[5] == 0xff)
            .map(|d| d[8])
            .unwrap();
        assert!(rig.string(index).unwrap().ends_with("Control Interface"), "{platform}");
    }
}

#[test]
fn the_frozen_boron_configuration() {
    let mut rig = Rig::dfu(BORON);
    let frozen = hex("09022d00010104c0320904000000fe0102060904000100fe0102070904000200fe01020809210bff0000101a01");
    assert_eq!(rig.descriptor(2, 0).unwrap(), frozen);
    // The host reads four bytes first, for the whole length.
    assert_eq!(rig.get(0x80, 6, 0x0200, 0, 4).unwrap(), frozen[..4]);
}

#[test]
fn functional_descriptor_is_the_same_everywhere_and_appears_once() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        let configuration = rig.descriptor(2, 0).unwrap();
        let parts = split(&configuration);
        let functional: Vec<_> = parts.iter().filter(|d| d[1] == 0x21).collect();
        assert_eq!(functional, [&hex("09210bff0000101a01").as_slice()], "{platform}");
        assert_eq!(parts.last().unwrap()[1], 0x21, "after the last alternate setting");
        for (alternate, part) in parts.iter().filter(|d| d[1] == 4).enumerate() {
            assert_eq!(part[2], 0, "one interface");
            assert_eq!(usize::from(part[3]), alternate);
            assert_eq!(part[4..8], [0, 0xfe, 1, 2]);
        }
    }
}

#[test]
fn memory_maps_of_each_family() {
    const STM: &str = "@Internal Flash   /0x08000000/03*016Ka,01*016Kg,01*064Kg,07*128Kg";
    const NRF_MAP: &str = "@Internal Flash   /0x00000000/1*004Ka,47*004Kg,192*004Kg,4*004Kg,4*004Kg,8*004Ka";
    const RTL_MAP: &str = "@Internal Flash   /0x08000000/2048*004Kg";
    const FOUR: &str = "@External Flash   /0x80000000/1024*004Kg";
    const EIGHT: &str = "@External Flash   /0x80000000/2048*004Kg";
    const STM_DCT: &str = "@DCT Flash   /0x00000000/01*016Kg";
    const DCT: &str = "@DCT Flash   /0x00000000/1*016Ke";
    let wanted: [(u16, &[&str]); 8] = [
        (PHOTON, &[STM, STM_DCT]),
        (ELECTRON, &[STM, STM_DCT]),
        (ARGON, &[NRF_MAP, DCT, FOUR]),
        (BORON, &[NRF_MAP, DCT, FOUR]),
        (B5SOM, &[NRF_MAP, DCT, EIGHT]),
        (TRACKER, &[NRF_MAP, DCT, EIGHT]),
        (P2, &[RTL_MAP, DCT]),
        (crate::rig::MSOM, &[RTL_MAP, DCT]),
    ];
    for (platform, maps) in wanted {
        let mut rig = Rig::dfu(platform);
        let configuration = rig.descriptor(2, 0).unwrap();
        let indexes: Vec<u8> = split(&configuration).iter().filter(|d| d[1] == 4).map(|d| d[8]).collect();
        let found: Vec<String> = indexes.iter().map(|index| rig.string(*index).unwrap()).collect();
        assert_eq!(found, maps, "{platform}");
    }
}

#[test]
fn state_string_tells_the_protection_state() {
    for platform in NRF.into_iter().chain(RTL) {
        let mut rig = Rig::dfu(platform);
        let text = rig.string(0xfa).unwrap();
        assert_eq!(text.trim_end_matches('\0'), "sm=o", "{platform}");
    }
    let mut old = Rig::boot_dfu(Spec {
        os_version: 6101,
        ..spec(BORON)
    });
    assert_eq!(old.string(0xfa), None, "absent from 6.1.1");
    let mut photon = Rig::dfu(PHOTON);
    assert_eq!(photon.string(0xfa), None, "Gen 2 has none");
}

#[test]
fn letters_of_a_protected_device_are_all_b() {
    for platform in [ARGON, TRACKER, P2] {
        let mut rig = server::protected_in_dfu(platform);
        assert_eq!(rig.string(0xfa).unwrap().trim_end_matches('\0'), "sm=p");
        let configuration = rig.descriptor(2, 0).unwrap();
        let indexes: Vec<u8> = split(&configuration).iter().filter(|d| d[1] == 4).map(|d| d[8]).collect();
        for index in indexes {
            let map = rig.string(index).unwrap();
            let list = map.rsplit('/').next().unwrap();
            assert!(list.split(',').all(|segment| segment.ends_with('b')), "{platform}: {map}");
        }
    }
}

#[test]
fn windows_descriptors() {
    for platform in ALL {
        let mut rig = Rig::normal(platform);
        for guid in [
            "{20b6cfa4-6dc7-468a-a8db-faa7c23ddea5}",
            "{37fb5f90-1a34-4929-933b-8a27e1850033}",
        ] {
            let string = rig.string_bytes(0xee).unwrap();
            assert_eq!(string, hex("12 03 4d00 5300 4600 5400 3100 3000 3000 ee00"), "MSFT100");
            let compatible = rig.get(0xc0, 0xee, 0, 4, 255).unwrap();
            assert!(compatible.windows(6).any(|w| w == b"WINUSB"), "{platform}");
            let properties = rig.get(0xc1, 0xee, 0, 5, 1024).unwrap();
            let wide: Vec<u8> = guid.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let folded = properties.to_ascii_lowercase();
            assert!(folded.windows(wide.len()).any(|w| w == wide), "{platform}: {guid}");
            if !rig.is_dfu() {
                rig.enter_dfu();
            }
        }
    }
}

#[test]
fn very_old_gen_2_bootloaders_have_one_serial_for_all() {
    let mut rig = Rig::boot(Spec {
        fixed_dfu_serial: true,
        ..spec(PHOTON)
    });
    assert_eq!(rig.device.attachment().unwrap().serial, rig.device.id().to_string());
    rig.enter_dfu();
    assert_eq!(rig.device.attachment().unwrap().serial, "00000000010C");
    assert_eq!(rig.string(3).unwrap(), "00000000010C");
}

#[test]
fn the_console_beside_the_control_interface() {
    for platform in ALL {
        let mut rig = Rig::normal(platform);
        let configuration = rig.descriptor(2, 0).unwrap();
        let classes: Vec<(u8, u8)> = split(&configuration)
            .iter()
            .filter(|d| d[1] == 4 && d[3] == 0)
            .map(|d| (d[2], d[5]))
            .collect();
        let wanted = if RTL.contains(&platform) {
            [(0, 0xff), (1, 0x02), (2, 0x0a)]
        } else {
            [(0, 0x02), (1, 0x0a), (2, 0xff)]
        };
        let mut sorted = classes;
        sorted.sort_unstable();
        assert_eq!(sorted, wanted, "{platform}");
    }
}
