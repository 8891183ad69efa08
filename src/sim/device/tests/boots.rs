//! What a boot makes of the flash, torn writes, and what survives.

use super::*;

fn forge(platform: u16, function: u8, index: u8, start: u32, version: u16, needs: &[(u8, u8, u16)]) -> Vec<u8> {
    Forge {
        platform,
        function,
        index,
        version,
        needs: needs.to_vec(),
        start,
        length: 8 << 10,
        product: (0xffff, 0xffff),
        combined: false,
        protects: false,
        seed: 3,
    }
    .build()
}

#[test]
fn every_platform_boots_its_factory_set() {
    for platform in [6, 8, 10, 12, 13, 14, 15, 22, 23, 24, 25, 26, 28, 32, 35, 37, 38] {
        let host = Host::platform(platform);
        let attached = host.device.attachment().unwrap();
        assert_eq!((attached.vendor, attached.product), (0x2b04, 0xc000 | platform));
        assert!(!host.device.in_safe_mode(), "{platform}");
        let radio = !matches!(platform, 14 | 24);
        let wifi_only = matches!(platform, 6 | 8 | 12 | 22 | 32 | 38);
        let dials = host.device.counters().dials;
        assert_eq!(dials, u64::from(radio && !wifi_only), "{platform} dials if it has a network");
    }
    assert!(!Device::knows(42) && Device::knows(13));
}

#[test]
fn without_a_whole_system_it_stays_in_dfu_mode() {
    for (platform, system) in [(13, 0x2_8000), (32, 0x0806_0000), (6, 0x0806_0000), (10, 0x0804_0000)] {
        let mut host = Host::dfu(platform);
        let whole = host.device.flash(system, 32 << 10);
        host.erase(system).unwrap();
        host.leave();
        assert_eq!(host.device.attachment().unwrap().product & 0xf000, 0xd000, "{platform}");
        host.power_cycle();
        assert_eq!(host.device.attachment().unwrap().product & 0xf000, 0xd000);
        host.flash(&whole, system);
        host.leave();
        assert_eq!(host.device.attachment().unwrap().product & 0xf000, 0xc000, "repaired");
    }
}

#[test]
fn one_wrong_bit_in_the_system_is_enough() {
    let mut host = Host::dfu(13);
    let mut block = host.device.flash(0x2_9000, 4096);
    block[77] ^= 1;
    host.erase(0x2_9000).unwrap();
    host.write(0x2_9000, &block).unwrap();
    host.leave();
    assert_eq!(host.device.attachment().unwrap().product, 0xd00d);
}

#[test]
fn a_user_part_that_needs_more_leads_to_safe_mode() {
    let mut host = Host::dfu(13);
    host.flash(&forge(13, 5, 2, 0xb_4000, 7, &[(4, 1, 6300)]), 0xb_4000);
    host.leave();
    assert!(host.device.in_safe_mode());
    let (_, body) = host.request(90, &[]);
    assert!(hex(&body).contains("351e0000003d1a000000"), "all but dependencies passed");
    let mut host = Host::dfu(13);
    host.flash(&forge(12, 5, 2, 0xb_4000, 7, &[]), 0xb_4000);
    host.leave();
    assert!(host.device.in_safe_mode(), "a user part for another platform");
}

#[test]
fn without_the_radio_stack_or_with_its_header_left_on_it_does_not_start() {
    let mut host = Host::dfu(13);
    let radio = host.device.flash(0x1000, (16 << 10) - 24);
    let with_header = [vec![0; 24], radio.clone()].concat();
    host.flash(&with_header, 0x1000);
    host.leave();
    assert_eq!(host.device.attachment().unwrap().product, 0xd00d);
    host.flash(&radio, 0x1000);
    host.leave();
    assert_eq!(host.device.attachment().unwrap().product, 0xc00d);
}

#[test]
fn a_bootloader_that_was_written_over_never_comes_back() {
    for (platform, address) in [
        (13, 0xf_4000),
        (13, 0),
        (32, 0x0800_4000),
        (32, 0x0800_0000),
        (32, 0x0801_4000),
    ] {
        let mut host = Host::dfu(platform);
        host.erase(address).unwrap();
        host.leave();
        assert_eq!(host.device.attachment(), None, "{platform} {address:#x}");
        host.power_cycle_dead();
    }
}

