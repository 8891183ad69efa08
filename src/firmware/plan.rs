//! The plan: which bytes go where, by which way and in which order, or one reason why nothing is flashed.

use std::sync::Arc;

use super::{
    AssetRef, Fit, Instead, Module, ModuleError, PlanError, SkipReason, Unchecked, Way,
    dependency::installed_version,
    derive,
    home::{asset_blocks, blocks_of},
    order::{Group, order},
    place,
};
use crate::model::{
    Platform,
    fact::Protection,
    module::{Dependency, InstalledModule, ModuleFunction},
    platform::{Family, UsbMode},
};

/// The device that a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its platform.
    pub platform: Platform,
    /// Its protection.
    pub protection: Protection,
    /// The mode that the work begins in. In DFU mode what is written by DFU comes first, because the device may have no
    /// system that could take an update.
    pub mode: UsbMode,
}

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PieceKind {
    /// A module, or several combined ones.
    Module,
    /// 4096 bytes of 0xFF over the head of the former user part of nRF devices, so that it is not taken for a valid one.
    Invalidation,
}

/// One thing to write or send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which of the modules given to [`Plan::new`] it is of, from 0.
    pub file: usize,
    /// What it is.
    pub kind: PieceKind,
    /// By which way, and for DFU to which alternate setting and address.
    pub way: Way,
    /// Exactly the bytes to write or send.
    pub bytes: Arc<[u8]>,
    /// What a person calls it.
    pub label: String,
    /// The module as the device will have it: to be compared with what it reports.
    pub module: Module,
}

/// A module that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Which of the modules it is, from 0.
    pub file: usize,
    /// What a person calls it.
    pub label: String,
    /// Why.
    pub reason: SkipReason,
}

/// What to flash, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The pieces, first to last.
    pub pieces: Vec<Piece>,
    /// What is left out, and why.
    pub skipped: Vec<Skipped>,
    /// Dependencies that could not be checked: only where the device's modules are not known.
    pub unchecked: Vec<Unchecked>,
    /// Assets that an application of the plan needs and the plan does not bring: the device must have them already.
    pub expected_assets: Vec<AssetRef>,
}

impl Plan {
    /// Makes the plan for a device. `installed` is what it reports in its main store, `None` where it could not be asked.
    ///
    /// # Errors
    /// The first reason why these modules must not be flashed onto this device. No error is left for later: a plan that
    /// exists has been checked as far as `unchecked` and `expected_assets` allow.
    pub fn new(target: Target, modules: &[Module], installed: Option<&[InstalledModule]>) -> Result<Self, PlanError> {
        let mut plan = Self::default();
        let mut entries = Vec::new();
        for (file, given) in modules.iter().enumerate() {
            match place(target.platform, given)? {
                Fit::Skip(reason) => plan.skipped.push(Skipped {
                    file,
                    label: given.to_string(),
                    reason,
                }),
                Fit::Place(placement) => {
                    let (module, bytes) = match protect(target, given)? {
                        None => (given.clone(), placement.bytes.into()),
                        Some(module) => {
                            // It has grown: once more into its place.
                            place(target.platform, &module)?;
                            let bytes = module.bytes().into();
                            (module, bytes)
                        }
                    };
                    entries.push(Entry {
                        file,
                        module,
                        way: placement.way,
                        bytes,
                    });
                }
            }
        }
        check_places(&entries)?;
        plan.check_assets(target.platform, &entries)?;
        let edges = plan.check_dependencies(&entries, installed)?;
        let groups: Vec<Group> = entries.iter().map(Entry::group).collect();
        let priorities: Vec<u8> = entries.iter().map(Entry::priority).collect();
        let sequence = order(target.mode, &groups, &priorities, &edges).map_err(|stuck| PlanError::Cycle {
            modules: stuck.into_iter().map(|i| entries[i].module.to_string()).collect(),
        })?;
        for i in sequence {
            plan.pieces.extend(invalidation(target.platform, &entries[i]));
            plan.pieces.push(entries[i].piece());
        }
        Ok(plan)
    }

    /// True if a part of the plan goes this way: by DFU, or through the running system.
    pub fn needs(&self, mode: UsbMode) -> bool {
        self.pieces.iter().any(|piece| match piece.way {
            Way::Dfu { .. } => mode == UsbMode::Dfu,
            Way::Update => mode == UsbMode::Normal,
        })
    }

