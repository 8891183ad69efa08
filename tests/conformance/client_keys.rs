//! The station's key store against every family: read as it is, written whole, believed only when read back.

use keyrack::{
    device::{Cancel, Dfu, KeyStore, KeyStoreError, keystore::Unreadable},
    model::Platform,
    sim::device::{DeviceMishap, Spec},
};

use crate::{
    bench::Bench,
    rig::{ALL, BORON, P2, PHOTON, Rig, spec},
};

#[test]
fn keys_are_read_as_they_are_and_written_whole() {
    for platform in ALL {
        let bench = Bench::dfu(platform);
        let dct = bench.rig().device.dct().to_vec();
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        let mut store = KeyStore::new(&mut dfu);
        let length = usize::try_from(store.size()).unwrap();
        assert_eq!(*store.read_twice().unwrap().expose(), dct[..length], "{platform}");
        let known = Platform::from_id(platform).unwrap();
        let slot = known.key_segments(known.row().transport).private;
        let new: Vec<u8> = {
            let other = Rig::boot(Spec {
                seed: 1_000,
                ..spec(platform)
            });
            let from = usize::try_from(slot.offset).unwrap();
            other.device.dct()[from..from + usize::try_from(slot.len).unwrap()].to_vec()
        };
        store
            .write(slot.offset, &new)
            .unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        let after = bench.rig().device.dct().to_vec();
        let from = usize::try_from(slot.offset).unwrap();
        assert_eq!(after[from..from + new.len()], new);
        assert_eq!(
            (&after[..from], &after[from + new.len()..]),
            (&dct[..from], &dct[from + new.len()..]),
            "nothing else"
        );
        assert_eq!(bench.rig().device.counters().erases, 0, "{platform}: the DCT is never erased");
    }
}

#[test]
fn torn_and_ignored_key_writes_are_seen() {
    for platform in ALL {
        let known = Platform::from_id(platform).unwrap();
        let slot = known.key_segments(known.row().transport).private;
        for mishap in [DeviceMishap::KeyWriteTorn, DeviceMishap::KeyWriteIgnored] {
            let bench = Bench::dfu(platform);
            bench.rig().device.inject(mishap.clone());
            let mut link = bench.link();
            let mut dfu = Dfu::open(&mut link).unwrap();
            let error = KeyStore::new(&mut dfu)
                .write(slot.offset, &vec![0x5e; usize::try_from(slot.len).unwrap()])
                .unwrap_err();
            assert!(
                matches!(error, KeyStoreError::Differs { .. }),
                "{platform}: {mishap:?}: {error:?}"
            );
            assert!(error.may_have_written());
            assert!(bench.rig().device.counters().fired(mishap.name()) > 0);
        }
    }
}

#[test]
fn a_key_store_that_gives_other_bytes_each_time_is_unreadable() {
    for platform in [BORON, PHOTON, P2] {
        let bench = Bench::dfu(platform);
        bench.rig().device.inject(DeviceMishap::KeyGarbleOnRead);
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        let error = KeyStore::new(&mut dfu).read_twice().unwrap_err();
        assert!(
            matches!(error, KeyStoreError::Unreadable(Unreadable::Differ { .. })),
            "{platform}: {error:?}"
        );
    }
}

#[test]
fn a_photon_with_broken_system_part_2_is_unreadable_not_blank() {
    let bench = Bench::dfu(PHOTON);
    {
        let mut rig = bench.rig();
        rig.erase(0x0806_0000).unwrap();
        rig.idle();
    }
    let dct = bench.rig().device.dct().to_vec();
    let mut link = bench.link();
    let mut dfu = Dfu::open(&mut link).unwrap();
    let mut store = KeyStore::new(&mut dfu);
    assert_eq!(store.read_twice().unwrap_err(), KeyStoreError::Unreadable(Unreadable::Zeros));
    assert!(store.write(34, &[0xff; 1216]).is_err());
    assert_eq!(bench.rig().device.dct(), dct);
}

#[test]
fn a_bit_that_flips_while_a_key_is_read_back() {
    for platform in [BORON, PHOTON, P2] {
        let known = Platform::from_id(platform).unwrap();
        let slot = known.key_segments(known.row().transport).private;
        let bench = Bench::dfu(platform);
        let address = slot.offset + 9;
        bench.rig().device.inject(DeviceMishap::BitFlipOnRead { alt: 1, address });
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        let error = KeyStore::new(&mut dfu)
            .write(slot.offset, &vec![0x5e; usize::try_from(slot.len).unwrap()])
            .unwrap_err();
        assert_eq!(error, KeyStoreError::Differs { offset: address }, "{platform}");
    }
}

#[test]
fn a_wish_to_stop_does_not_tear_a_key() {
    let bench = Bench::dfu(BORON);
    let cancel = Cancel::new();
    let mut link = bench.link_with(cancel.clone());
    let mut dfu = Dfu::open(&mut link).unwrap();
    dfu.select(1).unwrap();
    cancel.cancel();
    let before = bench.rig().device.dct().to_vec();
    let error = KeyStore::new(&mut dfu).write(3106, &[1; 192]).unwrap_err();
    assert!(matches!(error, KeyStoreError::NotBegun(_)) && !error.may_have_written());
    assert_eq!(bench.rig().device.dct(), before);
}

#[test]
fn a_stall_anywhere_in_a_key_write_leaves_no_doubt() {
    for platform in [BORON, PHOTON, P2] {
        let known = Platform::from_id(platform).unwrap();
        let slot = known.key_segments(known.row().transport).private;
        let from = usize::try_from(slot.offset).unwrap();
        let new = vec![0x5e; usize::try_from(slot.len).unwrap()];
        for after in 0..40 {
            let bench = Bench::dfu(platform);
            let mut link = bench.link();
            let Ok(mut dfu) = Dfu::open(&mut link) else {
                panic!("no stall yet")
            };
            let before = bench.rig().device.dct().to_vec();
            bench.rig().device.inject(DeviceMishap::StallAfter(after));
            let outcome = KeyStore::new(&mut dfu).write(slot.offset, &new);
            let now = bench.rig().device.dct().to_vec();
            match outcome {
                Ok(()) => assert_eq!(now[from..from + new.len()], new, "{platform}: {after}"),
                Err(error) if !error.may_have_written() => assert_eq!(now, before, "{platform}: {after}: {error:?}"),
                Err(_) => {}
            }
        }
    }
}
