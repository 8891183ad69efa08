//! Storages that cut a file into pages and put something of their own in front of each: a record that does not fit into
//! a page is scattered, and has to be put together again.
//!
//! The dump must begin where the storage begins, or a whole number of pages before it.

use zeroize::Zeroizing;

use super::{HEADER, Reading, Standing, Storage, kind, payload_len};

/// One way of cutting a storage into pages.
struct Paging {
    storage: Storage,
    /// Length of a page.
    page: usize,
    /// Length of what stands in front of the content of a page.
    head: usize,
    /// What that says of the page, if it is one.
    read: fn(&[u8]) -> Option<Page>,
}

/// What a page says of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Page {
    /// The file that it belongs to.
    object: u16,
    /// Which piece of it this is.
    piece: u16,
    /// False if it was deleted and not yet erased.
    live: bool,
}

/// The readings of the record at `at`, one for each storage whose page it could be in.
pub(super) fn readings(dump: &[u8], at: usize) -> Vec<Reading> {
    PAGINGS.iter().filter_map(|paging| paging.reading(dump, at)).collect()
}

impl Paging {
    fn reading(&self, dump: &[u8], at: usize) -> Option<Reading> {
        let number = at / self.page;
        let first = self.at(dump, number)?;
        if at % self.page < self.head || !self.is_storage_of(dump) {
            return None;
        }
        let whole = HEADER
            + dump
                .get(at..at + HEADER)
                .and_then(|header| kind(header.try_into().ok()?))
                .map(payload_len)?;
        let mut record = Zeroizing::new(Vec::with_capacity(whole + self.page));
        record.extend_from_slice(&dump[at..dump.len().min((number + 1) * self.page)]);
        let (mut last, mut page) = (number, first);
        while record.len() < whole {
            page.piece = page.piece.wrapping_add(1);
            let Some(next) = self.next(dump, last, page) else { break };
            let start = next * self.page;
            record.extend_from_slice(&dump[start + self.head..dump.len().min(start + self.page)]);
            last = next;
        }
        let standing = if first.live { Standing::Present } else { Standing::Replaced };
        Reading::new(&record, self.storage, at, standing)
    }

    /// The page that says this of itself and comes next behind page `from`, all round: pages are written one after the
    /// other, so of several old copies the nearest belongs. One that is not quite as alive is better than none.
    fn next(&self, dump: &[u8], from: usize, wanted: Page) -> Option<usize> {
        let count = dump.len() / self.page;
        let found = |wanted: Page| {
            let behind = (1..count).map(|step| (from + step) % count);
            behind.into_iter().find(|number| self.at(dump, *number) == Some(wanted))
        };
        found(wanted).or_else(|| {
            found(Page {
                live: !wanted.live,
                ..wanted
            })
        })
    }

    /// True if most pages say something or are blank. One alone says little: any bytes may look like a page.
    fn is_storage_of(&self, dump: &[u8]) -> bool {
        let count = dump.len() / self.page;
        let blank = |number: usize| dump[number * self.page..].iter().take(self.head).all(|b| *b == 0xff);
        let known = (0..count).filter(|number| self.at(dump, *number).is_some() || blank(*number));
        count >= FEWEST && known.count() * 2 >= count
    }

    fn at(&self, dump: &[u8], number: usize) -> Option<Page> {
        let start = number * self.page;
        dump.get(start..start + self.head).and_then(self.read)
    }
}

/// The least number of pages from which a storage is recognised.
const FEWEST: usize = 4;
/// Flags that are never cleared on a page with content.
const UNUSED: u8 = 0x7c;

const PAGINGS: [Paging; 2] = [
    // As the library for Particle devices sets it up: file, piece, and flags in which a cleared bit means yes. The top
    // bit of the file's number marks its index.
    Paging {
        storage: Storage::Spiffs,
        page: 256,
        head: 5,
        read: |head| {
            let [object, piece] = [[head[0], head[1]], [head[2], head[3]]].map(u16::from_le_bytes);
            let content = (1..0x8000).contains(&object) && head[4] & UNUSED == UNUSED && head[4] & 1 == 0;
            content.then_some(Page {
                object,
                piece,
                live: head[4] & 0x80 != 0,
            })
        },
    },
    // Logical pages of one device: two bits for free, used or given up, six that are always set, and the number.
    Paging {
        storage: Storage::Flashee,
        page: 4096,
        head: 2,
        read: |head| {
            (head[1] == 0x7f || head[1] == 0x3f).then_some(Page {
                object: 0,
                piece: head[0].into(),
                live: head[1] == 0x7f,
            })
        },
    },
];