    /// Checks every dependency; which entries must come before which.
    fn check_dependencies(
        &mut self,
        entries: &[Entry],
        installed: Option<&[InstalledModule]>,
    ) -> Result<Vec<Vec<usize>>, PlanError> {
        let mut edges = vec![Vec::new(); entries.len()];
        for (i, module, needs) in entries
            .iter()
            .enumerate()
            .flat_map(|(i, entry)| entry.needs().map(move |(m, d)| (i, m, d)))
        {
            let brought = entries
                .iter()
                .enumerate()
                .find_map(|(j, entry)| entry.provides(needs).map(|version| (j, version)));
            let unmet = |instead| {
                Err(PlanError::Unmet {
                    module: module.to_string(),
                    needs,
                    instead,
                })
            };
            match (brought, installed) {
                (Some((j, version)), _) if version >= needs.version => edges[i].extend((j != i).then_some(j)),
                (Some((_, version)), _) => return unmet(Instead::Brought(version)),
                (None, None) => self.unchecked.push(Unchecked {
                    module: module.to_string(),
                    needs,
                }),
                (None, Some(installed)) => match installed_version(installed, needs) {
                    Some(version) if version >= needs.version => {}
                    Some(version) => return unmet(Instead::Installed(version)),
                    None => return unmet(Instead::Nothing),
                },
            }
        }
        Ok(edges)
    }

    fn check_assets(&mut self, platform: Platform, entries: &[Entry]) -> Result<(), PlanError> {
        let all = || entries.iter().flat_map(|entry| entry.module.combined());
        let brought: Vec<AssetRef> = all().filter_map(Module::asset).collect();
        for application in all() {
            for wanted in application.asset_dependencies() {
                match brought.iter().find(|asset| asset.name == wanted.name) {
                    Some(asset) if asset.hash == wanted.hash => {}
                    Some(asset) => {
                        return Err(PlanError::AssetDiffers {
                            application: application.to_string(),
                            name: wanted.name.clone(),
                            wanted: wanted.hash,
                            found: asset.hash,
                        });
                    }
                    None => self.expected_assets.push(wanted.clone()),
                }
            }
        }
        let needed = all()
            .filter(|m| m.asset().is_some())
            .map(|m| blocks_of(m.bytes().len()))
            .sum();
        match asset_blocks(platform) {
            Some(room) if needed > room => Err(PlanError::AssetsTooLarge { platform, needed, room }),
            _ => Ok(()),
        }
    }
}

/// One file on its way into the plan.
struct Entry {
    file: usize,
    module: Module,
    way: Way,
    bytes: Arc<[u8]>,
}

impl Entry {
    fn group(&self) -> Group {
        match self.way {
            _ if self.module.header().function == ModuleFunction::Asset => Group::Asset,
            Way::Update => Group::Update,
            Way::Dfu { .. } => Group::Dfu,
        }
    }

    /// Among modules that do not need each other: what others build on first.
    fn priority(&self) -> u8 {
        match self.module.header().function {
            ModuleFunction::RadioStack => 0,
            ModuleFunction::Bootloader => 1,
            ModuleFunction::NcpFirmware => 2,
            ModuleFunction::SystemPart => 3,
            _ => 4,
        }
    }

    fn needs(&self) -> impl Iterator<Item = (&Module, Dependency)> {
        self.module.combined().flat_map(|module| {
            let system = (module.header().function == ModuleFunction::Asset).then_some(ASSET_SYSTEM);
            module
                .dependencies()
                .into_iter()
                .chain(system)
                .map(move |needs| (module, needs))
        })
    }

    fn provides(&self, needs: Dependency) -> Option<u16> {
        let headers = self.module.combined().map(Module::header);
        headers
            .filter(|h| h.function == needs.function && h.index == needs.index)
            .map(|h| h.version)
            .next()
    }

    fn piece(&self) -> Piece {
        let protected = if self.module.is_protected() { " (protected)" } else { "" };
        Piece {
            file: self.file,
            kind: PieceKind::Module,
            way: self.way,
            bytes: Arc::clone(&self.bytes),
            label: format!("{}{protected}", self.module),
            module: self.module.clone(),
        }
    }
}

