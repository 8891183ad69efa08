//! Real firmware and golden vectors: every module of `shared/data/firmware` parses, verifies and goes where
//! device-protocol.md says; derived images equal those of the vendor's tools byte for byte.

use std::path::PathBuf;

use keyrack::{
    firmware::{
        AssetRef, Bundle, BundleError, Fit, Instead, Module, ModuleError, PieceKind, Plan, PlanError, Target, Unfit, Way, asset,
        derive, place, sha256_of,
    },
    model::{
        Platform,
        fact::Protection,
        module::{InstalledModule, ModuleFunction},
        platform::UsbMode,
    },
};

fn shared(file: &str) -> Option<Vec<u8>> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    #[expect(clippy::disallowed_methods, reason = "a test may be told where the shared data is")]
    let root = std::env::var("KEYRACK_SHARED").map_or(own, PathBuf::from);
    let bytes = std::fs::read(root.join("data/firmware").join(file)).ok();
    if bytes.is_none() {
        #[expect(clippy::print_stderr, reason = "a test says why it did not run")]
        {
            eprintln!("not run: ../shared/data is not here");
        }
    }
    bytes
}

fn module(file: &str) -> Option<Module> {
    shared(file).map(|bytes| Module::parse(bytes).unwrap_or_else(|e| panic!("{file}: {e}")))
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).expect("the vectors are hexadecimal"))
        .collect()
}

struct Row {
    file: &'static str,
    platform: Platform,
    offset: usize,
    header: &'static str,
    crc: u32,
    suffix: usize,
    product: Option<(u16, u16)>,
    way: Way,
    label: &'static str,
}

const fn dfu(address: u32) -> Way {
    Way::Dfu { alt: 0, address }
}

#[rustfmt::skip]
const ROWS: [Row; 9] = [
    Row { file: "argon-bootloader-620.bin", platform: Platform::Argon, offset: 0x200, header: "00400f00e2fc0f000000b90b0c0002000000000000000000", crc: 0x8f43_57ff, suffix: 40, product: None, way: Way::Update, label: "bootloader 0 v3001" },
    Row { file: "argon-system-part1-4.1.0.bin", platform: Platform::Argon, offset: 0x200, header: "0000030086290a00000004100c0004010800ca000200b004", crc: 0xe114_a33b, suffix: 40, product: None, way: dfu(0x3_0000), label: "system part 1 v4100" },
    Row { file: "argon-tinker-620.bin", platform: Platform::Argon, offset: 0, header: "00400b00ca6b0b00000006000c0005020401d51700000000", crc: 0x49a9_e91b, suffix: 40, product: None, way: dfu(0xb_4000), label: "user part 2 v6" },
    Row { file: "electron-tinker.bin", platform: Platform::Electron, offset: 0, header: "000008088c160808000003000a00050104020a0000000000", crc: 0xb393_4494, suffix: 40, product: None, way: dfu(0x0808_0000), label: "user part 1 v3" },
    Row { file: "photon-tinker-0.4.5.bin", platform: Platform::Photon, offset: 0, header: "00000a08c8140a0800000300060005010402060000000000", crc: 0x4a73_8441, suffix: 40, product: None, way: dfu(0x080a_0000), label: "user part 1 v3" },
    Row { file: "p2-tinker-5.0.0.bin", platform: Platform::P2, offset: 0, header: "00405f08fcff5f08000006002000050104018a1300000000", crc: 0x64b1_3aa8, suffix: 62, product: None, way: dfu(0x085f_4000), label: "user part 1 v6" },
    Row { file: "electron-product-8178-v13.bin", platform: Platform::Electron, offset: 0, header: "00000808a84d0808000006000a0005010402b10400000000", crc: 0xe309_c618, suffix: 40, product: Some((8178, 13)), way: dfu(0x0808_0000), label: "user part 1 v6" },
    Row { file: "boron-blank.bin", platform: Platform::Boron, offset: 0, header: "00400d00445c0d00000006000d0005010401bd0400000000", crc: 0x4d02_d94f, suffix: 40, product: None, way: dfu(0xd_4000), label: "user part 1 v6" },
    Row { file: "app-with-assets.bin", platform: Platform::Argon, offset: 0, header: "00400b00ff5b0b00000006000c0005020401a60f00000000", crc: 0x7fa3_0408, suffix: 183, product: None, way: dfu(0xb_4000), label: "user part 2 v6" },
];

