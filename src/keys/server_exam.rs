//! The examination of the server settings in a device: what they are worth, what becomes of them, and what a person should
//! know of them.

use super::server::{AddressError, Difference, ServerFound, ServerKeyError, segments};
use crate::model::{
    OsVersion, Platform,
    platform::{Family, Segment, Transport},
    recipe::ServerSettings,
    server::{Fate, ServerExam, ServerFinding, ServerNote},
};

/// Examines the server settings of a device by its whole key store, as it was read twice and found equal.
///
/// `transport` is the one that the device uses, `os` its system if it told. The production settings are those of
/// [`production`](super::server::production).
pub fn examine(
    whole: &[u8],
    platform: Platform,
    transport: Transport,
    wanted: &ServerSettings,
    os: Option<OsVersion>,
) -> ServerExam {
    let places = platform.key_segments(transport);
    let (Some(key), Some(address)) = (slice(whole, places.server_key), slice(whole, places.server_address)) else {
        return unreadable("the key store ends before them");
    };
    // The block of a Core's server key holds nothing else, so that a read that failed may look like this.
    let zeros = key.iter().chain(address).all(|b| *b == 0);
    if zeros && matches!(platform.family(), Family::Stm32f1 | Family::Stm32f2) {
        return unreadable("every byte of them is zero, as after a read that failed");
    }
    ServerFound::read(key, address, transport).exam(wanted, transport, os)
}

/// The result of an examination that could not read the key store.
pub fn unreadable(why: impl Into<String>) -> ServerExam {
    ServerExam {
        finding: ServerFinding::Unreadable { why: why.into() },
        key: None,
        address: None,
        notes: Vec::new(),
    }
}

/// What should be known of settings before they are written to a device with this system.
pub fn notes(wanted: &ServerSettings, platform: Platform, transport: Transport, os: Option<OsVersion>) -> Vec<ServerNote> {
    let mut notes = Vec::new();
    notes.extend(port_note(wanted.port, transport));
    let room = platform.key_segments(transport).server_key.len as usize;
    if segments(wanted, transport, room).is_err() && Fate::of(os, false) == Fate::Replaced {
        notes.push(ServerNote::WillBeReverted);
    }
    notes
}

impl ServerFound {
    /// Where the device calls, if its address record is one: `udp://$id.udp.particle.io:5684`. The port is the one that it
    /// uses, not the one that is stored.
    pub fn address_text(&self, transport: Transport) -> Option<String> {
        let address = self.address.as_ref().ok()?;
        let scheme = match transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        Some(format!("{scheme}://{}:{}", address.host, address.effective_port(transport)))
    }

    /// Compares them with the wanted ones.
    pub fn exam(&self, wanted: &ServerSettings, transport: Transport, os: Option<OsVersion>) -> ServerExam {
        let differences = self.differences(wanted, transport);
        let texts = || differences.iter().map(ToString::to_string).collect();
        let mut unusable = differences.iter().filter(|d| is_unusable(d)).peekable();
        let finding = if differences.is_empty() {
            ServerFinding::Right
        } else if unusable.peek().is_some() {
            ServerFinding::Invalid {
                fate: Fate::of(os, unusable.all(is_missing)),
                why: texts(),
            }
        } else {
            ServerFinding::Wrong { differs: texts() }
        };
        let stored = self.address.as_ref().ok().and_then(|address| address.port);
        let mut notes = Vec::new();
        notes.extend(port_note(stored, transport));
        if matches!(
            finding,
            ServerFinding::Invalid {
                fate: Fate::Replaced,
                ..
            }
        ) {
            notes.push(ServerNote::WillBeReverted);
        }
        ServerExam {
            finding,
            key: self.key.as_ref().ok().map(|key| key.fingerprint),
            address: self.address_text(transport),
            notes,
        }
    }
}

/// True if the device cannot use what it has. A key of another kind is a public key to the device, and only wrong.
const fn is_unusable(difference: &Difference) -> bool {
    match difference {
        Difference::KeyUnusable(ServerKeyError::Kind { .. }) => false,
        Difference::KeyUnusable(_) | Difference::AddressUnusable(_) => true,
        Difference::Key { .. } | Difference::Host { .. } | Difference::Port { .. } => false,
    }
}

const fn is_missing(difference: &Difference) -> bool {
    matches!(
        difference,
        Difference::KeyUnusable(ServerKeyError::Blank) | Difference::AddressUnusable(AddressError::Blank)
    )
}

fn port_note(port: Option<u16>, transport: Transport) -> Option<ServerNote> {
    let port = port.filter(|port| transport == Transport::Udp && *port != transport.default_port() && *port != 0)?;
    Some(ServerNote::PortWithoutEffect { port })
}