/// Two modules for one place, or two writes to one address, are a mistake of the recipe: neither is the right one.
fn check_places(entries: &[Entry]) -> Result<(), PlanError> {
    for (i, a) in entries.iter().enumerate() {
        let within = a
            .module
            .combined()
            .enumerate()
            .flat_map(|(n, m)| a.module.combined().skip(n + 1).map(move |o| (m, o)));
        let across = entries[i + 1..]
            .iter()
            .flat_map(|b| a.module.combined().flat_map(|m| b.module.combined().map(move |o| (m, o))));
        if let Some((m, o)) = within.chain(across).find(|(m, o)| same_place(m, o)) {
            return Err(PlanError::SamePlace {
                first: m.to_string(),
                second: o.to_string(),
            });
        }
        if let Some(b) = entries[i + 1..].iter().find(|b| overlap(a, b)) {
            return Err(PlanError::SamePlace {
                first: a.module.to_string(),
                second: b.module.to_string(),
            });
        }
    }
    Ok(())
}

fn same_place(a: &Module, b: &Module) -> bool {
    match (a.asset(), b.asset()) {
        (Some(a), Some(b)) => a.name == b.name,
        (None, None) => a.header().function == b.header().function && a.header().index == b.header().index,
        _ => false,
    }
}

fn overlap(a: &Entry, b: &Entry) -> bool {
    let range = |e: &Entry| match e.way {
        Way::Dfu { address, .. } => Some((u64::from(address), u64::from(address) + e.bytes.len() as u64)),
        Way::Update => None,
    };
    range(a).zip(range(b)).is_some_and(|((a0, a1), (b0, b1))| a0 < b1 && b0 < a1)
}

/// The bootloader that keeps a protected device protected, if `module` is one and the device is.
fn protect(target: Target, module: &Module) -> Result<Option<Module>, PlanError> {
    if target.protection == Protection::Open {
        return Ok(None);
    }
    for part in module.combined() {
        let header = part.header();
        let least = PROTECTION_NEEDS
            .into_iter()
            .find(|d| d.function == header.function && d.index == header.index);
        if let Some(least) = least.filter(|least| header.version < least.version) {
            return Err(PlanError::TooOldForProtection {
                module: part.to_string(),
                least,
            });
        }
    }
    let bootloader = |m: &Module| m.header().function == ModuleFunction::Bootloader && m.header().index == 0;
    if !module.combined().any(|part| bootloader(part) && !part.is_protected()) {
        return Ok(None);
    }
    let refused = |source| PlanError::Protect {
        module: module.to_string(),
        source,
    };
    if module.is_combined() {
        return Err(refused(ModuleError::Nested));
    }
    module
        .decompressed()
        .and_then(|plain| derive::protected(&plain))
        .map(Some)
        .map_err(refused)
}

fn invalidation(platform: Platform, entry: &Entry) -> Option<Piece> {
    let header = entry.module.header();
    let system = |d: &Dependency| d.function == ModuleFunction::SystemPart && d.version >= INVALIDATION_SYSTEM;
    let due = platform.family() == Family::Nrf52840
        && matches!(entry.way, Way::Dfu { .. })
        && (header.function, header.index) == (ModuleFunction::UserPart, 2)
        && entry.module.dependencies().iter().any(system);
    due.then(|| Piece {
        file: entry.file,
        kind: PieceKind::Invalidation,
        way: Way::Dfu {
            alt: 0,
            address: FORMER_USER_PART,
        },
        bytes: [0xff; FORMER_USER_PART_LEN].into(),
        label: "head of the former user part (erased)".to_owned(),
        module: entry.module.clone(),
    })
}

const FORMER_USER_PART: u32 = 0xd_4000;
const FORMER_USER_PART_LEN: usize = 4096;
/// The system that an application must be made for before the former user part is invalidated.
const INVALIDATION_SYSTEM: u16 = 3103;
/// Device OS 5.5.0: the first that takes assets.
const ASSET_SYSTEM: Dependency = Dependency {
    function: ModuleFunction::SystemPart,
    index: 1,
    version: 5500,
};
/// The oldest modules that a protected device may get.
const PROTECTION_NEEDS: [Dependency; 2] = [
    Dependency {
        function: ModuleFunction::SystemPart,
        index: 1,
        version: 6101,
    },
    Dependency {
        function: ModuleFunction::Bootloader,
        index: 0,
        version: 3001,
    },
];

#[cfg(test)]
mod tests {
    use ModuleFunction::{Asset, Bootloader, RadioStack, SystemPart, UserPart};

    use super::*;
    use crate::firmware::{Extension, ModuleBuilder, asset};

    const ARGON: Target = Target {
        platform: Platform::Argon,
        protection: Protection::Open,
        mode: UsbMode::Normal,
    };

