//! Compares the server key and address with the recipe, and writes them where they differ.

use crate::{
    device::{DeviceError, KeyStore},
    keys::server,
    model::{Code, Outcome, StepError, StepKind, recipe::ServerPolicy},
};

use super::{Bench, Cx, Report, Step, key_slot, open::failed, stays};

/// The step.
pub(super) struct ServerKey;

impl Step for ServerKey {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let ServerPolicy::Set(wanted) = &cx.recipe.server else {
            return Ok(stays(Outcome::Skipped { why: "the recipe leaves the server key as it is".to_owned() }));
        };
        let platform = cx.recipe.platform;
        let transport = platform.row().transport;
        let (segments, _) = key_slot::segments(platform);
        let mut dfu = bench.dfu(DOING)?;
        let held = key_slot::read(&mut dfu, platform)?;
        if held.whole.expose().is_empty() {
            return Err(StepError::new(Code::KeyUnreadable, format!("{DOING}: the key store cannot be read")));
        }
        let key = key_slot::slice(held.whole.expose(), segments.server_key.offset, segments.server_key.len);
        let address = key_slot::slice(held.whole.expose(), segments.server_address.offset, segments.server_address.len);
        let found = server::found(key, address, transport);
        if found.is(wanted, transport) {
            return Ok(stays(Outcome::Skipped { why: format!("server key and address are already those of {}", wanted.host) }));
        }
        let (new_key, new_address) = server::encode(wanted, transport).map_err(|e| StepError::caused(Code::Internal, DOING, &e))?;
        key_slot::account(cx, &held)?;
        let mut store = KeyStore::new(&mut dfu);
        for (segment, bytes) in [(segments.server_key, &new_key), (segments.server_address, &new_address)] {
            store.write(segment.offset, bytes).map_err(|e| StepError { code: Code::ServerKeyWrite, ..failed(DOING, &DeviceError::from(e)) })?;
        }
        Ok(stays(Outcome::Warned { why: format!("the server key was another one; set to that of {}", wanted.host) }))
    }
}

const DOING: &str = StepKind::ServerKey.label();