fn slice(whole: &[u8], place: Segment) -> Option<&[u8]> {
    let from = usize::try_from(place.offset).ok()?;
    whole.get(from..from.checked_add(usize::try_from(place.len).ok()?)?)
}

#[cfg(test)]
mod tests {
    use super::{super::server::production, *};

    const NEW: Option<OsVersion> = Some(OsVersion::new(6, 2, 0));
    const OLD: Option<OsVersion> = Some(OsVersion::new(3, 3, 1));

    /// The key store of a device with these settings, 0xFF elsewhere.
    fn store(platform: Platform, transport: Transport, settings: &ServerSettings) -> Vec<u8> {
        let places = platform.key_segments(transport);
        let mut whole = vec![0xff; platform.dct_len() as usize];
        let new = segments(settings, transport, places.server_key.len as usize).unwrap();
        put(&mut whole, places.server_key, &new.key);
        put(&mut whole, places.server_address, &new.address);
        whole
    }

    fn put(whole: &mut [u8], place: Segment, bytes: &[u8]) {
        whole[place.offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    #[test]
    fn every_platform_is_read_at_its_own_place() {
        for platform in Platform::all() {
            let both: &[Transport] = match platform {
                // It can be set to either.
                Platform::Electron => &[Transport::Udp, Transport::Tcp],
                _ => &[platform.row().transport],
            };
            for &transport in both {
                let wanted = production(transport);
                let exam = examine(&store(platform, transport, &wanted), platform, transport, &wanted, NEW);
                assert_eq!(exam.finding, ServerFinding::Right, "{platform}");
                assert_eq!(exam.notes, []);
                let address = exam.address.unwrap();
                match transport {
                    Transport::Tcp => assert_eq!(address, "tcp://device.spark.io:5683"),
                    Transport::Udp => assert_eq!(address, "udp://$id.udp.particle.io:5684"),
                }
            }
        }
    }

    #[test]
    fn the_core_has_its_own_layout() {
        // device-protocol.md 4.2: key at 0x1000, address at +384, port at +450
        let wanted = ServerSettings {
            host: "10.0.0.7".to_owned(),
            port: Some(7000),
            ..production(Transport::Tcp)
        };
        let whole = store(Platform::Core, Transport::Tcp, &wanted);
        assert_eq!(whole[0x1000..0x1004], [0x30, 0x82, 0x01, 0x22]);
        assert_eq!(whole[0x1000 + 384..0x1000 + 390], [0, 4, 10, 0, 0, 7]);
        assert_eq!(whole[0x1000 + 450..0x1000 + 452], [0x1b, 0x58]);
        let exam = examine(&whole, Platform::Core, Transport::Tcp, &wanted, None);
        assert_eq!(
            (exam.finding, exam.address.as_deref()),
            (ServerFinding::Right, Some("tcp://10.0.0.7:7000"))
        );
    }

    #[test]
    fn every_production_host_is_right_and_a_private_one_is_wrong() {
        let wanted = production(Transport::Tcp);
        let historic = ServerSettings {
            host: "device.tcp.particle.io".to_owned(),
            ..wanted.clone()
        };
        let found = store(Platform::Photon, Transport::Tcp, &historic);
        let exam = examine(&found, Platform::Photon, Transport::Tcp, &wanted, OLD);
        assert!(exam.finding.is_right(), "{exam:?}");
        let private = ServerSettings {
            host: "cloud.example".to_owned(),
            port: Some(1234),
            ..wanted.clone()
        };
        let found = store(Platform::Photon, Transport::Tcp, &private);
        let exam = examine(&found, Platform::Photon, Transport::Tcp, &wanted, OLD);
        assert_eq!(
            exam.finding.to_string(),
            "server is \"cloud.example\", wanted \"device.spark.io\", server port is 1234, wanted 5683"
        );
        assert_eq!((exam.finding.word(), exam.notes.len()), ("wrong", 0));
        assert_eq!(exam.address.as_deref(), Some("tcp://cloud.example:1234"));
    }

    #[test]
    fn what_the_device_cannot_use_has_a_fate() {
        let transport = Transport::Udp;
        let wanted = production(transport);
        let good = store(Platform::Boron, transport, &wanted);
        let places = Platform::Boron.key_segments(transport);
        let cases: [(&str, Segment, &[u8], bool); 4] = [
            ("blank key", places.server_key, &[0xff; 192], true),
            ("blank address", places.server_address, &[0xff; 128], true),
            (
                "torn key",
                places.server_key,
                &[0x30, 0x59, 0x30, 0x13, 0xff, 0xff, 0xff],
                false,
            ),
            ("address of a strange type", places.server_address, &[7], false),
        ];
        for (name, place, bytes, missing) in cases {
            let mut whole = good.clone();
            put(&mut whole, place, bytes);
            for (os, fate) in [
                (NEW, Fate::Replaced),
                (OLD, if missing { Fate::Patched } else { Fate::Kept }),
                (None, Fate::Unknown),
            ] {
                let exam = examine(&whole, Platform::Boron, transport, &wanted, os);
                let ServerFinding::Invalid { fate: found, .. } = exam.finding else {
                    panic!("{name}: {exam:?}");
                };
                assert_eq!(found, fate, "{name}");
                assert_eq!(exam.notes == [ServerNote::WillBeReverted], fate == Fate::Replaced, "{name}");
            }
        }
    }

    #[test]
    fn a_key_of_the_other_kind_is_wrong_and_not_replaced() {
        let mut whole = store(Platform::Boron, Transport::Udp, &production(Transport::Udp));
        let rsa = production(Transport::Tcp).spki;
        // An RSA-2048 key does not fit into the slot; its first bytes are not one.
        put(
            &mut whole,
            Platform::Boron.key_segments(Transport::Udp).server_key,
            &rsa[..192],
        );
        let exam = examine(&whole, Platform::Boron, Transport::Udp, &production(Transport::Udp), NEW);
        assert_eq!(exam.finding.word(), "invalid", "{exam:?}");
        let mut whole = store(Platform::Photon, Transport::Tcp, &production(Transport::Tcp));
        let ec = production(Transport::Udp).spki;
        put(&mut whole, Platform::Photon.key_segments(Transport::Tcp).server_key, &ec);
        let exam = examine(&whole, Platform::Photon, Transport::Tcp, &production(Transport::Tcp), OLD);
        assert_eq!(exam.finding.word(), "wrong", "{exam:?}");
    }

    #[test]
    fn a_stored_port_of_a_udp_device_is_said_to_be_without_effect() {
        let wanted = ServerSettings {
            port: Some(8443),
            ..production(Transport::Udp)
        };
        let note = ServerNote::PortWithoutEffect { port: 8443 };
        assert_eq!(notes(&wanted, Platform::P2, Transport::Udp, NEW), [note]);
        assert_eq!(notes(&wanted, Platform::P2, Transport::Udp, None), [note]);
        let whole = store(Platform::P2, Transport::Udp, &wanted);
        let exam = examine(&whole, Platform::P2, Transport::Udp, &production(Transport::Udp), NEW);
        assert_eq!((exam.finding, exam.notes), (ServerFinding::Right, vec![note]));
        assert_eq!(exam.address.as_deref(), Some("udp://$id.udp.particle.io:5684"));
        let default = ServerSettings {
            port: Some(5684),
            ..wanted.clone()
        };
        assert_eq!(notes(&default, Platform::P2, Transport::Udp, NEW), []);
        let tcp = ServerSettings {
            port: Some(8443),
            ..production(Transport::Tcp)
        };
        assert_eq!(notes(&tcp, Platform::Photon, Transport::Tcp, OLD), [], "TCP devices use it");
    }

    #[test]
    fn settings_that_no_device_can_use_are_said_to_be_reverted_where_they_are() {
        let bad = ServerSettings {
            host: "no host".to_owned(),
            ..production(Transport::Udp)
        };
        assert_eq!(
            notes(&bad, Platform::Boron, Transport::Udp, NEW),
            [ServerNote::WillBeReverted]
        );
        assert_eq!(
            notes(&bad, Platform::Boron, Transport::Udp, Some(OsVersion::new(4, 2, 0))),
            [ServerNote::WillBeReverted]
        );
        assert_eq!(
            notes(&bad, Platform::Boron, Transport::Udp, Some(OsVersion::new(5, 2, 0))),
            []
        );
    }

    #[test]
    fn zeros_are_unreadable_where_a_failed_read_looks_so() {
        let wanted = production(Transport::Tcp);
        for platform in [Platform::Core, Platform::Photon] {
            let mut whole = store(platform, Transport::Tcp, &wanted);
            let places = platform.key_segments(Transport::Tcp);
            put(&mut whole, places.server_key, &[0; 384]);
            put(&mut whole, places.server_address, &[0; 128]);
            assert_eq!(
                examine(&whole, platform, Transport::Tcp, &wanted, None).finding.word(),
                "unreadable"
            );
        }
        let wanted = production(Transport::Udp);
        let zeros = vec![0; 8391];
        assert_eq!(
            examine(&zeros, Platform::Boron, Transport::Udp, &wanted, NEW).finding.word(),
            "invalid"
        );
        assert_eq!(
            examine(&zeros[..3400], Platform::Boron, Transport::Udp, &wanted, NEW)
                .finding
                .word(),
            "unreadable"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_key_store_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..4000)) {
            for platform in [Platform::Core, Platform::Photon, Platform::Boron] {
                let transport = platform.row().transport;
                let _ = examine(&bytes, platform, transport, &production(transport), NEW);
            }
        }
    }
}
