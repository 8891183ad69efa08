//! The key store of an open device, with its key slot told apart from the rest.

use crate::{
    device::{DeviceError, Dfu, KeyStore},
    keys::{self, PrivateKey},
    model::{
        DeviceId, Fact, KeyKind, RunId, Secret, StepError,
        key::SlotContent,
        platform::{KeySegments, Platform},
    },
};

use super::{Cx, open::failed};

/// The key store as it was read twice and found equal, and what its key slot holds.
pub(super) struct Held {
    /// The whole key store.
    pub(super) whole: Secret<Vec<u8>>,
    /// What the slot holds.
    pub(super) content: SlotContent,
    /// The private key, if the slot holds a valid pair. It never leaves the step.
    pub(super) private: Option<PrivateKey>,
}

/// Where the keys of a platform are, and of which kind.
pub(super) fn segments(platform: Platform) -> (KeySegments, KeyKind) {
    (platform.key_segments(platform.row().transport), platform.key_kind())
}

/// Reads the whole key store twice and says what the key slot holds. An unreadable store is content of its own class,
/// not an error: it is recorded, and never a reason to write.
pub(super) fn read(dfu: &mut Dfu<'_>, platform: Platform) -> Result<Held, StepError> {
    use crate::device::KeyStoreError;
    let (segments, kind) = segments(platform);
    match KeyStore::new(dfu).read_twice() {
        Ok(whole) if platform == Platform::Electron && on_tcp(whole.expose()) => {
            let content = SlotContent::Unreadable {
                why: "this Electron is set to TCP and connects with the key of that transport; keyrack knows it on UDP only"
                    .to_owned(),
            };
            Ok(Held {
                whole,
                content,
                private: None,
            })
        }
        Ok(whole) => {
            let slot = slice(whole.expose(), segments.private.offset, segments.private.len);
            let (content, private) = keys::classify(slot, kind);
            Ok(Held { whole, content, private })
        }
        Err(KeyStoreError::Unreadable(why)) => {
            let content = SlotContent::Unreadable { why: why.to_string() };
            Ok(Held {
                whole: Secret::new(Vec::new()),
                content,
                private: None,
            })
        }
        Err(error) => Err(failed("read the key store", &DeviceError::from(error))),
    }
}

/// True if an Electron is set to TCP: its key of that transport counts then, and the one of UDP is no evidence of anything
/// (device-protocol.md 4.1).
fn on_tcp(whole: &[u8]) -> bool {
    whole.get(CLOUD_TRANSPORT) == Some(&0)
}

/// Makes sure that an undo copy of the key store exists before the first write of a run.
pub(super) fn account(cx: &Cx<'_>, held: &Held) -> Result<(), StepError> {
    if cx.work.keys.undo.is_some() {
        return Ok(());
    }
    let (run, device): (RunId, DeviceId) = (cx.work.run, cx.work.device);
    let sha256 = cx
        .undo
        .keep(run, device, &held.whole)
        .map_err(|e| StepError::caused(crate::model::Code::KeyUndo, "save the old key store", &e))?;
    (cx.commit)(Fact::UndoSealed {
        run,
        device,
        sha256,
        content: held.content.clone(),
    })
}

/// A range of the key store; empty where the store is shorter.
pub(super) fn slice(whole: &[u8], offset: u32, len: u32) -> &[u8] {
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let to = usize::try_from(offset.saturating_add(len)).unwrap_or(usize::MAX);
    whole.get(from..to.min(whole.len())).unwrap_or(&[])
}

/// Where the key store of an Electron says which transport it uses: 0 is TCP.
const CLOUD_TRANSPORT: usize = 2977;