#[test]
fn every_real_module_parses_verifies_and_has_its_place() {
    for row in ROWS {
        let Some(bytes) = shared(row.file) else { return };
        let module = Module::parse(bytes.clone()).unwrap_or_else(|e| panic!("{}: {e}", row.file));
        assert_eq!(module.verify(), Ok(()), "{}", row.file);
        assert_eq!(module.header_offset(), row.offset, "{}", row.file);
        assert_eq!(bytes[row.offset..row.offset + 24], hex(row.header), "{}", row.file);
        assert_eq!(module.header().to_bytes().to_vec(), hex(row.header), "{}", row.file);
        let suffix = module.suffix().unwrap();
        assert_eq!((suffix.crc, suffix.size), (row.crc, row.suffix), "{}", row.file);
        assert_eq!(module.product(), row.product, "{}", row.file);
        assert_eq!(module.to_string(), row.label, "{}", row.file);
        let Fit::Place(placement) = place(row.platform, &module).unwrap() else {
            panic!("{} skipped", row.file)
        };
        assert_eq!(placement.way, row.way, "{}", row.file);
        assert_eq!(placement.bytes, bytes, "{}", row.file);
        for other in Platform::all().filter(|other| *other != row.platform) {
            assert!(
                matches!(place(other, &module), Err(Unfit::WrongPlatform { .. })),
                "{} on {other}",
                row.file
            );
        }
    }
}

#[test]
fn one_changed_byte_anywhere_is_noticed() {
    let Some(bytes) = shared("photon-tinker-0.4.5.bin") else {
        return;
    };
    for at in (0..bytes.len()).step_by(97).chain(bytes.len() - 44..bytes.len()) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        let found = Module::parse(bytes).and_then(|module| module.verify());
        assert!(found.is_err(), "byte {at}");
    }
    let cut = Module::parse(&bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(
        cut.verify(),
        Err(ModuleError::Size {
            header: 5324,
            file: 5323
        })
    );
}

#[test]
fn the_application_lists_its_assets() {
    let Some(application) = module("app-with-assets.bin") else {
        return;
    };
    let assets: Vec<&AssetRef> = application.asset_dependencies().collect();
    let names: Vec<&str> = assets.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["cat.txt", "house.txt", "water.txt"]);
    assert_eq!(
        assets[0].hash.to_string(),
        "b0f0d8ff8cc965a7b70b07e0c6b4c028f132597196ae9c70c620cb9e41344106"
    );
    assert_eq!(
        application.suffix().unwrap().product,
        Some((12, 3)),
        "the platform's number: no product"
    );
}

#[test]
fn the_protected_bootloader_is_the_golden_one() {
    let Some(bootloader) = module("argon-bootloader-620.bin") else {
        return;
    };
    assert!(!bootloader.is_protected());
    let protected = derive::protected(&bootloader).unwrap();
    assert_eq!(protected.verify(), Ok(()));
    assert!(protected.is_protected());
    assert_eq!((protected.bytes().len(), protected.header().end), (48_367, 0x000f_fceb));
    let golden = "a08718d9f9e96b30b829d4a45de5c4a8cc9801d17b6c6988b53b923257271932";
    assert_eq!(sha256_of(protected.bytes()).to_string(), golden);
    assert_eq!(
        derive::protected(&protected).unwrap().bytes(),
        protected.bytes(),
        "once is enough"
    );

    let target = Target {
        platform: Platform::Argon,
        protection: Protection::Service,
        mode: UsbMode::Normal,
    };
    let plan = Plan::new(target, &[bootloader], Some(&[])).unwrap();
    assert_eq!(plan.pieces[0].label, "bootloader 0 v3001 (protected)");
    assert_eq!(sha256_of(&plan.pieces[0].bytes).to_string(), golden);
}

