//! What a module needs, and whether a device has it already. "At least this version" is the rule on the device, so it
//! is the rule here.

use std::fmt;

use super::Module;
use crate::model::{
    module::{Dependency, InstalledModule, ModuleFunction},
    recipe::Sha256,
};

/// A dependency that nothing could be said about, because the device was met in DFU mode and could not tell its modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchecked {
    /// Label of the module that has it.
    pub module: String,
    /// What it needs.
    pub needs: Dependency,
}

impl fmt::Display for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} needs {}: not checked, the device's modules are not known",
            self.module,
            named(self.needs)
        )
    }
}

/// What a device has in the place of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nothing.
    Absent,
    /// Something that failed a check of the device.
    Unhealthy,
    /// Another version.
    OtherVersion(u16),
    /// The same version with another hash.
    OtherContent,
    /// An application with the same version number and no hash to compare: every application of a system has that number.
    Uncertain,
    /// The same version; the device tells no hash.
    SameVersion,
    /// The same bytes.
    Same,
}

impl Presence {
    /// True if there is nothing to flash.
    pub fn is_there(self) -> bool {
        matches!(self, Self::Same | Self::SameVersion)
    }
}

/// Compares a module with what a device reports, and with the SHA-256 that it reports for the module in that place, if any.
pub fn presence(module: &Module, installed: &[InstalledModule], hash: Option<Sha256>) -> Presence {
    let header = module.header();
    let Some(found) = installed
        .iter()
        .find(|i| i.function == header.function && i.index == header.index)
    else {
        return Presence::Absent;
    };
    let own = module.suffix().map(|suffix| suffix.sha256);
    match hash {
        _ if !found.healthy() => Presence::Unhealthy,
        _ if found.version != header.version => Presence::OtherVersion(found.version),
        Some(hash) if Some(hash) == own => Presence::Same,
        Some(_) => Presence::OtherContent,
        None if matches!(header.function, ModuleFunction::UserPart | ModuleFunction::Monolithic) => Presence::Uncertain,
        None => Presence::SameVersion,
    }
}

/// The version that satisfies or fails a dependency on a device. A module whose bytes are damaged is not there.
pub(super) fn installed_version(installed: &[InstalledModule], needs: Dependency) -> Option<u16> {
    installed
        .iter()
        .find(|i| i.function == needs.function && i.index == needs.index)
        .filter(|i| i.checked & !i.passed & INTEGRITY == 0)
        .map(|i| i.version)
}

/// "system part 1 v6101".
pub(super) fn named(d: Dependency) -> String {
    format!("{} {} v{}", d.function, d.index, d.version)
}

/// The integrity bit of `InstalledModule::checked`.
const INTEGRITY: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{firmware::ModuleBuilder, model::Platform};

    fn installed(function: ModuleFunction, version: u16) -> InstalledModule {
        InstalledModule {
            function,
            index: 1,
            version,
            checked: 0x1e,
            passed: 0x1e,
        }
    }

    #[test]
    fn presence_needs_the_same_version_and_for_applications_the_same_hash() {
        use ModuleFunction::{SystemPart, UserPart};
        let build = |f| {
            ModuleBuilder::new(f, 1, 6)
                .platform(Platform::P2)
                .seeded_content(1, 100)
                .build()
                .unwrap()
        };
        let (system, user) = (build(SystemPart), build(UserPart));
        let own = |m: &Module| Some(m.suffix().unwrap().sha256);
        assert_eq!(presence(&system, &[], None), Presence::Absent);
        assert_eq!(presence(&system, &[installed(UserPart, 6)], None), Presence::Absent);
        assert_eq!(
            presence(&system, &[installed(SystemPart, 7)], None),
            Presence::OtherVersion(7)
        );
        assert_eq!(presence(&system, &[installed(SystemPart, 6)], None), Presence::SameVersion);
        assert_eq!(presence(&user, &[installed(UserPart, 6)], None), Presence::Uncertain);
        assert_eq!(presence(&user, &[installed(UserPart, 6)], own(&user)), Presence::Same);
        assert_eq!(
            presence(&user, &[installed(UserPart, 6)], own(&system)),
            Presence::OtherContent
        );
        let mut bad = installed(SystemPart, 6);
        bad.passed = 0x1c;
        assert_eq!(presence(&system, &[bad.clone()], own(&system)), Presence::Unhealthy);
        let needs = Dependency {
            function: SystemPart,
            index: 1,
            version: 1,
        };
        assert_eq!(installed_version(&[bad.clone()], needs), None, "damaged bytes are not there");
        bad.passed = 0x1a;
        assert_eq!(
            installed_version(&[bad], needs),
            Some(6),
            "an unmet dependency of its own is another matter"
        );
    }

    #[test]
    fn only_certainty_saves_the_flashing() {
        assert!(Presence::Same.is_there() && Presence::SameVersion.is_there());
        for other in [
            Presence::Absent,
            Presence::Unhealthy,
            Presence::Uncertain,
            Presence::OtherContent,
            Presence::OtherVersion(1),
        ] {
            assert!(!other.is_there(), "{other:?}");
        }
    }
}
