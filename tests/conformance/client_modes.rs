//! The station in DFU mode: who is there, is it protected, and every platform to DFU mode and back.

use keyrack::{
    device::{Dfu, DfuError, KeyStore, KeyStoreError, identify},
    model::{
        Platform,
        fact::Protection,
        platform::{Transport, UsbMode},
    },
    sim::device::{Forge, Spec},
};

use crate::{
    bench::Bench,
    client_dfu::{image, nothing},
    model_dfu::user_part,
    rig::{ALL, BORON, ELECTRON, P2, PHOTON, Rig, spec},
    server,
};

#[test]
fn protection_is_recognised_in_dfu() {
    for platform in [BORON, P2] {
        let bench = Bench::new(server::protected_in_dfu(platform));
        let mut link = bench.link();
        let seen = identify(&mut link, &bench.attached()).unwrap();
        assert_eq!((seen.protection, seen.mode), (Protection::Protected, UsbMode::Dfu));
        let mut dfu = Dfu::open(&mut link).unwrap();
        assert_eq!(dfu.protection().unwrap(), Protection::Protected, "{platform}");
        let error = dfu
            .write_image(0, user_part(platform), &image(64), true, &mut nothing)
            .unwrap_err();
        assert!(matches!(error, DfuError::Protected { .. }), "{error:?}");
        let error = KeyStore::new(&mut dfu).read_whole().unwrap_err();
        assert!(
            matches!(
                error,
                KeyStoreError::Read(DfuError::Protected { .. } | DfuError::NotReadable { .. })
            ),
            "{platform}: {error:?}"
        );
        assert!(
            KeyStore::new(&mut dfu)
                .write(3106, &[1; 192])
                .is_err_and(|error| !error.may_have_written())
        );
        dfu.enter_safe_mode().unwrap();
        bench.rig().until_reattached();
        assert!(bench.rig().device.in_safe_mode());
    }
}

#[test]
fn service_mode_is_used_and_ended() {
    for platform in [BORON, P2] {
        let bench = Bench::new(server::service_in_dfu(platform));
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        assert_eq!(dfu.protection().unwrap(), Protection::Service);
        let mut store = KeyStore::new(&mut dfu);
        let dct = store.read_twice().unwrap();
        store.write(3106, &dct.expose()[3106..3298]).unwrap();
        dfu.clear_override().unwrap();
        assert_eq!(dfu.protection().unwrap(), Protection::Protected, "{platform}");
        let _ = dfu.leave().unwrap();
        bench.rig().until_reattached();
        assert!(!bench.rig().is_dfu() && bench.rig().device.is_protected());
    }
}

#[test]
fn a_system_part_in_service_mode() {
    for (platform, start) in [(BORON, 0x2_8000), (P2, 0x0806_0000)] {
        let module = Forge {
            combined: false,
            platform,
            function: 4,
            index: 1,
            version: 6200,
            needs: Vec::new(),
            start,
            length: 40 << 10,
            product: (0xffff, 0xffff),
            protects: false,
            seed: 3,
        }
        .build();
        let bench = Bench::new(server::service_in_dfu(platform));
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        dfu.write_image(0, start, &module, true, &mut nothing)
            .unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        assert_eq!(bench.rig().device.flash(start, module.len()), module);
    }
}

#[test]
fn old_bootloaders() {
    // Without the state string the layout tells; without the commands they are not sent.
    let bench = Bench::new(Rig::boot_dfu(Spec {
        os_version: 4100,
        ..spec(BORON)
    }));
    let mut link = bench.link();
    let mut dfu = Dfu::open(&mut link).unwrap();
    assert_eq!(dfu.protection().unwrap(), Protection::Open);
    assert!(matches!(dfu.clear_override(), Err(DfuError::Unsupported { .. })));
    assert!(matches!(dfu.enter_safe_mode(), Err(DfuError::Unsupported { .. })));
}

#[test]
fn identity_in_dfu_mode() {
    for platform in ALL {
        let bench = Bench::dfu(platform);
        let mut link = bench.link();
        let seen = identify(&mut link, &bench.attached()).unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        assert_eq!(seen.device, bench.rig().device.id());
        assert_eq!((seen.platform.id(), seen.mode), (platform, UsbMode::Dfu));
        assert_eq!(seen.protection, Protection::Open);
    }
    let bench = Bench::new(Rig::boot_dfu(Spec {
        electron_tcp: true,
        ..spec(ELECTRON)
    }));
    let seen = identify(&mut bench.link(), &bench.attached()).unwrap();
    assert_eq!(seen.transport, Some(Transport::Tcp));
    let bench = Bench::new(Rig::boot_dfu(Spec {
        fixed_dfu_serial: true,
        ..spec(PHOTON)
    }));
    assert!(
        identify(&mut bench.link(), &bench.attached()).is_err(),
        "00000000010C is nobody's id"
    );
}

#[test]
fn every_platform_of_the_table_goes_to_dfu_and_back() {
    for known in Platform::all().filter(|p| *p != Platform::Core) {
        let bench = Bench::normal(known.id());
        let seen = identify(&mut bench.link(), &bench.attached()).unwrap_or_else(|error| panic!("{known}: {error:?}"));
        assert_eq!(seen.platform, known);
        bench.rig().enter_dfu();
        let mut link = bench.link();
        let seen = identify(&mut link, &bench.attached()).unwrap_or_else(|error| panic!("{known}: {error:?}"));
        assert_eq!((seen.platform, seen.mode), (known, UsbMode::Dfu));
        let mut dfu = Dfu::open(&mut link).unwrap();
        for range in known.flashable() {
            let last = dfu.layout(0).unwrap().sector_at(range.end - 1).unwrap();
            assert_eq!(last.end(), u64::from(range.end), "{known}: the allow-list ends with a sector");
        }
        if known.family() == keyrack::model::platform::Family::Nrf52840 {
            let size = dfu.layout(2).unwrap().segments.iter().map(|s| s.end()).max().unwrap() - 0x8000_0000;
            assert_eq!(size, if known.row().big_flash { 8 << 20 } else { 4 << 20 }, "{known}");
        }
        KeyStore::new(&mut dfu)
            .read_twice()
            .unwrap_or_else(|error| panic!("{known}: {error:?}"));
        let _ = dfu.leave().unwrap();
        bench.rig().until_reattached();
        assert!(!bench.rig().is_dfu(), "{known}");
    }
}
