//! What can be told without the kernel's controller: which files there are, and what is written into them.

use std::{fs, path::Path};

use super::*;
use crate::sim::world::hubs::Topology;

/// A folder as the kernel makes it for so many controllers.
fn platform(controllers: u16, ports: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..controllers {
        fs::create_dir(folder.path().join(format!("vhci_hcd.{n}"))).unwrap();
    }
    if controllers > 0 {
        fs::write(folder.path().join("vhci_hcd.0/nports"), ports).unwrap();
        fs::write(folder.path().join("vhci_hcd.0/attach"), "").unwrap();
    }
    folder
}

#[test]
fn a_machine_without_the_controller_says_so() {
    let none = platform(0, "");
    assert!(matches!(Controllers::find(none.path()), Err(NoController::Absent)));
    assert!(matches!(Controllers::find(Path::new("/nowhere")), Err(NoController::Absent)));
    for odd in ["", "many", "0", "1"] {
        let folder = platform(1, odd);
        let found = Controllers::find(folder.path());
        assert!(matches!(found, Err(NoController::Unknown(_))), "{odd:?}: {found:?}");
    }
    let folder = platform(1, "16\n");
    fs::remove_file(folder.path().join("vhci_hcd.0/attach")).unwrap();
    assert!(matches!(Controllers::find(folder.path()), Err(NoController::Forbidden(_))));
}

#[test]
fn each_slot_has_the_number_of_its_port() {
    // 8 controllers with 15 ports for each of two speeds, as Debian's kernel has them.
    let folder = platform(8, "240\n");
    let controllers = Controllers::find(folder.path()).unwrap();
    assert_eq!(controllers.capacity(), 120);
    // What the kernel has not let go yet.
    fs::create_dir_all(folder.path().join("vhci_hcd.1/usb3/3-2")).unwrap();
    fs::create_dir_all(folder.path().join("vhci_hcd.1/usb4")).unwrap();
    for (port, held) in [
        ("platform-vhci_hcd.1/2", true),
        ("platform-vhci_hcd.1/3", false),
        ("platform-vhci_hcd.0/2", false),
    ] {
        assert_eq!(controllers.holds(&port.parse().unwrap()), held, "{port}");
    }
    let wire = UnixStream::pair().unwrap().0;
    for (slot, port, number) in [
        (1, "platform-vhci_hcd.0/1", 0),
        (15, "platform-vhci_hcd.0/15", 14),
        (16, "platform-vhci_hcd.1/1", 30),
        (120, "platform-vhci_hcd.7/15", 224),
    ] {
        assert_eq!(controllers.topology().port(slot).to_string(), port);
        controllers.attach(&port.parse().unwrap(), &wire).unwrap();
        let written = fs::read_to_string(folder.path().join("vhci_hcd.0/attach")).unwrap();
        let words: Vec<&str> = written.split(' ').collect();
        assert_eq!(
            (words[0], words[3], words.len()),
            (number.to_string().as_str(), "2", 4),
            "{port}"
        );
        fs::write(folder.path().join("vhci_hcd.0/attach"), "").unwrap();
    }
    // What the kernel has not let go yet.
    fs::create_dir_all(folder.path().join("vhci_hcd.1/usb3/3-2")).unwrap();
    fs::create_dir_all(folder.path().join("vhci_hcd.1/usb4")).unwrap();
    for (port, held) in [
        ("platform-vhci_hcd.1/2", true),
        ("platform-vhci_hcd.1/3", false),
        ("platform-vhci_hcd.0/2", false),
    ] {
        assert_eq!(controllers.holds(&port.parse().unwrap()), held, "{port}");
    }
    for port in [
        Topology::Hubs.port(1).to_string(),
        "platform-vhci_hcd.8/1".to_owned(),
        "platform-vhci_hcd.0/16".to_owned(),
        "platform-vhci_hcd.0/1.1".to_owned(),
    ] {
        let port: PortPath = port.parse().unwrap();
        assert!(!controllers.has(&port), "{port}");
        assert!(controllers.attach(&port, &wire).is_err(), "{port}");
    }
}
