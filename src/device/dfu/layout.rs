//! The memory layout that an alternate setting describes in its string (device-protocol.md 1.5), such as
//! `@Internal Flash   /0x08000000/03*016Ka,01*016Kg,01*064Kg,07*128Kg`.
//!
//! Owns the grammar and the arithmetic of sectors. The letters are kept as the device tells them; whether to believe
//! them is decided in [`super::image`].

use std::ops::Range;

/// What may be done with a sector: bit 0 read, bit 1 erase, bit 2 write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// The access that a letter from `a` to `g` stands for.
    pub const fn from_letter(letter: char) -> Option<Self> {
        match letter {
            'a'..='g' => Some(Self(letter as u8 - b'a' + 1)),
            _ => None,
        }
    }

    /// The letter.
    pub const fn letter(self) -> char {
        (b'a' + self.0 - 1) as char
    }

    /// It may be read.
    pub const fn readable(self) -> bool {
        self.0 & 1 != 0
    }

    /// It may be erased.
    pub const fn erasable(self) -> bool {
        self.0 & 2 != 0
    }

    /// It may be written.
    pub const fn writable(self) -> bool {
        self.0 & 4 != 0
    }
}

/// Neighbouring sectors of one size and access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Address of the first sector.
    pub start: u32,
    /// How many sectors; at least 1.
    pub count: u32,
    /// Size of each in bytes; at least 1.
    pub size: u32,
    /// What may be done with them.
    pub access: Access,
}

impl Segment {
    /// The address behind the last sector; up to 2^32.
    pub const fn end(&self) -> u64 {
        self.start as u64 + self.count as u64 * self.size as u64
    }
}

/// One sector: the least that can be erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sector {
    /// First address.
    pub start: u32,
    /// Size in bytes.
    pub size: u32,
    /// What may be done with it.
    pub access: Access,
}

impl Sector {
    /// The address behind it; up to 2^32.
    pub const fn end(&self) -> u64 {
        self.start as u64 + self.size as u64
    }
}

/// Why a text is not a memory layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory layout \"{text}\" cannot be read: {why}")]
pub struct BadLayout {
    /// The text.
    pub text: String,
    /// What is wrong.
    pub why: &'static str,
}

/// A memory layout: at least one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Name of the memory.
    pub name: String,
    /// Its segments in the order of the text.
    pub segments: Vec<Segment>,
}

impl Layout {
    /// Parses the string of an alternate setting.
    pub fn parse(text: &str) -> Result<Self, BadLayout> {
        let bad = |why| BadLayout {
            text: text.to_owned(),
            why,
        };
        let body = text
            .trim_end_matches('\0')
            .strip_prefix('@')
            .ok_or_else(|| bad("it does not begin with @"))?;
        let mut parts = body.split('/');
        let name = parts.next().unwrap_or_default().trim().to_owned();
        let mut segments = Vec::new();
        while let Some(address) = parts.next() {
            let address = address.trim();
            let digits = address.strip_prefix("0x").or_else(|| address.strip_prefix("0X"));
            let start = digits
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .ok_or_else(|| bad("an address is not hexadecimal"))?;
            let list = parts.next().ok_or_else(|| bad("an address has no segments"))?;
            let mut next = u64::from(start);
            for item in list.split(',') {
                let start = u32::try_from(next).map_err(|_| bad("a segment begins beyond 4 GiB"))?;
                let segment = parse_segment(start, item).map_err(bad)?;
                next = segment.end();
                if next > 1 << 32 {
                    return Err(bad("a segment ends beyond 4 GiB"));
                }
                segments.push(segment);
            }
        }
        if segments.is_empty() {
            return Err(bad("it has no segments"));
        }
        Ok(Self { name, segments })
    }

    /// The sector that holds an address.
    pub fn sector_at(&self, address: u32) -> Option<Sector> {
        let segment = self
            .segments
            .iter()
            .find(|s| address >= s.start && u64::from(address) < s.end())?;
        let start = address - (address - segment.start) % segment.size;
        Some(Sector {
            start,
            size: segment.size,
            access: segment.access,
        })
    }

