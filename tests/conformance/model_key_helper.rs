//! 4.8: an application with DeviceKeyHelperRK, its record and its mistake.

use keyrack::sim::device::{Dialled, Noticed, Spec, StartHelper, ec_key, key_before};
use p256::pkcs8::EncodePublicKey;

use crate::rig::{BORON, P2, PHOTON, Rig, spec};

/// A device that has a network and a cloud that does not know its key.
fn refused(platform: u16, key_helper: StartHelper) -> Rig {
    let mut rig = Rig::boot(Spec {
        wifi: Some("bench".into()),
        key_helper,
        ..spec(platform)
    });
    rig.cloud = Some(Dialled::Refused {
        why: "another key".into(),
        noticed: Noticed::Silence,
    });
    rig
}

#[test]
fn the_record() {
    for (platform, offset, size) in [(PHOTON, 34, 1600), (BORON, 3106, 320), (P2, 3106, 320)] {
        let mut rig = refused(platform, StartHelper::Empty);
        rig.cloud = Some(Dialled::Connected {
            session: Vec::new(),
            resumed: false,
        });
        rig.wait_ms(60_000);
        let record = rig.device.key_helper_record().expect("saved when it was connected").to_vec();
        assert_eq!(record[..4], 0x75a6_5c63_u32.to_le_bytes(), "{platform}");
        assert_eq!(record[4..6], u16::try_from(size).unwrap().to_le_bytes());
        let sum: u32 = record[8..].iter().map(|b| u32::from(*b)).sum();
        assert_eq!(u32::from(u16::from_le_bytes([record[6], record[7]])), sum & 0xffff);
        assert!(record[8..] == rig.device.dct()[offset..offset + size], "{platform}");
    }
}

#[test]
fn a_key_that_the_cloud_does_not_take_is_replaced_by_the_saved_one() {
    for platform in [PHOTON, BORON, P2] {
        let mut rig = refused(platform, StartHelper::Before);
        let before = key_before(&Spec {
            wifi: Some("bench".into()),
            key_helper: StartHelper::Before,
            ..spec(platform)
        });
        assert_ne!(rig.device.key_spki().unwrap(), before);
        rig.until_reattached();
        assert_eq!(rig.device.key_spki().unwrap(), before, "{platform}");
        assert_eq!(rig.device.counters().keys_made, 0);
    }
}

#[test]
fn on_udp_the_public_half_is_before_the_private_one_and_the_record_holds_something_else() {
    let rig = refused(BORON, StartHelper::Present);
    let record = rig.device.key_helper_record().unwrap();
    let key = ec_key(&record[8..8 + 192]).expect("the first 192 bytes are the key");
    let spki = key.public_key().to_public_key_der().unwrap().into_vec();
    assert_eq!(rig.device.key_spki(), Some(spki.clone()));
    assert!(
        !record[200..].windows(spki.len()).any(|w| w == spki),
        "its public half is not in it"
    );
    assert!(
        record[200..] == rig.device.dct()[3298..3426],
        "but the start of the server key"
    );
}

#[test]
fn with_nothing_saved_it_saves_what_does_not_work() {
    let mut rig = refused(BORON, StartHelper::Empty);
    let key = rig.device.key_spki();
    rig.wait_ms(120_000);
    assert_eq!(rig.device.key_spki(), key);
    assert!(rig.device.key_helper_record().unwrap()[8..] == rig.device.dct()[3106..3426]);
    assert_eq!(rig.device.counters().boots, 1, "and does not restart for ever");
}
