//! Compares the server key and address with the recipe, and writes them where they differ.

use crate::{
    device::{DeviceError, KeyStore},
    keys::server,
    model::{Code, Outcome, StepError, StepKind, recipe::ServerPolicy},
};

use super::{Bench, Cx, Report, Step, key_slot, lost, open::failed, stays};

/// The step.
pub(super) struct ServerKey;

impl Step for ServerKey {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let ServerPolicy::Set(wanted) = &cx.recipe.server else {
            return Ok(stays(Outcome::Skipped {
                why: "the recipe leaves the server key as it is".to_owned(),
            }));
        };
        let platform = cx.recipe.platform;
        let transport = platform.row().transport;
        let (segments, _) = key_slot::segments(platform);
        let mut dfu = bench.dfu(DOING)?;
        let held = key_slot::read(&mut dfu, platform)?;
        if held.whole.expose().is_empty() {
            return Err(StepError::new(
                Code::KeyUnreadable,
                format!("{DOING}: the key store cannot be read"),
            ));
        }
        // An earlier try that was cut may have lost more than it wrote.
        let held = lost::mend(cx, &mut dfu, held)?;
        let key = key_slot::slice(held.whole.expose(), segments.server_key.offset, segments.server_key.len);
        let address = key_slot::slice(
            held.whole.expose(),
            segments.server_address.offset,
            segments.server_address.len,
        );
        let differences = server::ServerFound::read(key, address, transport).differences(wanted, transport);
        if differences.is_empty() {
            return Ok(stays(Outcome::Skipped {
                why: format!("server key and address are already those of {}", wanted.host),
            }));
        }
        let new = server::segments(wanted, transport, segments.server_key.len as usize)
            .map_err(|e| StepError::caused(Code::FirmwareRejected, DOING, &e))?;
        key_slot::account(cx, &held)?;
        let mut store = KeyStore::new(&mut dfu);
        for (segment, bytes) in [
            (segments.server_key, &new.key[..]),
            (segments.server_address, &new.address[..]),
        ] {
            store.write(segment.offset, bytes).map_err(|e| {
                let error = failed(DOING, &DeviceError::from(e));
                match error.code {
                    // The words for a key slot; a device that is gone or a stop keep theirs.
                    Code::KeyWrite => StepError {
                        code: Code::ServerKeyWrite,
                        ..error
                    },
                    _ => error,
                }
            })?;
        }
        let found: Vec<String> = differences.iter().map(ToString::to_string).collect();
        Ok(stays(Outcome::Warned {
            why: format!("{}; set to that of {}", found.join(", "), wanted.host),
        }))
    }
}

const DOING: &str = StepKind::ServerKey.label();
