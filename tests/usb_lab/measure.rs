//! The figures of the lab, one `name value unit` a line: the same models and times for every client.

#![expect(clippy::print_stdout, reason = "figures are what this prints")]

use std::{fs, process::Command, sync::Arc, time::Duration};

use keyrack::{
    cli::rig::Options,
    device::{Cancel, Dfu, Link, UsbBus},
    edge::Bus,
    sim::device::Press,
};

use super::{
    lab::{CLOCK, Lab, now, until},
    process::{Program, keyrack, text},
    vendor_cli,
};

#[test]
#[ignore = "needs the guest of scripts/usb-lab bench"]
fn flash_of_eight_devices() {
    let lab = Lab::of(&["argon"; 8]);
    lab.settled(8);
    for slot in 1..=8 {
        lab.look(slot, |device| device.press(now(), Press::Dfu));
    }
    until("all are in DFU mode", || {
        (1..=8).all(|slot| lab.attached(slot).is_some_and(|a| a.product == 0xd00c))
    });
    lab.settled(8);
    let image: Vec<u8> = (0..48 << 10_u32)
        .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    fs::write(lab.folder.path().join("image"), &image).unwrap();

    let begun = now();
    for slot in 1..=8 {
        let serial = lab.attached(slot).unwrap().serial.unwrap();
        let mut dfu_util = Command::new("dfu-util");
        dfu_util.args(["-S", &serial, "-a", "0", "-s", &format!("{APPLICATION:#x}"), "-D", "image"]);
        let output = dfu_util.current_dir(lab.folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let theirs = now().since(begun);

    let bus = Arc::new(UsbBus::start(Arc::clone(&CLOCK)).unwrap());
    let devices = bus.list().unwrap();
    assert_eq!(devices.len(), 8);
    let image = Arc::new(image.iter().map(|byte| !byte).collect::<Vec<u8>>());
    let begun = now();
    let threads: Vec<_> = devices
        .into_iter()
        .map(|attached| {
            let (bus, image) = (Arc::clone(&bus), Arc::clone(&image));
            let body = move || {
                let mut link = Link::open(&*bus, &attached, Arc::clone(&CLOCK), Cancel::new()).unwrap();
                let mut dfu = Dfu::open(&mut link).unwrap();
                dfu.write_image(0, APPLICATION, &image, true, &mut |_, _| {}).unwrap();
            };
            CLOCK.spawn("flash", Box::new(body))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread().unwrap());
    let ours = now().since(begun);
    for slot in 1..=8 {
        assert!(lab.look(slot, |device| device.flash(APPLICATION, image.len()) == *image));
    }
    figure("lab_flash8_dfu_util", theirs.as_secs_f64(), "s");
    figure("lab_flash8_keyrack", ours.as_secs_f64(), "s");
    figure("lab_flash8_vs_dfu_util", theirs.as_secs_f64() / ours.as_secs_f64(), "x");
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab bench"]
fn racks_of_many_devices() {
    for count in [16_u16, 32, 64] {
        let kinds = ["argon", "p2", "photon\nos = \"2.3.1\"", "boron"];
        let slots: Vec<&str> = kinds.iter().copied().cycle().take(usize::from(count)).collect();
        let lab = Lab::of(&slots);
        lab.settled(slots.len());
        let config = lab.config();
        let begun = now();
        let arguments = [
            "run",
            "--headless",
            "--config",
            text(&config),
            "--devices",
            &count.to_string(),
        ];
        let output = keyrack(lab.folder.path(), &arguments);
        let took = now().since(begun);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        figure(&format!("lab_rack_{count}"), took.as_secs_f64(), "s");
    }
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab bench"]
fn from_plug_to_step_and_from_unplug_to_screen() {
    let lab = Lab::scenario(&super::lab::scenario(&["argon", "p2"]), &Options::default());
    lab.settled(2);
    let device = lab.world().unplug(&lab.port(1)).unwrap();
    lab.settled(1);
    let config = lab.config();
    let mut station = Program::start(&["run", "--headless", "--config", text(&config)], lab.folder.path());
    let first = station.wait_for(|line| line["fact"]["fact"] == "step-started");
    assert!(first.is_some(), "{}", station.complaints());
    let (mut plugged, mut pulled) = (Vec::new(), Vec::new());
    let mut device = Some(device);
    for _ in 0..5 {
        lab.world().plug(&lab.port(1), device.take().unwrap()).unwrap();
        // The device has to start first; it counts from when it is on the bus.
        until("it is on the bus", || lab.attached(1).is_some());
        let begun = now();
        let id = lab.device(1).to_string();
        let fits = |line: &serde_json::Value| line["fact"]["fact"] == "step-started" && line["device"] == id.as_str();
        assert!(station.wait_for(fits).is_some(), "{}", station.complaints());
        plugged.push(now().since(begun));
        let begun = now();
        device = Some(lab.world().unplug(&lab.port(1)).unwrap());
        let fits = |line: &serde_json::Value| line["event"] == "slot" && line["slot"] == 1 && line["state"] != "running";
        assert!(station.wait_for(fits).is_some(), "{}", station.complaints());
        pulled.push(now().since(begun));
    }
    figure("plug_to_first_step_ms", median(plugged).as_secs_f64() * 1e3, "ms");
    figure("unplug_to_shown_ms", median(pulled).as_secs_f64() * 1e3, "ms");
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab bench"]
fn transfers_of_the_vendors_cli() {
    for (name, ratio) in vendor_cli::transfers() {
        figure(&format!("transfers_vs_particle_cli_{name}"), ratio, "x");
    }
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

fn figure(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.3} {unit}");
}

/// Where applications lie on nRF52840.
const APPLICATION: u32 = 0x000b_4000;
