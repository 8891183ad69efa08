//! An application that keeps a copy of the key, and the numbers by which it sees that something is wrong.

use super::*;

fn host(platform: u16, os_version: u16, key_helper: StartHelper) -> Host {
    Host::new(Spec {
        platform,
        os_version,
        wifi: Some("bench".into()),
        key_helper,
        ..Spec::default()
    })
}

fn answer(host: &mut Host, dialled: Dialled) {
    assert_eq!(host.dials().len(), 1, "it has dialled");
    host.device.dialled(host.now, dialled);
    host.settle();
}

fn refused(noticed: Noticed) -> Dialled {
    Dialled::Refused {
        why: "for a reason".into(),
        noticed,
    }
}

fn connected() -> Dialled {
    Dialled::Connected {
        session: Vec::new(),
        resumed: false,
    }
}

fn diagnostic(host: &mut Host, name: &str) -> i64 {
    let (result, body) = host.request(100, &[]);
    assert_eq!(result, 0);
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
    value[name].as_i64().unwrap()
}

#[test]
fn the_record_is_the_documented_one() {
    for (platform, size, offset) in [(6, 1600, 34), (13, 320, 3106)] {
        let host = host(platform, os_for(platform), StartHelper::Present);
        let record = host.device.key_helper_record().unwrap();
        assert_eq!(record.len(), 8 + size, "{platform}");
        assert_eq!(record[..4], [0x63, 0x5c, 0xa6, 0x75]);
        assert_eq!(usize::from(u16::from_le_bytes([record[4], record[5]])), size);
        let sum = record[8..].iter().fold(0_u16, |sum, b| sum.wrapping_add((*b).into()));
        assert_eq!(u16::from_le_bytes([record[6], record[7]]), sum);
        assert!(record[8..] == host.device.dct()[offset..offset + size], "{platform}");
    }
    assert_eq!(host(13, 6200, StartHelper::Empty).device.key_helper_record(), None);
    assert_eq!(host(13, 6200, StartHelper::None).device.key_helper_record(), None);
}

#[test]
fn each_refusal_leaves_its_number() {
    use Noticed::{Imposter, NoServerKey, Silence, Undecipherable};
    for (platform, noticed, number) in [
        (6, Silence, 26),
        (6, Undecipherable, 6),
        (6, Imposter, 8),
        (13, Silence, 10),
        (13, Imposter, 17),
        (13, NoServerKey, 16),
    ] {
        let mut host = host(platform, os_for(platform), StartHelper::None);
        assert_eq!(
            (diagnostic(&mut host, "cloud:err"), diagnostic(&mut host, "cloud:connatt")),
            (0, 1)
        );
        answer(&mut host, refused(noticed));
        assert_eq!(diagnostic(&mut host, "cloud:err"), number, "{platform} {noticed:?}");
        // Who is not reached at all changes nothing, and a connection does not make it forget.
        answer(&mut host, Dialled::NoRoute);
        assert_eq!(
            (diagnostic(&mut host, "cloud:err"), diagnostic(&mut host, "cloud:connatt")),
            (number, 3)
        );
        answer(&mut host, connected());
        assert_eq!(
            (diagnostic(&mut host, "cloud:err"), diagnostic(&mut host, "cloud:stat")),
            (number, 2)
        );
        assert_eq!(host.request(40, &[]).0, 0);
        host.settle();
        assert_eq!(diagnostic(&mut host, "cloud:err"), 0, "a start forgets it");
    }
}

#[test]
fn a_server_key_that_does_not_parse_is_noticed_by_the_device() {
    let mut host = Host::new(Spec {
        os_version: 5004,
        server: StartServer::Corrupt,
        ..Spec::default()
    });
    answer(&mut host, refused(Noticed::Imposter));
    assert_eq!(diagnostic(&mut host, "cloud:err"), 16);
}

#[test]
fn it_puts_the_saved_key_back_on_the_documented_failure_only() {
    for (platform, private) in [(6, 34..34 + 1216), (13, 3106..3298)] {
        let mut host = host(platform, os_for(platform), StartHelper::Before);
        let before = key_before(&host.device.s.spec);
        let present = host.device.key_spki().unwrap();
        assert_ne!(before, present);
        for other in [Dialled::NoRoute, refused(Noticed::Imposter)] {
            answer(&mut host, other);
            assert_eq!(host.device.key_spki().unwrap(), present, "{platform}: no key problem");
        }
        let boots = host.device.counters().boots;
        answer(&mut host, refused(Noticed::Silence));
        assert_eq!(host.device.key_spki().unwrap(), before, "{platform}");
        assert_eq!(host.device.counters().boots, boots + 1, "it restarts");
        let saved = host.device.key_helper_record().unwrap()[8..].to_vec();
        assert_eq!(host.device.dct()[private.clone()], saved[..private.len()]);
        // And with the same key there it leaves everything alone.
        answer(&mut host, refused(Noticed::Silence));
        assert_eq!(host.device.counters().boots, boots + 1);
    }
}

#[test]
fn on_udp_it_puts_back_the_start_of_an_old_server_key() {
    let mut host = Host::new(Spec {
        server: StartServer::Set {
            spki: p256::pkcs8::EncodePublicKey::to_public_key_der(&p256::SecretKey::from_slice(&[7; 32]).unwrap().public_key())
                .unwrap()
                .as_bytes()
                .to_vec(),
            host: "$id.cloud.test".into(),
        },
        key_helper: StartHelper::Before,
        ..Spec::default()
    });
    let server = host.device.dct()[3298..3490].to_vec();
    answer(&mut host, refused(Noticed::Silence));
    assert_ne!(host.device.dct()[3298..3490], server, "the server key is another one");
    assert_eq!(
        &host.device.dct()[3490..3506],
        b"\x01\x0e$id.cloud.test",
        "at the address of the new one"
    );
}

#[test]
fn a_good_connection_is_saved_and_old_systems_count_to_three() {
    let mut host = host(13, 6200, StartHelper::Empty);
    answer(&mut host, connected());
    assert_eq!(host.device.key_helper_record().unwrap()[8..], host.device.dct()[3106..3426]);

    let mut old = Host::new(Spec {
        platform: 6,
        os_version: 700,
        wifi: Some("bench".into()),
        key_helper: StartHelper::Before,
        ..Spec::default()
    });
    let present = old.device.key_spki();
    for _ in 0..2 {
        answer(&mut old, Dialled::NoRoute);
        assert_eq!(old.device.key_spki(), present);
    }
    answer(&mut old, Dialled::NoRoute);
    assert_ne!(old.device.key_spki(), present, "whatever the reason");
}

#[test]
fn it_survives_the_power_and_does_nothing_in_safe_mode() {
    let mut host = host(13, 6200, StartHelper::Before);
    let record = host.device.key_helper_record().unwrap().to_vec();
    host.power_cycle();
    let stored = Device::from_bytes(&host.device.to_bytes(), host.now).unwrap();
    assert_eq!(stored.key_helper_record(), Some(&record[..]));
    let present = host.device.key_spki();
    assert_eq!(host.request(60, &[]).0, 0);
    host.happened.clear();
    host.settle();
    assert!(host.device.in_safe_mode());
    answer(&mut host, refused(Noticed::Silence));
    assert_eq!(host.device.key_spki(), present);
}
