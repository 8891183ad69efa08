//! Updates by control request: checks, codes, and what the bootloader makes of them.

use super::*;

fn forge(change: impl FnOnce(&mut Forge)) -> Vec<u8> {
    let mut forge = Forge {
        platform: 13,
        function: 2,
        index: 0,
        version: 3200,
        needs: Vec::new(),
        start: 0xf_4000,
        length: 8 << 10,
        product: (0xffff, 0xffff),
        combined: false,
        protects: false,
        seed: 8,
    };
    change(&mut forge);
    forge.build()
}

impl Host {
    /// The whole sequence; the result of FINISH.
    fn update(&mut self, file: &[u8], only_check: bool) -> i32 {
        let start = proto::Message::new().number(1, file.len() as u64).done();
        assert_eq!(self.request(250, &start), (0, unhex("088008")));
        for chunk in file.chunks(1024) {
            assert_eq!(self.request(253, &proto::Message::new().bytes(1, chunk).done()).0, 0);
        }
        let finish = proto::Message::new().number(1, u64::from(only_check)).done();
        let result = self.request(251, &finish).0;
        self.settle();
        result
    }
}

#[test]
fn a_bootloader_is_applied_by_the_next_reset() {
    let mut host = Host::platform(13);
    let file = forge(|_| ());
    let boots = host.device.counters().boots;
    assert_eq!(host.update(&file, true), 0);
    assert_eq!(host.device.counters().boots, boots, "only checked");
    assert_eq!(host.update(&file, false), 0);
    assert_eq!(host.device.flash(0xf_4000, file.len()), file);
    assert_eq!(host.device.counters().boots, boots + 1);
    let protecting = forge(|f| f.protects = true);
    assert_eq!(host.update(&protecting, false), 0);
    assert!(
        host.device.is_protected(),
        "a protecting bootloader protects from the next boot on"
    );
}

#[test]
fn a_cut_while_it_is_applied_only_delays_it() {
    let mut host = Host::timed(Spec::default(), Timing::default());
    let file = forge(|_| ());
    let start = proto::Message::new().number(1, file.len() as u64).done();
    host.request(250, &start);
    for chunk in file.chunks(1024) {
        host.request(253, &proto::Message::new().bytes(1, chunk).done());
    }
    assert_eq!(host.request(251, &[]).0, 0);
    host.pass(Duration::from_millis(1500));
    assert_eq!(host.device.attachment(), None);
    assert_ne!(host.device.flash(0xf_4000, file.len()), file);
    host.power_cycle();
    assert_eq!(host.device.flash(0xf_4000, file.len()), file);
}

#[test]
fn each_wrong_file_has_its_code() {
    let mut host = Host::platform(13);
    let mut broken = forge(|_| ());
    broken[5000] ^= 1;
    assert_eq!(host.update(&broken, false), -1330);
    assert_eq!(host.update(&forge(|f| f.platform = 12), false), -1360);
    assert_eq!(host.update(&forge(|f| f.needs = vec![(4, 1, 6300)]), false), -1340);
    assert_eq!(host.update(&forge(|f| f.start = 0xe_0000), false), -1350);
    assert_eq!(host.update(&forge(|f| f.length = 60 << 10), false), -1351);
    assert_eq!(host.update(&vec![0xff; 2048], false), -1300);
    assert_eq!(host.update(&forge(|_| ())[..4096], false), -1351);
    assert_eq!(host.update(&forge(|f| f.function = 1), false), -1310);
}

#[test]
fn the_sequence_is_strict() {
    let mut host = Host::platform(13);
    assert_eq!(host.request(253, &[0x0a, 1, 0]).0, -210, "DATA without START");
    assert_eq!(host.request(250, &unhex("08808004 1001")).0, -120, "compressed");
    assert_eq!(host.request(250, &unhex("08ffffff7f")).0, -1351);
    assert_eq!(host.request(250, &unhex("0804")).0, 0);
    assert_eq!(host.request(251, &[]).0, -210, "bytes are missing");
    assert_eq!(host.request(250, &unhex("0804")).0, 0);
    assert_eq!(host.request(253, &unhex("0a050000000000")).0, -290, "too many");
    assert_eq!(host.request(253, &unhex("0a0100")).0, -210, "which cancelled all");
}

#[test]
fn assets_are_kept_and_listed() {
    let asset = unhex(
        "000000007a0000000001000000000900000000000000000068656c6c6f1000260000202cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73
         043362938b982411000900612e74787401000a00ffffffffffff000041151db1223f9324dd05c6adbbe69d5789490c7cd7ffd5a4ecd3976084db0be65d
         002d7845b6",
    );
    let mut host = Host::platform(13);
    assert_eq!(host.request(91, &[]), (0, Vec::new()));
    assert_eq!(host.update(&asset, false), 0);
    let (_, body) = host.request(91, &[]);
    let outer = proto::Fields::read(&body).unwrap();
    let listed = proto::Fields::read(outer.bytes(1).unwrap()).unwrap();
    assert_eq!(
        (listed.text(2).unwrap().as_str(), listed.number(3), listed.number(4)),
        ("a.txt", 5, 4096)
    );
}

#[test]
fn two_modules_in_one_image_may_need_each_other() {
    let mut host = Host::platform(13);
    let user = forge(|f| {
        (f.function, f.index, f.start) = (5, 2, 0xb_4000);
        f.needs = vec![(2, 0, 3200)];
    });
    assert_eq!(host.update(&user, false), -1340, "alone");
    let loader = forge(|f| f.combined = true);
    assert_eq!(host.update(&[loader.clone(), user.clone()].concat(), false), 0);
    assert_eq!(host.device.flash(0xb_4000, user.len()), user);
    assert_eq!(host.device.flash(0xf_4000, loader.len()), loader);
    assert_eq!(host.update(&loader, false), -1370, "it says that another follows");
    let three = [loader.clone(), loader, user].concat();
    assert_eq!(host.update(&three, false), -1370, "at most two");
}
