//! Whether a device may be provisioned, from what was looked up in the cloud. Pure. It admits or names the reason; a
//! look proves no right to upload, so this only finds early what would be refused later.

use super::{
    account::{Member, Role},
    answer,
    product::CloudProduct,
};
use crate::model::{
    Code, Platform,
    fact::Protection,
    outbox::{CloudDevice, Looked},
};

/// What the recipe and the device in the slot say.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The recipe's platform, which is the device's own.
    pub platform: Platform,
    /// How the device is protected.
    pub protection: Protection,
    /// The recipe's product as the cloud describes it; `None` for a recipe for development devices.
    pub product: Option<&'a CloudProduct>,
    /// The token's account, if known.
    pub account: Option<&'a str>,
    /// The product's team, if the token may see it.
    pub team: Option<&'a [Member]>,
}

/// Why a device is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// The reason with its values, as a sentence fragment.
    pub reason: String,
}

/// A device that may go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// True if the device is in the product already.
    pub member: bool,
    /// What is worth showing, as sentence fragments.
    pub notes: Vec<String>,
}

/// Checks product, permission, device and owner, in this order.
///
/// # Errors
/// The first reason that stands against it.
pub fn admit(wanted: &Wanted<'_>, looked: &Looked) -> Result<Admitted, Refusal> {
    let mut admitted = Admitted::default();
    check_product(wanted)?;
    check_role(wanted, &mut admitted)?;
    match looked {
        Looked::Failed(answer) => {
            let (code, reason) = answer::blame(answer);
            Err(Refusal { code, reason })
        }
        Looked::Unseen if wanted.product.is_none() => refuse(
            Code::CloudDenied,
            "the account does not show this development device: it has to be claimed to the station's account first",
        ),
        Looked::Unseen => {
            check_joins(wanted)?;
            admitted.notes.push("not in the product yet".into());
            Ok(admitted)
        }
        Looked::Device { device, .. } => {
            check_device(wanted, device)?;
            check_membership(wanted, device, &mut admitted)?;
            check_owner(wanted, device, &mut admitted)?;
            Ok(admitted)
        }
    }
}

fn check_product(wanted: &Wanted<'_>) -> Result<(), Refusal> {
    match wanted.product.and_then(|product| Some((product, product.platform_id?))) {
        Some((product, id)) if id != wanted.platform.id() => refuse(
            Code::ImportInvalid,
            format!(
                "product {} is for {}, the recipe is for {}",
                product.id,
                platform(id),
                wanted.platform
            ),
        ),
        _ => Ok(()),
    }
}

fn check_role(wanted: &Wanted<'_>, admitted: &mut Admitted) -> Result<(), Refusal> {
    let (Some(_), Some(account), Some(team)) = (wanted.product, wanted.account, wanted.team) else {
        return Ok(());
    };
    match team.iter().find(|member| member.is(account)) {
        Some(Member { role: Some(role), .. }) if !role.may_provision() => refuse(
            Code::CloudDenied,
            format!(
                "the station's account is {} in the product's team; {} or {} is needed",
                role.name(),
                Role::Developer.name(),
                Role::Administrator.name()
            ),
        ),
        Some(Member { programmatic: true, .. }) => {
            admitted
                .notes
                .push("the station's account is an API user: key upload may be closed to it".into());
            Ok(())
        }
        // The owner of a product need not be listed in its team.
        _ => Ok(()),
    }
}

fn check_device(wanted: &Wanted<'_>, device: &CloudDevice) -> Result<(), Refusal> {
    if let Some(id) = device.platform_id.filter(|id| *id != wanted.platform.id()) {
        let reason = format!("the cloud knows the device as {}, it is {}", platform(id), wanted.platform);
        return refuse(Code::ImportInvalid, reason);
    }
    if device.denied == Some(true) {
        return refuse(Code::Quarantine, "the product denies the device");
    }
    if device.quarantined == Some(true) {
        return refuse(Code::Quarantine, "the device is in quarantine");
    }
    Ok(())
}

