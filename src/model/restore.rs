//! What a device must get back after it was taken from its owner or moved: owner, name, notes, groups, product.
//!
//! It names people, so it goes into a sealed file and never into a fact, a log or a view: no `Serialize`, a `Debug`
//! that tells nothing, and bytes only as a [`Secret`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DeviceId, ProductId, Secret, survey::OwnerKind};

/// What the cloud held of a device before anything was changed.
#[derive(Clone)]
pub struct RestoreData {
    /// The device: what is kept for one never serves another.
    pub device: DeviceId,
    /// The product by its number; `None` for a development device.
    pub product: Option<ProductId>,
    /// In whose hands it was.
    pub owner: OwnerKind,
    /// The owner's name in the cloud: an e-mail address for people, any unique name for customers.
    pub owner_name: Option<Secret<String>>,
    /// Its name.
    pub name: Option<Secret<String>>,
    /// Its notes.
    pub notes: Option<Secret<String>>,
    /// Its groups; `None` if the cloud did not tell, which is not the same as no group.
    pub groups: Option<Vec<Secret<String>>>,
}

/// Why bytes are no restore data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRestoreData {
    /// They are not what [`RestoreData::to_bytes`] writes.
    #[error("these are no restore data")]
    Malformed,
    /// A newer keyrack wrote them.
    #[error("the restore data have version {0}, and this keyrack reads up to {VERSION}")]
    Newer(u32),
}

impl RestoreData {
    /// The bytes to seal and keep.
    pub fn to_bytes(&self) -> Secret<Vec<u8>> {
        fn lend(text: &Option<Secret<String>>) -> Option<&str> {
            text.as_ref().map(|text| text.expose().as_str())
        }
        let wire = Wire {
            version: VERSION,
            device: self.device,
            product: self.product.clone(),
            owner: self.owner,
            owner_name: lend(&self.owner_name),
            name: lend(&self.name),
            notes: lend(&self.notes),
            groups: self
                .groups
                .as_ref()
                .map(|groups| groups.iter().map(|group| group.expose().as_str()).collect()),
        };
        Secret::new(serde_json::to_vec(&wire).expect("texts and numbers can always be written"))
    }

    /// Reads what [`RestoreData::to_bytes`] wrote.
    ///
    /// # Errors
    /// See [`BadRestoreData`]; it shows nothing of the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadRestoreData> {
        let Version { version } = serde_json::from_slice(bytes).map_err(|_| BadRestoreData::Malformed)?;
        if version > VERSION {
            return Err(BadRestoreData::Newer(version));
        }
        let wire: Wire<String> = serde_json::from_slice(bytes).map_err(|_| BadRestoreData::Malformed)?;
        Ok(Self {
            device: wire.device,
            product: wire.product,
            owner: wire.owner,
            owner_name: wire.owner_name.map(Secret::new),
            name: wire.name.map(Secret::new),
            notes: wire.notes.map(Secret::new),
            groups: wire.groups.map(|groups| groups.into_iter().map(Secret::new).collect()),
        })
    }

    /// True if this is the name of the owner of then. The cloud's names are compared without case.
    pub fn is_owner(&self, name: &str) -> bool {
        self.owner_name
            .as_ref()
            .is_some_and(|owner| owner.expose().eq_ignore_ascii_case(name))
    }
}

impl fmt::Debug for RestoreData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreData")
            .field("device", &self.device)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<T> {
    version: u32,
    device: DeviceId,
    product: Option<ProductId>,
    owner: OwnerKind,
    owner_name: Option<T>,
    name: Option<T>,
    notes: Option<T>,
    groups: Option<Vec<T>>,
}

/// The version of the bytes that this code writes. Any new field makes a new one.
const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<Secret<String>> {
        Some(Secret::new(text.to_owned()))
    }

    fn data() -> RestoreData {
        RestoreData {
            device: "1d0034000fffffffffff3933".parse().unwrap(),
            product: Some(ProductId("1234".into())),
            owner: OwnerKind::Customer,
            owner_name: secret("ann+home@x.example"),
            name: secret("kitchen \"1\""),
            notes: secret("two\nlines"),
            groups: Some(vec![Secret::new("eu".into()), Secret::new("beta".into())]),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let bytes = data().to_bytes();
        let again = RestoreData::from_bytes(bytes.expose()).unwrap();
        assert_eq!(again.to_bytes().expose(), bytes.expose());
        assert_eq!(again.notes.unwrap().expose(), "two\nlines");
        let bare = RestoreData {
            product: None,
            owner_name: None,
            name: None,
            notes: None,
            groups: None,
            ..data()
        };
        let again = RestoreData::from_bytes(bare.to_bytes().expose()).unwrap();
        assert!(again.groups.is_none() && again.product.is_none());
        assert!(data().is_owner("ANN+home@X.example") && !bare.is_owner(""));
    }

    #[test]
    fn nothing_of_it_is_ever_shown() {
        let shown = format!("{:?} {:#?} {:?}", data(), data(), data().to_bytes());
        for word in ["ann", "kitchen", "lines", "beta"] {
            assert!(!shown.contains(word), "{shown}");
        }
        let error = RestoreData::from_bytes(b"{\"version\":1,\"ann\":1}").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("ann"));
    }

    #[test]
    fn bytes_of_a_newer_version_or_of_another_kind_are_refused() {
        let text = String::from_utf8(data().to_bytes().expose().clone()).unwrap();
        let newer = text.replacen("\"version\":1", "\"version\":2,\"more\":true", 1);
        assert_eq!(
            RestoreData::from_bytes(newer.as_bytes()).unwrap_err(),
            BadRestoreData::Newer(2)
        );
        for bad in [
            "",
            "[]",
            "{}",
            &text[..text.len() - 1],
            &text.replacen("\"name\"", "\"nam\"", 1),
        ] {
            assert_eq!(
                RestoreData::from_bytes(bad.as_bytes()).unwrap_err(),
                BadRestoreData::Malformed,
                "{bad}"
            );
        }
    }
}
