//! Platforms by name, and what follows from a platform alone (device-protocol.md 1.1, 1.2).

use serde::Deserialize;

use crate::model::DeviceId;

/// A platform, by the name in scenario files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PlatformName(&'static Row);

/// A Device OS version, written `6.2.0`, as its module version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct OsVersion(pub(super) u16);

#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: &'static str,
    number: u16,
    /// With which bytes its device ids start.
    id_prefix: &'static [u8],
    cellular: bool,
    tcp: bool,
    /// Module version of the newest Device OS that it runs.
    os: u16,
}

impl PlatformName {
    /// The name.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The platform number.
    pub fn number(self) -> u16 {
        self.0.number
    }

    /// True if it has a modem.
    pub fn cellular(self) -> bool {
        self.0.cellular
    }

    /// True if it connects over TCP, with an RSA key.
    pub fn tcp(self) -> bool {
        self.0.tcp
    }

    pub(super) fn os_version(self) -> u16 {
        self.0.os
    }

    /// The id of the device in this slot when the file names none.
    pub(super) fn device_id(self, seed: u64, slot: u16) -> DeviceId {
        let (first, second) = (mix(seed, u64::from(slot)), mix(seed, u64::from(slot) | 1 << 32));
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&first.to_be_bytes());
        bytes[8..].copy_from_slice(&second.to_be_bytes()[..4]);
        bytes[..self.0.id_prefix.len()].copy_from_slice(self.0.id_prefix);
        DeviceId::from_bytes(bytes)
    }
}

impl TryFrom<String> for PlatformName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let row = TABLE.iter().find(|row| row.name == name);
        row.map(Self).ok_or_else(|| {
            let names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
            format!("\"{name}\" is not a platform; platforms are {}", names.join(", "))
        })
    }
}

impl TryFrom<String> for OsVersion {
    type Error = String;
    /// From 2.0 on the module version is the version with two digits for minor and patch, before it is a running number:
    /// 5.3.0 is 5300. Pre-releases count down from the release and are not offered here.
    fn try_from(text: String) -> Result<Self, String> {
        let parts: Vec<u16> = text
            .split('.')
            .map(|p| p.parse().ok())
            .collect::<Option<_>>()
            .unwrap_or_default();
        match parts[..] {
            [major @ 2..=64, minor @ 0..=9, patch @ 0..=99] => Ok(Self(major * 1000 + minor * 100 + patch)),
            _ => Err(format!(
                "\"{text}\" is not a Device OS version such as 6.2.0 (2.0.0 or later, no pre-release)"
            )),
        }
    }
}

/// A number from two, in which no bit of either can be seen (the finaliser of SplitMix64).
pub(super) fn mix(seed: u64, salt: u64) -> u64 {
    let mut z = seed.wrapping_add(salt.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const NRF: &[u8] = &[0xe0, 0x0f, 0xce, 0x68];
const RTL: &[u8] = &[0x0a, 0x10, 0xac, 0xed, 0x20, 0x21];
/// An STM32's unique id has no fixed start; these are a common wafer's.
const STM: &[u8] = &[0x3a, 0x00];

#[rustfmt::skip]
static TABLE: &[Row] = &[
    row("core",       0, STM, false, true,  1406),
    row("photon",     6, STM, false, true,  2302),
    row("p1",         8, STM, false, true,  2302),
    row("electron",  10, STM, true,  false, 3301),
    row("argon",     12, NRF, false, false, 6200),
    row("boron",     13, NRF, true,  false, 6200),
    row("xenon",     14, NRF, false, false, 1512),
    row("esomx",     15, NRF, true,  false, 6200),
    row("asom",      22, NRF, false, false, 6200),
    row("bsom",      23, NRF, true,  false, 6200),
    row("xsom",      24, NRF, false, false, 1512),
    row("b5som",     25, NRF, true,  false, 6200),
    row("tracker",   26, NRF, true,  false, 6200),
    row("trackerm",  28, RTL, true,  false, 6200),
    row("p2",        32, RTL, false, false, 6200),
    row("msom",      35, RTL, true,  false, 6200),
    row("electron2", 37, NRF, true,  false, 6200),
    row("sulu",      38, RTL, false, false, 6200),
];

const fn row(name: &'static str, number: u16, id_prefix: &'static [u8], cellular: bool, tcp: bool, os: u16) -> Row {
    Row {
        name,
        number,
        id_prefix,
        cellular,
        tcp,
        os,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions() {
        let p2 = PlatformName::try_from("p2".to_owned()).unwrap();
        assert_eq!((p2.number(), p2.tcp(), p2.cellular()), (32, false, false));
        assert!(PlatformName::try_from("p3".to_owned()).unwrap_err().contains("argon, boron"));
        assert_eq!(OsVersion::try_from("6.2.0".to_owned()), Ok(OsVersion(6200)));
        assert_eq!(OsVersion::try_from("2.3.1".to_owned()), Ok(OsVersion(2301)));
        for bad in ["", "6.2", "6.2.0-rc.1", "1.5.2", "65.0.0", "6.10.0", "-6.2.0"] {
            assert!(OsVersion::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_look_like_their_platform_and_never_meet() {
        let argon = PlatformName::try_from("argon".to_owned()).unwrap();
        let ids: std::collections::BTreeSet<_> = (1..=2040).map(|slot| argon.device_id(7, slot)).collect();
        assert_eq!(ids.len(), 2040);
        assert!(ids.iter().all(|id| id.to_string().starts_with("e00fce68")));
        assert_ne!(argon.device_id(7, 1), argon.device_id(8, 1));
    }
}
