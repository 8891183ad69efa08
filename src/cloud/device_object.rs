//! The device object of the cloud and the pages of its lists, read leniently (cloud-api.md 3.4, 3.5): every field but
//! the id is optional, one of an unexpected type counts as absent, and unknown ones are allowed.

use serde::Deserialize;
use serde_json::Value;

use super::{answer::Good, words::sanitise};
use crate::model::{DeviceId, Secret, Wall, outbox::CloudDevice};

/// What an object says of its device.
pub(super) struct Seen {
    /// The part that most looks need.
    pub(super) device: CloudDevice,
    pub(super) last_heard: Option<Wall>,
    /// The `status` of `device_protection`.
    pub(super) protection: Option<String>,
    pub(super) status: Option<String>,
    pub(super) private: Private,
    /// The cloud's `Date` of the reply.
    pub(super) at: Option<Wall>,
}

/// The part that names people, exactly as it came: it is written back one day.
pub(super) struct Private {
    pub(super) owner: Option<Secret<String>>,
    pub(super) name: Option<Secret<String>>,
    pub(super) notes: Option<Secret<String>>,
    pub(super) groups: Option<Vec<Secret<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireDevice {
    id: Value,
    product_id: Value,
    platform_id: Value,
    owner: Value,
    last_handshake_at: Value,
    last_heard: Value,
    online: Value,
    connected: Value,
    quarantined: Value,
    denied: Value,
    device_protection: Value,
    status: Value,
    name: Value,
    notes: Value,
    groups: Value,
}

impl WireDevice {
    /// Reads a reply; `None` if it is not about the device that was asked for.
    pub(super) fn read(good: &Good, asked: DeviceId) -> Option<Seen> {
        let wire: WireDevice = serde_json::from_slice(&good.body).ok()?;
        wire.is(asked).then(|| wire.seen(good.at))
    }

    /// True if the object is this device's.
    pub(super) fn is(&self, device: DeviceId) -> bool {
        is_id(&self.id, device)
    }

    /// What the object says, in a reply of this date.
    pub(super) fn seen(&self, at: Option<Wall>) -> Seen {
        let protection = self.device_protection.get("status").unwrap_or(&self.device_protection);
        Seen {
            device: CloudDevice {
                product_id: number(&self.product_id),
                platform_id: number(&self.platform_id).and_then(|n| u16::try_from(n).ok()),
                owner: text(&self.owner),
                owner_is_customer: false,
                last_handshake_at: self.last_handshake_at.as_str().and_then(Wall::parse),
                online: self.online.as_bool().or(self.connected.as_bool()),
                quarantined: self.quarantined.as_bool(),
                denied: self.denied.as_bool(),
            },
            last_heard: self.last_heard.as_str().and_then(Wall::parse),
            protection: text(protection),
            status: text(&self.status),
            private: Private {
                owner: exact(&self.owner),
                name: exact(&self.name),
                notes: exact(&self.notes),
                groups: self.groups.as_array().map(|groups| groups.iter().filter_map(exact).collect()),
            },
            at,
        }
    }
}

/// One page of a product's devices, with those of its customers who own one of them.
#[derive(Deserialize)]
pub(super) struct WireList {
    /// Absent from a body that is no such page: then nothing follows from what is not in it.
    pub(super) devices: Vec<WireDevice>,
    #[serde(default)]
    pub(super) customers: Vec<WireCustomer>,
    #[serde(default)]
    pub(super) meta: WireMeta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireCustomer {
    id: Value,
    username: Value,
    /// Only in the list of customers.
    devices: Value,
}

impl WireCustomer {
    /// True if `name` is what the cloud calls this customer: by name, or by number where it shows no more.
    pub(super) fn is(&self, name: &str) -> bool {
        [&self.username, &self.id]
            .iter()
            .any(|said| exact(said).is_some_and(|said| said.expose().eq_ignore_ascii_case(name)))
    }

    /// The name, exactly as it came; the number where the cloud shows no name.
    pub(super) fn name(&self) -> Option<Secret<String>> {
        exact(&self.username).or_else(|| exact(&self.id))
    }

    /// True if this device is listed as the customer's.
    pub(super) fn holds(&self, device: DeviceId) -> bool {
        let mut listed = self.devices.as_array().into_iter().flatten();
        listed.any(|entry| is_id(entry.get("id").unwrap_or(entry), device))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireMeta {
    total_pages: Value,
}

impl WireMeta {
    /// How many pages there are; one where the cloud does not tell.
    pub(super) fn total_pages(&self) -> u64 {
        number(&self.total_pages).unwrap_or(1)
    }
}

/// A text, or a number as text; nothing for an empty one.
pub(super) fn text(value: &Value) -> Option<String> {
    exact(value).map(|text| sanitise(text.expose()))
}

/// A number, or the text of one.
pub(super) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn exact(value: &Value) -> Option<Secret<String>> {
    match value {
        Value::String(text) if !text.is_empty() => Some(Secret::new(text.clone())),
        Value::Number(number) => Some(Secret::new(number.to_string())),
        _ => None,
    }
}

fn is_id(value: &Value, device: DeviceId) -> bool {
    value.as_str().is_some_and(|id| id.trim().parse() == Ok(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(fields: &str) -> Seen {
        let id: DeviceId = "1d0034000fffffffffff3933".parse().unwrap();
        let body = format!(r#"{{"id":"1D0034000FFFFFFFFFFF3933"{fields}}}"#).into_bytes();
        WireDevice::read(&Good { body, at: None }, id).unwrap()
    }

    #[test]
    fn what_is_written_back_one_day_is_kept_to_the_letter() {
        let notes = "  two\nlines \u{200b}".to_owned() + &"x".repeat(2000);
        let fields = serde_json::json!({ "notes": notes, "owner": "a  b@x.y", "groups": ["eu", 7, null, ""] }).to_string();
        let seen = seen(&format!(",{}", &fields[1..fields.len() - 1]));
        assert_eq!(seen.private.notes.unwrap().expose(), &notes);
        assert_eq!(seen.private.owner.unwrap().expose(), "a  b@x.y");
        assert_eq!(
            seen.device.owner.as_deref(),
            Some("a b@x.y"),
            "what is shown is made harmless"
        );
        let groups = seen.private.groups.unwrap();
        assert_eq!(groups.iter().map(Secret::expose).collect::<Vec<_>>(), ["eu", "7"]);
        assert!(seen.private.name.is_none());
    }

    #[test]
    fn no_group_is_not_the_same_as_no_word_of_groups() {
        assert!(seen("").private.groups.is_none() && seen(r#","groups":null"#).private.groups.is_none());
        assert_eq!(seen(r#","groups":[]"#).private.groups.unwrap().len(), 0);
    }

    #[test]
    fn protection_is_a_status_or_a_word() {
        assert_eq!(
            seen(r#","device_protection":{"status":"active"}"#).protection.as_deref(),
            Some("active")
        );
        assert_eq!(
            seen(r#","device_protection":"disabled""#).protection.as_deref(),
            Some("disabled")
        );
        assert!(seen(r#","device_protection":{}"#).protection.is_none() && seen("").protection.is_none());
    }
}