impl Host {
    fn power_cycle_dead(&mut self) {
        self.device.power(self.now, false);
        self.device.power(self.now, true);
        self.settle();
        assert_eq!(self.device.attachment(), None);
    }
}

#[test]
fn a_cut_during_a_flash_write_leaves_part_of_it() {
    let mut host = Host::timed(Spec::default(), Timing::default());
    host.enter_dfu();
    host.erase(0xb_4000).unwrap();
    host.point(0xb_4000);
    host.download(2, &[0x11; 4096]).unwrap();
    let at = host.now + Duration::from_millis(21);
    host.status().unwrap();
    host.device.power(at, false);
    let left = host.device.flash(0xb_4000, 4096);
    let written = left.iter().take_while(|b| **b == 0x11).count();
    assert!((1000..3000).contains(&written), "{written}");
    assert!(left[written..].iter().all(|b| *b == 0xff));
    assert_eq!(host.device.counters().torn, 1);
}

#[test]
fn a_cut_after_a_write_tears_nothing() {
    let mut host = Host::timed(Spec::default(), Timing::default());
    host.enter_dfu();
    host.alternate(1);
    host.write(3106, &[0x11; 192]).unwrap();
    host.device.power(host.now, false);
    assert_eq!(&host.device.dct()[3106..3298], [0x11; 192]);
    assert_eq!(host.device.counters().torn, 0);
}

#[test]
fn a_cut_during_a_dct_write_has_every_documented_fate() {
    for (platform, torn_possible) in [(13, false), (10, true)] {
        let (mut old, mut torn, mut lost) = (0, 0, 0);
        for seed in 0..60 {
            let spec = Spec {
                platform,
                os_version: os_for(platform),
                seed,
                ..Spec::default()
            };
            let mut host = Host::timed(spec, Timing::default());
            host.enter_dfu();
            host.alternate(1);
            let before = host.device.dct().to_vec();
            host.point(3106);
            host.download(2, &[0x22; 192]).unwrap();
            let at = host.now + Duration::from_millis(5);
            host.status().unwrap();
            host.device.power(at, false);
            match host.device.dct() {
                same if same == before => old += 1,
                blank if blank.iter().all(|b| *b == 0xff) => lost += 1,
                slot => {
                    assert_eq!(&slot[3106..3202], [0x22; 96]);
                    assert_eq!(slot[3202..3298], before[3202..3298]);
                    torn += 1;
                }
            }
        }
        assert!(old > lost && lost > 0, "{old} {lost}");
        assert_eq!(torn > 0, torn_possible);
    }
}

#[test]
fn stored_and_restored_it_goes_on() {
    let mut host = Host::timed(Spec::default(), Timing::default());
    let id = host.start(50, 0);
    host.pass(Duration::from_millis(50));
    host.check(id);
    let bytes = host.device.to_bytes();
    let mut host = Host {
        device: Device::from_bytes(&bytes, Mono::default()).unwrap(),
        now: Mono::default(),
        happened: Vec::new(),
    };
    assert_eq!(host.device.attachment().unwrap().product, 0xc00d);
    assert!(host.device.due().unwrap() <= Mono(Duration::from_millis(1000)));
    host.settle();
    assert_eq!(
        host.device.attachment().unwrap().product,
        0xd00d,
        "the reset that was due came"
    );
    assert_eq!(host.device.dct(), Device::from_bytes(&bytes, Mono::default()).unwrap().dct());
    assert!(matches!(Device::from_bytes(b"{}", Mono::default()), Err(BadDevice::Json(_))));
    let spoil = |path: &str, value: serde_json::Value| {
        let mut stored: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        *stored.pointer_mut(path).unwrap() = value;
        Device::from_bytes(&serde_json::to_vec(&stored).unwrap(), Mono::default())
            .err()
            .unwrap()
    };
    assert!(matches!(spoil("/format", 2.into()), BadDevice::Format(2)));
    assert!(matches!(spoil("/state/spec/platform", 42.into()), BadDevice::Platform(42)));
    assert!(matches!(spoil("/state/dct/bytes", "AAAA".into()), BadDevice::Memory));
    assert!(matches!(spoil("/state/flash/pages/40", "AAAA".into()), BadDevice::Memory));
}

