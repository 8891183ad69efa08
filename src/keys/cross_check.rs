//! Judges from outside: the programs `openssl`, `ssh-keygen` and `age`, and keys that were tried on Device OS.

mod escrow;
mod files;
mod packets;

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::*;
use crate::{
    edge::entropy::SystemEntropy,
    model::{
        KeyKind, PublicKey,
        key::{KeyLayout, SlotContent},
    },
};

fn valid(slot: &[u8], kind: KeyKind) -> (PublicKey, KeyLayout) {
    match classify(slot, kind).0 {
        SlotContent::Valid { key, layout } => (key, layout),
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_that_were_tried_on_device_os() {
    let shared = std::env::var_os("KEYRACK_SHARED").map(PathBuf::from);
    let keys = shared
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"))
        .join("data/keys");
    if !keys.is_dir() {
        println!("not run: ../shared/data is not here");
        return;
    }
    let read = |name: &str| fs::read(keys.join(name)).unwrap();
    for (file, public, kind, layout) in [
        (
            "rsa1024-canonical-misread.der",
            "rsa1024.pub.pem",
            KeyKind::Rsa1024,
            KeyLayout::MisreadByDevice,
        ),
        (
            "rsa1024-device-layout.der",
            "rsa1024.pub.pem",
            KeyKind::Rsa1024,
            KeyLayout::Device,
        ),
        ("p256-sec1-121.der", "p256.pub.pem", KeyKind::P256, KeyLayout::Device),
        ("p256-sec1-122.der", "p256.pub.pem", KeyKind::P256, KeyLayout::OldSec1),
    ] {
        let mut slot = read(file);
        slot.resize(1216, 0xff);
        let public = String::from_utf8(read(public)).unwrap();
        let (key, found) = valid(&slot, kind);
        assert_eq!(found, layout, "{file}");
        assert_eq!(parse_public(public.as_bytes()).unwrap(), key, "{file}");
        assert_eq!(public_pem(&key), public, "{file}");
        // Written again, both spellings of a key become the one that devices write themselves.
        let again = encode(&classify(&slot, kind).1.unwrap(), 1216);
        let device_made = match kind {
            KeyKind::Rsa1024 => read("rsa1024-device-layout.der"),
            KeyKind::P256 => read("p256-sec1-121.der"),
        };
        assert!(again.expose().starts_with(&device_made), "{file}");
    }
}

/// A program in a folder of its own that nobody else may read.
struct Program {
    name: &'static str,
    dir: tempfile::TempDir,
}

impl Program {
    /// The program, if it is here; if not, this says so, and the test has nothing to judge by.
    fn find(name: &'static str) -> Option<Self> {
        if let Err(error) = Command::new(name).arg("--version").output() {
            println!("not run: {name} is not here ({error})");
            return None;
        }
        let dir = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .unwrap();
        Some(Self { name, dir })
    }

    fn run(&self, args: &[&str]) -> Result<Vec<u8>, String> {
        let out = Command::new(self.name)
            .args(args.iter().map(OsStr::new))
            .current_dir(&self.dir)
            .output()
            .unwrap();
        if out.status.success() {
            Ok(out.stdout)
        } else {
            Err(String::from_utf8_lossy(&out.stderr).into_owned())
        }
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).unwrap()
    }
}

#[test]
fn openssl_reads_the_p256_keys_made_here() {
    let Some(openssl) = Program::find("openssl") else { return };
    for _ in 0..20 {
        let private = PrivateKey::generate(KeyKind::P256, &SystemEntropy);
        openssl.put("key.der", &encode(&private, 121).expose()[..121]);
        let public = openssl.run(&["ec", "-inform", "DER", "-in", "key.der", "-pubout"]).unwrap();
        assert_eq!(String::from_utf8(public).unwrap(), public_pem(&private.public()));
        let again = openssl
            .run(&["ec", "-inform", "DER", "-in", "key.der", "-outform", "DER"])
            .unwrap();
        assert_eq!(again, encode(&private, 121).expose()[..], "the same bytes as openssl writes");
    }
}

#[test]
fn openssl_reads_the_rsa_keys_made_here() {
    let Some(openssl) = Program::find("openssl") else { return };
    let mut canonical = 0;
    while canonical < 3 {
        let private = PrivateKey::generate(KeyKind::Rsa1024, &SystemEntropy);
        let slot = encode(&private, 611);
        openssl.put("public.pem", public_pem(&private.public()).as_bytes());
        let spki = openssl
            .run(&["pkey", "-pubin", "-in", "public.pem", "-outform", "DER"])
            .unwrap();
        assert_eq!(spki, private.public().spki);
        // Only where every number has its top bit set is the devices' layout also DER, which openssl insists on.
        if [148, 279, 346, 413, 480, 547].iter().all(|at| slot.expose()[*at] >= 0x80) {
            canonical += 1;
            openssl.put("key.der", slot.expose());
            let check = openssl
                .run(&["rsa", "-inform", "DER", "-in", "key.der", "-noout", "-check"])
                .unwrap();
            assert!(String::from_utf8_lossy(&check).contains("RSA key ok"));
            let public = openssl.run(&["rsa", "-inform", "DER", "-in", "key.der", "-pubout"]).unwrap();
            assert_eq!(String::from_utf8(public).unwrap(), public_pem(&private.public()));
        }
    }
}

#[test]
fn keys_made_by_openssl_are_read_here() {
    let Some(openssl) = Program::find("openssl") else { return };
    for i in 0..20 {
        openssl.run(&["genrsa", "-traditional", "-out", "rsa.pem", "1024"]).unwrap();
        openssl
            .run(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ec.pem"])
            .unwrap();
        for (kind, file, tool, form) in [
            (KeyKind::Rsa1024, "rsa.pem", "rsa", PrivateForm::Pkcs1),
            (KeyKind::P256, "ec.pem", "ec", PrivateForm::Sec1),
        ] {
            let mut args = vec![tool, "-in", file, "-outform", "DER"];
            args.extend((kind == KeyKind::Rsa1024).then_some("-traditional"));
            let mut slot = openssl.run(&args).unwrap();
            slot.resize(1216, 0);
            let public = openssl.run(&[tool, "-in", file, "-pubout"]).unwrap();
            assert_eq!(
                public_pem(&valid(&slot, kind).0),
                String::from_utf8(public).unwrap(),
                "{kind} {i}"
            );
            let pkcs8 = openssl
                .run(&["pkcs8", "-topk8", "-nocrypt", "-in", file, "-outform", "DER"])
                .unwrap();
            let expected = match kind {
                KeyKind::Rsa1024 => KeyLayout::MisreadByDevice,
                KeyKind::P256 => KeyLayout::Foreign,
            };
            assert_eq!(valid(&pkcs8, kind), (valid(&slot, kind).0, expected));
            let plain = openssl.run(&["pkey", "-in", file, "-pubout", "-outform", "DER"]).unwrap();
            assert_eq!(parse_public(&plain).unwrap(), valid(&slot, kind).0);
            let private = openssl.get(file);
            assert_eq!(parse_public(&private), Err(PublicKeyError::Private { form }));
        }
        let pkcs1 = openssl.run(&["rsa", "-in", "rsa.pem", "-RSAPublicKey_out"]).unwrap();
        assert_eq!(parse_public(&pkcs1).unwrap().kind, KeyKind::Rsa1024);
        let compressed = openssl
            .run(&["ec", "-in", "ec.pem", "-pubout", "-conv_form", "compressed"])
            .unwrap();
        let plain = openssl.run(&["ec", "-in", "ec.pem", "-pubout"]).unwrap();
        assert_eq!(parse_public(&compressed), parse_public(&plain));
    }
    for other in ["secp384r1", "secp256k1"] {
        openssl
            .run(&["ecparam", "-name", other, "-genkey", "-noout", "-out", "ec.pem"])
            .unwrap();
        let public = openssl.run(&["ec", "-in", "ec.pem", "-pubout"]).unwrap();
        assert_eq!(parse_public(&public), Err(PublicKeyError::Flawed(Flaw::Curve)), "{other}");
        let private = openssl.run(&["ec", "-in", "ec.pem", "-outform", "DER"]).unwrap();
        assert!(
            matches!(classify(&private, KeyKind::P256).0, SlotContent::Corrupt { .. }),
            "{other}"
        );
    }
    openssl.run(&["genrsa", "-traditional", "-out", "rsa.pem", "2048"]).unwrap();
    let public = openssl.run(&["rsa", "-in", "rsa.pem", "-pubout"]).unwrap();
    assert_eq!(parse_public(&public), Err(PublicKeyError::NotOfDevice { bits: 2048 }));
}
