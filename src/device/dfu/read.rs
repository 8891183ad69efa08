//! Reading memory over DFU, and doubting what was read.

use zeroize::Zeroize;

use crate::model::{Secret, platform::Family};

use super::{BLOCK, Dfu, DfuError, Doing, FIRST_BLOCK};

/// What was read, and which parts of it may be failed reads.
#[derive(Debug)]
pub struct ReadBack {
    /// The bytes. They may be keys.
    pub bytes: Secret<Vec<u8>>,
    /// Offsets of blocks (of up to 4096 bytes) that are all zeros on a device that gives zeros in place of an error
    /// (Gen 2). Empty elsewhere.
    pub doubtful: Vec<u32>,
}

impl ReadBack {
    /// True if nothing of it may be a failed read.
    pub fn is_trusted(&self) -> bool {
        self.doubtful.is_empty()
    }

    /// True if the block that holds the byte at `offset` may be a failed read.
    pub fn doubts(&self, offset: u32) -> bool {
        self.doubtful.contains(&(offset - offset % BLOCK))
    }
}

/// Takes one block, with its offset from where the read began.
pub(super) type Sink<'s> = dyn FnMut(u32, &[u8]) -> Result<(), DfuError> + 's;

impl Dfu<'_> {
    /// Reads `len` bytes at an address of an alternate setting.
    ///
    /// # Errors
    /// [`DfuError::Protected`] if the device does not let itself be read; nothing partial is returned.
    pub fn read(&mut self, alternate: u8, address: u32, len: u32) -> Result<ReadBack, DfuError> {
        let doubting = self.family() == Family::Stm32f2;
        let mut bytes = Vec::with_capacity(len as usize);
        let mut doubtful = Vec::new();
        let outcome = self.read_each(alternate, address, len, &mut |offset, block| {
            if doubting && block.iter().all(|b| *b == 0) {
                doubtful.push(offset);
            }
            bytes.extend_from_slice(block);
            Ok(())
        });
        let bytes = Secret::new(bytes);
        outcome.map(|()| ReadBack { bytes, doubtful })
    }

    /// Reads and hands over each block with its offset. A first block that fails is tried once more: after a write or an
    /// abort that is known to happen (device-protocol.md 7).
    pub(super) fn read_each(&mut self, alternate: u8, address: u32, len: u32, sink: &mut Sink<'_>) -> Result<(), DfuError> {
        let layout = self.layout(alternate)?;
        let end = u64::from(address) + u64::from(len);
        let readable = layout
            .sectors(address.into()..end)
            .is_ok_and(|sectors| sectors.iter().all(|s| s.access.readable()));
        let doing = Doing::Read(address);
        if !readable && layout.is_protected() {
            return Err(DfuError::Protected { doing });
        }
        if !readable {
            return Err(DfuError::NotReadable { doing, len });
        }
        let mut begun = false;
        let mut noting = |offset: u32, block: &[u8]| {
            begun = true;
            sink(offset, block)
        };
        match self.read_once(alternate, address, len, &mut noting) {
            Err(error) if !begun && error.is_passing_read_failure() => self.read_once(alternate, address, len, sink),
            outcome => outcome,
        }
    }

    fn read_once(&mut self, alternate: u8, address: u32, len: u32, sink: &mut Sink<'_>) -> Result<(), DfuError> {
        self.select(alternate)?;
        let chunk = self.chunk();
        let mut block = 0;
        for offset in (0..len).step_by(chunk as usize) {
            let at = address + offset;
            let doing = Doing::Read(at);
            if block == 0 {
                if offset > 0 {
                    // Out of dfuUPLOAD_IDLE, where the pointer cannot be set.
                    self.abort(doing)?;
                }
                self.point(at)?;
                self.abort(doing)?;
                block = FIRST_BLOCK;
            }
            let length = chunk.min(len - offset);
            let mut bytes = self.upload(block, length as u16, doing)?;
            let outcome = if bytes.len() == length as usize {
                sink(offset, &bytes)
            } else {
                Err(DfuError::ShortAnswer { doing, len: bytes.len() })
            };
            bytes.zeroize();
            outcome?;
            block = self.next_block(block);
        }
        self.abort(Doing::Read(address))
    }

    /// How much one transfer carries.
    pub(super) fn chunk(&self) -> u32 {
        u32::from(self.interface.transfer_size).min(BLOCK)
    }

    /// The number of the next block, or 0 where the pointer has to be set again: at the end of the numbers, and after
    /// every block of a device whose transfers are not as long as the distance of its blocks.
    pub(super) fn next_block(&self, block: u16) -> u16 {
        match block.checked_add(1) {
            Some(next) if u32::from(self.interface.transfer_size) == BLOCK => next,
            _ => 0,
        }
    }
}
