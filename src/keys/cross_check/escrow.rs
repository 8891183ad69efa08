//! Sealed keys and the program `age`: either opens what the other has sealed.

use super::*;
use crate::{
    keys::escrow::{self, AgeError, EscrowError},
    model::DeviceId,
};

fn device() -> DeviceId {
    "e00fce680123456789abcdef".parse().unwrap()
}

/// An identity file made by `age-keygen`, and its recipient.
fn keygen(age: &Program, file: &str) -> (escrow::Identities, String) {
    let made = Command::new("age-keygen")
        .args(["-o", file])
        .current_dir(&age.dir)
        .output()
        .unwrap();
    assert!(made.status.success());
    let text = String::from_utf8(age.get(file)).unwrap();
    let public = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    (escrow::Identities::read(&text).unwrap(), public.to_owned())
}

#[test]
fn age_opens_what_was_sealed_here() {
    let Some(age) = Program::find("age") else { return };
    let (_, recipient) = keygen(&age, "identity.txt");
    let recipient: escrow::Recipient = recipient.parse().unwrap();
    for (kind, len) in [(KeyKind::Rsa1024, 611), (KeyKind::P256, 121)] {
        let key = PrivateKey::generate(kind, &SystemEntropy);
        age.put("sealed.age", &escrow::seal(&key, device(), &[recipient], &SystemEntropy));
        let text = age.run(&["--decrypt", "-i", "identity.txt", "sealed.age"]).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "keyrack escrow 1");
        assert_eq!(lines[1], format!("device {}", device()));
        assert_eq!(lines[3], format!("fingerprint {}", key.public().fingerprint));
        // What a person does by hand who has nothing but age and base64.
        use base64::{Engine, engine::general_purpose::STANDARD};
        let der = STANDARD.decode(lines[4].strip_prefix("key ").unwrap()).unwrap();
        assert_eq!(der, *encode(&key, len).expose(), "{kind}");
    }
}

#[test]
fn what_age_has_sealed_is_opened_here() {
    let Some(age) = Program::find("age") else { return };
    let (identities, recipient) = keygen(&age, "identity.txt");
    let (seconds, second) = keygen(&age, "second.txt");
    assert_eq!(recipient.parse::<escrow::Recipient>().unwrap().to_string(), recipient);
    let key = PrivateKey::generate(KeyKind::P256, &SystemEntropy);
    age.put(
        "sealed.age",
        &escrow::seal(&key, device(), &[recipient.parse().unwrap()], &SystemEntropy),
    );
    age.run(&["--decrypt", "-i", "identity.txt", "-o", "content", "sealed.age"])
        .unwrap();
    // Sealed anew, for two custodians at once.
    age.run(&["-r", &recipient, "-r", &second, "-o", "both.age", "content"])
        .unwrap();
    for identities in [&identities, &seconds] {
        let again = escrow::open(&age.get("both.age"), identities, device()).unwrap();
        assert_eq!(again.public(), key.public());
    }
    age.run(&["-r", &second, "-o", "second.age", "content"]).unwrap();
    age.run(&["-a", "-r", &recipient, "-o", "armored.age", "content"]).unwrap();
    age.put("long", &[7; 70_000]);
    age.run(&["-r", &recipient, "-o", "long.age", "long"]).unwrap();
    age.run(&["-r", &recipient, "-o", "other.age", "identity.txt"]).unwrap();
    for (file, error) in [
        ("second.age", EscrowError::Seal(AgeError::OtherRecipient)),
        ("armored.age", EscrowError::Seal(AgeError::Armored)),
        ("long.age", EscrowError::Seal(AgeError::TooLong)),
        ("other.age", EscrowError::NotEscrow),
    ] {
        assert_eq!(
            escrow::open(&age.get(file), &identities, device()).unwrap_err(),
            error,
            "{file}"
        );
    }
}
