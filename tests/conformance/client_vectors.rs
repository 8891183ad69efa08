//! 8.1, 8.3, 8.4: what the station's protocols put on the wire, packet by packet.

use std::time::Duration;

use keyrack::{
    device::{Control, Dfu, KeyStore, RequestType, identify, mode, modules, protection, raw, update},
    edge::Setup,
    model::Platform,
    sim::device::{Spec, Timing},
};
use sha2::{Digest, Sha256};

use crate::{
    bench::Bench,
    rig::{BORON, MSOM, P2, PHOTON, Rig, spec},
    server::{self, NONCE},
    wire::hex,
};

fn packet(hex_text: &str) -> Setup {
    Setup::from_bytes(hex(hex_text).try_into().unwrap())
}

#[test]
fn setup_packets_of_control_requests() {
    let bench = Bench::boot(server::protected(BORON));
    let mut link = bench.link();
    raw::system_version(&mut link).unwrap();
    raw::device_id(&mut link).unwrap();
    assert_eq!(
        bench.log(),
        [packet("c0 50 00 00 1e 00 40 00"), packet("c0 50 00 00 14 00 40 00")]
    );
    let mut control = Control::open(&mut link).unwrap();
    assert!(
        bench.log().contains(&packet("c0 05 00 00 00 00 40 00")),
        "RESET all comes first"
    );
    protection::state(&mut control).unwrap();
    let log = bench.log();
    assert_eq!(log[0], packet("c0 01 00 00 4c 00 40 00"));
    assert_eq!(log[1], packet("c0 02 00 00 01 00 40 00"));
    bench.payloads();
    protection::prepare(&mut control, NONCE).unwrap();
    assert_eq!(bench.log()[0], packet("c0 01 26 00 4d 00 40 00"));
    assert_eq!(bench.payloads()[0], [hex("080112220a20"), NONCE.to_vec()].concat());
    protection::restore(&mut control).unwrap();
    assert_eq!(
        bench.log()[0],
        packet("c0 01 00 00 4d 00 40 00"),
        "RESET is the empty message"
    );

    let bench = Bench::normal(BORON);
    let mut link = bench.link();
    let mut control = Control::open(&mut link).unwrap();
    let deadline = control.within(Duration::from_secs(10));
    bench.log();
    control.request(RequestType::DeviceId, &[], deadline).unwrap();
    let log = bench.log();
    assert_eq!(log[0], packet("c0 01 00 00 14 00 40 00"));
    assert_eq!(*log.last().unwrap(), packet("c0 04 00 00 01 00 1a 00"), "RECV of 26 bytes");
    modules::read(&mut control).unwrap();
    assert_eq!(bench.log()[0], packet("c0 01 00 00 5a 00 40 00"));
    mode::enter_dfu(&mut control).unwrap();
    assert_eq!(bench.log()[0], packet("c0 01 00 00 32 00 40 00"));
}

#[test]
fn an_update_on_the_wire() {
    let bench = Bench::normal(BORON);
    let mut link = bench.link();
    let mut control = Control::open(&mut link).unwrap();
    let deadline = control.within(Duration::from_secs(240));
    bench.log();
    bench.payloads();
    // Its content is no module: the last request is refused.
    assert!(update::send(&mut control, &[0x5a; 65_536], deadline, &mut |_, _| {}).is_err());
    let log = bench.log();
    assert_eq!(log[0], packet("c0 01 04 00 fa 00 40 00"));
    assert_eq!(log[1], packet("40 03 00 00 01 00 04 00"));
    assert_eq!(
        log.iter()
            .filter(|setup| **setup == packet("c0 01 03 04 fd 00 40 00"))
            .count(),
        64,
        "1027-byte payloads"
    );
    let payloads = bench.payloads();
    assert_eq!(payloads[0], hex("08808004"));
    assert_eq!(payloads[1][..3], hex("0a8008"));
    assert!(
        log.iter().any(|s| (s.request, s.index, s.value) == (1, 251, 0)),
        "FINISH is the empty message"
    );
}

#[test]
fn check_comes_at_growing_intervals() {
    // 7: 50, 50, 100, 100, 250, 250, 500, 500, 1000 ms.
    let bench = Bench::normal(BORON);
    bench.rig().device.inject(keyrack::sim::device::DeviceMishap::AppHangs);
    let mut link = bench.link();
    let mut control = Control::open(&mut link).unwrap();
    let deadline = control.within(Duration::from_secs(6));
    bench.log();
    control.request(RequestType::DeviceId, &[], deadline).unwrap_err();
    let checks = bench.log().iter().filter(|s| s.request == 2).count();
    assert!((9..=16).contains(&checks), "{checks} CHECKs in 6 s");
    assert!(checks < 30, "no busy polling");
}

