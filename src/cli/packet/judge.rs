//! What becomes of each possible packet: the rules of [`crate::keys::packet::check`] over what was found and what the
//! ledger knows.

use std::{collections::BTreeSet, path::PathBuf};

use super::find::{Candidate, Found, Leak};
use crate::{
    cli::{error::CliError, small_file::SmallFileError},
    keys::{
        PublicKeyError,
        packet::check::{self, Given, Known, Packet, Refusal},
    },
    model::{DeviceId, ProductId, packet::Unchecked, platform::Transport},
    rack::Declined,
    store::Reader,
};

/// A possible packet with what was found out of it.
#[derive(Debug)]
pub(in crate::cli) struct Judged {
    /// The file of its key.
    pub(in crate::cli) path: PathBuf,
    /// The device, as far as anything says.
    pub(in crate::cli) device: Option<DeviceId>,
    /// The product for which the key is to be registered.
    pub(in crate::cli) product: Option<ProductId>,
    /// The key, if it is one.
    pub(in crate::cli) packet: Option<Packet>,
    /// What is to become of it.
    pub(in crate::cli) fate: Fate,
}

/// What is to become of a possible packet.
#[derive(Debug)]
pub(in crate::cli) enum Fate {
    /// It is taken; so much could not be checked.
    Fits(Vec<Unchecked>),
    /// The same packet came before.
    Repeated,
    /// It is not taken.
    Refused(Why),
}

/// Why a packet is not taken.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Why {
    /// Its file cannot be read.
    #[error("its file cannot be read: {0}")]
    Unread(#[source] SmallFileError),
    /// Its manifest cannot be read.
    #[error("its manifest cannot be read: {0}")]
    Manifest(#[source] SmallFileError),
    /// A rule.
    #[error("{0}")]
    Rule(#[source] Refusal),
    /// What the station knows stands against it.
    #[error("{}", .0.why)]
    Declined(Declined),
}

impl Why {
    /// The one next action.
    pub(in crate::cli) const fn next(&self) -> &'static str {
        match self {
            Self::Unread(_) | Self::Manifest(_) => "look at the file and its permissions, or ask for it again",
            Self::Rule(refusal) => refusal.next(),
            Self::Declined(declined) => declined.code.next_action(),
        }
    }

    /// True if a private key was given away.
    pub(in crate::cli) const fn is_leak(&self) -> bool {
        matches!(self, Self::Rule(refusal) if refusal.is_leak())
    }
}

/// Judges all that was found. `product` is for those whose list names none; `vouched` is true if a named person stands
/// for replaced keys under a reference.
///
/// # Errors
/// The ledger's.
pub(in crate::cli) fn all(
    found: Found,
    product: Option<&ProductId>,
    vouched: bool,
    ledger: Option<&Reader>,
) -> Result<Vec<Judged>, CliError> {
    let Found { candidates, leaks, .. } = found;
    let mut all: Vec<Judged> = candidates.into_iter().map(|candidate| one(candidate, product)).collect();
    let packets = all
        .iter()
        .enumerate()
        .filter_map(|(i, judged)| Some((i, judged.packet.as_ref()?)));
    let mut contradictions = check::contradictions(packets);
    let mut seen = BTreeSet::new();
    for (i, judged) in all.iter_mut().enumerate() {
        let (Some(packet), Fate::Fits(_)) = (&judged.packet, &judged.fate) else {
            continue;
        };
        judged.fate = match contradictions.remove(&i) {
            Some(refusal) => Fate::Refused(Why::Rule(refusal)),
            None if seen.contains(&(packet.device, packet.key.fingerprint)) => Fate::Repeated,
            None => match check::compare(packet, &known(packet, ledger)?, vouched) {
                Ok(unchecked) => {
                    seen.insert((packet.device, packet.key.fingerprint));
                    Fate::Fits(unchecked)
                }
                Err(refusal) => Fate::Refused(Why::Rule(refusal)),
            },
        };
    }
    all.extend(leaks.into_iter().map(leaked));
    Ok(all)
}

fn one(candidate: Candidate, product: Option<&ProductId>) -> Judged {
    let Candidate { path, device, named, .. } = candidate;
    let read = candidate.key.map_err(Why::Unread).and_then(|key| {
        let manifest = candidate.manifest.transpose().map_err(Why::Manifest)?;
        let given = Given {
            device,
            named,
            key: &key,
            manifest: manifest.as_ref().map(|bytes| bytes.as_slice()),
        };
        check::read(&given).map_err(Why::Rule)
    });
    let (packet, fate) = match (read, candidate.leak) {
        (Err(why), _) => (None, Fate::Refused(why)),
        (Ok(packet), Some(leak)) => {
            let file = leak.path.display().to_string();
            (Some(packet), Fate::Refused(Why::Rule(Refusal::Leaked { file })))
        }
        (Ok(packet), None) => (Some(packet), Fate::Fits(Vec::new())),
    };
    Judged {
        path,
        device: packet.as_ref().map(|packet| packet.device).or(device).or(named),
        product: candidate.product.or_else(|| product.cloned()),
        packet,
        fate,
    }
}

/// A private key lies among what should be public.
fn leaked(leak: Leak) -> Judged {
    let Leak { path, form } = leak;
    Judged {
        path,
        device: None,
        product: None,
        packet: None,
        fate: Fate::Refused(Why::Rule(Refusal::Key(PublicKeyError::Private { form }))),
    }
}

fn known(packet: &Packet, ledger: Option<&Reader>) -> Result<Known, CliError> {
    let Some(ledger) = ledger else {
        return Ok(Known::default());
    };
    let row = ledger.device(packet.device)?;
    let holders = ledger.key_rows(packet.key.fingerprint)?;
    Ok(Known {
        platform: row.as_ref().and_then(|row| row.platform),
        kind: row.as_ref().and_then(|row| row.transport).map(Transport::key_kind),
        accepted: row.and_then(|row| row.key_accepted),
        others: holders.into_iter().map(|row| row.device).collect(),
    })
}