#[test]
fn the_asset_module_is_the_golden_one() {
    let golden = hex(
        "000000007a0000000001000000000900000000000000000068656c6c6f1000260000202cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e7304
         3362938b982411000900612e74787401000a00ffffffffffff000041151db1223f9324dd05c6adbbe69d5789490c7cd7ffd5a4ecd3976084db0be65d
         002d7845b6",
    );
    let module = asset::wrap("a.txt", b"hello").unwrap();
    assert_eq!(module.bytes(), golden);
    assert_eq!(module.verify(), Ok(()));
    assert_eq!(module.to_string(), "asset a.txt");
    let Fit::Place(placement) = place(Platform::Argon, &module).unwrap() else {
        panic!("skipped")
    };
    assert_eq!((placement.way, placement.bytes), (Way::Update, golden));
    assert!(matches!(place(Platform::Photon, &module), Err(Unfit::Unsupported { .. })));
}

#[test]
fn the_compressed_asset_module_is_read() {
    let golden = hex(
        "0000000084000000000300000000090000000000000000000800000005000000cb48cdc9c907001000260000202cf24dba5fb0a30e26e83b2ac5b9e2
         9e1b161e5c1fa7425e73043362938b982411000900612e74787401000a00ffffffffffff0000c16483f7e63646e80225a71d589d8a0b9d7d5c7b0ac0
         340e6bbed2c0c97a6c2a5d00df58ff82",
    );
    let module = Module::parse(golden.clone()).unwrap();
    assert_eq!(module.verify(), Ok(()));
    assert_eq!(module.content().unwrap(), b"hello");
    let plain = asset::wrap("a.txt", b"hello").unwrap();
    assert_eq!(
        module.decompressed().unwrap().bytes(),
        plain.bytes(),
        "and back to the plain one"
    );
    let Fit::Place(placement) = place(Platform::P2, &module).unwrap() else {
        panic!("skipped")
    };
    assert_eq!(placement.bytes, golden, "a device takes compressed assets");
}

#[test]
fn real_modules_survive_compression_and_combination() {
    let Some(electron) = module("electron-tinker.bin") else {
        return;
    };
    let compressed = derive::compressed(&electron).unwrap();
    assert_eq!(compressed.verify(), Ok(()));
    assert_eq!(&compressed.bytes()[24..32], hex("0800000090160000"));
    assert_eq!(compressed.decompressed().unwrap().bytes(), electron.bytes());

    let (Some(system), Some(boot)) = (module("argon-system-part1-4.1.0.bin"), module("argon-bootloader-620.bin")) else {
        return;
    };
    let compressed = derive::compressed(&system).unwrap();
    assert_eq!(
        (compressed.verify(), compressed.header_offset()),
        (Ok(()), 0),
        "the vector table is inside"
    );
    assert_eq!(compressed.decompressed().unwrap().bytes(), system.bytes());
    let Fit::Place(placement) = place(Platform::Argon, &compressed).unwrap() else {
        panic!("skipped")
    };
    assert_eq!(
        (placement.way, placement.bytes.as_slice()),
        (dfu(0x3_0000), system.bytes()),
        "DFU writes it plain"
    );

    let both = derive::combined(&[boot, system]).unwrap();
    assert_eq!(both.verify(), Ok(()));
    assert_eq!(both.to_string(), "bootloader 0 v3001 + system part 1 v4100");
    let Fit::Place(placement) = place(Platform::Argon, &both).unwrap() else {
        panic!("skipped")
    };
    assert_eq!((placement.way, placement.bytes.as_slice()), (Way::Update, both.file()));
}