    /// The sectors that hold a range, in order.
    ///
    /// # Errors
    /// The first address of the range that is in no sector.
    pub fn sectors(&self, range: Range<u64>) -> Result<Vec<Sector>, u64> {
        let mut sectors = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let sector = u32::try_from(at).ok().and_then(|a| self.sector_at(a)).ok_or(at)?;
            at = sector.end();
            sectors.push(sector);
        }
        Ok(sectors)
    }

    /// True if it is the layout that a protected device shows: everything erasable, nothing readable or writable
    /// (device-protocol.md 3.6).
    pub fn is_protected(&self) -> bool {
        self.segments.iter().all(|s| s.access.letter() == 'b')
    }
}

/// Parses `count*size[ |B|K|M]letter`.
fn parse_segment(start: u32, item: &str) -> Result<Segment, &'static str> {
    let (count, rest) = item.trim_start().split_once('*').ok_or("a segment has no *")?;
    let split = rest.find(|c: char| !c.is_ascii_digit()).ok_or("a segment has no letter")?;
    let (size, tail) = rest.split_at(split);
    let count: u32 = number(count).ok_or("a sector count is not a number")?;
    let size: u32 = number(size).ok_or("a sector size is not a number")?;
    let mut tail = tail.chars();
    let (unit, letter) = match (tail.next(), tail.next(), tail.next()) {
        (Some(' ' | 'B'), Some(letter), None) => (1, letter),
        (Some('K'), Some(letter), None) => (1024, letter),
        (Some('M'), Some(letter), None) => (1024 * 1024, letter),
        // Some tools leave the unit out altogether for bytes.
        (Some(letter), None, None) => (1, letter),
        _ => return Err("a segment has no unit and letter"),
    };
    let access = Access::from_letter(letter).ok_or("a letter is not one of a to g")?;
    let size = size.checked_mul(unit).ok_or("a sector is larger than 4 GiB")?;
    if count == 0 || size == 0 {
        return Err("a segment is empty");
    }
    Ok(Segment {
        start,
        count,
        size,
        access,
    })
}

