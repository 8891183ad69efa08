//! The module table of a running device (device-protocol.md 2.6).

use std::time::Duration;

use crate::model::module::{InstalledModule, ModuleFunction};

use super::{
    Control, ControlError,
    messages::storage::{FirmwareModule, GetModuleInfoReply, GetModuleInfoRequest, OldModule},
};

/// A module of the main store as the device reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedModule {
    /// Function, index, version and checks.
    pub module: InstalledModule,
    /// Its SHA-256, where the device tells one (Device OS 5.6.0 and newer).
    pub sha256: Option<[u8; 32]>,
    /// True if it makes the device a protected one.
    pub protected: bool,
}

/// Reads the module table.
pub fn read(control: &mut Control<'_>) -> Result<Vec<ReportedModule>, ControlError> {
    let deadline = control.within(LIMIT);
    control
        .call(&GetModuleInfoRequest {}, deadline)
        .map(|reply| main_store(&reply))
}

/// The modules of the main store, from whichever of the two tables the device fills.
fn main_store(reply: &GetModuleInfoReply) -> Vec<ReportedModule> {
    let new = reply.modules.iter().filter(|m| m.store == MAIN).filter_map(from_new);
    let old = reply.modules_deprecated.iter().filter_map(from_old);
    if reply.modules.is_empty() {
        old.collect()
    } else {
        new.collect()
    }
}

fn from_new(m: &FirmwareModule) -> Option<ReportedModule> {
    Some(ReportedModule {
        module: InstalledModule {
            function: ModuleFunction::from_byte(m.kind.try_into().ok()?)?,
            index: m.index.try_into().ok()?,
            version: m.version.try_into().ok()?,
            checked: m.checked_flags,
            passed: m.passed_flags,
        },
        sha256: m.hash.as_deref().and_then(|hash| hash.try_into().ok()),
        protected: m.security.as_ref().is_some_and(|s| s.mode == 1),
    })
}

/// The old table has its own numbers for functions, tells failed checks only, and only of the main store.
fn from_old(m: &OldModule) -> Option<ReportedModule> {
    let function = match m.kind {
        1 => ModuleFunction::Bootloader,
        2 => ModuleFunction::SystemPart,
        3 => ModuleFunction::UserPart,
        4 => ModuleFunction::Monolithic,
        5 => ModuleFunction::NcpFirmware,
        6 => ModuleFunction::RadioStack,
        _ => return None,
    };
    let failed = [(1, INTEGRITY), (2, DEPENDENCIES)]
        .into_iter()
        .filter(|(bit, _)| m.validity & bit != 0)
        .fold(0, |all, (_, flag)| all | flag);
    let checked = INTEGRITY | DEPENDENCIES;
    Some(ReportedModule {
        module: InstalledModule {
            function,
            index: m.index.try_into().ok()?,
            version: m.version.try_into().ok()?,
            checked,
            passed: checked & !failed,
        },
        sha256: None,
        protected: false,
    })
}

const MAIN: i32 = 0;
const INTEGRITY: u32 = 2;
const DEPENDENCIES: u32 = 4;

/// The device reads and checks all of its flash for the answer.
const LIMIT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_give_the_same_words() {
        let new = GetModuleInfoReply {
            modules: vec![
                FirmwareModule {
                    kind: 4,
                    index: 1,
                    version: 6200,
                    checked_flags: 0x1e,
                    passed_flags: 0x1a,
                    hash: Some(vec![7; 32]),
                    ..Default::default()
                },
                FirmwareModule {
                    kind: 5,
                    store: 1,
                    ..Default::default()
                },
                FirmwareModule {
                    kind: 99,
                    ..Default::default()
                },
                FirmwareModule {
                    kind: 5,
                    index: 700,
                    ..Default::default()
                },
            ],
            // A device fills one of the two; if both, the new one counts.
            modules_deprecated: vec![OldModule::default()],
        };
        let modules = main_store(&new);
        assert_eq!(modules.len(), 1, "only the main store, only what can be named");
        assert_eq!(modules[0].sha256, Some([7; 32]));
        assert!(!modules[0].module.healthy(), "dependencies were checked and failed");

        let old = |kind, validity| OldModule {
            kind,
            index: 1,
            version: 1512,
            validity,
            ..Default::default()
        };
        let reply = GetModuleInfoReply {
            modules_deprecated: vec![old(2, 0), old(2, 2), old(3, 1), old(0, 0)],
            modules: vec![],
        };
        let modules = main_store(&reply);
        let words: Vec<_> = modules.iter().map(|m| (m.module.function, m.module.healthy())).collect();
        assert_eq!(
            words,
            [
                (ModuleFunction::SystemPart, true),
                (ModuleFunction::SystemPart, false),
                (ModuleFunction::UserPart, false)
            ]
        );
    }

    #[test]
    fn every_function_of_the_old_table_has_a_name_and_a_new_one_may_be_protected() {
        let function = |kind| {
            let old = OldModule {
                kind,
                ..Default::default()
            };
            from_old(&old).map(|m| m.module.function)
        };
        let named: Vec<_> = (0..8).filter_map(function).collect();
        assert_eq!(
            named,
            [
                ModuleFunction::Bootloader,
                ModuleFunction::SystemPart,
                ModuleFunction::UserPart,
                ModuleFunction::Monolithic,
                ModuleFunction::NcpFirmware,
                ModuleFunction::RadioStack,
            ]
        );
        for (mode, protected) in [(0, false), (1, true)] {
            let mut module = FirmwareModule {
                kind: 4,
                ..Default::default()
            };
            module.security.get_or_insert_default().mode = mode;
            assert_eq!(from_new(&module).unwrap().protected, protected);
        }
    }
}
