//! What a device tells about itself: descriptors and the standard requests around them, in normal and in DFU mode
//! (device-protocol.md 1.3 to 1.5).
//!
//! Pure functions of a few facts about the device.

use super::platform::{Family, Platform};

/// The facts that descriptors depend on.
pub(super) struct Facts<'a> {
    pub(super) platform: &'static Platform,
    /// In DFU mode.
    pub(super) dfu: bool,
    /// The serial number string as this mode spells it.
    pub(super) serial: &'a str,
    /// Protected and not in Service Mode.
    pub(super) enforced: bool,
    /// Text of the device state string, where the bootloader or system has one.
    pub(super) state: Option<&'a str>,
}

impl Facts<'_> {
    /// The descriptor with this type and index, or `None`: the device stalls.
    pub(super) fn descriptor(&self, kind: u8, index: u8) -> Option<Vec<u8>> {
        match (kind, index) {
            (1, 0) => Some(self.device()),
            (2, 0) if self.dfu => Some(self.dfu_configuration()),
            (2, 0) => Some(self.normal_configuration()),
            (3, 0) => Some(vec![4, 3, 0x09, 0x04]),
            (3, index) => Some(string_descriptor(&self.string(index)?, index == STATE)),
            _ => None,
        }
    }

    /// The answer to the requests by which Windows finds its driver.
    pub(super) fn wcid(&self, request_type: u8, index: u16) -> Option<Vec<u8>> {
        let interface = if self.dfu { 0 } else { self.control_interface() };
        match (request_type, index) {
            (0xc0, 4) => {
                let mut out = vec![40, 0, 0, 0, 0, 1, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, interface, 1];
                out.extend(b"WINUSB\0\0");
                out.extend([0; 14]);
                Some(out)
            }
            (0xc1, 5) => {
                let guid = if self.dfu { GUID_DFU } else { GUID_NORMAL };
                let (name, value) = (utf16("DeviceInterfaceGUID\0"), utf16(&format!("{guid}\0")));
                let section = 14 + name.len() + value.len();
                let mut out = le32(10 + section);
                out.extend([0, 1, 5, 0, 1, 0]);
                out.extend(le32(section));
                out.extend([1, 0, 0, 0]);
                out.extend([u8::try_from(name.len()).expect("the name is short"), 0]);
                out.extend(name);
                out.extend(le32(value.len()));
                out.extend(value);
                Some(out)
            }
            _ => None,
        }
    }

    /// Number of alternate settings of interface 0 in DFU mode.
    pub(super) fn alternates(&self) -> u8 {
        if self.platform.family == Family::Nrf { 3 } else { 2 }
    }

    /// Number of the interface for control requests in normal mode.
    pub(super) fn control_interface(&self) -> u8 {
        if self.platform.family == Family::Rtl { 0 } else { 2 }
    }

    /// Index of the string that explains a refusal by protection.
    pub(super) fn error_string(&self) -> u8 {
        if self.platform.family == Family::Nrf {
            10
        } else {
            FIRST_ALTERNATE + self.alternates()
        }
    }

    fn device(&self) -> Vec<u8> {
        let (class, subclass, protocol) = if self.dfu { (0, 0, 0) } else { (0xef, 2, 1) };
        let product = if self.dfu {
            self.platform.dfu_product()
        } else {
            self.platform.normal_product()
        };
        let release: u16 = match (self.platform.family, self.dfu) {
            (Family::Gen2, _) => 0x0250,
            (Family::Rtl, true) => 0x0252,
            _ => 0x0251,
        };
        let mut out = vec![18, 1, 0x00, 0x02, class, subclass, protocol, 64, 0x04, 0x2b];
        out.extend(product.to_le_bytes());
        out.extend(release.to_le_bytes());
        out.extend([1, 2, 3, 1]);
        out
    }

    fn dfu_configuration(&self) -> Vec<u8> {
        let mut out = configuration(1, 4, 0xc0);
        for alternate in 0..self.alternates() {
            out.extend([9, 4, 0, alternate, 0, 0xfe, 1, 2, FIRST_ALTERNATE + alternate]);
        }
        // CanDnload, CanUpload, WillDetach; not manifestation tolerant; time-out 255 ms; DFU 1.1a.
        out.extend([9, 0x21, 0x0b, 0xff, 0, 0, 0x10, 0x1a, 0x01]);
        with_length(out)
    }

    fn normal_configuration(&self) -> Vec<u8> {
        let control = self.control_interface();
        let cdc = if control == 0 { 1 } else { 0 };
        let vendor = [9, 4, control, 0, 0, 0xff, 0xff, 0xff, CONTROL_STRING];
        let mut out = configuration(3, 0, 0x80);
        if control == 0 {
            out.extend(vendor);
        }
        out.extend([8, 11, cdc, 2, 2, 2, 0, CDC_STRING]);
        out.extend([9, 4, cdc, 0, 1, 2, 2, 0, CDC_STRING]);
        out.extend([5, 0x24, 0, 0x10, 0x01]);
        out.extend([5, 0x24, 1, 0x03, cdc + 1]);
        out.extend([4, 0x24, 2, 0x02]);
        out.extend([5, 0x24, 6, cdc, cdc + 1]);
        out.extend([7, 5, 0x82, 3, 8, 0, 16]);
        out.extend([9, 4, cdc + 1, 0, 2, 0x0a, 0, 0, CDC_STRING]);
        out.extend([7, 5, 0x81, 2, 64, 0, 0]);
        out.extend([7, 5, 0x01, 2, 64, 0, 0]);
        if control != 0 {
            out.extend(vendor);
        }
        with_length(out)
    }

    fn string(&self, index: u8) -> Option<String> {
        let name = self.platform.name;
        Some(match (index, self.dfu) {
            (1, _) => "Particle".into(),
            (2, true) => format!("{name} DFU Mode"),
            (2, false) => name.into(),
            (3, _) => self.serial.into(),
            (4, true) => "DFU Configuration".into(),
            (5, true) => "DFU Interface".into(),
            (CDC_STRING, false) => format!("{name} CDC Mode"),
            (CONTROL_STRING, false) => format!("{name} Control Interface"),
            (STATE, _) => self.state?.into(),
            (0xee, _) => "MSFT100\u{ee}".into(),
            (index, true) if index == self.error_string() && self.platform.family != Family::Gen2 => {
                "Device is in protected mode".into()
            }
            (index, true) => self.memory_map(index.checked_sub(FIRST_ALTERNATE)?)?,
            _ => return None,
        })
    }

    /// The string of an alternate setting: name, first address and segments.
    fn memory_map(&self, alternate: u8) -> Option<String> {
        let pages = self.platform.external_mib * 256;
        let map = match (self.platform.family, alternate) {
            (Family::Gen2, 0) => "@Internal Flash   /0x08000000/03*016Ka,01*016Kg,01*064Kg,07*128Kg".into(),
            (Family::Gen2, 1) => "@DCT Flash   /0x00000000/01*016Kg".into(),
            (Family::Nrf, 0) => "@Internal Flash   /0x00000000/1*004Ka,47*004Kg,192*004Kg,4*004Kg,4*004Kg,8*004Ka".into(),
            (Family::Rtl, 0) => "@Internal Flash   /0x08000000/2048*004Kg".into(),
            (Family::Nrf | Family::Rtl, 1) => "@DCT Flash   /0x00000000/1*016Ke".into(),
            (Family::Nrf, 2) => format!("@External Flash   /0x80000000/{pages}*004Kg"),
            _ => return None,
        };
        Some(if self.enforced { protected(&map) } else { map })
    }
}

