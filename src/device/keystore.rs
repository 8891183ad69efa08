//! The key store of a device (its DCT) as DFU shows it on the key alternate setting (device-protocol.md 4.1, 4.6).
//!
//! Owns reading it so that a failed read is never taken for content, and writing it without erase, with read-back. It
//! does not know what a key is, and it never decides that something is to be written.

use crate::model::{Code, Secret, platform::Transport};

use super::{
    Dfu, DfuError,
    dfu::{Doing, ReadBack},
};

/// Why the key store cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Every byte is zero: on Gen 2 a failed read looks like this.
    #[error("every byte that was read is zero")]
    Zeros,
    /// A block that holds a key is all zeros, on a device whose failed reads look like this.
    #[error("the block at {offset} is all zeros, as a failed read is")]
    ZeroBlock {
        /// Offset of the block.
        offset: u32,
    },
    /// Two reads differ.
    #[error("two reads differ, first at {offset}")]
    Differ {
        /// First offset that differs. (Never the bytes.)
        offset: u32,
    },
}

/// Why the key store could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyStoreError {
    /// Reading failed; nothing was written.
    #[error("could not read the key store")]
    Read(#[source] DfuError),
    /// It was read, but what it holds cannot be told; nothing was written.
    #[error("it cannot be told what the key store holds")]
    Unreadable(#[source] Unreadable),
    /// The range is empty or not inside of the key store; nothing was written.
    #[error("{len} bytes at {offset} are not inside of the key store ({limit} bytes)")]
    OutOfRange {
        /// First byte.
        offset: u32,
        /// Length.
        len: usize,
        /// Length of the key store.
        limit: u32,
    },
    /// The write did not begin; nothing was written.
    #[error("could not begin to write the key store")]
    NotBegun(#[source] DfuError),
    /// The write began and did not end well: what is there now may be old, new or torn.
    #[error("could not finish writing the key store")]
    Torn(#[source] DfuError),
    /// It was written, and could not be read back.
    #[error("could not read back what was written to the key store")]
    NotReadBack(#[source] DfuError),
    /// It was written, and something else is there.
    #[error("the key store does not hold what was written, first at {offset}")]
    Differs {
        /// First offset that differs. (Never the bytes.)
        offset: u32,
    },
}

impl KeyStoreError {
    /// True if the key store may have been changed.
    pub const fn may_have_written(&self) -> bool {
        matches!(self, Self::Torn(_) | Self::NotReadBack(_) | Self::Differs { .. })
    }

    /// The DFU failure behind it, if that is what it is.
    pub const fn dfu(&self) -> Option<&DfuError> {
        match self {
            Self::Read(e) | Self::NotBegun(e) | Self::Torn(e) | Self::NotReadBack(e) => Some(e),
            Self::Unreadable(_) | Self::OutOfRange { .. } | Self::Differs { .. } => None,
        }
    }

    /// The code that a step reports.
    pub const fn code(&self) -> Code {
        match self {
            // Whatever the device refuses here is a read, and no flash is bad for that.
            Self::Read(e) => match (e, e.link()) {
                (DfuError::Protected { .. }, _) => Code::Protected,
                (_, Some(link)) => link.code(),
                (_, None) => Code::KeyUnreadable,
            },
            Self::Unreadable(_) => Code::KeyUnreadable,
            Self::OutOfRange { .. } => Code::Internal,
            Self::NotBegun(e) | Self::Torn(e) | Self::NotReadBack(e) => match e.code() {
                Code::FlashRefused | Code::FlashVerify => Code::KeyWrite,
                code => code,
            },
            Self::Differs { .. } => Code::KeyWrite,
        }
    }
}

/// The key store of a device in DFU mode.
#[derive(Debug)]
pub struct KeyStore<'d, 'l> {
    dfu: &'d mut Dfu<'l>,
    alternate: u8,
    len: u32,
}

impl<'d, 'l> KeyStore<'d, 'l> {
    /// The key store.
    pub fn new(dfu: &'d mut Dfu<'l>) -> Self {
        let platform = dfu.platform();
        Self {
            alternate: platform.key_segments(platform.row().transport).alt,
            len: platform.dct_len(),
            dfu,
        }
    }

    /// How many bytes are accounted for.
    pub fn size(&self) -> u32 {
        self.len
    }

    /// Reads the whole of it once.
    pub fn read_whole(&mut self) -> Result<Secret<Vec<u8>>, KeyStoreError> {
        let read = self.dfu.read(self.alternate, 0, self.len).map_err(KeyStoreError::Read)?;
        self.doubt(&read).map_err(KeyStoreError::Unreadable)?;
        Ok(read.bytes)
    }

    /// Reads the whole of it twice; both must be equal.
    pub fn read_twice(&mut self) -> Result<Secret<Vec<u8>>, KeyStoreError> {
        let first = self.read_whole()?;
        let second = self.read_whole()?;
        match differ(first.expose(), second.expose()) {
            None => Ok(first),
            Some(offset) => Err(KeyStoreError::Unreadable(Unreadable::Differ { offset })),
        }
    }

    /// Writes bytes at an offset, without erase, reads them back and compares.
    ///
    /// A wish to stop is heard before the first byte and after the comparison, but not between: a torn slot would be the
    /// price.
    ///
    /// # Errors
    /// [`KeyStoreError::may_have_written`] tells whether the device may be changed.
    pub fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), KeyStoreError> {
        let end = u64::from(offset) + bytes.len() as u64;
        if bytes.is_empty() || end > self.len.into() {
            return Err(KeyStoreError::OutOfRange {
                offset,
                len: bytes.len(),
                limit: self.len,
            });
        }
        self.dfu.select(self.alternate).map_err(KeyStoreError::NotBegun)?;
        self.dfu.link().shield(true);
        let outcome = self.write_shielded(offset, bytes);
        self.dfu.link().shield(false);
        outcome
    }

    fn write_shielded(&mut self, offset: u32, bytes: &[u8]) -> Result<(), KeyStoreError> {
        let mut begun = false;
        match self.dfu.write_run(offset, bytes, &mut |_| begun = true) {
            Ok(()) => {}
            Err(error) if !begun && is_before_first_byte(&error) => return Err(KeyStoreError::NotBegun(error)),
            Err(error) => return Err(KeyStoreError::Torn(error)),
        }
        match self.dfu.verify(self.alternate, offset, bytes, &mut |_| {}) {
            Ok(()) => Ok(()),
            Err(DfuError::Verify { address }) => Err(KeyStoreError::Differs { offset: address }),
            Err(error) => Err(KeyStoreError::NotReadBack(error)),
        }
    }

    /// Says why what was read is no content: all zeros, or zeros where a key is on a device that gives zeros for errors.
    fn doubt(&self, read: &ReadBack) -> Result<(), Unreadable> {
        if read.bytes.expose().iter().all(|b| *b == 0) {
            return Err(Unreadable::Zeros);
        }
        let platform = self.dfu.platform();
        for transport in [Transport::Tcp, Transport::Udp] {
            let slot = platform.key_segments(transport).private;
            for offset in [slot.offset, slot.offset + slot.len - 1] {
                if read.doubts(offset) {
                    return Err(Unreadable::ZeroBlock { offset });
                }
            }
        }
        Ok(())
    }
}

/// True for a failure to set the pointer before the first block, which leaves the store untouched.
fn is_before_first_byte(error: &DfuError) -> bool {
    match error {
        DfuError::Transfer { doing, .. }
        | DfuError::Protected { doing }
        | DfuError::Refused { doing, .. }
        | DfuError::Stalled { doing }
        | DfuError::WrongState { doing, .. }
        | DfuError::ShortAnswer { doing, .. }
        | DfuError::Timeout { doing } => !matches!(doing, Doing::Write(_)),
        _ => false,
    }
}

fn differ(a: &[u8], b: &[u8]) -> Option<u32> {
    let first = a.iter().zip(b).position(|(a, b)| a != b);
    let first = first.or((a.len() != b.len()).then(|| a.len().min(b.len())));
    first.map(|offset| offset as u32)
}

#[cfg(test)]
mod tests {
    use super::{super::dfu::target::Target, *};
    use crate::model::Platform;

    fn with<T>(target: &Target, act: impl FnOnce(&mut KeyStore<'_, '_>) -> T) -> T {
        let mut link = target.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        act(&mut KeyStore::new(&mut dfu))
    }

    #[test]
    fn a_write_is_without_erase_and_read_back() {
        for platform in [Platform::Argon, Platform::P2, Platform::Photon] {
            let target = Target::new(platform);
            let key = vec![0x30; 192];
            with(&target, |store| store.write(3106, &key)).unwrap();
            let whole = with(&target, |s| s.read_twice()).unwrap();
            assert_eq!(whole.expose().len(), 8391);
            assert_eq!(whole.expose()[3106..3298], key);
            assert_eq!((whole.expose()[3105], whole.expose()[3298]), (0xff, 0xff));
            assert!(target.inside().erased.is_empty());
        }
    }

    #[test]
    fn a_restore_of_the_whole_goes_over_blocks() {
        let target = Target::new(Platform::Boron);
        let all: Vec<u8> = (0..8391_u32).map(|i| (i % 251) as u8).collect();
        with(&target, |store| store.write(0, &all)).unwrap();
        assert_eq!(target.inside().memory[&1][..8391], all);
    }

    #[test]
    fn nothing_is_written_outside() {
        let target = Target::new(Platform::Argon);
        for (offset, len) in [(8391, 1), (8390, 2), (u32::MAX, 1), (0, 0)] {
            let error = with(&target, |store| store.write(offset, &vec![0; len])).unwrap_err();
            assert!(matches!(error, KeyStoreError::OutOfRange { .. }) && !error.may_have_written());
        }
    }

    #[test]
    fn failed_reads_of_gen2_are_no_content() {
        let target = Target::new(Platform::Photon);
        target.inside().bad_read = Some(0);
        assert_eq!(
            with(&target, |s| s.read_whole()).unwrap_err(),
            KeyStoreError::Unreadable(Unreadable::Zeros)
        );
        target.inside().bad_read = None;
        target.inside().memory.get_mut(&1).unwrap()[..4096].fill(0);
        let error = with(&target, |s| s.read_twice()).unwrap_err();
        assert!(
            matches!(&error, KeyStoreError::Unreadable(Unreadable::ZeroBlock { .. })),
            "{error:?}"
        );
        assert_eq!(error.code(), Code::KeyUnreadable);
        // Behind the keys zeros may be content.
        let mut inside = target.inside();
        inside.memory.get_mut(&1).unwrap().fill(0xff);
        inside.bad_read = Some(4096);
        drop(inside);
        assert!(with(&target, |s| s.read_twice()).is_ok());
    }

    #[test]
    fn a_first_read_that_fails_is_tried_once_more() {
        let target = Target::new(Platform::Argon);
        target.inside().failing_uploads = 1;
        assert!(with(&target, |s| s.read_whole()).is_ok());
        target.inside().failing_uploads = 2;
        let error = with(&target, |s| s.read_whole()).unwrap_err();
        assert!(matches!(error, KeyStoreError::Read(_)), "{error:?}");
        assert_eq!(error.code(), Code::KeyUnreadable);
    }

    #[test]
    fn errors_say_whether_something_was_written() {
        let torn = Target::new(Platform::Argon);
        torn.inside().bad_write = Some(3106);
        let error = with(&torn, |s| s.write(3106, &[1; 192])).unwrap_err();
        assert!(matches!(error, KeyStoreError::Torn(_)) && error.may_have_written());
        assert_eq!(error.code(), Code::KeyWrite);

        let lost = Target::new(Platform::Argon);
        lost.inside().lost_write = Some(3106);
        let error = with(&lost, |s| s.write(3106, &[0xff, 1, 1])).unwrap_err();
        assert_eq!(error, KeyStoreError::Differs { offset: 3107 });
        assert!(error.may_have_written());

        let protected = Target::new(Platform::Argon);
        protected.inside().protected = true;
        let error = with(&protected, |s| s.write(3106, &[1; 192])).unwrap_err();
        assert!(matches!(error, KeyStoreError::NotBegun(_)) && !error.may_have_written());
        assert_eq!(error.code(), Code::Protected);
        let error = with(&protected, |s| s.read_whole()).unwrap_err();
        assert_eq!(error.code(), Code::Protected);
    }

    #[test]
    fn a_write_is_not_torn_by_a_wish_to_stop() {
        let target = Target::new(Platform::Argon);
        target.inside().cancel_on_write = Some(target.cancel.clone());
        with(&target, |s| s.write(3106, &[7; 192])).unwrap();
        assert_eq!(target.inside().memory[&1][3106..3298], [7; 192]);
        let mut link = target.link();
        assert!(Dfu::open(&mut link).is_err(), "and afterwards the wish is heard");
    }
}