fn check_membership(wanted: &Wanted<'_>, device: &CloudDevice, admitted: &mut Admitted) -> Result<(), Refusal> {
    let own_number = u64::from(wanted.platform.id());
    match (wanted.product, device.product_id) {
        (Some(product), Some(id)) if id == product.id => admitted.member = true,
        (Some(_), None) => {
            check_joins(wanted)?;
            admitted.notes.push("the cloud does not tell the device's product".into());
        }
        (Some(_), Some(id)) if id == own_number => {
            check_joins(wanted)?;
            admitted.notes.push("a development device, not in the product yet".into());
        }
        (None, Some(id)) if id != own_number => {
            let reason = format!("the device is in product {id}, and the recipe names none");
            return refuse(Code::ImportInvalid, reason);
        }
        (None, _) => {}
        (Some(product), Some(id)) => {
            let reason = format!("the device is in product {id}, not in {}", product.id);
            return refuse(Code::ImportInvalid, reason);
        }
    }
    Ok(())
}

/// A protected device can only join a product with Device Protection (cloud-api.md 3.3).
fn check_joins(wanted: &Wanted<'_>) -> Result<(), Refusal> {
    let open_product = wanted.product.and_then(CloudProduct::takes_protected) == Some(false);
    if open_product && wanted.protection != Protection::Open {
        return refuse(
            Code::ImportProtected,
            "the device is protected and the product has no Device Protection",
        );
    }
    Ok(())
}

fn check_owner(wanted: &Wanted<'_>, device: &CloudDevice, admitted: &mut Admitted) -> Result<(), Refusal> {
    let Some(owner) = device.owner.as_deref() else {
        return Ok(());
    };
    if device.owner_is_customer {
        return refuse(Code::OwnerForeign, "the device is claimed by a customer of the product");
    }
    if wanted.account.is_some_and(|account| account.eq_ignore_ascii_case(owner)) {
        return Ok(());
    }
    match wanted.team {
        Some(team) if team.iter().any(|member| member.is(owner)) => Ok(()),
        Some(_) => refuse(
            Code::OwnerForeign,
            "the device is claimed by somebody who is neither in the team nor a customer",
        ),
        None => {
            admitted
                .notes
                .push("claimed by another account, and the team cannot be seen from here".into());
            Ok(())
        }
    }
}

fn refuse<T>(code: Code, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        code,
        reason: reason.into(),
    })
}