    fn module(function: ModuleFunction, index: u8, version: u16, needs: &[(ModuleFunction, u8, u16)]) -> Module {
        let start = match (function, index) {
            (Bootloader, _) => 0xf_4000,
            (RadioStack, _) => 0x1000,
            (SystemPart, _) => 0x3_0000,
            (UserPart, 1) => 0xd_4000,
            _ => 0xb_4000,
        };
        let builder = ModuleBuilder::new(function, index, version)
            .platform(Platform::Argon)
            .start(start)
            .seeded_content(1, 500);
        needs
            .iter()
            .fold(builder, |b, (f, i, v)| b.needs(*f, *i, *v))
            .build()
            .unwrap()
    }

    fn set() -> Vec<Module> {
        vec![
            asset::wrap("cat", b"meow").unwrap(),
            module(UserPart, 2, 6, &[(SystemPart, 1, 6101)]),
            module(SystemPart, 1, 6101, &[(RadioStack, 0, 202), (Bootloader, 0, 3001)]),
            module(RadioStack, 0, 202, &[]),
            module(Bootloader, 0, 3001, &[]),
        ]
    }

    fn labels(plan: &Plan) -> Vec<&str> {
        plan.pieces.iter().map(|piece| piece.label.as_str()).collect()
    }

    const HEAD: &str = "head of the former user part (erased)";

    #[test]
    fn a_full_set_is_ordered_by_mode_and_dependency() {
        let normal = Plan::new(ARGON, &set(), Some(&[])).unwrap();
        let dfu = ["radio stack 0 v202", "system part 1 v6101", HEAD, "user part 2 v6"];
        assert_eq!(labels(&normal), [&["bootloader 0 v3001"], &dfu[..], &["asset cat"]].concat());
        assert_eq!(normal.pieces.iter().map(|p| p.file).collect::<Vec<_>>(), [4, 3, 2, 1, 1, 0]);
        let begun_in_dfu = Plan::new(
            Target {
                mode: UsbMode::Dfu,
                ..ARGON
            },
            &set(),
            None,
        )
        .unwrap();
        assert_eq!(
            labels(&begun_in_dfu),
            [&dfu[..], &["bootloader 0 v3001", "asset cat"]].concat()
        );
        assert!(begun_in_dfu.unchecked.is_empty(), "the set has all that it needs");
        assert!(normal.needs(UsbMode::Dfu) && normal.needs(UsbMode::Normal));
    }

    #[test]
    fn both_dependencies_count_each_with_its_own_function_and_index() {
        let system = module(SystemPart, 1, 6101, &[(RadioStack, 0, 202), (Bootloader, 0, 3001)]);
        let have = |function, version| InstalledModule {
            function,
            index: 0,
            version,
            checked: 0x1e,
            passed: 0x1e,
        };
        let plan = |installed: &[InstalledModule]| Plan::new(ARGON, std::slice::from_ref(&system), Some(installed));
        assert!(
            plan(&[have(RadioStack, 202), have(Bootloader, 3002)]).is_ok(),
            "newer is as good"
        );
        let second = plan(&[have(RadioStack, 3001), have(Bootloader, 3000)]).unwrap_err();
        assert_eq!(
            second.to_string(),
            "system part 1 v6101 needs bootloader 0 v3001, the device has v3000"
        );
        let first = plan(&[have(Bootloader, 3001)]).unwrap_err();
        assert!(
            matches!(
                first,
                PlanError::Unmet {
                    instead: Instead::Nothing,
                    ..
                }
            ),
            "{first}"
        );
    }

    #[test]
    fn unknown_modules_leave_dependencies_unchecked_and_say_which() {
        let plan = Plan::new(ARGON, &[module(UserPart, 2, 6, &[(SystemPart, 1, 6101)])], None).unwrap();
        let said: Vec<String> = plan.unchecked.iter().map(Unchecked::to_string).collect();
        assert_eq!(
            said,
            ["user part 2 v6 needs system part 1 v6101: not checked, the device's modules are not known"]
        );
    }

    #[test]
    fn two_modules_for_one_place_are_refused() {
        let user = |index| module(UserPart, index, 6, &[]);
        for pair in [[user(2), user(2)], [user(1), user(2)]] {
            // The smaller user part lies within the larger one: only a long one reaches it.
            let long = ModuleBuilder::new(UserPart, 2, 6)
                .platform(Platform::Argon)
                .start(0xb_4000)
                .seeded_content(1, 0x3_0000);
            let pair = if pair[0].header().index == 1 {
                [pair[0].clone(), long.build().unwrap()]
            } else {
                pair
            };
            assert!(matches!(Plan::new(ARGON, &pair, None), Err(PlanError::SamePlace { .. })));
        }
        let cats = [asset::wrap("cat", b"a").unwrap(), asset::wrap("cat", b"b").unwrap()];
        assert!(matches!(Plan::new(ARGON, &cats, None), Err(PlanError::SamePlace { .. })));
    }

