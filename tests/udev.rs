//! The udev rules that `scripts/udev` prints, against the platform table.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use keyrack::model::{
    Platform,
    platform::{PARTICLE_VENDOR, UsbId, UsbMode},
};

/// One rule: what has to fit, and what is set then.
#[derive(Debug)]
struct Rule {
    matches: Vec<(String, String)>,
    sets: Vec<(String, String)>,
}

impl Rule {
    /// Reads `KEY=="value", KEY="value", ...`.
    fn parse(line: &str) -> Self {
        let (mut matches, mut sets) = (Vec::new(), Vec::new());
        for part in line.split(", ") {
            let (key, value) = part.split_once('=').unwrap_or_else(|| panic!("{part} in {line}"));
            let unquoted = |text: &str| {
                let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                inner.unwrap_or_else(|| panic!("{part} in {line}")).to_owned()
            };
            match value.strip_prefix('=') {
                Some(value) => matches.push((key.to_owned(), unquoted(value))),
                None => sets.push((key.trim_end_matches(['+', '!']).to_owned(), unquoted(value))),
            }
        }
        Self { matches, sets }
    }

    fn wants(&self, key: &str) -> Option<&str> {
        self.matches.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    fn gives(&self, key: &str) -> Option<&str> {
        self.sets.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    fn fits(&self, id: UsbId) -> bool {
        let one_of = |key, number: u16| {
            self.wants(key)
                .is_none_or(|allowed| allowed.split('|').any(|a| a == format!("{number:04x}")))
        };
        self.wants("SUBSYSTEM") == Some("usb") && one_of("ATTR{idVendor}", id.vendor) && one_of("ATTR{idProduct}", id.product)
    }
}

fn udev(arguments: &[&str]) -> (i32, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/udev");
    let end = Command::new(script).args(arguments).output().unwrap();
    (end.status.code().unwrap(), String::from_utf8(end.stdout).unwrap())
}

fn rules(text: &str) -> Vec<Rule> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rules: Vec<Rule> = lines
        .filter(|line| !line.contains("GOTO=") && !line.starts_with("LABEL="))
        .map(Rule::parse)
        .collect();
    assert!(rules.len() >= 6, "{rules:?}");
    rules
}

#[test]
fn every_platform_of_the_table_may_be_opened_in_both_modes_and_is_left_alone_by_modem_manager() {
    let rules = rules(&udev(&[]).1);
    for platform in Platform::all() {
        for mode in [UsbMode::Normal, UsbMode::Dfu] {
            let fitting: Vec<&Rule> = rules.iter().filter(|rule| rule.fits(platform.usb(mode))).collect();
            let [rule] = fitting[..] else {
                panic!("{platform} in {mode}: {fitting:?}");
            };
            assert_eq!(rule.gives("MODE"), Some("0660"), "{platform}");
            assert_eq!(rule.gives("GROUP"), Some("plugdev"), "{platform}");
            assert_eq!(rule.gives("TAG"), Some("uaccess"), "{platform}");
            assert_eq!(rule.gives("ENV{ID_MM_DEVICE_IGNORE}"), Some("1"), "{platform}");
        }
    }
}

#[test]
fn of_vendors_that_others_share_only_the_products_that_are_meant_are_opened() {
    let rules = rules(&udev(&[]).1);
    let opened = |vendor: u16| -> Vec<u16> {
        let id = |product| UsbId { vendor, product };
        (0..=u16::MAX)
            .filter(|product| rules.iter().any(|rule| rule.fits(id(*product))))
            .collect()
    };
    let core: Vec<u16> = [UsbMode::Normal, UsbMode::Dfu]
        .map(|mode| Platform::Core.usb(mode).product)
        .into();
    assert_eq!(opened(0x1d50), core);
    assert_eq!(opened(0x0d28), [0x0204], "the Particle Debugger");
    assert!(opened(0x0483).len() < 20, "ST makes more than probes");
    assert_eq!(opened(PARTICLE_VENDOR).len(), 0x1_0000);
    assert_eq!(opened(0x046d).len(), 0, "mice and keyboards");
}

#[test]
fn they_are_installed_whole_for_the_group_that_was_named() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("rules.d");
    assert_eq!(udev(&["--install", "--to", to.to_str().unwrap(), "--group", "bench"]).0, 0);
    let files: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    assert_eq!(file.file_name().unwrap(), "70-keyrack.rules");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o644);
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(text, udev(&["--group", "bench"]).1);
    assert!(rules(&text).iter().all(|rule| rule.gives("GROUP") == Some("bench")));
}

#[test]
fn a_wrong_command_line_installs_nothing() {
    for wrong in [
        &["--instal"][..],
        &["--to", "/tmp"],
        &["--group", "a b"],
        &["--group", "x\"; y"],
    ] {
        let (code, out) = udev(wrong);
        assert_eq!((code, out.as_str()), (2, ""), "{wrong:?}");
    }
}
