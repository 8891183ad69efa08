//! 2.6: firmware update by control requests.

use keyrack::sim::device::Forge;

use crate::{
    model_requests::{got, told},
    rig::{ARGON, BORON, P2, PHOTON, Rig},
    wire::{Message, hex},
};

fn user_module(platform: u16, version: u16) -> Forge {
    let (start, length) = match platform {
        P2 => (0x0860_0000 - 0x3000, 0x3000),
        PHOTON => (0x080a_0000, 0x3000),
        _ => (0xb_4000, 0x3000),
    };
    Forge {
        combined: false,
        platform,
        function: 5,
        index: if platform == BORON { 2 } else { 1 },
        version,
        needs: Vec::new(),
        start,
        length,
        product: (0xffff, 0xffff),
        protects: false,
        seed: 11,
    }
}

/// START and all of DATA; the result of FINISH.
fn update(rig: &mut Rig, image: &[u8], finish: Message) -> i32 {
    let reply = got(rig, 250, Message::new().int(1, image.len() as u64));
    let chunk = usize::try_from(reply.int(1)).unwrap();
    for piece in image.chunks(chunk) {
        assert_eq!(told(rig, 253, Message::new().bytes(1, piece)), 0);
    }
    told(rig, 251, finish)
}

#[test]
fn an_update_on_the_wire() {
    let mut rig = Rig::normal(BORON);
    assert_eq!(rig.request(250, &hex("08808004")), (0, hex("088008")), "pieces of 1024 bytes");
    let mut piece = hex("0a8008");
    piece.extend([0x5a; 1024]);
    assert_eq!(piece.len(), 1027);
    assert_eq!(rig.request(253, &piece), (0, Vec::new()));
    assert_eq!(told(&mut rig, 251, Message::new()), -210, "bytes are missing");
    assert_eq!(told(&mut rig, 252, Message::new()), 0);
}

#[test]
fn what_start_and_data_refuse() {
    let mut rig = Rig::normal(BORON);
    assert_eq!(
        rig.request(250, &Message::new().int(1, 65_536).int(2, 1).done()).0,
        -120,
        "only BIN"
    );
    assert_eq!(
        rig.request(250, &Message::new().int(1, 4 << 20).done()).0,
        -1351,
        "larger than the OTA area"
    );
    got(&mut rig, 250, Message::new().int(1, 1_500));
    assert_eq!(told(&mut rig, 253, Message::new().bytes(1, &[0; 1024])), 0);
    assert_eq!(
        told(&mut rig, 253, Message::new().bytes(1, &[0; 477])),
        -290,
        "one byte too many"
    );
    assert_eq!(
        told(&mut rig, 253, Message::new().bytes(1, &[0; 476])),
        -210,
        "the whole update was cancelled"
    );
    got(&mut rig, 250, Message::new().int(1, 1_500));
    assert_eq!(told(&mut rig, 253, Message::new().bytes(1, &[])), -290, "an empty piece");
}

#[test]
fn a_valid_update_is_applied() {
    for platform in [BORON, P2, PHOTON] {
        let mut rig = Rig::normal(platform);
        let image = user_module(platform, 77).build();
        assert_eq!(update(&mut rig, &image, Message::new()), 0, "{platform}");
        rig.until_reattached();
        assert!(!rig.is_dfu());
        let start = user_module(platform, 77).start;
        assert_eq!(rig.device.flash(start, image.len()), image, "{platform}");
    }
}

#[test]
fn validate_only_changes_nothing() {
    let mut rig = Rig::normal(BORON);
    let old = rig.device.flash(0xb_4000, 0x3000);
    let image = user_module(BORON, 77).build();
    assert_eq!(update(&mut rig, &image, Message::new().int(1, 1)), 0);
    rig.wait_ms(10_000);
    assert!(rig.device.attachment().is_some());
    assert_eq!(rig.device.flash(0xb_4000, 0x3000), old);
}

#[test]
fn what_finish_refuses() {
    let refused = |image: &[u8]| {
        let mut rig = Rig::normal(BORON);
        let old = rig.device.flash(0xb_4000, 0x3000);
        let result = update(&mut rig, image, Message::new());
        rig.wait_ms(10_000);
        assert_eq!(rig.device.flash(0xb_4000, 0x3000), old, "nothing applied");
        result
    };
    let good = user_module(BORON, 77).build();
    let mut torn = good.clone();
    torn[0x1234] ^= 1;
    assert_eq!(refused(&torn), -1330, "integrity");
    assert_eq!(refused(&user_module(ARGON, 77).build()), -1360, "platform");
    let needs = Forge {
        combined: false,
        needs: vec![(4, 1, 6300)],
        ..user_module(BORON, 77)
    };
    assert_eq!(refused(&needs.build()), -1340, "dependency");
    let rubbish = vec![0x5a; 0x3000];
    assert!((-1390..=-1300).contains(&refused(&rubbish)));
}

#[test]
fn a_new_start_cancels_the_update_before() {
    let mut rig = Rig::normal(BORON);
    got(&mut rig, 250, Message::new().int(1, 5_000));
    assert_eq!(told(&mut rig, 253, Message::new().bytes(1, &[0; 1024])), 0);
    let image = user_module(BORON, 78).build();
    assert_eq!(
        update(&mut rig, &image, Message::new().int(1, 1)),
        0,
        "nothing is left of the first"
    );
}