#[test]
fn dfu_commands_on_the_wire() {
    let bench = Bench::dfu(BORON);
    let mut link = bench.link();
    let mut dfu = Dfu::open(&mut link).unwrap();
    bench.payloads();
    dfu.read(1, 3106, 16).unwrap();
    assert!(bench.payloads().contains(&hex("21 22 0c 00 00")), "SET_ADDRESS 3106");
    dfu.read(1, 3298, 16).unwrap();
    assert!(bench.payloads().contains(&hex("21 e2 0c 00 00")), "SET_ADDRESS 3298");
    dfu.write_image(0, 0x2_8000, &[0; 64], true, &mut |_, _| {}).unwrap();
    let sent = bench.payloads();
    assert!(sent.contains(&hex("41 00 80 02 00")) && sent.contains(&hex("21 00 80 02 00")));
    bench.payloads();
    bench.log();
    dfu.enter_safe_mode().unwrap();
    assert!(bench.payloads().contains(&hex("fa")));

    let bench = Bench::new(server::service_in_dfu(P2));
    let mut link = bench.link();
    let mut dfu = Dfu::open(&mut link).unwrap();
    bench.payloads();
    dfu.clear_override().unwrap();
    assert!(bench.payloads().contains(&hex("fb 00 00 00 00")));
}

#[test]
fn leaving_on_the_wire() {
    for platform in [BORON, PHOTON, P2] {
        let bench = Bench::dfu(platform);
        let mut link = bench.link();
        let dfu = Dfu::open(&mut link).unwrap();
        bench.log();
        let _ = dfu.leave().unwrap();
        let log = bench.log();
        let leave = log
            .iter()
            .position(|s| *s == packet("21 01 02 00 00 00 00 00"))
            .expect("DNLOAD without data, wValue 2");
        assert_eq!(
            log[leave + 1],
            packet("a1 03 00 00 00 00 06 00"),
            "{platform}: the GETSTATUS that makes it leave"
        );
    }
}

#[test]
fn clrstatus_is_sent_in_dfu_error_only() {
    for platform in [BORON, PHOTON, P2] {
        let bench = Bench::dfu(platform);
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        let at = crate::model_dfu::user_part(platform);
        bench.log();
        dfu.write_image(0, at, &[7; 5_000], true, &mut |_, _| {}).unwrap();
        KeyStore::new(&mut dfu).read_twice().unwrap();
        dfu.commands().unwrap();
        let log = bench.log();
        assert!(!log.iter().any(|s| (s.request_type, s.request) == (0x21, 4)), "{platform}");
        assert!(
            !log.iter().any(|s| (s.request_type, s.request, s.value) == (0x21, 1, 1)),
            "{platform}: block 1"
        );
    }
}

#[test]
fn sectors_of_the_reference() {
    let bench = Bench::dfu(PHOTON);
    let mut link = bench.link();
    let dfu = Dfu::open(&mut link).unwrap();
    assert_eq!(dfu.layout(0).unwrap().sector_at(0x0802_0000).unwrap().end(), 0x0804_0000);

    // A P2 image of 1 009 100 bytes at 0x08060000 takes 247 sector erases.
    let bench = Bench::new({
        let mut rig = Rig::boot_with(spec(P2), Timing::instant());
        rig.enter_dfu();
        rig
    });
    let mut link = bench.link();
    let mut dfu = Dfu::open(&mut link).unwrap();
    dfu.write_image(0, 0x0806_0000, &vec![0x5a; 1_009_100], true, &mut |_, _| {})
        .unwrap();
    assert_eq!(bench.rig().device.counters().erases, 247);
}

#[test]
fn systems_from_before_the_requests() {
    // 2.2, 2.3: raw version since 0.6.0, requests since 0.8.0 (Gen 2) and 0.9.0 (Gen 3).
    for (platform, os_version) in [(PHOTON, 700), (PHOTON, 600), (BORON, 900), (BORON, 800)] {
        let bench = Bench::boot(Spec {
            os_version,
            ..spec(platform)
        });
        let mut link = bench.link();
        match identify(&mut link, &bench.attached()) {
            Ok(seen) => assert_eq!(seen.device, bench.rig().device.id(), "{platform} {os_version}"),
            Err(error) => panic!("{platform} {os_version}: {error:?}"),
        }
    }
}

#[test]
fn assets_are_sent_and_then_there() {
    const ASSET: &str = "000000007a0000000001000000000900000000000000000068656c6c6f1000260000202cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e7304\
                         3362938b982411000900612e74787401000a00ffffffffffff000041151db1223f9324dd05c6adbbe69d5789490c7cd7ffd5a4ecd3976084db0be65d\
                         002d7845b6";
    for platform in [BORON, MSOM] {
        let bench = Bench::normal(platform);
        let hello: [u8; 32] = Sha256::digest(b"hello").into();
        let mut link = bench.link();
        let mut control = Control::open(&mut link).unwrap();
        let deadline = control.within(Duration::from_secs(60));
        assert!(!update::Assets::read(&mut control, deadline).unwrap().has("a.txt", &hello));
        update::send(&mut control, &hex(ASSET), deadline, &mut |_, _| {}).unwrap();
        bench.rig().wait_ms(30_000);
        bench.rig().until_attached();
        let mut link = bench.link();
        let mut control = Control::open(&mut link).unwrap();
        let deadline = control.within(Duration::from_secs(60));
        let assets = update::Assets::read(&mut control, deadline).unwrap();
        assert!(assets.has("a.txt", &hello), "{platform}");
        assert!(!assets.has("b.txt", &hello) && !assets.has("a.txt", &[0; 32]));
    }
}

#[test]
fn the_table_of_platforms() {
    // 1.1: what each platform is.
    assert_eq!(Platform::from_id(BORON).unwrap().name(), "boron");
    for platform in Platform::all().filter(|p| *p != Platform::Core) {
        let known = keyrack::sim::device::Device::knows(platform.id());
        assert!(known, "the simulator can be {platform}");
    }
}
