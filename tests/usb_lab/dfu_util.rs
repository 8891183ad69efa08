//! dfu-util, which knows nothing of keyrack: it lists, uploads, downloads and leaves, on each family. What it cannot do with a
//! model, the model does wrong until the opposite is shown.

use std::{fs, process::Command};

use keyrack::sim::device::Press;

use super::lab::{Lab, shown, until};

/// A family: its platform, USB product in DFU mode, alternate settings, where applications lie, and what a sector is there.
const FAMILIES: [(&str, u16, usize, u32); 4] = [
    ("argon", 0xd00c, 3, 0x000b_4000),
    ("p2", 0xd020, 2, 0x085f_4000),
    ("photon\nos = \"2.3.1\"", 0xd006, 2, 0x080a_0000),
    ("electron\nos = \"2.3.1\"", 0xd00a, 2, 0x0808_0000),
];

fn rack() -> Lab {
    let lab = Lab::of(&FAMILIES.map(|(slot, ..)| slot));
    lab.settled(FAMILIES.len());
    for (slot, (_, product, ..)) in (1..).zip(FAMILIES) {
        let now = super::lab::now();
        lab.look(slot, |device| device.press(now, Press::Dfu));
        until("the device is in DFU mode", || {
            lab.attached(slot).is_some_and(|a| a.product == product)
        });
    }
    lab.settled(FAMILIES.len());
    lab
}

/// Runs it; how it ended, and everything that it said.
fn dfu_util(lab: &Lab, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("dfu-util")
        .args(arguments)
        .current_dir(lab.folder.path())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), text.concat())
}

#[track_caller]
fn done(lab: &Lab, arguments: &[&str]) -> String {
    let (success, said) = dfu_util(lab, arguments);
    assert!(success, "dfu-util {}: {said}", arguments.join(" "));
    said
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn it_lists_every_alternate_setting_of_every_device() {
    let lab = rack();
    let said = done(&lab, &["-l"]);
    for (slot, (platform, product, alternates, _)) in (1..).zip(FAMILIES) {
        let serial = &lab.attached(slot).unwrap().serial.unwrap();
        let lines: Vec<_> = said
            .lines()
            .filter(|line| line.contains(&format!("serial=\"{serial}\"")))
            .collect();
        assert_eq!(lines.len(), alternates, "{platform}: {said}");
        for line in lines {
            assert!(line.contains(&format!("[2b04:{product:04x}]")), "{line}");
            assert!(line.contains(&format!("path=\"1-{slot}\"")), "{line}");
        }
    }
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn it_reads_key_stores_and_writes_applications_and_leaves() {
    let lab = rack();
    // Not a multiple of the block, and more than one sector of nRF and RTL.
    let image: Vec<u8> = (0..20_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(lab.folder.path().join("image"), &image).unwrap();
    for (slot, (platform, product, _, address)) in (1..).zip(FAMILIES) {
        let serial = lab.attached(slot).unwrap().serial.unwrap();
        let of = |more: &[&str]| {
            [&["-S", &serial], more]
                .concat()
                .iter()
                .map(|s| (*s).to_owned())
                .collect::<Vec<String>>()
        };
        let run = |more: &[&str]| done(&lab, &of(more).iter().map(String::as_str).collect::<Vec<_>>());
        let at = format!("{address:#x}");

        // As long as the key store is known to be; the rest of its 16 KiB cannot be read on all families.
        run(&["-a", "1", "-s", "0:8134", "-U", &format!("dct-{slot}")]);
        let dct = fs::read(lab.folder.path().join(format!("dct-{slot}"))).unwrap();
        assert_eq!(dct.len(), 8134, "{platform}");
        assert!(
            lab.look(slot, |device| device.dct()[..dct.len()] == dct[..]),
            "{platform}: another key store was read"
        );

        run(&["-a", "0", "-s", &at, "-D", "image"]);
        assert!(
            lab.look(slot, |device| device.flash(address, image.len()) == image),
            "{platform}: not what was written"
        );
        run(&[
            "-a",
            "0",
            "-s",
            &format!("{at}:{}", image.len()),
            "-U",
            &format!("back-{slot}"),
        ]);
        assert!(
            fs::read(lab.folder.path().join(format!("back-{slot}"))).unwrap() == image,
            "{platform}: not what is there"
        );
        assert_eq!(
            lab.attached(slot).unwrap().product,
            product,
            "{platform}: it left before it was told to"
        );

        run(&["-a", "0", "-s", &format!("{at}:leave"), "-D", "image"]);
        until("the device is out of DFU mode", || {
            lab.attached(slot).is_some_and(|a| a.product == product & 0x0fff | 0xc000)
        });
    }
    until("the kernel shows them again", || shown().len() == FAMILIES.len());
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn it_is_refused_what_the_layout_or_the_protection_forbids() {
    let lab = Lab::of(&["argon", "boron\nprotected = true"]);
    lab.settled(2);
    for slot in [1, 2] {
        let now = super::lab::now();
        lab.look(slot, |device| device.press(now, Press::Dfu));
        until("the device is in DFU mode", || {
            lab.attached(slot).is_some_and(|a| a.product & 0xf000 == 0xd000)
        });
    }
    lab.settled(2);
    fs::write(lab.folder.path().join("image"), [0x5a; 4096]).unwrap();
    let serials = [1, 2].map(|slot| lab.attached(slot).unwrap().serial.unwrap());
    let dct = lab.look(2, |device| device.dct().to_vec());
    for (serial, alternate, address) in [
        (&serials[0], "0", "0x0"),
        (&serials[0], "0", "0x00100000"),
        (&serials[1], "1", "0x0"),
    ] {
        let (success, said) = dfu_util(&lab, &["-S", serial, "-a", alternate, "-s", address, "-D", "image"]);
        assert!(!success, "{address} of alternate setting {alternate}: {said}");
    }
    let (success, said) = dfu_util(&lab, &["-S", &serials[1], "-a", "1", "-s", "0:4096", "-U", "secret"]);
    assert!(!success, "a protected device gave its key store away: {said}");
    assert!(
        lab.look(2, |device| device.dct() == dct),
        "a protected device let its key store be written"
    );
}