fn number(text: &str) -> Option<u32> {
    // `parse` alone would take a sign.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
pub(in crate::device) mod tests {
    use super::*;

    pub(in crate::device) const GEN2: &str = "@Internal Flash   /0x08000000/03*016Ka,01*016Kg,01*064Kg,07*128Kg";
    pub(in crate::device) const NRF: &str = "@Internal Flash   /0x00000000/1*004Ka,47*004Kg,192*004Kg,4*004Kg,4*004Kg,8*004Ka";
    pub(in crate::device) const RTL: &str = "@Internal Flash   /0x08000000/2048*004Kg";
    pub(in crate::device) const DCT: &str = "@DCT Flash   /0x00000000/1*016Ke";

    fn total(text: &str) -> (u64, usize, u64) {
        let layout = Layout::parse(text).unwrap();
        let start = layout.segments[0].start.into();
        let end = layout.segments.last().unwrap().end();
        (start, layout.sectors(start..end).unwrap().len(), end)
    }

    #[test]
    fn every_layout_in_the_field_parses() {
        // device-protocol.md 1.5
        assert_eq!(total(GEN2), (0x0800_0000, 12, 0x0810_0000));
        assert_eq!(total("@DCT Flash   /0x00000000/01*016Kg"), (0, 1, 0x4000));
        assert_eq!(total("@Serial Flash   /0x00000000/256*004Kg"), (0, 256, 0x10_0000));
        assert_eq!(total(NRF), (0, 256, 0x10_0000));
        assert_eq!(total(DCT), (0, 1, 0x4000));
        assert_eq!(
            total("@External Flash   /0x80000000/1024*004Kg"),
            (0x8000_0000, 1024, 0x8040_0000)
        );
        assert_eq!(
            total("@External Flash   /0x80000000/2048*004Kg"),
            (0x8000_0000, 2048, 0x8080_0000)
        );
        assert_eq!(total(RTL), (0x0800_0000, 2048, 0x0880_0000));
    }

    #[test]
    fn letters_mean_what_they_should() {
        let letters: Vec<_> = ('a'..='g')
            .map(|l| Access::from_letter(l).unwrap())
            .map(|a| (a.letter(), a.readable(), a.erasable(), a.writable()))
            .collect();
        assert_eq!(
            letters,
            [
                ('a', true, false, false),
                ('b', false, true, false),
                ('c', true, true, false),
                ('d', false, false, true),
                ('e', true, false, true),
                ('f', false, true, true),
                ('g', true, true, true),
            ]
        );
        assert_eq!(Access::from_letter('h'), None);
    }

    #[test]
    fn protected_devices_show_it() {
        let protected = NRF.replace(['a', 'g'], "b").replace("Intern", "@").replace('@', "");
        let protected = Layout::parse(&format!("@X{}", &protected[protected.find('/').unwrap()..])).unwrap();
        assert!(protected.is_protected());
        assert!(!Layout::parse(NRF).unwrap().is_protected() && !Layout::parse(DCT).unwrap().is_protected());
    }

    #[test]
    fn sector_arithmetic_is_that_of_the_field() {
        // device-protocol.md 8.4
        let gen2 = Layout::parse(GEN2).unwrap();
        assert_eq!(gen2.sector_at(0x0802_0000).unwrap().end(), 0x0804_0000);
        assert_eq!(gen2.sector_at(0x0801_ffff).unwrap().start, 0x0801_0000);
        let rtl = Layout::parse(RTL).unwrap();
        assert_eq!(rtl.sectors(0x0806_0000..0x0806_0000 + 1_009_100).unwrap().len(), 247);
        assert_eq!(rtl.sectors(0x087f_ffff..0x0880_0001), Err(0x0880_0000));
        assert_eq!(rtl.sectors(5..5), Ok(vec![]));
    }

    #[test]
    fn several_groups_and_all_units() {
        let layout = Layout::parse("@ Two /0x0/2*1Ma,3*008 g/0xF0000000/1*16Be,1*7d\0\0").unwrap();
        let spans: Vec<_> = layout
            .segments
            .iter()
            .map(|s| (s.start, s.count, s.size, s.access.letter()))
            .collect();
        assert_eq!(layout.name, "Two");
        assert_eq!(
            spans,
            [
                (0, 2, 1 << 20, 'a'),
                (2 << 20, 3, 8, 'g'),
                (0xf000_0000, 1, 16, 'e'),
                (0xf000_0010, 1, 7, 'd')
            ]
        );
        assert_eq!(
            layout.sectors((2 << 20) + 23..(2 << 20) + 25),
            Err((2 << 20) + 24),
            "a gap between groups"
        );
    }

    #[test]
    fn malformed_layouts_are_refused() {
        for text in [
            "",
            "@",
            "@Name",
            "Name/0x0/1*1Kg",
            "@Name/0x0",
            "@Name/0x0/",
            "@Name/08000000/1*1Kg",
            "@Name/0x+1/1*1Kg",
            "@Name/0x123456789/1*1Kg",
            "@Name/0x0/1*1K",
            "@Name/0x0/1*1Kh",
            "@Name/0x0/1*1Kgg",
            "@Name/0x0/*1Kg",
            "@Name/0x0/0*1Kg",
            "@Name/0x0/1*0Kg",
            "@Name/0x0/-1*1Kg",
            "@Name/0x0/1*1Kg,",
            "@Name/0x0/4096*2Mg",
            "@Name/0x0/1*4096Mg",
            "@Name/0xFFFFFFFF/2*1Bg",
            "@Name/0x0/1*1Kg/0x8000",
        ] {
            assert!(Layout::parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Layout::parse(&text);
        }

        #[test]
        fn near_misses_do_not_panic(text in "@[a-z ]{0,3}(/0x[0-9a-f]{0,9}(/([0-9]{0,10}\\*[0-9]{0,10}[ BKMZ]?[a-h]?,?){0,3}){0,2}){0,2}") {
            if let Ok(layout) = Layout::parse(&text) {
                for segment in &layout.segments {
                    proptest::prop_assert!(segment.end() <= 1 << 32);
                    proptest::prop_assert!(layout.sector_at(segment.start).is_some());
                }
            }
        }

        #[test]
        fn sectors_cover_a_range_without_gap(start in 0x0800_0000u64..0x0810_0000, len in 1u64..0x10_0000) {
            let end = (start + len).min(0x0810_0000);
            let sectors = Layout::parse(GEN2).unwrap().sectors(start..end).unwrap();
            proptest::prop_assert!(u64::from(sectors[0].start) <= start && sectors.last().unwrap().end() >= end);
            for pair in sectors.windows(2) {
                proptest::prop_assert_eq!(pair[0].end(), u64::from(pair[1].start));
            }
        }
    }
}