fn platform(id: u16) -> String {
    Platform::from_id(id).map_or_else(|| format!("platform {id}"), |platform| platform.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::outbox::Answer;

    fn product() -> CloudProduct {
        CloudProduct {
            id: 1234,
            slug: None,
            platform_id: Some(13),
            name: None,
            device_protection: Some("disabled".into()),
        }
    }

    fn team() -> Vec<Member> {
        [
            ("me@shop", Some(Role::Developer)),
            ("boss@shop", None),
            ("guest@shop", Some(Role::ViewOnly)),
        ]
        .map(|(name, role)| Member {
            username: name.into(),
            role,
            programmatic: name == "boss@shop",
        })
        .into()
    }

    /// Asks as `account`, for a Boron in product 1234, with the team visible.
    fn ask(account: &str, change: impl FnOnce(&mut Wanted<'_>), looked: &Looked) -> Result<Admitted, Code> {
        let (product, team) = (product(), team());
        let mut wanted = Wanted {
            platform: Platform::Boron,
            protection: Protection::Open,
            product: Some(&product),
            account: Some(account),
            team: Some(&team),
        };
        change(&mut wanted);
        admit(&wanted, looked)
            .map_err(|refusal| {
                assert!(!refusal.reason.is_empty() && !refusal.reason.contains('@'), "{refusal}");
                refusal.code
            })
            .inspect(|admitted| assert!(!admitted.notes.iter().any(|note| note.contains('@')), "{admitted:?}"))
    }

    fn seen(device: CloudDevice) -> Looked {
        Looked::Device { device, at: None }
    }

    fn member() -> CloudDevice {
        CloudDevice {
            product_id: Some(1234),
            platform_id: Some(13),
            ..CloudDevice::default()
        }
    }

    #[test]
    fn a_member_goes_on_and_a_newcomer_is_noted() {
        let yes = ask("me@shop", |_| {}, &seen(member())).unwrap();
        assert!(yes.member && yes.notes.is_empty());
        let new = ask("me@shop", |_| {}, &Looked::Unseen).unwrap();
        assert!(!new.member && new.notes == ["not in the product yet"]);
        let development = CloudDevice {
            product_id: Some(13),
            ..member()
        };
        let new = ask("me@shop", |_| {}, &seen(development)).unwrap();
        assert!(!new.member && new.notes.len() == 1);
    }

    #[test]
    fn every_reason_has_its_code() {
        let device = |change: fn(&mut CloudDevice)| {
            let mut device = member();
            change(&mut device);
            seen(device)
        };
        for (what, looked, code) in [
            ("other product", device(|d| d.product_id = Some(99)), Code::ImportInvalid),
            ("other platform", device(|d| d.platform_id = Some(12)), Code::ImportInvalid),
            ("quarantined", device(|d| d.quarantined = Some(true)), Code::Quarantine),
            ("denied", device(|d| d.denied = Some(true)), Code::Quarantine),
            ("stranger", device(|d| d.owner = Some("who@where".into())), Code::OwnerForeign),
            (
                "customer",
                device(|d| (d.owner, d.owner_is_customer) = (Some("me@shop".into()), true)),
                Code::OwnerForeign,
            ),
            (
                "token",
                Looked::Failed(Answer::Auth { reason: "old".into() }),
                Code::CloudAuth,
            ),
            (
                "down",
                Looked::Failed(Answer::Later {
                    why: "503".into(),
                    after_ms: None,
                }),
                Code::CloudUnreachable,
            ),
            (
                "refused",
                Looked::Failed(Answer::Refused {
                    code: Code::CloudDenied,
                    reason: "no".into(),
                }),
                Code::CloudDenied,
            ),
        ] {
            assert_eq!(ask("me@shop", |_| {}, &looked), Err(code), "{what}");
        }
    }

    #[test]
    fn team_and_own_devices_are_not_foreign() {
        for owner in ["ME@shop", "boss@shop"] {
            let device = CloudDevice {
                owner: Some(owner.into()),
                ..member()
            };
            assert!(ask("me@shop", |_| {}, &seen(device)).is_ok(), "{owner}");
        }
        let device = seen(CloudDevice {
            owner: Some("who@where".into()),
            ..member()
        });
        let blind = ask("me@shop", |w| w.team = None, &device).unwrap();
        assert_eq!(blind.notes.len(), 1, "it cannot be told, so it is said");
    }

    #[test]
    fn a_role_that_may_not_upload_is_refused_before_anything_is_written() {
        assert_eq!(ask("guest@shop", |_| {}, &seen(member())), Err(Code::CloudDenied));
        assert_eq!(
            ask("boss@shop", |_| {}, &seen(member())).unwrap().notes.len(),
            1,
            "an API user"
        );
        assert!(
            ask("owner@shop", |_| {}, &seen(member())).is_ok(),
            "the product's owner is not in its team"
        );
        assert!(ask("guest@shop", |w| w.product = None, &Looked::Unseen).is_err());
    }

    #[test]
    fn a_recipe_for_another_platform_than_its_product_stops_at_once() {
        assert_eq!(
            ask("me@shop", |w| w.platform = Platform::Argon, &Looked::Unseen),
            Err(Code::ImportInvalid)
        );
    }

    #[test]
    fn a_protected_device_joins_only_a_product_with_protection() {
        let protect = |w: &mut Wanted<'_>| w.protection = Protection::Service;
        assert_eq!(ask("me@shop", protect, &Looked::Unseen), Err(Code::ImportProtected));
        assert!(ask("me@shop", protect, &seen(member())).is_ok(), "it is in it already");
        let with = CloudProduct {
            device_protection: Some("active".into()),
            ..product()
        };
        let wanted = Wanted {
            platform: Platform::Boron,
            protection: Protection::Protected,
            product: Some(&with),
            account: None,
            team: None,
        };
        assert!(admit(&wanted, &Looked::Unseen).is_ok());
    }

    #[test]
    fn development_devices_must_be_visible_and_in_no_product() {
        let none = |w: &mut Wanted<'_>| w.product = None;
        assert_eq!(ask("me@shop", none, &Looked::Unseen), Err(Code::CloudDenied));
        assert_eq!(ask("me@shop", none, &seen(member())), Err(Code::ImportInvalid));
        let own = CloudDevice {
            product_id: Some(13),
            ..member()
        };
        assert_eq!(ask("me@shop", none, &seen(own)), Ok(Admitted::default()));
    }
}