    #[test]
    fn modules_that_need_each_other_are_refused() {
        let ring = [
            module(SystemPart, 1, 6101, &[(UserPart, 2, 6)]),
            module(UserPart, 2, 6, &[(SystemPart, 1, 6101)]),
        ];
        let error = Plan::new(ARGON, &ring, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "these modules need each other: system part 1 v6101, user part 2 v6"
        );
    }

    #[test]
    fn the_former_user_part_is_invalidated_only_for_new_applications() {
        for (version, pieces) in [(3102, 1), (3103, 2)] {
            let plan = Plan::new(ARGON, &[module(UserPart, 2, 6, &[(SystemPart, 1, version)])], None).unwrap();
            assert_eq!(plan.pieces.len(), pieces, "made for {version}");
        }
        let old = Plan::new(ARGON, &[module(UserPart, 1, 6, &[(SystemPart, 1, 6101)])], None).unwrap();
        assert_eq!(old.pieces.len(), 1, "it is the former user part");
    }

    #[test]
    fn a_protected_device_gets_only_what_keeps_it_protected() {
        for protection in [Protection::Protected, Protection::Service] {
            let target = Target { protection, ..ARGON };
            let plan = Plan::new(target, &[module(Bootloader, 0, 3001, &[])], None).unwrap();
            assert!(plan.pieces[0].module.is_protected());
            assert_eq!(*plan.pieces[0].bytes, *plan.pieces[0].module.bytes());
            for old in [module(Bootloader, 0, 3000, &[]), module(SystemPart, 1, 6100, &[])] {
                assert!(matches!(
                    Plan::new(target, &[old], None),
                    Err(PlanError::TooOldForProtection { .. })
                ));
            }
        }
        let open = Plan::new(ARGON, &[module(Bootloader, 0, 3000, &[])], None).unwrap();
        assert!(!open.pieces[0].module.is_protected());
    }

    #[test]
    fn assets_are_compared_with_the_application_and_the_store() {
        let wanted = AssetRef {
            name: "cat".into(),
            hash: crate::firmware::sha256_of(b"meow"),
        };
        let application = ModuleBuilder::new(UserPart, 2, 6)
            .platform(Platform::Argon)
            .start(0xb_4000)
            .suffix_extensions([Extension::AssetDependency(wanted.clone())])
            .build()
            .unwrap();
        let with = |content: &[u8]| Plan::new(ARGON, &[application.clone(), asset::wrap("cat", content).unwrap()], None);
        assert_eq!(with(b"meow").unwrap().expected_assets, []);
        assert!(matches!(with(b"woof"), Err(PlanError::AssetDiffers { .. })));
        assert_eq!(Plan::new(ARGON, &[application], None).unwrap().expected_assets, [wanted]);

        let big = |n: u8| asset::wrap(&format!("a{n}"), &vec![n; 600_000]).unwrap();
        assert!(Plan::new(ARGON, &[big(1)], None).is_ok());
        let error = Plan::new(ARGON, &[big(1), big(2)], None).unwrap_err();
        assert!(
            matches!(
                error,
                PlanError::AssetsTooLarge {
                    needed: 294,
                    room: 278,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(big(1).header().function, Asset);
    }

    #[test]
    fn a_skipped_module_is_listed_and_brings_nothing() {
        let build = |f, i, v, start| {
            ModuleBuilder::new(f, i, v)
                .platform(Platform::P2)
                .start(start)
                .seeded_content(1, 500)
        };
        let mbr = build(Bootloader, 1, 2, 0x0800_0000).build().unwrap();
        let part1 = build(Bootloader, 2, 11, 0x0801_4000).needs(Bootloader, 1, 2).build().unwrap();
        let target = Target {
            platform: Platform::P2,
            ..ARGON
        };
        let plan = Plan::new(target, std::slice::from_ref(&mbr), Some(&[])).unwrap();
        assert_eq!((plan.pieces.len(), plan.skipped[0].label.as_str()), (0, "bootloader 1 v2"));
        let error = Plan::new(target, &[mbr, part1], Some(&[])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bootloader 2 v11 needs bootloader 1 v2, neither the device nor the modules to flash have it"
        );
    }
}