#[test]
fn tinker_for_6_1_is_refused_on_4_1() {
    let (Some(tinker), Some(system)) = (module("argon-tinker-620.bin"), module("argon-system-part1-4.1.0.bin")) else {
        return;
    };
    let target = Target {
        platform: Platform::Argon,
        protection: Protection::Open,
        mode: UsbMode::Normal,
    };
    let installed = |function, index, version| InstalledModule {
        function,
        index,
        version,
        checked: 0x1e,
        passed: 0x1e,
    };
    let old = [
        installed(ModuleFunction::SystemPart, 1, 4100),
        installed(ModuleFunction::Bootloader, 0, 1200),
        installed(ModuleFunction::RadioStack, 0, 202),
    ];

    let refused = Plan::new(target, std::slice::from_ref(&tinker), Some(&old)).unwrap_err();
    assert!(
        matches!(
            refused,
            PlanError::Unmet {
                instead: Instead::Installed(4100),
                ..
            }
        ),
        "{refused}"
    );
    assert_eq!(
        refused.to_string(),
        "user part 2 v6 needs system part 1 v6101, the device has v4100"
    );
    let refused = Plan::new(target, &[tinker.clone(), system.clone()], None).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "user part 2 v6 needs system part 1 v6101, the modules to flash bring v4100"
    );

    let new = [installed(ModuleFunction::SystemPart, 1, 6101)];
    let plan = Plan::new(target, std::slice::from_ref(&tinker), Some(&new)).unwrap();
    let [invalidation, user] = plan.pieces.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!(
        (invalidation.kind, invalidation.way),
        (PieceKind::Invalidation, dfu(0xd_4000))
    );
    assert_eq!(*invalidation.bytes, [0xff; 4096]);
    assert_eq!((user.way, &*user.bytes), (dfu(0xb_4000), tinker.bytes()));

    let plan = Plan::new(target, std::slice::from_ref(&system), Some(&old)).unwrap();
    assert_eq!(plan.pieces.len(), 1, "radio stack 202 and bootloader 1200 are there");
    let refused = Plan::new(target, &[system], Some(&old[..2])).unwrap_err();
    assert!(
        matches!(
            refused,
            PlanError::Unmet {
                instead: Instead::Nothing,
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn the_real_bundle_opens_and_the_invalid_one_does_not() {
    let (Some(good), Some(bad)) = (shared("app-bundle.zip"), shared("invalid-bundle.zip")) else {
        return;
    };
    let bundle = Bundle::parse(&good).unwrap();
    assert_eq!(bundle.application.to_string(), "user part 2 v6");
    let labels: Vec<String> = bundle.assets.iter().map(Module::to_string).collect();
    assert_eq!(labels, ["asset cat.txt", "asset house.txt", "asset water.txt"]);
    assert!(bundle.assets.iter().all(|asset| asset.verify().is_ok()));
    let modules: Vec<Module> = bundle.modules().cloned().collect();
    assert!(matches!(Bundle::parse(&bad), Err(BundleError::Unexpected { .. })));

    let target = Target {
        platform: Platform::Argon,
        protection: Protection::Open,
        mode: UsbMode::Normal,
    };
    let system = |version| {
        [InstalledModule {
            function: ModuleFunction::SystemPart,
            index: 1,
            version,
            checked: 0x1e,
            passed: 0x1e,
        }]
    };
    let refused = Plan::new(target, &modules, Some(&system(5499))).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "asset cat.txt needs system part 1 v5500, the device has v5499"
    );
    let plan = Plan::new(target, &modules, Some(&system(5500))).unwrap();
    let order: Vec<&str> = plan.pieces.iter().map(|p| p.label.as_str()).collect();
    let (head, app) = ("head of the former user part (erased)", "user part 2 v6");
    assert_eq!(order, [head, app, "asset cat.txt", "asset house.txt", "asset water.txt"]);
    assert!(plan.expected_assets.is_empty());
    assert_eq!(
        Plan::new(target, &modules[..2], Some(&system(5500)))
            .unwrap()
            .expected_assets
            .len(),
        2
    );
}