/// The map as a protected device shows it: every segment erasable and nothing else.
fn protected(map: &str) -> String {
    let (head, segments) = map.rsplit_once('/').expect("a map has two slashes");
    let letters: Vec<String> = segments.split(',').map(|s| format!("{}b", &s[..s.len() - 1])).collect();
    format!("{head}/{}", letters.join(","))
}

fn configuration(interfaces: u8, string: u8, attributes: u8) -> Vec<u8> {
    vec![9, 2, 0, 0, interfaces, 1, string, attributes, 0x32]
}

fn with_length(mut configuration: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(configuration.len()).expect("a configuration is short");
    configuration[2..4].copy_from_slice(&length.to_le_bytes());
    configuration
}

/// The state string is padded with a NUL, which hosts must strip.
fn string_descriptor(text: &str, padded: bool) -> Vec<u8> {
    let mut out = vec![0, 3];
    out.extend(utf16(text));
    if padded {
        out.extend([0, 0]);
    }
    out[0] = u8::try_from(out.len()).unwrap_or(u8::MAX);
    out
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn le32(length: usize) -> Vec<u8> {
    u32::try_from(length).expect("descriptors are short").to_le_bytes().to_vec()
}

/// String index of the device state.
const STATE: u8 = 0xfa;
/// String index of alternate setting 0.
const FIRST_ALTERNATE: u8 = 6;
const CDC_STRING: u8 = 4;
const CONTROL_STRING: u8 = 5;
const GUID_NORMAL: &str = "{20b6cfa4-6dc7-468a-a8db-faa7c23ddea5}";
const GUID_DFU: &str = "{37fb5f90-1a34-4929-933b-8a27e1850033}";

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(platform: u16, dfu: bool) -> Facts<'static> {
        Facts {
            platform: Platform::find(platform).unwrap(),
            dfu,
            serial: "e00fce680123456789abcdef",
            enforced: false,
            state: Some("sm=o"),
        }
    }

    fn text(descriptor: &[u8]) -> String {
        assert_eq!(usize::from(descriptor[0]), descriptor.len());
        let units: Vec<u16> = descriptor[2..].chunks(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
        String::from_utf16(&units).unwrap()
    }

    #[test]
    fn the_boron_configuration_is_the_recorded_one() {
        // device-protocol.md 8.4
        let recorded = "09022d00010104c0320904000000fe0102060904000100fe0102070904000200fe01020809210bff0000101a01";
        let mine = facts(13, true).descriptor(2, 0).unwrap();
        assert_eq!(mine.iter().map(|b| format!("{b:02x}")).collect::<String>(), recorded);
    }

    #[test]
    fn maps_name_what_the_board_has() {
        let map = |platform, alt| facts(platform, true).descriptor(3, FIRST_ALTERNATE + alt).map(|d| text(&d));
        assert_eq!(map(13, 2).unwrap(), "@External Flash   /0x80000000/1024*004Kg");
        assert_eq!(map(26, 2).unwrap(), "@External Flash   /0x80000000/2048*004Kg");
        assert_eq!(map(32, 1).unwrap(), "@DCT Flash   /0x00000000/1*016Ke");
        assert_eq!(map(6, 2), None);
        assert_eq!(
            map(32, 2).unwrap(),
            "Device is in protected mode",
            "the next free index on RTL872x"
        );
        let protected = Facts {
            enforced: true,
            ..facts(32, true)
        };
        assert_eq!(
            text(&protected.descriptor(3, 6).unwrap()),
            "@Internal Flash   /0x08000000/2048*004Kb"
        );
    }

    #[test]
    fn the_control_interface_has_no_endpoints_and_its_number_depends_on_the_family() {
        for (platform, number) in [(13, 2), (6, 2), (32, 0), (28, 0)] {
            let all = facts(platform, false).descriptor(2, 0).unwrap();
            assert_eq!(usize::from(u16::from_le_bytes([all[2], all[3]])), all.len());
            let mut rest = all.as_slice();
            let mut found = None;
            while !rest.is_empty() {
                if rest[1] == 4 && rest[5..8] == [0xff; 3] {
                    found = Some((rest[2], rest[4]));
                }
                rest = &rest[usize::from(rest[0])..];
            }
            assert_eq!(found, Some((number, 0)));
        }
    }

    #[test]
    fn the_state_string_is_padded_and_absent_where_the_bootloader_is_old() {
        assert_eq!(text(&facts(13, true).descriptor(3, 0xfa).unwrap()), "sm=o\0");
        let old = Facts {
            state: None,
            ..facts(13, true)
        };
        assert_eq!(old.descriptor(3, 0xfa), None);
        assert_eq!(facts(13, true).wcid(0xc0, 4).unwrap().len(), 40);
        let properties = facts(13, false).wcid(0xc1, 5).unwrap();
        assert_eq!(
            usize::from(u16::from_le_bytes([properties[0], properties[1]])),
            properties.len()
        );
    }
}
