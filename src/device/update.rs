//! Firmware update through the running system: bootloaders, NCP firmware and assets (device-protocol.md 2.6).
//!
//! Owns requests 250 to 253. The system validates the whole image before it applies anything; whether it was applied is
//! only seen afterwards, in the module table of the restarted device.

use crate::model::{Code, Mono};

use super::{
    Control, ControlError, LinkError, ResultCode,
    messages::storage::{
        Asset, CancelFirmwareUpdateRequest, FinishFirmwareUpdateRequest, FirmwareUpdateDataRequest, GetAssetInfoRequest,
        StartFirmwareUpdateRequest,
    },
};

/// How an update was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The device said that it applies the image, and restarts.
    Confirmed,
    /// The device went away when it was told to apply the image, as it does when it restarts at once.
    Vanished,
}

/// Why an update failed. A device that answered has applied nothing; where its answer to the last request was lost, only
/// its module table tells.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// The image is empty or has 4 GiB and more.
    #[error("an image of {len} bytes cannot be sent")]
    Size {
        /// Its length.
        len: usize,
    },
    /// The device does not begin an update.
    #[error("could not begin the update")]
    Begin(#[source] ControlError),
    /// The device wants pieces of a size that makes no sense.
    #[error("the device wants the update in pieces of {size} bytes")]
    ChunkSize {
        /// What it wants.
        size: u32,
    },
    /// A piece of the image did not arrive.
    #[error("could not send the update from byte {offset} on")]
    Data {
        /// Offset of the piece.
        offset: usize,
        /// Why.
        #[source]
        source: ControlError,
    },
    /// The device does not accept the image.
    #[error("the device did not accept the update")]
    Finish(#[source] ControlError),
}

impl UpdateError {
    /// The control request that failed, if that is what it is.
    pub const fn control(&self) -> Option<&ControlError> {
        match self {
            Self::Begin(e) | Self::Data { source: e, .. } | Self::Finish(e) => Some(e),
            Self::Size { .. } | Self::ChunkSize { .. } => None,
        }
    }

    /// The transfer failure behind it, if that is what it is.
    pub const fn link(&self) -> Option<&LinkError> {
        match self.control() {
            Some(error) => error.link(),
            None => None,
        }
    }

    /// The code that a step reports.
    pub const fn code(&self) -> Code {
        match self.control() {
            Some(ControlError::Refused { code, .. }) => match *code {
                ResultCode::MODULE_DEPENDENCY => Code::DependencyMissing,
                ResultCode::MODULE_PLATFORM
                | ResultCode::MODULE_FORMAT
                | ResultCode::MODULE_SIZE
                | ResultCode::MODULE_ADDRESS
                | ResultCode::MODULE_NOT_SUPPORTED => Code::FirmwareRejected,
                _ => Code::UpdateRefused,
            },
            Some(error) => error.code(),
            None => match self {
                Self::Size { .. } => Code::FirmwareRejected,
                _ => Code::UpdateRefused,
            },
        }
    }
}

/// Sends an image and has the device apply it. `progress` is told how many bytes were sent and how many there are.
///
/// The whole update shares one deadline: NCP firmware takes minutes.
pub fn send(
    control: &mut Control<'_>,
    image: &[u8],
    deadline: Mono,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Accepted, UpdateError> {
    let len = image.len();
    let size = u32::try_from(len)
        .ok()
        .filter(|size| *size > 0)
        .ok_or(UpdateError::Size { len })?;
    let start = StartFirmwareUpdateRequest { size, format: PLAIN };
    let chunk = control.call(&start, deadline).map_err(UpdateError::Begin)?.chunk_size;
    if chunk == 0 || chunk > CHUNK_MAX {
        cancel(control, deadline);
        return Err(UpdateError::ChunkSize { size: chunk });
    }
    let mut offset = 0;
    for piece in image.chunks(chunk as usize) {
        let data = FirmwareUpdateDataRequest { data: piece.to_vec() };
        if let Err(source) = control.call(&data, deadline) {
            cancel(control, deadline);
            return Err(UpdateError::Data { offset, source });
        }
        offset += piece.len();
        progress(offset as u64, len as u64);
    }
    match control.call(&FinishFirmwareUpdateRequest { validate_only: false }, deadline) {
        Ok(_) => Ok(Accepted::Confirmed),
        Err(error) if error.vanished_after_start() => Ok(Accepted::Vanished),
        Err(error) => {
            cancel(control, deadline);
            Err(UpdateError::Finish(error))
        }
    }
}

/// The assets that a device has and needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assets {
    available: Vec<Asset>,
    required: Vec<Asset>,
}

impl Assets {
    /// Asks the device. A system without assets has none and needs none.
    pub fn read(control: &mut Control<'_>, deadline: Mono) -> Result<Self, ControlError> {
        match control.call(&GetAssetInfoRequest {}, deadline) {
            Ok(reply) => Ok(Self {
                available: reply.available,
                required: reply.required,
            }),
            Err(error) if error.is_result(ResultCode::NOT_SUPPORTED) => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// True if the device has an asset of this name whose content has this SHA-256: it need not be sent.
    pub fn has(&self, name: &str, sha256: &[u8; 32]) -> bool {
        self.available.iter().any(|a| a.name == name && a.hash == sha256)
    }

    /// The names of assets that are needed and not there.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        let there = |r: &Asset| self.available.iter().any(|a| a.name == r.name && a.hash == r.hash);
        self.required.iter().filter(move |r| !there(r)).map(|r| r.name.as_str())
    }
}

/// Gives the update up, so that the device takes another. Its answer changes nothing.
fn cancel(control: &mut Control<'_>, deadline: Mono) {
    let _ = control.call(&CancelFirmwareUpdateRequest {}, deadline);
}

const PLAIN: i32 = 0;

/// The longest piece whose message still fits in a request of 65535 bytes (a tag and a length of three bytes).
const CHUNK_MAX: u32 = 65_535 - 4;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::script::{Script, check, hex, init},
        *,
    };
    use crate::{
        edge::UsbError,
        model::{Platform, platform::UsbMode},
    };

    fn run(script: &Script, image: &[u8]) -> (Result<Accepted, UpdateError>, Vec<(u64, u64)>) {
        let mut link = script.link(Platform::Argon, UsbMode::Normal);
        let mut control = Control::open(&mut link).unwrap();
        let deadline = control.within(Duration::from_secs(240));
        let mut seen = vec![];
        let outcome = send(&mut control, image, deadline, &mut |done, all| seen.push((done, all)));
        script.done();
        (outcome, seen)
    }

    fn data(piece: &[u8]) -> Vec<u8> {
        let head = if piece.len() == 1024 {
            hex("0a8008")
        } else {
            vec![0x0a, piece.len() as u8]
        };
        [head, piece.to_vec()].concat()
    }

    fn begun(image: &[u8]) -> Script {
        let script = Script::new();
        script.opening("6.2.0");
        let size = image.len() as u32;
        assert!((0x80..0x4000).contains(&size), "two varint bytes");
        script.request(
            250,
            &[0x08, (size & 0x7f) as u8 | 0x80, (size >> 7) as u8],
            Ok(&hex("088008")),
        );
        script
    }

    #[test]
    fn an_update_goes_in_the_pieces_that_the_device_wants() {
        let image: Vec<u8> = (0..2100_u32).map(|i| i as u8).collect();
        let script = begun(&image);
        for piece in image.chunks(1024) {
            script.request(253, &data(piece), Ok(&[]));
        }
        script.request(251, &[], Ok(&[]));
        let (outcome, seen) = run(&script, &image);
        assert_eq!(outcome, Ok(Accepted::Confirmed));
        assert_eq!(seen, [(1024, 2100), (2048, 2100), (2100, 2100)]);
    }

    #[test]
    fn a_device_that_restarts_at_once_has_accepted() {
        let image = [7; 200];
        let script = begun(&image);
        script.request(253, &[vec![0x0a, 0xc8, 0x01], image.to_vec()].concat(), Ok(&[]));
        script.get(init(251, 0), &hex("0300000000000100"));
        script.fail(check(1), &[], UsbError::Gone);
        assert_eq!(run(&script, &image).0, Ok(Accepted::Vanished));
    }

    #[test]
    fn refusals_have_names_and_are_cancelled() {
        let image = [7; 200];
        for (code, expected) in [
            (-1340, Code::DependencyMissing),
            (-1360, Code::FirmwareRejected),
            (-1330, Code::UpdateRefused),
            (-1801, Code::Protected),
            (-210, Code::UpdateRefused),
        ] {
            let script = begun(&image);
            script.request(253, &[vec![0x0a, 0xc8, 0x01], image.to_vec()].concat(), Ok(&[]));
            script.request(251, &[], Err(code));
            script.request(252, &[], Ok(&[]));
            let error = run(&script, &image).0.unwrap_err();
            assert_eq!(error.code(), expected, "{error:?}");
        }
        let script = begun(&image);
        script.request(253, &[vec![0x0a, 0xc8, 0x01], image.to_vec()].concat(), Err(-290));
        script.request(252, &[], Ok(&[]));
        assert!(matches!(run(&script, &image).0, Err(UpdateError::Data { offset: 0, .. })));
    }

    #[test]
    fn nonsense_is_refused_before_data_is_sent() {
        for reply in ["0800", "08ffff03", ""] {
            let script = Script::new();
            script.opening("6.2.0");
            script.request(250, &hex("08c801"), Ok(&hex(reply)));
            script.request(252, &[], Ok(&[]));
            assert!(
                matches!(run(&script, &[7; 200]).0, Err(UpdateError::ChunkSize { .. })),
                "{reply}"
            );
        }
        let script = Script::new();
        script.opening("6.2.0");
        assert!(matches!(run(&script, &[]).0, Err(UpdateError::Size { len: 0 })));
    }

    #[test]
    fn assets_are_compared_by_name_and_content() {
        let asset = |name: &str, byte| Asset {
            name: name.into(),
            hash: vec![byte; 32],
            ..Default::default()
        };
        let assets = Assets {
            available: vec![asset("a.txt", 1), asset("b.txt", 2)],
            required: vec![asset("a.txt", 1), asset("b.txt", 3), asset("c.txt", 1)],
        };
        assert!(assets.has("a.txt", &[1; 32]) && !assets.has("a.txt", &[2; 32]) && !assets.has("c.txt", &[1; 32]));
        assert_eq!(assets.missing().collect::<Vec<_>>(), ["b.txt", "c.txt"]);
    }

    #[test]
    fn a_system_without_assets_has_none() {
        let script = Script::new();
        script.opening("5.5.0");
        script.request(91, &[], Err(-120));
        let mut link = script.link(Platform::Argon, UsbMode::Normal);
        let mut control = Control::open(&mut link).unwrap();
        let deadline = control.within(Duration::from_secs(5));
        assert_eq!(Assets::read(&mut control, deadline), Ok(Assets::default()));
        script.done();
    }
}