#[test]
fn real_modules_lie_where_they_belong() {
    let Some(system) = shared("firmware/argon-system-part1-4.1.0.bin") else {
        return;
    };
    let installed = ["argon-bootloader-620.bin", "argon-tinker-620.bin"]
        .iter()
        .filter_map(|name| shared(&format!("firmware/{name}")))
        .chain([system])
        .collect();
    let mut host = Host::new(Spec {
        platform: 12,
        os_version: 4100,
        installed,
        ..Spec::default()
    });
    assert_eq!(host.device.attachment().unwrap().product, 0xc00c);
    assert!(host.device.in_safe_mode(), "Tinker of 6.2.0 needs system 6101");
    assert_eq!(host.raw([0xc0, 0x50, 0, 0, 0x1e, 0, 64, 0], &[]).unwrap(), b"4.1.0");
    let Some(tinker) = shared("firmware/p2-tinker-5.0.0.bin") else {
        return;
    };
    let mut p2 = Host::dfu(32);
    p2.flash(&tinker, 0x085f_4000);
    p2.leave();
    assert!(!p2.device.in_safe_mode() && p2.device.attachment().unwrap().product == 0xc020);
    let (_, body) = p2.request(90, &[]);
    assert!(hex(&body).contains("08051001"), "user part, index 1");
}

#[test]
fn buttons_do_what_is_printed_on_the_box() {
    let mut host = Host::platform(13);
    let press = |host: &mut Host, press| {
        host.device.press(host.now, press);
        host.settle();
    };
    press(&mut host, Press::SafeMode);
    assert!(host.device.in_safe_mode());
    press(&mut host, Press::Reset);
    assert!(!host.device.in_safe_mode());
    press(&mut host, Press::Dfu);
    assert_eq!(host.device.attachment().unwrap().product, 0xd00d);
    let factory = forge(13, 5, 2, 0xb_4000, 99, &[]);
    host.alternate(2);
    host.flash(&factory, 0x8020_0000);
    assert!(
        host.device.dct().iter().any(|b| *b != 0xff),
        "the factory image lies behind the file system"
    );
    press(&mut host, Press::FactoryRestore);
    assert_eq!(host.device.flash(0xb_4000, factory.len()), factory);
    let key = host.device.key_spki();
    assert_eq!(host.request(200, &[&[0x0a, 0x3f], [b'c'; 63].as_slice()].concat()).0, 0);
    press(&mut host, Press::ClearSettings);
    assert_eq!(host.device.key_spki(), key, "the key pair stays");
    assert_eq!(host.device.dct()[1762], 0xff, "the claim code does not");
    host.device.power(host.now, false);
    press(&mut host, Press::Reset);
    assert_eq!(host.device.attachment(), None, "not without power");
}

#[test]
fn detach_leaves_the_bus_and_comes_back() {
    let mut host = Host::dfu(13);
    host.happened.clear();
    host.raw([0x21, 0, 0xff, 0, 0, 0, 0, 0], &[]).unwrap();
    assert_eq!(host.device.attachment(), None);
    host.settle();
    assert_eq!(host.happened, [Happening::Detached, Happening::Attached]);
    assert_eq!(host.device.attachment().unwrap().product, 0xd00d);
}

#[test]
fn erasing_the_file_system_from_outside_loses_the_keys_of_an_nrf() {
    let mut host = Host::dfu(13);
    host.alternate(2);
    assert_eq!(host.erase(0x801f_f000).unwrap(), IDLE_DNLOAD);
    assert!(host.device.dct().iter().all(|b| *b == 0xff));
    host.leave();
    assert_eq!(host.device.counters().keys_made, 1, "and it makes new ones");
}
